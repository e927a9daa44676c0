"""The aggregator's side of `bfv`, as a state machine: it collects, adds, has the sum answered for, and opens it.

Rule 1: every transition is in this file; the party that runs it feeds events, checkpoints, then sends.
Rule 2: a client's first report counts. Each attempt counts fewer reports than the one before.
Rule 3: it asks to open one sum in a round, and never another one.

    Collecting --all or closed--> Adding --written--> Hashing --all hashes, right--> Opened --> Released
                                    ^------closed, or wrong hashes------'    all products

With fewer clients than `min_clients`, or after MAX_ATTEMPTS, the round ends without a sum (`Failed`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct

from secprune.messages.bfv import MAX_ATTEMPTS, Opening
from secprune.messages.types import CountedReport
from secprune.protocols.bfv.terms import message_digest

if TYPE_CHECKING:
    from secprune.protocols.bfv.terms import Terms

Step = Literal["reports", "hashes", "products"]


# ---- events
@dataclass(frozen=True, slots=True)
class ReportArrived:
    """A client's report, all of whose chunks are there and open."""

    client: str
    digest: str


@dataclass(frozen=True, slots=True)
class SumWritten:
    """The sum of the present attempt is in the exchange, under the message of this digest."""

    attempt: int
    sum: str


@dataclass(frozen=True, slots=True)
class HashArrived:
    """A client's linear hash for this sum under all seeds; `digest` names its message."""

    client: str
    digest: str
    sum: str


@dataclass(frozen=True, slots=True)
class HashesChecked:
    """All hashes are compared with the sum; `wrong` are the clients whose hash is not that of their report."""

    sum: str
    wrong: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ProductArrived:
    """A key holder's part; `digest` names its message. In the simple form, the sum that it sent to the coordinator."""

    key_holder: str
    digest: str
    opening: str


@dataclass(frozen=True, slots=True)
class Closed:
    """Whoever has not taken part in this step by now is not waited for."""

    step: Step


@dataclass(frozen=True, slots=True)
class SumReleased:
    """The share of the sum is in the exchange."""


Event = ReportArrived | SumWritten | HashArrived | HashesChecked | ProductArrived | Closed | SumReleased


# ---- states
class _State(Struct, frozen=True, kw_only=True, tag=True):
    pass


class Collecting(_State, frozen=True, kw_only=True):
    """Reports come in; digests by client."""

    arrived: Mapping[str, str] = {}


class Adding(_State, frozen=True, kw_only=True):
    """These reports are to be added."""

    attempt: int
    members: Mapping[str, str]


class Hashing(Adding, frozen=True, kw_only=True):
    """Their sum is out; linear hashes come in, digests by client."""

    sum: str
    hashed: Mapping[str, str] = {}


class Opened(Adding, frozen=True, kw_only=True):
    """Key holders are asked to open this sum; digests of their products by name."""

    sum: str
    opening: str
    products: Mapping[str, str] = {}


class Released(Adding, frozen=True, kw_only=True):
    """The sum is at the coordinator."""


class Failed(_State, frozen=True, kw_only=True):
    """Too few took part; nothing is ever opened."""

    step: Step
    took_part: tuple[str, ...]
    missing: tuple[str, ...]


State = Collecting | Adding | Hashing | Opened | Released | Failed


@dataclass(frozen=True, slots=True)
class Transition:
    """The state to checkpoint, then the message to send, if any."""

    state: State
    message: Opening | None = None


def step(terms: Terms, state: State, event: Event) -> Transition:  # noqa: PLR0911 - one for each event
    """Take one event; `state` itself is never changed. What comes twice, too late or for another sum is ignored."""
    match event:
        case ReportArrived():
            return _report_arrived(terms, state, event)
        case SumWritten():
            return _sum_written(state, event)
        case HashArrived():
            return _hash_arrived(terms, state, event)
        case HashesChecked():
            return _hashes_checked(terms, state, event)
        case ProductArrived():
            return _product_arrived(terms, state, event)
        case Closed():
            return _closed(terms, state, event)
    return _sum_released(state)


def present_step(state: State) -> Step | None:
    """What is being collected; None if nothing is."""
    match state:
        case Collecting():
            return "reports"
        case Hashing():
            return "hashes"
        case Opened():
            return "products"
        case _:
            return None


def waited_for(terms: Terms, state: State) -> tuple[str, ...]:
    """Whose messages the present step lacks, in roster order."""
    match state:
        case Collecting():
            return tuple(c for c in terms.clients if c not in state.arrived)
        case Hashing():
            return tuple(c for c in terms.clients if c in state.members and c not in state.hashed)
        case Opened():
            return tuple(h for h in terms.key_holders if h not in state.products)
        case _:
            return ()


def counted(members: Mapping[str, str]) -> tuple[CountedReport, ...]:
    """Members as messages list them: sorted by client."""
    return tuple(sorted(CountedReport(client=client, report=digest) for client, digest in members.items()))


def _report_arrived(terms: Terms, state: State, event: ReportArrived) -> Transition:
    if not isinstance(state, Collecting) or event.client not in waited_for(terms, state):
        return Transition(state)
    state = Collecting(arrived={**state.arrived, event.client: event.digest})
    return Transition(state) if waited_for(terms, state) else _add(terms, state.arrived, 0, "reports")


def _sum_written(state: State, event: SumWritten) -> Transition:
    if type(state) is not Adding or event.attempt != state.attempt:
        return Transition(state)
    return Transition(Hashing(attempt=state.attempt, members=state.members, sum=event.sum))


def _hash_arrived(terms: Terms, state: State, event: HashArrived) -> Transition:
    if not isinstance(state, Hashing) or event.sum != state.sum:
        return Transition(state)
    if event.client not in waited_for(terms, state):
        return Transition(state)
    return Transition(msgspec.structs.replace(state, hashed={**state.hashed, event.client: event.digest}))


def _product_arrived(terms: Terms, state: State, event: ProductArrived) -> Transition:
    if not isinstance(state, Opened) or event.opening != state.opening:
        return Transition(state)
    if event.key_holder not in waited_for(terms, state):
        return Transition(state)
    products = {**state.products, event.key_holder: event.digest}
    return Transition(msgspec.structs.replace(state, products=products))


def _sum_released(state: State) -> Transition:
    if not isinstance(state, Opened):
        return Transition(state)
    return Transition(Released(attempt=state.attempt, members=state.members))


def _hashes_checked(terms: Terms, state: State, event: HashesChecked) -> Transition:
    if not isinstance(state, Hashing) or event.sum != state.sum or waited_for(terms, state):
        return Transition(state)
    if event.wrong:
        rest = {c: digest for c, digest in state.members.items() if c not in event.wrong}
        return _add(terms, rest, state.attempt + 1, "hashes")
    opening = Opening(**terms.round.names, sum=state.sum, hashes=counted(state.hashed))
    opened = Opened(
        attempt=state.attempt, members=state.members, sum=state.sum, opening=message_digest(opening)
    )
    return Transition(opened, opening)


def _closed(terms: Terms, state: State, event: Closed) -> Transition:
    if event.step != present_step(state):
        return Transition(state)
    if isinstance(state, Collecting):
        return _add(terms, state.arrived, 0, "reports")
    if isinstance(state, Hashing) and waited_for(terms, state):
        rest = {client: digest for client, digest in state.members.items() if client in state.hashed}
        return _add(terms, rest, state.attempt + 1, "hashes")
    return Transition(state)  # no sum opens without all key holders; they may still come


def _add(terms: Terms, members: Mapping[str, str], attempt: int, of: Step) -> Transition:
    if len(members) < terms.min_clients or attempt >= MAX_ATTEMPTS:
        missing = tuple(c for c in terms.clients if c not in members)
        return Transition(Failed(step=of, took_part=tuple(sorted(members)), missing=missing))
    return Transition(Adding(attempt=attempt, members=dict(sorted(members.items()))))
