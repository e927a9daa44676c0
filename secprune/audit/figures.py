"""How well an attack tells members from others, and how sure that is: AUC, true positives at few false ones, shares.

Scores are any real numbers, larger for what the attack takes for a member. Ties count one half.

Source: AUC as the Mann-Whitney statistic (Hanley and McNeil, Radiology 143, 1982); TPR at low FPR: Carlini et al.,
"Membership inference attacks from first principles" (IEEE S&P 2022), sec. III; the interval: percentile bootstrap (Efron,
Annals of Statistics 7, 1979), over *trials* where there are several, because scores of one trial share a mask and are
not independent.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from secprune.audit.check import Curve, Figure

if TYPE_CHECKING:
    from collections.abc import Sequence

Scores = npt.NDArray[np.float64]
Trial = tuple[Scores, Scores]
"""Scores of one trial: of members, of others."""

Floats = npt.NDArray[np.float64]

_WHOLE_TRIALS = 8
_NORMAL_95 = 1.959964
_ROUNDING = 1e-9

FALSE_POSITIVES = 0.01
"""At which true positives are given."""


def auc(members: Scores, others: Scores) -> float:
    """Probability that a member scores above another, ties one half."""
    return float(_auc(members, others, np.ones((1, members.size)), np.ones((1, others.size)))[0])


def true_positives(members: Scores, others: Scores, *, at: float = FALSE_POSITIVES) -> float:
    """Share of members above a threshold that a share `at` of others, or less, is above."""
    every = np.ones((1, members.size)), np.ones((1, others.size))
    return float(_true_positives(members, others, *every, at=at)[0])


def roc(name: str, members: Scores, others: Scores, *, points: int = 200) -> Curve:
    """The curve of true positives against false ones, thinned to about as many points."""
    thresholds = np.unique(np.concatenate([members, others]))[::-1]
    x = np.searchsorted(np.sort(-others), -thresholds, side="right") / others.size
    y = np.searchsorted(np.sort(-members), -thresholds, side="right") / members.size
    kept = np.unique(np.linspace(0, len(x) - 1, min(points, len(x))).astype(int))
    return Curve(
        name=name,
        x=(0.0, *map(float, x[kept])),
        y=(0.0, *map(float, y[kept])),
    )


def pooled(trials: Sequence[Trial]) -> Trial:
    """All trials' scores together; only of use if scores of different trials can be compared."""
    return (
        np.concatenate([members for members, _ in trials]),
        np.concatenate([others for _, others in trials]),
    )


def proportion(name: str, right: int, trials: int) -> Figure:
    """A share with its 95% interval (Wilson, JASA 22, 1927)."""
    share, z2 = right / trials, _NORMAL_95**2 / trials
    middle = (share + z2 / 2) / (1 + z2)
    half = math.sqrt(share * (1 - share) * z2 + z2**2 / 4) / (1 + z2)
    return Figure(name=name, value=share, low=max(0.0, middle - half), high=min(1.0, middle + half))


def rates(trials: Sequence[Trial], rng: np.random.Generator, *, resamples: int = 1000) -> tuple[Figure, ...]:
    """AUC and TPR at 1% FPR of the pooled scores, with percentile bootstrap intervals.

    With eight trials or more, whole trials are drawn again; with fewer, members and others within each.

    Args:
        trials: one or more.
        rng: to draw again with.
        resamples: how often.
    """
    members, others = pooled(trials)
    drawn = _drawn(trials, rng, resamples)
    found = []
    for name, value, again in (
        ("AUC", auc(members, others), _auc(members, others, *drawn)),
        ("TPR at 1% FPR", true_positives(members, others), _true_positives(members, others, *drawn)),
    ):
        low, high = np.quantile(again, [0.025, 0.975])
        found.append(Figure(name=name, value=value, low=float(low), high=float(high)))
    return tuple(found)


def _drawn(trials: Sequence[Trial], rng: np.random.Generator, resamples: int) -> tuple[Floats, Floats]:
    """How often each score was drawn: (resamples, members) and (resamples, others)."""
    sizes = [np.array([one[kind].size for one in trials]) for kind in (0, 1)]
    if len(trials) >= _WHOLE_TRIALS:
        often = rng.multinomial(len(trials), np.full(len(trials), 1 / len(trials)), resamples)
        members, others = (np.repeat(often, size, axis=1) for size in sizes)
    else:
        members, others = (
            np.concatenate([rng.multinomial(n, np.full(n, 1 / n), resamples) for n in size], axis=1)
            for size in sizes
        )
    return members.astype(np.float64), others.astype(np.float64)


def _auc(members: Scores, others: Scores, member_weights: Floats, other_weights: Floats) -> Floats:
    """AUC of weighted scores, for each row of weights: (rows,)."""
    if not members.size or not others.size:
        raise ValueError("no score of a member, or of another")
    order = np.argsort(others, kind="stable")
    below = _cumulated(other_weights[:, order])  # (rows, others + 1)
    ordered = others[order]
    half = below[:, np.searchsorted(ordered, members, side="left")]
    half = (half + below[:, np.searchsorted(ordered, members, side="right")]) / 2  # (rows, members)
    total = member_weights.sum(axis=1) * other_weights.sum(axis=1)
    return np.asarray((half * member_weights).sum(axis=1) / total)


def _true_positives(
    members: Scores,
    others: Scores,
    member_weights: Floats,
    other_weights: Floats,
    *,
    at: float = FALSE_POSITIVES,
) -> Floats:
    """True positives of weighted scores at the lowest threshold that keeps the rate, for each row of weights: (rows,)."""
    order = np.argsort(-others, kind="stable")  # the largest first
    above = np.cumsum(other_weights[:, order], axis=1)  # (rows, others), with each score itself
    allowed = np.floor(at * other_weights.sum(axis=1))
    first = (above > allowed[:, None] + _ROUNDING).argmax(axis=1)  # the first that is one too many
    thresholds = np.where(above[:, -1] > allowed, others[order][first], -np.inf)
    member_order = np.argsort(members, kind="stable")
    up_to = _cumulated(member_weights[:, member_order])
    at_most = np.searchsorted(members[member_order], thresholds, side="right")
    total = up_to[:, -1]
    return np.asarray((total - up_to[np.arange(len(total)), at_most]) / total)


def _cumulated(weights: Floats) -> Floats:
    """Sums of the first 0, 1, 2 ... weights of each row."""
    return np.concatenate([np.zeros((len(weights), 1)), np.cumsum(weights, axis=1)], axis=1)
