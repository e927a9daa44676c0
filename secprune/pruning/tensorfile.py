"""Safetensors files as raw bits: every dtype, nothing copied, nothing converted, no torch.

Format (safetensors): 8 bytes little-endian length n; n bytes of JSON, name -> dtype, shape, data_offsets;
then the data. A header comes from outside this program and is believed only after it has been checked:
bounds first, then types, then that the tensors fill the data without a hole or an overlap.
"""

from __future__ import annotations

import errno
import json
import math
import os
import struct
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from secprune.errors import ConfigurationError, LocalMisuseError
from secprune.files import environment_error, environment_errors, sync_directory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray

MAX_HEADER_BYTES = 100_000_000
"""The limit of the official library."""

INDEX_NAME = "model.safetensors.index.json"
SINGLE_NAME = "model.safetensors"
_MAX_NAME = 255  # bytes of a file's name, on every file system that is in use

_WIDTHS = {
    1: ("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0"),
    2: ("U16", "I16", "F16", "BF16"),
    4: ("U32", "I32", "F32"),
    8: ("U64", "I64", "F64", "C64"),
}
_BYTES = {dtype: width for width, dtypes in _WIDTHS.items() for dtype in dtypes}
_MAX_DIMENSIONS = 32  # what every numpy can reshape to
_BLANK = bytes(1 << 20)

Entry = tuple[str, tuple[int, ...]]
"""A tensor's dtype (as in the header: "BF16", "F32", ...) and its shape."""


class TensorFile:
    """One safetensors file, read through the page cache.

    Args:
        path: the file.

    Attributes:
        names: the tensors, in the order of their data.
        metadata: the header's free text.
        data_start: where the data begins; the bytes before it are the header with its length field.

    Raises:
        ConfigurationError: not a well-formed safetensors file.
        LocalEnvironmentError: the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                prefix = file.read(8)
                length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else -1
                if not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
                    raise _malformed(path, "its header's length is impossible")
                header = file.read(length)
            self.data_start = 8 + length
            entries = _parse_header(path, header, size - self.data_start)
            self.metadata: dict[str, str] = entries.pop("__metadata__", {})
            self._entries: dict[str, tuple[str, tuple[int, ...], int, int]] = entries
            self.names = tuple(sorted(entries, key=lambda name: entries[name][2:]))
            self._bytes = np.memmap(path, dtype=np.uint8, mode="r")
        except OSError as error:
            raise environment_error(f"use {path}", error) from error

    def entry(self, name: str) -> Entry:
        """Dtype and shape of a tensor.

        Raises:
            ConfigurationError: no tensor of that name.
        """
        dtype, shape, _, _ = self._find(name)
        return dtype, shape

    def span(self, name: str) -> tuple[int, int]:
        """First byte of a tensor in the file, and the byte after its last."""
        _, _, begin, end = self._find(name)
        return self.data_start + begin, self.data_start + end

    def raw(self, name: str) -> NDArray[Any]:
        """A tensor's bits, read-only and not copied: unsigned integers of the dtype's width.

        Returns:
            uint8, uint16 (F16 and BF16 too), uint32 (F32 too) or uint64 (F64 too), in the tensor's shape.

        Raises:
            ConfigurationError: no tensor of that name.
        """
        dtype, shape, _, _ = self._find(name)
        begin, end = self.span(name)
        return self._bytes[begin:end].view(f"<u{_BYTES[dtype]}").reshape(shape)

    def rows(self, name: str, low: int = 0, high: int | None = None) -> NDArray[Any]:
        """Rows [low, high) of a tensor as `raw` gives them, but read into memory of their own.

        What is read through the map counts as this process's memory; a file larger than memory that is
        read from end to end is better read in this way.
        """
        _, shape, _, _ = self._find(name)
        if not shape:
            return self.raw(name).copy()
        piece = self.raw(name)[low:high]
        offset = self.span(name)[0] + low * math.prod(shape[1:]) * piece.itemsize
        try:
            read = np.fromfile(self.path, piece.dtype, count=piece.size, offset=offset)
        except OSError as error:
            raise environment_error(f"read {self.path}", error) from error
        return read.reshape(piece.shape)

    def _find(self, name: str) -> tuple[str, tuple[int, ...], int, int]:
        try:
            return self._entries[name]
        except KeyError:
            raise ConfigurationError(
                f"{self.path} has no tensor {name}", hint="check that the checkpoint is the task's"
            ) from None


class CheckpointFiles:
    """The safetensors files of a model directory, and which tensor lies in which of them.

    Args:
        directory: holds model.safetensors, or model.safetensors.index.json and its shards.

    Attributes:
        files: the weight files, in the order of their names.
        names: all tensors of the checkpoint.

    Raises:
        LocalMisuseError: no such directory, or no safetensors in it.
        ConfigurationError: an index or a file that is malformed, or a shard that is missing.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        index = directory / INDEX_NAME
        if (directory / SINGLE_NAME).is_file():  # transformers looks for it first, too
            single = TensorFile(directory / SINGLE_NAME)
            self._files, self._where = {SINGLE_NAME: single}, dict.fromkeys(single.names, SINGLE_NAME)
        elif index.is_file():
            self._where = _read_index(index)
            self._files = {name: self._shard(name) for name in sorted(set(self._where.values()))}
            for name, file in self._where.items():
                self._files[file].entry(name)
        else:
            raise LocalMisuseError(
                f"{directory} holds no {SINGLE_NAME} and no {INDEX_NAME}"
                if directory.is_dir()
                else f"no model directory at {directory}",
                hint="give a checkpoint directory; convert older formats with save_pretrained",
            )
        self.files = tuple(self._files.values())
        self.names = tuple(self._where)

    def file_of(self, name: str) -> TensorFile:
        """The file that holds a tensor.

        Raises:
            ConfigurationError: no tensor of that name.
        """
        if name not in self._where:
            raise ConfigurationError(
                f"{self.directory} has no tensor {name}", hint="check that the checkpoint is the task's"
            )
        return self._files[self._where[name]]

    def entry(self, name: str) -> Entry:
        """Dtype and shape of a tensor."""
        return self.file_of(name).entry(name)

    def raw(self, name: str) -> NDArray[Any]:
        """A tensor's bits, as `TensorFile.raw` gives them."""
        return self.file_of(name).raw(name)

    def rows(self, name: str) -> NDArray[Any]:
        """A tensor's bits in memory of their own, as `TensorFile.rows` gives them."""
        return self.file_of(name).rows(name)

    def _shard(self, name: str) -> TensorFile:
        # A name with a directory in it would let an index point at any file of this machine.
        if Path(name).name != name or not name.endswith(".safetensors") or len(name.encode()) > _MAX_NAME:
            raise _malformed(self.directory / INDEX_NAME, f"it names a shard {name[:100]!r}")
        if not (self.directory / name).is_file():
            raise ConfigurationError(
                f"{self.directory} lacks its shard {name}", hint="download or copy the checkpoint again"
            )
        return TensorFile(self.directory / name)


class TensorFileWriter:
    """The tensors of a file under construction; `write_tensor_file` makes it.

    Args:
        handle: the temporary file, already of its full size.
        data_start: bytes before the data.
        places: name -> dtype, shape, begin and end in the data.
    """

    def __init__(
        self, handle: int, data_start: int, places: Mapping[str, tuple[str, tuple[int, ...], int, int]]
    ) -> None:
        self._handle = handle
        self._data_start = data_start
        self._places = places

    def write(self, name: str, rows: NDArray[Any], *, first_row: int = 0) -> None:
        """Write consecutive rows of a tensor; unlike a memory map, what is written does not stay in memory.

        Args:
            name: of the tensor.
            rows: raw bits, unsigned integers of exactly the dtype's width, (some rows, ...).
            first_row: where they go.

        Raises:
            LocalMisuseError: `rows` has another width or shape than the tensor, or lies outside it.
            LocalEnvironmentError: the disk failed.
        """
        dtype, shape, begin, _ = self._places[name]
        raw = np.dtype(f"<u{_BYTES[dtype]}")
        shape, rows = (shape, rows) if shape else ((1,), rows.reshape(-1))  # a scalar is one row
        fits = rows.dtype == raw and rows.shape[1:] == shape[1:] and 0 <= first_row <= shape[0] - len(rows)
        if not fits:
            raise LocalMisuseError(
                f"rows {rows.dtype} {rows.shape} at {first_row} do not fit {name}, {dtype} {shape}",
                hint="give raw bits of the tensor's own width",
            )
        data = np.ascontiguousarray(rows).tobytes()
        offset = self._data_start + begin + first_row * math.prod(shape[1:]) * _BYTES[dtype]
        while data:
            with environment_errors(f"write {name}"):
                written = os.pwrite(self._handle, data, offset)
            data, offset = data[written:], offset + written


@contextmanager
def write_tensor_file(
    path: Path,
    tensors: Iterable[tuple[str, str, tuple[int, ...]]],
    metadata: Mapping[str, str] | None = None,
    *,
    mode: int = 0o600,
) -> Iterator[TensorFileWriter]:
    """Write a safetensors file piece by piece: all of it, durable, or nothing.

    Tensors larger than memory are written a few rows at a time. Disk blocks are reserved first: a full disk
    is an error at the start, not hours later.

    Args:
        path: the file; replaced if it exists, and only once the new one is complete and on disk.
        tensors: name, dtype (as "F32" or "U8") and shape of each.
        metadata: free text for the header.
        mode: permissions of the file.

    Yields:
        The writer; what is not filled in stays zero.

    Raises:
        LocalEnvironmentError: disk full, or the directory cannot be written.
        LocalMisuseError: an unknown dtype, or two tensors of one name.
    """
    header, places, size = _layout(tensors, metadata or {})
    try:
        handle, temporary_name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
    except OSError as error:
        raise environment_error(f"use {path}", error) from error
    temporary = Path(temporary_name)
    try:
        try:
            os.fchmod(handle, mode)
            _allocate(handle, len(header) + size)
            os.pwrite(handle, header, 0)
            writer = TensorFileWriter(handle, len(header), places)
        except OSError as error:
            raise environment_error(f"use {path}", error) from error
        yield writer
        try:
            os.fsync(handle)
            temporary.replace(path)
            sync_directory(path.parent)
        except OSError as error:
            raise environment_error(f"use {path}", error) from error
    finally:
        os.close(handle)
        temporary.unlink(missing_ok=True)


def _allocate(handle: int, size: int) -> None:
    reserve = getattr(os, "posix_fallocate", None)  # not on macOS
    if reserve is not None:
        try:
            reserve(handle, 0, size)
        except OSError as error:
            if error.errno not in {errno.EOPNOTSUPP, errno.EINVAL}:  # file systems that cannot
                raise
        else:
            return
    for start in range(0, size, len(_BLANK)):
        os.pwrite(handle, _BLANK[: size - start], start)


def _layout(
    tensors: Iterable[tuple[str, str, tuple[int, ...]]], metadata: Mapping[str, str]
) -> tuple[bytes, dict[str, tuple[str, tuple[int, ...], int, int]], int]:
    places: dict[str, tuple[str, tuple[int, ...], int, int]] = {}
    end = 0
    # Widest first, as the official library does: then every tensor is aligned without padding.
    for name, dtype, shape in sorted(tensors, key=lambda tensor: -_BYTES.get(tensor[1], 0)):
        if dtype not in _BYTES or name in places or name == "__metadata__":
            raise LocalMisuseError(
                f"cannot write a tensor {name} of type {dtype}", hint="use a known dtype and each name once"
            )
        begin, end = end, end + math.prod(shape) * _BYTES[dtype]
        places[name] = (dtype, tuple(shape), begin, end)
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    for name, (dtype, shape, begin, stop) in places.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, stop]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the data begins at a multiple of 8
    return struct.pack("<Q", len(text)) + text, places, end


def _parse_header(path: Path, header: bytes, data_size: int) -> dict[str, Any]:
    entries: dict[str, Any] = {}
    for name, value in _parse_json(path, header).items():
        if name == "__metadata__":
            if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
                raise _malformed(path, "its metadata is not text")
            entries[name] = value
        else:
            entries[name] = _parse_entry(path, name, value)
    position = 0
    for begin, end in sorted(entry[2:] for name, entry in entries.items() if name != "__metadata__"):
        if begin != position:
            raise _malformed(path, "its tensors overlap or leave holes")
        position = end
    if position != data_size:
        raise _malformed(path, "its tensors do not fill the file")
    return entries


def _parse_entry(path: Path, name: str, value: Any) -> tuple[str, tuple[int, ...], int, int]:
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise _malformed(path, f"the entry of tensor {name!r} has the wrong fields")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _BYTES:
        raise _malformed(path, f"tensor {name!r} has an unknown dtype")
    if not _naturals(shape) or len(shape) > _MAX_DIMENSIONS or not _naturals(offsets) or len(offsets) != 2:
        raise _malformed(path, f"tensor {name!r} has an impossible shape or place")
    if math.prod(size for size in shape if size) >= 1 << 56:
        # Nothing of that size exists, and an empty tensor with such a shape would overflow numpy.
        raise _malformed(path, f"tensor {name!r} has an impossible shape")
    begin, end = offsets
    if end - begin != math.prod(shape) * _BYTES[dtype]:
        raise _malformed(path, f"the size of tensor {name!r} does not fit its shape")
    return dtype, tuple(shape), begin, end


def _naturals(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _read_index(path: Path) -> dict[str, str]:
    try:
        if path.stat().st_size > MAX_HEADER_BYTES:
            raise _malformed(path, "it is too large")
        content = _parse_json(path, path.read_bytes())
    except OSError as error:
        raise environment_error(f"use {path}", error) from error
    where = content.get("weight_map")
    if not isinstance(where, dict) or not where or not all(isinstance(name, str) for name in where.values()):
        raise _malformed(path, "it has no weight_map")
    return where


def _parse_json(path: Path, text: bytes) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        # Readers differ in which of two equal keys they take; a file must mean the same to all of them.
        if len({key for key, _ in pairs}) != len(pairs):
            raise ValueError("duplicate key")
        return dict(pairs)

    try:
        value = json.loads(text.decode(), object_pairs_hook=unique)
        json.dumps(
            value, ensure_ascii=False
        ).encode()  # refuses half characters, which nobody can write again
    except (ValueError, RecursionError) as error:
        raise _malformed(path, "its JSON cannot be read") from error
    if not isinstance(value, dict):
        raise _malformed(path, "its JSON is not an object")
    return value


def _malformed(path: Path, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"{path} is not a well-formed checkpoint file: {reason}",
        hint="download or copy the checkpoint again, and compare its digest with the task's",
    )
