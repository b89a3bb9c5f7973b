"""Fine-tuning on few images, compared with training from nothing, in one figure.

    python examples/finetune_digits.py --workdir=runs/finetune

A small RiR learns the ten handwritten digits from half of the training images. Then networks like
it learn to tell odd digits from even ones, by the same recipe, once starting from those weights and
once from nothing. They see 1, 2 or 5 images of each digit, drawn from the other half anew for each
seed. The example writes finetune.png and finetune.json into the workdir, and does not repeat
finished runs. It needs the extra ``train``.
"""

import argparse
import json
import pathlib

import numpy as np

import rir_jax
from rir_jax.data import sources
from rir_jax.pictures.figure import COLOURS, make_figure, png

COUNTS, SEEDS, STEPS = (1, 2, 5), 3, 100
STARTS = {"from nothing": None, "from trained weights": "source"}


def config_of(batch_size, epochs, blocks=(1, 1, 1)):
    config = rir_jax.default_config()
    config.model.name, config.model.blocks = "rir32", blocks
    config.augment.crop_padding, config.augment.flip = 1, False
    config.train.batch_size, config.train.epochs = batch_size, epochs
    config.eval.every_epochs = config.checkpoint.every_epochs = epochs
    config.optimizer.learning_rate, config.schedule.kind = 0.05, "cosine"
    return config


def ten_digits():
    """Half of the training images, as ten classes."""
    data = sources.load("digits")
    half = data.train.take(np.arange(len(data.train) // 2))
    return rir_jax.Dataset(half, data.held_out, data.class_names, "ten_digits")


def odd_or_even(count, seed):
    """``count`` training images of each digit from the other half, as two classes."""
    data, random = sources.load("digits"), np.random.default_rng(seed)
    half = data.train.take(np.arange(len(data.train) // 2, len(data.train)))
    chosen = [random.permutation(np.flatnonzero(half.labels == d))[:count] for d in range(10)]
    few = half.take(np.concatenate(chosen))
    splits = [rir_jax.Split(split.images, split.labels % 2) for split in (few, data.held_out)]
    return rir_jax.Dataset(*splits, ("even", "odd"), "odd_or_even")


def run(workdir, counts=COUNTS, seeds=SEEDS, steps=STEPS, source_epochs=10):
    """The test accuracies (0 to 1): for each start and count, a list over the seeds."""
    rir_jax.train_and_evaluate(
        config_of(64, source_epochs), workdir / "source", dataset=ten_digits()
    )
    results = {start: {} for start in STARTS}
    for count in counts:
        batch_size = min(10 * count, 25)
        config = config_of(batch_size, epochs=steps * batch_size // (10 * count))
        for number, (start, weights) in enumerate(STARTS.items()):
            config.init.weights = weights and str(workdir / weights)
            for config.seed in range(seeds):
                folder = workdir / f"{count}_images_{('nothing', 'weights')[number]}_{config.seed}"
                data = odd_or_even(count, config.seed)
                summary = rir_jax.train_and_evaluate(config, folder, dataset=data)
                if summary is None:  # by Ctrl-C
                    raise SystemExit("stopped; the same command resumes")
                results[start].setdefault(count, []).append(summary["test_accuracy"])
    return results


def draw(results, path):
    figure = make_figure(6, 3.8)
    axes = figure.subplots()
    for (start, by_count), colour in zip(results.items(), COLOURS[1::-1], strict=False):
        for count, accuracies in by_count.items():
            axes.plot([count] * len(accuracies), 100 * np.array(accuracies), ".", color=colour)
        means = [100 * np.mean(accuracies) for accuracies in by_count.values()]
        axes.plot(list(by_count), means, "-", color=colour, label=start)
    axes.set(xscale="log", xlabel="training images of each digit", ylabel="test accuracy, %")
    axes.set_xticks(list(by_count), list(map(str, by_count)))
    axes.minorticks_off()
    axes.set_title("Odd or even? From few images")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    path.write_bytes(png(figure))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--workdir", type=pathlib.Path, required=True)
    workdir = parser.parse_args().workdir
    results = run(workdir)
    (workdir / "finetune.json").write_text(json.dumps(results, indent=1))
    draw(results, workdir / "finetune.png")
    for start, by_count in results.items():
        print(start, {count: f"{100 * np.mean(a):.1f} %" for count, a in by_count.items()})
