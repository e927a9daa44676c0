"""Whole numbers as words whose sums stay exact: the payload `square-sums`.

A report holds vectors of values in [-2^43, 2^43), `VALUE_BITS` bits each. They become words in one of two ways:

*one word*   where words are added modulo 2^64, a value is one word, in two's complement. A roster has less than
             2^16 clients, so that the sum of all of them stays below 2^60 and reads as it is.
*limbs*      where words have less room (a coefficient of `bfv` holds numbers below some bound), value + 2^43 is
             written in limbs of b bits, the lowest first, with b as large as it can be without the sum of all
             clients' limbs reaching the bound. With S_l the sum of the l-th limbs of a cohort,

                 sum of the values = sum over l of S_l 2^(b l) - cohort 2^43.

The l-th limb of one value is at most 2^b - 1, the highest at most what its bits allow. A cohort's sum of limbs is
checked against that many times its size, each limb by itself: then the sum of the values lies in its range, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from secprune.errors import ConfigurationError, LocalMisuseError, RemoteMisbehaviourError

if TYPE_CHECKING:
    from secprune.packing import Words

Integers = npt.NDArray[np.int64]
"""(length,), the values of one vector or the sums of them."""

VALUE_BITS = 44
"""Of a value that a client sends: with the 16 bits of a roster 60, so that no sum of them needs 64."""

VALUE_BOUND = 2 ** (VALUE_BITS - 1)
"""Values lie in [-VALUE_BOUND, VALUE_BOUND)."""

_WORD_BITS = 64


@dataclass(frozen=True, slots=True)
class Limbs:
    """How values become words: limbs of `bits` bits; with 64, one word in two's complement."""

    bits: int

    @classmethod
    def below(cls, bound: int, *, n_max: int) -> Limbs:
        """Limbs as large as can be, so that the sum of `n_max` of them stays below `bound`.

        Raises:
            ConfigurationError: `bound` has not even room for one bit of each.
        """
        bits = ((bound - 1) // n_max).bit_length() - 1
        if bits < 1:
            raise ConfigurationError(f"the sum of {n_max} clients' values does not fit below {bound}")
        return cls(min(bits, VALUE_BITS))

    @property
    def count(self) -> int:
        """Limbs of one value, so words."""
        return -(-VALUE_BITS // self.bits)

    def largest(self, limb: int) -> int:
        """The largest number that an honest client writes into a limb."""
        return int(2 ** min(self.bits, VALUE_BITS - self.bits * limb)) - 1

    def encode(self, values: Integers, low: int = 0, high: int | None = None) -> Words:
        """Limbs [low, high) of all values, (high - low, length). Run by a client.

        Raises:
            LocalMisuseError: a value is out of range.
        """
        check_values(values)
        if self.bits == _WORD_BITS:
            return values.astype(np.uint64)[np.newaxis][low:high]
        shifted = (values + VALUE_BOUND).astype(np.uint64)
        limbs = [
            shifted >> np.uint64(self.bits * limb) & np.uint64(self.largest(limb))
            for limb in range(self.count)[low:high]
        ]
        return np.stack(limbs)

    def is_sum(self, sums: Words, *, cohort: int, low: int = 0) -> bool:
        """Whether these can be the sums of so many clients' limbs.

        Args:
            sums: (some limbs, length), from limb `low` on.
            cohort: clients in the sum.
            low: the first limb.
        """
        if self.bits == _WORD_BITS:
            signed, bound = sums.view(np.int64), cohort * VALUE_BOUND
            return bool(np.all((signed >= -bound) & (signed <= bound)))
        return all(
            int(row.max(initial=0)) <= cohort * self.largest(limb) for limb, row in enumerate(sums, start=low)
        )

    def decode(self, sums: Words, *, cohort: int) -> Integers:
        """Sums of the values, (length,), of the sums of all their limbs, (limbs, length).

        Raises:
            RemoteMisbehaviourError: no clients' values have such a sum.
        """
        if len(sums) != self.count or not self.is_sum(sums, cohort=cohort):
            raise RemoteMisbehaviourError(
                f"a sum of vectors is not one of {cohort} clients' values", party="whoever made the sum"
            )
        if self.bits == _WORD_BITS:
            total: Integers = sums[0].astype(np.int64)
            return total
        total = np.zeros(sums.shape[1], np.int64)
        for limb, row in enumerate(sums):  # at most cohort (2^44 - 1) < 2^60 altogether
            total += row.astype(np.int64) << np.int64(self.bits * limb)
        total -= np.int64(cohort * VALUE_BOUND)
        return total


ONE_WORD = Limbs(_WORD_BITS)
"""Where words are added modulo 2^64."""


def check_values(values: Integers, what: str = "a vector") -> None:
    """Refuse values that no sum has room for.

    Args:
        values: (length,) int64.
        what: they are, for people.

    Raises:
        LocalMisuseError: another type, or a value out of range.
    """
    if values.dtype != np.int64 or values.ndim != 1:
        raise LocalMisuseError(f"{what} is {values.dtype}{values.shape}, not a vector of 64-bit integers")
    if values.size and not (int(values.min()) >= -VALUE_BOUND and int(values.max()) < VALUE_BOUND):
        raise LocalMisuseError(
            f"{what} has a value outside [-2^{VALUE_BITS - 1}, 2^{VALUE_BITS - 1})",
            hint="compute the statistics again; the task's grid and bound keep them well inside",
        )
