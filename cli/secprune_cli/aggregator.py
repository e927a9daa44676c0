"""`secprune aggregator`: one of two or more organisations that add shares and do not collude."""

from __future__ import annotations

from typing import Annotated

import typer

from secprune_cli._output import HERE, DirectoryOption, JsonOption, progress_bars, show

app = typer.Typer(
    no_args_is_help=True, help="An aggregator: check reports, agree on the cohort, release one share."
)


@app.command()
def run(
    directory: DirectoryOption = HERE,
    timeout_s: Annotated[
        float | None, typer.Option("--timeout", help="Give up waiting after so many seconds (exit code 75).")
    ] = None,
    close_after_s: Annotated[
        float | None,
        typer.Option(
            "--close-after",
            help="Protocols pairwise and bfv: go on without clients that are missing so many seconds into a step.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Serve the task until this aggregator's share is released. Run again, it goes on where it stopped."""
    from secprune.parties.schedule import serve
    from secprune.parties.session import open_session

    with open_session(directory, "aggregator") as session, progress_bars() as progress:
        result = serve(session, session.patience(timeout_s), close_after_s=close_after_s, progress=progress)
    show(result, as_json=as_json, title="Share released")


@app.command()
def status(directory: DirectoryOption = HERE, as_json: JsonOption = False) -> None:
    """Show what this aggregator waits for and what went wrong around it."""
    from secprune.parties.session import open_session
    from secprune.parties.status import status as look

    with open_session(directory, "aggregator", exclusive=False) as session:
        show(look(session), as_json=as_json, title="Status")
