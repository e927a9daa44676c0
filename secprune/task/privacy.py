"""What a task says of privacy: what is summed, and which noise stands in front of it.

| payload | mechanism | what a client sends |
|---|---|---|
| counts | none | its pruning mask |
| counts | dp-statistics | the mask of statistics that it has noised by itself |
| counts | count-noise | its mask, a little noise on each vote |
| counts | randomised-response | its mask, each vote turned round with a small probability |
| square-sums | dp-statistics | its statistics, each client's noise a part of the whole |
| square-sums | none | its statistics as they are: tests and rehearsals only |

Numbers are exact decimals in quotes: every party must compute the same variance. What they mean for patients is
computed by `secprune.privacy`, which refuses a task that claims more than its noise gives.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from secprune.errors import ConfigurationError
from secprune.ids import Digest, MatrixName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from secprune.task.pruning import MatrixSpec, PruningSpec

Payload = Literal["counts", "square-sums"]
Mechanism = Literal["none", "dp-statistics", "count-noise", "randomised-response"]
Unit = Literal["patient", "document"]

Decimal = Annotated[str, Meta(pattern=r"^[0-9]{1,9}(\.[0-9]{1,18})?\Z")]
_Colluders = Annotated[int, Meta(ge=0, lt=2**16)]

PATIENTS_VECTOR = "patients"
"""Stands among the statistics of a report: how many patients it is about, in units of the grid."""


class StatisticsSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which feature statistics clients take.

    `inputs` has each distinct input of linear modules once, as the matrices that share it (q, k and v; gate and up).
    `reference` is the digest of the file with the same statistics of public text.
    """

    inputs: Annotated[
        tuple[Annotated[tuple[MatrixName, ...], Meta(min_length=1, max_length=100_000)], ...],
        Meta(min_length=1, max_length=100_000),
    ]
    reference: Digest


class PatientNoiseSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Differential privacy of the statistics: what is claimed, and the noise that gives it.

    `unit`: whose data are protected together. `epsilon`, `delta`: claimed, add/remove of one unit. `clip`: bound of
    the norm of one unit's statistics, number of units included; public. `noise_multiplier`: standard deviation of the
    noise in units of `clip`, of all rounds together. `colluders`, of square-sums: clients whose noise does not count.
    `recentring`, of square-sums: share of the budget that is spent on a first round, around whose result the second
    one takes its statistics; 0 for one round.
    """

    unit: Unit
    epsilon: Decimal
    delta: Decimal
    noise_multiplier: Decimal
    clip: Decimal
    colluders: _Colluders = 0
    recentring: Decimal = "0"

    @property
    def z(self) -> Fraction:
        """The noise multiplier of all rounds together."""
        return Fraction(self.noise_multiplier)

    @property
    def clip_bound(self) -> Fraction:
        """The bound of the norm of one unit."""
        return Fraction(self.clip)

    @property
    def shares(self) -> tuple[Fraction, ...]:
        """The share of the budget (of rho, zero-concentrated) that each round spends."""
        first = Fraction(self.recentring)
        return (first, 1 - first) if first else (Fraction(1),)


class CountNoiseSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Noise on votes: standard deviation on the sum, and clients whose part of it does not count."""

    sigma: Decimal
    colluders: _Colluders = 0


class ResponseSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Randomised response: with which probability a client turns a vote round."""

    flip: Decimal


class PrivacySpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the server side learns, and what is done to it for patients; parts that a mechanism has not are absent."""

    payload: Payload = "counts"
    mechanism: Mechanism = "none"
    statistics: StatisticsSpec | UnsetType = UNSET
    patients: PatientNoiseSpec | UnsetType = UNSET
    count_noise: CountNoiseSpec | UnsetType = UNSET
    response: ResponseSpec | UnsetType = UNSET

    @property
    def of_statistics(self) -> StatisticsSpec:
        """The statistics of a task that has them."""
        if self.statistics is UNSET:
            raise ConfigurationError("this task is not about feature statistics")
        return self.statistics

    @property
    def of_patients(self) -> PatientNoiseSpec:
        """The noise for patients of a task that has it."""
        if self.patients is UNSET:
            raise ConfigurationError("this task has no differential privacy for patients")
        return self.patients

    @property
    def rounds(self) -> int:
        """Secure sums that it takes where pruning takes one."""
        return 1 if self.patients is UNSET else len(self.patients.shares)


def input_lengths(statistics: StatisticsSpec, matrices: Sequence[MatrixSpec]) -> dict[str, int]:
    """Features of each distinct input, named after the first matrix that it enters, in the task's order."""
    columns = {m.name: m.columns for m in matrices}
    return {group[0]: columns[group[0]] for group in statistics.inputs}


def check_privacy(
    privacy: PrivacySpec, pruning: PruningSpec, matrices: Sequence[MatrixSpec], *, min_clients: int
) -> None:
    """Refuse choices that contradict each other, the pruning or the model.

    Raises:
        ConfigurationError: says which choices, and what would be allowed.
    """
    payload, mechanism = privacy.payload, privacy.mechanism
    if payload == "square-sums" and mechanism not in {"none", "dp-statistics"}:
        raise ConfigurationError(
            f"{mechanism} is noise on votes, and square-sums have none",
            hint='use mechanism = "dp-statistics" with them',
        )
    due = {
        "statistics": payload == "square-sums" or mechanism == "dp-statistics",
        "patients": mechanism == "dp-statistics",
        "count_noise": mechanism == "count-noise",
        "response": mechanism == "randomised-response",
    }
    for part, needed in due.items():
        if (getattr(privacy, part) is not UNSET) != needed:
            raise ConfigurationError(
                f"a task of {payload} with mechanism {mechanism} {'lacks' if needed else 'has nothing to do with'} "
                f"privacy.{part}",
                hint="let `secprune coordinator init` make the task",
            )
    if privacy.statistics is not UNSET:
        _check_statistics(privacy, pruning, matrices)
    if privacy.patients is not UNSET:
        _check_patients(privacy.patients, payload=payload, min_clients=min_clients)
    if privacy.count_noise is not UNSET:
        _check_colluders(privacy.count_noise.colluders, min_clients)
        if not Fraction(privacy.count_noise.sigma):
            raise ConfigurationError("count noise of sigma 0 is none", hint='use mechanism = "none"')
    if privacy.response is not UNSET and not 0 < Fraction(privacy.response.flip) < Fraction(1, 2):
        raise ConfigurationError(f"a vote cannot be turned round with probability {privacy.response.flip}")
    if mechanism in {"count-noise", "randomised-response"} and pruning.weight_scaling:
        raise ConfigurationError(
            "weight scaling needs the counts themselves, not noisy ones",
            hint="leave out weight scaling, or the noise",
        )


def _check_statistics(privacy: PrivacySpec, pruning: PruningSpec, matrices: Sequence[MatrixSpec]) -> None:
    if pruning.activations != "dense":
        raise ConfigurationError(
            "statistics of sequential pruning are not one patient's alone: a note changes the mask of an early block, and "
            "with it what later blocks see of all other patients, so that no bound on a single patient holds",
            hint="use activations = dense with this privacy",
        )
    if pruning.schedule != "one-shot" or pruning.weight_scaling or pruning.local_pruner != "wanda":
        raise ConfigurationError(
            "masks are made of feature statistics by wanda alone, in one shot and without weight scaling",
            hint="leave local_pruner, schedule and weight_scaling as they are by default",
        )
    names = [name for group in privacy.of_statistics.inputs for name in group]
    columns = {m.name: m.columns for m in matrices}
    if sorted(names) != sorted(columns):
        raise ConfigurationError("the inputs of a task's statistics do not name each of its matrices once")
    if PATIENTS_VECTOR in columns:
        raise ConfigurationError(f"a matrix cannot be called {PATIENTS_VECTOR!r} where patients are counted")
    for group in privacy.of_statistics.inputs:
        if len({columns[name] for name in group}) != 1:
            raise ConfigurationError(f"{group[0]} and {group[-1]} cannot share an input: their widths differ")


def _check_patients(patients: PatientNoiseSpec, *, payload: Payload, min_clients: int) -> None:
    for what, number in (("epsilon", patients.epsilon), ("delta", patients.delta), ("clip", patients.clip)):
        if not Fraction(number):
            raise ConfigurationError(f"{what} cannot be 0")
    if Fraction(patients.delta) >= 1:
        raise ConfigurationError(f"delta is {patients.delta}, and a probability is below 1")
    if not Fraction(1, 100) <= patients.z <= 10**6:
        raise ConfigurationError(
            f"a noise multiplier of {patients.noise_multiplier} is not between 0.01 and a million"
        )
    if not Fraction(patients.recentring) < 1:
        raise ConfigurationError(
            "the first round cannot spend the whole budget", hint="set recentring to 0.25"
        )
    if payload == "counts" and (patients.colluders or Fraction(patients.recentring)):
        raise ConfigurationError(
            "with counts each client noises its statistics alone: there are no colluders to tolerate, and nothing to "
            "recentre",
            hint="leave colluders and recentring out, or use the payload square-sums",
        )
    _check_colluders(patients.colluders, min_clients)


def _check_colluders(colluders: int, min_clients: int) -> None:
    if colluders >= min_clients:
        raise ConfigurationError(
            f"{colluders} of at least {min_clients} clients may collude: nobody's noise would count",
            hint=f"tolerate at most {min_clients - 1}",
        )
