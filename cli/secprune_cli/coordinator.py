"""`secprune coordinator`: whoever runs the study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from secprune.errors import LocalMisuseError
from secprune.task import ProtocolName
from secprune_cli._output import HERE, DeviceOption, DirectoryOption, JsonOption, progress_bars, show
from secprune_cli._privacy import (
    ClipOption,
    ColludersOption,
    DeltaOption,
    EpsilonOption,
    FlipOption,
    PayloadOption,
    RecentringOption,
    ReferenceOption,
    UnitOption,
    VoteNoiseOption,
    activations_for,
    privacy_options,
)
from secprune_cli._pruning import (
    DEFAULTS,
    ActivationsOption,
    AlgorithmOption,
    CapacityOption,
    KeyHolderOption,
    LocalComparisonOption,
    LocalPrunerOption,
    PatternOption,
    ScheduleOption,
    ServerComparisonOption,
    TiesOption,
    WeightBitsOption,
    WeightScalingOption,
    algorithm_options,
    key_holder_form,
    pruning_spec,
)

app = typer.Typer(no_args_is_help=True, help="Make the task, drive the round, write the pruned model.")


@app.command()
def init(
    model: Annotated[
        Path, typer.Option(help="Directory of the Hugging Face causal LM to prune (safetensors).")
    ],
    cards: Annotated[Path, typer.Option(help="Directory with every party's *.card.json, this one's too.")],
    output: Annotated[Path, typer.Option("--task", help="Task file to write; its signature goes beside it.")],
    directory: DirectoryOption = HERE,
    study: Annotated[
        str | None,
        typer.Option(
            help="What the study is called; a name for one task only. Made up of model and a number if not given."
        ),
    ] = None,
    protocol: Annotated[
        str,
        typer.Option(
            help="additive: two or more aggregators that do not collude, and none of them learns the sum. pairwise: where "
            "there is only one aggregator; it learns the sum, and hospitals must stay until the end. bfv: homomorphic "
            "encryption, one aggregator and one or more key holders; a client that helps the aggregator breaks it, so "
            "prefer the others. (cleartext: tests and demos only.)"
        ),
    ] = "additive",
    key_holder: KeyHolderOption = "blind",
    sparsity: Annotated[
        str, typer.Option(help="Share of weights to prune, as 0.5 or 1/2; exact.")
    ] = DEFAULTS.sparsity,
    min_clients: Annotated[
        int | None, typer.Option(help="Smallest cohort; more than two thirds of the roster if not given.")
    ] = None,
    sequence_length: Annotated[
        int, typer.Option(help="Tokens in a calibration window.")
    ] = DEFAULTS.sequence_length,
    max_windows: Annotated[
        int, typer.Option(help="Calibration windows per client, at most.")
    ] = DEFAULTS.max_windows,
    algorithm: AlgorithmOption = DEFAULTS.algorithm,
    weight_bits: WeightBitsOption = None,
    capacity: CapacityOption = None,
    local_pruner: LocalPrunerOption = "",
    local_comparison: LocalComparisonOption = DEFAULTS.local_comparison,
    server_comparison: ServerComparisonOption = DEFAULTS.server_comparison,
    pattern: PatternOption = DEFAULTS.pattern,
    ties: TiesOption = DEFAULTS.ties,
    activations: ActivationsOption = "",
    schedule: ScheduleOption = DEFAULTS.schedule,
    weight_scaling: WeightScalingOption = DEFAULTS.weight_scaling,
    max_zero_vote_share: Annotated[
        str,
        typer.Option(
            help="Largest share of pruned weights that nobody voted for.", rich_help_panel="How to prune"
        ),
    ] = DEFAULTS.max_zero_vote_share,
    payload: PayloadOption = "counts",
    epsilon: EpsilonOption = None,
    delta: DeltaOption = "0.000001",
    unit: UnitOption = "patient",
    reference_file: ReferenceOption = None,
    clip: ClipOption = None,
    colluders: ColludersOption = None,
    recentring: RecentringOption = "0",
    vote_noise: VoteNoiseOption = None,
    flip: FlipOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make and sign the task that all parties agree on. Hand TASK, TASK.sig and, if there is one, TASK.reference to all."""
    from secprune.parties.study import StudyOptions, init_study

    try:
        name = msgspec.convert(protocol, ProtocolName)
    except msgspec.ValidationError:
        raise LocalMisuseError(
            f"there is no protocol {protocol!r}", hint="choose additive, pairwise or bfv"
        ) from None
    options = StudyOptions(
        study=study,
        protocol=name,
        key_holder=key_holder_form(key_holder),
        min_clients=min_clients,
        pruning=pruning_spec(
            sparsity=sparsity,
            sequence_length=sequence_length,
            max_windows=max_windows,
            **algorithm_options(
                algorithm, local_pruner=local_pruner, weight_bits=weight_bits, capacities=capacity
            ),
            local_comparison=local_comparison,
            server_comparison=server_comparison,
            pattern=pattern,
            ties=ties,
            activations=activations_for(activations, epsilon, payload),
            schedule=schedule,
            weight_scaling=weight_scaling,
            max_zero_vote_share=max_zero_vote_share,
        ),
    )
    wishes = privacy_options(
        payload=payload,
        epsilon=epsilon,
        delta=delta,
        unit=unit,
        reference=reference_file,
        clip=clip,
        colluders=colluders,
        recentring=recentring,
        vote_noise=vote_noise,
        flip=flip,
    )
    result = init_study(directory, model=model, cards=cards, output=output, options=options, wishes=wishes)
    show(result, as_json=as_json, title="Task made")


@app.command()
def reference(
    model: Annotated[Path, typer.Option(help="Directory of the model that the task will prune.")],
    text: Annotated[
        Path,
        typer.Option(
            help="Public text, of the kind that hospitals' notes are, if there is any: .txt, .jsonl, or a directory. Never "
            "private notes: nothing protects it."
        ),
    ],
    output: Annotated[Path, typer.Option("--out", help="File to write.")],
    sequence_length: Annotated[
        int, typer.Option(help="Tokens in a window, as in the task.")
    ] = DEFAULTS.sequence_length,
    max_windows: Annotated[
        int, typer.Option(help="Windows of one document, at most.")
    ] = DEFAULTS.max_windows,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Take feature statistics of public text: the reference for tasks with --epsilon, and the public-only baseline."""
    from secprune.parties.public_reference import make_reference

    with progress_bars() as progress:
        result = make_reference(
            model,
            text,
            output,
            sequence_length=sequence_length,
            max_windows=max_windows,
            device=device,
            progress=progress,
        )
    show(result, as_json=as_json, title="Public reference made")


@app.command()
def run(
    directory: DirectoryOption = HERE,
    close_after_s: Annotated[
        float | None,
        typer.Option(
            "--close-after",
            help="After so many seconds go on without the reports still missing (not with pairwise "
            "and bfv: there the aggregator closes).",
        ),
    ] = None,
    timeout_s: Annotated[
        float | None, typer.Option("--timeout", help="Give up waiting after so many seconds (exit code 75).")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Drive the round until the summed counts are here. Run again, it goes on where it stopped."""
    from secprune.parties.schedule import drive
    from secprune.parties.session import open_session

    with open_session(directory, "coordinator") as session, progress_bars() as progress:
        result = drive(session, session.patience(timeout_s), close_after_s=close_after_s, progress=progress)
    show(result, as_json=as_json, title="Counts ready")


@app.command()
def select(
    output: Annotated[Path, typer.Option("--out", help="Directory to write the pruned checkpoint to.")],
    directory: DirectoryOption = HERE,
    baseline: Annotated[
        Path | None,
        typer.Option(
            help="Directory for the public-only baseline: the model pruned by the public reference alone."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the final mask and the pruned checkpoint with its provenance."""
    from secprune.parties.selection import select as take
    from secprune.parties.session import open_session

    with open_session(directory, "coordinator") as session, progress_bars() as progress:
        result = take(session, output, baseline=baseline, progress=progress)
    show(result, as_json=as_json, title="Pruned model written")


@app.command()
def status(directory: DirectoryOption = HERE, as_json: JsonOption = False) -> None:
    """Show who has reported, what the round waits for, and what went wrong."""
    from secprune.parties.session import open_session
    from secprune.parties.status import status as look

    with open_session(directory, "coordinator", exclusive=False) as session:
        show(look(session), as_json=as_json, title="Status")
