"""A study in one thread: real parties and journals over an exchange that loses, delays, doubles and shuffles.

`World` runs one party at a time until it waits, ends or is killed. All chance comes from one generator, so a
schedule is repeated by its seed. A party that is killed keeps nothing but its journal and its files. Time is how
many turns there were, and each party has a clock of its own (`Clock`), as wrong as `World.speeds` says.
"""

from __future__ import annotations

import contextlib
import os
import random
import tempfile
from collections import Counter, defaultdict
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from secprune.errors import (
    LocalEnvironmentError,
    NotReadyError,
    RemoteMisbehaviourError,
    SecpruneError,
)
from secprune.exchange.api import altered_chunk, missing_chunk
from secprune.exchange.directory import DirectoryExchange
from secprune.ids import sha256, short
from secprune.parties import progress
from secprune.parties.aggregator import Aggregator
from secprune.parties.bfv.aggregator import BfvAggregator
from secprune.parties.bfv.client import BfvClient
from secprune.parties.bfv.key_holder import KeyHolder
from secprune.parties.client import MASKS_FILE, submit
from secprune.parties.config import read_party_file
from secprune.parties.coordinator import Coordinator
from secprune.parties.pairwise.aggregator import PairwiseAggregator
from secprune.parties.pairwise.client import PairwiseClient
from secprune.parties.session import Patience, Session
from secprune.protocols.api import Round
from secprune.storage.journal import Journal


@contextlib.contextmanager
def fast_directory():
    """A new directory, in memory where there is one: a round makes hundreds of durable writes."""
    memory = Path("/dev/shm")
    base = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="secprune-test-", dir=base) as directory:
        yield Path(directory)


class Crash(BaseException):
    """The process is killed here. No `except Exception` sees it, as none sees SIGKILL."""


class Waiting(BaseException):
    """The party would sleep now; it goes on at its next turn."""


@dataclass
class Rates:
    """How often each fault happens, from 0 (never) to 1."""

    delayed: float = 0  # a message or chunk is seen by others some turns later
    lost: float = 0  # a message is never seen, unless its sender is started again
    lost_chunk: float = 0  # a chunk likewise
    stale: float = 0  # a listing shows only some of what is there
    doubled: float = 0  # a message is posted twice, and listed twice
    unread: float = 0  # a chunk does not come at this attempt: missing, cut off, or the disk fails
    full: float = 0  # a write to the journal or the exchange fails: the disk is full
    killed: float = 0  # a party is killed at a checkpoint, a post or a chunk, before it or after it
    stopped: float = 0  # a party is killed where it waits
    jumped: float = 0  # a clock is set forward or back when it is read

    def calm(self):
        """From now on nothing goes wrong."""
        for rate in fields(self):
            setattr(self, rate.name, 0)


class Clock:
    """A party's clock, from one start to the next: it begins anywhere, runs fast or slow, and may jump when it is read.

    A party that is not in `World.speeds` has one that is right.
    """

    def __init__(self, world, name):
        self._world, self._speed = world, world.speeds.get(name, 1)
        self._shift = world.chance.uniform(-1e6, 1e6) if name in world.speeds else 0.0
        self._began = None  # what it showed first, and when that was

    def __call__(self):
        world = self._world
        if world.happens("jumped"):
            self._shift += world.chance.choice((-1, 1)) * world.chance.choice((5, 50, 500, 1e6))
        shown = self._shift + self._speed * world.now
        self._began = self._began or (shown, world.now)
        limit = float("inf") if world.close_after_s is None else world.close_after_s
        is_due, seems_due = world.now - self._began[1] >= limit, shown - self._began[0] >= limit
        world.happened["early"] += seems_due and not is_due  # by this clock it is time to close
        world.happened["late"] += is_due and not seems_due
        return shown


class FaultyExchange:
    """One party's view of the exchange (see `secprune.exchange.api.Exchange`)."""

    def __init__(self, world, name):
        self._world, self._name, self._board = world, name, world.board
        self.muted = False  # a party that only goes on after a wait has sent its messages already

    def post(self, topic, envelope):
        world = self._world
        if self.muted:
            return sha256(envelope)
        world.posted[topic.phase].setdefault(sha256(envelope), (self._name, envelope))
        world.maybe_fail()
        world.maybe_crash()
        if world.happens("lost"):
            return sha256(envelope)
        digest = self._board.post(topic, envelope)
        if world.happens("doubled"):
            self._board.post(topic, envelope)
        world.maybe_delay(digest)
        world.maybe_crash()
        return digest

    def messages(self, topic, *, known=()):
        self.muted = False
        world = self._world
        # By when they were posted first: digests differ between two runs of a schedule, and chance must not.
        order = list(world.posted[topic.phase])
        found = sorted(self._board.messages(topic, known=known), key=lambda item: _place(order, item[0]))
        found = [item for item in found if item[0] not in world.hidden.get(self._name, ())]
        found = [item for item in found if world.is_visible(item[0]) and not world.happens("stale")]
        found += [item for item in found if world.happens("doubled")]
        if world.rates.doubled or world.rates.delayed:
            world.chance.shuffle(found)
        yield from found

    def put_chunk(self, data):
        world = self._world
        data = world.alter[self._name](data) if self._name in world.alter else data
        world.sent[self._name][sha256(data)] = data
        world.maybe_fail()
        world.maybe_crash()
        if world.happens("lost_chunk"):
            return sha256(data)
        digest = self._board.put_chunk(data)
        world.maybe_delay(digest)
        world.maybe_crash()
        return digest

    def flush(self):
        """Whatever was put is there, or was lost on purpose."""

    def get_chunk(self, digest):
        world = self._world
        self.muted = False
        if not world.is_visible(digest):
            raise missing_chunk(digest)
        if world.happens("unread"):
            raise world.chance.choice(
                (
                    missing_chunk(digest),
                    altered_chunk(digest),
                    LocalEnvironmentError("cannot read the exchange: Input/output error"),
                )
            )
        return self._board.get_chunk(digest)


class FaultyJournal:
    """A party's journal on disk, at whose writes the party may be killed."""

    WRITES = ("secret", "checkpoint", "first_seen", "record_release", "note", "keep_shard", "forget_shards")

    def __init__(self, world, journal):
        self._world, self._journal = world, journal

    def __getattr__(self, name):
        attribute = getattr(self._journal, name)
        if name not in self.WRITES:
            return attribute

        def write(*args, **options):
            counted = name not in ("first_seen", "note")  # what only records what was read is read again
            self._world.maybe_fail()
            self._world.maybe_crash(counted=counted)
            result = attribute(*args, **options)
            self._world.maybe_crash(counted=counted)
            return result

        return write


class LyingSession(Session):
    """Lets a party sign something else than its software says (`World.lies`)."""

    world = None

    def outgoing(self, message, *args, **options):
        lie = self.world.lies.get((self.name, type(message)))
        return super().outgoing(lie(message) if lie else message, *args, **options)


@dataclass
class Party:
    """One party: its process, if it runs, and how it ended."""

    name: str
    role: str
    session: Session | None = None
    machine: object = None
    clock: Clock | None = None
    patience: Patience | None = None
    outcome: object = None  # a result, or an error after which nothing can change
    last: SecpruneError | None = None  # the last error of any kind
    ended_before: object = None  # how it had ended before all parties were started again
    gone: bool = False  # for good
    starts: int = 0

    @property
    def over(self):
        return self.gone or self.outcome is not None

    @property
    def waits_for(self):
        return self.machine.waiting_for() if self.machine else ""


@dataclass
class World:
    """All parties of a small study of `pairwise` (see `BfvWorld` for another), each with a journal of its own under `root`."""

    study: object
    root: object
    seed: int = 0
    rates: Rates = field(default_factory=Rates)
    close_after_s: float | None = None
    timeout_s: float | None = None
    alter: dict = field(default_factory=dict)  # by party: what becomes of a chunk before it is sent
    lies: dict = field(
        default_factory=dict
    )  # by party and type: what becomes of a message before it is signed
    crash_at: tuple = ()  # a party, and at which of its `points` it is killed, counted from 1
    leaves: dict = field(default_factory=dict)  # by party: the phase after whose message it is gone for good
    forgetful: tuple = ()  # parties that lose their journals; no such party can be safe
    hidden: dict = field(default_factory=dict)  # by party: digests that the exchange does not show it
    speeds: dict = field(default_factory=dict)  # by party: how fast its clock runs, if it is a wrong one

    def __post_init__(self):
        self.chance = random.Random(self.seed)
        self.now = 0.0
        self.acting = ""
        self.happened = Counter()  # faults, by kind
        self.points = Counter()  # before and after how many writes each party could have been killed so far
        self.posted = defaultdict(dict)  # all messages ever posted, by phase and digest: (sender, envelope)
        self.root.mkdir(parents=True, exist_ok=True)
        self.sent = defaultdict(dict)  # all chunks that were ever to be put, by party and digest
        self.board = DirectoryExchange(self.root / "exchange")
        self.round = Round.of(self.study.task)
        self._visible = {}
        roster = [
            (party.name, party.role)
            for party in self.study.task.parties
            if party.role != "client" or party.name in self.study.clients
        ]
        self.parties = {name: Party(name, role) for name, role in roster}
        self.clients = [self.parties[name] for name in self.study.clients]
        self.aggregator = self.parties[self.study.aggregators[0]]
        self.coordinator = self.parties[self.study.task.coordinator.name]

    # ---- faults
    def happens(self, what):
        rate = getattr(self.rates, what)
        happened = bool(rate) and self.chance.random() < rate
        self.happened[what] += happened
        return happened

    def maybe_crash(self, *, counted=True):
        self.points[self.acting] += counted
        if self.happens("killed") or (counted and self.crash_at == (self.acting, self.points[self.acting])):
            raise Crash

    def maybe_fail(self):
        if self.happens("full"):
            raise LocalEnvironmentError("cannot write: No space left on device")

    def maybe_delay(self, digest):
        if digest not in self._visible and self.happens("delayed"):
            self._visible[digest] = self.now + self.chance.randint(1, 40)

    def is_visible(self, digest):
        return self._visible.get(digest, 0) <= self.now

    def calm(self):
        """All faults stop, nobody gives up, and everybody is started again, and so sends again what was lost.

        That goes for parties that had ended, too: they must end in the same way (`Party.ended_before`).
        Clocks stay as fast as they are.
        """
        self.rates.calm()
        self.timeout_s = None
        self._visible.clear()
        for party in self.parties.values():
            self.stop(party)
            party.ended_before, party.outcome = party.outcome, None

    # ---- parties
    def start(self, party):
        directory = self.directory_of(party)
        directory.mkdir(exist_ok=True)
        path = self.root / f"{party.name}.sqlite"
        journal = Journal(path, task_id=self.round.task_id, round_index=self.round.index)
        party.session = LyingSession(
            directory,
            read_party_file(self.study.root / party.name),
            self.study.task.party(party.name),
            self.study.identities[party.name],
            self.study.task,
            self.round,
            FaultyExchange(self, party.name),
            FaultyJournal(self, journal),
            (self.study.root / "task.toml.sig").read_bytes(),
        )
        party.session.world = self
        party.clock = Clock(self, party.name)
        party.patience = Patience(self.timeout_s, poll_s=1, clock=party.clock, sleep=_wait)
        party.starts += 1
        party.machine = self.machine_of(party)

    def directory_of(self, party):
        """Where it has its files: masks are those of the study, what the coordinator writes is this world's."""
        return (self.root if party.role == "coordinator" else self.study.root) / party.name

    def machine_of(self, party):
        if party.role == "client":
            return PairwiseClient(party.session)
        if party.role == "aggregator":
            return PairwiseAggregator(party.session, close_after_s=self.close_after_s)
        return Coordinator(party.session)

    def stop(self, party):
        """Kill it: what is not in its journal is lost."""
        if party.session is not None:
            party.session.journal.close()
            if party.name in self.forgetful:
                for path in self.root.glob(f"{party.name}.sqlite*"):
                    path.unlink()
        party.session = party.machine = party.patience = None

    def turn(self, party):
        """Let a party run until it waits, ends or is killed."""
        self.now += 1
        last = self.leaves.get(party.name)
        party.gone = party.gone or last == ""
        if not party.over:
            self._act(party)
        if last in self.posted and party.name in {name for name, _ in self.envelopes(last)}:
            self.stop(party)
            party.gone = True

    def _act(self, party):
        self.acting = party.name
        try:
            if party.machine is None:
                self.start(party)
            else:
                party.session.exchange.muted = True
            with mock.patch.object(progress, "time", SimpleNamespace(perf_counter=party.clock)):
                party.outcome = party.machine.run(party.patience)
            self.stop(party)
        except Waiting:
            if self.happens("stopped"):
                self.stop(party)
        except Crash:
            self.stop(party)
        except SecpruneError as error:
            self.happened["gave up"] += isinstance(error, NotReadyError)
            party.last = error
            party.outcome = error if self._is_final(error) else None
            self.stop(party)

    def sweep(self):
        """One turn of every party, in random order."""
        parties = list(self.parties.values())
        self.chance.shuffle(parties)
        for party in parties:
            self.turn(party)

    def run_until_quiet(self, sweeps=60, *, leap=0):
        """Let all parties take turns until everybody has ended, or nothing can happen any more.

        Args:
            sweeps: how many turns of each party.
            leap: turns by which time goes on after a sweep in which nobody had anything to say.
        """
        for _ in range(sweeps):
            if all(party.over for party in self.parties.values()):
                return
            before = self._said()
            self.sweep()
            self.now += leap if before == self._said() else 0

    def _said(self):
        ended = sum(party.outcome is not None for party in self.parties.values())
        return ended, *map(len, (*self.posted.values(), *self.sent.values()))

    def close(self):
        for party in self.parties.values():
            self.stop(party)

    @staticmethod
    def _is_final(error):
        """Whether starting the party again gives the same error, as an operator would see it."""
        if isinstance(error, (NotReadyError, LocalEnvironmentError)):
            return False
        return not (isinstance(error, RemoteMisbehaviourError) and error.party == "exchange")

    # ---- what came of it
    def blamed(self):
        """Members of the roster that any party has noted an incident about."""
        found = set()
        for party in self.parties.values():
            path = self.root / f"{party.name}.sqlite"
            if path.exists():
                found |= {(party.name, *incident) for incident in self.incidents(party.name)}
        return {incident for incident in found if incident[1] != "exchange"}

    def incidents(self, name):
        journal = Journal(
            self.root / f"{name}.sqlite", task_id=self.round.task_id, round_index=self.round.index
        )
        with contextlib.closing(journal):
            return journal.incidents()

    def counts_file(self):
        return next((self.root / self.coordinator.name).rglob("counts.safetensors"), None)

    def envelopes(self, phase):
        """All different messages of a phase that were ever posted, lost ones included: (sender, envelope)."""
        return list(self.posted[phase].values())


@dataclass
class BfvWorld(World):
    """The same for a study of `bfv`. All files of all parties are this world's own."""

    def __post_init__(self):
        super().__post_init__()
        self.key_holders = [self.parties[name] for name in self.study.task.names("key-holder")]
        self.work = Path("tasks", short(self.round.task_id), "round-000")  # of each party's directory
        for client in self.clients:
            directory = self.root / client.name / self.work
            directory.mkdir(parents=True, exist_ok=True)
            if not (directory / MASKS_FILE).exists():
                masks = self.study.root / client.name / self.work / MASKS_FILE
                (directory / MASKS_FILE).write_bytes(masks.read_bytes())

    def directory_of(self, party):
        return self.root / party.name

    def machine_of(self, party):
        match party.role:
            case "client":
                return BfvClient(party.session)
            case "key-holder":
                return KeyHolder(party.session)
            case "aggregator":
                return BfvAggregator(party.session, close_after_s=self.close_after_s)
        return Coordinator(party.session)


@dataclass
class AdditiveWorld(World):
    """The same for a study of `additive`: clients submit and are done, the coordinator closes the round."""

    def __post_init__(self):
        super().__post_init__()
        self.aggregators = [self.parties[name] for name in self.study.aggregators]

    def machine_of(self, party):
        match party.role:
            case "client":
                session = party.session
                return SimpleNamespace(run=lambda _patience: submit(session), waiting_for=lambda: "nothing")
            case "aggregator":
                return Aggregator(party.session)
        return Coordinator(party.session, close_after_s=self.close_after_s)


def _place(order, digest):
    return order.index(digest) if digest in order else len(order)


def _wait(_seconds):
    raise Waiting
