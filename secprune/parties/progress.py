"""How long work tells whoever watches how far it is; the command line draws bars from it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import contextmanager
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
