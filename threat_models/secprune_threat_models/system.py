"""`system.toml` as types: parties, every artefact that a study leaves on a disk, and every flow between parties.

What is not declared must not happen: a file that no artefact declares, and something sent that no flow declares, are
failures of a check. So a declaration says no more than is needed, and of which studies it speaks.
"""

from __future__ import annotations

import fnmatch
import importlib.resources
import tomllib
from typing import Literal

import msgspec
from msgspec import Struct

from secprune.ids import Role
from secprune.task import Payload, ProtocolName
from secprune.task.privacy import Mechanism

Keeper = Literal["any party", "client", "aggregator", "key-holder", "coordinator", "exchange"]
Receiver = Role | Literal["everybody"]


class Applies(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The studies that something is said of; an empty list stands for all.

    Attributes:
        protocols: of the secure sum.
        payloads: what is summed.
        mechanisms: which noise there is, or "none".
    """

    protocols: tuple[ProtocolName, ...] = ()
    payloads: tuple[Payload, ...] = ()
    mechanisms: tuple[Mechanism, ...] = ()

    def why_not(self, *, protocol: str, payload: str, mechanism: str) -> str:
        """Why a study is none of these, in words; empty if it is one."""
        for what, allowed, given in (
            ("protocol", self.protocols, protocol),
            ("payload", self.payloads, payload),
            ("mechanism", self.mechanisms, mechanism),
        ):
            if allowed and given not in allowed:
                return f"is about studies with the {what} {' or '.join(allowed)}, and this one has {given}"
        return ""


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
    applies: Applies = Applies()


class DeclaredFlow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that parties send each other through the exchange.

    Attributes:
        artefact: the phase of a signed message, as "reports"; of the bulk data that it names "reports chunks".
        senders: roles that send it.
        receiver: role whose key opens it; "everybody" if it is not sealed, as all signed messages are.
        derived_from_notes: whether it depends on clients' data, in whatever form.
        carries: what is in it, in words.
        applies: studies in which it is sent.
    """

    artefact: str
    senders: tuple[Role, ...]
    receiver: Receiver
    derived_from_notes: bool
    carries: str
    applies: Applies = Applies()


class System(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole system."""

    parties: tuple[Party, ...]
    artefacts: tuple[Artefact, ...]
    flows: tuple[DeclaredFlow, ...]

    def artefact_at(self, keeper: str, path: str) -> Artefact | None:
        """The artefact that declares a file of `keeper` ("client", "exchange", ...), or None."""
        keepers = {keeper} if keeper == "exchange" else {keeper, "any party"}
        for artefact in self.artefacts:
            same_depth = artefact.path.count("/") == path.count("/")
            if artefact.keeper in keepers and same_depth and fnmatch.fnmatchcase(path, artefact.path):
                return artefact
        return None

    def declares(self, sender_role: str, receiver_role: str, artefact: str) -> bool:
        """Whether such a flow is declared; in any study, unless this is what `in_study` gave.

        Args:
            sender_role: who sends.
            receiver_role: who can read it, or "everybody".
            artefact: as in `DeclaredFlow`.
        """
        return any(
            flow.artefact == artefact and sender_role in flow.senders and receiver_role == flow.receiver
            for flow in self.flows
        )

    def in_study(self, *, protocol: str, payload: str, mechanism: str) -> System:
        """What of it a study of this kind can have: a report in the clear is declared for `cleartext` alone."""

        def fits(declared: Artefact | DeclaredFlow) -> bool:
            return not declared.applies.why_not(protocol=protocol, payload=payload, mechanism=mechanism)

        return System(
            parties=self.parties,
            artefacts=tuple(filter(fits, self.artefacts)),
            flows=tuple(filter(fits, self.flows)),
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all artefacts and flows, each once, in the order of the file: what a view is made of."""
        return tuple(dict.fromkeys([a.name for a in self.artefacts] + [f.artefact for f in self.flows]))


def load_system() -> System:
    """Read the catalogue's `system.toml`."""
    text = (importlib.resources.files("secprune_threat_models") / "system.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), System)
