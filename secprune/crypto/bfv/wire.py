"""The wire form of polynomials, and the strict parser that all foreign bytes meet first.

    4 bytes   "SPBF"
    1 byte    version, 1
    1 byte    form: 1 a ciphertext's c0 and c1, 2 c1 alone, 3 one polynomial modulo q1, 4 a key share
    2 bytes   size: polynomials of a ciphertext (2 for form 1, else 1), little-endian
   32 bytes   digest of the parameters
    4 bytes   how many ciphertexts, little-endian
    then      one plane for each residue of each polynomial: all its coefficients, packed

A plane holds count * N coefficients of b bits in count * N * b / 64 words, little-endian. Coefficient
j * (count * N / 64) + g is the j-th of 64 in group g, and word w of a group is at w * (count * N / 64) + g, so
that packing is 64 steps over long contiguous arrays. N is a multiple of 64: there is no padding.

Rule: what `parse` returns has exactly the shapes the parameters prescribe and only coefficients below their
primes; anything else is refused before any other library sees it.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Literal

import numpy as np

from secprune.errors import RemoteMisbehaviourError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from secprune.crypto.bfv.parameters import Parameters
    from secprune.packing import Words

Form = Literal["ciphertexts", "masks", "products", "key share"]
"""What a piece holds: (c0, c1) of clients or their sum; c1 of a sum; key holders' products; a public key share."""

_NUMBER: dict[Form, int] = {"ciphertexts": 1, "masks": 2, "products": 3, "key share": 4}
_HEADER = struct.Struct("<4sBBH32sI")
_MAGIC, _VERSION = b"SPBF", 1
_GROUP = 64
_WIRE = np.dtype("<u8")


def planes_of(form: Form, parameters: Parameters) -> tuple[int, ...]:
    """The primes of the planes of a form, in their order."""
    first = parameters.primes[0]
    match form:
        case "ciphertexts":
            return (first, *parameters.primes)
        case "masks":
            return parameters.primes
        case "products":
            return (first,)
        case "key share":
            return parameters.all_primes


def wire_size(form: Form, parameters: Parameters, count: int) -> int:
    """Bytes of `count` ciphertexts (or products) in this form."""
    bits = sum(q.bit_length() for q in planes_of(form, parameters))
    return _HEADER.size + count * parameters.degree * bits // 8


def serialise(planes: Sequence[Words], form: Form, parameters: Parameters) -> bytes:
    """Wire bytes of planes (count, N) of reduced coefficients, one for each prime of the form."""
    count = planes[0].shape[0]
    header = _HEADER.pack(
        _MAGIC, _VERSION, _NUMBER[form], _size(form), bytes.fromhex(parameters.id[7:]), count
    )
    packed = [
        _pack(plane.reshape(-1), q.bit_length())
        for plane, q in zip(planes, planes_of(form, parameters), strict=True)
    ]
    return b"".join([header, *(words.astype(_WIRE, copy=False).data.cast("B") for words in packed)])


def parse(data: bytes, form: Form, parameters: Parameters, *, count: int, sender: str) -> tuple[Words, ...]:
    """Planes (count, N) of what `serialise` made, one for each prime of the form.

    Args:
        data: bytes from anywhere.
        form: what they must hold.
        parameters: of the task.
        count: how many ciphertexts the task prescribes here.
        sender: who is blamed.

    Raises:
        RemoteMisbehaviourError: another length, another form or size, other parameters, or a coefficient that
            is not below its prime.
    """
    due = wire_size(form, parameters, count)
    if len(data) != due:
        raise _refusal(f"{len(data)} bytes of {form} came where {due} were due", sender)
    magic, version, number, size, digest, named = _HEADER.unpack_from(data)
    if (magic, version, number, size) != (_MAGIC, _VERSION, _NUMBER[form], _size(form)):
        raise _refusal(f"what came is not in the form of {form}", sender)
    if digest.hex() != parameters.id[7:]:
        raise _refusal(f"{form} under other parameters than the task's", sender)
    if named != count:
        raise _refusal(f"{named} {form} came where {count} were due", sender)
    planes, offset = [], _HEADER.size
    for q in planes_of(form, parameters):
        bits = q.bit_length()
        words = np.frombuffer(data, _WIRE, count * parameters.degree * bits // 64, offset)
        plane = _unpack(words.astype(np.uint64, copy=False), bits)
        if np.any(plane >= np.uint64(q)):
            raise _refusal(f"{form} with a coefficient that is not below its prime", sender)
        planes.append(plane.reshape(count, parameters.degree))
        offset += words.nbytes
    return tuple(planes)


def _size(form: Form) -> int:
    return 2 if form == "ciphertexts" else 1


def _refusal(what: str, sender: str) -> RemoteMisbehaviourError:
    return RemoteMisbehaviourError(what, party=sender)


def _pack(values: Words, bits: int) -> Words:
    """(n,) values below 2^bits into (n * bits / 64,) words; n is a multiple of 64."""
    value = values.reshape(_GROUP, -1)  # (64, n/64)
    words = np.zeros((bits, value.shape[1]), np.uint64)
    for j in range(_GROUP):
        word, shift = divmod(j * bits, 64)
        words[word] |= value[j] << np.uint64(shift)
        if shift + bits > 64:
            words[word + 1] |= value[j] >> np.uint64(64 - shift)
    return words.reshape(-1)


def _unpack(words: Words, bits: int) -> Words:
    """The inverse of `_pack`."""
    word_of = words.reshape(bits, -1)
    values = np.empty((_GROUP, word_of.shape[1]), np.uint64)
    for j in range(_GROUP):
        word, shift = divmod(j * bits, 64)
        np.right_shift(word_of[word], np.uint64(shift), out=values[j])
        if shift + bits > 64:
            values[j] |= word_of[word + 1] << np.uint64(64 - shift)
    values &= np.uint64(2**bits - 1)
    return values.reshape(-1)
