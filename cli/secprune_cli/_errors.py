"""Deliberate errors become a readable message and a documented exit code; nothing else is caught."""

from __future__ import annotations

import json
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from rich.console import Console
from rich.markup import escape

from secprune.errors import LocalEnvironmentError, RemoteMisbehaviourError, SecpruneError, TooFewPartiesError
from secprune_cli._output import printable

if TYPE_CHECKING:
    from types import FrameType

INTERRUPTED, TERMINATED = 130, 143


def report_error(error: SecpruneError, *, as_json: bool) -> NoReturn:
    """Show what happened, whose fault it is and what to do next, and exit."""
    blamed = error.party if isinstance(error, RemoteMisbehaviourError) else None
    missing = list(error.missing) if isinstance(error, TooFewPartiesError) else None
    if as_json:
        text = {
            "error": error.message,
            "fault": error.fault,
            "party": blamed,
            "missing": missing,
            "hint": error.hint,
        }
        print(json.dumps(text), file=sys.stderr)  # noqa: T201 - this is the command line
    else:
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        whose = f"{error.fault}, by {blamed}" if blamed else error.fault
        console.print(f"[bold red]error[/] ({escape(whose)}): {escape(printable(error.message))}")
        if error.hint:
            console.print(f"[bold]next:[/] {escape(printable(error.hint))}")
    sys.exit(error.exit_code)


_EXTRAS = {
    "torch": "prune",
    "transformers": "prune",
    "gguf": "demo",
    "accelerate": "demo",
    "matplotlib": "experiment",
    "tenseal": "he",
    "zstandard": "he",
    "s3fs": "s3",
    "sshfs": "sftp",
    "distributed": "dask",
    "opacus": "dp",
    "dp_accounting": "dp",
}


def missing_extra(error: ModuleNotFoundError) -> LocalEnvironmentError:
    """What to install when a command needs a package of an extra; any other missing module is a bug."""
    package = (error.name or "").partition(".")[0]
    if package not in _EXTRAS:
        raise error
    return LocalEnvironmentError(
        f"this command needs {package}, which is not installed",
        hint=f"run: pip install 'secprune[{_EXTRAS[package]}]'",
    )


def stop_cleanly_on_signals() -> None:
    """Let SIGTERM unwind like Ctrl-C, so that temporary files go and the journal closes."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        sys.exit(TERMINATED)

    signal.signal(signal.SIGTERM, stop)


def report_interrupt() -> NoReturn:
    """Say that Ctrl-C lost nothing."""
    Console(stderr=True).print("stopped; run the same command again to go on where this left off")
    sys.exit(INTERRUPTED)
