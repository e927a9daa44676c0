"""Blocks that stay on disk give the masks of the model in memory, and no more than one is ever loaded."""

from __future__ import annotations

import json

import pytest
import torch
from families import FAMILIES
from safetensors.torch import load_file, save_file
from tiny_models import make_checkpoint, randomized, save_checkpoint

from secprune.errors import ConfigurationError, LocalMisuseError
from secprune.pruning.activations import BlockRunner
from secprune.pruning.decoder import Decoder
from secprune.pruning.local import LocalPruning, local_pruning_masks
from secprune.pruning.models import load_model
from secprune.pruning.offload import BlocksInMemory, BlocksOnDisk, open_blocks
from secprune.task import PruningSpec

SPEC = PruningSpec(sparsity="1/2", sequence_length=24, max_windows=5)


def _windows():
    return torch.randint(1, 400, (5, 24), generator=torch.Generator().manual_seed(7))


def _same(found, expected):
    assert found.keys() == expected.keys()
    for name, mask in expected.items():
        assert (found[name] == mask).all(), name


@pytest.mark.parametrize("name", FAMILIES)
def test_masks_are_those_of_the_model_in_memory(tmp_path, name):
    path = save_checkpoint(randomized(FAMILIES[name].make_config()), tmp_path)
    found = dict(local_pruning_masks(BlocksOnDisk(path), _windows(), pruning=SPEC))
    _same(found, dict(local_pruning_masks(load_model(path), _windows(), pruning=SPEC)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize(
    "more",
    [
        {"local_pruner": "sparsegpt"},
        {"local_pruner": "magnitude"},
        {"local_pruner": "sparsegpt", "activations": "dense"},
        {"activations": "dense"},
    ],
    ids=str,
)
def test_masks_are_the_same_in_every_type_and_with_every_pruner(tmp_path, dtype, more):
    path = make_checkpoint(tmp_path, "gpt2", dtype=dtype, max_shard_size="20KB", layers=3)
    spec = PruningSpec(sparsity="3/5", sequence_length=24, max_windows=5, **more)
    found = dict(local_pruning_masks(BlocksOnDisk(path), _windows(), pruning=spec))
    _same(found, dict(local_pruning_masks(load_model(path), _windows(), pruning=spec)))


def test_agreed_masks_of_others_reach_the_next_block(tmp_path):
    path = make_checkpoint(tmp_path, "llama", layers=3)
    masks = {}
    for blocks in (BlocksOnDisk(path), BlocksInMemory(load_model(path))):
        work = LocalPruning(blocks, _windows(), pruning=SPEC)
        masks[blocks] = {}
        for index in range(work.blocks):
            found = dict(work.masks(index))
            masks[blocks] |= found
            work.go_on(index, {name: ~mask for name, mask in found.items()})
    _same(*masks.values())


def test_a_block_whose_masks_are_known_is_loaded_to_go_on(tmp_path):
    path = make_checkpoint(tmp_path, "llama", layers=2)
    for activations in ("sequential", "dense"):
        spec = PruningSpec(sparsity="1/2", sequence_length=24, max_windows=5, activations=activations)
        expected = dict(local_pruning_masks(load_model(path), _windows(), pruning=spec))
        work = LocalPruning(BlocksOnDisk(path), _windows(), pruning=spec)
        work.go_on(0, {name: mask for name, mask in expected.items() if ".0." in name})
        for name, mask in work.masks(1):
            assert (mask == expected[name]).all()


def test_no_more_than_one_block_is_in_memory_and_the_head_never_is(tmp_path, monkeypatch):
    path = make_checkpoint(tmp_path, "llama", layers=4)
    blocks, seen = BlocksOnDisk(path), []
    bring = blocks.bring

    def watched(index):
        block = bring(index)
        loaded = {
            number
            for number, module in enumerate(blocks.decoder.blocks)
            if any(not parameter.is_meta for parameter in module.parameters())
        }
        assert loaded == {index}
        assert blocks.model.lm_head.weight.is_meta
        seen.append(index)
        return block

    monkeypatch.setattr(blocks, "bring", watched)
    for _ in local_pruning_masks(blocks, _windows(), pruning=SPEC):
        pass
    assert sorted(set(seen)) == [0, 1, 2, 3]
    assert all(parameter.is_meta for parameter in blocks.decoder.blocks.parameters())


def test_each_weight_is_read_once(tmp_path, monkeypatch):
    from secprune.pruning import offload

    path, read = make_checkpoint(tmp_path, "llama", layers=3), []
    original = offload.read_tensor
    monkeypatch.setattr(
        offload, "read_tensor", lambda files, name: (read.append(name), original(files, name))[1]
    )
    for _ in local_pruning_masks(BlocksOnDisk(path), _windows(), pruning=SPEC):
        pass
    # The first block is also read while the arguments of all blocks are captured; it stays until it is pruned.
    assert len(read) == len(set(read)) == len(load_file(path / "model.safetensors")) - 1  # all but the head


def test_notes_do_not_change_what_is_on_disk(tmp_path):
    path = make_checkpoint(tmp_path, "llama")
    before = (path / "model.safetensors").read_bytes()
    for _ in local_pruning_masks(BlocksOnDisk(path), _windows(), pruning=SPEC):
        pass
    assert (path / "model.safetensors").read_bytes() == before


def test_a_checkpoint_that_lacks_a_tensor_is_refused(tmp_path):
    """transformers would make up a missing norm, and say no more than a warning."""
    path = make_checkpoint(tmp_path, "llama")
    tensors = load_file(path / "model.safetensors")
    del tensors["model.layers.1.input_layernorm.weight"]
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
    for use in (open_blocks, load_model):
        with pytest.raises(ConfigurationError, match=r"model\.layers\.1\.input_layernorm\.weight"):
            use(path)


def test_a_model_that_keeps_modules_in_float32_is_loaded_whole(tmp_path, monkeypatch):
    from transformers import LlamaForCausalLM

    path = make_checkpoint(tmp_path, "llama", dtype=torch.float16)
    assert isinstance(open_blocks(path), BlocksOnDisk)
    monkeypatch.setattr(LlamaForCausalLM, "_keep_in_fp32_modules", ["o_proj"])
    assert isinstance(open_blocks(path), BlocksInMemory)


def test_what_is_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(LocalMisuseError):
        open_blocks(tmp_path / "nowhere")
    path = make_checkpoint(tmp_path / "model", "llama")
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "model_type": "no-such-model"}))
    with pytest.raises(ConfigurationError, match="cannot load"):
        open_blocks(path)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("pruner", ["wanda", "sparsegpt", "magnitude", "wanda-adaptive"])
def test_masks_computed_on_an_accelerator(tmp_path, pruner):
    """In float64 the order of sums moves no score across its threshold."""
    path = make_checkpoint(tmp_path, "llama", dtype=torch.float64)
    spec = PruningSpec(sparsity="1/2", sequence_length=24, max_windows=5, local_pruner=pruner)
    expected = dict(local_pruning_masks(load_model(path), _windows(), pruning=spec))
    for blocks in (
        BlocksOnDisk(path, device=torch.device("cuda")),
        BlocksInMemory(load_model(path), torch.device("cuda")),
    ):
        _same(dict(local_pruning_masks(blocks, _windows(), pruning=spec)), expected)


def test_blocks_in_memory_keep_what_was_changed():
    from tiny_models import make_model

    model = make_model("llama")
    blocks = BlocksInMemory(model)
    runner = BlockRunner(blocks, _windows())
    runner.statistics(0)
    Decoder.of(model).weights()["model.layers.0.mlp.up_proj.weight"].zero_()
    runner.advance(0)
    runner.statistics(1)
    assert not model.model.layers[0].mlp.up_proj.weight.any()
