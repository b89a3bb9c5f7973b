"""Pictures of a run, and of several."""

from collections.abc import Mapping, Sequence
from typing import Any

from rir_jax.pictures.figure import (
    COLOURS,
    STYLES,
    accuracy_axis,
    epoch_axis,
    loss_axis,
    make_figure,
    png,
)

_TRAIN = {"color": COLOURS[0], "linestyle": "--"}
_HELD_OUT = {"color": COLOURS[1], "linestyle": "-", "marker": "o", "markersize": 2.5}


def draw_curves(records: Sequence[dict[str, Any]], title: str, drops: Sequence[int]) -> bytes:
    """Loss and accuracy against epochs, as a PNG.

    Args:
      records: the records of metrics.jsonl, for at least one split.
      title: the picture's title, such as the names of model and data set.
      drops: the epochs after which the learning rate falls, marked by vertical lines.
    """
    figure = make_figure(9, 3.8)
    loss_axes, accuracy_axes = figure.subplots(1, 2)
    for split, epochs, losses, percents in _curves(records):
        style = _TRAIN if split == "train" else _HELD_OUT
        loss_axes.plot(epochs, losses, label=split, **style)
        label = f"{split} ({percents[-1]:.2f} % last)"
        accuracy_axes.plot(epochs, percents, label=label, **style)
    accuracy_axis(accuracy_axes, [100 * record["accuracy"] for record in records])
    loss_axis(loss_axes)
    for axes in (loss_axes, accuracy_axes):
        epoch_axis(axes)
        for drop in drops:
            axes.axvline(drop, color="0.7", linewidth=0.8, zorder=0)
        axes.grid(alpha=0.25, which="both", linewidth=0.4)
        axes.legend(frameon=False)
    figure.suptitle(title)
    return png(figure)


def draw_comparison(runs: Mapping[str, Sequence[Sequence[dict[str, Any]]]]) -> bytes:
    """Loss and accuracy of several runs against epochs, as a PNG.

    Each run has a colour: thin lines show the training split, thick ones the split that the run
    reports on. Each of its seeds has lines of its own.

    Args:
      runs: for each run, by name, the metrics.jsonl records of each of its seeds.
    """
    figure = make_figure(10, 4.2)
    loss_axes, accuracy_axes = figure.subplots(1, 2)
    seen: list[float] = []
    for number, (name, seeds) in enumerate(runs.items()):
        style = {
            "color": COLOURS[number % len(COLOURS)],
            "linestyle": STYLES[number // len(COLOURS) % len(STYLES)],
        }
        for records in seeds:
            for split, epochs, losses, percents in _curves(records):
                width = 0.6 if split == "train" else 1.8
                loss_axes.plot(epochs, losses, linewidth=width, **style)
                accuracy_axes.plot(epochs, percents, linewidth=width, **style)
                seen += percents
        accuracy_axes.plot([], [], label=name, **style)
    accuracy_axis(accuracy_axes, seen or [0, 100])  # of runs that have just begun: none yet
    loss_axis(loss_axes)
    for axes in (loss_axes, accuracy_axes):
        epoch_axis(axes)
        axes.grid(alpha=0.25, which="both", linewidth=0.4)
    figure.legend(loc="outside lower center", frameon=False, ncols=3)
    figure.suptitle("thin: training; thick: held out")
    return png(figure)


def _curves(records):
    """For each split its name, and its records' moments in epochs, losses and accuracies in %."""
    steps_per_epoch = max((record["step"] / record["epoch"] for record in records), default=1)
    for split in dict.fromkeys(record["split"] for record in records):
        chosen = [record for record in records if record["split"] == split]
        epochs = [record["step"] / steps_per_epoch for record in chosen]
        losses = [record["loss"] for record in chosen]
        yield split, epochs, losses, [100 * record["accuracy"] for record in chosen]
