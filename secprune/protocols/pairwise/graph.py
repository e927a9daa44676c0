"""Who shares with whom: every client with every other, or with a few drawn neighbours.

Up to `COMPLETE_UP_TO` clients all are neighbours of each other, as in Bonawitz et al. 2017. Beyond, the
graph is that of Bell et al. 2020: clients on a ring in random order, each a neighbour of the k / 2 before and
after it (the Harary graph H(n, k)). A client deals its secrets to its closed neighbourhood: k shares for its
neighbours and one for itself.

What k and t have to bear, for n clients in the list of keys, of which c = floor(CORRUPT r) of a roster of r are
with the aggregator (it may leave honest ones off the list, and keep all of its own), and d = floor(DROPPED n)
drop out. HG(N, M, k) is the number of marked ones among k drawn out of N with M marked.

1. Enough neighbours survive: n Pr[HG(n - 1, n - 1 - d, k) < t] <= 2^-CORRECTNESS_BITS. The client's own share
   is not counted, because a client that dropped out does not send it.
2. The aggregator cannot learn the sum of a part of the survivors, whoever it says has dropped out and
   whenever it decides: n^2 Pr[HG(n - 2, c, k) >= 2 t - 2 - k] <= 2^-(PRIVACY_BITS + GRINDING_BITS).
   For suppose that the honest survivors fall into parts without an edge between them. Going round the ring,
   the next honest survivor after some member v of a part is of another part; so none is among the k / 2
   places after v. Going on, the part begins again at a member w, and none is among the k / 2 places before
   it. The sum needs both self-masks. Shares of v's come from v, from at most k / 2 places before it and from
   the corrupt ones after it, so that these are t - 1 - k / 2 at least; as many are before w. The places after
   v and those before w are k different ones, for an honest survivor stands between them; together they hold
   at least 2 t - 2 - k corrupt clients. The bound is over all pairs (v, w); v = w, where k places hold
   t - 1 corrupt clients, is rarer.

The second implies that corrupt neighbours alone do not reach t, and that t holders do not give both secrets
of a client, to an aggregator that shows two lists of survivors (2 t > k + 1 + corrupt neighbours). It is
stronger than that the honest survivors are connected if dropouts are random, on purpose: here the aggregator
sees the graph before it says who has dropped out. It supposes that only clients on the list of survivors
reveal shares, and that they have seen each other's consent to it.

GRINDING_BITS are for an aggregator that tries that many sets of key advertisements until it likes the draw.

Source: Bell, Bonawitz, Gascon, Lepoint and Raykova, "Secure single-server aggregation with (poly)logarithmic
overhead", CCS 2020 (doi 10.1145/3372297.3417885), section 3: graph, and which events are to be rare.
Condition 2 in this form is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import comb
from typing import TYPE_CHECKING

from secprune.crypto.expand import expand, expansion_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

COMPLETE_UP_TO = 100
CORRUPT = Fraction(1, 5)
"""Share of clients that may be with the aggregator where the graph is drawn; below 1/3 where it is complete."""
DROPPED = Fraction(1, 10)
"""Share of clients that may drop out where the graph is drawn; below 1/3 where it is complete."""
PRIVACY_BITS = 40
GRINDING_BITS = 40
CORRECTNESS_BITS = 30
_CONTEXT = b'["pairwise/graph"]'
_WORDS_AT_ONCE = 1024


@dataclass(frozen=True)
class Parameters:
    """The graph of a round, as far as it depends on the number of clients only.

    Attributes:
        degree: number of neighbours of each client (k); even unless the graph is complete.
        threshold: how many of the degree + 1 shares of a secret recover it (t).
        complete: whether all clients are neighbours of each other.
    """

    degree: int
    threshold: int
    complete: bool


@lru_cache(maxsize=256)
def parameters(clients: int, roster: int = 0) -> Parameters:
    """Degree and threshold for this many clients.

    Args:
        clients: in the round's list of keys.
        roster: clients of the task that take part in the round, a share of which may be corrupt; default: as many.

    Complete: more than two thirds of all shares. Drawn: the smallest even degree for which a threshold meets
    both conditions, and the highest such threshold, since privacy lost is lost for good.

    Raises:
        ValueError: fewer than two clients.
    """
    if clients < 2:
        raise ValueError(f"pairwise masks need two clients, not {clients}")
    if clients > COMPLETE_UP_TO:
        for degree in range(2, clients - 1, 2):
            threshold = _highest_threshold(clients, degree)
            if threshold >= _lowest_threshold(clients, degree, int(CORRUPT * max(clients, roster))):
                return Parameters(degree, threshold, complete=False)
    return Parameters(clients - 1, 2 * clients // 3 + 1, complete=True)


def neighbours(members: Sequence[str], seed: bytes, parameters: Parameters) -> dict[str, tuple[str, ...]]:
    """The neighbours of each member, without itself, sorted; the relation is symmetric.

    Run by every client and by the aggregator, with the same result; the order of `members` does not matter.

    Args:
        members: names of the clients.
        seed: 32 public bytes that nobody chose: a SHA-256 digest of all signed key advertisements. Not
            looked at if all members are neighbours.
        parameters: for this number of members. If they are no more than its degree + 1, all are neighbours.

    Raises:
        ValueError: a member is named twice, the degree of a graph to draw is odd, or the seed has not 32 bytes.
    """
    ordered = sorted(members)
    if len(set(ordered)) != len(ordered):
        raise ValueError("a member is named twice")
    if parameters.complete or len(ordered) <= parameters.degree + 1:
        return {name: tuple(other for other in ordered if other != name) for name in ordered}
    if parameters.degree % 2:
        raise ValueError(
            f"a ring has neighbours on both sides, so its degree is even, not {parameters.degree}"
        )
    ring = _permuted(ordered, seed)
    half = parameters.degree // 2
    around = [*range(-half, 0), *range(1, half + 1)]
    found = {
        name: tuple(sorted(ring[(place + step) % len(ring)] for step in around))
        for place, name in enumerate(ring)
    }
    return {name: found[name] for name in ordered}


def _permuted(names: Sequence[str], seed: bytes) -> list[str]:
    """All names in an order that the seed determines, uniform if the seed is.

    Source: Durstenfeld 1964 (CACM algorithm 235), from the last place down; Knuth, The Art of Computer
    Programming, section 3.4.2, algorithm P.
    """
    ring, words = list(names), _keystream(expansion_key(seed, _CONTEXT))
    for last in range(len(ring) - 1, 0, -1):
        # The largest multiple of the number of choices: words from there on would favour the first choices.
        limit = 2**64 - 2**64 % (last + 1)
        word = next(word for word in words if word < limit)
        place = word % (last + 1)
        ring[place], ring[last] = ring[last], ring[place]
    return ring


def _keystream(key: bytes) -> Iterator[int]:
    first = 0
    while True:
        yield from expand(key, first_word=first, words=_WORDS_AT_ONCE).tolist()
        first += _WORDS_AT_ONCE


def _highest_threshold(clients: int, degree: int) -> int:
    """The highest t that meets condition 1; 0 if none does."""
    survivors = clients - 1 - int(DROPPED * clients)
    ways = _ways(clients - 1, survivors, degree)
    scale, threshold, failures = clients << CORRECTNESS_BITS, 0, ways[0]
    while threshold < degree and failures * scale <= comb(clients - 1, degree):
        threshold += 1
        failures += ways[threshold]
    return threshold


def _lowest_threshold(clients: int, degree: int, corrupt_clients: int) -> int:
    """The lowest t that meets condition 2; above `degree` + 1, where no share is, if none does."""
    ways = _ways(clients - 2, corrupt_clients, degree)
    scale, corrupt, failures = clients**2 << (PRIVACY_BITS + GRINDING_BITS), degree, ways[degree]
    # After the loop `corrupt` is the highest number that is not rare enough: 2 t - 2 - k is one more at least.
    while failures * scale <= comb(clients - 2, degree):
        corrupt -= 1
        failures += ways[corrupt]
    return -(-(corrupt + 3 + degree) // 2)


def _ways(population: int, marked: int, drawn: int) -> list[int]:
    """In how many ways i of the `drawn` are marked, by i from 0 to `drawn`; all sum to comb(population, drawn).

    These are exact integers; each follows from the one before, which spares two binomials.
    """
    unmarked = population - marked
    ways = [0] * (drawn + 1)
    first, last = max(0, drawn - unmarked), min(drawn, marked)
    ways[first] = comb(marked, first) * comb(unmarked, drawn - first)
    for i in range(first, last):
        ways[i + 1] = ways[i] * (marked - i) * (drawn - i) // ((i + 1) * (unmarked - drawn + i + 1))
    return ways
