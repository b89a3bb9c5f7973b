"""What the layers refuse: on construction what they know then, the rest before they compute."""

import jax
import jax.numpy as jnp
import pytest

from rir_jax import GeneralizedConv, GeneralizedDense
from rir_jax.models.layers import Conv


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GeneralizedConv(7), "features is 7; allowed: an even number of 2 or more"),
        (lambda: GeneralizedConv("8"), "features is '8'; allowed: an even number"),
        (lambda: GeneralizedDense(0), "features is 0; allowed: an even number of 2 or more"),
        (lambda: GeneralizedConv(8, shortcut="pad"), "shortcut is 'pad'; allowed: 'zero_pad', 'p"),
        (lambda: GeneralizedDense(8, shortcut=None), "shortcut is None; allowed: 'zero_pad', 'p"),
        (lambda: GeneralizedConv(8, kernel_size=2), "kernel_size is 2; allowed: odd"),
        (lambda: GeneralizedConv(8, stride=0), "stride is 0; allowed: a whole number of 1 or more"),
        (lambda: Conv(0), "features is 0; allowed: a whole number of 1 or more"),
    ],
)
def test_fields_are_refused_on_construction(make, message):
    with pytest.raises(ValueError, match=message):
        make()


IMAGES = jnp.zeros((1, 4, 4, 6))


@pytest.mark.parametrize(
    ("layer", "x", "error", "message"),
    [
        (
            GeneralizedConv(4),
            IMAGES,
            ValueError,
            "features is 4, two streams of 2, .* two streams of 3",
        ),
        (GeneralizedDense(4), IMAGES, ValueError, "allowed with shortcut='zero_pad': no narrower"),
        (GeneralizedConv(8), IMAGES[..., :5], ValueError, "5 channels cannot be split"),
        (
            GeneralizedConv(8, shortcut="projection"),
            IMAGES[..., :5],
            ValueError,
            "5 channels cannot",
        ),
        (GeneralizedDense(8), IMAGES[..., :5], ValueError, "5 channels cannot be split"),
        (GeneralizedConv(8), IMAGES[0], ValueError, r"\(4, 4, 6\); allowed: \[N, H, W, C\]"),
        (GeneralizedDense(8), jnp.zeros(()), ValueError, r"shape \(\); allowed: \[..., in\]"),
        (GeneralizedConv(8), IMAGES.astype(int), TypeError, "got int32; allowed: a floating type"),
        (GeneralizedDense(8), IMAGES.astype(int), TypeError, "got int32; allowed: a floating"),
        (Conv(8), IMAGES.astype(jnp.uint8), TypeError, "Conv got uint8; allowed: a floating"),
    ],
)
def test_inputs_are_refused_before_anything_is_computed(layer, x, error, message):
    layer = layer.clone(kernel_init=_never)
    with pytest.raises(error, match=message):
        layer.init(jax.random.key(0), x)


def _never(*_):
    raise AssertionError("a kernel was made")


def test_a_projection_may_narrow_the_streams():
    layer = GeneralizedConv(4, shortcut="projection")
    variables = jax.eval_shape(layer.init, jax.random.key(0), IMAGES)
    assert variables["params"]["projection"].shape == (3, 2)
