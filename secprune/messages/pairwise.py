"""The messages of a round of the protocol `pairwise`, in the order in which they are sent.

    client       KeyAdvert      its keys of this round
    aggregator   KeyList        whose keys everybody uses
    client       ShareBundle    sealed shares of its secrets, one parcel for each peer
    aggregator   ShareList      whose shares everybody holds
    client       MaskedReport   digests of its masked, sealed chunks
    aggregator   SurvivorList   whose reports are counted
    client       Consent        that this is the list it was shown
    client       Reveal         for each peer a share of one of its secrets, to the aggregator
    aggregator   AggregateShare the sum, to the coordinator
    aggregator   Abandoned      instead of any of these: too few clients took part

Each list names the messages it is made of by their digests, and the list before it; so whoever signs or
is bound to the last one is bound to all of them.

Source: Bonawitz et al. 2017 (doi 10.1145/3133956.3133982), fig. 4: rounds 0, 1, 2, 3 and 4.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from secprune.ids import Digest, Name, Reason
from secprune.messages.types import Counted, InRound, SealedKey

_PublicKey = Annotated[bytes, Meta(min_length=1216, max_length=1216)]
_Hash = Annotated[bytes, Meta(min_length=32, max_length=32)]
_Sealed = Annotated[bytes, Meta(max_length=4096)]


class KeyAdvert(InRound, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A client's public keys of one round: to seal shares to, and to seal pair seeds to."""

    share_key: _PublicKey
    mask_key: _PublicKey


class KeyList(InRound, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The clients whose keys are used, each with the digest of its KeyAdvert; sorted by client."""

    members: Counted


class ShareParcel(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a client has for one peer; lies in the exchange as a chunk, and is not a message by itself.

    `shares`: a share of the self-mask seed and one of the mask secret, sealed to the peer's share key.
    `pair_seed`: sealed to the peer's mask key; empty if the peer is the earlier of the two and draws it.
    """

    shares: _Sealed
    pair_seed: _Sealed = b""


class ParcelDigest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, order=True):
    """Names the ShareParcel for one peer."""

    receiver: Name
    parcel: Digest


class ShareBundle(InRound, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A client's sealed shares: one parcel for each holder, sorted; and a commitment to its self-mask seed."""

    keys: Digest
    commitment: _Hash
    parcels: Annotated[tuple[ParcelDigest, ...], Meta(max_length=2**16)]


class ShareList(InRound, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The clients whose shares everybody holds, each with the digest of its ShareBundle; sorted by client."""

    keys: Digest
    members: Counted


class MaskedReport(InRound, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A client's words under its masks, in chunks that are sealed to the aggregator under `key`."""

    shares: Digest
    key: SealedKey
    chunks: Annotated[tuple[Digest, ...], Meta(max_length=2**20)]


class SurvivorList(InRound, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The clients whose reports are counted, each with the digest of its MaskedReport; sorted by client."""

    shares: Digest
    members: Counted


class Consent(InRound, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A survivor's word that it was shown this list of survivors, and no other."""

    survivors: Digest


class RevealedShare(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A share of the self-mask seed of a survivor, or of the mask secret of a client that dropped out."""

    subject: Name
    share: Annotated[bytes, Meta(min_length=33, max_length=33)]

    def __repr__(self) -> str:
        return f"RevealedShare({self.subject!r}, <secret>)"


class RevealedShares(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a Reveal holds once opened: one share for each client whose shares the sender holds."""

    shares: Annotated[tuple[RevealedShare, ...], Meta(max_length=2**16)]


class Reveal(InRound, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A client's shares for these survivors: RevealedShares, sealed to the aggregator under `key`."""

    survivors: Digest
    key: SealedKey
    shares: Annotated[bytes, Meta(max_length=2**24)]


class Abandoned(InRound, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The aggregator's word that the round has ended without a sum, so that nobody waits for one."""

    reason: Reason
    missing: Annotated[tuple[Name, ...], Meta(max_length=2**16)]


PairwiseMessage = (
    KeyAdvert | KeyList | ShareBundle | ShareList | MaskedReport | SurvivorList | Consent | Reveal | Abandoned
)
