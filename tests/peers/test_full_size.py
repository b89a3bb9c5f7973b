"""pytorchcv's rir_cifar10 and rir_cifar100 at full size, run side by side with ours."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from pytorchcv.models.rir_cifar import rir_cifar10, rir_cifar100

import rir_jax
from rir_jax import interop
from tests.interop.comparison import compare
from tests.peers.record import randomize, record

PRECISIONS = {"float32": 1e-4, "float64": 1e-9}
NETWORKS = {10: (rir_cifar10, 9_492_980), 100: (rir_cifar100, 9_527_720)}


@pytest.fixture(scope="module", params=NETWORKS)
def classes(request):
    return request.param


@pytest.fixture(scope="module")
def net(classes):
    make, parameters = NETWORKS[classes]
    net = make()
    assert sum(p.numel() for p in net.parameters()) == parameters
    return net


def model_of(classes, dtype):
    return rir_jax.create_model(
        "rir18_wide", classes, dtype=dtype, param_dtype=dtype, **interop.PYTORCHCV
    )


@pytest.mark.parametrize("precision", PRECISIONS)
def test_logits_and_a_step_of_sgd_agree(net, classes, precision):
    randomize(net, seed=classes, offset=3 if precision == "float32" else 0)
    rng = np.random.default_rng(0)
    images, labels = rng.normal(size=(4, 32, 32, 3)), rng.integers(0, classes, 4)
    seen = record(net.to(getattr(torch, precision)), images, labels)
    with jax.enable_x64(precision == "float64"):
        distances = compare(model_of(classes, jnp.dtype(precision)), seen)
    print(f"{classes} classes, {precision}: {distances}")
    if precision == "float32":  # the difference of weights that changed little: rounded away
        del distances["updates"]
    assert max(distances.values()) < PRECISIONS[precision], distances


def test_weights_of_ours_run_in_pytorchcv(net, classes):
    randomize(net.float(), seed=1)
    model = model_of(classes, jnp.float32)
    images = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)
    variables = jax.jit(model.init)(jax.random.key(0), images)
    state_dict = interop.to_pytorchcv(variables)
    net.load_state_dict({name: torch.tensor(value) for name, value in state_dict.items()})
    net.eval()
    with torch.no_grad():
        logits = net(torch.tensor(images).permute(0, 3, 1, 2)).numpy()
    ours = jax.jit(model.apply)(variables, images)
    np.testing.assert_allclose(ours, logits, rtol=1e-4, atol=1e-4 * np.abs(logits).max())
    again = interop.from_pytorchcv(net.state_dict())
    chex.assert_trees_all_equal(again, variables, strict=True)
