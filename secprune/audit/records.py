"""The checks of kind record: whether what a study left behind is what was declared, and no more.

They look at what parties signed, sent, kept and released, and at nothing that is not there: that no record shows a
leak says that none left a trace in what was read. Subjects are plain data; a mutation plants a fault in it.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

from secprune.audit.check import Check, Figure, Kind, Measurement
from secprune.audit.ledgers import verify_ledgers
from secprune.audit.transcript import make_transcript
from secprune.audit.views import UNDECLARED, make_flows, roles_of
from secprune.errors import RemoteMisbehaviourError
from secprune.ids import sha256, short
from secprune.messages.codec import decode
from secprune.messages.ledger import LedgerEntry, entry_bytes
from secprune.messages.pairwise import ShareParcel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from secprune.audit.draws import Draws
    from secprune.audit.evidence import Kept
    from secprune.audit.ledgers import Posted
    from secprune.audit.needles import Needles
    from secprune.audit.transcript import PartyRecord
    from secprune.task import Task

_SHOWN = 5  # faults that are named
_SAMPLE_BYTES = 2**16  # of a chunk, to see whether it can be compressed
_LARGEST_SHARE = 0.99  # of a sample's size that its compressed form has, if it is sealed
_CLIENTS_FILE = re.compile(rb'"kind"\s*:\s*"(?:pruning-masks|noisy-votes|statistics)"')


# ---- declared-flows
@dataclass(frozen=True)
class FlowRecord:
    """What left the parties and what they keep, and what was declared.

    Attributes:
        task: of the study.
        posted: all messages of the exchange.
        chunks: sizes of all chunks of the exchange, by digest.
        records: of the parties whose directories are at hand.
        kept: files, by kind.
        phases: of each type of message.
        declares: whether an artefact is declared to go from one role to another.
    """

    task: Task
    posted: tuple[Posted, ...]
    chunks: Mapping[str, int]
    records: tuple[PartyRecord, ...]
    kept: tuple[Kept, ...]
    phases: Mapping[type, str]
    declares: Callable[[str, str, str], bool]


def _measure_flows(subject: FlowRecord, _draws: Draws) -> Measurement:
    transcript = make_transcript(
        subject.task, subject.posted, subject.chunks, subject.records, phases=subject.phases
    )
    flows = make_flows(transcript.sent, roles_of(subject.task), subject.declares)
    faults = [f"{f.artefact} from {f.sender} to {f.receiver}" for f in flows if not f.declared]
    faults += [f"files kept by {kept.party}" for kept in subject.kept if kept.artefact == UNDECLARED]
    if transcript.unrecorded:
        faults.append(f"{len(transcript.unrecorded)} artefacts that their sender has not recorded")
    compared = f"with the records of {len(subject.records)} parties" if subject.records else "by themselves"
    says = (
        f"All {len(transcript.sent)} artefacts in the exchange, compared {compared}, and all files are declared."
        if not faults
        else f"Not declared: {_listed(faults)}."
    )
    if transcript.missing:
        says += f" {len(transcript.missing)} declared ones are not in the exchange (any more)."
    return Measurement(
        refuted=bool(faults),
        says=says,
        figures=(
            Figure(name="undeclared artefacts", value=sum(flow.count for flow in flows if not flow.declared)),
            Figure(name="unrecorded artefacts", value=len(transcript.unrecorded)),
            Figure(name="artefacts that are not in the exchange", value=len(transcript.missing)),
            Figure(
                name="undeclared files",
                value=sum(k.files or 0 for k in subject.kept if k.artefact == UNDECLARED),
            ),
        ),
        sample=len(transcript.sent),
    )


def _plant_chunk(subject: FlowRecord) -> FlowRecord:
    leak = b"what no message names"
    return replace(subject, chunks={**subject.chunks, sha256(leak): len(leak)})


DECLARED_FLOWS: Check[FlowRecord] = Check(
    id="declared-flows",
    title="Everything that was sent and kept is declared",
    asks="Did anything leave a party, or stay on a disk, that the threat models do not know of?",
    kind=Kind.RECORD,
    measure=_measure_flows,
    mutations={"planted-leak": _plant_chunk},
    source="docs/wire-format.md; threat_models: system.toml",
    repeatable=True,
)


# ---- residue
@dataclass(frozen=True)
class Haystack:
    """Something in which no client's data may lie in the clear.

    Attributes:
        where: in words, without a path.
        sealed: whether all of it is ciphertext, which looks random.
        read: its bytes, in pieces that overlap.
    """

    where: str
    sealed: bool
    read: Callable[[], Iterable[bytes]]


@dataclass(frozen=True)
class Remains:
    """What lies outside the clients' own directories, and what must not be in it.

    Attributes:
        haystacks: to search.
        needles: blocks of clients' notes, masks and statistics, as far as their directories are at hand.
        kept: files, by kind.
        disks: parties other than clients whose directories were searched.
    """

    haystacks: tuple[Haystack, ...]
    needles: Needles
    kept: tuple[Kept, ...]
    disks: tuple[str, ...]


def _measure_residue(subject: Remains, _draws: Draws) -> Measurement:
    faults: dict[str, None] = {}  # in order, each once
    for stack in subject.haystacks:
        for fault in _faults_of(stack, subject.needles):
            faults[f"{fault} in {stack.where}"] = None
    strangers = [k for k in subject.kept if k.artefact == UNDECLARED and k.role != "client"]
    for kept in strangers:
        faults[f"{kept.files} undeclared files at {kept.party}"] = None
    owners = len(
        set(subject.needles.owners.values())
    )  # not how many blocks: that says how many notes there are
    how = (
        f"for pieces of the data of {owners} clients"
        if owners
        else "by its form, as no client's data was at hand"
    )
    where = f"the directories of {', '.join(subject.disks)}" if subject.disks else "no party's directory"
    says = (
        f"No client's data was found in the clear where it may not be; looked {how}, in the exchange and {where}."
        if not faults
        else f"Found {_listed(faults)}."
    )
    return Measurement(
        refuted=bool(faults),
        says=says,
        figures=(
            Figure(name="places searched", value=len(subject.haystacks)),
            Figure(name="clients whose data was searched for", value=owners),
            Figure(name="findings", value=len(faults)),
            Figure(
                name="servers' files whose content depends on notes",
                value=sum(
                    k.files or 0
                    for k in subject.kept
                    if k.derived_from_notes and k.role not in {"client", "exchange"}
                ),
            ),
        ),
        sample=len(subject.haystacks),
    )


def _faults_of(stack: Haystack, needles: Needles) -> Iterable[str]:
    owners: set[str] = set()
    for number, piece in enumerate(stack.read()):
        if number == 0 and stack.sealed and not _looks_sealed(piece):
            yield "bytes that are not encrypted"
        if not stack.sealed and _CLIENTS_FILE.search(piece):
            yield "a file of masks, votes or statistics"
        owners |= needles.owners_in(piece)
    for owner in sorted(owners):
        yield f"data of {owner}"


def _looks_sealed(chunk: bytes) -> bool:
    """Whether bytes cannot be compressed, as ciphertext cannot; a parcel of sealed shares is looked at inside."""
    try:
        parcel = decode(chunk, ShareParcel, party="")
        chunk = parcel.shares + parcel.pair_seed
    except RemoteMisbehaviourError:
        pass
    sample = chunk[:_SAMPLE_BYTES]
    return len(zlib.compress(sample, 9)) >= _LARGEST_SHARE * len(sample)


def _plant_data(subject: Remains) -> Remains:
    """Data of a client on a server's disk; without such a disk nobody could find it there, so that the check has no power."""
    if not subject.disks:
        return subject
    block = next(iter(subject.needles.owners), None)
    leak = b'{"__metadata__":{"kind":"pruning-masks"}}' if block is None else b"?" * 3 + block + b"?"
    stack = Haystack("a planted file", sealed=False, read=lambda: [leak])
    return replace(subject, haystacks=(*subject.haystacks, stack))


def _plant_cleartext(subject: Remains) -> Remains:
    words = b"".join(number.to_bytes(8, "little") for number in range(512))
    stack = Haystack("a planted chunk", sealed=True, read=lambda: [words])
    return replace(subject, haystacks=(*subject.haystacks, stack))


RESIDUE: Check[Remains] = Check(
    id="residue",
    title="No client's data lies in the clear elsewhere",
    asks="Do servers' directories, the exchange or logs hold notes, masks or statistics of a single client?",
    kind=Kind.RECORD,
    measure=_measure_residue,
    mutations={"planted-leak": _plant_data, "cleartext": _plant_cleartext},
    repeatable=True,
)


# ---- ledgers-agree
@dataclass(frozen=True)
class LedgerRecord:
    """Exported ledgers, each with what to call it, and what was posted."""

    task: Task
    ledgers: tuple[tuple[str, bytes], ...]
    posted: tuple[Posted, ...]


def _measure_ledgers(subject: LedgerRecord, _draws: Draws) -> Measurement:
    audit = verify_ledgers(subject.task, subject.ledgers, subject.posted)
    says = f"{len(audit.entries)} ledgers fit together and with what was posted."
    if audit.no_ledger_of:
        says += f" No ledger of {', '.join(audit.no_ledger_of)}."
    if audit.finding is not None:
        says = f"{audit.finding.party} {audit.finding.what}."
    return Measurement(
        refuted=not audit.consistent,
        says=says,
        figures=(
            Figure(name="ledgers", value=len(audit.entries)),
            Figure(name="entries", value=sum(audit.entries.values())),
            Figure(name="signed heads", value=audit.heads),
        ),
        sample=audit.messages,
    )


def _tamper(subject: LedgerRecord) -> LedgerRecord:
    """Alter one entry of the first ledger, as somebody without its key can."""
    (label, data), *others = subject.ledgers
    first, rest = data.split(b"\n", 1)
    entry = decode(first, LedgerEntry, party="")
    other = LedgerEntry(
        **{name: getattr(entry, name) for name in entry.__struct_fields__} | {"size": entry.size + 1}
    )
    return replace(subject, ledgers=((label, entry_bytes(other) + b"\n" + rest), *others))


LEDGERS_AGREE: Check[LedgerRecord] = Check(
    id="ledgers-agree",
    title="The parties' ledgers fit together",
    asks="Do the ledgers of all parties tell the same story, and that of the signed messages?",
    kind=Kind.RECORD,
    measure=_measure_ledgers,
    mutations={"tampered-ledger": _tamper},
    source="docs/ledger.md",
    repeatable=True,
)


# ---- cohort-size
@dataclass(frozen=True)
class Released:
    """A sum that was released, or that a party bound itself to release.

    Attributes:
        party: who says so.
        task_id: of the task.
        round: of that task.
        model: digest of the weights that the sum is over.
        members: clients in it.
    """

    party: str
    task_id: str
    round: int
    model: str
    members: tuple[str, ...]


@dataclass(frozen=True)
class Cohorts:
    """All sums over a task's clients, and the smallest that is allowed."""

    released: tuple[Released, ...]
    clients: tuple[str, ...]
    min_clients: int


def _measure_cohorts(subject: Cohorts, _draws: Draws) -> Measurement:
    sizes = {one: len(set(one.members) & set(subject.clients)) for one in subject.released}
    smallest = min(sizes.values())
    small = [f"{one.party} ({size})" for one, size in sizes.items() if size < subject.min_clients]
    says = (
        f"Every released sum is over at least {smallest} clients; {subject.min_clients} are the least allowed."
        if not small
        else f"Sums over fewer than the {subject.min_clients} clients allowed were released by {_listed(small)}."
    )
    return Measurement(
        refuted=bool(small),
        says=says,
        figures=(
            Figure(name="smallest cohort", value=smallest),
            Figure(name="least allowed", value=subject.min_clients),
        ),
        sample=len(sizes),
    )


def _one_client(subject: Cohorts) -> Cohorts:
    first, *others = subject.released
    return replace(subject, released=(replace(first, members=first.members[:1]), *others))


COHORT_SIZE: Check[Cohorts] = Check(
    id="cohort-size",
    title="No sum is over too few clients",
    asks="Was every released sum over at least as many clients as the task demands?",
    kind=Kind.RECORD,
    measure=_measure_cohorts,
    mutations={"cohort-of-one": _one_client},
    source="docs/attacks.md, 3",
    repeatable=True,
)


# ---- one-release
def _measure_releases(subject: tuple[Released, ...], _draws: Draws) -> Measurement:
    faults = []
    sums = sorted({(r.task_id, r.round, r.model, tuple(sorted(r.members))) for r in subject})
    for one, other in combinations(sums, 2):
        both = set(one[3]) & set(other[3])
        if one[:2] == other[:2]:
            faults.append(f"two different sums in round {one[1]} of task {short(one[0])}")
        elif one[0] != other[0] and one[2] == other[2] and both:
            faults.append(
                f"sums of the tasks {short(one[0])} and {short(other[0])} share {len(both)} clients"
            )
    says = (
        f"Of {len(sums)} released sums no two are of one round, nor of different tasks over the same weights with a common client."
        if not faults
        else f"{_listed(faults)}: their difference is about fewer clients than each of them."
    )
    return Measurement(
        refuted=bool(faults),
        says=says,
        figures=(Figure(name="sums", value=len(sums)), Figure(name="pairs at fault", value=len(faults))),
        sample=len(sums),
    )


def _release_again(subject: tuple[Released, ...]) -> tuple[Released, ...]:
    first = subject[0]
    return (*subject, replace(first, task_id=sha256(b"another task"), members=first.members[1:]))


ONE_RELEASE: Check[tuple[Released, ...]] = Check(
    id="one-release",
    title="No second sum over the same weights",
    asks="Did any party release two sums whose difference tells of single clients?",
    kind=Kind.RECORD,
    measure=_measure_releases,
    mutations={"second-release": _release_again},
    source="Denning, Denning and Schwartz, ACM TODS 4(1), 1979, section 3",
    repeatable=True,
)


def _listed(faults: Iterable[str]) -> str:
    named = list(faults)
    more = f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
    return "; ".join(named[:_SHOWN]) + more
