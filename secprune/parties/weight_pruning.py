"""FedSpaLLM at the client: one pass over the model, which keeps what it prunes and the weights that are left.

With layer sampling a client prunes its own decoder blocks only. The others stay dense, and nothing is run after its
last one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from msgspec.structs import replace

from secprune.fixedpoint import FixedPoint
from secprune.parties.client import PruneResult, local_spec, start_pruning
from secprune.parties.progress import Progress, Stopwatch, silent
from secprune.parties.report_words import KEPT_WEIGHTS_FILE
from secprune.pruning.tensorfile import CheckpointFiles
from secprune.storage.kept_weights import KeptMatrix, write_kept_weights

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from secprune.parties.client import LocalWork
    from secprune.parties.session import Session


def rounds_of(session: Session) -> list[Session]:
    """The rounds that this client takes part in, in order. Run by a client."""
    return [session.at_round(index) for index in session.task.client_rounds(session.name)]


def prune_and_keep(session: Session, *, device: str = "auto", progress: Progress = silent) -> PruneResult:
    """Prune this client's decoder blocks by its notes, and keep masks and weights of every round.

    What was kept before is replaced, as masks are by `client.prune`.

    Raises:
        LocalMisuseError: no notes, too few to fill one window, or no device of such a name.
        LocalEnvironmentError: this machine has no such device, or the disk is full.
        ConfigurationError: the model here is not the task's.
    """
    watch, rounds = Stopwatch(), rounds_of(session)
    with watch.phase("load"):
        work = start_pruning(session, device)
    with watch.phase("prune"):
        keeper = _Keeper(session, work, progress)
        if session.task.pruning.by_blocks:
            for here in rounds:
                keeper.write(here, [session.task.blocks[here.round.index]])
        else:
            for here in rounds:
                keeper.write(here, range(work.pruning.blocks))
    return replace(
        work.result(session.task, watch.seconds),
        cut_weights=keeper.cut,
        local_sparsity=local_spec(session).sparsity,
    )


@dataclass
class _Keeper:
    session: Session
    work: LocalWork
    progress: Progress
    done: int = 0
    cut: int = 0
    _weights: CheckpointFiles = field(init=False)

    def __post_init__(self) -> None:
        self._weights = CheckpointFiles(self.session.path(self.session.config.model, "the model"))

    def write(self, here: Session, blocks: Sequence[int]) -> None:
        """Prune these blocks and write the file of a round."""
        path, round_ = here.work / KEPT_WEIGHTS_FILE, here.round
        write_kept_weights(path, self._kept(blocks), round_.matrices, task_id=round_.task_id)

    def _kept(self, blocks: Iterable[int]) -> Iterator[KeptMatrix]:
        from secprune.pruning.averaging import matrix_reach  # noqa: PLC0415 - beside torch, only where a model runs

        fixed = FixedPoint(self.session.task.pruning.of_fedspallm.weight_bits)
        pruning = self.work.pruning
        for block in blocks:
            while self.done < block:
                pruning.pass_over(self.done)
                self.done += 1
            pruning.masks(block)
            for name, weights, mask in pruning.kept_weights(block):
                numbers, cut = fixed.encode(weights, mask, reach=matrix_reach(self._weights, name))
                self.cut += cut
                yield KeptMatrix(name, mask, numbers)
            pruning.go_on(block)
            self.done = block + 1
            self.progress("pruning decoder blocks", self.done, pruning.blocks)
