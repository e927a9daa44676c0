"""What sums of ciphertexts do not stop, each shown to work: the documented limits of the protocol `bfv`.

A test here that fails has found a limit that is gone; then the documentation has to say so. Each has a control
that shows what is still out of reach.
"""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tenseal.sealapi", reason="needs tenseal (pip install 'secprune[he]')")
from bfv_attacker import (
    ADDER,
    FORMS,
    HQ,
    LIAR,
    VICTIM,
    holders,
    key_seeds,
    masks_of,
    received,
    same,
    settle,
    turn,
    words_of,
)

from secprune.crypto.bfv import wire
from secprune.crypto.bfv.keys import KeyShare as Key
from secprune.crypto.bfv.scheme import Encryptor
from secprune.crypto.bfv.seal_backend import ZeroEncryptor
from secprune.errors import RemoteMisbehaviourError, TooFewPartiesError
from secprune.messages.bfv import CiphertextSum, EncryptedReport, PartialDecryption
from secprune.packing import pack
from secprune.parties.bfv import shared

HONEST = ("clinic-0", "clinic-1", "clinic-2", "clinic-3")
SIMPLE, BLIND = ("simple", 1), ("blind", 1)


def counted_with(liar, pieces):
    """All outcomes of a round of the real parties with this report of the liar's, which answers for it."""
    liar.report(LIAR, pieces)
    parties = (*holders(liar.study), *HONEST, ADDER, HQ)
    settle(liar.study, *parties)
    ((_, _, message),) = received(liar.study, CiphertextSum)
    liar.answer(LIAR, message, pieces)
    return settle(liar.study, *parties)


def known_words(liar):
    return words_of(liar.study, liar.study.masks[LIAR])


# ---- a client with the aggregator
def test_a_client_with_the_aggregator_takes_the_others_out_of_the_sum(stages, form):
    """Known: ciphertexts are malleable, and nothing proves that a client knows what is in its own.

    The aggregator shows the reports of the others to one client, which sends minus all but the victim's, and
    four times a mask that it knows. Every check passes, and the "sum" is the victim's mask. Who learns it: whoever
    sees the sum, the coordinator and, blind, the aggregator or, simple, the key holder.
    """
    liar = stages.reported(form, without=(LIAR,))
    study = liar.study
    others = liar.minus(liar.total(*HONEST[1:]))
    outcomes = counted_with(liar, liar.with_message(others, known_words(liar), times=4))
    assert outcomes[HQ].cohort == study.clients
    assert not study.incidents(ADDER)
    known = study.masks[LIAR]
    victims = {name: counts - 4 * known[name].astype(int) for name, counts in study.counts().items()}
    assert same(victims, study.masks[VICTIM])


def test_without_the_others_ciphertexts_a_client_cannot_do_that(stages, form):
    """The control: reports are sealed, and another client's, guessed or posted as one's own, is none of its."""
    liar = stages.reported(form, without=(LIAR,))
    guessed = liar.minus(liar.encrypt(words_of(liar.study, liar.study.masks["clinic-1"])))
    outcomes = counted_with(liar, liar.with_message(guessed, known_words(liar), times=2))
    assert (
        outcomes[HQ].cohort == liar.study.clients
    )  # it takes the votes off that it knows already, and no others
    expected = liar.study.expected_counts(*HONEST)
    for name, counts in liar.study.counts().items():
        own = 2 * liar.study.masks[LIAR][name].astype(int) - liar.study.masks["clinic-1"][name]
        assert np.array_equal(counts, expected[name] + own)


@pytest.mark.parametrize("holders_", [1, 2])
def test_a_client_with_the_aggregator_takes_the_key_from_blind_key_holders(stages, holders_):
    """Known: a blind key holder cannot tell a c1 that was chosen from one that was drawn.

    One client's c1 makes that of the sum a constant, whose product with a key share shows that share, through
    all flooding. All hashes and checks are right. With the shares the aggregator decrypts every single report.
    """
    liar = stages.reported(("blind", holders_), without=(LIAR,))
    q1, q2 = liar.parameters.primes
    others = liar.total(*HONEST)
    target = [tuple(np.zeros_like(plane) for plane in planes) for planes in others]
    factor = q1 // 4
    target[0][1][0, 0] = factor * q2 % q1  # q2 * (q1 / 4) modulo both primes
    pieces = liar.add(target, liar.minus(others))
    liar.report(LIAR, pieces)
    study, parties = liar.study, (*holders(liar.study), *HONEST)
    message = liar.show(liar.total(), liar.members())
    settle(study, *parties)
    liar.answer(LIAR, message, pieces)
    seeds = key_seeds(study)
    liar.open(message)
    settle(study, *parties)
    shares = {}
    for holder, _, product in received(study, PartialDecryption):
        first = liar.products(product, holder)[0][0].astype(np.int64)
        shares[holder] = np.rint(np.where(first > q1 // 2, first - q1, first) / factor).astype(np.int8)
        assert np.array_equal(shares[holder], Key.derive(seeds[holder], liar.parameters).secret)
    for client, (_, report) in liar.reports().items():
        if client != LIAR:
            assert same(masks_of(study, liar.decrypted(report, shares.values())), study.masks[client])
    some = list(shares.values())[1:]  # the control: with one share less, or none
    with pytest.raises(RemoteMisbehaviourError, match="not one of honest"):
        liar.decrypted(liar.reports()[VICTIM][1], some)


def test_products_of_an_honest_sum_do_not_show_a_key_share(stages):
    """The control of that: the same computation with what an honest opening gives."""
    liar, message, _ = stages.answered(BLIND)
    seeds = key_seeds(liar.study)
    liar.open(message)
    settle(liar.study, "holder-0")
    ((_, _, product),) = received(liar.study, PartialDecryption)
    q1 = liar.parameters.primes[0]
    first = liar.products(product, "holder-0")[0][0].astype(np.int64)
    found = np.rint(np.where(first > q1 // 2, first - q1, first) / (q1 // 4)).astype(np.int8)
    right = (found == Key.derive(seeds["holder-0"], liar.parameters).secret).mean()
    assert right < 0.45, "no better than a guess"


def test_a_client_aggregator_and_coordinator_take_the_key_from_a_simple_key_holder(stages):
    """Known: as with blind key holders, by way of the counts, and with a chance of one in three for each row group.

    c1 of the sum is the scale times (1 - X), so that word i of the sum is what the aggregator chose plus
    s_i - s_(i-1). Sums of whole row groups telescope, and must be guessed: here s_4095, which is -1, 0 or 1.
    """
    liar = stages.reported(SIMPLE, without=(LIAR,), matrices=(("a.weight", 19, 4096),))
    p, study = liar.parameters, liar.study
    assert (p.degree, p.digits, len(liar.chunks)) == (4096, 19, 1)
    q, others = p.primes[0], liar.total(*HONEST)
    secret = Key.derive(key_seeds(study)["holder-0"], p).secret.astype(int)
    guess = int(secret[-1])  # right in one of three
    counts = np.full((19, 4096), 2, np.uint8)
    counts[:, ::2] = 3
    words = pack(counts, base=p.base, digits=p.digits)
    words[0, 0] = int(words[0, 0]) - 2 * guess
    c0, c1 = (np.zeros_like(plane) for plane in others[0])
    c1[0, :2] = p.scale, q - p.scale
    pieces = liar.add(liar.with_message([(c0, c1)], [words]), liar.minus(others))
    outcomes = counted_with(liar, pieces)
    assert outcomes[HQ].cohort == study.clients
    votes = study.counts()["a.weight"]
    lowest = votes[0].astype(int) - counts[0]
    differences = lowest + 2 * guess * (np.arange(4096) == 0)
    found = np.cumsum(differences) - guess  # s_(-1) is minus s_4095
    assert np.array_equal(found, secret)
    report = liar.reports()[VICTIM][1]
    assert same(masks_of(study, liar.decrypted(report, [found.astype(np.int8)])), study.masks[VICTIM])


def test_a_wrong_guess_of_that_ends_the_round(stages):
    """The control: the row sums are off by two, and the key is gone."""
    liar = stages.reported(SIMPLE, without=(LIAR,), matrices=(("a.weight", 19, 4096),))
    p, others = liar.parameters, liar.total(*HONEST)
    secret = Key.derive(key_seeds(liar.study)["holder-0"], p).secret
    counts = np.full((19, 4096), 2, np.uint8)
    counts[:, ::2] = 3
    words = pack(counts, base=p.base, digits=p.digits)
    words[0, 0] = int(words[0, 0]) - 2 * (int(secret[-1]) + 1)
    c0, c1 = (np.zeros_like(plane) for plane in others[0])
    c1[0, :2] = p.scale, p.primes[0] - p.scale
    pieces = liar.add(liar.with_message([(c0, c1)], [words]), liar.minus(others))
    outcomes = counted_with(liar, pieces)
    assert isinstance(outcomes["holder-0"], RemoteMisbehaviourError)
    assert isinstance(outcomes[HQ], TooFewPartiesError)


# ---- everybody who holds the key
def test_the_aggregator_with_all_key_holders_decrypts_every_client(stages, form):
    """Inherent: the key is theirs together. Without one of them a report is noise to all others."""
    liar = stages.reported(form)
    study, p = liar.study, liar.parameters
    secrets = [Key.derive(seed, p).secret for seed in key_seeds(study).values()]
    for client, (_, report) in liar.reports().items():
        assert same(masks_of(study, liar.decrypted(report, secrets)), study.masks[client])
        for left_out in range(len(secrets)):
            some = secrets[:left_out] + secrets[left_out + 1 :]
            with pytest.raises(RemoteMisbehaviourError, match="not one of honest"):
                liar.decrypted(report, some)
            for phase in liar.decrypted(report, some, checked=False):
                noise = (phase % np.uint64(p.scale)).astype(float)
                spread = np.histogram(noise, bins=8, range=(0, p.scale))[0] / noise.size
                assert np.abs(spread - 1 / 8).max() < 0.02, "uniform between two multiples of the scale"
                assert len(np.unique(phase // np.uint64(p.scale))) > 0.9 * phase.size
    honest = liar.decrypted(liar.reports()[VICTIM][1], secrets, checked=False)[0]
    noise = (honest + np.uint64(p.scale // 2)) % np.uint64(p.scale)
    assert np.abs(noise.astype(float) - p.scale / 2).max() < p.scale / 2, "the control: all close to one"
    assert np.abs(noise.astype(float) - p.scale / 2).std() < p.scale / 8


def test_all_others_together_learn_the_last_client_from_any_sum(stages, form):
    """Inherent in every exact sum: whoever sees it and knows all masks but one knows that one."""
    liar = stages.reported(form)
    settle(liar.study)
    others = liar.study.expected_counts(*liar.study.clients[1:])
    victims = {name: counts - others[name] for name, counts in liar.study.counts().items()}
    assert same(victims, liar.study.masks[VICTIM])
    fewer = liar.study.expected_counts(
        *liar.study.clients[2:]
    )  # the control: one client that does not take part
    two = {name: counts - fewer[name] for name, counts in liar.study.counts().items()}
    assert max(int(counts.max()) for counts in two.values()) == 2


# ---- what a key holder sees
def seen_by_key_holder(liar, name):
    """The plaintexts of the sum that this key holder is sent, opened with its own keys."""
    ((_, _, message),) = received(liar.study, CiphertextSum)
    key = next(one for one in message.content_keys if one.receiver == name)
    context = shared.sum_context(liar.terms, name, message.keys, message.attempt)
    chunks = shared.sum_context(liar.terms, "", message.keys, message.attempt)
    return liar.open_parcel(key, context, chunks, message.chunks)


def test_a_simple_key_holder_learns_the_sum_and_a_curious_one_sees_no_report(stages):
    """Documented: it decrypts the sum. Reports are sealed to the aggregator alone."""
    liar, _, total = stages.answered(SIMPLE)
    (seed,) = key_seeds(liar.study).values()
    secret, planes = Key.derive(seed, liar.parameters).secret, []
    for data, chunk in zip(seen_by_key_holder(liar, "holder-0"), liar.chunks, strict=True):
        planes.append(shared.parse_chunk(data, "ciphertexts", liar.terms, chunk, sender=ADDER))
    assert same(masks_of(liar.study, liar.decrypted(planes, [secret])), liar.study.expected_counts())
    assert all(
        np.array_equal(a, b)
        for one, other in zip(planes, total, strict=True)
        for a, b in zip(one, other, strict=True)
    )
    settle(liar.study, "holder-0")
    receivers = {report.key.receiver for _, _, report in received(liar.study, EncryptedReport)}
    assert receivers == {ADDER}


@pytest.mark.parametrize("form", FORMS[1:], ids=str)
def test_what_a_blind_key_holder_sees_is_the_same_for_any_masks(stages, form, monkeypatch):
    """Not a weakness, but the control of the last: it sees c1 alone, in which there is no message.

    The same randomness with the masks, and with nothing at all to encrypt, gives the same c1 to the bit.
    """
    liar, _, total = stages.answered(form)
    for name in holders(liar.study):
        for data, chunk, planes in zip(seen_by_key_holder(liar, name), liar.chunks, total, strict=True):
            seen = shared.parse_chunk(data, "masks", liar.terms, chunk, sender=ADDER)
            assert all(np.array_equal(one, other) for one, other in zip(seen, planes[1:], strict=True))
            assert data == wire.serialise(planes[1:], "masks", liar.parameters)
    encryptor = Encryptor(liar.parameters, liar.joint, liar.terms.key_context)
    drawn = encryptor._zeros(1)
    monkeypatch.setattr(ZeroEncryptor, "__call__", lambda _, count: drawn.copy())
    words = [words_of(liar.study, liar.study.masks[name])[0] for name in (VICTIM, LIAR)]
    reports = [encryptor.encrypt(one) for one in (*words, np.zeros_like(words[0]))]
    assert len({report[0].tobytes() for report in reports}) == 3, "the masks are in c0"
    for place in (1, 2):
        assert len({report[place].tobytes() for report in reports}) == 1
        assert np.array_equal(reports[0][place], drawn[:, 1, place - 1])


# ---- what a sum's checks do not see
@pytest.mark.parametrize("votes", [1, 2])
def test_a_client_can_vote_as_it_likes_within_a_row(stages, form, votes):
    """Known: only row sums and the size of counts are checked, not that each vote of a client is 0 or 1.

    One vote moved is another mask, which it may have. Two votes of one client on a weight, and minus one
    elsewhere, pass as well, as long as no count is above the cohort's size or below 0.
    """
    liar = stages.reported(form, without=(LIAR,))
    study, name = liar.study, liar.study.task.model.matrices[0].name
    honest = study.expected_counts(*HONEST)[name][0]
    mask, words = study.masks[LIAR][name][0].astype(int), known_words(liar)
    give, take = pick(honest + mask, -votes, mask), pick(honest + mask, votes, mask)
    words[0][0, give] -= np.uint64(votes)
    words[0][0, take] += np.uint64(votes)
    outcomes = counted_with(liar, liar.encrypt(words))
    assert outcomes[HQ].cohort == study.clients
    expected = study.expected_counts()
    expected[name][0, give] -= votes
    expected[name][0, take] += votes
    assert same(study.counts(), expected)


def pick(totals, by, mask):
    """A column of the first row where a count can be changed by so much."""
    fits = (totals + by >= 0) & (totals + by <= 5) & (mask == (by < 0))
    return int(np.flatnonzero(fits)[0])


def test_five_votes_more_and_five_less_in_a_row_group_pass_and_spill_into_other_rows(stages, form):
    """Known: what counts is the sum of the words of a row group, all its rows together.

    A count below 0 borrows from the next row of its group. With all clients of the roster in the cohort every
    digit is a count that could be, so that a wrong count is released, within that row group.
    """
    liar = stages.reported(form, without=(LIAR,))
    study, name = liar.study, liar.study.task.model.matrices[0].name
    words, base = known_words(liar), liar.parameters.base
    totals = study.expected_counts()[name]
    give = int(np.flatnonzero((totals[0] < 5) & (totals[1] > 0) & (words[0][0] >= 5))[0])
    take = int(np.flatnonzero((totals[0] > 0) & (totals[1] < 5) & (np.arange(16) != give))[0])
    words[0][0, give] -= np.uint64(5)
    words[0][0, take] += np.uint64(5)
    outcomes = counted_with(liar, liar.encrypt(words))
    assert outcomes[HQ].cohort == study.clients
    expected = study.expected_counts()
    for column, change in ((give, -1), (take, 1)):
        expected[name][0, column] += change * (5 - base)
        expected[name][1, column] += change
    assert same(study.counts(), expected)


def test_an_aggregator_can_change_the_counts(stages):
    """Known: only c1 is hashed. In the simple form a vote moved within a row, in c0 of the sum, passes.

    In the blind form the aggregator releases the sum by itself, and can release another one.
    """
    liar = stages.reported(SIMPLE)
    study, name = liar.study, liar.study.task.model.matrices[0].name
    totals = study.expected_counts()[name][0]
    give, take = int(np.flatnonzero(totals > 0)[0]), int(np.flatnonzero(totals < 5)[-1])
    total = liar.total()
    p, q = liar.parameters, liar.parameters.primes[0]
    for column, change in ((give, q - p.scale), (take, p.scale)):
        total[0][0][0, column] = (int(total[0][0][0, column]) + change) % q
    message = liar.show(total, liar.members())
    settle(study, "holder-0", *study.clients)
    liar.open(message)
    outcomes = settle(study, "holder-0", HQ)
    assert outcomes[HQ].cohort == study.clients
    expected = study.expected_counts()
    expected[name][0, give] -= 1
    expected[name][0, take] += 1
    assert same(study.counts(), expected)


def test_the_noise_of_c0_is_nobodys_business(stages):
    """Known: a bit of c0 below the scale changes nothing that is released; one above it breaks a row sum."""
    for bit, passes in ((0, True), (12, False)):
        liar = stages.reported(SIMPLE)
        assert liar.parameters.scale < 2**12
        total = liar.total()
        total[0][0][0, 3] ^= np.uint64(1 << bit)
        message = liar.show(total, liar.members())
        settle(liar.study, "holder-0", *liar.study.clients)
        liar.open(message)
        outcome = turn(liar.study, "holder-0")
        assert isinstance(outcome, RemoteMisbehaviourError) == (not passes)
        settle(liar.study, HQ)
        if passes:
            assert same(liar.study.counts(), liar.study.expected_counts())


def test_a_client_that_was_told_it_is_left_out_may_be_counted_after_all(stages, form):
    """Known: it answered for the first sum, and a second one without it keeps nobody from opening the first."""
    liar = stages.reported(form)
    first = liar.show(liar.total(), liar.members())
    settle(liar.study, *holders(liar.study), *liar.study.clients)
    liar.show(liar.total(*HONEST), liar.members(*HONEST), attempt=1)
    error = turn(liar.study, LIAR)
    assert isinstance(error, TooFewPartiesError)
    settle(liar.study, *holders(liar.study))
    liar.open(first)
    settle(liar.study, *holders(liar.study))
    assert same(masks_of(liar.study, liar.decoded(liar.total())), liar.study.expected_counts())
