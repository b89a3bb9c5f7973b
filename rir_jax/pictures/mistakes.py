"""Pictures of a network's mistakes: the confusion matrix and the worst mistakes."""

from collections.abc import Sequence

import numpy as np

from rir_jax.pictures.figure import make_figure, png

_MANY = 20  # the most classes whose numbers fit into the cells


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """The number of images of each class (row) by predicted class (column), int ``[classes] * 2``.

    Examples:
      >>> confusion_matrix(np.array([0, 1, 1]), np.array([0, 0, 1]), 2).tolist()
      [[1, 0], [1, 1]]
    """
    cells = np.bincount(labels * num_classes + predicted, minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes)


def draw_confusion(matrix: np.ndarray, class_names: Sequence[str], title: str) -> bytes:
    """A confusion matrix as a PNG, with the accuracy of each class beside its row.

    Right predictions are blue, the darker the larger their share of the row. Mistakes are orange;
    even a single one can be seen.
    """
    count = len(class_names)
    totals = matrix.sum(axis=1)
    shares = matrix / np.maximum(totals[:, None], 1)
    right = np.eye(count, dtype=bool)
    wrong = np.where(right, 0, shares)
    tints = np.where(wrong > 0, 0.25 + 0.75 * np.sqrt(wrong / max(wrong.max(), 1e-9)), 0)
    side = 3.2 + (0.42 if count <= _MANY else 0.14) * count
    figure = make_figure(side + 0.8, side)
    axes = figure.subplots()
    axes.imshow(np.ma.array(shares, mask=~right), cmap="Blues", vmin=0, vmax=1)
    axes.imshow(np.ma.array(tints, mask=tints == 0), cmap="Oranges", vmin=0, vmax=1.3)
    size = 8 if count <= _MANY else 6
    names = [_as_it_is(name) for name in class_names]
    axes.set_xticks(range(count), names, rotation=90, fontsize=size)
    axes.set_yticks(range(count), names, fontsize=size)
    axes.set(xlabel="predicted", ylabel="true", title=title)
    if count <= _MANY:
        for row, column in zip(*np.nonzero(matrix), strict=True):
            color = "white" if row == column and shares[row, column] > 0.5 else "black"
            number = f"{matrix[row, column]:,}"
            axes.text(column, row, number, ha="center", va="center", color=color, fontsize=7)
    beside = axes.secondary_yaxis("right")
    accuracies = [f"{100 * shares[i, i]:.1f} %" if totals[i] else "none" for i in range(count)]
    beside.set_yticks(range(count), accuracies, fontsize=size)
    beside.set_ylabel("accuracy of the class")
    return png(figure)


def _as_it_is(name):
    """A name with its dollars escaped, so that Matplotlib does not take it for a formula."""
    return name.replace("$", r"\$")


def worst_mistakes(labels: np.ndarray, probabilities: np.ndarray, count: int = 24) -> np.ndarray:
    """Indices of the wrong predictions that the network was most certain of, the worst first.

    Examples:
      >>> probabilities = np.array([[0.1, 0.9], [0.8, 0.2], [0.4, 0.6]])
      >>> worst_mistakes(np.array([0, 1, 1]), probabilities).tolist()
      [0, 1]
    """
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    certainty = probabilities[wrong].max(axis=1)
    return wrong[np.argsort(-certainty, kind="stable")][:count]


def draw_mistakes(
    images: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    class_names: Sequence[str],
    title: str,
) -> bytes:
    """The worst mistakes as a PNG, each with its class, the predicted class and its probability.

    Args:
      images: all images of a split, uint8 ``[N, H, W, C]``.
      labels: their true classes, int ``[N]``.
      probabilities: the predicted probabilities, float ``[N, len(class_names)]``.
      class_names: the name of each class.
      title: the picture's title.
    """
    worst = worst_mistakes(labels, probabilities)
    columns = min(6, max(len(worst), 3))  # three at least: the title needs their width
    rows = -(-len(worst) // columns)
    figure = make_figure(columns * 1.7, 0.8 + rows * 2.05)
    for position in range(len(worst)):
        figure.add_subplot(rows, columns, position + 1).set_axis_off()
    for axes, index in zip(figure.axes, worst, strict=True):
        image = images[index]
        axes.imshow(np.repeat(image, 4 - image.shape[-1], axis=-1)[..., :3])
        taken = probabilities[index].argmax()
        axes.set_title(
            f"{_as_it_is(class_names[labels[index]])}, taken for\n"
            f"{_as_it_is(class_names[taken])}: {100 * probabilities[index, taken]:.1f} %",
            fontsize=8,
        )
    wrong = int((probabilities.argmax(axis=1) != labels).sum())
    shown = f"the {len(worst)} most certain of {wrong:,} mistakes"
    if wrong == len(worst):
        shown = f"all {wrong} mistakes" if wrong else f"no mistake in {len(labels):,} images"
    figure.suptitle(f"{title}:\n{shown}", fontsize="medium")
    return png(figure)
