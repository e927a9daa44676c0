"""The wire form: what it carries comes back, bit for bit as documented, and nothing else is let in.

Foreign bytes give either arrays of the due shape in range or a refusal that names the sender, before SEAL is
given anything.
"""

from __future__ import annotations

import importlib.util
import itertools
import random
import struct
import subprocess
import sys

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secprune.crypto.bfv.parameters import choose_parameters
from secprune.crypto.bfv.wire import _pack, _unpack, parse, planes_of, serialise, wire_size
from secprune.errors import RemoteMisbehaviourError

SIMPLE = choose_parameters(clients=8, key_holders=1, blind=False, weights=10**6)
BLIND = choose_parameters(clients=8, key_holders=2, blind=True, weights=124_000_000)
FORMS = ("ciphertexts", "masks", "products", "key share")
HEADER = 44


def planes(form, p, count, seed, *, edges=True):
    rng = np.random.default_rng(seed)
    found = []
    for q in planes_of(form, p):
        plane = rng.integers(0, q, (count, p.degree), np.uint64)
        if edges:
            extreme = rng.choice(np.array([0, 1, q - 1], np.uint64), plane.shape)
            plane = np.where(rng.random(plane.shape) < 0.3, extreme, plane)
        found.append(plane)
    return found


def oracle(values, bits):
    """Bit by bit: value j of group g in the words w * groups + g."""
    groups = len(values) // 64
    words = [0] * (groups * bits)
    for g in range(groups):
        stream = sum(values[j * groups + g] << (j * bits) for j in range(64))
        for w in range(bits):
            words[w * groups + g] = stream >> (64 * w) & (2**64 - 1)
    return words


@given(st.integers(13, 60), st.integers(1, 3), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_packing_is_what_is_documented(bits, groups, seed):
    rng = random.Random(seed)
    values = [rng.choice([0, 1, 2**bits - 1, rng.randrange(2**bits)]) for _ in range(64 * groups)]
    packed = _pack(np.array(values, np.uint64), bits)
    assert packed.tolist() == oracle(values, bits)
    assert _unpack(packed, bits).tolist() == values


@given(st.sampled_from(FORMS), st.booleans(), st.integers(1, 3), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_what_was_sent_comes_back(form, blind, count, seed):
    p = BLIND if blind else SIMPLE
    sent = planes(form, p, count, seed)
    data = serialise(sent, form, p)
    assert len(data) == wire_size(form, p, count)
    back = parse(data, form, p, count=count, sender="client-1")
    assert len(back) == len(sent)
    assert all(np.array_equal(a, b) and b.dtype == np.uint64 for a, b in zip(sent, back, strict=True))
    assert serialise(back, form, p) == data


@pytest.mark.parametrize("p", [SIMPLE, BLIND], ids=["simple", "blind"])
def test_the_header_and_the_planes_are_where_the_documentation_says(p):
    first, masks = p.primes[0], p.primes
    due = {
        "ciphertexts": (1, 2, (first, *masks)),
        "masks": (2, 1, masks),
        "products": (3, 1, (first,)),
        "key share": (4, 1, p.all_primes),
    }
    for form, (number, size, primes) in due.items():
        sent = planes(form, p, 2, number)
        data = serialise(sent, form, p)
        header = b"SPBF" + bytes([1, number]) + size.to_bytes(2, "little")
        assert data[:HEADER] == header + bytes.fromhex(p.id[len("sha256:") :]) + (2).to_bytes(4, "little")
        assert planes_of(form, p) == primes
        body = b"".join(
            b"".join(struct.pack("<Q", word) for word in oracle(plane.reshape(-1).tolist(), q.bit_length()))
            for plane, q in zip(sent, primes, strict=True)
        )
        assert data[HEADER:] == body
    bits = sum(q.bit_length() for q in due["ciphertexts"][2])
    assert bits == sum(p.wire_bits)
    assert wire_size("ciphertexts", p, 3) == HEADER + 3 * p.degree * bits // 8


def test_it_is_as_small_as_its_coefficients():
    weights = 10**7
    count = -(-weights // (SIMPLE.digits * SIMPLE.degree))
    assert wire_size("ciphertexts", SIMPLE, count) * 8 / weights < SIMPLE.bits_per_weight * 1.01


def put(data, offset, piece):
    return data[:offset] + piece + data[offset + len(piece) :]


def with_coefficient(data, plane, index, value, p, form, count):
    """These bytes with one coefficient of one plane replaced, by the documented layout."""
    bits = [q.bit_length() for q in planes_of(form, p)]
    start = HEADER + sum(bits[:plane]) * count * p.degree // 8
    j, g = divmod(index, count * p.degree // 64)
    for bit in range(bits[plane]):
        word, shift = divmod(j * bits[plane] + bit, 64)
        at = start + 8 * (word * (count * p.degree // 64) + g) + shift // 8
        byte = data[at] & ~(1 << shift % 8) | (value >> bit & 1) << shift % 8
        data = put(data, at, bytes([byte]))
    return data


def mutated(rng, kind, blobs, key):
    """A blob with one thing changed, and whether it must be refused."""
    form, p, count = key
    data = blobs[key]
    match kind:
        case "flip in the body":
            at = rng.randrange(HEADER, len(data))
            return put(data, at, bytes([data[at] ^ 1 << rng.randrange(8)])), False
        case "flip in the header":
            at = rng.randrange(HEADER)
            return put(data, at, bytes([data[at] ^ 1 << rng.randrange(8)])), True
        case "truncate":
            cut = rng.choice(
                [0, 1, HEADER - 1, HEADER, len(data) - 8, len(data) - 1, rng.randrange(len(data))]
            )
            return data[:cut], True
        case "extend":
            return data + rng.randbytes(rng.choice([1, 8, 64, len(data)])), True
        case "shift":
            return data[1:] + data[:1], True
        case "size field":
            wrong = rng.choice([s for s in (0, 1, 2, 3, 16, 2**16 - 1) if s != data[6]])
            return put(data, 6, wrong.to_bytes(2, "little")), True
        case "count":
            wrong = rng.choice([c for c in (0, 1, 2, 3, 2**31, 2**32 - 1) if c != count])
            return put(data, 40, wrong.to_bytes(4, "little")), True
        case "version or form":
            at = rng.choice([4, 5])
            return put(data, at, bytes([rng.choice([b for b in range(8) if b != data[at]])])), True
        case "other parameters":
            return put(data, 8, rng.choice([bytes(32), rng.randbytes(32)])), True
        case "too large a coefficient":
            primes = planes_of(form, p)
            plane = rng.choice(range(len(primes)))
            q = primes[plane]
            value = rng.choice([q, q + 1, 2 ** q.bit_length() - 1, rng.randrange(q, 2 ** q.bit_length())])
            index = rng.choice([0, count * p.degree - 1, rng.randrange(count * p.degree)])
            return with_coefficient(data, plane, index, value, p, form, count), True
        case "largest coefficient":
            primes = planes_of(form, p)
            plane = rng.choice(range(len(primes)))
            index = rng.randrange(count * p.degree)
            return with_coefficient(data, plane, index, primes[plane] - 1, p, form, count), False
        case "other blob":
            return blobs[rng.choice([other for other in blobs if other != key])], True
        case "splice":
            other = blobs[rng.choice(list(blobs))]
            start, size = rng.randrange(len(data)), rng.randrange(1, 200)
            return (data[:start] + other[start : start + size] + data[start + size :])[: len(data)], None
        case "random body":
            return data[:HEADER] + rng.randbytes(len(data) - HEADER), None
    raise AssertionError(kind)


KINDS = (
    "flip in the body",
    "flip in the header",
    "truncate",
    "extend",
    "shift",
    "size field",
    "count",
    "version or form",
    "other parameters",
    "too large a coefficient",
    "largest coefficient",
    "other blob",
    "splice",
    "random body",
)


def parsed(data, form, p, count):
    """What it holds, or who is blamed; any other exception goes on to the test."""
    try:
        return parse(data, form, p, count=count, sender="client-7"), None
    except RemoteMisbehaviourError as error:
        return None, error.party


def created(*_args):
    raise AssertionError("SEAL was given something")


def test_ten_thousand_mutations_of_real_blobs(monkeypatch):
    """Each is refused in the sender's name, or is the canonical form of coefficients in range."""
    if importlib.util.find_spec("tenseal") is not None:
        import tenseal.sealapi as seal

        for name in ("Ciphertext", "Plaintext", "PublicKey", "SecretKey"):
            monkeypatch.setattr(seal, name, created)
    blobs = {
        (form, p, count): serialise(planes(form, p, count, 1, edges=False), form, p)
        for form, p, count in itertools.product(FORMS, (SIMPLE, BLIND), (1, 2))
    }
    rng, outcomes = random.Random(20260101), {kind: [0, 0] for kind in KINDS}
    for turn in range(10_000):
        kind, key = KINDS[turn % len(KINDS)], rng.choice(list(blobs))
        form, p, count = key
        data, refused = mutated(rng, kind, blobs, key)
        found, blamed = parsed(data, form, p, count)
        if blamed is not None:
            assert blamed == "client-7"
            assert refused is not False or kind == "flip in the body"  # a flip may leave the range
            outcomes[kind][0] += 1
            continue
        assert not refused, kind
        outcomes[kind][1] += 1
        assert [plane.shape for plane in found] == [(count, p.degree)] * len(planes_of(form, p))
        assert all(int(plane.max()) < q for plane, q in zip(found, planes_of(form, p), strict=True))
        assert serialise(found, form, p) == data
    assert outcomes["flip in the body"][1] > 0
    assert outcomes["splice"][0] > 0
    assert outcomes["splice"][1] > 0
    assert outcomes["largest coefficient"][0] == 0


@pytest.mark.parametrize("form", FORMS)
def test_a_refusal_says_what_is_wrong_and_no_content(form):
    p = BLIND
    data = serialise(planes(form, p, 1, 0), form, p)
    last = len(planes_of(form, p)) - 1
    too_large = with_coefficient(data, last, 77, planes_of(form, p)[last], p, form, 1)
    cases = {
        f"{len(data) - 1} bytes of {form}": data[:-1],
        "not in the form": put(data, 6, b"\x03\x00"),
        "other parameters": serialise(planes(form, p, 1, 0), form, msgspec.structs.replace(p, clients=9)),
        f"2 {form} came where 1": put(data, 40, b"\x02"),
        "not below its prime": too_large,
    }
    for text, bad in cases.items():
        with pytest.raises(RemoteMisbehaviourError, match=text) as caught:
            parse(bad, form, p, count=1, sender="site-b")
        assert caught.value.party == "site-b"
        assert str(planes_of(form, p)[last]) not in str(caught.value)


def test_only_clients_and_key_holders_need_tenseal():
    code = (
        "import sys\n"
        "import secprune.crypto.bfv.wire, secprune.crypto.bfv.ring\n"
        "import secprune.crypto.bfv.hashing, secprune.crypto.bfv.parameters, secprune.crypto.bfv.decoding\n"
        "assert not [name for name in sys.modules if name.startswith(('tenseal', '_sealapi', 'torch'))]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
