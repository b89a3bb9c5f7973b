"""A stand-in for ``pip install -e '.[EXTRAS]'``: fails where setup.cfg has no such extra."""

import configparser
import re
import sys


def main(arguments: list[str]) -> None:
    config = configparser.ConfigParser()
    config.read("setup.cfg")
    match = re.fullmatch(r"install -e \.(?:\[([\w,]+)\])?", " ".join(arguments))
    if match is None:
        sys.exit(f"not understood: pip {' '.join(arguments)}")
    for extra in (match[1] or "").split(","):
        if extra and extra not in config["options.extras_require"]:
            sys.exit(f"setup.cfg has no extra {extra!r}")


if __name__ == "__main__":
    main(sys.argv[1:])
