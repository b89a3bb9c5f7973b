"""Analyses of networks: their layers and costs, and the use of their streams."""

from rir_jax.analysis.ablation import ablate, filter_norms, stream_norms
from rir_jax.analysis.layers import Layer, layers_of

__all__ = ["Layer", "ablate", "filter_norms", "layers_of", "stream_norms"]
