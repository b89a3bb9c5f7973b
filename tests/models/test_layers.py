"""What the layers refuse: on construction what they know then, the rest before they compute."""

import jax
import jax.numpy as jnp
import pytest

from rir_jax import GeneralizedConv, GeneralizedDense, resnet_init_conv
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
        (lambda: GeneralizedConv(8, (3, 4)), r"kernel_size is \(3, 4\); allowed: odd"),
        (
            lambda: GeneralizedConv(8, (3,) * 4),
            "kernel_size is .*; allowed: odd, for 1 to 3 spatial",
        ),
        (
            lambda: GeneralizedConv(8, "3"),
            "kernel_size is '3'; allowed: a whole number of 1 or more",
        ),
        (
            lambda: GeneralizedConv(8, strides=0),
            "strides is 0; allowed: a whole number of 1 or more",
        ),
        (
            lambda: GeneralizedConv(8, strides=(2, 2, 2)),
            r"strides is .*; allowed: one number, or 2",
        ),
        (
            lambda: GeneralizedConv(8, padding="VALID"),
            r"is 'VALID'; allowed: \(\(1, 1\), \(1, 1\)\)",
        ),
        (lambda: GeneralizedConv(8, padding=0), "padding is 0; allowed: .* half of the kernel"),
        (
            lambda: GeneralizedConv(8, strides=2, padding="SAME"),
            "'SAME'; allowed: .* on every side",
        ),
        (lambda: resnet_init_conv(8, 4), "kernel_size is 4; allowed: odd"),
        (lambda: resnet_init_conv(7), "features is 7; allowed: an even number"),
        (lambda: resnet_init_conv(8, strides=2, padding="SAME"), "padding is 'SAME'; allowed"),
        (lambda: Conv(0), "features is 0; allowed: a whole number of 1 or more"),
    ],
)
def test_fields_are_refused_on_construction(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "fields",
    [
        {"feature_group_count": 2},
        {"kernel_dilation": 2},
        {"input_dilation": 2},
        {"mask": jnp.ones((3, 3, 8, 8))},
        {"preferred_element_type": jnp.float32},
    ],
    ids=lambda fields: next(iter(fields)),
)
@pytest.mark.parametrize("make", [GeneralizedConv, resnet_init_conv])
def test_what_tears_streams_from_pixels_is_no_field(make, fields):
    [name] = fields
    with pytest.raises(TypeError, match=f"argument '{name}'"):
        make(8, **fields)


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
        (GeneralizedConv(8), IMAGES[0, 0], ValueError, r"\(4, 6\); allowed: \[..., H, W, C\]"),
        (GeneralizedConv(8, (3,)), IMAGES[0, 0, 0], ValueError, r"allowed: \[..., W, C\]"),
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
