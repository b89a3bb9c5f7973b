"""The mesh of devices, and the placement of arrays on it."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from rir_jax.errors import InputError


def create_mesh(
    batch_size: int,
    data: int | None = None,
    devices: Sequence[jax.Device] | None = None,
    num_seeds: int = 1,
) -> Mesh:
    """A mesh of groups of devices: axis "seed" numbers the groups, "data" splits their batches.

    Args:
      batch_size: number of images in a step of one seed, over the devices of its group.
      data: number of devices in a group; None: the most that divide the batch (500 images on eight
        devices run on five).
      devices: devices to choose from; None: all.
      num_seeds: number of seeds that train at once. Each has its own group; with too few devices,
        as few seeds as possible share a group.

    Raises:
      InputError: ``data`` is more than the devices here, or does not divide the batch; or some
        process would have no part in the batch.
    """
    devices = list(devices or jax.devices())
    if data is not None and data > len(devices):
        raise InputError(f"mesh.data is {data}; allowed: up to {len(devices)}, the devices here")
    most = len(devices) // (data or 1)
    groups = max(n for n in range(1, most + 1) if num_seeds % n == 0)
    if data is None:
        of_group = len(devices) // groups
        data = max(n for n in range(1, of_group + 1) if batch_size % n == 0)
    if batch_size % data:
        raise InputError(
            f"train.batch_size is {batch_size}; allowed: a multiple of mesh.data, {data}"
        )
    used = groups * data
    if jax.process_count() > 1 and used != len(devices):
        each = len(devices) // groups
        raise InputError(
            f"train.batch_size is {batch_size} on {each} devices of {jax.process_count()} "
            f"processes; allowed: a multiple of {each}, so that every process takes part"
        )
    return Mesh(np.array(devices[:used]).reshape(groups, data), ("seed", "data"))


def seeds_at_once(
    num_seeds: int, batch_size: int, data: int | None = None, num_devices: int | None = None
) -> int:
    """The default number of seeds to train at once: one for each group of devices, in even lots.

    Seeds that share a device are no faster than one after another: see docs/performance.md.

    Args:
      num_seeds: number of seeds in all.
      batch_size: number of images in a step of one seed.
      data: number of devices in a group; None: all that a seed can have.
      num_devices: number of devices in all processes; None: those that are here.

    Examples:
      >>> [seeds_at_once(n, 500, num_devices=8) for n in (1, 3, 5, 9)]
      [1, 3, 5, 5]
    """
    num_devices = num_devices or jax.device_count()
    most = max(1, num_devices // (data or 1))
    lots = -(-num_seeds // most)
    even = -(-num_seeds // lots)
    if jax.process_count() == 1:
        return even
    fitting = (n for n in range(1, even + 1) if batch_size * n % num_devices == 0)
    return max((n for n in fitting if num_devices % n == 0), default=1)


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of arrays that every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def replicate(tree: Any, mesh: Mesh) -> Any:
    """Puts host arrays, which are the same in every process, whole on every device of the mesh."""
    sharding = replicated(mesh)

    def put(array):
        array = np.asarray(array)
        return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])

    with jax.transfer_guard_host_to_device("allow"):  # on purpose
        return jax.tree.map(put, tree)
