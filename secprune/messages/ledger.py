"""A party's ledger: what it did, in order, each entry bound to the one before by its digest.

    anybody      LedgerHead      once for each round that it ends: how long its ledger is, and the last digest
    anybody      LedgerExport    the same, at the end of an exported ledger; never posted

Entries hold names, digests and sizes: no content of a message, no key, nothing derived from notes.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from secprune.ids import Digest, Name, RoundIndex, sha256
from secprune.messages.codec import encode

EntryKind = Literal["sent", "received", "contradiction", "released", "incident", "witnessed"]

ROOT = sha256(b"secprune/ledger/v1")
"""What the first entry names as the one before it, and the head of an empty ledger."""

_Count = Annotated[int, Meta(ge=0, lt=2**53)]
_Short = Annotated[str, Meta(max_length=200)]


class LedgerEntry(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="LedgerEntry", tag_field="type"
):
    """One thing that a party did or saw.

    Attributes:
        version: of this format.
        seq: place in the ledger, from 0.
        previous: digest of the entry before, or ROOT.
        task_id: of the task that it belongs to.
        round: of that task.
        kind: what happened.
        phase: of the message; empty if there is none.
        party: who sent the message, or is blamed; this party for what it sent and released.
        subject: what the message is about, as in the journal.
        digest: of the envelope; of a release that of the model's weights; of an incident that of its text.
        size: bytes of the envelope.
        members: of a release: the clients in the sum.
        evidence: of `witnessed`: the envelope of that LedgerHead, so that no witness has to be believed.
    """

    version: Literal[1] = 1
    seq: _Count
    previous: Digest
    task_id: _Short
    round: RoundIndex
    kind: EntryKind
    phase: _Short = ""
    party: _Short = ""
    subject: _Short = ""
    digest: Digest
    size: _Count = 0
    members: Annotated[tuple[Name, ...], Meta(max_length=2**16)] = ()
    evidence: Annotated[bytes, Meta(max_length=4096)] = b""


class LedgerHead(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="LedgerHead", tag_field="type"
):
    """How long a party's ledger was when its part of this round had ended, and the digest of the last entry."""

    task_id: Digest
    round: RoundIndex
    entries: _Count
    head: Digest


class LedgerExport(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="LedgerExport", tag_field="type"
):
    """A party's word that the entries before this line are all of its ledger."""

    entries: _Count
    head: Digest


def entry_bytes(entry: LedgerEntry) -> bytes:
    """The canonical form of an entry, which its digest is of."""
    return encode(entry)
