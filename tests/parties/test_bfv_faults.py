"""Random schedules of faults in `bfv`: the exact sum or a clean end, and never two different releases.

See tests/parties/schedules.py. There are key holders, of which one may be lost, and both forms.
"""

from __future__ import annotations

import pytest

pytest.importorskip("tenseal.sealapi", reason="needs tenseal (pip install 'secprune[he]')")
from bfv_world import FORMS, MIN_CLIENTS, tiny_study
from faulty_exchange import BfvWorld, fast_directory
from parties.schedules import (
    Batches,
    Schedule,
    catch_a_wrong_sum,
    close_by_clock,
    is_caught,
    kill_at_each_write,
    run_all,
    run_damaged,
)

from secprune.crypto.bfv import scheme
from secprune.crypto.seal import ChunkCipher, open_secret
from secprune.messages.bfv import (
    CiphertextSum,
    EncryptedReport,
    HashSeed,
    LinearHash,
    Opening,
    PartialDecryption,
)
from secprune.messages.types import AggregateShare, Cohort, Vote
from secprune.parties.bfv import shared
from secprune.protocols.bfv.terms import Terms, message_digest

DAMAGED = 8
STRIDE = 16
"""Every so many of a party's writes are tried; 1 tries all, in some minutes."""


@pytest.fixture(scope="module")
def root():
    with fast_directory() as directory:
        yield directory


@pytest.fixture(autouse=True)
def _no_self_test(monkeypatch):
    """It runs before every encryption, and with hundreds of small rounds takes longer than these."""
    monkeypatch.setattr(scheme, "self_test", lambda _parameters: None)


class BfvSchedule(Schedule):
    world_type = BfvWorld
    leaving = ("", "encrypted-reports", "encrypted-reports", "linear-hashes")
    leaving_server = ("", "key-commitments", "key-shares", "hash-seeds", "partial-decryptions", "shares")
    server_role, needed = "key-holder", ("key-holder",)

    @classmethod
    def draw_study(cls, root, chance):
        return tiny_study(root, chance.choice((4, 4, 5)), *chance.choice(FORMS))

    @staticmethod
    def subject(message):
        if isinstance(message, CiphertextSum):
            return message.attempt
        return message.sum if isinstance(message, HashSeed | LinearHash) else ""

    def check_messages(self):
        assert len({sender for sender, _ in self.messages(AggregateShare)}) <= 1
        self._one_encryption_each()
        self._one_cohort_opened()

    def _one_encryption_each(self):
        """All chunks that a client ever put, seen by others or not: one for each place, under one content key."""
        world, terms = self.world, Terms(self.world.round, "", MIN_CLIENTS)
        opening = self.study.identities[world.aggregator.name].opening
        reports = dict(self.messages(EncryptedReport))
        count = len(world.round.layout.chunks)
        for client in world.clients:
            sent = world.sent[client.name]
            assert len(sent) <= count, f"{client.name} encrypted a chunk twice"
            if client.name not in reports:
                continue
            report = reports[client.name]
            assert set(sent) == set(report.chunks), f"{client.name} sent other chunks than it signed"
            context = shared.report_context(terms, client.name, report.keys)
            cipher = ChunkCipher(open_secret(report.key.sealed, opening, context), context, count=count)
            for index, digest in enumerate(report.chunks):
                cipher.open(index, sent[digest])

    def _one_cohort_opened(self):
        """Key holders open one sum, the one that the only Opening names; their journals say the same."""
        world, openings = self.world, self.messages(Opening)
        sums = {message_digest(message): message for _, message in self.messages(CiphertextSum)}
        opened = [sums[message.sum] for _, message in openings]
        assert all(len(message.members) >= MIN_CLIENTS for message in sums.values())
        assert {m.opening for _, m in self.messages(PartialDecryption)} <= {
            message_digest(message) for _, message in openings
        }
        for message in opened:
            answered = {s for s, answer in self.messages(LinearHash) if answer.sum == message_digest(message)}
            assert answered == {member.client for member in message.members}
        for name, cohorts in self.releases().items():
            assert cohorts <= {tuple(member.client for member in m.members) for m in opened}, (name, cohorts)
        told = [m.members for kind in (Cohort, AggregateShare) for _, m in self.messages(kind)]
        told += [m.accepted for _, m in self.messages(Vote)]
        assert all(members == opened[0].members for members in told)
        assert opened or not world.posted["partial-decryptions"]

    def all_know(self, cohort):
        super().all_know(cohort)
        for holder in self.world.key_holders:
            if not holder.gone:
                assert holder.outcome.cohort == cohort
                assert not list((self.world.root / holder.name).rglob("*.chunk"))

    def lost_for_good(self):
        kinds = (PartialDecryption, AggregateShare)
        return {digest for kind in kinds for _, m in self.messages(kind) for digest in m.parcel.chunks}


BATCHES = Batches(BfvSchedule, 40, 20)


@pytest.mark.parametrize("first", BATCHES.firsts)
def test_random_faults_end_in_the_exact_sum_or_a_clean_abort(root, first):
    BATCHES.run(root, first)


def test_damage_in_the_exchange_ends_in_the_exact_sum_or_a_clean_end(root):
    run_damaged(BfvSchedule, root, DAMAGED, least=DAMAGED)


def test_lost_chunks_are_sent_again_when_their_senders_are_started_again(root):
    outcomes, _ = run_all(BfvSchedule, root, range(2000, 2006), lost_chunk=0.05)
    print(dict(outcomes))
    assert outcomes["sum"]


@pytest.mark.parametrize("party", ["adder-0", "clinic-0", "holder-0", "hq"])
@pytest.mark.parametrize(
    ("form", "key_holders", "leaves"), [("simple", 1, {}), ("blind", 2, {"clinic-1": "encrypted-reports"})]
)
def test_a_party_killed_at_one_of_its_writes_goes_on_and_the_sum_is_exact(
    root, form, key_holders, leaves, party
):
    study = tiny_study(root, 4, form, key_holders)
    kill_at_each_write(BfvSchedule, root, study, party, leaves=leaves, stride=STRIDE)


@pytest.mark.parametrize(("form", "key_holders"), FORMS)
def test_the_aggregator_closes_steps_by_its_own_clock_and_the_sum_is_exact(root, form, key_holders):
    study = tiny_study(root, 4, form, key_holders)
    close_by_clock(BfvSchedule, root, study, {"clinic-1": "encrypted-reports"})


# ---- these checks can see
ONE_OF_EACH_CLIENT = ("encrypted-reports", "linear-hashes", "encrypted a chunk twice")
ONE_OF_EACH_HOLDER = ("key-commitments", "key-shares", "hash-seeds", "partial-decryptions")


@pytest.mark.parametrize(
    ("forgetful", "signs"),
    [
        ("clinic-0", ONE_OF_EACH_CLIENT),
        ("holder-0", ONE_OF_EACH_HOLDER),
        ("adder-0", ("ciphertext-sums", "openings", "cohorts", "shares", "votes", "abandoned")),
    ],
)
def test_a_party_without_a_journal_is_caught(root, forgetful, signs):
    assert is_caught(BfvSchedule, root, forgetful, signs)


def test_a_wrong_sum_is_caught(root):
    catch_a_wrong_sum(BfvSchedule, root)
