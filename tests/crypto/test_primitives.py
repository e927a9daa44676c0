"""Keys, sealing and expansion: published vectors, properties, adversarial inputs."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secprune.crypto.entropy import random_bytes
from secprune.crypto.expand import expand, expansion_key
from secprune.crypto.identity import SECRET_BYTES, Identity, parse_sealing_key, signature_is_valid
from secprune.crypto.seal import ChunkCipher, Context, open_secret, seal_secret
from secprune.errors import ConfigurationError, RemoteMisbehaviourError

CONTEXT = Context("sha256:" + "0" * 64, 0, "report", "clinic-0", "adder-0", "clinic-0")


def test_expand_is_aes_256_ctr_from_counter_zero():
    """NIST SP 800-38A F.5.5 (CTR-AES256), whose counter starts at f0f1...ff: seek there by word offset."""
    key = bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
    plain = bytes.fromhex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51")
    cipher = bytes.fromhex("601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5")
    counter = int.from_bytes(bytes(range(0xF0, 0x100)), "big")
    words = expand(key, first_word=2 * counter, words=4)
    assert bytes(a ^ b for a, b in zip(words.astype("<u8").tobytes(), plain, strict=True)) == cipher


@given(first=st.integers(0, 200), words=st.integers(1, 50))
def test_expand_is_seekable(first, words):
    whole = expand(b"k" * 32, first_word=0, words=256)
    np.testing.assert_array_equal(
        expand(b"k" * 32, first_word=first, words=words), whole[first : first + words]
    )


def test_expansion_key_is_hkdf_sha256():
    """Against HKDF written out from RFC 5869 with hmac."""
    seed, context = bytes(range(32)), b"context"
    extracted = hmac.new(bytes(32), seed, hashlib.sha256).digest()
    expanded = hmac.new(extracted, b"secprune/expand/v1\0" + context + b"\x01", hashlib.sha256).digest()
    assert expansion_key(seed, context) == expanded
    with pytest.raises(ValueError, match="32 bytes"):
        expansion_key(b"short", context)


def test_context_encoding_is_injective():
    variants = [
        CONTEXT,
        replace(CONTEXT, sender="clinic", receiver="-0adder-0"),
        replace(CONTEXT, round=1),
        replace(CONTEXT, purpose="aggregate"),
        replace(CONTEXT, subject="clinic-1"),
    ]
    encoded = {v.encode(*extra) for v in variants for extra in ((), (0,), (0, 1), (1, 0))}
    assert len(encoded) == len(variants) * 4


@pytest.fixture(scope="module")
def identities():
    return Identity.generate(random_bytes), Identity.generate(random_bytes)


def test_a_sealed_secret_opens_only_for_its_receiver_and_context(identities):
    receiver, other = identities
    sealed = seal_secret(b"s" * 32, receiver.sealing_key, CONTEXT)
    assert open_secret(sealed, receiver.opening, CONTEXT) == b"s" * 32
    with pytest.raises(RemoteMisbehaviourError) as caught:
        open_secret(sealed, other.opening, CONTEXT)
    assert caught.value.party == "clinic-0"
    for field, value in (
        ("task_id", "x"),
        ("round", 1),
        ("purpose", "y"),
        ("sender", "thief"),
        ("subject", "z"),
    ):
        with pytest.raises(RemoteMisbehaviourError):
            open_secret(sealed, receiver.opening, replace(CONTEXT, **{field: value}))


def test_sealing_uses_the_hybrid_post_quantum_kem(identities):
    receiver, _ = identities
    assert len(receiver.sealing_key) == 1184 + 32  # ML-KEM-768 public key, X25519 public key
    sealed = seal_secret(b"s" * 32, receiver.sealing_key, CONTEXT)
    assert len(sealed) == 1088 + 32 + 32 + 16  # ML-KEM ciphertext, X25519 share, secret, tag


@given(position=st.integers(0, 1167), bit=st.integers(0, 7))
def test_an_altered_sealed_secret_never_opens(identities, position, bit):
    receiver, _ = identities
    sealed = bytearray(seal_secret(b"s" * 32, receiver.sealing_key, CONTEXT))
    sealed[position] ^= 1 << bit
    with pytest.raises(RemoteMisbehaviourError):
        open_secret(bytes(sealed), receiver.opening, CONTEXT)


@given(st.binary(max_size=1300))
def test_junk_never_opens_and_never_gives_a_foreign_exception(identities, junk):
    with pytest.raises(RemoteMisbehaviourError):
        open_secret(junk, identities[0].opening, CONTEXT)


def test_chunks_are_bound_to_index_count_and_context():
    cipher = ChunkCipher(b"k" * 32, CONTEXT, count=3)
    data = cipher.seal(1, b"words")
    assert cipher.open(1, data) == b"words"
    assert cipher.seal(1, b"words") == data  # a retry sends the same bytes
    for wrong in (
        lambda: cipher.open(0, data),
        lambda: cipher.open(1, data[:-1]),
        lambda: cipher.open(1, b""),
        lambda: ChunkCipher(b"k" * 32, CONTEXT, count=2).open(1, data),
        lambda: ChunkCipher(b"k" * 32, replace(CONTEXT, receiver="adder-1"), count=3).open(1, data),
        lambda: ChunkCipher(b"j" * 32, CONTEXT, count=3).open(1, data),
    ):
        with pytest.raises(RemoteMisbehaviourError):
            wrong()


def test_signatures(identities):
    identity, other = identities
    signature = identity.sign(b"message")
    assert signature_is_valid(identity.signing_key, b"message", signature)
    assert not signature_is_valid(identity.signing_key, b"massage", signature)
    assert not signature_is_valid(other.signing_key, b"message", signature)
    assert not signature_is_valid(b"not a key", b"message", signature)
    assert not signature_is_valid(identity.signing_key, b"message", b"")


def test_identity_survives_storage_and_is_never_printed():
    identity = Identity(bytes(range(SECRET_BYTES)))
    assert Identity(identity.secret).sealing_key == identity.sealing_key
    assert identity.secret.hex() not in repr(identity)
    assert repr(identity.secret)[2:-1] not in repr(identity)
    with pytest.raises(ConfigurationError):
        Identity(b"short")


@pytest.mark.parametrize("raw", [b"", bytes(1216), bytes(1215), b"\xff" * 1216])
def test_a_malformed_sealing_key_is_a_configuration_error(raw):
    try:
        parse_sealing_key(raw)
    except ConfigurationError:
        return
    assert len(raw) == 1216  # right length and accepted: sealing to it must work or be refused cleanly
    with contextlib.suppress(ConfigurationError, ValueError):
        seal_secret(b"s" * 32, raw, CONTEXT)
