"""How aggregators agree on the cohort: one vote each, the intersection, one identical signature each.

Rule 1: every transition is in this file; the party that runs it only feeds events and sends messages.
Rule 2: an aggregator votes once and signs one cohort; both are in the state, checkpointed before sending.
Rule 3: nothing is released unless all aggregators signed the same cohort of at least `min_clients`.

    Collecting --all judged, or closed--> Voted --all votes--> Signed --all signatures--> Agreed
                                            `--too few in the intersection--> Failed
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, assert_never

import msgspec
from msgspec import Struct

from secprune.errors import RemoteMisbehaviourError
from secprune.messages.types import CountedReport, RefusedReport

Members = tuple[CountedReport, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the agreement is about; from the task and this aggregator's own policy."""

    me: str
    aggregators: tuple[str, ...]
    clients: tuple[str, ...]
    min_clients: int


# ---- events
@dataclass(frozen=True, slots=True)
class Judged:
    """All aggregators have checked this report; `refusal` is empty if it is to be counted."""

    client: str
    report: str
    refusal: str


@dataclass(frozen=True, slots=True)
class Closed:
    """The coordinator closed the round: reports not judged by now are left out."""


@dataclass(frozen=True, slots=True)
class VoteSeen:
    """Another aggregator's vote."""

    aggregator: str
    accepted: Members


@dataclass(frozen=True, slots=True)
class CohortSeen:
    """Another aggregator's signed cohort."""

    aggregator: str
    members: Members


Event = Judged | Closed | VoteSeen | CohortSeen


# ---- states; Structs, because they are checkpointed as JSON
class _State(Struct, frozen=True, kw_only=True, tag=True):
    """What all states keep: who voted for what, who signed what, and whom this aggregator refused and why."""

    votes: Mapping[str, Members] = {}
    cohorts: Mapping[str, Members] = {}
    refused: Mapping[str, str] = {}


class Collecting(_State, frozen=True, kw_only=True):
    """Reports are being judged; `accepted` holds the digest of each client's report."""

    accepted: Mapping[str, str] = {}


class Voted(_State, frozen=True, kw_only=True):
    """This aggregator's vote is cast."""


class Signed(_State, frozen=True, kw_only=True):
    """This aggregator has signed `members`."""

    members: Members


class Agreed(_State, frozen=True, kw_only=True):
    """All aggregators signed `members`: the aggregate share of exactly these may be released."""

    members: Members


class Failed(_State, frozen=True, kw_only=True):
    """The reports that all aggregators accept are too few; nothing is ever released."""

    accepted: Members
    missing: tuple[str, ...]


State = Collecting | Voted | Signed | Agreed | Failed


@dataclass(frozen=True, slots=True)
class CastVote:
    """Send this vote."""

    accepted: Members
    refused: tuple[RefusedReport, ...]


@dataclass(frozen=True, slots=True)
class SignCohort:
    """Send this cohort, signed."""

    members: Members


Action = CastVote | SignCohort


@dataclass(frozen=True, slots=True)
class Transition:
    """The state to checkpoint, then the actions to take."""

    state: State
    actions: tuple[Action, ...] = ()


def step(terms: Terms, state: State, event: Event) -> Transition:
    """Take one event; `state` itself is never changed.

    Raises:
        RemoteMisbehaviourError: a peer votes or signs twice and differently, or signs a cohort that the
            votes do not give; the caller keeps `state`.
    """
    match event:
        case Judged():
            return _judge(terms, state, event)
        case Closed():
            return _vote(terms, state) if isinstance(state, Collecting) else Transition(state)
        case VoteSeen():
            votes = _once(state.votes, event.aggregator, event.accepted, "votes", terms)
            return _advance(terms, msgspec.structs.replace(state, votes=votes))
        case CohortSeen():
            cohorts = _once(state.cohorts, event.aggregator, event.members, "cohorts", terms)
            return _advance(terms, msgspec.structs.replace(state, cohorts=cohorts))
        case _:
            assert_never(event)


def _once(
    seen: Mapping[str, Members], aggregator: str, members: Members, what: str, terms: Terms
) -> Mapping[str, Members]:
    if aggregator not in terms.aggregators:
        raise RemoteMisbehaviourError(f"{aggregator} is not an aggregator of this task", party=aggregator)
    if seen.get(aggregator, members) != members:
        raise RemoteMisbehaviourError(f"{aggregator} signed two different {what}", party=aggregator)
    return {**seen, aggregator: members}


def _judge(terms: Terms, state: State, event: Judged) -> Transition:
    if not isinstance(state, Collecting) or event.client in {**state.accepted, **state.refused}:
        return Transition(state)  # late, or judged already: the first judgement stands
    if event.refusal:
        state = msgspec.structs.replace(state, refused={**state.refused, event.client: event.refusal})
    else:
        state = msgspec.structs.replace(state, accepted={**state.accepted, event.client: event.report})
    if set(terms.clients) <= {*state.accepted, *state.refused}:
        return _vote(terms, state)
    return Transition(state)


def _vote(terms: Terms, state: Collecting) -> Transition:
    accepted = tuple(sorted(CountedReport(client=c, report=r) for c, r in state.accepted.items()))
    refused = tuple(sorted(RefusedReport(client=c, reason=r) for c, r in state.refused.items()))
    voted = Voted(**{**_kept(state), "votes": {**state.votes, terms.me: accepted}})
    after = _advance(terms, voted)
    return Transition(after.state, (CastVote(accepted, refused), *after.actions))


def _kept(state: State) -> dict[str, Any]:
    return {"votes": state.votes, "cohorts": state.cohorts, "refused": state.refused}


def _advance(terms: Terms, state: State) -> Transition:
    actions: tuple[Action, ...] = ()
    if isinstance(state, Voted) and set(terms.aggregators) <= set(state.votes):
        members = intersection([state.votes[a] for a in terms.aggregators])
        if len(members) < terms.min_clients:
            counted = {m.client for m in members}
            missing = tuple(c for c in terms.clients if c not in counted)
            return Transition(Failed(**_kept(state), accepted=members, missing=missing))
        signed = {**state.cohorts, terms.me: members}
        state = Signed(**{**_kept(state), "cohorts": signed}, members=members)
        actions = (SignCohort(members),)
    if isinstance(state, Signed):
        for aggregator, members in state.cohorts.items():
            if members != state.members:
                raise RemoteMisbehaviourError(
                    f"{aggregator} signed a cohort that is not what all aggregators voted for",
                    party=aggregator,
                )
        if set(terms.aggregators) <= set(state.cohorts):
            state = Agreed(**_kept(state), members=state.members)
    return Transition(state, actions)


def intersection(votes: list[Members]) -> Members:
    """The reports that stand in every vote, sorted by client."""
    return tuple(sorted(set(votes[0]).intersection(*votes[1:])))
