"""What a demo ends with: a table for people and result.json for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct
from rich.console import Group
from rich.table import Table

from secprune.files import SHARED_FILE, write_atomically
from secprune.parties.session import load_task
from secprune.privacy.labels import PrivacyLabel, privacy_label
from secprune.task import KeyHolderForm
from secprune_cli._output import progress_bars
from secprune_cli.demo.referee import Perplexities, Referee

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from secprune_cli.demo.consortium import Consortium

_PROMPT = "The patient was admitted with"


class DemoPrivacy(PrivacyLabel, frozen=True, kw_only=True):
    """The label, and what the study was worth beside its public-only baseline, if it has one.

    Attributes:
        baseline_perplexity: of the model pruned by the public reference alone, mean over held-out texts.
        baseline_mask_agreement: share of weights that the final mask treats as that one does.
        worth: whether private data made the model better than public text alone did, in words.
        patients: what the noised sum says of their number.
    """

    baseline_perplexity: float | None = None
    baseline_mask_agreement: float | None = None
    worth: str = ""
    patients: float | None = None


class DemoResult(Struct, frozen=True, kw_only=True):
    """`result.json`; `dropouts` says of each hospital that was killed when that was, and whether it is counted.

    `key_holders` and their form `key_holder` are 0 and None but under bfv. `peak_rss_bytes` is that of a party's
    largest process; under bfv clients and key holders have one more for each core.
    """

    protocol: str
    task_id: str
    n_max: int
    cohort_size: int
    cohort: list[str]
    dropouts: dict[str, str]
    aggregators: int
    key_holders: int
    key_holder: KeyHolderForm | None
    sparsity: float
    sparsity_by_kind: dict[str, float]
    requested_sparsity: str
    perplexity: dict[str, Perplexities]
    wire_bits_per_weight: float
    differing_bits: int
    seconds: dict[str, float]
    peak_rss_bytes: dict[str, int]
    pruned_model: str
    sample: str
    privacy: DemoPrivacy


def finish(consortium: Consortium, *, eval_windows: int, console: Console) -> DemoResult:
    """Judge a finished consortium, print the table, write result.json."""
    task = load_task(consortium.output / "task.toml")
    console.print(
        "the referee, who sees all directories, compares with a cleartext run and measures perplexity"
    )
    runs = consortium.finished
    cohort: list[str] = runs["coordinator", "run"].result["cohort"]
    referee = Referee(consortium, task, counted=cohort)
    with consortium.watch.phase("compare with cleartext"):
        differing, by_kind = referee.differing_bits(), referee.sparsity()
    with consortium.watch.phase("evaluate"), progress_bars() as progress:
        perplexities = referee.perplexities(
            sequence_length=consortium.plan.pruning.sequence_length,
            max_windows=eval_windows,
            progress=lambda done, total: progress("measuring perplexity", done, total),
        )
        sample = referee.sample(_PROMPT, new_tokens=24)
    gone = {one.client: one.step for one in consortium.plan.dropouts}
    result = DemoResult(
        protocol=consortium.plan.protocol,
        task_id=task.task_id,
        n_max=task.n_max,
        cohort_size=len(cohort),
        cohort=cohort,
        dropouts={
            name: f"killed {step}; {'its report is' if name in cohort else 'nothing of it is'} in the sum"
            for name, step in gone.items()
        },
        aggregators=len(consortium.aggregators),
        key_holders=len(consortium.key_holders),
        key_holder=task.protocol.key_holder if consortium.key_holders else None,
        sparsity=by_kind.pop("total"),
        sparsity_by_kind=by_kind,
        requested_sparsity=task.pruning.sparsity,
        perplexity=perplexities,
        wire_bits_per_weight=max(
            runs[c, "run"].result["submit"]["bits_per_weight"] for c in consortium.clients if c not in gone
        ),
        differing_bits=differing,
        seconds=_seconds(consortium),
        peak_rss_bytes=_peak_memory(consortium),
        pruned_model=str(consortium.pruned_model),
        sample=sample,
        privacy=_privacy(consortium, privacy_label(task, cohort_size=len(cohort)), perplexities),
    )
    path = consortium.output / "result.json"
    write_atomically(path, msgspec.json.format(msgspec.json.encode(result), indent=2), mode=SHARED_FILE)
    console.print(_tables(result, consortium.output))
    return result


def _privacy(
    consortium: Consortium, label: PrivacyLabel, perplexities: dict[str, Perplexities]
) -> DemoPrivacy:
    selected = consortium.finished["coordinator", "select"].result
    said = msgspec.structs.asdict(label)
    if "public_only" not in perplexities:
        return DemoPrivacy(**said)
    ours, public = perplexities["federated"].mean, perplexities["public_only"].mean
    better = (
        f"private data made it better than public text alone: perplexity {ours:.2f} instead of {public:.2f}"
        if ours < public
        else f"public text alone does as well: perplexity {public:.2f} against {ours:.2f}. At this epsilon, with so few "
        "patients, this study was not necessary"
    )
    return DemoPrivacy(
        **said,
        baseline_perplexity=public,
        baseline_mask_agreement=selected["baseline"]["mask_agreement"],
        worth=better,
        patients=(selected["statistics"] or {}).get("patients"),
    )


def count_servers(aggregators: int, key_holders: int) -> str:
    """As people say it."""
    counted = {"aggregator": aggregators, "key holder": key_holders}
    return ", ".join(
        f"{number} {what}{'s' if number > 1 else ''}" for what, number in counted.items() if number
    )


def _seconds(consortium: Consortium) -> dict[str, float]:
    """Wall-clock of each phase of the demo, then the slowest party of each step inside the round."""
    seconds = dict(consortium.watch.seconds)
    inside: dict[str, float] = {}

    def collect(found: dict[str, Any], label: str) -> None:
        for step, spent in found.items():
            inside[f"{label}: {step}"] = max(inside.get(f"{label}: {step}", 0.0), spent)

    roles = dict(consortium.plan.roster)
    for (party, command), finished in consortium.finished.items():
        for part in (finished.result, *(v for v in finished.result.values() if isinstance(v, dict))):
            if isinstance(part.get("seconds"), dict):
                collect(part["seconds"], f"slowest {roles[party]} {command}")
    total = round(sum(seconds.values()), 3)
    return {**seconds, "total": total, **inside}


def _peak_memory(consortium: Consortium) -> dict[str, int]:
    peaks: dict[str, int] = {}
    for (party, _), finished in consortium.finished.items():
        peaks[party] = max(peaks.get(party, 0), finished.peak_rss_bytes)
    return peaks


def _tables(result: DemoResult, output: Path) -> Group:
    clients = list(result.perplexity["dense"].per_client)
    local = result.perplexity.get("local_only")
    quality = Table(title="Perplexity on held-out notes (lower is better)", title_justify="left")
    for column in ("model", "mean", "worst", *clients):
        quality.add_column(column, justify="left" if column == "model" else "right")
    for label, key in (
        ("dense", "dense"),
        ("magnitude", "magnitude"),
        ("local only", "local_only"),
        ("public only", "public_only"),
        ("federated", "federated"),
    ):
        if key not in result.perplexity:
            continue
        p = result.perplexity[key]
        quality.add_row(
            label, f"{p.mean:.2f}", f"{p.worst:.2f}", *(f"{p.per_client[c]:.2f}" for c in clients)
        )
    if local is not None:
        quality.caption = (
            "local only: mean over the hospitals' own masks; each mask on all texts: "
            + ", ".join(f"{name} {value:.2f}" for name, value in local.per_mask.items())
        )
    quality.caption_justify = "left"
    facts = Table(show_header=False, box=None)
    facts.add_column(style="cyan", no_wrap=True)
    facts.add_column(overflow="fold")
    kinds = ", ".join(f"{kind} {share:.4f}" for kind, share in result.sparsity_by_kind.items())
    facts.add_row("sparsity", f"{result.sparsity:.4f}: {kinds}")
    facts.add_row("bits per weight sent", f"{result.wire_bits_per_weight:.4f}")
    facts.add_row("bits differing from cleartext", str(result.differing_bits))
    facts.add_row(
        "cohort",
        f"{result.cohort_size} of {result.n_max} clients, {count_servers(result.aggregators, result.key_holders)}"
        + (f" ({result.key_holder})" if result.key_holder else ""),
    )
    for name, fate in result.dropouts.items():
        facts.add_row("dropped out", f"{name}: {fate}")
    if result.dropouts:
        facts.add_row("sum over", ", ".join(result.cohort))
    facts.add_row("seconds", ", ".join(f"{p} {s:.1f}" for p, s in result.seconds.items() if ":" not in p))
    facts.add_row(
        "peak memory", ", ".join(f"{p} {b / 2**20:.0f} MiB" for p, b in result.peak_rss_bytes.items())
    )
    facts.add_row("privacy", result.privacy.label)
    if result.privacy.worth:
        facts.add_row("worth it?", result.privacy.worth)
    facts.add_row("it writes", result.sample.replace("\n", " "))
    facts.add_row("pruned model", result.pruned_model)
    facts.add_row("all of this", f"{output}/result.json; each party's own directory lies beside it")
    facts.add_row(
        "try next",
        f"secprune auditor report --study {output} --out leakage-report --rehearse; "
        f"secprune evaluate {result.pruned_model} --text {output}/held-out; secprune demo --clients 8 --sparsity 0.6;"
        " secprune demo --protocol pairwise --dropouts 1; secprune demo --epsilon 8 --payload square-sums;"
        " secprune demo --model DIR --data DIR; then docs/deploying.md for separate machines",
    )
    return Group(quality, facts)
