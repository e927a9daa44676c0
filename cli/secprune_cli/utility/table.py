"""The findings as a table in Markdown: a line for each setting, a column for each epsilon."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from secprune_cli.utility.cells import Cell, Choices

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from secprune_cli.utility.measure import Finding


def tables(choices: Choices, found: Mapping[Cell, Finding]) -> str:
    """Perplexity, and below it agreement with the pooled mask; mean of the seeds, and their range where they differ.

    What has not been measured yet is a dash.
    """
    head = [
        "public reference",
        "payload",
        "hospitals x patients",
        *(f"epsilon {e}" for e in choices.epsilons),
    ]
    head += ["public only", "all in one place"]
    lines = []
    for what, digits in (("perplexity", 2), ("agreement", 4)):
        rows = [_row(choices, found, line, what, digits) for line in _lines(choices)]
        lines += [_title(what), "", *_markdown(head, rows), ""]
    return "\n".join(lines)


def _title(what: str) -> str:
    if what == "perplexity":
        return "Perplexity on held-out notes (lower is better)"
    return "Share of weights treated as by the mask of all patients' sums in one place"


def _lines(choices: Choices) -> list[Cell]:
    return sorted(
        {
            Cell(
                kind="study",
                reference=cell.reference,
                payload=cell.payload,
                hospitals=cell.hospitals,
                patients=cell.patients,
            )
            for cell in choices.cells()
            if cell.kind == "study"
        },
        key=lambda c: (choices.references.index(c.reference), c.payload, c.hospitals, c.patients),
    )


def _row(choices: Choices, found: Mapping[Cell, Finding], line: Cell, what: str, digits: int) -> list[str]:
    def of(cells: Sequence[Cell]) -> str:
        values = [getattr(found[cell], what) for cell in cells if cell in found]
        return _shown([value for value in values if value is not None], digits)

    studies = [
        [c for c in choices.cells() if c.epsilon == epsilon and _same_line(c, line)]
        for epsilon in choices.epsilons
    ]
    pooled = Cell(kind="pooled", hospitals=line.hospitals, patients=line.patients)
    public = Cell(kind="public only", reference=line.reference)
    return [
        line.reference,
        line.payload,
        f"{line.hospitals} x {line.patients}",
        *(of(cells) for cells in studies),
        of([public]) if what == "perplexity" else _agreement_of_public(found, line, digits),
        of([pooled]),
    ]


def _agreement_of_public(found: Mapping[Cell, Finding], line: Cell, digits: int) -> str:
    """Of the public-only mask with the pooled one of this line; measured with the pooled one, for each reference."""
    pooled = Cell(kind="pooled", hospitals=line.hospitals, patients=line.patients)
    value = found[pooled].agreement_of_public.get(line.reference) if pooled in found else None
    return "-" if value is None else f"{value:.{digits}f}"


def _same_line(cell: Cell, line: Cell) -> bool:
    return (cell.kind, cell.reference, cell.payload, cell.hospitals, cell.patients) == (
        line.kind,
        line.reference,
        line.payload,
        line.hospitals,
        line.patients,
    )


def _shown(values: Sequence[float], digits: int) -> str:
    if not values:
        return "-"
    mean = f"{statistics.fmean(values):.{digits}f}"
    spread = (max(values) - min(values)) / 2
    return mean if round(spread, digits) == 0 else f"{mean} ± {spread:.{digits}f}"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    rule = ["---" if place < 3 else "---:" for place in range(len(head))]
    return ["| " + " | ".join(row) + " |" for row in (head, rule, *rows)]
