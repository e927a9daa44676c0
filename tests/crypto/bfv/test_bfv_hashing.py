"""Linear hashes: the hash of a sum is the sum of the hashes, exactly, and any other sum has another hash."""

from __future__ import annotations

import functools
import itertools

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secprune.crypto.bfv import ring
from secprune.crypto.bfv.hashing import REPETITIONS, LinearHash, add_hashes, is_well_formed
from secprune.crypto.bfv.parameters import choose_parameters
from secprune.crypto.expand import expand, expansion_key

SEED, CONTEXT = b"\x11" * 32, b"test_bfv_hashing"
SIMPLE = choose_parameters(clients=8, key_holders=1, blind=False, weights=10**6)
BLIND = choose_parameters(clients=8, key_holders=1, blind=True, weights=124_000_000)
SMALL = tuple(msgspec.structs.replace(p, degree=64) for p in (SIMPLE, BLIND))


def digest(planes, p, cuts=(), seed=SEED, context=CONTEXT):
    """Of planes (count, N), taken in the pieces between the cuts."""
    hashed, bounds = LinearHash(seed, context, p), [0, *sorted(cuts), len(planes[0])]
    for start, end in itertools.pairwise(bounds):
        if end > start:
            hashed.update([plane[start:end] for plane in planes])
    return hashed.values()


def drawn(p, count, seed, edges=False):
    """Planes (count, N) of reduced coefficients; with edges many are the largest or the smallest."""
    rng = np.random.default_rng(seed)
    planes = []
    for q in p.primes:
        plane = rng.integers(0, q, (count, p.degree), np.uint64)
        if edges:
            extreme = rng.choice(np.array([0, 1, q - 1, q - 1, 2**20, 2**40 - 1], np.uint64), plane.shape)
            plane = np.where(rng.random(plane.shape) < 0.7, extreme, plane)
        planes.append(plane)
    return planes


def total(reports, p):
    return [
        functools.reduce(lambda a, b, q=q: ring.add(a, b, q), planes)
        for planes, q in zip(zip(*reports, strict=True), p.primes, strict=True)
    ]


def oracle(planes, p, seed=SEED, context=CONTEXT):
    """In Python's integers: 16-bit factors are the bytes of the keystream, repetition by repetition."""
    count, degree = planes[0].shape
    key = expansion_key(seed, b"linear hash\0" + context)
    stream = expand(key, first_word=0, words=count * degree * 8 // 4).astype("<u8").tobytes()
    found = []
    for plane, q in zip(planes, p.primes, strict=True):
        sums, offset = [0] * 8, 0
        for ciphertext in plane.tolist():
            for repetition in range(8):
                for x in ciphertext:
                    sums[repetition] += int.from_bytes(stream[offset : offset + 2], "little") * x
                    offset += 2
        found.append(tuple(value % q for value in sums))
    return tuple(found)


@pytest.mark.parametrize("p", SMALL, ids=["simple", "blind"])
@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 17])
def test_against_plain_integers(p, count):
    planes = drawn(p, count, count, edges=count % 2 == 0)
    assert REPETITIONS == 8
    assert digest(planes, p) == oracle(planes, p)
    assert digest(planes, p, seed=b"\x12" * 32) == oracle(planes, p, seed=b"\x12" * 32) != digest(planes, p)
    assert digest(planes, p, context=b"") == oracle(planes, p, context=b"") != digest(planes, p)


@given(
    st.sampled_from(SMALL),
    st.integers(1, 20),
    st.integers(1, 9),
    st.integers(0, 2**32),
    st.booleans(),
    st.data(),
)
@settings(max_examples=60, deadline=None)
def test_the_hash_of_a_sum_is_the_sum_of_the_hashes_however_it_is_cut(p, count, clients, seed, edges, data):
    reports = [drawn(p, count, (seed, client), edges) for client in range(clients)]
    cuts = data.draw(st.lists(st.integers(1, count), max_size=4))
    hashes = [digest(report, p, cuts) for report in reports]
    assert add_hashes(hashes, p) == digest(total(reports, p), p)
    assert hashes[0] == digest(reports[0], p)
    assert all(is_well_formed(values, p) for values in hashes)


@pytest.mark.parametrize("p", [SIMPLE, BLIND], ids=["simple", "blind"])
def test_the_largest_coefficients_are_added_exactly(p):
    """All of them q - 1, in 64 ciphertexts of a whole ring: the hash is minus the sum of the factors."""
    count = 64
    planes = [np.full((count, p.degree), q - 1, np.uint64) for q in p.primes]
    key = expansion_key(SEED, b"linear hash\0" + CONTEXT)
    stream = expand(key, first_word=0, words=count * p.degree * 2)
    factors = stream.astype("<u8").view("<u2").reshape(count, 8, p.degree).sum(axis=(0, 2), dtype=np.uint64)
    due = tuple(tuple(-value % q for value in factors.tolist()) for q in p.primes)
    assert digest(planes, p) == due
    assert digest(planes, p, cuts=[1, 10, 33]) == due


def test_the_largest_factors_are_added_exactly(monkeypatch):
    """All factors 2^16 - 1, and all limbs full that can be: sums come close to 2^53 and stay exact."""
    p = msgspec.structs.replace(
        BLIND, primes=(2**60 - 1, 2**60 - 1 - 2**20)
    )  # not primes: limbs are what matters
    monkeypatch.setattr(
        "secprune.crypto.bfv.hashing.Keystream.fill", lambda _, words: words.fill(np.uint64(2**64 - 1))
    )
    planes = [np.full((17, p.degree), q - 1, np.uint64) for q in p.primes]
    due = tuple((17 * p.degree * (2**16 - 1) * (q - 1) % q,) * 8 for q in p.primes)
    assert digest(planes, p) == due
    planes[0][3, 5] -= np.uint64(1)
    assert digest(planes, p)[0] == ((due[0][0] - (2**16 - 1)) % p.primes[0],) * 8


@pytest.mark.parametrize("p", [SIMPLE, BLIND], ids=["simple", "blind"])
def test_any_other_coefficient_changes_all_hashes_of_its_prime(p):
    """A factor of zero, with probability 2^-16 each, would leave one as it is; the seeds here give none."""
    rng = np.random.default_rng(3)
    planes = drawn(p, 2, 5)
    before = digest(planes, p)
    for _ in range(100):
        place, index, k = (int(rng.integers(bound)) for bound in (len(planes), 2, p.degree))
        q, kept = p.primes[place], int(planes[place][index, k])
        delta = int(rng.choice([1, q - 1, 2**20, 2**40, int(rng.integers(1, q))]))
        planes[place][index, k] = (kept + delta) % q
        after = digest(planes, p)
        planes[place][index, k] = kept
        assert all(a != b for a, b in zip(after[place], before[place], strict=True))
        changes = [(a - b) * pow(delta, -1, q) % q for a, b in zip(after[place], before[place], strict=True)]
        assert all(0 < change < 2**16 for change in changes), "by the factor times what was added"
        assert len(set(changes)) > 1
        assert all(after[i] == before[i] for i in range(len(planes)) if i != place)


@pytest.mark.parametrize("p", [SIMPLE, BLIND], ids=["simple", "blind"])
def test_a_sum_over_others_has_another_hash(p):
    reports = [drawn(p, 3, client) for client in range(4)]
    due = add_hashes([digest(report, p) for report in reports], p)
    swapped = [plane[[1, 0, 2]] for plane in reports[0]]
    shifted = [np.roll(plane.reshape(-1), 1).reshape(plane.shape) for plane in reports[0]]
    wrong = {
        "left out": reports[:3],
        "twice": [*reports, reports[0]],
        "one twice and one left out": [*reports[:3], reports[0]],
        "swapped ciphertexts": [swapped, *reports[1:]],
        "shifted coefficients": [shifted, *reports[1:]],
        "one negative": [[(-plane) % np.uint64(q) for plane, q in zip(reports[0], p.primes, strict=True)]],
    }
    assert digest(total(reports, p), p) == due
    for sums in wrong.values():
        found = digest(total(sums, p), p)
        assert all(
            a != b for one, other in zip(found, due, strict=True) for a, b in zip(one, other, strict=True)
        )


def test_repetitions_and_primes_have_different_hashes():
    """Otherwise eight hashes would be worth one."""
    planes = drawn(BLIND, 2, 1)
    values = digest(planes, BLIND)
    assert len({value for of_prime in values for value in of_prime}) == 2 * REPETITIONS
    twice = [np.concatenate([plane[:1], plane[:1]]) for plane in planes]
    once = digest([plane[:1] for plane in planes], BLIND)
    assert digest(twice, BLIND) != add_hashes([once, once], BLIND), "each ciphertext has factors of its own"


@pytest.mark.parametrize("p", [SIMPLE, BLIND], ids=["simple", "blind"])
def test_hashes_from_elsewhere_must_have_shape_and_range(p):
    good = tuple(tuple(q - 1 for _ in range(8)) for q in p.primes)
    assert is_well_formed(good, p)
    assert is_well_formed(tuple((0,) * 8 for _ in p.primes), p)
    first, *others = good
    for bad in (
        (),
        good[:-1],
        (*good, good[0]),
        (first[:7], *others),
        ((*first, 0), *others),
        ((), *others),
        ((*first[:7], p.primes[0]), *others),
        ((-1, *first[1:]), *others),
        (*good[:-1], (2**64, *good[-1][1:])),
    ):
        assert not is_well_formed(bad, p)
