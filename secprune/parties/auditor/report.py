"""A leakage report's content: every check that fits a study, run, and what follows from it for the threat models' claims.

Records are of the study itself. Sums and guarantees are checked on the project's own functions with the study's parameters,
and with keys of the audit's own. Attacks are *rehearsed*: on the study's model, protocol and sparsity, with synthetic notes.
No note, mask, count or statistic of the study is computed with, but to look for it where it may not be.
"""

from __future__ import annotations

import importlib.metadata
import tempfile
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from secprune.audit.check import not_run, run
from secprune.audit.draws import Draws
from secprune.audit.evidence import Evidence
from secprune.audit.transcript import opened
from secprune.errors import ConfigurationError, LocalEnvironmentError, LocalMisuseError, SecpruneError
from secprune.parties.auditor import attacks, guarantees, sums
from secprune.parties.auditor.registry import ATTACKS, CHECKS, GUARANTEES, PUBLIC_RECORDS
from secprune.parties.auditor.study import open_study, records_of
from secprune.parties.client import check_model
from secprune.parties.config import PARTY_FILE, read_party_file
from secprune.parties.progress import Progress, silent
from secprune.parties.session import PHASE_OF

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from secprune.audit.check import Check, CheckResult, Planned
    from secprune.audit.claims import ModelResult
    from secprune.audit.evidence import StudyFacts
    from secprune.audit.views import Declaration
    from secprune.parties.auditor.study import Study
    from secprune.task import Task

_PACKAGES = (
    "secprune",
    "cryptography",
    "numpy",
    "torch",
    "transformers",
    "opacus",
    "dp-accounting",
    "tenseal",
    "matplotlib",
)


class Judge(Protocol):
    """The threat models, which the library does not import."""

    def declaration(self, task: Task) -> Declaration:
        """What they declare of flows and files, in a study of this task."""

    def evaluate(self, results: Mapping[str, CheckResult], facts: StudyFacts) -> tuple[ModelResult, ...]:
        """Every model with the status of its claims."""


@dataclass(frozen=True)
class Rehearsal:
    """What attacks are run on.

    Attributes:
        notes: synthetic documents by specialty.
        public: synthetic public documents.
        model: directory of the study's model; if None, that of a party whose directory is at hand.
        sizes: how much is tried.
        blocks: decoder blocks that attacks look at.
        device: as for `client.prune`.
    """

    notes: Mapping[str, Sequence[str]]
    public: Sequence[str]
    model: Path | None = None
    sizes: attacks.Sizes = field(default_factory=attacks.Sizes)
    blocks: int = attacks.BLOCKS
    device: str = "auto"


def make_evidence(
    root: Path,
    judge: Judge,
    *,
    auditor: str,
    seed: int,
    exchange: Path | None = None,
    rehearsal: Rehearsal | None = None,
    commands: Sequence[str] = (),
    progress: Progress = silent,
) -> Evidence:
    """Audit a study.

    Args:
        root: directory of the study.
        judge: the threat models.
        auditor: name of who runs it.
        seed: of all draws.
        exchange: a copy of the exchange, if it is not in the directory.
        rehearsal: what to attack; without it attacks are not run.
        commands: that repeat it, for the record.
        progress: told of the checks.

    Raises:
        LocalMisuseError: no study there, or nothing to rehearse with.
        ConfigurationError: the study's task is not valid, or the model to rehearse with is not the task's.
    """
    study = open_study(root, judge.declaration, exchange=exchange)
    model = None if rehearsal is None else rehearsal.model or _model_at_hand(study)
    if model is not None:
        check_model(study.task, model)
    results: list[CheckResult] = []
    with tempfile.TemporaryDirectory() as scratch:
        for check, subject in plan_checks(study, seed, Path(scratch), rehearsal, model):
            results.append(_result(check, subject, seed))
            progress("checks", len(results), len(CHECKS))
    by_id = {result.check: result for result in results}
    return Evidence(
        facts=study.facts,
        auditor=auditor,
        rehearsal="" if rehearsal is None or model is None else _described(study, rehearsal, model),
        flows=study.flows,
        kept=study.kept,
        results=tuple(results),
        models=judge.evaluate(by_id, study.facts),
        seed=seed,
        versions=versions(),
        inputs=study.inputs,
        commands=tuple(commands),
    )


def repeat(study: Study, seed: int, ids: set[str]) -> dict[str, CheckResult]:
    """Run again what follows from the seed and the public files alone, of the checks with these ids.

    What depends on files that parties keep for themselves is not: they change when a study has ended.
    """
    with tempfile.TemporaryDirectory() as scratch:
        public = [pair for pair in records_of(study) if pair[0].id in PUBLIC_RECORDS]
        planned = [*public, *_of_sums(study, seed, Path(scratch)), *_of_guarantees(study, None, None)]
        return {
            check.id: _result(check, subject, seed)
            for check, subject in planned
            if check.id in ids and check.repeatable and not isinstance(subject, str)
        }


def versions() -> dict[str, str]:
    """Of the software that is installed here."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def plan_checks(
    study: Study, seed: int, scratch: Path, rehearsal: Rehearsal | None = None, model: Path | None = None
) -> Iterator[Planned]:
    """Every check that there is, each with its subject in this study or with why it has none.

    Args:
        study: from `open_study`.
        seed: of keys and models that subjects are made of.
        scratch: an empty directory, to be kept until all of them are run.
        rehearsal: what to attack.
        model: directory of the study's model; None if nothing is rehearsed.
    """
    yield from records_of(study)
    yield from _of_sums(study, seed, scratch)
    yield from _of_guarantees(study, rehearsal, model)
    yield from _of_attacks(study, rehearsal, model)


def _of_sums(study: Study, seed: int, scratch: Path) -> list[Planned]:
    posted = (opened(study.task, one, PHASE_OF) for one in study.exchange.posted)
    sealed = sums.sealed_keys(found[1] for found in posted if found is not None)
    return sums.checks_of(study.task, partial(Draws, seed), scratch=scratch, sealed=sealed)


def _of_guarantees(study: Study, rehearsal: Rehearsal | None, model: Path | None) -> list[Planned]:
    texts = [] if rehearsal is None else [texts[0] for texts in rehearsal.notes.values()]
    try:
        planned = guarantees.checks_of(study.task, model=model, notes=texts)
    except (LocalEnvironmentError, ConfigurationError, ImportError) as error:
        return [(check, _why(error)) for check in GUARANTEES]
    there = {check.id for check, _ in planned}
    missing = [check for check in GUARANTEES if check.id not in there]
    protects = study.facts.mechanism == "dp-statistics"
    nothing = (
        "is run with --rehearse only" if protects else "this study promises nothing that this could check"
    )
    return [*planned, *((check, nothing) for check in missing)]


def _of_attacks(study: Study, rehearsal: Rehearsal | None, model: Path | None) -> Iterator[Planned]:
    if rehearsal is None or model is None:
        yield from ((check, "attacks are run with --rehearse only") for check in ATTACKS)
        return
    try:
        bench = attacks.make_bench(
            study.task,
            model,
            rehearsal.notes,
            rehearsal.public,
            blocks=rehearsal.blocks,
            device=rehearsal.device,
        )
    except (LocalEnvironmentError, ConfigurationError, ImportError) as error:
        yield from ((check, _why(error)) for check in ATTACKS)
        return
    ran = set()
    for check, subject in attacks.attacks_on(study.task, bench, rehearsal.sizes):
        ran.add(check.id)
        yield check, subject
    yield from (
        (check, "not an attack on this protocol or payload") for check in ATTACKS if check.id not in ran
    )


def _result(check: Check[Any], subject: Any, seed: int) -> CheckResult:
    if isinstance(subject, str):
        return not_run(check, subject)
    try:
        return run(check, subject, partial(Draws, seed), seed=seed, clock=time.monotonic)
    except SecpruneError as error:
        return not_run(check, error)


def _why(error: Exception) -> str:
    return error.message if isinstance(error, SecpruneError) else f"a package is missing here: {error}"


def _model_at_hand(study: Study) -> Path:
    for one in study.parties:
        if (one.path / PARTY_FILE).is_file() and (entry := read_party_file(one.path).model):
            return one.path / entry
    raise LocalMisuseError(
        "no party's directory here says where the model is", hint="give --model DIR, the study's dense model"
    )


def _described(study: Study, rehearsal: Rehearsal, model: Path) -> str:
    documents = sum(map(len, rehearsal.notes.values()))
    blocks = len({matrix.block for matrix in study.task.model.matrices})
    return (
        f"{documents} synthetic notes of {len(rehearsal.notes)} specialties and {len(rehearsal.public)} public ones, up to "
        f"{study.task.pruning.sequence_length} tokens of each, on the first {min(rehearsal.blocks, blocks)} of {blocks} "
        f"decoder blocks of {model.name}; masks by wanda within rows at the study's sparsity"
    )
