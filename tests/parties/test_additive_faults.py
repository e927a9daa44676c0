"""Random schedules of faults in `additive`: the exact sum or a clean end, and never two different releases.

See tests/parties/schedules.py. There are two or three aggregators, of which each may be lost, and clients that are
done once they have submitted.
"""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from faulty_exchange import AdditiveWorld, fast_directory
from parties.schedules import (
    MATRICES,
    Batches,
    Schedule,
    catch_a_wrong_sum,
    close_by_clock,
    is_caught,
    kill_at_each_write,
    run_damaged,
)
from sampled_study import make_sampled
from small_study import SmallStudy, make_study

from secprune.errors import TooFewPartiesError
from secprune.messages.types import AggregateShare, Cohort, Report, ReportCheck, Vote
from secprune.parties.coordinator import RoundResult
from secprune.protocols.payloads import kept_name
from secprune.pruning.tensorfile import TensorFile

MIN_CLIENTS = 3
DAMAGED = 16
LATE = "sent a report that came after the vote"
"""What an aggregator notes of a client that it went on without, and that is no accusation."""
STRIDE = 8
"""Every so many of a party's writes are tried; 1 tries all."""


@pytest.fixture(scope="module")
def root():
    with fast_directory() as directory:
        yield directory


@cache
def _study(root, clients, aggregators):
    return make_study(
        root / f"study-{clients}-{aggregators}",
        clients=clients,
        aggregators=aggregators,
        min_clients=MIN_CLIENTS,
        matrices=MATRICES,
    )


class AdditiveSchedule(Schedule):
    world_type = AdditiveWorld
    leaving = ("", "", "reports")
    leaving_server = ("", "checks", "votes", "cohorts", "shares")
    server_role = "aggregator"
    closing = (20, 40, 100, 250)
    closes, steps, needed = "coordinator", 2, ("aggregator",)

    @classmethod
    def draw_study(cls, root, chance):
        return _study(root, chance.choice((4, 4, 5)), chance.choice((2, 3)))

    @staticmethod
    def subject(message):
        return message.client if isinstance(message, ReportCheck) else ""

    def check_messages(self):
        self._one_encryption_each()
        self._one_cohort_released()

    def _one_encryption_each(self):
        """All chunks that a client ever put are those of its report: nothing is sealed twice under one key."""
        world, reports = self.world, dict(self.messages(Report))
        count = len(world.round.layout.chunks)
        for client in world.clients:
            assert len(world.sent[client.name]) <= count, f"{client.name} encrypted a chunk twice"
            if client.name in reports:
                assert set(world.sent[client.name]) == set(reports[client.name].chunks)
        for sender, share in self.messages(AggregateShare):
            checks = [check for name, check in self.messages(ReportCheck) if name == sender]
            named = {digest for check in checks for parcel in check.row_sums for digest in parcel.chunks}
            assert set(share.parcel.chunks) <= set(world.sent[sender]) - named

    def _one_cohort_released(self):
        """All that was signed and released, in messages and journals, is about one cohort: what all voted for."""
        votes, told = dict(self.messages(Vote)), {m.members for _, m in self.messages(Cohort)}
        released = {m.members for _, m in self.messages(AggregateShare)}
        assert released <= told
        assert len(told) <= 1
        journals = self.releases()
        assert {tuple(m.client for m in members) for members in told} >= set().union(*journals.values())
        for members in told:
            assert len(members) >= MIN_CLIENTS
            assert set(votes) == set(self.study.aggregators)
            assert set(members) == set.intersection(*(set(vote.accepted) for vote in votes.values()))
        for sender, _ in self.messages(AggregateShare):
            assert journals[sender], "released and not recorded"

    def lost_for_good(self):
        gone = self.gone()
        parcels = [parcel for name, m in self.messages(ReportCheck) if name in gone for parcel in m.row_sums]
        parcels += [m.parcel for name, m in self.messages(AggregateShare) if name in gone]
        return {digest for parcel in parcels for digest in parcel.chunks}

    def nobody_is_accused(self):
        """Nobody is blamed or refused; a client that came too late is only noted, by whom it came too late for."""
        votes = dict(self.messages(Vote))
        for who, party, what in self.world.blamed():
            assert what == LATE, (who, party, what)
            assert party not in {m.client for m in votes[who].accepted}
        assert not any(vote.refused for vote in votes.values())
        assert not any(check.refusal for _, check in self.messages(ReportCheck))

    def all_know(self, cohort):
        world = self.world
        for party in (*world.aggregators, *world.clients):
            assert party.gone or party.outcome is not None, (party.name, party.last)
            assert party.gone or party.role == "client" or party.outcome.cohort == cohort

    def _failed(self):
        parties = self.world.parties.values()
        return {p.name for p in parties if isinstance(p.outcome, TooFewPartiesError) and not p.gone}

    def is_over(self):
        return bool(self._failed())

    def aborted(self):
        world, votes, failed = self.world, dict(self.messages(Vote)), self._failed()
        assert world.close_after_s is not None
        assert not world.posted["cohorts"]
        assert not world.posted["shares"]
        assert not any(self.releases().values())
        servers = {*self.study.aggregators, world.coordinator.name}
        assert failed == servers - self.gone() or self.out_of_reach(), failed
        agreed = set.intersection(*({m.client for m in vote.accepted} for vote in votes.values()))
        assert len(agreed) < MIN_CLIENTS
        for name in failed:
            assert set(world.parties[name].outcome.missing) == set(self.study.clients) - agreed


class SampledSchedule(AdditiveSchedule):
    """The first round of layer sampling: four of six clients have its block, and weights are summed beside votes."""

    @classmethod
    def draw_study(cls, root, chance):
        return _block_study(root, chance.choice((2, 3)))

    def exact(self, counts):
        super().exact(counts)
        stored, cohort = TensorFile(counts), self.world.coordinator.outcome.cohort
        for m in self.world.round.matrices:
            plain = sum(self.study.numbers[name, m.name].astype(np.int64) for name in cohort)
            np.testing.assert_array_equal(np.array(stored.raw(kept_name(m.name))), plain)


class BlockStudy(SmallStudy):
    """The clients of the first round alone."""

    @property
    def clients(self):
        return self.task.round_clients(0)


@cache
def _block_study(root, aggregators):
    study = make_sampled(
        root / f"sampled-{aggregators}", (2,) * 6, aggregators=aggregators, min_clients=MIN_CLIENTS
    )
    outsiders = set(study.clients) - set(study.task.round_clients(0))
    identities = {name: one for name, one in study.identities.items() if name not in outsiders}
    return BlockStudy(study.root, study.task, identities, study.masks, study.numbers)


BATCHES, SAMPLED = Batches(AdditiveSchedule, 80, 40), Batches(SampledSchedule, 40, 40)


@pytest.mark.parametrize("first", BATCHES.firsts)
def test_random_faults_end_in_the_exact_sum_or_a_clean_abort(root, first):
    BATCHES.run(root, first)


@pytest.mark.parametrize("first", SAMPLED.firsts)
def test_random_faults_in_a_round_of_one_block_end_in_the_exact_sum_or_a_clean_abort(root, first):
    SAMPLED.run(root, first)


def test_damage_in_the_exchange_ends_in_the_exact_sum_or_a_clean_end(root):
    run_damaged(AdditiveSchedule, root, DAMAGED, least=DAMAGED // 2)


@pytest.mark.parametrize("party", ["adder-0", "adder-1", "clinic-0", "hq"])
@pytest.mark.parametrize(("aggregators", "leaves"), [(2, {}), (3, {"clinic-1": ""})])
def test_a_party_killed_at_one_of_its_writes_goes_on_and_the_sum_is_exact(root, aggregators, leaves, party):
    stride = 1 if party in ("clinic-0", "hq") else STRIDE
    kill_at_each_write(
        AdditiveSchedule, root, _study(root, 4, aggregators), party, leaves=leaves, stride=stride
    )


def test_the_coordinator_closes_by_its_own_clock_and_the_sum_is_exact(root):
    close_by_clock(AdditiveSchedule, root, _study(root, 4, 2), {"clinic-1": ""})


# ---- chunks that are lost
def lose(world, parties):
    """Remove all chunks of these parties from the exchange."""
    lost = {digest.removeprefix("sha256:") for party in parties for digest in world.sent[party.name]}
    found = [path for path in (world.root / "exchange" / "chunks").rglob("*") if path.name in lost]
    assert found
    for path in found:
        path.unlink()


def world_until(root, phase, senders):
    """A world without faults in which so many messages of a phase have been posted."""
    world = AdditiveWorld(_study(root, 4, 2), Path(tempfile.mkdtemp(dir=root)))
    for _ in range(200):
        others = [party for party in world.parties.values() if party is not world.coordinator]
        world.turn(world.chance.choice(others))
        if len(world.posted[phase]) >= senders:
            return world
    raise AssertionError(f"nobody came to {phase}")


@pytest.mark.parametrize("phase", ["reports", "votes"])
def test_chunks_of_clients_are_sent_again_when_they_are_started_again(root, phase):
    world = world_until(root, phase, 2)
    lose(world, world.clients)
    world.calm()
    world.run_until_quiet(sweeps=20)
    assert isinstance(world.coordinator.outcome, RoundResult)
    world.close()


@pytest.mark.parametrize("phase", ["checks", "shares"])
def test_chunks_of_aggregators_are_sent_again_when_they_are_started_again(root, phase):
    world = world_until(root, phase, 2)
    lose(world, world.aggregators)
    world.calm()
    world.run_until_quiet(sweeps=20)
    waits = [party.waits_for or str(party.last) for party in world.parties.values()]
    world.close()
    assert isinstance(world.coordinator.outcome, RoundResult), waits


# ---- these checks can see
@pytest.mark.parametrize(
    ("forgetful", "signs"),
    [
        ("clinic-0", ("reports", "encrypted a chunk twice", "two different")),
        ("adder-0", ("checks", "votes", "cohorts", "shares", "two different")),
        ("adder-1", ("checks", "votes", "cohorts", "shares", "two different")),
    ],
)
def test_a_party_without_a_journal_is_caught(root, forgetful, signs):
    assert is_caught(AdditiveSchedule, root, forgetful, signs)


def test_a_wrong_sum_is_caught(root):
    catch_a_wrong_sum(AdditiveSchedule, root)
