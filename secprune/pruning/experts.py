"""The experts of a mixture as linear modules, and the names that a checkpoint gives to parameters.

transformers 5 keeps the matrices of all experts of a block in two tensors of three dimensions, while the
checkpoint has one tensor for each. Pruning masks belong to the latter, and so do the statistics of what
enters each of them. Here the fused module is replaced by one of linear modules that computes the same.
transformers 4 has linear modules anyway, and names parameters as the checkpoint does.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable

_ARGUMENTS = ("self", "hidden_states", "top_k_index", "top_k_weights")

# How transformers says of a class that its tensors are laid out as the plainest one's are.
_PLAIN = {
    "has_gate": True,
    "has_bias": False,
    "has_post_expert_norm": False,
    "is_transposed": False,
    "is_concatenated": True,
}


class Expert(nn.Module):
    """One expert: three linear modules.

    Args:
        gate: (intermediate, hidden).
        up: (intermediate, hidden).
        down: (hidden, intermediate).
    """

    def __init__(self, gate: Tensor, up: Tensor, down: Tensor) -> None:
        super().__init__()
        self.gate_proj, self.up_proj, self.down_proj = _linear(gate), _linear(up), _linear(down)

    def forward(self, inputs: Tensor, apply_gate: Callable[[Tensor], Tensor]) -> Tensor:
        """(tokens, hidden) to (tokens, hidden); `apply_gate` joins what gate and up put out, side by side."""
        both = torch.cat((self.gate_proj(inputs), self.up_proj(inputs)), dim=-1)  # (tokens, 2 * intermediate)
        output: Tensor = self.down_proj(apply_gate(both))
        return output


class Experts(nn.Module):
    """All experts of a decoder block, called as the fused module that it stands for.

    Args:
        fused: a module that `is_fused`. Its tensors live on as views, and it lets go of them.
    """

    def __init__(self, fused: Any) -> None:
        super().__init__()
        gate_up, down = fused.gate_up_proj.detach(), fused.down_proj.detach()
        width = down.shape[2]
        self.experts = nn.ModuleList(
            Expert(both[:width], both[width:], one) for both, one in zip(gate_up, down, strict=True)
        )
        self._apply_gate: Callable[[Tensor], Tensor] = fused._apply_gate  # noqa: SLF001 - models override it
        del fused.gate_up_proj, fused.down_proj

    def forward(self, hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
        """The weighted sum of each token's experts.

        Args:
            hidden_states: (tokens, hidden).
            top_k_index: (tokens, k), the experts of each token.
            top_k_weights: (tokens, k), their weights.

        Returns:
            (tokens, hidden).
        """
        total = torch.zeros_like(hidden_states)
        for number, expert in enumerate(self.experts):
            place, token = torch.where((top_k_index == number).T)  # in the order of the fused module
            if not len(token):
                continue
            inputs = hidden_states[token]  # (tokens of this expert, hidden)
            output = expert(inputs, self._apply_gate) * top_k_weights[token, place, None]
            total.index_add_(0, token, output.to(total.dtype))
        return total


def is_fused(module: nn.Module) -> bool:
    """Whether a module holds a mixture's matrices in two tensors whose layout is known.

    Biases, other orders of rows and transposed tensors exist; such modules are left as they are, and
    whoever looks for linear modules will refuse them.
    """
    if not all(
        isinstance(parameter := getattr(module, name, None), nn.Parameter) and parameter.dim() == 3
        for name in ("gate_up_proj", "down_proj")
    ):
        return False
    arguments = tuple(inspect.signature(type(module).forward).parameters)
    plain = all(getattr(module, name, value) is value for name, value in _PLAIN.items())
    return arguments == _ARGUMENTS and plain and hasattr(module, "_apply_gate")


def unfuse_experts(model: nn.Module) -> None:
    """Replace every fused mixture of a model by linear modules, in place; weights become views, not copies."""
    for path, module in list(model.named_modules()):
        if is_fused(module):
            model.set_submodule(path, Experts(module))


def stored_names(model: nn.Module) -> dict[str, str]:
    """Names of parameters in the checkpoint, as far as they differ from those in the model.

    Found by having transformers convert tensors that hold nothing but the number of their parameter.

    Args:
        model: with weights or a skeleton, after `unfuse_experts`.

    Returns:
        By parameter name.
    """
    try:
        from transformers.core_model_loading import revert_weight_conversion  # noqa: PLC0415 - 5.x only
    except ImportError:
        return {}
    parameters: list[str] = []
    numbered: dict[str, Tensor] = {}

    def number(names: list[str], tensor: str, shape: tuple[int, ...]) -> None:
        first = len(parameters)
        parameters.extend(names)
        numbered[tensor] = torch.arange(first, first + len(names)).view(shape)

    mixtures = {path: module for path, module in model.named_modules() if isinstance(module, Experts)}
    for path, module in mixtures.items():
        one = [f"{path}.experts.{index}" for index in range(len(module.experts))]
        both = [f"{expert}.{part}.weight" for expert in one for part in ("gate_proj", "up_proj")]
        number(both, f"{path}.gate_up_proj", (len(one), 2, 1))
        number([f"{expert}.down_proj.weight" for expert in one], f"{path}.down_proj", (len(one), 1, 1))
    within = set(parameters)
    for name, parameter in model.named_parameters():
        if name not in within:
            number([name], name, (1,) * parameter.dim())
    stored = revert_weight_conversion(model, numbered)
    names = {parameters[int(tensor.flatten()[0])]: name for name, tensor in stored.items()}
    return {parameter: name for parameter, name in names.items() if parameter != name}


def _linear(weight: Tensor) -> nn.Linear:
    rows, columns = weight.shape
    linear = nn.Linear(columns, rows, bias=False, device="meta")
    linear.weight = nn.Parameter(weight, requires_grad=False)
    return linear
