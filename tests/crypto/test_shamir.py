"""Secret sharing: against independent interpolation, exhaustively in a small field, and with liars."""

from __future__ import annotations

import json
import random
import time
from itertools import combinations, product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secprune.crypto import shamir
from secprune.crypto.shamir import PRIME, SHARE_BYTES, WrongShareError, recover, split
from secprune.errors import RemoteMisbehaviourError, TooFewPartiesError

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "shamir.json").read_text())
SECRETS = st.binary(min_size=32, max_size=32)


def entropy_from(seed):
    return random.Random(seed).randbytes


def dealt(secret, threshold, holders, seed=0):
    return dict(enumerate(split(secret, threshold=threshold, holders=holders, entropy=entropy_from(seed))))


def newton(points, x, prime=PRIME):
    """The value at x of the polynomial through these points: divided differences, no code of ours."""
    xs, table = [p for p, _ in points], [y for _, y in points]
    for order in range(1, len(points)):
        for i in range(len(points) - 1, order - 1, -1):
            table[i] = (table[i] - table[i - 1]) * pow(xs[i] - xs[i - order], -1, prime) % prime
    value = 0
    for i in range(len(points) - 1, -1, -1):
        value = (value * (x - xs[i]) + table[i]) % prime
    return value


def points_of(shares):
    return [(index + 1, int.from_bytes(share, "big")) for index, share in shares.items()]


def as_share(value):
    return value.to_bytes(SHARE_BYTES, "big")


@st.composite
def dealings(draw, spare=0):
    holders = draw(st.integers(2 + spare, 12))
    threshold = draw(st.integers(2, holders - spare))
    return draw(SECRETS), threshold, holders, draw(st.integers(0, 2**32))


def is_prime(n):
    """Miller-Rabin with 40 random bases."""
    odd, twos = n - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    return all(
        (x := pow(base, odd, n)) in {1, n - 1} or any(pow(x, 2**i, n) == n - 1 for i in range(1, twos))
        for base in (random.Random(n).randrange(2, n - 1) for _ in range(40))
    )


def test_the_field_is_that_of_the_smallest_prime_above_two_to_the_256():
    def divisible(n):
        return any(n % d == 0 for d in range(2, 1000))

    assert is_prime(PRIME)
    assert all(divisible(2**256 + i) or not is_prime(2**256 + i) for i in range(1, 297))


@given(dealings(), st.data())
def test_any_threshold_of_the_holders_recover(dealing, data):
    secret, threshold, holders, _ = dealing
    shares = dealt(*dealing)
    some = data.draw(st.lists(st.sampled_from(range(holders)), min_size=threshold, unique=True))
    assert recover({i: shares[i] for i in some}, threshold=threshold, holders=holders) == secret


@given(dealings())
def test_shares_lie_on_one_polynomial_through_the_secret(dealing):
    """By Newton's interpolation, and the coefficients are the bytes that were drawn."""
    secret, threshold, _, seed = dealing
    points = points_of(dealt(*dealing))
    draw = entropy_from(seed)
    coefficients = [int.from_bytes(secret, "big")]
    coefficients += [int.from_bytes(draw(64), "big") % PRIME for _ in range(threshold - 1)]
    assert newton(points[:threshold], 0) == newton(points[-threshold:], 0) == coefficients[0]
    assert all(y == sum(c * x**k for k, c in enumerate(coefficients)) % PRIME for x, y in points)


def test_against_sympy():
    galois = pytest.importorskip("sympy.polys.galoistools")
    domain = pytest.importorskip("sympy").ZZ
    for seed in range(5):
        points = points_of(dealt(bytes([seed] * 32), 4, 7, seed))[2:6]
        total = []
        for x, y in points:
            basis = [domain(1)]
            for other, _ in points:
                if other != x:
                    basis = galois.gf_mul(basis, [domain(1), domain(-other)], PRIME, domain)
            scale = domain(y) * pow(int(galois.gf_eval(basis, domain(x), PRIME, domain)), -1, PRIME)
            total = galois.gf_add(total, galois.gf_mul_ground(basis, scale, PRIME, domain), PRIME, domain)
        assert int(total[-1]).to_bytes(32, "big") == bytes([seed] * 32)


@pytest.mark.parametrize(("prime", "threshold", "holders"), [(5, 2, 4), (7, 3, 5), (11, 3, 4)])
def test_fewer_shares_say_nothing_exhaustively(prime, threshold, holders):
    """Over all coefficients, t - 1 shares take each value once for each secret; t shares (control) do not."""
    by_secret = {
        secret: [
            shamir._values([secret, *rest], holders, prime)
            for rest in product(range(prime), repeat=threshold - 1)
        ]
        for secret in range(prime)
    }

    def seen(secret, who):
        return sorted(tuple(values[i] for i in who) for values in by_secret[secret])

    for who in combinations(range(holders), threshold - 1):
        assert all(seen(s, who) == list(product(range(prime), repeat=threshold - 1)) for s in by_secret)
    for who in combinations(range(holders), threshold):
        assert all(not set(seen(0, who)) & set(seen(s, who)) for s in range(1, prime))


@given(dealings(), SECRETS)
def test_fewer_shares_are_consistent_with_every_secret(dealing, other):
    """For any other secret there is a last share with which these recover it."""
    _, threshold, holders, _ = dealing
    shares = {i: share for i, share in dealt(*dealing).items() if i < threshold - 1}
    points = [(0, int.from_bytes(other, "big")), *points_of(shares)]
    shares[holders - 1] = as_share(newton(points, holders))
    assert recover(shares, threshold=threshold, holders=holders) == other


@given(dealings(spare=1), st.data())
def test_a_wrong_share_among_spare_ones_is_noticed(dealing, data):
    """Whichever it is; with two to spare it is named, and without any (control) it cannot be noticed."""
    secret, threshold, holders, _ = dealing
    shares = dealt(*dealing)
    liar = data.draw(st.integers(0, holders - 1))
    error = data.draw(st.integers(1, PRIME - 1))
    shares[liar] = as_share((int.from_bytes(shares[liar], "big") + error) % PRIME)
    with pytest.raises(WrongShareError, match="fit") as caught:
        recover(shares, threshold=threshold, holders=holders)
    assert caught.value.holder == (liar if holders - threshold >= 2 else None)
    assert caught.value.party == (f"holder {liar}" if holders - threshold >= 2 else "dealer or holders")
    without = {i: share for i, share in shares.items() if i != liar}
    assert recover(without, threshold=threshold, holders=holders) == secret


@given(st.integers(2, 5), st.data())
def test_liars_frame_nobody_unless_they_are_as_many_as_the_spare_shares(threshold, data):
    spare = data.draw(st.integers(3, 5))
    shares = dealt(bytes(32), threshold, threshold + spare)
    liars = data.draw(
        st.lists(st.sampled_from(range(len(shares))), min_size=2, max_size=spare - 1, unique=True)
    )
    for liar in liars:
        value = int.from_bytes(shares[liar], "big") + data.draw(st.integers(1, 9))
        shares[liar] = as_share(value % PRIME)
    with pytest.raises(WrongShareError) as caught:
        recover(shares, threshold=threshold, holders=len(shares))
    assert caught.value.holder is None


def test_as_many_liars_as_spare_shares_can_frame_a_holder():
    """A known limit: holders 2 and 3 move to another polynomial through the shares of 0 and 1, without 4."""
    shares = dealt(bytes(32), 3, 5)
    points = [*points_of({i: shares[i] for i in (0, 1)}), (5, 12345)]
    framed = {i: as_share(newton(points, i + 1)) for i in (2, 3)}
    with pytest.raises(WrongShareError) as caught:
        recover({**shares, **framed, 4: shares[4]}, threshold=3, holders=5)
    assert caught.value.holder == 4


@pytest.mark.parametrize("share", [b"", bytes(32), bytes(34), as_share(PRIME), b"\xff" * SHARE_BYTES])
def test_a_malformed_share_names_its_holder(share):
    shares = dealt(bytes(32), 2, 3)
    with pytest.raises(WrongShareError, match="holder 1") as caught:
        recover({**shares, 1: share}, threshold=2, holders=3)
    assert caught.value.holder == 1
    assert isinstance(caught.value, RemoteMisbehaviourError)
    assert caught.value.hint


@pytest.mark.parametrize("value", [2**256, PRIME - 1])
def test_a_recovered_number_that_is_no_secret_is_refused(value):
    def shares(constant):
        return dict(enumerate(map(as_share, shamir._values([constant, 5], 3, PRIME))))

    assert recover(shares(2**256 - 1), threshold=2, holders=3) == b"\xff" * 32
    with pytest.raises(WrongShareError, match="no 32-byte secret"):
        recover(shares(value), threshold=2, holders=3)


def test_too_few_shares():
    shares = dealt(bytes(32), 3, 4)
    for count in range(3):
        with pytest.raises(TooFewPartiesError, match=f"{count} are here"):
            recover({i: shares[i] for i in range(count)}, threshold=3, holders=4)


@pytest.mark.parametrize("index", [-1, 4, 2**40])
def test_an_index_that_no_holder_has(index):
    shares = dealt(bytes(32), 2, 4)
    with pytest.raises(ValueError, match="0 to 3"):
        recover({**shares, index: shares[0]}, threshold=2, holders=4)


@pytest.mark.parametrize(("threshold", "holders"), [(0, 3), (1, 3), (4, 3), (-1, 3), (2, 2**16), (2, 0)])
def test_numbers_that_make_no_sense(threshold, holders):
    with pytest.raises(ValueError, match="threshold"):
        split(bytes(32), threshold=threshold, holders=holders, entropy=bytes)
    with pytest.raises(ValueError, match="threshold"):
        recover({0: bytes(33)}, threshold=threshold, holders=holders)


def test_a_secret_or_entropy_of_the_wrong_length():
    for size in (0, 31, 33):
        with pytest.raises(ValueError, match=f"not {size}"):
            split(bytes(size), threshold=2, holders=3, entropy=bytes)
    with pytest.raises(ValueError, match="entropy gave 63"):
        split(bytes(32), threshold=2, holders=3, entropy=lambda size: bytes(size - 1))


def test_no_error_says_a_share():
    shares = dealt(b"\x77" * 32, 2, 5)
    shares[3] = as_share(PRIME)
    with pytest.raises(WrongShareError) as caught:
        recover(shares, threshold=2, holders=5)
    assert str(PRIME) not in str(caught.value)


@given(st.lists(st.integers(1, PRIME - 1), min_size=1, max_size=20))
@settings(max_examples=30)
def test_inverses(values):
    assert shamir._inverses(values) == [pow(v, -1, PRIME) for v in values]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["name"])
def test_vectors(vector):
    shares = {int(i): bytes.fromhex(share) for i, share in vector["shares"].items()}
    numbers = {"threshold": vector["threshold"], "holders": vector["holders"]}
    if vector["secret"] is None:
        with pytest.raises(WrongShareError) as caught:
            recover(shares, **numbers)
        assert caught.value.holder == vector["holder"]
        return
    secret, blocks = bytes.fromhex(vector["secret"]), iter(vector["entropy"])
    made = split(secret, **numbers, entropy=lambda _: bytes.fromhex(next(blocks)))
    assert dict(enumerate(made)) == shares
    assert newton(points_of(shares)[-vector["threshold"] :], 0) == int.from_bytes(secret, "big")
    assert recover(shares, **numbers) == secret


def test_a_hundred_secrets_of_a_hundred_holders_take_no_time():
    """Generous bounds: ten times what a slow core needs."""
    start = time.process_time()
    shares = dealt(bytes(32), 67, 100)
    split_s = time.process_time() - start
    start = time.process_time()
    for _ in range(100):
        recover({i: shares[i] for i in range(20, 87)}, threshold=67, holders=100)
    assert split_s < 1
    assert time.process_time() - start < 2
