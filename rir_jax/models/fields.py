"""The fields of modules: NumPy's numbers as Python's, and checks that name the field."""

import dataclasses
from typing import Any, NoReturn

import numpy as np


def plain(value: Any) -> Any:
    """Turns NumPy numbers into Python's, arrays and lists into tuples; leaves the rest as it is.

    Examples:
      >>> plain([np.int64(4), np.array([6, 8])]), plain(np.bool_(True))
      ((4, (6, 8)), True)
    """
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    return tuple(map(plain, value)) if isinstance(value, list | tuple) else value


def make_plain(module: Any) -> None:
    """Makes the fields of a dataclass `plain`, so that equal ones compare, hash and print alike."""
    for field in dataclasses.fields(module):
        object.__setattr__(module, field.name, plain(getattr(module, field.name)))


def is_positive(value: Any) -> bool:
    """Whether a value is a whole number, 1 or more."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def refuse(module: Any, field: str, allowed: str) -> NoReturn:
    """Raises a ValueError that names a field, its value and what is allowed."""
    raise ValueError(f"{field} is {getattr(module, field)!r}; allowed: {allowed}")
