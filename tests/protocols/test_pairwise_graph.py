"""The graph of `pairwise`: its parameters from the definitions, its draw, and what it is for."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from fractions import Fraction
from itertools import combinations
from math import comb
from pathlib import Path

import pytest

from secprune.crypto.expand import expand, expansion_key
from secprune.protocols.pairwise import graph
from secprune.protocols.pairwise.graph import Parameters, neighbours, parameters

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "pairwise_graph.json").read_text())
DRAWN = (101, 120, 150, 200, 333, 500, 1000)


def seed(i):
    return hashlib.sha256(b"seed %d" % i).digest()


def names(count):
    return [f"c{i:03d}" for i in range(count)]


def at_least(population, marked, drawn, count):
    """Pr[HG(population, marked, drawn) >= count], drawing the marked ones' places instead of the drawn ones."""
    ways = (
        comb(drawn, i) * comb(population - drawn, marked - i)
        for i in range(max(count, 0), min(drawn, marked) + 1)
    )
    return Fraction(sum(ways), comb(population, marked))


def survives(n, k, t):
    return n * (1 - at_least(n - 1, n - 1 - n // 10, k, t)) <= Fraction(1, 2**30)


def unsplittable(n, k, t):
    return n * n * at_least(n - 2, n // 5, k, 2 * t - 2 - k) <= Fraction(1, 2**80)


@pytest.mark.parametrize("n", DRAWN)
def test_parameters_are_the_smallest_that_meet_the_conditions(n):
    p = parameters(n)
    k, t = p.degree, p.threshold
    assert not p.complete
    assert k % 2 == 0
    assert k < n - 1
    assert survives(n, k, t)
    assert unsplittable(n, k, t)
    assert not survives(n, k, t + 1)
    assert not any(survives(n, k - 2, u) and unsplittable(n, k - 2, u) for u in range(1, k))


def test_no_smaller_degree_at_all():
    for k in range(2, parameters(150).degree, 2):
        assert not any(survives(150, k, t) and unsplittable(150, k, t) for t in range(1, k + 2))


@pytest.mark.parametrize("n", [*DRAWN, 5000])
def test_the_conditions_of_the_paper_follow(n):
    """Corrupt neighbours do not reach t; two lists do not give both secrets; random dropouts do not cut."""
    k, t = parameters(n).degree, parameters(n).threshold
    bound = Fraction(1, 2**80)
    assert n * at_least(n - 1, n // 5, k, t) <= bound
    assert n * at_least(n - 1, n // 5, k, 2 * t - k - 1) <= bound
    # A cut of the ring takes two runs of k / 2 places without an honest survivor: k places in all.
    gone = n // 5 + n // 10
    assert comb(n, 2) * Fraction(comb(n - k, gone - k) if gone >= k else 0, comb(n, gone)) <= bound


def test_complete_graphs_need_more_than_two_thirds():
    for n in range(2, 101):
        p = parameters(n)
        assert p.complete
        assert p.degree == n - 1
        assert 3 * p.threshold > 2 * n >= 3 * (p.threshold - 1)
    with pytest.raises(ValueError, match="two clients"):
        parameters(1)


def test_parameters_grow_slowly():
    found = [parameters(n) for n in (101, 150, 200, 300, 500, 1000, 5000, 65535)]
    degrees = [p.degree for p in found]
    assert degrees == sorted(degrees)
    assert degrees[-1] < 400
    assert all(2 * (p.degree + 1) // 3 < p.threshold <= p.degree for p in found)


def test_symmetric_regular_and_connected_for_many_seeds():
    networkx = pytest.importorskip("networkx")
    members, p = names(150), parameters(150)
    drawn = set()
    for i in range(200):
        found = neighbours(members, seed(i), p)
        assert list(found) == members
        net = networkx.Graph([(a, b) for a, others in found.items() for b in others])
        assert all(net.degree(a) == p.degree == len(others) for a, others in found.items())
        assert all(list(others) == sorted(set(others)) and a not in others for a, others in found.items())
        assert networkx.is_connected(net)
        drawn.add(tuple(found.values()))
    assert len(drawn) == 200


def test_it_is_the_harary_graph_up_to_names():
    networkx = pytest.importorskip("networkx")
    found = neighbours(names(20), seed(0), Parameters(6, 5, complete=False))
    net = networkx.Graph([(a, b) for a, others in found.items() for b in others])
    assert networkx.node_connectivity(net) == 6
    assert networkx.is_isomorphic(net, networkx.circulant_graph(20, [1, 2, 3]))


def parts_that_open(p, corrupt, found, gaps):
    """How many parts of the honest survivors can be unmasked alone, if those in `gaps` are said to be gone.

    A member's self-mask opens with its own share, those of its neighbours in the part and the corrupt ones'.
    """
    networkx = pytest.importorskip("networkx")
    alive = set(found) - corrupt - gaps
    parts = list(networkx.connected_components(networkx.Graph(found).subgraph(alive)))
    if len(parts) == 1:
        return 0
    return sum(
        all(1 + sum(b in part or b in corrupt for b in found[a]) >= p.threshold for a in part)
        for part in parts
    )


def attack(n, p, tries):
    """Cut the ring at pairs of runs of k / 2 places that hold many corrupt clients."""
    ring, half, opened = names(n), p.degree // 2, 0
    found = {a: tuple(ring[(i + s) % n] for s in range(-half, half + 1) if s) for i, a in enumerate(ring)}
    for i in range(tries):
        corrupt = set(random.Random(i).sample(ring, n // 5))
        runs = [{ring[(start + j) % n] for j in range(half)} for start in range(0, n, 5)]
        runs = sorted(runs, key=lambda run: -len(run & corrupt))[:8]
        opened += sum(
            parts_that_open(p, corrupt, found, a | b) for a, b in combinations(runs, 2) if not a & b
        )
    return opened


def test_an_aggregator_that_chooses_dropouts_learns_no_part_of_the_sum():
    """Control: k and t that suffice if dropouts are random do not if the aggregator knows the ring."""
    random_dropouts = Parameters(88, 59, complete=False)
    assert survives(500, 88, 59)
    assert 500 * at_least(499, 100, 88, 59) <= Fraction(1, 2**80)
    assert not unsplittable(500, 88, 59)
    assert attack(500, random_dropouts, tries=4) > 0
    assert attack(500, parameters(500), tries=4) == 0


def test_the_order_of_members_does_not_matter_but_the_seed_does():
    members, p = names(30), Parameters(4, 4, complete=False)
    found = neighbours(members, seed(1), p)
    assert neighbours(members[::-1], seed(1), p) == found
    assert neighbours(members, seed(2), p) != found


def test_few_members_and_complete_graphs_are_complete():
    everybody = {"a": ("b", "c"), "b": ("a", "c"), "c": ("a", "b")}
    assert neighbours(["c", "a", "b"], b"", parameters(3)) == everybody
    assert neighbours(["c", "a", "b"], b"not looked at", Parameters(2, 2, complete=False)) == everybody
    assert neighbours(["c", "a", "b"], b"", Parameters(44, 34, complete=False)) == everybody


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="twice"):
        neighbours(["a", "a", "b"], seed(0), parameters(3))
    with pytest.raises(ValueError, match="even"):
        neighbours(names(9), seed(0), Parameters(3, 3, complete=False))
    with pytest.raises(ValueError, match="32 bytes"):
        neighbours(names(9), b"short", Parameters(4, 3, complete=False))


def test_the_permutation_is_fisher_yates_over_the_keystream():
    """Written out: one word for each place from the last one down (none is refused at this size)."""
    ring = names(50)
    words = expand(expansion_key(seed(3), b'["pairwise/graph"]'), first_word=0, words=49).tolist()
    for last, word in zip(range(49, 0, -1), words, strict=True):
        assert word < 2**64 - 2**64 % (last + 1)
        place = word % (last + 1)
        ring[place], ring[last] = ring[last], ring[place]
    assert graph._permuted(names(50), seed(3)) == ring


def test_words_that_would_favour_some_are_drawn_again(monkeypatch):
    """2^64 is 1 mod 3: of three choices the highest word is refused."""
    words = iter([2**64 - 1, 5, 3])
    monkeypatch.setattr(graph, "_keystream", lambda _: words)
    assert graph._permuted(["a", "b", "c"], bytes(32)) == ["a", "b", "c"]
    assert next(words, None) is None


def test_every_order_comes_equally_often():
    """Chi-square with 23 degrees of freedom; 49.7 is exceeded once in a thousand times, and seeds are fixed."""
    counts = Counter(tuple(graph._permuted("abcd", seed(i))) for i in range(2400))
    assert len(counts) == 24
    assert sum((count - 100) ** 2 / 100 for count in counts.values()) < 49.7


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v.get("seed", v.get("clients")))
def test_vectors(vector):
    p = Parameters(vector["degree"], vector["threshold"], vector["complete"])
    if "clients" in vector:
        assert parameters(vector["clients"]) == p
        return
    found = neighbours(list(vector["neighbours"]), bytes.fromhex(vector["seed"]), p)
    assert found == {name: tuple(others) for name, others in vector["neighbours"].items()}
