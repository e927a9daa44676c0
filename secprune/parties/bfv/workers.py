"""One process per core for the work that SEAL does: it holds Python's lock while it computes.

Chunks go to the processes and come back in order, a few at a time, so that memory stays bounded.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any, TypeVar

from secprune.errors import LocalEnvironmentError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

T = TypeVar("T")
R = TypeVar("R")

_WORTH_A_PROCESS = 4
"""Chunks below which starting processes costs more than it saves."""

_work: Callable[[Any], Any] | None = None  # of this worker process


def in_processes(
    make: Callable[..., Callable[[T], R]], arguments: tuple[Any, ...], items: Iterable[T], *, count: int
) -> Iterator[R]:
    """Apply `make(*arguments)` to all items, in order; `make` runs once in each process.

    Args:
        make: a function of a module, that makes the function to apply.
        arguments: what it is made with; sent to the processes through a pipe.
        items: sent likewise, a few ahead of the results.
        count: how many items there are.

    Raises:
        LocalEnvironmentError: a process was killed, most likely for want of memory.
    """
    processes = min(len(os.sched_getaffinity(0)), count)
    here = make(*arguments)  # whatever is wrong with this installation is said here, not in a process
    if processes < 2 or count < _WORTH_A_PROCESS:
        yield from map(here, items)
        return
    del here
    context = multiprocessing.get_context("spawn")  # a fork would copy locks that threads hold
    with ProcessPoolExecutor(processes, context, _start, (make, arguments)) as pool:
        waiting: deque[Future[R]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(_apply, item))
                if len(waiting) > processes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise LocalEnvironmentError(
                "a process that encrypts or decrypts was killed",
                hint="check this machine's memory, then run the same command again; nothing is lost",
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _start(make: Callable[..., Callable[[Any], Any]], arguments: tuple[Any, ...]) -> None:
    global _work  # noqa: PLW0603 - what this process is for
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _work = make(*arguments)


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever, and may hold a key."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # noqa: S101 - this process was started by one
    parent.join()
    os._exit(1)


def _apply(item: Any) -> Any:
    assert _work is not None  # noqa: S101 - _start has run
    return _work(item)
