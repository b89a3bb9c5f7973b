"""The measurements of Fig. 3 on the trained networks of a table, kept beside their runs."""

import sys

import numpy as np

from experiments.runner import Result
from rir_jax import analysis
from rir_jax.data import sources
from rir_jax.runs.workdir import Workdir
from rir_jax.trained.load import load


def ablate_results(results: list[Result]) -> None:
    """Writes ``ablation.json`` beside each finished run of each row, unless it is there.

    The file holds the results of `rir_jax.analysis.ablate` on the whole test split, and the norms
    of the streams and of the filter groups before and after training.
    """
    for result in results:
        for run in result.runs:
            if not (run / "ablation.json").exists():
                Workdir(run).write_json("ablation.json", _ablate(run, result.row.label))


def _ablate(workdir, label):
    import jax

    model, variables, info = load(workdir)
    dataset = sources.load_for(info.config)
    print(
        f"ablating {label}, seed {info.config.seed}: {3 + 2 * sum(model.blocks)} evaluations of "
        f"{len(dataset.held_out):,} images",
        file=sys.stderr,
    )
    images = np.asarray(info.preprocess(dataset.held_out.images))
    untrained = jax.jit(model.init)(jax.random.key(info.config.seed), images[:1])
    sample = images[:500]
    return {
        **analysis.ablate(model, variables, images, dataset.held_out.labels),
        "stream_norms": {
            "before": analysis.stream_norms(model, untrained, sample, train=True),
            "after": analysis.stream_norms(model, variables, sample, train=True),
        },
        "filter_norms": {
            "before": analysis.filter_norms(model, untrained["params"]),
            "after": analysis.filter_norms(model, variables["params"]),
        },
    }
