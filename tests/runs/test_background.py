"""Work beside the training loop: in order, with its failures told once."""

import threading

import pytest

from rir_jax.runs.background import Background


def _fail(text):
    raise OSError(text)


def test_it_is_done_in_order_beside_the_caller():
    background, released, done = Background(), threading.Event(), []
    background.do(lambda: (released.wait(), done.append(1)))
    background.do(done.append, 2)
    assert done == []
    released.set()
    background.close()
    assert done == [1, 2]


def test_the_first_failure_is_told_at_the_next_wait_and_once():
    background, done = Background(), []
    background.do(_fail, "first")
    background.do(_fail, "second")
    background.do(done.append, 3)
    with pytest.raises(OSError, match="first"):
        background.wait()
    assert done == [3]
    background.wait()
    background.close()
