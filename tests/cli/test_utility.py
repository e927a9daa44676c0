"""`secprune utility` on a tiny model: what it measures, what it keeps, and how it goes on."""

from __future__ import annotations

import json
import stat
from fractions import Fraction

import numpy as np
import pytest
from command_line import called
from tiny_models import NOTES, make_checkpoint

from secprune.errors import LocalMisuseError
from secprune_cli.utility.cells import NONE, Cell, Choices, numbers
from secprune_cli.utility.measure import Finding
from secprune_cli.utility.table import tables

CHOICES = Choices(
    references=("near", "far"),
    payloads=("counts", "square-sums"),
    hospitals=(3,),
    patients=(2, 4),
    epsilons=("8", NONE),
    delta="1e-6",
    seeds=2,
)


def test_every_study_has_its_baselines_and_noiseless_ones_are_measured_once():
    cells = CHOICES.cells()
    assert len(set(cells)) == len(cells) == 2 + 2 + 2 * 2 * 2 * (2 + 1)
    assert CHOICES.multipliers()[NONE] == 0
    assert Fraction("0.6") < CHOICES.multipliers()["8"] < 1


@pytest.mark.parametrize("text", ["", "0", "4,", "four", "-1", "1e3", "9999999"])
def test_lists_that_are_none(text):
    with pytest.raises(LocalMisuseError, match="--patients cannot be"):
        numbers(text, "--patients")
    assert numbers("100, 25,25", "--patients") == (25, 100)


def test_the_table_has_means_ranges_and_dashes():
    found = {
        Cell(kind="public only", reference="near"): Finding(perplexity=7.0),
        Cell(kind="pooled", hospitals=3, patients=2): Finding(
            perplexity=6.5, agreement=1.0, agreement_of_public={"near": 0.9}
        ),
    }
    for seed, value in enumerate((8.0, 9.0)):
        cell = Cell(
            kind="study", reference="near", payload="counts", hospitals=3, patients=2, epsilon="8", seed=seed
        )
        found[cell] = Finding(perplexity=value, agreement=0.75)
    lines = tables(CHOICES, found).splitlines()
    assert "| near | counts | 3 x 2 | 8.50 ± 0.50 | - | 7.00 | 6.50 |" in lines
    assert "| near | counts | 3 x 2 | 0.7500 | - | 0.9000 | 1.0000 |" in lines
    assert "| far | square-sums | 3 x 4 | - | - | - | - |" in lines


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    root = tmp_path_factory.mktemp("utility")
    make_checkpoint(root / "tiny", "llama", seed=3)
    (root / "data").mkdir()
    for index in range(3):
        notes = enumerate(NOTES[index * 9 : index * 9 + 9])
        lines = [json.dumps({"patient": f"p{number}", "text": note}) for number, note in notes]
        (root / "data" / f"h{index}.jsonl").write_text("\n".join(lines))
    (root / "near.txt").write_text("\n\n".join(NOTES[27:]))
    return root


def utility(material, out, *arguments, check=True):
    return called(
        "utility", "--model", "tiny", "--data", "data", "--public", "near.txt",
        "--epsilon", "3000,none", "--hospitals", "3", "--patients", "6", "--sequence-length", "16", "--seeds", "1",
        "--out", out, "--json", *arguments, check=check, cwd=material,
    )  # fmt: skip


def test_a_run_is_resumed_private_and_without_noise_what_parties_compute(material, tmp_path):
    out = tmp_path / "out"
    first = json.loads(utility(material, out, "--payload", "square-sums").stdout)
    assert (first["measured_now"], first["measured_before"]) == (4, 0)
    for path in out.rglob("*"):
        if path.name != "utility.md":
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    again = json.loads(utility(material, out, "--payload", "square-sums,counts").stdout)
    assert (again["measured_now"], again["measured_before"]) == (2, 4)
    (results,) = out.glob("results-*.jsonl")
    found = {json.dumps(c): f for c, f in map(json.loads, results.read_text().splitlines())}
    studies = [f for c, f in found.items() if '"study"' in c]
    assert len(studies) == 4
    assert all(0.5 < f["agreement"] <= 1 for f in studies)
    # With next to no noise, the same as with none.
    almost = {c: f for c, f in found.items() if '"3000"' in c}
    for cell, finding in almost.items():
        clean = next(f for c, f in found.items() if c == cell.replace('"3000"', '"none"'))
        np.testing.assert_allclose(finding["agreement"], clean["agreement"], atol=0.05)
    assert "epsilon 3000" in (out / "utility.md").read_text()


def test_too_few_patients_are_refused(material, tmp_path):
    done = utility(material, tmp_path / "out", "--patients", "8", check=False)
    assert done.returncode == 2
    assert "has 7 patients beside those held out, 8 are asked for" in " ".join(done.stderr.split())
