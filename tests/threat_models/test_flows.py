"""The declared flows are those of the protocols: every phase, its senders, and who can read its chunks."""

from __future__ import annotations

import json
from typing import get_args

import pytest
from small_study import SQUARE_SUMS, make_study

from secprune.exchange.api import Phase
from secprune.parties import session
from secprune.task import CountNoiseSpec, PrivacySpec, ResponseSpec
from secprune_threat_models import load_system

PHASES = set(get_args(Phase))
SYSTEM = load_system()
STUDIES = {
    "additive": {},
    "cleartext": {"protocol": "cleartext"},
    "pairwise": {"protocol": "pairwise", "aggregators": 1},
    "bfv": {"protocol": "bfv", "aggregators": 1, "key_holders": 1},
}


def of(protocol):
    return SYSTEM.in_study(protocol=protocol, payload="counts", mechanism="none")


def test_every_phase_is_declared_and_flows_are_of_phases():
    assert {f.artefact for f in SYSTEM.flows if not f.artefact.endswith(" chunks")} == PHASES
    assert {f.artefact.removesuffix(" chunks") for f in SYSTEM.flows} == PHASES
    assert {f.artefact for f in SYSTEM.flows}.isdisjoint(a.name for a in SYSTEM.artefacts)


def test_senders_are_those_whose_messages_parties_read():
    for flow in SYSTEM.flows:
        allowed = session._SENDERS.get(flow.artefact.removesuffix(" chunks"))
        if flow.artefact == "tasks":  # each party posts it, but it is the coordinator who has signed it
            assert flow.senders == ("coordinator",)
        elif flow.artefact.endswith(" chunks"):
            assert set(flow.senders) <= set(allowed)
        else:
            assert set(flow.senders) == set(allowed), flow.artefact


def test_messages_are_for_everybody_and_chunks_only_if_nothing_in_them_is_secret():
    for flow in SYSTEM.flows:
        if not flow.artefact.endswith(" chunks"):
            assert flow.receiver == "everybody"
            assert not flow.derived_from_notes
    open_to_all = {
        (f.artefact, f.applies.protocols)
        for f in SYSTEM.flows
        if f.receiver == "everybody" and f.derived_from_notes
    }
    assert open_to_all == {("reports chunks", ("cleartext",)), ("outcomes chunks", ())}


def test_a_leak_is_not_declared():
    additive = of("additive")
    assert additive.declares("client", "aggregator", "reports chunks")
    assert not additive.declares("client", "everybody", "reports chunks")
    assert not additive.declares("client", "coordinator", "reports chunks")
    assert not additive.declares("aggregator", "client", "shares chunks")
    assert not additive.declares("client", "client", "bundles chunks")  # of pairwise
    assert not additive.declares("client", "everybody", "notes")
    assert not additive.declares("client", "everybody", "unnamed chunks")
    # Control: each is declared somewhere.
    assert of("cleartext").declares("client", "everybody", "reports chunks")
    assert of("pairwise").declares("client", "client", "bundles chunks")
    assert SYSTEM.declares("client", "everybody", "reports chunks")


def test_a_study_has_what_belongs_to_it():
    names = set(of("additive").names)
    assert names & {"keys", "encrypted report", "local statistics", "noised votes"} == set()
    assert {"reports", "local pruning masks", "summed counts"} <= names
    private = SYSTEM.in_study(protocol="bfv", payload="square-sums", mechanism="dp-statistics")
    assert {"released sums", "local statistics", "encrypted report"} <= set(private.names)
    assert "local pruning masks" not in private.names


@pytest.mark.parametrize("protocol", STUDIES)
def test_a_study_sends_what_is_declared_for_its_protocol(tmp_path, protocol):
    study = make_study(tmp_path, **STUDIES[protocol])
    if protocol == "pairwise":
        outcomes = study.run_pairwise()
    elif protocol == "bfv":
        outcomes = study.run_bfv()
    else:
        study.submit()
        outcomes = study.run_servers()
    assert not [error for error in outcomes.values() if isinstance(error, Exception)]
    role = {party.name: party.role for party in study.task.parties}
    declared, sent = of(protocol), set()
    for path in (study.exchange / "messages").rglob("*"):
        if path.is_file():
            signer = json.loads(path.read_bytes())["signatures"][0]["keyid"]
            sent.add((role[signer], path.parent.name))
    assert sent
    for sender, phase in sent:
        assert declared.declares(sender, "everybody", phase), (sender, phase)
    rare = {
        "close",
        "outcomes",
        "abandoned",
        "ledger-heads",
    }  # small studies of one round that all goes well in
    assert {f.artefact for f in declared.flows if f.receiver == "everybody"} - {
        phase for _, phase in sent
    } <= rare | {f.artefact for f in declared.flows if f.artefact.endswith(" chunks")}


@pytest.mark.parametrize(
    "privacy",
    [
        PrivacySpec(),
        SQUARE_SUMS,
        PrivacySpec(mechanism="count-noise", count_noise=CountNoiseSpec(sigma="2")),
        PrivacySpec(mechanism="randomised-response", response=ResponseSpec(flip="0.1")),
    ],
    ids=["counts", "square-sums", "count-noise", "randomised-response"],
)
def test_a_study_keeps_what_is_declared_for_its_payload_and_mechanism(tmp_path, privacy):
    study = make_study(tmp_path, privacy=privacy)
    if privacy.payload == "square-sums":
        for seed, name in enumerate(study.clients):
            study.make_statistics(name, seed)
    study.submit()
    assert not [error for error in study.run_servers().values() if isinstance(error, Exception)]
    declared = SYSTEM.in_study(protocol="additive", payload=privacy.payload, mechanism=privacy.mechanism)
    seen = set()
    for party in study.task.parties:
        root = study.root / party.name
        for path in (path for path in root.rglob("*") if path.is_file()):
            artefact = declared.artefact_at(party.role, str(path.relative_to(root)))
            assert artefact is not None, path
            seen.add(artefact.name)
    assert len(seen & {"local pruning masks", "local statistics", "noised votes"}) == 1
