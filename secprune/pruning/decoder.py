"""What can be pruned in a model: the linear modules of its decoder blocks.

Works for any decoder-only model of transformers whose blocks hold `nn.Linear` or GPT-2's `Conv1D`: the
blocks are found by what they are, not by the name that one architecture gives them.

Rows are output features and columns input features, always: what is compared within a row belongs to one
output. `Conv1D` stores the transpose of that. Masks, votes and statistics never see it; only who reads the
weights of a checkpoint or writes them has to turn such a matrix, and `PrunableMatrix.transposed` tells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from secprune.errors import ConfigurationError
from secprune.pruning.experts import stored_names

if TYPE_CHECKING:
    from collections.abc import Mapping

_LINEAR = (nn.Linear, Conv1D)
_NEVER_PRUNED = (nn.Embedding, nn.Conv1d, nn.Conv2d)


@dataclass(frozen=True, slots=True)
class PrunableMatrix:
    """One weight matrix that gets a pruning mask of its own ("layer" in the papers' layer comparison).

    Attributes:
        name: the tensor's name in the checkpoint, such as "model.layers.0.self_attn.q_proj.weight".
        rows: output features.
        columns: input features.
        transposed: the checkpoint stores (columns, rows), as GPT-2's does.
        block: number of the decoder block that it is in.
    """

    name: str
    rows: int
    columns: int
    transposed: bool = False
    block: int = 0

    @property
    def stored_shape(self) -> tuple[int, int]:
        """The tensor's shape in the checkpoint."""
        return (self.columns, self.rows) if self.transposed else (self.rows, self.columns)


@dataclass(frozen=True, slots=True, eq=False)
class Decoder:
    """The decoder blocks of a model, and what the checkpoint calls their matrices.

    Attributes:
        prefix: of the blocks' names in the model, such as "model.layers".
        blocks: the modules.
        stored: names of parameters in the checkpoint where they differ from those in the model.
    """

    prefix: str
    blocks: nn.ModuleList
    stored: Mapping[str, str]

    @classmethod
    def of(cls, model: nn.Module) -> Self:
        """Find the decoder of a model, with weights or without.

        Raises:
            ConfigurationError: as `decoder_blocks`.
        """
        return cls(*decoder_blocks(model), stored_names(model))

    def linears(self, index: int) -> dict[str, nn.Linear | Conv1D]:
        """The linear modules of one block by their weights' names in the checkpoint, in model order."""
        named = {
            f"{self.prefix}.{index}.{path}.weight": module
            for path, module in block_linears(self.blocks[index]).items()
        }
        return {self.stored.get(name, name): module for name, module in named.items()}

    def weights(self) -> dict[str, Tensor]:
        """Views (rows, columns) of all prunable weights of a model in memory, by name in the checkpoint."""
        return {
            name: matrix_view(linear)
            for index in range(len(self.blocks))
            for name, linear in self.linears(index).items()
        }

    def parameters(self, index: int) -> dict[str, str]:
        """The parameters of one block: names in the model, and in the checkpoint."""
        prefix = f"{self.prefix}.{index}."
        names = [prefix + name for name, _ in self.blocks[index].named_parameters()]
        return {name: self.stored.get(name, name) for name in names}


def decoder_blocks(model: nn.Module) -> tuple[str, nn.ModuleList]:
    """The decoder's blocks and the prefix of their names, such as "model.layers".

    Of all module lists in which every element holds a linear module, the decoder is the one with most
    parameters: lists of experts lie inside a block, other towers (vision, say) are smaller.

    Raises:
        ConfigurationError: there is none, or most of the weights of the blocks are not in linear modules
            (experts that are fused in a way unknown to `experts`).
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
    """The linear modules of one decoder block by their path inside it, in model order.

    Without those that stand directly beside the experts of a mixture: they decide which experts a token
    gets and how much of each. They are small, pruning them reroutes every token, and some releases of
    transformers do not have them as linear modules.
    """
    found = {path: module for path, module in block.named_modules() if isinstance(module, _LINEAR)}
    mixtures = {path for path, module in block.named_modules() if hasattr(module, "experts")}
    return {path: module for path, module in found.items() if path.rpartition(".")[0] not in mixtures}


def matrix_view(module: nn.Linear | Conv1D) -> Tensor:
    """A linear module's weight as (rows, columns); changing the view in place changes the model."""
    weight = module.weight.detach()
    return weight.T if _is_transposed(module) else weight


def prunable_matrices(model: nn.Module) -> tuple[PrunableMatrix, ...]:
    """Every weight matrix that is pruned: the linear modules of all decoder blocks, in model order.

    Embeddings, norms, biases and the output head are never pruned, as in Wanda and FedPrLLM; nor are the
    routers of a mixture of experts.

    Args:
        model: with weights or a skeleton.

    Raises:
        ConfigurationError: no decoder blocks, or none whose weights are in linear modules.
    """
    decoder = Decoder.of(model)
    return tuple(
        _matrix(name, linear, index)
        for index in range(len(decoder.blocks))
        for name, linear in decoder.linears(index).items()
    )


def _matrix(name: str, module: nn.Linear | Conv1D, block: int) -> PrunableMatrix:
    rows, columns = matrix_view(module).shape
    return PrunableMatrix(name, rows, columns, _is_transposed(module), block)


def _is_transposed(module: nn.Module) -> bool:
    return isinstance(module, Conv1D)


def _check_all_linear(model: nn.Module, prefix: str, blocks: nn.ModuleList) -> None:
    """Refuse a model of which a part, or the greater part, would silently stay dense.

    A tensor of three dimensions holds the matrices of all experts, and how it does is unknown, or
    `experts.unfuse_experts` had replaced it. Routers and the like (two dimensions, small) are let pass.
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
