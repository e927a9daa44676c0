"""A party's long-term keys: Ed25519 to sign, MLKEM768-X25519 to receive sealed messages.

The hybrid key encapsulation is post-quantum because recorded traffic about patients must stay closed
for decades; signatures only have to hold while a study runs, so they are classical.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey, MLKEM768X25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from secprune.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

_SIGN_SEED = 32
_MLKEM_SEED, _X25519_PRIVATE = 64, 32
_MLKEM_PUBLIC, _X25519_PUBLIC = 1184, 32
SEALING_KEY_BYTES = _MLKEM_PUBLIC + _X25519_PUBLIC
"""Length of a public sealing key."""

SECRET_BYTES = _SIGN_SEED + _MLKEM_SEED + _X25519_PRIVATE
"""Length of an identity's secret: Ed25519 seed, ML-KEM-768 seed (d, z), X25519 private key."""


class OpeningKey:
    """The private half of a sealing key: opens what was sealed to the public one. Never printed, never sent.

    Args:
        secret: ML-KEM-768 seed (d, z), 64 bytes, and X25519 private key, 32 bytes.
    """

    def __init__(self, secret: bytes) -> None:
        self._mlkem = MLKEM768PrivateKey.from_seed_bytes(secret[:_MLKEM_SEED])
        self._x25519 = X25519PrivateKey.from_private_bytes(secret[_MLKEM_SEED:])
        self.private = MLKEM768X25519PrivateKey(self._mlkem, self._x25519)

    @classmethod
    def derive(cls, seed: bytes, info: bytes) -> OpeningKey:
        """The key that belongs to a uniformly random 32-byte seed.

        Both halves come out of one HKDF-SHA256 call: FIPS 203 (section 7.1) and RFC 7748 (section 5) take any
        64 and 32 bytes that are indistinguishable from random ones.
        """
        size = _MLKEM_SEED + _X25519_PRIVATE
        return cls(HKDF(SHA256(), size, salt=None, info=b"secprune/opening-key/v1\0" + info).derive(seed))

    def __repr__(self) -> str:
        return "OpeningKey(<secret>)"

    @property
    def sealing_key(self) -> bytes:
        """The public half: ML-KEM-768 key followed by the X25519 key, 1216 bytes."""
        return self._mlkem.public_key().public_bytes_raw() + self._x25519.public_key().public_bytes_raw()


class Identity:
    """The private half of a party's keys. Never printed, never sent.

    Args:
        secret: SECRET_BYTES bytes as described there.
    """

    def __init__(self, secret: bytes) -> None:
        if len(secret) != SECRET_BYTES:
            raise ConfigurationError(f"an identity secret has {SECRET_BYTES} bytes, not {len(secret)}")
        self._secret = secret
        self._signing = Ed25519PrivateKey.from_private_bytes(secret[:_SIGN_SEED])
        self.opening = OpeningKey(secret[_SIGN_SEED:])

    @classmethod
    def generate(cls, entropy: Callable[[int], bytes]) -> Identity:
        """Make new keys from `entropy` (in production: crypto.entropy.random_bytes)."""
        return cls(entropy(SECRET_BYTES))

    def __repr__(self) -> str:
        return "Identity(<secret>)"

    @property
    def secret(self) -> bytes:
        """What to store in the key file (mode 0600)."""
        return self._secret

    @property
    def signing_key(self) -> bytes:
        """Public Ed25519 key, 32 bytes."""
        return self._signing.public_key().public_bytes_raw()

    @property
    def sealing_key(self) -> bytes:
        """Public ML-KEM-768 key followed by the public X25519 key, 1216 bytes."""
        return self.opening.sealing_key

    def sign(self, message: bytes) -> bytes:
        """Ed25519 signature (RFC 8032), deterministic, so a retry sends the same bytes."""
        return self._signing.sign(message)


def signature_is_valid(signing_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` over `message` was made by the owner of `signing_key`; never raises."""
    try:
        Ed25519PublicKey.from_public_bytes(signing_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def parse_sealing_key(raw: bytes) -> MLKEM768X25519PublicKey:
    """Read the public key that sealed messages are encrypted to.

    Raises:
        ConfigurationError: wrong length or not a valid key.
    """
    if len(raw) != SEALING_KEY_BYTES:
        raise ConfigurationError(f"a sealing key has {SEALING_KEY_BYTES} bytes, not {len(raw)}")
    try:
        return MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(raw[:_MLKEM_PUBLIC]),
            X25519PublicKey.from_public_bytes(raw[_MLKEM_PUBLIC:]),
        )
    except ValueError as error:
        raise ConfigurationError("a sealing key in the roster is not a valid MLKEM768-X25519 key") from error
