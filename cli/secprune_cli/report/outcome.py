"""Page one: what is not protected, and what came out of all claims together.

The overall outcome is that of the worst claim which applies to the study. What did not conclude (NO POWER, NOT RUN) is
amber, as is an audit that checked nothing. A weakness that a threat model declares, and that was shown, is no claim that
failed: it stands under what is not protected.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from secprune.audit.check import Verdict
from secprune.audit.claims import BreakResult, ModelResult, Shown, Status
from secprune_cli.report.words import MEANINGS, Badge, badge, plural

if TYPE_CHECKING:
    from secprune.audit.check import CheckResult
    from secprune.audit.claims import ClaimResult
    from secprune.audit.evidence import Evidence

_EXPLAINED = re.compile(r"(?<=\w\w)[.:;] | \(attacks\.md")
_NEXT_SENTENCE = re.compile(r"(?<=\w\w)\. | \(attacks\.md")
UNDECLARED = "undeclared"
"""What evidence calls a kept file that no threat model declares."""


class Counted(Struct, frozen=True, kw_only=True):
    """How many claims have one status."""

    badge: Badge
    meaning: str
    count: int


class NotProtected(Struct, frozen=True, kw_only=True):
    """What an adversary may gain: in short what nobody claims about it, and its declared weaknesses."""

    model: ModelResult
    non_claims: tuple[str, ...]
    breaks: tuple[tuple[str, BreakResult], ...]


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


def not_protected(evidence: Evidence) -> tuple[NotProtected, ...]:
    """Of all models that apply."""
    return tuple(
        NotProtected(
            model=model,
            non_claims=tuple(_in_short(text, _EXPLAINED) for text in model.non_claims),
            breaks=tuple((_in_short(one.text, _NEXT_SENTENCE), one) for one in model.breaks),
        )
        for model in applying(evidence)
    )


def _in_short(text: str, end: re.Pattern[str]) -> str:
    """Up to where explanations begin, for a page on which all have to find room; the whole stands with the claims."""
    return end.split(text, maxsplit=1)[0].removesuffix(".")


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
            f"Undeclared: {plural(kept.files or 0, 'file')} at {kept.party}, of a kind that no threat model knows."
            for kept in files
        ),
    )


def _unknown(evidence: Evidence, claims: list[ClaimResult]) -> tuple[str, ...]:
    """Claims about which nothing is known, and checks without power, in words. What no claim needs may be left out."""
    if not claims:
        return ("No claim that applies to this study was checked.",)
    open_claims = [claim for claim in claims if claim.status in {Status.NO_POWER, Status.NOT_RUN}]
    explained = {check for claim in claims for check in claim.checks}
    weak = weaknesses(evidence)
    checks = [
        result.check
        for result in evidence.results
        if standing(result, weak) is Status.NO_POWER and result.check not in explained
    ]
    return (
        *(f"{claim.status.value}: {claim.text} ({claim.id})" for claim in open_claims),
        *(f"NO POWER: the check {check}, which no claim that applies here names." for check in checks),
    )
