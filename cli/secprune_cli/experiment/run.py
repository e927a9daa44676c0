"""A whole run: check everything, then measure what is not there yet, and say how long it will take."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Literal

import msgspec

from secprune.errors import LocalMisuseError
from secprune.files import write_atomically
from secprune_cli.experiment.plan import Measurement, effort, plan
from secprune_cli.experiment.store import GRID, MaskCache, Setup, Store

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from secprune.parties.progress import Progress
    from secprune_cli.demo.material import Hospital
    from secprune_cli.experiment.grid import Grid
    from secprune_cli.experiment.simulate import Simulation

Dtype = Literal["stored", "bfloat16", "float32"]


def run(
    grid: Grid,
    *,
    model: Path,
    hospitals: Sequence[Hospital],
    output: Path,
    dtype: str,
    seeds: int,
    sequence_length: int,
    eval_windows: int,
    progress: Progress,
) -> int:
    """Make all measurements of a grid that `output` does not hold yet.

    Args:
        grid: what to measure.
        model: the checkpoint.
        hospitals: one for each file of notes.
        output: where results are kept.
        dtype: what the model is loaded in.
        seeds: seeds 0 to seeds - 1.
        sequence_length: tokens in a window, of calibration and of held-out text.
        eval_windows: windows scored of each text, at most.
        progress: told about each measurement.

    Returns:
        Measurements that were made now.

    Raises:
        ConfigurationError: cells that are not possible with this model or these notes, or results of
            another setup in `output`.
        LocalMisuseError: a dtype that does not exist, or another process works in `output`.
        LocalEnvironmentError: the disk is full.
    """
    import torch
    import transformers

    from secprune.parties.study import model_spec
    from secprune.pruning.models import load_tokenizer
    from secprune_cli.experiment.bench import Bench
    from secprune_cli.experiment.material import Material
    from secprune_cli.experiment.simulate import Simulation

    try:
        msgspec.convert(dtype, Dtype)
    except msgspec.ValidationError:
        raise LocalMisuseError(f"there is no dtype {dtype!r}", hint="stored, bfloat16 or float32") from None
    spec = model_spec(model, sequence_length=sequence_length)
    grid.check(spec.matrices, sequence_length=sequence_length)
    material = Material(hospitals, load_tokenizer(model), sequence_length=sequence_length)
    cells = grid.cells(seeds)
    for cell in cells:
        material.check(cell)
    setup = Setup(
        model=spec.name,
        weights=spec.weights_digest,
        tokenizer=spec.tokenizer_digest,
        data=material.digest,
        files=tuple(hospital.name for hospital in hospitals),
        dtype=dtype,
        sequence_length=sequence_length,
        eval_windows=eval_windows,
        torch=str(torch.__version__),
        transformers=str(transformers.__version__),
    )
    with Store(output, setup) as store:
        write_atomically(output / GRID, grid.text.encode())
        due = [m for m in plan(cells) if store.key(m) not in store.records]
        cache = MaskCache(output, setup.digest)
        cache.keep_only([m.group for m in due[:1] if m.group is not None])
        if not due:
            return 0
        bench = Bench(
            model,
            spec.matrices,
            material.texts(),
            dtype=None if dtype == "stored" else getattr(torch, dtype),
            sequence_length=sequence_length,
            windows=eval_windows,
        )
        simulation = Simulation(bench, material, cache, sequence_length=sequence_length)
        _measure_all(due, simulation, store, cache, progress=progress)
    return len(due)


def _measure_all(
    due: Sequence[Measurement], simulation: Simulation, store: Store, cache: MaskCache, *, progress: Progress
) -> None:
    clock = _Clock(due)
    clock.say(f"{len(due)} measurements to make; run the same command again if it is interrupted")
    for number, measurement in enumerate(due):
        if number and measurement.group != due[number - 1].group:
            # The plan comes back to no setting that it has left.
            cache.keep_only([] if measurement.group is None else [measurement.group])
        started = time.perf_counter()
        finding = simulation.measure(measurement)
        seconds = time.perf_counter() - started
        store.add(measurement, finding, seconds=round(seconds, 3))
        progress("measuring", number + 1, len(due))
        clock.tick(measurement, seconds)
    cache.keep_only([])


class _Clock:
    """Says how far the work is, and about how long it will still take, where no bar is drawn.

    The estimate goes by `effort`, and by how long one unit of it has taken so far.
    """

    def __init__(self, due: Sequence[Measurement]) -> None:
        self._total, self._all = len(due), sum(map(effort, due))
        self._number, self._done, self._spent = 0, 0.0, 0.0

    def tick(self, measurement: Measurement, seconds: float) -> None:
        self._number += 1
        self._done += effort(measurement)
        self._spent += seconds
        left = (self._all - self._done) * self._spent / self._done
        self.say(
            f"[{self._number}/{self._total}] {measurement.kind}: {seconds:.1f} s, about {left / 60:.0f} min left"
        )

    @staticmethod
    def say(text: str) -> None:
        if not sys.stderr.isatty():
            print(text, file=sys.stderr, flush=True)  # noqa: T201 - this is the command line
