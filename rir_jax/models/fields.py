"""NumPy's numbers and arrays as Python's, so that fields compare, hash and print alike."""

import dataclasses
from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """NumPy numbers to Python ones, arrays and lists to tuples; anything else as it is.

    Examples:
      >>> plain([np.int64(4), np.array([6, 8])]), plain(np.bool_(True))
      ((4, (6, 8)), True)
    """
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    return tuple(map(plain, value)) if isinstance(value, list | tuple) else value


def make_plain(module: Any) -> None:
    """Makes the fields of a dataclass `plain`, frozen or not."""
    for field in dataclasses.fields(module):
        object.__setattr__(module, field.name, plain(getattr(module, field.name)))
