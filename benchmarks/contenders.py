"""What is timed: our real training program and inference, and the peer's, behind one interface.

A contender is made once, says what it checked, and then runs steps on request. Each lives in a
process of its own (`benchmarks.rounds`), so that neither library's threads disturb the other's.
"""

import tempfile
import time

import numpy as np

SIZES = {  # channels of one stream by layer, stem first, as the peer writes them; image side 32
    "rir18_wide": ([48] * 4, [96] * 6, [192] * 6),
    "rir32": ([8] * 10, [16] * 10, [32] * 10),
}


class Ours:
    """rir_jax: the program that the training loop runs, or folded inference.

    Args:
      model: a name of `rir_jax.list_models`.
      batch_size: images a step.
      training: train steps; inference otherwise.
      compute_dtype: "float32" or "bfloat16".
      devices: how many to use.
      num_seeds: networks to train at once; a step is one of each.
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
        from rir_jax.parallel import create_mesh
        from rir_jax.training.setup import build_engine

        config = rir_jax.default_config()
        config.model.name, config.compute_dtype = name, compute_dtype
        config.train.batch_size = batch_size
        config.optimizer.learning_rate = 0.01
        dataset = _random_dataset(max(4 * batch_size, 512))
        mesh = create_mesh(batch_size, None, self._jax.devices()[:devices], self._num_seeds)
        self._engine, _ = build_engine(
            config, 10, len(dataset.train), (32, 32, 3), mesh, self._num_seeds
        )
        self._arrays = device_arrays(dataset, mesh)
        states = [self._engine.init(seed) for seed in range(self._num_seeds)]
        expected = _reference_loss(self._engine, states[0], self._arrays)
        self._state = self._engine.stack(*states)
        seeds = np.arange(self._num_seeds, dtype=np.uint32)
        self._seeds = seeds if len(seeds) > 1 else seeds[0]
        self._step = 0
        self._state, metrics = self._steps(1)
        found = float(np.asarray(metrics["loss"]).reshape(self._num_seeds, -1)[0, 0])
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
        """Seconds for so many steps, waited for."""
        begin = time.perf_counter()
        if self._training:
            self._state, metrics = self._steps(steps)
            last = (self._step - 1) % self._engine.batches.steps_per_epoch
            loss = np.asarray(metrics["loss"])[..., last]
            spent = time.perf_counter() - begin
            if not np.isfinite(loss).all():
                raise SystemExit(f"the loss is {loss}: nothing to time")
            return spent
        for _ in range(steps):
            logits = self._apply(self._variables, self._images)
        logits.block_until_ready()
        return time.perf_counter() - begin

    def memory(self) -> float | None:
        """Peak bytes on the device (on CPU, of the process)."""
        stats = self._jax.devices()[0].memory_stats()
        return stats["peak_bytes_in_use"] if stats else _peak_of_process()


class Peer:
    """pytorchcv's RiR in PyTorch, its network unchanged, channels_last, SGD as in our recipe.

    Args:
      model, batch_size, training, compute_dtype: as for `Ours`; bfloat16 is autocast.
      compiled: through ``torch.compile``.
    """

    def __init__(self, model, batch_size, training, compute_dtype, compiled=False):
        import pytorchcv
        import torch
        from pytorchcv.models.rir_cifar import CIFARRiR

        self._torch, self._training = torch, training
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self._device = device
        torch.manual_seed(0)
        self._autocast = torch.autocast(device, torch.bfloat16, enabled=compute_dtype != "float32")
        channels = [list(stage) for stage in SIZES[model]]
        net = CIFARRiR(
            channels=channels,
            init_block_channels=channels[0][0],
            final_block_channels=2 * channels[-1][-1],
            num_classes=10,
        )
        net = net.to(device, memory_format=torch.channels_last).train(training)
        self._net = torch.compile(net) if compiled else net
        images = torch.randn(4, batch_size, 3, 32, 32, device=device)
        self._images = [x.contiguous(memory_format=torch.channels_last) for x in images]
        self._labels = torch.randint(0, 10, (4, batch_size), device=device)
        self._optimizer = torch.optim.SGD(
            net.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4
        )
        begin = time.perf_counter()
        self.run(1)
        self.info = {
            "library": f"pytorchcv {pytorchcv.__version__} on torch {torch.__version__}"
            + (", compiled" if compiled else ", eager"),
            "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
            "compile_seconds": round(time.perf_counter() - begin, 2),
        }

    def run(self, steps: int) -> float:
        """Seconds for so many steps, waited for."""
        torch = self._torch
        begin = time.perf_counter()
        for step in range(steps):
            images, labels = self._images[step % 4], self._labels[step % 4]
            if not self._training:
                with torch.inference_mode(), self._autocast:
                    result = self._net(images)
                continue
            with self._autocast:
                result = torch.nn.functional.cross_entropy(self._net(images).float(), labels)
            self._optimizer.zero_grad(set_to_none=True)
            result.backward()
            self._optimizer.step()
        total = float(result.detach().float().sum())
        spent = time.perf_counter() - begin
        if not np.isfinite(total):
            raise SystemExit(f"the peer's result is {total}: nothing to time")
        return spent

    def memory(self) -> float | None:
        """Peak bytes on the device (on CPU, of the process)."""
        if self._device == "cuda":
            return self._torch.cuda.max_memory_allocated()
        return _peak_of_process()


class OurEpochs:
    """rir_jax: a whole run, as ``python -m rir_jax.train`` does it, in a fresh folder.

    Args:
      model, batch_size, compute_dtype: as for `Ours`.
      num_train, num_test: images of an epoch, and of the evaluation after it.
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
        """Seconds for a run of so many epochs, its folder's files included."""
        from rir_jax.training.interrupt import StopRequest
        from rir_jax.training.run import Run
        from rir_jax.workdir import Workdir

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
        """Peak bytes of the process."""
        return _peak_of_process()


class PeerEpochs(Peer):
    """pytorchcv's RiR in a plain PyTorch loop: the data on the device, shuffled, cropped, flipped.

    Args:
      model, batch_size, compute_dtype, num_train, num_test: as for `OurEpochs`.
    """

    def __init__(self, model, batch_size, compute_dtype, num_train, num_test):
        import torch

        device = "cuda" if torch.cuda.is_available() else "cpu"
        dataset = _random_dataset(num_train, num_test)
        self._batch_size = batch_size
        mean, std = (torch.tensor(x, device=device).float() for x in (dataset.mean, dataset.std))
        self._data = []
        for split in (dataset.train, dataset.held_out):
            images = (torch.tensor(split.images, device=device).float() - mean) / std
            labels = torch.tensor(split.labels, device=device).long()
            self._data.append((images.permute(0, 3, 1, 2), labels))
        super().__init__(model, batch_size, True, compute_dtype)

    def run(self, steps: int) -> float:
        """Seconds for so many epochs, an evaluation after each."""
        begin = time.perf_counter()
        for _ in range(steps):
            self._train()
            loss = self._evaluate()
        spent = time.perf_counter() - begin
        if not np.isfinite(loss):
            raise SystemExit(f"the peer's loss is {loss}: nothing to time")
        return spent

    def _train(self):
        torch, (images, labels) = self._torch, self._data[0]
        self._net.train()
        order = torch.randperm(len(labels), device=labels.device)
        for start in range(0, len(labels) - self._batch_size + 1, self._batch_size):
            chosen = order[start : start + self._batch_size]
            batch = self._augment(images[chosen]).contiguous(memory_format=torch.channels_last)
            with self._autocast:
                loss = torch.nn.functional.cross_entropy(self._net(batch).float(), labels[chosen])
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self._optimizer.step()

    def _augment(self, images):
        """Crops of images padded by 4, mirrored half of the time, all in one gather."""
        torch, (count, _, height, width) = self._torch, images.shape
        padded = torch.nn.functional.pad(images, (4, 4, 4, 4))
        offsets = torch.randint(0, 9, (2, count, 1), device=images.device)
        rows, columns = (
            offset + torch.arange(size, device=images.device)
            for offset, size in zip(offsets, (height, width), strict=True)
        )
        flips = torch.rand(count, 1, device=images.device) < 0.5
        columns = torch.where(flips, columns.flip(1), columns)
        examples = torch.arange(count, device=images.device)[:, None, None]
        cut = padded.permute(0, 2, 3, 1)[examples, rows[:, :, None], columns[:, None]]
        return cut.permute(0, 3, 1, 2)

    def _evaluate(self):
        torch, (images, labels) = self._torch, self._data[1]
        self._net.eval()
        total = 0.0
        with torch.inference_mode(), self._autocast:
            for batch, expected in zip(images.split(500), labels.split(500), strict=True):
                batch = batch.contiguous(memory_format=torch.channels_last)
                logits = self._net(batch).float()
                total += float(torch.nn.functional.cross_entropy(logits, expected, reduction="sum"))
        return total / len(labels)


def random_setup(model, batch_size, compute_dtype, num_train, num_test):
    """A run's `Setup` on random images of CIFAR-10's shape; "" is the default compute dtype."""
    import rir_jax
    from rir_jax.parallel import create_mesh
    from rir_jax.training.setup import Setup, build_engine

    config = rir_jax.default_config()
    config.model.name, config.train.batch_size = model, batch_size
    config.optimizer.learning_rate = 0.01
    if compute_dtype:
        config.compute_dtype = compute_dtype
    dataset = _random_dataset(num_train, num_test)
    mesh = create_mesh(batch_size)
    engine, schedule = build_engine(config, 10, num_train, (32, 32, 3), mesh)
    return Setup(config, dataset, engine, schedule)


def _random_dataset(num_train, num_test=None):
    from rir_jax.data.dataset import Split, make_dataset

    random = np.random.default_rng(0)
    splits = []
    for size in (num_train, num_test or num_train):
        images = random.integers(0, 256, (size, 32, 32, 3)).astype(np.uint8)
        splits.append(Split(images, random.integers(0, 10, size).astype(np.int32)))
    return make_dataset("random", *splits, tuple("0123456789"))


def _reference_loss(engine, state, arrays):
    """Of the first batch, by the network in float32, outside of any loop."""
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


def _peak_of_process():
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
