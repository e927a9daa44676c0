"""The shipped threat models: complete, honest, and each claim bound to checks that fit its studies."""

from __future__ import annotations

import importlib.resources
import re
from pathlib import Path

import pytest
from threat_model_study import (
    ATTACKS,
    BOUNDS,
    CHECKS,
    CONFORMANCE,
    ESTIMATES,
    KINDS,
    PROOFS,
    RECORDS,
    WEAKNESSES,
)

from secprune.audit.check import Kind
from secprune_threat_models import load_models

ROOT = Path(__file__).parents[2]
MODELS = load_models(known_checks=CHECKS)
CLAIMS = [(model, claim) for model in MODELS for claim in model.claims]
BREAKS = [(model, found) for model in MODELS for found in model.breaks]
ENTRIES = CLAIMS + BREAKS
of_entry = {"argvalues": ENTRIES, "ids": [entry.id for _, entry in ENTRIES]}
of_claim = {"argvalues": CLAIMS, "ids": [claim.id for _, claim in CLAIMS]}

NEEDS = {
    "protocols": {
        ("additive",): {"share-view-exhaustive", "share-view", "membership-share", "row-sums", "all-aggregators", "paired-votes"},
        ("pairwise",): {"pairwise-view"},
        ("bfv",): {"bfv-view", "bfv-malleability"},
        ("additive", "pairwise", "bfv"): {"hybrid-sealing"},
    },
    "payloads": {
        ("counts",): {"row-sums", "paired-votes", "mask-inversion", "membership-mask", "membership-counts", "unanimity", "specialty-mask", "membership-share"},
        ("square-sums",): {"membership-square-sums"},
    },
    "mechanisms": {
        ("dp-statistics",): {"sensitivity", "replace-one", "noise-conformance", "accounting", "canary-bound", "gaussian-estimate", "membership-dp", "specialty-dp"},
        ("none",): {"membership-square-sums", "membership-counts", "unanimity", "property-in-sum"},
        ("count-noise", "randomised-response"): {"membership-count-noise"},
    },
}  # fmt: skip
"""In which studies a check can say something."""


def test_there_is_a_model_of_each_adversary():
    assert [model.id for model in MODELS] == [f"TM{number:02}" for number in range(1, 14)]
    files = importlib.resources.files("secprune_threat_models") / "models"
    assert {f.name for f in files.iterdir()} == {f"{model.id}.toml" for model in MODELS}
    assert {model.source for model in MODELS} == {"shipped"}


def test_every_check_backs_a_claim_or_shows_a_break():
    backing = {check for _, claim in CLAIMS for check in claim.checks}
    showing = {check for _, found in BREAKS for check in found.checks}
    assert backing == PROOFS | CONFORMANCE | RECORDS | ATTACKS | BOUNDS | ESTIMATES
    assert showing == WEAKNESSES


@pytest.mark.parametrize(("model", "entry"), **of_entry)
def test_checks_fit_the_studies_that_an_entry_is_about(model, entry):
    for what, kinds in NEEDS.items():
        about = set(getattr(entry.applies, what)) or set(getattr(model.applies, what))
        for allowed, checks in kinds.items():
            for check in checks & set(entry.checks):
                # What a stolen mask or a study in the clear shows is shown on a mask, wherever it was.
                if check in {"mask-inversion", "membership-mask"} and "cleartext" in about:
                    continue
                assert about, f"{entry.id} names {check} and does not say for which {what}"
                assert about <= set(allowed), f"{entry.id} names {check}"


@pytest.mark.parametrize(("model", "claim"), **of_claim)
def test_a_claims_strength_is_that_of_its_checks_and_kinds_are_not_mixed(model, claim):
    kinds = {KINDS[check] for check in claim.checks}
    match claim.strength:
        case "proof":
            assert kinds == {Kind.PROOF}
        case "conformance":
            assert kinds <= {Kind.PROOF, Kind.CONFORMANCE, Kind.RECORD}
            assert kinds != {Kind.PROOF}
        case "empirical":
            assert len(kinds) == 1
            assert kinds <= {Kind.ATTACK, Kind.LOWER_BOUND, Kind.ESTIMATE}
        case "assumed":
            assert not kinds


@pytest.mark.parametrize(("model", "claim"), **of_claim)
def test_nothing_is_promised_to_a_patient_but_epsilon_with_its_unit_and_only_with_noise(model, claim):
    promises = "epsilon, delta" in claim.property
    assert promises == ("(epsilon, delta) per patient" in claim.property)
    if promises:
        assert claim.applies.mechanisms == ("dp-statistics",)
        assert "epsilon" in claim.text
        assert {"epsilon", "unit"} <= set(claim.params) or "label" in claim.text
    if claim.applies.mechanisms != ("dp-statistics",):
        assert "patient" not in claim.text
        assert "epsilon" not in claim.text
    assert "differentially private" not in claim.text


def test_every_known_weakness_of_the_documents_is_in_some_model():
    """Each number of docs/attacks.md is named where it belongs: in a break, or in what is not claimed."""
    known = set(re.findall(r"^### (\d+)\.", (ROOT / "docs" / "attacks.md").read_text(), flags=re.MULTILINE))
    texts = [text for m in MODELS for text in m.non_claims] + [found.text for _, found in BREAKS]
    named = {
        number
        for text in texts
        for group in re.findall(r"attacks\.md, ([\d, and]+)", text)
        for number in re.findall(r"\d+", group)
    }
    assert named == known


def test_who_reads_the_exchange_sees_every_message_and_nobody_sees_another_clients_notes_but_an_insider():
    views = {model.id: set(model.sees) for model in MODELS}
    assert {id_ for id_, sees in views.items() if "identity keys" in sees} == {"TM10"}
    assert {"local pruning masks", "notes"} & views["TM01"] == set()
    assert "sealed chunk" in views["TM05"]
    assert not any(
        name.endswith(" chunks") for name in views["TM05"] - {"outcomes chunks", "key-shares chunks"}
    )
