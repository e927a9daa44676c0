"""The `demo` command: prepare, run the parties, judge, summarise."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from secprune.errors import LocalMisuseError
from secprune.task import ProtocolName
from secprune_cli._output import JsonOption
from secprune_cli._privacy import (
    ClipOption,
    ColludersOption,
    DeltaOption,
    EpsilonOption,
    PayloadOption,
    RecentringOption,
    UnitOption,
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
    named_values,
    pruning_spec,
)


def demo(
    clients: Annotated[
        int | None, typer.Option(help="Hospitals; 4, or one for each file of --data, if not given.", min=1)
    ] = None,
    aggregators: Annotated[
        int | None,
        typer.Option(help="Organisations that add; 2, or 1 with pairwise and bfv, if not given.", min=1),
    ] = None,
    protocol: Annotated[
        str,
        typer.Option(
            help="additive; pairwise, with one aggregator and hospitals that may drop out; bfv, homomorphic encryption "
            "with one aggregator and key holders; or cleartext as the unprotected baseline."
        ),
    ] = "additive",
    key_holders: Annotated[
        int | None,
        typer.Option(help="With bfv: organisations that hold a share of the key; 1 if not given.", min=1),
    ] = None,
    key_holder: KeyHolderOption = "blind",
    dropouts: Annotated[
        int,
        typer.Option(
            help="With pairwise: kill so many hospitals' processes, each at another step of the round.", min=0
        ),
    ] = 0,
    sparsity: Annotated[str, typer.Option(help="Share of weights to prune, as 0.5 or 1/2.")] = "0.5",
    model: Annotated[
        Path | None, typer.Option(help="Directory of a local Hugging Face causal LM instead of SmolLM2-135M.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Directory with one .txt or .jsonl of notes per hospital.")
    ] = None,
    output: Annotated[Path, typer.Option("--out", help="Directory for everything; must not exist.")] = Path(
        "demo-out"
    ),
    sequence_length: Annotated[
        int | None,
        typer.Option(help="Tokens in a window; 256 if model and notes allow, if not given.", min=2),
    ] = None,
    max_windows: Annotated[int, typer.Option(help="Calibration windows per hospital, at most.", min=1)] = 4,
    eval_windows: Annotated[
        int, typer.Option(help="Held-out windows scored per hospital, at most.", min=1)
    ] = 4,
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
    local_sparsity: Annotated[
        list[str] | None,
        typer.Option(
            help="fedspallm: NAME=0.4, a hospital that prunes to a sparsity of its own.",
            rich_help_panel="How to prune",
        ),
    ] = None,
    payload: PayloadOption = "counts",
    epsilon: EpsilonOption = None,
    delta: DeltaOption = "0.000001",
    unit: UnitOption = "patient",
    public: Annotated[
        Path | None,
        typer.Option(
            help="Public text for the reference, with --epsilon; synthetic notes that come with secprune, if not given.",
            rich_help_panel="What is protected",
        ),
    ] = None,
    clip: ClipOption = None,
    colluders: ColludersOption = None,
    recentring: RecentringOption = "0",
    as_json: JsonOption = False,
) -> None:
    """Run a whole study on this machine with a real LLM and print what it cost and gained.

    Every party is a process of its own that runs the commands a real party would run; they exchange only
    sealed, signed files through a directory. The last fifth of each hospital's notes is held out.
    """
    from secprune_cli.demo.consortium import Consortium, StudyPlan, check_plan
    from secprune_cli.demo.dropouts import choose_dropouts
    from secprune_cli.demo.material import (
        fitting_length,
        prepare_model,
        public_text,
        read_hospitals,
        write_hospitals,
    )
    from secprune_cli.demo.summary import count_servers, finish

    console = Console(stderr=True, highlight=False)
    try:
        checked = msgspec.convert(protocol, ProtocolName)
    except msgspec.ValidationError:
        raise LocalMisuseError(
            f"there is no protocol {protocol!r}", hint="choose additive, pairwise, bfv or cleartext"
        ) from None
    form = key_holder_form(key_holder)
    if checked != "bfv" and (key_holders is not None or form != "blind"):
        raise LocalMisuseError(
            f"{checked} has no key holders",
            hint="add --protocol bfv, or leave out --key-holders and --key-holder",
        )
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise LocalMisuseError(
            f"{output} exists and is not empty",
            hint="choose another --out, or remove it; nothing is overwritten",
        )
    hospitals = read_hospitals(data=data, clients=clients)
    gone = choose_dropouts([h.name for h in hospitals], dropouts, protocol=checked, schedule=schedule)
    source = prepare_model(model, console=console)
    plan = StudyPlan(
        hospitals=hospitals,
        aggregators=aggregators or (1 if checked in {"pairwise", "bfv"} else 2),
        key_holders=(key_holders or 1) if checked == "bfv" else 0,
        key_holder=form,
        protocol=checked,
        dropouts=gone,
        pruning=pruning_spec(
            sparsity=sparsity,
            sequence_length=sequence_length or fitting_length(source, hospitals),
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
        ),
        privacy=privacy_options(
            payload=payload,
            epsilon=epsilon,
            delta=delta,
            unit=unit,
            clip=clip,
            colluders=colluders,
            recentring=recentring,
        ),
        local_sparsities=named_values(local_sparsity or [], what="--local-sparsity"),
        public=public or public_text(),
    )
    check_plan(plan)
    if plan.by_patient and not all(hospital.patients for hospital in hospitals):
        raise LocalMisuseError(
            "some notes do not say which patient they are about",
            hint="give .jsonl files with the field patient, or add --unit document",
        )
    console.print(
        f"[bold]secprune demo[/]: {len(hospitals)} hospitals ({', '.join(h.name for h in hospitals)}), "
        f"{count_servers(plan.aggregators, plan.key_holders)} and a coordinator prune one LLM to sparsity {sparsity} "
        f"under `{checked}`.\n"
        "Each is a process of its own; they exchange only sealed, signed files through "
        f"{output}/exchange. This takes one to three minutes on two cores."
    )
    for one in gone:
        console.print(f"{one.client} will be killed {one.step}; nobody else is told.")
    write_hospitals(output, hospitals, by_patient=plan.by_patient)
    consortium = Consortium(output, plan, model=source, console=console)
    consortium.run()
    result = finish(consortium, eval_windows=eval_windows, console=console)
    if as_json:
        sys.stdout.write(msgspec.json.encode(result).decode() + "\n")
