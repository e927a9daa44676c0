"""What a threat model is: one adversary, what it sees, what it is claimed not to gain, and what it does gain.

One TOML file for each. A claim names the checks that back it, a break the checks that show it; whether they do is
never written here but computed for each study (`secprune_threat_models.matrix`).
"""

from __future__ import annotations

import inspect
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from secprune_threat_models.system import Applies

Strength = Literal["proof", "conformance", "empirical", "assumed"]
"""What backs a claim: an argument checked over everything it quantifies over; what was measured being what was
promised; an attack or estimate that failed, or a bound that does not contradict; nothing but what is assumed."""

Linddun = Literal[
    "Linking",
    "Identifying",
    "Non-repudiation",
    "Detecting",
    "Data disclosure",
    "Unawareness",
    "Non-compliance",
]
"""Kinds of privacy threats (LINDDUN, linddun.org)."""

Text = Annotated[str, Meta(min_length=1)]
_ModelId = Annotated[str, Meta(pattern=r"^[A-Z][A-Z0-9]{1,31}\Z")]
_CheckId = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,62}\Z")]


class Adversary(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who attacks.

    Attributes:
        corrupts: who works for it, in words.
        behaviour: "semi-honest" follows the protocol and keeps what it sees; "malicious" does as it likes.
        knows: beforehand.
    """

    corrupts: Text
    behaviour: Literal["semi-honest", "malicious"]
    knows: tuple[Text, ...] = ()


class Claim(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that the adversary is claimed not to gain.

    Attributes:
        id: the model's, "-C" and a number.
        text: in plain words.
        property: short name, as "mask secrecy".
        strength: what backs it.
        linddun: kinds of threats that it is about.
        params: numbers that it depends on, in words, by name.
        assumptions: that it rests on; needed if nothing else backs it.
        checks: ids; all of them are required.
        applies: studies that it is made of.
    """

    id: Annotated[str, Meta(pattern=r"^[A-Z][A-Z0-9]{1,31}-C[0-9]{1,3}\Z")]
    text: Text
    property: Text
    strength: Strength
    linddun: Annotated[tuple[Linddun, ...], Meta(min_length=1)]
    params: dict[str, str] = {}
    assumptions: tuple[Text, ...] = ()
    checks: tuple[_CheckId, ...] = ()
    applies: Applies = Applies()


class Break(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that the adversary does gain, shown by attacks that succeed.

    Attributes:
        id: the model's, "-B" and a number.
        text: what it gains.
        stops_it: what would help.
        checks: ids of the checks that show it.
        applies: studies in which it is possible.
    """

    id: Annotated[str, Meta(pattern=r"^[A-Z][A-Z0-9]{1,31}-B[0-9]{1,3}\Z")]
    text: Text
    stops_it: Text
    checks: Annotated[tuple[_CheckId, ...], Meta(min_length=1)]
    applies: Applies = Applies()


class ThreatModelFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One adversary, as its file says it.

    Attributes:
        id: as "TM01".
        title: for a heading.
        adversary: who it is.
        sees: its view, by names of artefacts and flows of `system.toml`. "signed message" stands for all that is posted in
            the clear; the chunks of a phase are in the view of who can open them, "sealed chunk" in that of who cannot.
        claims: what it is claimed not to gain.
        breaks: what it does gain.
        non_claims: what nobody claims about it; never empty.
        applies: studies that have such an adversary.
    """

    id: _ModelId
    title: Text
    adversary: Adversary
    sees: Annotated[tuple[Text, ...], Meta(min_length=1)]
    claims: tuple[Claim, ...] = ()
    breaks: tuple[Break, ...] = ()
    non_claims: Annotated[tuple[Text, ...], Meta(min_length=1)]
    applies: Applies = Applies()

    @property
    def entries(self) -> tuple[Claim | Break, ...]:
        """All claims, then all breaks."""
        return (*self.claims, *self.breaks)


class ThreatModel(ThreatModelFile, frozen=True, kw_only=True):
    """The same, and where it comes from: "shipped", or the name of a consortium's own file."""

    source: str = "shipped"


def schema() -> bytes:
    """JSON schema of a threat model's file, for editors and other tools."""
    made = msgspec.json.schema(ThreatModelFile)
    for definition in made["$defs"].values():
        definition["description"] = inspect.cleandoc(
            definition["description"]
        )  # Python 3.13 does it, others do not
    made = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "secprune threat model",
        **made,
    }
    return msgspec.json.format(msgspec.json.encode(made), indent=2) + b"\n"
