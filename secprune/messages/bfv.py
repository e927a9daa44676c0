"""The messages of a round of the protocol `bfv`, in the order in which they are sent.

    key holder   KeyCommitment      digest of the KeyShare that it is going to publish
    key holder   KeyShare           once all have committed themselves: its public key share
    client       EncryptedReport    digests of its sealed chunks of ciphertexts
    aggregator   CiphertextSum      to the key holders, sealed: the sum over exactly these reports
    key holder   HashSeed           for this sum, drawn after it has seen it
    client       LinearHash         of the c1 of its own report, under all seeds; only if the sum counts it
    aggregator   Opening            with these hashes: open this sum, and no other in this round
    key holder   PartialDecryption  blind form: c1 times its key share, flooded, to the aggregator
    aggregator   AggregateShare     blind form: the sum, to the coordinator; simple form: from the key holder
    anybody      Abandoned          of aggregator and key holders: instead of any of these

A sum some client does not answer for is followed by another one without it, under the next `attempt`.

Source of the linear hashes' use: secprune/crypto/bfv/hashing.py. Of the rest: Mouchet et al., PoPETs 2021(4).
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from secprune.ids import Digest
from secprune.messages.types import Counted, InRound, Parcel, SealedKey

MAX_ATTEMPTS = 16
"""Sums that one round tries to have answered for."""

Attempt = Annotated[int, Meta(ge=0, lt=MAX_ATTEMPTS)]
_Digests = Annotated[tuple[Digest, ...], Meta(max_length=2**20)]
_Seed = Annotated[bytes, Meta(min_length=32, max_length=32)]
_Value = Annotated[int, Meta(ge=0, lt=2**60)]


class KeyCommitment(InRound, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key holder's promise of one KeyShare: the digest of that message's canonical form."""

    share: Digest


class KeyShare(InRound, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key holder's public key share lies in the exchange as a chunk, in the wire form of `crypto.bfv.wire`."""

    parameters: Digest
    half: Digest


class EncryptedReport(InRound, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A client's ciphertexts under the joint key `keys`, in chunks that are sealed to the aggregator under `key`."""

    keys: Digest
    key: SealedKey
    chunks: _Digests


class CiphertextSum(InRound, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The sum of the ciphertexts of exactly `members`, sealed to all key holders under `content_keys`.

    Blind form: c1 only.
    """

    keys: Digest
    attempt: Attempt
    members: Counted
    content_keys: Annotated[tuple[SealedKey, ...], Meta(max_length=64)]
    chunks: _Digests


class HashSeed(InRound, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One key holder's part of the seed under which the counted clients hash."""

    sum: Digest
    seed: _Seed


class LinearHash(InRound, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A client's hash of its own c1 for one sum; `seeds` is the digest of all seeds together."""

    sum: Digest
    seeds: Digest
    values: Annotated[tuple[Annotated[tuple[_Value, ...], Meta(max_length=64)], ...], Meta(max_length=8)]


class Opening(InRound, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The aggregator's only word on which sum is to be opened; `hashes` names each member's LinearHash."""

    sum: Digest
    hashes: Counted


class PartialDecryption(InRound, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One key holder's part in opening a sum, sealed to the aggregator."""

    opening: Digest
    parcel: Parcel


BfvMessage = (
    KeyCommitment
    | KeyShare
    | EncryptedReport
    | CiphertextSum
    | HashSeed
    | LinearHash
    | Opening
    | PartialDecryption
)
