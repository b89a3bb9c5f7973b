"""Other implementations of RiR: their networks, as overrides of ours, and their weights."""

from rir_jax.interop.overrides import NUTSZEBRA, PYTORCHCV, WEIAICUNZAI
from rir_jax.interop.pytorchcv import from_pytorchcv, to_pytorchcv

__all__ = ["NUTSZEBRA", "PYTORCHCV", "WEIAICUNZAI", "from_pytorchcv", "to_pytorchcv"]
