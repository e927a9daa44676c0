"""How long work tells whoever watches how far it is, and what it took; the command line draws bars from it."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is (0: not known)."""


def silent(_what: str, _done: int, _total: int) -> None:
    """Progress that nobody watches."""


def add_seconds(parts: Iterable[dict[str, float]]) -> dict[str, float]:
    """Seconds of several runs together, phase by phase."""
    total: dict[str, float] = {}
    for part in parts:
        for phase, spent in part.items():
            total[phase] = round(total.get(phase, 0.0) + spent, 3)
    return total


def peak_memory_mib() -> int:
    """The largest resident set of this process so far, pages of mapped files included.

    Linux starts a new program's getrusage peak at the size of the process that started it, so VmHWM is
    taken where there is one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) // 2**10
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // unit


class Stopwatch:
    """Seconds spent in named phases."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the time of the block under `name`."""
        started = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - started
            self.seconds[name] = round(self.seconds.get(name, 0.0) + spent, 3)
