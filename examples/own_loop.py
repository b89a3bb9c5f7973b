"""Trains rir32 on arrays with plain optax; rir_jax provides only the model.

    python examples/own_loop.py

It reaches about 98 % test accuracy on scikit-learn's handwritten digits (the extra ``train``).
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_digits

import rir_jax


def kernels(params):
    """A tree of booleans for weight decay: true for kernels, false for biases and batch norms."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)


def train(model, images, labels, epochs=10, batch_size=64, rate=0.1, seed=0):
    """Trains on images, float32 [N, H, W, C], and labels, int [N]; returns the variables."""
    variables = jax.jit(model.init)(jax.random.key(seed), images[:1])
    steps = len(images) // batch_size
    schedule = optax.cosine_decay_schedule(rate, epochs * steps)
    decay = optax.add_decayed_weights(1e-4, mask=kernels)
    optimizer = optax.chain(decay, optax.sgd(schedule, momentum=0.9, nesterov=True))

    @jax.jit
    def step(variables, opt_state, images, labels):
        def loss_of(params):
            given = {"params": params, "batch_stats": variables["batch_stats"]}
            logits, updates = model.apply(given, images, train=True, mutable=["batch_stats"])
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
            return losses.mean(), updates["batch_stats"]

        (loss, stats), grads = jax.value_and_grad(loss_of, has_aux=True)(variables["params"])
        updates, opt_state = optimizer.update(grads, opt_state, variables["params"])
        params = optax.apply_updates(variables["params"], updates)
        return {"params": params, "batch_stats": stats}, opt_state, loss

    opt_state, random = optimizer.init(variables["params"]), np.random.default_rng(seed)
    for epoch in range(1, epochs + 1):
        order = random.permutation(len(images))[: steps * batch_size]
        for batch in order.reshape(steps, batch_size):
            variables, opt_state, loss = step(variables, opt_state, images[batch], labels[batch])
        print(f"epoch {epoch}: loss {loss:.4f}")
    return variables


if __name__ == "__main__":
    digits = load_digits()
    images, labels = digits.images[..., None].astype(np.float32) / 8 - 0.6, digits.target
    model, test = rir_jax.create_model("rir32", num_classes=10), np.arange(len(images)) % 5 == 4
    variables = train(model, images[~test], labels[~test])
    logits = jax.jit(model.apply)(variables, images[test])
    print(f"test accuracy: {np.mean(jnp.argmax(logits, axis=-1) == labels[test]):.4f}")
