"""What somebody who attacks a round of `pairwise` can work out from what was sent and from corrupt clients."""

from __future__ import annotations

import itertools

from pairwise_round import PairwiseRound

from secprune.crypto import shamir
from secprune.crypto.seal import open_secret
from secprune.errors import RemoteMisbehaviourError
from secprune.packing import pack
from secprune.protocols.pairwise import aggregator, client, keys
from secprune.protocols.pairwise.keys import Binding
from secprune.protocols.pairwise.masks import Mask, Masking


def recover(round_, shares, is_right):
    """The secret that these shares give, by client, in a complete graph; None if there are too few."""
    by_index = {round_.names.index(name): share for name, share in shares.items()}
    threshold = round_.server_terms.threshold
    if len(by_index) < threshold:
        for chosen in (by_index,) * (len(by_index) >= 2):  # fewer shares fit some secret, but not this one
            wrong = shamir.recover(chosen, threshold=len(chosen), holders=len(round_.names))
            assert not is_right(wrong)
        return None
    secret = shamir.recover(by_index, threshold=threshold, holders=len(round_.names))
    assert is_right(secret)
    return secret


def recovered(round_, reveals, subject, corrupt=()):
    """(self-mask seed, mask secret) of `subject`, as far as all reveals and the states of `corrupt` give them.

    `reveals`: [(client, subject, share)], everything that was ever sent.
    """
    binding = binding_of(round_)
    commitment = round_.clients[subject].sent["shares"].commitment
    checks = (
        lambda seed: keys.commitment(seed, binding, subject) == commitment,
        lambda secret: (
            keys.mask_key(secret, round_.round, subject).sealing_key
            == round_.clients[subject].sent["keys"].mask_key
        ),
    )
    known = ({}, {})
    for name in corrupt:
        held = HELD[round_][name][subject]
        known[0][name], known[1][name] = held.self_mask, held.mask_secret
    for name, about, share in reveals:
        if about == subject:
            held = HELD[round_][name][subject]
            known[0 if share == held.self_mask else 1][name] = share
    return tuple(recover(round_, shares, check) for shares, check in zip(known, checks, strict=True))


def binding_of(round_):
    return Binding(round_.round, aggregator.list_digest(round_.lists["KeyList"]))


HELD = {}


def reported(clients=7, drops=None):
    """A round up to the reports; what the clients hold at that point is noted."""
    round_ = PairwiseRound(clients, drops).until("consents")
    HELD[round_] = {name: getattr(party.state, "held", {}) for name, party in round_.clients.items()}
    return round_


def show(round_, name, shown):
    """Show a list of survivors to one client; returns whether it consented."""
    try:
        round_.clients[name].take(round_.survivors_listed(name, shown))
    except RemoteMisbehaviourError as error:
        assert error.party == "adder"  # noqa: PT017 - refusing is one of two right outcomes
        return False
    return isinstance(round_.clients[name].state, client.Consented)


def reveals_of(round_):
    return [
        (name, share.subject, share.share)
        for name, party in round_.clients.items()
        if "reveals" in party.sent
        for share in party.sent["reveals"].shares
    ]


def pass_on(round_, digest, consenting, to):
    for name, other in itertools.product(to, consenting):
        round_.clients[name].take(client.ConsentSeen(other, digest))


def plain_words(round_, name):
    chunk = round_.round.layout.chunks[0]
    return pack(round_.clients[name].bits, base=chunk.slab.base, digits=chunk.slab.digits)


def strip(round_, name, self_mask, mask_secret):
    """The report of one client less the masks that these secrets give; a secret may be None."""
    binding, terms = binding_of(round_), round_.server_terms
    masks = [Mask(name, "", self_mask, added=True)] if self_mask else []
    for peer in round_.names if mask_secret else ():
        if peer == name:
            continue
        if terms.is_first(name, peer):
            masks.append(Mask(name, peer, keys.pair_seed(mask_secret, binding, name, peer), added=True))
            continue
        key = keys.mask_key(mask_secret, round_.round, name)
        sealed = round_.clients[peer].parcels[name].pair_seed
        seed = open_secret(sealed, key, binding.context("pair-seed", peer, name))
        masks.append(Mask(peer, name, seed, added=False))
    words = round_.clients[name].sent["reports"][0].copy()
    Masking(round_.round, binding, masks).take_off(round_.round.layout.chunks[0], words)
    return words
