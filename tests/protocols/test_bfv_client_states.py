"""The client of `bfv`: every state takes every event, or blames the aggregator and stays as it was."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from bfv_states import (
    CLIENT_EVENTS,
    CLIENT_TABLE,
    CLIENTS,
    FIRST,
    KEYS,
    ME,
    OWN,
    SECOND,
    SEEDS,
    TERMS,
    any_events,
    check,
    opening,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from secprune.errors import RemoteMisbehaviourError
from secprune.protocols.bfv import client
from secprune.protocols.bfv.terms import message_digest


@pytest.mark.parametrize(("state", "event"), list(itertools.product(CLIENTS, CLIENT_EVENTS)))
def test_a_client_takes_every_event_in_every_state(state, event):
    expected = CLIENT_TABLE.get((state, event), "unchanged")
    found = check(client, CLIENTS, expected, state, CLIENT_EVENTS[event], more=(TERMS[ME],))
    if found is None:
        return
    (seed, digest) = TERMS[ME].all_seeds(SEEDS)
    actions = {
        ("Idle", "keys"): (client.Encrypt(KEYS),),
        ("Seen", "seeds"): (client.Answer(message_digest(FIRST), seed, digest),),
        ("Both", "seeds for another sum"): (client.Answer(message_digest(SECOND), seed, digest),),
    }
    assert found.actions == actions.get((state, event), ())


# ---- any order
FOR_CLIENTS = {
    "keys": lambda _, __: CLIENT_EVENTS["keys"],
    **dict.fromkeys(("sum", "sum 2"), lambda draw, sums: client.SumSeen(draw(st.sampled_from(sums)), OWN)),
    **dict.fromkeys(
        ("seeds", "seeds 2"),
        lambda draw, sums: client.SeedsDrawn(message_digest(draw(st.sampled_from(sums))), SEEDS),
    ),
    "opening": lambda draw, sums: client.OpeningSeen(opening(draw(st.sampled_from(sums)))),
}


@given(any_events(FOR_CLIENTS))
@settings(max_examples=200, deadline=None)
def test_in_any_order_a_client_answers_once_and_only_for_sums_that_count_enough(events):
    state, encrypted, answered = client.Idle(), 0, []
    sums = {message_digest(e.message): e.message for e in events if isinstance(e, client.SumSeen)}
    for event in events:
        try:
            transition = client.step(TERMS[ME], state, event)
        except RemoteMisbehaviourError as error:
            assert error.party == "adder-0"  # noqa: PT017 - refusing is one of two right outcomes
            continue
        state = msgspec.json.decode(msgspec.json.encode(transition.state), type=client.State)
        for action in transition.actions:
            encrypted += isinstance(action, client.Encrypt)
            if isinstance(action, client.Answer):
                answered.append(action.sum)
    assert encrypted <= 1
    assert len(set(answered)) == len(answered)
    counted = [{member.client for member in sums[one].members} for one in answered]
    assert all(ME in names and len(names) >= 3 and "mallory" not in names for names in counted)
    assert all(later < earlier for earlier, later in itertools.pairwise(counted))
    assert len({sums[one].attempt for one in answered}) == len(answered)
