"""The transcript of a study: everything that left a party, with who could read it.

It is taken from two places that have to agree. Signed messages in the exchange name the chunks that belong to them, and
for whom each is sealed; an auditor who has only the exchange gets the whole transcript from them. Where parties'
own directories are at hand, what each has recorded as sent is compared with that (`secprune.parties.recording`).

    artefact            what
    "<phase>"           a signed message of that phase; everybody who reaches the exchange can read it
    "<phase> chunks"    bulk data that such a message names, for one receiver if it is sealed, else for everybody
    "unnamed chunks"    no signed message names them: nobody knows what they are, nor for whom
    "foreign messages"  no party of the task has signed them, or they are of another task or place

Small things that are sealed inside a message, as content keys and seeds, travel and count with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from itertools import chain, product
from operator import or_
from typing import TYPE_CHECKING, Any

from secprune.crypto.envelope import open_envelope
from secprune.errors import RemoteMisbehaviourError
from secprune.messages.bfv import (
    BfvMessage,
    CiphertextSum,
    EncryptedReport,
    KeyShare,
    PartialDecryption,
)
from secprune.messages.ledger import LedgerHead
from secprune.messages.pairwise import MaskedReport, PairwiseMessage, ShareBundle
from secprune.messages.types import (
    AggregateShare,
    Report,
    ReportCheck,
    RoundMessage,
    RoundOutcome,
    TaskSignature,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from secprune.audit.ledgers import Posted
    from secprune.messages.types import Parcel
    from secprune.task import Task

EVERYBODY = "everybody"
"""Receiver of what is not sealed."""
UNKNOWN = "unknown"
"""Sender or receiver that no record tells of."""
UNNAMED = "unnamed chunks"
FOREIGN = "foreign messages"

_ANY: Any = reduce(or_, (RoundMessage, PairwiseMessage, BfvMessage, LedgerHead, TaskSignature))


@dataclass(frozen=True, slots=True)
class Sent:
    """One artefact that left a party.

    Attributes:
        sender: who signed the message, or the one that names the chunk.
        artefact: kind; see above.
        receiver: whose key opens it, EVERYBODY or UNKNOWN.
        size: bytes, as it lies in the exchange; 0 if it is not there and nobody has recorded it.
        digest: of these bytes.
        round: of the task; None if no message tells.
    """

    sender: str
    artefact: str
    receiver: str
    size: int
    digest: str
    round: int | None


@dataclass(frozen=True, slots=True)
class PartyRecord:
    """What one party has recorded as sent.

    Attributes:
        party: its name.
        messages: it has committed itself to.
        chunks: sizes of all that it has put into the exchange, by digest.
    """

    party: str
    messages: tuple[Posted, ...]
    chunks: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Transcript:
    """All artefacts, and where records and exchange differ.

    Attributes:
        sent: every artefact once for each of its receivers, by sender, round and kind.
        unrecorded: digests of what the exchange has from a party whose record does not tell of it, or of another size.
        missing: digests of what was recorded or named, and is not in the exchange: not sent yet, or taken away.
    """

    sent: tuple[Sent, ...]
    unrecorded: tuple[str, ...]
    missing: tuple[str, ...]


def named_chunks(message: object) -> Iterator[tuple[str, str]]:
    """Receiver and digest of every chunk that a message names; EVERYBODY where the chunk is not sealed."""
    match message:
        case Report():  # without keys only in `cleartext`
            yield from _to([message.keys[0].receiver if message.keys else EVERYBODY], message.chunks)
        case MaskedReport() | EncryptedReport():
            yield from _to([message.key.receiver], message.chunks)
        case CiphertextSum():
            yield from _to([key.receiver for key in message.content_keys], message.chunks)
        case AggregateShare() | PartialDecryption():
            yield from _parcels(message.parcel)
        case ReportCheck():
            yield from _parcels(*message.row_sums)
        case ShareBundle():
            yield from ((share.receiver, share.parcel) for share in message.parcels)
        case RoundOutcome():
            yield from _to([EVERYBODY], message.chunks)
        case KeyShare():
            yield EVERYBODY, message.half


def _to(receivers: Iterable[str], digests: Iterable[str]) -> Iterator[tuple[str, str]]:
    return product(receivers, digests)


def _parcels(*parcels: Parcel) -> Iterator[tuple[str, str]]:
    return chain.from_iterable(_to([parcel.key.receiver], parcel.chunks) for parcel in parcels)


def opened(task: Task, posted: Posted, phases: Mapping[type, str]) -> tuple[str, Any] | None:
    """Signer and message of a valid envelope of this task that lies where it belongs; None of any other."""
    keys = {party.name: party.signing_key for party in task.parties}
    try:
        sender, message = open_envelope(posted.envelope, _ANY, signing_keys=keys)
    except RemoteMisbehaviourError:
        return None
    if isinstance(message, TaskSignature):
        belongs = (posted.phase, message.study) == ("tasks", task.study)
    else:
        place = task.task_id, posted.round, posted.phase
        belongs = (message.task_id, message.round, phases[type(message)]) == place
    return (sender, message) if belongs else None


def make_transcript(
    task: Task,
    posted: Sequence[Posted],
    chunks: Mapping[str, int],
    records: Sequence[PartyRecord] = (),
    *,
    phases: Mapping[type, str],
) -> Transcript:
    """Put together what left the parties of a task.

    Args:
        task: whose roster says which keys count.
        posted: all messages of the exchange.
        chunks: sizes of all chunks that lie in the exchange, by digest.
        records: of the parties whose directories are at hand.
        phases: of each type of message.
    """
    recorded = {digest: record.party for record in records for digest in record.chunks}
    sizes = {digest: size for record in records for digest, size in record.chunks.items()} | dict(chunks)
    there = {one.digest for one in posted}
    committed = [one for record in records for one in record.messages if one.digest not in there]

    sent: set[Sent] = set()
    named: set[str] = set()
    for one in (*posted, *committed):
        sender, message = opened(task, one, phases) or (UNKNOWN, None)
        artefact = FOREIGN if message is None else one.phase
        sent.add(Sent(sender, artefact, EVERYBODY, len(one.envelope), one.digest, one.round))
        for receiver, digest in named_chunks(message):
            named.add(digest)
            size = sizes.get(digest, 0)
            sent.add(Sent(sender, f"{one.phase} chunks", receiver, size, digest, one.round))
    for digest in {*chunks, *recorded} - named:
        sent.add(Sent(recorded.get(digest, UNKNOWN), UNNAMED, UNKNOWN, sizes[digest], digest, None))
    return Transcript(
        sent=tuple(sorted(sent, key=_order)),
        unrecorded=tuple(sorted(set(_unrecorded(sent, sizes, records)))),
        missing=tuple(sorted({one.digest for one in committed} | ({*recorded} | named) - {*chunks})),
    )


def _order(one: Sent) -> tuple[str, int, str, str, str]:
    return one.sender, -1 if one.round is None else one.round, one.artefact, one.receiver, one.digest


def _unrecorded(
    sent: Iterable[Sent], sizes: Mapping[str, int], records: Sequence[PartyRecord]
) -> Iterator[str]:
    own = {record.party: {*record.chunks, *(one.digest for one in record.messages)} for record in records}
    for one in sent:
        # The coordinator's signature on the task is posted by everybody.
        if one.sender in own and one.artefact != "tasks" and one.digest not in own[one.sender]:
            yield one.digest
    for record in records:
        yield from (digest for digest, size in record.chunks.items() if sizes[digest] != size)
