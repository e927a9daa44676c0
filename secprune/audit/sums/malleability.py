"""The known weakness of `bfv`: a client with the aggregator takes the others out of a sum, and every check passes.

Ciphertexts can be changed by anybody, and nothing proves that a client knows what is in its own. The aggregator shows one client
the ciphertexts of the others; it reports minus all of them but one, and a mask that it knows as often as clients are missing. The
sum is then that one client's mask and a known number, holds as many votes as are due, and has the hash that is due.

numpy only: encryptions and products come from who has tenseal (`ciphertext_view.keys_of`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from secprune.audit.check import Check, Figure, Kind, Measurement
from secprune.crypto.bfv import ring
from secprune.crypto.bfv.decoding import decode
from secprune.crypto.bfv.hashing import LinearHash, add_hashes
from secprune.crypto.bfv.wire import planes_of
from secprune.errors import RemoteMisbehaviourError
from secprune.packing import Layout, PackedMatrix, pack
from secprune.protocols.payloads import Votes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from secprune.audit.draws import Draws
    from secprune.crypto.bfv.hashing import HashValues
    from secprune.crypto.bfv.parameters import Parameters
    from secprune.packing import Chunk, Words

Planes = tuple["Words", ...]
"""Ciphertexts: c0, then c1 for each prime, (count, N)."""

_COLUMNS = 64
_HASHING = b"audit"


# ---- what anybody can do to ciphertexts
def added(ciphertexts: Sequence[Planes], p: Parameters) -> Planes:
    """Ciphertexts of the sum of what these say."""
    total = []
    for planes, q in zip(zip(*ciphertexts, strict=True), planes_of("ciphertexts", p), strict=True):
        result = planes[0].copy()
        for plane in planes[1:]:
            ring.add(result, plane, q, out=result)
        total.append(result)
    return tuple(total)


def negated(ciphertexts: Planes, p: Parameters) -> Planes:
    """Ciphertexts of minus what these say."""
    return tuple(
        (np.uint64(q) - plane) % np.uint64(q)
        for plane, q in zip(ciphertexts, planes_of("ciphertexts", p), strict=True)
    )


def with_message(ciphertexts: Planes, words: Words, p: Parameters, *, times: int = 1) -> Planes:
    """The same ciphertexts with known words added to what they say, so many times: in c0 alone."""
    q, (c0, *masks) = p.primes[0], ciphertexts
    message = np.zeros(c0.size, np.uint64)
    message[: words.size] = words.reshape(-1)
    more = ring.multiply(message, p.scale * times % q, q)
    return ring.add(c0, more.reshape(c0.shape), q), *masks


# ---- the attack
@dataclass(frozen=True, slots=True)
class Ciphertexts:
    """A round of `bfv`, of one ciphertext from each client.

    Attributes:
        parameters: of the task.
        keys: makes all key shares from the audit's draws, and returns what encrypts words under the joint key, and what
            gives all key holders' products of the c1 of a sum.
    """

    parameters: Parameters
    keys: Callable[[Draws], tuple[Callable[[Words], Planes], Callable[[Planes], list[Words]]]]


def _take_others_out(subject: Ciphertexts, draws: Draws) -> Measurement:
    p, rng = subject.parameters, draws.numpy
    matrix = PackedMatrix("weight", p.digits, _COLUMNS, _COLUMNS // 2)
    (chunk,) = Layout.of([matrix], n_max=p.clients, digits=p.digits, base=p.base).chunks
    encrypt, products = subject.keys(draws)
    masks = [
        (rng.random((p.digits, _COLUMNS)).argsort(axis=1) < _COLUMNS // 2).astype(np.uint8)
        for _ in range(p.clients)
    ]
    words = [pack(mask, base=p.base, digits=p.digits) for mask in masks]
    *honest, known = words
    reports = [encrypt(one) for one in honest]
    crafted = with_message(negated(added(reports[1:], p), p), known, p, times=p.clients - 1)
    total = added([*reports, crafted], p)
    seed = draws.entropy(32)
    answers = add_hashes([_hash(report, seed, p) for report in (*reports, crafted)], p)
    counts = _opened(total, products(total), chunk, p)
    passes = counts is not None and _hash(total, seed, p) == answers
    found = None if counts is None else counts.astype(np.int64) - (p.clients - 1) * masks[-1].astype(np.int64)
    right = 0 if found is None else int(np.count_nonzero(found == masks[0]))
    shown = passes and right == masks[0].size
    return Measurement(
        refuted=shown,
        says="A client that works with the aggregator takes the others out of the sum, which is then one client's mask; "
        "hashes, row sums and counts are as they are to be."
        if shown
        else "The crafted report was noticed, or the sum did not show a client's mask.",
        figures=(Figure(name="bits of a mask that are recovered", value=right / masks[0].size),),
        sample=masks[0].size,
    )


def _opened(total: Planes, products: list[Words], chunk: Chunk, p: Parameters) -> npt.NDArray[Any] | None:
    """Counts of a sum, if it passes the checks of who opens it."""
    try:
        words = decode(total[0], products, p, words=chunk.words)
    except RemoteMisbehaviourError:
        return None
    return Votes().read(chunk, words.reshape(chunk.shape), cohort_size=p.clients)


def _hash(ciphertexts: Planes, seed: bytes, p: Parameters) -> HashValues:
    found = LinearHash(seed, _HASHING, p)
    found.update(ciphertexts[1:])
    return found.values()


MALLEABILITY: Check[Ciphertexts] = Check(
    id="bfv-malleability",
    title="Ciphertexts that a client makes of others'",
    asks="What does a client gain that the aggregator shows the others' ciphertexts to?",
    kind=Kind.ATTACK,
    source="docs/bfv.md; docs/attacks.md, the protocol bfv",
    measure=_take_others_out,
)
