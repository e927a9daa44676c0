"""Noise: what SEAL and the flooding really add is what the model in `parameters` says, and tells no message.

The noise of a ciphertext is measured exactly: with the key at hand it is c0 + c1 s, taken around 0.
"""

from __future__ import annotations

import functools
import hashlib
import math
from concurrent.futures import ThreadPoolExecutor

import msgspec
import numpy as np
import pytest

seal = pytest.importorskip("tenseal.sealapi", reason="needs tenseal (pip install 'secprune[he]')")
import tenseal.sealapi.util as seal_util  # noqa: E402

from secprune.crypto.bfv import ring  # noqa: E402
from secprune.crypto.bfv.decoding import decode  # noqa: E402
from secprune.crypto.bfv.keys import Flooding, KeyShare, common_polynomial, join  # noqa: E402
from secprune.crypto.bfv.parameters import choose_parameters  # noqa: E402
from secprune.crypto.bfv.scheme import Decryptor, Encryptor  # noqa: E402
from secprune.crypto.bfv.seal_backend import KeyProduct, ZeroEncryptor  # noqa: E402
from secprune.crypto.expand import Keystream, expansion_key  # noqa: E402

CONTEXT = b"test_bfv_noise"
WEIGHTS = 124_000_000
CASES = [(8, 1, False), (64, 1, False), (8, 1, True), (8, 3, True)]
COEFFICIENTS = 100_000


@functools.cache
def setting(clients, holders, blind):
    p = choose_parameters(clients=clients, key_holders=holders, blind=blind, weights=WEIGHTS)
    shares = [KeyShare.derive(hashlib.sha256(b"%d" % j).digest(), p) for j in range(holders)]
    return p, shares, join([share.public_half(p, CONTEXT) for share in shares], p)


@functools.cache
def zeros(case):
    """Enough encryptions of zero, (count, 2, primes, N), a multiple of the clients."""
    p, _, joint = setting(*case)
    encrypt = ZeroEncryptor(p, ([half[0] for half in joint], common_polynomial(p, CONTEXT)))
    count = -(-COEFFICIENTS // p.degree)
    return encrypt(-(-count // p.clients) * p.clients)


def centred(residues, q):
    """Integers around 0."""
    signed = residues.astype(np.int64)
    return np.where(signed > q // 2, signed - q, signed)


def noise_of(ciphertexts, case):
    """c0 + c1 s around 0, (count, N); the same integers modulo each prime."""
    p, shares, _ = setting(*case)
    phase = [ciphertexts[:, 0, place] for place in range(len(p.primes))]
    for share in shares:
        product = KeyProduct(p, share.secret)(np.ascontiguousarray(ciphertexts[:, 1]))
        phase = [ring.add(phase[i], product[:, i], q) for i, q in enumerate(p.primes)]
    found = [centred(plane, q) for plane, q in zip(phase, p.primes, strict=True)]
    assert all(np.array_equal(plane, found[0]) for plane in found), "one integer in all residues"
    return found[0]


def summed(ciphertexts, case):
    """Sums over the clients: (count / n, 2, primes, N)."""
    p, *_ = setting(*case)
    by_client = ciphertexts.reshape(-1, p.clients, *ciphertexts.shape[1:])
    total = by_client[:, 0].copy()
    for client in range(1, p.clients):
        for i, q in enumerate(p.primes):
            total[:, :, i] = ring.add(total[:, :, i], by_client[:, client, :, i], q)
    return total


def fits(noise, deviation, tolerance):
    """Mean about 0, the deviation that the model gives, no heavier a tail than a Gaussian's."""
    sigma, flat = float(noise.std()), noise.reshape(-1).astype(np.float64)
    assert abs(sigma / deviation - 1) < tolerance
    assert abs(flat.mean()) < 5 * deviation / math.sqrt(flat.size)
    assert 2.5 < float((flat**4).mean()) / sigma**4 < 3.1
    tail = math.sqrt(2 * math.log(2 * flat.size * 10**6))  # exceeded with probability 10^-6 in this sample
    assert np.abs(flat).max() < tail * deviation * (1 + tolerance)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_products_with_the_key_are_negacyclic_convolutions(case):
    """Coefficient k of c1 s is the sum of c1_i s_(k-i), with -1 for what wraps: in Python's integers."""
    p, shares, _ = setting(*case)
    masks = np.ascontiguousarray(zeros(case)[:2, 1])
    products = KeyProduct(p, shares[0].secret)(masks)
    secret = [int(s) for s in shares[0].secret]
    for index, (place, q) in enumerate(zip((0, len(p.primes) - 1), (p.primes[0], p.primes[-1]), strict=True)):
        a = masks[index, place].tolist()
        for k in (0, 1, p.degree // 3, p.degree - 1):
            value = sum(
                a[i] * (secret[k - i] if i <= k else -secret[k - i + p.degree]) for i in range(p.degree)
            )
            assert int(products[index, place, k]) == value % q


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 32, 33])
def test_products_do_not_depend_on_how_many_are_asked_for(count):
    """SEAL takes 16 polynomials at a time, and no fewer than two."""
    p, shares, _ = setting(8, 1, True)
    rng = np.random.default_rng(count)
    masks = np.stack([rng.integers(0, q, (count, p.degree), np.uint64) for q in p.primes], axis=1)
    product = KeyProduct(p, shares[0].secret)
    one_by_one = np.concatenate([product(masks[i : i + 1]) for i in range(count)])
    assert np.array_equal(product(masks), one_by_one)


def test_threads_do_not_disturb_each_other():
    """Each writes and reads its own file in memory: products are right, and no encryption comes twice."""
    p, shares, joint = setting(8, 1, False)
    masks = np.random.default_rng(0).integers(0, p.primes[0], (3, 1, p.degree), np.uint64)
    product = KeyProduct(p, shares[0].secret)
    encrypt = ZeroEncryptor(p, ([half[0] for half in joint], common_polynomial(p, CONTEXT)))
    due = product(masks)

    def work(_):
        right = all(np.array_equal(product(masks), due) for _ in range(5))
        return right, {encrypt(1).tobytes() for _ in range(20)}

    with ThreadPoolExecutor(4) as pool:
        rights, found = zip(*pool.map(work, range(8)), strict=True)
    assert all(rights)
    assert len(set().union(*found)) == 8 * 20


@pytest.mark.parametrize("case", CASES, ids=str)
def test_noise_of_fresh_encryptions(case):
    p, *_ = setting(*case)
    noise = noise_of(zeros(case), case)
    assert noise.size >= COEFFICIENTS
    fits(noise, p.fresh_noise, 0.05 if p.key_holders == 1 else 0.08)
    by_ciphertext = noise.std(axis=1)
    assert by_ciphertext.max() / by_ciphertext.min() < 1.2, "none has much more than the others"
    assert abs(float(np.corrcoef(noise[:-1].reshape(-1), noise[1:].reshape(-1))[0, 1])) < 0.02


@pytest.mark.parametrize("case", CASES, ids=str)
def test_noise_of_a_sum_grows_with_the_root_of_the_clients(case):
    p, *_ = setting(*case)
    total = noise_of(summed(zeros(case), case), case)
    parts = noise_of(zeros(case), case).reshape(-1, p.clients, p.degree)
    assert np.array_equal(total, parts.sum(axis=1)), "noises add"
    assert abs(total.std() / (p.fresh_noise * math.sqrt(p.clients)) - 1) < 0.08
    if not p.blind:
        assert abs(total.std() / p.decoding_noise - 1) < 0.08
        assert np.abs(total).max() < p.scale / 2


@pytest.mark.parametrize("case", CASES[2:], ids=str)
def test_noise_as_it_is_decoded_in_the_blind_form(case):
    """Of whole sums: c0 rounded by each client, products flooded and rounded by each key holder."""
    p, shares, joint = setting(*case)
    q1, encryptor, noises = p.primes[0], Encryptor(p, joint, CONTEXT), []
    for turn in range(3):
        reports = [encryptor.encrypt(np.zeros(p.degree, np.uint64)) for _ in range(p.clients)]
        c0, *masks = (
            functools.reduce(lambda a, b, q=q: ring.add(a, b, q), planes)
            for planes, q in zip(zip(*reports, strict=True), (q1, *p.primes), strict=True)
        )
        floods = [Flooding(bytes([turn, j] * 16), CONTEXT, p) for j in range(p.key_holders)]
        products = [
            Decryptor(p, share).product(masks, flood) for share, flood in zip(shares, floods, strict=True)
        ]
        assert not decode(c0, products, p, words=p.degree).any()
        noises.append(centred(functools.reduce(lambda a, b: ring.add(a, b, q1), [c0, *products]), q1))
    noise = np.stack(noises)
    assert abs(noise.std() / p.decoding_noise - 1) < 0.15
    assert abs(noise.mean()) < 5 * p.decoding_noise / math.sqrt(noise.size)
    assert np.abs(noise).max() < p.scale / 2


@pytest.mark.parametrize("case", CASES, ids=str)
def test_noise_does_not_depend_on_the_message(case, monkeypatch):
    """Over the same encryption of zero c0 differs by exactly scale * m, and c1 not at all."""
    p, _, joint = setting(*case)
    encryptor, fixed = Encryptor(p, joint, CONTEXT), zeros(case)[:2]
    monkeypatch.setattr(encryptor, "_zeros", lambda count: fixed[:count].copy())
    rng = np.random.default_rng(1)
    nothing = encryptor.encrypt(np.zeros(2 * p.degree, np.uint64))
    largest = p.base**p.digits - 1
    for words in (
        rng.integers(0, largest, 2 * p.degree, np.uint64, endpoint=True),
        np.full(2 * p.degree, largest, np.uint64),
    ):
        planes = encryptor.encrypt(words)
        due = [
            (z + p.scale * m) % p.primes[0]
            for z, m in zip(nothing[0].reshape(-1).tolist(), words.tolist(), strict=True)
        ]
        assert planes[0].reshape(-1).tolist() == due
        assert all(np.array_equal(a, b) for a, b in zip(planes[1:], nothing[1:], strict=True))


def flooded(p, seed, context, count):
    """The integers that `Flooding.next` gives, from their residues."""
    q1, q2 = p.primes
    one, two = (plane.reshape(-1).tolist() for plane in Flooding(seed, context, p).next(count))
    lift, whole = pow(q1, -1, q2), q1 * q2
    values = [a + q1 * ((b - a) * lift % q2) for a, b in zip(one, two, strict=True)]
    assert all(a < q1 for a in one)
    assert all(b < q2 for b in two)
    return [value - whole if value > whole // 2 else value for value in values]


@pytest.mark.parametrize("bits", [20, 31, 40, 52, 58, 61, 62, 63, 64])
def test_flooding_is_the_sum_of_four_uniform_integers_less_its_mean(bits):
    p = msgspec.structs.replace(setting(8, 1, True)[0], flood_bits=bits)
    found, seed = flooded(p, b"\x05" * 32, CONTEXT, 2), b"\x05" * 32
    words = np.empty(4 * 2 * p.degree, np.uint64)
    Keystream(expansion_key(seed, b"bfv flooding\0" + CONTEXT), first_word=0).fill(words)
    terms = [[w >> (64 - bits) for w in part.tolist()] for part in words.reshape(4, -1)]
    mean = 4 * (2**bits - 1) // 2
    assert found == [sum(four) - mean for four in zip(*terms, strict=True)]
    assert all(abs(value) <= mean for value in found)
    scaled = np.array([value / 2**bits for value in found])  # of variance 4 / 12
    assert abs(scaled.mean()) < 5 * math.sqrt(1 / 3 / len(found))
    assert abs(scaled.var() * 3 - 1) < 0.05
    assert abs((scaled**4).mean() / scaled.var() ** 2 - 2.7) < 0.1, "kurtosis 3 - 1.2 / 4"
    assert max(scaled) > 1.4
    assert min(scaled) < -1.4


def test_flooding_is_repeatable_and_bound_to_its_context():
    p = setting(8, 1, True)[0]

    def drawn(seed=bytes(32), context=b"a"):
        return np.stack(Flooding(seed, context, p).next(2)).tobytes()

    assert drawn() == drawn()
    assert len({drawn(), drawn(context=b"b"), drawn(context=b""), drawn(seed=b"\1" * 32)}) == 4
    stream = Flooding(bytes(32), b"a", p)
    assert stream.next(1)[0].tobytes() != stream.next(1)[0].tobytes(), "never twice the same noise"


def chi_square(values, expected):
    """Of the counts of values against their probabilities; rare values are one class."""
    n = values.size
    pairs = [(int((values == value).sum()), n * share) for value, share in expected.items()]
    rare = [pair for pair in pairs if pair[1] < 10]
    classes = [pair for pair in pairs if pair[1] >= 10] + [tuple(map(sum, zip(*rare, strict=True)))] * bool(
        rare
    )
    assert sum(seen for seen, _ in pairs) == n, "nothing else"
    return sum((seen - due) ** 2 / due for seen, due in classes), len(classes) - 1


def test_key_shares_are_ternary_with_centred_binomial_errors():
    """Chi-square tests with fixed seeds, at 6 standard deviations of the statistic."""
    p = setting(8, 1, True)[0]
    shares = [KeyShare.derive(hashlib.sha256(b"chi%d" % i).digest(), p) for i in range(40)]
    secrets = np.concatenate([share.secret for share in shares])
    errors = np.concatenate([share.error for share in shares])
    assert secrets.shape == errors.shape == (40 * p.degree,)
    binomial = {k: math.comb(42, 21 + k) / 2**42 for k in range(-21, 22)}
    assert sum(k * k * share for k, share in binomial.items()) == pytest.approx(10.5)
    for values, expected in ((secrets, dict.fromkeys((-1, 0, 1), 1 / 3)), (errors, binomial)):
        statistic, freedom = chi_square(values, expected)
        assert abs(statistic - freedom) < 6 * math.sqrt(2 * freedom)
    assert abs(errors.var() / 10.5 - 1) < 0.01
    assert abs(np.corrcoef(secrets, errors)[0, 1]) < 0.01


@pytest.mark.parametrize("case", CASES, ids=str)
def test_public_halves_are_made_of_the_common_polynomial_secret_and_error(case):
    """b_j + a s_j is -e_j: small integers, checked in the coefficient domain through SEAL's own tables."""
    p, shares, joint = setting(*case)
    commons = common_polynomial(p, CONTEXT)
    total_error = sum(share.error.astype(np.int64) for share in shares)
    for a, b, q in zip(commons, joint, p.all_primes, strict=True):
        assert int(a.max()) < q
        assert a.max() > 0.99 * q
        assert abs(float(a.mean()) / q - 0.5) < 0.05
        tables = seal_util.NTTTables(p.degree.bit_length() - 1, seal.Modulus(q))
        total = sum(share.secret.astype(np.int64) for share in shares)
        secret = seal_util.ntt_negacyclic_harvey((total % q).astype(np.uint64).tolist(), tables)
        sums = [(int(x) * y + int(z)) % q for x, y, z in zip(a, secret, b[0], strict=True)]
        back = np.array(seal_util.inverse_ntt_negacyclic_harvey(sums, tables), np.uint64)
        assert np.array_equal(centred(back, q), -total_error)
