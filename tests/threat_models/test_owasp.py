"""The export has the form of the OWASP Threat Model Library's schema (v1.0.1), as far as a reader of it can check by hand."""

from __future__ import annotations

import json
import re

import pytest
from threat_model_study import CHECKS

from secprune_threat_models import load_models, load_system, owasp_document
from secprune_threat_models.owasp import EXTENSION, SCHEMA

MODELS = load_models(known_checks=CHECKS)
DOCUMENT = owasp_document(load_system(), MODELS)

# By list: fields that each of its objects must have, and may have.
FIELDS = {
    "trust_zones": ("symbolic_name title description", ""),
    "trust_boundaries": ("trust_zone_a trust_zone_b", "access_control_methods authentication_methods"),
    "actors": ("symbolic_name title description type trust_zone", "permissions"),
    "components": ("symbolic_name title description trust_zone", "parent_component repo_link"),
    "data_stores": ("symbolic_name title description type trust_zone", "vendor product"),
    "data_sets": (
        "symbolic_name title description placements data_sensitivity",
        "access_control_methods record_count",
    ),
    "data_flows": ("symbolic_name title description source destination has_sensitive_data encrypted", ""),
    "assumptions": ("description validity", "topics"),
    "threat_personas": (
        "symbolic_name title description is_person skill_level access_level malicious_intent applicability_to_org",
        "",
    ),
    "threats": (
        "symbolic_name title description threat_persona event sources",
        "components_affected attack_mechanisms weaknesses",
    ),
    "controls": ("symbolic_name title description threats status priority", "trust_boundary"),
}
ENUMS = {
    ("data_stores", "type"): {"sql", "key_value", "document", "object", "graph", "time_series"},
    ("assumptions", "validity"): {"unconfirmed", "confirmed", "rejected"},
    ("threat_personas", "skill_level"): {"script_kid", "insider", "engineer", "expert_engineer"},
    ("threat_personas", "access_level"): {"anonymous", "user", "admin"},
    ("threat_personas", "applicability_to_org"): {"minimal", "low", "moderate", "high", "maximal"},
    ("controls", "status"): {"assumed", "active", "suggested"},
    ("controls", "priority"): {"none", "low", "medium", "high", "critical"},
}


def names(what):
    return [one["symbolic_name"] for one in DOCUMENT[what]]


def test_the_document_has_the_required_parts_and_no_unknown_one():
    required = {"version", "scope", "trust_zones", "trust_boundaries", "actors", "components", "data_stores", "data_sets", "data_flows"}  # fmt: skip
    allowed = required | set(FIELDS) | {"$schema", "description", "extensions"}
    assert required <= set(DOCUMENT) <= allowed
    assert DOCUMENT["$schema"] == SCHEMA
    assert re.fullmatch(r"\d+(\.\d+)*", DOCUMENT["version"])
    assert set(DOCUMENT["scope"]) == {"title", "description", "business_criticality", "data_sensitivity", "exposure", "tier"}  # fmt: skip
    assert DOCUMENT["description"]
    json.dumps(DOCUMENT)


@pytest.mark.parametrize("what", FIELDS)
def test_objects_have_their_fields(what):
    must, may = (set(text.split()) for text in FIELDS[what])
    for one in DOCUMENT[what]:
        assert must <= set(one) <= must | may
        for (of, field), allowed in ENUMS.items():
            assert of != what or one[field] in allowed
    if "symbolic_name" in must:
        assert len(set(names(what))) == len(names(what))
        assert all(re.fullmatch(r"[0-9a-z-]+", name) for name in names(what))


def test_references_are_to_what_is_there():
    zones, components, stores = (set(names(what)) for what in ("trust_zones", "components", "data_stores"))
    personas, threats = set(names("threat_personas")), set(names("threats"))
    for boundary in DOCUMENT["trust_boundaries"]:
        assert {boundary["trust_zone_a"], boundary["trust_zone_b"]} <= zones
    for one in DOCUMENT["components"] + DOCUMENT["data_stores"]:
        assert one["trust_zone"] in zones
    for one in DOCUMENT["data_sets"]:
        assert {placed["data_store"] for placed in one["placements"]} <= stores
    for flow in DOCUMENT["data_flows"]:
        for end in (flow["source"], flow["destination"]):
            assert end["type"] == "component"
            assert end["object"] in components
    assert {threat["threat_persona"] for threat in DOCUMENT["threats"]} == personas
    assert {threat for control in DOCUMENT["controls"] for threat in control["threats"]} == threats


def test_bindings_stand_in_the_extension_and_nothing_is_lost():
    assert re.fullmatch(
        r"([A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z]+(/[-$%'()*+,.:;=@^_~0-9A-Za-z]+)+", EXTENSION
    )
    assert set(DOCUMENT["extensions"]) == {EXTENSION}
    for model, exported in zip(MODELS, DOCUMENT["extensions"][EXTENSION], strict=True):
        assert exported["non_claims"] == list(model.non_claims)
        assert [claim["checks"] for claim in exported["claims"]] == [list(c.checks) for c in model.claims]
        assert exported["sees"] == list(model.sees)


def test_an_assumed_claim_is_exported_as_assumed_and_a_break_as_open():
    status = {control["threats"][0].upper(): control["status"] for control in DOCUMENT["controls"]}
    for model in MODELS:
        for claim in model.claims:
            assert status[claim.id] == ("assumed" if claim.strength == "assumed" else "active")
        for found in model.breaks:
            assert status[found.id] == "suggested"
