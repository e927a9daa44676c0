"""What one server holds of a hospital's report, through the project's own protocols, read as if it were a packed mask.

An aggregator of `additive` that tries this reads digits of a uniformly random word; that of `pairwise` those of a masked
word. In `cleartext` it reads the mask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from msgspec import structs

from secprune.packing import pack, unpack
from secprune.protocols.additive.sharing import AdditiveSharing, ChunkShare, report_context
from secprune.protocols.api import Round
from secprune.protocols.cleartext import Cleartext
from secprune.protocols.pairwise.keys import Binding
from secprune.protocols.pairwise.masks import Mask, Masking
from secprune.task import PrivacySpec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from secprune.audit.attacks import population
    from secprune.audit.draws import Draws
    from secprune.packing import Chunk, Words
    from secprune.task import PruningSpec, Task

_SEED_BYTES = 32


class ServersPart:
    """A report's words as the first aggregator of a study holds them.

    Args:
        task: of the study; its roster and protocol are taken (`additive`, `pairwise` or `cleartext`).
        pruning: how masks are made in the rehearsal.
        inputs: whose masks are reported.
    """

    def __init__(self, task: Task, pruning: PruningSpec, inputs: Sequence[population.Input]) -> None:
        matrices = tuple(matrix for one in inputs for matrix in one.matrices)
        model = structs.replace(task.model, matrices=matrices)
        one_shot = structs.replace(pruning, schedule="one-shot")
        self._round = Round.of(structs.replace(task, model=model, pruning=one_shot, privacy=PrivacySpec()))
        self._inputs = inputs

    def __call__(
        self, masks: Sequence[population.Mask], draws: Draws
    ) -> tuple[list[npt.NDArray[Any]], float]:
        """The digits that are read: of each input (rows, features); and the largest there is."""
        rows = dict[str, npt.NDArray[np.uint8]]()
        for one, mask in zip(self._inputs, masks, strict=True):
            parts = one.by_matrix(mask.view(np.uint8))
            rows |= {m.name: part for m, part in zip(one.matrices, parts, strict=True)}
        held = self._holder(draws)
        digits = {name: np.empty_like(part, np.uint16) for name, part in rows.items()}
        for chunk in self._round.layout.chunks:
            slab = chunk.slab
            pieces = list(slab.pieces(chunk.first_row, chunk.end_row))
            bits = np.concatenate([rows[matrix.name][low:high] for matrix, low, high in pieces])
            words = held(chunk, pack(bits, base=slab.base, digits=slab.digits))
            read = unpack(words, base=slab.base, digits=slab.digits, rows=len(bits))
            at = 0
            for matrix, low, high in pieces:
                digits[matrix.name][low:high] = read[at : at + high - low]
                at += high - low
        return [np.concatenate([digits[m.name] for m in one.matrices]) for one in self._inputs], self._most

    @property
    def _most(self) -> float:
        """A digit's largest value where it is not a mask's."""
        return 1 if self._round.task.protocol.name == "cleartext" else self._round.task.n_max

    def _holder(self, draws: Draws) -> Callable[[Chunk, Words], Words]:
        """From a report's words, chunk by chunk, to those that the aggregator has: fresh secrets each time."""
        round_ = self._round
        task, client = round_.task, round_.clients[0]
        if task.protocol.name == "pairwise":
            masking = self._masking(client, draws)

            def masked(chunk: Chunk, words: Words) -> Words:
                masking.put_on(chunk, words)
                return words

            return masked
        if task.protocol.name == "cleartext":
            plain = Cleartext().reader(round_, client, b"", aggregator=task.names("aggregator")[0])
            writer = Cleartext().writer(
                round_, client, Cleartext().new_secrets(round_, client, draws.entropy)
            )
            return lambda chunk, words: plain.share(chunk, writer.protect(chunk, words))
        secrets = AdditiveSharing().new_secrets(round_, client, draws.entropy)
        sharing = AdditiveSharing().writer(round_, client, secrets)
        context = report_context(round_, client, task.names("aggregator")[0])
        reader = ChunkShare(secrets.content_key, context, round_)
        return lambda chunk, words: reader.share(chunk, sharing.protect(chunk, words))

    def _masking(self, client: str, draws: Draws) -> Masking:
        """The masks that a client of `pairwise` puts on: its own, and one for each peer."""
        peers = [name for name in self._round.clients if name != client]
        masks = [Mask(client, "", draws.entropy(_SEED_BYTES), added=True)]
        masks += [Mask(client, peer, draws.entropy(_SEED_BYTES), added=True) for peer in peers]
        return Masking(self._round, Binding(self._round), masks)
