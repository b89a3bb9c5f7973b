"""Writes rir_jax/typed_config.py, the fields with their types: python -m tools.typed_config"""

import pathlib
from collections import defaultdict

from rir_jax import typed_config
from rir_jax.config_fields import FIELDS

_HEAD = '''"""The config's fields with their types, for editors and type checkers.

Written by ``python -m tools.typed_config``; a test compares it with `rir_jax.config_fields`.
"""

from typing import Any

from rir_jax.config_fields import Group
'''


def source() -> str:
    """What the file holds: a class for each group of fields, and one for the whole."""
    groups: dict[str, list[str]] = defaultdict(list)
    for path, field in FIELDS.items():
        group, _, name = path.rpartition(".")
        kind = "tuple[Any, ...]" if field.type is tuple else field.type.__name__
        optional = "" if field.default is not None else " | None"
        groups[group] += [f"    {name}: {kind}{optional}", f'    """{field.doc}"""']
    whole = groups.pop("")
    classes = [_class(_name(group), lines) for group, lines in groups.items()]
    whole += [f"    {group}: {_name(group)}" for group in groups]
    return "\n\n".join([_HEAD, *classes, _class("Fields", whole)])


def _name(group):
    return f"{group.capitalize()}Fields"


def _class(name, lines):
    return "\n".join([f"class {name}(Group):", *lines, ""])


if __name__ == "__main__":
    pathlib.Path(typed_config.__file__).write_text(source())
