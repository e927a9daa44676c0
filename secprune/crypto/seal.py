"""Sealing: a short secret to one receiver with HPKE, bulk data in chunks with AES-256-GCM.

HPKE is RFC 9180 base mode with the hybrid post-quantum KEM MLKEM768-X25519, HKDF-SHA256 and
AES-256-GCM. Base mode does not authenticate the sender; the signed message around it does, and the
sender's name in `info` keeps a third party from passing on somebody else's sealed secret as its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from secprune.crypto.identity import OpeningKey, parse_sealing_key
from secprune.errors import RemoteMisbehaviourError

KEY_BYTES = 32
TAG_BYTES = 16
_SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


@dataclass(frozen=True, slots=True)
class Context:
    """What a key or ciphertext is bound to; the same bytes can mean nothing elsewhere.

    `purpose` separates uses ("report", "row-sums", "aggregate"), `subject` the client whose report is
    concerned (the sender's own name in a report).
    """

    task_id: str
    round: int
    purpose: str
    sender: str
    receiver: str
    subject: str

    def encode(self, *extra: int) -> bytes:
        """Injective encoding: a JSON array of all fields, then `extra` numbers."""
        fields = [self.task_id, self.round, self.purpose, self.sender, self.receiver, self.subject]
        return msgspec.json.encode([*fields, *extra])


def seal_secret(secret: bytes, sealing_key: bytes, context: Context) -> bytes:
    """Encrypt `secret` to the owner of `sealing_key` (HPKE single-shot, encapsulated key in front)."""
    return _SUITE.encrypt(
        secret, parse_sealing_key(sealing_key), info=b"secprune/seal/v1\0" + context.encode()
    )


def open_secret(sealed: bytes, key: OpeningKey, context: Context) -> bytes:
    """Decrypt what `seal_secret` made for the public half of this key.

    Raises:
        RemoteMisbehaviourError: it was not made by `context.sender` for this task, round and receiver.
    """
    try:
        return _SUITE.decrypt(sealed, key.private, info=b"secprune/seal/v1\0" + context.encode())
    except (InvalidTag, ValueError) as error:
        raise RemoteMisbehaviourError(
            f"a sealed key from {context.sender} does not open", party=context.sender
        ) from error


class ChunkCipher:
    """Seals or opens the chunks of one parcel under its content key.

    The content key is fresh for every parcel, so the chunk's index is a nonce that never repeats; a
    retry seals the same plaintext and so gives the same bytes. AAD: context, index, count.
    """

    def __init__(self, content_key: bytes, context: Context, *, count: int) -> None:
        self._aead = AESGCM(content_key)
        self._context, self._count = context, count

    def __repr__(self) -> str:
        return f"ChunkCipher({self._context})"

    def seal(self, index: int, plaintext: bytes | memoryview) -> bytes:
        """Ciphertext and tag of chunk `index`."""
        return self._aead.encrypt(self._nonce(index), plaintext, self._context.encode(index, self._count))

    def open(self, index: int, ciphertext: bytes) -> bytes:
        """Plaintext of chunk `index`.

        Raises:
            RemoteMisbehaviourError: the sender signed a chunk that does not decrypt.
        """
        try:
            return self._aead.decrypt(
                self._nonce(index), ciphertext, self._context.encode(index, self._count)
            )
        except InvalidTag as error:
            raise RemoteMisbehaviourError(
                f"chunk {index} of {self._context.sender}'s {self._context.purpose} does not decrypt",
                party=self._context.sender,
            ) from error

    @staticmethod
    def _nonce(index: int) -> bytes:
        return index.to_bytes(12, "big")
