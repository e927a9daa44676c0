"""One client's pruning masks: a local pruner, applied to one decoder block after the other.

Order of the steps with sequential activations, as in Wanda's and SparseGPT's code: for each decoder block
in turn, (1) statistics of its dense weights on inputs that come from the already pruned blocks before it,
(2) the pruning mask of each of its matrices, (3) its weights set to zero, (4) the block run again, so that
the next one sees what it sees in the pruned model. With dense activations, (1) also hands its outputs to
the next block and (4) is left out. Magnitude pruning needs no activations, and nothing is run for it.

A local pruner says which statistic of a matrix's inputs it needs, and makes a mask of a weight and that.

Source: FedPrLLM (arXiv 2505.13547), client side; Wanda (arXiv 2306.11695), SparseGPT (arXiv 2301.00774).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import torch

from secprune.pruning.activations import BlockRunner, SecondMoment, SquareSum
from secprune.pruning.comparison import prune_mask
from secprune.pruning.decoder import matrix_view
from secprune.pruning.offload import blocks_of
from secprune.pruning.sparsegpt import LastFactor, prune_and_reconstruct
from secprune.pruning.wanda import prune_mask_adaptive, wanda_score
from secprune.task import row_k

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    from secprune.pruning.activations import Statistic, ThinModule
    from secprune.task import PruningSpec

_log = logging.getLogger(__name__)


class Pruned(NamedTuple):
    """What a local pruner makes of one matrix.

    Attributes:
        mask: (rows, columns) bool, True = prune.
        weight: (rows, columns), the kept weights if the pruner changed them; None if it did not.
        warning: what the operator should know about it, or nothing.
    """

    mask: Tensor
    weight: Tensor | None = None
    warning: str = ""


class Pruner(Protocol):
    """pruning mask = f(weight, statistic)."""

    @property
    def needs(self) -> type[Statistic] | None:
        """The statistic of a matrix's inputs that `prune` takes; None if it takes none."""

    def prune(self, weight: Tensor, statistic: Any) -> Pruned:
        """The mask of one matrix.

        Args:
            weight: (rows, columns), any float dtype; not changed.
            statistic: an instance of `needs`, on the same device, of at least one token; or None.

        Raises:
            ConfigurationError: weights or statistics that are not finite.
        """


@dataclass(frozen=True, slots=True)
class Magnitude:
    """The smallest |W| of each comparison group or of each N:M group. Needs no notes at all."""

    pruning: PruningSpec
    needs: None = None

    def prune(self, weight: Tensor, statistic: object) -> Pruned:  # noqa: ARG002 - the interface of all pruners
        """As `Pruner.prune`; the statistic is not looked at."""
        score = weight.detach().abs().to(torch.promote_types(weight.dtype, torch.float32))
        return Pruned(_compare(score, self.pruning))


@dataclass(frozen=True, slots=True)
class Wanda:
    """The smallest |W| * ||x|| of each comparison group or of each N:M group (arXiv 2306.11695, sec. 3)."""

    pruning: PruningSpec
    needs: type[SquareSum] = SquareSum

    def prune(self, weight: Tensor, statistic: SquareSum) -> Pruned:
        """As `Pruner.prune`."""
        return Pruned(_compare(wanda_score(weight, statistic.square_sum), self.pruning))


@dataclass(frozen=True, slots=True)
class WandaAdaptive:
    """Wanda with as many weights from each row as `wanda.prune_mask_adaptive` finds."""

    pruning: PruningSpec
    needs: type[SquareSum] = SquareSum

    def prune(self, weight: Tensor, statistic: SquareSum) -> Pruned:
        """As `Pruner.prune`."""
        score = wanda_score(weight, statistic.square_sum)
        return Pruned(prune_mask_adaptive(score, self.pruning.exact_sparsity))


@dataclass(frozen=True, slots=True)
class SparseGPT:
    """SparseGPT, or Wanda where the Hessian cannot be inverted however much it is damped.

    Attributes:
        pruning: what to prune.
        sequence_length: tokens in a window: the published Hessian is a mean over windows, not tokens.
    """

    pruning: PruningSpec
    sequence_length: int
    needs: type[SecondMoment] = SecondMoment
    factorise: LastFactor = field(default_factory=LastFactor)

    def prune(self, weight: Tensor, statistic: SecondMoment) -> Pruned:
        """As `Pruner.prune`, with the kept weights changed."""
        hessian = statistic.mean * (2 * self.sequence_length)
        pattern, sparsity = self.pruning.group_pattern, self.pruning.exact_sparsity
        found = prune_and_reconstruct(
            weight, hessian, sparsity=sparsity, pattern=pattern, factorise=self.factorise
        )
        if found is not None:
            return Pruned(*found)
        score = wanda_score(weight, hessian.diagonal().double())
        return Pruned(
            prune_mask(score, comparison="row", sparsity=sparsity, pattern=pattern),
            warning="the Hessian is not positive definite with any damping; pruned by Wanda instead",
        )


def local_pruner(pruning: PruningSpec, *, sequence_length: int) -> Pruner:
    """The pruner that a task asks for.

    Args:
        pruning: checked with the rest of its task.
        sequence_length: tokens in each calibration window.
    """
    if pruning.local_pruner == "magnitude":
        return Magnitude(pruning)
    if pruning.local_pruner == "wanda-adaptive":
        return WandaAdaptive(pruning)
    if pruning.local_pruner == "sparsegpt":
        return SparseGPT(pruning, sequence_length)
    return Wanda(pruning)


class LocalPruning:
    """One client's local pruner at work on a model, one decoder block after the other.

    For block i: `masks(i)`, then `go_on(i)`; in order. `masks` may be left out where the masks are known.

    Args:
        model: a causal LM in eval mode, from `models.load_model`, whose weights are set to zero in place;
            or the blocks of one, from `offload`.
        windows: (windows, sequence_length) int64, from `calibration.pack_windows`.
        pruning: local pruner, comparison group, pattern, sparsity and kind of activations; its other
            fields are not looked at.

    Raises:
        ConfigurationError: a model without decoder blocks that can be pruned, or a sparsity out of range.
    """

    def __init__(self, model: Any, windows: Tensor, *, pruning: PruningSpec) -> None:
        row_k(1, pruning.exact_sparsity)  # refuse a bad sparsity before the first forward pass
        self._blocks = blocks = blocks_of(model)
        self._pruning = pruning
        self._pruner = local_pruner(pruning, sequence_length=windows.shape[-1])
        self._runner = None if self._pruner.needs is None else BlockRunner(blocks, windows)
        self._dense = pruning.activations == "dense"
        self._advanced = 0  # with dense activations: blocks that the hidden states have gone through
        self._found: dict[str, Pruned] = {}  # of the present block

    @property
    def blocks(self) -> int:
        """Number of decoder blocks."""
        return len(self._blocks.decoder.blocks)

    @property
    def thin(self) -> tuple[ThinModule, ...]:
        """Modules of the blocks seen so far whose masks rest on few tokens, see `activations.thin_modules`."""
        return () if self._runner is None else self._runner.thin

    def masks(self, index: int) -> list[tuple[str, NDArray[np.bool_]]]:
        """This client's masks of one block; the model is not changed yet.

        Args:
            index: the block; `go_on` was called for all blocks before it.

        Returns:
            The weights' names in the checkpoint and their masks (rows, columns), True = prune, in model
            order.

        Raises:
            ConfigurationError: a pattern that does not fit a matrix, or NaN in the model.
        """
        self._found = {}
        if self._runner is None or self._pruner.needs is None:
            for name, weight in self._weights(index).items():
                self._found[name] = self._pruner.prune(weight.contiguous(), None)
        else:
            statistics = self._runner.collect(index, self._pruner.needs, advance=self._dense)
            self._advanced += int(self._dense)
            for name, weight in self._weights(index).items():
                # Popped, because a Hessian is as large as its matrix, or larger. Contiguous, because GPT-2's
                # weights are stored the other way round.
                self._found[name] = self._prune(name, weight.contiguous(), statistics.pop(name))
        return [(name, np.ascontiguousarray(p.mask.cpu().numpy())) for name, p in self._found.items()]

    def kept_weights(self, index: int) -> Iterator[tuple[str, NDArray[np.floating], NDArray[np.bool_]]]:
        """The weights that this client keeps of a block, between `masks` and `go_on`.

        Args:
            index: the block that `masks` was called for last.

        Yields:
            Name, weights (rows, columns) as the pruner left them, in float32 or better, and mask (rows, columns),
            True = prune; what stands where the mask is True means nothing.
        """
        for name, weight in self._weights(index).items():
            found = self._found[name]
            kept = weight if found.weight is None else found.weight
            wide = kept.to(torch.promote_types(kept.dtype, torch.float32))
            yield name, wide.cpu().numpy(), found.mask.cpu().numpy()

    def pass_over(self, index: int) -> None:
        """Let the next block see the activations of one that stays dense; instead of `masks` and `go_on`."""
        if self._runner is not None and index + 1 < self.blocks:
            self._blocks.bring(index)
            self._runner.advance(index)
            self._advanced += int(self._dense)
        self._blocks.release()

    def go_on(self, index: int, agreed: Mapping[str, NDArray[np.bool_]] | None = None) -> None:
        """Prune one block in place, and let the next one see its activations (unless they are dense).

        Args:
            index: the block.
            agreed: by weight name, the masks (rows, columns) to prune it by. Default: what `masks` has
                just found, including the kept weights that the pruner changed.
        """
        if self._runner is not None and self._dense and self._advanced == index:
            self._runner.advance(index)
            self._advanced += 1
        for name, weight in self._weights(index).items():
            if agreed is not None:
                weight.masked_fill_(torch.tensor(agreed[name], device=weight.device), 0)
                continue
            found = self._found[name]
            if found.weight is not None:
                weight.copy_(found.weight)
            weight.masked_fill_(found.mask, 0)
        self._found = {}
        # Nothing would look at what the last block puts out.
        if self._runner is not None and not self._dense and index + 1 < self.blocks:
            self._runner.advance(index)
        self._blocks.release()

    def all_masks(
        self, progress: Callable[[int, int], None] | None = None
    ) -> Iterator[tuple[str, NDArray[np.bool_]]]:
        """`masks` and `go_on` for all blocks: one client alone.

        Nothing is written to disk. With SparseGPT the kept weights are adjusted too; the masks are all that
        other parties ever get. Where `PruningSpec.row_budget` is a number, each row of each mask has
        exactly that many ones, the invariant that the aggregators check.

        Args:
            progress: called with (blocks done, blocks) after each decoder block.

        Yields:
            What `masks` returns, in model order.

        Raises:
            ConfigurationError: as `masks`.
        """
        for index in range(self.blocks):
            masks = self.masks(index)
            self.go_on(index)
            if progress is not None:
                progress(index + 1, self.blocks)
            yield from masks

    def _prune(self, name: str, weight: Tensor, statistic: Statistic) -> Pruned:
        if statistic.tokens == 0:
            # Nothing is known about its inputs: its norms are all zero, so Wanda would prune the first
            # columns of each row. The magnitude of its weights decides.
            _log.warning("%s saw no calibration token; its weights are pruned by magnitude", name)
            return Magnitude(self._pruning).prune(weight, None)
        found = self._pruner.prune(weight, statistic)
        if found.warning:
            _log.warning("%s: %s", name, found.warning)
        return found

    def _weights(self, index: int) -> dict[str, Tensor]:
        """Views of one block's weights (rows, columns) by name, where the computing is done."""
        self._blocks.bring(index)
        return {name: matrix_view(linear) for name, linear in self._blocks.decoder.linears(index).items()}


def local_pruning_masks(
    model: Any,
    windows: Tensor,
    *,
    pruning: PruningSpec,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """One client's pruning masks of all prunable matrices: `LocalPruning` over all blocks.

    The weights of a model in memory are changed in place as the masks are made: afterwards it is this
    client's locally pruned model.

    Args:
        model: as for `LocalPruning`.
        windows: as for `LocalPruning`.
        pruning: as for `LocalPruning`.
        progress: as for `LocalPruning.all_masks`.

    Yields:
        The weight's name in the checkpoint and its mask (rows, columns), True = prune, in model order.

    Raises:
        ConfigurationError: as `LocalPruning` and `LocalPruning.masks`.
    """
    yield from LocalPruning(model, windows, pruning=pruning).all_masks(progress)


def _compare(score: Tensor, pruning: PruningSpec) -> Tensor:
    return prune_mask(
        score,
        comparison=pruning.local_comparison,
        sparsity=pruning.exact_sparsity,
        pattern=pruning.group_pattern,
    )
