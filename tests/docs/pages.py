"""The code blocks of a Markdown page, and running them as a reader would: top to bottom."""

import dataclasses
import json
import pathlib
import re
import subprocess

FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE)
_OUTPUT = ("text", "json")  # what a program prints


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block: its language, its code, and the line of the page that it starts on.

    ``refused`` ones are commands that end with exit code 2. ``elsewhere`` ones need machines that
    are not here: of their commands it can only be seen that they are understood.
    """

    language: str
    code: str
    line: int
    refused: bool
    elsewhere: bool

    def commands(self) -> list[list[str]]:
        """The commands of this package in it: module, then arguments."""
        joined = self.code.replace("\\\n", " ").replace("\n  --", " --").replace("$i", "0")
        found = re.findall(r"-m ((?:rir_jax|experiments)\.\w+)([^\n;&|)]*)", joined)
        return [[module, *arguments.replace('"', " ").split()] for module, arguments in found]


def blocks(page: pathlib.Path) -> list[Block]:
    """The blocks of a page that a reader could run.

    Raises:
      ValueError: a block without a language, or with one that cannot be run: then nobody would
        notice that it is wrong.
    """
    text = page.read_text()
    found = []
    for match in FENCE.finditer(text):
        words = re.findall(r"\w+", match["info"])
        line = text[: match.start()].count("\n") + 1
        if not words or words[0] not in ("sh", "python", *_OUTPUT):
            raise ValueError(f"{page}:{line}: a block of language {match['info']!r}")
        if words[0] not in _OUTPUT:
            found.append(
                Block(words[0], match["code"], line, "refused" in words, "elsewhere" in words)
            )
    return found


# What a reader does: one Python for all of a page's Python, and a shell for each other block.
_READER = """
import json, subprocess, sys

page, blocks = json.loads(sys.argv[1])
names = {"__name__": "__main__"}
for language, code, line, wanted in blocks:
    print(f"=== {page}, line {line}", flush=True)
    if language == "python":
        exec(compile(line * chr(10) + code, page, "exec"), names)
        continue
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", code], stdin=subprocess.DEVNULL)
    if done.returncode != wanted:
        sys.exit(f"exit code {done.returncode}:{chr(10)}{code}")
"""


def run_page(page: pathlib.Path, folder: pathlib.Path, environment: dict[str, str]) -> int:
    """Runs the blocks of a page in a folder, in their order; returns how many there were.

    Raises:
      AssertionError: a block failed, with its line and what was printed.
    """
    found = [block for block in blocks(page) if not block.elsewhere]
    run(found, page.name, folder, environment)
    return len(found)


def run(found: list[Block], name: str, folder: pathlib.Path, environment: dict[str, str]) -> None:
    """Runs blocks of the page of a name, as `run_page`."""
    todo = [(block.language, block.code, block.line, 2 * block.refused) for block in found]
    done = subprocess.run(
        ["python", "-c", _READER, json.dumps([name, todo])],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=1800,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:]
