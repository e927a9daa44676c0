"""The protocol `bfv`: each party's work on one chunk of ciphertexts, against two ways of using TenSEAL.

Measured is the cryptography of a round, on arrays and bytes in memory, for one key holder and a model of 124
million weights: pruning-mask bits to wire bytes at a client, a client's bytes into the running sum at the
aggregator, the sum's bytes to products at the key holder, products to counts. Not measured are the sealing of
chunks, digests, messages and the disk, which `client` and `aggregator` measure.

The peers (`bfv_peers`) encrypt one bit a slot and serialise: TenSEAL's `bfv_vector` with the parameters of its
tutorial, the baseline; and NVFLARE's published CKKS setting. Sums of all clients are compared with the true ones
before anything is timed.

Seconds are of the processor (`time.process_time`), of one core.
"""

from __future__ import annotations

import importlib.util
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.figures import MILLION, Figure, interleaved
from secprune.crypto.bfv import ring, wire
from secprune.crypto.bfv.hashing import HashValues, LinearHash, add_hashes
from secprune.crypto.bfv.parameters import choose_parameters
from secprune.crypto.entropy import random_bytes
from secprune.packing import CHUNK_BYTES, WORD_BYTES, pack, unpack

AVAILABLE = all(importlib.util.find_spec(name) is not None for name in ("tenseal", "zstandard"))
if AVAILABLE:  # the extra `he`
    from benchmarks import bfv_peers
    from secprune.crypto.bfv.keys import SEED_BYTES, Flooding, KeyShare, common_polynomial, join
    from secprune.crypto.bfv.scheme import Decryptor, Encryptor, ciphertexts_for, decode
    from secprune.crypto.bfv.seal_backend import ZeroEncryptor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from secprune.packing import Bits, Counts, Words

SECTION = "bfv"
ROSTERS = (8, 64)
WEIGHTS = 124_000_000
"""Of the model, for the flooding noise; one block of a 7B LLaMA, as `study.LLAMA_SHAPES`."""

COLUMNS = 4096
WORDS = CHUNK_BYTES // WORD_BYTES
GOAL_BITS = {8: 9.5, 64: 18.5}
GOAL_ENCRYPT = 10.0
_CONTEXT = b"benchmark"


def run(root: Path, repeats: int) -> list[Figure]:  # noqa: ARG001 - nothing here is on disk
    """Both forms for both rosters, and the peers, in turn; nothing without tenseal."""
    if not AVAILABLE:
        note = 'skipped: install the extra "he"'
        return [Figure(section=SECTION, what="nothing measured", value=0, unit="figures", note=note)]
    rounds = [Round(n, blind=blind) for n in ROSTERS for blind in (False, True)]
    with bfv_peers.quiet():
        peers = [_of_peer(peer) for peer in (bfv_peers.tutorial(), bfv_peers.nvflare())]
        sides = [*peers, *(one.side() for one in rounds)]
        work = {
            f"{side.name}: {step}": lambda run=run: _cpu(run)  # type: ignore[misc]
            for side in sides
            for step, run in side.steps.items()
        }
        taken = interleaved(work, repeats)
    seconds = {s.name: {step: taken[f"{s.name}: {step}"] for step in s.steps} for s in sides}
    baseline = _Baseline(
        peers[0].bits, {step: peers[0].weights / took for step, took in seconds[peers[0].name].items()}
    )
    figures = []
    for peer in peers:
        figures += _peer_figures(peer, seconds[peer.name], baseline)
    simple_bits = 0.0
    for one, side in zip(rounds, sides[len(peers) :], strict=True):
        figures.append(_bits(one, side, baseline, simple_bits))
        figures += _rates(one, side, seconds[side.name], baseline)
        simple_bits = 0.0 if one.parameters.blind else side.bits
    return figures


def _cpu(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


@dataclass(frozen=True)
class Side:
    """What is timed of one side: its steps, over so many weights, and the bits that a client sends for one."""

    name: str
    weights: int
    bits: float
    steps: dict[str, Callable[[], object]]


@dataclass(frozen=True)
class _Baseline:
    """TenSEAL's tutorial: bits for a weight, and weights a second in each step."""

    bits: float
    rates: dict[str, float]


# ---- the peers
def _of_peer(peer: bfv_peers.Peer) -> Side:
    data, total = peer.check()
    bits, running = peer.bits(np.random.default_rng(6)), peer.load(data)
    return Side(
        peer.name,
        bfv_peers.WEIGHTS,
        8 * len(data) / bfv_peers.WEIGHTS,
        {
            "encrypt": lambda: peer.encrypt(bits),
            "add": lambda: peer.add(running, data),
            "decrypt": lambda: peer.decrypt(total),
        },
    )


def _peer_figures(side: Side, seconds: dict[str, float], baseline: _Baseline) -> list[Figure]:
    figures = [
        Figure(
            section=SECTION,
            what=f"{side.name}: on the wire",
            value=side.bits,
            unit="bits/weight",
            better="lower",
            baseline=baseline.bits / side.bits,
            note="for any n: one weight a slot; measured once",
        )
    ]
    for step, what in (
        ("encrypt", "encrypt and serialise"),
        ("add", "load and add"),
        ("decrypt", "decrypt the sum"),
    ):
        rate = side.weights / seconds[step]
        figures.append(
            Figure(
                section=SECTION,
                what=f"{side.name}: {what}",
                value=rate / MILLION,
                unit="M weights/s",
                baseline=rate / baseline.rates[step],
            )
        )
    return figures


# ---- secprune
class Round:
    """One chunk of words of all clients under one key: encrypted, added up, opened and compared.

    Args:
        clients: in the roster, all counted.
        blind: whether the key holder sees c1 alone.
    """

    def __init__(self, clients: int, *, blind: bool) -> None:
        self.parameters = parameters = choose_parameters(
            clients=clients, key_holders=1, blind=blind, weights=WEIGHTS
        )
        self.rows = WORDS // COLUMNS * parameters.digits
        self._count = ciphertexts_for(WORDS, parameters)
        share = KeyShare.derive(random_bytes(SEED_BYTES), parameters)
        joint = join([share.public_half(parameters, _CONTEXT)], parameters)
        self._encryptor = Encryptor(parameters, joint, _CONTEXT)
        self._zeros = ZeroEncryptor(
            parameters, ([half[0] for half in joint], common_polynomial(parameters, _CONTEXT))
        )
        self._decryptor = Decryptor(parameters, share)
        self._flooding = Flooding(random_bytes(SEED_BYTES), _CONTEXT, parameters) if blind else None

    def side(self) -> Side:
        """Play the round, check its sum, and time each step on what was sent in it."""
        bits, data, total, asked, product = self._play()
        masks, running = self._parsed(data)[1:], [plane.copy() for plane in total]
        return Side(
            f"n = {self.parameters.clients}, {'blind' if self.parameters.blind else 'simple'}",
            bits.size,
            8 * len(data) / bits.size,
            {
                "encrypt": lambda: self.encrypt(bits),
                "zeros": lambda: self._zeros(self._count),
                "add": lambda: self.add(running, data),
                "hash": lambda: self.hash(masks),
                "product": lambda: self.product(asked),
                "decode": lambda: self.decode(total[0], product),
            },
        )

    def _play(self) -> tuple[Bits, bytes, list[Words], bytes, Words]:
        """The last client's bits and bytes; the sum of all, as the key holder gets it, and its product."""
        rng, parameters = np.random.default_rng(4), self.parameters
        true = np.zeros((self.rows, COLUMNS), np.uint16)
        planes = wire.planes_of("ciphertexts", parameters)
        total = [np.zeros((self._count, parameters.degree), np.uint64) for _ in planes]
        hashes = []
        for _ in range(parameters.clients):
            bits = rng.integers(0, 2, true.shape, np.uint8)
            data = self.encrypt(bits)
            self.add(total, data)
            hashes.append(self.hash(self._parsed(data)[1:]))
            true += bits
        assert self.hash(total[1:]) == add_hashes(hashes, parameters), "not the hash of the sum"
        asked = wire.serialise(total[1:] if parameters.blind else total, self._asked, parameters)
        product = self.product(asked)
        assert np.array_equal(self.decode(total[0], product), true), "not the true sum"
        return bits, data, total, asked, product

    @property
    def _asked(self) -> wire.Form:
        return "masks" if self.parameters.blind else "ciphertexts"

    def _parsed(self, data: bytes) -> tuple[Words, ...]:
        return wire.parse(data, "ciphertexts", self.parameters, count=self._count, sender="a client")

    def encrypt(self, bits: Bits) -> bytes:
        """A client's: bits to bytes."""
        words = pack(bits, base=self.parameters.base, digits=self.parameters.digits)
        return wire.serialise(self._encryptor.encrypt(words), "ciphertexts", self.parameters)

    def add(self, total: Sequence[Words], data: bytes) -> None:
        """The aggregator's: one client's bytes into the sum."""
        primes = wire.planes_of("ciphertexts", self.parameters)
        for plane, more, q in zip(total, self._parsed(data), primes, strict=True):
            ring.add(plane, more, q, out=plane)

    def hash(self, masks: Sequence[Words]) -> HashValues:
        """A client's of its own c1, and a key holder's of the sum's."""
        linear = LinearHash(bytes(SEED_BYTES), _CONTEXT, self.parameters)
        linear.update(masks)
        return linear.values()

    def product(self, data: bytes) -> Words:
        """The key holder's: the sum's bytes (blind: of c1 alone) to c1 times its key share."""
        planes = wire.parse(data, self._asked, self.parameters, count=self._count, sender="the aggregator")
        return self._decryptor.product(planes if self._flooding else planes[1:], self._flooding)

    def decode(self, c0: Words, product: Words) -> Counts:
        """Whoever opens the sum: products to counts."""
        parameters = self.parameters
        words = decode(c0, [product], parameters, words=WORDS).reshape(-1, COLUMNS)
        return unpack(words, base=parameters.base, digits=parameters.digits, rows=self.rows)


def _bits(one: Round, side: Side, baseline: _Baseline, simple_bits: float) -> Figure:
    parameters = one.parameters
    primes = " + ".join(str(bits) for bits in parameters.wire_bits)
    against = f"; {side.bits / simple_bits:.2f} x the simple form" if parameters.blind else ""
    return Figure(
        section=SECTION,
        what=f"{side.name}: on the wire",
        value=side.bits,
        unit="bits/weight",
        goal=None if parameters.blind else GOAL_BITS[parameters.clients],
        better="lower",
        baseline=baseline.bits / side.bits,
        note=f"{primes} bits for {parameters.digits} weights, N = {parameters.degree}{against}",
    )


def _rates(one: Round, side: Side, seconds: dict[str, float], baseline: _Baseline) -> list[Figure]:
    encrypt, opened = seconds["encrypt"], seconds["product"] + seconds["decode"]
    rows = [
        ("client, encrypt", encrypt, "encrypt", f"{seconds['zeros'] / encrypt:.0%} in encryptions of zero"),
        ("aggregator, add", seconds["add"], "add", ""),
        ("key holder and decode", opened, "decrypt", ""),
        ("key holder, product", seconds["product"], "", ""),
        ("decode", seconds["decode"], "", ""),
        ("linear hash of c1", seconds["hash"], "", "client and key holder, once each"),
    ]
    goal = None if one.parameters.blind else GOAL_ENCRYPT * baseline.rates["encrypt"] / MILLION
    return [
        Figure(
            section=SECTION,
            what=f"{side.name}: {what}",
            value=side.weights / took / MILLION,
            unit="M weights/s",
            goal=goal if step == "encrypt" else None,
            baseline=side.weights / took / baseline.rates[step] if step else None,
            note=note,
        )
        for what, took, step, note in rows
    ]
