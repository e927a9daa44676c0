"""One measured figure, and how several timings of the same work are taken."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MILLION = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What was measured, and what it is held against.

    `baseline` is how many times as fast (or small) this is as the baseline of the same run; `note` says
    what a reader needs to know beside the number.
    """

    section: str
    what: str
    value: float
    unit: str
    goal: float | None = None
    better: Literal["higher", "lower"] = "higher"
    baseline: float | None = None
    note: str = ""

    @property
    def against_goal(self) -> float | None:
        """How many times the goal is reached; 1 or more is good, whatever the direction."""
        if self.goal is None:
            return None
        return self.value / self.goal if self.better == "higher" else self.goal / self.value

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None without a goal."""
        return None if self.against_goal is None else self.against_goal >= 1


def interleaved(
    work: Mapping[str, Callable[[], float]], repeats: int, *, uncounted: int = 1
) -> dict[str, float]:
    """Median seconds of each piece of work, run in turn `repeats` times after one round that is not counted.

    `uncounted` is 0 for work that has just been run, to compare what it returns.

    Running in turn spreads whatever else the machine does over all of them. Each piece takes its own
    time, so that it can prepare and clean up unmeasured.
    """
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(uncounted + repeats):
        for name, run in work.items():
            taken = run()
            if turn >= uncounted:
                seconds[name].append(taken)
    return {name: statistics.median(values) for name, values in seconds.items()}


def timed(run: Callable[[], object]) -> float:
    """Seconds that `run` takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


class Laps:
    """Adds up seconds by name: `laps("pack")` books the time since the last call."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def __call__(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._last
        self._last = now
