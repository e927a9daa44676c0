"""`secprune demo` as its users run it: real processes, real files, a tiny model; once with the real LLM."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import called, secprune
from safetensors.numpy import load_file
from tiny_models import NOTES, make_checkpoint
from transformers import AutoModelForCausalLM, AutoTokenizer

KINDS = {"dense", "magnitude", "local_only", "federated"}


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    root = tmp_path_factory.mktemp("material")
    model = make_checkpoint(root / "tiny", "llama", seed=1)
    data = root / "data"
    data.mkdir()
    for index, name in enumerate(("Ward A", "ward-b", "clinic_c")):
        notes = NOTES[index * 13 : index * 13 + 13]
        if index == 1:
            (data / f"{name}.jsonl").write_text("\n".join(json.dumps({"text": note}) for note in notes))
        else:
            (data / f"{name}.txt").write_text("\n\n".join(notes))
    return model, data


@pytest.fixture(scope="module")
def finished(material, tmp_path_factory):
    model, data = material
    out = tmp_path_factory.mktemp("demo") / "out"
    done = secprune(
        "demo", "--aggregators", 2, "--protocol", "additive", "--sparsity", "0.5", "--model", model, "--data", data,
        "--out", out, "--json",
    )  # fmt: skip
    return model, out, json.loads(done.stdout), done.stderr


def test_result_json_keeps_its_contract(finished):
    _, out, printed, _ = finished
    result = json.loads((out / "result.json").read_text())
    assert result == printed
    assert result["protocol"] == "additive"
    assert result["n_max"] == result["cohort_size"] == 3
    assert result["differing_bits"] == 0
    assert set(result["perplexity"]) >= KINDS
    for kind in KINDS:
        measured = result["perplexity"][kind]
        assert set(measured["per_client"]) == {"ward-a", "ward-b", "clinic-c"}
        assert measured["worst"] == max(measured["per_client"].values())
        assert measured["mean"] == pytest.approx(sum(measured["per_client"].values()) / 3, abs=1e-3)
    assert result["sparsity"] == pytest.approx(0.5, abs=0.01)
    assert all(seconds >= 0 for seconds in result["seconds"].values())
    parties = {"coordinator", "aggregator-1", "aggregator-2", "ward-a", "ward-b", "clinic-c"}
    assert set(result["peak_rss_bytes"]) == parties
    assert all((out / party).is_dir() for party in parties)
    assert "Not differentially private" in result["privacy"]["label"]


def test_the_pruned_checkpoint_loads_in_stock_transformers_and_writes(finished):
    model, _, result, _ = finished
    pruned = AutoModelForCausalLM.from_pretrained(result["pruned_model"], local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(result["pruned_model"], local_files_only=True)
    ids = pruned.generate(**tokenizer("The patient", return_tensors="pt"), max_new_tokens=3, do_sample=False)
    assert ids.shape[1] > 3
    dense, sparse = (
        load_file(model / "model.safetensors"),
        load_file(Path(result["pruned_model"]) / "model.safetensors"),
    )
    provenance = json.loads((Path(result["pruned_model"]) / "secprune.json").read_text())
    assert set(sparse) == set(dense)
    for name, weights in dense.items():
        kept = sparse[name] == weights
        if name in provenance["pruned_per_matrix"]:
            assert np.count_nonzero(sparse[name] == 0) == weights.size // 2, name  # floor(R * C / 2), exactly
            assert (kept | (sparse[name] == 0)).all()
        else:
            assert kept.all()
    assert provenance["cohort_size"] == 3
    assert "quantization_config" not in json.loads((Path(result["pruned_model"]) / "config.json").read_text())


def test_no_note_leaves_its_hospital(finished):
    """Notes are in a hospital's own directory and in the referee's held-out files; nowhere else, no log either."""
    _, out, _, _ = finished
    places = {
        path.relative_to(out).parts[0]
        for path in out.rglob("*")
        if path.is_file() and any(note.encode()[:40] in path.read_bytes() for note in NOTES)
    }
    assert places == {"ward-a", "ward-b", "clinic-c", "held-out"}


def test_what_it_tells_people(finished):
    _, out, _, stderr = finished
    flat = " ".join(stderr.split())
    assert "3 hospitals (ward-a, clinic-c, ward-b)" in flat or "3 hospitals" in flat
    assert "try next" in flat
    assert str(out / "result.json") in "".join(stderr.split()) or "result.json" in stderr


@pytest.fixture(scope="module")
def patients(material, tmp_path_factory):
    """The same hospitals' notes, each saying whom it is about, and public text."""
    root = tmp_path_factory.mktemp("patients")
    (root / "data").mkdir()
    for index in range(3):
        notes = enumerate(NOTES[index * 9 : index * 9 + 9])
        lines = [json.dumps({"patient": f"p{number // 2}", "text": note}) for number, note in notes]
        (root / "data" / f"ward-{index}.jsonl").write_text("\n".join(lines))
    (root / "public.txt").write_text("\n\n".join(NOTES[27:]))
    return root


def test_a_demo_of_fedspallm_averages_what_hospitals_kept(material, tmp_path):
    model, data = material
    arguments = [
        "--protocol",
        "pairwise",
        "--algorithm",
        "fedspallm",
        "--local-sparsity",
        "ward-b=0.45",
        "--json",
    ]
    sampled = ["--capacity", "ward-a=2", "--capacity", "ward-b=2", "--capacity", "clinic-c=2"]
    done = secprune("demo", "--model", model, "--data", data, "--out", tmp_path / "out", *arguments, *sampled)
    result = json.loads(done.stdout)
    assert (result["differing_bits"], result["cohort_size"]) == (0, 3)
    assert result["sparsity"] == 0.5
    assert (
        result["wire_bits_per_weight"] > 64 / 32 + 64 / 3
    )  # 15-bit numbers of three clients: three to a word
    provenance = json.loads((Path(result["pruned_model"]) / "secprune.json").read_text())
    assert provenance["algorithm"] == "fedspallm"
    assert provenance["averaging"]["error_bound"] > 0
    assert "one client alone kept" in result["privacy"]["discloses"]


def test_a_demo_that_protects_patients_says_what_it_promises_and_whether_it_was_worth_it(
    material, patients, tmp_path
):
    done = secprune(
        "demo", "--model", material[0], "--data", patients / "data", "--public", patients / "public.txt",
        "--out", tmp_path / "out", "--epsilon", 8, "--payload", "square-sums", "--sequence-length", 16, "--json",
    )  # fmt: skip
    result = json.loads(done.stdout)
    assert result == json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["differing_bits"] == 0
    assert set(result["perplexity"]) == {"dense", "magnitude", "public_only", "federated"}
    privacy = result["privacy"]
    assert privacy["baseline_perplexity"] == result["perplexity"]["public_only"]["mean"]
    # where the noise drowns these few patients, the estimate falls back to the public mask itself
    assert 0.5 < privacy["baseline_mask_agreement"] <= 1
    assert ("better than public text" in privacy["worth"]) == (
        result["perplexity"]["federated"]["mean"] < privacy["baseline_perplexity"]
    )
    given = privacy["guarantee"]
    assert (given["unit"], given["delta"]) == ("patient", 1e-6)
    assert "zero-concentrated" in given["accountant"]
    assert given["epsilon"] <= 8 < given["epsilon_collapsed"]
    assert float(given["clip"]) > 0
    assert float(given["noise_multiplier"]) > 0
    assert given["sigma"][0] > given["sigma_per_party"][0] > 4
    assert "(8, 0.000001)-differentially private per patient" in privacy["label"]
    assert "worth it?" in done.stderr
    assert result["peak_rss_bytes"]["aggregator-1"] < 200 * 2**20  # still without torch


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--epsilon", 8), 2, "do not say which patient they are about"),
        (("--epsilon", "much", "--unit", "document"), 2, "epsilon cannot be 'much'"),
        (("--epsilon", 8, "--unit", "hospital"), 2, "this cannot be protected"),
        (("--epsilon", 8, "--unit", "document", "--activations", "sequential"), 3, "sequential pruning"),
        (("--epsilon", 8, "--unit", "document", "--local-pruner", "sparsegpt"), 3, "by wanda alone"),
        (("--clients", 9), 2, "holds 3 files of notes"),
        (("--protocol", "magic"), 2, "no protocol 'magic'"),
        (("--sparsity", "1.5"), 3, "sparsity 1.5 is not between 0 and 1"),
        (("--aggregators", 1), 3, "two or more aggregators"),
        (("--clients", 2), 3, "min_clients is 3"),
        (("--sequence-length", 100_000), 3, "windows of 100000 tokens are too long for this model"),
    ],
)
def test_bad_requests_end_in_a_message(material, tmp_path, arguments, code, message):
    model, data = material
    done = called(
        "demo", "--model", model, "--data", data, "--out", tmp_path / "out", *arguments, check=False
    )
    assert done.returncode == code, done.stderr
    assert message in " ".join(done.stderr.split())


def test_an_existing_output_directory_is_never_overwritten(material, tmp_path):
    model, data = material
    (tmp_path / "precious").write_text("keep")
    done = called("demo", "--model", model, "--data", data, "--out", tmp_path, check=False)
    assert done.returncode == 2
    assert [p.name for p in tmp_path.iterdir()] == ["precious"]


@pytest.mark.slow
def test_the_real_llm_gains_from_the_federation(tmp_path):
    """The main job with SmolLM2-135M and the shipped notes: the figures the README states."""
    done = secprune("demo", "--out", tmp_path / "out", "--eval-windows", 2, "--json", OMP_NUM_THREADS="2")
    result = json.loads(done.stdout)
    perplexity = {kind: result["perplexity"][kind]["mean"] for kind in KINDS}
    assert perplexity["dense"] < perplexity["federated"] < perplexity["local_only"] < perplexity["magnitude"]
    assert result["differing_bits"] == 0
    assert {result["sparsity"], *result["sparsity_by_kind"].values()} == {0.5}
    assert result["wire_bits_per_weight"] == pytest.approx(64 / 27, rel=0.02)
    assert result["sample"].startswith("The patient was admitted with")
    assert result["peak_rss_bytes"]["aggregator-1"] < 200 * 2**20
