"""Work on a stream of items, done by threads ahead of the code that reads the results."""

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
    """Calls ``work`` on each item, and yields the results in the order of the items.

    Threads work up to two batches ahead of the caller. Items may come slowly, as from a pipe: a
    batch is yielded as soon as it has a result, without waiting for more.

    Args:
      items: the items, which a thread of its own reads.
      work: function of one item, called in several threads at once.
      size: number of results in a batch, at most; a batch has one or more.

    Raises:
      Exception: the error that ``items`` or ``work`` raised, after the results before it.

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
        pool.shutdown(wait=False, cancel_futures=True)  # ends the thread, once it has room
        with results.mutex:
            results.queue.clear()
            results.not_full.notify()


def _feed(items, work, pool, results):
    """Puts a future for each item into the queue, in order, and None at the end."""
    try:
        for item in items:
            results.put(pool.submit(work, item))
    except BaseException as error:
        failed: Future = Future()
        failed.set_exception(error)
        results.put(failed)
    results.put(None)


def _next_if_known(results):
    """Takes the next future if it has a result; else leaves it and returns None."""
    with results.mutex:
        future = results.queue[0] if results.queue else None
    known = future is not None and future.done() and future.exception() is None
    return results.get() if known else None
