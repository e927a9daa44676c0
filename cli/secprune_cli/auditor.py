"""`secprune auditor`: what an epsilon would cost, and whether what the parties recorded fits together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from secprune_cli._output import HERE, DeviceOption, DirectoryOption, JsonOption, progress_bars, show
from secprune_cli._plan import numbers, print_plan, words

app = typer.Typer(
    no_args_is_help=True,
    help="An auditor: price privacy before a study, compare the ledgers of all parties after it; needs no private key.",
)


@app.command()
def plan(
    reference: Annotated[Path, typer.Option(help="Public reference, from `coordinator reference`.")],
    model: Annotated[
        Path | None,
        typer.Option(
            help="Directory of the model that the reference was made for: what is lost is then measured on its own masks. "
            "Without it, errors of features are compared."
        ),
    ] = None,
    hospitals: Annotated[str, typer.Option(help="Sizes of the consortium.")] = "4,8,16,64",
    patients: Annotated[str, typer.Option(help="Patients at each hospital.")] = "25,100,400,1600,6400",
    epsilon: Annotated[str, typer.Option(help="Epsilons to price.")] = "0.5,1,2,4,8",
    delta: Annotated[str, typer.Option(help="Delta of all of them.")] = "0.000001",
    clip: Annotated[
        str | None,
        typer.Option(
            help="Bound of one patient's statistics; the public reference's typical one if not given."
        ),
    ] = None,
    shift: Annotated[
        str | None,
        typer.Option(
            help="Assumed distance of the hospitals' text from the public text, root mean square of a feature's logarithm; "
            "that between the two halves of the public text if not given. Never taken from private data."
        ),
    ] = None,
    sparsity: Annotated[
        str, typer.Option(help="Share of weights to prune, as 0.5 or 1/2; of use with --model.")
    ] = "0.5",
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Before a study: what each epsilon costs, and how many patients it takes to be worth having."""
    from secprune.parties.planning import PlanOptions, plan_study

    options = PlanOptions(
        reference=reference,
        model=model,
        hospitals=numbers(hospitals, "hospitals"),
        patients=numbers(patients, "patients"),
        epsilons=words(epsilon, "epsilons"),
        delta=delta,
        clip=clip,
        shift=shift,
        sparsity=sparsity,
        device=device,
    )
    with progress_bars() as progress:
        result = plan_study(options, progress=progress)
    if as_json:
        show(result, as_json=True, title="Plan")
    else:
        print_plan(result)


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
