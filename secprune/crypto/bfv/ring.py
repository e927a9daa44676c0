"""Arithmetic modulo primes below 2^60, on whole arrays of uint64; every result is reduced.

No branch and no table index depends on a value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from secprune.packing import Words

_LOW = np.uint64(2**32 - 1)
_HALF = np.uint64(32)


def add(a: Words, b: Words | np.uint64, q: int, *, out: Words | None = None) -> Words:
    """Sum a + b (mod q), elementwise, for reduced a and b; `out` may be a."""
    total: Words = np.add(a, b, out=out)
    np.minimum(total, total - np.uint64(q), out=total)  # below q the difference wraps to a huge number
    return total


def subtract(a: Words, b: Words, q: int) -> Words:
    """Difference a - b (mod q), elementwise, for reduced a and b."""
    difference: Words = a - b
    np.minimum(difference, difference + np.uint64(q), out=difference)
    return difference


def multiply(a: Words, factor: int, q: int) -> Words:
    """Product a * factor (mod q), elementwise, for any a and a factor below q.

    Source: V. Shoup's NTL; D. Harvey, "Faster arithmetic for number-theoretic transforms", 2014, section 3.
    """
    quotient = _high(a, (factor << 64) // q)
    product: Words = a * np.uint64(factor) - quotient * np.uint64(q)  # mod 2^64; the true value is below 2q
    np.minimum(product, product - np.uint64(q), out=product)
    return product


def _high(a: Words, b: int) -> Words:
    """Upper 64 bits of the 128-bit products a * b."""
    b_low, b_high = np.uint64(b & 0xFFFFFFFF), np.uint64(b >> 32)
    a_low, a_high = a & _LOW, a >> _HALF
    middle = a_high * b_low
    other = a_low * b_high
    carry = ((a_low * b_low) >> _HALF) + (middle & _LOW) + (other & _LOW)
    high: Words = a_high * b_high + (middle >> _HALF) + (other >> _HALF) + (carry >> _HALF)
    return high


def switch_down(residues: Words, primes: tuple[int, int]) -> Words:
    """The nearest integers to x / q2, modulo q1, for x given by its residues: modulus switching.

    Args:
        residues: (..., 2, N), x mod q1 and x mod q2.
        primes: q1 and q2.

    Returns:
        (..., N) modulo q1.

    Source: Brakerski, Gentry, Vaikuntanathan, "(Leveled) fully homomorphic encryption without bootstrapping",
    ITCS 2012, section 3.3, for the operation; in residues, Bajard et al., SAC 2016, section 3.
    """
    q1, q2 = primes
    half = q2 // 2
    # Adding half of q2 first makes the rounding down of what follows the rounding to the nearest.
    rest = residues[..., 1, :] + np.uint64(half)  # (..., N), x + half mod q2
    rest = np.minimum(rest, rest - np.uint64(q2))
    first = add(residues[..., 0, :], np.uint64(half % q1), q1)
    return multiply(subtract(first, rest % np.uint64(q1), q1), pow(q2, -1, q1), q1)
