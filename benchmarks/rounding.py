"""What is rounded away where chips sum their parts of a gradient in bfloat16.

    python -m benchmarks.rounding --parts 1 8 64

In a network that computes in bfloat16, each chip rounds its part of a kernel's gradient to
bfloat16, and so does each addition on the way from chip to chip. Here both are done to gradients of
a small RiR on a batch of scikit-learn's digits: each layer's input and the gradient of its output
are the network's, the parts' gradients are computed from them in float32, and then rounded and
added one after the other, as a ring does. Errors are root mean squares over all 3x3 and 1x1
kernels, relative to the sum in float32. For comparison: how far the gradient is from that of the
network in float32, and from that of other images. The last lines are a table.
"""

import argparse
from unittest import mock

import numpy as np

BATCH_SIZE = 512


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--steps", type=int, default=50, help="of training before")
    arguments = parser.parse_args()
    import jax.numpy as jnp

    model, variables, images, labels = trained(arguments.steps)

    def parts_of(count, dtype=jnp.bfloat16):
        layers = layer_gradients(model.clone(dtype=dtype), variables, images, labels)
        return [kernel_gradients(*layer, count) for layer in layers]

    exact = sums(parts_of(1), np.float32)
    errors = {}
    for count in arguments.parts:
        parts = parts_of(count)
        errors[f"{count} parts, added in bfloat16"] = distance(sums(parts, jnp.bfloat16), exact)
        rounded = [part.astype(jnp.bfloat16) for part in parts]
        errors[f"{count} parts, added in float32"] = distance(sums(rounded, np.float32), exact)
    errors["network in float32"] = distance(sums(parts_of(1, jnp.float32), np.float32), exact)
    halves = ([part[half] for part in parts_of(2)] for half in (0, 1))
    errors["one half of the images to the other"] = distance(*halves)
    print(f"| after {arguments.steps} steps | error |\n|---|---|")
    for name, error in errors.items():
        print(f"| {name} | {error:.2%} |")


def trained(steps: int):
    """A RiR of three blocks after some steps: the network, its variables, and their batch."""
    import jax
    import jax.numpy as jnp
    import optax

    import rir_jax
    from rir_jax.data import augment, sources

    config = rir_jax.default_config()
    config.dataset.name = "digits"
    dataset = sources.load_for(config)
    statistics = (dataset.mean.astype("float32"), dataset.std.astype("float32"))
    images = augment.normalize(jnp.asarray(dataset.train.images[:BATCH_SIZE]), *statistics)
    labels = jnp.asarray(dataset.train.labels[:BATCH_SIZE])
    model, optimizer = rir_jax.create_model("rir32", blocks=(1, 1, 1)), optax.sgd(0.05, 0.9)
    state = rir_jax.create_train_state(model, optimizer, 0, dataset.image_shape)
    step = jax.jit(lambda state: rir_jax.train_step(model, optimizer, state, images, labels)[0])
    for _ in range(steps):
        state = step(state)
    return model, state.variables, images, labels


def layer_gradients(model, variables, images, labels):
    """``(x, gradient of the output, stride, kernel's shape)`` of each convolution."""
    import jax
    import jax.numpy as jnp

    from rir_jax.ops.convolution import convolve
    from rir_jax.training.objective import cross_entropy

    calls = []  # stride, kernel's shape and output of each convolution

    def loss(added):
        """With something added to each convolution's output; and their inputs."""
        calls.clear()
        inputs = []

        def recorded(x, kernel, stride=1):
            y = convolve(x, kernel, stride)
            inputs.append(x)
            calls.append((stride, kernel.shape, y))
            return y + added[len(calls) - 1] if added else y

        with mock.patch("rir_jax.models.layers.convolve", recorded):
            logits, _ = model.apply(variables, images, train=True, mutable=["batch_stats"])
        return cross_entropy(logits, labels).mean(), inputs

    jax.eval_shape(lambda: loss(()))
    zeros = [jnp.zeros(y.shape, y.dtype) for *_, y in calls]
    gradients, inputs = jax.jit(jax.grad(loss, has_aux=True))(zeros)
    return [
        (x, dy, stride, shape)
        for x, dy, (stride, shape, _) in zip(inputs, gradients, calls, strict=True)
    ]


def kernel_gradients(x, dy, stride, shape, count: int) -> np.ndarray:
    """Of each part of a batch, float32 ``[count, *shape]``."""
    import jax
    import jax.numpy as jnp

    from rir_jax.ops.convolution import convolve

    @jax.jit
    def of_part(x, dy):
        return jax.vjp(lambda kernel: convolve(x, kernel, stride), jnp.zeros(shape))[1](dy)[0]

    parts = (jnp.split(array.astype(jnp.float32), count) for array in (x, dy))
    return np.stack([of_part(*part) for part in zip(*parts, strict=True)])


def sums(parts: list[np.ndarray], dtype) -> list[np.ndarray]:
    """Of each kernel's parts, added one after the other in a type; float32."""
    totals = []
    for of_kernel in parts:
        total = of_kernel[0].astype(dtype)
        for part in of_kernel[1:]:
            total = total + part.astype(dtype)  # rounded to the type
        totals.append(total.astype(np.float32))
    return totals


def distance(found, expected) -> float:
    """Root mean square of the differences, over that of what is expected."""
    pairs = list(zip(found, expected, strict=True))
    off = sum(float(((f - e) ** 2).sum()) for f, e in pairs)
    return (off / sum(float((e**2).sum()) for _, e in pairs)) ** 0.5


if __name__ == "__main__":
    main()
