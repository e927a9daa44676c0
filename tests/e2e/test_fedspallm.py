"""FedSpaLLM from notes to the pruned checkpoint, against a float64 oracle that sees every client's own weights."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import tomli_w
import torch
from msgspec.structs import replace
from private_study import provenance, run_study, select_model
from small_study import make_study
from tiny_models import NOTES, make_checkpoint

from secprune import fixedpoint
from secprune.errors import ConfigurationError, RemoteMisbehaviourError
from secprune.fixedpoint import FixedPoint, reach_of
from secprune.parties import client, schedule
from secprune.parties.coordinator import COUNTS_FILE
from secprune.parties.session import open_session
from secprune.parties.study import model_spec
from secprune.pruning.calibration import pack_windows
from secprune.pruning.local import LocalPruning
from secprune.pruning.models import load_model, load_tokenizer
from secprune.pruning.notes import read_notes
from secprune.pruning.tensorfile import CheckpointFiles, TensorFile
from secprune.task import FedSpaLLMSpec, PruningSpec

LOCAL = {"clinic-0": "1/2", "clinic-1": "0.45", "clinic-2": "0.6"}
"""What each site prunes to; clinic-3 as the task says."""
FLOATS = {torch.float32: "<f4", torch.float16: "<f2"}
SAMPLED = {"clinic-0": 4, "clinic-1": 2, "clinic-2": 3, "clinic-3": 3}
"""Four blocks, each needs three clients: nobody can be spared."""


def new_study(root, checkpoint, *, protocol, capacities=None, pruner="sparsegpt", bits=15):
    pruning = PruningSpec(
        algorithm="fedspallm",
        local_pruner=pruner,
        sparsity="11/20",
        sequence_length=16,
        max_windows=4,
        max_zero_vote_share="1/2",
        fedspallm=FedSpaLLMSpec(weight_bits=bits, capacities=capacities or {}),
    )
    study = make_study(
        root,
        clients=4,
        aggregators=1 if protocol == "pairwise" else 2,
        protocol=protocol,
        model=model_spec(checkpoint),
        pruning=pruning,
        with_masks=False,
    )
    for index, name in enumerate((*study.clients, "hq")):
        (root / name / "notes.txt").write_text("\n\n".join(NOTES[index::4]))
        content = {"task": "../task.toml", "exchange": "../exchange", "model": str(checkpoint)}
        content |= {"notes": "notes.txt"} if name != "hq" else {}
        content |= {"sparsity": LOCAL[name]} if name in LOCAL else {}
        content["policy"] = {"protocols": [protocol]}
        (root / name / "party.toml").write_text(tomli_w.dumps(content))
    return study


def own_models(study, checkpoint):
    """Masks and weights of every client, in float64, as it has them before anything is rounded."""
    found = {}
    for name in study.clients:
        notes = read_notes(study.root / name / "notes.txt")
        windows = pack_windows(notes, load_tokenizer(checkpoint), sequence_length=16, max_windows=4)
        spec = replace(study.task.pruning, sparsity=LOCAL.get(name, study.task.pruning.sparsity))
        pruning = LocalPruning(load_model(checkpoint), windows, pruning=spec)
        mine = study.task.client_rounds(name) if study.task.pruning.by_blocks else range(pruning.blocks)
        for block in range(pruning.blocks):
            if block not in mine:
                pruning.pass_over(block)
                continue
            pruning.masks(block)
            for matrix, weights, mask in pruning.kept_weights(block):
                found.setdefault(matrix, []).append((mask, weights.astype(np.float64)))
            pruning.go_on(block)
    return found


def dense_weights(files, matrix, dtype):
    raw = np.ascontiguousarray(files.raw(matrix.name)).view(FLOATS[dtype]).astype(np.float64)
    return raw.T if matrix.transposed else raw


@pytest.mark.parametrize(
    ("protocol", "arch", "dtype", "capacities"),
    [
        ("additive", "llama", torch.float32, None),
        ("pairwise", "llama", torch.float32, None),
        ("additive", "llama", torch.float32, SAMPLED),
        ("pairwise", "llama", torch.float32, SAMPLED),
        ("additive", "gpt2", torch.float16, None),
    ],
)
def test_averaged_weights_are_the_oracles_within_the_stated_bound(
    tmp_path, protocol, arch, dtype, capacities
):
    checkpoint = make_checkpoint(tmp_path / "model", arch, seed=3, dtype=dtype, layers=4 if capacities else 2)
    study = new_study(tmp_path / "study", checkpoint, protocol=protocol, capacities=capacities)
    outcomes = run_study(study)
    assert {n: repr(o) for n, o in outcomes.items() if isinstance(o, Exception)} == {}
    select_model(study)
    dense, written = CheckpointFiles(checkpoint), CheckpointFiles(study.root / "pruned")
    clients, worst = own_models(study, checkpoint), 0.0
    moved = 0
    for m in study.task.model.matrices:
        before, after = dense_weights(dense, m, dtype), dense_weights(written, m, dtype)
        masks = np.array([mask for mask, _ in clients[m.name]])  # (clients, rows, columns)
        weights = np.array([weight for _, weight in clients[m.name]])
        assert len(masks) == len(study.task.round_clients(m.block if capacities else 0))
        counts, kept = masks.sum(axis=0), (~masks).sum(axis=0)
        # The mask: all unanimous ones, then the most voted, the smallest and the first, up to the ceiling.
        k = math.ceil(Fraction(11, 20) * before.size)
        order = np.lexsort((np.arange(before.size), np.abs(before).ravel(), -counts.ravel()))
        pruned = counts.ravel() == len(masks)
        pruned[order[: max(k, pruned.sum())]] = True
        pruned = pruned.reshape(before.shape)
        assert (
            pruned.sum() == k
        )  # exact global sparsity: no local mask prunes so much that more are unanimous
        np.testing.assert_array_equal(after[pruned], 0)
        # The weights: means over those who kept them.
        mean = np.where(masks, 0, weights).sum(axis=0) / np.maximum(kept, 1)
        reach = reach_of(float(np.abs(before).max()))
        rounded = np.abs(mean) * np.finfo(FLOATS[dtype]).eps + np.finfo(FLOATS[dtype]).smallest_subnormal
        error = np.abs(after - mean)[~pruned]
        assert (error <= FixedPoint(15).error(reach) * (1 + 1e-9) + rounded[~pruned]).all()
        worst = max(worst, float(error.max() / FixedPoint(15).error(reach)))
        moved += int(np.count_nonzero(np.abs(mean - before)[~pruned] > 10 * FixedPoint(15).error(reach)))
    assert worst > 0.3, "the bound is not vacuous"
    assert moved > 1000, "the mean is not the dense weight"
    averaging = provenance(study)["averaging"]
    assert averaging["weight_bits"] == 15
    assert averaging["sole_keepers"] > 0


def test_wire_bits_are_those_of_masks_and_of_whole_numbers(tmp_path):
    checkpoint = make_checkpoint(tmp_path / "model", seed=3, hidden_size=96, intermediate_size=192)
    study = new_study(tmp_path / "study", checkpoint, protocol="additive", pruner="magnitude")
    sent = run_study(study)["clinic-0"].submit
    # Four clients: 27 counters to the base 5 in a word, and 3 numbers to the base 4 (2^15 - 2) + 1.
    words = 64 / 27 + 64 / 3
    assert words < sent.bits_per_weight < words * 1.15  # seals and signatures weigh more in a small model


def test_with_layer_sampling_a_client_sends_its_blocks_only(tmp_path):
    checkpoint = make_checkpoint(tmp_path / "model", seed=3, layers=4)
    study = new_study(tmp_path / "study", checkpoint, protocol="additive", capacities=SAMPLED)
    outcomes = run_study(study)
    for name, capacity in SAMPLED.items():
        assert len(list((study.root / name).glob("tasks/*/*/kept-weights.safetensors"))) == capacity
        assert (outcomes[name].submit.blocks, outcomes[name].submit.of_blocks) == (capacity, 4)
    half = outcomes["clinic-1"].submit.bytes_sent / outcomes["clinic-0"].submit.bytes_sent
    assert half == pytest.approx(0.5, abs=0.02)


def test_sums_that_do_not_fit_the_counts_are_refused_and_nothing_is_written(tmp_path):
    """A client that votes to prune a weight and sends one all the same: where everybody prunes, it shows."""
    checkpoint = make_checkpoint(tmp_path / "model", seed=3)
    study = new_study(tmp_path / "study", checkpoint, protocol="additive", pruner="magnitude")
    name = study.clients[0]
    with open_session(study.root / name, "client") as session:
        schedule.prune(session)
        path = session.work / "kept-weights.safetensors"
        file = TensorFile(path)
        matrix = study.task.model.matrices[0].name
        mask = np.unpackbits(file.raw(matrix), axis=1, bitorder="little").astype(bool)
        begin, _ = file.span(f"kept weights of {matrix}")
        data = bytearray(path.read_bytes())
        columns = study.task.model.matrices[0].columns
        numbers = np.frombuffer(data, "<u2", count=mask.shape[0] * columns, offset=begin).copy()
        numbers[mask[:, :columns].ravel()] = FixedPoint(15).most
        data[begin : begin + numbers.nbytes] = numbers.tobytes()
        path.write_bytes(bytes(data))
    run_study(study)
    with pytest.raises(RemoteMisbehaviourError, match="do not belong together"):
        select_model(study)
    assert not (study.root / "pruned").exists()


def test_a_sparsity_of_ones_own_is_for_fedspallm_only(tmp_path):
    checkpoint = make_checkpoint(tmp_path / "model", seed=3)
    study = new_study(tmp_path / "study", checkpoint, protocol="additive")
    pruning = PruningSpec(sparsity="1/2", sequence_length=16, max_windows=4)
    study.write_task(replace(study.task, pruning=pruning))
    with open_session(study.root / "clinic-1", "client") as session:
        with pytest.raises(ConfigurationError, match="sparsity of its own"):
            client.check(session)
        with pytest.raises(ConfigurationError, match="sparsity of its own"):
            client.prune(session)


def test_the_coordinators_file_holds_both_sums(tmp_path):
    checkpoint = make_checkpoint(tmp_path / "model", seed=3)
    study = new_study(tmp_path / "study", checkpoint, protocol="additive", bits=12)
    run_study(study)
    (path,) = (study.root / "hq").glob(f"tasks/*/round-000/{COUNTS_FILE}")
    stored, total = TensorFile(path), 0
    clients = own_models(study, checkpoint)
    fixed = FixedPoint(12)
    for m in study.task.model.matrices:
        reach = reach_of(float(np.abs(CheckpointFiles(checkpoint).raw(m.name).view("<f4")).max()))
        numbers = sum(
            fixed.encode(weights, mask, reach=reach)[0].astype(np.int64) for mask, weights in clients[m.name]
        )
        np.testing.assert_array_equal(stored.raw(f"kept weights of {m.name}"), numbers)
        total += numbers.size
    assert total > 0


def test_pruning_again_replaces_what_was_kept_and_says_to_which_sparsity(tmp_path):
    """As after other notes, another sparsity, or a file that was damaged."""
    checkpoint = make_checkpoint(tmp_path / "model", seed=3)
    study = new_study(tmp_path / "study", checkpoint, protocol="additive")

    def prune(name):
        with open_session(study.root / name, "client") as session:
            result = schedule.prune(session)
            return result, (session.work / "kept-weights.safetensors").read_bytes()

    (first, before), (again, same) = prune("clinic-1"), prune("clinic-1")
    assert (first.local_sparsity, first.cut_weights) == ("0.45", 0)
    assert before == same
    assert again.notes == first.notes
    party_file = study.root / "clinic-1" / "party.toml"
    party_file.write_text(party_file.read_text().replace('"0.45"', '"0.7"'))
    other, after = prune("clinic-1")
    assert other.local_sparsity == "0.7"
    assert after != before
    assert prune("clinic-3")[0].local_sparsity == "11/20"


def test_kept_weights_beyond_the_reach_are_counted(tmp_path, monkeypatch):
    checkpoint = make_checkpoint(tmp_path / "model", seed=3)
    study = new_study(tmp_path / "study", checkpoint, protocol="additive", pruner="magnitude")
    monkeypatch.setattr(fixedpoint, "_ROOM", 0.5)
    with open_session(study.root / "clinic-3", "client") as session:
        found = schedule.prune(session).cut_weights
    due = 0
    for m in study.task.model.matrices:  # magnitude keeps the largest
        weights = np.abs(CheckpointFiles(checkpoint).raw(m.name).view("<f4").astype(np.float64))
        half = FixedPoint(15).half
        due += int(np.count_nonzero(weights * (half / (weights.max() / 2)) > half + 0.5))
    assert found == due > 0
