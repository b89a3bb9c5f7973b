"""The config's fields with their types, for editors and type checkers.

Made from `rir_jax.config.FIELDS` by ``python -m tools.typed_config``; a test compares the two.
"""

from typing import Any

import ml_collections


class ModelFields(ml_collections.ConfigDict):
    """Fields ``model``."""

    name: str
    """the network; it sets the fields of model that are unset"""
    two_streams: bool | None
    """a residual and a transient stream in place of one"""
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
    """the kind of shortcut where the shape changes"""
    stride_layer: str | None
    """the layer of a block that has its stride"""
    head: str | None
    """1x1 convolution, batch norm, pooling; or pooling, dense layer"""
    head_relu: bool | None
    """a ReLU after the batch norm of a 'conv' head"""
    use_bias: bool | None
    """biases in the convolutions"""
    kernel_init: str | None
    """initialization of kernels: He et al. or Glorot"""
    norm_momentum: float | None
    """part of the running statistics that is kept in a step"""
    norm_epsilon: float | None
    """what is added to variances"""


class DatasetFields(ml_collections.ConfigDict):
    """Fields ``dataset``."""

    name: str
    """the data set"""
    data_dir: str | None
    """where prepared sets are; unset: where TFDS keeps them"""
    validation_fraction: float
    """part of the training set to report on in place of the test split"""
    num_train: int | None
    """training images to use; unset: all"""
    num_test: int | None
    """test images to use; unset: all"""
    digest: str | None
    """which arrays the run is of; train_and_evaluate(dataset=) fills it in"""


class InitFields(ml_collections.ConfigDict):
    """Fields ``init``."""

    weights: str | None
    """trained weights to start from; unset: from nothing"""
    digest: str | None
    """which weights the run started from; the run fills it in"""
    freeze: tuple[Any, ...]
    """parts that stay as they were trained, with batch norm by its running statistics"""


class AugmentFields(ml_collections.ConfigDict):
    """Fields ``augment``."""

    crop_padding: int
    """zeros around an image before it is cropped at random"""
    flip: bool
    """mirror images at random"""
    mixup: float
    """alpha of mixup"""
    cutmix: float
    """alpha of CutMix"""


class TrainFields(ml_collections.ConfigDict):
    """Fields ``train``."""

    batch_size: int
    """images of a step, over all devices"""
    epochs: int
    """passes over the training set"""
    log_every_steps: int
    """steps whose means make a record of the metrics"""
    label_smoothing: float
    """part of a label's probability that is spread over all classes"""
    average_decay: float
    """decay of the average of the weights that is evaluated; 0: no average"""
    time_limit: str | None
    """when to stop at a checkpoint; the same command goes on from there"""


class OptimizerFields(ml_collections.ConfigDict):
    """Fields ``optimizer``."""

    learning_rate: float
    """the highest learning rate: the first, or that after a warm-up"""
    momentum: float
    """momentum of SGD"""
    weight_decay: float
    """factor of the L2 penalty on the kernels"""
    decay_identity: bool
    """ablation: the L2 penalty is on kernels plus identity"""
    nesterov: bool
    """Nesterov's momentum"""


class ScheduleFields(ml_collections.ConfigDict):
    """Fields ``schedule``."""

    kind: str
    """drops of the learning rate, or a cosine"""
    warmup_epochs: int
    """epochs of a rising learning rate before a cosine"""
    milestones: tuple[Any, ...]
    """epochs after which the learning rate drops"""
    factor: float
    """what a drop multiplies the learning rate by"""


class EvalFields(ml_collections.ConfigDict):
    """Fields ``eval``."""

    batch_size: int
    """images of a step of evaluation"""
    every_epochs: int
    """epochs between evaluations; the last is always evaluated"""


class CheckpointFields(ml_collections.ConfigDict):
    """Fields ``checkpoint``."""

    every_epochs: int
    """epochs between checkpoints"""
    keep: int
    """newest checkpoints that are kept"""


class MeshFields(ml_collections.ConfigDict):
    """Fields ``mesh``."""

    data: int | None
    """devices that share a batch; unset: as many of those here as divide it"""
    seed: int | None
    """seeds trained at once; unset: as many as the devices are good for"""


class Fields(ml_collections.ConfigDict):
    """All fields."""

    seed: int
    """random seed of weights, order of the images, augmentation"""
    num_seeds: int
    """networks to train, of seed, seed + 1, ..., each in its own folder"""
    compute_dtype: str | None
    """type of computation; unset: float32 on a CPU, bfloat16 elsewhere"""
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
