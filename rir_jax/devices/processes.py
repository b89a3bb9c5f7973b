"""Several processes that train one network: how they find each other and agree.

A run in one process needs none of this. `docs/multi_process.md` shows the commands for Cloud TPU,
Slurm and a machine with several GPUs.
"""

import functools
import os
import re
from collections.abc import Mapping, Sequence

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from rir_jax.errors import InputError, RunError

HEARTBEAT_SECONDS = 30
"""The silence after which a process counts as lost, and the others stop with an error."""


def start(
    coordinator_address: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    find: bool = False,
    environment: Mapping[str, str] = os.environ,
) -> None:
    """Joins this process to the others of the run; does nothing if there are no others.

    Call it before anything else of JAX. ``JAX_COORDINATOR_ADDRESS``, ``JAX_NUM_PROCESSES`` and
    ``JAX_PROCESS_ID`` in the environment stand in for arguments that are None.

    Args:
      coordinator_address: ``HOST:PORT`` on which process 0 listens.
      num_processes: number of processes in the run.
      process_id: number of this process, from 0.
      find: whether JAX finds all three itself, on Cloud TPU, Slurm and Open MPI. It also does so in
        a Cloud TPU environment that names several hosts.
      environment: environment variables; tests give their own.

    Raises:
      InputError: one of the three is missing or not allowed.
      RunError: the processes did not find each other.
    """
    address = coordinator_address or environment.get("JAX_COORDINATOR_ADDRESS")
    count = _number("num_processes", num_processes, environment.get("JAX_NUM_PROCESSES"))
    index = _number("process_id", process_id, environment.get("JAX_PROCESS_ID"))
    given = {"coordinator_address": address, "num_processes": count, "process_id": index}
    if all(value is None for value in given.values()):
        if not (find or _names_several_hosts(environment)):
            return
    else:
        _check(given)
    if "cpu" in (getattr(jax.config, "jax_platforms", None) or "cpu"):
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        jax.distributed.initialize(**given, heartbeat_timeout_seconds=HEARTBEAT_SECONDS)
    except Exception as error:  # whatever the cluster's detection or the network raises
        reason = " ".join(str(error).split())[:300]
        raise RunError(f"the processes did not find each other: {reason}") from error


def _number(name, value, text):
    if value is not None or text is None:
        return value
    if not re.fullmatch(r"\d+", text):
        raise InputError(f"JAX_{name.upper()} is {text!r}; allowed: a whole number")
    return int(text)


def _names_several_hosts(environment):
    hosts = environment.get("TPU_PROCESS_ADDRESSES") or environment.get("TPU_WORKER_HOSTNAMES", "")
    return "," in hosts or int(environment.get("MEGASCALE_NUM_SLICES") or 1) > 1


def _check(given):
    missing = [name for name, value in given.items() if value is None]
    if missing:
        raise InputError(f"{missing[0]} is missing; give {', '.join(given)} together, or none")
    address, count, index = given.values()
    if not re.fullmatch(r".+:\d{1,5}", address):
        raise InputError(f"coordinator_address is {address!r}; allowed: HOST:PORT")
    if count < 1:
        raise InputError(f"num_processes is {count}; allowed: 1 or more")
    if not 0 <= index < count:
        raise InputError(f"process_id is {index}; allowed: 0 to {count - 1}")


def check_joined() -> None:
    """Checks that the processes on one accelerator system were joined into one run.

    Raises:
      InputError: the devices belong to several processes, which were not joined.
    """
    if jax.process_count() > 1 and not jax.distributed.is_initialized():
        raise InputError(
            f"this is one of {jax.process_count()} processes, which were not joined; add "
            "--distributed, or --coordinator_address, --num_processes and --process_id"
        )


def is_main_process() -> bool:
    """Whether this process is the one that writes metrics and pictures, process 0."""
    return jax.process_index() == 0


def share(values: Sequence[float]) -> np.ndarray | jax.Array:
    """Starts sending this process's numbers to all processes, and returns at once.

    The result is float32 ``[processes, len(values)]``, the same in every process. Reading it waits
    for all processes, and for everything that was dispatched before.

    Examples:
      >>> share([1, 2.5])
      array([[1. , 2.5]], dtype=float32)
    """
    own = np.asarray(values, np.float32)[None]
    if jax.process_count() == 1:
        return own
    sharding, gather = _gather()
    shape = (jax.process_count(), own.shape[1])
    return gather(jax.make_array_from_callback(shape, sharding, lambda index: own))


def gather(number: int) -> list[int]:
    """The number that each process gives, below 2**31, by process. Waits for all processes.

    Examples:
      >>> gather(7)
      [7]
    """
    return multihost_utils.process_allgather(np.int32(number)).tolist()


def agree_all(fact: bool) -> bool:
    """Whether ``fact`` is true in all processes. Waits for all processes."""
    return all(gather(fact))


def agree_equal(number: int, what: str) -> None:
    """Checks that a number is the same in all processes. Waits for all processes.

    Raises:
      RunError: the numbers differ; the message says that they are of ``what``.
    """
    found = gather(number)
    if len(set(found)) > 1:
        numbers = ", ".join(map(str, found))
        raise RunError(f"the processes do not see the same of {what}: {numbers}")


@functools.cache
def _gather():
    devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    mesh = Mesh(np.array(devices).reshape(jax.process_count(), -1), ("process", "local"))
    everywhere = NamedSharding(mesh, PartitionSpec())
    return NamedSharding(mesh, PartitionSpec("process")), jax.jit(
        lambda values: values, out_shardings=everywhere
    )
