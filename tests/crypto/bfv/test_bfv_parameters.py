"""Parameters: every chosen ring is one that SEAL takes, is secure, decrypts and floods as promised, and is small.

All bounds are computed anew here, from the model in the docstring of `parameters`, with nothing of its code.
"""

from __future__ import annotations

import itertools
import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secprune.crypto.bfv.parameters import MAX_MODULUS_BITS, _largest_prime, choose_parameters, is_prime
from secprune.errors import ConfigurationError

sympy = pytest.importorskip("sympy")

ROSTERS = (3, 4, 8, 16, 64, 128, 255)
WEIGHTS = (10**6, 124_000_000, 7 * 10**9)
MODES = ((1, False), (1, True), (2, True), (3, True))
TOO_LARGE = (255, 3, True, 7 * 10**9)
CASES = [
    (clients, holders, blind, weights)
    for clients, (holders, blind), weights in itertools.product(ROSTERS, MODES, WEIGHTS)
    if (clients, holders, blind, weights) != TOO_LARGE
]
FISHER = 3.12  # checked below


def chosen(clients, holders, blind, weights):
    return choose_parameters(clients=clients, key_holders=holders, blind=blind, weights=weights)


def sum_variance(p, clients, holders):
    """Noise of the sum of all clients: u e + e0 + e1 s, divided by the special prime, plus its rounding."""
    coin_error, ternary = 42 / 4, 2 / 3
    key = holders * p.degree * ternary
    one = holders * p.degree * coin_error * ternary + coin_error + coin_error * key
    if p.special:
        one = one / p.special**2 + 1 / 12 + key / 12
    return clients * one


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_primes_are_fit_and_distinct_and_leave_room_for_the_sum(case):
    clients, holders, blind, _ = case
    p = chosen(*case)
    assert (p.clients, p.key_holders, p.blind, p.base) == (clients, holders, blind, clients + 1)
    assert len(p.primes) == (2 if blind else 1)
    assert all(sympy.isprime(q) and q % (2 * p.degree) == 1 for q in p.all_primes)
    assert len(set(p.all_primes)) == len(p.all_primes)
    assert all(q.bit_length() <= 60 for q in p.all_primes)
    assert all(q > 2**16 for q in p.primes), "the factors of linear hashes have 16 bits"
    assert sum(q.bit_length() for q in p.all_primes) <= MAX_MODULUS_BITS[p.degree]
    assert p.scale % 2 == 0
    assert p.scale * p.base**p.digits <= p.primes[0]
    if not blind:
        assert p.primes[0] % p.scale == 1
        assert p.flood_bits == 0
    bits = (p.primes[0].bit_length(), *(q.bit_length() for q in p.primes))
    assert p.wire_bits == bits
    assert p.bits_per_weight == sum(bits) / p.digits


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_honest_sum_fails_with_probability_at_most_two_to_the_minus_128(case):
    """What is left of half the scale after the worst rounding and flooding is z standard deviations of noise."""
    clients, holders, blind, _ = case
    p = chosen(*case)
    room = p.scale / 2
    if blind:
        room = (room - (clients + holders) / 2) * p.primes[1] - holders * 2 * 2**p.flood_bits
    assert room > 0
    z = room / math.sqrt(sum_variance(p, clients, holders))
    assert math.log2(2) - z * z / 2 / math.log(2) <= -128
    assert p.fresh_noise == pytest.approx(math.sqrt(sum_variance(p, 1, holders)))


@pytest.mark.parametrize("case", [case for case in CASES if case[2]], ids=str)
def test_flooding_hides_the_noise_of_all_ciphertexts_to_two_to_the_minus_40(case):
    clients, holders, _, weights = case
    p = chosen(*case)
    coefficients = weights / p.digits * 33 / 32 + 64 * p.degree
    rms = math.sqrt(sum_variance(p, clients, holders))
    assert math.sqrt(coefficients * FISHER / 4) * rms / 2**p.flood_bits <= 2**-40
    assert math.sqrt(coefficients * FISHER / 4) * rms / 2 ** (p.flood_bits - 1) > 2**-40, "one bit too many"
    assert p.flood_bits <= 64
    variance = (sum_variance(p, clients, holders) + holders * 4**p.flood_bits / 3) / p.primes[1] ** 2
    assert p.decoding_noise == pytest.approx(math.sqrt(variance + (clients + holders) / 12))
    assert 4 * 2**p.flood_bits * holders < p.primes[0] * p.primes[1] / p.scale, (
        "flooding stays below a message"
    )


@pytest.mark.parametrize("case", CASES, ids=str)
def test_seal_takes_them_at_128_bits(case):
    seal = pytest.importorskip("tenseal.sealapi")
    p = chosen(*case)
    settings = seal.EncryptionParameters(seal.SCHEME_TYPE.BFV)
    settings.set_poly_modulus_degree(p.degree)
    settings.set_coeff_modulus([seal.Modulus(q) for q in p.all_primes])
    settings.set_plain_modulus(3)
    context = seal.SEALContext(settings, True, seal.SEC_LEVEL_TYPE.TC128)
    assert context.parameters_error_name() == "success"
    first = context.first_context_data().parms().coeff_modulus()
    assert tuple(modulus.value() for modulus in first) == p.primes, "what is left while encrypting"
    bits = math.prod(p.all_primes).bit_length()
    assert bits < seal.CoeffModulus.MaxBitCount(p.degree, seal.SEC_LEVEL_TYPE.TC128)


@pytest.mark.parametrize(
    ("clients", "blind", "most", "expected"),
    [(8, False, 9.5, 7.73), (64, False, 18.5, 15.0), (8, True, 10.36, 10.35), (64, True, 21.26, 21.25)],
)
def test_bits_per_weight(clients, blind, most, expected):
    p = chosen(clients, 1, blind, 124_000_000)
    assert p.bits_per_weight <= most
    assert p.bits_per_weight == pytest.approx(expected, abs=0.006)


@pytest.mark.parametrize("clients", [3, 8])
def test_no_simple_candidate_has_fewer_bits(clients):
    """Even without asking for a prime: any degree, any special prime of any size, any scale that is enough."""
    best = chosen(clients, 1, False, 10**6)
    limits, z = {1024: 26, 2048: 53, 4096: 106, 8192: 212}, math.sqrt(2 * 129 * math.log(2))
    assert limits == MAX_MODULUS_BITS
    cheapest, reached = math.inf, False
    for degree, most in limits.items():
        key = degree * 2 / 3
        fresh = 10.5 * (2 * key + 1)
        sizes = [0, *range(degree.bit_length() + 1, 61)]
        for special_bits, q_bits, digits in itertools.product(sizes, range(3, 61), range(1, 64)):
            if special_bits + q_bits > most:
                continue
            # The largest special prime of its size is below this power of two, so that noise is below truth.
            variance = fresh / 4**special_bits + (1 + key) / 12 if special_bits else fresh
            half = z * math.sqrt(clients * variance)
            if 2 * half * (clients + 1) ** digits < 2**q_bits:
                cheapest = min(cheapest, 2 * q_bits / digits)
                reached |= (degree, q_bits, digits) == (best.degree, best.primes[0].bit_length(), best.digits)
    assert reached, "the search would find the chosen ones"
    assert best.bits_per_weight == cheapest


def test_what_fits_nowhere_is_refused():
    with pytest.raises(ConfigurationError, match="no ring") as caught:
        chosen(*TOO_LARGE)
    assert "additive" in caught.value.hint
    with pytest.raises(ConfigurationError, match="alone") as caught:
        chosen(8, 2, False, 10**6)
    assert "blind" in caught.value.hint


def test_the_choice_is_a_pure_function():
    assert chosen(8, 1, False, 10**6) is not None
    assert chosen(8, 2, True, 10**6).id == chosen(8, 2, True, 10**6).id
    simple = {chosen(n, 1, False, w).id for n in ROSTERS for w in WEIGHTS}
    assert len(simple) == len(ROSTERS), "without flooding the model's size does not matter"


def test_any_other_field_has_another_id():
    p = chosen(8, 2, True, 10**6)
    ids = {p.id}
    for field in p.__struct_fields__:
        value = getattr(p, field)
        other = (
            (*value, 1) if isinstance(value, tuple) else not value if isinstance(value, bool) else value + 1
        )
        ids.add(msgspec.structs.replace(p, **{field: other}).id)
    assert len(ids) == len(p.__struct_fields__) + 1
    assert p.id.startswith("sha256:")


def test_the_fisher_information_of_four_uniform_variables():
    """By the midpoint rule on the cubic spline of their density: 3.12 is rounded up, by less than 0.2%."""
    x = (np.arange(400_000) + 0.5) / 100_000

    def power(shift, exponent):
        return np.maximum(x - shift, 0) ** exponent

    signs = [(-1) ** k * math.comb(4, k) for k in range(5)]
    density = sum(sign * power(k, 3) for k, sign in enumerate(signs)) / 6
    slope = sum(sign * power(k, 2) for k, sign in enumerate(signs)) / 2
    half = slice(0, 200_000)  # the other half is its mirror image, with cancellation at its end
    assert density.sum() / 100_000 == pytest.approx(1, abs=1e-6)
    information = 2 * float((slope[half] ** 2 / density[half]).sum()) / 100_000
    assert 0.998 * FISHER < information <= FISHER


@pytest.mark.parametrize("width", [64, 256])
def test_moving_the_sum_of_four_discrete_uniform_variables_by_one(width):
    """Hellinger's norm is at most sqrt(I / 4) / width, by exact convolution."""
    ways = np.ones(1, np.int64)
    for _ in range(4):
        ways = np.convolve(ways, np.ones(width, np.int64))
    assert int(ways.sum()) == width**4
    root = np.sqrt(np.concatenate([[0], ways, [0]]) / width**4)
    moved = float((np.diff(root) ** 2).sum())
    assert 0.9 * FISHER / 4 / width**2 < moved <= FISHER / 4 / width**2 * 1.02


@given(st.integers(3, 5000), st.integers(1, 5000), st.integers(1, 60), st.integers(0, 3))
def test_the_largest_prime_of_its_kind(below, least, step, avoided):
    fit = [q for q in sympy.primerange(max(least, 3), below) if q % step == 1 % step]
    kept = max(0, len(fit) - avoided)
    avoid, left = fit[kept:], fit[:kept]
    assert _largest_prime(14, 13, 1) == 13, "least is included"
    assert _largest_prime(below, least, step, avoid=tuple(avoid)) == (left[-1] if left else None)


@given(st.integers(2, 2**61))
def test_is_prime(number):
    assert is_prime(number) == sympy.isprime(number)


@given(st.integers(2, 2**61), st.integers(2, 2**30), st.integers(2, 2**30))
def test_is_prime_of_primes_and_products_of_two(start, one, other):
    assert is_prime(sympy.nextprime(start))
    assert not is_prime(sympy.nextprime(one) * sympy.nextprime(other))


def test_is_prime_of_strong_pseudoprimes_and_carmichael_numbers():
    # The least strong pseudoprimes to the first 1 to 9 prime bases (OEIS A014233), and others to base 2.
    strong = [2047, 1373653, 25326001, 3215031751, 2152302898747, 3474749660383, 341550071728321]
    strong += [3825123056546413051, 3277, 4033, 4681, 8321, 15841, 29341, 4759123141, 1122004669633]
    carmichael = [561, 1105, 1729, 2465, 2821, 6601, 8911, 10585, 15841, 29341, 825265, 321197185]
    for k in range(1, 50_000):
        factors = [6 * k + 1, 12 * k + 1, 18 * k + 1]  # Chernick's
        if all(map(sympy.isprime, factors)) and math.prod(factors) < 2**61:
            carmichael.append(math.prod(factors))
    assert len(carmichael) > 50
    assert not any(map(is_prime, strong + carmichael))
    assert [n for n in range(2, 5000) if is_prime(n)] == list(sympy.primerange(2, 5000))
    assert not is_prime(0)
