"""Load a causal language model and its tokenizer, whole, without weights, or tensor by tensor.

Only local files are read and no code that comes with a checkpoint is run.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Any

import torch
import transformers

from secprune.errors import ConfigurationError, LocalMisuseError, SecpruneError
from secprune.pruning.experts import unfuse_experts
from secprune.pruning.tensorfile import CheckpointFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import Tensor
    from transformers import PreTrainedModel

    from secprune.pruning.calibration import Tokenizer
    from secprune.pruning.decoder import PrunableMatrix

transformers.utils.logging.disable_progress_bar()  # the command line draws bars of its own

_DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64}

# transformers 4.56 renamed the keyword; the old one still works in 5.x but warns.
DTYPE_KEYWORD = (
    "dtype" if tuple(map(int, transformers.__version__.split(".")[:2])) >= (4, 56) else "torch_dtype"
)


def load_model(path: Path, *, dtype: torch.dtype | None = None) -> PreTrainedModel:
    """The checkpoint's model, ready to be run: eval mode, no key-value cache, on the CPU.

    Args:
        path: directory with config.json and safetensors files.
        dtype: default: the type that most of the weights are stored in, whatever the config says, so
            that pruning masks are those of the weights that will be published.

    Raises:
        LocalMisuseError: no such directory, or no safetensors in it.
        ConfigurationError: transformers cannot load it, or has to make up weights that it lacks.
    """
    stored = stored_dtype(path)
    return prepared(understood(path, lambda: _complete_model(path, dtype or stored)))


def load_tokenizer(path: Path) -> Tokenizer:
    """The checkpoint's tokenizer.

    Raises:
        LocalMisuseError: no such directory.
        ConfigurationError: transformers cannot load it.
    """
    _require_directory(path)
    tokenizer: Tokenizer = understood(
        path,
        lambda: transformers.AutoTokenizer.from_pretrained(
            os.fspath(path), local_files_only=True, trust_remote_code=False
        ),
    )
    return tokenizer


def model_skeleton(path: Path) -> PreTrainedModel:
    """The model without weights (on torch's meta device): its matrices can be listed in no memory.

    Raises:
        LocalMisuseError: no such directory.
        ConfigurationError: transformers does not know the model.
    """
    _require_directory(path)

    def build() -> Any:
        config = transformers.AutoConfig.from_pretrained(
            os.fspath(path), local_files_only=True, trust_remote_code=False
        )
        with torch.device("meta"):
            return prepared(transformers.AutoModelForCausalLM.from_config(config, trust_remote_code=False))

    return understood(path, build)


def check_sequence_length(config: Any, sequence_length: int) -> None:
    """Refuse windows that are longer than what the model has positions for.

    Raises:
        ConfigurationError: says how long they may be.
    """
    longest = getattr(config.get_text_config(), "max_position_embeddings", None)
    if longest is not None and sequence_length > longest:
        raise ConfigurationError(
            f"windows of {sequence_length} tokens are too long for this model, which takes {longest}",
            hint=f"set --sequence-length to {longest} or less",
        )


def check_checkpoint_keys(path: Path, matrices: Sequence[PrunableMatrix]) -> None:
    """Make sure that each matrix is in the checkpoint under exactly its name, in exactly its shape.

    transformers renames tensors of some older checkpoints while it loads them; a pruning mask for such
    a name would belong to no tensor of the file.

    Raises:
        LocalMisuseError: no such directory, or no safetensors in it.
        ConfigurationError: a matrix is missing, of another shape, or not of a float type.
    """
    files = CheckpointFiles(path)
    names = set(files.names)
    for matrix in matrices:
        if matrix.name not in names:
            raise ConfigurationError(
                f"{path} has no tensor {matrix.name}",
                hint="load the model with transformers and write it again with save_pretrained",
            )
        dtype, shape = files.entry(matrix.name)
        if shape != matrix.stored_shape or dtype not in _DTYPES:
            rows, columns = matrix.stored_shape
            raise ConfigurationError(
                f"{matrix.name} is {dtype} {list(shape)} in {path}, not a float matrix of {rows} x {columns}",
                hint="use an unquantized checkpoint that fits its config.json",
            )


def stored_dtype(path: Path) -> torch.dtype:
    """The type that most of a checkpoint's weights are stored in; float32 if that is none for weights.

    Raises:
        LocalMisuseError: no such directory, or no safetensors in it.
    """
    files = CheckpointFiles(path)
    sizes: Counter[str] = Counter()
    for name in files.names:
        dtype, shape = files.entry(name)
        sizes[dtype] += int(torch.Size(shape).numel())
    return next((_DTYPES[dtype] for dtype, _ in sizes.most_common() if dtype in _DTYPES), torch.float32)


def read_tensor(files: CheckpointFiles, name: str) -> Tensor:
    """One tensor of a checkpoint, read into memory of its own, as it is stored.

    Raises:
        ConfigurationError: no float tensor of that name.
    """
    dtype, shape = files.entry(name)
    if dtype not in _DTYPES:
        raise ConfigurationError(
            f"{name} is stored as {dtype}, not as floats", hint="use an unquantized checkpoint"
        )
    raw = files.rows(name)
    bits = raw.astype(raw.dtype.newbyteorder("="), copy=False).view(f"i{raw.itemsize}")
    return torch.from_numpy(bits).view(_DTYPES[dtype]).reshape(shape)


def prepared(model: Any) -> Any:
    """A model of transformers as it is used here: eval mode, no key-value cache, experts as linear modules."""
    model.eval()
    model.config.use_cache = False
    unfuse_experts(model)
    return model


def _complete_model(path: Path, dtype: torch.dtype) -> Any:
    model, loading = transformers.AutoModelForCausalLM.from_pretrained(
        os.fspath(path),
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=False,
        output_loading_info=True,
        **{DTYPE_KEYWORD: dtype},
    )
    missing = sorted(loading["missing_keys"])
    if missing:
        # Random numbers would stand there, others at every party.
        raise ConfigurationError(
            f"{path} has no weights for {len(missing)} parameters of the model, such as {missing[0]}",
            hint="download or copy the checkpoint again",
        )
    return model


def _require_directory(path: Path) -> None:
    if not path.is_dir():
        raise LocalMisuseError(
            f"no model directory at {path}",
            hint="give a directory with config.json, safetensors files and the tokenizer",
        )


def understood(path: Path, load: Callable[[], Any]) -> Any:
    """What `load` returns, called on a checkpoint that transformers may not be able to read.

    Raises:
        ConfigurationError: it cannot, for whatever reason.
    """
    try:
        return load()
    except SecpruneError:
        raise
    except Exception as error:  # transformers and safetensors raise anything, bare Exception included
        reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        raise ConfigurationError(
            f"transformers {transformers.__version__} cannot load {path}: {reason}",
            hint="check that the checkpoint is complete and its architecture is known to this transformers",
        ) from error
