"""The client's side of `bfv`, as a state machine.

Rule 1: every transition is in this file; the party that runs it feeds events, checkpoints, then sends.
Rule 2: a report is encrypted once, under the key that all key holders have promised and published.
Rule 3: it answers for a sum only if that counts its own report, at least `min_clients` reports, and no others
    than the sum before; once for each.

    Idle --all key shares--> Encrypted --sum, seeds--> Encrypted (answered) --opening--> Counted

A sum without this client ends its part (`LeftOut`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

import msgspec
from msgspec import Struct

from secprune.messages.types import CountedReport
from secprune.protocols.bfv.terms import message_digest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from secprune.messages.bfv import CiphertextSum, HashSeed, KeyShare, Opening
    from secprune.protocols.bfv.terms import Terms


# ---- events
@dataclass(frozen=True, slots=True)
class KeysPublished:
    """All key holders' commitments and shares, by name."""

    commitments: Mapping[str, str]
    shares: Mapping[str, KeyShare]


@dataclass(frozen=True, slots=True)
class SumSeen:
    """A sum of the aggregator's; `own` is the digest of this client's report."""

    message: CiphertextSum
    own: str


@dataclass(frozen=True, slots=True)
class SeedsDrawn:
    """All key holders' seeds for one sum, by name."""

    sum: str
    seeds: Mapping[str, HashSeed]


@dataclass(frozen=True, slots=True)
class OpeningSeen:
    """The aggregator's choice of the sum to open."""

    message: Opening


Event = KeysPublished | SumSeen | SeedsDrawn | OpeningSeen


# ---- states
class _State(Struct, frozen=True, kw_only=True, tag=True):
    pass


class Idle(_State, frozen=True, kw_only=True):
    """The joint key is not known yet."""


class Encrypted(_State, frozen=True, kw_only=True):
    """The report is out; `sums` are the digests of the sums that counted it, `answered` those answered for."""

    keys: str
    sums: tuple[str, ...] = ()
    members: tuple[CountedReport, ...] = ()
    answered: tuple[str, ...] = ()


class Counted(_State, frozen=True, kw_only=True):
    """The aggregator has asked to open a sum that this client answered for."""

    keys: str
    sum: str


class LeftOut(_State, frozen=True, kw_only=True):
    """The aggregator went on without this client's report."""


State = Idle | Encrypted | Counted | LeftOut


# ---- actions
@dataclass(frozen=True, slots=True)
class Encrypt:
    """Encrypt the pruning masks under this joint key and post the report."""

    keys: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Post the linear hash of the own report's c1 for this sum."""

    sum: str
    seed: bytes
    seeds: str


Action = Encrypt | Answer


@dataclass(frozen=True, slots=True)
class Transition:
    """The state to checkpoint, then what to do."""

    state: State
    actions: tuple[Action, ...] = ()


def step(terms: Terms, state: State, event: Event) -> Transition:
    """Take one event; `state` itself is never changed.

    Raises:
        RemoteMisbehaviourError: somebody showed what honest software never shows; the state stays as it was.
    """
    match event:
        case KeysPublished():
            if not isinstance(state, Idle):
                return Transition(state)
            keys = terms.joint_keys(event.commitments, event.shares)
            return Transition(Encrypted(keys=keys), (Encrypt(keys),))
        case SumSeen():
            return _sum_seen(terms, state, event)
        case SeedsDrawn():
            return _seeds_drawn(terms, state, event)
        case OpeningSeen():
            if isinstance(state, Encrypted) and event.message.sum in state.answered:
                return Transition(Counted(keys=state.keys, sum=event.message.sum))
            return Transition(state)
        case _:
            assert_never(event)


def _sum_seen(terms: Terms, state: State, event: SumSeen) -> Transition:
    message = event.message
    if not isinstance(state, Encrypted) or not terms.check_attempt(message, state.sums):
        return Transition(state)
    terms.check_sum(message, keys=state.keys, before=state.members)
    counted = {member.client: member.report for member in message.members}
    if terms.me not in counted:
        return Transition(LeftOut())
    if counted[terms.me] != event.own:
        raise terms.misbehaviour(
            terms.aggregator, "the sum counts another report of this client than it sent"
        )
    return Transition(
        msgspec.structs.replace(state, sums=(*state.sums, message_digest(message)), members=message.members)
    )


def _seeds_drawn(terms: Terms, state: State, event: SeedsDrawn) -> Transition:
    if not isinstance(state, Encrypted) or not state.sums or state.sums[-1] != event.sum:
        return Transition(state)
    if event.sum in state.answered:
        return Transition(state)
    seed, digest = terms.all_seeds(event.seeds)
    answered = msgspec.structs.replace(state, answered=(*state.answered, event.sum))
    return Transition(answered, (Answer(event.sum, seed, digest),))
