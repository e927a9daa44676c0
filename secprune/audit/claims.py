"""Claims of threat models as they stand after the checks: a status is computed here, never typed.

A claim takes the weakest status of the checks that it requires. REFUTED is weaker than everything else; what was not run
or had no power is never better than what was. ASSUMED stands for what no check can show: it is a claim's own word, and
weaker than anything that was measured.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct

from secprune.audit.check import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from secprune.audit.check import CheckResult


class Status(StrEnum):
    """Of a claim, the strongest first."""

    PROVED = "PROVED"
    CONFORMS = "CONFORMS"
    NOT_REFUTED = "NOT REFUTED"
    ASSUMED = "ASSUMED"
    NOT_RUN = "NOT RUN"
    NO_POWER = "NO POWER"
    REFUTED = "REFUTED"


class Shown(StrEnum):
    """Of a declared break: whether the attack that is declared to succeed did."""

    SHOWN = "SHOWN"
    NOT_SHOWN = "NOT SHOWN"
    NOT_RUN = "NOT RUN"


_ORDER = list(Status)
GREEN = frozenset({Status.PROVED, Status.CONFORMS, Status.NOT_REFUTED})
"""What a report may show as holding."""


class ClaimResult(Struct, frozen=True, kw_only=True):
    """One claim of one threat model, for this study.

    Attributes:
        id: of the claim, as "TM01-C1".
        text: what is claimed, in plain words.
        property: short name, as "mask secrecy".
        strength: what backs it: "proof", "conformance", "empirical" or "assumed".
        assumptions: that it rests on, in words.
        linddun: categories of privacy threats that it is about.
        checks: ids, in order.
        status: computed.
    """

    id: str
    text: str
    property: str
    strength: str
    assumptions: tuple[str, ...]
    linddun: tuple[str, ...]
    checks: tuple[str, ...]
    status: Status


class BreakResult(Struct, frozen=True, kw_only=True):
    """Something that a threat model declares to be possible, and the checks that show it.

    Attributes:
        id: as "TM03-B1".
        text: what the adversary gains.
        stops_it: what would help.
        checks: each shows it if its measurement is `refuted`: there is no promise to keep.
        shown: computed.
    """

    id: str
    text: str
    stops_it: str
    checks: tuple[str, ...]
    shown: Shown


class ModelResult(Struct, frozen=True, kw_only=True):
    """One adversary, for this study.

    Attributes:
        id: as "TM01".
        title: as "One aggregator".
        corrupts: who works for it, in words.
        behaviour: "semi-honest" or "malicious".
        knows: what it knows beforehand.
        sees: artefacts of its view.
        claims: what it is claimed not to gain.
        breaks: what it does gain.
        non_claims: what nobody claims about it.
        applies: whether this study has such an adversary; if not, why not.
        source: "shipped", or the name of the file that a consortium added.
    """

    id: str
    title: str
    corrupts: str
    behaviour: str
    knows: tuple[str, ...]
    sees: tuple[str, ...]
    claims: tuple[ClaimResult, ...]
    breaks: tuple[BreakResult, ...]
    non_claims: tuple[str, ...]
    applies: bool = True
    why: str = ""
    source: str = "shipped"


def claim_status(checks: Iterable[str], results: Mapping[str, CheckResult]) -> Status:
    """The status of a claim that requires these checks; ASSUMED if it has none."""
    found = [Status(results[check].verdict.value) if check in results else Status.NOT_RUN for check in checks]
    return max(found, key=_ORDER.index, default=Status.ASSUMED)


def break_shown(checks: Iterable[str], results: Mapping[str, CheckResult]) -> Shown:
    """Whether all attacks that were run succeeded, and at least one was run."""
    ran = [
        results[check]
        for check in checks
        if check in results and results[check].verdict is not Verdict.NOT_RUN
    ]
    if not ran:
        return Shown.NOT_RUN
    return Shown.SHOWN if all(r.measurement and r.measurement.refuted for r in ran) else Shown.NOT_SHOWN
