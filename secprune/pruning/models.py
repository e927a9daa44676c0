"""Load a causal language model and find in it what can be pruned.

Works for any decoder-only model of transformers whose blocks hold `nn.Linear` or GPT-2's `Conv1D`: the
blocks are found by what they are, not by the name that one architecture gives them. Only local files are
read and no code that comes with a checkpoint is run.

Rows are output features and columns input features, always: what is compared within a row belongs to one
output. `Conv1D` stores the transpose of that. Masks, votes and statistics never see it; only who reads the
weights of a checkpoint or writes them has to turn such a matrix, and `PrunableMatrix.transposed` tells.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import transformers
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from secprune.errors import ConfigurationError, LocalMisuseError, SecpruneError
from secprune.pruning.tensorfile import CheckpointFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from transformers import PreTrainedModel

    from secprune.pruning.calibration import Tokenizer

transformers.utils.logging.disable_progress_bar()  # the command line draws bars of its own

_DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64}

_LINEAR = (nn.Linear, Conv1D)
_NEVER_PRUNED = (nn.Embedding, nn.Conv1d, nn.Conv2d)

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
        transposed: the checkpoint stores (columns, rows), as GPT-2's does.
    """

    name: str
    rows: int
    columns: int
    transposed: bool = False

    @property
    def stored_shape(self) -> tuple[int, int]:
        """The tensor's shape in the checkpoint."""
        return (self.columns, self.rows) if self.transposed else (self.rows, self.columns)


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

    Of all module lists in which every element holds a linear module, the decoder is the one with most
    parameters: lists of experts lie inside a block, other towers (vision, say) are smaller.

    Raises:
        ConfigurationError: there is none, or most of the weights of the blocks are not in linear modules
            (the experts of a mixture in one tensor, as transformers 5 keeps them).
    """
    best, size = None, 0
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) and all(block_linears(item) for item in module):
            parameters = sum(parameter.numel() for parameter in module.parameters())
            if parameters > size:
                best, size = (name, module), parameters
    if best is None:
        raise ConfigurationError(
            f"{type(model).__name__} has no list of decoder blocks that hold linear modules",
            hint="choose a decoder-only model such as Llama, Qwen, Mistral, Gemma, Phi, OPT, GPT-2 or GPT-NeoX",
        )
    _check_all_linear(model, *best)
    return best


def block_linears(block: nn.Module) -> dict[str, nn.Linear | Conv1D]:
    """The linear modules of one decoder block by their path inside it, in model order."""
    return {path: module for path, module in block.named_modules() if isinstance(module, _LINEAR)}


def matrix_view(module: nn.Linear | Conv1D) -> Tensor:
    """A linear module's weight as (rows, columns); changing the view in place changes the model."""
    weight = module.weight.detach()
    return weight.T if _is_transposed(module) else weight


def prunable_matrices(model: nn.Module) -> tuple[PrunableMatrix, ...]:
    """Every weight matrix that is pruned: all linear modules of all decoder blocks, in model order.

    Embeddings, norms, biases and the output head are never pruned, as in Wanda and FedPrLLM.

    Args:
        model: with weights or a skeleton.

    Raises:
        ConfigurationError: no decoder blocks, or none whose weights are in linear modules.
    """
    prefix, blocks = decoder_blocks(model)
    return tuple(
        _matrix(f"{prefix}.{index}.{path}.weight", linear)
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
        if shape != matrix.stored_shape or dtype not in _DTYPES:
            rows, columns = matrix.stored_shape
            raise ConfigurationError(
                f"{matrix.name} is {dtype} {list(shape)} in {path}, not a float matrix of {rows} x {columns}",
                hint="use an unquantized checkpoint that fits its config.json",
            )


def _matrix(name: str, module: nn.Linear | Conv1D) -> PrunableMatrix:
    rows, columns = matrix_view(module).shape
    return PrunableMatrix(name, rows, columns, transposed=_is_transposed(module))


def _is_transposed(module: nn.Module) -> bool:
    return isinstance(module, Conv1D)


def _check_all_linear(model: nn.Module, prefix: str, blocks: nn.ModuleList) -> None:
    """Refuse a model of which a part, or the greater part, would silently stay dense.

    A tensor of three dimensions holds the matrices of all experts, and which of them is which differs
    between the file and the module. Routers and the like (two dimensions, small) are let pass.
    """
    linear, others = 0, {}
    for path, module in blocks.named_modules():
        for name, parameter in module.named_parameters(prefix=f"{prefix}.{path}", recurse=False):
            if isinstance(module, _LINEAR):
                linear += parameter.numel()
            elif parameter.dim() > 1 and not isinstance(module, _NEVER_PRUNED):
                others[name] = parameter
    fused = [name for name, parameter in others.items() if parameter.dim() > 2]
    if fused or sum(parameter.numel() for parameter in others.values()) > linear:
        name = (fused or list(others))[0]
        raise ConfigurationError(
            f"{type(model).__name__} keeps weights outside of linear modules, such as {name} "
            f"{list(others[name].shape)}; fused experts cannot be pruned",
            hint="choose a dense model, or a release of transformers that has each expert as linear modules",
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
