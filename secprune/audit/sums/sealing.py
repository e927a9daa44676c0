"""Whether secrets are sealed under both halves of the hybrid key: ML-KEM-768, and X25519.

Traffic is recorded today and read when somebody has the computer for it. A sealed secret must stay closed for who lacks either
half of the receiver's key, so that breaking one of the two is not enough. That is tried out with keys of the audit's own; of
the study's sealed keys, which the auditor cannot open, the length is compared.

Source: draft-ietf-hpke-pq (MLKEM768-X25519); FIPS 203, table 3, for the sizes; RFC 9180, section 5.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from secprune.audit.check import Check, Figure, Kind, Measurement
from secprune.crypto.identity import SEALING_KEY_BYTES, OpeningKey
from secprune.crypto.seal import TAG_BYTES, Context, open_secret, seal_secret
from secprune.errors import RemoteMisbehaviourError

if TYPE_CHECKING:
    from collections.abc import Callable

    from secprune.audit.draws import Draws

_MLKEM_SEED, _X25519 = 64, 32
_MLKEM_CIPHERTEXT = 1088
OVERHEAD = _MLKEM_CIPHERTEXT + _X25519 + TAG_BYTES
"""Bytes that a sealed secret is longer than the secret: what both halves encapsulate, and the tag."""

_SECRET = 32
_CONTEXT = Context("sha256:" + "0" * 64, 0, "audit", "client", "aggregator", "client")
_TRIALS = 4


def open_with(sealed: bytes, private: bytes, context: Context) -> bytes:
    """Open with a private key, given as the ML-KEM-768 seed and the X25519 key."""
    return open_secret(sealed, OpeningKey(private), context)


@dataclass(frozen=True, slots=True)
class Sealing:
    """How secrets are sealed.

    Attributes:
        seal: a secret to a public key, in a context.
        open: what was sealed, with a private key (see `open_with`).
        sealed: keys of the study, as they lie in its messages; all hold 32 bytes or more.
    """

    seal: Callable[[bytes, bytes, Context], bytes] = seal_secret
    open: Callable[[bytes, bytes, Context], bytes] = open_with
    sealed: tuple[bytes, ...] = ()


def _try_halves(subject: Sealing, draws: Draws) -> Measurement:
    faults = []
    for _ in range(_TRIALS):
        secret, private, other = (
            draws.entropy(_SECRET),
            *(draws.entropy(_MLKEM_SEED + _X25519) for _ in range(2)),
        )
        sealed = subject.seal(secret, OpeningKey(private).sealing_key, _CONTEXT)
        if len(sealed) != OVERHEAD + len(secret):
            faults.append("a sealed secret has another length than under both halves")
        if _opened(subject, sealed, private) != secret:
            faults.append("a sealed secret does not open")
        without = {
            "ML-KEM-768": other[:_MLKEM_SEED] + private[_MLKEM_SEED:],
            "X25519": private[:_MLKEM_SEED] + other[_MLKEM_SEED:],
        }
        faults += [
            f"a secret opens without the receiver's {half} key"
            for half, key in without.items()
            if _opened(subject, sealed, key) is not None
        ]
    short = sum(len(sealed) < OVERHEAD + _SECRET for sealed in subject.sealed)
    if short:
        faults.append(f"{short} sealed keys of the study are too short for both halves")
    says = (
        f"Secrets are not sealed under both halves of the hybrid key: {faults[0]}."
        if faults
        else f"A sealed secret opens only with both halves of the receiver's key, ML-KEM-768 and X25519, in {_TRIALS} of "
        f"{_TRIALS} tries. Sealed keys of the study that were compared in length: {len(subject.sealed)}."
    )
    figures = (
        Figure(name="tries", value=_TRIALS),
        Figure(name="sealed keys of the study", value=len(subject.sealed)),
        Figure(name="faults", value=len(faults)),
    )
    return Measurement(refuted=bool(faults), says=says, figures=figures, sample=_TRIALS + len(subject.sealed))


def _opened(subject: Sealing, sealed: bytes, private: bytes) -> bytes | None:
    try:
        return subject.open(sealed, private, _CONTEXT)
    except RemoteMisbehaviourError:
        return None


# ---- mutation
_CLASSICAL = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def _seal_classically(secret: bytes, sealing_key: bytes, context: Context) -> bytes:
    half = X25519PublicKey.from_public_bytes(sealing_key[SEALING_KEY_BYTES - _X25519 :])
    return _CLASSICAL.encrypt(secret, half, info=context.encode())


def _open_classically(sealed: bytes, private: bytes, context: Context) -> bytes:
    half = X25519PrivateKey.from_private_bytes(private[_MLKEM_SEED:])
    try:
        return _CLASSICAL.decrypt(sealed, half, info=context.encode())
    except (InvalidTag, ValueError) as error:
        raise RemoteMisbehaviourError("it does not open", party=context.sender) from error


SEALING: Check[Sealing] = Check(
    id="hybrid-sealing",
    title="Sealing against later quantum computers",
    asks="Does a recorded key stay closed to somebody who breaks one of the two halves of its encryption?",
    kind=Kind.CONFORMANCE,
    source="RFC 9180; draft-ietf-hpke-pq; FIPS 203",
    measure=_try_halves,
    mutations={
        "classical-sealing": lambda subject: replace(subject, seal=_seal_classically, open=_open_classically)
    },
    repeatable=True,
)
