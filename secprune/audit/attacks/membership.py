"""The checks of membership: one measurement (`tracing.measure`), and a view for each thing that an adversary may see.

What is in the clear, counted, or summed exactly shows documents, the fewer there are the more: these checks show a weakness.
What is shared, masked or noised is promised not to.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from secprune.audit.attacks.tracing import Tracing, measure
from secprune.audit.check import Check, Kind

if TYPE_CHECKING:
    from secprune.audit.attacks.views import View

_TRACING = "tracing with the covariance of public documents: secprune.audit.attacks.tracing; masks inverted by secprune.audit.attacks.inversion"
_LIMIT = "the Gaussian mechanism's trade-off curve (Dong, Roth and Su 2022): secprune.audit.attacks.private"


@dataclasses.dataclass(frozen=True)
class Guarded(Tracing):
    """A subject of a promise: with the view that is left when the protection is switched off, and what that shows."""

    unguarded: View | None = None
    unguarded_what: str = ""


def unguard(subject: Guarded) -> Guarded:
    """The mutation: the same question, asked of what stands behind the protection."""
    if subject.unguarded is None:
        raise ValueError("nothing stands behind this subject's protection")
    return dataclasses.replace(subject, view=subject.unguarded, what=subject.unguarded_what, unguarded=None)


MEMBERSHIP_MASK: Check[Tracing] = Check(
    id="membership-mask",
    title="Whose notes made a mask",
    asks="Does a pruning mask in the clear tell which documents it was made of?",
    kind=Kind.ATTACK,
    measure=measure,
    source=_TRACING,
)
MEMBERSHIP_COUNTS: Check[Tracing] = Check(
    id="membership-counts",
    title="Whose notes made the counts",
    asks="Do the summed counts, which the coordinator gets, tell which documents were used?",
    kind=Kind.ATTACK,
    measure=measure,
    source=_TRACING,
)
MEMBERSHIP_MODEL: Check[Tracing] = Check(
    id="membership-model",
    title="Whose notes made the pruned model",
    asks="Does the pruned model, which everybody gets, tell which documents were used, where nothing is noised?",
    kind=Kind.ATTACK,
    measure=measure,
    source=_TRACING,
)
MEMBERSHIP_COLLUDERS: Check[Tracing] = Check(
    id="membership-colluders",
    title="Counts when all other hospitals collude",
    asks="What do all hospitals but one, with the counts, learn of the last one's documents?",
    kind=Kind.ATTACK,
    measure=measure,
    source=_TRACING,
)
MEMBERSHIP_SQUARE_SUMS: Check[Tracing] = Check(
    id="membership-square-sums",
    title="Whose notes made an exact sum of statistics",
    asks="Do exact sums of feature statistics tell which documents were used?",
    kind=Kind.ATTACK,
    measure=measure,
    source=_TRACING,
)
MEMBERSHIP_SHARE: Check[Guarded] = Check(
    id="membership-share",
    title="What one server's part of a report tells",
    asks="Does what a single server holds of a hospital's report tell which documents were used?",
    kind=Kind.ATTACK,
    measure=measure,
    mutations={"cleartext": unguard},
    source=_TRACING,
)
MEMBERSHIP_DP: Check[Guarded] = Check(
    id="membership-dp",
    title="What the result tells where patients are protected",
    asks="Does the released mask tell whose documents were used, when statistics are noised?",
    kind=Kind.ATTACK,
    measure=measure,
    mutations={"noise-omitted": unguard},
    source=f"{_TRACING}; limit: {_LIMIT}",
)
MEMBERSHIP_DP_SUM: Check[Guarded] = Check(
    id="membership-dp-sum",
    title="What a noised sum tells",
    asks="Does the noised sum of statistics tell more of a document than epsilon allows?",
    kind=Kind.ATTACK,
    measure=measure,
    mutations={"noise-omitted": unguard},
    source=f"{_TRACING}; limit: {_LIMIT}",
)
