"""What several processes are told and tell each other, as far as one process can show it."""

import numpy as np
import pytest

from rir_jax.devices import processes
from rir_jax.errors import InputError, RunError
from rir_jax.runs import pace as paces
from rir_jax.runs.pace import Pace
from rir_jax.runs.workdir import Workdir
from tests.reliability.conftest import StopAfter
from tools.harness import tiny_config


def test_nothing_is_joined_unless_asked_for(monkeypatch):
    monkeypatch.setattr(processes.jax.distributed, "initialize", lambda **_: pytest.fail("joined"))
    alone = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "TPU_WORKER_HOSTNAMES": "localhost"}
    processes.start(environment=alone)


@pytest.mark.parametrize(
    ("environment", "given"),
    [
        (
            {
                "JAX_COORDINATOR_ADDRESS": "host:7",
                "JAX_NUM_PROCESSES": "4",
                "JAX_PROCESS_ID": "3",
            },
            ("host:7", 4, 3),
        ),
        ({"TPU_WORKER_HOSTNAMES": "a,b"}, (None, None, None)),
        ({"MEGASCALE_NUM_SLICES": "2"}, (None, None, None)),
    ],
)
def test_the_environment_asks_for_it(environment, given, monkeypatch):
    called = []
    monkeypatch.setattr(
        processes.jax.distributed, "initialize", lambda **with_: called.append(with_)
    )
    monkeypatch.setattr(processes.jax.config, "update", lambda *_: None)
    processes.start(environment=environment)
    names = ("coordinator_address", "num_processes", "process_id")
    assert called == [{**dict(zip(names, given, strict=True)), "heartbeat_timeout_seconds": 30}]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("host:7", None, 0), "num_processes is missing; give coordinator_address, num_processes"),
        ((None, 2, 0), "coordinator_address is missing"),
        (("host:7", 2, 2), "process_id is 2; allowed: 0 to 1"),
        (("host:7", 2, -1), "process_id is -1; allowed: 0 to 1"),
        (("host:7", 0, 0), "num_processes is 0; allowed: 1 or more"),
        (("host", 2, 0), "coordinator_address is 'host'; allowed: HOST:PORT"),
    ],
)
def test_half_an_answer_is_refused(given, message):
    with pytest.raises(InputError, match=message):
        processes.start(*given, environment={})


def test_a_variable_that_is_no_number():
    with pytest.raises(InputError, match="JAX_PROCESS_ID is 'one'; allowed: a whole number"):
        processes.start(environment={"JAX_PROCESS_ID": "one"})


def test_processes_that_are_not_joined_are_told_how(monkeypatch):
    monkeypatch.setattr(processes.jax, "process_count", lambda: 4)
    with pytest.raises(InputError, match="one of 4 processes, which were not joined; add --dist"):
        processes.check_joined()


def _of_two(monkeypatch, *others):
    """Lets gathers see another process, whose numbers differ from ours by ``others``, in turn."""
    differences = iter(others)
    monkeypatch.setattr(
        processes.multihost_utils,
        "process_allgather",
        lambda own: np.stack([own, own + own.dtype.type(next(differences))]),
    )


# As float32, the last two would be equal.
@pytest.mark.parametrize("step", [44, 2**24, 2**31 - 2])
def test_findings_that_differ_are_told_of(step, monkeypatch):
    _of_two(monkeypatch, 0, 1)
    processes.agree_equal(step, "the newest checkpoint")
    message = f"do not see the same of the newest checkpoint: {step}, {step + 1}"
    with pytest.raises(RunError, match=message):
        processes.agree_equal(step, "the newest checkpoint")


@pytest.mark.parametrize(
    ("differences", "message"),
    [
        ([0, 1], "the processes were given different configs"),
        ([-1], "refused by process 0, which says why"),
    ],
)
def test_a_workdir_is_opened_by_all_or_none(differences, message, monkeypatch, tmp_path):
    _of_two(monkeypatch, *differences)
    with pytest.raises(InputError, match=message), Workdir(tmp_path).open(tiny_config()):
        pass


def test_several_decide_by_the_slowest_and_by_any_stop(monkeypatch):
    monkeypatch.setattr(paces.jax, "process_count", lambda: 2)
    pace = Pace(StopAfter(), batch_size=10)
    assert pace.steps(left=1000) == 1
    pace.rate = 1e9  # of this process: not what counts
    pace.hear(np.array([[0, 900.0], [0, 100.0]]))
    assert [pace.steps(left=1000) for _ in range(4)] == [4, 10, 10, 10]
    assert pace.steps(left=3) == 3
    assert pace.reason is None
    pace.hear(np.array([[0, 900.0], [1, 100.0]]))
    assert pace.reason == "another process was asked to stop"
