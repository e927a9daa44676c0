"""The model on the bench: masked in memory, judged on texts, and made dense again.

It is loaded once. Dense weights are kept as clones, and every state of the model is made from them, so
that nothing of one measurement can get into the next.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from secprune.fixedpoint import reach_of
from secprune.pruning.checkpoint import scaled_weights
from secprune.pruning.decoder import Decoder
from secprune.pruning.models import load_model
from secprune.pruning.perplexity import perplexity
from secprune.pruning.selection import magnitude_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from secprune.task import MatrixSpec

Perplexities = dict[str, float | None]
"""By text; None is a model so broken that its perplexity is no finite number."""

_BITS: dict[torch.dtype, tuple[str, torch.dtype, type[np.unsignedinteger[Any]]]] = {
    torch.float16: ("F16", torch.int16, np.uint16),
    torch.bfloat16: ("BF16", torch.int16, np.uint16),
    torch.float32: ("F32", torch.int32, np.uint32),
    torch.float64: ("F64", torch.int64, np.uint64),
}


class Bench:
    """A model whose prunable weights can be masked, judged, and restored.

    Args:
        path: the checkpoint.
        matrices: its prunable matrices, in model order.
        texts: held-out text of each file as tokens, by name.
        dtype: what to compute in; None for the type the weights are stored in.
        sequence_length: tokens in a window of text.
        windows: windows of each text that are scored, at most.

    Attributes:
        model: the model; local pruners may change its weights, see `restore`.
        matrices: as given.
    """

    def __init__(
        self,
        path: Path,
        matrices: Sequence[MatrixSpec],
        texts: Mapping[str, torch.Tensor],
        *,
        dtype: torch.dtype | None,
        sequence_length: int,
        windows: int,
    ) -> None:
        self.model = load_model(path, dtype=dtype)
        self.matrices = tuple(matrices)
        self._texts, self._length, self._windows = texts, sequence_length, windows
        self._live = Decoder.of(self.model).weights()  # views: (rows, columns) each
        self._dense = {name: live.clone() for name, live in self._live.items()}
        self._state = hashlib.sha256()
        self._known: dict[tuple[str, str], float | None] = {}

    def restore(self) -> None:
        """Make the model dense again."""
        self.begin()
        for name, live in self._live.items():
            live.copy_(self._dense[name])

    def begin(self) -> None:
        """All matrices are about to be pruned anew, one after the other."""
        self._state = hashlib.sha256()

    def key(self, matrix: MatrixSpec) -> NDArray[Any]:
        """The magnitudes of a dense matrix as ordered integers, (rows, columns)."""
        dtype, raw = self._raw(matrix)
        return magnitude_key(raw, dtype)

    def prune(
        self, matrix: MatrixSpec, mask: NDArray[np.bool_], scaled_by: tuple[NDArray[Any], int] | None = None
    ) -> None:
        """Put a matrix into the model as the pruned checkpoint would hold it.

        Args:
            matrix: one of `matrices`; all are pruned in turn before the model is judged.
            mask: (rows, columns), True = prune.
            scaled_by: counts (rows, columns) and clients counted, if kept weights are scaled by them.
        """
        live = self._live[matrix.name]
        if scaled_by is None:
            live.copy_(self._dense[matrix.name])
        else:
            dtype, raw = self._raw(matrix)
            scaled = scaled_weights(raw, dtype, *scaled_by)
            live.copy_(torch.from_numpy(scaled.view(np.dtype(f"i{scaled.itemsize}"))).view(live.dtype))
            self._state.update(scaled_by[0].tobytes() + b"%d" % scaled_by[1])
        live.masked_fill_(torch.from_numpy(mask), 0)
        self._state.update(matrix.name.encode() + np.packbits(mask).tobytes())

    def replace(self, matrix: MatrixSpec, weights: NDArray[np.float64]) -> None:
        """Put other weights, (rows, columns), in the place of a matrix; as `prune` in all else."""
        self._live[matrix.name].copy_(torch.from_numpy(weights))
        self._state.update(matrix.name.encode() + weights.tobytes())

    def dense(self, matrix: MatrixSpec) -> NDArray[np.float64]:
        """Dense weights of a matrix, (rows, columns)."""
        return np.asarray(self._dense[matrix.name].double().numpy())

    def reach(self, matrix: MatrixSpec) -> float:
        """The largest kept weight that can be sent of a matrix (`secprune.fixedpoint`)."""
        return reach_of(float(self._dense[matrix.name].abs().max()))

    def judge(self, texts: int) -> Perplexities:
        """Perplexity on the first `texts` texts; what was judged before in the same state is not again."""
        state = self._state.hexdigest()
        found: Perplexities = {}
        for name in list(self._texts)[:texts]:
            if (state, name) not in self._known:
                measured = perplexity(
                    self.model, self._texts[name], sequence_length=self._length, max_windows=self._windows
                )
                value = measured.value
                self._known[state, name] = round(value, 6) if math.isfinite(value) else None
            found[name] = self._known[state, name]
        return found

    def _raw(self, matrix: MatrixSpec) -> tuple[str, NDArray[Any]]:
        """The bits of a dense matrix, (rows, columns), and their type's name in a safetensors header."""
        dense = self._dense[matrix.name]
        name, signed, unsigned = _BITS[dense.dtype]
        bits = dense.view(signed).numpy().view(unsigned)
        return name, np.ascontiguousarray(bits)
