"""What `bfv` is held against: TenSEAL as its tutorial uses it, and the setting that NVFLARE publishes.

Both put one weight into one slot, so that neither bytes nor rates depend on the number of clients. Both get
the whole mask as one array of the type that TenSEAL takes, made outside the clock, and one thread. Nothing
else of NVFLARE runs here: no weighing, no message around the vectors, no control of the aggregator's.

Sources: TenSEAL, "Tutorial 0 - Getting Started" (BFV, N = 4096, plain modulus 1032193, public key); NVFLARE,
`nvflare/lighter/impl/he.py`, defaults of `HEBuilder` (CKKS, N = 8192, primes of 60, 40 and 40 bits, scale 2^40,
symmetric, relinearisation keys), and `nvflare/app_opt/he/model_encryptor.py`, which encrypts a layer as one
`ckks_vector`.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import tenseal as ts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

TUTORIAL, NVFLARE = "TenSEAL's tutorial", "NVFLARE's CKKS"
WEIGHTS = 2**18
CHECKED_CLIENTS = 8


@dataclass(frozen=True)
class Peer:
    """A setting of TenSEAL.

    Attributes:
        name: in the table.
        context: parameters and all keys.
        number: what its vectors are made of.
        vector: encrypts an array.
        loaded: reads what was serialised.
    """

    name: str
    context: Any
    number: type[np.number[Any]]
    vector: Callable[[Any, npt.NDArray[Any]], Any]
    loaded: Callable[[Any, bytes], Any]

    def bits(self, rng: np.random.Generator) -> npt.NDArray[Any]:
        """A pruning mask, WEIGHTS weights, as this peer takes it."""
        return rng.integers(0, 2, WEIGHTS).astype(self.number)

    def encrypt(self, bits: npt.NDArray[Any]) -> bytes:
        """A client's: what it sends."""
        data: bytes = self.vector(self.context, bits).serialize()
        return data

    def load(self, data: bytes) -> Any:
        """The vector that a client sent."""
        return self.loaded(self.context, data)

    def add(self, total: Any, data: bytes) -> None:
        """The aggregator's: one more client, in place."""
        total.add_(self.load(data))

    def decrypt(self, total: Any) -> list[float]:
        """The sum of each weight's bits, up to what CKKS rounds."""
        sums: list[float] = total.decrypt()
        return sums

    def check(self) -> tuple[bytes, Any]:
        """Add up several clients and compare; one client's bytes and the sum."""
        rng = np.random.default_rng(5)
        true = self.bits(rng)
        data = self.encrypt(true)
        total = self.load(data)
        for _ in range(CHECKED_CLIENTS - 1):
            bits = self.bits(rng)
            self.add(total, self.encrypt(bits))
            true += bits
        assert np.array_equal(np.rint(self.decrypt(total)), true), f"{self.name}: not the true sum"
        return data, total


def tutorial() -> Peer:
    """TenSEAL's first tutorial."""
    context = ts.context(
        ts.SCHEME_TYPE.BFV, poly_modulus_degree=4096, plain_modulus=1032193, n_threads=1
    )  # encryption_type is ASYMMETRIC by default
    return Peer(TUTORIAL, context, np.int64, ts.bfv_vector, ts.bfv_vector_from)


def nvflare() -> Peer:
    """The context that NVFLARE's HEBuilder makes."""
    context = ts.context(
        ts.SCHEME_TYPE.CKKS,
        poly_modulus_degree=8192,
        coeff_mod_bit_sizes=[60, 40, 40],
        encryption_type=ts.ENCRYPTION_TYPE.SYMMETRIC,
        n_threads=1,
    )
    context.generate_relin_keys()
    context.global_scale = 2**40
    return Peer(NVFLARE, context, np.float64, ts.ckks_vector, ts.ckks_vector_from)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Nothing on stdout meanwhile: TenSEAL warns there, from C++, of vectors longer than one ciphertext."""
    c = ctypes.CDLL(None)
    sys.stdout.flush()
    c.fflush(None)
    stdout = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        c.fflush(None)  # else what C buffered comes out later
        os.dup2(stdout, 1)
        os.close(stdout)
        os.close(nowhere)
