from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import safetensors.torch
import torch
from tiny_models import make_checkpoint
from transformers import AutoModelForCausalLM, AutoTokenizer

from secprune.errors import ConfigurationError, LocalEnvironmentError, LocalMisuseError
from secprune.pruning import checkpoint
from secprune.pruning.checkpoint import (
    matrix_sparsity,
    tokenizer_digest,
    weights_digest,
    write_pruned_checkpoint,
)
from secprune.pruning.models import _DTYPE_KEYWORD, model_skeleton, prunable_matrices
from secprune.pruning.tensorfile import CheckpointFiles


def _matrices(directory):
    return [(m.name, m.rows, m.columns) for m in prunable_matrices(model_skeleton(directory))]


def _masks(matrices, seed=0):
    generator = np.random.default_rng(seed)
    return {name: generator.random((rows, columns)) < 0.5 for name, rows, columns in matrices}


def _load(directory):
    weights = {}
    for file in sorted(directory.glob("*.safetensors")):
        weights |= safetensors.torch.load_file(file)
    return weights


@pytest.mark.parametrize(
    ("arch", "dtype", "shard"),
    [
        ("llama", torch.bfloat16, "5GB"),
        ("llama", torch.float32, "40KB"),
        ("qwen2", torch.float16, "20KB"),
        ("opt", torch.float32, "5GB"),
    ],
)
def test_copy_is_identical_outside_the_pruned_entries(tmp_path, monkeypatch, arch, dtype, shard):
    monkeypatch.setattr(checkpoint, "_CHUNK", 1000)  # matrices are copied in several pieces
    source, target = tmp_path / "dense", tmp_path / "deep" / "pruned"
    make_checkpoint(source, arch, dtype=dtype, max_shard_size=shard)
    assert (len(list(source.glob("*.safetensors"))) > 1) == (shard != "5GB")
    matrices = _matrices(source)
    masks = _masks(matrices)
    asked = []
    write_pruned_checkpoint(
        source, target, lambda name: asked.append(name) or masks[name], matrices, {"secprune.json": b"{}"}
    )
    assert sorted(asked) == sorted(masks)

    # Independently of our reader: the source's bytes with the pruned entries' bytes zeroed.
    for file in source.glob("*.safetensors"):
        expected = bytearray(file.read_bytes())
        length = int.from_bytes(expected[:8], "little")
        header = json.loads(expected[8 : 8 + length])
        for name, mask in masks.items():
            if name in header:
                width = torch.empty(0, dtype=dtype).element_size()
                start = 8 + length + header[name]["data_offsets"][0]
                for place in np.flatnonzero(mask):
                    expected[start + place * width : start + (place + 1) * width] = bytes(width)
        assert (target / file.name).read_bytes() == bytes(expected)
    for file in source.iterdir():
        if file.suffix != ".safetensors":
            assert (target / file.name).read_bytes() == file.read_bytes(), file.name
    assert {f.name for f in target.iterdir()} == {f.name for f in source.iterdir()} | {"secprune.json"}

    model = AutoModelForCausalLM.from_pretrained(target, **{_DTYPE_KEYWORD: "auto"})
    dense = _load(source)
    for name, parameter in model.named_parameters():
        mask = torch.from_numpy(masks.get(name, np.zeros(parameter.shape, dtype=bool)))
        assert parameter.dtype == dtype
        assert torch.equal(parameter, dense[name].masked_fill(mask, 0))
    assert torch.isfinite(model(torch.tensor([[1, 2, 3]])).logits).all()
    assert AutoTokenizer.from_pretrained(target)("fever")["input_ids"]


def test_index_with_a_single_shard_is_copied(tmp_path):
    source = make_checkpoint(tmp_path / "dense")
    names = list(_load(source))
    (source / "model.safetensors").rename(source / "model-00001-of-00001.safetensors")
    where = {"metadata": {}, "weight_map": dict.fromkeys(names, "model-00001-of-00001.safetensors")}
    (source / "model.safetensors.index.json").write_text(json.dumps(where))
    write_pruned_checkpoint(source, tmp_path / "out", {}, [])
    assert weights_digest(tmp_path / "out") == weights_digest(source)
    AutoModelForCausalLM.from_pretrained(tmp_path / "out")


def test_zeros_are_positive_and_counted(tmp_path):
    source = make_checkpoint(tmp_path / "dense", dtype=torch.bfloat16)
    matrices = _matrices(source)
    masks = _masks(matrices)
    write_pruned_checkpoint(source, tmp_path / "out", masks, matrices)
    for name, rows, columns in matrices:
        raw = CheckpointFiles(tmp_path / "out").raw(name)
        assert not raw[masks[name]].any()  # +0.0: no bit set
        assert matrix_sparsity(tmp_path / "out", name) == (int(masks[name].sum()), rows * columns)
        assert matrix_sparsity(source, name) == (0, rows * columns)
    safetensors.torch.save_file({"w": torch.tensor([0.0, -0.0, 1e-45, -1.0])}, source / "model.safetensors")
    assert matrix_sparsity(source, "w") == (2, 4)


def test_only_one_mask_is_held_at_a_time(tmp_path):
    import gc
    import weakref

    source = make_checkpoint(tmp_path / "dense")
    matrices = _matrices(source)
    masks = _masks(matrices)
    alive = []

    class Tracked(np.ndarray):
        pass

    def give(name):
        gc.collect()
        assert sum(reference() is not None for reference in alive) <= 1
        mask = masks[name].copy().view(Tracked)
        alive.append(weakref.ref(mask))
        return mask

    write_pruned_checkpoint(source, tmp_path / "out", give, matrices)
    assert len(alive) == len(matrices)


def test_failure_in_the_middle_leaves_nothing(tmp_path):
    source = make_checkpoint(tmp_path / "dense")
    matrices = _matrices(source)
    masks = _masks(matrices)
    asked = []

    def fails(name):
        asked.append(name)
        if len(asked) == 5:
            assert len(list(tmp_path.glob(".out.*"))) == 1  # something is being written
            raise KeyboardInterrupt
        return masks[name]

    with pytest.raises(KeyboardInterrupt):
        write_pruned_checkpoint(source, tmp_path / "out", fails, matrices)
    assert [path.name for path in tmp_path.iterdir()] == ["dense"]


def test_full_disk_leaves_nothing(tmp_path):
    """For real: the kernel refuses to let the file grow, in the middle of the copy."""
    source = make_checkpoint(tmp_path / "dense")
    assert (source / "model.safetensors").stat().st_size > 1 << 16
    code = textwrap.dedent(f"""
        import resource
        from pathlib import Path
        from secprune.errors import LocalEnvironmentError
        from secprune.pruning.checkpoint import write_pruned_checkpoint
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
        try:
            write_pruned_checkpoint(Path({str(source)!r}), Path({str(tmp_path / "out")!r}), {{}}, [])
        except LocalEnvironmentError as error:
            print(error)
    """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("cannot write")
    assert [path.name for path in tmp_path.iterdir()] == ["dense"]


def test_existing_target_is_never_overwritten(tmp_path):
    source = make_checkpoint(tmp_path / "dense")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("x")
    with pytest.raises(LocalMisuseError, match="not empty"):
        write_pruned_checkpoint(source, tmp_path / "out", {}, [])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]
    with pytest.raises(LocalMisuseError, match="not empty"):
        write_pruned_checkpoint(source, tmp_path / "out" / "mine.txt", {}, [])
    (tmp_path / "empty").mkdir()
    write_pruned_checkpoint(source, tmp_path / "empty", {}, [])
    assert weights_digest(tmp_path / "empty") == weights_digest(source)


def test_target_that_fills_up_meanwhile_is_not_overwritten(tmp_path):
    source = make_checkpoint(tmp_path / "dense")
    matrices = _matrices(source)
    masks = _masks(matrices)

    def racing(name):
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / "theirs").write_text("x")
        return masks[name]

    with pytest.raises(LocalEnvironmentError):
        write_pruned_checkpoint(source, tmp_path / "out", racing, matrices)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dense", "out"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["theirs"]


def test_masks_and_matrices_that_do_not_fit_are_refused(tmp_path):
    source = make_checkpoint(tmp_path / "dense")
    matrices = _matrices(source)
    name, rows, columns = matrices[0]
    for mask in (np.zeros((rows, columns), np.uint8), np.zeros((rows, columns + 1), bool)):
        with pytest.raises(ConfigurationError, match="mask of"):
            write_pruned_checkpoint(source, tmp_path / "out", {name: mask}, matrices[:1])
    for bad in (("model.layers.9.x", rows, columns), (name, rows, columns + 1)):
        with pytest.raises(ConfigurationError):
            write_pruned_checkpoint(source, tmp_path / "out", {}, [bad])
    assert [path.name for path in tmp_path.iterdir()] == ["dense"]


def test_quantized_checkpoint_is_refused(tmp_path):
    source = make_checkpoint(tmp_path / "dense")
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps(config | {"quantization_config": {"bits": 4}}))
    with pytest.raises(ConfigurationError, match="quantized"):
        write_pruned_checkpoint(source, tmp_path / "out", {}, [])
    assert [path.name for path in tmp_path.iterdir()] == ["dense"]


@pytest.mark.parametrize("name", ["../evil", "config.json", "model.safetensors", "a/b", "", ".."])
def test_extra_files_stay_inside_and_replace_nothing(tmp_path, name):
    source = make_checkpoint(tmp_path / "dense")
    with pytest.raises(LocalMisuseError):
        write_pruned_checkpoint(source, tmp_path / "out", {}, [], {name: b""})
    assert [path.name for path in tmp_path.iterdir()] == ["dense"]


def _expected_digest(directory, names):
    digests = {name: hashlib.sha256((directory / name).read_bytes()).hexdigest() for name in names}
    canonical = "{" + ",".join(f'"{name}":"{digests[name]}"' for name in sorted(digests)) + "}"
    return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()


def test_digests_are_the_documented_function_of_the_files(tmp_path):
    make_checkpoint(tmp_path, max_shard_size="40KB")
    (tmp_path / "README.md").write_text("not part of it")
    weights = [
        "config.json",
        "model.safetensors.index.json",
        *(p.name for p in tmp_path.glob("*.safetensors")),
    ]
    assert weights_digest(tmp_path) == _expected_digest(tmp_path, weights)
    (tmp_path / "merges.txt").write_text("a b")
    assert tokenizer_digest(tmp_path) == _expected_digest(
        tmp_path,
        [
            name
            for name in sorted(p.name for p in tmp_path.iterdir())
            if name.startswith(("tokenizer", "merges", "special"))
        ],
    )


def test_digests_change_with_one_bit_and_only_with_their_own_files(tmp_path):
    make_checkpoint(tmp_path)
    weights, tokenizer = weights_digest(tmp_path), tokenizer_digest(tmp_path)
    content = bytearray((tmp_path / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "model.safetensors").write_bytes(content)
    assert weights_digest(tmp_path) != weights
    assert tokenizer_digest(tmp_path) == tokenizer
    (tmp_path / "chat_template.jinja").write_text("x")
    assert tokenizer_digest(tmp_path) != tokenizer


def test_digest_of_nothing_is_refused(tmp_path):
    for digest in (weights_digest, tokenizer_digest):
        with pytest.raises(LocalMisuseError):
            digest(tmp_path)
