"""Local pruners once more, from their papers and in the plainest way: float64 numpy, whole forwards, sorting.

Nothing here calls the code under test. What is chosen must not hang on how floating-point sums are rounded:
two scores of which one is chosen and the other is not are equal, or further apart than `CLOSEST`; if they
are not, the oracle fails and wants another seed.
"""

from __future__ import annotations

from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from families import ROUTERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]
    Choose = Callable[[Floats, Floats, int], tuple[Bools, Floats]]

CLOSEST = 1e-9
"""Relative; rounding makes scores differ by 1e-11 at most (SparseGPT's, after an inversion)."""

# ---- the model: every matrix of a block by its name in the checkpoint, and what enters it


def matrices(
    model: Any, prefix: str, block: int, experts: tuple[str, str, str] | None = None
) -> dict[str, Tensor]:
    """Views (outputs, inputs) of the weights, found by the names of the modules' classes.

    `experts` says what the file calls gate, up and down of expert {} in a block; it matters only where
    transformers keeps all experts in one tensor.
    """
    start, found = f"{prefix}.{block}.", {}
    for name, module in model.named_modules():
        kind = type(module).__name__
        if not name.startswith(start):
            continue
        if _is_linear(name, module):
            found[f"{name}.weight"] = module.weight.detach().T if kind == "Conv1D" else module.weight.detach()
        elif kind.endswith("Experts"):
            for expert, (gate_up, down) in enumerate(
                zip(module.gate_up_proj.detach(), module.down_proj.detach(), strict=True)
            ):
                for called, view in zip(experts, (*gate_up.chunk(2), down), strict=True):
                    found[f"{start}{called.format(expert)}.weight"] = view
    return found


def _is_linear(name: str, module: Any) -> bool:
    """Not those that only say which expert gets a token."""
    return type(module).__name__ in {"Linear", "Conv1D"} and name.rpartition(".")[2] not in ROUTERS


def inputs_of(
    model: Any,
    windows: Any,
    prefix: str,
    blocks: Iterable[int],
    experts: tuple[str, str, str] | None = None,
) -> dict[str, Floats]:
    """By weight name (tokens, columns): one forward of the whole model for each window."""
    inputs: dict[str, list[Floats]] = {}
    hooks = []

    def note(name: str, x: Tensor) -> None:
        x = x.detach().double()
        inputs[name].append(x.reshape(-1, x.shape[-1]).numpy())

    def linear(name: str, _module: Any, args: Any) -> None:
        note(name, args[0])

    def fused(start: str, module: Any, args: Any) -> None:
        hidden, chosen = args[0], args[1]  # (tokens, columns), (tokens, experts per token)
        for expert, gate_up in enumerate(module.gate_up_proj.detach()):
            x = hidden[(chosen == expert).any(dim=-1)]
            gate, up = (x @ half.T for half in gate_up.chunk(2))
            names = [f"{start}{called.format(expert)}.weight" for called in experts]
            for name, entering in zip(names, (x, x, module.act_fn(gate) * up), strict=True):
                note(name, entering)

    for block in blocks:
        start = f"{prefix}.{block}."
        inputs |= {name: [] for name in matrices(model, prefix, block, experts)}
        for name, module in model.named_modules():
            if not name.startswith(start):
                continue
            if _is_linear(name, module):
                hooks.append(module.register_forward_pre_hook(partial(linear, f"{name}.weight")))
            elif type(module).__name__.endswith("Experts"):
                hooks.append(module.register_forward_pre_hook(partial(fused, start)))
    with torch.no_grad():
        for window in windows:
            model(window[None])
    for hook in hooks:
        hook.remove()
    return {name: np.concatenate(parts) if parts else np.empty((0, 0)) for name, parts in inputs.items()}


def masks_of_model(
    model: Any,
    windows: Any,
    prefix: str,
    layers: int,
    choose: Choose,
    *,
    unseen: Choose | None = None,
    dense: bool = False,
    experts: tuple[str, str, str] | None = None,
    known: Mapping[str, Floats] | None = None,
) -> Iterator[tuple[str, Bools, Floats]]:
    """(name, mask, new weight) of each matrix; `choose` gets the weight, its inputs (tokens, columns), L.

    `unseen` chooses where no token entered. `known` are `inputs_of` of the model as it is before anything
    is pruned: they are those of the first block, and of every block if activations are dense.
    """
    pending: list[tuple[Tensor, Floats]] = []
    for block in range(layers):
        inputs = known if known and (dense or not block) else None
        inputs = inputs or inputs_of(model, windows, prefix, [block], experts)
        for name, view in matrices(model, prefix, block, experts).items():
            chooser = choose if unseen is None or len(inputs[name]) else unseen
            mask, new = chooser(view.double().numpy().copy(), inputs[name], windows.shape[1])
            new = np.where(mask, 0.0, new)
            yield name, mask, new
            pending.append((view, new))
        if not dense:
            _write(pending)
            pending.clear()
    _write(pending)


def _write(pending: list[tuple[Tensor, Floats]]) -> None:
    for view, new in pending:
        view.copy_(torch.from_numpy(new))


# ---- a mask of one matrix


def smallest(values: list[float], k: int) -> list[int]:
    """Places of the k smallest, the earlier one first if equal."""
    order = sorted(range(len(values)), key=lambda place: (values[place], place))
    if 0 < k < len(order):
        last, following = values[order[k - 1]], values[order[k]]
        assert last == following or following - last > CLOSEST * following, "too close to tell: another seed"
    return order[:k]


def compare(
    score: Floats, sparsity: Fraction, comparison: str, pattern: tuple[int, int] | None = None
) -> Bools:
    """The smallest scores of every group, one group at a time."""
    rows, columns = score.shape
    mask = np.zeros((rows, columns), dtype=bool)
    if pattern is not None:
        pruned, size = pattern
        for row in range(rows):
            for start in range(0, columns, size):
                for place in smallest(score[row, start : start + size].tolist(), pruned):
                    mask[row, start + place] = True
    elif comparison == "row":
        for row in range(rows):
            mask[row, smallest(score[row].tolist(), int(columns * sparsity))] = True
    elif comparison == "column":
        for column in range(columns):
            mask[smallest(score[:, column].tolist(), int(rows * sparsity)), column] = True
    else:
        mask.reshape(-1)[smallest(score.reshape(-1).tolist(), int(rows * columns * sparsity))] = True
    return mask


def magnitude(sparsity: Fraction, comparison: str, pattern: tuple[int, int] | None) -> Choose:
    return lambda w, _x, _length: (compare(np.abs(w), sparsity, comparison, pattern), w)


def wanda(sparsity: Fraction, comparison: str, pattern: tuple[int, int] | None) -> Choose:
    return lambda w, x, _length: (
        compare(np.abs(w) * np.sqrt((x * x).sum(axis=0)), sparsity, comparison, pattern),
        w,
    )


def wanda_adaptive(sparsity: Fraction) -> Choose:
    def choose(w: Floats, x: Floats, _length: int) -> tuple[Bools, Floats]:
        return adaptive_mask(np.abs(w) * np.sqrt((x * x).sum(axis=0)), sparsity, closest=CLOSEST), w

    return choose


def adaptive_mask(score: Floats, sparsity: Fraction, *, closest: float = 0.0) -> Bools:
    """The steps of the published code: a mask for alpha, its sparsity, halve the interval, again."""

    def given(alpha: float) -> Bools:
        mask = np.zeros(score.shape, dtype=bool)
        for row, values in enumerate(score):
            ordered = np.sort(values)
            running, limit = np.cumsum(ordered), alpha * values.sum()
            assert (np.abs(running - limit) >= closest * limit).all(), "too close to tell: another seed"
            within = ordered[running <= limit]
            if len(within):
                mask[row] = values <= within[-1]
        return mask

    alpha, interval = 0.4, [0.0, 0.8]
    mask = given(alpha)
    while (
        abs(Fraction(int(mask.sum()), mask.size) - sparsity) > Fraction(1, 1000)
        and interval[1] - interval[0] >= 0.001
    ):
        if Fraction(int(mask.sum()), mask.size) > sparsity:
            interval[1], alpha = alpha, (alpha + interval[0]) / 2
        else:
            interval[0], alpha = alpha, (alpha + interval[1]) / 2
        mask = given(alpha)
    return mask


def sparsegpt(sparsity: Fraction, pattern: tuple[int, int] | None = None, *, block: int = 128) -> Choose:
    return lambda w, x, length: sparsegpt_by_elimination(
        w, 2 * length / len(x) * x.T @ x, sparsity, pattern, block=block
    )


def sparsegpt_by_elimination(
    weight: Floats, hessian: Floats, sparsity: Fraction, pattern: tuple[int, int] | None, *, block: int = 128
) -> tuple[Bools, Floats]:
    """Optimal brain surgery on one column after the other, each with the inverse of what is left of H.

    No Cholesky factor and no blocks of updates: equations 2 and 3 of the paper (error w / [H_F^-1]_jj, times
    the row j of H_F^-1), where F are the columns from j on.
    """
    w, h = weight.copy(), hessian.copy()
    rows, columns = w.shape
    for j in range(columns):
        if h[j, j] == 0:
            h[j, j] = 1
            w[:, j] = 0
    h += 0.01 * np.mean(np.diag(h)) * np.eye(columns)
    inverses = [np.linalg.inv(h[j:, j:]) for j in range(columns)]
    curvature = np.array([inverse[0, 0] for inverse in inverses])
    mask = np.zeros((rows, columns), dtype=bool)
    for j in range(columns):
        if pattern is not None and j % pattern[1] == 0:
            here = slice(j, j + pattern[1])
            mask[:, here] = compare(w[:, here] ** 2 / curvature[here], sparsity, "row", pattern)
        if pattern is None and j % block == 0:
            here = slice(j, min(j + block, columns))
            mask[:, here] = compare(w[:, here] ** 2 / curvature[here], sparsity, "layer")
        error = np.where(mask[:, j], w[:, j], 0.0) / curvature[j]
        w[:, j:] -= np.outer(error, inverses[j][0])
    return mask, w
