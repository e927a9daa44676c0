"""`system.toml` as types: parties, and every artefact that a study leaves on a disk."""

from __future__ import annotations

import fnmatch
import importlib.resources
import tomllib
from typing import Literal

import msgspec
from msgspec import Struct

Keeper = Literal["any party", "client", "aggregator", "key-holder", "coordinator", "exchange"]


class Party(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A party, the organisation behind it, and what it sees when all goes as it should."""

    role: Literal["client", "aggregator", "key-holder", "coordinator", "exchange"]
    organisation: str
    sees: str


class Artefact(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A kind of file: who keeps it, where (a glob below the keeper's directory), and who can read it."""

    name: str
    keeper: Keeper
    path: str
    derived_from_notes: bool
    readable_by: tuple[str, ...]
    protected: str


class System(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole system."""

    parties: tuple[Party, ...]
    artefacts: tuple[Artefact, ...]

    def artefact_at(self, keeper: str, path: str) -> Artefact | None:
        """The artefact that declares a file of `keeper` ("client", "exchange", ...), or None."""
        keepers = {keeper} if keeper == "exchange" else {keeper, "any party"}
        for artefact in self.artefacts:
            same_depth = artefact.path.count("/") == path.count("/")
            if artefact.keeper in keepers and same_depth and fnmatch.fnmatchcase(path, artefact.path):
                return artefact
        return None


def load_system() -> System:
    """Read the catalogue's `system.toml`."""
    text = (importlib.resources.files("secprune_threat_models") / "system.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), System)
