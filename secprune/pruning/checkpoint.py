"""The pruned checkpoint: the dense one, byte for byte, with exact zeros where the pruning mask says so.

Stock transformers, vLLM and lm-eval load it because nothing about it is new: the same files, headers,
dtypes and keys. Weights are streamed as bits, one matrix at a time; no float is ever computed with, so
what is kept is kept exactly, on every machine. The exceptions are weight scaling, if a task asks for it, and FedSpaLLM,
whose kept weights are means over clients (`pruning.averaging`).
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from secprune.errors import ConfigurationError, LocalMisuseError
from secprune.files import environment_error, sync_directory
from secprune.pruning.tensorfile import (
    INDEX_NAME,
    SINGLE_NAME,
    CheckpointFiles,
    TensorFile,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from typing import BinaryIO

    from numpy.typing import NDArray

    UnsignedArray = NDArray[np.unsignedinteger[Any]]
    MaskOf = Callable[[str], NDArray[np.bool_]]
    VotesOf = Callable[[str], tuple[UnsignedArray, int]]
    WeightsOf = Callable[[str], UnsignedArray]

WEIGHT_PATTERNS = ("config.json", "*.safetensors", "*.safetensors.index.json")
TOKENIZER_PATTERNS = (
    "tokenizer*.json",
    "tokenizer.model",
    "vocab*",
    "merges*",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)
_COPIED_PATTERNS = ("config.json", "generation_config.json", *TOKENIZER_PATTERNS, "LICENSE*", "NOTICE*")
_CHUNK = 8 << 20
_PRUNABLE = {"F16", "BF16", "F32", "F64"}
_BF16_FRACTION = np.uint32(16)  # a bfloat16 is a float32 without its last 16 bits


def weights_digest(directory: Path) -> str:
    """Identifies a checkpoint's weights: all parties of a task must prune the same model.

    Returns:
        "sha256:<hex>" over the canonical JSON of {file name: SHA-256} of config.json, the safetensors
        files and their index.

    Raises:
        LocalMisuseError: no such directory, or no weights in it.
    """
    return _digest(directory, WEIGHT_PATTERNS, "safetensors files")


def tokenizer_digest(directory: Path) -> str:
    """Identifies a checkpoint's tokenizer: other tokens would mean other statistics.

    Returns:
        "sha256:<hex>" over the canonical JSON of {file name: SHA-256} of those tokenizer files that exist.

    Raises:
        LocalMisuseError: no such directory, or no tokenizer in it.
    """
    return _digest(directory, TOKENIZER_PATTERNS, "tokenizer files")


def matrix_sparsity(directory: Path, name: str) -> tuple[int, int]:
    """How many entries of a tensor are exactly zero (-0.0 counts), and how many it has.

    Raises:
        ConfigurationError: no such tensor, or not of a float type.
    """
    files = CheckpointFiles(directory)
    dtype, _ = files.entry(name)
    if dtype not in _PRUNABLE:
        raise ConfigurationError(f"{name} is {dtype}, not a float matrix", hint="name a weight matrix")
    raw = files.raw(name)
    return raw.size - int(np.count_nonzero(raw << 1)), raw.size  # the shift drops the sign bit


def write_pruned_checkpoint(
    source_dir: Path,
    target_dir: Path,
    masks: MaskOf | Mapping[str, NDArray[np.bool_]],
    matrices: Sequence[tuple[str, int, int]],
    extra_files: Mapping[str, bytes] | None = None,
    *,
    transposed: Collection[str] = (),
    scaled_by: VotesOf | None = None,
    replaced_by: WeightsOf | None = None,
) -> None:
    """Write the pruned copy of a checkpoint: whole and durable, or not at all.

    It grows in a hidden directory beside the target and is renamed at the end. A process that is killed
    leaves that directory (`.<name>.<random>.partial`) behind and never a half-written checkpoint.

    Args:
        source_dir: the dense checkpoint.
        target_dir: must not exist, or be an empty directory.
        masks: gives the pruning mask of a matrix by its name, (rows, columns) bool, True = prune; asked
            once for each matrix, in the order of the data in the files.
        matrices: name, rows and columns of each matrix that is pruned.
        extra_files: further files by name, such as the provenance in secprune.json.
        transposed: names of the matrices that the checkpoint stores as (columns, rows).
        scaled_by: if given, what is kept is scaled (see `scaled_weights`) by what this says of a matrix: the
            counts, (rows, columns) of an unsigned type, and the clients counted.
        replaced_by: if given, what is kept is what this says of a matrix: (rows, columns) bit patterns.

    Raises:
        LocalMisuseError: the target is not empty, a path is wrong, or an extra file's name is not free.
        ConfigurationError: a matrix, mask or counts do not fit the checkpoint, or it is quantized.
        LocalEnvironmentError: disk full, or a path that cannot be read or written.
    """
    files = CheckpointFiles(source_dir)
    _check_unquantized(source_dir)
    pruned = {n: (columns, rows) if n in transposed else (rows, columns) for n, rows, columns in matrices}
    for name, shape in pruned.items():
        if files.entry(name)[0] not in _PRUNABLE or files.entry(name)[1] != shape:
            raise ConfigurationError(
                f"{name} in {source_dir} is {files.entry(name)}, not a float matrix of shape {shape}",
                hint="use the checkpoint that the task names",
            )
    copied = _matching(source_dir, _COPIED_PATTERNS)
    if files.files[0].path.name != SINGLE_NAME:  # an index beside a single file is a stray one
        copied.append(source_dir / INDEX_NAME)
    extra = dict(extra_files or {})
    _check_names(extra, [file.name for file in copied] + [file.path.name for file in files.files])
    if target_dir.exists() and not (target_dir.is_dir() and not any(target_dir.iterdir())):
        raise LocalMisuseError(
            f"{target_dir} exists and is not empty",
            hint="choose a new directory; nothing is ever overwritten",
        )
    edits = _Edits(
        masks if callable(masks) else masks.__getitem__, scaled_by, replaced_by, frozenset(transposed)
    )
    temporary = target_dir.with_name(f".{target_dir.name}.{secrets.token_hex(4)}.partial")
    try:
        target_dir.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        for file in files.files:
            _copy_pruned(file, temporary / file.path.name, pruned, edits)
        for source in copied:
            _write(temporary / source.name, [source.read_bytes()])
        for name, content in extra.items():
            _write(temporary / name, [content])
        sync_directory(temporary)
        temporary.rename(target_dir)  # atomic; the system refuses a target that is not empty by now
        sync_directory(target_dir.parent)
    except OSError as error:
        raise environment_error(f"write {target_dir}", error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def scaled_weights(raw: UnsignedArray, dtype: str, counts: UnsignedArray, cohort: int) -> UnsignedArray:
    """Weights times (m - count) / m, the weight scaling of FedPrLLM.

    The share is rounded to float32, then the product to float32 (both to float64 for F64), then that to the
    stored type, each to the nearest, ties to even. A weight nobody voted to prune keeps its bits.

    Args:
        raw: bit patterns, as `tensorfile.TensorFile.raw` gives them.
        dtype: "F16", "BF16", "F32" or "F64".
        counts: votes to prune, in the shape of `raw`.
        cohort: m, the clients counted.

    Returns:
        Bit patterns, as `raw`.

    Raises:
        ConfigurationError: another dtype or shape, or a count above the cohort.

    Source: FedPrLLM (arXiv 2505.13547), "weight scaling"; its code computes in float16.
    """
    if (
        dtype not in _PRUNABLE
        or counts.shape != raw.shape
        or counts.dtype.kind != "u"
        or (counts.size and int(counts.max()) > cohort)
    ):
        raise ConfigurationError(
            f"counts {counts.dtype}{counts.shape} of {cohort} clients cannot scale weights {dtype}{raw.shape}",
            hint="use the counts and the checkpoint of the same task",
        )
    working = np.dtype(np.float64 if dtype == "F64" else np.float32)
    with np.errstate(invalid="ignore", under="ignore"):  # an infinite weight that nobody keeps: NaN
        share = (cohort - counts.astype(np.int64)).astype(working) / working.type(max(1, cohort))
        if dtype == "BF16":
            scaled = bfloat16_bits(_bfloat16_values(raw) * share)
        else:
            values = raw.view(f"<f{raw.itemsize}").astype(working)
            scaled = (values * share).astype(f"<f{raw.itemsize}").view(raw.dtype)
    return np.where(counts == 0, raw, scaled)


def bfloat16_bits(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Round float32 to bfloat16, to the nearest, ties to even; numpy has no such type.

    A bfloat16 is the upper half of a float32. Adding just under half a unit of its last place, or exactly
    half if the last bit kept is odd, carries into that bit where rounding is upward; a carry out of the
    fraction raises the exponent, up to infinity, as it must. Not a number is kept such, and made quiet.

    Returns:
        Bit patterns, in the shape of `values`.
    """
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    upper = bits >> _BF16_FRACTION
    rounded = (bits + (upper & np.uint32(1)) + np.uint32(0x7FFF)) >> _BF16_FRACTION
    return np.where(np.isnan(values), upper | np.uint32(0x40), rounded).astype(np.uint16)


def _bfloat16_values(raw: UnsignedArray) -> NDArray[np.float32]:
    return (raw.astype(np.uint32) << _BF16_FRACTION).view(np.float32)


class _Edits:
    """What becomes of each matrix, in the shape in which the checkpoint stores it."""

    def __init__(
        self,
        mask_of: MaskOf,
        scaled_by: VotesOf | None,
        replaced_by: WeightsOf | None,
        transposed: frozenset[str],
    ) -> None:
        self._mask_of, self._scaled_by, self._transposed = mask_of, scaled_by, transposed
        self._replaced_by = replaced_by

    def mask(self, name: str) -> NDArray[np.bool_]:
        mask = self._mask_of(name)
        return mask.T if name in self._transposed else mask

    def votes(self, name: str) -> tuple[UnsignedArray, int] | None:
        if self._scaled_by is None:
            return None
        counts, cohort = self._scaled_by(name)
        return counts.T if name in self._transposed else counts, cohort

    def weights(self, name: str) -> UnsignedArray | None:
        if self._replaced_by is None:
            return None
        weights = self._replaced_by(name)
        return weights.T if name in self._transposed else weights


def _copy_pruned(
    file: TensorFile, target: Path, pruned: Mapping[str, tuple[int, int]], edits: _Edits
) -> None:
    def pieces(source: BinaryIO) -> Iterable[bytes]:
        yield source.read(file.data_start)
        for name in file.names:  # in the order of the data, which has no holes
            if name in pruned:
                mask = _checked_mask(name, edits.mask(name), pruned[name])
                yield from _pruned_rows(name, file, mask, edits.votes(name), edits.weights(name))
                del mask  # before the next one is asked for
            else:
                begin, end = file.span(name)
                source.seek(begin)
                for start in range(begin, end, _CHUNK):
                    yield source.read(min(_CHUNK, end - start))

    with file.path.open("rb") as source:
        _write(target, pieces(source))


def _pruned_rows(
    name: str,
    file: TensorFile,
    mask: NDArray[np.bool_],
    votes: tuple[UnsignedArray, int] | None,
    weights: UnsignedArray | None,
) -> Iterable[bytes]:
    raw, dtype = file.raw(name), file.entry(name)[0]
    if weights is not None and (weights.shape, weights.dtype.itemsize) != (raw.shape, raw.itemsize):
        raise ConfigurationError(
            f"the new weights of {name} are {weights.dtype} {weights.shape}, not {raw.shape}",
            hint="use the sums of the same task",
        )
    if votes is not None and votes[0].shape != raw.shape:
        raise ConfigurationError(
            f"the counts of {name} are {votes[0].shape}, not {raw.shape}",
            hint="use the counts of the same task",
        )
    rows = max(1, _CHUNK // max(1, raw.itemsize * raw.shape[1]))
    for start in range(0, raw.shape[0], rows):
        part = file.rows(name, start, start + rows)  # (rows, columns), the file's bits
        if weights is not None:
            part = np.ascontiguousarray(weights[start : start + rows])
        if votes is not None:
            part = scaled_weights(part, dtype, votes[0][start : start + rows], votes[1])
        yield np.where(mask[start : start + rows], part.dtype.type(0), part).tobytes()


def _checked_mask(name: str, mask: NDArray[np.bool_], shape: tuple[int, int]) -> NDArray[np.bool_]:
    if mask.dtype != np.bool_ or mask.shape != shape:
        raise ConfigurationError(
            f"the pruning mask of {name} is {mask.dtype} {mask.shape}, not bool {shape}",
            hint="use the masks of the same task",
        )
    return mask


def _write(path: Path, pieces: Iterable[bytes]) -> None:
    with path.open("xb") as file:
        for piece in pieces:
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())


def _check_unquantized(directory: Path) -> None:
    try:
        config = json.loads((directory / "config.json").read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(
            f"{directory} has no readable config.json", hint="download or copy the checkpoint again"
        ) from error
    if not isinstance(config, dict) or config.get("quantization_config") is not None:
        raise ConfigurationError(
            f"the model in {directory} is quantized: its stored weights are not the ones it computes with",
            hint="prune the unquantized checkpoint, and quantize the pruned one afterwards",
        )


def _check_names(extra: Mapping[str, bytes], taken: Sequence[str]) -> None:
    for name in extra:
        if name in {"", ".."} or Path(name).name != name or name in taken:
            raise LocalMisuseError(
                f"an extra file cannot be named {name!r}",
                hint="use a plain name that the checkpoint does not have",
            )


def _matching(directory: Path, patterns: Iterable[str]) -> list[Path]:
    found = {file for pattern in patterns for file in directory.glob(pattern) if file.is_file()}
    return sorted(found)


def _digest(directory: Path, patterns: tuple[str, ...], what: str) -> str:
    files = _matching(directory, patterns)
    if not any(file.name != "config.json" for file in files):
        raise LocalMisuseError(f"{directory} holds no {what}", hint="give the directory of a checkpoint")
    digests = {}
    for path in files:
        try:
            with path.open("rb") as file:
                digests[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise environment_error(f"read {path}", error) from error
    canonical = json.dumps(digests, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}"
