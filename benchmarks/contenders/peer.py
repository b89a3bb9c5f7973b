"""pytorchcv's RiR in PyTorch: its steps, inference, and whole epochs."""

import time

import numpy as np

from benchmarks.contenders.shared import peak_of_process, random_dataset

SIZES = {  # channels of one stream by layer, stem first, as the peer writes them; image side 32
    "rir18_wide": ([48] * 4, [96] * 6, [192] * 6),
    "rir32": ([8] * 10, [16] * 10, [32] * 10),
}


class Peer:
    """pytorchcv's RiR in PyTorch: its network unchanged, channels_last, with our recipe's SGD.

    Args:
      model, batch_size, training, compute_dtype: as for `Ours`; bfloat16 is autocast.
      compiled: whether ``torch.compile`` compiles it.
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
        """The seconds that ``steps`` steps take, until their results are there."""
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
        """The most bytes used on the device (on a CPU, by the process)."""
        if self._device == "cuda":
            return self._torch.cuda.max_memory_allocated()
        return peak_of_process()


class PeerEpochs(Peer):
    """pytorchcv's RiR in a plain PyTorch loop: the data on the device, shuffled, cropped, flipped.

    Args:
      model, batch_size, compute_dtype, num_train, num_test: as for `OurEpochs`.
    """

    def __init__(self, model, batch_size, compute_dtype, num_train, num_test):
        import torch

        device = "cuda" if torch.cuda.is_available() else "cpu"
        dataset = random_dataset(num_train, num_test)
        self._batch_size = batch_size
        mean, std = (torch.tensor(x, device=device).float() for x in (dataset.mean, dataset.std))
        self._data = []
        for split in (dataset.train, dataset.held_out):
            images = (torch.tensor(split.images, device=device).float() - mean) / std
            labels = torch.tensor(split.labels, device=device).long()
            self._data.append((images.permute(0, 3, 1, 2), labels))
        super().__init__(model, batch_size, True, compute_dtype)

    def run(self, steps: int) -> float:
        """The seconds that ``steps`` epochs take, with an evaluation after each."""
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
        """Pads images by 4, crops them and mirrors half of them, all in one gather."""
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
