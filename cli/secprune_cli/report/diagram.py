"""Where the data of this very study went: one column for each party, one arrow for each pair of parties.

Parties of a role share a column where there are too many for a page. What was not sealed goes to the exchange's column,
because everybody who reaches it can read it. An undeclared flow is never folded into a declared one.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from msgspec import Struct

from secprune_cli.report.words import plural, size

if TYPE_CHECKING:
    from collections.abc import Iterable

    from secprune.audit.evidence import Evidence, Flow

EVERYBODY = "everybody"
"""Receiver of what is not sealed, in evidence."""

_ORDER = ("client", "aggregator", "key-holder", "coordinator", "exchange", EVERYBODY, "auditor")
_COLUMNS, _APART = 6, 3
"""At most so many columns; a role with more parties than the second always shares one."""

_WIDTH, _HEAD, _LINE, _GAP = 760, 64, 15, 26
_CHARACTER = 6.1
"""Points that a character of a label takes, on average and a little more."""


class Column(Struct, frozen=True, kw_only=True):
    """A box at the top, and the line below it."""

    x: float
    left: float
    width: float
    role: str
    lines: tuple[str, ...]


class Arrow(Struct, frozen=True, kw_only=True):
    """What went from one column to another, all kinds together.

    Attributes:
        x1, x2, y: ends; equal ends for what parties of one column sent each other.
        thickness: grows with the logarithm of the bytes.
        label: lines above the arrow, with their place.
        declared: whether all of it is.
    """

    x1: float
    x2: float
    y: float
    thickness: float
    label: tuple[tuple[float, float, str], ...]
    declared: bool


class Diagram(Struct, frozen=True, kw_only=True):
    """All that the template draws, and the same in words for who cannot see it."""

    width: int
    height: float
    columns: tuple[Column, ...]
    arrows: tuple[Arrow, ...]
    words: tuple[str, ...]


class Folding(Struct, frozen=True, kw_only=True):
    """How parties are called where there are too many to name each."""

    roles: dict[str, int]

    def name(self, party: str, role: str) -> str:
        """A party's own name, or that of all parties of its role together."""
        if EVERYBODY in {role, party}:
            return EVERYBODY
        count = self.roles.get(role)
        return party if count is None else plural(count, role)


def folding(evidence: Evidence) -> Folding:
    """Which roles share a column: those with many parties, and the largest ones until a page is wide enough."""
    parties = {(party.name, party.role) for party in evidence.facts.parties}
    for flow in evidence.flows:
        parties |= {(flow.sender, flow.sender_role), (flow.receiver, flow.receiver_role)}
    counts = Counter(role for name, role in sorted(parties) if name != EVERYBODY)
    folded = {role: count for role, count in counts.items() if count > _APART}

    def columns() -> int:
        return 1 + sum(1 if role in folded else count for role, count in counts.items())

    while columns() > _COLUMNS and (apart := [r for r in counts if r not in folded and counts[r] > 1]):
        largest = max(apart, key=lambda role: (counts[role], role))
        folded[largest] = counts[largest]
    return Folding(roles=folded)


def diagram(evidence: Evidence) -> Diagram | None:
    """The picture of a study's flows; None if nothing was recorded."""
    if not evidence.flows:
        return None
    fold = folding(evidence)
    roles = _columns_of(evidence, fold)
    step = _WIDTH / len(roles)
    width = min(step - 10, 150)
    columns = {
        name: Column(
            x=round(step * (index + 0.5), 1),
            left=round(step * (index + 0.5) - width / 2, 1),
            width=round(width, 1),
            role="exchange" if name == EVERYBODY else role,
            lines=("the exchange:", "everybody can read")
            if name == EVERYBODY
            else _wrapped(name, role, int(width / 7)),
        )
        for index, (name, role) in enumerate(roles.items())
    }
    arrows: list[Arrow] = []
    words: list[str] = []
    y = _HEAD + 14.0
    for (sender, receiver, declared), flows in _bundles(evidence.flows, fold, list(roles)).items():
        labels = [_label(artefact, some) for artefact, some in _kinds(flows).items()]
        if not declared:
            labels.insert(0, "UNDECLARED")
        x1, x2 = columns[sender].x, columns[receiver].x
        y += _GAP + _LINE * (len(labels) - 1)
        arrows.append(
            Arrow(
                x1=x1,
                x2=x2,
                y=y,
                thickness=_thickness(sum(flow.bytes for flow in flows)),
                label=tuple(
                    _placed(text, (x1 + x2) / 2, y, len(labels) - i) for i, text in enumerate(labels)
                ),
                declared=declared,
            )
        )
        to = "everybody who reaches the exchange" if receiver == EVERYBODY else receiver
        words.append(f"{sender} to {to}: {'; '.join(labels)}.")
        y += 8
    return Diagram(
        width=_WIDTH,
        height=y + 14,
        columns=tuple(columns.values()),
        arrows=tuple(arrows),
        words=tuple(words),
    )


def _columns_of(evidence: Evidence, fold: Folding) -> dict[str, str]:
    """Names of columns and their roles, in the order in which data goes through the study."""
    found: dict[str, str] = {}
    for party in evidence.facts.parties:
        found[fold.name(party.name, party.role)] = party.role
    for flow in evidence.flows:
        found[fold.name(flow.sender, flow.sender_role)] = flow.sender_role
        found[fold.name(flow.receiver, flow.receiver_role)] = flow.receiver_role
    used = {fold.name(f.sender, f.sender_role) for f in evidence.flows}
    used |= {fold.name(f.receiver, f.receiver_role) for f in evidence.flows}
    return {name: role for name, role in sorted(found.items(), key=_place) if name in used}


def _place(item: tuple[str, str]) -> tuple[int, str]:
    name, role = item
    return (_ORDER.index(role) if role in _ORDER else len(_ORDER), name)


def _bundles(
    flows: Iterable[Flow], fold: Folding, order: list[str]
) -> dict[tuple[str, str, bool], list[Flow]]:
    """Flows by the columns they go between, in the columns' order; undeclared ones apart."""
    found: dict[tuple[str, str, bool], list[Flow]] = {}
    for flow in flows:
        ends = (fold.name(flow.sender, flow.sender_role), fold.name(flow.receiver, flow.receiver_role))
        found.setdefault((*ends, flow.declared), []).append(flow)
    return dict(
        sorted(found.items(), key=lambda i: (order.index(i[0][0]), order.index(i[0][1]), not i[0][2]))
    )


def _kinds(flows: Iterable[Flow]) -> dict[str, list[Flow]]:
    found: dict[str, list[Flow]] = {}
    for flow in flows:
        found.setdefault(flow.artefact, []).append(flow)
    return dict(sorted(found.items()))


def _label(artefact: str, flows: list[Flow]) -> str:
    """What, how many and how large, in all."""
    return f"{artefact} \N{MULTIPLICATION SIGN}{sum(f.count for f in flows):,}, {size(sum(f.bytes for f in flows))}"


def _thickness(total: int) -> float:
    return round(1 + 0.4 * max(0.0, math.log10(max(total, 1)) - 3), 2)


def _placed(text: str, middle: float, y: float, lines_up: int) -> tuple[float, float, str]:
    """A label's middle, so that it does not leave the picture."""
    half = min(len(text) * _CHARACTER / 2, _WIDTH / 2)
    return (round(min(max(middle, half), _WIDTH - half), 1), round(y - 7 - _LINE * (lines_up - 1), 1), text)


def _wrapped(name: str, role: str, characters: int) -> tuple[str, ...]:
    """A party's name in at most two lines, and its role, unless the name says it."""
    lines = [name[:characters], name[characters : 2 * characters]]
    if len(name) > 2 * characters:
        lines[1] = lines[1][:-1] + "…"
    said = () if name.endswith((role, f"{role}s")) else (f"({role})",)
    return (*filter(None, lines), *said)
