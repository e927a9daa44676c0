from __future__ import annotations

import errno
import json
import os
import stat
import struct
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from secprune.errors import ConfigurationError, LocalEnvironmentError, LocalMisuseError
from secprune.pruning import tensorfile
from secprune.pruning.tensorfile import CheckpointFiles, TensorFile, write_tensor_file

TENSORS = {
    "half": torch.randn(3, 5, generator=torch.Generator().manual_seed(0)).half(),
    "brain": torch.randn(4, 3, generator=torch.Generator().manual_seed(1)).bfloat16(),
    "single": torch.randn(2, 2, 2, generator=torch.Generator().manual_seed(2)),
    "double": torch.randn(7, generator=torch.Generator().manual_seed(3)).double(),
    "byte": torch.arange(5, dtype=torch.uint8),
    "flag": torch.tensor([True, False, True]),
    "long": torch.tensor([[-1, 2**40]]),
    "scalar": torch.tensor(1.5),
    "empty": torch.zeros(0, 4),
}


def _bits(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


@pytest.fixture
def official(tmp_path):
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file(TENSORS, path, metadata={"format": "pt"})
    return path


def test_reads_what_the_official_library_writes(official):
    file = TensorFile(official)
    assert set(file.names) == set(TENSORS)
    assert file.metadata == {"format": "pt"}
    for name, tensor in TENSORS.items():
        assert file.entry(name)[1] == tuple(tensor.shape)
        raw = file.raw(name)
        assert raw.dtype == np.dtype(f"<u{tensor.element_size()}")
        assert raw.shape == tuple(tensor.shape)
        assert raw.tobytes() == _bits(tensor)
    assert file.entry("brain")[0] == "BF16"
    assert file.entry("half")[0] == "F16"
    assert np.shares_memory(file.raw("single"), file.raw("single"))  # a view of the file, not a copy
    with pytest.raises(ValueError, match="read-only"):
        file.raw("half")[0, 0] = 1


def test_unknown_tensor_is_a_configuration_error(official):
    with pytest.raises(ConfigurationError, match="no tensor other"):
        TensorFile(official).raw("other")
    with pytest.raises(ConfigurationError, match="no tensor other"):
        CheckpointFiles(official.parent).raw("other")


def test_the_official_library_reads_what_is_written(official, tmp_path):
    source, path = TensorFile(official), tmp_path / "written.safetensors"
    layout = [(name, *source.entry(name)) for name in sorted(TENSORS)]
    with write_tensor_file(path, layout, {"k": "v \u00e9"}) as writer:
        for name in TENSORS:
            writer.write(name, source.raw(name))
    read = safetensors.torch.load_file(path)
    assert set(read) == set(TENSORS)
    for name, tensor in TENSORS.items():
        assert read[name].dtype == tensor.dtype
        assert _bits(read[name]) == _bits(tensor)
        assert TensorFile(path).raw(name).flags.aligned
    with safetensors.safe_open(path, "np") as file:
        assert file.metadata() == {"k": "v \u00e9"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.safetensors", "written.safetensors"]


def test_written_piecewise_and_zero_where_nothing_was_written(tmp_path):
    path = tmp_path / "a.safetensors"
    with write_tensor_file(path, [("m", "U8", (4, 3))], mode=0o640) as writer:
        assert not path.exists()
        writer.write("m", np.array([[1, 2, 3]], np.uint8), first_row=2)
        writer.write("m", np.array([[0, 9, 0]], np.uint8), first_row=3)
    assert TensorFile(path).raw("m").tolist() == [[0, 0, 0], [0, 0, 0], [1, 2, 3], [0, 9, 0]]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_rows_written_in_any_order_are_in_their_places(tmp_path):
    path, rows = tmp_path / "a.safetensors", np.arange(15, dtype=np.uint16).reshape(5, 3)
    with write_tensor_file(path, [("other", "U8", (7,)), ("m", "U16", (5, 3))]) as writer:
        writer.write("m", rows[3:], first_row=3)
        writer.write("m", np.asfortranarray(rows[:3]))
        writer.write("m", rows[:0])
        for wrong, first_row in (
            (rows[:2], 4),
            (rows[:1, :2], 0),
            (rows[:1], -1),  # would land in the tensor before
            (rows.astype(np.uint8), 0),
            (rows.astype(np.uint32), 0),  # a count of 65536 must not become 0
        ):
            with pytest.raises(LocalMisuseError, match="do not fit"):
                writer.write("m", wrong, first_row=first_row)
    read = TensorFile(path)
    assert np.array_equal(read.raw("m"), rows)
    assert not read.raw("other").any()


def test_failure_in_the_middle_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"old")

    def interrupted():
        with write_tensor_file(path, [("m", "U8", (4,))]) as writer:
            writer.write("m", np.ones(1, np.uint8))
            assert len(list(tmp_path.iterdir())) == 2
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize(
    "tensors", [[("m", "F4", (2,))], [("m", "U8", (2,)), ("m", "U8", (2,))], [("__metadata__", "U8", (1,))]]
)
def test_impossible_layouts_are_refused_before_a_file_exists(tmp_path, tensors):
    with pytest.raises(LocalMisuseError), write_tensor_file(tmp_path / "a", tensors):
        pass
    assert not list(tmp_path.iterdir())


def test_missing_directory_is_a_local_environment_error(tmp_path):
    with pytest.raises(LocalEnvironmentError), write_tensor_file(tmp_path / "no" / "a", [("m", "U8", (1,))]):
        pass


def test_full_disk_is_an_error_before_anything_is_written(tmp_path):
    """For real: the kernel refuses a file above the limit, as it refuses blocks on a full disk."""
    code = textwrap.dedent(f"""
        import resource
        from pathlib import Path
        from secprune.errors import LocalEnvironmentError
        from secprune.pruning.tensorfile import write_tensor_file
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        try:
            with write_tensor_file(Path({str(tmp_path)!r}) / "a", [("m", "F32", (1 << 20,))]) as writer:
                print("entered")
        except LocalEnvironmentError as error:
            print(error)
    """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("cannot use")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_no_space_left_while_blocks_are_reserved(tmp_path, monkeypatch, code):
    def full(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "posix_fallocate", full)
    entered = []
    with (
        pytest.raises(LocalEnvironmentError, match="cannot use"),
        write_tensor_file(tmp_path / "a", [("m", "U8", (4,))]) as writer,
    ):
        entered.append(writer)
    assert not entered  # a full disk is noticed before the caller writes
    assert not list(tmp_path.iterdir())


def test_file_systems_that_cannot_reserve_are_written_with_zeros(tmp_path, monkeypatch):
    def cannot(*_):
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(os, "posix_fallocate", cannot)
    monkeypatch.setattr(tensorfile, "_BLANK", bytes(16))
    with write_tensor_file(tmp_path / "a", [("m", "U16", (50,))]) as writer:
        writer.write("m", np.array([7], np.uint16), first_row=49)
    assert safetensors.torch.load_file(tmp_path / "a")["m"].tolist() == [0] * 49 + [7]


def _write_header(path, header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def _entry(dtype="U8", shape=(2,), offsets=(0, 2), **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets), **more}


@pytest.mark.parametrize(
    "header",
    [
        {"a": _entry(offsets=(0, 3))},  # beyond the file
        {"a": _entry(offsets=(2, 0))},
        {"a": _entry(offsets=(-2, 0))},
        {"a": _entry(), "b": _entry()},  # overlap
        {"a": _entry(shape=(1,), offsets=(1, 2))},  # hole
        {"a": _entry(shape=(1,), offsets=(0, 1))},  # bytes left over
        {"a": _entry(shape=(3,))},
        {"a": _entry(dtype="F32")},
        {"a": _entry(dtype="F4")},
        {"a": _entry(dtype=["U8"])},
        {"a": _entry(shape=(-1, -2))},
        {"a": _entry(shape=(2.0,))},
        {"a": _entry(shape=(True, 2))},
        {"a": _entry(shape=(1,) * 65 + (2,))},
        {"a": _entry(), "b": _entry(shape=(0, 2**70), offsets=(2, 2))},
        {"a": _entry(), "b": _entry(shape=(0, 2**40, 2**40), offsets=(2, 2))},
        {"a": _entry(offsets=(0, 2, 2))},
        {"a": _entry(extra=1)},
        {"a": [1]},
        {"a": _entry(), "__metadata__": {"k": 1}},
        [],
        b"{",
        b"\xff\xff",
        b'{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}',
        b'{"a":' + b"[" * 100_000,
        b'{"a":' + b"9" * 5000 + b"}",
    ],
)
def test_malformed_headers_are_refused_by_name(tmp_path, header):
    path = _write_header(tmp_path / "model.safetensors", header, b"xy")
    with pytest.raises(ConfigurationError, match=r"model\.safetensors"):
        TensorFile(path)


def test_well_formed_counterpart_of_the_malformed_headers(tmp_path):
    header = {"a": _entry(), "b": _entry(shape=(0, 3), offsets=(2, 2)), "__metadata__": {"k": "1"}}
    assert TensorFile(_write_header(tmp_path / "a", header, b"xy")).raw("a").tobytes() == b"xy"


@pytest.mark.parametrize("length", [0, 1, 3, 1000, 100_000_001, 2**63, 2**64 - 1])
def test_impossible_header_lengths_are_refused(tmp_path, length):
    with pytest.raises(ConfigurationError, match="length"):
        TensorFile(_write_header(tmp_path / "a", b"{}", length=length))
    (tmp_path / "short").write_bytes(b"\0" * 5)
    with pytest.raises(ConfigurationError, match="length"):
        TensorFile(tmp_path / "short")


_GOOD = safetensors.torch.save({k: TENSORS[k] for k in ("brain", "byte", "empty")}, metadata={"format": "pt"})


@settings(max_examples=400)
@given(st.data())
def test_mutated_files_are_read_or_refused_but_nothing_else(tmp_path_factory, data):
    content = bytearray(_GOOD)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        kind = data.draw(st.sampled_from(["set", "cut", "insert", "truncate"]))
        if kind == "set":
            content[place] = data.draw(st.sampled_from(list(b'0123456789[]{}",:-.eE \xff\x00BFU')))
        elif kind == "cut":
            del content[place : place + data.draw(st.integers(1, 8))]
        elif kind == "insert":
            content[place:place] = data.draw(st.binary(min_size=1, max_size=8))
        else:
            del content[place + 1 :]
        if not content:
            break
    path = tmp_path_factory.mktemp("mutated") / "a.safetensors"
    path.write_bytes(content)
    try:
        file = TensorFile(path)
        for name in file.names:
            file.raw(name).sum()
    except ConfigurationError as error:
        assert "a.safetensors" in str(error)  # noqa: PT017  # not raising at all is right as well
    else:
        safetensors.torch.load(bytes(content))  # never more lenient than the official library


@pytest.mark.parametrize(
    "index",
    [
        "{",
        "[]",
        "{}",
        '{"weight_map": {}}',
        '{"weight_map": {"half": 3}}',
        '{"weight_map": {"half": "../model.safetensors"}}',
        '{"weight_map": {"half": "absent.safetensors"}}',
        '{"weight_map": {"half": "shard.bin"}}',
        '{"weight_map": {"unknown": "shard.safetensors"}}',
    ],
)
def test_malformed_indexes_are_refused(official, index):
    official.rename(official.with_name("shard.safetensors"))
    (official.parent / "shard.bin").write_bytes(b"")
    (official.parent / "model.safetensors.index.json").write_text(index)
    with pytest.raises(ConfigurationError):
        CheckpointFiles(official.parent)


def test_sharded_index_maps_names_to_files(tmp_path):
    for file, name in (("x.safetensors", "half"), ("y.safetensors", "brain")):
        safetensors.torch.save_file({name: TENSORS[name]}, tmp_path / file)
    where = {"half": "x.safetensors", "brain": "y.safetensors"}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    files = CheckpointFiles(tmp_path)
    assert [file.path.name for file in files.files] == ["x.safetensors", "y.safetensors"]
    assert files.entry("brain") == ("BF16", (4, 3))
    assert files.raw("half").tobytes() == _bits(TENSORS["half"])


def test_directory_without_weights_is_local_misuse(tmp_path):
    with pytest.raises(LocalMisuseError, match="holds no"):
        CheckpointFiles(tmp_path)
    with pytest.raises(LocalMisuseError, match="no model directory"):
        CheckpointFiles(tmp_path / "nowhere")


def test_rows_are_those_of_the_map(official):
    file = TensorFile(official)
    for name in TENSORS:
        if len(file.entry(name)[1]) >= 1:
            np.testing.assert_array_equal(file.rows(name), file.raw(name))
            np.testing.assert_array_equal(file.rows(name, 1, 2), file.raw(name)[1:2])
