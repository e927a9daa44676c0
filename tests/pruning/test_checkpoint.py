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
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import make_checkpoint
from transformers import AutoModelForCausalLM, AutoTokenizer

from secprune.errors import ConfigurationError, LocalEnvironmentError, LocalMisuseError
from secprune.pruning import checkpoint
from secprune.pruning.checkpoint import (
    bfloat16_bits,
    matrix_sparsity,
    scaled_weights,
    tokenizer_digest,
    weights_digest,
    write_pruned_checkpoint,
)
from secprune.pruning.decoder import prunable_matrices
from secprune.pruning.models import DTYPE_KEYWORD, model_skeleton
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

    model = AutoModelForCausalLM.from_pretrained(target, **{DTYPE_KEYWORD: "auto"})
    dense = _load(source)
    for name, parameter in model.named_parameters():
        mask = torch.from_numpy(masks.get(name, np.zeros(parameter.shape, dtype=bool)))
        assert parameter.dtype == dtype
        assert torch.equal(parameter, dense[name].masked_fill(mask, 0))
    assert torch.isfinite(model(torch.tensor([[1, 2, 3]])).logits).all()
    assert AutoTokenizer.from_pretrained(target)("fever")["input_ids"]


def test_transposed_matrices_are_pruned_where_their_mask_says(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "_CHUNK", 1000)
    source = make_checkpoint(tmp_path / "dense", "gpt2")
    found = prunable_matrices(model_skeleton(source))
    names = {matrix.name for matrix in found if matrix.transposed}
    assert len(names) == len(found) == 8
    matrices = _matrices(source)
    masks = _masks(matrices)
    write_pruned_checkpoint(source, tmp_path / "out", masks, matrices, transposed=names)
    dense = _load(source)
    for name, tensor in _load(tmp_path / "out").items():
        due = dense[name].clone()
        if name in masks:
            due.T.masked_fill_(torch.from_numpy(masks[name]), 0)
        assert torch.equal(tensor, due)

    # One vote of two for each weight that is kept: it is halved, exactly.
    votes = {name: (~mask).astype(np.uint16) for name, mask in masks.items()}
    write_pruned_checkpoint(
        source,
        tmp_path / "scaled",
        masks,
        matrices,
        transposed=names,
        scaled_by=lambda name: (votes[name], 2),
    )
    sparse = _load(tmp_path / "out")
    for name, tensor in _load(tmp_path / "scaled").items():
        assert torch.equal(tensor, sparse[name] / 2 if name in masks else sparse[name])
    with pytest.raises(ConfigurationError):  # 48 x 32 and 32 x 48
        write_pruned_checkpoint(source, tmp_path / "other", masks, matrices)


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


_STORED = {
    "F16": (torch.float16, np.uint16),
    "BF16": (torch.bfloat16, np.uint16),
    "F32": (torch.float32, np.uint32),
    "F64": (torch.float64, np.uint64),
}


def _tensor(raw, dtype):
    """Bits as a torch tensor of the stored type."""
    return torch.from_numpy(raw.view(f"i{raw.itemsize}").copy()).view(_STORED[dtype][0])


def _bits(tensor, width):
    return tensor.contiguous().view(getattr(torch, f"int{8 * width}")).numpy().view(f"u{width}")


def _scaled_by_torch(weights, counts, cohort):
    working = torch.float64 if weights.dtype == torch.float64 else torch.float32
    kept = torch.from_numpy(cohort - counts.astype(np.int64)).to(working)
    return (weights.to(working) * (kept / cohort)).to(weights.dtype)


def _assert_rounds_as_torch(patterns):
    values = np.array(patterns, dtype=np.uint32).view(np.float32)
    ours = bfloat16_bits(values)
    theirs = torch.from_numpy(values.copy()).to(torch.bfloat16)
    number = ~np.isnan(values)
    assert np.array_equal(ours[number], _bits(theirs, 2)[number])
    assert torch.isnan(_tensor(ours, "BF16")[torch.from_numpy(~number)]).all()


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=50))
def test_bfloat16_rounding_is_torchs_for_any_bits(patterns):
    _assert_rounds_as_torch(patterns)


def test_bfloat16_rounding_at_every_halfway_point_and_beside_it():
    """All 65536 upper halves (subnormals, infinities and NaN too) with the lower halves that matter."""
    upper = np.arange(1 << 16, dtype=np.uint32) << np.uint32(16)
    for lower in (0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF):
        _assert_rounds_as_torch(upper | np.uint32(lower))
    assert bfloat16_bits(np.array([0x3F808000, 0x3F818000], np.uint32).view(np.float32)).tolist() == [
        0x3F80,  # the tie goes down to the even one,
        0x3F82,  # and here up
    ]
    assert bfloat16_bits(np.array([0x7F7FFFFF], np.uint32).view(np.float32)).tolist() == [0x7F80]


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
@pytest.mark.parametrize("cohort", [1, 3, 7, 300])
def test_every_half_is_scaled_as_torch_does(dtype, cohort):
    raw = np.arange(1 << 16, dtype=np.uint16)
    weights = _tensor(raw, dtype)
    number = torch.isfinite(weights).numpy()
    for count in {0, 1, cohort // 2, cohort - 1, cohort}:
        counts = np.full(raw.shape, count, np.uint16)
        scaled = scaled_weights(raw, dtype, counts, cohort)
        assert scaled.dtype == raw.dtype
        assert np.array_equal(scaled[number], _bits(_scaled_by_torch(weights, counts, cohort), 2)[number])
        if count == 0:
            assert np.array_equal(scaled, raw)  # NaN too


@given(
    st.sampled_from(["F32", "F64"]),
    st.integers(1, 65535),
    st.lists(st.tuples(st.floats(allow_nan=False, allow_infinity=False, width=32), st.floats(0, 1))),
)
def test_wider_floats_are_scaled_as_torch_does(dtype, cohort, cases):
    values = np.array([value for value, _ in cases], "f4" if dtype == "F32" else "f8")
    counts = np.array([int(share * cohort) for _, share in cases], np.uint16)
    raw = values.view(_STORED[dtype][1])
    expected = _bits(_scaled_by_torch(torch.from_numpy(values), counts, cohort), raw.itemsize)
    assert np.array_equal(scaled_weights(raw, dtype, counts, cohort), expected)


def test_counts_that_cannot_scale_are_refused():
    raw, counts = np.zeros((2, 3), np.uint16), np.ones((2, 3), np.uint8)
    for bad in (
        (raw, "I16", counts, 3),
        (raw, "BF16", counts[:1], 3),
        (raw, "BF16", counts.astype(np.int8), 3),
        (raw, "BF16", counts, 0),
    ):
        with pytest.raises(ConfigurationError, match="cannot scale"):
            scaled_weights(*bad)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_scaled_checkpoint_equals_torchs_and_is_zero_where_pruned(tmp_path, monkeypatch, dtype):
    monkeypatch.setattr(checkpoint, "_CHUNK", 1000)  # several pieces
    source = make_checkpoint(tmp_path / "dense", dtype=dtype)
    matrices = _matrices(source)
    masks = _masks(matrices)
    cohort = 5
    generator = np.random.default_rng(2)
    counts = {n: generator.integers(0, cohort + 1, (r, c)).astype(np.uint8) for n, r, c in matrices}
    write_pruned_checkpoint(
        source, tmp_path / "out", masks, matrices, scaled_by=lambda name: (counts[name], cohort)
    )
    dense, scaled = _load(source), _load(tmp_path / "out")
    assert scaled.keys() == dense.keys()
    for name, tensor in scaled.items():
        expected = dense[name]
        if name in masks:
            expected = _scaled_by_torch(expected, counts[name], cohort)
            expected = expected.masked_fill(torch.from_numpy(masks[name]), 0)
            raw = CheckpointFiles(tmp_path / "out").raw(name)
            assert not raw[masks[name]].any()  # +0.0: no bit set
        assert tensor.dtype == dtype
        assert np.array_equal(_bits(tensor, tensor.element_size()), _bits(expected, tensor.element_size()))


def test_turned_matrices_are_scaled_as_they_are_stored(tmp_path):
    source = make_checkpoint(tmp_path / "dense", dtype=torch.bfloat16)
    name, rows, columns = next(m for m in _matrices(source) if m[1] != m[2])
    generator = np.random.default_rng(3)
    mask = generator.random((columns, rows)) < 0.5
    counts = generator.integers(0, 4, mask.shape).astype(np.uint8)
    write_pruned_checkpoint(
        source,
        tmp_path / "out",
        {name: mask},
        [(name, columns, rows)],
        transposed={name},
        scaled_by=lambda _: (counts, 3),
    )
    expected = _scaled_by_torch(_load(source)[name], counts.T, 3).masked_fill(torch.from_numpy(mask.T), 0)
    assert torch.equal(_load(tmp_path / "out")[name], expected)


def test_counts_of_another_shape_leave_nothing(tmp_path):
    source = make_checkpoint(tmp_path / "dense")
    matrices = _matrices(source)
    with pytest.raises(ConfigurationError, match="the counts of"):
        write_pruned_checkpoint(
            source,
            tmp_path / "out",
            _masks(matrices),
            matrices,
            scaled_by=lambda _: (np.zeros((1, 1), np.uint8), 3),
        )
    assert [path.name for path in tmp_path.iterdir()] == ["dense"]


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

    gc.freeze()  # all that was there before, which takes long to look through
    try:
        write_pruned_checkpoint(source, tmp_path / "out", give, matrices)
    finally:
        gc.unfreeze()
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
