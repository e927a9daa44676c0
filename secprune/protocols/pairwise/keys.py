"""A client's keys and seeds of one round, all of them fresh, and what they are bound to.

    mask secret    32 bytes, shared among the holders; recovered if the client drops out
      |- mask key      MLKEM768-X25519; peers seal pair seeds to it
      `- pair seeds    one for each peer later in the roster, sealed to that peer's mask key
    self-mask seed 32 bytes, shared among the holders; recovered if the client survives
    share key      MLKEM768-X25519; peers seal shares to it; never recovered

A pair seed is drawn by the earlier client of the pair and reaches the later one in an HPKE ciphertext whose
KEM is the hybrid of ML-KEM-768 and X25519 (`crypto.seal`), so it is secret as long as one of the two is.
Bonawitz et al. agree on it by Diffie-Hellman, for which there is no post-quantum primitive without a
message. Recovering a mask secret recovers all pair seeds of its client: those that it drew are derived
from it, and those that it got are in ciphertexts that the mask key opens. Nothing else is.

Source: Bonawitz et al. 2017 (doi 10.1145/3133956.3133982), fig. 4, rounds 0 and 1; RFC 9180 (HPKE).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.hashes import SHA256, Hash
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from secprune.crypto.identity import OpeningKey
from secprune.crypto.seal import Context, seal_secret
from secprune.errors import ConfigurationError

if TYPE_CHECKING:
    from secprune.protocols.api import Round

SECRET_BYTES = 32


class Binding:
    """Contexts of one round: what each key, seed and ciphertext of it is bound to.

    Args:
        round_: task and number of the round.
        keys: digest of the signed list of key advertisements; empty where it is not known yet.
    """

    def __init__(self, round_: Round, keys: str = "") -> None:
        self._round, self._keys = round_, keys

    def context(self, purpose: str, sender: str, receiver: str) -> Context:
        """A context of the pairwise protocol; the list of keys stands as its subject."""
        return Context(
            self._round.task_id, self._round.index, f"pairwise/{purpose}", sender, receiver, self._keys
        )


def report_context(round_: Round, client: str, shares: str) -> Context:
    """What a masked report's content key and chunks are bound to: the list of shares whose masks it has."""
    aggregator = round_.task.names("aggregator")[0]
    return Binding(round_, shares).context("report", client, aggregator)


def mask_key(mask_secret: bytes, round_: Round, client: str) -> OpeningKey:
    """The key that pair seeds for a client are sealed to. Run by the client; by the aggregator if it dropped."""
    return OpeningKey.derive(mask_secret, Binding(round_).context("mask-key", client, "").encode())


def share_key(share_secret: bytes, round_: Round, client: str) -> OpeningKey:
    """The key that shares for a client are sealed to. Run by the client."""
    return OpeningKey.derive(share_secret, Binding(round_).context("share-key", client, "").encode())


def is_usable(public: bytes) -> bool:
    """Whether anything can be sealed to a public key: it parses, and its X25519 half is not of small order."""
    try:
        seal_secret(b"", public, Context("", 0, "pairwise/trial", "", "", ""))
    except (ConfigurationError, ValueError):
        return False
    return True


def pair_seed(mask_secret: bytes, binding: Binding, sender: str, receiver: str) -> bytes:
    """The seed that `sender`, earlier in the roster, shares with `receiver`: 32 bytes."""
    info = b"secprune/pair-seed/v1\0" + binding.context("pair-seed", sender, receiver).encode()
    return HKDF(SHA256(), SECRET_BYTES, salt=None, info=info).derive(mask_secret)


def commitment(self_mask: bytes, binding: Binding, client: str) -> bytes:
    """What a client publishes of its self-mask seed, so that a wrong share of it is noticed: 32 bytes.

    The seed is uniformly random, so that its hash hides it.
    """
    digest = Hash(SHA256())
    digest.update(b"secprune/self-mask/v1\0" + binding.context("self-mask", client, "").encode() + self_mask)
    return digest.finalize()
