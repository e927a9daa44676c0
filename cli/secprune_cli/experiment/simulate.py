"""One measurement: what the parties of a study would compute, in one process and without cryptography.

Local masks, their sum and `final_mask` are those of the library that parties run. A secure sum gives the
same counts bit for bit, so that its cryptography would change nothing here but the time it takes.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import UNSET, Struct
from msgspec.structs import replace

from secprune.fixedpoint import FixedPoint
from secprune.pruning.local import LocalPruning, local_pruning_masks
from secprune.pruning.selection import final_mask, magnitude_mask, tie_seed
from secprune.storage.kept_weights import KeptMatrix, KeptWeightsFile, write_kept_weights
from secprune.storage.masks import MaskFile, write_masks
from secprune.task import FedSpaLLMSpec, PruningSpec
from secprune_cli.experiment.plan import Measurement, local_setting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from secprune.task import MatrixSpec
    from secprune_cli.experiment.bench import Bench, Perplexities
    from secprune_cli.experiment.grid import Cell
    from secprune_cli.experiment.material import Material
    from secprune_cli.experiment.plan import LocalSetting
    from secprune_cli.experiment.store import MaskCache

    Mask = NDArray[np.bool_]
    Counts = NDArray[np.unsignedinteger[Any]]


_FIXED = FixedPoint(FedSpaLLMSpec().weight_bits)


class Finding(Struct, frozen=True, kw_only=True):
    """What a measurement found.

    Attributes:
        perplexity: by text; one mapping for each mask, which is one except of `local`.
        zero_vote_share: pruned weights that no client voted for, of all pruned.
        tie_share: pruned weights that a tie decided, of all pruned; see `Tally`.
        unanimous_share: weights with count 0 or n, of all weights.
    """

    perplexity: list[dict[str, float | None]]
    zero_vote_share: float | None = None
    tie_share: float | None = None
    unanimous_share: float | None = None


class Tally:
    """Adds up over matrices what counts and final mask say of each other.

    A group's threshold is the smallest count among its pruned weights. If a kept weight of the group has
    that count too, a tie rule chose among them, and all pruned weights with that count are tie-decided.
    """

    def __init__(self) -> None:
        self._weights = self._pruned = self._zero = self._tied = self._unanimous = 0

    def add(self, counts: Counts, mask: Mask, *, pruning: PruningSpec, cohort: int) -> None:
        """Count one matrix: (rows, columns) both."""
        self._weights += counts.size
        self._pruned += int(np.count_nonzero(mask))
        self._zero += int(np.count_nonzero(mask & (counts == 0)))
        self._unanimous += int(np.count_nonzero((counts == 0) | (counts == cohort)))
        self._tied += tie_decided(counts, mask, pruning=pruning)

    def finding(self, perplexity: Perplexities) -> Finding:
        """The shares, with the perplexities of the federated mask."""
        return Finding(
            perplexity=[perplexity],
            zero_vote_share=self._zero / max(1, self._pruned),
            tie_share=self._tied / max(1, self._pruned),
            unanimous_share=self._unanimous / max(1, self._weights),
        )


def tie_decided(counts: Counts, mask: Mask, *, pruning: PruningSpec) -> int:
    """Pruned weights of one matrix that a tie rule chose, see `Tally`.

    Args:
        counts: (rows, columns).
        mask: (rows, columns), from `final_mask` with the same `pruning`.
        pruning: says what the groups are.
    """
    if pruning.group_pattern is not None:
        shape = (-1, pruning.group_pattern[1])
    elif pruning.server_comparison == "layer":
        shape = (1, -1)
    else:
        shape = counts.shape
        if pruning.server_comparison == "column":
            counts, mask, shape = counts.T, mask.T, counts.T.shape
    # One more than the counts, so that 0 can stand for "not pruned" or "not kept"; (groups, members).
    raised = counts.reshape(shape).astype(np.uint16) + np.uint16(1)
    pruned = mask.reshape(shape)
    lowest_pruned = np.where(pruned, raised, np.iinfo(np.uint16).max).min(axis=1, keepdims=True)
    highest_kept = np.where(pruned, 0, raised).max(axis=1, keepdims=True)
    return int(np.count_nonzero(pruned & (raised == lowest_pruned) & (highest_kept == lowest_pruned)))


def tie_nonce(seed: int) -> str:
    """The nonce that a task would have, from the seed."""
    return hashlib.sha256(b"secprune/experiment/nonce\0%d" % seed).hexdigest()[:32]


class Simulation:
    """Makes measurements.

    Args:
        bench: the model.
        material: the notes.
        cache: where local masks are kept.
        sequence_length: tokens in a calibration window.
    """

    def __init__(self, bench: Bench, material: Material, cache: MaskCache, *, sequence_length: int) -> None:
        self._bench, self._material, self._cache = bench, material, cache
        self._length = sequence_length

    def measure(self, measurement: Measurement) -> Finding:
        """Make one measurement; the model is left in any state.

        Raises:
            ConfigurationError: the model cannot be pruned so.
            LocalEnvironmentError: the disk is full.
        """
        bench, texts = self._bench, measurement.texts
        if measurement.kind == "isolated" and measurement.local is not None:
            return self._isolated(measurement.local, texts)
        if measurement.cell is not None:
            return self.federated(measurement.cell)
        if measurement.local is not None and measurement.kind == "local":
            found = []
            for masks in self.local_masks(measurement.local):
                self._apply(lambda m, masks=masks: masks.rows(m.name).view(np.bool_))  # type: ignore[misc]
                found.append(bench.judge(texts))
            return Finding(perplexity=found)
        if measurement.local is not None:
            self._apply(self._pooled_masks(measurement.local))
        elif measurement.sparsity is not None:
            # The server comparison is left at "layer": floor(R * C * s) of each matrix.
            spec = PruningSpec(sparsity=measurement.sparsity, sequence_length=2, max_windows=1)
            self._apply(lambda m: magnitude_mask(bench.key(m), spec.layer_k(m.rows, m.columns)))
        else:
            bench.restore()
        return Finding(perplexity=[bench.judge(texts)])

    def federated(self, cell: Cell) -> Finding:
        """Judge the mask that a study with this cell's task would end with."""
        masks = self._iterative(cell) if cell.schedule == "iterative" else self._one_shot(cell)
        pruning, tally = cell.pruning(sequence_length=self._length), Tally()
        mean = self._mean_weights(cell) if cell.averages else None
        self._bench.begin()
        for matrix, counts, mask in masks:
            tally.add(counts, mask, pruning=pruning, cohort=cell.clients)
            if mean is not None:
                kept = mean(matrix, counts)
                kept[mask] = 0
                self._bench.replace(matrix, kept)
                continue
            self._bench.prune(matrix, mask, (counts, cell.clients) if pruning.weight_scaling else None)
        return tally.finding(self._bench.judge(cell.texts))

    def final_masks(self, cell: Cell) -> dict[str, Mask]:
        """The federated mask of each matrix by name."""
        masks = self._iterative(cell) if cell.schedule == "iterative" else self._one_shot(cell)
        return {matrix.name: mask for matrix, _, mask in masks}

    def local_masks(self, setting: LocalSetting) -> list[MaskFile]:
        """The clients' own masks, from the cache, or made now."""
        return [self._local_mask(setting, client) for client in range(setting.clients)]

    def _local_mask(self, setting: LocalSetting, client: int) -> MaskFile:
        path, name = self._cache.place(setting, client)
        if not path.exists():
            self._bench.restore()
            pruning = LocalPruning(
                self._bench.model,
                self._material.windows(setting, client),
                pruning=setting.pruning(sequence_length=self._length),
            )
            # Of other pruners a client's weights are the dense ones, which nobody needs to keep.
            if setting.local_pruner == "sparsegpt":
                write_kept_weights(path, self._kept(pruning), self._bench.matrices, task_id=name)
            else:
                write_masks(path, pruning.all_masks(), self._bench.matrices, task_id=name)
        return MaskFile(path, self._bench.matrices, task_id=name)

    def _kept(self, pruning: LocalPruning) -> Iterable[KeptMatrix]:
        """Masks and kept weights of one client, as it would send them."""
        matrices = {matrix.name: matrix for matrix in self._bench.matrices}
        for block in range(pruning.blocks):
            pruning.masks(block)
            for name, weights, mask in pruning.kept_weights(block):
                numbers, _ = _FIXED.encode(weights, mask, reach=self._bench.reach(matrices[name]))
                yield KeptMatrix(name, mask, numbers)
            pruning.go_on(block)

    def _kept_files(self, setting: LocalSetting) -> list[KeptWeightsFile]:
        self.local_masks(setting)
        places = [self._cache.place(setting, client) for client in range(setting.clients)]
        return [KeptWeightsFile(path, self._bench.matrices, _FIXED, task_id=name) for path, name in places]

    def _isolated(self, setting: LocalSetting, texts: int) -> Finding:
        """Judge every client's own model, with the weights that it kept."""
        if setting.local_pruner != "sparsegpt":  # whose weights are the dense ones
            return self.measure(Measurement(kind="local", texts=texts, local=setting))
        found = []
        for kept in self._kept_files(setting):
            self._bench.begin()
            for matrix in self._bench.matrices:
                numbers = kept.numbers(matrix.name).astype(np.float64) - _FIXED.half
                self._bench.replace(matrix, numbers * (self._bench.reach(matrix) / _FIXED.half))
            found.append(self._bench.judge(texts))
        return Finding(perplexity=found)

    def _mean_weights(self, cell: Cell) -> Callable[[MatrixSpec, Counts], NDArray[np.float64]]:
        """FedSpaLLM's aggregation: the mean of the weights that clients kept of a matrix."""
        setting = local_setting(cell)
        if setting.local_pruner != "sparsegpt":
            return lambda matrix, _counts: self._bench.dense(matrix).copy()
        files = self._kept_files(setting)

        def mean(matrix: MatrixSpec, counts: Counts) -> NDArray[np.float64]:
            sums = np.zeros((matrix.rows, matrix.columns), np.uint32)
            for kept in files:
                sums += kept.numbers(matrix.name)
            kept_by = cell.clients - counts.astype(np.int64)
            return _FIXED.mean(sums, kept_by, cohort=cell.clients, reach=self._bench.reach(matrix))

        return mean

    def _pooled_masks(self, setting: LocalSetting) -> Callable[[MatrixSpec], Mask]:
        """The masks of one client that has the windows of all."""
        import torch

        windows = torch.cat([self._material.windows(setting, client) for client in range(setting.clients)])
        self._bench.restore()
        masks = dict(
            local_pruning_masks(
                self._bench.model, windows, pruning=setting.pruning(sequence_length=self._length)
            )
        )
        return lambda matrix: masks[matrix.name]

    def _apply(self, mask_of: Callable[[MatrixSpec], Mask]) -> None:
        self._bench.begin()
        for matrix in self._bench.matrices:
            self._bench.prune(matrix, mask_of(matrix))

    def _one_shot(self, cell: Cell) -> Iterable[tuple[MatrixSpec, Counts, Mask]]:
        local = self.local_masks(local_setting(cell))
        for matrix in self._bench.matrices:
            rows = [masks.rows(matrix.name) for masks in local]
            # A single file stands for all clients where these have the same mask (magnitude).
            yield self._selected(cell, matrix, rows * (cell.clients // len(rows)))

    def _iterative(self, cell: Cell) -> Iterable[tuple[MatrixSpec, Counts, Mask]]:
        """One decoder block after the other, each client going on from the agreed masks.

        All clients share one model in memory: each has activations of its own, and pruning a block by the
        agreed mask a second time changes nothing.
        """
        setting = local_setting(cell)
        self._bench.restore()
        clients = [
            LocalPruning(self._bench.model, self._material.windows(setting, client), pruning=self._spec(cell))
            for client in range(setting.clients)
        ]
        specs = {matrix.name: matrix for matrix in self._bench.matrices}
        found: list[tuple[MatrixSpec, Counts, Mask]] = []
        for index in range(clients[0].blocks):
            masks = [dict(client.masks(index)) for client in clients]
            agreed: dict[str, Mask] = {}
            for name in masks[0]:
                rows = [mask[name].view(np.uint8) for mask in masks]
                found.append(self._selected(cell, specs[name], rows * (cell.clients // len(rows))))
                agreed[name] = found[-1][2]
            for client in clients:
                client.go_on(index, agreed)
        return found

    def _selected(
        self, cell: Cell, matrix: MatrixSpec, rows: list[NDArray[np.uint8]]
    ) -> tuple[MatrixSpec, Counts, Mask]:
        """The counts and the final mask of one matrix."""
        counts = np.zeros((matrix.rows, matrix.columns), np.uint8 if cell.clients < 256 else np.uint16)
        for votes in rows:
            counts += votes
        voted, spec = counts, self._spec(cell)
        if cell.algorithm == "fedspallm-random":
            # What all agree on, and then anything, in the order of random ties.
            voted = np.where(counts == cell.clients, counts, 0).astype(counts.dtype)
            spec = replace(spec, algorithm="fedprllm", fedspallm=UNSET, ties="votes-random")
        mask = final_mask(
            voted,
            self._bench.key(matrix),
            pruning=spec,
            cohort=cell.clients,
            tie_seed=tie_seed(tie_nonce(cell.seed), matrix.name),
        )
        return matrix, counts, mask

    def _spec(self, cell: Cell) -> PruningSpec:
        return cell.pruning(sequence_length=self._length)
