"""What the parties of `bfv` share: sealed chunks of each kind, and the key holders' keys.

report     client to aggregator: ciphertexts, bound to the joint key
sum        aggregator to all key holders: bound to the joint key and the attempt
products   key holder to aggregator: bound to the opening
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from secprune.crypto.bfv import ring, wire
from secprune.crypto.bfv.decoding import ciphertexts_for
from secprune.crypto.entropy import random_bytes
from secprune.crypto.seal import KEY_BYTES, ChunkCipher, open_secret, seal_secret
from secprune.errors import RemoteMisbehaviourError
from secprune.messages.bfv import HashSeed, KeyCommitment, KeyShare
from secprune.messages.types import SealedKey
from secprune.protocols.bfv.terms import Terms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from secprune.crypto.seal import Context
    from secprune.exchange.api import ChunkMissingError
    from secprune.packing import Chunk, Words
    from secprune.parties.session import Session


CULPRITS = "one of the counted clients, the aggregator or a key holder"
"""Who can have brought about a sum that is not one of pruning masks: c0 and products are bound by nothing."""


def terms_of(session: Session) -> Terms:
    """The terms of a session's round, under this site's policy."""
    return Terms(round=session.round, me=session.name, min_clients=session.min_clients)


# ---- sealed chunks
class ContentKey(Struct, frozen=True, kw_only=True):
    """A content key, drawn once for one parcel, and sealed once to each receiver."""

    key: bytes
    sealed: tuple[SealedKey, ...]

    def __repr__(self) -> str:
        return "ContentKey(<secret>)"


def content_key(session: Session, purpose: str, contexts: Sequence[Context]) -> ContentKey:
    """The content key of one parcel of this party, from its journal; one context for each receiver."""

    def draw() -> bytes:
        key = random_bytes(KEY_BYTES)
        sealed = tuple(
            SealedKey(
                receiver=context.receiver,
                sealed=seal_secret(key, session.task.party(context.receiver).sealing_key, context),
            )
            for context in contexts
        )
        return msgspec.json.encode(ContentKey(key=key, sealed=sealed))

    return msgspec.json.decode(session.journal.secret(purpose, draw), type=ContentKey)


def chunk_cipher(session: Session, key: bytes, context: Context) -> ChunkCipher:
    """Seals or opens the chunks of one parcel of this round."""
    return ChunkCipher(key, context, count=len(session.round.layout.chunks))


def open_parcel(
    session: Session, key: SealedKey, key_context: Context, chunk_context: Context, digests: Sequence[str]
) -> ChunkCipher:
    """Open the content key of a parcel for this party.

    Raises:
        RemoteMisbehaviourError: the parcel does not have the form of this round; its sender is to blame.
    """
    sender, due = key_context.sender, len(session.round.layout.chunks)
    if key.receiver != session.name or len(digests) != due:
        raise RemoteMisbehaviourError(
            f"{sender} sent {len(digests)} chunks to {key.receiver}, not {due} to {session.name}",
            party=sender,
        )
    secret = open_secret(key.sealed, session.identity.opening, key_context)
    if len(secret) != KEY_BYTES:
        raise RemoteMisbehaviourError(f"{sender} sealed a key of the wrong length", party=sender)
    return chunk_cipher(session, secret, chunk_context)


def report_context(terms: Terms, client: str, keys: str) -> Context:
    """What a report's content key and chunks are bound to."""
    return terms.context("report", client, terms.aggregator, keys)


def sum_context(terms: Terms, receiver: str, keys: str, attempt: int) -> Context:
    """What a sum's content key is bound to, for one key holder; its chunks are for "" (all of them)."""
    return terms.context(f"sum-{attempt}", terms.aggregator, receiver, keys)


def products_context(terms: Terms, key_holder: str, opening: str) -> Context:
    """What a key holder's products are bound to."""
    return terms.context("products", key_holder, terms.aggregator, opening)


def hash_context(terms: Terms, sum_: str) -> bytes:
    """What linear hashes for one sum are bound to."""
    return terms.context("linear-hash", "", "", sum_).encode()


def parse_chunk(
    data: bytes, form: wire.Form, terms: Terms, chunk: Chunk, *, sender: str
) -> tuple[Words, ...]:
    """Planes of one chunk, (count, N) for each prime of the form; see `wire.parse`."""
    count = ciphertexts_for(chunk.words, terms.parameters)
    return wire.parse(data, form, terms.parameters, count=count, sender=sender)


# ---- the key holders' keys
def commitments(session: Session, terms: Terms) -> dict[str, str] | None:
    """All key holders' commitments, by name; None if some are not there yet."""
    found = {one.sender: one.message.share for one in session.read_one_each(KeyCommitment, again=True)}
    return found if set(found) == set(terms.key_holders) else None


def key_shares(session: Session, terms: Terms) -> dict[str, KeyShare] | None:
    """All key holders' shares, by name; None if some, or the chunks that they name, are not there yet."""
    found = {one.sender: one.message for one in session.read_one_each(KeyShare, again=True)}
    if set(found) != set(terms.key_holders) or not session.are_there(share.half for share in found.values()):
        return None
    return found


def joint_key(session: Session, terms: Terms, shares: Mapping[str, KeyShare]) -> tuple[Words, ...]:
    """The joint public key's b, (1, N) for each prime of keys, added up from all key holders' halves.

    Raises:
        RemoteMisbehaviourError: a key holder's half is not in the form of the task's parameters.
    """
    parameters, joint = terms.parameters, None
    for name in terms.key_holders:
        data = session.exchange.get_chunk(shares[name].half)
        half = wire.parse(data, "key share", parameters, count=1, sender=name)
        if joint is None:
            joint = half
        else:
            joint = tuple(
                ring.add(a, b, q) for a, b, q in zip(joint, half, parameters.all_primes, strict=True)
            )
    assert joint is not None  # noqa: S101 - the task has a key holder
    return joint


def hash_seeds(session: Session, terms: Terms, sum_: str) -> dict[str, HashSeed] | None:
    """All key holders' seeds for one sum, by name; None if some are not there yet.

    Raises:
        RemoteMisbehaviourError: a key holder signed two different ones.
    """
    found = {}
    for one in session.read(HashSeed, lambda message: message.sum, again=True):
        if one.message.sum != sum_:
            continue
        if one.contradicts:
            raise terms.misbehaviour(one.sender, f"{one.sender} signed two different seeds for one sum")
        found[one.sender] = one.message
    return found if set(found) == set(terms.key_holders) else None


def put_again(session: Session, digests: Sequence[str], write: Callable[[], object]) -> None:
    """Make chunks of a parcel again, with the same bytes, if they are no longer in the exchange."""
    if not session.are_there(digests):
        write()


def note_missing(session: Session, error: ChunkMissingError, what: str) -> None:
    """A chunk that a signed message names is not there: an incident, and perhaps only late."""
    session.journal.note("exchange", f"{error.message} (named by {what})")
