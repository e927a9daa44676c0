"""`secprune key-holder`: an organisation other than the aggregator's that keeps (a share of) a key of `bfv`."""

from __future__ import annotations

from typing import Annotated

import typer

from secprune_cli._output import HERE, DirectoryOption, JsonOption, progress_bars, show

app = typer.Typer(
    no_args_is_help=True,
    help="A key holder (protocol bfv): make a key, open one sum that enough clients answer for.",
)


@app.command()
def run(
    directory: DirectoryOption = HERE,
    timeout_s: Annotated[
        float | None, typer.Option("--timeout", help="Give up waiting after so many seconds (exit code 75).")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Serve the task until its sum is opened. Run again, it goes on where it stopped.

    The key is made here, stays in this directory's journal (mode 0600), and is forgotten once it has been used.
    """
    from secprune.parties.schedule import hold_key
    from secprune.parties.session import open_session

    with open_session(directory, "key-holder") as session, progress_bars() as progress:
        result = hold_key(session, session.patience(timeout_s), progress=progress)
    show(result, as_json=as_json, title="Sum opened")


@app.command()
def status(directory: DirectoryOption = HERE, as_json: JsonOption = False) -> None:
    """Show what this key holder waits for and what went wrong around it."""
    from secprune.parties.session import open_session
    from secprune.parties.status import status as look

    with open_session(directory, "key-holder", exclusive=False) as session:
        show(look(session), as_json=as_json, title="Status")
