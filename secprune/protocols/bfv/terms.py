"""What a round of `bfv` is about, from the task and a party's own policy, and the checks that everybody makes."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from secprune.crypto.bfv.parameters import Parameters, choose_parameters
from secprune.crypto.seal import Context
from secprune.errors import RemoteMisbehaviourError
from secprune.ids import sha256
from secprune.messages.bfv import MAX_ATTEMPTS, CiphertextSum, HashSeed, KeyShare, Opening
from secprune.messages.codec import encode
from secprune.privacy.votes import count_noise
from secprune.protocols.terms import OneAggregatorTerms

if TYPE_CHECKING:
    from collections.abc import Mapping

    from secprune.messages.types import CountedReport
    from secprune.task import Task


@functools.lru_cache(maxsize=8)
def parameters_of(task: Task) -> Parameters:
    """The ring of a task; every party computes it by itself.

    Raises:
        ConfigurationError: so many clients or weights fit into no ring, or their noise into no counter.
    """
    noise = count_noise(task)
    return choose_parameters(
        clients=task.n_max,
        key_holders=len(task.names("key-holder")),
        blind=task.protocol.key_holder == "blind",
        weights=sum(m.rows * m.columns for m in task.model.matrices),
        values=sum(task.vectors.values()),
        each=1 if noise is None else noise.most,
    )


@dataclass(frozen=True)
class Terms(OneAggregatorTerms):
    """The terms of one round, as one party sees them."""

    @property
    def key_holders(self) -> tuple[str, ...]:
        """All key holders, in roster order."""
        return self.round.task.names("key-holder")

    @property
    def blind(self) -> bool:
        """Whether key holders see c1 only."""
        return self.parameters.blind

    @property
    def parameters(self) -> Parameters:
        """The ring of the task."""
        return parameters_of(self.round.task)

    def context(self, purpose: str, sender: str, receiver: str, about: str = "") -> Context:
        """What keys, seeds and ciphertexts of this round are bound to; `about` is a digest of an earlier message."""
        return Context(self.round.task_id, self.round.index, f"bfv/{purpose}", sender, receiver, about)

    @property
    def key_context(self) -> bytes:
        """What the common polynomial of this round's keys is expanded from."""
        return self.context("common-polynomial", "", "").encode()

    # ---- checks
    def joint_keys(self, commitments: Mapping[str, str], shares: Mapping[str, KeyShare]) -> str:
        """The name of the joint key: a digest over all key holders' shares, each the one that was promised.

        Raises:
            RemoteMisbehaviourError: a key holder published another share than it had promised, or one for other
                parameters.
        """
        digests = {}
        for name in self.key_holders:
            digests[name] = message_digest(shares[name])
            if digests[name] != commitments[name]:
                raise self.misbehaviour(name, f"{name} published another key share than it had promised")
            if shares[name].parameters != self.parameters.id:
                raise self.misbehaviour(name, f"{name}'s key share is for other parameters")
        return sha256(b"secprune/bfv/keys/v1\0" + msgspec.json.encode(sorted(digests.items())))

    def check_sum(self, message: CiphertextSum, *, keys: str, before: tuple[CountedReport, ...]) -> None:
        """Refuse a sum that honest software never asks to open.

        Args:
            message: the aggregator's.
            keys: the joint key's name.
            before: members of the attempt before; empty if this is the first.

        Raises:
            RemoteMisbehaviourError: the aggregator is to blame.
        """
        names = [member.client for member in message.members]
        if names != sorted(set(names)):
            raise self.misbehaviour(self.aggregator, "the sum counts a client twice")
        if strangers := sorted(set(names) - set(self.clients)):
            raise self.misbehaviour(
                self.aggregator, f"the sum counts {', '.join(strangers)}, who are not clients of this task"
            )
        if len(names) < self.min_clients:
            raise self.misbehaviour(
                self.aggregator, f"the sum has {len(names)} clients, {self.min_clients} are the least"
            )
        if message.keys != keys:
            raise self.misbehaviour(self.aggregator, "the sum is under another key than that of this round")
        if before and not set(message.members) < set(before):
            raise self.misbehaviour(self.aggregator, "a later sum counts other reports than the one before")

    def check_attempt(self, message: CiphertextSum, sums: tuple[str, ...]) -> bool:
        """Whether a sum is the next attempt; those that were seen may be seen again.

        Raises:
            RemoteMisbehaviourError: two different sums of one attempt.
        """
        if message.attempt < len(sums):
            if sums[message.attempt] != message_digest(message):
                raise self.misbehaviour(self.aggregator, "the aggregator signed two different sums")
            return False
        return message.attempt == len(sums) < MAX_ATTEMPTS

    def all_seeds(self, seeds: Mapping[str, HashSeed]) -> tuple[bytes, str]:
        """The 32-byte seed that all key holders' parts make, and its digest."""
        parts = [(name, seeds[name].seed.hex()) for name in self.key_holders]
        digest = sha256(b"secprune/bfv/seeds/v1\0" + msgspec.json.encode(parts))
        return bytes.fromhex(digest.removeprefix("sha256:")), digest

    def misbehaviour(self, party: str, what: str) -> RemoteMisbehaviourError:
        """Somebody did what honest software never does."""
        return RemoteMisbehaviourError(
            what,
            party=party,
            hint="this site does nothing more in this round; keep the exchange's files as evidence",
        )


def message_digest(message: KeyShare | CiphertextSum | Opening) -> str:
    """What later messages call this one by: the digest of its canonical form, whoever signs it."""
    return sha256(b"secprune/bfv/message/v1\0" + encode(message))
