"""Load a causal language model and find in it what can be pruned.

Works for any decoder-only model of transformers whose blocks hold `nn.Linear`: the blocks are found by
what they are, not by the name that one architecture gives them. Only local files are read and no code
that comes with a checkpoint is run.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import transformers
from torch import nn

from secprune.errors import ConfigurationError, LocalMisuseError, SecpruneError
from secprune.pruning.tensorfile import CheckpointFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from transformers import PreTrainedModel

    from secprune.pruning.calibration import Tokenizer

transformers.utils.logging.disable_progress_bar()  # the command line draws bars of its own

_DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64}

# transformers 4.56 renamed the keyword; the old one still works in 5.x but warns.
_DTYPE_KEYWORD = (
    "dtype" if tuple(map(int, transformers.__version__.split(".")[:2])) >= (4, 56) else "torch_dtype"
)


@dataclass(frozen=True, slots=True)
class PrunableMatrix:
    """One weight matrix that gets a pruning mask of its own ("layer" in the papers' layer comparison).

    Attributes:
        name: the tensor's name in the checkpoint, such as "model.layers.0.self_attn.q_proj.weight".
        rows: output features.
        columns: input features.
    """

    name: str
    rows: int
    columns: int


def load_model(path: Path, *, dtype: torch.dtype | None = None) -> PreTrainedModel:
    """The checkpoint's model, ready to be run: eval mode, no key-value cache, on the CPU.

    Args:
        path: directory with config.json and safetensors files.
        dtype: default: the type that most of the weights are stored in, whatever the config says, so
            that pruning masks are those of the weights that will be published.

    Raises:
        LocalMisuseError: no such directory, or no safetensors in it.
        ConfigurationError: transformers cannot load it.
    """
    stored = _stored_dtype(path)
    return _foreign(
        path,
        lambda: _prepared(
            transformers.AutoModelForCausalLM.from_pretrained(
                os.fspath(path),
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                **{_DTYPE_KEYWORD: dtype or stored},
            )
        ),
    )


def load_tokenizer(path: Path) -> Tokenizer:
    """The checkpoint's tokenizer.

    Raises:
        LocalMisuseError: no such directory.
        ConfigurationError: transformers cannot load it.
    """
    _require_directory(path)
    tokenizer: Tokenizer = _foreign(
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
            return _prepared(transformers.AutoModelForCausalLM.from_config(config, trust_remote_code=False))

    return _foreign(path, build)


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


def decoder_blocks(model: nn.Module) -> tuple[str, nn.ModuleList]:
    """The decoder's blocks and the prefix of their names, such as "model.layers".

    Of all module lists in which every element holds an `nn.Linear`, the decoder is the one with most
    parameters: lists of experts lie inside a block, other towers (vision, say) are smaller.

    Raises:
        ConfigurationError: there is none (GPT-2 keeps its weights in Conv1D, which is not supported).
    """
    best, size = None, 0
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) and all(block_linears(item) for item in module):
            parameters = sum(parameter.numel() for parameter in module.parameters())
            if parameters > size:
                best, size = (name, module), parameters
    if best is None:
        raise ConfigurationError(
            f"{type(model).__name__} has no list of decoder blocks that hold nn.Linear modules",
            hint="choose a decoder-only model such as Llama, Qwen, Mistral, Gemma, Phi, OPT or GPT-NeoX",
        )
    return best


def block_linears(block: nn.Module) -> dict[str, nn.Linear]:
    """The linear modules of one decoder block by their path inside it, in model order."""
    return {path: module for path, module in block.named_modules() if isinstance(module, nn.Linear)}


def prunable_matrices(model: nn.Module) -> tuple[PrunableMatrix, ...]:
    """Every weight matrix that is pruned: all linear modules of all decoder blocks, in model order.

    Embeddings, norms, biases and the output head are never pruned, as in Wanda and FedPrLLM.

    Args:
        model: with weights or a skeleton.

    Raises:
        ConfigurationError: no decoder blocks.
    """
    prefix, blocks = decoder_blocks(model)
    return tuple(
        PrunableMatrix(f"{prefix}.{index}.{path}.weight", *linear.weight.shape)
        for index, block in enumerate(blocks)
        for path, linear in block_linears(block).items()
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
        if shape != (matrix.rows, matrix.columns) or dtype not in _DTYPES:
            raise ConfigurationError(
                f"{matrix.name} is {dtype} {list(shape)} in {path}, "
                f"not a float matrix of {matrix.rows} x {matrix.columns}",
                hint="use an unquantized checkpoint that fits its config.json",
            )


def _stored_dtype(path: Path) -> torch.dtype:
    files = CheckpointFiles(path)
    sizes: Counter[str] = Counter()
    for name in files.names:
        dtype, shape = files.entry(name)
        sizes[dtype] += int(torch.Size(shape).numel())
    return next((_DTYPES[dtype] for dtype, _ in sizes.most_common() if dtype in _DTYPES), torch.float32)


def _prepared(model: Any) -> Any:
    model.eval()
    model.config.use_cache = False
    return model


def _require_directory(path: Path) -> None:
    if not path.is_dir():
        raise LocalMisuseError(
            f"no model directory at {path}",
            hint="give a directory with config.json, safetensors files and the tokenizer",
        )


def _foreign(path: Path, load: Callable[[], Any]) -> Any:
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
