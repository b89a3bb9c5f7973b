"""What the site's pages may say besides Markdown.

``{{ source rir_jax.models.layers.GeneralizedConv.applied_kernel }}`` on a line of its own is the
code of that object as it is now, without its docstring. ``{{ report small/depth }}`` is what
experiments/results has under that name, with its pictures. ``{{ config_fields }}`` is a table of
all fields of the config. Links to files outside of docs/, which work where the repository is read,
become their names.
"""

import ast
import pathlib
import re
import textwrap

ROOT = pathlib.Path(__file__).resolve().parents[1]
RESULTS = ROOT / "experiments" / "results"


def on_files(files, config):
    """MkDocs calls this with all files: the pictures of the reports are among them."""
    from mkdocs.structure.files import File

    for picture in sorted(RESULTS.rglob("*.png")):
        name = f"results/{picture.relative_to(RESULTS)}"
        files.append(File.generated(config, name, abs_src_path=str(picture)))


def on_page_markdown(markdown, page, **_):
    """MkDocs calls this with every page."""
    folder = (ROOT / "docs" / page.file.src_path).parent

    def unlink(match):
        target = folder / match[2].partition("#")[0]
        outside = not target.resolve().is_relative_to(ROOT / "docs")
        return match[1] if outside and target.exists() else match[0]

    markdown = re.sub(r"\[([^\]]+)\]\((\.\./[^)]+)\)", unlink, markdown)
    markdown = re.sub(r"^\{\{ report ([\w/]+) \}\}$", _report, markdown, flags=re.MULTILINE)
    markdown = re.sub(r"^\{\{ config_fields \}\}$", _fields, markdown, flags=re.MULTILINE)
    return re.sub(r"^\{\{ source ([\w.]+) \}\}$", _fenced, markdown, flags=re.MULTILINE)


def _report(match):
    """A report without its title, for a page beside the folder of results."""
    _, text = (RESULTS / match[1] / "table.md").read_text().split("\n", 1)
    return text.replace("](", f"](results/{match[1]}/").strip()


def _fields(_):
    from rir_jax.config_fields import FIELDS

    rows = ["| field | type | default | meaning | allowed |", "|---|---|---|---|---|"]
    for path, field in FIELDS.items():
        default = "unset" if field.default is None else f"`{field.default!r}`"
        name = field.type.__name__
        rows.append(f"| `{path}` | {name} | {default} | {field.doc} | {field.allowed} |")
    return "\n".join(rows)


def _fenced(match):
    return f'``` {{.python title="{match[1]}"}}\n{source(match[1])}\n```'


def source(name: str) -> str:
    """The code of a function, class, method or constant, without its docstring."""
    parts = name.split(".")
    files = [ROOT.joinpath(*parts[:end]).with_suffix(".py") for end in range(len(parts), 0, -1)]
    depth, file = next((len(parts) - i, file) for i, file in enumerate(files) if file.exists())
    text = file.read_text()
    node = ast.parse(text)
    for part in parts[depth:]:
        node = next(child for child in node.body if part in _names(child))
    lines = text.splitlines()
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
    chosen = lines[first - 1 : node.end_lineno]
    documented = isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node)
    if documented:
        docstring = node.body[0]
        chosen = lines[first - 1 : docstring.lineno - 1]
        chosen += lines[docstring.end_lineno : node.end_lineno]
    return textwrap.dedent("\n".join(chosen))


def _names(node):
    """What a statement defines."""
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    return [getattr(node, "name", None)]
