"""The attacks of a leakage report, put together for one study: its model, its protocol, and synthetic notes in place of its own.

No party's notes are touched: what is measured is what such masks, counts and sums say of *any* notes, on this model with this
sparsity. Synthetic notes are alike within a specialty, which makes tracing harder than on real ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from msgspec import UNSET, Struct, structs

from secprune.audit.attacks.disclosure import MASK_INVERSION, UNANIMITY, Agreeing, Inverting
from secprune.audit.attacks.hospitals import PROPERTY_IN_SUM, SPECIALTY_DP, SPECIALTY_MASK, Guessing, Picking
from secprune.audit.attacks.known_others import MEMBERSHIP_COUNT_NOISE, NoisedVotes
from secprune.audit.attacks.membership import (
    MEMBERSHIP_COLLUDERS,
    MEMBERSHIP_COUNTS,
    MEMBERSHIP_DP,
    MEMBERSHIP_DP_SUM,
    MEMBERSHIP_MASK,
    MEMBERSHIP_MODEL,
    MEMBERSHIP_SHARE,
    MEMBERSHIP_SQUARE_SUMS,
    Guarded,
)
from secprune.audit.attacks.population import Input, Population
from secprune.audit.attacks.private import Mechanism, released_mask_view, released_sum_view
from secprune.audit.attacks.reports import ServersPart
from secprune.audit.attacks.tracing import Size, Tracing
from secprune.audit.attacks.views import (
    Rehearsal,
    colluders_view,
    counts_view,
    mask_view,
    model_view,
    protected_view,
    square_sums_view,
)
from secprune.errors import LocalMisuseError
from secprune.privacy.accounting import noise_multiplier_for
from secprune.privacy.gaussian import discrete_gaussian
from secprune.privacy.grid import NORM
from secprune.privacy.guarantee import noise_parties, round_variances

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from secprune.audit.check import Planned
    from secprune.pruning.rehearsal import Rehearsed
    from secprune.task import PruningSpec, Task

BLOCKS = 4
"""Decoder blocks that attacks look at: on the first four of a model of 135 million weights, masks of eight documents already
tell each of them from all others."""

_GUESSES = 24
"""Hospitals whose specialty is guessed, three of each of the eight shipped ones."""

_EPSILON, _DELTA = Fraction(8), Fraction(1, 10**6)
"""What is rehearsed for a study that protects no patients: what it would be if it did."""


class Sizes(Struct, frozen=True, kw_only=True):
    """How much is tried. The defaults take about two minutes on two cores with four blocks of the demo model.

    Attributes:
        documents: of a hospital, for attacks on its mask.
        hospitals: for attacks on counts.
        per_hospital: documents of each, there and where nothing else is said.
        masks: about how many masks are made for each size.
    """

    documents: tuple[int, ...] = (1, 2, 4, 8, 16)
    hospitals: tuple[int, ...] = (2, 4, 8, 16, 32, 64)
    per_hospital: int = 2
    masks: int = 24

    def trials(self, masks: int) -> int:
        """How many worlds, if each takes as many masks: eight of those with few hospitals, to draw whole ones again."""
        return max(8 if masks <= 8 else 1, self.masks // masks)


@dataclass(frozen=True)
class Bench:
    """A rehearsal, and the mechanism that protects its documents."""

    rehearsal: Rehearsal
    mechanism: Mechanism
    pruning: PruningSpec


def make_bench(
    task: Task,
    model: Path,
    notes: Mapping[str, Sequence[str]],
    public: Sequence[str],
    *,
    blocks: int = BLOCKS,
    device: str = "auto",
) -> Bench:
    """Run synthetic notes through the first blocks of a study's model. Needs torch, transformers and opacus.

    Args:
        task: of the study.
        model: directory of its model.
        notes: synthetic documents by specialty, two specialties or more.
        public: synthetic public documents.
        blocks: how many decoder blocks attacks look at.
        device: as for `client.prune`.

    Raises:
        LocalMisuseError: too little text.
    """
    from secprune.pruning.rehearsal import Pruner, rehearse  # noqa: PLC0415 - torch, where a model runs

    if len(notes) < 2:
        raise LocalMisuseError("a rehearsal needs notes of two specialties or more", hint="give more files")
    specialties = [name for name, texts in notes.items() for _ in texts] + [""] * len(public)
    count = min(blocks, len({matrix.block for matrix in task.model.matrices}))
    found = rehearse(
        model,
        [text for texts in notes.values() for text in texts],
        public,
        blocks=count,
        sequence_length=task.pruning.sequence_length,
        device=device,
    )
    pruning = structs.replace(
        task.pruning, local_pruner="wanda", local_comparison="row", schedule="one-shot", weight_scaling=False
    )
    specs = {matrix.name: matrix for matrix in task.model.matrices}
    inputs = tuple(
        Input(
            matrices=tuple(specs[name] for name in group),
            weights=found.weights[group[0]],
            reference=found.public.square_means[group[0]],
            budget=_budget(pruning, specs[group[0]].columns),
        )
        for group in found.inputs
    )
    square_means = tuple(np.stack([document[one.name] for document in found.documents]) for one in inputs)
    population = Population(inputs, square_means, tuple(specialties))
    if not population.holds(4, Sizes().per_hospital):
        raise LocalMisuseError(
            "a rehearsal needs enough notes for four hospitals",
            hint="give eight notes of each specialty, or more",
        )
    rehearsal = Rehearsal.of(population, Pruner([one.weights for one in inputs], pruning))
    return Bench(rehearsal, _mechanism(task, found), pruning)


def _budget(pruning: PruningSpec, columns: int) -> int:
    budget = pruning.row_budget(columns)
    if budget is None:  # Wanda within rows has one
        raise AssertionError("a mask without a budget")
    return budget


def _mechanism(task: Task, found: Rehearsed) -> Mechanism:
    """The study's own mechanism, or that of `_EPSILON` with counts, on the features of these blocks."""
    from secprune.pruning.clipping import UnitVectors  # noqa: PLC0415 - torch and opacus
    from secprune.pruning.reference import typical_clip  # noqa: PLC0415

    # The task's clip bound is of all blocks; that of a few follows from public text in the same way.
    clip = Fraction(typical_clip(found.public.norms))
    vector_of = UnitVectors(found.public.square_means, clip)
    vectors = np.stack([vector_of(document) for document in found.documents])
    if task.privacy.patients is UNSET:
        z = Fraction(noise_multiplier_for(_EPSILON, _DELTA))
        variance, honest, summed = (z * NORM) ** 2, 1, False
    else:
        variance, honest = round_variances(task)[-1], noise_parties(task)
        summed = task.privacy.payload == "square-sums"
    return Mechanism(
        vectors=vectors,
        clip=clip,
        variance=variance,
        draw=discrete_gaussian,
        summed=summed,
        honest=honest,
        directions=found.public.directions,
    )


def _fitting(bench: Bench, sizes: Iterable[Size]) -> tuple[Size, ...]:
    """Those for which there are enough documents."""
    return tuple(size for size in sizes if bench.rehearsal.population.holds(size.hospitals, size.documents))


def _numbers(bench: Bench, *documents: int) -> tuple[int, ...]:
    """Those of which every specialty has more."""
    return tuple(number for number in documents if bench.rehearsal.population.holds(1, number))


def _several(bench: Bench) -> int:
    """Documents of one of a few hospitals: eight, or as few as four hospitals can have."""
    return next(number for number in (8, 4, 2, 1) if bench.rehearsal.population.holds(4, number))


def attacks_on(task: Task, bench: Bench, sizes: Sizes | None = None) -> Iterator[Planned]:
    """All attacks of this study, each with its subject.

    Args:
        task: of the study.
        bench: from `make_bench`.
        sizes: how much is tried.
    """
    sizes = sizes or Sizes()
    yield from _in_the_clear(bench, sizes)
    yield from _of_sums(task, bench, sizes)
    if task.protocol.name != "bfv":
        yield MEMBERSHIP_SHARE, _share(task, bench, sizes)
    yield from _protected(task, bench, sizes)


def _in_the_clear(bench: Bench, sizes: Sizes) -> Iterator[Planned]:
    rehearsal, trials = bench.rehearsal, sizes.trials(1)
    yield MASK_INVERSION, Inverting(rehearsal, _numbers(bench, 2, 8), trials=max(1, trials // 8))
    yield (
        MEMBERSHIP_MASK,
        Tracing(
            rehearsal.population,
            mask_view(rehearsal),
            "a pruning mask in the clear",
            _fitting(bench, (Size(1, documents, trials) for documents in sizes.documents)),
        ),
    )
    yield (
        SPECIALTY_MASK,
        Guessing(
            rehearsal, mask_view(rehearsal), _numbers(bench, 2, 8), _GUESSES, "a pruning mask in the clear"
        ),
    )


def vote_noises(task: Task) -> tuple[Fraction, ...]:
    """Variances of noise on each count to try: the study's own, or some where it has none.

    Of n clients that turn votes round with probability p, a count has variance n p (1 - p), and one vote moves it by 1 - 2 p.
    """
    noise, response = task.privacy.count_noise, task.privacy.response
    if noise is not UNSET:
        return (Fraction(noise.sigma) ** 2,)
    if response is not UNSET:
        flip = Fraction(response.flip)
        return (task.n_max * flip * (1 - flip) / (1 - 2 * flip) ** 2,)
    return Fraction(4), Fraction(64)


def _of_sums(task: Task, bench: Bench, sizes: Sizes) -> Iterator[Planned]:
    rehearsal, each = bench.rehearsal, sizes.per_hospital
    sums = _fitting(bench, (Size(n, each, sizes.trials(n)) for n in sizes.hospitals))
    yield (
        MEMBERSHIP_COUNTS,
        Tracing(
            rehearsal.population,
            counts_view(rehearsal),
            "the summed counts",
            sums,
        ),
    )
    yield (
        MEMBERSHIP_MODEL,
        Tracing(
            rehearsal.population,
            model_view(rehearsal, bench.pruning),
            "the pruned model",
            sums[1::2] or sums,  # every other size: selection takes as long as all masks of one
        ),
    )
    yield (
        MEMBERSHIP_COLLUDERS,
        Tracing(
            rehearsal.population,
            colluders_view(rehearsal),
            "the summed counts less the votes of all other hospitals",
            _fitting(bench, (Size(4, each, sizes.trials(4)),)),
            first_only=True,
        ),
    )
    yield (
        MEMBERSHIP_SQUARE_SUMS,
        Tracing(
            rehearsal.population,
            square_sums_view(rehearsal),
            "the exact sum of statistics",
            sums,
        ),
    )
    yield (
        MEMBERSHIP_COUNT_NOISE,
        NoisedVotes(rehearsal, vote_noises(task), discrete_gaussian, _several(bench), trials=sizes.trials(4)),
    )
    yield PROPERTY_IN_SUM, Picking(rehearsal, (2, 4), _several(bench), trials=sizes.trials(4))
    yield UNANIMITY, Agreeing(rehearsal, sums[-1].hospitals, each)


def _share(task: Task, bench: Bench, sizes: Sizes) -> Guarded:
    rehearsal = bench.rehearsal
    part = ServersPart(task, bench.pruning, rehearsal.population.inputs)
    what = "a hospital's report as one server holds it"
    size = (Size(1, sizes.per_hospital, sizes.trials(1)),)
    plain = mask_view(rehearsal)
    return Guarded(
        rehearsal.population,
        protected_view(rehearsal, part),
        what,
        size,
        unguarded=plain,
        unguarded_what="the same report without protection",
    )


def _protected(task: Task, bench: Bench, sizes: Sizes) -> Iterator[Planned]:
    rehearsal, mechanism, each = bench.rehearsal, bench.mechanism, _several(bench)
    own = task.privacy.patients is not UNSET
    whose = (
        "under this study's noise"
        if own
        else "with noise of epsilon 8 on statistics, which this study does not have"
    )
    hospitals = 4
    size = (Size(hospitals, each, sizes.trials(hospitals)),)
    few = Size(hospitals, 2, sizes.trials(hospitals))
    # With counts everybody noises alone, and all aggregators together see a single hospital's mask.
    alone = () if mechanism.summed else (Size(1, 2, sizes.trials(1)),)
    yield (
        MEMBERSHIP_DP,
        Guarded(
            rehearsal.population,
            released_mask_view(rehearsal, mechanism),
            f"the released masks {whose}",
            tuple(dict.fromkeys((*alone, few, *size))),
            limit=mechanism.limit,
            unguarded=counts_view(rehearsal),
            unguarded_what="the same without noise",
        ),
    )
    if mechanism.summed:
        yield (
            MEMBERSHIP_DP_SUM,
            Guarded(
                rehearsal.population,
                released_sum_view(mechanism),
                f"the noised sum {whose}",
                (Size(hospitals, 2, 4 * sizes.trials(hospitals)), *size),
                limit=mechanism.limit,
                unguarded=square_sums_view(rehearsal),
                unguarded_what="the exact sum",
            ),
        )
    yield (
        SPECIALTY_DP,
        Guessing(
            rehearsal,
            released_mask_view(rehearsal, mechanism),
            _numbers(bench, 2, 8, 32),
            _GUESSES,
            f"masks {whose}",
        ),
    )
