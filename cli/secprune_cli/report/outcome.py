"""Page one: what is not protected, and what came out of all claims together.

The overall outcome is that of the worst claim which applies to the study. What did not conclude (NO POWER, NOT RUN) is
amber, as is an audit that checked nothing. A weakness that a threat model declares, and that was shown, is no claim that
failed: it stands under what is not protected.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from secprune.audit.check import Verdict
from secprune.audit.claims import Shown, Status
from secprune_cli.report.words import MEANINGS, Badge, badge, plural

if TYPE_CHECKING:
    from secprune.audit.check import CheckResult
    from secprune.audit.claims import BreakResult, ClaimResult, ModelResult
    from secprune.audit.evidence import Evidence

UNDECLARED = "undeclared"
"""What evidence calls a kept file that no threat model declares."""


class Counted(Struct, frozen=True, kw_only=True):
    """How many claims have one status."""

    badge: Badge
    meaning: str
    count: int


class NonClaim(Struct, frozen=True, kw_only=True):
    """What nobody claims, and of which adversaries it was said."""

    text: str
    models: tuple[str, ...]


class Outcome(Struct, frozen=True, kw_only=True):
    """The whole study in one look.

    Attributes:
        level: colour of the banner; green only if every claim that can be checked was, and held.
        headline: in one sentence.
        reasons: one sentence each, the claim's own words among them.
        counts: of claims by status, those that do not occur too.
        claims: how many there are.
    """

    level: Literal["green", "amber", "red"]
    headline: str
    reasons: tuple[str, ...]
    counts: tuple[Counted, ...]
    claims: int


def applying(evidence: Evidence) -> tuple[ModelResult, ...]:
    """Threat models with an adversary that this study has."""
    return tuple(model for model in evidence.models if model.applies)


def weaknesses(evidence: Evidence) -> frozenset[str]:
    """Checks that show a weakness and back no claim: that they "refute" is what is expected of them.

    Threat models declare them, or they have nothing to switch off, because they promise nothing.
    """
    claimed = {check for model in evidence.models for claim in model.claims for check in claim.checks}
    declared = {check for model in evidence.models for one in model.breaks for check in one.checks}
    unpromised = {r.check for r in evidence.results if r.measurement is not None and not r.controls}
    return frozenset((declared | unpromised) - claimed)


def standing(result: CheckResult, weak: frozenset[str]) -> Status | Shown:
    """How to show what a check says: a weakness was shown or not, a promise has the check's verdict."""
    if result.check not in weak:
        return Status(result.verdict.value)
    if result.verdict is Verdict.NOT_RUN or result.measurement is None:
        return Shown.NOT_RUN
    return Shown.SHOWN if result.measurement.refuted else Shown.NOT_SHOWN


def outcome(evidence: Evidence) -> Outcome:
    """What came out, over all claims of the models that apply."""
    claims = [claim for model in applying(evidence) for claim in model.claims]
    found = Counter(claim.status for claim in claims)
    contradicted = _contradicted(evidence, claims)
    unknown = _unknown(evidence, claims)
    level: Literal["green", "amber", "red"] = "green"
    if contradicted:
        level, headline = "red", "At least one promise of this study does not hold."
    elif unknown:
        level, headline = "amber", "Not everything could be checked: nothing may be concluded about the rest."
    else:
        headline = "No check contradicted a claim. Claims leave out what is not protected."
    return Outcome(
        level=level,
        headline=headline,
        reasons=(*contradicted, *unknown),
        counts=tuple(
            Counted(badge=badge(status), meaning=MEANINGS[status], count=found[status]) for status in Status
        ),
        claims=len(claims),
    )


def non_claims(evidence: Evidence) -> tuple[NonClaim, ...]:
    """Of all models that apply, each text once."""
    found: dict[str, list[str]] = {}
    for model in applying(evidence):
        for text in model.non_claims:
            found.setdefault(text, []).append(model.id)
    return tuple(NonClaim(text=text, models=tuple(models)) for text, models in found.items())


def breaks(evidence: Evidence) -> tuple[tuple[ModelResult, BreakResult], ...]:
    """Declared weaknesses of all models that apply, those that were shown first."""
    found = [(model, one) for model in applying(evidence) for one in model.breaks]
    return tuple(sorted(found, key=lambda pair: pair[1].shown is not Shown.SHOWN))


def _contradicted(evidence: Evidence, claims: list[ClaimResult]) -> tuple[str, ...]:
    """Claims and other promises that do not hold, in words."""
    refuted = [claim for claim in claims if claim.status is Status.REFUTED]
    explained = {check for claim in refuted for check in claim.checks}
    weak = weaknesses(evidence)
    checks = [
        result.check
        for result in evidence.results
        if standing(result, weak) is Status.REFUTED and result.check not in explained
    ]
    flows = [flow for flow in evidence.flows if not flow.declared]
    files = [kept for kept in evidence.kept if kept.artefact == UNDECLARED]
    return (
        *(f"REFUTED: {claim.text} ({claim.id})" for claim in refuted),
        *(f"REFUTED by the check {check}, which no claim that applies here names." for check in checks),
        *(
            f"Undeclared: {flow.sender} sent {plural(flow.count, 'artefact')} of the kind {flow.artefact} to {flow.receiver}."
            for flow in flows
        ),
        *(
            f"Undeclared: {plural(kept.files, 'file')} at {kept.party}, of a kind that no threat model knows."
            for kept in files
        ),
    )


def _unknown(evidence: Evidence, claims: list[ClaimResult]) -> tuple[str, ...]:
    """Claims about which nothing is known, and checks that no claim names, in words."""
    if not claims:
        return ("No claim that applies to this study was checked.",)
    unknown = (Status.NO_POWER, Status.NOT_RUN)
    open_claims = [claim for claim in claims if claim.status in unknown]
    explained = {check for claim in claims for check in claim.checks}
    weak = weaknesses(evidence)
    checks = [
        result.check
        for result in evidence.results
        if standing(result, weak) in unknown and result.check not in explained
    ]
    return (
        *(f"{claim.status.value}: {claim.text} ({claim.id})" for claim in open_claims),
        *(f"The check {check} did not conclude; no claim that applies here names it." for check in checks),
    )
