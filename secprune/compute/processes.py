"""Processes of this machine: numpy and SEAL hold Python's lock while they compute.

Items go to the processes and come back in order, a few at a time, so that memory stays bounded.
"""

from __future__ import annotations

import functools
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

    from secprune.compute.api import Work

T = TypeVar("T")
R = TypeVar("R")

_WORTH_A_PROCESS = 4
"""Items below which starting processes costs more than it saves."""

_MOST_UNASKED = 8
"""Processes that are started without being asked for: each has some 70 MiB (`additive`) to 200 MiB (`bfv`)."""

_make: Callable[[], Callable[[Any], Any]] | None = None  # of this worker process


class Processes:
    """Workers that are processes of this machine (see `Workers`).

    Args:
        count: at most so many; one for each core, up to eight, if not given.
    """

    def __init__(self, count: int | None = None) -> None:
        self._most = count or min(len(os.sched_getaffinity(0)), _MOST_UNASKED)

    def map(self, work: Work[T, R], items: Iterable[T], *, count: int) -> Iterator[R]:
        """Results of all items, in order; in this process, if there are few.

        Raises:
            LocalEnvironmentError: a process was killed, most likely for want of memory.
        """
        processes = min(self._most, count)
        here = (
            work.in_this_process()
        )  # what is wrong with this installation is said before anything is started
        if processes < 2 or count < _WORTH_A_PROCESS:
            yield from map(here, items)
            return
        del here
        context = multiprocessing.get_context("spawn")  # a fork would copy locks that threads hold
        with ProcessPoolExecutor(processes, context, _start, (work.make, work.arguments)) as pool:
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
                    "a process that this one started for its work was killed",
                    hint="check this machine's memory, then run the same command again; nothing is lost",
                ) from error
            finally:
                pool.shutdown(cancel_futures=True)


def _start(make: Callable[..., Callable[[Any], Any]], arguments: tuple[Any, ...]) -> None:
    global _make  # noqa: PLW0603 - what this process is for
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Made with the first item: an error in here would end the process without saying why.
    _make = functools.cache(functools.partial(make, *arguments))


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever, and may hold a key."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # noqa: S101 - this process was started by one
    parent.join()
    os._exit(1)


def _apply(item: Any) -> Any:
    assert _make is not None  # noqa: S101 - _start has run
    return _make()(item)
