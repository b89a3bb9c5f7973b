"""The division of work between the streams of a trained network (paper, Fig. 3).

The paper ablates each stream of a trained network and measures the accuracy. Its exact procedure
is unknown to us. Ours zeroes one stream at the output of one block, for every block and stream, and
each stream at all blocks at once.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from rir_jax.models import streams
from rir_jax.models.blocks import ResidualBlock
from rir_jax.models.network import Network

STREAMS = ("residual", "transient")
FILTER_GROUPS = ("rr", "rt", "tr", "tt")


def block_names(model: Network) -> list[str]:
    """The names of a network's residual blocks, from input to output.

    Examples:
      >>> block_names(Network(10, widths=(16, 32), blocks=(2, 1)))
      ['stage1_block1', 'stage1_block2', 'stage2_block1']
    """
    return [
        f"stage{stage}_block{block}"
        for stage, blocks in enumerate(model.blocks, 1)
        for block in range(1, blocks + 1)
    ]


def ablate(
    model: Network, variables: Any, images: jax.Array, labels: jax.Array, batch_size: int = 500
) -> dict[str, Any]:
    """Accuracy with one stream zeroed, for every block and stream.

    Args:
      model: a network of two streams.
      variables: variables of the trained network.
      images: normalized images ``[N, H, W, C]``.
      labels: int ``[N]``.
      batch_size: number of images at once; the result does not depend on it.

    Returns:
      "none", the accuracy of the whole network (0 to 1); "blocks", for each block's name the
      accuracies with its "residual" and "transient" output zeroed; "everywhere", the accuracies
      with that stream zeroed at all blocks.

    Raises:
      ValueError: the network has one stream.

    Examples:
      >>> import rir_jax
      >>> model = rir_jax.create_model("rir32", num_classes=2, blocks=(1, 1, 1))
      >>> images = jax.random.normal(jax.random.key(0), (4, 8, 8, 3))
      >>> variables = model.init(jax.random.key(1), images)
      >>> result = rir_jax.analysis.ablate(model, variables, images, jnp.zeros(4, jnp.int32))
      >>> list(result["blocks"]), list(result["everywhere"])
      (['stage1_block1', 'stage2_block1', 'stage3_block1'], ['residual', 'transient'])
    """
    _check_two_streams(model)
    blocks = block_names(model)
    apply = jax.jit(lambda variables, images, keep: _masked(model, variables, images, keep))

    def accuracy(zeroed_blocks, stream):
        keep = np.ones((len(blocks), 2), np.float32)
        keep[zeroed_blocks, stream] = 0
        correct = 0
        for start in range(0, len(labels), batch_size):
            part = slice(start, start + batch_size)
            logits = apply(variables, images[part], keep)
            correct += int(np.sum(np.argmax(logits, axis=-1) == np.asarray(labels[part])))
        return correct / len(labels)

    numbered = list(enumerate(STREAMS))
    return {
        "none": accuracy([], 0),
        "blocks": {
            block: {name: accuracy(index, stream) for stream, name in numbered}
            for index, block in enumerate(blocks)
        },
        "everywhere": {name: accuracy(slice(None), stream) for stream, name in numbered},
    }


def stream_norms(
    model: Network, variables: Any, images: jax.Array, train: bool = False
) -> dict[str, dict[str, float]]:
    """Root mean square of each stream's activations at the output of every block.

    Args:
      model: a network of two streams.
      variables: variables of the network.
      images: a batch of normalized images ``[N, H, W, C]``.
      train: whether to normalize by the statistics of these images, as in training. Use this before
        training, when running statistics still have their initial values.

    Returns:
      For each block's name, the figures of its "residual" and "transient" streams.

    Raises:
      ValueError: the network has one stream.
    """
    _check_two_streams(model)

    @jax.jit
    def norms(variables, images):
        found = {}

        def note(block, y):
            halves = streams.split(y.astype(jnp.float32))
            figures = [jnp.sqrt(jnp.mean(x**2)) for x in halves]
            found[block] = dict(zip(STREAMS, figures, strict=True))
            return y

        options = {"train": True, "mutable": ["batch_stats"]} if train else {}
        _with_blocks(model, variables, images, note, **options)
        return found

    return jax.tree.map(float, norms(variables, images))


def filter_norms(model: Network, params: Any) -> dict[str, dict[str, dict[str, float]]]:
    """Root mean square of the four filter groups of every generalized layer, by block and layer.

    Group "rt" holds the filters from the residual to the transient stream (W_rt), and so on. The
    identity shortcut does not count.

    Args:
      model: a network of two streams.
      params: collection "params" of the network.

    Returns:
      For each block's name and each layer's ("conv1", ...), the figures of "rr", "rt", "tr", "tt".

    Raises:
      ValueError: the network has one stream.
    """
    _check_two_streams(model)
    result: dict[str, dict[str, dict[str, float]]] = {}
    for block in block_names(model):
        for layer in range(1, model.layers_per_block + 1):
            kernel = np.asarray(params[block][f"conv{layer}"]["kernel"], np.float64)
            rows = np.split(kernel, 2, axis=2)  # from r and from t
            groups = [group for row in rows for group in np.split(row, 2, axis=3)]
            figures = [float(np.sqrt(np.mean(group**2))) for group in groups]
            result.setdefault(block, {})[f"conv{layer}"] = dict(
                zip(FILTER_GROUPS, figures, strict=True)
            )
    return result


def _check_two_streams(model):
    if not model.two_streams:
        raise ValueError("the network has one stream; allowed: a ResNet Init or a RiR")


def _with_blocks(model, variables, images, change, **options):
    """Applies a network with ``change(name, output)`` in place of each block's output."""

    def intercept(call, arguments, keywords, context):
        y = call(*arguments, **keywords)
        if isinstance(context.module, ResidualBlock) and context.method_name == "__call__":
            return change(context.module.name, y)
        return y

    with nn.intercept_methods(intercept):
        return model.apply(variables, images, **options)


def _masked(model, variables, images, keep):
    """Logits with each block's streams multiplied by ``keep`` ``[blocks, 2]``."""
    index = {name: i for i, name in enumerate(block_names(model))}

    def mask(block, y):
        residual, transient = streams.split(y)
        factors = keep[index[block]].astype(y.dtype)
        return streams.join(residual * factors[0], transient * factors[1])

    return _with_blocks(model, variables, images, mask)
