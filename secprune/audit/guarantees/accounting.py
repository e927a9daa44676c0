"""Is the claimed epsilon what the noise gives? Computed a second time, by other code.

Three numbers must be in order: the exact epsilon of continuous Gaussian noise (`curve`) <= what the project computes of the
task (`privacy.guarantee`) <= what the task claims. And the second must be within one percent of the closed form of
zero-concentrated differential privacy, whose least is found here by trying many alphas, not by the project's search. Where
dp-accounting and Opacus are installed, their numbers stand beside them. The noise is taken from the variances that parties draw
with, as `conformance` measures them, and from how many of them must be honest; of distributed noise the epsilon that one
party's own part leaves is computed again too.

Source: Canonne, Kamath and Steinke (arXiv 2004.00010), corollary 13; Balle and Wang (arXiv 1805.06530), theorem 8.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from msgspec import UNSET

from secprune.audit.check import Check, Figure, Kind, Measurement
from secprune.audit.guarantees.curve import epsilon_of_mu
from secprune.errors import ConfigurationError
from secprune.privacy.grid import NORM
from secprune.privacy.guarantee import Guarantee, guarantee, round_variances

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from secprune.audit.draws import Draws
    from secprune.task import Task

_CLOSE = 0.01
"""Part by which the project's number may be away from the closed form: a sum of many noises costs a little more than one."""

_LOG_EXCESS = np.linspace(-25, 25, 200_001)
"""Of the alphas that are tried: log(alpha - 1)."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a task claims, and what is computed of it.

    Attributes:
        epsilon: claimed; what is computed, of a task that claims none (noise on votes).
        computed: by the project, of the task's noise.
        mu: sensitivity in standard deviations of all noise that counts together, over all rounds.
        delta: at which.
        others: what other accountants say of the same Gaussian noise, exactly or from above, by their names.
        collapsed: computed by the project, of one party's own part of the noise; None where that is all of it.
        parts: that make up the noise.
    """

    epsilon: Fraction
    computed: float
    mu: float
    delta: float
    others: Mapping[str, float]
    collapsed: float | None = None
    parts: int = 1


def claim_of(
    task: Task, others: Mapping[str, float], compute: Callable[[Task], Guarantee | None] = guarantee
) -> Claim:
    """The claim of a task with additive noise.

    Args:
        task: with noise on statistics or on votes.
        others: as `Claim.others`.
        compute: the project's own computation.

    Raises:
        ConfigurationError: the task has no such noise.
    """
    given, privacy = compute(task), task.privacy
    if given is not None and privacy.patients is not UNSET:
        patients = privacy.patients
        parts = 1 if privacy.payload == "counts" else task.protocol.min_clients - patients.colluders
        inverse = sum(NORM**2 / (parts * variance) for variance in round_variances(task))
        return Claim(
            Fraction(patients.epsilon),
            given.epsilon,
            math.sqrt(inverse),
            float(patients.delta),
            others,
            given.epsilon_collapsed,
            parts,
        )
    if given is not None and privacy.count_noise is not UNSET:
        mu = math.sqrt(_votes_that_change(task)) / float(privacy.count_noise.sigma)
        return Claim(Fraction(given.epsilon), given.epsilon, mu, given.delta, others)
    raise ConfigurationError("this task has no additive noise whose epsilon could be computed again")


def _votes_that_change(task: Task) -> int:
    """Votes in which two masks of one client can differ: twice the smaller of pruned and kept, row by row the same number."""
    total = pruned = 0
    for matrix in task.model.matrices:
        total += matrix.rows * matrix.columns
        budget = task.pruning.row_budget(matrix.columns)
        if budget is None:
            return sum(m.rows * m.columns for m in task.model.matrices)
        pruned += matrix.rows * budget
    return 2 * min(pruned, total - pruned)


def closed_form(mu: float, delta: float) -> float:
    """Epsilon of rho = mu^2 / 2: the least over alpha of rho alpha + log(1 - 1/alpha) - log(delta alpha) / (alpha - 1)."""
    excess = np.exp(_LOG_EXCESS)
    alpha = 1 + excess
    shrunk = _LOG_EXCESS - np.log1p(excess)
    return max(0.0, float((mu**2 / 2 * alpha + shrunk - (math.log(delta) + np.log1p(excess)) / excess).min()))


def claims_less(claim: Claim) -> Claim:
    """The same noise under half the claim."""
    return replace(claim, epsilon=claim.epsilon / 2)


def _measure(claim: Claim, _draws: Draws) -> Measurement:
    exact, closed = epsilon_of_mu(claim.mu, claim.delta), closed_form(claim.mu, claim.delta)
    claimed = float(claim.epsilon)
    faults = []
    if Fraction(claim.computed) > claim.epsilon:
        faults.append(f"the task claims epsilon {claimed:g}, and its noise gives only {claim.computed:.4g}")
    if claim.computed < exact:
        faults.append(f"the project computes {claim.computed:.4g}, less than the exact {exact:.4g}")
    if abs(claim.computed - closed) > _CLOSE * closed:
        faults.append(f"the project computes {claim.computed:.4g}, the closed form is {closed:.4g}")
    alone: tuple[Figure, ...] = ()
    if claim.collapsed is not None:
        left = closed_form(claim.mu * math.sqrt(claim.parts), claim.delta)
        if abs(claim.collapsed - left) > _CLOSE * left:
            faults.append(
                f"of one party's own noise the project computes {claim.collapsed:.4g}, the closed form is {left:.4g}"
            )
        alone = (
            Figure(name="of one party's own noise, computed by the project", value=claim.collapsed),
            Figure(name="of one party's own noise, computed again", value=left),
        )
    return Measurement(
        refuted=bool(faults),
        says="; ".join(faults)
        or f"epsilon {claimed:.4g} is claimed; another computation finds {closed:.4g}, and exactly {exact:.4g} for a Gaussian",
        figures=(
            Figure(name="claimed epsilon", value=claimed),
            Figure(name="computed by the project", value=claim.computed),
            Figure(name="closed form, computed again", value=closed),
            Figure(name="exact, of continuous Gaussian noise", value=exact),
            *alone,
            *(Figure(name=name, value=value) for name, value in claim.others.items()),
        ),
        sample=1,
    )


ACCOUNTING: Check[Claim] = Check(
    id="accounting",
    title="The claimed epsilon is what the noise gives",
    asks="Does another computation of epsilon agree with what the task claims?",
    kind=Kind.CONFORMANCE,
    measure=_measure,
    mutations={"claims-less": claims_less},
    source="Canonne, Kamath and Steinke (arXiv 2004.00010), corollary 13; Balle and Wang (arXiv 1805.06530), theorem 8",
)
"""The check `accounting`."""
