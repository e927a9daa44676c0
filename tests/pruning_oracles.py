"""Local pruners once more, from their papers and in the plainest way: float64 numpy, whole forwards, sorting.

Nothing here calls the code under test.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]
    Choose = Callable[[Floats, Floats, int], tuple[Bools, Floats]]


def masks_of_model(
    model: Any, windows: Any, prefix: str, layers: int, choose: Choose, *, dense: bool = False
) -> Iterator[tuple[str, Bools, Floats]]:
    """(name, mask, new weight) of each matrix; `choose` gets the weight, its inputs (tokens, columns), L."""
    pending = []
    for block in range(layers):
        inputs: dict[str, list[Floats]] = {}
        hooks, linears = [], {}
        for name, module in model.named_modules():
            if name.startswith(f"{prefix}.{block}.") and isinstance(module, nn.Linear):
                linears[name], inputs[name] = module, []

                def hook(_module, args, _output, name=name):
                    x = args[0].detach().double().numpy()
                    inputs[name].append(x.reshape(-1, x.shape[-1]))  # noqa: B023  # called in this iteration

                hooks.append(module.register_forward_hook(hook))
        with torch.no_grad():
            for window in windows:
                model(window[None])
        for hook in hooks:
            hook.remove()
        for name, module in linears.items():
            weight = module.weight.detach().double().numpy().copy()
            mask, new = choose(weight, np.concatenate(inputs[name]), windows.shape[1])
            new = np.where(mask, 0.0, new)
            yield f"{name}.weight", mask, new
            pending.append((module, new))
        if not dense:
            _write(pending)
            pending.clear()
    _write(pending)


def _write(pending: list[tuple[Any, Floats]]) -> None:
    with torch.no_grad():
        for module, new in pending:
            module.weight.copy_(torch.from_numpy(new))


def smallest(values: list[float], k: int) -> list[int]:
    """Places of the k smallest, the earlier one first if equal."""
    return sorted(range(len(values)), key=lambda place: (values[place], place))[:k]


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
        return adaptive_mask(np.abs(w) * np.sqrt((x * x).sum(axis=0)), sparsity), w

    return choose


def adaptive_mask(score: Floats, sparsity: Fraction) -> Bools:
    """The steps of the published code: a mask for alpha, its sparsity, halve the interval, again."""

    def given(alpha: float) -> Bools:
        mask = np.zeros(score.shape, dtype=bool)
        for row, values in enumerate(score):
            ordered = np.sort(values)
            within = ordered[np.cumsum(ordered) <= alpha * values.sum()]
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
