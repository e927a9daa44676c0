"""Identity keys on disk: a file that only its owner can read, and the public card beside it."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from secprune.crypto.envelope import open_envelope, sign
from secprune.crypto.identity import Identity
from secprune.errors import ConfigurationError, LocalMisuseError, RemoteMisbehaviourError
from secprune.files import SHARED_FILE, environment_errors, read_bytes, write_atomically
from secprune.ids import Name, Role
from secprune.messages.types import Card
from secprune.task import PartySpec

if TYPE_CHECKING:
    from pathlib import Path


class _KeyFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: int
    role: Role
    name: Name
    secret: bytes

    def __repr__(self) -> str:
        return f"_KeyFile({self.role} {self.name})"


def card_of(identity: Identity, *, role: Role, name: str) -> PartySpec:
    """The public card of an identity."""
    return PartySpec(role=role, name=name, signing_key=identity.signing_key, sealing_key=identity.sealing_key)


def write_identity(path: Path, identity: Identity, *, role: Role, name: str) -> None:
    """Store the private keys, mode 0600. Never overwrites keys.

    Raises:
        LocalMisuseError: there are keys already.
    """
    if path.exists():
        raise LocalMisuseError(
            f"{path} already holds keys", hint="keys are never overwritten; choose another directory"
        )
    write_atomically(
        path, msgspec.json.encode(_KeyFile(version=1, role=role, name=name, secret=identity.secret))
    )


def read_identity(path: Path) -> tuple[Identity, PartySpec]:
    """Load private keys and the card that belongs to them.

    Raises:
        ConfigurationError: others on this machine can read the file, or it is damaged. The message never
            quotes its content.
    """
    data = read_bytes(path, what="the identity keys")
    with environment_errors(f"read {path}"):
        mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise ConfigurationError(
            f"{path} can be read by other users (mode {mode:o})", hint=f"run: chmod 600 {path}"
        )
    try:
        stored = msgspec.json.decode(data, type=_KeyFile)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise ConfigurationError(
            f"{path} is not an identity file", hint="restore it from your backup, or make new keys"
        ) from None
    identity = Identity(stored.secret)
    return identity, card_of(identity, role=stored.role, name=stored.name)


def write_card(path: Path, card: PartySpec, identity: Identity) -> None:
    """Write the public card, signed with its own key, to hand to the coordinator."""
    write_atomically(path, sign(Card(party=card), signer=card.name, identity=identity), mode=SHARED_FILE)


def read_card(path: Path) -> PartySpec:
    """Read a card and check that its owner holds the signing key.

    Raises:
        ConfigurationError: damaged, altered, or not a card.
    """
    data = read_bytes(path, what="a card")
    try:
        claimed = msgspec.json.decode(data, type=dict)
        name = claimed["signatures"][0]["keyid"]
        payload = msgspec.json.decode(msgspec.convert(claimed["payload"], bytes), type=Card)
        signer, card = open_envelope(data, Card, signing_keys={name: payload.party.signing_key})
    except (
        msgspec.MsgspecError,
        KeyError,
        IndexError,
        TypeError,
        RecursionError,
        UnicodeDecodeError,
        RemoteMisbehaviourError,
    ) as error:
        raise ConfigurationError(
            f"{path} is not a valid card", hint="ask its owner for the file that `secprune keys new` wrote"
        ) from error
    if signer != card.party.name:
        raise ConfigurationError(f"{path} names {card.party.name} but is signed as {signer}")
    return card.party
