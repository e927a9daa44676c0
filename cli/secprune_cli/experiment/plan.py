"""From the cells of a grid to measurements, each made once, in an order that shares the costly work.

Five kinds are measured: the dense model; magnitude pruning of every matrix; what each client's own mask
does (where kept weights are averaged, its own model instead, `isolated`); the mask of one client that had all windows; and the
federated mask. The last three need local
pruning, which depends on some of a cell's choices only: these make a `LocalSetting`, and all measurements
of one are made one after the other.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from secprune.ids import sha256
from secprune.task import Comparison, LocalPruner, PruningSpec
from secprune_cli.experiment.grid import Cell, Split

Kind = Literal["dense", "magnitude", "local", "isolated", "centralised", "federated"]


class LocalSetting(Struct, frozen=True, kw_only=True):
    """All that the local masks of a cell depend on.

    Magnitude sees no notes, so that one client's mask is everybody's: `clients` is then 1.
    """

    local_pruner: LocalPruner
    local_comparison: Comparison
    pattern: str
    activations: Literal["sequential", "dense"]
    sparsity: str
    clients: int
    windows: int
    split: Split
    tokenizer_merges: Literal["1", "1/2", "0"]
    seed: int

    def pruning(self, *, sequence_length: int) -> PruningSpec:
        """What a client has to know."""
        return PruningSpec(
            local_pruner=self.local_pruner,
            local_comparison=self.local_comparison,
            pattern=self.pattern,
            activations=self.activations,
            sparsity=self.sparsity,
            sequence_length=sequence_length,
            max_windows=self.windows * self.clients,
        )


def local_setting(cell: Cell) -> LocalSetting:
    """The cell's local setting; choices that make no difference to a mask are put to one value."""
    setting = LocalSetting(
        local_pruner=cell.local_pruner,
        local_comparison="row" if cell.pattern else cell.local_comparison,
        pattern=cell.pattern,
        activations=cell.activations,
        sparsity=cell.sparsity,
        clients=cell.clients,
        windows=cell.windows,
        split=cell.split,
        tokenizer_merges=cell.tokenizer_merges,
        seed=cell.seed,
    )
    if cell.local_pruner != "magnitude":
        return setting
    return replace(
        setting,
        activations="sequential",
        windows=1,
        clients=1,
        split="hospital",
        tokenizer_merges="1",
        seed=0,
    )


class Measurement(Struct, frozen=True, kw_only=True):
    """One thing to measure: a kind, and what it depends on.

    Attributes:
        kind: see the module.
        texts: files on whose held-out notes it is judged.
        sparsity: of `magnitude`.
        local: of `local`, `isolated` and `centralised`.
        cell: of `federated`.
    """

    kind: Kind
    texts: int
    sparsity: str | None = None
    local: LocalSetting | None = None
    cell: Cell | None = None

    @property
    def group(self) -> LocalSetting | None:
        """The local setting next to whose other measurements this one is made."""
        return local_setting(self.cell) if self.cell is not None else self.local

    def key(self, setup: str) -> str:
        """Digest that the measurement is found by again.

        Args:
            setup: digest of everything else that a result depends on.
        """
        return sha256(b"secprune/experiment/measurement\0" + setup.encode() + canonical(self))


def canonical(value: Struct) -> bytes:
    """JSON with sorted keys and no white space."""
    return msgspec.json.encode(value, order="sorted")


def measurements(cell: Cell) -> dict[Kind, Measurement]:
    """Everything that is reported about a cell, by kind."""
    local = local_setting(cell)
    pooled = replace(local, local_comparison="row")
    found: dict[Kind, Measurement] = {
        "dense": Measurement(kind="dense", texts=cell.texts),
        "magnitude": Measurement(kind="magnitude", texts=cell.texts, sparsity=cell.sparsity),
    }
    if cell.averages:
        found["isolated"] = Measurement(kind="isolated", texts=cell.texts, local=local)
    else:
        found["local"] = Measurement(kind="local", texts=cell.texts, local=local)
        found["centralised"] = Measurement(kind="centralised", texts=cell.texts, local=pooled)
    return found | {"federated": Measurement(kind="federated", texts=cell.texts, cell=cell)}


def plan(cells: tuple[Cell, ...]) -> tuple[Measurement, ...]:
    """All measurements of all cells, each once, those of one local setting together."""
    groups: dict[LocalSetting | None, dict[Measurement, None]] = {None: {}}
    for cell in cells:
        for measurement in measurements(cell).values():
            groups.setdefault(measurement.group, {})[measurement] = None
    return tuple(measurement for group in groups.values() for measurement in group)


def effort(measurement: Measurement) -> float:
    """About how long a measurement takes, in perplexities of one text; local pruning is counted with `local`."""
    if measurement.kind in {"dense", "magnitude"}:
        return measurement.texts
    setting = measurement.group
    if setting is None or setting.local_pruner == "magnitude":
        return measurement.texts + 1
    slow = 5 if setting.local_pruner == "sparsegpt" else 1
    one_client = (2 + setting.windows / 4) * slow
    if measurement.kind in {"local", "isolated"}:
        return setting.clients * (one_client + measurement.texts)
    if measurement.kind == "centralised":
        return measurement.texts + (2 + setting.windows * setting.clients / 4) * slow
    iterative = measurement.cell is not None and measurement.cell.schedule == "iterative"
    return measurement.texts + 2 + (setting.clients * one_client if iterative else 0)
