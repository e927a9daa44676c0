"""What the discrete Gaussian is made of: coins, runs and exponents, over all outcomes; integers only; broken entropy."""

from __future__ import annotations

import ast
import contextlib
import inspect
import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from gaussian_fit import (
    DRAWS,
    LARGE,
    LIMIT,
    SMALL,
    cells_misfit,
    discrete_misfit,
    laplace_exact,
    seeded,
    wide_misfit,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from secprune.errors import ConfigurationError, LocalEnvironmentError
from secprune.privacy import gaussian
from secprune.privacy.gaussian import MAX_VARIANCE, _Coins, _Exponent, discrete_gaussian

# Building blocks


@pytest.mark.parametrize(
    ("bound", "width"),
    [
        (2, 1),
        (3, 1),
        (7, 1),
        (100, 1),
        (129, 1),
        (255, 1),
        (256, 1),
        (257, 2),
        (1000, 2),
        (40_000, 2),
        (2**16, 2),
    ],
)
def test_numbers_below_a_bound_are_uniform_over_all_words(bound, width):
    """Every word once: each number equally often; the words refused are drawn again, here as zeros."""
    asked = []

    def entropy(size):
        asked.append(size)
        every = np.arange(256**width, dtype=f"<u{width}").tobytes()
        return every if len(asked) == 1 else bytes(size)

    counts = np.bincount(_Coins(entropy).below(bound, 256**width), minlength=bound)
    refused = sum(asked[1:]) // width
    counts[0] -= refused
    assert refused < bound
    assert counts.tolist() == [256**width // bound] * bound


@pytest.mark.parametrize(
    "bound", [2**16 + 1, 10**9, 2**31 + 1, 2**32, 2**32 + 1, 2**50 - 1, 2**61 + 1, 2**62]
)
def test_numbers_below_a_large_bound_refuse_no_word_too_many_or_few(bound):
    width = 4 if bound <= 2**32 else 8
    edge = 256**width - 256**width % bound
    words = [0, 1, bound - 1, bound, edge - 1, edge, 256**width - 1]
    words = [word for word in words if word < 256**width]
    answers = [
        np.array(words, f"<u{width}").tobytes(),
        *(np.array([7] * n, f"<u{width}").tobytes() for n in (1, 2, 3)),
    ]

    def entropy(size):
        return next(answer for answer in answers if len(answer) == size)

    expected = [word % bound if word < edge else 7 for word in words]
    assert _Coins(entropy).below(bound, len(words)).tolist() == expected


@pytest.mark.parametrize("bound", [0, -1, 2**62 + 1])
def test_numbers_below_a_bound_that_does_not_fit_are_refused(bound):
    with pytest.raises(ValueError, match="do not fit"):
        _Coins(seeded(0)).below(bound, 1)


class EveryOutcome(_Coins):
    """One place for every outcome of the coins of the first rounds of algorithm 1; the round after shows tails."""

    def __init__(self, rounds):
        self._rounds = rounds

    def below(self, bound, size):
        if bound == self._rounds + 1:
            return np.full(size, bound - 1)
        assert size % bound == 0, "every number equally often"
        return np.arange(size) * bound // size


@pytest.mark.parametrize("gamma", [Fraction(n, d) for d in (1, 2, 3, 5) for n in range(d + 1)], ids=str)
def test_a_coin_of_exp_shows_heads_with_the_probability_of_algorithm_1_over_all_outcomes(gamma):
    rounds, n, d = 5, gamma.numerator, gamma.denominator
    places = d**rounds * math.factorial(rounds)
    heads = EveryOutcome(rounds).exp_minus(np.full(places, n), d)
    series = sum((-gamma) ** k / math.factorial(k) for k in range(rounds + 1))
    assert Fraction(int(heads.sum()), places) == series
    # The other rounds continue the same series, whose sum is exp(-gamma).
    assert abs(series - Fraction(math.exp(-gamma))) <= gamma ** (rounds + 1) / math.factorial(
        rounds + 1
    ) + Fraction(1, 10**15)


@pytest.mark.parametrize(
    "gamma", [Fraction(1, 3), Fraction(1, 2**20), Fraction(2**50 - 1, 2**50), Fraction(999, 1000)]
)
def test_a_coin_of_exp_shows_heads_as_often_as_it_should(gamma):
    heads = _Coins(seeded(10)).exp_minus(np.full(DRAWS, gamma.numerator), gamma.denominator).sum()
    chance = math.exp(-gamma)
    assert abs(heads - DRAWS * chance) < LIMIT * math.sqrt(DRAWS * chance * (1 - chance)) + 1


def test_coins_of_exp_take_each_its_own_exponent():
    numerators = np.tile(np.arange(11), 20_000)
    heads = _Coins(seeded(11)).exp_minus(numerators, 10).reshape(-1, 11).sum(axis=0)
    chances = np.exp(-np.arange(11) / 10)
    assert (np.abs(heads - 20_000 * chances) <= LIMIT * np.sqrt(20_000 * chances * (1 - chances))).all()


class OutOfScriptError(Exception):
    pass


class Scripted(_Coins):
    """Coins that show what a script says, and the probability that they do."""

    def __init__(self, script):
        self._script, self.probability = list(script), Fraction(1)

    def _toss(self, chance):
        if not self._script:
            raise OutOfScriptError
        shows = self._script.pop(0)
        self.probability *= chance if shows else 1 - chance
        return shows

    def below(self, bound, size):
        return np.array([0 if self._toss(Fraction(1, bound)) else 1])

    def _is_below(self, numerator, denominator):
        return self._toss(Fraction(numerator, denominator))


@pytest.mark.parametrize(
    "rest", [Fraction(0), Fraction(1, 7), Fraction(2**200 - 1, 2**200)], ids=["0", "1/7", "almost 1"]
)
@pytest.mark.parametrize("bits", [1, 3])
def test_the_rest_of_an_exponent_is_decided_exactly_over_all_outcomes(monkeypatch, rest, bits):
    monkeypatch.setattr(gaussian, "_PREFIX_BITS", bits)
    heads, undecided, scripts = Fraction(0), Fraction(0), [()]
    while scripts:
        script = scripts.pop()
        coins = Scripted(script)
        try:
            shows = coins.exp_minus_rest(rest.numerator, rest.denominator)
        except OutOfScriptError:
            if coins.probability > Fraction(1, 10**12):
                scripts += [(*script, False), (*script, True)]
            else:
                undecided += coins.probability
        else:
            heads += coins.probability * shows
    # All this is after a first coin that showed heads once in 2^bits; otherwise the answer is heads.
    lowest = (1 - Fraction(1, 2**bits)) + heads / 2**bits
    assert (
        lowest - Fraction(1, 10**15)
        <= Fraction(math.exp(-rest / 2**bits))
        <= lowest + undecided + Fraction(1, 10**15)
    )
    assert undecided < Fraction(1, 10**10)


@pytest.mark.parametrize("denominator", [1, 2, 3, 200, 255])
def test_coins_of_large_fractions_are_uniform_over_all_bytes(denominator):
    for numerator in {0, 1, denominator // 2, denominator}:
        shift = 8 - denominator.bit_length()
        shown = []
        for byte in range(256):
            answers = iter([bytes([byte]), bytes([0]), bytes([0])])
            shown.append(_Coins(lambda size, left=answers: next(left))._is_below(numerator, denominator))
        decided = [shows for byte, shows in enumerate(shown) if byte >> shift < denominator]
        refused = [shows for byte, shows in enumerate(shown) if byte >> shift >= denominator]
        assert refused == [numerator > 0] * len(refused), "drawn again, here as zero"
        assert Fraction(sum(decided), len(decided)) == Fraction(numerator, denominator)


def test_runs_are_geometric():
    lengths = _Coins(seeded(12)).runs(DRAWS)
    chances = [(1 - math.exp(-1)) * math.exp(-k) for k in range(60)]
    counts = np.bincount(lengths, minlength=60)
    assert cells_misfit(counts.tolist(), [DRAWS * chance for chance in chances]) < LIMIT


@pytest.mark.parametrize("t", [1, 2, 5, 33])
def test_laplace_fits_the_exact_distribution(t):
    found = discrete_misfit(_Coins(seeded(13)).laplace(t, 200_000), laplace_exact(t))
    assert max(found.values()) < LIMIT, found


@settings(max_examples=100, deadline=None)
@given(
    p=st.integers(1, 2**120),
    q=st.integers(1, 2**60),
    multiples=st.lists(st.integers(0, 2**12), min_size=1, max_size=40),
)
def test_an_exponent_and_its_parts_add_up(p, q, multiples):
    v = Fraction(p, q)
    exponent = _Exponent(v.numerator, v.denominator)
    t, bits = exponent.t, gaussian._PREFIX_BITS
    assert (t - 1) ** 2 <= v < t**2
    values = [min(multiple * t // 64, 2**62) for multiple in multiples]
    prefixes = exponent.prefixes(np.array(values, np.int64)).tolist()
    for y, prefix in zip(values, prefixes, strict=True):
        numerator, denominator = exponent.rest(y)
        a = (y - v / t) ** 2 / (2 * v)
        assert 0 <= numerator < denominator
        if a < gaussian._ROUNDS:
            assert a * 2**bits == prefix + Fraction(numerator, denominator)
        else:
            assert prefix == gaussian._ROUNDS << bits


def test_nothing_exceeds_64_bits():
    largest = MAX_VARIANCE - Fraction(1, 10**9)
    t, rounds = _Exponent(largest.numerator, largest.denominator).t, gaussian._ROUNDS
    assert t - 1 + t * (rounds - 1) < 2**59
    assert rounds << gaussian._PREFIX_BITS <= 2**41
    found = wide_misfit(discrete_gaussian(largest, 20_000, seeded(14)), largest)
    assert max(found.values()) < LIMIT, found


# Integers only


def test_the_source_has_no_floats():
    tree = ast.parse(inspect.getsource(gaussian))
    names = set()
    for node in ast.walk(tree):
        assert not (isinstance(node, ast.Constant) and isinstance(node.value, (float, complex)))
        assert not isinstance(node, ast.Div), "true division gives floats"
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id in {"math", "np"}
        ):
            names.add(node.attr)
        if isinstance(node, ast.Name):
            assert node.id not in {"float", "complex", "round", "Decimal"}
    integers_only = {
        "isqrt",
        "int64",
        "bool_",
        "zeros",
        "ones",
        "concatenate",
        "abs",
        "array",
        "arange",
        "where",
    }
    assert names <= integers_only | {"flatnonzero", "frombuffer", "ndarray"}


class Watched(np.ndarray):
    """An array that no float may come out of, and of which whatever is computed is watched too."""

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        plain = [np.asarray(each) if isinstance(each, Watched) else each for each in inputs]
        if "out" in options:
            options["out"] = tuple(np.asarray(each) for each in options["out"])
        result = getattr(ufunc, method)(*plain, **options)
        assert np.asarray(result).dtype.kind in "iub", f"{ufunc.__name__} made {np.asarray(result).dtype}"
        return result.view(Watched) if isinstance(result, np.ndarray) else result


class WatchedNumpy:
    """Numpy, but the arrays that it makes are watched."""

    seen = 0

    def __getattr__(self, name):
        def made(*args, **options):
            result = getattr(np, name)(*args, **options)
            assert result.dtype.kind in "iub", f"{name} made {result.dtype}"
            self.seen += 1
            return result.view(Watched)

        return getattr(np, name) if name in {"int64", "bool_", "abs"} else made


def test_the_watch_finds_floats():
    watched = WatchedNumpy()
    with pytest.raises(AssertionError, match="made float64"):
        watched.zeros(3, np.uint64) + watched.ones(3, np.int64)
    with pytest.raises(AssertionError, match="made float64"):
        watched.zeros(3)
    with pytest.raises(AssertionError, match="made float64"):
        watched.ones(3, np.int64)[:2].mean()


@pytest.mark.parametrize("variance", [SMALL[1], SMALL[3], *LARGE], ids=str)
@pytest.mark.parametrize("bits", [1, 32])
def test_no_array_is_ever_a_float(monkeypatch, variance, bits):
    expected = None
    monkeypatch.setattr(gaussian, "_PREFIX_BITS", bits)
    expected = discrete_gaussian(variance, 500, seeded(18))
    watched = WatchedNumpy()
    monkeypatch.setattr(gaussian, "np", watched)
    assert (np.asarray(discrete_gaussian(variance, 500, seeded(18))) == expected).all()
    assert watched.seen > 50


# Input and entropy


@pytest.mark.parametrize("variance", [Fraction(0), Fraction(-1, 3)])
def test_a_variance_that_is_not_positive_is_refused(variance):
    with pytest.raises(ConfigurationError, match="above 0"):
        discrete_gaussian(variance, 1)


@pytest.mark.parametrize("variance", [Fraction(MAX_VARIANCE), Fraction(2**300, 3)])
def test_a_variance_that_is_too_large_is_refused(variance):
    with pytest.raises(ConfigurationError, match=r"2\^100"):
        discrete_gaussian(variance, 1)


def test_a_float_is_no_variance():
    with pytest.raises(AttributeError):
        discrete_gaussian(2.0, 1)


def test_whole_numbers_of_numpy_do_not_overflow():
    assert (
        discrete_gaussian(np.int64(2**62), 20, seeded(19))
        == discrete_gaussian(Fraction(2**62), 20, seeded(19))
    ).all()


def test_so_many_as_were_asked_for():
    for count in (0, 1, 2, 33, 70_001):
        draws = discrete_gaussian(Fraction(7, 3), count, seeded(20))
        assert draws.shape == (count,)
        assert draws.dtype == np.int64
    with pytest.raises(ValueError, match="-1"):
        discrete_gaussian(Fraction(1), -1)


def test_nothing_is_drawn_for_nothing():
    assert discrete_gaussian(Fraction(1), 0, lambda size: pytest.fail("entropy was asked for")).size == 0


def test_a_tiny_variance_gives_zeros():
    assert not discrete_gaussian(Fraction(1, 10**40), 1000, seeded(21)).any()


@pytest.mark.parametrize("after", [0, 1, 2, 5, 20])
@pytest.mark.parametrize("given", [lambda right: right[:-1], lambda right: b"", lambda right: right + b"\0"])
def test_entropy_of_another_length_is_refused(after, given):
    entropy, calls = seeded(22), itertools.count()

    def faulty(size):
        return entropy(size) if next(calls) < after else given(entropy(size))

    with pytest.raises(LocalEnvironmentError, match="instead of"):
        discrete_gaussian(Fraction(7, 3), 100, faulty)


def test_entropy_that_runs_out_is_not_asked_again():
    left = [seeded(23)] * 10

    def entropy(size):
        return left.pop()(size)

    with pytest.raises(IndexError):
        discrete_gaussian(Fraction(1000), 10_000, entropy)


@pytest.mark.parametrize(
    "pattern", [b"\0", b"\xff", b"\x55", b"\x80", b"\0\xff", b"\x01\x02\x03", bytes(range(256))]
)
def test_entropy_that_repeats_itself_never_makes_it_loop(monkeypatch, pattern):
    """It raises, or by luck comes to an end; what it must not do is to wait for another coin for ever."""
    monkeypatch.setattr(gaussian, "_ROUNDS", 100)  # for the same in less time

    def entropy(size):
        return (pattern * (size // len(pattern) + 1))[:size]

    with contextlib.suppress(LocalEnvironmentError):
        discrete_gaussian(Fraction(7, 3), 10, entropy)


def test_entropy_of_zeros_is_found_out():
    with pytest.raises(LocalEnvironmentError, match="repeats itself"):
        discrete_gaussian(Fraction(7, 3), 10, bytes)


@pytest.mark.parametrize("bound", [3, 1000, 10**9, 2**61 + 1])
def test_words_that_are_refused_again_and_again_are_found_out(bound):
    with pytest.raises(LocalEnvironmentError, match="repeats itself"):
        _Coins(lambda size: b"\xff" * size).below(bound, 5)


def test_candidates_that_are_refused_again_and_again_are_found_out(monkeypatch):
    monkeypatch.setattr(gaussian, "_is_kept", lambda values, exponent, coins: np.zeros(values.size, np.bool_))
    with pytest.raises(LocalEnvironmentError, match="repeats itself"):
        discrete_gaussian(Fraction(7, 3), 10, seeded(24))


def test_large_coins_refuse_entropy_that_repeats_itself():
    with pytest.raises(LocalEnvironmentError, match="repeats itself"):
        _Coins(lambda size: b"\xff" * size)._is_below(1, 2**100 - 3)
    with pytest.raises(LocalEnvironmentError, match="repeats itself"):
        _Coins(lambda size: b"\0" * size).exp_minus_rest(1, 2**100 - 3)
