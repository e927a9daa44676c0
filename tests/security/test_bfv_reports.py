"""Reports and answers of malicious clients: they are left out and named, or the round ends without a release.

Each is sent by hand, with real keys, to the real parties. The control: an honest report by hand is counted.
"""

from __future__ import annotations

import re

import numpy as np
import pytest

pytest.importorskip("tenseal.sealapi", reason="needs tenseal (pip install 'secprune[he]')")
from bfv_attacker import ADDER, FORMS, HQ, LIAR, NONE, VICTIM, holders, post, received, same, settle, words_of
from bfv_refusals import BLIND, FIRST_FOUR, released_nothing, sums

from secprune.crypto.bfv import ring, wire
from secprune.crypto.bfv.keys import KeyShare as Key
from secprune.crypto.entropy import random_bytes
from secprune.errors import NotReadyError, RemoteMisbehaviourError, TooFewPartiesError
from secprune.messages.bfv import EncryptedReport
from secprune.messages.types import AggregateShare
from secprune.parties.coordinator import COUNTS_FILE
from secprune.parties.session import open_session


# ---- clients: what they send
def with_coefficient(liar, planes, value):
    changed = [plane.copy() for plane in planes]
    changed[-1][0, 5] = value
    return liar.serialised(changed)


def at(data, place, value=None):
    """The same bytes but for one, whose lowest bit is flipped."""
    changed = bytearray(data)
    changed[place] = changed[place] ^ 1 if value is None else value
    return bytes(changed)


MALFORMED = {
    "truncated": lambda li, p: li.serialised(p)[:-1],
    "nothing": lambda li, p: b"",
    "a header alone": lambda li, p: li.serialised(p)[:44],
    "oversized": lambda li, p: li.serialised(p) + bytes(8),
    "another magic": lambda li, p: at(li.serialised(p), 0),
    "another version": lambda li, p: at(li.serialised(p), 4),
    "another form": lambda li, p: at(li.serialised(p), 5),
    "another size": lambda li, p: at(li.serialised(p), 6),
    "another parameter id": lambda li, p: at(li.serialised(p), 8),
    "the last byte of the parameter id": lambda li, p: at(li.serialised(p), 39),
    "another count": lambda li, p: at(li.serialised(p), 40),
    "a coefficient that is q": lambda li, p: with_coefficient(li, p, li.primes[-1]),
    "a coefficient of all ones": lambda li, p: with_coefficient(li, p, 2 ** li.primes[-1].bit_length() - 1),
    "a key share": lambda li, p: wire.serialise(
        [np.zeros((1, li.parameters.degree), np.uint64)] * len(li.parameters.all_primes),
        "key share",
        li.parameters,
    ),
    "c1 alone": lambda li, p: wire.serialise(p[1:], "masks", li.parameters),
}


def honest_pieces(liar):
    return liar.encrypt(words_of(liar.study, liar.study.masks[LIAR]))


def malformed(attack):
    def play(liar):
        pieces = honest_pieces(liar)
        liar.report(LIAR, [pieces[0], MALFORMED[attack](liar, pieces[1])])

    return play


REPORTS = {
    **{name: malformed(name) for name in MALFORMED},
    "another key's name": lambda li: li.report(LIAR, honest_pieces(li), keys=NONE),
    "a chunk too few": lambda li: li.report(LIAR, honest_pieces(li)[:1]),
    "a chunk too many": lambda li: li.report(LIAR, [*honest_pieces(li), honest_pieces(li)[0]]),
    "chunks exchanged": lambda li: li.report(LIAR, honest_pieces(li), order=slice(None, None, -1)),
    "sealed to the coordinator": lambda li: li.report(LIAR, honest_pieces(li), to=HQ),
    "sealed to the coordinator, as if to the aggregator": lambda li: li.report(
        LIAR, honest_pieces(li), to=HQ, named=ADDER
    ),
    "somebody else's report": lambda li: post(
        li.study, LIAR, next(m for s, _, m in received(li.study, EncryptedReport) if s == VICTIM)
    ),
}


def named(study):
    return {party for party, _ in study.incidents(ADDER)}


SOME = ["truncated", "a coefficient that is q", "another key's name", "somebody else's report"]


@pytest.mark.parametrize(
    ("form", "attack"),
    [(BLIND, attack) for attack in REPORTS] + [(form, a) for form in (FORMS[0], FORMS[2]) for a in SOME],
    ids=str,
)
def test_a_report_that_cannot_be_counted_is_left_out_and_its_client_named(stages, form, attack):
    liar = stages.reported(form, without=(LIAR,))
    study = liar.study
    REPORTS[attack](liar)
    honest = (*holders(study), *FIRST_FOUR, ADDER, HQ)
    outcomes = settle(study, *honest)
    assert isinstance(outcomes[ADDER], NotReadyError), "it is not counted, and waited for"
    assert named(study) == {LIAR}
    outcomes = settle(study, *honest, close=True)
    assert outcomes[HQ].cohort == FIRST_FOUR
    assert same(study.counts(), study.expected_counts(*FIRST_FOUR))


def test_an_honest_report_by_hand_is_counted(stages, form):
    """The control of all that is sent by hand for a client."""
    liar = stages.reported(form, without=(LIAR,))
    pieces = honest_pieces(liar)
    liar.report(LIAR, pieces)
    honest = (*holders(liar.study), *FIRST_FOUR, ADDER, HQ)
    settle(liar.study, *honest)
    (message,) = sums(liar)
    liar.answer(LIAR, message, pieces)
    assert settle(liar.study, *honest)[HQ].cohort == liar.study.clients
    assert same(liar.study.counts(), liar.study.expected_counts())
    assert not named(liar.study)


@pytest.mark.parametrize("attack", ["truncated", "another key's name", "sealed to the coordinator"])
def test_too_few_are_left_without_a_report_that_cannot_be_counted(stages, form, attack):
    liar = stages.reported(form, without=(LIAR,), min_clients=5)
    REPORTS[attack](liar)
    honest = (*holders(liar.study), *FIRST_FOUR, ADDER)
    outcomes = settle(liar.study, *honest, close=True)
    assert {type(outcome) for outcome in outcomes.values()} == {TooFewPartiesError}
    assert outcomes[ADDER].missing == (LIAR,)
    assert named(liar.study) == {LIAR}
    assert released_nothing(liar.study)


ANSWERS = {
    "of another report": lambda li, m, p: li.answer(LIAR, m, li.reports()[VICTIM][1]),
    "of nothing": lambda li, m, p: li.answer(LIAR, m, values=((0,) * 8,) * len(li.parameters.primes)),
    "of the wrong shape": lambda li, m, p: li.answer(LIAR, m, values=((0,) * 7,) * len(li.parameters.primes)),
    "not below the prime": lambda li, m, p: li.answer(
        LIAR, m, values=tuple((q,) * 8 for q in li.parameters.primes)
    ),
    "under other seeds": lambda li, m, p: li.answer(LIAR, m, p, seeds=NONE),
}


@pytest.mark.parametrize("attack", [*ANSWERS, "none"])
def test_a_client_with_a_wrong_hash_is_named_and_the_next_sum_is_without_it(stages, form, attack):
    liar = stages.reported(form, without=(LIAR,))
    study, pieces = liar.study, honest_pieces(liar)
    liar.report(LIAR, pieces)
    honest = (*holders(study), *FIRST_FOUR, ADDER, HQ)
    settle(study, *honest)
    (message,) = sums(liar)
    assert len(message.members) == 5
    if attack != "none":
        ANSWERS[attack](liar, message, pieces)
    outcomes = settle(study, *honest, close=True)
    assert outcomes[HQ].cohort == FIRST_FOUR
    assert sorted(len(one.members) for one in sums(liar)) == [4, 5]
    assert same(study.counts(), study.expected_counts(*FIRST_FOUR))
    if attack == "under other seeds":  # or a key holder showed it others than it showed the aggregator
        assert ("exchange", f"{LIAR} answered under other seeds than are shown here") in study.incidents(
            ADDER
        )
        assert named(study) <= {"exchange"}
    else:
        assert named(study) == (set() if attack == "none" else {LIAR})


def counted_with(liar, pieces):
    """The outcomes of a round with this report of the liar's, which it answers for honestly."""
    liar.report(LIAR, pieces)
    parties = (*holders(liar.study), *FIRST_FOUR, ADDER, HQ)
    settle(liar.study, *parties)
    (message,) = sums(liar)
    liar.answer(LIAR, message, pieces)
    return settle(liar.study, *parties)


def other_key(liar):
    """Encrypted under a key that the client made by itself."""
    own = Key.derive(random_bytes(32), liar.parameters).public_half(liar.parameters, liar.terms.key_context)
    return liar.encrypt(words_of(liar.study, liar.study.masks[LIAR]), own)


def one_vote_more(liar):
    """Two votes of one client on one weight: no row of it adds up any more."""
    words = words_of(liar.study, liar.study.masks[LIAR])
    words[0][0, 0] += np.uint64(1)
    return liar.encrypt(words)


def random_words(liar):
    p = liar.parameters
    rng = np.random.default_rng(5)
    return liar.encrypt([rng.integers(0, p.base**p.digits, c.shape, np.uint64) for c in liar.chunks])


def in_the_padding(liar):
    words = words_of(liar.study, liar.study.masks[LIAR])
    return liar.encrypt([np.append(one.reshape(-1), np.uint64(1)) for one in words])


def flipped(liar, place):
    """One high bit of one coefficient, in the ciphertext itself."""
    pieces = honest_pieces(liar)
    q = liar.primes[place]
    pieces[0][place][0, 3] = (int(pieces[0][place][0, 3]) + q // 3) % q
    return pieces


def noisy(liar):
    """The right mask with so much noise that it could be another key's; as it stands it would decode."""
    pieces, q = honest_pieces(liar), liar.primes[0]
    by = int(0.3 * liar.parameters.scale)
    alternately = np.where(np.arange(liar.parameters.degree) % 2, np.uint64(by), np.uint64(q - by))
    return [(ring.add(c0, alternately[np.newaxis], q), *masks) for c0, *masks in pieces]


SPOILT = {
    "too much noise": noisy,
    "another key": other_key,
    "a vote too many": one_vote_more,
    "nothing pruned": lambda li: li.encrypt([np.zeros(c.shape, np.uint64) for c in li.chunks]),
    "everything pruned": lambda li: li.encrypt(
        [
            np.full(c.shape, sum(li.parameters.base**i for i in range(li.parameters.digits)), np.uint64)
            for c in li.chunks
        ]
    ),
    "random words": random_words,
    "a word in the padding": in_the_padding,
    "a coefficient of c0": lambda li: flipped(li, 0),
    "a coefficient of c1": lambda li: flipped(li, 1),
    "a coefficient of the last residue of c1": lambda li: flipped(li, -1),
    "random ciphertexts": lambda li: [
        tuple(
            np.random.default_rng(6).integers(0, q, plane.shape, np.uint64)
            for plane, q in zip(planes, li.primes, strict=True)
        )
        for planes in honest_pieces(li)
    ],
}


FEW = ["too much noise", "a vote too many", "a word in the padding", "random ciphertexts"]


@pytest.mark.parametrize(
    ("form", "attack"),
    [(BLIND, attack) for attack in SPOILT] + [(form, a) for form in (FORMS[0], FORMS[2]) for a in FEW],
    ids=str,
)
def test_a_report_that_is_no_mask_ends_the_round_without_a_release(stages, form, attack):
    """Nobody can tell whose it was; what is not a sum of pruning masks is not released."""
    liar = stages.reported(form, without=(LIAR,))
    outcomes = counted_with(liar, SPOILT[attack](liar))
    whoever = ADDER if form[0] == "blind" else "holder-0"
    error = outcomes[whoever]
    assert isinstance(error, RemoteMisbehaviourError)
    assert error.party.startswith("one of the counted clients")
    assert re.search("is not one of (honest encryptions|5 pruning masks)", error.message)
    assert isinstance(outcomes[HQ], TooFewPartiesError)
    assert not received(liar.study, AggregateShare)
    assert not list((liar.study.root / HQ).rglob(COUNTS_FILE))
    with open_session(liar.study.root / whoever, liar.study.task.party(whoever).role) as session:
        assert not session.journal.releases(liar.study.task.model.weights_digest)
