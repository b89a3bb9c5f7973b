"""The code blocks of a Markdown page, and running them as a reader would: top to bottom."""

import dataclasses
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

    def run(self, folder: pathlib.Path, environment: dict[str, str], before: str) -> None:
        """Runs it in a folder; a Python block after those before it on the page.

        Raises:
          AssertionError: it failed, with what it printed.
        """
        command = ["bash", "-euo", "pipefail", "-c", self.code]
        if self.language == "python":
            command = ["python", "-c", before + self.code]
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600
        )
        wanted = 2 if self.refused else 0
        assert done.returncode == wanted, (
            f"line {self.line}, exit code {done.returncode}:\n{self.code}\n{done.stdout[-2000:]}"
            f"\n{done.stderr[-4000:]}"
        )


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


def run_page(page: pathlib.Path, folder: pathlib.Path, environment: dict[str, str]) -> int:
    """Runs the blocks of a page in a folder, in their order; returns how many there were."""
    before, found = "", [block for block in blocks(page) if not block.elsewhere]
    for block in found:
        block.run(folder, environment, before)
        if block.language == "python":
            before += block.code
    return len(found)
