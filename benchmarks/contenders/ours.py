"""rir_jax: the program that the training loop runs, folded inference, and whole runs."""

import tempfile
import time

import numpy as np

from benchmarks.contenders.shared import peak_of_process, random_dataset


class Ours:
    """rir_jax: the program that the training loop runs, or folded inference.

    Args:
      model: a name of `rir_jax.list_models`.
      batch_size: number of images in a step.
      training: whether to time training steps; inference otherwise.
      compute_dtype: "float32" or "bfloat16".
      devices: number of devices to use.
      num_seeds: number of networks to train at once; a step is one of each.
    """

    def __init__(self, model, batch_size, training, compute_dtype, devices=1, num_seeds=1):
        import jax

        self._jax, self._training, self._num_seeds = jax, training, num_seeds
        begin = time.perf_counter()
        if training:
            self._prepare_training(model, batch_size, compute_dtype, devices)
        else:
            self._prepare_inference(model, batch_size, compute_dtype)
        self.info = {
            "library": f"rir_jax on jax {jax.__version__}",
            "device": f"{devices} x {jax.devices()[0].device_kind}",
            "compile_seconds": round(time.perf_counter() - begin, 2),
        }

    def _prepare_training(self, name, batch_size, compute_dtype, devices):
        import rir_jax
        from rir_jax.data.pipeline import device_arrays
        from rir_jax.devices.mesh import create_mesh
        from rir_jax.training.setup import build_engine

        config = rir_jax.default_config()
        config.model.name, config.compute_dtype = name, compute_dtype
        config.train.batch_size = batch_size
        config.optimizer.learning_rate = 0.01
        dataset = random_dataset(max(4 * batch_size, 512))
        mesh = create_mesh(batch_size, None, self._jax.devices()[:devices], self._num_seeds)
        self._engine, _ = build_engine(
            config, 10, len(dataset.train), (32, 32, 3), mesh, self._num_seeds
        )
        self._arrays = device_arrays(dataset, mesh)
        states = [self._engine.init(seed) for seed in range(self._num_seeds)]
        expected = _reference_loss(self._engine, states[0], self._arrays)
        self._state = self._engine.stack(*states)
        self._seeds = np.arange(self._num_seeds, dtype=np.uint32)
        self._step = 0
        self._state, metrics = self._steps(1)
        found = float(metrics["loss"][0, 0])
        tolerance = 1e-3 if compute_dtype == "float32" else 5e-2
        if not abs(found - expected) <= tolerance * abs(expected):
            raise SystemExit(f"the step's loss is {found}, the reference step's {expected}")

    def _steps(self, count):
        per_epoch = self._engine.batches.steps_per_epoch
        metrics = None
        state = self._state
        while count:
            now = min(count, per_epoch - self._step % per_epoch)
            self._step, count = self._step + now, count - now
            state, metrics = self._engine.train(
                state, self._arrays, self._seeds, np.int32(self._step)
            )
        return state, metrics

    def _prepare_inference(self, name, batch_size, compute_dtype):
        import rir_jax

        jax = self._jax
        model = rir_jax.create_model(name, dtype=compute_dtype)
        images = np.random.default_rng(0).normal(size=(batch_size, 32, 32, 3)).astype(np.float32)
        self._images = jax.device_put(images)
        variables = jax.jit(model.init)(jax.random.key(0), images[:1])
        plain, folded = rir_jax.fold(model, variables)
        self._apply = jax.jit(plain.apply)
        self._variables = folded
        found = self._apply(folded, self._images)
        expected = jax.jit(model.apply)(variables, self._images)
        tolerance = 1e-4 if compute_dtype == "float32" else 5e-2
        error = float(abs(found - expected).max() / abs(expected).max())
        if not error <= tolerance:
            raise SystemExit(f"folded logits differ from the network's by {error} (relative)")

    def run(self, steps: int) -> float:
        """The seconds that ``steps`` steps take, until their results are there."""
        begin = time.perf_counter()
        if self._training:
            self._state, metrics = self._steps(steps)
            last = (self._step - 1) % self._engine.batches.steps_per_epoch
            loss = np.asarray(metrics["loss"])[:, last]
            spent = time.perf_counter() - begin
            if not np.isfinite(loss).all():
                raise SystemExit(f"the loss is {loss}: nothing to time")
            return spent
        for _ in range(steps):
            logits = self._apply(self._variables, self._images)
        logits.block_until_ready()
        return time.perf_counter() - begin

    def memory(self) -> float | None:
        """The most bytes used on the device (on a CPU, by the process)."""
        stats = self._jax.devices()[0].memory_stats()
        return stats["peak_bytes_in_use"] if stats else peak_of_process()


class OurEpochs:
    """rir_jax: a whole run, as ``python -m rir_jax.train`` does it, in a fresh folder.

    Args:
      model, batch_size, compute_dtype: as for `Ours`.
      num_train, num_test: number of images in an epoch, and in the evaluation after it.
    """

    def __init__(self, model, batch_size, compute_dtype, num_train, num_test):
        import jax

        self._setup = random_setup(model, batch_size, compute_dtype, num_train, num_test)
        begin = time.perf_counter()
        self.run(1)
        devices = self._setup.engine.mesh.devices.ravel()
        self.info = {
            "library": f"rir_jax on jax {jax.__version__}",
            "device": f"{len(devices)} x {devices[0].device_kind}",
            "first_run_seconds": round(time.perf_counter() - begin, 2),
        }

    def run(self, steps: int) -> float:
        """The seconds that a run of ``steps`` epochs takes, including its files."""
        from rir_jax.runs.interrupt import StopRequest
        from rir_jax.runs.run import Run
        from rir_jax.runs.workdir import Workdir

        begin = time.perf_counter()
        self._setup.config.train.epochs = steps
        with tempfile.TemporaryDirectory() as path:
            folder = Workdir(f"{path}/run")
            with (
                folder.open(self._setup.config),
                Run(self._setup, {0: folder}, StopRequest()) as run,
            ):
                summary = run.finish()[0]
        spent = time.perf_counter() - begin
        if not np.isfinite(summary["test_loss"]):
            raise SystemExit(f"the loss is {summary['test_loss']}: nothing to time")
        return spent

    def memory(self) -> float | None:
        """The most bytes that the process has used."""
        return peak_of_process()


def random_setup(model, batch_size, compute_dtype, num_train, num_test):
    """The `Setup` of a run on random images of CIFAR-10's shape; "" is the default dtype."""
    import rir_jax
    from rir_jax.devices.mesh import create_mesh
    from rir_jax.training.setup import Setup, build_engine

    config = rir_jax.default_config()
    config.model.name, config.train.batch_size = model, batch_size
    config.optimizer.learning_rate = 0.01
    if compute_dtype:
        config.compute_dtype = compute_dtype
    dataset = random_dataset(num_train, num_test)
    mesh = create_mesh(batch_size)
    engine, schedule = build_engine(config, 10, num_train, (32, 32, 3), mesh)
    return Setup(config, dataset, engine, schedule)


def _reference_loss(engine, state, arrays):
    """The loss of the first batch, computed in float32 and outside of any loop."""
    import jax
    import jax.numpy as jnp

    from rir_jax.training.step import train_step

    batches = engine.batches
    model = engine.model.clone(dtype=jnp.float32)

    @jax.jit
    def loss(state):
        images, labels = batches.batch(arrays, batches.permutation(0, 0), 0, state.step)
        return train_step(model, engine.optimizer, state, images, labels)[1]["loss"]

    return float(loss(state))
