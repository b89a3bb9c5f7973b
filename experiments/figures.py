"""The pictures of a table: learning curves of its rows, and the paper's figures 3 and 4."""

import itertools
import json
import statistics
from collections.abc import Callable

from experiments.runner import Result
from experiments.table import Table
from rir_jax.pictures.figure import COLOURS, STYLES, accuracy_axis, epoch_axis, make_figure, png
from rir_jax.runs.metrics import read_metrics
from rir_jax.runs.workdir import Workdir


def draw(table: Table, results: list[Result]) -> dict[str, bytes]:
    """PNGs by file name: "curves.png", and those of Fig. 3 or 4 if the table asks for them."""
    finished = [result for result in results if result.summaries]
    pictures = {}
    if finished:
        pictures["curves.png"] = _png(lambda axes: _curves(axes, finished), table.title)
        if table.figure == "depth":
            pictures["depth.png"] = _png(lambda axes: _depth(axes, finished), table.title)
        if table.figure == "ablation":
            for result in finished:
                name = f"ablation_{result.summaries[0]['model']}.png"
                title = f"{table.title}, {result.row.label}"
                pictures[name] = _png(lambda axes, r=result: _ablation(axes, r), title)
                name, title = name.replace("ablation", "streams"), f"Streams, {result.row.label}"
                pictures[name] = _png(lambda axes, r=result: _streams(axes, r), title, panels=2)
    return pictures


def _png(paint: Callable, title: str, panels: int = 1) -> bytes:
    figure = make_figure(7, 4.2 * panels)
    paint(figure.subplots(panels))
    figure.suptitle(title, fontsize="medium", wrap=True)
    for one in figure.axes:
        one.grid(alpha=0.25, linewidth=0.4)
        one.legend(frameon=False, fontsize="small", ncols=2 if panels > 1 else 1)
    return png(figure)


def _curves(axes, results):
    """Draws accuracy on the reported split against epochs: the mean over seeds and their range."""
    drawn = []
    for number, result in enumerate(results):
        curves = [_accuracies(run) for run in result.runs]
        epochs = sorted(set.intersection(*map(set, curves)))
        lines = [[curve[epoch] for epoch in epochs] for curve in curves]
        drawn += itertools.chain.from_iterable(lines)
        _line(
            axes,
            epochs,
            lines,
            color=COLOURS[number % len(COLOURS)],
            linestyle=STYLES[number % len(STYLES)],
            label=result.row.label,
        )
    accuracy_axis(axes, drawn)
    epoch_axis(axes)


def _line(axes, x, lines, color, **style):
    """Draws the mean of some lines, and their range behind it."""
    points = list(zip(*lines, strict=True))
    axes.plot(x, [statistics.mean(point) for point in points], color=color, **style)
    if len(lines) > 1:
        low, high = [min(point) for point in points], [max(point) for point in points]
        axes.fill_between(x, low, high, color=color, alpha=0.15, linewidth=0)


def _accuracies(run):
    """The accuracy of a run in percent, by epoch."""
    records = [record for record in read_metrics(Workdir(run)) if record["split"] != "train"]
    return {record["epoch"]: 100 * record["accuracy"] for record in records}


def _depth(axes, results):
    """Draws accuracy against layers a block, a line a family (Fig. 4)."""
    families = {}
    for result in results:
        family = result.row.label.split(",")[0]
        layers = result.row.fields["model.layers_per_block"]
        families.setdefault(family, []).append((layers, result.accuracies))
    for number, (family, points) in enumerate(families.items()):
        axes.errorbar(
            [layers for layers, _ in points],
            [statistics.mean(accuracies) for _, accuracies in points],
            yerr=[statistics.stdev(a) if len(a) > 1 else 0 for _, a in points],
            color=COLOURS[number],
            linestyle=STYLES[number],
            marker="os"[number % 2],
            capsize=3,
            label=family,
        )
    axes.set(xlabel="layers a block", ylabel="accuracy, %")
    axes.set_xticks(sorted({layers for points in families.values() for layers, _ in points}))


def _ablation(axes, result):
    """Draws the accuracy with one stream of one block zeroed, against that block (Fig. 3)."""
    found = _measured(result)
    blocks = list(found[0]["blocks"])
    for number, stream in enumerate(("residual", "transient")):
        everywhere = 100 * statistics.mean(of_run["everywhere"][stream] for of_run in found)
        _line(
            axes,
            range(len(blocks)),
            [[100 * of_run["blocks"][block][stream] for block in blocks] for of_run in found],
            color=COLOURS[number],
            linestyle=STYLES[number],
            marker="os"[number],
            label=f"{stream} stream zeroed (everywhere: {everywhere:.1f} %)",
        )
    whole = 100 * statistics.mean(of_run["none"] for of_run in found)
    axes.axhline(whole, color="0.4", linewidth=1, label="whole network")
    axes.set(ylabel="test accuracy, %", ylim=(0, min(100, 1.4 * whole)))
    _name_blocks(axes, blocks)


def _streams(axes, result):
    """Draws the streams' root mean squares and the growth of the filters', against blocks."""
    found = _measured(result)
    blocks = list(found[0]["blocks"])
    of_streams, of_filters = axes
    for time, style in (("before", ":"), ("after", "-")):
        for number, stream in enumerate(("residual", "transient")):
            _line(
                of_streams,
                range(len(blocks)),
                [[run["stream_norms"][time][block][stream] for block in blocks] for run in found],
                color=COLOURS[number],
                linestyle=style,
                marker="os"[number],
                label=f"{stream} stream, {time} training",
            )
    for number, group in enumerate(("rr", "rt", "tr", "tt")):
        _line(
            of_filters,
            range(len(blocks)),
            [_growth(run["filter_norms"], blocks, group) for run in found],
            color=COLOURS[number],
            linestyle=STYLES[number],
            marker="os^v"[number],
            label=f"from {group[0]} to {group[1]}",
        )
    of_streams.set(ylabel="activations, root mean square", ylim=(0, None))
    of_filters.set(ylabel="filters, root mean square after / before training")
    for one in axes:
        _name_blocks(one, blocks)


def _growth(norms, blocks, group):
    """The root mean square of a filter group after training over that before, by block."""
    after, before = (
        [_rms(layer[group] for layer in norms[time][block].values()) for block in blocks]
        for time in ("after", "before")
    )
    return [a / b for a, b in zip(after, before, strict=True)]


def _measured(result):
    """The measurements on each of a row's networks."""
    return [json.loads((run / "ablation.json").read_text()) for run in result.runs]


def _name_blocks(axes, blocks):
    axes.set_xticks(range(len(blocks)), [name.replace("_", "\n") for name in blocks], fontsize=6)


def _rms(values):
    return statistics.mean(value**2 for value in values) ** 0.5
