"""The aggregator of `bfv`: every state takes every event and blames nobody; it opens one sum, of enough clients."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from bfv_states import (
    ALL,
    HASHED,
    ME,
    NAMES,
    NONE,
    OPENED_STATE,
    ROUND,
    SERVER_EVENTS,
    SERVER_TABLE,
    SERVERS,
    SHARES,
    TERMS,
    F,
    any_events,
    check,
    opening,
    opening_of,
    round_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from secprune.protocols.bfv import aggregator
from secprune.protocols.bfv.terms import Terms


@pytest.mark.parametrize(("state", "event"), list(itertools.product(SERVERS, SERVER_EVENTS)))
def test_the_aggregator_takes_every_event_in_every_state(state, event):
    expected = SERVER_TABLE.get((state, event), "unchanged")
    found = check(aggregator, SERVERS, expected, state, SERVER_EVENTS[event], more=(TERMS["adder-0"],))
    assert found is not None, "it blames nobody: what is wrong is noted, or left out"
    assert found.message == (opening_of(ALL) if expected == "Opened" and event == "right" else None)
    if event == "one wrong" and expected == "Adding":
        assert found.state.attempt == SERVERS[state].attempt + 1
        assert list(found.state.members) == [name for name in NAMES if name != ME]


@pytest.mark.parametrize("least", [3, 4, 5])
def test_one_less_than_the_smallest_cohort_fails_and_names_who_is_missing(least):
    terms, state = Terms(ROUND, "adder-0", least), aggregator.Collecting()
    for name in NAMES[: least - 1]:
        state = aggregator.step(terms, state, aggregator.ReportArrived(name, ALL[name])).state
    failed = aggregator.step(terms, state, aggregator.Closed("reports")).state
    assert failed == aggregator.Failed(
        step="reports", took_part=NAMES[: least - 1], missing=NAMES[least - 1 :]
    )
    enough = aggregator.step(terms, state, aggregator.ReportArrived(NAMES[least - 1], NONE)).state
    assert (
        isinstance(aggregator.step(terms, enough, aggregator.Closed("reports")).state, aggregator.Adding)
        or least == 5
    )
    wrong = aggregator.HashesChecked(F, NAMES[: 6 - least])
    assert isinstance(aggregator.step(terms, HASHED, wrong).state, aggregator.Failed)


# ---- any order
DIGESTS = st.sampled_from([f"sha256:{place:064x}" for place in range(3)])
PEOPLE = st.sampled_from([*NAMES, "mallory", "holder-0", "holder-1"])
FOR_SERVERS = {
    **dict.fromkeys(
        ("report", "report 2"), lambda draw, _: aggregator.ReportArrived(draw(PEOPLE), draw(DIGESTS))
    ),
    "sum": lambda draw, _: aggregator.SumWritten(draw(st.integers(0, 3)), draw(DIGESTS)),
    **dict.fromkeys(
        ("hash", "hash 2", "hash 3", "hash 4"),
        lambda draw, _: aggregator.HashArrived(draw(PEOPLE), draw(DIGESTS), draw(DIGESTS)),
    ),
    "checked": lambda draw, _: aggregator.HashesChecked(
        draw(DIGESTS), tuple(draw(st.sampled_from([[], [], [ME], list(NAMES[:2])])))
    ),
    "product": lambda draw, _: aggregator.ProductArrived(draw(PEOPLE), NONE, draw(DIGESTS)),
    "closed": lambda draw, _: aggregator.Closed(draw(st.sampled_from(["reports", "hashes", "products"]))),
    "released": lambda _, __: aggregator.SumReleased(),
}


@given(
    any_events(FOR_SERVERS, length=60),
    st.sampled_from(["Collecting", "Nearly", "Adding", "Hashing", "Hashed", "Opened"]),
)
@settings(max_examples=300, deadline=None)
def test_in_any_order_the_aggregator_asks_to_open_one_sum_that_all_have_answered_for(events, start):
    state, asked = SERVERS[start], [opening()] * (start == "Opened")
    if start in ("Hashing", "Hashed"):
        state = msgspec.structs.replace(state, sum=f"sha256:{0:064x}")
    for event in events:
        before, state = state, aggregator.step(TERMS["adder-0"], state, event).state
        message = aggregator.step(TERMS["adder-0"], before, event).message
        if isinstance(state, aggregator.Adding):
            assert len(state.members) >= 3
            assert set(state.members) <= set(NAMES)
        if isinstance(before, aggregator.Adding) and isinstance(state, aggregator.Adding):
            assert state.attempt >= before.attempt
            assert state.attempt == before.attempt or set(state.members) < set(before.members)
        if isinstance(before, aggregator.Failed | aggregator.Released):
            assert state is before
        if message is not None:
            assert [h.client for h in message.hashes] == sorted(before.members) == sorted(before.hashed)
            assert message.sum == before.sum
            asked.append(message)
    assert len(asked) <= 1
    if isinstance(state, aggregator.Released):
        assert len(asked) == 1


# ---- what is shown
def test_what_is_waited_for_is_named_in_roster_order():
    terms = TERMS["adder-0"]
    due = {"Collecting": NAMES, "Nearly": (ME,), "Hashing": NAMES, "Opened": tuple(SHARES)}
    steps = {"Collecting": "reports", "Nearly": "reports", "Hashing": "hashes", "Hashed": "hashes"}
    steps |= {"Second": "hashes", "Opened": "products", "Multiplied": "products"}
    for name, state in SERVERS.items():
        assert aggregator.waited_for(terms, state) == due.get(name, ())
        assert aggregator.present_step(state) == steps.get(name)
    simple = Terms(round_of(form="simple"), "adder-0", 3)
    assert aggregator.waited_for(simple, OPENED_STATE) == ("holder-0",), "which releases it by itself"
