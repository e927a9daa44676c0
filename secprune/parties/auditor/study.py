"""A finished study as an auditor finds it, and the subjects of the checks of kind record.

    task.toml, task.toml.sig     who took part, and in what
    exchange/                    a copy of the whole exchange; may lie elsewhere
    NAME/                        directories of parties, as far as they are at hand: of a demo or a rehearsal all
    *.ledger, ledgers/*.ledger   ledgers that parties have exported
    result.json, logs/           of a demo

Nothing is written below it, and nothing of clients' notes or masks leaves this module but blocks to search for.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import msgspec

from secprune.audit import records
from secprune.audit.chain import Ledger, read_ledger
from secprune.audit.evidence import Flow, Kept, PartyFact, StudyFacts
from secprune.audit.records import Cohorts, FlowRecord, LedgerRecord, Released, Remains
from secprune.audit.transcript import Transcript, make_transcript, opened
from secprune.audit.views import Declaration, make_flows, make_kept, roles_of
from secprune.errors import LocalMisuseError
from secprune.files import file_digest, read_bytes
from secprune.ids import sha256
from secprune.messages.bfv import Opening
from secprune.messages.pairwise import SurvivorList
from secprune.messages.types import AggregateShare, Cohort
from secprune.parties.auditor.directories import EXCHANGE, find_parties, read_exchange, stored_files
from secprune.parties.auditor.remains import find_haystacks, find_needles
from secprune.parties.session import PHASE_OF, load_task
from secprune.privacy.labels import privacy_label

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from secprune.audit.check import Planned
    from secprune.audit.ledgers import Posted
    from secprune.parties.auditor.directories import ExchangeDirectory, PartyDirectory
    from secprune.task import Task

TASK_FILE, RESULT_FILE = "task.toml", "result.json"


class _Baseline(msgspec.Struct, frozen=True):
    baseline_perplexity: float | None = None
    baseline_mask_agreement: float | None = None


class _Result(msgspec.Struct, frozen=True):
    privacy: _Baseline = _Baseline()


@dataclass(frozen=True)
class Study:
    """What there is of a study.

    Attributes:
        root: its directory.
        task: signed by its coordinator.
        facts: for evidence.
        exchange: as it was found.
        parties: whose directories are at hand.
        ledgers: all that are at hand, each with what to call it.
        transcript: what left parties.
        released: sums that parties released, or bound themselves to release, as messages and ledgers tell.
        flows: the transcript, by sender, receiver and kind.
        kept: files, by keeper and kind.
        inputs: digests of the public files, by name.
        declaration: of the threat models.
    """

    root: Path
    task: Task
    facts: StudyFacts
    exchange: ExchangeDirectory
    parties: tuple[PartyDirectory, ...]
    ledgers: tuple[tuple[str, bytes], ...]
    transcript: Transcript
    released: tuple[Released, ...]
    flows: tuple[Flow, ...]
    kept: tuple[Kept, ...]
    inputs: dict[str, str]
    declaration: Declaration = field(repr=False)


def open_study(root: Path, declared: Callable[[Task], Declaration], *, exchange: Path | None = None) -> Study:
    """Read a study's directory.

    Args:
        root: of the study.
        declared: what threat models declare of flows and files, in a study of this task.
        exchange: a copy of the exchange, if it does not lie in the directory.

    Raises:
        LocalMisuseError: the directory holds no study, or no exchange.
        ConfigurationError: the task is not valid, or not signed by its coordinator.
    """
    if not (root / TASK_FILE).is_file():
        raise LocalMisuseError(
            f"there is no study in {root}: it has no {TASK_FILE}",
            hint="name the directory that holds the task file, as `secprune demo --out DIR` leaves it",
        )
    place = exchange or root / EXCHANGE
    if not place.is_dir():
        raise LocalMisuseError(
            f"there is no exchange at {place}", hint="copy all of the study's exchange into a directory first"
        )
    task = load_task(root / TASK_FILE)
    declaration = declared(task)
    board, parties = read_exchange(place, task), tuple(find_parties(root, task))
    ledgers = tuple(_ledgers(root, parties))
    records_ = tuple(one.record for one in parties if one.record)
    transcript = make_transcript(task, board.posted, board.chunks, records_, phases=PHASE_OF)
    released = tuple(_released(task, board.posted, ledgers))
    files = [
        stored
        for one in parties
        for stored in stored_files(one.path, party=one.party.name, role=one.party.role)
    ]
    files += stored_files(place, party=EXCHANGE, role=EXCHANGE)
    return Study(
        root=root,
        task=task,
        facts=_facts(root, task, released),
        exchange=board,
        parties=parties,
        ledgers=ledgers,
        transcript=transcript,
        released=released,
        flows=make_flows(transcript.sent, roles_of(task), declaration.declares),
        kept=make_kept(files, declaration),
        inputs=dict(_inputs(root, board, ledgers)),
        declaration=declaration,
    )


def records_of(study: Study) -> list[Planned]:
    """The checks of kind record, each with its subject in this study."""
    task = study.task
    flows = FlowRecord(
        task=task,
        posted=study.exchange.posted,
        chunks=study.exchange.chunks,
        records=tuple(one.record for one in study.parties if one.record),
        kept=study.kept,
        phases=PHASE_OF,
        declares=study.declaration.declares,
    )
    stacks = find_haystacks(
        study.root, study.exchange, study.parties, study.transcript.sent, study.declaration
    )
    disks = tuple(one.party.name for one in study.parties if one.party.role != "client")
    remains = Remains(tuple(stacks), find_needles(task, study.parties), study.kept, disks)
    here = tuple(
        replace(one, members=tuple(sorted({*one.members} & {*task.round_clients(one.round)})))
        for one in study.released
        if one.task_id == task.task_id
    )
    cohorts = Cohorts(here, task.names("client"), task.protocol.min_clients)
    ledgers = LedgerRecord(task, study.ledgers, study.exchange.posted)
    nothing = "nothing was released"
    return [
        (records.DECLARED_FLOWS, flows if study.transcript.sent else "nothing was sent"),
        (records.RESIDUE, remains),
        (records.LEDGERS_AGREE, ledgers if study.ledgers else "no party's ledger is at hand"),
        (records.COHORT_SIZE, cohorts if here else nothing),
        (records.ONE_RELEASE, study.released or nothing),
    ]


def _ledgers(root: Path, parties: tuple[PartyDirectory, ...]) -> Iterator[tuple[str, bytes]]:
    for one in parties:
        if one.ledger is not None:
            yield one.party.name, one.ledger
    for path in sorted([*root.glob("*.ledger"), *root.glob("ledgers/*.ledger")]):
        yield path.name, read_bytes(path, what="a ledger")


def _released(
    task: Task, posted: tuple[Posted, ...], ledgers: tuple[tuple[str, bytes], ...]
) -> Iterator[Released]:
    model = task.model.weights_digest
    servers = {*task.names("aggregator"), *task.names("key-holder")}
    for one in posted:
        sender, message = opened(task, one, PHASE_OF) or ("", None)
        if sender not in servers:  # what others sign releases nothing, and is no declared flow
            continue
        match message:
            case AggregateShare() | Cohort() | SurvivorList():
                members = tuple(sorted(member.client for member in message.members))
            case Opening():
                members = tuple(sorted(member.client for member in message.hashes))
            case _:
                continue
        yield Released(sender, task.task_id, one.round, model, members)
    keys = {party.name: party.signing_key for party in task.parties}
    for label, data in ledgers:
        ledger = read_ledger(label, data, keys=keys)
        if isinstance(ledger, Ledger):  # what is wrong with others, ledgers-agree says
            for entry in ledger.entries:
                if entry.kind == "released":
                    members = tuple(sorted(entry.members))
                    yield Released(ledger.party, entry.task_id, entry.round, entry.digest, members)


def _facts(root: Path, task: Task, released: tuple[Released, ...]) -> StudyFacts:
    cohorts = [one.members for one in released if one.task_id == task.task_id]
    smallest = min(map(len, cohorts), default=None)
    return StudyFacts(
        study=task.study,
        task_id=task.task_id,
        model=task.model.weights_digest,
        weights=sum(matrix.rows * matrix.columns for matrix in task.model.matrices),
        sparsity=task.pruning.sparsity,
        schedule=task.pruning.schedule,
        protocol=task.protocol.name,
        payload=task.privacy.payload,
        mechanism=task.privacy.mechanism,
        min_clients=task.protocol.min_clients,
        roster=len(task.names("client")),
        cohort=tuple(sorted({name for members in cohorts for name in members})),
        parties=tuple(
            PartyFact(name=party.name, role=party.role, fingerprint=party.fingerprint)
            for party in task.parties
        ),
        label=privacy_label(task, cohort_size=smallest),
        public_only=_public_only(root / RESULT_FILE),
    )


def _public_only(path: Path) -> dict[str, float]:
    if not path.is_file():
        return {}
    try:
        found = msgspec.json.decode(read_bytes(path, what="the result"), type=_Result).privacy
    except msgspec.DecodeError as error:
        raise LocalMisuseError(f"{path} is not the result of a demo: {error}") from error
    figures = {"perplexity": found.baseline_perplexity, "mask agreement": found.baseline_mask_agreement}
    return {name: value for name, value in figures.items() if value is not None}


def _inputs(
    root: Path, exchange: ExchangeDirectory, ledgers: tuple[tuple[str, bytes], ...]
) -> Iterator[tuple[str, str]]:
    """Digests of task, ledgers, messages of each phase together, and names of all chunks together."""
    for name in (TASK_FILE, f"{TASK_FILE}.sig"):
        yield name, file_digest(root / name)
    for label, data in ledgers:
        yield f"ledger {label}", sha256(data)
    phases: dict[str, list[str]] = {}
    for one in exchange.posted:
        phases.setdefault(f"{EXCHANGE} {one.phase or 'other messages'}", []).append(one.digest)
    phases[f"{EXCHANGE} chunks"] = list(exchange.chunks)
    for name, digests in sorted(phases.items()):
        yield name, sha256("\n".join(sorted(digests)).encode())
