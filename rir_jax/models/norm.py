"""Batch normalization as one multiplication and one addition per number."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from rir_jax.models.dtypes import promoted


class BatchNorm(nn.Module):
    """Normalizes each channel by the mean and variance of its batch, or by running ones.

    ``[..., C]`` to the same shape. The parameters, the running statistics and the result are those
    of `flax.linen.BatchNorm`, which computes ``(x - mean) * scale + bias``. This layer computes
    ``x * scale + shift``, with ``shift = bias - mean * scale``: automatic differentiation then sums
    the gradient, and its product with ``x``, in one pass over both. It computes in float32 or
    wider, from ``x`` as given, so the two terms cancel no worse than ``x - mean`` does.

    Attributes:
      use_running_average: whether to normalize by the running statistics and leave them unchanged.
      momentum: part of the running statistics that each step keeps:
        ``running = momentum * running + (1 - momentum) * batch``.
      epsilon: number added to the variance.
      dtype: type of the result.
      param_dtype: type of the parameters.
      statistics_dtype: type of the running statistics, and the narrowest type to compute in.

    Examples:
      >>> norm = BatchNorm(use_running_average=False)
      >>> y, variables = norm.init_with_output(jax.random.key(0), jnp.array([[1.0], [3.0]]))
      >>> y.round(3).tolist(), sorted(variables["params"]), sorted(variables["batch_stats"])
      ([[-1.0], [1.0]], ['bias', 'scale'], ['mean', 'var'])
    """

    use_running_average: bool
    momentum: float = 0.9
    epsilon: float = 1e-5
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    statistics_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = x.shape[-1:]
        scale = self.param("scale", nn.initializers.ones, shape, self.param_dtype)
        bias = self.param("bias", nn.initializers.zeros, shape, self.param_dtype)
        x = x.astype(promoted(self.dtype, self.statistics_dtype))
        scale, bias, mean, var = (a.astype(x.dtype) for a in (scale, bias, *self._statistics(x)))
        scale = scale * jax.lax.rsqrt(var + self.epsilon)
        by_channel = (1,) * (x.ndim - 1) + (-1,)
        scale, shift = scale.reshape(by_channel), (bias - mean * scale).reshape(by_channel)
        return (x * scale + shift).astype(self.dtype)

    def _statistics(self, x):
        shape, dtype = x.shape[-1:], self.statistics_dtype
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, shape, dtype)
        running_var = self.variable("batch_stats", "var", jnp.ones, shape, dtype)
        if self.use_running_average:
            return running_mean.value, running_var.value
        axes = tuple(range(x.ndim - 1))
        mean = x.mean(axes)
        var = jnp.maximum((x**2).mean(axes) - mean**2, 0)  # rounding may make it negative
        if not self.is_initializing():
            for running, batch in ((running_mean, mean), (running_var, var)):
                new = self.momentum * running.value + (1 - self.momentum) * batch.astype(dtype)
                running.value = new.astype(dtype)
        return mean, var
