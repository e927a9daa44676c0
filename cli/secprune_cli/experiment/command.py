"""The `experiment` command: read a grid, measure its cells, make tables and figures."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from secprune_cli._output import JsonOption, progress_bars, show


class ExperimentResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a run has done, and where it lies."""

    measured_now: int
    measured_before: int
    report: str
    table: str
    results: str
    plots: list[str]


def experiment(
    model: Annotated[
        Path | None, typer.Option(help="Directory of a local Hugging Face causal LM instead of SmolLM2-135M.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Directory with one .txt or .jsonl of notes per hospital; synthetic notes if not given."
        ),
    ] = None,
    grid: Annotated[
        str | None, typer.Option(help="papers (if not given), quick, or a TOML file: docs/experiments.md.")
    ] = None,
    output: Annotated[
        Path, typer.Option("--out", help="Directory for results; what is there is not measured again.")
    ] = Path("experiment-out"),
    dtype: Annotated[str, typer.Option(help="stored, bfloat16 or float32: what to compute in.")] = "stored",
    seeds: Annotated[int, typer.Option(help="How often each cell is measured.", min=1)] = 3,
    eval_windows: Annotated[int, typer.Option(help="Held-out windows scored per text, at most.", min=1)] = 4,
    sequence_length: Annotated[
        int, typer.Option(help="Tokens in a window, of calibration and held-out text.", min=2)
    ] = 256,
    report_only: Annotated[
        bool, typer.Option("--report-only", help="Measure nothing; make tables and figures of what is there.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure what the choices of a study do to the model: the ablations of the pruning papers.

    A cleartext simulation of all parties in one process: local masks, counts, final mask, perplexity. The
    secure protocols give the same counts bit for bit, so nothing here depends on them. Stop it at any time
    and run it again to go on.
    """
    importlib.import_module("matplotlib")  # if it is missing, better said now than after an hour of work
    from secprune_cli.demo.material import prepare_model, read_hospitals
    from secprune_cli.experiment.grid import read_grid
    from secprune_cli.experiment.report import write_report
    from secprune_cli.experiment.run import run
    from secprune_cli.experiment.store import GRID, RESULTS, read_results, read_setup

    measured = 0
    if report_only:
        read_setup(output)
        chosen = read_grid(grid or str(output / GRID))
    else:
        chosen = read_grid(grid or "papers")
        hospitals = read_hospitals(data=data, clients=8 if data is None else None)
        source = prepare_model(model, console=Console(stderr=True, highlight=False))
        with progress_bars() as progress:
            measured = run(
                chosen,
                model=source,
                hospitals=hospitals,
                output=output,
                dtype=dtype,
                seeds=seeds,
                sequence_length=sequence_length,
                eval_windows=eval_windows,
                progress=progress,
            )
    records, _ = read_results(output / RESULTS)
    written = write_report(output, chosen, read_setup(output), records)
    result = ExperimentResult(
        measured_now=measured,
        measured_before=len(records) - measured,
        report=str(written.report),
        table=str(written.table),
        results=str(output / RESULTS),
        plots=[str(path) for path in written.plots],
    )
    show(result, as_json=as_json, title="Experiment")
