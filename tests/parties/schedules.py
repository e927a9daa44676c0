"""Schedules of faults, each drawn from one number, and what must hold after it whatever the protocol.

Real parties with real journals take turns in one thread (`faulty_exchange.World`). Messages and chunks are delayed,
doubled, shuffled, lost; listings are stale; reads fail; clocks are wrong; parties are killed wherever they write or
wait, give up, come late, or disappear for good. A protocol adds its studies, who may disappear when, and what its
messages must say.

SECPRUNE_SCHEDULES=500 runs so many schedules of each protocol (with `--timeout=0`, and `-rP` to see the counts).
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

import msgspec
import numpy as np
import pytest
from faulty_exchange import Rates, World

from secprune.crypto.envelope import open_envelope
from secprune.errors import TooFewPartiesError
from secprune.ids import sha256
from secprune.messages.pairwise import Abandoned
from secprune.messages.types import AggregateShare, Cohort
from secprune.parties.coordinator import RoundResult
from secprune.parties.session import PHASE_OF, REPORT_OF
from secprune.pruning.tensorfile import TensorFile
from secprune.storage.journal import Journal

MATRICES = (("a.weight", 3, 8), ("b.weight", 2, 6))
KINDS = {
    "delayed": (0.1, 0.4),
    "lost": (0.05, 0.2),
    "stale": (0.1, 0.4),
    "doubled": (0.1, 0.5),
    "unread": (0.02, 0.1),
    "full": (0.002, 0.01),
    "killed": (0.003, 0.02),
    "stopped": (0.05, 0.2),
    "jumped": (0.02, 0.1),
}
"""How often each fault happens in a schedule, if it does at all."""
SPEEDS = (0.2, 0.5, 1, 2, 5)
"""How fast clocks run, where they are wrong: in two schedules of three."""
PATIENCE = (None, None, 40, 150, 600)
"""How long parties wait for others before they give up, by their own clocks; they are started again."""
DAMAGE = (0.01, 0.05)
"""How often a file in the exchange is damaged, each turn, if that happens at all."""


class Schedule:
    """One schedule: who disappears or comes late, how often what goes wrong, and for how long.

    Args:
        root: where it has its directory.
        study: keys and masks; the same ones in many schedules, which have their own journals and exchange.
        length: turns until all faults stop.
        damage: how often a file in the exchange is damaged, each turn.
        comes: by party: the turn before which it has not come.
        world: options of the world.
    """

    world_type = World
    leaving = ()  # after which of its messages a client may disappear; it has not even come if there is none
    leaving_server = ()  # the same for a server,
    server_role = ""  # which is one of these
    closing = (40, 100, 250, 400)
    closes = "aggregator"  # whose clock it is that closes
    steps = 6  # how often it may have to
    needed = ()  # roles of which nobody may be missing

    def __init__(self, root, study, *, length=0, damage=0.0, comes=None, **world):
        self.study, self.length, self.damage, self.comes = study, length, damage, comes or {}
        self.world = self.world_type(study, Path(tempfile.mkdtemp(dir=root)), **world)

    @classmethod
    def draw_study(cls, root, chance):
        """One of the studies of these schedules."""
        raise NotImplementedError

    @classmethod
    def drawn(cls, root, seed, *, damage=0.0, **rates):
        """The schedule of this number; rates that are given are not drawn."""
        chance = random.Random(seed)
        study, length = cls.draw_study(root, chance), chance.randint(20, 200)
        everybody, clients = list(study.identities), list(study.clients)
        chance.shuffle(clients)
        lost = chance.choice((0, 0, 1, 1, 2, 3))
        leaves = {name: chance.choice(cls.leaving) for name in clients[:lost]}
        if cls.leaving_server and chance.random() < 0.15:
            leaves[chance.choice(study.task.names(cls.server_role))] = chance.choice(cls.leaving_server)
        wrong = everybody if chance.random() < 2 / 3 else ()
        return cls(
            root,
            study,
            length=length,
            damage=damage,
            comes={name: chance.randint(0, length) for name in everybody if chance.random() < 0.2},
            seed=seed,
            leaves=leaves,
            rates=Rates(**{**{kind: chance.choice((0, *levels)) for kind, levels in KINDS.items()}, **rates}),
            close_after_s=chance.choice(cls.closing) if chance.random() < (0.85 if lost else 0.5) else None,
            timeout_s=chance.choice(PATIENCE),
            speeds={name: chance.choice(SPEEDS) for name in wrong},
        )

    def run(self):
        """Storm, then calm; what the round ended in."""
        world = self.world
        try:
            for _ in range(self.length):
                party = world.chance.choice(list(world.parties.values()))
                if world.now >= self.comes.get(party.name, 0):
                    world.turn(party)
                else:
                    world.now += 1
                if self.damage and world.chance.random() < self.damage:
                    self._damage()
            world.calm()
            self._wait()
            return self.check()
        finally:
            world.close()
            shutil.rmtree(world.root)

    def _wait(self):
        """Long enough for all that clocks can bring about."""
        world, (closer,) = self.world, self.study.task.names(self.closes)
        waits = self.steps * (world.close_after_s or 0) / world.speeds.get(closer, 1)
        leap = 9 * len(world.parties)
        world.run_until_quiet(sweeps=20 + 4 * self.steps + int(waits / leap), leap=leap)

    def _damage(self):
        """Change, cut off or remove one file in the exchange; listed by when they were sent, for repeatability."""
        world = self.world
        paths = {"sha256:" + path.name: path for path in (world.root / "exchange").rglob("*")}
        kinds = (world.posted, world.sent)
        sent = [digest for kind in kinds for found in kind.values() for digest in found]
        there = [paths[digest] for digest in sent if digest in paths]
        if there:
            path, how = world.chance.choice(there), world.chance.choice(("one bit", "cut off", "removed"))
            world.happened["damaged"] += 1
            if how == "removed":
                path.unlink()
                return
            data = path.read_bytes()
            path.write_bytes(data[:-1] if how == "cut off" else bytes([data[0] ^ 1]) + data[1:])

    # ---- what is there
    def messages(self, kind):
        """All messages of a kind that were ever posted: (sender, message)."""
        keys = {party.name: party.signing_key for party in self.study.task.parties}
        envelopes = self.world.envelopes(PHASE_OF[kind])
        return [open_envelope(envelope, kind, signing_keys=keys) for _, envelope in envelopes]

    @staticmethod
    def subject(message):
        """What a message is about, where one sender sends several of a kind."""
        return ""

    def releases(self):
        """Cohorts whose sum each party has recorded as released."""
        world, found = self.world, defaultdict(set)
        for name in world.parties:
            path = world.root / f"{name}.sqlite"
            if path.exists():
                journal = Journal(path, task_id=world.round.task_id, round_index=0)
                with contextlib.closing(journal):
                    releases = journal.releases(self.study.task.model.weights_digest)
                    found[name] |= {release.members for release in releases}
        return found

    def gone(self):
        return {party.name for party in self.world.parties.values() if party.gone}

    def out_of_reach(self):
        """What is lost or damaged in the exchange for good: its sender is gone, or cannot make it again."""
        world, gone = self.world, self.gone()
        reports = self.messages(REPORT_OF[self.study.task.protocol.name])
        named = {digest for sender, report in reports if sender in gone for digest in report.chunks}
        for found in world.posted.values():
            named |= {digest for digest, (sender, _) in found.items() if sender in gone}
        whole = {sha256(path.read_bytes()) for path in (world.root / "exchange").rglob("*") if path.is_file()}
        return (named | self.lost_for_good()) - whole

    def lost_for_good(self):
        """Chunks but those of clients' reports that nobody makes again, if they are lost."""
        return set()

    # ---- what must hold
    def check(self):
        """What the round ended in: the exact sum, a clean abort, or waiting for whoever will never come."""
        self._one_message_each()
        self._one_release()
        self.check_messages()
        self._same_end_again()
        self.nobody_is_accused()
        counts = self.world.counts_file()
        if counts is not None:
            self.exact(counts)
            return "sum"
        if self.is_over():
            self.aborted()
            return "abort"
        self.not_ready()
        return "not ready"

    def _one_message_each(self):
        """Nobody ever posted two different messages about one subject, not even where one of them was lost."""
        for kind, phase in PHASE_OF.items():
            about = Counter((sender, self.subject(message)) for sender, message in self.messages(kind))
            assert max(about.values(), default=0) <= 1, (phase, about)
        assert not (self.world.posted["shares"] and self.world.posted["abandoned"]), "released and abandoned"

    def _one_release(self):
        """All that is released, in messages and journals, is about one cohort, and by those who may release."""
        senders = {sender for sender, _ in self.messages(AggregateShare)}
        released = {
            tuple(member.client for member in share.members) for _, share in self.messages(AggregateShare)
        }
        recorded = set().union(*self.releases().values())
        assert senders <= set(self.study.task.releasers), f"{senders} released a share"
        assert len(recorded) <= 1, f"two releases were recorded: {recorded}"
        assert released <= recorded, f"{released} was released, {recorded} was recorded"

    def check_messages(self):
        """What this protocol's messages must say."""

    def _same_end_again(self):
        for party in self.world.parties.values():
            before = party.ended_before
            if before is None or party.gone:
                continue
            assert type(party.outcome) is type(before), (party.name, before, party.outcome, party.last)
            # A client may learn that it was left out after it has learnt that the round was given up.
            for what in ("cohort", "report", *(() if party.role == "client" else ("missing",))):
                assert getattr(party.outcome, what, None) == getattr(before, what, None)

    def nobody_is_accused(self):
        assert self.world.blamed() == set(), "an honest party was blamed"

    def exact(self, counts):
        """The counts are the plain sum over the cohort that everybody was told, and nobody waits."""
        world, told = self.world, dict(self.messages(Cohort))
        assert set(told) == set(self.study.task.releasers)
        (members,) = {message.members for message in told.values()}
        cohort = tuple(member.client for member in members)
        assert len(cohort) >= self.study.task.protocol.min_clients
        assert isinstance(world.coordinator.outcome, RoundResult)
        assert world.coordinator.outcome.cohort == cohort
        stored = TensorFile(counts)
        expected = self.study.expected_counts(*cohort)
        for m in world.round.matrices:
            np.testing.assert_array_equal(np.array(stored.raw(m.name)), expected[m.name])
        if world.close_after_s is None:
            assert cohort == tuple(sorted(self.study.clients))
        self.all_know(cohort)

    def all_know(self, cohort):
        """Clients know whether they are in the sum."""
        for client in self.world.clients:
            if not client.gone:
                left_out = isinstance(client.outcome, TooFewPartiesError)
                assert left_out == (client.name not in cohort), (client, client.last)

    def is_over(self):
        """Whether the round has ended without a sum."""
        return bool(self.world.posted["abandoned"])

    def aborted(self):
        """Everybody was told who is missing, and nothing was released."""
        world, ((sender, message),) = self.world, self.messages(Abandoned)
        assert sender == world.aggregator.name
        assert world.close_after_s is not None
        assert message.missing
        assert not any(self.releases().values())
        for party in world.parties.values():
            # A client may have had its part in full before.
            if not party.gone and not (party.role == "client" and isinstance(party.outcome, msgspec.Struct)):
                assert isinstance(party.outcome, TooFewPartiesError), (party.name, party.outcome, party.last)
                assert party.outcome.missing in (message.missing, (party.name,))

    def not_ready(self):
        """Whoever is needed and never comes is waited for, by name, and nobody gives up."""
        world, gone, out_of_reach = self.world, self.gone(), self.out_of_reach()
        assert not world.posted["shares"] or gone & set(self.study.task.releasers) or out_of_reach
        if not out_of_reach:
            assert gone, "nobody was lost for good, and yet there is no sum"
            waits = [party.waits_for or str(party.last) for party in world.parties.values() if not party.over]
            assert any(name in text for name in gone for text in waits), (gone, waits)
            needed = {name for role in self.needed for name in self.study.task.names(role)}
            assert world.close_after_s is None or gone & needed


# ---- tests that every protocol has
class Batches:
    """Schedules of a protocol, some in each test, and what all of them so far ended in.

    Args:
        kind: which schedules.
        count: how many there are, but for SECPRUNE_SCHEDULES.
        size: how many of them in a test.
    """

    def __init__(self, kind, count, size):
        self._kind, self._size = kind, size
        self._count = int(os.environ.get("SECPRUNE_SCHEDULES", count))
        self.firsts = range(0, self._count, size)
        self._outcomes, self._faults = Counter(), Counter()

    def run(self, root, first):
        seeds = range(first, min(first + self._size, self._count))
        outcomes, faults = run_all(self._kind, root, seeds)
        self._outcomes += outcomes
        self._faults += faults
        total = self._outcomes.total()
        print(f"\n{self._kind.__name__}: {total} so far: {dict(self._outcomes)}, {dict(self._faults)}")
        if len(seeds) == self._size:  # else there would be too many faults to see anything, or too few
            assert outcomes["sum"] >= self._size // 3
            assert outcomes["abort"]
            assert all(faults[kind] for kind in (*KINDS, "early", "late", "gave up"))


def run_all(kind, root, seeds, *, damage=(0.0,), **rates):
    """How many schedules ended in what, and how often each fault happened."""
    outcomes, faults = Counter(), Counter()
    for seed in seeds:
        options = {"damage": damage[seed % len(damage)], **rates}
        schedule = kind.drawn(root, seed, **options)
        with said_of(f"{kind.__name__}, seed {seed}, {options}"):
            outcomes[schedule.run()] += 1
        faults += schedule.world.happened
    return outcomes, faults


@contextlib.contextmanager
def said_of(what):
    """Add to an error in what it happened."""
    try:
        yield
    except BaseException as error:
        error.add_note(what)
        raise


def run_damaged(kind, root, count, *, least):
    """What honest senders can make again is repaired; what they cannot is waited for, and nobody is blamed."""
    outcomes, faults = run_all(kind, root, range(5000, 5000 + count), damage=DAMAGE)
    print(dict(outcomes), dict(faults))
    assert outcomes["sum"] >= count // 4
    assert faults["damaged"] >= least


def kill_at_each_write(kind, root, study, party, *, leaves=None, stride=1):
    """Nothing goes wrong but that one party is killed once, at one of its writes, and maybe one client is lost."""
    leaves = leaves or {}

    def killed_at(point):
        closing = 100 if leaves else None
        schedule = kind(root, study, crash_at=(party, point), leaves=leaves, close_after_s=closing)
        with said_of(f"{party} was killed at point {point}"):
            assert schedule.run() == "sum"
        return schedule.world

    points = killed_at(0).points[party]
    assert points >= 2
    for point in range(1 + points % stride, points + 1, stride):
        assert killed_at(point).parties[party].starts > 1


def close_by_clock(kind, root, study, leaves):
    """A fast clock closes a round early and a slow one late, and the sum is exact each time."""
    (closer,) = study.task.names(kind.closes)

    def closed_at(speed):
        schedule = kind(root, study, leaves=leaves, close_after_s=200, speeds={closer: speed})
        assert schedule.run() == "sum"
        return schedule.world.now

    assert closed_at(5) < closed_at(1) < closed_at(0.2)


def is_caught(kind, root, forgetful, signs):
    """Whether a party that loses its journal with every restart is noticed."""
    for seed in range(50):
        schedule = kind.drawn(root, seed, stopped=0.3, delayed=0.4)
        schedule.world.forgetful = (forgetful,)
        try:
            schedule.run()
        except AssertionError as error:
            if any(sign in str(error) for sign in signs):
                return True
    return False


def catch_a_wrong_sum(kind, root):
    for seed in range(100):
        schedule = kind.drawn(root, seed)
        masks = schedule.study.masks
        schedule.study.masks = {name: {m: ~mask for m, mask in of.items()} for name, of in masks.items()}
        try:
            if schedule.run() == "sum":
                pytest.fail("a sum of other masks was not noticed")
        except AssertionError as error:
            assert "Arrays are not equal" in str(error)  # noqa: PT017 - which of several runs raises is by chance
            return
        finally:
            schedule.study.masks = masks
    pytest.fail("no schedule ended in a sum")
