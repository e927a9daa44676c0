"""A check: one measurement of a system under test, and the same measurement with a protection switched off.

Each check measures a *subject*: the project's own functions and records, put together so that single ones of them can be
replaced. A *mutation* replaces one, as a mistake or a liar would: a cleartext share, a reused mask, noise that is too
small. `run` measures the subject and then every mutation of it. What the check says of the subject counts only if it
noticed all mutations; otherwise it has NO POWER, whatever it says.

    verdict        when
    PROVED         a proof, over everything that it quantifies over, found no exception
    CONFORMS       what was measured is what was promised, up to the test's level
    NOT REFUTED    an attack, a lower bound or an estimate did not contradict the promise
    NOT RUN        it could not be run here; says why
    NO POWER       some mutation went unnoticed: nothing may be concluded
    REFUTED        the promise is contradicted

Everything is repeatable: a check draws from `Draws`, which are a function of a seed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from msgspec import Struct

from secprune.errors import SecpruneError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from secprune.audit.draws import Draws

S = TypeVar("S")


class Kind(StrEnum):
    """How a check concludes; never mixed in one figure."""

    PROOF = "proof"
    CONFORMANCE = "conformance"
    ATTACK = "attack"
    LOWER_BOUND = "lower bound"
    ESTIMATE = "estimate"
    RECORD = "record"


class Verdict(StrEnum):
    """What a check says, the strongest first."""

    PROVED = "PROVED"
    CONFORMS = "CONFORMS"
    NOT_REFUTED = "NOT REFUTED"
    NOT_RUN = "NOT RUN"
    NO_POWER = "NO POWER"
    REFUTED = "REFUTED"


_BEST = {
    Kind.PROOF: Verdict.PROVED,
    Kind.CONFORMANCE: Verdict.CONFORMS,
    Kind.RECORD: Verdict.CONFORMS,
    Kind.ATTACK: Verdict.NOT_REFUTED,
    Kind.LOWER_BOUND: Verdict.NOT_REFUTED,
    Kind.ESTIMATE: Verdict.NOT_REFUTED,
}


class Figure(Struct, frozen=True, kw_only=True):
    """A number with its 95% confidence interval, if it has one. Never derived from one real client's data alone."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None


class Curve(Struct, frozen=True, kw_only=True):
    """Points to draw: for an attack its ROC, as (false positive rate, true positive rate)."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]


class Measurement(Struct, frozen=True, kw_only=True):
    """What a check found of one subject.

    Attributes:
        refuted: whether it contradicts the promise.
        says: that, in one sentence that a reader who is no cryptographer understands.
        figures: behind it.
        sample: how many trials, documents, coordinates or cases were looked at.
        curves: to draw.
    """

    refuted: bool
    says: str
    figures: tuple[Figure, ...] = ()
    sample: int = 0
    curves: tuple[Curve, ...] = ()


class Control(Struct, frozen=True, kw_only=True):
    """What the check found with a protection switched off."""

    mutation: str
    measurement: Measurement


class CheckResult(Struct, frozen=True, kw_only=True):
    """A check's whole outcome, as it goes into evidence.

    Attributes:
        check: its id.
        kind: how it concludes.
        verdict: what it says.
        measurement: of the subject; None if it was not run.
        controls: of its mutations.
        seed: what all draws follow from; with `check` and the study's public files it can be repeated.
        parameters: of the run: sizes, models, what was left out to save time.
        repeatable: whether running it again with this seed gives these very figures on any machine.
        seconds: it took.
        why: it was not run.
    """

    check: str
    kind: Kind
    verdict: Verdict
    measurement: Measurement | None = None
    controls: tuple[Control, ...] = ()
    seed: int = 0
    parameters: dict[str, str] = {}
    repeatable: bool = False
    seconds: float = 0.0
    why: str = ""


@dataclass(frozen=True, slots=True)
class Check(Generic[S]):
    """A measurement and its mutations.

    Attributes:
        id: as threat models name it.
        title: for a heading.
        asks: the question it answers, in plain words.
        kind: how it concludes.
        source: paper and section, or where the argument is written down.
        measure: of a subject, with what to draw from.
        mutations: by their names in the catalogue; each makes a subject with one protection switched off. None for a
            check that shows a weakness: that it succeeds is what it says.
        repeatable: whether its figures follow from the seed on any machine (no floating-point model behind them).
    """

    id: str
    title: str
    asks: str
    kind: Kind
    measure: Callable[[S, Draws], Measurement]
    mutations: Mapping[str, Callable[[S], S]] = field(default_factory=dict)
    source: str = ""
    repeatable: bool = False


Planned = tuple[Check[Any], Any]
"""A check, and its subject; text in the place of a subject says why it cannot be run."""


def run(
    check: Check[S],
    subject: S,
    draws: Callable[[str], Draws],
    *,
    seed: int,
    clock: Callable[[], float],
    parameters: Mapping[str, Any] | None = None,
) -> CheckResult:
    """Measure a subject and all its mutations.

    Args:
        check: what to measure.
        subject: the system under test.
        draws: makes fresh ones for a purpose, from the seed.
        seed: kept in the result.
        clock: seconds, for how long it took.
        parameters: kept in the result, as text.
    """
    began = clock()
    found = check.measure(subject, draws(check.id))
    controls = tuple(
        Control(mutation=name, measurement=check.measure(mutate(subject), draws(f"{check.id}/{name}")))
        for name, mutate in check.mutations.items()
    )
    return CheckResult(
        check=check.id,
        kind=check.kind,
        verdict=conclude(check.kind, found, controls),
        measurement=found,
        controls=controls,
        seed=seed,
        parameters={name: str(value) for name, value in (parameters or {}).items()},
        repeatable=check.repeatable,
        seconds=round(clock() - began, 3),
    )


def conclude(kind: Kind, found: Measurement, controls: tuple[Control, ...]) -> Verdict:
    """The verdict that follows: a check that missed a mutation concludes nothing, unless it refutes."""
    if found.refuted:
        return Verdict.REFUTED
    if not controls or not all(control.measurement.refuted for control in controls):
        return Verdict.NO_POWER
    return _BEST[kind]


def not_run(check: Check[Any], why: str | SecpruneError) -> CheckResult:
    """The result of a check that cannot be run here."""
    text = why.message if isinstance(why, SecpruneError) else why
    return CheckResult(check=check.id, kind=check.kind, verdict=Verdict.NOT_RUN, why=text)
