"""Whether the ledgers of a task's parties fit together, and with what was posted. Needs no private key.

Nobody is blamed on another's word where a signature could decide it: a head counts if its owner signed it, and
a finding about messages says whether the envelopes are there or only ledgers tell of them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from secprune.audit.chain import Finding, Ledger, read_ledger
from secprune.crypto.envelope import open_envelope
from secprune.errors import RemoteMisbehaviourError
from secprune.ids import short
from secprune.messages.ledger import ROOT, LedgerHead
from secprune.messages.types import Cohort, Vote
from secprune.protocols.agreement import intersection
from secprune.protocols.one_task import other_task

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from secprune.messages.ledger import LedgerEntry
    from secprune.task import Task

HEADS = "ledger-heads"
TASKS = "tasks"
_COHORTS, _VOTES = "cohorts", "votes"
_ONCE: dict[str, type[Any]] = {HEADS: LedgerHead, _COHORTS: Cohort, _VOTES: Vote}
_MESSAGES = frozenset({"sent", "received", "contradiction"})


@dataclass(frozen=True, slots=True)
class Posted:
    """A message of the exchange, as it lies there."""

    round: int
    phase: str
    digest: str
    envelope: bytes


class Audit(Struct, frozen=True, kw_only=True):
    """What was compared, and the first thing that does not fit."""

    task_id: str
    entries: dict[str, int]
    no_ledger_of: tuple[str, ...]
    heads: int
    messages: int
    releases: int
    consistent: bool
    finding: Finding | None


@dataclass(frozen=True, slots=True)
class _Head:
    """A head that its owner signed, and where it was found."""

    entries: int
    digest: str
    found: str


@dataclass(slots=True)
class _Evidence:
    """Everything that there is about one task."""

    task: Task
    ledgers: dict[str, Ledger] = field(default_factory=dict)
    heads: dict[str, list[_Head]] = field(default_factory=dict)
    signed: dict[tuple[str, int, str], Posted] = field(default_factory=dict)  # by sender, round and digest
    once: dict[tuple[int, str, str], dict[str, Any]] = field(
        default_factory=dict
    )  # by round, phase and sender
    other_tasks: list[str] = field(default_factory=list)  # ids that the coordinator has signed for this study

    @property
    def keys(self) -> dict[str, bytes]:
        return {party.name: party.signing_key for party in self.task.parties}

    def entries(self, *kinds: str) -> Iterator[tuple[str, LedgerEntry]]:
        """Entries about this task: whose ledger, and the entry."""
        for party, ledger in self.ledgers.items():
            for entry in ledger.entries:
                if entry.task_id == self.task.task_id and entry.kind in kinds:
                    yield party, entry

    def by_releasers(self, index: int, phase: str) -> dict[str, Any]:
        """What the releasers posted in a phase of a round, of each its first message."""
        found = {name: self.once.get((index, phase, name)) for name in self.task.releasers}
        return {name: next(iter(messages.values())) for name, messages in found.items() if messages}


def verify_ledgers(task: Task, files: Sequence[tuple[str, bytes]], posted: Sequence[Posted] = ()) -> Audit:
    """Compare exported ledgers of a task with each other and with the messages of the exchange.

    Args:
        task: whose roster says which keys count.
        files: exported ledgers, each with what to call it where it does not say whose it is.
        posted: messages of the task's exchange, of any phases and rounds, and the task signatures of its study; none
            if there is no exchange.
    """
    evidence = _Evidence(task)
    finding = next(_findings(evidence, files, posted), None)
    return Audit(
        task_id=task.task_id,
        entries={party: len(ledger.entries) for party, ledger in evidence.ledgers.items()},
        no_ledger_of=tuple(p.name for p in task.parties if p.name not in evidence.ledgers),
        heads=sum(len(heads) for heads in evidence.heads.values()),
        messages=len({entry.digest for _, entry in evidence.entries(*_MESSAGES)}),
        releases=sum(1 for _ in evidence.entries("released")),
        consistent=finding is None,
        finding=finding,
    )


def _findings(
    evidence: _Evidence, files: Sequence[tuple[str, bytes]], posted: Sequence[Posted]
) -> Iterator[Finding]:
    yield from _read_ledgers(evidence, files)
    _read_posted(evidence, posted)
    yield from _check_one_task(evidence)
    yield from _check_heads(evidence)
    yield from _check_equivocation(evidence)
    yield from _check_posted_once(evidence)
    yield from _check_omission(evidence)
    yield from _check_cohorts(evidence)
    yield from _check_members(evidence)
    for ledger in evidence.ledgers.values():
        yield from _check_one_release(ledger)


def _read_ledgers(evidence: _Evidence, files: Sequence[tuple[str, bytes]]) -> Iterator[Finding]:
    found: dict[str, Ledger] = {}
    for label, data in files:
        ledger = read_ledger(label, data, keys=evidence.keys)
        if isinstance(ledger, Finding):
            yield ledger
            continue
        other = found.setdefault(ledger.party, ledger)
        for seq, (one, two) in enumerate(zip(other.digests, ledger.digests, strict=False)):
            if one != two:
                yield _finding(
                    "chain", ledger.party, seq, "signed two ledgers that differ from this entry on"
                )
                break
        if len(ledger.digests) > len(other.digests):
            found[ledger.party] = ledger
    evidence.ledgers.update((p.name, found[p.name]) for p in evidence.task.parties if p.name in found)


def _read_posted(evidence: _Evidence, posted: Sequence[Posted]) -> None:
    """Keep what is validly signed for this round; anybody can write anything else into an exchange."""
    task_id = evidence.task.task_id
    for one in posted:
        if one.phase == TASKS:
            if other := other_task(evidence.task, one.envelope):
                evidence.other_tasks.append(other)
            continue
        try:
            sender, message = open_envelope(one.envelope, dict, signing_keys=evidence.keys)
            if (message.get("task_id"), message.get("round")) != (task_id, one.round):
                continue
            if kind := _ONCE.get(one.phase):
                _, typed = open_envelope(one.envelope, kind, signing_keys=evidence.keys)
                evidence.once.setdefault((one.round, one.phase, sender), {})[one.digest] = typed
        except (RemoteMisbehaviourError, RecursionError):  # of any type and depth, if a party signed it
            continue
        evidence.signed.setdefault((sender, one.round, one.digest), one)
    for (_, phase, sender), messages in evidence.once.items():
        if phase == HEADS:
            for head in messages.values():
                _keep_head(evidence, sender, head, "posted")


def _keep_head(evidence: _Evidence, sender: str, head: LedgerHead, found: str) -> None:
    kept = evidence.heads.setdefault(sender, [])
    if all((one.entries, one.digest) != (head.entries, head.head) for one in kept):
        kept.append(_Head(head.entries, head.head, found))


# ---- the task
def _check_one_task(evidence: _Evidence) -> Iterator[Finding]:
    """A study's name stands for one task; who shows different parties different ones has signed both."""
    task = evidence.task
    for other in sorted(set(evidence.other_tasks)):
        what = f"signed two different tasks for the study {task.study!r}: {task.task_id} and {other}"
        yield _finding("task", task.coordinator.name, None, what)


# ---- heads
def _check_heads(evidence: _Evidence) -> Iterator[Finding]:
    for witness, entry in evidence.entries("witnessed"):
        try:
            sender, head = open_envelope(entry.evidence, LedgerHead, signing_keys=evidence.keys)
        except RemoteMisbehaviourError:
            yield _finding("heads", witness, entry.seq, "tells of a head that nobody has signed")
            continue
        if (head.task_id, sender) == (evidence.task.task_id, entry.party):
            _keep_head(evidence, sender, head, f"witnessed by {witness}, entry {entry.seq}")
        else:
            yield _finding("heads", witness, entry.seq, f"tells of a head that is not {entry.party}'s")
    for party in evidence.task.parties:
        ledger = evidence.ledgers.get(party.name)
        seen: dict[int, str] = {0: ROOT}
        for kept in sorted(evidence.heads.get(party.name, ()), key=lambda one: one.entries):
            if seen.setdefault(kept.entries, kept.digest) != kept.digest:
                what = f"signed two different heads of its first {kept.entries} entries"
                yield _finding("heads", party.name, kept.entries - 1, what)
            if ledger is None:
                continue
            if kept.entries > len(ledger.digests):
                what = (
                    f"has {len(ledger.digests)} entries, and signed a head of {kept.entries} ({kept.found}): "
                )
                yield _finding("heads", party.name, len(ledger.digests), what + "cut off, or exported before")
            elif kept.entries and ledger.digests[kept.entries - 1] != kept.digest:
                what = (
                    f"signed another head of {kept.entries} entries ({kept.found}): the chain was rewritten"
                )
                yield _finding("heads", party.name, kept.entries - 1, what)


# ---- messages
def _check_equivocation(evidence: _Evidence) -> Iterator[Finding]:
    seen: dict[tuple[str, int, str, str], dict[str, tuple[str, int]]] = {}
    for owner, entry in evidence.entries(*_MESSAGES):
        digests = seen.setdefault((entry.party, entry.round, entry.phase, entry.subject), {})
        digests.setdefault(entry.digest, (owner, entry.seq))
        if len(digests) < 2:
            continue
        (one, (first, first_seq)), (two, (second, second_seq)) = list(digests.items())[:2]
        about = f" about {entry.subject}" if entry.subject else ""
        yield _finding(
            "messages",
            entry.party,
            second_seq,
            f"sent two different {entry.phase}{about} in round {entry.round}: {one} (ledger of {first}, entry "
            f"{first_seq}) and {two} (ledger of {second}, entry {second_seq}); "
            f"{_proof(evidence, entry, (one, two))}",
            ledger=second,
        )


def _check_posted_once(evidence: _Evidence) -> Iterator[Finding]:
    """Of votes, cohorts and heads everybody posts one in a round; of other phases only readers know what is one."""
    for (index, phase, sender), messages in evidence.once.items():
        if len(messages) > 1:
            what = f"posted two different {phase} in round {index}: {' and '.join(list(messages)[:2])}"
            yield _finding("messages", sender, None, what)


def _check_omission(evidence: _Evidence) -> Iterator[Finding]:
    """What a party sent has to be in its ledger, once its part of the round has ended."""
    ended = {(owner, entry.round) for owner, entry in evidence.entries("sent") if entry.phase == HEADS}
    sent = {(owner, entry.round, entry.digest) for owner, entry in evidence.entries("sent")}
    for owner, entry in evidence.entries("received", "contradiction"):
        if (entry.party, entry.round) in ended and (entry.party, entry.round, entry.digest) not in sent:
            what = f"does not tell of the {entry.phase} {entry.digest} of round {entry.round}, which {owner} received; "
            proof = _proof(evidence, entry, (entry.digest,))
            yield _finding("messages", entry.party, entry.seq, what + proof, ledger=owner)
    for (sender, index, digest), posted in evidence.signed.items():
        if (sender, index) in ended and (sender, index, digest) not in sent:
            what = (
                f"does not tell of the {posted.phase} {digest} of round {index}, which it signed and posted"
            )
            yield _finding("messages", sender, None, what)


def _proof(evidence: _Evidence, entry: LedgerEntry, digests: tuple[str, ...]) -> str:
    if all((entry.party, entry.round, digest) in evidence.signed for digest in digests):
        return "the exchange holds what it signed"
    return "by the word of these ledgers: ask for the envelopes"


# ---- cohorts and releases
def _check_cohorts(evidence: _Evidence) -> Iterator[Finding]:
    for index in sorted({index for index, phase, _ in evidence.once if phase == _COHORTS}):
        cohorts = {party: one.members for party, one in evidence.by_releasers(index, _COHORTS).items()}
        votes = [one.accepted for one in evidence.by_releasers(index, _VOTES).values()]
        wrong = _outvoted(cohorts)
        if wrong and len(votes) == len(evidence.task.releasers):  # then it is known what they had to sign
            wrong = [party for party, members in cohorts.items() if members != intersection(votes)]
        for party in wrong:
            yield _finding("cohorts", party, None, f"signed another cohort of round {index} than the others")


def _check_members(evidence: _Evidence) -> Iterator[Finding]:
    released: dict[int, dict[str, tuple[str, ...]]] = {}
    at: dict[tuple[int, str], int] = {}
    for owner, entry in evidence.entries("released"):
        released.setdefault(entry.round, {}).setdefault(owner, tuple(sorted(entry.members)))
        at.setdefault((entry.round, owner), entry.seq)
        known = set(evidence.task.round_clients(entry.round))
        if len(known & set(entry.members)) < evidence.task.protocol.min_clients:
            what = f"released a sum over {len(known & set(entry.members))} clients in round {entry.round}"
            yield _finding("cohorts", owner, entry.seq, what)
    for index, members in sorted(released.items()):
        cohorts = evidence.by_releasers(index, _COHORTS)
        agreed = sorted(one.client for one in next(iter(cohorts.values())).members) if cohorts else None
        wrong = _outvoted(members)
        if agreed is not None:
            wrong = [party for party, names in members.items() if list(names) != agreed]
        for party in wrong:
            told = "the signed cohort"
            if agreed is None:
                told = f"{sum(m != members[party] for m in members.values())} of {len(members)} ledgers tell"
            what = f"released a sum over other clients in round {index} than {told}"
            yield _finding("cohorts", party, at[index, party], what)


def _outvoted(values: Mapping[str, tuple[Any, ...]]) -> list[str]:
    """Whose value is not the most frequent one; of equally frequent ones the first counts."""
    counted = Counter(values.values())
    return [party for party, value in values.items() if value != counted.most_common(1)[0][0]]


def _check_one_release(ledger: Ledger) -> Iterator[Finding]:
    """One sum in a round, and no second sum over the same model with any of the same clients, of any task."""
    earlier: list[LedgerEntry] = []
    for entry in (entry for entry in ledger.entries if entry.kind == "released"):
        for other in earlier:
            both = sorted(set(entry.members) & set(other.members))
            if (entry.task_id, entry.round) == (other.task_id, other.round):
                what = f"released twice in round {entry.round} of task {short(entry.task_id)}: also in entry {other.seq}"
                yield _finding("releases", ledger.party, entry.seq, what)
            elif entry.digest == other.digest and entry.task_id != other.task_id and both:
                what = (
                    f"released a second sum over the same model with {', '.join(both[:5])}: for task "
                    f"{short(entry.task_id)}, and in entry {other.seq} for task {short(other.task_id)}"
                )
                yield _finding("releases", ledger.party, entry.seq, what)
        earlier.append(entry)


def _finding(check: str, party: str, seq: int | None, what: str, *, ledger: str = "") -> Finding:
    return Finding(check=check, party=party, ledger=ledger or party, seq=seq, what=what)
