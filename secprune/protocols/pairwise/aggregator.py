"""The aggregator's side of `pairwise`, as a state machine: it collects, publishes lists, and counts shares.

Rule 1: every transition is in this file; the party that runs it feeds events, checkpoints, then sends.
Rule 2: it publishes one list of each kind in a round; a client's first message of a kind counts.
Rule 3: with fewer clients than the threshold at any step the round ends without a sum.

    CollectingKeys --> CollectingShares --> CollectingReports --> CollectingConsents --> CollectingReveals --> Enough
          `----------------`----------------------`-----------------------`---------------------`--too few--> Failed

A step ends when everybody who can still take part has, or when it is closed; the reveals also as soon as
there are enough of them.

Source: Bonawitz et al. 2017 (doi 10.1145/3133956.3133982), fig. 4, server side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, assert_never

import msgspec
from msgspec import Struct

from secprune.ids import sha256
from secprune.messages.codec import encode
from secprune.messages.pairwise import KeyList, RevealedShare, ShareList, SurvivorList
from secprune.messages.types import CountedReport

if TYPE_CHECKING:
    from secprune.protocols.pairwise.terms import Terms

Step = Literal["keys", "shares", "reports", "consents", "reveals"]


# ---- events
@dataclass(frozen=True, slots=True)
class Arrived:
    """A client's KeyAdvert, ShareBundle or MaskedReport, verified as far as it can be; `digest` names it.

    `follows` is the digest of the list that it answers; empty for a KeyAdvert.
    """

    step: Step
    client: str
    digest: str
    follows: str = ""


@dataclass(frozen=True, slots=True)
class ConsentArrived:
    """A survivor's Consent."""

    client: str
    survivors: str


@dataclass(frozen=True, slots=True)
class RevealArrived:
    """A survivor's Reveal, opened."""

    client: str
    survivors: str
    shares: tuple[RevealedShare, ...]

    def __repr__(self) -> str:
        return f"RevealArrived({self.client!r}, <secret>)"


@dataclass(frozen=True, slots=True)
class Closed:
    """Whoever has not taken part in this step by now is not waited for."""

    step: Step


Event = Arrived | ConsentArrived | RevealArrived | Closed


# ---- states
class _State(Struct, frozen=True, kw_only=True, tag=True):
    pass


class CollectingKeys(_State, frozen=True, kw_only=True):
    """Key advertisements come in; digests by client."""

    arrived: Mapping[str, str] = {}


class CollectingShares(_State, frozen=True, kw_only=True):
    """The list of keys is out; share bundles come in."""

    keys: str
    advertised: Mapping[str, str]
    arrived: Mapping[str, str] = {}


class CollectingReports(_State, frozen=True, kw_only=True):
    """The list of shares is out; masked reports come in."""

    keys: str
    advertised: Mapping[str, str]
    shares: str
    shared: Mapping[str, str]
    arrived: Mapping[str, str] = {}


class CollectingConsents(_State, frozen=True, kw_only=True):
    """The list of survivors is out; it will never be another one."""

    keys: str
    advertised: Mapping[str, str]
    shares: str
    shared: Mapping[str, str]
    survivors: str
    reported: Mapping[str, str]
    consents: tuple[str, ...] = ()
    reveals: Mapping[str, tuple[RevealedShare, ...]] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}(survivors={self.survivors!r}, <secret>)"


class CollectingReveals(CollectingConsents, frozen=True, kw_only=True):
    """Enough survivors have consented; shares come in."""


class Enough(CollectingConsents, frozen=True, kw_only=True):
    """There are enough shares of one secret of each client to take the masks off the sum, if none of them is wrong.

    More of them may come, until everybody has revealed or the step is closed.
    """


class Failed(_State, frozen=True, kw_only=True):
    """Too few took part in a step; nothing is ever released."""

    step: Step
    took_part: tuple[str, ...]
    missing: tuple[str, ...]


State = (
    CollectingKeys
    | CollectingShares
    | CollectingReports
    | CollectingConsents
    | CollectingReveals
    | Enough
    | Failed
)


@dataclass(frozen=True, slots=True)
class Publish:
    """Sign and send this list."""

    message: KeyList | ShareList | SurvivorList


@dataclass(frozen=True, slots=True)
class Transition:
    """The state to checkpoint, then the list to publish, if any."""

    state: State
    actions: tuple[Publish, ...] = ()


def list_digest(message: KeyList | ShareList | SurvivorList) -> str:
    """What later messages call a list by: the digest of its canonical form, whoever signs it."""
    return sha256(b"secprune/pairwise/list/v1\0" + encode(message))


def step(terms: Terms, state: State, event: Event) -> Transition:
    """Take one event; `state` itself is never changed. What comes again, too late or to another list is ignored."""
    match event:
        case Arrived():
            return _arrived(terms, state, event)
        case ConsentArrived():
            return _consented(terms, state, event)
        case RevealArrived():
            return _revealed(terms, state, event)
        case Closed():
            return _closed(terms, state, event)
        case _:
            assert_never(event)


def waited_for(terms: Terms, state: State) -> tuple[str, ...]:
    """The clients whose messages the present step lacks, in roster order."""
    match state:
        case CollectingKeys():
            return tuple(c for c in terms.clients if c not in state.arrived)
        case CollectingShares():
            return terms.in_order(set(state.advertised) - set(state.arrived))
        case CollectingReports():
            return terms.in_order(set(state.shared) - set(state.arrived))
        case Failed():
            return ()
        case CollectingReveals() | Enough():
            return terms.in_order(set(state.reported) - set(state.reveals))
        case _:
            return terms.in_order(set(state.reported) - set(state.consents))


def present_step(state: State) -> Step | None:
    """What is being collected; None if the round is over."""
    match state:
        case CollectingKeys():
            return "keys"
        case CollectingShares():
            return "shares"
        case CollectingReports():
            return "reports"
        case Failed():
            return None
        case CollectingReveals() | Enough():
            return "reveals"
        case _:
            return "consents"


def accepted_adverts(state: State) -> Mapping[str, str]:
    """Digests of the advertisements that were accepted, by client."""
    if isinstance(state, Failed):
        return {}
    return state.arrived if isinstance(state, CollectingKeys) else state.advertised


def _arrived(terms: Terms, state: State, event: Arrived) -> Transition:
    if event.step != present_step(state) or event.client not in waited_for(terms, state):
        return Transition(state)
    match state:
        case CollectingKeys():
            follows = ""
        case CollectingShares():
            follows = state.keys
        case CollectingReports():
            follows = state.shares
        case _:
            return Transition(state)
    if event.follows != follows:
        return Transition(state)
    state = msgspec.structs.replace(state, arrived={**state.arrived, event.client: event.digest})
    return _advance(terms, state) if not waited_for(terms, state) else Transition(state)


def _consented(terms: Terms, state: State, event: ConsentArrived) -> Transition:
    collecting = isinstance(state, CollectingConsents) and not isinstance(state, Enough)
    if not collecting or event.survivors != state.survivors or event.client not in state.reported:  # type: ignore[union-attr]
        return Transition(state)
    assert isinstance(state, CollectingConsents)  # noqa: S101 - for the type checker
    state = msgspec.structs.replace(state, consents=terms.in_order((*state.consents, event.client)))
    if not isinstance(state, CollectingReveals) and len(state.consents) >= terms.threshold:
        state = CollectingReveals(**_fields(state))
    return Transition(state)


def _revealed(terms: Terms, state: State, event: RevealArrived) -> Transition:
    """Reveals may come before this aggregator has seen all consents: clients read them, too."""
    if not isinstance(state, CollectingConsents):
        return Transition(state)
    known = event.client in state.reported and event.client not in state.reveals
    subjects = {share.subject for share in event.shares}
    if event.survivors != state.survivors or not known or len(subjects) != len(event.shares):
        return Transition(state)
    state = msgspec.structs.replace(state, reveals={**state.reveals, event.client: event.shares})
    if isinstance(state, Enough):
        return Transition(state)
    threshold = terms.share_threshold(len(state.advertised))
    found = {client: {share.subject for share in shares} for client, shares in state.reveals.items()}
    for subject, names in holders(terms, state).items():
        if sum(subject in found.get(client, ()) for client in names) < threshold:
            return Transition(state)
    return Transition(Enough(**_fields(state)))


def holders(terms: Terms, state: CollectingConsents) -> dict[str, tuple[str, ...]]:
    """By client whose secret is needed: who holds shares of it, in roster order, itself included."""
    neighbours = terms.neighbours(state.advertised)
    return {
        subject: terms.in_order((subject, *neighbours[subject])) for subject in terms.in_order(state.shared)
    }


def _closed(terms: Terms, state: State, event: Closed) -> Transition:
    if event.step != present_step(state):
        return Transition(state)
    if isinstance(state, CollectingConsents):
        # Both steps end by themselves once there are enough.
        took_part = state.reveals if event.step == "reveals" else state.consents
        return _too_few(terms, event.step, tuple(took_part), state.reported)
    return _advance(terms, state)


def _advance(terms: Terms, state: State) -> Transition:
    """Publish the list of the present step, or give up."""
    step_, arrived = present_step(state), getattr(state, "arrived", {})
    if step_ is None or step_ not in {"keys", "shares", "reports"}:
        return Transition(state)
    least = max(terms.threshold, terms.min_clients) if step_ == "reports" else terms.threshold
    if len(arrived) < least:
        return _too_few(terms, step_, tuple(arrived), terms.clients)
    return _published(terms, state, _counted(arrived))


def _published(terms: Terms, state: State, members: tuple[CountedReport, ...]) -> Transition:
    names = terms.round.names
    match state:
        case CollectingKeys():
            keys = KeyList(**names, members=members)
            after: State = CollectingShares(keys=list_digest(keys), advertised=state.arrived)
            return Transition(after, (Publish(keys),))
        case CollectingShares():
            shares = ShareList(**names, keys=state.keys, members=members)
            after = CollectingReports(
                keys=state.keys,
                advertised=state.advertised,
                shares=list_digest(shares),
                shared=state.arrived,
            )
            return Transition(after, (Publish(shares),))
        case CollectingReports():
            survivors = SurvivorList(**names, shares=state.shares, members=members)
            after = CollectingConsents(
                keys=state.keys,
                advertised=state.advertised,
                shares=state.shares,
                shared=state.shared,
                survivors=list_digest(survivors),
                reported=state.arrived,
            )
            return Transition(after, (Publish(survivors),))
        case _:
            return Transition(state)


def _too_few(
    terms: Terms, of: Step, took_part: tuple[str, ...], expected: Mapping[str, str] | tuple[str, ...]
) -> Transition:
    missing = terms.in_order(set(expected) - set(took_part))
    return Transition(Failed(step=of, took_part=terms.in_order(took_part), missing=missing))


def _counted(arrived: Mapping[str, str]) -> tuple[CountedReport, ...]:
    return tuple(sorted(CountedReport(client=client, report=digest) for client, digest in arrived.items()))


def _fields(state: CollectingConsents) -> dict[str, Any]:
    return {name: getattr(state, name) for name in CollectingConsents.__struct_fields__}
