"""Evidence to HTML: what each section shows is put together here, how it looks is in the templates.

The page needs nothing from outside: styles are in it, plots are SVG in it, and its content security policy lets a
browser load nothing else and run no script. Escaping is on in every template, for every value. The same evidence gives
the same bytes.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from msgspec import Struct

from secprune.audit.check import CheckResult, Figure
from secprune.audit.claims import Shown, Status
from secprune_cli.report import words
from secprune_cli.report.diagram import EVERYBODY, Diagram, diagram, folding
from secprune_cli.report.outcome import (
    UNDECLARED,
    Outcome,
    applying,
    not_protected,
    outcome,
    standing,
    weaknesses,
)
from secprune_cli.report.plots import plots
from secprune_cli.report.words import Badge

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from secprune.audit.check import Control
    from secprune.audit.evidence import Evidence, Flow, Kept, StudyFacts
    from secprune_cli.report.words import CheckText

_MECHANISMS = {
    "none": "without noise",
    "dp-statistics": "with noise that protects single patients",
    "count-noise": "with noise on the counts",
    "randomised-response": "with votes turned round at random",
}
_PAYLOADS = {"counts": "votes for each weight to delete", "square-sums": "statistics of the model's inputs"}


class Seen(Struct, frozen=True, kw_only=True):
    """One kind of artefact that one party, or all of a role, can read."""

    artefact: str
    senders: str
    count: int
    bytes: int
    declared: bool


class Stored(Struct, frozen=True, kw_only=True):
    """Files of one kind on the disks of one party, or of all of a role."""

    artefact: str
    files: int | None
    bytes: int | None
    derived_from_notes: bool
    protected: str
    declared: bool


class ControlRow(Struct, frozen=True, kw_only=True):
    """One mutation of a check: what was switched off, and whether that was noticed."""

    mutation: str
    meaning: str
    noticed: bool
    says: str
    figures: tuple[Figure, ...]


class CheckRow(Struct, frozen=True, kw_only=True):
    """A check with everything that is said of it."""

    result: CheckResult
    title: str
    asks: str
    source: str
    badge: Badge
    weakness: bool
    kind: str
    controls: tuple[ControlRow, ...]


def render(evidence: Evidence, about: Mapping[str, CheckText]) -> str:
    """The report as one HTML document.

    Args:
        evidence: what an audit found. Anything in it may be hostile.
        about: titles, questions and sources of checks, by id; a check that is missing here is shown under its id.
    """
    environment = Environment(
        loader=PackageLoader("secprune_cli.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "size": words.size,
        "decimal": words.decimal,
        "interval": words.interval,
        "badge": words.badge,
    }
    return environment.get_template("report.html.j2").render(_context(evidence, about))


def _context(evidence: Evidence, about: Mapping[str, CheckText]) -> dict[str, Any]:
    """All that the templates use; no template computes anything."""
    found: Outcome = outcome(evidence)
    picture: Diagram | None = diagram(evidence)
    return {
        "evidence": evidence,
        "facts": evidence.facts,
        "sentence": _sentence(evidence.facts),
        "outcome": found,
        "not_protected": not_protected(evidence),
        "anchors": {result.check: f"check-{index}" for index, result in enumerate(evidence.results, 1)},
        "diagram": picture,
        "seen": _seen(evidence),
        "stored": _stored(evidence),
        "everybody": EVERYBODY,
        "models": applying(evidence),
        "others": tuple(model for model in evidence.models if not model.applies),
        "plots": plots(evidence, about),
        "checks": _checks(evidence, about),
        "statuses": [(words.badge(status), words.MEANINGS[status]) for status in Status],
        "shown": [(words.badge(shown), words.SHOWN_MEANINGS[shown]) for shown in Shown],
        "glossary": words.GLOSSARY,
    }


def _sentence(facts: StudyFacts) -> str:
    """What study this is; without its name, which the template puts in front."""
    counted = len(facts.cohort)
    of = "" if counted == facts.roster else f" of {facts.roster}"
    who = (
        f"{words.plural(counted, 'client')}{of} pruned a language model together"
        if facts.cohort
        else f"{words.plural(facts.roster, 'client')} may prune a language model together; nothing has been released yet"
    )
    mechanism = _MECHANISMS.get(facts.mechanism, f"with the privacy mechanism {facts.mechanism}")
    payload = _PAYLOADS.get(facts.payload, facts.payload)
    return (
        f"{who}: a share of {facts.sparsity} of {facts.weights:,} weights is deleted. What was added up are {payload}, by the "
        f"secure sum “{facts.protocol}”, {mechanism}."
    )


def _seen(evidence: Evidence) -> tuple[tuple[str, str, tuple[Seen, ...]], ...]:
    """By receiver: name, role, and what it can read. Undeclared flows name their parties, however many there are."""
    fold = folding(evidence)

    def receiver(flow: Flow) -> tuple[str, str]:
        name = fold.name(flow.receiver, flow.receiver_role) if flow.declared else flow.receiver
        return flow.receiver_role, name

    return tuple(
        (name, role, tuple(_kinds(list(flows), fold.name)))
        for (role, name), flows in groupby(sorted(evidence.flows, key=receiver), key=receiver)
    )


def _kinds(flows: list[Flow], name: Any) -> Iterable[Seen]:
    keys = sorted({(flow.artefact, flow.declared) for flow in flows})
    for artefact, declared in keys:
        some = [flow for flow in flows if (flow.artefact, flow.declared) == (artefact, declared)]
        senders = {
            name(flow.sender, flow.sender_role) if declared else f"{flow.sender} ({flow.sender_role})"
            for flow in some
        }
        yield Seen(
            artefact=artefact,
            senders=words.listed(sorted(senders)),
            count=sum(flow.count for flow in some),
            bytes=sum(flow.bytes for flow in some),
            declared=declared,
        )


def _stored(evidence: Evidence) -> tuple[tuple[str, str, tuple[Stored, ...]], ...]:
    """By keeper: name, role, and what lies there. Undeclared files name their party, however many there are."""
    fold = folding(evidence)

    def keeper(kept: Kept) -> tuple[str, str]:
        name = kept.party if kept.artefact == UNDECLARED else fold.name(kept.party, kept.role)
        return kept.role, name

    def alike(kept: Kept) -> tuple[str, bool, str]:
        return kept.artefact, kept.derived_from_notes, kept.protected

    return tuple(
        (
            name,
            role,
            tuple(
                Stored(
                    artefact=artefact,
                    files=_told(kept.files for kept in some),
                    bytes=_told(kept.bytes for kept in some),
                    derived_from_notes=derived,
                    protected=protected,
                    declared=artefact != UNDECLARED,
                )
                for (artefact, derived, protected), same in groupby(sorted(files, key=alike), key=alike)
                for some in [list(same)]
            ),
        )
        for (role, name), files in groupby(sorted(evidence.kept, key=keeper), key=keeper)
    )


def _told(numbers: Iterable[int | None]) -> int | None:
    """Their sum; None if one of them is not told."""
    found = list(numbers)
    known = [number for number in found if number is not None]
    return sum(known) if len(known) == len(found) else None


def _checks(evidence: Evidence, about: Mapping[str, CheckText]) -> tuple[CheckRow, ...]:
    weak = weaknesses(evidence)
    return tuple(
        CheckRow(
            result=result,
            title=text.title,
            asks=text.asks,
            source=text.source,
            badge=words.badge(standing(result, weak)),
            weakness=result.check in weak,
            kind=words.KINDS[result.kind],
            controls=tuple(map(_control, result.controls)),
        )
        for result in evidence.results
        for text in [about.get(result.check, words.CheckText(title=result.check, asks=""))]
    )


def _control(control: Control) -> ControlRow:
    return ControlRow(
        mutation=control.mutation,
        meaning=words.MUTATIONS.get(control.mutation, ""),
        noticed=control.measurement.refuted,
        says=control.measurement.says,
        figures=control.measurement.figures,
    )
