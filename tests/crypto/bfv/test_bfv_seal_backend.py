"""Around SEAL: processes that fork do not share polynomials, and no input makes SEAL raise an error of its own."""

from __future__ import annotations

import hashlib
import os

import numpy as np
import pytest

from secprune.crypto.bfv import parameters as p

pytest.importorskip("tenseal")

from secprune.crypto.bfv.keys import Flooding, KeyShare, common_polynomial
from secprune.crypto.bfv.scheme import Decryptor
from secprune.crypto.bfv.seal_backend import KeyProduct, ZeroEncryptor

SIMPLE = p.choose_parameters(clients=8, key_holders=1, blind=False, weights=10**6)
BLIND = p.choose_parameters(clients=8, key_holders=1, blind=True, weights=10**6)


def digests(encrypt, count):
    return {hashlib.sha256(encrypt(1).tobytes()).digest() for _ in range(count)}


def test_forked_processes_never_make_the_same_encryption():
    """One file in memory for both would hand each process the other's polynomials now and then."""
    share = KeyShare.derive(bytes(32), SIMPLE)
    half = [b[0] for b in share.public_half(SIMPLE, b"fork")]
    encrypt = ZeroEncryptor(SIMPLE, (half, common_polynomial(SIMPLE, b"fork")))
    encrypt(1)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # no exception may reach the test runner from here
        try:
            os.write(writer, b"".join(sorted(digests(encrypt, 300))))
        finally:
            os._exit(0)
    os.close(writer)
    mine = digests(encrypt, 300)
    with os.fdopen(reader, "rb") as stream:
        data = stream.read()
    os.waitpid(child, 0)
    theirs = {data[i : i + 32] for i in range(0, len(data), 32)}
    assert len(mine) == len(theirs) == 300
    assert not mine & theirs


@pytest.mark.parametrize("parameters", [SIMPLE, BLIND], ids=["simple", "blind"])
@pytest.mark.parametrize("count", [1, 2, 14, 15, 16, 17, 30, 31])
def test_products_of_zero_are_zero(parameters, count):
    """An aggregator may send a c1 of zeros; SEAL calls such a result transparent and refuses it."""
    product = KeyProduct(parameters, KeyShare.derive(bytes(32), parameters).secret)
    zeros = np.zeros((count, len(parameters.primes), parameters.degree), np.uint64)
    assert not product(zeros).any()
    one = zeros.copy()
    one[-1, :, 0] = 1
    share = KeyShare.derive(bytes(32), parameters).secret.astype(int)
    for place, q in enumerate(parameters.primes):
        assert np.array_equal(product(one)[-1, place].astype(object), share.astype(object) % q)


def test_products_leave_a_blind_key_holder_with_noise_only():
    """Without it, a product with the polynomial 1 would be the key share itself."""
    one = [np.zeros((1, BLIND.degree), np.uint64) for _ in BLIND.primes]
    for plane in one:
        plane[0, 0] = 1
    decryptor = Decryptor(BLIND, KeyShare.derive(bytes(32), BLIND))
    with pytest.raises(ValueError, match="flooded"):
        decryptor.product(one)
    simple = Decryptor(SIMPLE, KeyShare.derive(bytes(32), SIMPLE))
    with pytest.raises(ValueError, match="flooded"):
        simple.product([np.ones((1, SIMPLE.degree), np.uint64)], Flooding(bytes(32), b"", BLIND))
    assert not p.is_prime(1)
    assert not p.is_prime(0)
