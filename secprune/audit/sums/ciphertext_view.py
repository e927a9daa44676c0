"""What the aggregator of `bfv` sees of a client: coefficients of ciphertexts, encrypted by the code of the protocol.

Coefficients modulo a prime q are scaled to 64 bits, floor(2^64 x / q); of a uniform x each byte of that is uniform but for one part
in q / 256. With more than one key holder the aggregator may have all key shares but one on its side, and takes off what these
hide. SEAL draws from the operating system, so that no run repeats another.

tenseal is only needed to measure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from secprune.audit.check import Check, Kind
from secprune.audit.sums.views import compare_views
from secprune.crypto.bfv import ring
from secprune.packing import pack

if TYPE_CHECKING:
    from collections.abc import Callable

    from secprune.audit.draws import Draws
    from secprune.audit.sums.views import Seen
    from secprune.crypto.bfv.keys import KeyShare
    from secprune.crypto.bfv.parameters import Parameters
    from secprune.crypto.bfv.scheme import Encryptor
    from secprune.packing import Words

Planes = tuple["Words", ...]
"""Ciphertexts: c0, then c1 for each prime, (count, N)."""

_CONTEXT = b"audit"
_WORDS = 24_576


def encrypt_both(p: Parameters, encryptor: Encryptor, one: Words, other: Words) -> tuple[Planes, Planes]:
    """Two reports of a client."""
    del p
    return encryptor.encrypt(one), encryptor.encrypt(other)


@dataclass(frozen=True, slots=True)
class Encryption:
    """Reports of `bfv`.

    Attributes:
        parameters: of the task.
        encrypt: two reports of a client.
    """

    parameters: Parameters
    encrypt: Callable[[Parameters, Encryptor, Words, Words], tuple[Planes, Planes]] = encrypt_both

    @property
    def reports(self) -> int:
        """Pairs of reports to look at, of each message: so many that each value of a byte is seen about a hundred times."""
        return -(-_WORDS // self.parameters.degree)

    def messages(self) -> tuple[Words, Words]:
        """One ciphertext's words of no votes, and of all votes."""
        p = self.parameters
        votes = np.ones((p.digits, p.degree), np.uint8)
        return np.zeros(p.degree, np.uint64), pack(votes, base=p.base, digits=p.digits).reshape(-1)

    def as_seen(self, message: Words) -> Words:
        """c0 of a message without anything that hides it."""
        q = self.parameters.primes[0]
        return scaled(ring.multiply(message, self.parameters.scale, q), q)

    def see(self, one: Words, other: Words, draws: Draws) -> Seen:
        """All polynomials; and what is left of c0 where all key holders but one help."""
        p = self.parameters
        shares, encryptor = _round(p, draws)
        both = self.encrypt(p, encryptor, one, other)
        names = ("c0", *(f"c1 modulo prime {place}" for place in range(len(p.primes))))
        primes = (p.primes[0], *p.primes)
        seen: Seen = {
            f"the aggregator, {name}": (scaled(both[0][place], q), scaled(both[1][place], q))
            for place, (name, q) in enumerate(zip(names, primes, strict=True))
        }
        if p.key_holders > 1:
            first, second = (self._helped(planes, shares[1:]) for planes in both)
            seen["the aggregator with all key holders but one"] = first, second
        return seen

    def _helped(self, planes: Planes, shares: list[KeyShare]) -> Words:
        """C0 and the products of c1 with these key shares."""
        from secprune.crypto.bfv.seal_backend import KeyProduct  # noqa: PLC0415 - tenseal, only where it is used

        p, (c0, *masks) = self.parameters, planes
        q = p.primes[0]
        for share in shares:
            products = KeyProduct(p, share.secret)(np.stack(masks, axis=1))
            c0 = ring.add(c0, ring.switch_down(products, (q, p.primes[1])), q)
        return scaled(c0, q)


def _round(p: Parameters, draws: Draws) -> tuple[list[KeyShare], Encryptor]:
    """All key shares, and what encrypts under the joint key."""
    from secprune.crypto.bfv.keys import KeyShare, join  # noqa: PLC0415 - tenseal, only where it is used
    from secprune.crypto.bfv.scheme import Encryptor  # noqa: PLC0415

    shares = [KeyShare.derive(draws.entropy(32), p) for _ in range(p.key_holders)]
    joint = join([share.public_half(p, _CONTEXT) for share in shares], p)
    return shares, Encryptor(p, joint, _CONTEXT)


def scaled(residues: Words, q: int) -> Words:
    """floor(2^64 x / q) of x below q, which is below 2^63: bit by bit, as on paper."""
    rest, bits = residues.copy(), np.zeros_like(residues)
    for _ in range(64):
        rest <<= np.uint64(1)
        bits <<= np.uint64(1)
        over = rest >= np.uint64(q)
        bits += over
        rest -= over * np.uint64(q)
    return bits


def keys_of(
    p: Parameters,
) -> Callable[[Draws], tuple[Callable[[Words], Planes], Callable[[Planes], list[Words]]]]:
    """Real key holders and clients, for `malleability.Ciphertexts`."""

    def keys(draws: Draws) -> tuple[Callable[[Words], Planes], Callable[[Planes], list[Words]]]:
        from secprune.crypto.bfv.keys import Flooding  # noqa: PLC0415 - tenseal, only where it is used
        from secprune.crypto.bfv.scheme import Decryptor  # noqa: PLC0415

        shares, encryptor = _round(p, draws)

        def products(ciphertexts: Planes) -> list[Words]:
            return [
                Decryptor(p, share).product(
                    ciphertexts[1:], Flooding(draws.entropy(32), _CONTEXT, p) if p.blind else None
                )
                for share in shares
            ]

        return encryptor.encrypt, products

    return keys


# ---- mutations
def _in_the_clear(p: Parameters, encryptor: Encryptor, one: Words, other: Words) -> tuple[Planes, Planes]:
    """No encryption of zero below the messages."""
    del encryptor
    nothing = np.zeros((1, p.degree), np.uint64)
    first, second = (ring.multiply(words, p.scale, p.primes[0]).reshape(1, -1) for words in (one, other))
    return (first, *(nothing for _ in p.primes)), (second, *(nothing for _ in p.primes))


def _one_zero(p: Parameters, encryptor: Encryptor, one: Words, other: Words) -> tuple[Planes, Planes]:
    """The same encryption of zero below both messages."""
    (first, *_), (second, *_) = _in_the_clear(p, encryptor, one, other)
    c0, *masks = encryptor.encrypt(one)
    q = p.primes[0]
    return (c0, *masks), (ring.add(c0, ring.subtract(second, first, q), q), *masks)


CIPHERTEXT_VIEW: Check[Encryption] = Check(
    id="bfv-view",
    title="What the aggregator sees of a ciphertext",
    asks="Can the aggregator, alone or with all key holders but one, tell what a hospital's ciphertext says?",
    kind=Kind.CONFORMANCE,
    source="Fan and Vercauteren, IACR ePrint 2012/144, section 3; Mouchet et al., PoPETs 2021(4)",
    measure=compare_views,
    mutations={
        "cleartext": lambda subject: replace(subject, encrypt=_in_the_clear),
        "reused-mask": lambda subject: replace(subject, encrypt=_one_zero),
    },
)
