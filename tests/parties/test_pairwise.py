"""A round of `pairwise` between real parties: the plain sum, and every fault blamed on the right party."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from faulty_exchange import Crash, World, fast_directory
from small_study import make_study

from secprune.crypto.entropy import random_bytes
from secprune.crypto.envelope import open_envelope, sign
from secprune.errors import LocalMisuseError, NotReadyError, RemoteMisbehaviourError, TooFewPartiesError
from secprune.exchange.api import Topic
from secprune.messages.pairwise import (
    Consent,
    KeyAdvert,
    KeyList,
    MaskedReport,
    Reveal,
    RevealedShares,
    ShareBundle,
    ShareList,
    SurvivorList,
)
from secprune.parties import report_words, schedule
from secprune.parties.coordinator import RoundResult
from secprune.parties.pairwise import client as client_party
from secprune.parties.report_words import chunk_words
from secprune.parties.session import PHASE_OF
from secprune.protocols.pairwise import client as client_states
from secprune.pruning.tensorfile import TensorFile
from secprune.task import MatrixSpec, ModelSpec, PruningSpec

SOON = 60
"""Turns after which the aggregator goes on without whoever is missing: about ten of each party."""
NOBODYS = "sha256:" + "1" * 64
replace = msgspec.structs.replace
_ONE = np.uint64(1)


@pytest.fixture
def root():
    with fast_directory() as directory:
        yield directory


@pytest.fixture
def study(root):
    return make_study(root, aggregators=1, protocol="pairwise")


@pytest.fixture
def world(study, root):
    world = World(study, root / "world")
    yield world
    world.close()


def until(world, phase, condition=lambda found: found):
    """Let parties take turns until somebody has posted a message of this phase."""
    for _ in range(60):
        for party in world.parties.values():
            world.turn(party)
            if condition(world.posted[phase]):
                return
    raise AssertionError(f"nothing was posted in {phase}")


def kinds(parties):
    return {type(party.outcome) for party in parties}


def the_list(world, kind):
    ((_, envelope),) = world.envelopes(PHASE_OF[kind])
    keys = {party.name: party.signing_key for party in world.study.task.parties}
    return open_envelope(envelope, kind, signing_keys=keys)[1]


def post(world, name, message):
    """Post what a party signed outside of its software."""
    envelope = sign(message, signer=name, identity=world.study.identities[name])
    return world.board.post(Topic(world.round.task_id, 0, PHASE_OF[type(message)]), envelope)


def assert_sum_of(world, *names):
    assert isinstance(world.coordinator.outcome, RoundResult), world.coordinator
    assert world.coordinator.outcome.cohort == tuple(names)
    stored = TensorFile(world.counts_file())
    for name, plain in world.study.expected_counts(*names).items():
        np.testing.assert_array_equal(np.array(stored.raw(name)), plain)


def assert_no_sum(world):
    assert world.counts_file() is None
    assert not world.posted["shares"]


def is_parcel(data):
    """Share parcels are JSON; masked chunks are not."""
    return data.startswith(b"{")


# ---- the ordinary case
@pytest.mark.parametrize("clients", [3, 4, 7])
def test_the_counts_are_the_plain_sum(root, clients):
    study = make_study(root, clients=clients, aggregators=1, protocol="pairwise")
    world = World(study, root / "world")
    world.run_until_quiet()
    assert_sum_of(world, *study.clients)
    assert all(party.last is None for party in world.parties.values())
    assert not world.blamed()


def test_threads_and_the_schedule_give_the_plain_sum(study):
    outcomes = study.run_pairwise()
    assert outcomes["hq"].cohort == outcomes["adder-0"].cohort == study.clients
    for name, plain in study.expected_counts().items():
        np.testing.assert_array_equal(study.counts()[name], plain)


def _by_blocks(root, monkeypatch):
    blocks = [MatrixSpec(name=f"block.{i}.weight", rows=6, columns=8, block=i) for i in range(2)]
    digest = "sha256:" + "0" * 64
    study = make_study(
        root,
        aggregators=1,
        protocol="pairwise",
        model=ModelSpec(name="none", weights_digest=digest, tokenizer_digest=digest, matrices=tuple(blocks)),
        pruning=PruningSpec(sparsity="1/2", sequence_length=8, max_windows=1, schedule="iterative"),
    )
    assert study.task.rounds == 2

    def agreed(session):  # the real one reads a model
        for m in session.round.matrices:
            yield m.name, np.arange(m.rows * m.columns).reshape(m.rows, m.columns) % 2 == 0

    monkeypatch.setattr(schedule, "round_masks", agreed)
    return study


def test_rounds_of_the_iterative_schedule_are_sums_of_their_own(root, monkeypatch):
    study = _by_blocks(root, monkeypatch)
    outcomes = study.run_pairwise()
    assert outcomes["hq"].rounds == outcomes["adder-0"].rounds == 2, outcomes
    counts = study.counts()
    assert set(counts) == {"block.0.weight", "block.1.weight"}
    for name, plain in study.expected_counts().items():
        np.testing.assert_array_equal(counts[name], plain)


def test_clients_are_told_when_a_round_of_the_iterative_schedule_gives_no_sum(root, monkeypatch):
    study = _by_blocks(root, monkeypatch)
    monkeypatch.setattr(report_words, "chunk_words", lambda masks, chunk: chunk_words(masks, chunk) + _ONE)
    outcomes = study.run_pairwise(timeout_s=5)
    assert isinstance(outcomes.pop("adder-0"), RemoteMisbehaviourError)
    assert {type(outcome) for outcome in outcomes.values()} == {TooFewPartiesError}


# ---- clients that are missing
def test_the_round_goes_on_without_a_client_that_never_comes(world):
    world.close_after_s = SOON
    world.parties["clinic-1"].gone = True
    world.run_until_quiet(sweeps=200)
    assert_sum_of(world, "clinic-0", "clinic-2", "clinic-3")


def test_with_too_few_clients_everybody_is_told_who_is_missing(world):
    world.close_after_s = SOON
    for name in ("clinic-1", "clinic-2"):
        world.parties[name].gone = True
    world.run_until_quiet(sweeps=200)
    ended = [party for party in world.parties.values() if not party.gone]
    assert kinds(ended) == {TooFewPartiesError}
    assert {party.outcome.missing for party in ended} == {("clinic-1", "clinic-2")}
    assert_no_sum(world)


def test_without_a_limit_the_aggregator_waits_and_says_for_whom(world):
    world.timeout_s = SOON
    world.parties["clinic-1"].gone = True
    world.run_until_quiet(sweeps=30)
    assert isinstance(world.aggregator.last, NotReadyError)
    assert "keys of clinic-1" in str(world.aggregator.last)
    world.parties["clinic-1"].gone = False
    world.run_until_quiet()
    assert_sum_of(world, *world.study.clients)


def test_a_client_that_comes_back_too_late_is_left_out_and_reveals_nothing(world):
    world.close_after_s = SOON
    world.parties["clinic-2"].gone = True
    until(world, "survivors")
    world.parties["clinic-2"].gone = False
    world.run_until_quiet(sweeps=200)
    assert_sum_of(world, "clinic-0", "clinic-1", "clinic-3")
    assert isinstance(world.parties["clinic-2"].outcome, TooFewPartiesError)
    assert world.parties["clinic-2"].outcome.missing == ("clinic-2",)
    assert "clinic-2" not in {sender for sender, _ in world.envelopes("reveals")}


# ---- clients that lie
REPORTS = {
    "cut off": lambda data: data[:-1],
    "empty": lambda _: b"",
    "random": lambda data: random_bytes(len(data)),
    "one bit": lambda data: bytes([data[0] ^ 1]) + data[1:],
}


@pytest.mark.parametrize("fault", ["none", *REPORTS])
def test_a_report_that_does_not_open_is_missing_and_its_client_named(world, fault):
    world.close_after_s = SOON
    spoil = REPORTS.get(fault, lambda data: data)
    world.alter["clinic-1"] = lambda data: data if is_parcel(data) else spoil(data)
    world.run_until_quiet(sweeps=200)
    if fault == "none":
        assert_sum_of(world, *world.study.clients)
        return
    assert_sum_of(world, "clinic-0", "clinic-2", "clinic-3")
    assert {(by, party) for by, party, _ in world.blamed()} == {("adder-0", "clinic-1")}
    assert isinstance(world.parties["clinic-1"].outcome, TooFewPartiesError)


@pytest.mark.parametrize("fault", ["a chunk too few", "a word short", "another key"])
def test_a_report_that_opens_to_something_else_is_missing_and_its_client_named(world, monkeypatch, fault):
    world.close_after_s = SOON
    if fault == "a word short":
        honest = client_party.words_to_bytes

        def short(words):
            return honest(words)[:-8] if world.acting == "clinic-1" else honest(words)

        monkeypatch.setattr(client_party, "words_to_bytes", short)
    elif fault == "a chunk too few":
        world.lies["clinic-1", MaskedReport] = lambda m: replace(m, chunks=m.chunks[:-1])
    else:
        world.lies["clinic-1", MaskedReport] = lambda m: replace(
            m, key=replace(m.key, sealed=random_bytes(1200))
        )
    world.run_until_quiet(sweeps=200)
    assert_sum_of(world, "clinic-0", "clinic-2", "clinic-3")
    assert {(by, party) for by, party, _ in world.blamed()} == {("adder-0", "clinic-1")}


@pytest.mark.parametrize("excess", [0, 1, 3, 2**63])
def test_what_is_no_pruning_mask_is_not_released_and_no_client_is_named(world, monkeypatch, excess):
    """Under masks the aggregator sees that somebody lied, and cannot see who."""
    honest = report_words.chunk_words

    def words(masks, chunk):
        found = honest(masks, chunk)
        if world.acting == "clinic-2" and chunk.index == 0:
            found[0, 3] += np.uint64(excess)
        return found

    monkeypatch.setattr(report_words, "chunk_words", words)
    world.run_until_quiet()
    if not excess:
        assert_sum_of(world, *world.study.clients)
        return
    assert_no_sum(world)
    assert isinstance(world.aggregator.outcome, RemoteMisbehaviourError)
    assert world.aggregator.outcome.party not in world.study.clients
    assert "pruning masks" in str(world.aggregator.outcome)
    assert isinstance(world.coordinator.outcome, TooFewPartiesError), "the coordinator is told"
    assert not world.blamed()


@pytest.mark.parametrize("liar", ["clinic-0", "clinic-3"])
def test_one_client_that_reveals_wrong_shares_spoils_nothing(world, monkeypatch, liar):
    honest = client_party.encode

    def lie(message):
        if isinstance(message, RevealedShares) and world.acting == liar:
            message = RevealedShares(shares=tuple(replace(s, share=bytes(33)) for s in message.shares))
        return honest(message)

    monkeypatch.setattr(client_party, "encode", lie)
    world.run_until_quiet()
    assert_sum_of(world, *world.study.clients)


def test_shares_that_do_not_open_are_noted_and_others_are_enough(world):
    world.lies["clinic-0", Reveal] = lambda m: replace(m, shares=random_bytes(len(m.shares)))
    world.run_until_quiet()
    assert_sum_of(world, *world.study.clients)
    assert {(by, party) for by, party, _ in world.blamed()} == {("adder-0", "clinic-0")}


def test_a_consent_to_another_list_does_not_count(world):
    world.lies["clinic-0", Consent] = lambda m: replace(m, survivors=NOBODYS)
    world.run_until_quiet()
    assert_sum_of(world, *world.study.clients)  # three consents to the list are left, as many as it takes
    late = World(world.study, world.root / "second", close_after_s=SOON)
    for name in ("clinic-0", "clinic-1"):
        late.lies[name, Consent] = lambda m: replace(m, survivors=NOBODYS)
    late.run_until_quiet(sweeps=200)
    assert_no_sum(late)
    revealed = {sender for sender, _ in late.envelopes("reveals")}
    assert revealed <= {"clinic-0", "clinic-1"}, "an honest client saw two consents to its list and its own"


# ---- aggregators that lie
LISTS = (KeyList, ShareList, SurvivorList)


def another(shown):
    """A second list of the same kind that clients would accept alone: one client fewer."""
    return replace(shown, members=shown.members[:-1])


@pytest.mark.parametrize("kind", LISTS)
def test_two_different_lists_are_refused_and_nothing_is_revealed(world, kind):
    until(world, PHASE_OF[kind])
    post(world, "adder-0", another(the_list(world, kind)))
    world.run_until_quiet(sweeps=20)
    assert kinds(world.clients) == {RemoteMisbehaviourError}
    assert {client.outcome.party for client in world.clients} == {"adder-0"}
    assert all("two different" in str(client.outcome) for client in world.clients)
    assert not world.posted["reveals"]
    assert_no_sum(world)


@pytest.mark.parametrize("kind", LISTS)
def test_the_same_list_twice_is_one_list(world, kind):
    until(world, PHASE_OF[kind])
    post(world, "adder-0", the_list(world, kind))
    world.run_until_quiet()
    assert_sum_of(world, *world.study.clients)


def test_a_second_list_of_survivors_after_the_consent_is_refused(world):
    until(world, "consents", lambda found: len(found) == 1)
    ((consenting, _),) = world.envelopes("consents")
    post(world, "adder-0", another(the_list(world, SurvivorList)))
    world.run_until_quiet(sweeps=20)
    assert world.parties[consenting].outcome.party == "adder-0"
    assert not world.posted["reveals"]
    assert_no_sum(world)


@pytest.mark.parametrize("kind", LISTS)
def test_a_list_shown_to_some_and_another_to_others_reveals_nothing(world, kind):
    """The exchange helps the aggregator: nobody ever sees both lists."""
    world.close_after_s = SOON
    until(world, PHASE_OF[kind])
    (first,) = world.posted[PHASE_OF[kind]]
    second = post(world, "adder-0", another(the_list(world, kind)))
    for number, client in enumerate(world.clients):
        world.hidden[client.name] = {first if number % 2 else second}
    world.hidden["adder-0"] = {second}
    world.run_until_quiet(sweeps=200)
    assert not world.posted["reveals"]
    assert_no_sum(world)


@pytest.mark.parametrize("kind", [KeyList, ShareList])
def test_a_list_that_names_a_message_nobody_has_is_waited_for(world, kind):
    world.timeout_s = SOON
    bogus = lambda m: replace(m, members=(*m.members[:-1], replace(m.members[-1], report=NOBODYS)))  # noqa: E731
    world.lies["adder-0", kind] = bogus
    world.run_until_quiet(sweeps=30)
    others, named = world.clients[:-1], world.clients[-1]
    assert all(isinstance(client.last, NotReadyError) for client in others)
    assert isinstance(named.outcome or named.last, (NotReadyError, RemoteMisbehaviourError))
    assert not world.posted["reveals"]
    assert_no_sum(world)


def test_a_list_of_survivors_with_another_report_is_refused_by_its_client(world):
    bogus = lambda m: replace(m, members=(*m.members[:-1], replace(m.members[-1], report=NOBODYS)))  # noqa: E731
    world.lies["adder-0", SurvivorList] = bogus
    world.timeout_s = SOON
    world.run_until_quiet(sweeps=30)
    assert "another message of this client than it sent" in str(world.clients[-1].outcome)
    assert_no_sum(world)


# ---- replays
@pytest.mark.parametrize("field", [{"round": 1}, {"task_id": NOBODYS}, {}])
def test_a_message_of_another_round_or_task_does_not_count(world, field):
    """It was signed by the client itself, for something else; only the one for this round counts."""
    world.timeout_s = SOON
    world.lies["clinic-0", KeyAdvert] = lambda m: replace(m, **field)
    world.run_until_quiet(sweeps=15 if field else 60)
    if not field:
        assert_sum_of(world, *world.study.clients)
        return
    assert "keys of clinic-0" in str(world.aggregator.last)
    assert any(
        party == "exchange" and "was replayed here" in what for party, what in world.incidents("adder-0")
    )
    assert not world.blamed()
    assert not world.posted["key-lists"]


# ---- this site's own files
def test_masks_that_change_after_the_report_was_begun_are_refused(world, study):
    """Not one more chunk goes out: under the same keystreams it would tell the difference of both masks."""

    def die(data):
        if not is_parcel(data):
            raise Crash
        return data

    world.alter["clinic-0"] = die
    until(world, "bundle-lists")
    for _ in range(3):
        world.turn(world.parties["clinic-0"])  # killed as it sends its first chunk
    del world.alter["clinic-0"]
    honest = study.masks["clinic-0"]
    study.make_masks("clinic-0", seed=999)
    before = set((world.root / "exchange").rglob("*"))
    world.turn(world.parties["clinic-0"])
    assert isinstance(world.parties["clinic-0"].outcome, LocalMisuseError)
    assert "have changed since" in str(world.parties["clinic-0"].outcome)
    assert set((world.root / "exchange").rglob("*")) == before
    study.put_masks("clinic-0", honest)
    world.parties["clinic-0"].outcome = None
    world.run_until_quiet()
    assert_sum_of(world, *study.clients)


# ---- what a client does to the others
def test_a_bundle_without_a_parcel_for_a_peer_blames_its_client(world):
    world.close_after_s = SOON
    world.lies["clinic-0", ShareBundle] = lambda m: replace(
        m, parcels=tuple(p for p in m.parcels if p.receiver != "clinic-1")
    )
    world.run_until_quiet(sweeps=200)
    assert "clinic-0" in {getattr(party.outcome, "party", None) for party in world.clients} | {
        party for _, party, _ in world.blamed()
    }


@pytest.mark.parametrize("which", ["share_key", "mask_key"])
@pytest.mark.parametrize("half", ["ML-KEM", "X25519"])
def test_an_unusable_key_blames_its_client(world, which, half):
    def lie(message):
        key = getattr(message, which)
        return replace(
            message, **{which: b"\xff" * 1184 + key[1184:] if half == "ML-KEM" else key[:1184] + bytes(32)}
        )

    world.close_after_s = SOON
    world.lies["clinic-3", KeyAdvert] = lie
    world.run_until_quiet(sweeps=200)
    assert "clinic-3" in {getattr(party.outcome, "party", None) for party in world.clients} | {
        party for _, party, _ in world.blamed()
    }


def test_a_short_pair_seed_for_a_client_that_drops_out_blames_its_sender(world, monkeypatch):
    honest = client_states.seal_secret

    def seal(secret, key, context):
        lies = context.purpose.endswith("pair-seed") and (context.sender, context.receiver) == (
            "clinic-0",
            "clinic-3",
        )
        return honest(secret[:31] if lies else secret, key, context)

    monkeypatch.setattr(client_states, "seal_secret", seal)
    world.close_after_s = SOON
    until(world, "bundles", lambda found: len(found) == 4)
    world.parties["clinic-3"].gone = True
    world.run_until_quiet(sweeps=200)
    assert world.aggregator.outcome.party == "clinic-0"
    assert_no_sum(world)


def test_whoever_copies_keys_spoils_nothing_and_is_named(world):
    world.close_after_s = SOON
    world.parties["clinic-3"].gone = True  # it writes its message by other means
    until(world, "keys", lambda found: len(found) == 3)
    world.turn(world.aggregator)
    key = {"clinic-0": world.study.task.party("clinic-0").signing_key}
    original = next(envelope for sender, envelope in world.envelopes("keys") if sender == "clinic-0")
    copied = post(world, "clinic-3", open_envelope(original, KeyAdvert, signing_keys=key)[1])
    world.posted["keys"] = {copied: ("clinic-3", b""), **world.posted["keys"]}  # it is listed first
    world.stop(world.aggregator)
    world.run_until_quiet(sweeps=200)
    assert_sum_of(world, "clinic-0", "clinic-1", "clinic-2")
    assert {party for _, party, _ in world.blamed()} == {"clinic-3"}
