"""Differencing: what several sums over the same model say together that none of them says alone.

Sums over {a, b, c, d} and over {a, b, c} differ by the votes of d. More generally, whoever has the sums over
some cohorts has every linear combination of them, and a combination in which all but a few clients cancel is a
statement about these few alone. Here it is decided, exactly, whether a new sum makes such a combination possible.

Clients that were always counted together can never be told apart by it, so they are taken as one *block*. The new
sum isolates a set of blocks if a combination of the earlier ones cancels it on all others, but not on all of them.

Source: the tracker attack of Denning, Denning and Schwartz, "The tracker: a threat to statistical database
security" (ACM TODS 4(1), 1979), section 3, for sums instead of queries.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from collections.abc import Set as AbstractSet

_PRIME = 2**61 - 1
"""Ranks are taken modulo this prime; that is exact as long as no minor of a 0/1 matrix reaches it."""

_MAX_COHORTS = 36
"""Minors of a 0/1 matrix of this order are below (n+1)^((n+1)/2) / 2^n < 2^61 - 1 (Hadamard's bound)."""

_MAX_SETS = 20_000
"""Sets of blocks that are tried; beyond it nothing is promised, and the answer is as if one had been found."""


def isolated(
    new: AbstractSet[str], earlier: Sequence[AbstractSet[str]], *, fewer_than: int
) -> frozenset[str]:
    """Clients that combinations of the new sum with earlier ones are about alone, if they are too few.

    Args:
        new: clients in the new sum.
        earlier: clients in each earlier sum over the same weights.
        fewer_than: a statement about at least so many clients is no harm.

    Returns:
        The clients of one such combination; empty if there is none. If that would take too long to find out, all
        clients that could be concerned.
    """
    cohorts = _connected(frozenset(new), [frozenset(cohort) for cohort in earlier])
    blocks = _blocks(cohorts)
    small = [rows for rows, clients in blocks.items() if len(clients) < fewer_than]
    if not small:
        return frozenset()
    suspects = frozenset(client for rows in small for client in blocks[rows])
    if len(cohorts) > _MAX_COHORTS:
        return suspects
    if _cancels(list(blocks)):
        return frozenset()  # the new sum is a combination of the others and says nothing that they do not
    for tried, chosen in enumerate(_small_sets(small, blocks, fewer_than)):
        if tried == _MAX_SETS:
            return suspects
        rest = [rows for rows in blocks if rows not in chosen]
        if _cancels(rest):
            return frozenset(client for rows in chosen for client in blocks[rows])
    return frozenset()


def _connected(new: frozenset[str], earlier: list[frozenset[str]]) -> list[frozenset[str]]:
    """The new cohort, then all earlier ones that share clients with it, directly or through others."""
    found, reached, left = [new], new, list(dict.fromkeys(earlier))
    while touching := [cohort for cohort in left if cohort & reached]:
        found += touching
        reached = reached.union(*touching)
        left = [cohort for cohort in left if cohort not in touching]
    return found


def _blocks(cohorts: list[frozenset[str]]) -> dict[tuple[int, ...], list[str]]:
    """Clients by the cohorts that they are in: a row of 0 and 1 for each block."""
    blocks: dict[tuple[int, ...], list[str]] = {}
    for client in sorted(frozenset[str]().union(*cohorts)):
        blocks.setdefault(tuple(int(client in cohort) for cohort in cohorts), []).append(client)
    return blocks


def _small_sets(
    small: list[tuple[int, ...]], blocks: dict[tuple[int, ...], list[str]], fewer_than: int
) -> Iterator[frozenset[tuple[int, ...]]]:
    """All sets of blocks that together are fewer than so many clients, small sets first."""
    for size in range(1, min(fewer_than, len(small) + 1)):
        for chosen in itertools.combinations(small, size):
            if sum(len(blocks[rows]) for rows in chosen) < fewer_than:
                yield frozenset(chosen)


def _cancels(rows: list[tuple[int, ...]]) -> bool:
    """Whether the new sum (column 0) can be cancelled by a combination of the others on all these blocks."""
    return _rank(rows) == _rank([row[1:] for row in rows])


def _rank(rows: list[tuple[int, ...]]) -> int:
    """The rank of a 0/1 matrix of at most _MAX_COHORTS columns."""
    basis: list[tuple[int, list[int]]] = []  # pivot column and a row that is 1 there
    for row in rows:
        rest = list(row)
        for pivot, vector in basis:
            if factor := rest[pivot]:
                rest = [(a - factor * b) % _PRIME for a, b in zip(rest, vector, strict=True)]
        pivot = next((place for place, value in enumerate(rest) if value), -1)
        if pivot >= 0:
            inverse = pow(rest[pivot], -1, _PRIME)
            basis.append((pivot, [value * inverse % _PRIME for value in rest]))
    return len(basis)
