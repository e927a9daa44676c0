"""An aggregator: sealed chunks on disk to its share of the sum on disk, per client, on one core."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import naive
from benchmarks.figures import MILLION, Figure, interleaved, timed
from benchmarks.study import LLAMA_SHAPES, Study
from secprune.crypto.entropy import random_bytes
from secprune.crypto.seal import KEY_BYTES
from secprune.exchange.directory import DirectoryExchange
from secprune.protocols.additive.aggregate import AggregateWriter, add_shares
from secprune.protocols.additive.row_sums import report_row_sums
from secprune.protocols.additive.sharing import AdditiveSharing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from secprune.messages.types import Report
    from secprune.protocols.api import ReportReader

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
    work: dict[str, Callable[[], float]] = {"naive": lambda: timed(lambda: naive.add(root / "words", total))}
    for name in AGGREGATORS:
        readers = {c: _reader(study, c, reports[c], name) for c in clients}
        work[f"check {name}"] = lambda readers=readers: timed(  # type: ignore[misc]
            lambda: _check(study, readers, reports, exchange)
        )
        work[f"add {name}"] = lambda readers=readers, name=name: _add(  # type: ignore[misc]
            study, name, readers, reports, exchange, root / "out"
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
                )
            )
    return figures


def _reader(study: Study, client: str, report: Report, aggregator: str) -> ReportReader:
    return AdditiveSharing().reader(
        study.round, client, report, aggregator=aggregator, identity=study.identities[aggregator]
    )


def _check(
    study: Study, readers: dict[str, ReportReader], reports: dict[str, Report], exchange: DirectoryExchange
) -> None:
    for client, reader in readers.items():
        report_row_sums(reader, study.round.layout, reports[client], exchange.get_chunk)


def _add(
    study: Study,
    aggregator: str,
    readers: dict[str, ReportReader],
    reports: dict[str, Report],
    exchange: DirectoryExchange,
    folder: Path,
) -> float:
    """As `parties.aggregator` does it; sealing and writing the sum is shared by the cohort."""
    out = DirectoryExchange(folder)

    def add() -> None:
        writer = AggregateWriter(study.round, aggregator, random_bytes(KEY_BYTES))
        for chunk in study.round.layout.chunks:
            shares = (
                reader.share(
                    chunk,
                    exchange.get_chunk(reports[client].chunks[chunk.index]) if reader.needs_bytes else b"",
                )
                for client, reader in readers.items()
            )
            out.put_chunk(writer.seal(chunk, add_shares(chunk, shares)))

    seconds = timed(add)
    shutil.rmtree(folder)
    return seconds
