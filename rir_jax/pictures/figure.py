"""What all figures share: size, colours and the way to a PNG."""

import io

from rir_jax import extras

# Okabe and Ito's colours, told apart with any kind of colour vision; line styles differ too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
STYLES = ("-", "--", "-.", ":")


def make_figure(width: float, height: float):
    """An empty figure of so many inches, which needs no display.

    Raises:
      InputError: Matplotlib is missing.
    """
    extras.require("drawing", "matplotlib")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def png(figure) -> bytes:
    """A figure as the content of a PNG file.

    >>> png(make_figure(1, 1))[1:4]
    b'PNG'
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return buffer.getvalue()
