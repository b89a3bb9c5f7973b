"""Pictures are made after the figures that matter, and never cost them."""

import contextlib
import logging
from collections.abc import Iterator

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def attempt(name: str) -> Iterator[None]:
    """Turns whatever keeps a picture from being drawn or written into a warning.

    Args:
      name: of the picture, for the warning.

    Examples:
      >>> with attempt("curves.png"):
      ...     raise ValueError("no font")
    """
    try:
        yield
    except Exception as error:  # no package, no font, a size beyond the library's, a full disk
        reason = " ".join(str(error).split()) or type(error).__name__
        _log.warning("%s could not be drawn: %s", name, reason[:300])
