"""The config's fields with their types, for editors and type checkers.

Written by ``python -m tools.typed_config``; a test compares it with `rir_jax.config_fields`.
"""

from typing import Any

from rir_jax.config_fields import Group


class ModelFields(Group):
    name: str
    """name of the network, which sets unset model fields"""
    two_streams: bool | None
    """a residual and a transient stream in place of one stream"""
    outer_shortcut: str | None
    """where a block's shortcut is added"""
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
    """layer of a block that has its stride"""
    head: str | None
    """conv: 1x1 convolution, batch norm, pooling; dense: pooling, dense layer"""
    head_relu: bool | None
    """a ReLU after the batch norm of a 'conv' head"""
    use_bias: bool | None
    """biases in the convolutions"""
    kernel_init: str | None
    """initializer: He et al.'s or Glorot's"""
    norm_momentum: float | None
    """part of the running statistics that each step keeps"""
    norm_epsilon: float | None
    """number added to the variances"""


class DatasetFields(Group):
    name: str
    """name of the data set"""
    data_dir: str | None
    """folder of prepared sets; unset: TFDS's own"""
    validation_fraction: float
    """part of the training set to hold out and report on, in place of the test split"""
    num_train: int | None
    """number of training images to use; unset: all"""
    num_test: int | None
    """number of test images to use; unset: all"""
    digest: str | None
    """digest of the arrays to train on, which train_and_evaluate(dataset=) fills in"""


class InitFields(Group):
    weights: str | None
    """trained weights to start from; unset: random ones"""
    digest: str | None
    """digest of the weights to start from, which the run fills in"""
    freeze: tuple[Any, ...]
    """parts that are not trained; their batch norms use the running statistics"""


class AugmentFields(Group):
    crop_padding: int
    """zero padding of images before the random crop"""
    flip: bool
    """mirror images at random"""
    mixup: float
    """alpha of mixup; 0: none"""
    cutmix: float
    """alpha of CutMix; 0: none"""


class TrainFields(Group):
    batch_size: int
    """images a step, over all devices"""
    epochs: int
    """passes over the training set"""
    log_every_steps: int
    """steps that each record of the metrics averages"""
    label_smoothing: float
    """part of a label's probability spread over all classes"""
    average_decay: float
    """decay of the moving average of weights to use; 0: none"""
    time_limit: str | None
    """time after which to stop at a checkpoint; the same command goes on from there"""


class OptimizerFields(Group):
    learning_rate: float
    """highest learning rate: the first, or after warm-up"""
    momentum: float
    """momentum of SGD"""
    weight_decay: float
    """factor of the L2 penalty on kernels"""
    decay_identity: bool
    """ablation: L2 penalty on kernels plus identity"""
    nesterov: bool
    """Nesterov's momentum"""


class ScheduleFields(Group):
    kind: str
    """shape of the learning rate over time"""
    warmup_epochs: int
    """epochs of warm-up before a cosine"""
    milestones: tuple[Any, ...]
    """epochs after which the learning rate drops"""
    factor: float
    """factor of the learning rate at each milestone"""


class EvalFields(Group):
    batch_size: int
    """images a step of evaluation"""
    every_epochs: int
    """epochs between evaluations; the last is always evaluated"""


class CheckpointFields(Group):
    every_epochs: int
    """epochs between checkpoints"""
    keep: int
    """number of checkpoints to keep, the newest ones"""


class MeshFields(Group):
    data: int | None
    """devices that share a batch; unset: the most that divide it"""
    seed: int | None
    """seeds to train at once; unset: one a group of devices"""


class Fields(Group):
    seed: int
    """random seed of weights, image order and augmentation"""
    num_seeds: int
    """number of seeds to train, from seed on, with a folder each"""
    compute_dtype: str | None
    """type of computation; unset: float32 on CPU, else bfloat16"""
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
