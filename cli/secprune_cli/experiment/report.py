"""Tables of an experiment: results.md for people, results.csv for programs; what is there is reported.

A row of results.md is one cell of the grid, over all its seeds: mean and sample standard deviation.
A row of results.csv is one cell with one seed.
"""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from secprune.files import private_directory, write_atomically
from secprune_cli.experiment.grid import AXES
from secprune_cli.experiment.plots import draw
from secprune_cli.experiment.results import Results, Row, shown, summary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from secprune_cli.experiment.grid import Choices, Grid, Section
    from secprune_cli.experiment.store import Record, Setup

REPORT, TABLE, PLOTS = "results.md", "results.csv", "plots"


class Written(Struct, frozen=True, kw_only=True):
    """The files of a report."""

    report: Path
    table: Path
    plots: list[Path]


def write_report(output: Path, grid: Grid, setup: Setup, records: Sequence[Record]) -> Written:
    """Write tables and figures of what has been measured of a grid.

    Raises:
        LocalEnvironmentError: the disk is full, or matplotlib is not installed.
    """
    results = Results(records, setup.digest)
    plots = private_directory(output / PLOTS)
    drawn: list[Path] = []
    parts = [_head(setup)]
    for number, section in enumerate(grid.sections, start=1):
        rows = {choices: results.rows(choices) for choices in section.choices}
        parts.append(_section(section, rows))
        if section.varied and any(rows.values()):
            path = plots / f"{number:02d}-{'-'.join(section.name.split()).replace('/', '-')}.png"
            write_atomically(path, draw(section, rows))
            drawn.append(path)
            parts.append(f"![{section.name}]({PLOTS}/{path.name})\n")
    written = Written(report=output / REPORT, table=output / TABLE, plots=drawn)
    write_atomically(written.report, "\n".join(parts).encode())
    write_atomically(written.table, _csv(grid, results).encode())
    return written


_HEAD = """\
# Experiment

Perplexity on held-out notes, lower is better: mean over seeds ± sample standard deviation. Federated is the mean
over texts, local only the mean over clients' own masks and texts; worst is the worst text, of the worst mask.
The difference is federated less local only, seed by seed. Centralised is one client with all windows. Zero votes: pruned
weights that no client voted for; ties: pruned weights that a tie rule chose (both of the pruned weights).
Agreed: weights that all clients or none voted for (of all weights). Seconds are of the federated measurement.

This is a cleartext simulation of all parties in one process; the secure protocols give the same counts bit for bit.
Above a zero-vote share of 1 % a study's coordinator refuses to go on, unless its task says otherwise.
"""


def _head(setup: Setup) -> str:
    facts = {
        "model": f"{setup.model}, {setup.dtype}, weights {setup.weights[:23]}",
        "notes": f"{', '.join(setup.files)}, {setup.data[:23]}",
        "windows": f"{setup.sequence_length} tokens; of each text {setup.eval_windows} scored at most",
        "software": f"torch {setup.torch}, transformers {setup.transformers}",
    }
    return _HEAD + "\n" + "\n".join(f"- {name}: {value}" for name, value in facts.items()) + "\n"


_COLUMNS = (
    "federated",
    "worst",
    "local only",
    "worst",
    "difference",
    "centralised",
    "magnitude",
    "dense",
    "zero votes %",
    "ties %",
    "agreed %",
    "s",
)


def _section(section: Section, rows: dict[Choices, dict[int, Row]]) -> str:
    first = section.choices[0]
    fixed = {
        axis: value
        for axis, value in msgspec.to_builtins(first).items()
        if axis not in section.varied and (value or axis == "weight_scaling")
    }
    lines = [f"## {section.name}", "", section.about, ""]
    lines += ["Fixed: " + ", ".join(f"{axis} {shown(value)}" for axis, value in fixed.items()) + ".", ""]
    names = [axis.replace("_", " ") for axis in section.varied]
    header = [*names, "seeds", *_COLUMNS]
    lines.append("| " + " | ".join(header) + " |")
    lines.append("|" + " --- |" * len(names) + " ---: |" * (1 + len(_COLUMNS)))
    for choices, by_seed in rows.items():
        cells = [shown(getattr(choices, axis)) for axis in section.varied]
        lines.append("| " + " | ".join([*cells, *_figures(list(by_seed.values()))]) + " |")
    return "\n".join([*lines, ""])


def _figures(rows: list[Row]) -> list[str]:
    def of(
        field: str, *, factor: float = 1, digits: int | None = None, sign: bool = False, spread: bool = True
    ) -> str:
        mean, deviation = summary(factor * getattr(row, field) for row in rows)
        text = _number(mean, digits=digits, sign=sign)
        return text if deviation is None or not spread else f"{text} ± {_number(deviation, digits=digits)}"

    return [
        str(len(rows)),
        of("federated"),
        of("federated_worst"),
        of("local"),
        of("local_worst"),
        of("difference", sign=True),
        of("centralised"),
        of("magnitude", spread=False),
        of("dense", spread=False),
        of("zero_vote_share", factor=100, digits=3),
        of("tie_share", factor=100, digits=2),
        of("unanimous_share", factor=100, digits=2),
        of("seconds", digits=1),
    ]


def _number(value: float, *, digits: int | None = None, sign: bool = False) -> str:
    if math.isnan(value):
        return "–"  # noqa: RUF001 - a dash, as tables have it
    if math.isinf(value):
        return "∞"
    if digits is None:  # perplexities: two decimals, or four figures where they are in the thousands
        digits = 2 if abs(value) < 1000 else 0
    value = round(value, digits) + 0.0  # no "-0.00"
    return f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"


def _csv(grid: Grid, results: Results) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["section", *AXES, "seed", *Row.__struct_fields__])
    for section in grid.sections:
        for choices in section.choices:
            axes = msgspec.to_builtins(choices)
            for seed, row in results.rows(choices).items():
                values = msgspec.structs.asdict(row).values()
                writer.writerow([section.name, *axes.values(), seed, *(f"{value:.6f}" for value in values)])
    return stream.getvalue()
