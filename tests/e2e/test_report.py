"""`secprune auditor report` and `verify` as an auditor runs them, on a finished demo of a tiny model."""

from __future__ import annotations

import contextlib
import json
import shutil

import msgspec
import pytest
from command_line import secprune
from msgspec.structs import replace
from tiny_models import NOTES, make_checkpoint

from secprune.audit.check import Kind, Verdict
from secprune.audit.evidence import Evidence
from secprune.errors import RemoteMisbehaviourError
from secprune.parties.auditor.bundle import verify_evidence, write_bundle
from secprune.storage.keyfile import read_identity
from secprune_cli.report.command import ThreatModels, rendered


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root = tmp_path_factory.mktemp("audited")
    model, data = make_checkpoint(root / "tiny", "llama", seed=1), root / "data"
    data.mkdir()
    for index in range(3):
        (data / f"ward-{index}.txt").write_text("\n\n".join(NOTES[index * 13 : index * 13 + 13]))
    make_checkpoint(root / "other", "llama", seed=2)
    demo = ("demo", "--model", model, "--data", data, "--sequence-length", 16)
    secprune(*demo, "--out", root / "study")
    secprune(*demo, "--out", root / "cleartext", "--protocol", "cleartext")
    return root


@pytest.fixture(scope="module")
def report(study):
    out = study / "report"
    secprune("keys", "new", "--role", "auditor", "--name", "watchdog", "--dir", study / "keys")
    done = secprune(
        "auditor",
        "report",
        "--study",
        study / "study",
        "--out",
        out,
        "--rehearse",
        "--notes",
        study / "data",
        "--seed",
        5,
        "--keys",
        study / "keys",
        "--json",
    )
    return out, json.loads(done.stdout)


def evidence_of(out):
    return json.loads((out / "evidence.json").read_text())


def test_a_sound_study_has_no_refuted_claim(report):
    out, result = report
    assert result["refuted"] == []
    assert result["seed"] == 5
    assert result["claims"]["PROVED"] >= 1
    assert {"TM03-B1", "TM04-B1"} <= set(result["breaks"])
    found = {check["check"]: check for check in evidence_of(out)["results"]}
    assert found["membership-share"]["verdict"] in {
        "NOT REFUTED",
        "NO POWER",
    }  # the model is a tiny random one
    assert found["declared-flows"]["verdict"] == "CONFORMS"
    assert found["residue"]["verdict"] == "CONFORMS"
    assert found["bfv-view"]["verdict"] == "NOT RUN"
    assert all(check["why"] for check in found.values() if check["verdict"] == "NOT RUN")
    html = (out / "report.html").read_text()
    assert "first 2 of 2 decoder blocks" in html.replace("\n", " ")


def test_nothing_of_a_note_or_mask_is_in_the_evidence(report):
    out, _ = report
    text = (out / "evidence.json").read_text() + (out / "report.html").read_text()
    assert not [note for note in NOTES if note[:30] in text]
    assert sorted(path.name for path in out.iterdir()) == [
        "auditor.card.json",
        "evidence.json",
        "manifest.json",
        "report.html",
    ]  # and no private key, for all of it is filed


def test_evidence_is_verified_offline_and_with_the_study(study, report):
    out, result = report
    alone = json.loads(secprune("auditor", "verify", "--evidence", out, "--json").stdout)
    assert (alone["fingerprint"], alone["repeated"]) == (result["fingerprint"], [])
    again = secprune("auditor", "verify", "--evidence", out, "--study", study / "study", "--json")
    repeated = {
        "share-view",
        "share-view-exhaustive",
        "row-sums",
        "ledgers-agree",
        "cohort-size",
        "one-release",
    }
    assert repeated <= set(json.loads(again.stdout)["repeated"])


@pytest.mark.parametrize("file", ["evidence.json", "report.html"])
def test_a_changed_file_is_found(report, tmp_path, file):
    out = shutil.copytree(report[0], tmp_path / "report")
    (out / file).write_text((out / file).read_text().replace("CONFORMS", "PROVED", 1))
    done = secprune("auditor", "verify", "--evidence", out, check=False)
    assert done.returncode == 4
    assert f"{file} was changed after it was signed" in " ".join(done.stderr.split())


def of(evidence, check):
    return next(result for result in evidence.results if result.check == check)


def with_result(evidence, check, **changed):
    results = tuple(replace(r, **changed) if r.check == check else r for r in evidence.results)
    return judged(replace(evidence, results=results))


def with_facts(evidence, **changed):
    return judged(replace(evidence, facts=replace(evidence.facts, **changed)))


def judged(evidence):
    """With the statuses that follow, as a careful liar would write them."""
    results = {result.check: result for result in evidence.results}
    return replace(evidence, models=ThreatModels.load().evaluate(results, evidence.facts))


def missed(result):
    return replace(result.measurement, refuted=False, says="Nothing.")


LIES = {
    "a better verdict": (
        lambda e: with_result(e, "row-sums", verdict=Verdict.PROVED),
        "row-sums says PROVED, its measurements say CONFORMS",
    ),
    "a better kind": (
        lambda e: with_result(e, "row-sums", kind=Kind.PROOF, verdict=Verdict.PROVED),
        "row-sums is another kind of check",
    ),
    "a control left out": (
        lambda e: with_result(e, "share-view", controls=of(e, "share-view").controls[1:]),
        "share-view was run with other controls",
    ),
    "another seed": (lambda e: with_result(e, "share-view", seed=9), "from another seed"),
    "a check left out": (
        lambda e: judged(replace(e, results=e.results[1:])),
        "the checks are not those of this version",
    ),
    "a check twice": (
        lambda e: judged(replace(e, results=(*e.results, e.results[0]))),
        "the checks are not those of this version",
    ),
    "a better status": (lambda e: replace(e, models=e.models[:-1]), "the statuses of the list"),
    "another auditor": (lambda e: replace(e, auditor="ministry"), "says that ministry made it"),
}
ABOUT_THE_STUDY = {
    "more clients": (
        lambda e: with_facts(e, cohort=(*e.facts.cohort, "ward-9")),
        "the facts of the study are others: cohort",
    ),
    "another promise": (
        lambda e: with_facts(e, mechanism="dp-statistics"),
        "the facts of the study are others: mechanism",
    ),
    "a flow left out": (lambda e: replace(e, flows=e.flows[1:]), "who sent what to whom"),
    "an input left out": (
        lambda e: replace(e, inputs=dict(list(e.inputs.items())[1:])),
        "task.toml is not here as it was",
    ),
    "other figures": (
        lambda e: with_result(
            e, "share-view", measurement=replace(missed(of(e, "share-view")), sample=10**9)
        ),
        "share-view gives other figures",
    ),
    "another cohort size": (
        lambda e: with_result(e, "cohort-size", measurement=missed(of(e, "cohort-size"))),
        "cohort-size gives other figures",
    ),
}


@pytest.mark.parametrize("lie", [*LIES, *ABOUT_THE_STUDY])
def test_a_signed_lie_is_found(study, report, tmp_path, lie):
    """An auditor who writes, and signs, something better than it found."""
    evidence = msgspec.json.decode((report[0] / "evidence.json").read_bytes(), type=Evidence)
    told, message = (LIES | ABOUT_THE_STUDY)[lie]
    told = told(evidence)
    identity, card = read_identity(study / "keys" / "identity.key")
    tmp_path.chmod(0o700)
    write_bundle(tmp_path, told, "a page", identity=identity, card=card)
    whole = study / "study" if lie in ABOUT_THE_STUDY else None
    with pytest.raises(RemoteMisbehaviourError, match=message) as caught:
        verify_evidence(tmp_path, ThreatModels.load(), render=lambda _evidence: "a page", study=whole)
    assert caught.value.party == "watchdog"


def test_a_report_that_says_something_else_than_its_evidence_is_found(study, report, tmp_path):
    evidence = msgspec.json.decode((report[0] / "evidence.json").read_bytes(), type=Evidence)
    identity, card = read_identity(study / "keys" / "identity.key")
    tmp_path.chmod(0o700)
    html = rendered(evidence).replace("CONFORMS", "PROVED")
    write_bundle(tmp_path, evidence, html, identity=identity, card=card)
    done = secprune("auditor", "verify", "--evidence", tmp_path, check=False)
    assert done.returncode == 4
    assert "report.html is not what this version makes of evidence.json" in " ".join(done.stderr.split())


def test_a_study_in_the_clear_is_refuted_and_reported_all_the_same(study, tmp_path):
    done = secprune(
        "auditor", "report", "--study", study / "cleartext", "--out", tmp_path / "out", check=False
    )
    assert done.returncode == 7
    assert "claim refuted" in done.stderr
    found = {check["check"]: check for check in evidence_of(tmp_path / "out")["results"]}
    assert found["share-view"]["verdict"] == "REFUTED"
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000


def test_a_planted_leak_is_found(study, tmp_path):
    planted = shutil.copytree(study / "study", tmp_path / "study")
    mask = next((planted / "ward-0").glob("tasks/*/round-000/pruning-masks.safetensors"))
    (planted / "aggregator-1" / "tasks").mkdir(exist_ok=True)
    shutil.copy(mask, planted / "aggregator-1" / "tasks" / "cache.bin")
    done = secprune("auditor", "report", "--study", planted, "--out", tmp_path / "out", check=False)
    assert done.returncode == 7
    found = {check["check"]: check for check in evidence_of(tmp_path / "out")["results"]}
    assert found["residue"]["verdict"] == "REFUTED"
    assert "aggregator-1" in found["residue"]["measurement"]["says"]


@pytest.mark.parametrize(
    ("old", "new", "right"),
    [
        ('class="plot" role="img"', 'class="plot" role="img" data-other="1"', True),
        ("What is not protected", "What is protected", False),
    ],
)
def test_plots_of_another_matplotlib_are_not_compared_and_words_are(study, report, tmp_path, old, new, right):
    found = msgspec.json.decode((report[0] / "evidence.json").read_bytes(), type=Evidence)
    evidence = replace(found, versions=found.versions | {"matplotlib": "0.1"})
    identity, card = read_identity(study / "keys" / "identity.key")
    tmp_path.chmod(0o700)
    html = rendered(evidence)
    assert old in html
    write_bundle(tmp_path, evidence, html.replace(old, new), identity=identity, card=card)
    with (
        contextlib.nullcontext()
        if right
        else pytest.raises(RemoteMisbehaviourError, match="not what this version")
    ):
        verify_evidence(tmp_path, ThreatModels.load(), render=rendered)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("report", "--study", ".", "--out", "new"), 2, "there is no study in ."),
        (("verify", "--evidence", "."), 2, "there is no evidence in ."),
        (("verify",), 2, "name either ledgers with --task, or --evidence"),
        (("report", "--study", "STUDY", "--out", "."), 2, "is not empty"),
        (("report", "--study", "STUDY", "--out", "new", "--threat-model", "note.txt"), 3, "note.txt"),
        (("report", "--study", "STUDY", "--out", "new", "--keys", "."), 6, "cannot read the identity keys"),
        (
            ("report", "--study", "STUDY", "--out", "new", "--rehearse", "--model", "OTHER"),
            3,
            "are not those of the task",
        ),
    ],
)
def test_bad_requests_end_in_a_message(study, tmp_path, arguments, code, message):
    (tmp_path / "note.txt").write_text("not TOML")
    places = {"STUDY": str(study / "study"), "OTHER": str(study / "other")}
    words = [places.get(word, word) for word in arguments]
    done = secprune("auditor", *words, check=False, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_threat_models_are_exported_and_a_consortiums_own_is_judged(study, tmp_path):
    secprune("auditor", "threats", "--owasp", tmp_path / "owasp.json")
    assert "TM13" in (tmp_path / "owasp.json").read_text()
    own = tmp_path / "own.toml"
    own.write_text("""
id = "TM90"
title = "A curious cleaner"
sees = ["sealed chunk"]
non_claims = ["Who took part."]
[adversary]
corrupts = "whoever reads the exchange's disk"
behaviour = "semi-honest"
knows = []
[[claims]]
id = "TM90-C1"
text = "What lies there is sealed."
property = "sealing"
strength = "conformance"
linddun = ["Data disclosure"]
checks = ["residue"]
""")
    done = secprune(
        "auditor",
        "report",
        "--study",
        study / "study",
        "--out",
        tmp_path / "out",
        "--threat-model",
        own,
        "--json",
    )
    assert json.loads(done.stdout)["refuted"] == []
    assert (
        secprune("auditor", "verify", "--evidence", tmp_path / "out", "--threat-model", own).returncode == 0
    )
    done = secprune("auditor", "verify", "--evidence", tmp_path / "out", check=False)
    assert done.returncode == 2
    assert "threat models TM90 are not at hand" in " ".join(done.stderr.split())
    models = {model["id"]: model for model in evidence_of(tmp_path / "out")["models"]}
    assert (models["TM90"]["source"], models["TM90"]["claims"][0]["status"]) == ("own.toml", "CONFORMS")
