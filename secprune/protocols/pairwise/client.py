"""The client's side of `pairwise`, as a state machine: what it accepts, what it sends, what it never does.

Rule 1: every transition is in this file; the party that runs it feeds events, checkpoints, then sends.
Rule 2: roster, thresholds and the smallest cohort come from the task and this site's policy. Lists of the
    aggregator are compared with them, and each list with the one before; nothing is taken from it on trust.
Rule 3: a client consents to one list of survivors in a round and reveals once, for exactly that list: of each
    peer a share of the self-mask seed or of the mask secret, never of both.

    Idle --begin--> Advertised --list of keys--> Shared --list of shares--> Masked
         --list of survivors--> Consented --enough consents--> Revealed

A list that leaves this client out ends its part (`LeftOut`): it never reveals anything. A list that is not
what honest software makes is refused by an error, and the state stays as it was.

Source: Bonawitz et al. 2017 (doi 10.1145/3133956.3133982), fig. 4, with the active adversary's additions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

import msgspec
from msgspec import Struct

from secprune.crypto import shamir
from secprune.crypto.seal import open_secret, seal_secret
from secprune.errors import ConfigurationError, RemoteMisbehaviourError
from secprune.messages.pairwise import KeyAdvert, RevealedShare, ShareBundle, ShareParcel
from secprune.protocols.pairwise.keys import (
    SECRET_BYTES,
    Binding,
    commitment,
    mask_key,
    pair_seed,
    share_key,
)
from secprune.protocols.pairwise.masks import Mask

if TYPE_CHECKING:
    from secprune.protocols.pairwise.terms import Terms

Entropy = Callable[[int], bytes]


# ---- events
@dataclass(frozen=True, slots=True)
class Begin:
    """This client takes part."""


@dataclass(frozen=True, slots=True)
class KeysListed:
    """The aggregator's KeyList: its digest, and the advertisements it names, their signatures verified.

    `own` is the digest of this client's own advertisement, and so in the other lists.
    """

    digest: str
    members: Mapping[str, str]
    adverts: Mapping[str, KeyAdvert]
    own: str


@dataclass(frozen=True, slots=True)
class SharesListed:
    """The aggregator's ShareList, the bundles it names, and the parcels in them that are for this client."""

    digest: str
    keys: str
    members: Mapping[str, str]
    bundles: Mapping[str, ShareBundle]
    parcels: Mapping[str, ShareParcel]
    own: str


@dataclass(frozen=True, slots=True)
class SurvivorsListed:
    """The aggregator's SurvivorList."""

    digest: str
    shares: str
    members: Mapping[str, str]
    own: str


@dataclass(frozen=True, slots=True)
class ConsentSeen:
    """Another client's signed consent."""

    client: str
    survivors: str


Event = Begin | KeysListed | SharesListed | SurvivorsListed | ConsentSeen


# ---- states; Structs, because they are checkpointed as JSON, in the client's own directory only
class HeldShares(Struct, frozen=True, kw_only=True):
    """What this client holds of one peer; one of the two is revealed, the other never leaves."""

    self_mask: bytes
    mask_secret: bytes

    def __repr__(self) -> str:
        return "HeldShares(<secret>)"


class _State(Struct, frozen=True, kw_only=True, tag=True):
    def __repr__(self) -> str:
        return f"{type(self).__name__}(<secret>)"


class Idle(_State, frozen=True, kw_only=True):
    """Nothing is drawn."""


class Advertised(_State, frozen=True, kw_only=True):
    """Keys are out."""

    mask_secret: bytes
    share_secret: bytes


class Shared(Advertised, frozen=True, kw_only=True):
    """Shares of both secrets are out to `peers`, sealed; `own` are this client's shares of its own secrets."""

    keys: str
    listed: tuple[str, ...]
    self_mask: bytes
    peers: tuple[str, ...]
    own: HeldShares


class Masked(_State, frozen=True, kw_only=True):
    """All masks are known; the report may be written, any number of times with the same bytes."""

    keys: str
    shares: str
    members: tuple[str, ...]
    self_mask: bytes
    seeds: Mapping[str, bytes]
    held: Mapping[str, HeldShares]


class Consented(Masked, frozen=True, kw_only=True):
    """This client has signed `survivors`; consents to the same list are counted."""

    survivors: str
    counted: tuple[str, ...]
    consents: tuple[str, ...]


class Revealed(_State, frozen=True, kw_only=True):
    """One share of each peer is out; every other secret of this round is forgotten."""

    survivors: str


class LeftOut(_State, frozen=True, kw_only=True):
    """A list does not have this client; it takes no further part and reveals nothing."""

    of: str


State = Idle | Advertised | Shared | Masked | Consented | Revealed | LeftOut


# ---- actions
@dataclass(frozen=True, slots=True)
class Advertise:
    """Send a KeyAdvert."""

    share_key: bytes
    mask_key: bytes


@dataclass(frozen=True, slots=True)
class Distribute:
    """Put each parcel into the exchange and send a ShareBundle that names them."""

    keys: str
    commitment: bytes
    parcels: Mapping[str, ShareParcel]


@dataclass(frozen=True, slots=True)
class Submit:
    """Write the report under `masks_of` and send a MaskedReport."""

    shares: str


@dataclass(frozen=True, slots=True)
class GiveConsent:
    """Send a Consent."""

    survivors: str


@dataclass(frozen=True, slots=True)
class RevealShares:
    """Seal these shares to the aggregator and send a Reveal."""

    survivors: str
    shares: tuple[RevealedShare, ...]

    def __repr__(self) -> str:
        return f"RevealShares({self.survivors!r}, <secret>)"


Action = Advertise | Distribute | Submit | GiveConsent | RevealShares


@dataclass(frozen=True, slots=True)
class Transition:
    """The state to checkpoint, then the actions to take."""

    state: State
    actions: tuple[Action, ...] = ()


def step(terms: Terms, state: State, event: Event, entropy: Entropy) -> Transition:
    """Take one event; `state` itself is never changed. Events that come again or too late change nothing.

    Args:
        terms: from the task and this site's policy.
        state: the present one.
        event: what happened; signatures of all messages in it are verified.
        entropy: the source of fresh secrets; in production `crypto.entropy.random_bytes`.

    Raises:
        RemoteMisbehaviourError: a list or a parcel is not what honest software makes; the caller keeps `state`.
    """
    match event:
        case Begin():
            return _begin(terms, state, entropy)
        case KeysListed():
            return _keys_listed(terms, state, event, entropy)
        case SharesListed():
            return _shares_listed(terms, state, event)
        case SurvivorsListed():
            return _survivors_listed(terms, state, event)
        case ConsentSeen():
            return _consent_seen(terms, state, event)
        case _:
            assert_never(event)


def masks_of(terms: Terms, state: Masked) -> list[Mask]:
    """All masks of this client's report. Source: fig. 4, round 2."""
    masks = [Mask(terms.me, "", state.self_mask, added=True)]
    for peer, seed in state.seeds.items():
        first = terms.is_first(terms.me, peer)
        pair = (terms.me, peer) if first else (peer, terms.me)
        masks.append(Mask(*pair, seed, added=first))
    return masks


def _begin(terms: Terms, state: State, entropy: Entropy) -> Transition:
    """Round 0: fresh keys."""
    if not isinstance(state, Idle):
        return Transition(state)
    drawn = Advertised(mask_secret=entropy(SECRET_BYTES), share_secret=entropy(SECRET_BYTES))
    keys = Advertise(
        share_key(drawn.share_secret, terms.round, terms.me).sealing_key,
        mask_key(drawn.mask_secret, terms.round, terms.me).sealing_key,
    )
    return Transition(drawn, (keys,))


def _keys_listed(terms: Terms, state: State, event: KeysListed, entropy: Entropy) -> Transition:
    """Round 1: shares of both secrets and pair seeds to all neighbours."""
    if not isinstance(state, Advertised) or isinstance(state, Shared):
        return Transition(state)
    terms.check_list("keys", event.members, among=terms.clients)
    if terms.me not in event.members:
        return Transition(LeftOut(of="keys"))
    terms.check_own("keys", event.members, event.own)
    _check_fresh(terms, event)
    binding = Binding(terms.round, event.digest)
    neighbours = terms.neighbours(event.members)[terms.me]
    holders = terms.in_order((terms.me, *neighbours))
    self_mask = entropy(SECRET_BYTES)
    threshold = terms.share_threshold(len(event.members))
    of_self_mask, of_mask_secret = (
        shamir.split(secret, threshold=threshold, holders=len(holders), entropy=entropy)
        for secret in (self_mask, state.mask_secret)
    )
    split = {
        name: HeldShares(self_mask=one, mask_secret=other)
        for name, one, other in zip(holders, of_self_mask, of_mask_secret, strict=True)
    }
    parcels = {}
    for peer in neighbours:
        drawn = b""
        if terms.is_first(terms.me, peer):
            drawn = pair_seed(state.mask_secret, binding, terms.me, peer)
        shares = split[peer].self_mask + split[peer].mask_secret
        parcels[peer] = _parcel(terms, binding, peer, event.adverts[peer], shares, drawn)
    shared = Shared(
        mask_secret=state.mask_secret,
        share_secret=state.share_secret,
        keys=event.digest,
        listed=terms.in_order(event.members),
        self_mask=self_mask,
        peers=neighbours,
        own=split[terms.me],
    )
    proof = commitment(self_mask, binding, terms.me)
    return Transition(shared, (Distribute(event.digest, proof, parcels),))


def _parcel(
    terms: Terms, binding: Binding, peer: str, advert: KeyAdvert, shares: bytes, seed: bytes
) -> ShareParcel:
    """Seal shares, and the seed of the pair if there is one, to a peer's keys."""
    try:
        sealed = seal_secret(shares, advert.share_key, binding.context("shares", terms.me, peer))
        context = binding.context("pair-seed", terms.me, peer)
        return ShareParcel(
            shares=sealed, pair_seed=seal_secret(seed, advert.mask_key, context) if seed else b""
        )
    except (ConfigurationError, ValueError) as error:  # of keys that are none, or of small order
        raise RemoteMisbehaviourError(
            f"{peer} advertised a key that nothing can be sealed to", party=peer
        ) from error


def _shares_listed(terms: Terms, state: State, event: SharesListed) -> Transition:
    """Round 2: open all shares and pair seeds; the masks follow from them."""
    if not isinstance(state, Shared):
        return Transition(state)
    terms.check_list("shares", event.members, among=state.listed)
    if event.keys != state.keys or any(bundle.keys != state.keys for bundle in event.bundles.values()):
        raise terms.equivocation("a list of shares belongs to other keys than this client was shown")
    if terms.me not in event.members:
        return Transition(LeftOut(of="shares"))
    terms.check_own("shares", event.members, event.own)
    binding = Binding(terms.round, state.keys)
    held, seeds = {terms.me: state.own}, {}
    shares_key = share_key(state.share_secret, terms.round, terms.me)
    seeds_key = mask_key(state.mask_secret, terms.round, terms.me)
    for peer in terms.in_order(set(event.members) & set(state.peers)):
        parcel = event.parcels.get(peer)
        if parcel is None:
            raise RemoteMisbehaviourError(f"{peer} has no shares for this client", party=peer)
        both = open_secret(parcel.shares, shares_key, binding.context("shares", peer, terms.me))
        if len(both) != 2 * shamir.SHARE_BYTES:
            raise RemoteMisbehaviourError(f"{peer} sealed shares of the wrong length", party=peer)
        held[peer] = HeldShares(self_mask=both[: shamir.SHARE_BYTES], mask_secret=both[shamir.SHARE_BYTES :])
        if terms.is_first(terms.me, peer):
            seeds[peer] = pair_seed(state.mask_secret, binding, terms.me, peer)
            continue
        seeds[peer] = open_secret(parcel.pair_seed, seeds_key, binding.context("pair-seed", peer, terms.me))
        if len(seeds[peer]) != SECRET_BYTES:
            raise RemoteMisbehaviourError(f"{peer} sealed a pair seed of the wrong length", party=peer)
    masked = Masked(
        keys=state.keys,
        shares=event.digest,
        members=terms.in_order(event.members),
        self_mask=state.self_mask,
        seeds=seeds,
        held=held,
    )
    return Transition(masked, (Submit(event.digest),))


def _survivors_listed(terms: Terms, state: State, event: SurvivorsListed) -> Transition:
    """Round 3: consent to one list of survivors."""
    if isinstance(state, Consented):
        if event.digest != state.survivors:
            raise terms.equivocation("a second list of survivors came after this client consented to one")
        return Transition(state)
    if not isinstance(state, Masked):
        return Transition(state)
    terms.check_list("survivors", event.members, among=state.members, smallest=terms.min_clients)
    if event.shares != state.shares:
        raise terms.equivocation("a list of survivors belongs to other shares than this client was shown")
    if terms.me not in event.members:
        return Transition(LeftOut(of="survivors"))
    terms.check_own("survivors", event.members, event.own)
    consented = Consented(
        keys=state.keys,
        shares=state.shares,
        members=state.members,
        self_mask=state.self_mask,
        seeds=state.seeds,
        held=state.held,
        survivors=event.digest,
        counted=terms.in_order(event.members),
        consents=(terms.me,),
    )
    return Transition(consented, (GiveConsent(event.digest),))


def _consent_seen(terms: Terms, state: State, event: ConsentSeen) -> Transition:
    """Round 4: once enough survivors have consented to the same list, reveal one share of each peer."""
    if not isinstance(state, Consented) or event.client not in state.counted:
        return Transition(state)
    if event.survivors != state.survivors or event.client in state.consents:
        return Transition(
            state
        )  # others' consents to other lists do not stop this one, they only do not count
    consents = terms.in_order((*state.consents, event.client))
    if len(consents) < terms.threshold:
        return Transition(msgspec.structs.replace(state, consents=consents))
    shares = tuple(
        RevealedShare(subject=peer, share=held.self_mask if peer in state.counted else held.mask_secret)
        for peer, held in sorted(state.held.items())
    )
    return Transition(Revealed(survivors=state.survivors), (RevealShares(state.survivors, shares),))


def _check_fresh(terms: Terms, event: KeysListed) -> None:
    """No two clients may have a key in common: one of them could open what is for the other."""
    keys = [key for name in event.members for key in _both(event.adverts[name])]
    if len(set(keys)) != len(keys):
        raise RemoteMisbehaviourError(
            "two of the advertised keys are the same", party=terms.aggregator, hint="ask for a new task"
        )


def _both(advert: KeyAdvert) -> tuple[bytes, bytes]:
    return advert.share_key, advert.mask_key
