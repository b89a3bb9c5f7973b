"""Work on a stream of items, done by threads ahead of whoever takes the results."""

import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
THREADS = min(16, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 4)


def in_batches(
    items: Iterable[Item], work: Callable[[Item], Result], size: int
) -> Iterator[list[Result]]:
    """Does some work on each item; yields the results in the items' order, as they are known.

    Threads are up to two batches ahead of the one that takes the results. Items may come slowly,
    from a pipe: what is known is yielded without waiting for the next.

    Args:
      items: taken in a thread of its own.
      work: what is done with an item, in several threads at once.
      size: results in a batch, at most; there are as many as are known, at least one.

    Raises:
      Exception: whatever ``items`` or ``work`` raises, after the results before it.

    Examples:
      >>> [number for batch in in_batches(range(5), lambda x: x**2, size=2) for number in batch]
      [0, 1, 4, 9, 16]
    """
    results: queue.Queue[Future | None] = queue.Queue(2 * size + 1)
    pool = ThreadPoolExecutor(THREADS)
    threading.Thread(target=_feed, args=(items, work, pool, results), daemon=True).start()
    try:
        while (future := results.get()) is not None:
            batch = [future.result()]
            while len(batch) < size and (future := _next_if_known(results)) is not None:
                batch.append(future.result())
            yield batch
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # which ends the thread, once it has room
        with results.mutex:
            results.queue.clear()
            results.not_full.notify()


def _feed(items, work, pool, results):
    """Puts a future for each item, in their order; None at the end."""
    try:
        for item in items:
            results.put(pool.submit(work, item))
    except BaseException as error:
        failed: Future = Future()
        failed.set_exception(error)
        results.put(failed)
    results.put(None)


def _next_if_known(results):
    """The next future if it has a result by now; it stays where it is otherwise."""
    with results.mutex:
        future = results.queue[0] if results.queue else None
    known = future is not None and future.done() and future.exception() is None
    return results.get() if known else None
