"""What the released sums of a study of square-sums say: read by the coordinator, and between rounds by clients.

All that is done here is post-processing of sums that were noised before they were released (or, in a rehearsal, were not).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from msgspec import UNSET, Struct

from secprune.errors import LocalMisuseError
from secprune.parties.private_pruning import estimate
from secprune.parties.sums import SUMS_FILE, digest_of_sums
from secprune.privacy.guarantee import round_variances
from secprune.privacy.mechanism import raw_square_sums
from secprune.pruning.tensorfile import TensorFile

if TYPE_CHECKING:
    from pathlib import Path

    from secprune.parties.session import Session
    from secprune.privacy.mechanism import Floats
    from secprune.pruning.reference import Reference
    from secprune.task import Task


class StatisticsFacts(Struct, frozen=True, kw_only=True):
    """What the last noised sum says of itself; derived from it alone.

    Attributes:
        patients: estimated number.
        noise: standard deviation of the noise on the mean logarithm of a feature, before it was shrunk.
        kept_common: share of that mean which shrinkage left, within the directions in which public documents differ.
        kept_other: likewise, outside of them, of the middle one of the inputs. With both at 0 only public text is left.
    """

    patients: float
    noise: float
    kept_common: float
    kept_other: float


class ReleasedStatistics:
    """The released sums of all rounds of a task.

    Args:
        task: the study's.
        reference: the task's.
        sums: the files of the sums, in the order of the rounds.
    """

    def __init__(self, task: Task, reference: Reference, sums: list[Path]) -> None:
        self._reference = reference
        self.facts: StatisticsFacts | None = None
        self.cohort = task.n_max
        self._paths = sums
        self.square_means: dict[str, Floats] = dict(reference.square_means)
        for index, path in enumerate(sums):
            self._take(task, index, path)

    def digest(self) -> str:
        """See `digest_of_sums`."""
        return digest_of_sums(self._paths)

    def _take(self, task: Task, index: int, path: Path) -> None:
        if not path.exists():
            raise LocalMisuseError("there are no sums yet", hint="run `secprune coordinator run` first")
        file = TensorFile(path)
        cohort = int(file.metadata["cohort"])
        self.cohort = min(self.cohort, cohort)
        sums = {name: file.raw(name).view("<i8").astype(np.int64) for name in task.vectors}
        if task.privacy.patients is UNSET:
            self.square_means = {
                name: raw_square_sums(sums[name], r) for name, r in self.square_means.items()
            }
            return
        found = estimate(task, self._reference, sums, cohort * round_variances(task)[index])
        self.square_means = found.square_means(self.square_means)
        self.facts = StatisticsFacts(
            patients=round(found.patients, 1),
            noise=round(found.noise, 6),
            kept_common=round(found.kept[0], 4),
            kept_other=round(found.kept[1], 4),
        )


def released_by(session: Session, rounds: int) -> list[Path]:
    """Where the coordinator's sums of the first rounds lie."""
    return [session.at_round(index).work / SUMS_FILE for index in range(rounds)]
