"""The scheme: sums are exact, stock SEAL decrypts the same, and what is not an honest sum is noticed."""

from __future__ import annotations

import functools
import hashlib
import struct

import numpy as np
import pytest

seal = pytest.importorskip("tenseal.sealapi", reason="needs tenseal (pip install 'secprune[he]')")
import tenseal.sealapi.util as seal_util  # noqa: E402

from secprune.crypto.bfv import ring  # noqa: E402
from secprune.crypto.bfv.decoding import ciphertexts_for, decode  # noqa: E402
from secprune.crypto.bfv.keys import Flooding, KeyShare, common_polynomial, join  # noqa: E402
from secprune.crypto.bfv.parameters import choose_parameters  # noqa: E402
from secprune.crypto.bfv.scheme import Decryptor, Encryptor, self_test  # noqa: E402
from secprune.crypto.bfv.seal_backend import KeyProduct, ZeroEncryptor  # noqa: E402
from secprune.errors import LocalEnvironmentError, RemoteMisbehaviourError  # noqa: E402
from secprune.packing import pack, unpack  # noqa: E402

CONTEXT = b"test_bfv_scheme"
WEIGHTS = 124_000_000
MODES = [(1, False), (1, True), (2, True), (3, True)]
FILLS = ("random", "ones", "zeros")


class Party:
    """All parties of a round at once: key holders, and an encryptor for the clients."""

    def __init__(self, clients, holders, blind, seed=b"seed", context=CONTEXT):
        self.p = choose_parameters(clients=clients, key_holders=holders, blind=blind, weights=WEIGHTS)
        seeds = [hashlib.sha256(seed + b"%d" % j).digest() for j in range(holders)]
        self.shares = [KeyShare.derive(one, self.p) for one in seeds]
        self.joint = join([share.public_half(self.p, context) for share in self.shares], self.p)
        self.encryptor = Encryptor(self.p, self.joint, context)

    def total(self, reports):
        """The aggregator's sum, plane by plane."""
        primes = (self.p.primes[0], *self.p.primes)
        sums = [plane.copy() for plane in reports[0]]
        for report in reports[1:]:
            for plane, one, q in zip(sums, report, primes, strict=True):
                ring.add(plane, one, q, out=plane)
        return sums

    def product(self, j, masks, seed=b"\x09" * 32):
        flooding = Flooding(seed, b"%d" % j, self.p) if self.p.blind else None
        return Decryptor(self.p, self.shares[j]).product(masks, flooding)

    def products(self, masks):
        return [self.product(j, masks) for j in range(len(self.shares))]


@functools.cache
def party(*args, **options):
    return Party(*args, **options)


def masks_of(p, fill, groups, columns):
    """Pruning masks of all clients, (n, rows, columns); the last group of rows is not full."""
    rows, rng = groups * p.digits - 1, np.random.default_rng(p.clients)
    if fill == "random":
        return rng.integers(0, 2, (p.clients, rows, columns), np.uint8)
    return np.full((p.clients, rows, columns), fill == "ones", np.uint8)


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize(("holders", "blind"), MODES, ids=str)
@pytest.mark.parametrize("clients", [3, 8, 64])
def test_sums_are_exact(clients, holders, blind, fill):
    """Through packing and back; with 64 clients in one ciphertext, else in two, the last one padded."""
    ours = party(clients, holders, blind)
    p = ours.p
    columns = 100 if clients == 64 else 100 + p.degree // 10
    masks = masks_of(p, fill, 10, columns)
    packed = [pack(mask, base=p.base, digits=p.digits) for mask in masks]
    words = packed[0].size
    assert ciphertexts_for(words, p) == (1 if clients == 64 else 2)
    c0, *c1 = ours.total([ours.encryptor.encrypt(one) for one in packed])
    sums = decode(c0, ours.products(c1), p, words=words)
    assert sums.tolist() == [
        sum(column) for column in zip(*(w.reshape(-1).tolist() for w in packed), strict=True)
    ]
    counts = unpack(sums.reshape(10, columns), base=p.base, digits=p.digits, rows=masks.shape[1])
    assert np.array_equal(counts, masks.sum(axis=0, dtype=np.uint16))


def in_seal(thing, context, body, path):
    """Let SEAL read a body, in its own uncompressed format (as SEAL's documentation of serialisation has it)."""
    path.write_bytes(struct.pack("<HBBBBHQ", 0xA15E, 16, 4, 3, 0, 0, 16 + len(body)) + body)
    thing.load(context, str(path))
    return thing


def dyn_array(values):
    data = np.ascontiguousarray(values, dtype="<u8").tobytes()
    return struct.pack("<HBBBBHQQ", 0xA15E, 16, 4, 3, 0, 0, 24 + len(data), len(data) // 8) + data


@pytest.mark.parametrize("clients", [3, 8, 64])
def test_stock_seal_decrypts_the_same(clients, tmp_path):
    """A decryptor that knows plaintext modulus, primes and key only, and nothing of our decoding."""
    ours = party(clients, 1, False)
    p, secret = ours.p, ours.shares[0].secret
    rng = np.random.default_rng(clients)
    words = rng.integers(0, p.base**p.digits // clients, (clients, p.degree), np.uint64)
    c0, c1 = ours.total([ours.encryptor.encrypt(one) for one in words])
    expected = [sum(column) for column in zip(*words.tolist(), strict=True)]
    assert decode(c0, ours.products([c1]), p, words=p.degree).tolist() == expected

    settings = seal.EncryptionParameters(seal.SCHEME_TYPE.BFV)
    settings.set_poly_modulus_degree(p.degree)
    settings.set_coeff_modulus([seal.Modulus(q) for q in p.all_primes])
    settings.set_plain_modulus(seal.Modulus((p.primes[0] - 1) // p.scale))
    context = seal.SEALContext(settings, True, seal.SEC_LEVEL_TYPE.TC128)
    assert context.parameters_error_name() == "success"

    transformed = []
    for q in p.all_primes:
        tables = seal_util.NTTTables(p.degree.bit_length() - 1, seal.Modulus(q))
        residues = [int(s) % q for s in secret]
        transformed += seal_util.ntt_negacyclic_harvey(residues, tables)
    key_id = b"".join(struct.pack("<Q", word) for word in context.key_parms_id())
    body = key_id + struct.pack("<Qd", len(transformed), 1.0) + dyn_array(np.array(transformed, np.uint64))
    key = in_seal(seal.SecretKey(), context, body, tmp_path / "key")
    first_id = b"".join(struct.pack("<Q", word) for word in context.first_parms_id())
    body = (
        first_id + struct.pack("<?QQQdQ", False, 2, p.degree, 1, 1.0, 1) + dyn_array(np.stack([c0[0], c1[0]]))
    )
    ciphertext = in_seal(seal.Ciphertext(), context, body, tmp_path / "ciphertext")
    decryptor = seal.Decryptor(context, key)
    plain = seal.Plaintext()
    decryptor.decrypt(ciphertext, plain)
    found = [plain[i] if hasattr(plain, "__getitem__") else plain.data(i) for i in range(plain.coeff_count())]
    assert found + [0] * (p.degree - len(found)) == expected
    assert decryptor.invariant_noise_budget(ciphertext) > 0


@pytest.fixture(params=[(8, 1, False), (8, 1, True), (8, 3, True)], ids=str)
def honest(request):
    """A party, c0 and c1 of an honest sum of random words of two ciphertexts, its products, and the sum."""
    ours = party(*request.param)
    p = ours.p
    rng = np.random.default_rng(7)
    words = rng.integers(0, p.base ** (p.digits - 1), (p.clients, p.degree + 100), np.uint64)
    c0, *c1 = ours.total([ours.encryptor.encrypt(one) for one in words])
    return ours, c0, c1, ours.products(c1), words.sum(axis=0, dtype=np.uint64)


def refused(ours, c0, products, words):
    with pytest.raises(RemoteMisbehaviourError, match="not one of honest") as caught:
        decode(c0, products, ours.p, words=words)
    return (
        caught.value.party == "one of the counted clients, the aggregator or a key holder"
        and caught.value.hint
    )


def test_without_a_key_holder_nothing_is_decoded(honest):
    ours, c0, _, products, sums = honest
    assert np.array_equal(decode(c0, products, ours.p, words=sums.size), sums)
    for j in range(len(products)):
        assert refused(ours, c0, products[:j] + products[j + 1 :], sums.size)
        assert refused(ours, c0, [*products, products[j]], sums.size)


def test_another_key_share_decodes_nothing(honest):
    ours, c0, c1, products, sums = honest
    flooding = Flooding(bytes(32), b"", ours.p) if ours.p.blind else None
    wrong = KeyShare.derive(b"\x77" * 32, ours.p)
    nearly = KeyShare(ours.shares[0].secret.copy(), ours.shares[0].error)
    nearly.secret[17] = (nearly.secret[17] + 2) % 3 - 1  # one coefficient of a right share
    for share in (wrong, nearly):
        product = Decryptor(ours.p, share).product(c1, flooding)
        assert refused(ours, c0, [product, *products[1:]], sums.size)


def test_a_client_under_another_joint_key_spoils_the_sum(honest):
    ours, c0, c1, _, sums = honest
    shape = (ours.p.clients, ours.p.key_holders, ours.p.blind)
    other = party(*shape, seed=b"other")
    report = other.encryptor.encrypt(np.zeros(sums.size, np.uint64))
    sum0, *sum1 = ours.total([[c0, *c1], report])
    assert refused(ours, sum0, ours.products(sum1), sums.size)
    assert refused(ours, report[0], ours.products(report[1:]), sums.size)
    assert not decode(report[0], other.products(report[1:]), ours.p, words=sums.size).any()


def test_a_flipped_coefficient_of_c1_spoils_the_sum(honest):
    ours, c0, c1, _, sums = honest
    for place, q in enumerate(ours.p.primes):
        spoilt = [plane.copy() for plane in c1]
        spoilt[place][0, 3] = (int(spoilt[place][0, 3]) + q // 3) % q
        assert refused(ours, c0, ours.products(spoilt), sums.size)


def test_a_changed_message_is_noticed_where_the_counters_or_the_padding_show_it(honest):
    """One coefficient moves no mean of the noise: within its range, another message is another message."""
    ours, c0, _, products, sums = honest
    p = ours.p

    def with_message(place, message):
        before = int(sums[place[1]]) if place[0] == 0 else 0  # the second ciphertext's words end at 100
        spoilt = c0.copy()
        spoilt[place] = (int(spoilt[place]) + p.scale * (message - before)) % p.primes[0]
        return spoilt

    largest = p.base**p.digits - 1
    assert p.primes[0] // p.scale - 1 > largest, "there is room for a message that is too large"
    for place, message in (((0, 0), largest + 1), ((1, 100), 1), ((1, p.degree - 1), largest)):
        assert refused(ours, with_message(place, message), products, sums.size)
    for message in (0, 1, largest):
        assert int(decode(with_message((0, 0), message), products, p, words=sums.size)[0]) == message


def test_too_much_noise_is_refused_whatever_its_message():
    """A fifth of the scale is the bound; uniform noise, as that of a wrong key, is above it."""
    p = party(64, 1, False).p
    words = np.random.default_rng(0).integers(1, p.base ** (p.digits - 1), (1, p.degree), np.uint64)
    signs = np.where(np.arange(p.degree) % 2 == 0, 1, -1)
    uniform = np.random.default_rng(1).integers(-p.scale // 2 + 1, p.scale // 2, p.degree)
    nothing = np.zeros_like(words)

    def phase(noise):
        return (words * np.uint64(p.scale)).astype(np.int64) + noise.astype(np.int64)

    for noise in (signs * (p.scale * 0.19), signs * (p.scale * 0.02), 0 * signs):
        assert np.array_equal(decode(phase(noise).astype(np.uint64), [nothing], p, words=p.degree), words[0])
    for noise in (signs * (p.scale * 0.21), uniform, signs * (p.scale * 0.4)):
        with pytest.raises(RemoteMisbehaviourError, match="not one of honest"):
            decode(phase(noise).astype(np.uint64), [nothing], p, words=p.degree)


@pytest.mark.parametrize(("holders", "blind"), MODES[1:], ids=str)
def test_products_are_flooded_before_they_are_rounded(holders, blind):
    """c1 s_j + f_j over the integers modulo q, to the nearest multiple of q2: with f_j as `Flooding` draws it."""
    ours = party(8, holders, blind)
    p, (q1, q2) = ours.p, ours.p.primes
    _, *c1 = ours.encryptor.encrypt(np.zeros(p.degree, np.uint64))
    for j, share in enumerate(ours.shares):
        exact = KeyProduct(p, share.secret)(np.stack(c1, axis=1))[0].tolist()
        noise = [plane[0].tolist() for plane in Flooding(b"\x09" * 32, b"%d" % j, p).next(1)]
        one, two = (
            [(a + f) % q for a, f in zip(exact[i], noise[i], strict=True)] for i, q in enumerate((q1, q2))
        )
        values = [a + q1 * ((b - a) * pow(q1, -1, q2) % q2) for a, b in zip(one, two, strict=True)]
        due = [(2 * x + q2) // (2 * q2) % q1 for x in values]
        assert ours.product(j, c1)[0].tolist() == due
        assert ours.product(j, c1, seed=b"\x0a" * 32)[0].tolist() != due


def test_every_decryption_goes_on_in_the_stream_of_its_flooding():
    """The second ciphertext gets other noise than the first, and a retry from the seed the same."""
    ours = party(8, 1, True)
    _, *c1 = ours.encryptor.encrypt(np.zeros(2 * ours.p.degree, np.uint64))
    decryptor, flooding = Decryptor(ours.p, ours.shares[0]), Flooding(bytes(32), b"", ours.p)
    first, second = (decryptor.product([plane[i : i + 1] for plane in c1], flooding) for i in (0, 1))
    same = [np.concatenate([plane[:1], plane[:1]]) for plane in c1]
    one, two = decryptor.product(same, Flooding(bytes(32), b"", ours.p))
    assert not np.array_equal(one, two)
    assert np.array_equal(
        first, decryptor.product([plane[:1] for plane in c1], Flooding(bytes(32), b"", ours.p))
    )
    assert not np.array_equal(
        second, decryptor.product([p[1:] for p in c1], Flooding(bytes(32), b"", ours.p))
    )


@pytest.mark.parametrize("clients", [3, 4, 8, 16, 64, 128, 255])
@pytest.mark.parametrize(("holders", "blind"), MODES, ids=str)
def test_the_self_test_passes(clients, holders, blind):
    """With models of any size; the largest that is asked for here fits everywhere but in one case."""
    for weights in (10**6, WEIGHTS, 7 * 10**9):
        if (clients, holders, weights) != (255, 3, 7 * 10**9):
            self_test(choose_parameters(clients=clients, key_holders=holders, blind=blind, weights=weights))


@pytest.mark.parametrize(("holders", "blind"), MODES, ids=str)
def test_the_self_test_notices_an_unfit_installation(holders, blind, monkeypatch):
    """One that encrypts something else than zero, and one that multiplies by something else."""
    p = party(8, holders, blind).p
    fresh, product = ZeroEncryptor.__call__, KeyProduct.__call__

    def not_zero(self, count):
        found = fresh(self, count)
        found[:, 0, 0, 9] = (found[:, 0, 0, 9] + np.uint64(p.primes[0] // 5)) % np.uint64(p.primes[0])
        return found

    for owner, wrong in (
        (ZeroEncryptor, not_zero),
        (KeyProduct, lambda self, polynomials: np.roll(product(self, polynomials), 1, axis=-1)),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(owner, "__call__", wrong)
            with pytest.raises(LocalEnvironmentError, match="does not decrypt"):
                self_test(p)
        self_test(p)


@pytest.mark.parametrize(("holders", "blind"), MODES, ids=str)
def test_no_ciphertext_comes_twice(holders, blind):
    ours = party(8, holders, blind)
    words = np.arange(ours.p.degree, dtype=np.uint64)
    again = Encryptor(ours.p, ours.joint, CONTEXT)
    reports = [encryptor.encrypt(words) for encryptor in (ours.encryptor, again) for _ in range(5)]
    two = again.encrypt(np.tile(words, 2))
    reports += [[plane[i] for plane in two] for i in (0, 1)]
    for planes in zip(*reports, strict=True):
        assert len({plane.tobytes() for plane in planes}) == len(reports)
        rows = np.stack([plane.reshape(-1) for plane in planes])
        assert (rows[0] != rows[1:]).mean() > 0.99, "not even coefficients agree"


@pytest.mark.parametrize(("holders", "blind"), MODES, ids=str)
def test_no_repr_tells_a_secret(holders, blind):
    ours = party(8, holders, blind)
    share = ours.shares[0]
    flooding = Flooding(b"\x42" * 32, CONTEXT, ours.p)
    secretive = [share, flooding, Decryptor(ours.p, share), KeyProduct(ours.p, share.secret)]
    for thing in secretive:
        assert repr(thing) == str(thing) == f"{type(thing).__name__}(<secret>)"
    assert not any(character.isdigit() for thing in secretive for character in repr(thing))


def test_shares_are_derived_from_seed_and_parameters():
    p, other = party(8, 1, True).p, party(64, 1, True).p
    assert p.degree == other.degree

    def bytes_of(seed, parameters):
        share = KeyShare.derive(seed, parameters)
        return share.secret.tobytes(), share.error.tobytes()

    assert bytes_of(bytes(32), p) == bytes_of(bytes(32), p)
    distinct = [bytes_of(bytes(32), p), bytes_of(b"\1" * 32, p), bytes_of(bytes(32), other)]
    assert len({secret for secret, _ in distinct}) == len({error for _, error in distinct}) == 3
    halves = {
        KeyShare.derive(bytes(32), p).public_half(p, context)[0].tobytes() for context in (b"a", b"b", b"")
    }
    assert len(halves) == 3, "another round, another common polynomial"
    assert len({plane.tobytes() for plane in common_polynomial(p, b"a")}) == len(p.all_primes)


def test_words_of_any_shape():
    ours = party(8, 1, False)
    words = np.arange(6000, dtype=np.uint64).reshape(60, 100)
    c0, c1 = ours.encryptor.encrypt(words)
    assert c0.shape == c1.shape == (2, ours.p.degree)
    assert np.array_equal(decode(c0, ours.products([c1]), ours.p, words=6000), words.reshape(-1))
    assert [ciphertexts_for(n, ours.p) for n in (0, 1, 4096, 4097)] == [0, 1, 1, 2]
