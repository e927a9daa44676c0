"""What the plots show, taken from the results of checks by the names of their figures and curves.

Checks name figures for people ("AUC, n = 4", "AUC, 2 documents"), so reading them is lenient: what is not understood is
left out of a plot, and stands in the check's own table in any case.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct

from secprune_cli.report.words import CheckText

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from secprune.audit.check import CheckResult, Curve, Figure, Measurement
    from secprune.audit.evidence import Evidence

UNANIMOUS = "unanimous share"
"""How the name of the one curve begins that is no ROC."""
MEASURED = "measured"
"""What something is called of which only the check is known."""

_CLIENTS = re.compile(
    r"\bn\s*=\s*(\d+)|\b(\d+)\s+x\s+\d+\s+documents?\b|\b(\d+)\s+(?:clients?|hospitals?|parties)\b",
    re.IGNORECASE,
)
_DOCUMENTS = re.compile(r"\b(\d+)\s+(?:documents?|notes?|patients?)\b", re.IGNORECASE)
_BASELINE = re.compile(r"\bbaseline\b", re.IGNORECASE)
_EPSILON = re.compile(r"\bepsilon\b", re.IGNORECASE)
_MEASURED = re.compile(r"\b(?:bound|least|estimated?)\b", re.IGNORECASE)
_CLAIMED = re.compile(r"\bclaim(?:ed|s)?\b", re.IGNORECASE)


class Dot(Struct, frozen=True, kw_only=True):
    """A value with its interval, of a check by its title.

    Of a control if a protection was switched off; for comparison if it was not measured.
    """

    check: str
    label: str
    value: float
    low: float | None
    high: float | None
    control: bool = False
    compared: bool = False


class Line(Struct, frozen=True, kw_only=True):
    """Points in order, with intervals where there are some; of a control if a protection was switched off."""

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float | None, ...] = ()
    high: tuple[float | None, ...] = ()
    control: bool = False


class Panel(Struct, frozen=True, kw_only=True):
    """One pair of axes."""

    title: str
    across: str
    lines: tuple[Line, ...]


class Epsilons(Struct, frozen=True, kw_only=True):
    """What an audit of differential privacy found; bounds and estimates apart, because they say different things."""

    claimed: float | None
    bounds: tuple[Dot, ...]
    estimates: tuple[Dot, ...]


def rocs(evidence: Evidence, about: Mapping[str, CheckText]) -> tuple[Panel, ...]:
    """Of every attack with a curve: that curve, and its controls'."""
    panels = []
    for result in evidence.results:
        lines = tuple(
            Line(
                label=_after(mutation, _rest(curve.name, "ROC")), x=curve.x, y=curve.y, control=bool(mutation)
            )
            for mutation, measurement in _measured(result)
            for curve in measurement.curves
            if _is_roc(curve)
        )
        if lines:
            panels.append(Panel(title=title(result.check, about), across="false positive rate", lines=lines))
    return tuple(panels)


def aucs(evidence: Evidence, about: Mapping[str, CheckText]) -> tuple[Dot, ...]:
    """Every AUC of every check, with its interval."""
    return tuple(
        _dot(
            title(result.check, about),
            _rest(figure.name, "AUC"),
            figure,
            mutation,
            compared=_is_baseline(figure),
        )
        for result in evidence.results
        for mutation, measurement in _measured(result)
        for figure in measurement.figures
        if _is_auc(figure)
    )


def epsilons(evidence: Evidence, about: Mapping[str, CheckText]) -> Epsilons | None:
    """Lower bounds and estimates of epsilon, and what is claimed; None if neither was measured."""
    results = {result.check: result for result in evidence.results}
    bounds = list(_epsilons_of(results.get("canary-bound"), about))
    estimates = list(_epsilons_of(results.get("gaussian-estimate"), about))
    if all(claimed or dot.compared for claimed, dot in (*bounds, *estimates)):
        return None
    guarantee = evidence.facts.label.guarantee
    said = [dot.value for claimed, dot in (*bounds, *estimates) if claimed and not dot.control]
    return Epsilons(
        claimed=said[0] if said else (guarantee.epsilon if guarantee is not None else None),
        bounds=tuple(dot for claimed, dot in bounds if not claimed),
        estimates=tuple(dot for claimed, dot in estimates if not claimed),
    )


def leakage(evidence: Evidence, about: Mapping[str, CheckText]) -> tuple[Panel, ...]:
    """AUC against the number of clients, and against the number of documents."""
    across: dict[str, list[Line]] = {}
    for result in evidence.results:
        for what, line in _from_figures(result, about):
            across.setdefault(what, []).append(line)
    return tuple(
        Panel(title=f"against {what}", across=f"number of {what}", lines=tuple(lines))
        for what, lines in sorted(across.items())
    )


def unanimity(evidence: Evidence) -> tuple[Panel, ...]:
    """Share of weights on which all clients agree, against how many there are."""
    lines = tuple(
        Line(label=curve.name, x=curve.x, y=curve.y)
        for result in evidence.results
        if result.measurement is not None
        for curve in result.measurement.curves
        if curve.name.startswith(UNANIMOUS) and curve.x
    )
    return (Panel(title="unanimous votes", across="clients", lines=lines),) if lines else ()


def title(check: str, about: Mapping[str, CheckText]) -> str:
    """A check's heading; its id if nothing is known about it."""
    return about.get(check, CheckText(title=check, asks="")).title


def _measured(result: CheckResult) -> Iterator[tuple[str, Measurement]]:
    """Of the subject, and of every mutation with its name."""
    if result.measurement is not None:
        yield "", result.measurement
    for control in result.controls:
        yield control.mutation, control.measurement


def _is_roc(curve: Curve) -> bool:
    return not curve.name.startswith(UNANIMOUS) and all(0 <= v <= 1 for v in (*curve.x, *curve.y))


def _is_auc(figure: Figure) -> bool:
    return re.match(r"auc\b", figure.name, re.IGNORECASE) is not None


def _is_baseline(figure: Figure) -> bool:
    """Whether it says what an attack makes of nothing."""
    return _BASELINE.search(figure.name) is not None


def _rest(name: str, known: str) -> str:
    """What a name says beyond what is known of it."""
    rest = name[len(known) :] if name.upper().startswith(known) else name
    return rest.strip(" ,:") or MEASURED


def _after(mutation: str, name: str) -> str:
    """What something is called in a legend; its own name is left out where it says nothing."""
    if not mutation:
        return name
    return f"control: {mutation}" if name == MEASURED else f"control: {mutation}, {name}"


def _dot(check: str, label: str, figure: Figure, mutation: str, *, compared: bool = False) -> Dot:
    return Dot(
        check=check,
        label=_after(mutation, label),
        value=figure.value,
        low=figure.low,
        high=figure.high,
        control=bool(mutation),
        compared=compared,
    )


def _epsilons_of(result: CheckResult | None, about: Mapping[str, CheckText]) -> Iterator[tuple[bool, Dot]]:
    """Figures of a check that are about epsilon, and of each whether it is the claimed one."""
    if result is not None:
        for mutation, measurement in _measured(result):
            for figure in measurement.figures:
                if _EPSILON.search(figure.name):
                    claimed = _CLAIMED.search(figure.name) is not None
                    compared = _MEASURED.search(figure.name) is None
                    dot = _dot(title(result.check, about), figure.name, figure, mutation, compared=compared)
                    yield claimed, dot


def _from_figures(result: CheckResult, about: Mapping[str, CheckText]) -> Iterator[tuple[str, Line]]:
    """Lines through the AUCs of one check whose names say a number, at least two points each."""
    if result.measurement is None:
        return
    found = [
        (_number(_CLIENTS, figure.name), _number(_DOCUMENTS, figure.name), figure)
        for figure in result.measurement.figures
        if _is_auc(figure) and not _is_baseline(figure)
    ]
    name = title(result.check, about)
    by_clients: dict[int | None, list[tuple[int, Figure]]] = {}
    by_documents: dict[int | None, list[tuple[int, Figure]]] = {}
    for clients, documents, figure in found:
        if clients is not None:
            by_clients.setdefault(documents, []).append((clients, figure))
        if documents is not None:
            by_documents.setdefault(clients, []).append((documents, figure))
    yield from _lines("clients", name, by_clients, "documents")
    yield from _lines("documents", name, by_documents, "clients")


def _lines(
    what: str, name: str, groups: Mapping[int | None, Iterable[tuple[int, Figure]]], other: str
) -> Iterator[tuple[str, Line]]:
    for fixed, points in groups.items():
        ordered = sorted(points, key=lambda point: point[0])
        if len(ordered) > 1:
            yield (
                what,
                Line(
                    label=name if fixed is None else f"{name}, {fixed} {other}",
                    x=tuple(float(number) for number, _ in ordered),
                    y=tuple(figure.value for _, figure in ordered),
                    low=tuple(figure.low for _, figure in ordered),
                    high=tuple(figure.high for _, figure in ordered),
                ),
            )


def _number(pattern: re.Pattern[str], name: str) -> int | None:
    found = pattern.search(name)
    return int(next(filter(None, found.groups()))) if found else None
