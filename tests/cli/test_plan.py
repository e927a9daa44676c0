"""`secprune auditor plan` as people and programs see it, and the command of its document."""

from __future__ import annotations

import json
import math
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from private_study import make_public_reference
from tiny_models import make_checkpoint
from typer.testing import CliRunner

from secprune.errors import ConfigurationError, LocalMisuseError
from secprune.parties.planning import noises_that_count
from secprune.parties.study_privacy import PrivacyOptions, privacy_spec, usual_cohort
from secprune.pruning.reference import read_reference
from secprune.task import StatisticsSpec
from secprune_cli.main import app

DOCUMENT = Path(__file__).parents[2] / "docs" / "privacy-planning.md"
SMALL = ("--hospitals", "3,8", "--patients", "50,5000", "--epsilon", "1,8")


@pytest.fixture(scope="module")
def root(checkpoint, tmp_path_factory):
    directory = tmp_path_factory.mktemp("plan")
    shutil.copytree(checkpoint, directory / "model")
    make_public_reference(checkpoint, directory)
    return directory


def plan(root, *arguments, reference="reference.safetensors", small=SMALL):
    words = ["auditor", "plan", "--reference", root / reference, *small, *arguments]
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "160"})


def flat(text):
    return " ".join(text.split())


def test_json_without_a_model(root):
    done = plan(root, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    known = read_reference(root / "reference.safetensors")
    assert (found["clip"], found["shift_measured"]) == (known.typical_clip, known.facts.shift)
    assert found["shift"] == pytest.approx(known.facts.shift, abs=1e-8)
    assert "No private data were looked at" in found["assumption"]
    assert found["public_only_agreement"] is None
    assert found["ladder"] == []
    assert 0 < found["pulled_by_clip"] < 1
    assert [(p["epsilon"], p["payload"]) for p in found["prices"]] == [
        ("1", "square-sums"), ("1", "counts"), ("8", "square-sums"), ("8", "counts"),
    ]  # fmt: skip
    for price in found["prices"]:
        z, clip = float(price["noise_multiplier"]), float(found["clip"])
        for case in price["cases"]:
            n, each = case["hospitals"], case["patients_per_hospital"]
            if price["payload"] == "counts":
                noise = z * clip / each
            else:
                noise = z * clip * math.sqrt(n / {3: 2, 8: 4}[n]) / (n * each)
            assert case["noise"] == pytest.approx(noise)
            assert case["noise_to_signal"] == pytest.approx(noise / found["shift"])
            assert case["agreement"] is None
            assert case["worth_having"] == (noise <= found["shift"] / math.sqrt(3))
        assert {True, False} >= {case["worth_having"] for case in price["cases"]}
        assert price["smallest"] in price["thresholds"]
        assert price["smallest"]["patients"] == min(t["patients"] for t in price["thresholds"])
        for threshold in price["thresholds"]:
            assert (
                0 <= threshold["patients_per_hospital"] * threshold["hospitals"] - threshold["patients"] < 8
            )
            assert threshold["epsilon_intact"] <= float(price["epsilon"])
            if price["payload"] == "counts":
                assert threshold["epsilon_collapsed"] is None
            else:
                assert threshold["epsilon_collapsed"] > threshold["epsilon_intact"]


def test_with_the_model_agreement_and_the_public_only_baseline(root):
    found = json.loads(plan(root, "--json", "--model", root / "model", "--sparsity", "1/2").stdout)
    assert found["shift"] in [error for error, _ in found["ladder"]]
    baseline = found["public_only_agreement"]
    assert 0.5 < baseline < 1
    cases = [case for price in found["prices"] for case in price["cases"]]
    assert all(baseline <= case["agreement"] <= 1 for case in cases)
    assert all(case["worth_having"] == (1 - case["agreement"] <= (1 - baseline) / 2) for case in cases)
    assert {case["worth_having"] for case in cases} == {True, False}
    by_noise = sorted(cases, key=lambda case: case["noise"])
    assert [c["agreement"] for c in by_noise] == sorted((c["agreement"] for c in by_noise), reverse=True)


def test_a_table_for_people(root):
    for arguments in ((), ("--model", root / "model")):
        shown = plan(root, *arguments)
        assert shown.exit_code == 0, shown.output
        text = flat(shown.stdout)
        assert (
            "No private data were looked at. How far the hospitals' text is from the public text is an assumption"
            in text
        )
        assert "epsilon 1: noise multiplier 4.5309" in text
        assert re.search(r"epsilon 8, square-sums: worth having from \d+ patients on, at 8 hospitals of \d+|"
                         r"epsilon 8, square-sums: worth having from \d+ patients on, at 3 hospitals of \d+", text)  # fmt: skip
        assert ("mask agreement" in text) == bool(arguments)
        assert ("of the mask at sparsity 0.5" in text) == bool(arguments)


def test_a_given_shift_is_called_given(root):
    shown = flat(plan(root, "--shift", "0.8", "--clip", "3").stdout)
    assert "a number that was given" in shown
    assert "error 0.8000" in shown
    assert "a number that was given" not in flat(plan(root).stdout)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("--hospitals", "4,,8"), "no list of hospitals"),
        (("--hospitals", "4,4"), "no list of hospitals"),
        (("--hospitals", "2,4"), "cannot have 2 hospitals"),
        (("--hospitals", "70000"), "cannot have 70000 hospitals"),
        (("--patients", "25;100"), "no list of patients"),
        (("--patients", "-5"), "no list of patients"),
        (("--patients", "0"), "cannot have 0 patients per hospital"),
        (("--epsilon", "one"), "epsilon cannot be 'one'"),
        (("--epsilon", "1,0"), "epsilon cannot be 0"),
        (("--epsilon", ""), "no list of epsilons"),
        (("--delta", "1"), "delta is 1"),
        (("--delta", "0"), "delta is 0"),
        (("--clip", "0"), "clip bound of 0"),
        (("--clip", "99999"), "clip bound of 99999"),
        (("--shift", "0.00001"), "shift of 0.00001"),
        (("--shift", "5"), "shift of 5"),
        (("--sparsity", "1"), "sparsity '1'"),
        (("--sparsity", "1/0"), "sparsity '1/0'"),
    ],
)
def test_numbers_that_cannot_be(root, arguments, what):
    done = plan(root, *arguments)
    assert isinstance(done.exception, LocalMisuseError), done.output
    assert done.exception.exit_code == 2
    assert what in done.exception.message
    assert done.exception.hint
    assert not done.stdout


def test_no_reference_another_model_and_no_such_noise(root, tmp_path):
    done = plan(root, reference="missing")
    assert isinstance(done.exception, LocalMisuseError)
    assert "no public reference" in done.exception.message
    other = make_checkpoint(tmp_path / "other", "llama", seed=4)
    done = plan(root, "--model", other)
    assert isinstance(done.exception, ConfigurationError)
    assert "another model" in done.exception.message
    done = plan(root, "--epsilon", "0.0000001", "--delta", "1e-15")
    assert isinstance(done.exception, ConfigurationError)
    assert "no noise multiplier" in done.exception.message
    assert plan(root, "--model", root / "model").exit_code == 0


def test_it_runs_without_torch_and_opacus_unless_there_is_a_model(root):
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['torch', 'transformers', 'opacus']))\n"
        "from secprune_cli.main import main; main()"
    )
    command = [
        sys.executable,
        "-c",
        code,
        "auditor",
        "plan",
        "--reference",
        "reference.safetensors",
        "--json",
    ]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["prices"]
    done = subprocess.run(
        [*command, "--model", "model"], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 6
    assert "secprune[prune]" in json.loads(done.stderr)["hint"]


@pytest.mark.parametrize("clients", [3, 4, 8, 15, 16, 64])
def test_its_noise_is_that_of_a_task_with_the_defaults(root, clients):
    known = read_reference(root / "reference.safetensors")
    spec = privacy_spec(
        PrivacyOptions(payload="square-sums", epsilon="2"),
        StatisticsSpec(inputs=known.facts.inputs, reference=known.digest),
        clip=known.typical_clip,
        clients=clients,
        min_clients=usual_cohort(clients),
    )
    assert noises_that_count(clients) == usual_cohort(clients) - spec.of_patients.colluders
    found = json.loads(plan(root, "--epsilon", "2", "--json").stdout)
    assert float(found["prices"][0]["noise_multiplier"]) == pytest.approx(float(spec.of_patients.z), rel=1e-3)
    assert found["clip"] == spec.of_patients.clip


def test_the_command_of_the_document(root, monkeypatch):
    monkeypatch.chdir(root)
    (command,) = re.findall(r"^\$ secprune (auditor plan .*)$", DOCUMENT.read_text(), flags=re.MULTILINE)
    done = CliRunner().invoke(app, shlex.split(command))
    assert done.exit_code == 0, done.output
    assert "worth having from" in done.stdout
