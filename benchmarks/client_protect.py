"""The client: pruning-mask bits on disk to sealed chunks on disk, on one core."""

from __future__ import annotations

import os
import shutil
import statistics
import time
from typing import TYPE_CHECKING
from unittest import mock

import numpy as np

from benchmarks import naive
from benchmarks.figures import MILLION, Figure, Laps, interleaved, timed
from benchmarks.machine import LINE_BYTES, aes_ctr_seconds
from benchmarks.study import LLAMA_SHAPES, Study
from secprune.crypto.entropy import random_bytes
from secprune.crypto.seal import KEY_BYTES, ChunkCipher
from secprune.exchange.directory import DirectoryExchange
from secprune.ids import sha256
from secprune.packing import WORD_BYTES, pack
from secprune.protocols.additive.sharing import SeedShare, report_context
from secprune.protocols.words import words_to_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from secprune.storage.masks import MaskFile

SECTION = "client protect"
ROSTERS = (4, 16, 64)
GOAL = 300.0


def run(root: Path, repeats: int) -> list[Figure]:
    """Rates for several roster sizes, and where the time goes."""
    bits = naive.stored_bits()
    work: dict[str, Callable[[], float]] = {
        "naive": lambda: timed(lambda: naive.protect(bits, root / "words")),
        "line": aes_ctr_seconds,
    }
    studies: dict[int, tuple[Study, MaskFile]] = {}
    for n in ROSTERS:
        study = Study(LLAMA_SHAPES, clients=n)
        studies[n] = study, study.write_masks(root / f"masks-{n}")
        work[str(n)] = lambda n=n: _protect(*studies[n], root / "exchange")  # type: ignore[misc]
    seconds = interleaved(work, repeats)
    naive_rate = naive.WEIGHTS / seconds["naive"] / MILLION
    line = LINE_BYTES / seconds["line"]
    figures = [
        Figure(section=SECTION, what="AES-256-CTR line rate", value=line / 1e9, unit="GB/s"),
        Figure(
            section=SECTION, what="naive, 64 bits a weight", value=naive_rate, unit="M weights/s", baseline=1
        ),
    ]
    for n, (study, masks) in studies.items():
        weights = study.round.layout.weights / MILLION
        rate = weights / seconds[str(n)]
        words = study.round.layout.words * WORD_BYTES / seconds[str(n)]
        figures.append(
            Figure(
                section=SECTION,
                what=f"n = {n}, bits on disk to chunks on disk",
                value=rate,
                unit="M weights/s",
                goal=GOAL,
                baseline=rate / naive_rate,
                note=f"{words / 1e9:.2f} GB/s of words, {words / line:.0%} of the AES line rate; encrypted twice",
            )
        )
        figures += _breakdown(f"n = {n}", study, masks, root / "exchange", repeats)
    return figures


def _protect(study: Study, masks: MaskFile, folder: Path) -> float:
    exchange = DirectoryExchange(folder)
    seconds = timed(lambda: study.submit("clinic-0", masks, exchange))
    shutil.rmtree(folder)
    return seconds


def _breakdown(what: str, study: Study, masks: MaskFile, folder: Path, repeats: int) -> list[Figure]:
    runs = []
    for _ in range(repeats):
        runs.append(_stages(study, masks, DirectoryExchange(folder)))
        shutil.rmtree(folder)
    seconds = {stage: statistics.median(run[stage] for run in runs) for stage in runs[0]}
    weights, total = study.round.layout.weights / MILLION, sum(seconds.values())
    return [
        Figure(
            section=SECTION,
            what=f"{what}: {stage}",
            value=weights / taken,
            unit="M weights/s",
            note=f"{taken / total:.0%} of the time",
        )
        for stage, taken in seconds.items()
    ]


def _stages(study: Study, masks: MaskFile, exchange: DirectoryExchange) -> dict[str, float]:
    """The steps of `chunk_words`, `AdditiveWriter.protect` and `put_chunk`, one by one."""
    layout = study.round.layout
    cipher = ChunkCipher(
        random_bytes(KEY_BYTES),
        report_context(study.round, "clinic-0", "adder-0"),
        count=len(layout.chunks),
    )
    seed_share = SeedShare(
        random_bytes(KEY_BYTES), report_context(study.round, "clinic-0", "adder-1"), study.round
    )
    synced, fsync = [0.0], os.fsync

    def timed_fsync(descriptor: int) -> None:
        synced[0] += timed(lambda: fsync(descriptor))

    hashed, laps = 0.0, Laps()
    with mock.patch.object(os, "fsync", timed_fsync):
        for chunk in layout.chunks:
            slab = chunk.slab
            pieces = slab.pieces(chunk.first_row, chunk.end_row)
            read = [masks.checked_rows(matrix, low, high) for matrix, low, high in pieces]
            bits = read[0] if len(read) == 1 else np.concatenate(read)
            laps("read and check rows")
            words = pack(bits, base=slab.base, digits=slab.digits)
            laps("pack")
            words -= seed_share.share(chunk)
            laps("expand and subtract")
            data = cipher.seal(chunk.index, words_to_bytes(words))
            laps("seal")
            exchange.put_chunk(data)
            laps("put")
            start = time.perf_counter()
            sha256(data)  # once more, to know its part of `put`
            hashed += time.perf_counter() - start
            laps("hash again")
    stages = laps.seconds
    put = stages.pop("put")
    del stages["hash again"]
    return {**stages, "hash": hashed, "fsync": synced[0], "write": put - hashed - synced[0]}
