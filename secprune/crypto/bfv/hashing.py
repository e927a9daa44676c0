"""Linear hashes of the c1 of ciphertexts: the hash of a sum is the sum of the hashes.

Once the aggregator has committed itself to a sum of ciphertexts, key holders draw a seed. Each counted client
signs the hash of its own c1 under that seed; key holders open the sum only if its hash is the sum of these.
So the sum must be the one over the clients that signed, each counted once: for any other one a hash agrees by
chance with probability at most 2^-16, all eight with 2^-128, because the seed was drawn afterwards.

A hash is sum_k r_k x_k modulo each prime, over all coefficients x_k, for 16-bit r_k of a keystream.

Source: Carter and Wegman, "Universal classes of hash functions", JCSS 18, 1979, for the family.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from secprune.crypto.expand import Keystream, expansion_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from secprune.crypto.bfv.parameters import Parameters
    from secprune.packing import Words

REPETITIONS = 8
"""Hashes of each residue; each has 16-bit factors."""

HashValues = tuple[tuple[int, ...], ...]
"""For each prime the REPETITIONS values, below it."""

_FACTORS_PER_WORD = 4
_LIMB = 20  # bits; a factor of 16 bits times a limb, summed over 2^13 coefficients, is exact in float64
_LIMBS = 3


class LinearHash:
    """Hashes the c1 of one report, or of a sum, chunk after chunk.

    Args:
        seed: 32 bytes that nobody knew when the sum was fixed.
        context: what the seed is for, injectively encoded.
        parameters: of the task.
    """

    def __init__(self, seed: bytes, context: bytes, parameters: Parameters) -> None:
        key = expansion_key(seed, b"linear hash\0" + context)
        self._factors = Keystream(key, first_word=0)
        self._parameters = parameters
        self._sums = [[0] * REPETITIONS for _ in parameters.primes]

    def update(self, masks: Sequence[Words]) -> None:
        """Take the c1 of the next ciphertexts: (count, N) for each prime."""
        degree, count = self._parameters.degree, masks[0].shape[0]
        words = np.empty(degree * REPETITIONS // _FACTORS_PER_WORD, np.uint64)
        totals = np.zeros((REPETITIONS, len(masks) * _LIMBS))  # float64, exact below 2^53
        limbs = np.empty((degree, len(masks) * _LIMBS))
        shifts = [np.uint64(_LIMB * limb) for limb in range(_LIMBS)]
        for index in range(count):
            self._factors.fill(words)
            factors = words.astype("<u8", copy=False).view("<u2").reshape(REPETITIONS, degree)
            for place, plane in enumerate(masks):
                for limb, shift in enumerate(shifts):
                    limbs[:, place * _LIMBS + limb] = (plane[index] >> shift) & np.uint64(2**_LIMB - 1)
            totals += factors.astype(np.float64) @ limbs  # (8, N) @ (N, 3 per prime)
            if index % 8 == 7 or index == count - 1:  # below 2^49 each
                self._add(totals)
                totals[:] = 0

    def _add(self, totals: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> None:
        for place, (sums, q) in enumerate(zip(self._sums, self._parameters.primes, strict=True)):
            for repetition in range(REPETITIONS):
                limbs = totals[repetition, place * _LIMBS : (place + 1) * _LIMBS]
                value = sum(int(limb) << (_LIMB * position) for position, limb in enumerate(limbs))
                sums[repetition] = (sums[repetition] + value) % q

    def values(self) -> HashValues:
        """The hashes of everything taken so far."""
        return tuple(tuple(sums) for sums in self._sums)


def add_hashes(hashes: Sequence[HashValues], parameters: Parameters) -> HashValues:
    """The hash that the sum of the hashed ciphertexts must have."""
    return tuple(
        tuple(sum(values[place][i] for values in hashes) % q for i in range(REPETITIONS))
        for place, q in enumerate(parameters.primes)
    )


def is_well_formed(values: HashValues, parameters: Parameters) -> bool:
    """Whether values that came from elsewhere have the right shape and range."""
    return len(values) == len(parameters.primes) and all(
        len(of_prime) == REPETITIONS and all(0 <= value < q for value in of_prime)
        for of_prime, q in zip(values, parameters.primes, strict=True)
    )
