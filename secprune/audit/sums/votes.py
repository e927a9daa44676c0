"""Vote stuffing: whether the row-sum check notices votes that no honest mask has, and the pair that it cannot see.

A client may vote for any mask with the right number of ones in each row; whether it comes from notes nobody can tell. What is
checked is that it has not more: aggregators open sums of their shares over a row, which add up to a public number.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from secprune.audit.check import Check, Figure, Kind, Measurement
from secprune.audit.sums.rounds import random_mask
from secprune.packing import Layout, PackedMatrix, pack
from secprune.protocols.additive.row_sums import opened_words, row_sum_fault
from secprune.protocols.payloads import Votes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from secprune.audit.draws import Draws
    from secprune.packing import Chunk, Words

_ROWS, _COLUMNS = 45, 24
_TRIALS = 200
_PAIR = 5


@dataclass(frozen=True, slots=True)
class RowSums:
    """The check that aggregators make of a report.

    Attributes:
        clients: in the roster, for how many counters fit into a word.
        row_k: ones in each row of an honest mask; None where the local pruner fixes no number.
        opened: what an aggregator opens of its share of a chunk.
        fault: what all of them find in what they opened; empty if it is nothing.
    """

    clients: int
    row_k: int | None = _COLUMNS // 2
    opened: Callable[[Chunk, Words], Words] = opened_words
    fault: Callable[[Layout, Sequence[Words]], str] = row_sum_fault

    @property
    def layout(self) -> Layout:
        """Of one matrix, whose last row group is not full."""
        return Layout.of([PackedMatrix("weight", _ROWS, _COLUMNS, self.row_k)], n_max=self.clients)

    def fault_of(self, words: Words, draws: Draws) -> str:
        """What aggregators find in a report of these words, shared between two of them."""
        layout = self.layout
        chunk = layout.chunks[0]
        share = np.frombuffer(draws.entropy(8 * words.size), "<u8").astype(np.uint64).reshape(words.shape)
        return self.fault(layout, [self.opened(chunk, part) for part in (share, words - share)])

    def is_refused(self, words: Words, honest: Words) -> bool:
        """Whether the coordinator refuses the sum of these words and everybody else's honest ones."""
        total = words + np.uint64(self.clients - 1) * honest
        return Votes().read(self.layout.chunks[0], total, cohort_size=self.clients) is None


def _stuff(subject: RowSums, draws: Draws) -> Measurement:
    slab, rng = subject.layout.slabs[0], draws.numpy
    refused = unnamed = unnoticed = 0
    for trial in range(_TRIALS):
        mask = random_mask(rng, _ROWS, _COLUMNS, row_k=_COLUMNS // 2)
        honest = pack(mask, base=slab.base, digits=slab.digits)
        refused += bool(subject.fault_of(honest, draws)) or subject.is_refused(honest.copy(), honest)
        if trial % 2:  # votes for everything in some rows
            mask[rng.choice(_ROWS, rng.integers(1, 4), replace=False)] = 1
        else:  # up to as many more votes as there are clients, each anywhere
            more = rng.integers(1, subject.clients + 1)
            np.add.at(mask, (rng.integers(_ROWS, size=more), rng.integers(_COLUMNS, size=more)), 1)
        stuffed = pack(mask, base=slab.base, digits=slab.digits)
        if not subject.fault_of(stuffed, draws):
            unnamed += 1
            unnoticed += not subject.is_refused(stuffed, honest)
    if refused:
        says = f"{refused} of {_TRIALS} honest reports are refused."
    elif unnoticed:
        says = f"{unnoticed} of {_TRIALS} reports with more votes than a mask has are not noticed."
    else:
        says = (
            f"All of {_TRIALS} reports with more votes than a mask has are noticed, and no honest one is refused; {unnamed} of "
            "them only in the sum, where nobody can say whose they were. "
            "What takes as many votes off as it adds in the same rows is another matter: see paired votes."
        )
    figures = (
        Figure(name="stuffed reports", value=_TRIALS),
        Figure(name="of them noticed in the sum only", value=unnamed - unnoticed),
        Figure(name="of them not noticed", value=unnoticed),
        Figure(name="honest reports refused", value=refused),
    )
    return Measurement(refuted=bool(refused or unnoticed), says=says, figures=figures, sample=2 * _TRIALS)


ROW_SUMS: Check[RowSums] = Check(
    id="row-sums",
    title="Vote stuffing",
    asks="Is a report with more votes than a pruning mask has refused?",
    kind=Kind.CONFORMANCE,
    source="docs/attacks.md, 12 to 15",
    measure=_stuff,
    mutations={"unchecked-rows": lambda subject: replace(subject, row_k=None)},
    repeatable=True,
)


# ---- weakness
def _pair(subject: RowSums, draws: Draws) -> Measurement:
    """Five votes more for one weight, and five less for another of the same rows, among honest reports."""
    clients = max(subject.clients, _PAIR + 2)
    checked = replace(subject, clients=clients)
    chunk = checked.layout.chunks[0]
    slab = chunk.slab
    honest = np.tile((np.arange(_COLUMNS) < _COLUMNS // 2).astype(np.uint8), (_ROWS, 1))
    words = pack(honest, base=slab.base, digits=slab.digits)
    total = words * np.uint64(clients - 1)
    words[0, _COLUMNS - 1] += np.uint64(_PAIR)
    words[0, 0] -= np.uint64(_PAIR)
    total += words
    fault = checked.fault_of(words, draws)
    counts = Votes().read(chunk, total, cohort_size=clients)
    shown = (
        not fault
        and counts is not None
        and (int(counts[0, 0]), int(counts[0, -1])) == (clients - _PAIR, _PAIR)
    )
    return Measurement(
        refuted=bool(shown),
        says=f"One client gives {_PAIR} votes to one weight and takes {_PAIR} from another, and no check notices."
        if shown
        else "A pair of votes more and votes less was noticed.",
        figures=(Figure(name="votes moved by one client", value=_PAIR if shown else 0),),
        sample=1,
    )


PAIRED_VOTES: Check[RowSums] = Check(
    id="paired-votes",
    title="Votes more against votes less",
    asks="Can one client give several votes to a weight, if it takes as many from another?",
    kind=Kind.ATTACK,
    source="docs/attacks.md, 12",
    measure=_pair,
    repeatable=True,
)
