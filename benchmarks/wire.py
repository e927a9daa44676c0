"""Bits per weight that one client sends, from a real report over the matrices of SmolLM2-135M."""

from __future__ import annotations

import math
import shutil
from typing import TYPE_CHECKING

from benchmarks.figures import Figure
from benchmarks.study import SMOLLM2_SHAPES, Study
from secprune.crypto.envelope import sign
from secprune.exchange.directory import DirectoryExchange
from secprune.packing import WORD_BYTES, digits_per_word

if TYPE_CHECKING:
    from pathlib import Path

SECTION = "wire"
ROSTERS = (3, 4, 8, 16, 32, 64)
NAIVE_BITS = 64.0


def goal_bits(n: int) -> float:
    """What is aimed at: 7% above the entropy bound of a digit, and 0.5% framing."""
    return 1.07 * math.log2(n + 1) * 1.005


def run(root: Path, repeats: int) -> list[Figure]:  # noqa: ARG001 - nothing here depends on time
    """Build a report for each roster size and count its bytes: sealed chunks and signed manifest."""
    figures = []
    for n in ROSTERS:
        study = Study(SMOLLM2_SHAPES, clients=n)
        layout = study.round.layout
        report, sealed = study.submit(
            "clinic-0", study.write_masks(root / "masks"), DirectoryExchange(root / "exchange")
        )
        shutil.rmtree(root / "exchange")
        message = len(sign(report, signer="clinic-0", identity=study.identities["clinic-0"]))
        words = sum(chunk.words for chunk in layout.chunks) * WORD_BYTES
        bits = 8 * (sealed + message) / layout.weights
        ideal = 64 / digits_per_word(n)
        padding, framing = 8 * words / layout.weights / ideal - 1, (sealed + message) / words - 1
        figures.append(
            Figure(
                section=SECTION,
                what=f"n = {n}, SmolLM2-135M",
                value=bits,
                unit="bits/weight",
                goal=goal_bits(n),
                better="lower",
                baseline=NAIVE_BITS / bits,
                note=f"64/D = {ideal:.3f}, padding {padding:.3%}, framing {framing:.3%}",
            )
        )
    return figures
