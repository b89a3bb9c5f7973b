"""Pictures of a run."""

from collections.abc import Sequence
from typing import Any

from rir_jax.pictures.figure import COLOURS, accuracy_axis, epoch_axis, loss_axis, make_figure, png

_TRAIN = {"color": COLOURS[0], "linestyle": "--"}
_HELD_OUT = {"color": COLOURS[1], "linestyle": "-", "marker": "o", "markersize": 2.5}


def draw_curves(records: Sequence[dict[str, Any]], title: str, drops: Sequence[int]) -> bytes:
    """Loss and accuracy against epochs, as a PNG.

    Args:
      records: of metrics.jsonl, for at least one split.
      title: what the run is.
      drops: epochs after which the learning rate falls, marked by vertical lines.
    """
    figure = make_figure(9, 3.8)
    loss_axes, accuracy_axes = figure.subplots(1, 2)
    steps_per_epoch = max(r["step"] / r["epoch"] for r in records)
    for split in dict.fromkeys(record["split"] for record in records):
        of_split = [record for record in records if record["split"] == split]
        epochs = [record["step"] / steps_per_epoch for record in of_split]
        style = _TRAIN if split == "train" else _HELD_OUT
        loss_axes.plot(epochs, [r["loss"] for r in of_split], label=split, **style)
        accuracies = [100 * r["accuracy"] for r in of_split]
        label = f"{split} ({accuracies[-1]:.2f} % last)"
        accuracy_axes.plot(epochs, accuracies, label=label, **style)
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
