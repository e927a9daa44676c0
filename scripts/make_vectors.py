"""Write the frozen test vectors: `python -m scripts.make_vectors [--out DIR]`.

Everything but HPKE is deterministic, so the files are regenerated and compared byte for byte in the tests.
Vectors named after a fault must be refused.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from scripts.bfv_vectors import bfv_vectors
from secprune.crypto.envelope import sign
from secprune.crypto.expand import expand, expansion_key
from secprune.crypto.identity import SECRET_BYTES, Identity
from secprune.crypto.seal import ChunkCipher, Context
from secprune.crypto.shamir import PRIME, SHARE_BYTES, split
from secprune.messages.codec import encode
from secprune.messages.types import CloseRound, CountedReport, Report, SealedKey, Vote
from secprune.packing import Layout, PackedMatrix, pack, row_sums
from secprune.protocols.pairwise.graph import Parameters, neighbours, parameters
from secprune.task import (
    MatrixSpec,
    ModelSpec,
    PartySpec,
    PrivacySpec,
    ProtocolSpec,
    PruningSpec,
    Task,
)
from secprune.task.sampling import sample_blocks

OUT = Path(__file__).parents[1] / "tests" / "vectors"
TASK_ID = "sha256:" + "ab" * 32


def identity(index: int) -> Identity:
    """A fixed identity; its secret is the bytes index, index + 1, ... modulo 256."""
    return Identity(bytes((index + i) % 256 for i in range(SECRET_BYTES)))


def packing_vectors() -> list[dict[str, Any]]:
    """Masks, words and row sums for several roster sizes."""
    vectors = []
    for n_max, rows, columns in ((3, 5, 4), (4, 30, 6), (64, 12, 3), (129, 9, 2), (300, 20, 2)):
        layout = Layout.of([PackedMatrix("m", rows, columns, columns // 2)], n_max=n_max)
        slab = layout.slabs[0]
        bits = np.array(
            [[(r * 7 + c * 3 + r * c) % 2 for c in range(columns)] for r in range(rows)], np.uint8
        )
        words = pack(bits, base=slab.base, digits=slab.digits)
        vectors.append(
            {
                "n_max": n_max,
                "digits": slab.digits,
                "bits": bits.tolist(),
                "words": [[f"{w:016x}" for w in row] for row in words.tolist()],
                "row_sums": [f"{w:016x}" for w in row_sums(words).tolist()],
                "row_sum_targets": [f"{w:016x}" for w in layout.chunks[0].row_sum_targets().tolist()],
            }
        )
    return vectors


def expansion_vectors() -> list[dict[str, Any]]:
    """Seeds, contexts and the first words, from the start and from an odd word."""
    vectors = []
    for first_word in (0, 1, 4096, 2**40 + 1):
        context = Context(TASK_ID, 0, "report", "clinic", "adder", "clinic").encode(2)
        seed = bytes(range(32))
        key = expansion_key(seed, context)
        vectors.append(
            {
                "seed": seed.hex(),
                "context": context.decode(),
                "key": key.hex(),
                "first_word": first_word,
                "words": [f"{w:016x}" for w in expand(key, first_word=first_word, words=5).tolist()],
            }
        )
    return vectors


def chunk_vectors() -> list[dict[str, Any]]:
    """Sealed chunks, and altered ones that must not open."""
    context = Context(TASK_ID, 0, "report", "clinic", "adder", "clinic")
    sealed = ChunkCipher(b"k" * 32, context, count=3).seal(1, b"sixteen bytes ok")
    base = {"key": (b"k" * 32).hex(), "context": context.encode().decode(), "count": 3}
    return [
        {**base, "name": "chunk", "index": 1, "sealed": sealed.hex(), "plain": b"sixteen bytes ok".hex()},
        {**base, "name": "chunk_wrong_index", "index": 0, "sealed": sealed.hex(), "plain": None},
        {**base, "name": "chunk_wrong_count", "count": 2, "index": 1, "sealed": sealed.hex(), "plain": None},
        {**base, "name": "chunk_cut", "index": 1, "sealed": sealed[:-1].hex(), "plain": None},
        {**base, "name": "chunk_bad_tag", "index": 1, "sealed": sealed[:-1].hex() + "00", "plain": None},
    ]


def envelope_vectors() -> list[dict[str, Any]]:
    """Signed messages, and envelopes that must be refused."""
    signer = identity(1)
    report = Report(
        task_id=TASK_ID,
        round=0,
        keys=(SealedKey(receiver="adder", sealed=b"\x01" * 48),),
        chunks=("sha256:" + "cd" * 32,),
    )
    vote = Vote(
        task_id=TASK_ID, round=0, accepted=(CountedReport(client="clinic", report="sha256:" + "ef" * 32),)
    )
    good = sign(report, signer="clinic", identity=signer)
    common = {"signing_key": signer.signing_key.hex(), "signer": "clinic"}
    return [
        {
            **common,
            "name": "report",
            "kind": "Report",
            "envelope": good.decode(),
            "message": encode(report).decode(),
        },
        {
            **common,
            "name": "vote",
            "kind": "Vote",
            "envelope": sign(vote, signer="clinic", identity=signer).decode(),
            "message": encode(vote).decode(),
        },
        {
            **common,
            "name": "report_signed_by_another",
            "kind": "Report",
            "envelope": sign(report, signer="clinic", identity=identity(2)).decode(),
            "message": None,
        },
        {
            **common,
            "name": "close_round_where_a_report_is_due",
            "kind": "Report",
            "envelope": sign(CloseRound(task_id=TASK_ID, round=0), signer="clinic", identity=signer).decode(),
            "message": None,
        },
        {**common, "name": "report_cut", "kind": "Report", "envelope": good.decode()[:-1], "message": None},
        {
            **common,
            "name": "report_with_space",
            "kind": "Report",
            "envelope": good.decode().replace('","', '", "', 1),
            "message": None,
        },
    ]


def shamir_vectors() -> list[dict[str, Any]]:
    """Dealt secrets with the bytes they were dealt with, and sets of shares that must be refused."""

    def dealt(secret: bytes, threshold: int, holders: int) -> dict[str, Any]:
        drawn: list[bytes] = []

        def entropy(size: int) -> bytes:
            drawn.append(hashlib.shake_256(b"coefficient %d" % len(drawn)).digest(size))
            return drawn[-1]

        shares = split(secret, threshold=threshold, holders=holders, entropy=entropy)
        return {
            "threshold": threshold,
            "holders": holders,
            "entropy": [block.hex() for block in drawn],
            "secret": secret.hex(),
            "shares": {str(i): share.hex() for i, share in enumerate(shares)},
        }

    good = dealt(bytes(range(32)), 3, 5)
    first = int(good["shares"]["0"], 16)

    def refused(name: str, holder: int | None, without: str = "", **changed: str) -> dict[str, Any]:
        changes = {key.removeprefix("share_"): share for key, share in changed.items()}
        shares = {i: share for i, share in (good["shares"] | changes).items() if i not in without}
        vector = {"name": name, "threshold": 3, "holders": 5, "secret": None, "holder": holder}
        return vector | {"shares": shares}

    def element(value: int) -> str:
        return value.to_bytes(SHARE_BYTES, "big").hex()

    constant = {f"share_{i}": element(2**256) for i in range(5)}
    return [
        {"name": "all_shares", **good},
        {"name": "two_of_two", **dealt(b"\xff" * 32, 2, 2)},
        {"name": "zero", **dealt(bytes(32), 2, 3)},
        {"name": "two_thirds_of_100", **dealt(hashlib.sha256(b"secret").digest(), 67, 100)},
        refused("share_is_the_prime", 0, share_0=element(PRIME)),
        refused("share_plus_the_prime", 0, share_0=element(first + PRIME)),
        refused("share_cut", 1, share_1=good["shares"]["1"][:-2]),
        refused("share_too_long", 4, share_4="00" + good["shares"]["4"]),
        refused("one_altered_of_five", 0, share_0=element((first + 1) % PRIME)),
        refused("one_altered_of_four", None, without="4", share_0=element((first + 1) % PRIME)),
        refused("two_swapped", None, share_0=good["shares"]["1"], share_1=good["shares"]["0"]),
        refused("secret_of_257_bits", None, **constant),
    ]


def graph_vectors() -> list[dict[str, Any]]:
    """Degrees and thresholds, and the neighbours that a seed gives."""
    vectors: list[dict[str, Any]] = []
    for clients in (3, 100, 101, 150, 200, 500, 1000):
        p = parameters(clients)
        vectors.append(
            {"clients": clients, "degree": p.degree, "threshold": p.threshold, "complete": p.complete}
        )
    drawn = Parameters(degree=4, threshold=3, complete=False)
    for seed in (bytes(32), bytes(range(32))):
        members = [f"c{i:02d}" for i in range(12)]
        found = neighbours(members, seed, drawn)
        vectors.append(
            {"degree": 4, "threshold": 3, "complete": False, "seed": seed.hex(), "neighbours": found}
        )
    return vectors


def sampling_vectors() -> list[dict[str, Any]]:
    """Capacities, and the positions of the decoder blocks that each client prunes."""
    vectors = []
    for nonce, blocks, capacities in (
        ("00" * 16, 3, {"a": 3, "b": 2, "c": 2, "d": 2}),
        (bytes(range(16)).hex(), 12, {f"clinic-{i}": 2 + 3 * i for i in range(7)}),
        ("ff" * 16, 5, {"short": 1, "all": 5, "more": 80, "half": 3, "another": 3}),
    ):
        found = sample_blocks(capacities, blocks, nonce=nonce, min_clients=3)
        vectors.append(
            {
                "nonce": nonce,
                "blocks": blocks,
                "capacities": capacities,
                "assigned": {name: found[name] for name in capacities},
            }
        )
    return vectors


def task_vectors() -> list[dict[str, Any]]:
    """A task, its canonical form, its id, and the fingerprints of its parties."""
    roles = (
        ("hq", "coordinator"),
        ("uni", "aggregator"),
        ("reg", "aggregator"),
        ("a", "client"),
        ("b", "client"),
        ("c", "client"),
    )
    parties = tuple(
        PartySpec(
            role=role, name=name, signing_key=identity(i).signing_key, sealing_key=identity(i).sealing_key
        )  # type: ignore[arg-type]
        for i, (name, role) in enumerate(roles)
    )
    task = Task(
        study="vectors",
        nonce="00" * 16,
        protocol=ProtocolSpec(name="additive", min_clients=3),
        pruning=PruningSpec(sparsity="29/100", sequence_length=128, max_windows=16),
        privacy=PrivacySpec(),
        model=ModelSpec(
            name="tiny",
            weights_digest="sha256:" + "11" * 32,
            tokenizer_digest="sha256:" + "22" * 32,
            matrices=(MatrixSpec(name="model.layers.0.mlp.up_proj.weight", rows=6, columns=100),),
        ),
        parties=parties,
    )
    return [
        {
            "toml": task.to_toml(),
            "canonical": task.canonical.decode(),
            "task_id": task.task_id,
            "fingerprints": {p.name: p.fingerprint for p in parties},
            "row_k": task.pruning.row_k(100),
            "layer_k": task.pruning.layer_k(6, 100),
        }
    ]


def main() -> None:
    """Write one JSON file for each kind of vector."""
    parser = argparse.ArgumentParser(description="Write the frozen test vectors.")
    parser.add_argument("--out", type=Path, default=OUT)
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for name, vectors in (
        ("packing", packing_vectors()),
        ("expansion", expansion_vectors()),
        ("chunks", chunk_vectors()),
        ("envelopes", envelope_vectors()),
        ("task", task_vectors()),
        ("shamir", shamir_vectors()),
        ("pairwise_graph", graph_vectors()),
        ("layer_sampling", sampling_vectors()),
        ("bfv", bfv_vectors()),
    ):
        (out / f"{name}.json").write_text(json.dumps(vectors, indent=1) + "\n")


if __name__ == "__main__":
    main()
