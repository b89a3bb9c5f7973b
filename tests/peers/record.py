"""Runs the real pytorchcv and records what it does. Needs torch and pytorchcv.

    python -m tests.peers.record tests/interop/data/pytorchcv.npz

writes the fixture of the normal tests, from a narrow network, so that those need neither.
``make test-peers`` records networks at full size, and does not write them.
"""

import sys
from collections.abc import Mapping

import numpy as np
import torch
from pytorchcv.models.rir_cifar import CIFARRiR

from tests.interop.comparison import LEARNING_RATE, MOMENTUM, WEIGHT_DECAY


@torch.no_grad()
def randomize(net: torch.nn.Module, seed: int, offset: float = 0) -> None:
    """Draws every weight and every batch-norm statistic anew, in place.

    Args:
      net: whose.
      seed: of the draw.
      offset: how far the batch norms' biases are from zero, on either side. Among millions of
        activations some are within rounding of a ReLU's kink, where the gradient jumps. In single
        precision two correct programs then differ; with an offset of 3, which few activations
        cross, they need not.
    """
    rng = np.random.default_rng(seed)
    for name, tensor in net.state_dict().items():
        leaf, shape = name.split(".")[-1], tuple(tensor.shape)
        if leaf == "running_var":
            value = rng.uniform(0.5, 2.0, shape)
        elif leaf == "num_batches_tracked":
            value = 7
        elif leaf in ("running_mean", "bias"):
            value = rng.normal(0, 0.3, shape)
            if leaf == "bias":
                value += offset * rng.choice([-1, 1], shape)
        elif tensor.ndim == 1:  # a batch norm's scale
            value = rng.uniform(0.5, 1.5, shape)
        else:
            value = rng.normal(0, np.prod(shape[1:]) ** -0.5, shape)
        tensor.copy_(torch.as_tensor(value))


def record(net: torch.nn.Module, images: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """What a network does: its weights, logits in both modes, weights after one step of SGD.

    Args:
      net: in its own precision.
      images: ``[N, 32, 32, 3]``.
      labels: ``[N]``.

    Returns:
      "images", "labels", "inference_logits", "training_logits", and the state dicts "before/..."
      and "after/..." the step, whose L2 penalty is on convolutions alone.
    """
    dtype = next(net.parameters()).dtype
    inputs = torch.as_tensor(images, dtype=dtype).permute(0, 3, 1, 2).contiguous()
    seen = {"images": images, "labels": labels, **_named("before", net.state_dict())}
    net.eval()
    with torch.no_grad():
        seen["inference_logits"] = net(inputs).numpy().copy()
    net.train()
    kernels = [p for p in net.parameters() if p.ndim > 1]
    others = [p for p in net.parameters() if p.ndim == 1]
    groups = [{"params": kernels, "weight_decay": WEIGHT_DECAY}, {"params": others}]
    optimizer = torch.optim.SGD(groups, lr=LEARNING_RATE, momentum=MOMENTUM)
    optimizer.zero_grad()
    logits = net(inputs)
    torch.nn.functional.cross_entropy(logits, torch.as_tensor(labels)).backward()
    optimizer.step()
    seen["training_logits"] = logits.detach().numpy().copy()
    return seen | _named("after", net.state_dict())


def _named(prefix: str, state_dict: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
    return {f"{prefix}/{name}": tensor.numpy().copy() for name, tensor in state_dict.items()}


def main(path: str) -> None:
    channels = [[2, 2], [3, 3], [4, 4, 4, 4]]
    net = CIFARRiR(channels, init_block_channels=2, final_block_channels=8, num_classes=3).double()
    randomize(net, seed=0)
    rng = np.random.default_rng(1)
    images = rng.normal(size=(3, 32, 32, 3))
    np.savez_compressed(path, **record(net, images, np.array([0, 2, 1])))


if __name__ == "__main__":
    main(*sys.argv[1:])
