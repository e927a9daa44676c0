"""Rounds for audits: the protocol of a task, with keys that belong to nobody and weights of no model.

An auditor has no party's private keys, and needs none: the code that protected the study's reports is run on reports of
the audit's own. Everything is drawn from the audit's draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from secprune.crypto.identity import Identity
from secprune.packing import pack
from secprune.protocols.api import Round
from secprune.task import (
    MIN_COHORT,
    MatrixSpec,
    ModelSpec,
    PartySpec,
    PrivacySpec,
    ProtocolSpec,
    PruningSpec,
    Task,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from secprune.audit.draws import Draws
    from secprune.ids import Role
    from secprune.packing import Bits, Chunk, Words
    from secprune.task import ProtocolName

_NO_DIGEST = "sha256:" + "0" * 64


@dataclass(frozen=True, slots=True)
class AuditRound:
    """A round, and the keys of all its parties."""

    round: Round
    identities: Mapping[str, Identity]

    @property
    def aggregators(self) -> tuple[str, ...]:
        """In the order of the roster."""
        return self.round.task.names("aggregator")

    @property
    def clients(self) -> tuple[str, ...]:
        """In the order of the roster."""
        return self.round.clients

    @property
    def chunk(self) -> Chunk:
        """The first chunk; audits look at no other."""
        return self.round.layout.chunks[0]


def audit_round(
    protocol: ProtocolName, draws: Draws, *, clients: int, aggregators: int, rows: int, columns: int
) -> AuditRound:
    """The first round of a task with one matrix, half of each row of which is pruned.

    Args:
        protocol: of the secure sum; `additive`, `cleartext` or `pairwise`.
        draws: for all keys.
        clients: in the roster.
        aggregators: in the roster.
        rows: of the matrix.
        columns: of the matrix.
    """
    names: list[tuple[Role, str]] = [
        *(("client", f"client-{number}") for number in range(clients)),
        *(("aggregator", f"aggregator-{number}") for number in range(aggregators)),
        ("coordinator", "coordinator"),
    ]
    identities = {name: Identity.generate(draws.entropy) for _, name in names}
    parties = tuple(
        PartySpec(
            role=role,
            name=name,
            signing_key=identities[name].signing_key,
            sealing_key=identities[name].sealing_key,
        )
        for role, name in names
    )
    task = Task(
        study="audit",
        nonce=draws.entropy(16).hex(),
        protocol=ProtocolSpec(name=protocol, min_clients=min(MIN_COHORT, clients)),
        pruning=PruningSpec(sparsity="1/2", sequence_length=2, max_windows=1),
        privacy=PrivacySpec(),
        model=ModelSpec(
            name="none",
            weights_digest=_NO_DIGEST,
            tokenizer_digest=_NO_DIGEST,
            matrices=(MatrixSpec(name="weight", rows=rows, columns=columns),),
        ),
        parties=parties,
    )
    return AuditRound(Round.of(task), identities)


def some_mask(audit: AuditRound, rng: np.random.Generator) -> Bits:
    """A pruning mask of the round's chunk with as many ones in each row as are due: (rows, columns)."""
    chunk = audit.chunk
    rows = chunk.end_row - chunk.first_row
    return random_mask(rng, rows, chunk.slab.columns, row_k=chunk.slab.row_k or 0)


def random_mask(rng: np.random.Generator, rows: int, columns: int, *, row_k: int) -> Bits:
    """A mask with `row_k` ones at random in each row: (rows, columns)."""
    scores = rng.random((rows, columns))
    return (scores.argsort(axis=1).argsort(axis=1) < row_k).astype(np.uint8)


def words_of(audit: AuditRound, mask: npt.NDArray[np.uint8]) -> Words:
    """A mask of the round's chunk as words, (groups, columns)."""
    slab = audit.chunk.slab
    return pack(mask, base=slab.base, digits=slab.digits)
