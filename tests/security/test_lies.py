"""Parties that say two different things, and an exchange that lies, in every protocol.

Whatever is tried: the sum is exact or there is none, and no honest party blames another honest one. Parties run
their own software; what a liar adds is signed with its own key.
"""

from __future__ import annotations

from functools import partial

import msgspec
import pytest
from faulty_exchange import fast_directory
from ledger_study import audit, exported
from ledger_study import posted as posted_to_auditors
from turns import (
    ADDER,
    HOLDER,
    HQ,
    KINDS,
    NOBODYS,
    allow,
    assert_nothing_released,
    assert_sum_of,
    blamed,
    counts,
    everybody,
    new_board,
    new_study,
    next_task,
    post,
    posted,
    settle,
    turn,
)

from secprune.crypto.entropy import random_bytes
from secprune.errors import NotReadyError, RemoteMisbehaviourError
from secprune.exchange.api import Phase, Topic
from secprune.exchange.directory import DirectoryExchange
from secprune.ids import sha256
from secprune.messages.bfv import (
    CiphertextSum,
    EncryptedReport,
    HashSeed,
    KeyCommitment,
    KeyShare,
    LinearHash,
    Opening,
    PartialDecryption,
)
from secprune.messages.pairwise import (
    Consent,
    KeyAdvert,
    KeyList,
    MaskedReport,
    Reveal,
    ShareBundle,
    ShareList,
    SurvivorList,
)
from secprune.messages.types import AggregateShare, Cohort, Report, ReportCheck, Vote
from secprune.parties.coordinator import RoundResult
from secprune.parties.session import PHASE_OF, REPORT_OF

CLIENT = "clinic-0"
LATE_STEPS = {
    "additive": ("reports",),
    "pairwise": ("keys", "shares", "reports"),
    "blind": ("reports", "hashes"),
    "simple": ("reports", "hashes"),
}


@pytest.fixture
def root():
    with fast_directory() as directory:
        yield directory


# ---- two different messages where there is to be one
def _shorter(field):
    return lambda m: msgspec.structs.replace(m, **{field: getattr(m, field)[:-1]})


def _other(**fields):
    return lambda m: msgspec.structs.replace(m, **fields)


def _other_chunks(message):
    return msgspec.structs.replace(message, chunks=(NOBODYS,) * len(message.chunks))


SECOND = {
    Report: _other_chunks,
    ReportCheck: _other(refusal="another finding", row_sums=()),
    Vote: _shorter("accepted"),
    Cohort: _shorter("members"),
    AggregateShare: _shorter("members"),
    KeyAdvert: lambda m: msgspec.structs.replace(m, share_key=m.mask_key, mask_key=m.share_key),
    KeyList: _shorter("members"),
    ShareBundle: _other(commitment=bytes(32)),
    ShareList: _shorter("members"),
    MaskedReport: _other_chunks,
    SurvivorList: _shorter("members"),
    Consent: _other(survivors=NOBODYS),
    Reveal: _other(survivors=NOBODYS),
    KeyCommitment: _other(share=NOBODYS),
    KeyShare: _other(half=NOBODYS),
    EncryptedReport: _other_chunks,
    CiphertextSum: _shorter("members"),
    HashSeed: _other(seed=bytes(32)),
    LinearHash: _other(seeds=NOBODYS),
    Opening: _shorter("hashes"),
    PartialDecryption: _other(opening=NOBODYS),
}
"""A second message that honest software of the others would take if it came alone, as far as it can tell."""

LAST = (Vote, Cohort, AggregateShare)
BY_CLIENTS = {
    "additive": (Report,),
    "pairwise": (KeyAdvert, ShareBundle, MaskedReport, Consent, Reveal),
    "blind": (EncryptedReport, LinearHash),
    "simple": (EncryptedReport, LinearHash),
}
BY_SERVERS = {
    ("additive", ADDER): (ReportCheck, *LAST),
    ("pairwise", ADDER): (KeyList, ShareList, SurvivorList, *LAST),
    ("blind", ADDER): (CiphertextSum, Opening, *LAST),
    ("blind", HOLDER): (KeyCommitment, KeyShare, HashSeed, PartialDecryption),
    ("simple", ADDER): (CiphertextSum, Opening),
    ("simple", HOLDER): (KeyCommitment, KeyShare, HashSeed, *LAST),
}
OF_CLIENTS = [(kind, CLIENT, message) for kind, messages in BY_CLIENTS.items() for message in messages]
OF_SERVERS = [(kind, liar, message) for (kind, liar), messages in BY_SERVERS.items() for message in messages]


def say_twice(study, liar, kind):
    """Let all take turns until the liar has sent its message, and post a second one; the digests of both."""
    for _ in range(12):
        for name in everybody(study):
            turn(study, name)
            for sender, message, digest in posted(study, kind):
                if sender == liar:
                    second = post(study, liar, SECOND[kind](message))
                    assert second in {one for *_, one in posted(study, kind)}  # well formed, and another one
                    assert second != digest
                    return digest, second
    raise AssertionError(f"{liar} sent no {kind.__name__}")


def accusations(study, outcomes):
    """{(honest or not, whom it blames)} in journals and errors; the exchange is nobody's good name."""
    errors = {(n, o.party) for n, o in outcomes.items() if isinstance(o, RemoteMisbehaviourError)}
    return {(who, whom) for who, whom in {*blamed(study), *errors} if whom != "exchange"}


def assert_exact_or_none(study, outcomes):
    if counts(study) is not None:
        assert isinstance(outcomes[HQ], RoundResult)
        assert len(outcomes[HQ].cohort) >= study.task.protocol.min_clients
        assert_sum_of(study, *outcomes[HQ].cohort)


@pytest.mark.parametrize(("kind", "liar", "message"), OF_CLIENTS)
def test_a_client_that_says_two_things_is_named_and_stops_nobody(root, kind, liar, message):
    """It is left out, or its first message counts."""
    study = new_study(root, kind)
    say_twice(study, liar, message)
    outcomes = settle(study, close=LATE_STEPS[kind])
    assert_sum_of(study, *outcomes[HQ].cohort)
    assert set(outcomes[HQ].cohort) >= set(study.clients) - {CLIENT}
    found = {(who, whom) for who, whom in accusations(study, outcomes) if who != liar}
    assert {whom for _, whom in found} == {liar}


@pytest.mark.parametrize(("kind", "liar", "message"), OF_SERVERS)
def test_a_server_that_says_two_things_is_named_and_there_is_no_sum(root, kind, liar, message):
    study = new_study(root, kind)
    say_twice(study, liar, message)
    outcomes = settle(study, close=LATE_STEPS[kind])
    assert counts(study) is None
    if message is PartialDecryption:
        assert not posted(study, AggregateShare)
    elif message not in LAST:
        assert_nothing_released(study)
    found = {(who, whom) for who, whom in accusations(study, outcomes) if who != liar}
    assert {whom for _, whom in found} == {liar}


@pytest.mark.parametrize(("kind", "liar", "message"), [*OF_CLIENTS, *OF_SERVERS])
def test_two_things_said_to_different_parties_give_no_wrong_sum_and_an_auditor_names_the_liar(
    root, monkeypatch, kind, liar, message
):
    """The exchange helps: nobody ever sees both, so mostly nobody can tell before ledgers are compared."""
    board, study = new_board(monkeypatch), new_study(root, kind)
    first, second = say_twice(study, liar, message)
    others = [name for name in everybody(study) if name != liar]
    hidden = {name: second if number % 2 else first for number, name in enumerate(others)} | {liar: second}
    board.listing = lambda reader, _topic, found: [item for item in found if item[0] != hidden[reader]]
    outcomes = settle(study, close=LATE_STEPS[kind])
    assert_exact_or_none(study, outcomes)
    found = {whom for who, whom in accusations(study, outcomes) if who != liar}
    assert found <= {liar}
    board.listing = None
    finding = audit(study, exported(study), posted_to_auditors(study)).finding
    assert finding is not None
    assert finding.party == liar


@pytest.mark.parametrize("honest", ["adder-1", HQ])
def test_two_cohorts_shown_to_different_parties(root, monkeypatch, honest):
    """A smaller one for one of them; whoever sees it does not go on from it."""
    board, study = new_board(monkeypatch), new_study(root, "additive")
    first, second = say_twice(study, ADDER, Cohort)
    board.listing = lambda reader, _topic, found: [
        item for item in found if item[0] != (first if reader == honest else second)
    ]
    outcomes = settle(study)
    assert isinstance(outcomes[honest], RemoteMisbehaviourError)
    assert outcomes[honest].party == ADDER
    assert counts(study) is None
    assert {sender for sender, *_ in posted(study, AggregateShare)} <= {ADDER, *({"adder-1"} - {honest})}


# ---- the exchange: what lies there
VICTIMS = [
    ("additive", CLIENT),
    ("additive", "adder-1"),
    ("pairwise", CLIENT),
    ("pairwise", ADDER),
    ("blind", CLIENT),
    ("blind", ADDER),
    ("blind", HOLDER),
    ("simple", HOLDER),
]
DAMAGE = {
    "truncated": lambda data: data[:-1],
    "swapped": lambda data: random_bytes(len(data)),
    "withheld": lambda _data: None,
}


def assert_only_the_exchange_is_blamed(study, outcomes):
    assert not accusations(study, outcomes)
    assert all(
        isinstance(o, NotReadyError) or (isinstance(o, RemoteMisbehaviourError) and o.party == "exchange")
        for o in outcomes.values()
        if isinstance(o, Exception)
    ), outcomes


@pytest.mark.parametrize(("kind", "victim"), VICTIMS)
def test_chunks_of_a_party_that_are_damaged_give_no_sum_until_they_are_whole(root, monkeypatch, kind, victim):
    """In one way after the other: nobody gets past any of them."""
    board, study = new_board(monkeypatch), new_study(root, kind)
    for damage in DAMAGE.values():
        board.chunk = lambda reader, owner, _digest, data, damage=damage: (
            damage(data) if owner == victim != reader else data
        )
        outcomes = settle(study)
        assert counts(study) is None
        assert_only_the_exchange_is_blamed(study, outcomes)
        assert [o for o in outcomes.values() if isinstance(o, Exception)]
    board.chunk = None  # control
    outcomes = settle(study)
    assert_sum_of(study, *study.clients)
    assert_only_the_exchange_is_blamed(study, outcomes)


@pytest.mark.parametrize(("kind", "victim"), VICTIMS)
def test_chunks_that_change_places_give_no_sum(root, monkeypatch, kind, victim):
    """All of them are whole and of this very party; only their names are wrong."""
    board = new_board(monkeypatch)
    study = new_study(root, kind)
    kept = DirectoryExchange(study.exchange)

    def swapped(reader, owner, digest, data):
        own = sorted(d for d, who in board.owners.items() if who == owner)
        if owner != victim or reader == victim or len(own) < 2:
            return data[::-1] if owner == victim != reader else data
        return kept.get_chunk(own[(own.index(digest) + 1) % len(own)])

    board.chunk = swapped
    outcomes = settle(study)
    assert counts(study) is None
    assert_only_the_exchange_is_blamed(study, outcomes)
    board.chunk = None
    settle(study)
    assert_sum_of(study, *study.clients)


# ---- the exchange: what it lists
def _signer(data):
    return msgspec.json.decode(data)["signatures"][0]["keyid"]


LISTINGS = {
    "truncated": lambda data: (sha256(data[:-1]), data[:-1]),
    "signature of another": lambda data: _resigned(data),  # noqa: PLW0108 - it is below
    "withheld": lambda _data: None,
}


def _resigned(data):
    envelope = msgspec.json.decode(data)
    envelope["signatures"][0]["keyid"] = "clinic-1" if _signer(data) != "clinic-1" else ADDER
    changed = msgspec.json.encode(envelope, order="sorted")
    return sha256(changed), changed


@pytest.mark.parametrize(("kind", "victim"), VICTIMS)
def test_messages_of_a_party_that_do_not_come_whole_give_no_sum_until_they_do(
    root, monkeypatch, kind, victim
):
    """One lie after the other: nobody gets past any of them."""
    board, study = new_board(monkeypatch), new_study(root, kind)

    def listing(reader, topic, found, lie):
        if reader == victim or topic.phase == "tasks":
            return found
        shown = [lie(data) if _signer(data) == victim else (digest, data) for digest, data in found]
        return [item for item in shown if item is not None]

    for name, lie in LISTINGS.items():
        board.listing = partial(listing, lie=lie)
        before = _of_the_exchange(study)
        outcomes = settle(study)
        assert counts(study) is None
        assert_only_the_exchange_is_blamed(study, outcomes)
        assert (_of_the_exchange(study) > before) == (name != "withheld")
        waiting = [str(o) for n, o in outcomes.items() if n != victim and isinstance(o, NotReadyError)]
        assert any(victim in text for text in waiting), waiting  # they say whom they wait for
    board.listing = None
    outcomes = settle(study)
    assert_sum_of(study, *study.clients)
    assert_only_the_exchange_is_blamed(study, outcomes)


def _of_the_exchange(study):
    """How many incidents are blamed on the exchange."""
    return sum(party == "exchange" for name in everybody(study) for party, _ in study.incidents(name))


@pytest.mark.parametrize("kind", KINDS)
def test_an_exchange_that_lists_in_another_order_and_twice_changes_nothing(root, monkeypatch, kind):
    board, study = new_board(monkeypatch), new_study(root, kind)
    board.listing = lambda _reader, _topic, found: [*reversed(found), *found]
    outcomes = settle(study)
    assert_sum_of(study, *study.clients)
    assert not accusations(study, outcomes)


@pytest.mark.parametrize("kind", KINDS)
def test_messages_that_are_replayed_from_other_phases_rounds_and_tasks_change_nothing(
    root, monkeypatch, kind
):
    """Everything that was ever signed lies everywhere: also that of an earlier task of the same parties."""
    board = new_board(monkeypatch)
    study = new_study(root, kind)
    settle(study)
    assert_sum_of(study, *study.clients)
    first, exchange = study.task, DirectoryExchange(study.exchange)
    old = [item for phase in _phases() for item in exchange.messages(Topic(first.task_id, 0, phase))]
    next_task(study)
    allow(study)

    def listing(_reader, topic, found):
        here = [
            item for phase in _phases() for item in exchange.messages(Topic(study.task.task_id, 0, phase))
        ]
        genuine = {digest for digest, _ in found}
        return [*old, *(item for item in here if item[0] not in genuine), *found]

    board.listing = listing
    outcomes = settle(study)
    assert_sum_of(study, *study.clients)
    assert not accusations(study, outcomes)


def _phases():
    return [phase for phase in Phase.__args__ if phase != "tasks"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_report_that_is_withheld_from_one_reader_alone_is_not_added_behind_its_back(
    root, monkeypatch, kind
):
    """The sum is over what all who add have seen, or there is none."""
    board, study = new_board(monkeypatch), new_study(root, kind)
    phase, blind = PHASE_OF[REPORT_OF[study.task.protocol.name]], ADDER
    board.listing = lambda reader, topic, found: [
        item
        for item in found
        if not (reader == blind and topic.phase == phase and _signer(item[1]) == CLIENT)
    ]
    outcomes = settle(study)
    assert counts(study) is None
    assert_only_the_exchange_is_blamed(study, outcomes)
    outcomes = settle(study, close=LATE_STEPS[kind])
    assert_sum_of(study, *study.clients[1:])
    assert outcomes[HQ].cohort == study.clients[1:]
