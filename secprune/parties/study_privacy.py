"""Before a study: from a coordinator's wishes for privacy to what the task says of it, noise multiplier included."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from secprune.errors import LocalMisuseError
from secprune.task import (
    MIN_COHORT,
    CountNoiseSpec,
    PatientNoiseSpec,
    Payload,
    PrivacySpec,
    ResponseSpec,
    StatisticsSpec,
    Unit,
)

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_DELTA = "0.000001"


class PrivacyOptions(Struct, frozen=True, kw_only=True):
    """What the coordinator chooses.

    Attributes:
        payload: what is summed.
        epsilon: for patients; None for no such noise.
        delta: likewise.
        unit: whose data are protected together.
        reference: file of the public reference; with `epsilon`, and with square-sums.
        clip: bound of one unit's norm; the reference's typical one if None.
        colluders: of square-sums, clients whose noise may be missing; a quarter of the roster if None.
        recentring: of square-sums, share of the budget for a first round.
        vote_noise: standard deviation of noise on each weight's votes, in place of `epsilon`.
        flip: probability of turning each vote round, in place of `epsilon`.
    """

    payload: Payload = "counts"
    epsilon: str | None = None
    delta: str = DEFAULT_DELTA
    unit: Unit = "patient"
    reference: Path | None = None
    clip: str | None = None
    colluders: int | None = None
    recentring: str = "0"
    vote_noise: str | None = None
    flip: str | None = None


NO_PRIVACY = PrivacyOptions()
"""Counts, exact."""


def privacy_spec(
    options: PrivacyOptions,
    statistics: StatisticsSpec | None,
    *,
    clip: str,
    clients: int,
    min_clients: int,
    multiplier: Callable[[Fraction, Fraction], str] | None = None,
) -> PrivacySpec:
    """What the task says of privacy. Needs opacus (extra `dp`) where patients are protected, for the noise multiplier.

    Args:
        options: the coordinator's.
        statistics: of the public reference, if there is one.
        clip: bound of one unit's norm, if `options` have none.
        clients: in the roster.
        min_clients: smallest cohort.
        multiplier: of (epsilon, delta), in place of Opacus's search.

    Raises:
        LocalMisuseError: wishes that exclude each other, no number where one is due, no reference, or one that nobody
            needs.
        ConfigurationError: no noise gives so much privacy.
    """
    wishes = {"epsilon": options.epsilon, "vote noise": options.vote_noise, "flipped votes": options.flip}
    wished = [what for what, value in wishes.items() if value is not None]
    if len(wished) > 1:
        raise LocalMisuseError(
            f"{' and '.join(wished)} exclude each other",
            hint="patients are protected by --epsilon; noise on votes protects a single weight's vote, no patient",
        )
    takes_statistics = options.epsilon is not None or options.payload == "square-sums"
    if takes_statistics and statistics is None:
        raise LocalMisuseError(
            "feature statistics need a public reference",
            hint="make one of public text with `secprune coordinator reference` and give it with --reference",
        )
    if not takes_statistics and statistics is not None:
        raise LocalMisuseError(
            "a public reference is of use with feature statistics only",
            hint="add --epsilon, or leave --reference out",
        )
    colluders = usual_colluders(clients, min_clients) if options.colluders is None else options.colluders
    if options.vote_noise is not None:
        noise = CountNoiseSpec(sigma=exact(options.vote_noise, "vote noise"), colluders=colluders)
        return PrivacySpec(payload=options.payload, mechanism="count-noise", count_noise=noise)
    if options.flip is not None:
        flip = ResponseSpec(flip=exact(options.flip, "the probability of a flip"))
        return PrivacySpec(payload=options.payload, mechanism="randomised-response", response=flip)
    if statistics is None:
        return PrivacySpec()
    if options.epsilon is None:
        return PrivacySpec(payload=options.payload, statistics=statistics)
    if multiplier is None:
        from secprune.privacy.opacus_accountant import noise_multiplier  # noqa: PLC0415 - an extra, imports torch

        multiplier = noise_multiplier
    epsilon, delta = exact(options.epsilon, "epsilon"), exact(options.delta, "delta")
    return PrivacySpec(
        payload=options.payload,
        mechanism="dp-statistics",
        statistics=statistics,
        patients=PatientNoiseSpec(
            unit=options.unit,
            epsilon=epsilon,
            delta=delta,
            noise_multiplier=multiplier(Fraction(epsilon), Fraction(delta)),
            clip=exact(options.clip or clip, "the clip bound"),
            colluders=colluders if options.payload == "square-sums" else options.colluders or 0,
            recentring=exact(options.recentring, "the share of the first round"),
        ),
    )


def usual_cohort(clients: int) -> int:
    """The smallest cohort of which a sum is opened, where the coordinator did not choose: more than two thirds."""
    return max(MIN_COHORT, 2 * clients // 3 + 1)


def usual_colluders(clients: int, min_clients: int) -> int:
    """Clients whose noise may be missing or known, where the coordinator did not choose: a quarter of the roster."""
    return max(1, min(clients // 4, min_clients - 1))


def exact(number: str, what: str) -> str:
    """A decimal number, such as 1e-6, as the task writes it: 0.000001.

    Raises:
        LocalMisuseError: no number, a negative one, or one of too many digits.
    """
    try:
        value = Decimal(number)
    except InvalidOperation:
        value = Decimal("NaN")
    text = f"{value:f}" if value.is_finite() else ""
    if not text or value < 0 or value >= 10**9 or len(text.partition(".")[2]) > 18:
        raise LocalMisuseError(
            f"{what} cannot be {number!r}",
            hint="give a number from 0 with at most 18 decimals, such as 0.5 or 1e-6",
        )
    return text
