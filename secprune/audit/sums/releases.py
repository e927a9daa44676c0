"""Which sums may follow each other: the project's rule against an oracle of its own.

Sums over cohorts together say whatever a linear combination of them says. A *statement about few* is a combination that is not
zero, and in which fewer than `min_clients` clients are left. The oracle finds out whether there is one with exact linear algebra
over the rationals, by another way than the rule: the released cohorts are rows of 0 and 1, and there is a statement about the
clients of a set alone exactly if the rank of the rows falls when the columns of the set are left out.

All histories of up to three releases among up to five clients are tried, and random ones among more clients.

Source: Denning, Denning and Schwartz, "The tracker" (ACM TODS 4(1), 1979), section 3; elimination without fractions:
Bareiss, "Sylvester's identity and multistep integer-preserving Gaussian elimination" (Mathematics of Computation 22, 1968).
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from secprune.audit.check import Check, Figure, Kind, Measurement
from secprune.ids import sha256
from secprune.messages.types import CountedReport
from secprune.privacy.differencing import isolated
from secprune.protocols import agreement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from secprune.audit.draws import Draws

Cohort = frozenset[str]

_ROSTERS = ((4, 2), (4, 3), (5, 3))
"""Clients, and the fewest that a statement may be about: all histories of these are tried."""

_RELEASES = 3
_RANDOM = ((7, 2), (8, 3), (9, 4))
_HISTORIES = 15
_LONGEST = 6


def is_large_enough(cohort: Cohort, min_clients: int) -> bool:
    """Whether aggregators agree on a cohort, in the state machine of one of two that both accept exactly its reports."""
    clients = tuple(sorted(cohort)) or ("nobody",)
    terms = agreement.Terms(me="one", aggregators=("one", "other"), clients=clients, min_clients=min_clients)
    members = agreement.intersection(
        [tuple(CountedReport(client=c, report=sha256(c.encode())) for c in sorted(cohort))]
    )
    state: agreement.State = agreement.Collecting(accepted={m.client: m.report for m in members})
    for event in (
        agreement.Closed(),
        agreement.VoteSeen("other", members),
        agreement.CohortSeen("other", members),
    ):
        state = agreement.step(terms, state, event).state
    return isinstance(state, agreement.Agreed)


@dataclass(frozen=True, slots=True)
class ReleasePolicy:
    """The rule of a site that allows repeated releases (`repeat_releases`); one that does not allows fewer.

    Attributes:
        enough: whether a cohort may be released at all.
        isolated: whom a new sum would single out, together with earlier ones.
        remembered: what a site still knows of earlier releases.
    """

    enough: Callable[[Cohort, int], bool] = is_large_enough
    isolated: Callable[..., frozenset[str]] = isolated
    remembered: Callable[[Sequence[Cohort]], Sequence[Cohort]] = tuple

    def allows(self, new: Cohort, earlier: Sequence[Cohort], min_clients: int) -> bool:
        """Whether a sum over these clients may be released after the earlier ones."""
        known = self.remembered(earlier)
        return self.enough(new, min_clients) and not self.isolated(new, known, fewer_than=min_clients)


# ---- the oracle
def says_of_few(cohorts: frozenset[Cohort], min_clients: int) -> bool:
    """Whether sums over these cohorts together make a statement about fewer clients than that."""
    clients = sorted(frozenset[str]().union(*cohorts))
    rows = [[int(client in cohort) for client in clients] for cohort in cohorts]
    full = _rank(rows)
    for few in itertools.combinations(range(len(clients)), min(min_clients - 1, len(clients))):
        rest = [[value for place, value in enumerate(row) if place not in few] for row in rows]
        if _rank(rest) < full:
            return True
    return False


def _rank(rows: list[list[int]]) -> int:
    """Rank over the rationals, with whole numbers only."""
    rows, rank, last = [row[:] for row in rows], 0, 1
    for column in range(len(rows[0]) if rows else 0):
        pivot = next((place for place in range(rank, len(rows)) if rows[place][column]), None)
        if pivot is None:
            continue
        rows[rank], rows[pivot] = rows[pivot], rows[rank]
        head = rows[rank]
        for place in range(rank + 1, len(rows)):
            row = rows[place]
            factor = row[column]
            rows[place] = [(head[column] * a - factor * b) // last for a, b in zip(row, head, strict=True)]
        last, rank = head[column], rank + 1
    return rank


# ---- histories
@dataclass(frozen=True, slots=True)
class _Asked:
    """A release that is asked for, the last of these cohorts; the others were allowed."""

    cohorts: tuple[Cohort, ...]
    min_clients: int
    allowed: bool


def _cohorts(clients: int) -> list[Cohort]:
    names = [f"c{number}" for number in range(clients)]
    return [
        frozenset(chosen) for size in range(1, clients + 1) for chosen in itertools.combinations(names, size)
    ]


def _all_histories(policy: ReleasePolicy, clients: int, min_clients: int) -> Iterator[_Asked]:
    """All series of releases that the rule allows, with one more that is asked for."""
    cohorts = _cohorts(clients)
    histories: list[tuple[Cohort, ...]] = [()]
    for _ in range(_RELEASES):
        longer = []
        for history, new in itertools.product(histories, cohorts):
            if new not in history:
                allowed = policy.allows(new, history, min_clients)
                yield _Asked((*history, new), min_clients, allowed)
                if allowed:
                    longer.append((*history, new))
        histories = longer


def _random_history(policy: ReleasePolicy, clients: int, min_clients: int, draws: Draws) -> Iterator[_Asked]:
    """One series of releases among more clients; half of the cohorts differ from an earlier one by few."""
    rng, names = draws.numpy, [f"c{number}" for number in range(clients)]
    history: tuple[Cohort, ...] = ()
    for _ in range(_LONGEST):
        new = {name for name in names if rng.random() < 0.6}
        if history and rng.random() < 0.5:
            near = history[rng.integers(len(history))]
            new = set(near) ^ {names[i] for i in rng.choice(clients, rng.integers(1, 4), replace=False)}
        if not new or frozenset(new) in history:
            continue
        allowed = policy.allows(frozenset(new), history, min_clients)
        yield _Asked((*history, frozenset(new)), min_clients, allowed)
        if allowed:
            history = (*history, frozenset(new))


def _judge(policy: ReleasePolicy, draws: Draws) -> Measurement:
    asked = allowed = harmful = needless = 0
    example = ""
    oracle = functools.lru_cache(maxsize=None)(says_of_few)
    asked_for = itertools.chain(
        *(_all_histories(policy, clients, least) for clients, least in _ROSTERS),
        *(_random_history(policy, *roster, draws) for roster in _RANDOM for _ in range(_HISTORIES)),
    )
    for one in asked_for:
        harmless = not oracle(frozenset(one.cohorts), one.min_clients)
        asked, allowed = asked + 1, allowed + one.allowed
        harmful += one.allowed and not harmless
        needless += harmless and not one.allowed
        if one.allowed and not harmless and not example:
            example = " then ".join("{" + ", ".join(sorted(cohort)) + "}" for cohort in one.cohorts)
    if harmful:
        says = f"The rule allows {harmful} releases that single out too few clients, as {example}."
    elif needless:
        says = f"The rule refuses {needless} releases that would say nothing about few clients."
    else:
        says = (
            f"Of {asked} releases that were asked for, the rule allowed exactly the {allowed} after which no combination of "
            "sums is about fewer clients than the smallest cohort."
        )
    figures = (
        Figure(name="releases asked for", value=asked),
        Figure(name="allowed", value=allowed),
        Figure(name="allowed though they single out few", value=harmful),
        Figure(name="refused though harmless", value=needless),
    )
    return Measurement(refuted=bool(harmful or needless), says=says, figures=figures, sample=asked)


RELEASE_POLICY: Check[ReleasePolicy] = Check(
    id="release-policy",
    title="Which sums may follow each other",
    asks="Can sums that a site allows be put together so that they say something about very few hospitals?",
    kind=Kind.CONFORMANCE,
    source="Denning, Denning and Schwartz, ACM TODS 4(1), 1979, section 3; docs/attacks.md, 6",
    measure=_judge,
    mutations={
        "cohort-of-one": lambda policy: replace(
            policy,
            enough=lambda *_: True,
            isolated=lambda new, earlier, **few: isolated(new, earlier, **few) if earlier else frozenset(),
        ),
        "second-release": lambda policy: replace(policy, isolated=lambda *_, **__: frozenset()),
        "forgotten-releases": lambda policy: replace(policy, remembered=lambda earlier: earlier[-1:]),
    },
    repeatable=True,
)
