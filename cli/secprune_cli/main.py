"""`secprune`: one command group per party."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from secprune import __version__
from secprune.errors import SecpruneError
from secprune_cli import (
    aggregator,
    auditor,
    client,
    coordinator,
    demo,
    evaluate,
    experiment,
    key_holder,
    keys,
    utility,
)
from secprune_cli._errors import missing_extra, report_error, report_interrupt, stop_cleanly_on_signals

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help=(
        "Hospitals prune one LLM together. Nobody sees a hospital's notes, pruning mask or statistics; the "
        "server side learns summed mask counts only. Start with `secprune demo`."
    ),
    epilog=(
        "Exit codes: 0 done; 2 wrong use; 3 configuration; 4 a peer or the exchange misbehaved; 5 too few "
        "parties; 6 this machine failed; 75 not ready, run the same command again."
    ),
)
app.command("demo")(demo.demo)
app.add_typer(keys.app, name="keys")
app.add_typer(coordinator.app, name="coordinator")
app.add_typer(client.app, name="client")
app.add_typer(aggregator.app, name="aggregator")
app.add_typer(key_holder.app, name="key-holder")
app.add_typer(auditor.app, name="auditor")
app.command("evaluate")(evaluate.evaluate)
app.command("experiment")(experiment.experiment)
app.command("utility")(utility.utility)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; every deliberate error ends in its documented exit code."""
    stop_cleanly_on_signals()
    as_json = "--json" in sys.argv
    try:
        app()
    except SecpruneError as error:
        report_error(error, as_json=as_json)
    except ModuleNotFoundError as error:
        report_error(missing_extra(error), as_json=as_json)
    except KeyboardInterrupt:
        report_interrupt()
