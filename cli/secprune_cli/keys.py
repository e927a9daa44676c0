"""`secprune keys`: a party's identity."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from secprune.crypto.entropy import random_bytes
from secprune.crypto.identity import Identity
from secprune.errors import LocalMisuseError
from secprune.files import SHARED_FILE, private_directory, write_atomically
from secprune.ids import Name, Role
from secprune.parties.config import IDENTITY_FILE, PARTY_FILE, party_file_template
from secprune.parties.study import CARD_SUFFIX
from secprune.storage.keyfile import card_of, write_card, write_identity
from secprune_cli._output import HERE, DirectoryOption, JsonOption, show

app = typer.Typer(no_args_is_help=True, help="Make the keys that identify a party.")


class KeysResult(msgspec.Struct, frozen=True, kw_only=True):
    """Where the new identity lies."""

    role: str
    name: str
    fingerprint: str
    card: str
    private_keys: str
    party_file: str


@app.callback()
def _group() -> None:
    pass


@app.command()
def new(
    role: Annotated[str, typer.Option(help="client, aggregator, key-holder, coordinator or auditor.")],
    name: Annotated[str, typer.Option(help="Lower-case letters, digits, hyphens; unique in the study.")],
    directory: DirectoryOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Make an identity key pair, a public card to hand to the coordinator, and a party file to edit.

    The private keys stay in DIR/identity.key, readable by this user only. Tell the fingerprint to the
    other parties over another channel than the one the card travels on.
    """
    try:
        checked_role, checked_name = msgspec.convert(role, Role), msgspec.convert(name, Name)
    except msgspec.ValidationError:
        raise LocalMisuseError(
            f"{role} {name!r} is not a party",
            hint="roles: client, aggregator, key-holder, coordinator, auditor; names: lower-case letters, digits and hyphens",
        ) from None
    private_directory(directory)
    identity = Identity.generate(random_bytes)
    write_identity(directory / IDENTITY_FILE, identity, role=checked_role, name=checked_name)
    card = card_of(identity, role=checked_role, name=checked_name)
    card_path, party_path = directory / f"{checked_name}{CARD_SUFFIX}", directory / PARTY_FILE
    write_card(card_path, card, identity)
    if checked_role != "auditor" and not party_path.exists():  # an auditor follows no task
        write_atomically(
            party_path, party_file_template(checked_role, checked_name).encode(), mode=SHARED_FILE
        )
    result = KeysResult(
        role=checked_role,
        name=checked_name,
        fingerprint=card.fingerprint,
        card=str(card_path),
        private_keys=str(directory / IDENTITY_FILE),
        party_file=str(party_path) if party_path.exists() else "",
    )
    show(result, as_json=as_json, title=f"New {checked_role} {checked_name}")
