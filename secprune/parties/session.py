"""One party at work on one round: its keys, task, journal and exchange, and how it sends and reads.

Sending: sign, checkpoint, then post. Reading: verify signature, sender's role, task and round; what fails
is an incident that blames whoever the evidence points to, and never stops the party.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from secprune.compute.processes import Processes
from secprune.crypto.envelope import is_of_another_type, open_envelope, sign
from secprune.errors import (
    ConfigurationError,
    LocalMisuseError,
    NotReadyError,
    RemoteMisbehaviourError,
    TooFewPartiesError,
)
from secprune.exchange.api import ChunkMissingError, Exchange, Phase, Topic
from secprune.exchange.directory import open_exchange
from secprune.exchange.location import absolute_location
from secprune.files import environment_errors, read_bytes
from secprune.ids import Role, short
from secprune.messages.bfv import (
    BfvMessage,
    CiphertextSum,
    EncryptedReport,
    HashSeed,
    KeyCommitment,
    KeyShare,
    LinearHash,
    Opening,
    PartialDecryption,
)
from secprune.messages.ledger import LedgerHead
from secprune.messages.pairwise import (
    Abandoned,
    Consent,
    KeyAdvert,
    KeyList,
    MaskedReport,
    PairwiseMessage,
    Reveal,
    ShareBundle,
    ShareList,
    SurvivorList,
)
from secprune.messages.types import (
    AggregateShare,
    CloseRound,
    Cohort,
    Report,
    ReportCheck,
    RoundMessage,
    RoundOutcome,
    TaskSignature,
    Vote,
)
from secprune.parties.config import (
    IDENTITY_FILE,
    JOURNAL_FILE,
    PartyFile,
    check_policy,
    check_workers,
    read_party_file,
)
from secprune.parties.recording import RecordingExchange
from secprune.privacy.guarantee import check_claims
from secprune.protocols.api import Round
from secprune.storage.journal import Journal, Outgoing
from secprune.storage.keyfile import read_identity
from secprune.task import PartySpec, Task, parse_task

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    from secprune.compute.api import Workers
    from secprune.crypto.identity import Identity

AnyMessage = RoundMessage | PairwiseMessage | BfvMessage | LedgerHead
M = TypeVar("M", bound=AnyMessage)

_RELEASERS: tuple[Role, ...] = ("aggregator", "key-holder")  # only tasks of `bfv` have key holders
_SENDERS: dict[Phase, tuple[Role, ...]] = {
    "reports": ("client",),
    "checks": ("aggregator",),
    "close": ("coordinator",),
    "votes": _RELEASERS,
    "cohorts": _RELEASERS,
    "shares": _RELEASERS,
    "outcomes": ("coordinator",),
    "keys": ("client",),
    "key-lists": ("aggregator",),
    "bundles": ("client",),
    "bundle-lists": ("aggregator",),
    "masked-reports": ("client",),
    "survivors": ("aggregator",),
    "consents": ("client",),
    "reveals": ("client",),
    "key-commitments": ("key-holder",),
    "key-shares": ("key-holder",),
    "encrypted-reports": ("client",),
    "ciphertext-sums": ("aggregator",),
    "hash-seeds": ("key-holder",),
    "linear-hashes": ("client",),
    "openings": ("aggregator",),
    "partial-decryptions": ("key-holder",),
    "abandoned": _RELEASERS,
    "ledger-heads": ("client", "aggregator", "key-holder", "coordinator"),
}

PHASE_OF: dict[type, Phase] = {
    Report: "reports",
    ReportCheck: "checks",
    CloseRound: "close",
    Vote: "votes",
    Cohort: "cohorts",
    AggregateShare: "shares",
    RoundOutcome: "outcomes",
    KeyAdvert: "keys",
    KeyList: "key-lists",
    ShareBundle: "bundles",
    ShareList: "bundle-lists",
    MaskedReport: "masked-reports",
    SurvivorList: "survivors",
    Consent: "consents",
    Reveal: "reveals",
    KeyCommitment: "key-commitments",
    KeyShare: "key-shares",
    EncryptedReport: "encrypted-reports",
    CiphertextSum: "ciphertext-sums",
    HashSeed: "hash-seeds",
    LinearHash: "linear-hashes",
    Opening: "openings",
    PartialDecryption: "partial-decryptions",
    Abandoned: "abandoned",
    LedgerHead: "ledger-heads",
}


REPORT_OF: dict[str, type[Report | MaskedReport | EncryptedReport]] = {
    "additive": Report,
    "cleartext": Report,
    "pairwise": MaskedReport,
    "bfv": EncryptedReport,
}
"""What a client's report is in each protocol."""


@dataclass(frozen=True, slots=True)
class Received(Generic[M]):
    """A valid message: who signed it, the digest of its envelope, and whether it contradicts an earlier one."""

    sender: str
    digest: str
    message: M
    contradicts: bool


@dataclass(slots=True)
class Session:
    """A party's open things for one round."""

    directory: Path
    config: PartyFile
    card: PartySpec
    identity: Identity = field(repr=False)
    task: Task
    round: Round
    exchange: Exchange
    journal: Journal
    task_signature: bytes  # the coordinator's, as this party got it
    _known: dict[str, set[str]] = field(default_factory=dict)
    _stored: set[int] = field(default_factory=set)  # chunks of the journal that are in the exchange

    @property
    def name(self) -> str:
        """This party's name in the roster."""
        return self.card.name

    def path(self, entry: str | None, what: str) -> Path:
        """A path of the party file.

        Raises:
            ConfigurationError: the party file does not give it.
        """
        if not entry:
            raise ConfigurationError(f"the party file in {self.directory} does not say where {what} is")
        return self.directory / entry

    @property
    def workers(self) -> Workers:
        """Who does this party's heavy work, as its party file says."""
        spec = self.config.workers
        if spec.scheduler is None:
            return Processes(spec.processes)
        from secprune.compute.cluster import Cluster  # noqa: PLC0415 - dask, only where it is used

        ca, certificate, key = (
            self.path(entry, f"the {what} for the scheduler")
            for entry, what in ((spec.ca, "ca"), (spec.certificate, "certificate"), (spec.key, "key"))
        )
        return Cluster(spec.scheduler, ca=ca, certificate=certificate, key=key)

    @property
    def exchange_location(self) -> str:
        """Where the exchange is, for another process of this machine or one that sees the same file system."""
        return absolute_location(self.config.exchange, base=self.directory)

    def patience(self, timeout_s: float | None) -> Patience:
        """How to wait for others: looking as often as this exchange can bear."""
        return Patience(timeout_s, poll_s=self.exchange.poll_s)

    def at_round(self, index: int) -> Session:
        """The same party at another round of the same task."""
        return dataclasses.replace(
            self,
            round=Round.of(self.task, index),
            journal=self.journal.at_round(index),
            _known={},
            _stored=set(),
        )

    @property
    def work(self) -> Path:
        """Directory of this round's own files."""
        path = self.directory / "tasks" / short(self.round.task_id) / f"round-{self.round.index:03d}"
        with environment_errors(f"create {path}"):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    @property
    def min_clients(self) -> int:
        """The smallest cohort: the larger of the task's and of this site's policy."""
        return max(self.config.policy.min_clients, self.task.protocol.min_clients)

    # ---- sending
    def outgoing(self, message: AnyMessage, subject: str = "", *, chunks: Iterable[bytes] = ()) -> Outgoing:
        """Sign a message, for a checkpoint; `chunks` are small ones that it names.

        Chunks that were put before are stored when this returns: nobody commits to a message that names others.
        """
        self.exchange.flush()
        envelope = sign(message, signer=self.name, identity=self.identity)
        return Outgoing(PHASE_OF[type(message)], subject, envelope, tuple(chunks))

    def abandonment(self, reason: str, missing: tuple[str, ...] = ()) -> Outgoing:
        """This party's word that the round has ended without a sum, for a checkpoint."""
        return self.outgoing(Abandoned(**self.round.names, reason=reason[:1000], missing=missing))

    def abandon(self, reason: str, missing: tuple[str, ...] = ()) -> None:
        """End the round here, and tell everybody."""
        self.journal.checkpoint(outgoing=[self.abandonment(reason, missing)])
        self.send()

    def send(self) -> int:
        """Post everything this party has committed itself to; returns the bytes of all envelopes."""
        outbox = self.journal.outbox()
        put = set()
        for number, data in self.journal.chunks(but=self._stored):
            self.exchange.put_chunk(data)
            put.add(number)
        for message in outbox:
            self.exchange.post(self._topic(message.phase), message.envelope)  # type: ignore[arg-type]
        self._stored |= put
        return sum(len(message.envelope) for message in outbox)

    def sent(self, kind: type[M]) -> M | None:
        """This party's own message of a kind, if it has committed itself to one."""
        for message in self.journal.outbox():
            if message.phase == PHASE_OF[kind]:
                return open_envelope(message.envelope, kind, signing_keys={self.name: self.card.signing_key})[
                    1
                ]
        return None

    def are_there(self, digests: Iterable[str]) -> bool:
        """Whether all these chunks are in the exchange, undamaged."""
        try:
            for digest in digests:
                self.exchange.get_chunk(digest)
        except (ChunkMissingError, RemoteMisbehaviourError):
            return False
        return True

    # ---- reading
    def read(
        self, kind: type[M], subject: Callable[[M], str] = lambda _message: "", *, again: bool = False
    ) -> Iterator[Received[M]]:
        """New valid messages of one kind, each once per session.

        Args:
            kind: the message type; its phase and the role of its sender follow from it.
            subject: what a message is about, where one sender sends several of a kind.
            again: also those that this session has read before.
        """
        phase = PHASE_OF[kind]
        keys = {p.name: p.signing_key for p in self.task.parties if p.role in _SENDERS[phase]}
        absent = set(self.task.names("client")) - set(self.round.clients)
        known = self._known.setdefault(phase, set())
        for digest, data in self.exchange.messages(self._topic(phase), known=() if again else known):
            known.add(digest)
            try:
                sender, message = open_envelope(data, kind, signing_keys=keys)
                self._check_binding(message, sender, absent)
            except RemoteMisbehaviourError as error:
                party = "exchange" if is_of_another_type(data, kind, signing_keys=keys) else error.party
                self.journal.note(party, f"{error.message} (in {phase})")
                continue
            standing = self.journal.first_seen(phase, sender, subject(message), digest, size=len(data))
            if standing != digest:
                self.journal.note(sender, f"signed two different messages (in {phase})")
            yield Received(sender, digest, message, contradicts=standing != digest)

    def read_one_each(self, kind: type[M], *, again: bool = False) -> Iterator[Received[M]]:
        """As `read`, for kinds of which every sender sends exactly one.

        Raises:
            RemoteMisbehaviourError: a sender signed two different ones.
        """
        for received in self.read(kind, again=again):
            if received.contradicts:
                raise RemoteMisbehaviourError(
                    f"{received.sender} signed two different {PHASE_OF[kind]}",
                    party=received.sender,
                    hint="nothing was released; keep the exchange's files as evidence",
                )
            yield received

    def counted(self, kind: type[M], members: Mapping[str, str]) -> dict[str, M]:
        """The very messages that a list names, read again: they may have come before a restart.

        Args:
            kind: their type.
            members: the digest of each one's envelope, by sender.

        Raises:
            NotReadyError: some of them are no longer in the exchange.
        """
        found: dict[str, M] = {}
        for received in self.read(kind, again=True):
            if members.get(received.sender) == received.digest:
                found[received.sender] = received.message
        if missing := sorted(set(members) - set(found)):
            raise NotReadyError(
                f"messages of {', '.join(missing)} are no longer in the exchange",
                hint="let these clients run `secprune client submit` again, then run this command again",
            )
        return found

    def check_abandoned(self) -> None:
        """End here if the aggregator has given the round up.

        Raises:
            TooFewPartiesError: it has; names who is missing.
        """
        for received in self.read(Abandoned, again=True):
            raise TooFewPartiesError(
                f"{received.sender} gave the round up: {received.message.reason}",
                missing=received.message.missing,
                hint="nothing was released; the coordinator can make a new task",
            )

    def _check_binding(self, message: AnyMessage, sender: str, absent: Collection[str]) -> None:
        if (message.task_id, message.round) != (self.round.task_id, self.round.index):
            raise RemoteMisbehaviourError(
                f"a message of {sender} for round {message.round} of task {short(message.task_id)} was replayed "
                "here",
                party="exchange",
            )
        if sender in absent:
            raise RemoteMisbehaviourError(
                f"{sender} does not take part in round {self.round.index}", party=sender
            )

    def _topic(self, phase: Phase) -> Topic:
        return Topic(self.round.task_id, self.round.index, phase)


def load_task(path: Path) -> Task:
    """Read the task file and verify its coordinator's signature, which lies beside it (`.sig`).

    Raises:
        ConfigurationError: not valid, not signed by the coordinator that it names, or it claims more privacy than its
            noise gives.
    """
    task = parse_task(read_bytes(path, what="the task file").decode(errors="replace"))
    signature = read_bytes(_signature_file(path), what="the task's signature")
    coordinator = task.coordinator
    try:
        _, signed = open_envelope(
            signature, TaskSignature, signing_keys={coordinator.name: coordinator.signing_key}
        )
    except RemoteMisbehaviourError as error:
        raise ConfigurationError(
            f"the signature beside {path.name} is not {coordinator.name}'s: {error.message}",
            hint="ask the coordinator for the task file and its .sig again",
        ) from error
    if (signed.task_id, signed.study) != (task.task_id, task.study):
        raise ConfigurationError(
            f"{path.name} was changed after {coordinator.name} signed it",
            hint="ask the coordinator for the task file and its .sig again",
        )
    check_claims(task)
    return task


def _signature_file(task: Path) -> Path:
    return task.with_name(task.name + ".sig")


@contextlib.contextmanager
def open_session(directory: Path, role: Role, *, exclusive: bool = True) -> Iterator[Session]:
    """Open a party's directory and check the task against keys and policy.

    Args:
        directory: holds party file, keys and journal.
        role: what the caller wants to act as.
        exclusive: one process at a time; False only for looking (`status`).

    Raises:
        ConfigurationError: keys, party file, task and policy do not fit together.
        LocalMisuseError: another process works in this directory.
    """
    with directory_lock(directory) if exclusive else contextlib.nullcontext():
        config = read_party_file(directory)
        identity, card = read_identity(directory / IDENTITY_FILE)
        if card.role != role:
            raise ConfigurationError(f"{directory} holds the keys of a {card.role}, not of a {role}")
        task = load_task(directory / config.task)
        if task.party(card.name) != card:
            raise ConfigurationError(
                f"the roster lists other keys for {card.name} than this directory holds",
                hint="do not go on: ask the coordinator where the card in the roster came from",
            )
        check_policy(config.policy, task, card.name)
        check_workers(config.workers, role)
        round_ = Round.of(task)
        journal = Journal(
            directory / JOURNAL_FILE, task_id=round_.task_id, round_index=round_.index, party=card.name
        )
        try:
            exchange = RecordingExchange(open_exchange(config.exchange, base=directory), journal)
            signature = read_bytes(_signature_file(directory / config.task), what="the task's signature")
            yield Session(directory, config, card, identity, task, round_, exchange, journal, signature)
            exchange.flush()  # chunks that were sent again with no message after them
        finally:
            journal.close()


@contextlib.contextmanager
def directory_lock(directory: Path) -> Iterator[None]:
    """Hold a party's directory for this process.

    Raises:
        LocalMisuseError: another process holds it.
    """
    with environment_errors(f"use {directory}"):
        lock = (directory / ".lock").open("w")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LocalMisuseError(
                f"another secprune process works in {directory}", hint="wait for it, or stop it first"
            ) from None
        yield


@dataclass(slots=True)
class Patience:
    """How a party waits for others: it polls, and gives up after `timeout_s` (never, if None)."""

    timeout_s: float | None = None
    poll_s: float = 0.25
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _started: float | None = None

    @property
    def waited_s(self) -> float:
        """Seconds since this was first asked."""
        if self._started is None:
            self._started = self.clock()
        return self.clock() - self._started

    def wait(self, waiting_for: str) -> None:
        """Sleep one poll interval.

        Raises:
            NotReadyError: the time is over.
        """
        if self.timeout_s is not None and self.waited_s >= self.timeout_s:
            raise NotReadyError(
                f"still waiting for {waiting_for} after {self.timeout_s:.0f} s",
                hint="run the same command again to go on waiting; nothing is lost",
            )
        self.sleep(self.poll_s)
