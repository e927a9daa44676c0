"""Random schedules of faults in `pairwise`: the exact sum or a clean end, and never two different releases.

See tests/parties/schedules.py. Here clients also must reveal one secret of each client and never the other.
"""

from __future__ import annotations

import contextlib
import tempfile
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from faulty_exchange import World, fast_directory
from parties.schedules import (
    MATRICES,
    Batches,
    Schedule,
    catch_a_wrong_sum,
    close_by_clock,
    is_caught,
    kill_at_each_write,
    run_all,
    run_damaged,
)
from small_study import make_study

from secprune.crypto import shamir
from secprune.crypto.seal import ChunkCipher, open_secret
from secprune.errors import RemoteMisbehaviourError
from secprune.messages.codec import decode
from secprune.messages.pairwise import (
    KeyAdvert,
    KeyList,
    MaskedReport,
    Reveal,
    RevealedShares,
    ShareBundle,
    SurvivorList,
)
from secprune.messages.types import Cohort, Vote
from secprune.parties import report_words
from secprune.parties.coordinator import RoundResult
from secprune.parties.pairwise.client import reveal_context
from secprune.parties.report_words import chunk_words
from secprune.protocols.pairwise.aggregator import list_digest
from secprune.protocols.pairwise.keys import Binding, commitment, mask_key
from secprune.storage.journal import Journal

DAMAGED = 12
STRIDE = 4
"""Every so many of the aggregator's and a client's writes are tried; 1 tries all."""
ONE_OF_EACH = ("key-lists", "bundle-lists", "survivors", "votes", "cohorts", "shares", "abandoned")
OF_CLIENTS = ("keys", "bundles", "masked-reports", "consents", "reveals")


@pytest.fixture(scope="module")
def root():
    with fast_directory() as directory:
        yield directory


@cache
def _study(root, clients):
    return make_study(
        root / f"study-{clients}", clients=clients, aggregators=1, protocol="pairwise", matrices=MATRICES
    )


_ONE = np.uint64(1)


class PairwiseSchedule(Schedule):
    leaving = ("", "keys", "bundles", "bundles", "masked-reports", "consents")

    @classmethod
    def draw_study(cls, root, chance):
        return _study(root, chance.choice((4, 4, 5, 6)))

    def check_messages(self):
        for phase in ONE_OF_EACH:
            assert len(self.world.posted[phase]) <= 1, phase
        self._one_secret_of_each_client()

    def _one_secret_of_each_client(self):
        """With all shares ever revealed, exactly the secret that is due can be recovered of each client."""
        reveals = self._by_sender(Reveal)
        if not reveals:
            return
        world, aggregator = self.world, self.world.aggregator.name
        opening = self.study.identities[aggregator].opening
        (survivors,) = self._by_sender(SurvivorList).values()
        (keys,) = self._by_sender(KeyList).values()
        counted, listed = {m.client for m in survivors.members}, [m.client for m in keys.members]
        shares = {}
        with _session_for_contexts(self) as session:
            for client, reveal in reveals.items():
                assert client in counted, "a client that is not counted revealed shares"
                assert reveal.survivors == list_digest(survivors)
                context = reveal_context(session, client, reveal.survivors)
                key = open_secret(reveal.key.sealed, opening, context)
                opened = decode(
                    ChunkCipher(key, context, count=1).open(0, reveal.shares), RevealedShares, party=client
                )
                subjects = [share.subject for share in opened.shares]
                assert len(set(subjects)) == len(subjects)
                for share in opened.shares:
                    shares.setdefault(share.subject, {})[listed.index(client)] = share.share
        threshold = 2 * len(self.study.clients) // 3 + 1
        bundles, adverts = self._by_sender(ShareBundle), self._by_sender(KeyAdvert)
        binding = Binding(world.round, list_digest(keys))
        for subject, held in shares.items():
            if len(held) < threshold:
                continue
            secret = shamir.recover(held, threshold=threshold, holders=len(listed))
            is_self_mask = commitment(secret, binding, subject) == bundles[subject].commitment
            is_mask_secret = mask_key(secret, world.round, subject).sealing_key == adverts[subject].mask_key
            assert (is_self_mask, is_mask_secret) == (subject in counted, subject not in counted)

    def _by_sender(self, kind):
        return dict(self.messages(kind))

    def exact(self, counts):
        super().exact(counts)
        (survivors,) = self._by_sender(SurvivorList).values()
        ((_, vote),), ((_, cohort),) = self.messages(Vote), self.messages(Cohort)
        assert vote.accepted == cohort.members == survivors.members
        assert len(survivors.members) >= 2 * len(self.study.clients) // 3 + 1

    def lost_for_good(self):
        """A client that has revealed its shares has forgotten its masks, and makes its report no more."""
        revealed, reports = self._by_sender(Reveal), self._by_sender(MaskedReport)
        return {digest for name in revealed for digest in reports[name].chunks}

    def not_ready(self):
        """With a limit, somebody gives up; without, the aggregator waits for those that never come, by name."""
        if self.damage:
            super().not_ready()
            return
        world = self.world
        assert not world.posted["shares"], "a sum was released, and the coordinator has none"
        assert world.close_after_s is None
        assert any(name in world.aggregator.waits_for for name in world.leaves), world.aggregator.waits_for


def _session_for_contexts(schedule):
    """What `reveal_context` needs of a session."""
    return contextlib.nullcontext(SimpleNamespace(task=schedule.study.task, round=schedule.world.round))


BATCHES = Batches(PairwiseSchedule, 120, 40)


@pytest.mark.parametrize("first", BATCHES.firsts)
def test_random_faults_end_in_the_exact_sum_or_a_clean_abort(root, first):
    BATCHES.run(root, first)


@pytest.mark.parametrize("leaves", [{}, {"clinic-1": "bundles"}], ids=["all stay", "one is lost"])
@pytest.mark.parametrize("party", ["adder-0", "clinic-0", "hq"])
def test_a_party_killed_at_one_of_its_writes_goes_on_and_the_sum_is_exact(root, party, leaves):
    stride = 1 if party == "hq" else STRIDE
    kill_at_each_write(PairwiseSchedule, root, _study(root, 4), party, leaves=leaves, stride=stride)


def test_the_aggregator_closes_steps_by_its_own_clock_and_the_sum_is_exact(root):
    close_by_clock(PairwiseSchedule, root, _study(root, 4), {"clinic-1": "bundles"})


def test_damage_in_the_exchange_ends_in_the_exact_sum_or_a_clean_end(root):
    run_damaged(PairwiseSchedule, root, DAMAGED, least=DAMAGED)


def test_lost_chunks_are_sent_again_when_their_senders_are_started_again(root):
    run_all(PairwiseSchedule, root, range(2000, 2030), lost_chunk=0.03)


@pytest.mark.parametrize("phase", ["bundles", "masked-reports", "shares"])
def test_all_chunks_of_a_step_are_sent_again_when_their_senders_are_started_again(root, phase):
    world = _small_world(root)
    senders = [world.aggregator] if phase == "shares" else world.clients
    for _ in range(200):
        world.turn(world.chance.choice([*world.clients, world.aggregator]))
        if len(world.posted[phase]) == len(senders):
            break
    lost = {digest.removeprefix("sha256:") for party in senders for digest in world.sent[party.name]}
    for path in (world.root / "exchange" / "chunks").rglob("*"):
        if path.name in lost:
            path.unlink()
    world.calm()
    world.run_until_quiet(sweeps=20)
    assert isinstance(world.coordinator.outcome, RoundResult)


@pytest.mark.parametrize("phase", ["cohorts", "shares", "votes"])
def test_the_coordinator_may_see_the_last_three_messages_in_any_order(root, phase):
    world = _small_world(root)
    while not world.posted["shares"]:
        for party in (*world.clients, world.aggregator):
            world.turn(party)
    world.hidden["hq"] = set(world.posted[phase])
    world.turn(world.coordinator)
    assert world.coordinator.outcome is None
    world.hidden.clear()
    world.turn(world.coordinator)
    assert isinstance(world.coordinator.outcome, RoundResult)


# ---- releases that are refused
def _small_world(root):
    return World(_study(root, 4), Path(tempfile.mkdtemp(dir=root)))


def _journal(world, task_id):
    return contextlib.closing(Journal(world.root / "adder-0.sqlite", task_id=task_id, round_index=0))


def test_a_sum_that_is_refused_does_not_forbid_the_next_task(root, monkeypatch):
    world = _small_world(root)
    monkeypatch.setattr(report_words, "chunk_words", lambda masks, chunk: chunk_words(masks, chunk) + _ONE)
    world.run_until_quiet()
    assert isinstance(world.aggregator.outcome, RemoteMisbehaviourError)
    with _journal(world, world.round.task_id) as journal:
        assert not journal.releases(world.study.task.model.weights_digest)


# ---- these checks can see
@pytest.mark.parametrize(("forgetful", "phases"), [("clinic-0", OF_CLIENTS), ("adder-0", ONE_OF_EACH)])
def test_a_party_without_a_journal_is_caught(root, forgetful, phases):
    assert is_caught(PairwiseSchedule, root, forgetful, phases)


def test_a_wrong_sum_is_caught(root):
    catch_a_wrong_sum(PairwiseSchedule, root)
