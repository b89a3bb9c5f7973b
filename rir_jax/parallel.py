"""Devices: the mesh, and what lies where on it."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from rir_jax.errors import InputError


def create_mesh(
    batch_size: int, data: int | None = None, devices: Sequence[jax.Device] | None = None
) -> Mesh:
    """A mesh whose axis "data" splits each batch.

    Args:
      batch_size: images a step, over all devices.
      data: devices to use; as many as divide the batch when None (500 images on eight devices
        run on five).
      devices: to choose from; all of them when None.

    Raises:
      InputError: more devices than there are, or a number that does not divide the batch.
    """
    devices = list(devices or jax.devices())
    if data is None:
        data = max(n for n in range(1, len(devices) + 1) if batch_size % n == 0)
    if data > len(devices):
        raise InputError(f"mesh.data is {data}; allowed: up to {len(devices)}, the devices here")
    if batch_size % data:
        raise InputError(
            f"train.batch_size is {batch_size}; allowed: a multiple of mesh.data, {data}"
        )
    if jax.process_count() > 1 and data != len(devices):
        raise InputError(
            f"train.batch_size is {batch_size} on {len(devices)} devices of {jax.process_count()} "
            f"processes; allowed: a multiple of {len(devices)}, so that every process takes part"
        )
    return Mesh(np.array(devices[:data]), ("data",))


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of what every device has whole."""
    return NamedSharding(mesh, PartitionSpec())


def replicate(tree: Any, mesh: Mesh) -> Any:
    """Host arrays, the same in every process, to arrays that every device of the mesh has."""
    sharding = replicated(mesh)

    def put(array):
        array = np.asarray(array)
        return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])

    return jax.tree.map(put, tree)
