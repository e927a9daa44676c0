"""Additive shares over a small modulus: what a coalition sees is what a simulator makes that does not know the messages.

The model is the scheme of `protocols.additive`, with the modulus as a parameter: of m aggregators, m - 1 get uniform masks, and
the first one gets the words minus all masks. Two clients report. For every corruption of all aggregators but one, the view is

* the corrupt aggregators' shares of both reports,
* the word that the honest one opens of each report, the sum of its share over a row,
* the honest one's share of the sum of both.

The simulator knows the sum of both reports and what their rows add up to, which is public, and draws the rest. For all
messages, and counting all masks, both have exactly the same distribution: nothing but the sum is seen.

It is proved for the moduli that are tried; the argument is the same in every finite group, because x - r is uniform for a
uniform r. That expansions (AES-256-CTR under HKDF-SHA256) look uniform to who has no seed is the assumption. The code
is tied to the model: at full width its shares are those of the scheme, to the bit.

Source: shares as in Prio3, draft-irtf-cfrg-vdaf, section 7.2; simulation: Goldreich, "Foundations of Cryptography" 2, 7.2.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from secprune.audit.check import Check, Figure, Kind, Measurement
from secprune.audit.sums.share_view import Sharing, differs_from_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from secprune.audit.draws import Draws

Vector = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """A model to enumerate: words modulo `modulus`, `columns` of them in the row of a report."""

    modulus: int
    columns: int
    aggregators: int

    def vectors(self) -> Iterator[Vector]:
        """All rows that there are."""
        return itertools.product(range(self.modulus), repeat=self.columns)


CASES = (Case(2, 2, 3), Case(3, 2, 2), Case(4, 1, 3), Case(5, 1, 2), Case(8, 1, 2))


def split(words: Vector, masks: Sequence[Vector], modulus: int) -> tuple[Vector, ...]:
    """Shares of all aggregators: the words minus all masks, and the masks."""
    first = tuple((word - sum(column)) % modulus for word, *column in zip(words, *masks, strict=True))
    return first, *masks


def all_masks(case: Case) -> Iterator[tuple[tuple[Vector, ...], tuple[Vector, ...]]]:
    """Masks of both reports; each pair is as probable as any other."""
    of_report = list(itertools.product(case.vectors(), repeat=case.aggregators - 1))
    return itertools.product(of_report, of_report)


@dataclass(frozen=True, slots=True)
class ShareModel:
    """The scheme, and the code that it stands for.

    Attributes:
        sharing: the code.
        split: words, masks and modulus to shares.
        masks: of both reports, all equally probable.
        cases: to enumerate.
    """

    sharing: Sharing
    split: Callable[[Vector, Sequence[Vector], int], tuple[Vector, ...]] = split
    masks: Callable[[Case], Iterator[tuple[tuple[Vector, ...], tuple[Vector, ...]]]] = all_masks
    cases: tuple[Case, ...] = CASES


def _shares_seen(
    case: Case, honest: int, first: tuple[Vector, ...], second: tuple[Vector, ...]
) -> tuple[Vector, ...]:
    """The view: corrupt shares of both reports, then what the honest aggregator opens and releases."""
    q = case.modulus
    corrupt = [share for shares in (first, second) for place, share in enumerate(shares) if place != honest]
    opened = (sum(first[honest]) % q, sum(second[honest]) % q)
    released = tuple((a + b) % q for a, b in zip(first[honest], second[honest], strict=True))
    return (*corrupt, opened, released)


def real_views(model: ShareModel, case: Case, honest: int, one: Vector, other: Vector) -> Counter[Any]:
    """How often each view occurs, over all masks."""
    q = case.modulus
    return Counter(
        _shares_seen(case, honest, model.split(one, masks[0], q), model.split(other, masks[1], q))
        for masks in model.masks(case)
    )


def simulated_views(case: Case, total: Vector, rows: tuple[int, int]) -> Counter[Any]:
    """The same of the simulator, which is told the sum of both reports and what their rows add up to, and no more.

    All that is corrupt it draws; what the honest aggregator opens and releases is what is missing.
    """
    q, views = case.modulus, Counter[Any]()
    of_report = list(itertools.product(case.vectors(), repeat=case.aggregators - 1))
    for first, second in itertools.product(of_report, of_report):
        opened = tuple(
            (row - sum(map(sum, shares))) % q for row, shares in zip(rows, (first, second), strict=True)
        )
        released = tuple((due - sum(column)) % q for due, *column in zip(total, *first, *second, strict=True))
        views[(*first, *second, opened, released)] += 1
    return views


def _enumerate(model: ShareModel, draws: Draws) -> Measurement:
    pairs = views = wrong = 0
    example = ""
    for case in model.cases:
        simulated: dict[Any, Counter[Any]] = {}
        for one, other in itertools.product(case.vectors(), repeat=2):
            total = tuple((a + b) % case.modulus for a, b in zip(one, other, strict=True))
            rows = sum(one) % case.modulus, sum(other) % case.modulus
            if (total, rows) not in simulated:
                simulated[total, rows] = simulated_views(case, total, rows)
            due = simulated[total, rows]
            for honest in range(case.aggregators):
                real = real_views(model, case, honest, one, other)
                pairs, views = pairs + 1, views + real.total()
                if _distribution(real) != _distribution(due):
                    wrong += 1
                    example = example or f"reports {one} and {other} modulo {case.modulus}"
    tied = differs_from_model(model.sharing, draws)
    figures = (
        Figure(name="pairs of messages and corruptions", value=pairs),
        Figure(name="of them with another view than the simulator's", value=wrong),
    )
    if wrong:
        says = f"What all aggregators but one see depends on more than the sum: {example}."
    elif tied:
        says = f"The code does something else than the scheme that was enumerated: {tied}."
    else:
        moduli = ", ".join(str(case.modulus) for case in model.cases)
        says = (
            "Whatever two hospitals report, all aggregators but one see exactly what somebody makes up who knows only "
            f"the sum and what rows add up to: every case was counted for words modulo {moduli}. Words of 64 bits are too many "
            "to count; for one random report of such words the code computed this scheme, to the bit."
        )
    return Measurement(refuted=bool(wrong or tied), says=says, figures=figures, sample=views)


def _distribution(views: Counter[Any]) -> dict[Any, Fraction]:
    return {view: Fraction(count, views.total()) for view, count in views.items()}


# ---- mutations
def _cleartext(words: Vector, masks: Sequence[Vector], modulus: int) -> tuple[Vector, ...]:
    del modulus
    return words, *(tuple(0 for _ in mask) for mask in masks)


def _one_for_both(case: Case) -> Iterator[tuple[tuple[Vector, ...], tuple[Vector, ...]]]:
    return ((masks, masks) for masks in itertools.product(case.vectors(), repeat=case.aggregators - 1))


def _masks_of(values: Callable[[int], range]) -> Callable[[Case], Iterator[Any]]:
    def masks(case: Case) -> Iterator[Any]:
        vectors = list(itertools.product(values(case.modulus), repeat=case.columns))
        of_report = list(itertools.product(vectors, repeat=case.aggregators - 1))
        return itertools.product(of_report, of_report)

    return masks


SHARE_MODEL: Check[ShareModel] = Check(
    id="share-view-exhaustive",
    title="Additive shares, every case counted",
    asks="Is there any report of which all aggregators but one see more than the sum says?",
    kind=Kind.PROOF,
    source="Shares as in Prio3, draft-irtf-cfrg-vdaf, section 7.2",
    measure=_enumerate,
    mutations={
        "cleartext": lambda subject: replace(subject, split=_cleartext),
        "reused-mask": lambda subject: replace(subject, masks=_one_for_both),
        "short-range": lambda subject: replace(subject, masks=_masks_of(lambda q: range((q + 1) // 2))),
        # The lowest bit of a mask is lost, as those that a floating-point number has no place for.
        "float-masks": lambda subject: replace(subject, masks=_masks_of(lambda q: range(0, q, 2))),
    },
    repeatable=True,
)
