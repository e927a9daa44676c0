"""What an aggregator asks to open in vain: every key holder refuses for ever, and has forgotten its key.

Openings of other sums, without some of the hashes, with hashes for something else, two at once; a hash that is
nowhere is waited for, and nothing is opened. Everything is signed with real keys against the real parties. The
control: the same by hand without a lie.
"""

from __future__ import annotations

import msgspec
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
    post,
    received,
    same,
    settle,
    turn,
)
from bfv_refusals import BLIND, FIRST_FOUR, is_on_disk, on_disk, refused, released_nothing, sums

from secprune.crypto.envelope import sign
from secprune.errors import NotReadyError, RemoteMisbehaviourError
from secprune.ids import sha256
from secprune.messages.bfv import LinearHash, Opening
from secprune.parties.session import open_session
from secprune.protocols.bfv.terms import message_digest


def test_the_same_by_hand_without_a_lie_is_opened(stages, form):
    """The control of everything that plays the aggregator: then the key is gone, too."""
    liar, message, total = stages.answered(form)
    seeds = on_disk(liar)
    liar.open(message)
    for name in holders(liar.study):
        assert turn(liar.study, name).cohort == liar.study.clients
        assert not is_on_disk(liar.study, name, seeds[name])
    assert same(masks_of(liar.study, liar.decoded(total)), liar.study.expected_counts())


@pytest.mark.parametrize("lie", [False, True])
def test_the_key_is_gone_while_the_journal_is_still_open(stages, lie):
    """As by a key holder that goes on with the next round, by `status`, or after a kill."""
    liar, message, _ = stages.answered(BLIND)
    seeds = on_disk(liar)
    with open_session(liar.study.root / "holder-0", "key-holder", exclusive=False) as looking:
        assert looking.journal.state() is not None
        liar.open(message, {} if lie else None)
        assert isinstance(turn(liar.study, "holder-0"), RemoteMisbehaviourError) == lie
        assert not is_on_disk(liar.study, "holder-0", seeds["holder-0"])


# ---- openings
def opened(liar, message, **changes):
    """Open with the hashes that were given, but for some; None for a hash that is left out."""
    hashes = {**liar.answers(message), **changes.pop("hashes", {})}
    liar.open(message, {name: digest for name, digest in hashes.items() if digest})


def never_shown(liar, message):
    post(liar.study, ADDER, Opening(**liar.round.names, sum=NONE, hashes=counted(liar.answers(message))))


def in_the_wrong_order(liar, message):
    hashes = counted(liar.answers(message))[::-1]
    post(liar.study, ADDER, Opening(**liar.round.names, sum=message_digest(message), hashes=hashes))


def of_the_first_attempt(liar, _):
    members = liar.members(*FIRST_FOUR)
    second = liar.show(liar.total(*FIRST_FOUR), members, attempt=1)
    (first,) = (one for one in sums(liar) if one.attempt == 0)
    settle(liar.study, *holders(liar.study), *liar.study.clients)
    assert set(liar.answers(second)) == set(FIRST_FOUR)
    hashes = liar.answers(first)
    liar.open(second, {name: hashes[name] for name in FIRST_FOUR})


OPENINGS = {
    "a sum never shown": (never_shown, "asks to open a sum it never showed"),
    "a client dropped": (lambda li, m: opened(li, m, hashes={VICTIM: None}), "not exactly the counted"),
    "all clients dropped": (lambda li, m: li.open(m, {}), "not exactly the counted"),
    "in another order": (in_the_wrong_order, "not exactly the counted"),
    "hashes of the attempt before": (of_the_first_attempt, "the hash of clinic-. is not for this sum"),
    "a hash for another sum": (
        lambda li, m: opened(li, m, hashes={LIAR: li.answer(LIAR, m, li.reports()[LIAR][1], sum_=NONE)}),
        "the hash of clinic-4 is not for this sum",
    ),
    "a hash under another seed": (
        lambda li, m: opened(li, m, hashes={LIAR: li.answer(LIAR, m, li.reports()[LIAR][1], seeds=NONE)}),
        "the hash of clinic-4 is not for this sum",
    ),
    "a hash of another shape": (
        lambda li, m: opened(li, m, hashes={LIAR: li.answer(LIAR, m, values=((1, 2, 3),))}),
        "the hash of clinic-4 is not for this sum",
    ),
    "a hash that is not the report's": (
        lambda li, m: opened(li, m, hashes={LIAR: li.answer(LIAR, m, li.reports()[VICTIM][1])}),
        "not the sum of the reports",
    ),
}


@pytest.mark.parametrize("attack", OPENINGS)
def test_openings_that_are_refused_even_if_an_honest_one_follows(stages, form, attack):
    liar, message, _ = stages.answered(form)
    seeds, (play, match) = on_disk(liar), OPENINGS[attack]
    honest = liar.answers(message)
    play(liar, message)
    refused(liar, seeds, match)
    liar.open(message, honest)
    refused(liar, seeds, match)


def of_another_round(liar, message, **where):
    """A hash that the client did sign, for a sum of the same members, in another round or task."""
    names = {"task_id": liar.study.task.task_id, "round": 0, **where}
    digest = message_digest(message)
    answer = next(m for s, _, m in received(liar.study, LinearHash) if s == VICTIM and m.sum == digest)
    return post(liar.study, VICTIM, msgspec.structs.replace(answer, **names))


UNKNOWN = {
    "a hash that nobody signed": lambda li, m: {VICTIM: NONE},
    "another client's hash": lambda li, m: {VICTIM: li.answers(m)["clinic-1"]},
    "a hash of another round": lambda li, m: {VICTIM: of_another_round(li, m, round=1)},
    "a hash of another task": lambda li, m: {VICTIM: of_another_round(li, m, task_id=NONE)},
    "a stranger's hash": lambda li, m: {"mallory": NONE},
}


@pytest.mark.parametrize("attack", UNKNOWN)
def test_openings_with_a_hash_that_is_nowhere_open_nothing(stages, form, attack):
    """That may be an exchange that is late, so it is waited for; another opening instead is refused."""
    liar, message, _ = stages.answered(form)
    seeds = on_disk(liar)
    honest = liar.answers(message)
    hashes = UNKNOWN[attack](liar, message)
    opened(liar, message, hashes={**honest, **hashes})
    for name in holders(liar.study):
        assert isinstance(turn(liar.study, name), NotReadyError)
    assert released_nothing(liar.study)
    if "round" in attack or "task" in attack:
        incidents = liar.study.incidents("holder-0")
        assert any(party == "exchange" and "was replayed here" in what for party, what in incidents)
    liar.open(message, honest)
    refused(liar, seeds, "signed two different openings")


@pytest.mark.parametrize(
    "honest_first",
    [
        True,
        False,
    ],
)
def test_two_different_openings_at_once(stages, form, honest_first):
    """Whichever is listed first: neither is followed."""
    liar, message, _ = stages.answered(form)
    seeds = on_disk(liar)
    honest = Opening(**liar.round.names, sum=message_digest(message), hashes=counted(liar.answers(message)))
    first = post(liar.study, ADDER, honest)
    for number in range(100):
        hashes = counted({**liar.answers(message), VICTIM: f"sha256:{number:064x}"})
        other = msgspec.structs.replace(honest, hashes=hashes)
        envelope = sign(other, signer=ADDER, identity=liar.study.identities[ADDER])
        if (first < sha256(envelope)) == honest_first:
            post(liar.study, ADDER, other)
            break
    refused(liar, seeds, "signed two different openings")
