"""One exported ledger: is it whole, and signed by whom it says?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec import Struct

from secprune.crypto.envelope import open_envelope
from secprune.errors import RemoteMisbehaviourError
from secprune.ids import sha256
from secprune.messages.codec import decode
from secprune.messages.ledger import ROOT, LedgerEntry, LedgerExport

if TYPE_CHECKING:
    from collections.abc import Mapping


class Finding(Struct, frozen=True, kw_only=True):
    """Something that does not fit: who is to blame, and which entry of whose ledger shows it."""

    check: str
    party: str
    ledger: str
    seq: int | None
    what: str


@dataclass(frozen=True, slots=True)
class Ledger:
    """A whole ledger, signed by its party."""

    party: str
    entries: tuple[LedgerEntry, ...]
    digests: tuple[str, ...]


def export(lines: list[bytes], signature: bytes) -> bytes:
    """The file of a ledger: a line for each entry, then the envelope of its LedgerExport."""
    return b"".join(line + b"\n" for line in (*lines, signature))


def read_ledger(label: str, data: bytes, *, keys: Mapping[str, bytes]) -> Ledger | Finding:
    """Check one exported ledger by itself.

    Args:
        label: what to call it as long as nobody is known to have signed it.
        data: the file.
        keys: signing keys of the roster, by name.
    """
    *lines, last = data.removesuffix(b"\n").split(b"\n")
    try:
        party, end = open_envelope(last, LedgerExport, signing_keys=keys)
    except RemoteMisbehaviourError as error:
        return _broken(label, None, f"is not a ledger that a party of this task signed: {error.message}")
    entries = _read_entries(party, lines)
    if isinstance(entries, Finding):
        return entries
    digests = tuple(sha256(line) for line in lines)
    if (end.entries, end.head) != (len(digests), digests[-1] if digests else ROOT):
        what = f"has {len(digests)} entries that end otherwise than the {end.entries} that it signed"
        return _broken(party, max(min(len(digests), end.entries) - 1, 0), what)
    return Ledger(party, entries, digests)


def _read_entries(party: str, lines: list[bytes]) -> tuple[LedgerEntry, ...] | Finding:
    entries: list[LedgerEntry] = []
    previous = ROOT
    for seq, line in enumerate(lines):
        try:
            entry = decode(line, LedgerEntry, party=party)
        except RemoteMisbehaviourError as error:
            return _broken(party, seq, f"has a malformed entry: {error.message}")
        if entry.seq != seq:
            return _broken(
                party, seq, f"has entry {entry.seq} here: entries were removed, added or reordered"
            )
        if entry.previous != previous:
            before = max(seq - 1, 0)
            return _broken(party, before, f"has another entry here than the one that entry {seq} follows")
        if entry.kind in {"sent", "released"} and entry.party != party:
            return _broken(party, seq, f"tells of what {entry.party!r} sent or released as its own")
        entries.append(entry)
        previous = sha256(line)
    return tuple(entries)


def _broken(party: str, seq: int | None, what: str) -> Finding:
    return Finding(check="chain", party=party, ledger=party, seq=seq, what=what)
