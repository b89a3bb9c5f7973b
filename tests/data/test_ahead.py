"""Work ahead of whoever takes its results: in order, as it is known, and no more than asked for."""

import threading
import time

import pytest

from rir_jax.data.ahead import in_batches


def test_results_are_in_order_and_failures_come_after_those_before_them():
    def items():
        yield from range(5)
        raise OSError("no more")

    found = []

    def take():
        for batch in in_batches(items(), lambda item: item**2, size=8):
            assert 1 <= len(batch) <= 8
            found.extend(batch)
            time.sleep(0.2)  # until the failure is known, too

    with pytest.raises(OSError, match="no more"):
        take()
    assert found == [0, 1, 4, 9, 16]


def test_what_is_not_wanted_is_not_done():
    before = set(threading.enumerate())
    taken = []
    batches = in_batches((taken.append(i) or i for i in range(10**9)), lambda item: item, size=4)
    assert next(batches)[0] == 0
    batches.close()
    for thread in set(threading.enumerate()) - before:
        thread.join(60)
        assert not thread.is_alive()
    assert len(taken) < 20
