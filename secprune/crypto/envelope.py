"""Signed envelopes around messages.

An envelope is a DSSE v1 JSON object (Dead Simple Signing Envelope, secure-systems-lab/dsse): the payload
is signed as bytes, so no message is parsed before its signature is verified. A payload is one message of
`secprune.messages.types` in canonical JSON; its type tag, task id and round are inside what is signed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeVar

from msgspec import Meta, Struct

from secprune.crypto.identity import Identity, signature_is_valid
from secprune.errors import RemoteMisbehaviourError
from secprune.ids import Name
from secprune.messages.codec import decode, encode

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_ENVELOPE_BYTES = 64 * 2**20
"""A 70B-weight report at n = 64 names about 14,000 chunks in 1 MB; this leaves room and stops floods."""

_PAYLOAD_TYPE = "application/vnd.secprune+json"


class _Signature(Struct, frozen=True, forbid_unknown_fields=True):
    keyid: Name
    sig: Annotated[bytes, Meta(min_length=64, max_length=64)]


class _Envelope(Struct, frozen=True, forbid_unknown_fields=True):
    payload: bytes
    payloadType: str  # noqa: N815 - DSSE's name
    signatures: Annotated[tuple[_Signature, ...], Meta(min_length=1, max_length=1)]


T = TypeVar("T")


def pre_authentication_encoding(payload: bytes) -> bytes:
    """DSSE v1 PAE, the bytes that are signed."""
    kind = _PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def sign(message: object, *, signer: str, identity: Identity) -> bytes:
    """Wrap `message` in an envelope signed by `signer`; the same message gives the same bytes."""
    payload = encode(message)
    signature = _Signature(keyid=signer, sig=identity.sign(pre_authentication_encoding(payload)))
    return encode(_Envelope(payload=payload, payloadType=_PAYLOAD_TYPE, signatures=(signature,)))


def open_envelope(data: bytes, kind: type[T], *, signing_keys: Mapping[str, bytes]) -> tuple[str, T]:
    """Verify an envelope, then decode its message.

    Args:
        data: bytes from anywhere.
        kind: the message type (or tagged union) expected.
        signing_keys: public Ed25519 key by name of everyone allowed to sign here.

    Returns:
        The signer's name and the message.

    Raises:
        RemoteMisbehaviourError: malformed, signed by a stranger, or badly signed (then "exchange" is to
            blame: anybody could have written it), or validly signed but malformed (the signer is).
    """
    if len(data) > MAX_ENVELOPE_BYTES:
        raise RemoteMisbehaviourError("a message is larger than any honest one", party="exchange")
    envelope = decode(data, _Envelope, party="exchange")
    signature = envelope.signatures[0]
    if envelope.payloadType != _PAYLOAD_TYPE:
        raise RemoteMisbehaviourError("a message of a foreign type", party="exchange")
    if signature.keyid not in signing_keys:
        raise RemoteMisbehaviourError(
            f"a message signed by {signature.keyid!r}, who is not in the roster",
            party="exchange",
            hint="find out who can write to the exchange",
        )
    signed = pre_authentication_encoding(envelope.payload)
    if not signature_is_valid(signing_keys[signature.keyid], signed, signature.sig):
        raise RemoteMisbehaviourError(
            f"a message that claims to come from {signature.keyid} has a wrong signature", party="exchange"
        )
    return signature.keyid, decode(envelope.payload, kind, party=signature.keyid)


def is_of_another_type(data: bytes, kind: type[Struct], *, signing_keys: Mapping[str, bytes]) -> bool:
    """Whether its signer never said that this is a message of that kind: anybody can copy it to where it lies."""
    try:
        _, message = open_envelope(data, dict, signing_keys=signing_keys)
    except (RemoteMisbehaviourError, RecursionError):
        return False
    return bool(message.get("type") != kind.__struct_config__.tag)
