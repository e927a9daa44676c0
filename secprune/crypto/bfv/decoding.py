"""From a decrypted sum to words; numpy only, so that an aggregator needs no tenseal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from secprune.crypto.bfv import ring
from secprune.errors import RemoteMisbehaviourError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from secprune.crypto.bfv.parameters import Parameters
    from secprune.packing import Words


def ciphertexts_for(words: int, parameters: Parameters) -> int:
    """How many ciphertexts hold so many words."""
    return -(-words // parameters.degree)


def decode(c0: Words, products: Sequence[Words], parameters: Parameters, *, words: int) -> Words:
    """The sum of the words, (words,), of the sum's c0 and all key holders' products.

    Raises:
        RemoteMisbehaviourError: what comes out is no sum of honest encryptions under this key: its noise is
            too large, or its counters run over. That shows *that* somebody cheated, not who.
    """
    q1, scale = parameters.primes[0], np.uint64(parameters.scale)
    phase = c0
    for product in products:
        phase = ring.add(phase, product, q1)
    shifted = (phase + scale // np.uint64(2)) % np.uint64(q1)
    sums = shifted // scale
    noise = (shifted - sums * scale).astype(np.float64) - parameters.scale / 2
    padding = sums.reshape(-1)[words:]
    # An honest sum's noise is far below this bound; that of a wrong key is uniform, a deviation of scale / 3.5.
    if (
        float(np.sqrt(np.mean(noise**2))) > parameters.scale / 5
        or int(sums.max()) >= parameters.base**parameters.digits
        or np.any(padding != 0)
    ):
        raise RemoteMisbehaviourError(
            "the decrypted sum is not one of honest encryptions under the key of this round",
            party="one of the counted clients, the aggregator or a key holder",
            hint="nothing was released; the protocol additive checks each client's report",
        )
    return sums.reshape(-1)[:words]
