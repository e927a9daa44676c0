"""Shamir's secret sharing of 32-byte secrets: any `threshold` holders recover one, fewer learn nothing.

The field is the integers modulo `PRIME`, the smallest prime above 2^256, so that every 32-byte secret is
one field element. A secret is the constant term of a random polynomial of degree `threshold` - 1; the share
of holder i (from 0) is its value at i + 1, as 33 bytes, big-endian.

Shares are not authenticated here; the signed and sealed messages around them are. A dealer may have dealt
shares that do not fit, and so nothing here proves who lied: see `WrongShareError`.

Timing: Python's integers are not constant time. A dealer splits secrets of its own, fresh for one round,
on its own machine, once; nobody can ask it to do so again with other inputs. Which shares are combined is
public, and who combines them is meant to learn the secret. No branch, loop count or table index depends on
a secret or a coefficient; that leaves the running time of multiplication and reduction.

Source: A. Shamir, "How to share a secret", CACM 22(11), 1979 (doi 10.1145/359168.359176).
"""

from __future__ import annotations

from functools import lru_cache
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from secprune.errors import RemoteMisbehaviourError, TooFewPartiesError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PRIME = 2**256 + 297
SHARED_BYTES = 32
"""Length of a secret."""
SHARE_BYTES = 33
"""Length of a share; 2^256 + 296 does not fit into 32."""
_DRAW_BYTES = 64
"""Entropy of one coefficient. Reduced modulo PRIME it is within PRIME / 2^512 < 2^-255 of uniform."""
_SYNDROMES_TO_NAME = 2
"""Fewer equations than this have a solution for every holder, so that they name nobody."""


class WrongShareError(RemoteMisbehaviourError):
    """Shares that an honest dealer and honest holders never send.

    Args:
        holder: index of the only holder whose share is wrong, if that can be told. Its dealer may have dealt
            it that share. Among m shares it is named wrongly only if at least m - threshold others lied
            together.
    """

    def __init__(self, message: str, *, holder: int | None = None) -> None:
        party = "dealer or holders" if holder is None else f"holder {holder}"
        hint = "Nothing was recovered. Run the round again without the parties concerned."
        super().__init__(message, party=party, hint=hint)
        self.holder = holder


def split(
    secret: bytes, *, threshold: int, holders: int, entropy: Callable[[int], bytes]
) -> tuple[bytes, ...]:
    """Deal a secret to `holders` holders. Run by whom the secret belongs to.

    Args:
        secret: 32 bytes.
        threshold: how many shares recover it, from 2 to `holders`.
        holders: how many shares are made.
        entropy: draws that many uniformly random bytes; called threshold - 1 times, from the coefficient of
            the first power upwards.

    Returns:
        One share of 33 bytes for each holder, by index.

    Raises:
        ValueError: the caller is wrong about a length or a number.
    """
    if len(secret) != SHARED_BYTES:
        raise ValueError(f"a shared secret has {SHARED_BYTES} bytes, not {len(secret)}")
    _check_numbers(threshold, holders)
    coefficients = [int.from_bytes(secret, "big")]
    for _ in range(threshold - 1):
        drawn = entropy(_DRAW_BYTES)
        if len(drawn) != _DRAW_BYTES:
            raise ValueError(f"the source of entropy gave {len(drawn)} bytes, not {_DRAW_BYTES}")
        coefficients.append(int.from_bytes(drawn, "big") % PRIME)
    return tuple(value.to_bytes(SHARE_BYTES, "big") for value in _values(coefficients, holders, PRIME))


def recover(shares: Mapping[int, bytes], *, threshold: int, holders: int) -> bytes:
    """The secret that these shares belong to, after a check that all of them fit together.

    Whatever depends on the holders only is remembered, so that many secrets recovered from the same holders
    one after the other cost one preparation. Run by who may learn the secret.

    Args:
        shares: 33 bytes by index of holder, from 0; all of them are checked, the first `threshold` are used.
        threshold: how many are needed, as they were dealt.
        holders: how many were dealt.

    Returns:
        32 bytes.

    Raises:
        WrongShareError: a share is malformed, or the shares are not those of one 32-byte secret.
        TooFewPartiesError: there are fewer shares than needed.
        ValueError: the caller is wrong about a number or an index.
    """
    _check_numbers(threshold, holders)
    indices = tuple(sorted(shares))
    if indices and not (indices[0] >= 0 and indices[-1] < holders):
        raise ValueError(f"indices of {holders} holders are 0 to {holders - 1}, not {list(indices)}")
    if len(indices) < threshold:
        raise TooFewPartiesError(
            f"a secret needs {threshold} shares, and {len(indices)} are here",
            hint="Wait for more holders; if none is left, the round has failed and needs to be run again.",
        )
    values = [_parse(index, shares[index]) for index in indices]
    _check_fit(indices, values, threshold)
    weights = _weights_at_zero(indices[:threshold])
    secret = sum(w * y for w, y in zip(weights, values[:threshold], strict=True)) % PRIME
    if secret >> (8 * SHARED_BYTES):
        raise WrongShareError(f"the shares are those of a number that is no {SHARED_BYTES}-byte secret")
    return secret.to_bytes(SHARED_BYTES, "big")


def _check_numbers(threshold: int, holders: int) -> None:
    # A threshold of 1 would give the secret itself to every holder, which is never meant.
    if not 2 <= threshold <= holders < 2**16:
        raise ValueError(f"{threshold} of {holders} shares is not 2 <= threshold <= holders < 65536")


def _parse(index: int, share: bytes) -> int:
    if len(share) != SHARE_BYTES:
        raise WrongShareError(
            f"the share of holder {index} has {len(share)} bytes, not {SHARE_BYTES}", holder=index
        )
    value = int.from_bytes(share, "big")
    # Without this check two different shares would mean the same, and a share could be altered unnoticed.
    if value >= PRIME:
        raise WrongShareError(f"the share of holder {index} is not a field element", holder=index)
    return value


def _values(coefficients: Sequence[int], holders: int, prime: int) -> list[int]:
    """Values at 1 to `holders` of the polynomial with these coefficients, constant term first (Horner)."""
    values = []
    for x in range(1, holders + 1):
        value = 0
        for coefficient in reversed(coefficients):
            value = (value * x + coefficient) % prime
        values.append(value)
    return values


def _check_fit(indices: tuple[int, ...], values: list[int], threshold: int) -> None:
    """Refuse values that are not on one polynomial of degree below `threshold`.

    Shares are a Reed-Solomon code word. m values y_i at x_i fit if and only if all m - threshold syndromes
    S_l = sum over i of v_i y_i x_i^l are zero, where 1 / v_i is the product of x_i - x_j over all j but i.
    With one wrong value, at x, S_(l+1) = x S_l.

    Source: MacWilliams and Sloane, "The Theory of Error-Correcting Codes", chapters 10 and 12 (generalised
    Reed-Solomon codes and their duals).
    """
    if len(indices) == threshold:
        return
    terms = [v * y % PRIME for v, y in zip(_dual_weights(indices), values, strict=True)]
    syndromes = []
    for _ in range(len(indices) - threshold):
        syndromes.append(sum(terms) % PRIME)
        terms = [term * (index + 1) % PRIME for term, index in zip(terms, indices, strict=True)]
    if not any(syndromes):
        return
    if len(syndromes) >= _SYNDROMES_TO_NAME and syndromes[0]:
        wrong = syndromes[1] * pow(syndromes[0], -1, PRIME) % PRIME
        if wrong - 1 in indices and all(
            after == before * wrong % PRIME for before, after in pairwise(syndromes)
        ):
            raise WrongShareError(
                f"the share of holder {wrong - 1} does not fit the other {len(indices) - 1}", holder=wrong - 1
            )
    raise WrongShareError(f"the {len(indices)} shares of a secret do not fit together")


@lru_cache(maxsize=64)
def _weights_at_zero(indices: tuple[int, ...]) -> tuple[int, ...]:
    """Lagrange coefficients: the constant term is the sum of these times the values. Indices are public."""
    # L_i(0) = product over j != i of x_j / (x_j - x_i) = (product of all x_j) * (+-1) / (x_i * prod(x_i - x_j)).
    points = [index + 1 for index in indices]
    product = 1
    for x in points:
        product = product * x % PRIME
    sign = -1 if len(points) % 2 == 0 else 1
    inverses = _inverses(points)
    return tuple(
        sign * product * inverse * v % PRIME
        for inverse, v in zip(inverses, _dual_weights(indices), strict=True)
    )


@lru_cache(maxsize=64)
def _dual_weights(indices: tuple[int, ...]) -> tuple[int, ...]:
    """v_i of `_check_fit`, by position in `indices`."""
    products = []
    for i in indices:
        product = 1
        for j in indices:
            if i != j:
                product = product * (i - j) % PRIME
        products.append(product)
    return tuple(_inverses(products))


def _inverses(values: Sequence[int]) -> list[int]:
    """The inverses modulo PRIME of values other than zero, for one inversion and three products each.

    Source: P. Montgomery, "Speeding the Pollard and elliptic curve methods of factorization", 1987,
    section 10.3.1.
    """
    products = list(accumulate(values, lambda a, b: a * b % PRIME, initial=1))
    inverse = pow(products[-1], -1, PRIME)
    inverses = []
    for value, before in zip(reversed(values), reversed(products[:-1]), strict=True):
        inverses.append(inverse * before % PRIME)
        inverse = inverse * value % PRIME
    return inverses[::-1]
