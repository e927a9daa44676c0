"""Vectors of the protocol `bfv`: parameters, keys, flooding noise, wire bytes and linear hashes.

Polynomials have thousands of coefficients, so vectors hold the first ones and a digest of all. Encryption draws its
randomness inside SEAL, and so has no vectors; the tests compare it with SEAL's own decryption.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from secprune.crypto.bfv import wire
from secprune.crypto.bfv.hashing import LinearHash
from secprune.crypto.bfv.keys import Flooding, KeyShare, common_polynomial
from secprune.crypto.bfv.parameters import Parameters, choose_parameters
from secprune.crypto.expand import expand, expansion_key

ROSTERS = ((3, 1, False), (8, 1, False), (64, 1, False), (8, 1, True), (8, 3, True), (64, 2, True))
WEIGHTS = 124_000_000
SEED = bytes(range(32))
CONTEXT = b"vectors"


def bfv_vectors() -> list[dict[str, Any]]:
    """One vector for each roster."""
    return [_vector(*roster) for roster in ROSTERS]


def planes_of_vector(form: wire.Form, parameters: Parameters) -> list[np.ndarray[Any, Any]]:
    """Two ciphertexts' worth of reduced coefficients, from a keystream of their own."""
    planes = []
    for place, q in enumerate(wire.planes_of(form, parameters)):
        key = expansion_key(SEED, b"plane %d" % place)
        words = expand(key, first_word=0, words=2 * parameters.degree) % np.uint64(q)
        planes.append(words.reshape(2, parameters.degree))
    return planes


def _vector(clients: int, key_holders: int, blind: bool) -> dict[str, Any]:
    p = choose_parameters(clients=clients, key_holders=key_holders, blind=blind, weights=WEIGHTS)
    share = KeyShare.derive(SEED, p)
    planes = planes_of_vector("ciphertexts", p)
    data = wire.serialise(planes, "ciphertexts", p)
    linear = LinearHash(SEED, CONTEXT, p)
    linear.update(planes[1:])
    vector = {
        "clients": clients,
        "key_holders": key_holders,
        "blind": blind,
        "weights": WEIGHTS,
        "id": p.id,
        "degree": p.degree,
        "primes": list(p.primes),
        "special": p.special,
        "scale": p.scale,
        "digits": p.digits,
        "flood_bits": p.flood_bits,
        "seed": SEED.hex(),
        "context": CONTEXT.decode(),
        "common_polynomial": [_coefficients(a) for a in common_polynomial(p, CONTEXT)],
        "secret": _coefficients(share.secret),
        "error": _coefficients(share.error),
        "public_half": [_coefficients(b[0]) for b in share.public_half(p, CONTEXT)],
        "wire": {"bytes": len(data), "start": data[:64].hex(), "sha256": hashlib.sha256(data).hexdigest()},
        "refused": _refused(data, p),
        "linear_hash": [[str(value) for value in of_prime] for of_prime in linear.values()],
    }
    if blind:
        noise = Flooding(SEED, CONTEXT, p).next(1)
        vector["flooding"] = [_coefficients(of_prime[0]) for of_prime in noise]
    return vector


def _coefficients(values: np.ndarray[Any, Any]) -> dict[str, Any]:
    whole = np.ascontiguousarray(values, dtype=f"<{values.dtype.kind}{values.dtype.itemsize}")
    first = [str(value) for value in values[:4].tolist()]
    return {"first": first, "sha256": hashlib.sha256(whole.tobytes()).hexdigest()}


def _refused(data: bytes, parameters: Parameters) -> list[dict[str, Any]]:
    """Changes to the wire bytes that the parser must refuse: what is put at which offset."""
    header = len(data) - wire.wire_size("ciphertexts", parameters, 2) + 44
    bits = parameters.primes[0].bit_length()
    # The first coefficient of every group lies in the first words: all ones are never below the prime.
    return [
        {"name": "magic", "at": 0, "put": "00"},
        {"name": "version", "at": 4, "put": "02"},
        {"name": "form", "at": 5, "put": "02"},
        {"name": "size_three", "at": 6, "put": "0300"},
        {"name": "parameters", "at": 8, "put": "00" * 32},
        {"name": "count", "at": 40, "put": "03000000"},
        {"name": "coefficient_too_large", "at": header, "put": "ff" * (bits // 8 + 1)},
        {"name": "cut", "at": len(data) - 1, "put": None},
        {"name": "longer", "at": len(data), "put": "00"},
    ]
