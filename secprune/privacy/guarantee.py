"""What a task's noise promises, in numbers: computed from the task, never taken from what it claims.

Adjacency, everywhere: *add/remove* one unit (a patient with all notes, or a document) for noised statistics, whose
joint norm is at most NORM with the coordinate that counts units inside; *replace one client's mask* for noise on votes.

With distributed noise each client adds a part, so that what is promised rests on enough parties being honest. What is
left when they are not is `epsilon_collapsed`: that of the one honest client's own part.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

from msgspec import UNSET, Struct

from secprune.errors import ConfigurationError
from secprune.privacy.accounting import (
    client_level_epsilon_of_response,
    client_level_rho_of_counts,
    epsilon_of_flip,
    epsilon_of_rho,
    noise_multiplier_for,
    rho_of_gaussian,
    summed_rho,
)
from secprune.privacy.grid import NORM
from secprune.task.privacy import input_lengths
from secprune.vectors import VALUE_BITS

if TYPE_CHECKING:
    from secprune.task import CountNoiseSpec, PatientNoiseSpec, ResponseSpec, Task

CLIENT_LEVEL_DELTA = 1e-6
"""At which the client-level epsilon of noise on votes is given; such tasks claim none of their own."""

_MAX_SIGMA = 2 ** (VALUE_BITS - 6)
"""Standard deviation of one client's noise at most, where it is sent: the bound of what is sent is 32 of them away."""

COMPLETE_UP_TO = 100
"""Clients up to which the pairwise graph is complete; a test compares it with the protocol's."""


class Guarantee(Struct, frozen=True, kw_only=True):
    """What is promised, to whom it applies, and against whom.

    Attributes:
        unit: whose data are protected together.
        adjacency: which change of the data may not be noticed.
        adversary: against whom.
        epsilon: computed, from above; at most what the task claims.
        delta: the task's, or `CLIENT_LEVEL_DELTA`.
        epsilon_collapsed: at the same delta, if all servers and all other clients work together; None if that changes
            nothing.
        epsilon_of_vote: of a single weight's vote, pure; None unless each client turns votes round.
        clip: bound of the norm of one unit's statistics; None with noise on votes.
        noise_multiplier: standard deviation of the noise in units of `clip`, of all rounds together; likewise.
        sigma: standard deviation of the noise on each coordinate, in each round, in grid units (votes, with noise on
            votes), of the parties whose noise counts; empty without additive noise.
        sigma_per_party: the same, of one client's part.
        mechanism: how the noise is made.
        accountant: how epsilon was computed.
    """

    unit: str
    adjacency: str
    adversary: str
    epsilon: float
    delta: float
    epsilon_collapsed: float | None = None
    epsilon_of_vote: float | None = None
    clip: str | None = None
    noise_multiplier: str | None = None
    sigma: tuple[float, ...] = ()
    sigma_per_party: tuple[float, ...] = ()
    mechanism: str
    accountant: str


def guarantee(task: Task) -> Guarantee | None:
    """What the noise of a task promises; None if it has none.

    Raises:
        ConfigurationError: its noise is so small that nothing is known of it.
    """
    privacy = task.privacy
    if privacy.patients is not UNSET:
        return _of_statistics(task, privacy.patients)
    if privacy.count_noise is not UNSET:
        return _of_count_noise(task, privacy.count_noise)
    if privacy.response is not UNSET:
        return _of_response(task, privacy.response)
    return None


def check_claims(task: Task) -> None:
    """Refuse a task that claims more privacy than its noise gives, or has noise that cannot be accounted for.

    Raises:
        ConfigurationError: it does; says what the noise gives.
    """
    given, patients = guarantee(task), task.privacy.patients
    if given is None or patients is UNSET:
        return
    if task.privacy.payload == "square-sums" and max(round_variances(task)) > _MAX_SIGMA**2:
        raise ConfigurationError(
            f"noise of multiplier {patients.noise_multiplier} would not fit into what a client sends",
            hint="claim less privacy",
        )
    if Fraction(given.epsilon) > Fraction(patients.epsilon):
        raise ConfigurationError(
            f"the task claims epsilon {patients.epsilon} at delta {patients.delta}, but noise of multiplier "
            f"{patients.noise_multiplier} gives only {given.epsilon:.6g}",
            hint=_enough(patients.epsilon, patients.delta),
        )


def _enough(epsilon: str, delta: str) -> str:
    """What to change for a claim; empty where no noise would do."""
    try:
        return f"set noise_multiplier to {noise_multiplier_for(Fraction(epsilon), Fraction(delta))}, or claim less"
    except ConfigurationError as error:
        return error.hint


def round_variances(task: Task) -> tuple[Fraction, ...]:
    """Exact variance of the noise that each client adds to each coordinate, for each round, in grid units squared.

    Raises:
        ConfigurationError: the task has no noise of that kind.
    """
    patients = task.privacy.of_patients
    whole = patients.z**2 * NORM**2
    return tuple(whole / share / noise_parties(task) for share in patients.shares)


def noise_parties(task: Task) -> int:
    """How many clients' noises make up the whole one: alone with counts, else all of a cohort but the colluders.

    Raises:
        ConfigurationError: the task has no noise that adds up.
    """
    privacy, floor = task.privacy, task.protocol.min_clients
    if privacy.count_noise is not UNSET:
        return floor - privacy.count_noise.colluders
    return 1 if privacy.payload == "counts" else floor - privacy.of_patients.colluders


def noise_dimension(task: Task) -> int:
    """Coordinates of the vector in front of which the noise of statistics stands, all inputs and the count of units."""
    if task.privacy.payload == "square-sums":
        return sum(task.vectors.values())
    return sum(input_lengths(task.privacy.of_statistics, task.model.matrices).values()) + 1


def spent_rho(task: Task) -> Fraction:
    """Rho that a task's rounds together cost each unit, as long as enough parties are honest. Run by a client.

    Raises:
        ConfigurationError: the task has no such noise, or too little of it to be accounted for.
    """
    if noise_parties(task) == 1:  # shares of the budget add up to it
        return rho_of_gaussian(task.privacy.of_patients.z)
    return sum(
        (
            summed_rho(
                norm=NORM, variance=variance, parties=noise_parties(task), dimension=noise_dimension(task)
            )
            for variance in round_variances(task)
        ),
        Fraction(0),
    )


def pairwise_helpers(task: Task) -> int:
    """Clients that may help the aggregator of a pairwise task, whichever they are.

    Up to 100 clients of a round lists of survivors cannot fork unless more than n/3 of them help; beyond, the drawn
    graph is made for a fifth of them (protocols/pairwise/graph.py). With layer sampling all helpers may be in one
    round, so the round that bears fewest says it.
    """
    sizes = {len(task.round_clients(index)) for index in range(task.rounds)}
    return min((n - 1) // 3 if n <= COMPLETE_UP_TO else n // 5 for n in sizes)


def honest_parties(task: Task, colluders: int) -> str:
    """Which parties must be honest for distributed noise to hold, as a clause; `colluders` clients may not be."""
    honest = task.protocol.min_clients - colluders
    counted = f"at least {honest} of the counted clients are honest"
    if task.protocol.name == "additive":
        return f"at least one of the {len(task.names('aggregator'))} aggregators is honest and {counted}"
    if task.protocol.name == "pairwise":
        helpers = min(colluders, pairwise_helpers(task))
        return (
            f"at most {helpers} of {task.n_max} clients help the aggregator"
            if helpers
            else ("no client helps the aggregator")
        )
    if task.protocol.name == "bfv":
        holders = len(task.names("key-holder"))
        keys = "the key holder" if holders == 1 else f"all {holders} key holders"
        return f"the aggregator works neither with a client nor with {keys}, and {counted}"
    return f"the first aggregator, who reads what each client sends, is honest and {counted}"


def _of_statistics(task: Task, patients: PatientNoiseSpec) -> Guarantee:
    parties = noise_parties(task)
    delta, rho = Fraction(patients.delta), spent_rho(task)
    alone = task.privacy.payload == "counts"
    variances = round_variances(task)
    return Guarantee(
        unit=patients.unit,
        adjacency=f"add/remove one {patients.unit}",
        adversary=(
            "everyone, all servers and all other clients together included"
            if alone
            else f"everyone, as long as {honest_parties(task, patients.colluders)}"
        ),
        epsilon=epsilon_of_rho(rho, delta),
        delta=float(delta),
        # The honest client's own part is a discrete Gaussian of that variance, in every round.
        epsilon_collapsed=None if alone else epsilon_of_rho(parties * rho_of_gaussian(patients.z), delta),
        clip=patients.clip,
        noise_multiplier=patients.noise_multiplier,
        sigma=tuple(math.sqrt(parties * variance) for variance in variances),
        sigma_per_party=tuple(math.sqrt(variance) for variance in variances),
        mechanism=(
            "exact discrete Gaussian noise of each client on its own clipped sum of statistics"
            if alone
            else "exact discrete Gaussian noise on the clipped sum of statistics, each client's a part of it"
        ),
        accountant="zero-concentrated differential privacy"
        + ("" if parties == 1 else ", of a sum of discrete Gaussians"),
    )


def _of_count_noise(task: Task, noise: CountNoiseSpec) -> Guarantee:
    parties, sigma = noise_parties(task), Fraction(noise.sigma)
    weights, pruned = _votes(task)
    rho = client_level_rho_of_counts(weights, pruned, sigma, parties=parties)
    return Guarantee(
        unit="client",
        adjacency="replace one client's mask",
        adversary=f"everyone, as long as {honest_parties(task, noise.colluders)}",
        epsilon=epsilon_of_rho(rho, CLIENT_LEVEL_DELTA),
        delta=CLIENT_LEVEL_DELTA,
        sigma=(float(sigma),),
        sigma_per_party=(math.sqrt(sigma**2 / parties),),
        mechanism="exact discrete Gaussian noise on each count, each client's a part of it",
        accountant="zero-concentrated differential privacy, of a sum of discrete Gaussians",
    )


def _of_response(task: Task, response: ResponseSpec) -> Guarantee:
    flip = Fraction(response.flip)
    weights, pruned = _votes(task)
    return Guarantee(
        unit="client",
        adjacency="replace one client's mask",
        adversary="everyone, all servers and all other clients together included",
        epsilon=client_level_epsilon_of_response(weights, pruned, flip, CLIENT_LEVEL_DELTA),
        delta=CLIENT_LEVEL_DELTA,
        epsilon_of_vote=epsilon_of_flip(flip),
        mechanism=f"each vote is turned round with probability {response.flip} by the client itself",
        accountant="the smaller of pure and zero-concentrated differential privacy of all votes that can differ",
    )


def _votes(task: Task) -> tuple[int, int | None]:
    """Weights that are voted on, and how many of them each client votes to prune; None if that is not fixed."""
    budgets = [task.pruning.row_budget(m.columns) for m in task.model.matrices]
    pruned = sum(m.rows * (b or 0) for m, b in zip(task.model.matrices, budgets, strict=True))
    return sum(m.rows * m.columns for m in task.model.matrices), None if None in budgets else pruned
