"""The mean of kept weights as a checkpoint stores it, against torch, for every float type and both ways of storing."""

from __future__ import annotations

import numpy as np
import pytest
import safetensors.torch
import torch
from tiny_models import make_checkpoint

from secprune.errors import ConfigurationError, RemoteMisbehaviourError
from secprune.fixedpoint import FixedPoint, reach_of
from secprune.pruning import averaging
from secprune.pruning.averaging import matrix_reach, mean_bits
from secprune.pruning.checkpoint import write_pruned_checkpoint
from secprune.pruning.decoder import prunable_matrices
from secprune.pruning.models import model_skeleton
from secprune.pruning.tensorfile import CheckpointFiles

DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64}
SIGNED = {2: torch.int16, 4: torch.int32, 8: torch.int64}


def save(directory, **tensors):
    directory.mkdir()
    safetensors.torch.save_file(tensors, directory / "model.safetensors")
    return CheckpointFiles(directory)


def as_float64(bits, dtype):
    """What torch reads in bit patterns."""
    signed = torch.from_numpy(np.ascontiguousarray(bits).view(f"i{bits.itemsize}"))
    assert signed.dtype == SIGNED[bits.itemsize]
    return signed.view(DTYPES[dtype]).double().numpy()


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_reach_is_twice_the_largest_weight_to_the_bit(tmp_path, dtype):
    weights = torch.randn(9, 5, generator=torch.Generator().manual_seed(1)).to(DTYPES[dtype])
    weights[3, 2] = -1.2345678  # the largest is a negative one
    weights = weights.clamp(-1.2345678, 1)
    largest = float(weights.abs().max().double())
    files = save(tmp_path / "m", w=weights, turned=weights.T.contiguous(), zero=torch.zeros_like(weights))
    assert matrix_reach(files, "w") == reach_of(largest) == 2 * largest
    assert matrix_reach(files, "turned") == matrix_reach(files, "w")
    assert matrix_reach(files, "zero") == 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_a_model_with_a_weight_that_is_not_finite_has_no_reach(tmp_path, dtype, value):
    weights = torch.ones(2, 2, dtype=DTYPES[dtype])
    weights[1, 0] = value
    with pytest.raises(ConfigurationError):
        matrix_reach(save(tmp_path / "m", w=weights), "w")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows_bytes", [8, 8 * 11 * 2, 8 << 20])
def test_means_are_rounded_as_torch_rounds_them(monkeypatch, dtype, rows_bytes):
    monkeypatch.setattr(averaging, "_ROWS_BYTES", rows_bytes)
    rng, fixed, cohort, reach = np.random.default_rng(2), FixedPoint(15), 5, 0.7
    masks = rng.random((cohort, 13, 11)) < 0.5
    masks[:, 0, :4] = True  # nobody
    numbers = [
        fixed.encode(rng.normal(size=(13, 11)) * 0.2, mask, reach=reach)[0].astype(np.uint32)
        for mask in masks
    ]
    sums, counts = np.sum(numbers, axis=0, dtype=np.uint32), masks.sum(axis=0).astype(np.uint8)
    bits = mean_bits(counts, sums, fixed=fixed, cohort=cohort, reach=reach, dtype=dtype)
    total = sums.astype(np.int64) - cohort * fixed.half
    exact = torch.from_numpy(total / np.maximum(cohort - counts, 1) * (reach / fixed.half))
    working = exact if dtype == "F64" else exact.float()
    np.testing.assert_array_equal(as_float64(bits, dtype), working.to(DTYPES[dtype]).double().numpy())
    assert (bits[0, :4] == 0).all()
    assert np.count_nonzero(bits) > 100


def test_sums_of_another_round_are_refused():
    fixed = FixedPoint(15)
    counts, sums = np.full((2, 2), 3, np.uint8), np.full((2, 2), 3 * fixed.half + 1, np.uint32)
    with pytest.raises(RemoteMisbehaviourError, match="do not belong together"):
        mean_bits(counts, sums, fixed=fixed, cohort=3, reach=1.0, dtype="F32")


@pytest.mark.parametrize(("arch", "dtype"), [("gpt2", "F32"), ("gpt2", "BF16"), ("llama", "F16")])
def test_a_checkpoint_gets_the_new_weights_where_they_are_kept(tmp_path, arch, dtype):
    """In whatever way its matrices are stored; all the rest is as it was."""
    source = make_checkpoint(tmp_path / "dense", arch, dtype=DTYPES[dtype])
    matrices = prunable_matrices(model_skeleton(source))
    rng, width = np.random.default_rng(4), np.dtype("<u4" if dtype == "F32" else "<u2")
    new = {m.name: rng.integers(0, 2**14, (m.rows, m.columns), width) for m in matrices}
    masks = {m.name: rng.random((m.rows, m.columns)) < 0.5 for m in matrices}
    write_pruned_checkpoint(
        source,
        tmp_path / "pruned",
        masks,
        [(m.name, m.rows, m.columns) for m in matrices],
        {},
        transposed=[m.name for m in matrices if m.transposed],
        replaced_by=new.__getitem__,
    )
    assert any(m.transposed for m in matrices) == (arch == "gpt2")
    before, after = CheckpointFiles(source), CheckpointFiles(tmp_path / "pruned")
    for m in matrices:
        due = np.where(masks[m.name], 0, new[m.name]).astype(width)
        np.testing.assert_array_equal(after.raw(m.name), due.T if m.transposed else due)
    for name in set(before.names) - set(new):
        np.testing.assert_array_equal(after.raw(name), before.raw(name))


@pytest.mark.parametrize("wrong", [np.zeros((3, 3), np.uint32), None])
def test_new_weights_of_another_shape_or_width_leave_nothing(tmp_path, wrong):
    source = make_checkpoint(tmp_path / "dense")
    matrices = [(m.name, m.rows, m.columns) for m in prunable_matrices(model_skeleton(source))]
    new = {
        name: np.zeros((rows, columns), np.uint16) if wrong is None else wrong
        for name, rows, columns in matrices
    }
    masks = {name: np.zeros((rows, columns), bool) for name, rows, columns in matrices}
    with pytest.raises(ConfigurationError, match="the new weights"):
        write_pruned_checkpoint(source, tmp_path / "pruned", masks, matrices, {}, replaced_by=new.__getitem__)
    assert not (tmp_path / "pruned").exists()
