"""What is timed: our real training program and inference, and the peer's, behind one interface.

A contender is made once, says what it checked, and then runs steps on request. Each lives in a
process of its own (`benchmarks.rounds`), so that neither library's threads disturb the other's.
"""

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
    """

    def __init__(self, model, batch_size, training, compute_dtype, devices=1):
        import jax

        self._jax, self._training = jax, training
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
        mesh = create_mesh(batch_size, devices, self._jax.devices()[:devices])
        self._engine, _ = build_engine(config, 10, len(dataset.train), (32, 32, 3), mesh)
        self._arrays = device_arrays(dataset, mesh)
        self._state = self._engine.init(0)
        expected = _reference_loss(self._engine, self._state, self._arrays)
        self._step = 0
        self._state, metrics = self._steps(1)
        found = float(metrics["loss"][0])
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
                state, self._arrays, np.uint32(0), np.int32(self._step)
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
            loss = float(metrics["loss"][last])
            spent = time.perf_counter() - begin
            if not np.isfinite(loss):
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


def _random_dataset(size):
    from rir_jax.data.dataset import Split, make_dataset

    random = np.random.default_rng(0)
    images = random.integers(0, 256, (size, 32, 32, 3)).astype(np.uint8)
    split = Split(images, random.integers(0, 10, size).astype(np.int32))
    return make_dataset("random", split, split, tuple("0123456789"))


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
