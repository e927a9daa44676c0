"""The client's masking step of `pairwise` against that of Flower's SecAgg, which runs in its own environment.

Both begin with a client that has dealt its shares and gets what the others dealt to it, and end with masked
data ready to be sent: here with sealed chunks on disk, there with arrays serialised to bytes.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from benchmarks.figures import MILLION, Figure, interleaved
from benchmarks.pairwise import timed_protect
from benchmarks.pairwise_round import PairwiseRound, PairwiseStudy

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

SECTION = "pairwise against Flower"
PYTHON = "SECPRUNE_FLOWER_PYTHON"
ROSTERS = (5, 16, 64)
SHAPES = ((256, 4096), (1024, 4096), (4096, 4096))
"""A part, a quarter and all of one LLaMA-7B matrix: 1, 4 and 17 million weights."""

GOAL_CLIENTS, GOAL = 16, 10.0


def lean(n: int) -> dict[str, Any]:
    """The smallest ranges of Flower's workflow in which the sum of n pruning masks is exact.

    0 and 1 become 1 and 2, without rounding; their sum is at most 2 n.
    """
    return {"clipping_range": 1.0, "quantization_range": 2, "modulus_range": 1 << (2 * n).bit_length()}


def run(root: Path, repeats: int) -> list[Figure]:
    """Both sides in turn, for several roster sizes and lengths; nothing without an interpreter."""
    interpreter = os.environ.get(PYTHON)
    if not interpreter:
        note = f"skipped: set {PYTHON} to an interpreter with flwr (benchmarks/README.md)"
        return [Figure(section=SECTION, what="nothing measured", value=0, unit="figures", note=note)]
    figures = []
    with Flower(interpreter) as flower:
        for n in ROSTERS:
            for rows, columns in SHAPES:
                figures += _compare(flower, n, rows, columns, root, repeats)
        figures.append(
            Figure(
                section=SECTION,
                what=f"n = {n}: Flower's masked vector",
                value=flower.bits_per_weight,
                unit="bits/weight",
                note=f"arrays of {flower.dtype}; without keys, shares and the message around it",
            )
        )
    return figures


def _compare(flower: Flower, n: int, rows: int, columns: int, root: Path, repeats: int) -> list[Figure]:
    study, path = PairwiseStudy(((rows, columns),), clients=n), root / "masks"
    masks, played, middle = study.write_masks(path), PairwiseRound(study), study.clients[n // 2]
    sides = {"Flower": Side(lambda: flower.mask(n, rows, columns, {}))}
    if n == GOAL_CLIENTS:
        sides["Flower, ranges for bits"] = Side(lambda: flower.mask(n, rows, columns, lean(n)))
    sides["secprune"] = Side(lambda: timed_protect(played, middle, masks, path, root / "exchange"))
    seconds = interleaved(sides, repeats)
    weights = study.round.layout.weights
    what, base = f"n = {n}, {weights / MILLION:.1f} M weights", seconds["Flower"]
    figures = []
    for name, side in sides.items():
        rates = [weights / MILLION / taken for taken in side.seconds[1:]]
        note = f"{min(rates):.3g} to {max(rates):.3g}"
        if name == "Flower":
            note += f", {base * 1e9 / weights / n:.1f} ns a weight and mask; " + ", ".join(
                f"{package} {version}" for package, version in flower.versions.items()
            )
        figures.append(
            Figure(
                section=SECTION,
                what=f"{what}: {name}",
                value=weights / MILLION / seconds[name],
                unit="M weights/s",
                goal=GOAL * weights / MILLION / base if (n, name) == (GOAL_CLIENTS, "secprune") else None,
                baseline=base / seconds[name],
                note=note,
            )
        )
    return figures


@dataclass
class Side:
    """Work that keeps the seconds of all its runs."""

    work: Callable[[], float]
    seconds: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        self.seconds.append(self.work())
        return self.seconds[-1]


class Flower:
    """`flower_client.py` in a process of its own, under another interpreter.

    Args:
        interpreter: of an environment with flwr.
    """

    def __init__(self, interpreter: str) -> None:
        script = Path(__file__).with_name("flower_client.py")
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "FLWR_TELEMETRY_ENABLED": "0"}
        environment.pop("PYTHONPATH", None)
        self._process = subprocess.Popen(
            [interpreter, str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.versions: dict[str, str] = self._answer()
        self.bits_per_weight, self.dtype = 0.0, ""  # of the last answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()  # the end of its input ends it

    def mask(self, n: int, rows: int, columns: int, options: dict[str, Any]) -> float:
        """Seconds that one client's masking step takes, by the clock of its process."""
        assert self._process.stdin is not None
        request = {"clients": n, "rows": rows, "columns": columns, "options": options}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        self.bits_per_weight, self.dtype = 8 * answer["bytes"] / (rows * columns), answer["dtype"]
        return float(answer["seconds"])

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{Path(__file__).with_name('flower_client.py').name} ended; see above")
        answer: dict[str, Any] = json.loads(line)
        return answer
