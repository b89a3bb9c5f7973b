"""Ablation: zeroing a stream is what it says, by other means; the use of the streams by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rir_jax

pytestmark = pytest.mark.slow

IMAGES = jax.random.normal(jax.random.key(1), (40, 8, 8, 1))


@pytest.fixture(scope="module")
def network():
    model = rir_jax.create_model("rir32", 3, stem_width=4, widths=(4, 8), blocks=(1, 1))
    apply = jax.jit(model.apply)
    variables = jax.jit(model.init)(jax.random.key(0), IMAGES[:1])
    # Centred logits, so that all classes are answered.
    variables["params"]["head_dense"]["bias"] -= apply(variables, IMAGES).mean(0)
    labels = jnp.argmax(apply(variables, IMAGES), -1)
    return model, variables, labels


def test_zeroing_the_last_block_is_zeroing_what_reads_it(network):
    """Labels are the whole network's answers, so accuracies say how many answers changed."""
    model, variables, labels = network
    found = rir_jax.analysis.ablate(model, variables, IMAGES, labels, batch_size=16)
    assert found["none"] == 1
    for stream, rows in (("residual", slice(None, 4)), ("transient", slice(4, None))):
        head = variables["params"]["head_dense"]
        kernel = head["kernel"].at[rows].set(0)
        params = {**variables["params"], "head_dense": {**head, "kernel": kernel}}
        logits = jax.jit(model.apply)({**variables, "params": params}, IMAGES)
        expected = pytest.approx(np.mean(np.argmax(logits, -1) == np.asarray(labels)))
        assert found["blocks"]["stage2_block1"][stream] == expected
    assert set(found["blocks"]) == {"stage1_block1", "stage2_block1"}
    assert set(found["everywhere"]) == {"residual", "transient"}
    assert min(found["everywhere"].values()) < 1


def test_norms_of_streams_and_filter_groups(network):
    model, variables, _ = network
    activations = jax.jit(
        lambda v, x: model.apply(v, x, capture_intermediates=True)[1]["intermediates"]
    )(variables, IMAGES)
    block = np.asarray(activations["stage2_block1"]["__call__"][0])
    norms = rir_jax.analysis.stream_norms(model, variables, IMAGES)
    assert norms["stage2_block1"]["residual"] == pytest.approx(
        np.sqrt((block[..., :4] ** 2).mean()), rel=1e-5
    )
    assert norms["stage2_block1"]["transient"] == pytest.approx(
        np.sqrt((block[..., 4:] ** 2).mean()), rel=1e-5
    )
    kernel = np.asarray(variables["params"]["stage2_block1"]["conv1"]["kernel"])
    filters = rir_jax.analysis.filter_norms(model, variables["params"])["stage2_block1"]["conv1"]
    assert filters["rt"] == pytest.approx(np.sqrt((kernel[:, :, :2, 4:] ** 2).mean()), rel=1e-6)
    assert filters["tr"] == pytest.approx(np.sqrt((kernel[:, :, 2:, :4] ** 2).mean()), rel=1e-6)


def test_before_training_streams_are_normalized_by_the_images_own_statistics(network):
    """Running statistics that have seen nothing let activations grow from block to block."""
    model, variables, _ = network
    larger = IMAGES * 1000
    norms = rir_jax.analysis.stream_norms(model, variables, larger, train=True)
    assert min(min(block.values()) for block in norms.values()) > 0.1
    assert max(max(block.values()) for block in norms.values()) < 10
    running = rir_jax.analysis.stream_norms(model, variables, larger)
    assert min(min(block.values()) for block in running.values()) > 10


def test_a_network_of_one_stream_is_refused():
    model = rir_jax.create_model("resnet32")
    with pytest.raises(ValueError, match="has one stream; allowed: a ResNet Init or a RiR"):
        rir_jax.analysis.ablate(model, {}, IMAGES, jnp.zeros(40, int))
