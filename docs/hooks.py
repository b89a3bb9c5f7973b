"""What the site's pages may say besides Markdown.

``{{ source rir_jax.models.layers.GeneralizedConv.applied_kernel }}`` on a line of its own is the
code of that object as it is now, without its docstring. ``{{ report small/depth }}`` is what
experiments/results has under that name: its pictures side by side, and where its rows come from
folded away. ``{{ config_fields }}`` is a list of all fields of the config. Links to files outside
of docs/, which work where the repository is read, become their names.
"""

import ast
import os
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

    def report(match):
        return _report(match[1], os.path.relpath(ROOT / "docs" / "results" / match[1], folder))

    markdown = re.sub(r"^\{\{ report ([\w/]+) \}\}$", report, markdown, flags=re.MULTILINE)
    markdown = re.sub(r"^\{\{ config_fields \}\}$", _fields, markdown, flags=re.MULTILINE)
    return re.sub(r"^\{\{ source ([\w.]+) \}\}$", _fenced, markdown, flags=re.MULTILINE)


def _report(name, pictures_folder):
    """A report without its title."""
    _, text = (RESULTS / name / "table.md").read_text().split("\n", 1)
    pictures = re.findall(r"^!\[.*?\]\((.*?)\)$", text, re.MULTILINE)
    above, below = re.split(r"\n(?:!\[.*\n)+", text)
    origins, *rest = re.split(r"(?<=\|)\n\n", below.strip())
    return "\n\n".join(
        [
            above.strip(),
            '<div class="pictures" markdown>',
            *(_enlarged(f"{pictures_folder}/{picture}") for picture in pictures),
            "</div>",
            '??? note "Where each row comes from"',
            textwrap.indent(origins, "    "),
            *rest,
        ]
    )


def _enlarged(picture):
    """A picture that shows itself in full size when it is clicked."""
    return f"[![{pathlib.Path(picture).stem}]({picture})]({picture})"


def _fields(_):
    from rir_jax.config_fields import FIELDS

    return "\n".join(f"- {_field(path, field)}" for path, field in FIELDS.items())


def _field(path, field):
    default = "unset" if field.default is None else f"`{field.default!r}`"
    kind = f"{field.type.__name__}, default {default}"
    return f"**`{path}`** ({kind}): {field.doc}. Allowed: {field.allowed}."


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
