"""`secprune auditor`: whether what the parties recorded fits together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from secprune_cli._output import HERE, DirectoryOption, JsonOption, show

app = typer.Typer(
    no_args_is_help=True, help="An auditor: compare the ledgers of all parties; needs no private key."
)


@app.command()
def export(
    out: Annotated[Path, typer.Option(help="File to write; anybody may read it.")],
    directory: DirectoryOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Write this party's ledger, signed, for an auditor. Run by the party itself."""
    from secprune.parties.auditing import export_ledger

    show(export_ledger(directory, out), as_json=as_json, title="Ledger exported")


@app.command()
def verify(
    ledgers: Annotated[
        list[Path], typer.Argument(help="Exported ledgers, one or more.", exists=True, dir_okay=False)
    ],
    task: Annotated[Path, typer.Option(help="The task file; its .sig lies beside it.")],
    exchange: Annotated[
        str | None,
        typer.Option(help="The study's exchange; without it, messages are taken from ledgers only."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check that ledgers are whole and fit together; names the first party for whom that is not so (exit code 4)."""
    from secprune.errors import RemoteMisbehaviourError
    from secprune.parties.auditing import verify as compare

    result = compare(task, ledgers, exchange)
    show(result, as_json=as_json, title="Ledgers")
    if result.finding is not None:
        found = result.finding
        where = "" if found.seq is None else f" (entry {found.seq} in the ledger of {found.ledger})"
        raise RemoteMisbehaviourError(
            f"{found.party} {found.what}{where}",
            party=found.party,
            hint="keep the ledgers and the exchange as evidence; docs/ledger.md says what this proves",
        )
