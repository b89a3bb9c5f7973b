"""Resnet in Resnet (Targ, Almeida and Lyman, 2016) in JAX/Flax.

The dual-stream generalized residual block, its ResNet Init, and the four families that the paper
relates (CNN, ResNet, ResNet Init, RiR), with the training that reproduces its tables.
"""

from etils import epy

# Each name is imported when it is first used: models need nothing of what trains them.
with epy.lazy_api_imports(globals()):
    from rir_jax import analysis, interop
    from rir_jax.config import default_config
    from rir_jax.data.dataset import Dataset, Split
    from rir_jax.errors import InputError, RunError
    from rir_jax.loop import train_and_evaluate
    from rir_jax.models import relations
    from rir_jax.models.fold import fold
    from rir_jax.models.initializers import resnet_init
    from rir_jax.models.layers import GeneralizedConv, GeneralizedDense, resnet_init_conv
    from rir_jax.models.zoo import create_model, list_models
    from rir_jax.trained.info import Info
    from rir_jax.trained.load import load
    from rir_jax.trained.pretrained import list_pretrained
    from rir_jax.trained.weights import from_pretrained, save_pretrained
    from rir_jax.training.step import TrainState, create_train_state, train_step

from rir_jax.version import __version__

__all__ = [
    "Dataset",
    "GeneralizedConv",
    "GeneralizedDense",
    "Info",
    "InputError",
    "RunError",
    "Split",
    "TrainState",
    "__version__",
    "analysis",
    "create_model",
    "create_train_state",
    "default_config",
    "fold",
    "from_pretrained",
    "interop",
    "list_models",
    "list_pretrained",
    "load",
    "relations",
    "resnet_init",
    "resnet_init_conv",
    "save_pretrained",
    "train_and_evaluate",
    "train_step",
]
