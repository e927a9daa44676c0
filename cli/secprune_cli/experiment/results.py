"""What is reported of each cell, looked up in finished measurements."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from secprune_cli.experiment.grid import AXES, Cell
from secprune_cli.experiment.plan import measurements

if TYPE_CHECKING:
    from collections.abc import Iterable

    from secprune_cli.experiment.grid import Choices
    from secprune_cli.experiment.simulate import Finding
    from secprune_cli.experiment.store import Record


class Row(Struct, frozen=True, kw_only=True):
    """What is reported of a cell with one seed. Perplexities may be infinite; NaN is not measured yet.

    Attributes:
        federated: mean over texts; `federated_worst` is the worst text.
        local: mean over clients' own masks (or own models, where weights are averaged) and texts; `local_worst` is the worst mask on its worst text.
        difference: federated - local.
        centralised: mean over texts of one client with all windows.
        magnitude, dense: means over texts.
        zero_vote_share: of the pruned weights, those nobody voted for.
        tie_share: of the pruned weights, those a tie rule chose.
        unanimous_share: of all weights, those with count 0 or n.
        seconds: of the federated measurement.
    """

    federated: float
    federated_worst: float
    local: float
    local_worst: float
    difference: float
    centralised: float
    magnitude: float
    dense: float
    zero_vote_share: float
    tie_share: float
    unanimous_share: float
    seconds: float


class Results:
    """Finished measurements, to be looked up by cell.

    Args:
        records: of one results.jsonl.
        setup: digest of its setup.
    """

    def __init__(self, records: Iterable[Record], setup: str) -> None:
        self._records = {record.key: record for record in records}
        self._setup = setup
        cells = [record.measurement.cell for record in self._records.values()]
        self._seeds = sorted({cell.seed for cell in cells if cell is not None})

    def rows(self, choices: Choices) -> dict[int, Row]:
        """Rows by seed, of all seeds whose federated mask has been measured."""
        found = {}
        for seed in self._seeds:
            cell = Cell(**{axis: getattr(choices, axis) for axis in AXES}, seed=seed)
            by_kind = {
                kind: self._records.get(measurement.key(self._setup))
                for kind, measurement in measurements(cell).items()
            }
            federated = by_kind["federated"]
            if federated is None:
                continue
            mean, worst = _perplexity(federated.finding)
            local, local_worst = _perplexity(_finding(by_kind["isolated" if choices.averages else "local"]))
            found[seed] = Row(
                federated=mean,
                federated_worst=worst,
                local=local,
                local_worst=local_worst,
                # Infinity less infinity is NaN, as it should be.
                difference=mean - local,
                centralised=_perplexity(_finding(by_kind.get("centralised")))[0],
                magnitude=_perplexity(_finding(by_kind["magnitude"]))[0],
                dense=_perplexity(_finding(by_kind["dense"]))[0],
                zero_vote_share=_share(federated.finding.zero_vote_share),
                tie_share=_share(federated.finding.tie_share),
                unanimous_share=_share(federated.finding.unanimous_share),
                seconds=federated.seconds,
            )
        return found


def summary(values: Iterable[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation; None where there are fewer than two values."""
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return math.nan, None
    mean = sum(known) / len(known)
    if len(known) < 2 or not all(map(math.isfinite, known)):
        return mean, None
    return mean, statistics.stdev(known)


def shown(value: Any) -> str:
    """A value of an axis for people."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) or "none"


def _finding(record: Record | None) -> Finding | None:
    return None if record is None else record.finding


def _perplexity(finding: Finding | None) -> tuple[float, float]:
    """Mean and maximum over masks and texts; a broken model's perplexity is infinite."""
    if finding is None:
        return math.nan, math.nan
    values = [math.inf if v is None else v for on in finding.perplexity for v in on.values()]
    return sum(values) / len(values), max(values)


def _share(value: float | None) -> float:
    return math.nan if value is None else value
