"""The parts that all figures share: size, colours, axes and the way to a PNG."""

import io
from collections.abc import Sequence

import numpy as np

from rir_jax import extras

# Okabe and Ito's colours, told apart with any kind of colour vision; line styles differ too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
STYLES = ("-", "--", "-.", ":")
_TICKS = (100, 99.9, 99.8, 99.5, 99, 98, 97, 95, *range(90, -1, -5))


def make_figure(width: float, height: float):
    """An empty figure, its sides in inches, that needs no display.

    Raises:
      InputError: Matplotlib is missing.
    """
    extras.require("drawing", "matplotlib")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def epoch_axis(axes) -> None:
    """Puts ticks at whole epochs alone."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def loss_axis(axes) -> None:
    """Makes the y axis one of cross-entropies: logarithmic, with plain numbers."""
    from matplotlib.ticker import LogFormatter

    class Plain(LogFormatter):
        """Numbers the ticks that Matplotlib would, as 0.1 where it has 1e-01."""

        def __call__(self, value, position=None):
            return f"{value:g}" if super().__call__(value, position) else ""

    axes.set(ylabel="cross-entropy", yscale="log")
    axes.yaxis.set_major_formatter(Plain())
    axes.yaxis.set_minor_formatter(Plain(minor_thresholds=(1.5, 0.5)))


def accuracy_axis(axes, percents: Sequence[float]) -> None:
    """Makes the y axis one of accuracies, which spreads those near 100 %.

    It spreads them as a logarithmic axis spreads small errors, but it also has a place for 100 %.

    Args:
      axes: Matplotlib's axes.
      percents: all accuracies that are drawn, 0 to 100.
    """
    errors = 100 - np.asarray(percents, float)
    least = max(errors[errors > 0].min(initial=100.0), 0.01)

    def place(accuracy):
        return -np.log10(np.maximum(100 - np.asarray(accuracy, float), -0.5 * least) + least)

    def accuracy_at(place):
        return 100 + least - 10.0 ** -np.asarray(place, float)

    low, high = place(100 - errors.max()), place(100 - errors.min())
    margin = 0.05 * max(high - low, 0.1)
    axes.set_yscale("function", functions=(place, accuracy_at))
    axes.set_ylim(accuracy_at(low - margin), min(accuracy_at(high + margin), 100 + 0.3 * least))
    ticks: list[float] = []
    for tick in _TICKS:
        inside = low - margin <= place(tick) <= high + margin
        if inside and (not ticks or place(ticks[-1]) - place(tick) >= 1.2 * margin):
            ticks.append(tick)
    if len(ticks) >= 3:  # fewer are so close together that Matplotlib's own ticks are better
        axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_ylabel("accuracy, %")


def png(figure) -> bytes:
    """A figure as the content of a PNG file.

    Examples:
      >>> png(make_figure(1, 1))[1:4]
      b'PNG'
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return buffer.getvalue()
