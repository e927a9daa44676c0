"""The aggregator's last step: recover one secret of each client, and with it the masks that are left in the sum.

Of a survivor the self-mask seed is recovered, of a client that dropped out after sharing the mask secret;
each is checked against what that client published, so that a wrong share spoils nothing as long as enough
right ones are there. What is left in the sum of the survivors' reports are their self masks, and the masks
of all pairs of a survivor and a client that dropped out.

Source: Bonawitz et al. 2017 (doi 10.1145/3133956.3133982), fig. 4, round 4, server side.
"""

from __future__ import annotations

import hashlib
from hmac import compare_digest
from typing import TYPE_CHECKING

from secprune.crypto import shamir
from secprune.crypto.seal import open_secret
from secprune.errors import RemoteMisbehaviourError
from secprune.protocols.pairwise.aggregator import holders
from secprune.protocols.pairwise.keys import SECRET_BYTES, Binding, commitment, mask_key, pair_seed
from secprune.protocols.pairwise.masks import Mask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from secprune.messages.pairwise import KeyAdvert, ShareBundle, ShareParcel
    from secprune.protocols.pairwise.aggregator import Enough
    from secprune.protocols.pairwise.terms import Terms

MAX_SUBSETS = 2000
"""Sets of shares that are tried before the aggregator gives up on a secret some of whose shares are wrong."""


def masks_left(
    terms: Terms,
    state: Enough,
    *,
    adverts: Mapping[str, KeyAdvert],
    bundles: Mapping[str, ShareBundle],
    parcel: Callable[[str, str], ShareParcel],
) -> list[Mask]:
    """All masks that are left in the sum of the survivors' words, to be taken off. Run by the aggregator.

    Args:
        terms: of the round.
        state: with enough shares.
        adverts: of all clients in the list of keys.
        bundles: of all clients in the list of shares.
        parcel: what a first client has for a second one.

    Raises:
        RemoteMisbehaviourError: no set of the shares of some client gives the secret that it published.
    """
    binding = Binding(terms.round, state.keys)
    who_holds = holders(terms, state)
    masks = []
    for subject in terms.in_order(state.reported):
        seed = _recover(
            terms, state, subject, who_holds[subject], _is_committed(binding, subject, bundles[subject])
        )
        masks.append(Mask(subject, "", seed, added=True))
    for subject in terms.in_order(set(state.shared) - set(state.reported)):
        secret = _recover(
            terms, state, subject, who_holds[subject], _is_advertised(terms, subject, adverts[subject])
        )
        key = mask_key(secret, terms.round, subject)
        for peer in who_holds[subject]:
            if peer not in state.reported:
                continue
            if terms.is_first(subject, peer):
                masks.append(Mask(subject, peer, pair_seed(secret, binding, subject, peer), added=False))
                continue
            context = binding.context("pair-seed", peer, subject)
            seed = open_secret(parcel(peer, subject).pair_seed, key, context)
            if len(seed) != SECRET_BYTES:
                raise RemoteMisbehaviourError(f"{peer} sealed a pair seed of the wrong length", party=peer)
            masks.append(Mask(peer, subject, seed, added=True))
    return masks


def _is_committed(binding: Binding, subject: str, bundle: ShareBundle) -> Callable[[bytes], bool]:
    return lambda seed: compare_digest(commitment(seed, binding, subject), bundle.commitment)


def _is_advertised(terms: Terms, subject: str, advert: KeyAdvert) -> Callable[[bytes], bool]:
    return lambda secret: compare_digest(mask_key(secret, terms.round, subject).sealing_key, advert.mask_key)


def _recover(
    terms: Terms, state: Enough, subject: str, holding: tuple[str, ...], is_right: Callable[[bytes], bool]
) -> bytes:
    """The secret of `subject` that passes the check, from any set of shares that gives it."""
    shares = {
        holding.index(client): revealed.share
        for client, all_revealed in state.reveals.items()
        for revealed in all_revealed
        if revealed.subject == subject and client in holding
    }
    threshold = terms.share_threshold(len(state.advertised))
    for chosen in _choices(shares, threshold, len(holding)):
        try:
            secret = shamir.recover(chosen, threshold=threshold, holders=len(holding))
        except RemoteMisbehaviourError:
            continue
        if is_right(secret):
            return secret
    raise RemoteMisbehaviourError(
        f"the shares of {subject}'s secret that {', '.join(sorted(state.reveals))} revealed do not give it: {subject} "
        "shared another one than it published, or some of them lie",
        party=subject,
        hint="no sum was made; the coordinator can start a new task without whoever is to blame",
    )


def _choices(shares: dict[int, bytes], threshold: int, holding: int) -> Iterator[dict[int, bytes]]:
    """Shares to try: all; all but one that is known to be wrong; then sets of as many as it takes."""
    while len(shares) >= threshold:
        yield shares
        try:
            shamir.recover(shares, threshold=threshold, holders=holding)
        except shamir.WrongShareError as error:
            if error.holder is None:
                break
            shares = {index: share for index, share in shares.items() if index != error.holder}
        else:
            return  # they all fit, and give something else than was published
    for attempt in range(MAX_SUBSETS if len(shares) >= threshold else 0):
        # In an order of their own for every attempt: wrong shares may be anywhere.
        mixed = sorted(shares, key=lambda index: hashlib.sha256(b"%d %d" % (attempt, index)).digest())
        yield {index: shares[index] for index in mixed[:threshold]}
