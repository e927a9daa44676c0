"""`secprune client`: a hospital's commands."""

from __future__ import annotations

from typing import Annotated

import typer

from secprune_cli._output import HERE, DeviceOption, DirectoryOption, JsonOption, progress_bars, show

TimeoutOption = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        help="Where it has to wait for others (protocols pairwise and bfv, iterative schedule): give up waiting after so "
        "many seconds (exit 75).",
    ),
]

app = typer.Typer(no_args_is_help=True, help="A hospital: check the task, prune locally, submit one report.")


@app.command()
def check(directory: DirectoryOption = HERE, as_json: JsonOption = False) -> None:
    """Check the task against this site's policy and model, and say what taking part discloses."""
    from secprune.parties import schedule
    from secprune.parties.session import open_session

    with open_session(directory, "client") as session:
        show(schedule.check(session), as_json=as_json, title="This site can take part")


@app.command()
def prune(
    directory: DirectoryOption = HERE, device: DeviceOption = "auto", as_json: JsonOption = False
) -> None:
    """Compute what this site reports from its notes: pruning masks, or noised statistics. Nothing leaves the directory."""
    from secprune.parties import schedule
    from secprune.parties.session import open_session

    with open_session(directory, "client") as session, progress_bars() as progress:
        result = schedule.prune(session, device=device, progress=progress)
    show(result, as_json=as_json, title="Ready to submit")


@app.command()
def submit(
    directory: DirectoryOption = HERE, timeout_s: TimeoutOption = None, as_json: JsonOption = False
) -> None:
    """Protect what was pruned and post the report, or with layer sampling one for each of this site's decoder blocks.

    Run again, it sends the same bytes and what is missing.

    With the protocols pairwise and bfv it stays until this site has revealed its
    shares, or answered for the sum, with the other parties at work. Stopped or
    killed, it goes on where it was when it is run again.
    """
    from secprune.parties import schedule
    from secprune.parties.session import open_session

    with open_session(directory, "client") as session, progress_bars() as progress:
        result = schedule.submit(session, session.patience(timeout_s), progress=progress)
    show(result, as_json=as_json, title="Report submitted")


@app.command()
def run(
    directory: DirectoryOption = HERE,
    timeout_s: TimeoutOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Check, prune (unless done) and submit; in the iterative schedule, block after block.

    With the protocols pairwise and bfv it stays as `submit` does.
    """
    from secprune.parties.schedule import take_part
    from secprune.parties.session import open_session

    with open_session(directory, "client") as session, progress_bars() as progress:
        result = take_part(session, session.patience(timeout_s), device=device, progress=progress)
    show(result, as_json=as_json, title="Report submitted")


@app.command()
def status(directory: DirectoryOption = HERE, as_json: JsonOption = False) -> None:
    """Show where this site stands and what went wrong around it."""
    from secprune.parties.session import open_session
    from secprune.parties.status import status as look

    with open_session(directory, "client", exclusive=False) as session:
        show(look(session), as_json=as_json, title="Status")
