"""The cohort agreement: every transition, and random orders of events at all aggregators."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secprune.errors import RemoteMisbehaviourError
from secprune.messages.types import CountedReport
from secprune.protocols.agreement import (
    Agreed,
    CastVote,
    Closed,
    CohortSeen,
    Collecting,
    Failed,
    Judged,
    SignCohort,
    Signed,
    State,
    Terms,
    Voted,
    VoteSeen,
    step,
)

CLIENTS = ("c0", "c1", "c2", "c3")
AGGREGATORS = ("a0", "a1")
TERMS = Terms(me="a0", aggregators=AGGREGATORS, clients=CLIENTS, min_clients=3)


def digest(client, version=0):
    return f"sha256:{int(client[1:]) + 16 * version:064x}"


def members(*clients, version=0):
    return tuple(CountedReport(client=c, report=digest(c, version)) for c in sorted(clients))


def after(*events, terms=TERMS):
    state, actions = Collecting(), []
    for event in events:
        transition = step(terms, state, event)
        state, actions = transition.state, [*actions, *transition.actions]
    return state, actions


ALL_JUDGED = tuple(Judged(c, digest(c), "") for c in CLIENTS)


def test_the_straight_road():
    state, actions = after(*ALL_JUDGED)
    assert isinstance(state, Voted)
    assert [type(a) for a in actions] == [CastVote]
    state, actions = after(*ALL_JUDGED, VoteSeen("a1", members(*CLIENTS)))
    assert isinstance(state, Signed)
    assert actions[-1] == SignCohort(members(*CLIENTS))
    state, _ = after(*ALL_JUDGED, VoteSeen("a1", members(*CLIENTS)), CohortSeen("a1", members(*CLIENTS)))
    assert isinstance(state, Agreed)
    assert state.members == members(*CLIENTS)


def test_the_cohort_is_the_intersection_of_client_and_digest():
    refused = (*ALL_JUDGED[:3], Judged("c3", digest("c3"), "wrong row sums"))
    state, actions = after(*refused, VoteSeen("a1", members(*CLIENTS)))
    assert isinstance(state, Signed)
    assert state.members == members("c0", "c1", "c2")
    assert actions[0].refused[0].client == "c3"
    # The same client with another report is not in common.
    other = (*members("c0", "c1", "c2"), *members("c3", version=1))
    assert after(*ALL_JUDGED, VoteSeen("a1", other))[0].members == members("c0", "c1", "c2")


def test_too_few_in_common_never_signs():
    state, actions = after(*ALL_JUDGED, VoteSeen("a1", members("c0", "c1")))
    assert isinstance(state, Failed)
    assert state.missing == ("c2", "c3")
    assert [type(a) for a in actions] == [CastVote]
    again = step(TERMS, state, CohortSeen("a1", members("c0", "c1")))
    assert isinstance(again.state, Failed)
    assert again.actions == ()


def test_closing_votes_with_what_is_judged_and_once():
    state, actions = after(*ALL_JUDGED[:3], Closed())
    assert isinstance(state, Voted)
    assert actions[0].accepted == members("c0", "c1", "c2")
    assert step(TERMS, state, Closed()).actions == ()
    assert step(TERMS, state, ALL_JUDGED[3]) == step(TERMS, state, Closed())  # late: nothing changes


SAMPLE_STATES: list[State] = [
    Collecting(),
    after(*ALL_JUDGED[:2])[0],
    after(*ALL_JUDGED)[0],
    after(*ALL_JUDGED, VoteSeen("a1", members(*CLIENTS)))[0],
    after(*ALL_JUDGED, VoteSeen("a1", members(*CLIENTS)), CohortSeen("a1", members(*CLIENTS)))[0],
    after(*ALL_JUDGED, VoteSeen("a1", members("c0")))[0],
]
SAMPLE_EVENTS = [
    ALL_JUDGED[0],
    Judged("c1", digest("c1"), "bad"),
    Closed(),
    VoteSeen("a1", members(*CLIENTS)),
    VoteSeen("a1", members("c0")),
    VoteSeen("stranger", members("c0")),
    CohortSeen("a1", members(*CLIENTS)),
    CohortSeen("a1", members("c0", "c1", "c2")),
]


@pytest.mark.parametrize(("state", "event"), list(itertools.product(SAMPLE_STATES, SAMPLE_EVENTS)))
def test_every_state_takes_every_event_or_blames_a_peer_and_stays_as_it_was(state, event):
    before = msgspec.json.encode(state)
    try:
        transition = step(TERMS, state, event)
    except RemoteMisbehaviourError as error:
        assert error.party in {"a1", "stranger"}  # noqa: PT017 - raising is one of two right outcomes
    else:
        stored = msgspec.json.encode(transition.state)
        assert msgspec.json.decode(stored, type=State) == transition.state  # what a checkpoint gives back
        if isinstance(state, Agreed | Failed):
            assert not transition.actions, "nothing follows an end state"
    assert msgspec.json.encode(state) == before


def test_two_different_votes_or_cohorts_blame_the_aggregator():
    for first, second in (
        (VoteSeen("a1", members(*CLIENTS)), VoteSeen("a1", members("c0"))),
        (CohortSeen("a1", members(*CLIENTS)), CohortSeen("a1", members("c0"))),
        # A cohort that the votes do not give.
        (VoteSeen("a1", members(*CLIENTS)), CohortSeen("a1", members("c0", "c1", "c2"))),
    ):
        with pytest.raises(RemoteMisbehaviourError) as caught:
            after(*ALL_JUDGED, first, second)
        assert caught.value.party == "a1"


@settings(max_examples=300)
@given(data=st.data())
def test_honest_aggregators_agree_or_fail_together_in_any_order(data):
    """Three aggregators, random judgements, closing times and delivery orders; messages may come twice."""
    aggregators = ("a0", "a1", "a2")
    states = {a: Collecting() for a in aggregators}
    terms = {
        a: Terms(
            me=a, aggregators=aggregators, clients=CLIENTS, min_clients=data.draw(st.integers(1, 4), "min")
        )
        for a in aggregators
    }
    floor = terms["a0"].min_clients
    terms = {a: Terms(me=a, aggregators=aggregators, clients=CLIENTS, min_clients=floor) for a in aggregators}
    inbox = {
        a: [Closed(), *(Judged(c, digest(c), data.draw(st.sampled_from(["", "", "bad"]))) for c in CLIENTS)]
        for a in aggregators
    }
    while any(inbox.values()):
        who = data.draw(st.sampled_from([a for a in aggregators if inbox[a]]), "who")
        event = inbox[who].pop(data.draw(st.integers(0, len(inbox[who]) - 1), "which"))
        for repeat in range(data.draw(st.integers(1, 2), "copies")):
            transition = step(terms[who], states[who], event)
            states[who] = transition.state
            assert not (repeat and transition.actions)
            for action in transition.actions:
                for peer in aggregators:
                    if peer != who:
                        seen = (
                            VoteSeen(who, action.accepted)
                            if isinstance(action, CastVote)
                            else CohortSeen(who, action.members)
                        )
                        inbox[peer].append(seen)
    kinds = {type(state) for state in states.values()}
    assert kinds in ({Agreed}, {Failed})
    if kinds == {Agreed}:
        cohorts = {state.members for state in states.values()}
        assert len(cohorts) == 1
        assert len(cohorts.pop()) >= floor
