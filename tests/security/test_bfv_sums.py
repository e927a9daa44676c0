"""Sums of ciphertexts that an aggregator shows in vain: nobody answers for them, or nobody opens them.

Sums of the wrong clients, too few, or twice; sums that are not what they say; sums that a client is not in.
Everything is signed with real keys against the real parties. The controls: the same without the hashes, a second
attempt as it should be, and a policy that agrees with the task.
"""

from __future__ import annotations

import re

import numpy as np
import pytest

pytest.importorskip("tenseal.sealapi", reason="needs tenseal (pip install 'secprune[he]')")
from bfv_attacker import (
    ADDER,
    LIAR,
    NONE,
    VICTIM,
    counted,
    holders,
    masks_of,
    received,
    same,
    senders,
    settle,
    turn,
    words_of,
)
from bfv_refusals import (
    BLIND,
    FIRST_FOUR,
    attempts,
    on_disk,
    refused,
    refused_for_ever,
    released_nothing,
    sums,
)

from secprune.errors import ConfigurationError, NotReadyError, RemoteMisbehaviourError, TooFewPartiesError
from secprune.messages.bfv import HashSeed, LinearHash
from secprune.messages.types import CountedReport
from secprune.protocols.bfv import key_holder


# ---- sums that nobody answers for
def listed(liar, members, **options):
    liar.show(liar.total(), members, **options)


STRANGERS = ("mallory", "hq", "adder-0", "holder-0")
NEVER = {
    "one client": (lambda li: li.show(li.total(VICTIM), li.members(VICTIM)), "has 1 clients, 3 are"),
    "below the smallest cohort": (
        lambda li: li.show(li.total(*FIRST_FOUR[:2]), li.members(*FIRST_FOUR[:2])),
        "has 2 clients, 3 are",
    ),
    "a client twice": (lambda li: listed(li, (li.members()[0], *li.members())), "counts a client twice"),
    "a client twice, with two reports": (
        lambda li: listed(li, (CountedReport(client=VICTIM, report=NONE), *li.members())),
        "counts a client twice",
    ),
    "two clients thrice": (lambda li: listed(li, li.members(*FIRST_FOUR[:2]) * 3), "counts a client twice"),
    **{
        f"{name} as a client": (
            lambda li, name=name: listed(
                li, tuple(sorted((*li.members(), CountedReport(client=name, report=NONE))))
            ),
            f"{name}, who are not clients",
        )
        for name in STRANGERS
    },
    "another joint key": (lambda li: listed(li, li.members(), keys=NONE), "under another key"),
    "two sums of one attempt": (
        lambda li: [listed(li, li.members()) for _ in range(2)],
        "two different sums",
    ),
    "two sums with other members": (
        lambda li: [listed(li, li.members(*names)) for names in ((), FIRST_FOUR)],
        "two different sums",
    ),
    "more in the second attempt": (
        lambda li: attempts(li, FIRST_FOUR, (*FIRST_FOUR, LIAR)),
        "counts other reports",
    ),
    "others in the second attempt": (
        lambda li: attempts(li, FIRST_FOUR, (*FIRST_FOUR[:2], LIAR)),
        "counts other reports",
    ),
    "the same in the second attempt": (
        lambda li: attempts(li, FIRST_FOUR, FIRST_FOUR),
        "counts other reports",
    ),
    "another report in the second attempt": (
        lambda li: attempts(li, FIRST_FOUR, FIRST_FOUR[:3], digests={VICTIM: NONE}),
        "counts other reports",
    ),
}


@pytest.mark.parametrize("attack", NEVER)
def test_sums_that_no_key_holder_and_no_client_answers_for(stages, form, attack):
    liar = stages.reported(form)
    seeds, (play, match) = on_disk(liar), NEVER[attack]
    play(liar)
    refused(liar, seeds, match)
    for name in liar.study.clients:
        error = turn(liar.study, name)
        if isinstance(error, TooFewPartiesError):  # not in the first of two, and so it looks at no other one
            assert "went on without this client" in error.message
            assert any(name not in {member.client for member in one.members} for one in sums(liar))
            continue
        assert isinstance(error, RemoteMisbehaviourError), error
        assert error.party == ADDER
        assert re.search(match, error.message)
    assert not received(liar.study, LinearHash)
    if "two sums" not in attack:
        refused_for_ever(liar, seeds, match)


def test_second_attempts_with_fewer_clients_are_opened(stages, form):
    """The control of the attempts: five, then four of them, and the hashes of the second."""
    liar = stages.reported(form)
    attempts(liar, (), FIRST_FOUR)
    settle(liar.study, *holders(liar.study), *liar.study.clients)
    total = liar.total(*FIRST_FOUR)
    (message,) = (one for one in sums(liar) if one.attempt == 1)
    assert set(liar.answers(message)) == set(FIRST_FOUR)
    liar.open(message)
    settle(liar.study, *holders(liar.study))
    assert same(masks_of(liar.study, liar.decoded(total)), liar.study.expected_counts(*FIRST_FOUR))


def test_a_sum_that_is_not_sealed_to_a_key_holder(stages, form):
    liar = stages.reported(form)
    seeds = on_disk(liar)
    message = liar.show(liar.total(), liar.members(), to=())
    settle(liar.study, *holders(liar.study), *liar.study.clients)
    liar.open(message)
    refused(liar, seeds, "not sealed to this key holder")


# ---- sums that are not what they say
def spoilt(liar, place, bit=0):
    """The honest sum, but for one bit of one coefficient of a plane."""
    total = liar.total()
    total[1][place][0, 7] ^= np.uint64(1 << bit)
    return total


WRONG = {
    "one client alone": (lambda li: li.total(VICTIM), ()),
    "fewer than the smallest cohort": (lambda li: li.total(VICTIM, "clinic-1"), ()),
    "four where five are listed": (lambda li: li.total(*FIRST_FOUR), ()),
    "five where four are listed": (lambda li: li.total(), FIRST_FOUR),
    "one added twice": (lambda li: li.total(*FIRST_FOUR, LIAR, VICTIM), ()),
    "one twice for another": (lambda li: li.total(*FIRST_FOUR, VICTIM), ()),
    "one taken off": (lambda li: li.add(li.total(*FIRST_FOUR), li.minus(li.total(LIAR))), ()),
    "nobody": (lambda li: li.add(li.total(), li.minus(li.total())), ()),
    "a flipped bit of c1": (lambda li: spoilt(li, 1), ()),
    "a flipped bit of the last residue of c1": (lambda li: spoilt(li, -1, bit=40), ()),
    "chunks of two sums": (lambda li: [li.total()[0], li.total(*FIRST_FOUR)[1]], ()),
    "fresh encryptions": (lambda li: li.encrypt(words_of(li.study, li.study.masks[VICTIM])), ()),
}


def shown(liar, total, names=()):
    """Show this as the sum over these clients, who answer for it, and ask to open it."""
    message = liar.show(total, liar.members(*names))
    settle(liar.study, *holders(liar.study), *liar.study.clients)
    assert set(liar.answers(message)) == set(names or liar.study.clients)
    liar.open(message)
    return message


@pytest.mark.parametrize("attack", WRONG)
def test_sums_that_are_not_of_the_reports_they_list(stages, form, attack):
    liar = stages.reported(form)
    seeds, (make, names) = on_disk(liar), WRONG[attack]
    shown(liar, make(liar), names)
    refused(liar, seeds, "not the sum of the reports that its clients answered for")
    assert isinstance(turn(liar.study, VICTIM).report, str), (
        "its part was over when the opening was asked for"
    )


@pytest.mark.parametrize("checked", [True, False])
def test_without_the_hashes_one_client_would_be_opened(stages, form, checked, monkeypatch):
    """The control of the hashes: known masks of four others make the victim's report pass all other checks."""
    liar = stages.reported(form)
    study, seeds = liar.study, on_disk(liar)
    if not checked:
        monkeypatch.setattr(key_holder, "check_hash", lambda *_: None)
    known = words_of(study, study.masks[LIAR])
    total = liar.with_message(liar.total(VICTIM), known, times=4)
    shown(liar, total)
    if checked:
        refused(liar, seeds, "not the sum of the reports")
        return
    settle(study, *holders(study))
    found = masks_of(study, liar.decoded(total))
    victims = {name: found[name] - 4 * study.masks[LIAR][name].astype(int) for name in found}
    assert same(victims, study.masks[VICTIM])


# ---- clients: whom they answer
@pytest.mark.parametrize("attempt", [0, 1])
def test_a_client_does_not_answer_for_a_sum_with_another_report_of_it(stages, form, attempt):
    liar = stages.reported(form)
    if attempt:
        listed(liar, liar.members())
        settle(liar.study, *holders(liar.study), *FIRST_FOUR)
    wrong = counted({m.client: m.report for m in liar.members(*FIRST_FOUR)} | {VICTIM: NONE})
    # In the first attempt nobody but the victim can tell; a later one is a subset of what all have seen.
    message = liar.show(liar.total(*FIRST_FOUR), wrong, attempt=attempt)
    settle(liar.study, *holders(liar.study), *FIRST_FOUR[1:])
    error = turn(liar.study, VICTIM)
    assert isinstance(error, RemoteMisbehaviourError)
    assert error.party == ADDER
    match = "counts other reports" if attempt else "another report of this client than it sent"
    assert match in error.message
    assert VICTIM not in liar.answers(message)
    if not attempt:
        assert set(liar.answers(message)) == set(FIRST_FOUR[1:])
        liar.open(message)
        assert "not exactly" in turn(liar.study, "holder-0").message
    assert released_nothing(liar.study)


@pytest.mark.parametrize("name", [VICTIM, "holder-0"])
def test_a_site_whose_policy_asks_for_more_clients_than_the_task_takes_no_part(stages, form, name):
    liar = stages.reported(form)
    liar.show(liar.total(), liar.members())
    for least in (4, 3):  # the second is the control
        liar.study.write_party_file(name, min_clients=least)
        assert isinstance(turn(liar.study, name), ConfigurationError if least == 4 else NotReadyError)
        assert (name in senders(liar.study, HashSeed)) == (name == "holder-0" and least == 3)
    settle(liar.study, *holders(liar.study), *liar.study.clients)
    assert len(received(liar.study, LinearHash)) == 5


def test_a_client_answers_once_for_a_sum_and_never_for_the_one_before(stages):
    liar = stages.reported(BLIND)
    listed(liar, liar.members())
    attempts_seen = [sums(liar)[0]]
    settle(liar.study, "holder-0", *FIRST_FOUR)
    answers = sorted(digest for _, digest, _ in received(liar.study, LinearHash))
    settle(liar.study, "holder-0", *FIRST_FOUR)
    assert sorted(digest for _, digest, _ in received(liar.study, LinearHash)) == answers
    assert len(answers) == 4
    attempts_seen.append(liar.show(liar.total(*FIRST_FOUR), liar.members(*FIRST_FOUR), attempt=1))
    settle(liar.study, "holder-0", *FIRST_FOUR, LIAR)
    assert [len(liar.answers(message)) for message in attempts_seen] == [4, 4]
    error = turn(liar.study, LIAR)
    assert isinstance(error, TooFewPartiesError)
    assert error.missing == (LIAR,)


def test_a_client_that_is_left_out_says_so_and_answers_for_nothing(stages, form):
    liar = stages.reported(form)
    message = liar.show(liar.total(*FIRST_FOUR), liar.members(*FIRST_FOUR))
    settle(liar.study, *holders(liar.study))
    for _ in range(2):
        error = turn(liar.study, LIAR)
        assert isinstance(error, TooFewPartiesError)
        assert error.missing == (LIAR,)
        liar.show(liar.total(), liar.members())  # nor is it brought back
    assert LIAR not in liar.answers(message)
    assert isinstance(turn(stages.reported(form).study, LIAR), NotReadyError)
