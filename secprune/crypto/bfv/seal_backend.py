"""The only importer of tenseal: number-theoretic transforms, encryptions of zero, products with a key share.

Microsoft SEAL does the ring arithmetic (tenseal 0.3.18 has SEAL 4.3). It reads and writes paths only, so
polynomials go through an anonymous file in memory; its own format is written and read here, and nothing but
what this module wrote, or SEAL itself, is ever loaded. Bytes of other parties have passed `wire.parse`, which
leaves plain arrays of reduced coefficients.

SEAL draws the randomness of encryptions itself, from the operating system (`std::random_device`).

Timing: SEAL's product with a plaintext is not constant-time in it, and here it is a key share. Who can time
a key holder to the microsecond while it answers its one question of a round is not defended against.
"""

from __future__ import annotations

import contextlib
import functools
import os
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import tenseal.sealapi as seal
import tenseal.sealapi.util as seal_util
import zstandard

from secprune.errors import LocalEnvironmentError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from secprune.crypto.bfv.parameters import Parameters
    from secprune.packing import Words

_HEADER = struct.Struct("<HBBBBHQ")  # magic, header size, major, minor, compression, reserved, size
_MAGIC, _VERSION = 0xA15E, (4, 3)
_ZSTANDARD = 2
_CIPHERTEXT = struct.Struct("<32s?QQQdQ")  # parameters, NTT form, size, N, primes, scale, correction
_PLAINTEXT = struct.Struct("<32sQd")  # parameters (none), coefficients, scale
_COUNT = struct.Struct("<Q")
_PLAIN_MODULUS = 3  # only products with -1, 0 and 1 use it; messages are added by `scheme`
_POLYNOMIALS_AT_ONCE = 15  # SEAL takes 16 in one ciphertext; see KeyProduct


@functools.lru_cache(maxsize=8)
def _context(parameters: Parameters) -> Any:
    settings = seal.EncryptionParameters(seal.SCHEME_TYPE.BFV)
    settings.set_poly_modulus_degree(parameters.degree)
    settings.set_coeff_modulus([seal.Modulus(q) for q in parameters.all_primes])
    settings.set_plain_modulus(_PLAIN_MODULUS)
    context = seal.SEALContext(settings, True, seal.SEC_LEVEL_TYPE.TC128)
    if context.parameters_error_name() != "success":
        raise LocalEnvironmentError(
            f"SEAL does not take these parameters: {context.parameters_error_message()}",
            hint="install the version of tenseal that constraints.txt names",
        )
    return context


@contextlib.contextmanager
def _file_in_memory() -> Iterator[tuple[int, str]]:
    """An anonymous file in memory, (descriptor, path), because SEAL reads and writes paths only.

    A new one each time: one that threads or forked processes share would mix their polynomials up.
    """
    try:
        file = os.memfd_create("secprune")
    except (AttributeError, OSError) as error:
        raise LocalEnvironmentError(
            "this system has no anonymous files in memory (memfd_create)",
            hint="run clients and key holders of the protocol bfv on Linux",
        ) from error
    try:
        yield file, f"/proc/self/fd/{file}"
    finally:
        os.close(file)


def _saved(thing: Any) -> bytes:
    """What SEAL writes of a thing, decompressed, without the outer header."""
    with _file_in_memory() as (file, path):
        thing.save(path)
        data = os.pread(file, os.fstat(file).st_size, 0)
    magic, size, major, minor, compression, _, total = _HEADER.unpack_from(data)
    if (magic, size, (major, minor)) != (_MAGIC, _HEADER.size, _VERSION):
        raise LocalEnvironmentError(
            f"this tenseal writes the format of SEAL {major}.{minor}, not {_VERSION[0]}.{_VERSION[1]}",
            hint="install the version of tenseal that constraints.txt names",
        )
    body = data[_HEADER.size : total]
    if compression == _ZSTANDARD:
        return zstandard.ZstdDecompressor().decompressobj().decompress(body)
    return body


def _load(thing: Any, context: Any, body: bytes) -> None:
    """Let SEAL read a thing that this module wrote."""
    with _file_in_memory() as (file, path):
        os.pwrite(file, _header(len(body)) + body, 0)
        thing.load(context, path)


def _header(body: int) -> bytes:
    return _HEADER.pack(_MAGIC, _HEADER.size, *_VERSION, 0, 0, _HEADER.size + body)


def _array(values: Words) -> bytes:
    data = np.ascontiguousarray(values, dtype="<u8")
    return _header(_COUNT.size + data.nbytes) + _COUNT.pack(data.size) + data.tobytes()


def _ciphertext(polynomials: Words, parameters_id: Sequence[int], *, transformed: bool) -> bytes:
    """SEAL's form of (size, primes, N) residues."""
    size, primes, degree = polynomials.shape
    digest = b"".join(_COUNT.pack(word) for word in parameters_id)
    return _CIPHERTEXT.pack(digest, transformed, size, degree, primes, 1.0, 1) + _array(polynomials)


def _residues(body: bytes, shape: tuple[int, int, int]) -> Words:
    """Residues (size, primes, N) of a ciphertext that SEAL wrote."""
    _, _, size, degree, primes, _, _ = _CIPHERTEXT.unpack_from(body)
    offset = _CIPHERTEXT.size + _HEADER.size
    (count,) = _COUNT.unpack_from(body, offset)
    if (size, primes, degree) != shape or count != size * primes * degree:
        raise LocalEnvironmentError(f"SEAL wrote a ciphertext of shape {(size, primes, degree)}, not {shape}")
    return (
        np.frombuffer(body, "<u8", count, offset + _COUNT.size).astype(np.uint64, copy=False).reshape(shape)
    )


@functools.lru_cache(maxsize=16)
def _tables(degree: int, q: int) -> Any:
    return seal_util.NTTTables(degree.bit_length() - 1, seal.Modulus(q))


def transform(polynomial: Words, q: int) -> Words:
    """The negacyclic number-theoretic transform of (N,) coefficients modulo q, in SEAL's order."""
    values = seal_util.ntt_negacyclic_harvey(polynomial.tolist(), _tables(len(polynomial), q))
    return np.array(values, np.uint64)


class ZeroEncryptor:
    """Encrypts zero under a public key, as often as asked.

    Args:
        parameters: of the task.
        public_key: b and a, in this order, each (N,) for each of all primes, transformed.
    """

    def __init__(self, parameters: Parameters, public_key: tuple[Sequence[Words], Sequence[Words]]) -> None:
        context = _context(parameters)
        both = np.stack([np.stack(half) for half in public_key])  # (2, all primes, N)
        key = seal.PublicKey()
        _load(key, context, _ciphertext(both, context.key_parms_id(), transformed=True))
        self._encryptor = seal.Encryptor(context, key)
        self._shape = (2, len(parameters.primes), parameters.degree)

    def __call__(self, count: int) -> Words:
        """(count, 2, primes, N): c0 and c1 of fresh encryptions of zero."""
        found = np.empty((count, *self._shape), np.uint64)
        ciphertext = seal.Ciphertext()
        for index in range(count):
            self._encryptor.encrypt_zero(ciphertext)
            found[index] = _residues(_saved(ciphertext), self._shape)
        return found


class KeyProduct:
    """Multiplies polynomials by a key share.

    Args:
        parameters: of the task.
        secret: (N,) int8 of -1, 0 and 1.
    """

    def __init__(self, parameters: Parameters, secret: npt.NDArray[np.int8]) -> None:
        self._context = _context(parameters)
        self._evaluator = seal.Evaluator(self._context)
        self._secret = seal.Plaintext()
        coefficients = (secret.astype(np.int64) % _PLAIN_MODULUS).astype(np.uint64)
        body = _PLAINTEXT.pack(bytes(32), len(coefficients), 1.0) + _array(coefficients)
        _load(self._secret, self._context, body)
        self._parameters = parameters

    def __repr__(self) -> str:
        return "KeyProduct(<secret>)"

    def __call__(self, polynomials: Words) -> Words:
        """(count, primes, N) products modulo each prime, of as many polynomials."""
        found = np.empty_like(polynomials)
        for start in range(0, len(polynomials), _POLYNOMIALS_AT_ONCE):
            piece = polynomials[start : start + _POLYNOMIALS_AT_ONCE]
            # One more, because SEAL wants two and refuses products that are all zero but for the first.
            padded = np.concatenate([piece, np.ones_like(piece[:1])])
            ciphertext = seal.Ciphertext()
            body = _ciphertext(padded, self._context.first_parms_id(), transformed=False)
            _load(ciphertext, self._context, body)
            self._evaluator.multiply_plain_inplace(ciphertext, self._secret)
            product = _residues(_saved(ciphertext), padded.shape)
            found[start : start + _POLYNOMIALS_AT_ONCE] = product[: len(piece)]
        return found
