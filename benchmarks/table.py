"""Figures as a table for people and as JSON for programs."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict
from typing import TYPE_CHECKING

import cryptography
import numpy as np
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.figures import Figure


def table(figures: Sequence[Figure]) -> Table:
    """One row a figure."""
    result = Table(title="secprune benchmarks", title_justify="left", pad_edge=False)
    result.add_column("what", min_width=30)
    for name in ("measured", "goal", "x goal", "x baseline"):
        result.add_column(name, justify="right", no_wrap=True)
    result.add_column("verdict", no_wrap=True)
    result.add_column("note", min_width=20)
    section = ""
    for figure in figures:
        if figure.section != section:
            section = figure.section
            result.add_section()
            result.add_row(f"[bold]{section}[/bold]")
        sign = ">=" if figure.better == "higher" else "<="
        result.add_row(
            figure.what,
            f"{_number(figure.value)} {figure.unit}",
            "" if figure.goal is None else f"{sign} {_number(figure.goal)}",
            "" if figure.against_goal is None else f"{figure.against_goal:.2f}",
            "" if figure.baseline is None else f"{figure.baseline:.1f}",
            {True: "[green]met[/green]", False: "[red]missed[/red]", None: ""}[figure.met],
            figure.note,
        )
    return result


def as_json(figures: Sequence[Figure], *, repeats: int) -> str:
    """All figures, and what they were measured with."""
    machine = {
        "machine": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "cryptography": cryptography.__version__,
    }
    rows = [{**asdict(f), "against_goal": f.against_goal, "met": f.met} for f in figures]
    return json.dumps({"repeats": repeats, "machine": machine, "figures": rows}, indent=1) + "\n"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}" if value < 10 else f"{value:.1f}"
