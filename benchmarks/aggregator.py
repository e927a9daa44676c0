"""An aggregator: sealed chunks on disk to its share of the sum on disk, per client, on one core."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import naive
from benchmarks.figures import MILLION, Figure, interleaved, timed
from benchmarks.machine import ADD_BYTES, memory_add_seconds
from benchmarks.study import LLAMA_SHAPES, Study
from secprune.crypto.entropy import random_bytes
from secprune.crypto.seal import KEY_BYTES
from secprune.exchange.directory import DirectoryExchange
from secprune.packing import WORD_BYTES
from secprune.parties.adding import RowSums, ShareSum
from secprune.parties.shards import shards_of
from secprune.protocols.additive.sharing import AdditiveSharing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from secprune.messages.types import Report

SECTION = "aggregator"
ROSTERS = (4, 16, 64)
MAX_COHORT = 16
"""Distinct reports on disk; a larger cohort would only spread the writing of the sum further."""

SHAPES = LLAMA_SHAPES[:2]
GOAL = 500.0
AGGREGATORS = {"adder-0": "first (chunks)", "adder-1": "second (seed)"}


def run(root: Path, repeats: int) -> list[Figure]:
    """Check pass and adding pass of both kinds of aggregator, for several roster sizes."""
    figures = []
    for n in ROSTERS:
        figures += _roster(n, root, repeats)
    return figures


def _roster(n: int, root: Path, repeats: int) -> list[Figure]:
    study, folder = Study(SHAPES, clients=n), root / f"exchange-{n}"
    exchange = DirectoryExchange(folder)
    masks = study.write_masks(root / "masks")
    clients = [f"clinic-{i}" for i in range(min(n, MAX_COHORT))]
    reports = {client: study.submit(client, masks, exchange)[0] for client in clients}
    naive.protect(naive.stored_bits(), root / "words")
    total = np.zeros(naive.WEIGHTS, np.uint64)
    work: dict[str, Callable[[], float]] = {
        "naive": lambda: timed(lambda: naive.add(root / "words", total)),
        "memory": memory_add_seconds,
    }
    for name in AGGREGATORS:
        keys = tuple((c, _key(study, c, reports[c], name)) for c in clients)
        work[f"check {name}"] = lambda name=name, keys=keys: timed(  # type: ignore[misc]
            lambda: _check(study, name, keys, reports, exchange)
        )
        work[f"add {name}"] = lambda name=name, keys=keys: timed(  # type: ignore[misc]
            lambda: _add(study, name, keys, reports, exchange)
        )
    seconds = interleaved(work, repeats)
    shutil.rmtree(folder)
    naive_rate = naive.WEIGHTS / seconds["naive"] / MILLION
    figures = [
        Figure(
            section=SECTION,
            what=f"n = {n}, naive, read and add 64 bits a weight",
            value=naive_rate,
            unit="M weights/s",
            baseline=1,
            note="one pass, nothing verified or decrypted",
        )
    ]
    memory = ADD_BYTES / seconds["memory"]
    figures.append(
        Figure(section=SECTION, what=f"n = {n}, adding words in memory", value=memory / 1e9, unit="GB/s")
    )
    words = len(clients) * study.round.layout.words * WORD_BYTES
    weights = len(clients) * study.round.layout.weights / MILLION
    for name, kind in AGGREGATORS.items():
        check, add = seconds[f"check {name}"], seconds[f"add {name}"]
        for what, taken in (("check", check), ("add", add), ("check and add", check + add)):
            figures.append(
                Figure(
                    section=SECTION,
                    what=f"n = {n}, {kind}: {what}",
                    value=weights / taken,
                    unit="M weights/s",
                    goal=GOAL if what == "check and add" else None,
                    baseline=weights / taken / naive_rate,
                    note=f"{words / taken / 1e9:.2f} GB/s of words, {words / taken / memory:.0%} of adding in memory",
                )
            )
    return figures


def _key(study: Study, client: str, report: Report, aggregator: str) -> bytes:
    return AdditiveSharing().open_key(
        study.round, client, report, aggregator=aggregator, identity=study.identities[aggregator]
    )


def _check(
    study: Study,
    aggregator: str,
    keys: tuple[tuple[str, bytes], ...],
    reports: dict[str, Report],
    exchange: DirectoryExchange,
) -> None:
    for client, key in keys:
        check = RowSums(study.round, exchange, aggregator, client, key)
        for shard in shards_of(study.round.layout, [reports[client].chunks]):
            check(shard)


def _add(
    study: Study,
    aggregator: str,
    keys: tuple[tuple[str, bytes], ...],
    reports: dict[str, Report],
    exchange: DirectoryExchange,
) -> None:
    """Sealing and writing the sum is shared by the cohort. Under a key of its own, so that no chunk is there yet."""
    add = ShareSum(study.round, exchange, aggregator, keys, random_bytes(KEY_BYTES))
    for shard in shards_of(study.round.layout, [reports[client].chunks for client, _ in keys]):
        add(shard)
