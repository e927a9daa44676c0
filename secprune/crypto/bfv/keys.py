"""Additive shares of the key: each key holder has its own secret, and nobody ever has their sum.

All key holders of a round use one public polynomial a, which nobody chose: it is expanded from the task's own
digest. Key holder j draws a ternary s_j and an error e_j, and publishes b_j = -(a s_j + e_j). The joint public key
is (sum of b_j, a), and s = sum of s_j decrypts under it. With one key holder this is BFV's own key generation.

A key holder that chose its b_j after it saw the others' could cancel them and hold the whole key; so all
publish a digest of their share first (`protocols.bfv`).

All polynomials of keys are held in the transformed domain (NTT), modulo all primes.

Source: Mouchet, Troncoso-Pastoriza, Bossuat, Hubaux, "Multiparty homomorphic encryption from
ring-learning-with-errors", PoPETs 2021(4), protocols EncKeyGen and KeySwitch (decryption to nobody's key).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from secprune.crypto.bfv import ring
from secprune.crypto.bfv.seal_backend import transform
from secprune.crypto.expand import Keystream, expansion_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from secprune.crypto.bfv.parameters import Parameters
    from secprune.packing import Words

SEED_BYTES = 32
_COINS = 21  # heads of 21 coins less heads of 21 others: centred binomial, variance 10.5
_FLOOD_TERMS = 4


@dataclass(frozen=True, slots=True)
class KeyShare:
    """One key holder's secret polynomial: (N,) int8 of -1, 0 and 1, and the error of its public half."""

    secret: npt.NDArray[np.int8]
    error: npt.NDArray[np.int8]

    @classmethod
    def derive(cls, seed: bytes, parameters: Parameters) -> KeyShare:
        """The share that belongs to a uniformly random 32-byte seed. Run by its key holder."""
        stream = Keystream(expansion_key(seed, b"bfv key share\0" + parameters.id.encode()), first_word=0)
        return cls(_ternary(stream, parameters.degree), _centred_binomial(stream, parameters.degree))

    def __repr__(self) -> str:
        return "KeyShare(<secret>)"

    def public_half(self, parameters: Parameters, context: bytes) -> tuple[Words, ...]:
        """b_j = -(a s_j + e_j): (1, N) for each prime."""
        halves = []
        for a, q in zip(common_polynomial(parameters, context), parameters.all_primes, strict=True):
            secret = transform(_residues(self.secret, q), q)
            error = transform(_residues(self.error, q), q)
            product = a.astype(object) * secret.astype(object) + error.astype(object)  # exact, once a round
            halves.append(((-product) % q).astype(np.uint64)[np.newaxis])
        return tuple(halves)


def common_polynomial(parameters: Parameters, context: bytes) -> tuple[Words, ...]:
    """The public polynomial a: (N,) uniform modulo each prime, the same for everybody in this context."""
    stream = Keystream(expansion_key(bytes(SEED_BYTES), b"bfv common polynomial\0" + context), first_word=0)
    found = []
    for q in parameters.all_primes:
        mask, accepted = np.uint64(2 ** q.bit_length() - 1), np.empty(0, np.uint64)
        while len(accepted) < parameters.degree:  # rejection: below the prime or not at all
            words = np.empty(parameters.degree, np.uint64)
            stream.fill(words)
            words &= mask
            accepted = np.concatenate([accepted, words[words < q]])
        found.append(accepted[: parameters.degree])
    return tuple(found)


def join(halves: Sequence[tuple[Words, ...]], parameters: Parameters) -> tuple[Words, ...]:
    """The joint public key's b: (1, N) for each prime."""
    joint = list(halves[0])
    for half in halves[1:]:
        joint = [ring.add(a, b, q) for a, b, q in zip(joint, half, parameters.all_primes, strict=True)]
    return tuple(joint)


class Flooding:
    """A key holder's noise for one decryption; the same seed gives the same noise, for a retry.

    Args:
        seed: 32 bytes, drawn for this decryption.
        context: what the seed is for, injectively encoded.
        parameters: of the task.
    """

    def __init__(self, seed: bytes, context: bytes, parameters: Parameters) -> None:
        self._stream = Keystream(expansion_key(seed, b"bfv flooding\0" + context), first_word=0)
        self._parameters = parameters

    def __repr__(self) -> str:
        return "Flooding(<secret>)"

    def next(self, count: int) -> tuple[Words, ...]:
        """Noise for the next ciphertexts, modulo each prime: (count, N).

        Four uniform integers below 2^flood_bits, less 2 * 2^flood_bits - 2, their mean.
        """
        parameters = self._parameters
        low = np.zeros((count, parameters.degree), np.uint64)
        carries = np.zeros_like(low)
        drawn = np.empty_like(low)
        for _ in range(_FLOOD_TERMS):
            self._stream.fill(drawn.reshape(-1))
            drawn >>= np.uint64(64 - parameters.flood_bits)
            low += drawn
            carries += low < drawn
        mean = 2 * 2**parameters.flood_bits - 2
        noise = []
        for q in parameters.primes:
            # Both terms are below 2^63, and the mean is taken off as its complement.
            residue = low % np.uint64(q) + carries * np.uint64(2**64 % q) % np.uint64(q)
            noise.append((residue + np.uint64(-mean % q)) % np.uint64(q))
        return tuple(noise)


def _residues(polynomial: npt.NDArray[np.int8], q: int) -> Words:
    wide = polynomial.astype(np.int64)
    return np.where(wide < 0, wide + q, wide).astype(np.uint64)


def _ternary(stream: Keystream, degree: int) -> npt.NDArray[np.int8]:
    """Uniform -1, 0, 1: bytes modulo 3, without 255, which is one more than a multiple of 3."""
    accepted = np.empty(0, np.uint8)
    while len(accepted) < degree:
        words = np.empty(degree // 8, np.uint64)
        stream.fill(words)
        drawn = words.astype("<u8", copy=False).view(np.uint8)
        accepted = np.concatenate([accepted, drawn[drawn < 255]])
    return (accepted[:degree] % 3).astype(np.int8) - np.int8(1)


def _centred_binomial(stream: Keystream, degree: int) -> npt.NDArray[np.int8]:
    words = np.empty(degree, np.uint64)
    stream.fill(words)
    coins = np.uint64(2**_COINS - 1)
    heads: npt.NDArray[np.int8] = np.bitwise_count(words & coins).astype(np.int8)
    heads -= np.bitwise_count((words >> np.uint64(_COINS)) & coins).astype(np.int8)
    return heads
