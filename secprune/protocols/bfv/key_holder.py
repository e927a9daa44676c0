"""The key holder's side of `bfv`, as a state machine: whose key it is, and what it opens.

Rule 1: every transition is in this file; the party that runs it feeds events, checkpoints, then sends.
Rule 2: it publishes its key share only once every key holder has promised one, so that nobody can choose a share
    that cancels another.
Rule 3: for each sum it draws one seed, after it has seen the sum.
Rule 4: it opens one sum in a round, of at least `min_clients` clients of the roster, each of which has signed the
    hash of its own part; the hashes add up to that of the sum. Then, or when it refuses, its key is gone.

    Committed --all commitments--> Shared --all shares--> Serving --opening, hashes right--> Released
                                                             `-----------wrong-------------> Refused
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

import msgspec
from msgspec import Struct

from secprune.crypto.bfv.hashing import add_hashes, is_well_formed
from secprune.messages.bfv import HashSeed
from secprune.messages.types import CountedReport
from secprune.protocols.bfv.terms import message_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from secprune.crypto.bfv.hashing import HashValues
    from secprune.messages.bfv import CiphertextSum, KeyShare, LinearHash, Opening
    from secprune.protocols.bfv.terms import Terms

SEED_BYTES = 32


# ---- events
@dataclass(frozen=True, slots=True)
class AllCommitted:
    """All key holders' commitments, by name; `own` is that of this one's share."""

    commitments: Mapping[str, str]
    own: str


@dataclass(frozen=True, slots=True)
class KeysPublished:
    """All key holders' commitments and shares, by name."""

    commitments: Mapping[str, str]
    shares: Mapping[str, KeyShare]


@dataclass(frozen=True, slots=True)
class SumSeen:
    """A sum of the aggregator's."""

    message: CiphertextSum


Event = AllCommitted | KeysPublished | SumSeen


# ---- states; checkpointed in the key holder's own directory only
class _State(Struct, frozen=True, kw_only=True, tag=True):
    def __repr__(self) -> str:
        return f"{type(self).__name__}(<secret>)"


class Committed(_State, frozen=True, kw_only=True):
    """The key share is drawn, and its public half promised."""

    seed: bytes


class Shared(Committed, frozen=True, kw_only=True):
    """The public half is out."""


class Serving(Committed, frozen=True, kw_only=True):
    """The joint key is known; `sums` are the digests of the sums seen, by attempt."""

    keys: str
    sums: tuple[str, ...] = ()
    members: tuple[CountedReport, ...] = ()


class Released(_State, frozen=True, kw_only=True):
    """One sum is opened; the key is forgotten."""

    members: tuple[CountedReport, ...]


class Refused(_State, frozen=True, kw_only=True):
    """The aggregator asked for what is never opened; the key is forgotten."""

    reason: str
    party: str


class GivenUp(_State, frozen=True, kw_only=True):
    """Somebody else ended the round; the key is forgotten."""

    reason: str
    missing: tuple[str, ...]


State = Committed | Shared | Serving | Released | Refused | GivenUp


@dataclass(frozen=True, slots=True)
class PublishShare:
    """Send the KeyShare that was promised."""


@dataclass(frozen=True, slots=True)
class Transition:
    """The state to checkpoint, then what to send, if anything."""

    state: State
    action: PublishShare | HashSeed | None = None


def step(terms: Terms, state: State, event: Event, entropy: Callable[[int], bytes]) -> Transition:
    """Take one event; `state` itself is never changed.

    Raises:
        RemoteMisbehaviourError: somebody showed what honest software never shows.
    """
    match event:
        case AllCommitted():
            if type(state) is not Committed:
                return Transition(state)
            if event.commitments.get(terms.me) != event.own:
                raise terms.misbehaviour(
                    terms.me, "this key holder promised another key share before: was its directory set back?"
                )
            return Transition(Shared(seed=state.seed), PublishShare())
        case KeysPublished():
            if not isinstance(state, Shared):
                return Transition(state)
            keys = terms.joint_keys(event.commitments, event.shares)
            return Transition(Serving(seed=state.seed, keys=keys))
        case SumSeen(message=message):
            if not isinstance(state, Serving) or not terms.check_attempt(message, state.sums):
                return Transition(state)
            terms.check_sum(message, keys=state.keys, before=state.members)
            digest = message_digest(message)
            serving = msgspec.structs.replace(state, sums=(*state.sums, digest), members=message.members)
            return Transition(serving, HashSeed(**terms.round.names, sum=digest, seed=entropy(SEED_BYTES)))
        case _:
            assert_never(event)


def check_opening(
    terms: Terms,
    opening: Opening,
    message: CiphertextSum,
    hashes: Mapping[str, LinearHash],
    *,
    seeds: str,
) -> HashValues:
    """What the sum must hash to, from the hashes that its clients signed.

    Args:
        terms: of the round.
        opening: the aggregator's, for a sum that this key holder has drawn a seed for.
        message: that sum.
        hashes: the messages that the opening names, by client, their signatures verified.
        seeds: digest of all seeds for it.

    Raises:
        RemoteMisbehaviourError: somebody that is counted has not signed, or not for this sum and these seeds.
    """
    signed = [member.client for member in opening.hashes]
    if signed != [member.client for member in message.members] or set(hashes) != set(signed):
        raise terms.misbehaviour(terms.aggregator, "not exactly the counted clients have signed a hash")
    for client, answer in hashes.items():
        values_fit = is_well_formed(answer.values, terms.parameters)
        if answer.sum != opening.sum or answer.seeds != seeds or not values_fit:
            raise terms.misbehaviour(terms.aggregator, f"the hash of {client} is not for this sum")
    return add_hashes([hashes[client].values for client in signed], terms.parameters)


def check_hash(terms: Terms, due: HashValues, found: HashValues) -> None:
    """Refuse a sum that is not the one over its clients.

    Raises:
        RemoteMisbehaviourError: the aggregator is to blame: it can check each client's hash by itself.
    """
    if due != found:
        raise terms.misbehaviour(
            terms.aggregator,
            "what is to be opened is not the sum of the reports that its clients answered for",
        )
