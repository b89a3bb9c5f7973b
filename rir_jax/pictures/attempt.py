"""The attempt to draw a picture, whose failure must not cost the figures of a run."""

import contextlib
import logging
from collections.abc import Iterator

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def attempt(name: str) -> Iterator[None]:
    """Turns any error while a picture is drawn or written into a warning.

    Args:
      name: the picture's name, for the warning.

    Examples:
      >>> with attempt("curves.png"):
      ...     raise ValueError("no font")
    """
    try:
        yield
    except Exception as error:  # no package, no font, a size beyond the library's, a full disk
        reason = " ".join(str(error).split()) or type(error).__name__
        _log.warning("%s could not be drawn: %s", name, reason[:300])
