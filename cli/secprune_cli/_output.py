"""One way to show a result: JSON for programs, a two-column table for people; bars for long work."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from secprune.parties.progress import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Iterator

JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
DirectoryOption = Annotated[
    Path,
    typer.Option(
        "--dir", "-d", help="This party's own directory (keys, party.toml, journal).", show_default="."
    ),
]
DeviceOption = Annotated[
    str, typer.Option(help="Where to compute: auto (an accelerator if there is one), cpu, cuda or cuda:N.")
]
HERE = Path()


def show(result: msgspec.Struct, *, as_json: bool, title: str) -> None:
    """Print a result on standard output."""
    if as_json:
        print(msgspec.json.encode(result).decode())  # noqa: T201 - this is the command line
        return
    table = Table(title=title, show_header=False, title_justify="left", title_style="bold", box=None)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in msgspec.to_builtins(result).items():
        for label, text in _flatten(name.replace("_", " "), value):
            table.add_row(Text(printable(label)), Text(printable(text)))
    Console(soft_wrap=False, highlight=False).print(table)


def printable(text: str) -> str:
    """`text` without control characters: parts of it may have been written by anybody."""
    return "".join(
        char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}" for char in text
    )


def _flatten(label: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flatten(f"{label}: {key}".replace("_", " "), inner)
    elif isinstance(value, list | tuple) and value and isinstance(value[0], dict):
        for inner in value:
            yield label, "; ".join(str(part) for part in inner.values())
    elif isinstance(value, list | tuple):
        yield label, ", ".join(str(part) for part in value) or "none"
    elif isinstance(value, bool):
        yield label, "yes" if value else "no"
    else:
        yield label, "none" if value is None else str(value)


@contextlib.contextmanager
def progress_bars() -> Iterator[Progress]:
    """Draw progress on standard error if a person watches it, else stay silent."""
    if not sys.stderr.isatty():
        yield silent
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, Any] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total or None)
            bars.update(tasks[what], completed=done, total=total or None)

        yield report
