"""What every sum gives away, each shown to work: to all aggregators, to all other clients, and in two releases.

These are not mistakes of the code. They are what a threat model has to say of an adversary who is that strong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from secprune.audit.check import Check, Figure, Kind, Measurement
from secprune.audit.sums.rounds import some_mask, words_of
from secprune.audit.sums.share_view import sum_of
from secprune.packing import unpack
from secprune.privacy.differencing import isolated
from secprune.protocols.payloads import Votes
from secprune.task import MIN_COHORT

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from secprune.audit.draws import Draws
    from secprune.audit.sums.rounds import AuditRound
    from secprune.audit.sums.share_view import Sharing
    from secprune.packing import Bits


@dataclass(frozen=True, slots=True)
class Study:
    """A round whose sum is released, by whatever protocol."""

    audit: AuditRound

    def released(self, masks: Sequence[Bits]) -> npt.NDArray[np.int64]:
        """The counts that a coordinator has of these clients' masks: (rows, columns).

        Raises:
            ValueError: a mask has another number of ones in a row than is due.
        """
        total = np.zeros(self.audit.chunk.shape, np.uint64)
        for mask in masks:
            total += words_of(self.audit, mask)
        counts = Votes().read(self.audit.chunk, total, cohort_size=len(masks))
        if counts is None:
            raise ValueError("these are no pruning masks of the round")
        return counts.astype(np.int64)


def _all_aggregators(sharing: Sharing, draws: Draws) -> Measurement:
    """Every share of a report, read with its aggregator's key and added."""
    audit, masks, right = sharing.audit, [], 0
    slab = audit.chunk.slab
    for _ in audit.clients:
        masks.append(some_mask(audit, draws.numpy))
        secrets = sharing.secrets(sharing.protocol, audit.round, audit.clients[0], draws.entropy)[0]
        total = sum_of(sharing.opened(words_of(audit, masks[-1]), secrets))
        found = unpack(total, base=slab.base, digits=slab.digits, rows=len(masks[-1]))
        right += int(np.count_nonzero(found == masks[-1]))
    return _bits(right, sum(mask.size for mask in masks), "All aggregators together open every client's mask")


def _colluders_subtract(study: Study, draws: Draws) -> Measurement:
    """The counts, less the masks of all clients but one."""
    masks = [some_mask(study.audit, draws.numpy) for _ in study.audit.clients]
    found = study.released(masks) - np.sum(masks[1:], axis=0)
    right = int(np.count_nonzero(found == masks[0]))
    return _bits(
        right, masks[0].size, "Who knows the counts and the masks of all clients but one has that one's mask"
    )


def _differencing(study: Study, draws: Draws) -> Measurement:
    """Two releases, the second one without one client, by parties that have forgotten the first."""
    masks = [some_mask(study.audit, draws.numpy) for _ in study.audit.clients]
    found = study.released(masks) - study.released(masks[:-1])
    right = int(np.count_nonzero(found == masks[-1]))
    clients = set(study.audit.clients)
    alone = isolated(clients - {study.audit.clients[-1]}, [clients], fewer_than=MIN_COHORT)
    remembered = (
        "a site that remembers refuses the second" if alone else "the rule would not refuse the second"
    )
    what = f"The sums with and without one client differ by that client's mask ({remembered})"
    return _bits(right, masks[-1].size, what)


def _bits(right: int, bits: int, what: str) -> Measurement:
    shown = right == bits
    return Measurement(
        refuted=shown,
        says=f"{what}, every bit of it." if shown else f"{right} of {bits} bits of a mask were found.",
        figures=(Figure(name="bits of masks that are recovered", value=right / bits),),
        sample=bits,
    )


ALL_AGGREGATORS: Check[Sharing] = Check(
    id="all-aggregators",
    title="All aggregators together",
    asks="What do all aggregators of a study have, if they put their shares together?",
    kind=Kind.ATTACK,
    source="docs/attacks.md, 7",
    measure=_all_aggregators,
    repeatable=True,
)

COLLUDERS_SUBTRACT: Check[Study] = Check(
    id="colluders-subtract",
    title="All hospitals but one",
    asks="What do all other hospitals have of the last one, if they see the counts?",
    kind=Kind.ATTACK,
    source="docs/attacks.md, 2",
    measure=_colluders_subtract,
    repeatable=True,
)

DIFFERENCING: Check[Study] = Check(
    id="differencing",
    title="Two sums that differ by one hospital",
    asks="What do two released sums say, if nobody remembers the first one when the second is released?",
    kind=Kind.ATTACK,
    source="docs/attacks.md, 6",
    measure=_differencing,
    repeatable=True,
)
