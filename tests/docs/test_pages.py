"""Every code block of the README and of the site runs; the site's pictures are of today's code."""

import json
import os
import pathlib
import re
import runpy
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
import yaml
from PIL import Image, ImageDraw

import rir_jax
from docs import hooks
from rir_jax import cli, config_fields
from rir_jax import config as configs
from rir_jax.analysis.drawing import draw_network
from tests.data.prepared import prepared
from tests.docs.pages import blocks, run_page

ROOT = pathlib.Path(__file__).parents[2]
PAGES = [pathlib.Path("README.md"), pathlib.Path("CONTRIBUTING.md")]
PAGES += sorted(path.relative_to(ROOT) for path in (ROOT / "docs").rglob("*.md"))


@pytest.fixture(scope="session")
def clone(tmp_path_factory):
    """A copy of the project, with CIFAR-10 "prepared": 30 small images; and how to run in it."""
    folder, home = tmp_path_factory.mktemp("clone"), tmp_path_factory.mktemp("home")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in listed.stdout.splitlines():
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name, follow_symlinks=False)
    trained = ROOT / "runs" / "quickstart"
    if (trained / "summary.json").exists():  # by make quickstart, which says so when run again
        shutil.copytree(trained, folder / "runs" / "quickstart")
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "python").symlink_to(ROOT / "tests" / "docs" / "bin" / "python")
    prepared(home / "tensorflow_datasets")
    (folder / "DATA").symlink_to(home / "tensorflow_datasets")
    environment = {
        **os.environ,
        "PATH": f"{ROOT / 'tests' / 'docs' / 'bin'}:{os.environ['PATH']}",
        "HOME": str(home),
        "PYTHONPATH": str(folder),
        "RIR_JAX_PYTHON": sys.executable,
        "XLA_FLAGS": "",
    }
    return folder, environment


@pytest.mark.long
@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_block_runs(page, clone):
    folder, environment = clone
    if page.name != "README.md" and not (folder / "runs" / "quickstart" / "summary.json").exists():
        subprocess.run(["make", "quickstart"], cwd=folder, env=environment, check=True)
    run_page(folder / page, folder, environment)


def _draw(digit, path):
    """A digit by strokes, light on black, larger than the network's images and not square."""
    picture = Image.new("L", (120, 160))
    pen = ImageDraw.Draw(picture)
    if digit == "0":
        pen.ellipse((30, 30, 90, 130), outline=255, width=16)
    else:
        pen.line((62, 25, 62, 135), fill=255, width=18)
    picture.save(path)


@pytest.mark.long
def test_from_a_drawn_digit_to_the_exported_file_elsewhere(clone, bare_python, tmp_path):
    """By the README's own commands."""
    folder, environment = clone
    readme = blocks(folder / "README.md")
    lines = [line for block in readme if block.language == "sh" for line in block.code.splitlines()]
    if not (folder / "runs" / "quickstart" / "summary.json").exists():
        subprocess.run(["make", "quickstart"], cwd=folder, env=environment, check=True)

    def run(start):
        [line] = [line for line in lines if line.startswith(f".venv/bin/python -m {start}")]
        line = line.replace("docs/assets/digit.png", f"{tmp_path / 'drawn.png'} --json")
        done = subprocess.run(
            line,
            shell=True,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    for digit in "01":
        _draw(digit, tmp_path / "drawn.png")
        [result] = map(json.loads, run("rir_jax.predict --workdir").splitlines())
        assert result["changes"] == "middle 120x120 of 120x160, resized to 8x8"
        assert result["classes"][0]["name"] == digit
    assert "for cpu, cuda, tpu" in run("rir_jax.export")
    [code] = [block.code for block in readme if "jax.export.deserialize" in block.code]
    code += "import importlib.util\nprint(logits.shape, importlib.util.find_spec('flax'))\n"
    bare = {"JAX_PLATFORMS": "cpu", "PATH": ""}
    done = subprocess.run(
        [bare_python, "-I", "-c", code],
        cwd=folder, env=bare, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "(5, 10) None\n"


@pytest.mark.long
def test_the_notebook_runs(clone):
    import nbclient
    import nbformat

    folder, environment = clone
    notebook = nbformat.read(folder / "notebooks" / "tour.ipynb", 4)
    where = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(notebook, timeout=180, resources=where).execute(env=environment)


def test_the_notebook_is_kept_without_outputs():
    cells = json.loads((ROOT / "notebooks" / "tour.ipynb").read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) >= 5
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_block_says_what_it_is(page):
    for block in blocks(ROOT / page):
        if block.language == "python":
            compile(block.code, f"{page}:{block.line}", "exec")


ELSEWHERE = [
    command
    for page in PAGES
    for block in blocks(ROOT / page)
    if block.elsewhere
    for command in block.commands()
]


@pytest.mark.parametrize("command", ELSEWHERE, ids=" ".join)
def test_commands_for_other_machines_are_understood(command):
    path = ROOT.joinpath(*command[0].split(".")).with_suffix(".py")
    values = runpy.run_path(str(path))["FLAGS"]
    assert cli.parse(command, values) == command[:1], "no arguments but flags"
    if "config" in values:
        configs.validate(values["config"].load())


def test_there_are_commands_for_other_machines():
    modules = {command[0] for command in ELSEWHERE}
    assert modules == {"rir_jax.train", "rir_jax.evaluate", "rir_jax.export", "experiments.run"}


def test_a_block_of_no_language_is_refused(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```\nmake test\n```\n")
    with pytest.raises(ValueError, match=r"page.md:1: a block of language"):
        blocks(page)


def test_marked_blocks_of_the_site_are_written_as_mkdocs_reads_them():
    """GitHub reads "sh elsewhere" as a block of sh; MkDocs reads it as text."""
    for page in PAGES:
        if page.parts[0] == "docs":
            assert not re.search(r"^```\w+ +\w", (ROOT / page).read_text(), re.MULTILINE), page


def test_blocks_of_a_page_run_in_order_and_fail_aloud(tmp_path):
    page = tmp_path / "page.md"
    environment = dict(os.environ)
    page.write_text("```python\nx = 1\n```\n```python\nassert x == 1\n```\n```sh\ntest 1 = 1\n```")
    assert run_page(page, tmp_path, environment) == 3
    page.write_text("text\n```{.sh .refused}\ntrue\n```\n")
    with pytest.raises(AssertionError, match=r"page\.md, line 2\nexit code 0"):
        run_page(page, tmp_path, environment)
    page.write_text("text\n\n```python\n\nassert x == 1\n```\n")
    with pytest.raises(AssertionError, match=r"line 5, in <module>"):
        run_page(page, tmp_path, environment)


def test_every_page_is_in_the_navigation():
    def listed(entries):
        for entry in entries:
            for value in entry.values():
                yield from [value] if isinstance(value, str) else listed(value)

    _, _, text = (ROOT / "mkdocs.yml").read_text().partition("\nnav:")
    nav = yaml.safe_load(text)
    pages = {path.relative_to("docs").as_posix() for path in PAGES if path.parts[0] == "docs"}
    assert sorted(listed(nav)) == sorted(pages), "each once"


def test_source_on_a_page_is_that_of_the_package():
    text = hooks.source("rir_jax.models.layers.GeneralizedConv.applied_kernel")
    assert text.splitlines()[0] == "def applied_kernel(self, kernel: jax.Array) -> jax.Array:"
    assert '"""' not in hooks.source("rir_jax.models.initializers.resnet_init")
    assert hooks.source("rir_jax.models.zoo.FAMILIES").startswith("FAMILIES = {")
    with pytest.raises(StopIteration):
        hooks.source("rir_jax.models.layers.NoSuchLayer")


def test_a_report_on_a_page_is_the_one_of_the_results():
    page = SimpleNamespace(file=SimpleNamespace(src_path="results.md"))
    text = hooks.on_page_markdown("above\n\n{{ report small/cifar10_32 }}\n", page)
    folder = ROOT / "experiments" / "results" / "small" / "cifar10_32"
    title, report = (folder / "table.md").read_text().split("\n", 1)
    assert title not in text
    assert report[:300] in text
    assert "![curves](results/small/cifar10_32/curves.png)" in text
    page.file.src_path = "results/families.md"
    text = hooks.on_page_markdown("{{ report small/shortcut }}\n", page)
    assert "![curves](small/shortcut/curves.png)" in text
    assert "    | ours | rir32-157c9655 |" in text, "folded away"
    assert "\nNot run yet: " in text, "and what follows is not"


def test_the_list_of_fields_has_them_all():
    page = SimpleNamespace(file=SimpleNamespace(src_path="api/training.md"))
    lines = hooks.on_page_markdown("{{ config_fields }}", page).splitlines()
    assert [line.split("`")[1] for line in lines] == list(config_fields.FIELDS)
    for line, field in zip(lines, config_fields.FIELDS.values(), strict=True):
        assert field.doc in line
        assert f"Allowed: {field.allowed}." in line


def test_the_front_page_has_the_result_of_the_readme():
    [accuracy] = re.findall(r"rir32 on digits: ([\d.]+ %)", (ROOT / "README.md").read_text())
    assert f"| test accuracy | **{accuracy}** |" in (ROOT / "docs" / "index.md").read_text()


@pytest.mark.parametrize("family", ["cnn", "resnet", "resnet_init", "rir"])
def test_pictures_of_the_families_are_those_of_todays_code(family):
    model = rir_jax.create_model(f"{family}32", blocks=(1, 1), widths=(16, 32))
    titles = {"cnn": "CNN", "resnet": "ResNet", "resnet_init": "ResNet Init", "rir": "RiR"}
    drawn = draw_network(model, title=titles[family])
    assert (ROOT / "docs" / "assets" / f"{family}.svg").read_text() == drawn


@pytest.mark.parametrize(
    ("file", "title", "model"),
    [
        ("rir18_wide", "rir18_wide", rir_jax.create_model("rir18_wide")),
        ("rir_block", "RiR, one block", rir_jax.create_model("rir32", blocks=(1,), widths=(16,))),
    ],
)
def test_pictures_of_the_front_page_are_those_of_todays_code(file, title, model):
    drawn = draw_network(model, title=title)
    assert (ROOT / "docs" / "assets" / f"{file}.svg").read_text() == drawn
