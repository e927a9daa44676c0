"""Which claims hold in one study: every model with the status of its claims and breaks, computed from the checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from secprune.audit.claims import BreakResult, ClaimResult, ModelResult, break_shown, claim_status
from secprune_threat_models.system import load_system

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from secprune.audit.check import CheckResult
    from secprune.audit.evidence import StudyFacts
    from secprune_threat_models.model import Break, Claim, ThreatModel
    from secprune_threat_models.system import Applies


def evaluate(
    models: Iterable[ThreatModel], results: Mapping[str, CheckResult], facts: StudyFacts
) -> tuple[ModelResult, ...]:
    """Every model, in order, for one study.

    A claim or break that is not about such a study is left out, and so is what the study cannot have from a view. A model
    that is not about such a study keeps neither, and says why.

    Args:
        models: as loaded.
        results: of the checks that were run, by id; what is missing was not run.
        facts: of the study.
    """
    there = frozenset(load_system().in_study(**_kind(facts)).names)
    return tuple(_of_model(model, results, facts, there) for model in models)


def _kind(facts: StudyFacts) -> dict[str, str]:
    return {"protocol": facts.protocol, "payload": facts.payload, "mechanism": facts.mechanism}


def _of_model(
    model: ThreatModel, results: Mapping[str, CheckResult], facts: StudyFacts, there: frozenset[str]
) -> ModelResult:
    def fits(applies: Applies) -> bool:
        return not applies.why_not(**_kind(facts))

    why = model.applies.why_not(**_kind(facts))
    return ModelResult(
        id=model.id,
        title=model.title,
        corrupts=model.adversary.corrupts,
        behaviour=model.adversary.behaviour,
        knows=model.adversary.knows,
        sees=tuple(name for name in model.sees if name in there),
        claims=() if why else tuple(_of_claim(c, results) for c in model.claims if fits(c.applies)),
        breaks=() if why else tuple(_of_break(b, results) for b in model.breaks if fits(b.applies)),
        non_claims=model.non_claims,
        applies=not why,
        why=why,
        source=model.source,
    )


def _of_claim(claim: Claim, results: Mapping[str, CheckResult]) -> ClaimResult:
    return ClaimResult(
        id=claim.id,
        text=claim.text,
        property=claim.property,
        strength=claim.strength,
        assumptions=claim.assumptions,
        linddun=claim.linddun,
        checks=claim.checks,
        status=claim_status(claim.checks, results),
    )


def _of_break(found: Break, results: Mapping[str, CheckResult]) -> BreakResult:
    return BreakResult(
        id=found.id,
        text=found.text,
        stops_it=found.stops_it,
        checks=found.checks,
        shown=break_shown(found.checks, results),
    )
