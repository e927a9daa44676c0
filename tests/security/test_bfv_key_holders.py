"""Malicious key holders, and an exchange that loses things: nobody gets a key or a sum by it.

Shares that were not promised, that cancel the others' or that do not parse, wrong products, several seeds; then
messages that were seen and are gone. Everything is signed with real keys against the real parties. The controls:
a key holder by hand that keeps its promise, and the key that one would hold if nothing had to be promised.
"""

from __future__ import annotations

import re

import msgspec
import numpy as np
import pytest

pytest.importorskip("tenseal.sealapi", reason="needs tenseal (pip install 'secprune[he]')")
from bfv_attacker import (
    ADDER,
    HQ,
    LIAR,
    NONE,
    VICTIM,
    holders,
    masks_of,
    post,
    received,
    same,
    senders,
    settle,
    stored,
    turn,
    words_of,
)
from bfv_refusals import FIRST_FOUR, TWO, attempts, is_on_disk, on_disk, released_nothing, sums

from secprune.crypto.bfv import ring, wire
from secprune.crypto.bfv.decoding import decode
from secprune.crypto.bfv.keys import KeyShare as Key
from secprune.crypto.bfv.keys import join
from secprune.crypto.bfv.scheme import Encryptor
from secprune.crypto.entropy import random_bytes
from secprune.errors import NotReadyError, RemoteMisbehaviourError, TooFewPartiesError
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
from secprune.messages.types import AggregateShare, Parcel
from secprune.parties.bfv import shared
from secprune.parties.bfv.aggregator import BfvAggregator
from secprune.parties.coordinator import COUNTS_FILE
from secprune.parties.session import PHASE_OF, open_session
from secprune.protocols.bfv import aggregator, key_holder
from secprune.protocols.bfv.terms import message_digest


# ---- key holders
def by_hand(liar, name, seed=None):
    """A key holder's promise and share, with its chunk in the exchange: (commitment, share, key)."""
    p, key = liar.parameters, Key.derive(seed or random_bytes(32), liar.parameters)
    half = key.public_half(p, liar.terms.key_context)
    return (*published(liar, half), key)


def published(liar, half):
    data = wire.serialise(half, "key share", liar.parameters)
    share = KeyShare(**liar.round.names, parameters=liar.parameters.id, half=liar.exchange.put_chunk(data))
    return KeyCommitment(**liar.round.names, share=message_digest(share)), share


@pytest.fixture
def fresh(stages):
    """A study with two key holders in which nobody has said anything yet."""

    def make(root):
        from bfv_attacker import new_study

        return new_study(root, TWO)

    return stages._make(("fresh",), make)


def everybody_blames(liar, name, match, *, but=()):
    honest = [who for who in ("holder-0", *liar.study.clients, ADDER) if who not in but]
    outcomes = settle(liar.study, *honest)
    for who in honest:
        error = outcomes[who]
        assert isinstance(error, RemoteMisbehaviourError), (who, error)
        assert error.party == name
        assert re.search(match, error.message)
    assert not received(liar.study, EncryptedReport)
    assert released_nothing(liar.study)


def test_a_key_holder_by_hand_that_keeps_its_promise(fresh):
    """The control of all that is sent by hand for a key holder."""
    promise, share, _ = by_hand(fresh, "holder-1")
    post(fresh.study, "holder-1", promise)
    settle(fresh.study, "holder-0")
    post(fresh.study, "holder-1", share)
    settle(fresh.study, "holder-0", *fresh.study.clients)
    assert senders(fresh.study, EncryptedReport) == set(fresh.study.clients)


def test_another_share_than_was_promised_is_blamed_by_everybody(fresh):
    promise, _, _ = by_hand(fresh, "holder-1")
    _, other, _ = by_hand(fresh, "holder-1")
    post(fresh.study, "holder-1", promise)
    settle(fresh.study, "holder-0")
    post(fresh.study, "holder-1", other)
    everybody_blames(fresh, "holder-1", "another key share than it had promised")


def test_two_promises_or_two_shares_are_blamed_by_everybody(fresh, stages):
    first, share, _ = by_hand(fresh, "holder-1")
    second, other, _ = by_hand(fresh, "holder-1")
    again = stages._copy(fresh.study)
    post(fresh.study, "holder-1", first)
    settle(fresh.study, "holder-0")
    post(fresh.study, "holder-1", second)
    post(fresh.study, "holder-1", other)
    everybody_blames(fresh, "holder-1", "two different key-commitments")
    post(again.study, "holder-1", first)
    settle(again.study, "holder-0")
    post(again.study, "holder-1", share)
    post(again.study, "holder-1", other)
    everybody_blames(again, "holder-1", "two different key-shares")


def test_a_share_for_other_parameters_is_blamed_by_everybody(fresh):
    _, share, _ = by_hand(fresh, "holder-1")
    share = msgspec.structs.replace(share, parameters=NONE)
    post(fresh.study, "holder-1", KeyCommitment(**fresh.round.names, share=message_digest(share)))
    settle(fresh.study, "holder-0")
    post(fresh.study, "holder-1", share)
    everybody_blames(fresh, "holder-1", "for other parameters")


def test_a_share_that_does_not_parse_is_blamed_by_clients(fresh):
    data = fresh.exchange.put_chunk(b"not a share")
    share = KeyShare(**fresh.round.names, parameters=fresh.parameters.id, half=data)
    post(fresh.study, "holder-1", KeyCommitment(**fresh.round.names, share=message_digest(share)))
    settle(fresh.study, "holder-0")
    post(fresh.study, "holder-1", share)
    everybody_blames(fresh, "holder-1", "bytes of key share came where", but=("holder-0", ADDER))


def negative(halves, others, p):
    """The half that makes the joint key this one, whatever the others have published."""
    return tuple(
        ring.subtract(mine, other, q)
        for mine, other, q in zip(halves, join(others, p), p.all_primes, strict=True)
    )


def test_a_key_holder_that_cancels_the_others_would_hold_the_whole_key(fresh):
    """On the crypto layer, where nothing is promised: it alone decrypts what clients encrypt."""
    p, context = fresh.parameters, fresh.terms.key_context
    honest = Key.derive(random_bytes(32), p).public_half(p, context)
    rogue = Key.derive(random_bytes(32), p)
    mine = rogue.public_half(p, context)
    joint = join([honest, negative(mine, [honest], p)], p)
    assert all(np.array_equal(a, b) for a, b in zip(joint, mine, strict=True))
    words = words_of(fresh.study, fresh.study.masks[VICTIM])
    encryptor = Encryptor(p, joint, context)
    report = [encryptor.encrypt(one) for one in words]
    found = fresh.decrypted(report, [rogue.secret])
    assert same(masks_of(fresh.study, found), fresh.study.masks[VICTIM])


@pytest.mark.parametrize("promised", [False, True])
def test_nobody_can_cancel_the_others_key_shares(fresh, promised):
    """Without a promise of its own it sees no other share; with one it cannot publish the share it wants."""
    if promised:
        post(fresh.study, "holder-1", by_hand(fresh, "holder-1")[0])
    settle(fresh.study, "holder-0", *fresh.study.clients)
    assert senders(fresh.study, KeyShare) == ({"holder-0"} if promised else set())
    if not promised:
        assert not any(
            path.stat().st_size > 10_000 for path in (fresh.study.exchange).rglob("*") if path.is_file()
        )
        return
    rogue = Key.derive(random_bytes(32), fresh.parameters)
    mine = rogue.public_half(fresh.parameters, fresh.terms.key_context)
    ((_, _, other),) = received(fresh.study, KeyShare)
    data = fresh.exchange.get_chunk(other.half)
    half = wire.parse(data, "key share", fresh.parameters, count=1, sender="holder-0")
    _, cancelling = published(fresh, negative(mine, [half], fresh.parameters))
    post(fresh.study, "holder-1", cancelling)
    everybody_blames(fresh, "holder-1", "another key share than it had promised")


def test_a_copied_promise_gains_nothing(fresh):
    """A promise does not name who makes it, so the last one can promise the first one's share and publish it.

    The joint key's secret is then twice the first one's, which the copier does not know.
    """
    settle(fresh.study, "holder-0")
    ((_, _, promise),) = received(fresh.study, KeyCommitment)
    post(fresh.study, "holder-1", promise)
    settle(fresh.study, "holder-0")
    ((_, _, share),) = received(fresh.study, KeyShare)
    post(fresh.study, "holder-1", share)
    settle(fresh.study, "holder-0", *fresh.study.clients)
    report = fresh.reports()[VICTIM][1]
    secret = Key.derive(key_holder_seed(fresh, "holder-0"), fresh.parameters).secret
    found = fresh.decrypted(report, [secret, secret])
    assert same(masks_of(fresh.study, found), fresh.study.masks[VICTIM])
    with pytest.raises(RemoteMisbehaviourError, match="not one of honest"):
        fresh.decrypted(report, [])


def key_holder_seed(liar, name):
    return stored(liar.study, name, key_holder.State).seed


def test_a_directory_that_was_set_back_is_noticed_by_its_own_key_holder(fresh):
    settle(fresh.study, "holder-0")
    (fresh.study.root / "holder-0" / "journal.sqlite").unlink()
    turn(fresh.study, "holder-1")
    error = turn(fresh.study, "holder-0")
    assert isinstance(error, RemoteMisbehaviourError)
    assert error.party == "holder-0"
    assert not received(fresh.study, KeyShare) or senders(fresh.study, KeyShare) == {"holder-1"}


def real_aggregator(liar, message):
    """Let the real aggregator go on from a sum that was shown by hand."""
    with open_session(liar.study.root / ADDER, "aggregator") as session:
        party = BfvAggregator(session)
        for chunk, planes in zip(liar.chunks, liar.total(), strict=True):
            party._sum_path(0, chunk).write_bytes(liar.serialised(planes))
        members = {m.client: m.report for m in message.members}
        state = aggregator.Hashing(attempt=0, members=members, sum=message_digest(message))
        session.journal.checkpoint(state=msgspec.json.encode(state))


def without_its_key(liar):
    """The second key holder multiplies by another key share than it has published."""
    state = stored(liar.study, "holder-1", key_holder.State)
    with open_session(liar.study.root / "holder-1", "key-holder") as session:
        wrong = msgspec.structs.replace(state, seed=random_bytes(32))
        session.journal.checkpoint(state=msgspec.json.encode(wrong))


def no_products(liar):
    """The second key holder seals what are no products."""
    settle(liar.study, "holder-0", ADDER)
    ((_, _, opening),) = received(liar.study, Opening)
    digest, key = message_digest(opening), random_bytes(32)
    context = shared.products_context(liar.terms, "holder-1", digest)
    cipher = liar.cipher(key, context)
    chunks = tuple(liar.exchange.put_chunk(cipher.seal(i, b"none")) for i in range(len(liar.chunks)))
    parcel = Parcel(key=liar.seal_to(ADDER, key, context), chunks=chunks)
    post(liar.study, "holder-1", PartialDecryption(**liar.round.names, opening=digest, parcel=parcel))


@pytest.mark.parametrize(
    ("attack", "blamed"),
    [
        (without_its_key, "one of the counted clients, the aggregator or a key holder"),
        (no_products, "holder-1"),
        (None, ""),
    ],
)
def test_wrong_products_end_the_round(stages, attack, blamed):
    liar, message, _ = stages.answered(TWO)
    study = liar.study
    real_aggregator(liar, message)
    if attack:
        attack(liar)
    parties = (*holders(study), ADDER, HQ)
    outcomes = settle(study, *(parties if attack is not no_products else ("holder-0", ADDER, HQ)))
    assert senders(study, PartialDecryption) == set(holders(study))
    if not attack:
        assert same(study.counts(), study.expected_counts())
        return
    error = outcomes[ADDER]
    assert isinstance(error, RemoteMisbehaviourError)
    assert error.party == blamed
    assert isinstance(outcomes[HQ], TooFewPartiesError)
    assert not received(study, AggregateShare)
    assert not list((study.root / HQ).rglob(COUNTS_FILE))


def test_two_different_seeds_for_one_sum_are_blamed_by_everybody(stages):
    liar, message, _ = stages.answered(TWO)
    seeds, digest = on_disk(liar), message_digest(message)
    real_aggregator(liar, message)
    post(liar.study, "holder-1", HashSeed(**liar.round.names, sum=digest, seed=bytes(32)))
    for name in ("holder-0", VICTIM, ADDER):
        if name == "holder-0":
            liar.open(message)
        error = turn(liar.study, name)
        if name == VICTIM:  # its part was over when the opening was asked for
            assert not isinstance(error, Exception)
            continue
        assert isinstance(error, RemoteMisbehaviourError)
        assert error.party == "holder-1"
        assert "two different seeds" in error.message
    assert not is_on_disk(liar.study, "holder-0", seeds["holder-0"])
    assert released_nothing(liar.study)


def test_clients_answer_no_sum_with_two_different_seeds(stages):
    liar = stages.reported(TWO)
    message = liar.show(liar.total(), liar.members())
    settle(liar.study, *holders(liar.study))
    post(liar.study, "holder-1", HashSeed(**liar.round.names, sum=message_digest(message), seed=bytes(32)))
    for name in liar.study.clients:
        error = turn(liar.study, name)
        assert isinstance(error, RemoteMisbehaviourError)
        assert error.party == "holder-1"
    assert not received(liar.study, LinearHash)


@pytest.mark.parametrize("honest", [False, True])
def test_a_seed_for_another_sum_counts_for_no_sum(stages, honest):
    """Drawn before the sum was shown, or for one that never was; the control has one for this sum as well."""
    liar = stages.reported(TWO)
    message = liar.request(liar.total(), liar.members())
    for other in (NONE, liar.keys):
        post(liar.study, "holder-1", HashSeed(**liar.round.names, sum=other, seed=bytes(32)))
    settle(liar.study, *holders(liar.study), *liar.study.clients)
    assert senders(liar.study, HashSeed) == {"holder-1"}, "an honest one draws none before it sees a sum"
    post(liar.study, ADDER, message)
    settle(liar.study, "holder-0", *(("holder-1",) if honest else ()), *liar.study.clients)
    assert len(liar.answers(message)) == (5 if honest else 0)
    if not honest:
        liar.open(message, dict.fromkeys(liar.study.clients, NONE))
        assert isinstance(turn(liar.study, "holder-0"), NotReadyError)
        assert released_nothing(liar.study)


def test_key_holders_that_are_shown_different_openings_open_nothing_together(stages):
    """An exchange with two faces: one opens all five, the other the four without the victim."""
    liar = stages.reported(TWO)
    attempts(liar, (), FIRST_FOUR)
    (message,) = (one for one in sums(liar) if one.attempt == 0)
    parties = (*holders(liar.study), *liar.study.clients)
    (second,) = (one for one in sums(liar) if one.attempt == 1)
    settle(liar.study, *holders(liar.study), *FIRST_FOUR)
    for name in liar.study.clients:  # they answer for the first as well, as if they had not seen the second
        if name not in liar.answers(message):
            liar.answer(name, message, liar.reports()[name][1])
    totals = {message_digest(message): liar.total(), message_digest(second): liar.total(*FIRST_FOUR)}
    faces = [stages._copy(liar.study), stages._copy(liar.study)]
    products = {}
    for face, shown_there in zip(faces, (message, second), strict=True):
        face.open(shown_there)
        settle(face.study, *holders(face.study))
        for holder, _, product in received(face.study, PartialDecryption):
            products[message_digest(shown_there), holder] = face.products(product, holder)
    assert len(products) == 4, "either sum alone is opened by both"
    assert len(parties) == 7
    for name, total in totals.items():
        for pair in ((0, 1), (1, 0)):
            parts = [
                products[list(totals)[which], holder]
                for which, holder in zip(pair, holders(liar.study), strict=True)
            ]
            with pytest.raises(RemoteMisbehaviourError, match="not one of honest"):
                opened_with(liar, total, parts)
        both = [products[name, holder] for holder in holders(liar.study)]
        expected = liar.study.expected_counts(
            *(() if total is totals[message_digest(message)] else FIRST_FOUR)
        )
        assert same(masks_of(liar.study, opened_with(liar, total, both)), expected)


def opened_with(liar, total, products):
    return [
        decode(planes[0], parts, liar.parameters, words=chunk.words)
        for chunk, planes, *parts in zip(liar.chunks, total, *products, strict=True)
    ]


# ---- an exchange that loses what was there
def vanish(study, kind, *who):
    """Remove messages of a kind from the exchange, which nobody has to trust."""
    for sender, digest, _ in received(study, kind):
        if sender in who:
            (study.messages(PHASE_OF[kind]) / digest.removeprefix("sha256:")).unlink()


def test_an_answer_that_was_seen_and_is_gone_is_waited_for(stages, form):
    liar = stages.reported(form)
    study = liar.study
    for name in (ADDER, *holders(study), *FIRST_FOUR, ADDER):
        turn(study, name)
    assert len(stored(study, ADDER, aggregator.State).hashed) == 4
    vanish(study, LinearHash, VICTIM)
    turn(study, LIAR)
    assert isinstance(turn(study, ADDER), NotReadyError)
    turn(study, VICTIM)  # which sends again what it has sent
    settle(study)
    assert same(study.counts(), study.expected_counts())


def test_a_product_that_was_seen_and_is_gone_is_waited_for(stages):
    liar = stages.reported(TWO)
    study = liar.study
    for name in (ADDER, *holders(study), *study.clients, ADDER, "holder-0", ADDER):
        turn(study, name)
    assert set(stored(study, ADDER, aggregator.State).products) == {"holder-0"}
    vanish(study, PartialDecryption, "holder-0")
    turn(study, "holder-1")
    assert isinstance(turn(study, ADDER), NotReadyError)
    turn(study, "holder-0")
    settle(study)
    assert same(study.counts(), study.expected_counts())


def test_a_sum_that_was_seen_and_is_gone_is_waited_for(stages, form):
    liar, message, total = stages.answered(form)
    liar.open(message)
    vanish(liar.study, CiphertextSum, ADDER)
    for name in holders(liar.study):
        assert isinstance(turn(liar.study, name), NotReadyError)
    post(liar.study, ADDER, message)
    settle(liar.study, *holders(liar.study))
    assert same(masks_of(liar.study, liar.decoded(total)), liar.study.expected_counts())
