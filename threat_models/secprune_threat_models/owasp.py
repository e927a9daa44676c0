"""Export to the threat-model schema of the OWASP Threat Model Library, for tools that read it.

Parties become components in trust zones of their own, files data sets, flows data flows; each adversary a threat persona, each
claim a threat with a control, each break a threat with what would stop it as a suggested control. What that schema has no
place for stands under `extensions`: views, checks, assumptions, conditions, LINDDUN categories and non-claims. Some fields that it
demands are judgements which nobody made here, of likelihood and priority; they say the same of everything.

Source: github.com/OWASP/www-project-threat-model-library, threat-model.schema.json, v1.0.1.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

import secprune
from secprune_threat_models.model import Claim

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from secprune_threat_models.model import Break, ThreatModel
    from secprune_threat_models.system import Artefact, DeclaredFlow, System

SCHEMA = "https://github.com/OWASP/www-project-threat-model-library/blob/v1.0.1/threat-model.schema.json"
EXTENSION = "secprune.invalid/threat-models/v1"
"""Extensions are named like a domain and a path; this domain belongs to nobody, by RFC 2606."""

_EXCHANGE = "exchange"


def owasp_document(system: System, models: Iterable[ThreatModel]) -> dict[str, Any]:
    """The system and its threat models as one document of that schema, ready for JSON.

    Args:
        system: of all studies, or of one kind (`System.in_study`).
        models: as loaded.
    """
    models = tuple(models)
    roles = [party.role for party in system.parties]
    entries = [(model, entry) for model in models for entry in model.entries]
    return {
        "$schema": SCHEMA,
        "version": secprune.__version__,
        "scope": {
            "title": "secprune",
            "description": "Hospitals prune one language model together under a secure sum. In scope: what parties keep and send. "
            "Out of scope: the hospitals' other systems, and the organisations behind the parties.",
            "business_criticality": "high",
            "data_sensitivity": ["phi"],
            "exposure": "external",
            "tier": "important",
        },
        "description": secprune.__doc__ or "",
        "trust_zones": [
            {"symbolic_name": party.role, "title": party.role, "description": party.organisation}
            for party in system.parties
        ],
        "trust_boundaries": [
            {"trust_zone_a": role, "trust_zone_b": _EXCHANGE, "authentication_methods": ["public_key"]}
            for role in roles
            if role != _EXCHANGE
        ],
        "actors": [],
        "components": [
            {
                "symbolic_name": party.role,
                "title": party.role,
                "description": f"Sees: {party.sees}",
                "trust_zone": party.role,
            }
            for party in system.parties
        ],
        "data_stores": [
            {
                "symbolic_name": _store(role),
                "title": "the exchange" if role == _EXCHANGE else f"directory of a {role}",
                "description": "immutable objects" if role == _EXCHANGE else "files with mode 0600",
                "type": "object" if role == _EXCHANGE else "document",
                "trust_zone": role,
            }
            for role in roles
        ],
        "data_sets": [_data_set(artefact, roles) for artefact in system.artefacts],
        "data_flows": [one for flow in system.flows for one in _data_flows(flow)],
        "assumptions": [
            {"description": text, "topics": [_symbol(claim.id)], "validity": "unconfirmed"}
            for model in models
            for claim in model.claims
            for text in claim.assumptions
        ],
        "threat_personas": [_persona(model) for model in models],
        "threats": [_threat(model, entry) for model, entry in entries],
        "controls": [_control(entry) for _, entry in entries],
        "extensions": {EXTENSION: msgspec.json.decode(msgspec.json.encode(models))},
    }


def _data_set(artefact: Artefact, roles: Iterable[str]) -> dict[str, Any]:
    keepers = [r for r in roles if r != _EXCHANGE] if artefact.keeper == "any party" else [artefact.keeper]
    return {
        "symbolic_name": _symbol(f"{artefact.keeper} {artefact.name}"),
        "title": artefact.name,
        "description": f"Readable by {', '.join(artefact.readable_by)}. Protected: {artefact.protected}",
        "placements": [{"data_store": _store(keeper)} for keeper in keepers],
        "data_sensitivity": ["phi"] if artefact.derived_from_notes else [],
    }


def _data_flows(flow: DeclaredFlow) -> Iterator[dict[str, Any]]:
    """One for each sender; what everybody reads goes to the exchange."""
    receiver = _EXCHANGE if flow.receiver == "everybody" else flow.receiver
    for sender in flow.senders:
        yield {
            "symbolic_name": _symbol(f"{flow.artefact} {sender} {flow.receiver}"),
            "title": f"{flow.artefact} of a {sender}",
            "description": flow.carries,
            "source": {"type": "component", "object": sender},
            "destination": {"type": "component", "object": receiver},
            "has_sensitive_data": flow.derived_from_notes,
            "encrypted": flow.receiver != "everybody",
        }


def _persona(model: ThreatModel) -> dict[str, Any]:
    return {
        "symbolic_name": _symbol(model.id),
        "title": model.title,
        "description": f"Corrupts {model.adversary.corrupts}. Knows {'; '.join(model.adversary.knows)}.",
        "is_person": True,
        "skill_level": "expert_engineer",
        "access_level": "user",
        "malicious_intent": model.adversary.behaviour == "malicious",
        "applicability_to_org": "moderate",
    }


def _threat(model: ThreatModel, entry: Claim | Break) -> dict[str, Any]:
    return {
        "symbolic_name": _symbol(entry.id),
        "title": f"{entry.id} {_is_about(entry)}",
        "description": entry.text,
        "threat_persona": _symbol(model.id),
        "event": f"{model.title}: {model.adversary.corrupts}",
        "sources": ["adversary"],
    }


def _control(entry: Claim | Break) -> dict[str, Any]:
    if isinstance(entry, Claim):
        status, title = ("assumed" if entry.strength == "assumed" else "active"), entry.property
        backed = f"Backed by: {', '.join(entry.checks) or 'assumptions alone'}."
    else:
        status, title, backed = "suggested", "what would stop it", entry.stops_it
    return {
        "symbolic_name": _symbol(f"{entry.id} control"),
        "title": f"{entry.id} {title}",
        "description": backed,
        "threats": [_symbol(entry.id)],
        "status": status,
        "priority": "none",
    }


def _is_about(entry: Claim | Break) -> str:
    return entry.property if isinstance(entry, Claim) else "is possible"


def _store(keeper: str) -> str:
    return f"{keeper}-store"


def _symbol(text: str) -> str:
    """A symbolic name of that schema: lower-case letters, digits and hyphens."""
    return re.sub(r"[^0-9a-z]+", "-", text.lower()).strip("-")
