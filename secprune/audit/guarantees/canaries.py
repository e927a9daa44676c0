"""A lower bound on epsilon, from canaries in one run of the mechanism.

A canary is a unit whose statistics are all in one coordinate, far beyond the clip: after clip and grid it is of full norm there,
and orthogonal to all others. Each of m canaries is in the sum by a coin; who sees the sum guesses the coins of those that stand
out most, in or out, and knows everything else. This is the strongest that one unit can do to the mechanism, so that the bound
is close to what such bounds can show. `one_run` makes bounds of it; each of seven numbers of guesses and both kinds of bound
get a share of the level (Bonferroni).

The second kind of bound says epsilon is at least so much *if* errors trade off as under Gaussian noise. It may refute: noise as
promised does so, with a smaller epsilon than the claimed one. At a claimed epsilon of 8 only this kind can, for the first one
stays below 7.9 even without any noise.

What neither can show: they reach about six tenths of the true epsilon, so that noise which is too small by root two goes
unnoticed. `conformance` and `estimate` are for that.

Every canary's coordinate is the same to clip and grid; a few of them, the first and the last included, are really put through
both, and the least that remains of one stands for all. Coordinates without a canary hold nothing but noise and are not drawn.
With two rounds the canary is in both, and their sums are weighted by the inverse of their noise.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from secprune.audit.check import Check, Figure, Kind, Measurement
from secprune.audit.guarantees.curve import epsilon_of_mu
from secprune.audit.guarantees.one_run import epsilon_bound, gaussian_epsilon_bound
from secprune.audit.guarantees.subject import NoisedSum, clip_doubled, noise_omitted, with_noise
from secprune.privacy.grid import COUNT_UNITS, NORM

if TYPE_CHECKING:
    from secprune.audit.draws import Draws

CANARIES = 100_000
"""As many as there are coordinates up to here; with 20,000 a clip that is twice too wide mostly goes unnoticed at epsilon 0.5."""

LEVEL = 0.05
"""The bounds together are wrong that often, at most."""

SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Of all canaries, those that are guessed."""

_PLACES = 5
_FAR = 2.0**10
"""Times the bound, in grid units: what a canary is before it is clipped."""

Booleans = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


class Run(NamedTuple):
    """One run of the mechanism on canaries.

    Attributes:
        included: (canaries,) which are in the sum.
        sums: (canaries,) what is released in each one's coordinate, weighted over rounds.
        size: what an included one adds to it.
        mu: the distance between with and without a canary, in standard deviations of the noise; infinite without noise. What
            an adversary does not know.
    """

    included: Booleans
    sums: Floats
    size: int
    mu: float


def run_canaries(subject: NoisedSum, canaries: int, draws: Draws) -> Run:
    """Put each canary in by a coin, and run the mechanism once.

    Args:
        subject: the mechanism.
        canaries: at most; no more than there are coordinates.
        draws: coins, and the entropy of the parties.
    """
    count = min(canaries, subject.features)
    size = canary_size(subject)
    included = draws.numpy.integers(0, 2, count).astype(np.bool_)
    weights = [float(1 / variance) for variance in subject.noise.variances]
    noise = np.zeros(count)
    for index, weight in enumerate(weights):
        noise += weight / sum(weights) * np.sum(subject.noise.parts(index, count, draws), axis=0)
    deviation = float(noise.std())
    return Run(
        included,
        included * size + noise,
        size,
        math.hypot(size, COUNT_UNITS) / deviation if deviation else math.inf,
    )


def canary_size(subject: NoisedSum) -> int:
    """What is left of a canary after clip and grid, the least of some coordinates."""
    sizes = []
    for place in np.unique(np.linspace(0, subject.features - 1, _PLACES).astype(int)):
        vector = np.zeros(subject.features)
        vector[place] = _FAR * NORM
        sizes.append(int(subject.bounded(vector)[place]))
    return min(sizes)


def _measure(subject: NoisedSum, draws: Draws, canaries: int) -> Measurement:
    run = run_canaries(subject, canaries, draws)
    scores = run.sums - run.size / 2
    order = np.argsort(-np.abs(scores), kind="stable")
    right = np.cumsum((scores > 0)[order] == run.included[order])
    m, delta = scores.size, float(subject.delta)
    level = LEVEL / (2 * len(SHARES))
    any_mechanism = gaussian = (0.0, 0, 0)
    for guesses in sorted({max(1, int(share * m)) for share in SHARES}):
        v = int(right[guesses - 1])
        bound = epsilon_bound(canaries=m, guesses=guesses, right=v, delta=delta, level=level)
        any_mechanism = max(any_mechanism, (bound, guesses, v))
        bound = gaussian_epsilon_bound(canaries=m, guesses=guesses, right=v, delta=delta, level=level)
        gaussian = max(gaussian, (bound, guesses, v))
    claimed, (best, guesses, v) = float(subject.epsilon), max(any_mechanism, gaussian)
    true = epsilon_of_mu(run.mu, delta)
    return Measurement(
        refuted=best > claimed,
        says=(
            f"epsilon is at least {any_mechanism[0]:.3g} whatever the mechanism, and at least {gaussian[0]:.3g} if it errs "
            f"as Gaussian noise does; {claimed:g} is claimed: of {guesses} guesses who was in the data, {v} were right"
        ),
        figures=(
            Figure(name="claimed epsilon", value=claimed),
            Figure(name="lower bound on epsilon, any mechanism", value=any_mechanism[0]),
            Figure(name="lower bound on epsilon, Gaussian trade-off", value=gaussian[0]),
            *(
                [Figure(name="true epsilon, of the noise that was drawn", value=true)]
                if math.isfinite(true)
                else []
            ),
            Figure(name="canaries", value=m),
            Figure(name="guesses behind the larger bound", value=guesses),
            Figure(name="right guesses behind the larger bound", value=v),
        ),
        sample=m,
    )


def canary_bound(canaries: int = CANARIES) -> Check[NoisedSum]:
    """The check `canary-bound`.

    Args:
        canaries: at most; no more than there are coordinates.
    """
    return Check(
        id="canary-bound",
        title="Lower bound on epsilon from canaries",
        asks="Can somebody who sees the result tell who was in the data, better than the claimed epsilon allows?",
        kind=Kind.LOWER_BOUND,
        measure=lambda subject, draws: _measure(subject, draws, canaries),
        mutations={"clip-doubled": clip_doubled, "noise-omitted": with_noise(noise_omitted)},
        source="Steinke, Nasr and Jagielski (arXiv 2305.08846), theorem 5.2; Mahloujifar, Melis and Chaudhuri (arXiv 2410.22235)",
    )
