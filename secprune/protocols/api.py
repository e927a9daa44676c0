"""What every protocol offers to the parties that run it, and the registry of protocols.

A report is written and read chunk by chunk, so that no party holds more than a few chunks in memory:

    client       ReportWriter.protect(chunk, words)       -> bytes for the exchange
    aggregator   SecureSum.open_key(report)               -> this aggregator's key of the report
                 ReportReader.share(chunk, bytes)         -> this aggregator's share of the words
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from secprune.messages.types import Report, RoundNames, SealedKey
from secprune.protocols.payloads import payload_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from secprune.crypto.identity import Identity
    from secprune.packing import Chunk, Layout, Words
    from secprune.protocols.payloads import Vectors, Votes, VotesAndWeights
    from secprune.task import MatrixSpec, Task


@dataclass(frozen=True, slots=True)
class Round:
    """One secure sum of a task: what all parties derive in the same way from the task alone."""

    task: Task
    task_id: str
    index: int
    matrices: tuple[MatrixSpec, ...]
    layout: Layout

    @property
    def names(self) -> RoundNames:
        """What a message of this round begins with."""
        return {"task_id": self.task_id, "round": self.index}

    @property
    def payload(self) -> Votes | VotesAndWeights | Vectors:
        """What its reports hold."""
        return payload_of(self.task)

    @property
    def clients(self) -> tuple[str, ...]:
        """Clients that take part, in roster order."""
        return self.task.round_clients(self.index)

    @property
    def weights(self) -> int:
        """Weights that it is about."""
        return sum(m.rows * m.columns for m in self.matrices)

    @classmethod
    def of(cls, task: Task, index: int = 0) -> Round:
        """One round of a task; one-shot pruning has only the first."""
        matrices = task.round_matrices(index)
        return cls(task, task.task_id, index, matrices, payload_of(task).layout(task, matrices))


class ReportSecrets(Struct, frozen=True, kw_only=True):
    """What a client draws once per round and keeps, so that a retry sends the same bytes.

    `keys` are already sealed: HPKE draws randomness, so they are made once, with the secrets themselves.
    """

    content_key: bytes
    seeds: tuple[bytes, ...]
    keys: tuple[SealedKey, ...]

    def __repr__(self) -> str:
        return "ReportSecrets(<secret>)"


class ReportWriter(Protocol):
    """A client's side of one report."""

    def protect(self, chunk: Chunk, words: Words) -> bytes:
        """Bytes of one chunk for the exchange. Owns `words` from here on and may overwrite them."""


class ReportReader(Protocol):
    """One aggregator's side of one client's report."""

    @property
    def needs_bytes(self) -> bool:
        """Whether this aggregator's share travels as chunks (else it comes from a seed)."""

    def share(self, chunk: Chunk, data: bytes) -> Words:
        """This aggregator's share of a chunk's words, (groups, columns); `data` is empty if not needed."""


class SecureSum(Protocol):
    """A protocol, as the parties see it."""

    def new_secrets(self, round_: Round, client: str, entropy: Callable[[int], bytes]) -> ReportSecrets:
        """Draw what protects one report. Run by the client, once per round."""

    def writer(self, round_: Round, client: str, secrets: ReportSecrets) -> ReportWriter:
        """Start writing a report. Run by the client."""

    def open_key(
        self, round_: Round, client: str, report: Report, *, aggregator: str, identity: Identity
    ) -> bytes:
        """This aggregator's key of a report, which has the task's form. Run by an aggregator.

        Raises:
            RemoteMisbehaviourError: the report does not have the form this task prescribes; names the client.
        """

    def reader(self, round_: Round, client: str, key: bytes, *, aggregator: str) -> ReportReader:
        """Start reading a report. Run by whoever works for an aggregator and has the key it opened."""


def secure_sum(task: Task) -> SecureSum:
    """The protocol that a task names."""
    from secprune.protocols.additive.sharing import AdditiveSharing  # noqa: PLC0415 - they import this module
    from secprune.protocols.cleartext import Cleartext  # noqa: PLC0415

    protocols: dict[str, SecureSum] = {"additive": AdditiveSharing(), "cleartext": Cleartext()}
    return protocols[task.protocol.name]
