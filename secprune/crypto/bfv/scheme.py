"""Encrypt, and multiply by a key share: BFV as clients and key holders use it.

    client      words m           -> c0 = b u + e0 + Delta m, c1 = a u + e1
    aggregator  ciphertexts       -> their sums, with `ring.add`
    key holder  the sum's c1      -> c1 s_j (+ flooding noise)
    whoever     c0 + all c1 s_j   -> the sum of the words, with `decoding.decode`

Messages are added to encryptions of zero here and not by SEAL: Delta times a word, exactly.

Source: Fan and Vercauteren, "Somewhat practical fully homomorphic encryption", IACR ePrint 2012/144, section 3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from secprune.crypto.bfv import ring
from secprune.crypto.bfv.decoding import ciphertexts_for, decode
from secprune.crypto.bfv.keys import Flooding, KeyShare, common_polynomial, join
from secprune.crypto.bfv.seal_backend import KeyProduct, ZeroEncryptor
from secprune.errors import LocalEnvironmentError, RemoteMisbehaviourError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from secprune.crypto.bfv.parameters import Parameters
    from secprune.packing import Words


class Encryptor:
    """A client's: encrypts words under the joint public key.

    Args:
        parameters: of the task.
        joint: the joint key's b, (1, N) for each prime of keys.
        context: of the round; gives the common polynomial a.
    """

    def __init__(self, parameters: Parameters, joint: tuple[Words, ...], context: bytes) -> None:
        self._parameters = parameters
        b = [half[0] for half in joint]
        self._zeros = ZeroEncryptor(parameters, (b, common_polynomial(parameters, context)))

    def encrypt(self, words: Words) -> tuple[Words, ...]:
        """Planes of ciphertexts of (any number,) words, the last one padded: c0, then c1 for each prime, (count, N)."""
        parameters = self._parameters
        q1, count = parameters.primes[0], ciphertexts_for(words.size, parameters)
        fresh = self._zeros(count)  # (count, 2, primes, N)
        c0 = (
            fresh[:, 0, 0] if len(parameters.primes) == 1 else ring.switch_down(fresh[:, 0], _two(parameters))
        )
        messages = np.zeros(count * parameters.degree, np.uint64)
        np.multiply(words.reshape(-1), np.uint64(parameters.scale), out=messages[: words.size])  # below q1
        c0 = ring.add(c0, messages.reshape(count, -1), q1)
        return (c0, *(np.ascontiguousarray(fresh[:, 1, i]) for i in range(len(parameters.primes))))


class Decryptor:
    """A key holder's: multiplies the c1 of a sum by its key share.

    Args:
        parameters: of the task.
        share: its secret.
    """

    def __init__(self, parameters: Parameters, share: KeyShare) -> None:
        self._parameters = parameters
        self._product = KeyProduct(parameters, share.secret)

    def __repr__(self) -> str:
        return "Decryptor(<secret>)"

    def product(self, masks: Sequence[Words], flooding: Flooding | None = None) -> Words:
        """Products c1 s_j at the level of q1, (count, N).

        Args:
            masks: c1 of a sum, (count, N) for each prime.
            flooding: noise of this decryption; None in the simple form, whose products stay with the key holder.

        Raises:
            ValueError: the caller left out the noise that hides the key share, or gave some where there is none.
        """
        if (flooding is not None) != self._parameters.blind:
            raise ValueError("products of the blind form, and no others, are flooded")
        products = self._product(np.stack(masks, axis=1))  # (count, primes, N)
        if flooding is None:
            return np.ascontiguousarray(products[:, 0])
        noise = flooding.next(len(products))
        for place, q in enumerate(self._parameters.primes):
            flooded = ring.add(np.ascontiguousarray(products[:, place]), noise[place], q)
            products[:, place] = flooded
        return ring.switch_down(products, _two(self._parameters))


def self_test(parameters: Parameters) -> None:
    """Encrypt, multiply and decode once with a throw-away key, so that an unfit tenseal is found before it matters.

    Raises:
        LocalEnvironmentError: this installation computes something else.
    """
    context = b"self test"
    shares = [KeyShare.derive(bytes([j]) * 32, parameters) for j in range(parameters.key_holders)]
    joint = join([share.public_half(parameters, context) for share in shares], parameters)
    words = np.arange(parameters.degree, dtype=np.uint64)
    c0, *masks = Encryptor(parameters, joint, context).encrypt(words)
    products = []
    for share in shares:
        flooding = Flooding(bytes(32), context, parameters) if parameters.blind else None
        products.append(Decryptor(parameters, share).product(masks, flooding))
    try:
        right = np.array_equal(decode(c0, products, parameters, words=len(words)), words)
    except RemoteMisbehaviourError:
        right = False
    if not right:
        raise LocalEnvironmentError(
            "this installation of tenseal does not decrypt what it encrypts",
            hint="install the version of tenseal that constraints.txt names",
        )


def _two(parameters: Parameters) -> tuple[int, int]:
    first, second = parameters.primes
    return first, second
