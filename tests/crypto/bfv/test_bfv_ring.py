"""Arithmetic modulo primes: elementwise against Python's integers, transforms against products of polynomials."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secprune.crypto.bfv import ring

sympy = pytest.importorskip("sympy")

PRIMES = [sympy.prevprime(2**bits) for bits in range(20, 61)] + [
    sympy.nextprime(2**bits) for bits in (20, 59)
]
primes = st.sampled_from(PRIMES)
NO_TENSEAL = "needs tenseal (pip install 'secprune[he]')"
DEGREES = (64, 1024, 4096)


def words(q=None):
    """Reduced modulo q, or any: with a bias to the edges."""
    if q is None:
        return st.one_of(
            st.sampled_from([0, 1, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1]), st.integers(0, 2**64 - 1)
        )
    return st.one_of(st.sampled_from([0, 1, q // 2, q // 2 + 1, q - 2, q - 1]), st.integers(0, q - 1))


@functools.cache
def ntt_prime(bits, degree):
    """The largest prime of so many bits that is 1 modulo 2 N."""
    candidate = (2**bits - 2) // (2 * degree) * 2 * degree + 1
    while not sympy.isprime(candidate):
        candidate -= 2 * degree
    assert candidate.bit_length() == bits
    return candidate


@st.composite
def pairs(draw):
    q = draw(primes)
    return q, draw(st.lists(st.tuples(words(q), words(q)), min_size=1, max_size=20))


@given(pairs())
@settings(max_examples=300)
def test_sums_and_differences(drawn):
    q, both = drawn
    a, b = (np.array(one, np.uint64) for one in zip(*both, strict=True))
    assert ring.add(a, b, q).tolist() == [(x + y) % q for x, y in both]
    assert ring.subtract(a, b, q).tolist() == [(x - y) % q for x, y in both]
    assert ring.add(a, np.uint64(both[0][1]), q).tolist() == [(x + both[0][1]) % q for x, _ in both]
    assert (a.tolist(), b.tolist()) == tuple(map(list, zip(*both, strict=True))), "operands stay"
    kept = a.copy()
    assert ring.add(kept, b, q, out=kept) is kept
    assert kept.tolist() == [(x + y) % q for x, y in both]


@given(st.data(), primes)
@settings(max_examples=300)
def test_products_of_any_words(data, q):
    factor = data.draw(words(q))
    a = data.draw(st.lists(words(), min_size=1, max_size=20))
    found = ring.multiply(np.array(a, np.uint64), factor, q)
    assert found.dtype == np.uint64
    assert found.tolist() == [x * factor % q for x in a]


@given(st.lists(words(), min_size=1, max_size=20), words())
@settings(max_examples=300)
def test_upper_halves_of_products(a, b):
    assert ring._high(np.array(a, np.uint64), b).tolist() == [x * b >> 64 for x in a]


def nearest(x, q2):
    """x / q2 to the nearest integer; q2 is odd, so there are no halves."""
    return (2 * x + q2) // (2 * q2)


@st.composite
def residues(draw):
    q1, q2 = draw(st.lists(primes, min_size=2, max_size=2, unique=True))
    edges = [0, 1, q2 // 2, q2 // 2 + 1, q2 - 1, q2, q1 * q2 - 1, q1 * q2 - q2 // 2 - 1, q1 * q2 - q2 // 2]
    one = st.one_of(st.sampled_from(edges), st.integers(0, q1 * q2 - 1))
    multiple = st.builds(
        lambda k, d: (k * q2 + q2 // 2 + d) % (q1 * q2), st.integers(0, q1), st.integers(-1, 2)
    )
    return (q1, q2), draw(st.lists(st.one_of(one, multiple), min_size=1, max_size=20))


@given(residues())
@settings(max_examples=300)
def test_switching_the_modulus_rounds_to_the_nearest(drawn):
    (q1, q2), values = drawn
    planes = np.array([[[x % q1 for x in values], [x % q2 for x in values]]], np.uint64)
    found = ring.switch_down(planes, (q1, q2))
    assert found.tolist() == [[nearest(x, q2) % q1 for x in values]]
    assert int(found.max()) < q1


def test_switching_of_negative_values_is_symmetric():
    """Small x and -x are rounded to opposite integers: flooding noise stays without a mean."""
    q1, q2 = ntt_prime(58, 4096), ntt_prime(60, 4096)
    rng = np.random.default_rng(0)
    values = [int(x) * 8 + 1 for x in rng.integers(0, 2**62, 1000)]

    def switched(xs):
        return ring.switch_down(np.array([[x % q for x in xs] for q in (q1, q2)], np.uint64), (q1, q2))

    assert not ring.add(switched(values), switched([-x for x in values]), q1).any()


def negacyclic(a, b, q):
    """Product modulo X^N + 1, term by term."""
    degree = len(a)
    product = [0] * degree
    for i, x in enumerate(a):
        if x:
            for j, y in enumerate(b):
                if i + j < degree:
                    product[i + j] += x * y
                else:
                    product[i + j - degree] -= x * y
    return [value % q for value in product]


def transformed(values, q):
    backend = pytest.importorskip("secprune.crypto.bfv.seal_backend", reason=NO_TENSEAL)
    found = backend.transform(np.array(values, np.uint64), q)
    assert found.dtype == np.uint64
    return found.tolist()


@given(st.data(), st.integers(20, 60))
@settings(max_examples=25, deadline=None)
def test_transforms_of_products_are_products_of_transforms(data, bits):
    q = ntt_prime(bits, 64)
    a, b = (data.draw(st.lists(words(q), min_size=64, max_size=64)) for _ in range(2))
    left, right = transformed(a, q), transformed(b, q)
    due = [x * y % q for x, y in zip(left, right, strict=True)]
    assert transformed(negacyclic(a, b, q), q) == due
    total = [(x + y) % q for x, y in zip(a, b, strict=True)]
    assert transformed(total, q) == [(x + y) % q for x, y in zip(left, right, strict=True)]


@pytest.mark.parametrize("degree", DEGREES)
def test_a_transform_is_the_polynomial_at_all_roots_of_minus_one(degree):
    """X takes each root of X^N + 1 once; the transform of another polynomial has its values there."""
    q = ntt_prime(40, degree)
    x = [0, 1] + [0] * (degree - 2)
    roots = transformed(x, q)
    assert len(set(roots)) == degree
    assert all(pow(root, degree, q) == q - 1 for root in roots)
    assert transformed([1] + [0] * (degree - 1), q) == [1] * degree
    sparse = {0: 5, 3: q - 1, degree - 1: 2, degree // 2: q // 2}
    values = [sparse.get(i, 0) for i in range(degree)]
    assert transformed(values, q) == [sum(c * pow(r, k, q) for k, c in sparse.items()) % q for r in roots]
