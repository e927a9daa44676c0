"""How well an attack tells members from others: AUC, true positives at few false ones, and how sure that is.

Scores are any real numbers, larger for what the attack takes for a member. Ties count one half.

Source: AUC as the Mann-Whitney statistic (Hanley and McNeil, Radiology 143, 1982); TPR at low FPR: Carlini et al.,
"Membership inference attacks from first principles" (IEEE S&P 2022), sec. III; the interval: percentile bootstrap (Efron,
Annals of Statistics 7, 1979), over *trials* where there are several, because scores of one trial share a mask and are
not independent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from secprune.audit.check import Curve, Figure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Scores = npt.NDArray[np.float64]
Trial = tuple[Scores, Scores]
"""Scores of one trial: of members, of others."""

FALSE_POSITIVES = 0.01
"""At which true positives are given."""


def auc(members: Scores, others: Scores) -> float:
    """Probability that a member scores above another, ties one half."""
    if not members.size or not others.size:
        raise ValueError("no score of a member, or of another")
    ordered = np.sort(others)
    below = np.searchsorted(ordered, members, side="left")
    level = np.searchsorted(ordered, members, side="right") - below
    return float((below + level / 2).mean() / others.size)


def true_positives(members: Scores, others: Scores, *, at: float = FALSE_POSITIVES) -> float:
    """Share of members above a threshold that a share `at` of others, or less, is above."""
    allowed = int(np.floor(at * others.size))
    threshold = np.sort(others)[::-1][allowed] if allowed < others.size else -np.inf
    return float((members > threshold).mean())


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


def rates(trials: Sequence[Trial], rng: np.random.Generator, *, resamples: int = 1000) -> tuple[Figure, ...]:
    """AUC and TPR at 1% FPR over all trials, with 95% intervals.

    With eight trials or more, whole trials are drawn again; with fewer, members and others within each.
    """
    whole = len(trials) >= 8
    return (
        interval("AUC", auc, trials, rng, resamples=resamples, whole=whole),
        interval("TPR at 1% FPR", true_positives, trials, rng, resamples=resamples, whole=whole),
    )


def interval(
    name: str,
    statistic: Callable[[Scores, Scores], float],
    trials: Sequence[Trial],
    rng: np.random.Generator,
    *,
    resamples: int = 1000,
    whole: bool = False,
) -> Figure:
    """A statistic of the pooled scores, and its percentile bootstrap interval.

    Args:
        name: of the figure.
        statistic: of scores of members and others.
        trials: one or more.
        rng: to draw again with.
        resamples: how often.
        whole: whether trials are drawn, or scores within them.
    """
    found = []
    for _ in range(resamples):
        if whole:
            drawn = [trials[i] for i in rng.integers(0, len(trials), len(trials))]
        else:
            drawn = [(rng.choice(a, a.size), rng.choice(b, b.size)) for a, b in trials]
        found.append(statistic(*pooled(drawn)))
    low, high = np.quantile(found, [0.025, 0.975])
    return Figure(name=name, value=statistic(*pooled(trials)), low=float(low), high=float(high))
