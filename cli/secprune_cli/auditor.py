"""`secprune auditor`: what an epsilon would cost, what a study leaks, and whether what was recorded fits together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from secprune_cli._output import HERE, DeviceOption, DirectoryOption, JsonOption, progress_bars, show
from secprune_cli._plan import numbers, print_plan, words

app = typer.Typer(
    no_args_is_help=True,
    help="An auditor: price privacy before a study; after it, report what it leaks and compare the ledgers of all parties. "
    "Needs no party's private key.",
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
def report(
    study: Annotated[
        Path,
        typer.Option(help="Directory of the study, as `secprune demo --out DIR` leaves it.", file_okay=False),
    ],
    out: Annotated[Path, typer.Option(help="New directory for report.html and the signed evidence.")],
    rehearse: Annotated[
        bool,
        typer.Option(
            "--rehearse",
            help="Also run attacks, on the study's model with synthetic notes (minutes; needs torch).",
        ),
    ] = False,
    model: Annotated[
        Path | None,
        typer.Option(
            help="Directory of the study's dense model; that of a party in the study's directory if not given."
        ),
    ] = None,
    notes: Annotated[
        Path | None,
        typer.Option(
            help="Rehearsal: directory of synthetic notes, a file for each specialty; shipped ones if not given."
        ),
    ] = None,
    public: Annotated[
        Path | None, typer.Option(help="Rehearsal: file of public text; shipped one if not given.")
    ] = None,
    exchange: Annotated[
        Path | None,
        typer.Option(help="A copy of the study's exchange, if it is not in the study's directory."),
    ] = None,
    threat_model: Annotated[
        list[Path] | None,
        typer.Option(help="A threat model of your own (TOML), besides the shipped ones; repeatable."),
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option(
            help="Directory with the auditor's keys (`secprune keys new --role auditor`). If not given, new ones sign this report "
            "and are forgotten."
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Of all draws, to repeat a report; drawn if not given.", min=0, max=2**53 - 1),
    ] = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Check every claim of the threat models on a study; write report.html and signed evidence.

    Ends with exit code 7 if a claim is refuted; the report is written in any case. Supports a data-protection impact
    assessment or an expert determination; it is neither.
    """
    from secprune_cli.report.command import ReportOptions, check_claims_hold, write_report

    options = ReportOptions(
        study=study,
        out=out,
        rehearse=rehearse,
        exchange=exchange,
        model=model,
        notes=notes,
        public=public,
        threat_models=tuple(threat_model or ()),
        keys=keys,
        seed=seed,
        device=device,
    )
    with progress_bars() as progress:
        result = write_report(options, progress=progress)
    show(result, as_json=as_json, title="Leakage report")
    check_claims_hold(result)


@app.command()
def threats(
    out: Annotated[
        Path, typer.Option("--owasp", help="File to write, in the schema of the OWASP Threat Model Library.")
    ],
    threat_model: Annotated[
        list[Path] | None,
        typer.Option(help="A threat model of your own (TOML), besides the shipped ones; repeatable."),
    ] = None,
) -> None:
    """Export the threat models for other tools. Says what is claimed, not whether it holds: that is `report`."""
    import msgspec

    from secprune.files import SHARED_FILE, write_atomically
    from secprune_cli.report.command import ThreatModels
    from secprune_threat_models import load_system, owasp_document

    document = owasp_document(load_system(), ThreatModels.load(threat_model or ()).models)
    write_atomically(out, msgspec.json.format(msgspec.json.encode(document), indent=2), mode=SHARED_FILE)


@app.command()
def verify(
    ledgers: Annotated[
        list[Path] | None, typer.Argument(help="Exported ledgers, one or more.", exists=True, dir_okay=False)
    ] = None,
    task: Annotated[
        Path | None, typer.Option(help="With ledgers: the task file; its .sig lies beside it.")
    ] = None,
    exchange: Annotated[
        str | None,
        typer.Option(
            help="With ledgers: the study's exchange; without it, messages are taken from ledgers only. "
            "With evidence and a study: a copy of its exchange, if it is not in the study's directory."
        ),
    ] = None,
    evidence: Annotated[
        Path | None,
        typer.Option(help="Directory that `auditor report` wrote: check its signature and conclusions."),
    ] = None,
    study: Annotated[
        Path | None,
        typer.Option(
            help="With evidence: the study's directory, to compare it and to run again what follows from the seed."
        ),
    ] = None,
    threat_model: Annotated[
        list[Path] | None,
        typer.Option(help="With evidence: threat models of your own that it was made with."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check that ledgers are whole and fit together, or that evidence is signed and follows from its measurements.

    Names the first party for whom that is not so (exit code 4).
    """
    if evidence is not None and not ledgers:
        from secprune.parties.auditor.bundle import verify_evidence
        from secprune_cli.report.command import ThreatModels, rendered

        found = verify_evidence(
            evidence,
            ThreatModels.load(threat_model or ()),
            render=rendered,
            study=study,
            exchange=None if exchange is None else Path(exchange),
        )
        show(found, as_json=as_json, title="Evidence")
    elif ledgers and task is not None and evidence is None:
        _verify_ledgers(task, ledgers, exchange, as_json=as_json)
    else:
        from secprune.errors import LocalMisuseError

        raise LocalMisuseError(
            "name either ledgers with --task, or --evidence",
            hint="`secprune auditor verify --help` shows both",
        )


def _verify_ledgers(task: Path, ledgers: list[Path], exchange: str | None, *, as_json: bool) -> None:
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
