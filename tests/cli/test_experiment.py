"""Cells of an experiment on a tiny model, against oracles, and what its clients prune with."""

from __future__ import annotations

import itertools

import msgspec
import numpy as np
import pytest
import torch
from small_study import make_study
from tiny_models import NOTES, make_checkpoint

from secprune.errors import ConfigurationError
from secprune.parties.selection import select
from secprune.parties.session import open_session
from secprune.parties.study import model_spec
from secprune.pruning.calibration import pack_windows, text_tokens
from secprune.pruning.checkpoint import write_pruned_checkpoint
from secprune.pruning.local import LocalPruning, local_pruning_masks
from secprune.pruning.models import load_model, load_tokenizer
from secprune.pruning.perplexity import perplexity
from secprune.pruning.selection import final_mask, magnitude_key, tie_seed
from secprune.pruning.tensorfile import CheckpointFiles
from secprune.task import PruningSpec
from secprune_cli.experiment.bench import Bench
from secprune_cli.experiment.grid import Cell
from secprune_cli.experiment.material import Material, fewer_merges
from secprune_cli.experiment.plan import local_setting, measurements
from secprune_cli.experiment.simulate import Simulation, tie_decided, tie_nonce
from secprune_cli.experiment.store import MaskCache

LENGTH = 16
CELL = Cell(clients=3, windows=3, texts=2, seed=1)


def simulation(directory, checkpoint, hospitals, **options):
    material = Material(hospitals, load_tokenizer(checkpoint), sequence_length=LENGTH)
    matrices = model_spec(checkpoint).matrices
    options = {"dtype": None, "sequence_length": LENGTH, "windows": 4, **options}
    bench = Bench(checkpoint, matrices, material.texts(), **options)
    cache = MaskCache(directory, "sha256:" + "0" * 64)
    return Simulation(bench, material, cache, sequence_length=LENGTH), material


# ---- against oracles


def oracle_masks(checkpoint, material, cell):
    """Each client on a model of its own."""
    spec = cell.pruning(sequence_length=LENGTH)
    return [
        dict(
            local_pruning_masks(
                load_model(checkpoint), material.windows(local_setting(cell), i), pruning=spec
            )
        )
        for i in range(cell.clients)
    ]


def most_voted(counts, weight, k):
    """Layer top-k by sorting everything: votes descending, |W| ascending, flat index."""
    order = np.lexsort((np.arange(counts.size), np.abs(weight).ravel(), -counts.ravel()))
    mask = np.zeros(counts.size, dtype=bool)
    mask[order[:k]] = True
    return mask.reshape(counts.shape)


def test_averaged_cells_are_means_of_isolated_models(tmp_path, hospitals):
    """FedSpaLLM by its formula, in float64, of each client's own model; with votes and with chance."""
    checkpoint = make_checkpoint(tmp_path / "model", "llama", seed=3)
    cell = msgspec.structs.replace(CELL, local_pruner="sparsegpt", algorithm="fedspallm")
    simulated, material = simulation(tmp_path, checkpoint, hospitals)
    spec, kept = cell.pruning(sequence_length=LENGTH), {}
    for i in range(3):
        own = LocalPruning(load_model(checkpoint), material.windows(local_setting(cell), i), pruning=spec)
        for block in range(own.blocks):
            own.masks(block)
            for name, weights, mask in own.kept_weights(block):
                kept.setdefault(name, []).append(np.where(mask, np.nan, weights.astype(float)))
            own.go_on(block)
    files, means, unanimous = CheckpointFiles(checkpoint), {}, {}
    for name, of_clients in kept.items():
        pruned = np.isnan(of_clients)
        dense = files.raw(name).view(np.float32)
        mask = most_voted(pruned.sum(axis=0), dense, dense.size // 2)
        unanimous[name] = pruned.all(axis=0)
        with np.errstate(all="ignore"):
            means[name] = np.where(
                mask, 0, np.nan_to_num(np.nansum(of_clients, axis=0) / (~pruned).sum(axis=0))
            )
    finding = simulated.federated(cell)
    live = dict(simulated._bench._live)
    for name, mean in means.items():
        written = live[name].double().numpy()
        np.testing.assert_array_equal(written == 0, mean == 0)
        # No further than half a step of 15 bits of twice the largest weight, and float32's own rounding.
        assert np.abs(written - mean).max() <= 1.001 * np.abs(files.raw(name).view(np.float32)).max() / (
            2**14 - 1
        )
    isolated = simulated.measure(measurements(cell)["isolated"])
    assert len(isolated.perplexity) == 3
    assert all(own != finding.perplexity[0] for own in isolated.perplexity)
    random = simulated.final_masks(msgspec.structs.replace(cell, algorithm="fedspallm-random"))
    voted = simulated.final_masks(cell)
    for name, agreed in unanimous.items():
        assert random[name][agreed].all()
        assert random[name].sum() == voted[name].sum()
    assert any((random[name] != voted[name]).any() for name in voted)


@pytest.mark.parametrize("scaling", [False, True])
@pytest.mark.parametrize("arch", ["llama", "gpt2"])
def test_a_one_shot_cell_is_what_a_study_would_publish(tmp_path, hospitals, arch, scaling):
    checkpoint = make_checkpoint(tmp_path / "model", arch, seed=3)
    cell = msgspec.structs.replace(CELL, weight_scaling=scaling)
    simulated, material = simulation(tmp_path, checkpoint, hospitals)
    matrices, files = model_spec(checkpoint).matrices, CheckpointFiles(checkpoint)
    local = oracle_masks(checkpoint, material, cell)
    counts, masks = {}, {}
    for m in matrices:
        counts[m.name] = sum(masks_of[m.name].astype(int) for masks_of in local)
        weight = files.raw(m.name).view(np.float32)
        weight = weight.T if m.transposed else weight
        masks[m.name] = most_voted(counts[m.name], weight, m.rows * m.columns // 2)
    found = simulated.final_masks(cell)
    assert set(found) == set(masks)
    for name, mask in masks.items():
        np.testing.assert_array_equal(found[name], mask)
    write_pruned_checkpoint(
        checkpoint,
        tmp_path / "pruned",
        masks,
        [(m.name, m.rows, m.columns) for m in matrices],
        transposed={m.name for m in matrices if m.transposed},
        scaled_by=(lambda name: (counts[name].astype(np.uint8), 3)) if scaling else None,
    )
    finding = simulated.federated(cell)
    pruned, tokenizer = load_model(tmp_path / "pruned"), load_tokenizer(checkpoint)
    expected = {
        h.name: perplexity(
            pruned, text_tokens(h.held_out, tokenizer), sequence_length=LENGTH, max_windows=4
        ).value
        for h in hospitals[:2]
    }
    assert finding.perplexity == [pytest.approx(expected, abs=2e-6, rel=0)]
    pruned_weights = sum(int(mask.sum()) for mask in masks.values())
    zero = sum(int((masks[n] & (counts[n] == 0)).sum()) for n in masks)
    agreed = sum(int(np.isin(counts[n], (0, 3)).sum()) for n in masks)
    assert finding.zero_vote_share == zero / pruned_weights
    assert finding.unanimous_share == agreed / sum(m.rows * m.columns for m in matrices)


def test_the_iterative_schedule_is_a_loop_over_models_of_ones_own(tmp_path, checkpoint, hospitals):
    cell = msgspec.structs.replace(CELL, schedule="iterative", sparsity="3/5", ties="votes-random")
    simulated, material = simulation(tmp_path, checkpoint, hospitals)
    spec = cell.pruning(sequence_length=LENGTH)
    clients = [
        LocalPruning(load_model(checkpoint), material.windows(local_setting(cell), i), pruning=spec)
        for i in range(3)
    ]
    files, expected = CheckpointFiles(checkpoint), {}
    for index in range(clients[0].blocks):
        masks = [dict(client.masks(index)) for client in clients]
        for name in masks[0]:
            expected[name] = final_mask(
                sum(m[name].astype(np.uint8) for m in masks),
                magnitude_key(files.raw(name), files.entry(name)[0]),
                pruning=spec,
                cohort=3,
                tie_seed=tie_seed(tie_nonce(cell.seed), name),
            )
        for client in clients:
            client.go_on(index, expected)
    found = simulated.final_masks(cell)
    for name, mask in expected.items():
        np.testing.assert_array_equal(found[name], mask)
    one_shot = simulated.final_masks(msgspec.structs.replace(cell, schedule="one-shot"))
    assert any((one_shot[name] != mask).any() for name, mask in expected.items())  # the test can see


def test_real_parties_end_with_the_same_mask(tmp_path, checkpoint, hospitals):
    simulated, _ = simulation(tmp_path, checkpoint, hospitals)
    matrices = model_spec(checkpoint).matrices
    local = simulated.local_masks(local_setting(CELL))
    pruning = CELL.pruning(sequence_length=LENGTH)
    study = make_study(
        tmp_path / "study", clients=3, model=model_spec(checkpoint), pruning=pruning, with_masks=False
    )
    for name, masks in zip(study.clients, local, strict=True):
        study.put_masks(name, {m.name: masks.rows(m.name).view(bool) for m in matrices})
    study.submit()
    outcomes = study.run_servers()
    assert {n: repr(o) for n, o in outcomes.items() if isinstance(o, Exception)} == {}
    (study.root / "hq" / "party.toml").write_text(
        (study.root / "hq" / "party.toml")
        .read_text()
        .replace("[policy]", f'model = "{checkpoint}"\n\n[policy]', 1)
    )
    with open_session(study.root / "hq", "coordinator") as session:
        select(session, tmp_path / "pruned")
    pruned, dense = CheckpointFiles(tmp_path / "pruned"), CheckpointFiles(checkpoint)
    for name, mask in simulated.final_masks(CELL).items():
        np.testing.assert_array_equal(pruned.raw(name), np.where(mask, 0, dense.raw(name)))


def test_local_and_centralised_models_are_those_of_the_masks(tmp_path, checkpoint, hospitals):
    simulated, material = simulation(tmp_path, checkpoint, hospitals)
    due = measurements(CELL)
    text = text_tokens(hospitals[0].held_out, load_tokenizer(checkpoint))
    spec = CELL.pruning(sequence_length=LENGTH)
    windows = [material.windows(local_setting(CELL), i) for i in range(3)]

    def alone(some):
        model = load_model(checkpoint)
        for _ in local_pruning_masks(model, some, pruning=spec):
            pass
        return perplexity(model, text, sequence_length=LENGTH, max_windows=4).value

    # Wanda changes no kept weight, so that what it leaves is the masked model.
    local = [on["clinic-0"] for on in simulated.measure(due["local"]).perplexity]
    assert local == pytest.approx([alone(w) for w in windows], abs=2e-6, rel=0)
    assert len(set(local)) == 3
    pooled = simulated.measure(due["centralised"]).perplexity[0]["clinic-0"]
    assert pooled == pytest.approx(alone(torch.cat(windows)), abs=2e-6, rel=0)
    dense = simulated.measure(due["dense"]).perplexity[0]["clinic-0"]
    expected = perplexity(load_model(checkpoint), text, sequence_length=LENGTH, max_windows=4).value
    assert dense == pytest.approx(expected, abs=2e-6, rel=0)


@pytest.mark.parametrize(
    "choices",
    [
        {"server_comparison": "layer"},
        {"server_comparison": "row"},
        {"server_comparison": "column", "sparsity": "3/5"},
        {"pattern": "2:4"},
    ],
)
def test_tie_decided_weights_by_looking_at_every_group(choices):
    rng = np.random.default_rng(0)
    pruning = PruningSpec(**{"sparsity": "1/2", "sequence_length": 2, "max_windows": 1, **choices})
    counts = rng.integers(0, 4, (10, 12)).astype(np.uint8)
    key = rng.integers(0, 9, counts.shape).astype(np.uint16)
    mask = final_mask(counts, key, pruning=pruning, cohort=3, tie_seed=bytes(32))
    if pruning.pattern:
        groups = [[(r, c + i) for i in range(4)] for r in range(10) for c in range(0, 12, 4)]
    elif pruning.server_comparison == "layer":
        groups = [list(np.ndindex(10, 12))]
    elif pruning.server_comparison == "row":
        groups = [[(r, c) for c in range(12)] for r in range(10)]
    else:
        groups = [[(r, c) for r in range(10)] for c in range(12)]
    expected = 0
    for group in groups:
        threshold = min(counts[at] for at in group if mask[at])
        if any(counts[at] == threshold and not mask[at] for at in group):
            expected += sum(counts[at] == threshold and mask[at] for at in group)
    assert tie_decided(counts, mask, pruning=pruning) == expected > 0


def test_no_tie_is_counted_where_votes_decide():
    counts = np.array([[3, 3, 0, 0], [2, 2, 1, 1]], np.uint8)
    pruning = PruningSpec(sparsity="1/2", sequence_length=2, max_windows=1, server_comparison="row")
    assert tie_decided(counts, counts >= 2, pruning=pruning) == 0


# ---- what clients prune with


def test_a_seed_draws_windows_without_replacement_and_more_of_the_same(checkpoint, hospitals):
    tokenizer = load_tokenizer(checkpoint)
    material = Material(hospitals, tokenizer, sequence_length=LENGTH)
    everything = pack_windows(hospitals[1].notes, tokenizer, sequence_length=LENGTH, max_windows=999).tolist()

    def drawn(**choices):
        cell = msgspec.structs.replace(CELL, **choices)
        return material.windows(local_setting(cell), 1).tolist()

    three, five = drawn(windows=3), drawn(windows=5)
    assert five[:3] == three == drawn(windows=3, clients=4)
    assert all(window in everything for window in five)
    assert len({tuple(window) for window in five}) == 5
    assert drawn(windows=5, seed=2) != five
    assert sorted(drawn(windows=len(everything))) == sorted(everything)


def test_splits_deal_out_the_same_notes_and_never_those_held_out(hospitals, checkpoint):
    material = Material(hospitals, load_tokenizer(checkpoint), sequence_length=LENGTH)
    for clients, files in ((2, 2), (4, 4), (7, 4)):
        own = material._dealt("hospital", clients, 0)
        mixed = material._dealt("iid", clients, 5)
        notes = sorted(note for h in hospitals[:files] for note in h.notes)
        assert sorted(itertools.chain(*own)) == sorted(itertools.chain(*mixed)) == notes
        assert len(own) == len(mixed) == clients
        assert not set(notes) & {note for h in hospitals for note in h.held_out}
        assert all(any(set(part) <= set(h.notes) for h in hospitals) for part in own)
    assert not all(any(set(part) <= set(h.notes) for h in hospitals) for part in material._dealt("iid", 4, 5))
    assert material._dealt("iid", 4, 5) != material._dealt("iid", 4, 6)

    def all_windows(split, seed):
        cell = msgspec.structs.replace(CELL, split=split, seed=seed, windows=999)
        return sorted(material.windows(local_setting(cell), 0).tolist())

    assert all_windows("iid", 1) != all_windows("iid", 2)
    assert all_windows("hospital", 1) == all_windows("hospital", 2)


def test_fewer_merges_give_more_tokens_of_the_same_text(checkpoint):
    tokenizer = load_tokenizer(checkpoint)
    text = NOTES[0]
    lengths = []
    for share in ("1/2", "0"):
        fewer = fewer_merges(tokenizer, share)
        ids = fewer([text], add_special_tokens=False, verbose=False)["input_ids"][0]
        assert tokenizer.decode(ids) == text
        assert fewer.eos_token_id == tokenizer.eos_token_id
        lengths.append(len(ids))
    whole = len(tokenizer([text], add_special_tokens=False)["input_ids"][0])
    assert whole < lengths[0] < lengths[1] == len(text.encode())


def test_a_tokenizer_that_is_not_bpe_is_refused(checkpoint, hospitals):
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"<eos>": 0, "?": 1}, unk_token="?"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<eos>")
    with pytest.raises(ConfigurationError, match="needs a BPE tokenizer, this one is WordLevel"):
        fewer_merges(tokenizer, "0")
