"""The key holder of `bfv`: every state takes every event, or blames a party and stays as it was; what it opens."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from bfv_states import (
    FIRST,
    HOLDER_EVENTS,
    HOLDER_TABLE,
    HOLDERS,
    ME,
    NAMES,
    NONE,
    OWN,
    PROMISED,
    ROUND,
    SECOND,
    SEED,
    TERMS,
    any_events,
    check,
    opening,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from secprune.errors import RemoteMisbehaviourError
from secprune.messages.bfv import HashSeed, LinearHash
from secprune.protocols.bfv import key_holder
from secprune.protocols.bfv.terms import message_digest


@pytest.mark.parametrize(("state", "event"), list(itertools.product(HOLDERS, HOLDER_EVENTS)))
def test_a_key_holder_takes_every_event_in_every_state(state, event):
    expected = HOLDER_TABLE.get((state, event), "unchanged")
    more = (TERMS["holder-0"], lambda size: b"\7" * size)
    found = check(key_holder, HOLDERS, expected, state, HOLDER_EVENTS[event], more=more)
    if found is None:
        return
    if expected == "unchanged" or event == "keys":
        assert found.action is None
    elif event == "all committed":
        assert found.action == key_holder.PublishShare()
    else:
        digest = message_digest(HOLDER_EVENTS[event].message)
        assert found.action == HashSeed(**ROUND.names, sum=digest, seed=b"\7" * 32)


@pytest.mark.parametrize("state", HOLDERS)
def test_a_key_holder_whose_promise_is_not_its_own_publishes_nothing(state):
    event = key_holder.AllCommitted(PROMISED, PROMISED["holder-1"])
    if state != "Committed":
        assert key_holder.step(TERMS["holder-0"], HOLDERS[state], event, bytes).state is HOLDERS[state]
        return
    with pytest.raises(RemoteMisbehaviourError, match="promised another") as caught:
        key_holder.step(TERMS["holder-0"], HOLDERS[state], event, bytes)
    assert caught.value.party == "holder-0"


# ---- what a key holder opens
PRIMES = TERMS["holder-0"].parameters.primes


def a_hash(value=1, message=FIRST, seeds=OWN, values=None):
    values = tuple((value,) * 8 for _ in PRIMES) if values is None else values
    return LinearHash(**ROUND.names, sum=message_digest(message), seeds=seeds, values=values)


HASHES = {name: a_hash(place) for place, name in enumerate(NAMES)}
OPENED = {
    "nothing wrong": (opening(), HASHES, ""),
    "a client left out": (opening(names=NAMES[1:]), {n: HASHES[n] for n in NAMES[1:]}, "not exactly"),
    "a client more": (opening(names=(*NAMES, "mallory")), {**HASHES, "mallory": a_hash()}, "not exactly"),
    "a hash that is not there": (opening(), {n: HASHES[n] for n in NAMES[1:]}, "not exactly"),
    "another order": (
        msgspec.structs.replace(opening(), hashes=opening().hashes[::-1]),
        HASHES,
        "not exactly",
    ),
    "a hash twice": (
        msgspec.structs.replace(opening(), hashes=(opening().hashes[0], *opening().hashes)),
        HASHES,
        "not exactly",
    ),
    "nobody": (opening(names=()), {}, "not exactly"),
    "a hash for another sum": (opening(), {**HASHES, ME: a_hash(message=SECOND)}, f"hash of {ME}"),
    "a hash for other seeds": (opening(), {**HASHES, ME: a_hash(seeds=NONE)}, f"hash of {ME}"),
    "a hash of another shape": (opening(), {**HASHES, ME: a_hash(values=((1,) * 8,))}, f"hash of {ME}"),
    "a hash that is not below": (
        opening(),
        {**HASHES, ME: a_hash(values=tuple((q,) * 8 for q in PRIMES))},
        f"hash of {ME}",
    ),
}


@pytest.mark.parametrize("case", OPENED)
def test_what_a_key_holder_opens(case):
    asked, hashes, match = OPENED[case]
    terms = TERMS["holder-0"]
    if not match:
        due = key_holder.check_opening(terms, asked, FIRST, hashes, seeds=OWN)
        assert due == tuple((10,) * 8 for _ in PRIMES)
        key_holder.check_hash(terms, due, due)
        for place, i in itertools.product(range(len(PRIMES)), range(8)):
            found = [list(of_prime) for of_prime in due]
            found[place][i] += 1
            with pytest.raises(RemoteMisbehaviourError, match="not the sum of the reports") as caught:
                key_holder.check_hash(terms, due, tuple(tuple(of_prime) for of_prime in found))
            assert caught.value.party == "adder-0"
        return
    with pytest.raises(RemoteMisbehaviourError, match=match) as caught:
        key_holder.check_opening(terms, asked, FIRST, hashes, seeds=OWN)
    assert caught.value.party == "adder-0"


# ---- any order
FOR_HOLDERS = {
    "all committed": lambda _, __: HOLDER_EVENTS["all committed"],
    "keys": lambda _, __: HOLDER_EVENTS["keys"],
    **dict.fromkeys(("sum", "sum 2"), lambda draw, sums: key_holder.SumSeen(draw(st.sampled_from(sums)))),
}


@given(any_events(FOR_HOLDERS))
@settings(max_examples=200, deadline=None)
def test_in_any_order_a_key_holder_publishes_one_share_and_one_seed_for_each_sum(events):
    state, published, seeds = HOLDERS["Committed"], 0, []
    sums = {message_digest(e.message): e.message for e in events if isinstance(e, key_holder.SumSeen)}
    for event in events:
        try:
            transition = key_holder.step(TERMS["holder-0"], state, event, bytes)
        except RemoteMisbehaviourError as error:
            assert error.party == "adder-0"  # noqa: PT017 - refusing is one of two right outcomes
            continue
        state = msgspec.json.decode(msgspec.json.encode(transition.state), type=key_holder.State)
        published += isinstance(transition.action, key_holder.PublishShare)
        if isinstance(transition.action, HashSeed):
            seeds.append(transition.action.sum)
    assert published <= 1
    assert not seeds or published
    assert [sums[one].attempt for one in seeds] == list(range(len(seeds)))
    assert all(len(sums[one].members) >= 3 for one in seeds)
    assert seeds == list(getattr(state, "sums", ()))


# ---- what is shown
def test_no_state_of_a_key_holder_shows_its_seed():
    shown = (SEED.hex(), repr(SEED)[2:-1], "AAECAwQF")
    for name, state in HOLDERS.items():
        for text in (repr(state), str(state), f"{state}", repr(key_holder.Transition(state))):
            assert not any(one in text for one in shown)
        has_seed = b"AAECAwQF" in msgspec.json.encode(state)
        assert has_seed == (name not in {"Released", "Refused", "GivenUp"}), (
            "a state without its key has none to show"
        )
