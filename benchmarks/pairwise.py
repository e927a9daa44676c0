"""The protocol `pairwise`: a client's masked report, and the sum at its aggregator, on one core."""

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
from benchmarks.pairwise_round import PairwiseRound, PairwiseStudy, digest, round_context
from benchmarks.study import LLAMA_SHAPES, Shapes
from secprune.crypto.entropy import random_bytes
from secprune.crypto.envelope import sign
from secprune.crypto.expand import Keystream
from secprune.crypto.seal import KEY_BYTES, TAG_BYTES, ChunkCipher, open_secret, seal_secret
from secprune.exchange.directory import DirectoryExchange
from secprune.files import file_digest
from secprune.ids import sha256
from secprune.messages.codec import encode
from secprune.messages.pairwise import (
    Consent,
    MaskedReport,
    Reveal,
    RevealedShares,
)
from secprune.messages.types import SealedKey
from secprune.packing import WORD_BYTES, digits_per_word, pack
from secprune.parties.report_words import chunk_words
from secprune.protocols.additive.aggregate import AggregateWriter, unshard
from secprune.protocols.pairwise import aggregator
from secprune.protocols.pairwise.keys import Binding
from secprune.protocols.pairwise.masks import Masking
from secprune.protocols.words import words_from_bytes, words_to_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from secprune.packing import Words
    from secprune.storage.masks import MaskFile

SECTION = "pairwise"
ROSTERS = (5, 16, 64)
WIRE_OVERHEAD = 1.02
SUM_SHAPES: dict[int, Shapes] = {5: LLAMA_SHAPES[:2], 16: LLAMA_SHAPES[:2], 64: LLAMA_SHAPES[:1]}
"""For the aggregator, so that the reports of all survivors fit on the disk."""


def run(root: Path, repeats: int) -> list[Figure]:
    """The client's rates, where its time goes, bits on the wire, and the aggregator's rates."""
    figures = _clients(root, repeats)
    for n in ROSTERS:
        figures += _sum(n, root / f"sum-{n}", repeats)
    return figures


# ---- client
def protect(
    played: PairwiseRound, name: str, masks: MaskFile, path: Path, exchange: DirectoryExchange
) -> MaskedReport:
    """What a client does between two lists of the aggregator, without a journal: shares and seeds are opened,
    the masks on disk are compared with their digest, packed, masked, sealed and written.
    """
    round_ = played.study.round
    masked = played.open_shares(name)
    file_digest(path)
    masking = Masking(round_, Binding(round_, masked.keys), played.masks(name, masked))
    content_key, context = random_bytes(KEY_BYTES), round_context(round_, "report", name, masked.shares)
    sealed = seal_secret(content_key, round_.task.party("adder-0").sealing_key, context)
    cipher = ChunkCipher(content_key, context, count=len(round_.layout.chunks))
    digests = []
    for chunk in round_.layout.chunks:
        words = chunk_words(masks, chunk)
        masking.put_on(chunk, words)
        digests.append(exchange.put_chunk(cipher.seal(chunk.index, words_to_bytes(words))))
    return MaskedReport(
        **round_.names,
        shares=masked.shares,
        key=SealedKey(receiver="adder-0", sealed=sealed),
        chunks=tuple(digests),
    )


def timed_protect(played: PairwiseRound, name: str, masks: MaskFile, path: Path, folder: Path) -> float:
    """Seconds of `protect` into a fresh exchange, which is removed again."""
    exchange = DirectoryExchange(folder)
    seconds = timed(lambda: protect(played, name, masks, path, exchange))
    shutil.rmtree(folder)
    return seconds


def _clients(root: Path, repeats: int) -> list[Figure]:
    bits = naive.stored_bits()
    work: dict[str, Callable[[], float]] = {
        "naive": lambda: timed(lambda: naive.protect(bits, root / "words")),
        "line": aes_ctr_seconds,
    }
    rounds: dict[int, tuple[PairwiseRound, MaskFile, Path]] = {}
    for n in ROSTERS:
        study, path = PairwiseStudy(LLAMA_SHAPES, clients=n), root / f"masks-{n}"
        rounds[n] = PairwiseRound(study), study.write_masks(path), path
        work[str(n)] = (
            lambda n=n: timed_protect(  # type: ignore[misc]
                rounds[n][0], _middle(n), *rounds[n][1:], root / "exchange"
            )
        )
    seconds = interleaved(work, repeats)
    line, naive_rate = LINE_BYTES / seconds["line"], naive.WEIGHTS / seconds["naive"] / MILLION
    figures = [
        Figure(section=SECTION, what="AES-256-CTR line rate", value=line / 1e9, unit="GB/s"),
        Figure(
            section=SECTION,
            what="naive, one mask, 64 bits a weight",
            value=naive_rate,
            unit="M weights/s",
            baseline=1,
        ),
    ]
    for n, (played, masks, path) in rounds.items():
        rate = played.study.round.layout.weights / MILLION / seconds[str(n)]
        figures.append(
            Figure(
                section=SECTION,
                what=f"n = {n}, bits on disk to masked chunks on disk",
                value=rate,
                unit="M weights/s",
                baseline=rate / naive_rate,
                note=f"{played.study.round.layout.weights / MILLION:.0f} million weights, {n} masks",
            )
        )
        figures += _breakdown(n, played, masks, path, root / "exchange", repeats)
        figures.append(_wire(n, played, masks, path, root / "exchange"))
    return figures


def _breakdown(
    n: int, played: PairwiseRound, masks: MaskFile, path: Path, folder: Path, repeats: int
) -> list[Figure]:
    runs = []
    for _ in range(repeats):
        line = aes_ctr_seconds() / LINE_BYTES
        runs.append({**_stages(played, _middle(n), masks, path, DirectoryExchange(folder)), "line": line})
        shutil.rmtree(folder)
    seconds = {stage: statistics.median(run[stage] for run in runs) for stage in runs[0]}
    line = seconds.pop("line")
    layout = played.study.round.layout
    weights, total = layout.weights / MILLION, sum(seconds.values())
    stream = n * WORD_BYTES * sum(chunk.words for chunk in layout.chunks)
    figures = [
        Figure(
            section=SECTION,
            what=f"n = {n}: {stage}",
            value=weights / taken,
            unit="M weights/s",
            note=f"{taken / total:.0%} of the time",
        )
        for stage, taken in seconds.items()
    ]
    expand, add = seconds["expand"], seconds["add"]
    figures.append(
        Figure(
            section=SECTION,
            what=f"n = {n}: masking (expand and add)",
            value=stream / (expand + add) / 1e9,
            unit="GB/s",
            note=f"{line * stream / (expand + add):.0%} of the AES line rate; expand alone {line * stream / expand:.0%}",
        )
    )
    return figures


def _stages(
    played: PairwiseRound, name: str, masks: MaskFile, path: Path, exchange: DirectoryExchange
) -> dict[str, float]:
    """The steps of `protect` one by one."""
    round_ = played.study.round
    synced, fsync, expanded, fill = [0.0], os.fsync, [0.0], Keystream.fill

    def timed_fsync(descriptor: int) -> None:
        synced[0] += timed(lambda: fsync(descriptor))

    def timed_fill(stream: Keystream, words: np.ndarray[tuple[int, ...], np.dtype[np.uint64]]) -> None:
        start = time.perf_counter()
        fill(stream, words)
        expanded[0] += time.perf_counter() - start

    hashed, laps = 0.0, Laps()
    masked = played.open_shares(name)
    masking = Masking(round_, Binding(round_, masked.keys), played.masks(name, masked))
    laps("open shares and seeds")
    file_digest(path)
    laps("digest of the masks")
    cipher = ChunkCipher(
        random_bytes(KEY_BYTES),
        round_context(round_, "report", name, masked.shares),
        count=len(round_.layout.chunks),
    )
    with mock.patch.object(os, "fsync", timed_fsync), mock.patch.object(Keystream, "fill", timed_fill):
        for chunk in round_.layout.chunks:
            slab = chunk.slab
            pieces = slab.pieces(chunk.first_row, chunk.end_row)
            read = [masks.checked_rows(matrix, low, high) for matrix, low, high in pieces]
            bits = read[0] if len(read) == 1 else np.concatenate(read)
            laps("read and check rows")
            words = pack(bits, base=slab.base, digits=slab.digits)
            laps("pack")
            masking.put_on(chunk, words)
            laps("mask")
            data = cipher.seal(chunk.index, words_to_bytes(words))
            laps("seal")
            exchange.put_chunk(data)
            laps("put")
            start = time.perf_counter()
            sha256(data)  # once more, to know its part of `put`
            hashed += time.perf_counter() - start
            laps("hash again")
    stages = laps.seconds
    put, mask, seal = stages.pop("put"), stages.pop("mask"), stages.pop("seal")
    del stages["hash again"]
    return {
        **stages,
        "expand": expanded[0],
        "add": mask - expanded[0],
        "seal": seal,
        "hash": hashed,
        "fsync": synced[0],
        "write": put - hashed - synced[0],
    }


def _wire(n: int, played: PairwiseRound, masks: MaskFile, path: Path, folder: Path) -> Figure:
    """Everything that one client sends in a round in which another drops out; nothing depends on time."""
    study, name = played.study, _middle(n)
    report = protect(played, name, masks, path, DirectoryExchange(folder))
    shutil.rmtree(folder)
    layout, names = study.round.layout, study.round.names
    chunks = sum(chunk.words * WORD_BYTES + TAG_BYTES for chunk in layout.chunks)
    parcels = sum(len(encode(parcel)) for (sender, _), parcel in played.parcels.items() if sender == name)
    revealed = played.reveal(dict.fromkeys(study.clients[:-1], sha256(b"a report")))[name]
    reveal_context = round_context(study.round, "reveal", name, revealed.survivors)
    content_key = random_bytes(KEY_BYTES)
    reveal = Reveal(
        **names,
        survivors=revealed.survivors,
        key=SealedKey(
            receiver="adder-0",
            sealed=seal_secret(content_key, study.task.party("adder-0").sealing_key, reveal_context),
        ),
        shares=ChunkCipher(content_key, reveal_context, count=1).seal(
            0, encode(RevealedShares(shares=revealed.shares))
        ),
    )
    consent = Consent(**names, survivors=revealed.survivors)
    messages = sum(
        len(sign(message, signer=name, identity=study.identities[name]))
        for message in (played.adverts[name], played.bundles[name], report, consent, reveal)
    )
    bits = 8 * (chunks + parcels + messages) / layout.weights
    ideal = 64 / digits_per_word(n)
    return Figure(
        section=SECTION,
        what=f"n = {n}, sent by a client, all messages",
        value=bits,
        unit="bits/weight",
        goal=ideal * WIRE_OVERHEAD,
        better="lower",
        baseline=64 / bits,
        note=f"64/D = {ideal:.3f}; keys, shares and messages {parcels + messages:,} bytes ({bits / ideal - 1:.2%} over)",
    )


# ---- aggregator
def _sum(n: int, root: Path, repeats: int) -> list[Figure]:
    """All survivors' reports on disk, the last client of the roster has dropped out after sharing."""
    root.mkdir()
    study = PairwiseStudy(SUM_SHAPES[n], clients=n)
    played, exchange = PairwiseRound(study), DirectoryExchange(root / "exchange")
    masks, survivors = study.write_masks(root / "masks"), study.clients[:-1]
    reports = {name: protect(played, name, masks, root / "masks", exchange) for name in survivors}
    played.reveal({name: digest(report) for name, report in reports.items()})
    runs: dict[str, list[float]] = {}
    for turn in range(1 + repeats):
        for stage, taken in _sum_stages(played, reports, exchange, root / "out").items():
            runs.setdefault(stage, []).extend([taken] if turn else [])
        shutil.rmtree(root / "out")
    shutil.rmtree(root)
    seconds = {stage: statistics.median(values) for stage, values in runs.items()}
    each, total = study.round.layout.weights / MILLION, sum(seconds.values())
    left = 2 * len(survivors)
    figures = [
        Figure(
            section=SECTION,
            what=f"n = {n}, aggregator, per client",
            value=each * len(survivors) / total,
            unit="M weights/s",
            note=f"{len(survivors)} reports of {each:.0f} million weights; one dropped out, {left} masks off",
        )
    ]
    for stage, taken in seconds.items():
        figures.append(
            Figure(
                section=SECTION,
                what=f"n = {n}, aggregator: {stage}",
                value=each * len(survivors) / taken,
                unit="M weights/s",
                note=f"{taken / total:.0%} of the time",
            )
        )
    return figures


def _sum_stages(
    played: PairwiseRound, reports: dict[str, MaskedReport], exchange: DirectoryExchange, folder: Path
) -> dict[str, float]:
    """As `parties.pairwise.aggregator` does it: each report is opened when it comes, and again to be added."""
    study, round_, out = played.study, played.study.round, DirectoryExchange(folder)
    opening = study.identities["adder-0"].opening
    chunks = round_.layout.chunks

    def opened(name: str, report: MaskedReport) -> Iterator[Words]:
        context = round_context(round_, "report", name, report.shares)
        cipher = ChunkCipher(open_secret(report.key.sealed, opening, context), context, count=len(chunks))
        for chunk, stored in zip(chunks, report.chunks, strict=True):
            yield words_from_bytes(cipher.open(chunk.index, exchange.get_chunk(stored)), chunk, sender=name)

    laps = Laps()
    for name, report in reports.items():
        for _ in opened(name, report):
            pass
    laps("check all chunks")
    assert isinstance(played.server, aggregator.Enough)
    masking = Masking(round_, Binding(round_, played.server.keys), played.masks_left())
    laps("recover secrets")
    writer = AggregateWriter(round_, "adder-0", random_bytes(KEY_BYTES))
    readers = [opened(name, report) for name, report in reports.items()]
    for chunk in chunks:
        total = np.zeros(chunk.shape, np.uint64)
        for words in readers:
            total += next(words)
        laps("open again and add")
        masking.take_off(chunk, total)
        laps("take masks off")
        unshard(chunk, [total], cohort_size=len(reports))
        laps("unpack and check the sum")
        out.put_chunk(writer.seal(chunk, total))
        laps("seal and write the sum")
    return laps.seconds


def _middle(n: int) -> str:
    """A client in the middle of the roster: it draws half of its pair seeds and opens the others."""
    return f"clinic-{n // 2}"
