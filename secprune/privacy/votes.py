"""Noise on votes: what a client does to its pruning mask before anybody else sees anything of it.

*Randomised response.* Each vote is turned round with probability p, by a coin that is exact: a whole number below the
denominator of p, compared with its numerator. Of c votes among n clients, n p are expected to be turned votes against,
so (c - n p) / (1 - 2 p) is an unbiased estimate of the true number.

*Count noise.* Each client adds to each vote a number from the discrete Gaussian of variance

    v = sigma^2 / (min_clients - colluders),

so that the noise of the honest clients of any cohort has variance sigma^2 or more on each sum. Counters have an end, so
that noise is cut at a public bound W and W is added: what a client sends for a weight is vote + noise + W, between 0 and
2 W + 1. A draw beyond the bound is replaced by the bound.

W. The discrete Gaussian is sub-Gaussian with its own parameter (Canonne, Kamath and Steinke 2020): P(|X| >= m) <=
2 exp(-m^2 / (2 v)). Over N = weights times clients of the roster, some draw is beyond W with probability at most
2 N exp(-(W + 1)^2 / (2 v)), and W is the smallest number for which that is shown to be at most 2^-CUT_BITS:

    (W + 1)^2 >= 2 v ln(2) (CUT_BITS + 1 + ceil(log2 N)),

computed with fractions, ln(2) rounded up, so that all parties agree. What is sent therefore differs from uncut noise by
a total variation of at most 2^-40 in the whole task: add that to delta.

Time. How long the sampler takes depends on the noise, never on the mask: the noise of a block of rows is drawn before
the block is looked at. Count noise takes a core minutes for 10^8 weights and hours for 10^10; coins are a hundred times
as fast.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from msgspec import UNSET

from secprune.crypto.entropy import random_bytes
from secprune.errors import ConfigurationError
from secprune.privacy.gaussian import discrete_gaussian, uniform_below

if TYPE_CHECKING:
    from collections.abc import Callable

    from secprune.packing import Digits
    from secprune.task import Task

CUT_BITS = 40
"""Some draw of the whole task is beyond the bound with probability at most 2^-40."""

_LN_2 = Fraction(6931471806, 10**10)  # rounded up
_MAX_BOUND = 2**15 - 1
"""So that what a client sends for one weight fits into 16 bits."""


@dataclass(frozen=True, slots=True)
class CountNoise:
    """The noise that one client puts on each of its votes.

    Attributes:
        variance: of the discrete Gaussian.
        bound: W, where it is cut.
    """

    variance: Fraction
    bound: int

    @property
    def most(self) -> int:
        """The largest number that a client sends for a weight."""
        return 2 * self.bound + 1

    @property
    def dtype(self) -> type[np.uint8 | np.uint16]:
        """Narrowest type that holds it."""
        return np.uint8 if self.most <= np.iinfo(np.uint8).max else np.uint16

    def on(self, mask: npt.NDArray[np.bool_], entropy: Callable[[int], bytes] = random_bytes) -> Digits:
        """Votes with fresh noise: vote + noise + W. Run by a client, once for each weight of a round.

        Args:
            mask: (rows, columns), 1 = prune.
            entropy: gives as many random bytes as it is asked for.

        Returns:
            (rows, columns) of `dtype`, at most `most`.
        """
        noise = discrete_gaussian(self.variance, mask.size, entropy)  # before the mask is looked at
        np.clip(noise, -self.bound, self.bound, out=noise)
        noise += self.bound
        noise += mask.reshape(-1)
        sent = noise.reshape(mask.shape)
        return sent.astype(np.uint8) if self.dtype is np.uint8 else sent.astype(np.uint16)


def count_noise(task: Task) -> CountNoise | None:
    """The count noise of a task, or None.

    Raises:
        ConfigurationError: so much noise that no counter holds it.
    """
    spec = task.privacy.count_noise
    if spec is UNSET:
        return None
    variance = Fraction(spec.sigma) ** 2 / (task.protocol.min_clients - spec.colluders)
    weights = sum(m.rows * m.columns for m in task.model.matrices)
    bound = cut_bound(variance, weights * task.n_max)
    if bound > _MAX_BOUND:
        raise ConfigurationError(
            f"count noise of sigma {spec.sigma} takes numbers up to {2 * bound + 1} for one weight, and there is room "
            f"for 16 bits",
            hint="ask for less noise: votes drown in so much of it",
        )
    return CountNoise(variance, bound)


def cut_bound(variance: Fraction, draws: int) -> int:
    """The public bound W of so many draws together, see above.

    Args:
        variance: of one draw.
        draws: weights times clients, at least 1.
    """
    bits = CUT_BITS + 1 + (draws - 1).bit_length()
    least = 2 * variance * _LN_2 * bits
    root = math.isqrt(math.ceil(least))
    return root - 1 if root**2 >= least else root


def flip_probability(task: Task) -> Fraction | None:
    """With which probability votes are turned round in a task, or None."""
    response = task.privacy.response
    return None if response is UNSET else Fraction(response.flip)


def are_noised(task: Task) -> bool:
    """Whether what a client reports is no longer its pruning mask, so that rows have no fixed number of votes."""
    return task.privacy.count_noise is not UNSET or task.privacy.response is not UNSET


def turned(
    mask: npt.NDArray[np.bool_], flip: Fraction, entropy: Callable[[int], bytes] = random_bytes
) -> npt.NDArray[np.bool_]:
    """Randomised response: each vote turned round with probability `flip`. Run by a client, once for each weight.

    Args:
        mask: (rows, columns), 1 = prune.
        flip: exact, with a denominator of at most 2^62.
        entropy: gives as many random bytes as it is asked for.

    Returns:
        (rows, columns), a new array.
    """
    coins = (
        uniform_below(flip.denominator, mask.size, entropy) < flip.numerator
    )  # before the mask is looked at
    return mask ^ coins.reshape(mask.shape)


def unbiased_votes(counts: npt.NDArray[Any], *, cohort: int, flip: Fraction) -> npt.NDArray[np.float64]:
    """Estimate of the true votes from counts of turned ones: (c - n p) / (1 - 2 p), which has their mean.

    Args:
        counts: of turned votes, any shape.
        cohort: n, clients counted.
        flip: p.
    """
    p = float(flip)
    return (counts.astype(np.float64) - cohort * p) / (1 - 2 * p)
