"""A study to measure with: real keys and a real task over matrices of given shapes, but no language model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import tomli_w

from secprune.crypto.entropy import random_bytes
from secprune.crypto.envelope import sign
from secprune.crypto.identity import Identity
from secprune.files import private_directory
from secprune.messages.types import Report, TaskSignature
from secprune.parties.config import IDENTITY_FILE, PARTY_FILE
from secprune.parties.report_words import chunk_words
from secprune.protocols.additive.sharing import AdditiveSharing
from secprune.protocols.api import Round
from secprune.storage.keyfile import card_of, write_identity
from secprune.storage.masks import MaskFile, write_masks
from secprune.task import MatrixSpec, ModelSpec, PartySpec, PrivacySpec, ProtocolSpec, PruningSpec, Task

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt

    from secprune.exchange.directory import DirectoryExchange
    from secprune.ids import Role

Shapes = tuple[tuple[int, int], ...]

LLAMA_SHAPES: Shapes = ((4096, 4096), (4096, 4096), (11008, 4096), (4096, 11008))
"""Two attention and two MLP matrices of one 7B LLaMA block: 124 million weights."""

SMOLLM2_SHAPES: Shapes = 30 * (
    *((576, 576), (192, 576), (192, 576), (576, 576)),
    *((1536, 576), (1536, 576), (576, 1536)),
)
"""All prunable matrices of SmolLM2-135M: 106 million weights."""

_NO_DIGEST = "sha256:" + "0" * 64
_DISTINCT_ROWS = 251


class Study:
    """A task over `shapes` and everybody's keys.

    Args:
        shapes: (rows, columns) of each matrix.
        clients: in the roster.
    """

    def __init__(self, shapes: Shapes, *, clients: int) -> None:
        roles: list[tuple[str, Role]] = [("hq", "coordinator"), ("adder-0", "aggregator")]
        roles.append(("adder-1", "aggregator"))
        roles += [(f"clinic-{i}", "client") for i in range(clients)]
        self.identities = {name: Identity.generate(random_bytes) for name, _ in roles}
        self.cards: dict[str, PartySpec] = {
            name: card_of(self.identities[name], role=role, name=name) for name, role in roles
        }
        self.task = Task(
            study="benchmark",
            nonce=random_bytes(16).hex(),
            protocol=ProtocolSpec(name="additive", min_clients=3),
            pruning=PruningSpec(sparsity="1/2", sequence_length=8, max_windows=4),
            privacy=PrivacySpec(),
            model=ModelSpec(
                name="none",
                weights_digest=_NO_DIGEST,
                tokenizer_digest=_NO_DIGEST,
                matrices=tuple(
                    MatrixSpec(name=f"matrix.{i}.weight", rows=r, columns=c)
                    for i, (r, c) in enumerate(shapes)
                ),
            ),
            parties=tuple(self.cards.values()),
        )
        self.round = Round.of(self.task)

    def write_masks(self, path: Path) -> MaskFile:
        """Random pruning masks of one client, as `secprune client prune` stores them."""
        write_masks(path, _random_masks(self.task), self.task.model.matrices, task_id=self.round.task_id)
        return MaskFile(path, self.task.model.matrices, task_id=self.round.task_id)

    def write_party(self, root: Path, name: str) -> Path:
        """A party's own directory with keys and party file, and beside it the signed task."""
        directory, card = private_directory(root / name), self.cards[name]
        write_identity(directory / IDENTITY_FILE, self.identities[name], role=card.role, name=name)
        content = {"task": "../task.toml", "exchange": "../exchange"}
        (directory / PARTY_FILE).write_text(tomli_w.dumps(content))
        (root / "task.toml").write_text(self.task.to_toml())
        signature = sign(
            TaskSignature(task_id=self.round.task_id, study=self.task.study),
            signer="hq",
            identity=self.identities["hq"],
        )
        (root / "task.toml.sig").write_bytes(signature)
        return directory

    def submit(self, client: str, masks: MaskFile, exchange: DirectoryExchange) -> tuple[Report, int]:
        """What `secprune client submit` does, without a journal: the report and the bytes of its chunks."""
        protocol = AdditiveSharing()
        secrets = protocol.new_secrets(self.round, client, random_bytes)
        writer = protocol.writer(self.round, client, secrets)
        digests, size = [], 0
        for chunk in self.round.layout.chunks:
            data = writer.protect(chunk, chunk_words(masks, chunk))
            digests.append(exchange.put_chunk(data))
            size += len(data)
        report = Report(
            task_id=self.round.task_id, round=self.round.index, keys=secrets.keys, chunks=tuple(digests)
        )
        return report, size


def _random_masks(task: Task) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """A few random rows with exactly row_k ones, repeated: no step's time depends on the bits."""
    rng = np.random.default_rng(1)
    blocks: dict[int, npt.NDArray[np.bool_]] = {}
    for m in task.model.matrices:
        if m.columns not in blocks:
            order = rng.random((_DISTINCT_ROWS, m.columns), np.float32).argsort(axis=1)
            blocks[m.columns] = order < task.pruning.row_k(m.columns)
        yield m.name, blocks[m.columns][np.arange(m.rows) % _DISTINCT_ROWS]
