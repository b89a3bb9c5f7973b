"""A lease on a folder in a bucket: one holder, whatever becomes of it and of the store."""

import concurrent.futures
import threading
import time
import types

import pytest

from rir_jax import files
from rir_jax.errors import InputError, RunError
from rir_jax.runs import lease
from rir_jax.runs.lease import Lease

ELSEWHERE = {"host": "another", "machine": "another", "pid": "7", "started": "7"}


@pytest.fixture
def folder(store, request):
    return files.path(f"gs://runs/leases/{request.node.name.partition('[')[0]}")


@pytest.fixture
def fast(monkeypatch):
    """Silence is a matter of seconds (the store's clock counts whole ones)."""
    monkeypatch.setattr(lease, "RENEWAL", 0.2)
    monkeypatch.setattr(lease, "SILENCE", 4.0)


@pytest.fixture
def waits(monkeypatch):
    """The seconds of each wait for another holder's sign of life."""
    found, sleep = [], time.sleep

    def wait(seconds):
        found.append(seconds)
        sleep(seconds)

    monkeypatch.setattr(lease, "time", types.SimpleNamespace(sleep=wait, monotonic=time.monotonic))
    return found


def _written_by(folder, holder):
    """A lease that another machine has taken; returns its object and generation."""
    lying = lease._Object(folder / ".lease")
    return lying, lying.write(holder, "0")


def test_it_is_held_renewed_and_given_back(folder, fast):
    lying = lease._Object(folder / ".lease")
    with Lease(folder) as held:
        first = lying.read()
        assert first.holder["pid"] == str(lease.os.getpid())
        time.sleep(1)
        assert lying.read().generation != first.generation
        held.check()
    assert lying.read().holder == {}
    with Lease(folder):
        pass


def test_of_many_at_once_one_gets_it(folder):
    barrier, won = threading.Barrier(8), []

    def rival(number):
        barrier.wait()
        mine = lease._Object(folder / ".lease")
        if mine.write({**ELSEWHERE, "pid": str(number)}, "0") is not None:
            won.append(number)

    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        list(threads.map(rival, range(8)))
    assert len(won) == 1


def test_a_process_of_this_machine_refuses_others_while_it_lives(folder):
    with (
        Lease(folder),
        pytest.raises(InputError, match=r"is in use by another process \(process \d+ on"),
        Lease(folder),
    ):
        pass


def test_one_killed_on_this_machine_is_followed_at_once(folder, waits):
    gone = {**lease._this_process(), "pid": "4194305"}  # beyond the kernel's largest
    _written_by(folder, gone)
    with Lease(folder):
        assert not waits


def test_one_on_another_machine_that_goes_on_refuses_others(folder, fast):
    lying, generation = _written_by(folder, ELSEWHERE)
    stop = threading.Event()

    def go_on():
        of = generation
        while not stop.wait(0.3):
            of = lying.write(ELSEWHERE, of)

    other = threading.Thread(target=go_on)
    other.start()
    with pytest.raises(InputError, match="process 7 on another"), Lease(folder):
        pass
    stop.set()
    other.join()


def test_one_on_another_machine_that_is_silent_is_taken_over_after_a_while(folder, fast, waits):
    _written_by(folder, ELSEWHERE)
    with Lease(folder):
        assert sum(waits) > 2
    waits.clear()
    with Lease(folder):  # given back
        assert not waits


def test_who_has_lost_it_learns_so_and_leaves_it_alone(folder, fast):
    with Lease(folder) as held:
        lying = lease._Object(folder / ".lease")
        while (theirs := lying.write(ELSEWHERE, lying.read().generation)) is None:
            pass  # it was renewed in between
        time.sleep(1)
        with pytest.raises(RunError, match="was taken over by process 7 on another"):
            held.check()
    assert lying.read().generation == theirs


def test_a_lease_that_someone_deleted_is_written_again(folder, fast):
    with Lease(folder) as held:
        files.store().rm_file(str(folder / ".lease"))
        time.sleep(1)
        held.check()
        assert lease._Object(folder / ".lease").read() is not None


def test_a_write_whose_answer_was_lost_counts(folder, monkeypatch):
    mine = lease._Object(folder / ".lease")
    call = mine._store.call

    def twice(method, *arguments, **more):
        if method == "POST":
            call(method, *arguments, **more)
        return call(method, *arguments, **more)  # as gcsfs tries again after a broken connection

    monkeypatch.setattr(type(mine._store), "call", lambda _, *a, **k: twice(*a, **k))
    assert mine.write(ELSEWHERE, "0") == mine.read().generation
