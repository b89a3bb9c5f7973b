"""The config's fields with their types, for editors and type checkers.

Written by ``python -m tools.typed_config``; a test compares it with `rir_jax.config_fields`.
"""

from typing import Any

from rir_jax.config_fields import Group


class ModelFields(Group):
    """Fields ``model``."""

    name: str
    """name of the network, which sets the model fields that are unset"""
    two_streams: bool | None
    """a residual and a transient stream in place of one stream"""
    outer_shortcut: str | None
    """where the shortcut of a block is added"""
    stem_width: int | None
    """channels of the first convolution"""
    widths: tuple[Any, ...] | None
    """channels of each stage, both streams together"""
    blocks: tuple[Any, ...] | None
    """residual blocks of each stage"""
    layers_per_block: int | None
    """layers of a residual block"""
    shortcut: str | None
    """shortcut where the shape changes"""
    stride_layer: str | None
    """layer of a block that takes its stride"""
    head: str | None
    """conv: 1x1 convolution, batch norm, pooling; dense: pooling, dense layer"""
    head_relu: bool | None
    """a ReLU after the batch norm of a 'conv' head"""
    use_bias: bool | None
    """biases in the convolutions"""
    kernel_init: str | None
    """initialization of kernels: He et al. or Glorot"""
    norm_momentum: float | None
    """part of the running statistics that each step keeps"""
    norm_epsilon: float | None
    """number added to the variances"""


class DatasetFields(Group):
    """Fields ``dataset``."""

    name: str
    """name of the data set"""
    data_dir: str | None
    """folder of prepared sets; unset: that of TFDS"""
    validation_fraction: float
    """part of the training set to hold out and report on, in place of the test split"""
    num_train: int | None
    """number of training images to use; unset: all"""
    num_test: int | None
    """number of test images to use; unset: all"""
    digest: str | None
    """digest of the arrays that are trained on; train_and_evaluate(dataset=) fills it in"""


class InitFields(Group):
    """Fields ``init``."""

    weights: str | None
    """trained weights to start from; unset: random ones"""
    digest: str | None
    """digest of the weights that the run started from, which fills it in"""
    freeze: tuple[Any, ...]
    """parts that are not trained; their batch norms use the running statistics"""


class AugmentFields(Group):
    """Fields ``augment``."""

    crop_padding: int
    """width of the zeros around an image before it is cropped at random"""
    flip: bool
    """mirror images at random"""
    mixup: float
    """alpha of mixup; 0: none"""
    cutmix: float
    """alpha of CutMix; 0: none"""


class TrainFields(Group):
    """Fields ``train``."""

    batch_size: int
    """images a step, over all devices"""
    epochs: int
    """passes over the training set"""
    log_every_steps: int
    """steps between records of the metrics, which are means over them"""
    label_smoothing: float
    """part of a label's probability that is spread over all classes"""
    average_decay: float
    """decay of a moving average of the weights, which is then evaluated; 0: none"""
    time_limit: str | None
    """time after which to stop at a checkpoint; the same command goes on from there"""


class OptimizerFields(Group):
    """Fields ``optimizer``."""

    learning_rate: float
    """highest learning rate: the first, or the one after a warm-up"""
    momentum: float
    """momentum of SGD"""
    weight_decay: float
    """factor of the L2 penalty on the kernels"""
    decay_identity: bool
    """ablation: L2 penalty on kernels plus identity"""
    nesterov: bool
    """Nesterov's momentum"""


class ScheduleFields(Group):
    """Fields ``schedule``."""

    kind: str
    """learning rate in steps or along a cosine"""
    warmup_epochs: int
    """epochs of a rising learning rate before a cosine"""
    milestones: tuple[Any, ...]
    """epochs after which the learning rate drops"""
    factor: float
    """factor of the learning rate at each milestone"""


class EvalFields(Group):
    """Fields ``eval``."""

    batch_size: int
    """images a step of evaluation"""
    every_epochs: int
    """epochs between evaluations; the last is always evaluated"""


class CheckpointFields(Group):
    """Fields ``checkpoint``."""

    every_epochs: int
    """epochs between checkpoints"""
    keep: int
    """number of checkpoints to keep, the newest ones"""


class MeshFields(Group):
    """Fields ``mesh``."""

    data: int | None
    """devices that share a batch; unset: the most that divide it"""
    seed: int | None
    """seeds to train at once; unset: one a group of devices"""


class Fields(Group):
    """All fields."""

    seed: int
    """random seed of the weights, the order of the images and augmentation"""
    num_seeds: int
    """networks to train, with seeds seed, seed + 1, ..., each in its own folder"""
    compute_dtype: str | None
    """type of the computation; unset: float32 on a CPU, bfloat16 elsewhere"""
    model: ModelFields
    dataset: DatasetFields
    init: InitFields
    augment: AugmentFields
    train: TrainFields
    optimizer: OptimizerFields
    schedule: ScheduleFields
    eval: EvalFields
    checkpoint: CheckpointFields
    mesh: MeshFields
