"""Packing pruning masks into 64-bit words whose sums never carry (mixed-radix counters).

With `n_max` clients in the roster a word has digits to the base B = n_max + 1 (more where votes carry noise), and D = the largest
number of digits with B**D <= 2**64. One word holds the *same column of D consecutive rows*:

    w[g, c] = sum_p M[g*D + p, c] * B**p   (mod 2**64)

Adding the words of up to n_max clients adds all D counters at once, without a carry between them.

Rules:
1. Matrices of equal width and equal row budget lie on top of each other in one *slab*, in task order,
   so that a word group may span two matrices and only the last group of a slab is padded. Packing
   each matrix alone would cost 12% on a 192-row matrix at D = 27 (docs/adr/0003).
2. Where every row of an honest pruning mask has exactly `row_k` ones (Wanda's does), the words of one
   row group sum to a public constant. Aggregators check that on shares. Other local pruners have no such
   number: their `row_k` is None, nothing is checked, and no sums of words are opened, which would tell it.
3. A *chunk* is a whole number of row groups of one slab, at most about CHUNK_BYTES: the unit that is
   sealed, sent, added and checked. No party holds more than a few of them.
"""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from secprune.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Words = npt.NDArray[np.uint64]
"""(groups, columns), elements of Z_2^64."""

Bits = npt.NDArray[np.uint8]
"""(rows, columns), each 0 or 1."""

Digits = Bits | npt.NDArray[np.uint16]
"""(rows, columns), what one client sends for each weight: 0 or 1, or more where votes carry noise."""

Counts = npt.NDArray[np.uint16] | npt.NDArray[np.uint32]
"""(rows, columns), votes to prune; 16 bits because 8 would break at 256 clients, 32 where noise needs them."""

WORD_BYTES = 8
CHUNK_BYTES = 4 * 2**20
MAX_CLIENTS = 2**16 - 1


def digits_per_word(n_max: int) -> int:
    """Largest D with (n_max + 1)**D <= 2**64: counters that one word holds."""
    if not 1 <= n_max <= MAX_CLIENTS:
        raise ConfigurationError(f"a roster of {n_max} clients cannot be packed (1 to {MAX_CLIENTS})")
    return _digits_to(n_max + 1)


def _digits_to(base: int) -> int:
    """Largest D with base**D <= 2**64."""
    digits = 0
    while base ** (digits + 1) <= 2**64:
        digits += 1
    return digits


@dataclass(frozen=True, slots=True)
class PackedMatrix:
    """One weight matrix as packing sees it: (rows, columns), with `row_k` ones in each row if that is fixed."""

    name: str
    rows: int
    columns: int
    row_k: int | None


@dataclass(frozen=True, slots=True)
class Slab:
    """Matrices of one width and row budget, one above the other; the unit a keystream belongs to."""

    index: int
    columns: int
    row_k: int | None
    base: int
    digits: int
    matrices: tuple[PackedMatrix, ...]
    first_rows: tuple[int, ...]

    @property
    def rows(self) -> int:
        """Rows of all its matrices together."""
        return self.first_rows[-1] + self.matrices[-1].rows

    @property
    def groups(self) -> int:
        """Row groups, the last one possibly padded with absent rows."""
        return -(-self.rows // self.digits)

    def pieces(self, first_row: int, end_row: int) -> Iterator[tuple[PackedMatrix, int, int]]:
        """Yield (matrix, its first row, its end row) covering slab rows [first_row, end_row) in order."""
        for matrix, start in zip(self.matrices, self.first_rows, strict=True):
            low, high = max(first_row, start), min(end_row, start + matrix.rows)
            if low < high:
                yield matrix, low - start, high - start


@dataclass(frozen=True, slots=True)
class Chunk:
    """A run of whole row groups of one slab; `number` counts within the slab, `index` over all."""

    index: int
    slab: Slab
    number: int
    first_group: int
    groups: int

    @property
    def shape(self) -> tuple[int, int]:
        """(groups, columns) of its words."""
        return self.groups, self.slab.columns

    @property
    def first_word(self) -> int:
        """Offset of its first word in the slab."""
        return self.first_group * self.slab.columns

    @property
    def words(self) -> int:
        """How many words it holds."""
        return self.groups * self.slab.columns

    @property
    def first_row(self) -> int:
        """First slab row it covers."""
        return self.first_group * self.slab.digits

    @property
    def end_row(self) -> int:
        """One past the last real slab row it covers."""
        return min((self.first_group + self.groups) * self.slab.digits, self.slab.rows)

    def row_sum_targets(self, clients: int = 1) -> Words | None:
        """What the words of each row group sum to for `clients` honest pruning masks: (groups,), or None."""
        slab = self.slab
        if slab.row_k is None:
            return None
        full = clients * slab.row_k * sum(slab.base**p for p in range(slab.digits))
        targets = np.full(self.groups, full % 2**64, np.uint64)
        in_last = self.end_row - (self.first_group + self.groups - 1) * slab.digits
        last = clients * slab.row_k * sum(slab.base**p for p in range(in_last))
        targets[-1] = np.uint64(last % 2**64)
        return targets


@dataclass(frozen=True)
class Layout:
    """How all matrices of one round lie in slabs and chunks; a pure function of the task."""

    n_max: int
    slabs: tuple[Slab, ...]

    @classmethod
    def of(
        cls,
        matrices: Sequence[PackedMatrix],
        *,
        n_max: int,
        digits: int | None = None,
        base: int | None = None,
    ) -> Layout:
        """Lay out `matrices` (task order) for a roster of `n_max` clients.

        Args:
            matrices: of one round.
            n_max: clients in the roster.
            digits: counters in a word; as many as 64 bits hold, if not given.
            base: of a counter; n_max + 1 if not given, more if a client counts for more than 1 at a weight.
        """
        digits = digits or (digits_per_word(n_max) if base is None else _digits_to(base))
        base = base or n_max + 1
        stacks: dict[tuple[int, int | None], list[PackedMatrix]] = {}
        for matrix in matrices:
            stacks.setdefault((matrix.columns, matrix.row_k), []).append(matrix)
        slabs = []
        for index, ((columns, row_k), stack) in enumerate(stacks.items()):
            first_rows = [0]
            for matrix in stack[:-1]:
                first_rows.append(first_rows[-1] + matrix.rows)
            slabs.append(Slab(index, columns, row_k, base, digits, tuple(stack), tuple(first_rows)))
        return cls(n_max, tuple(slabs))

    def beside(self, other: Layout) -> Layout:
        """This layout's slabs, and then those of another one for the same roster."""
        later = (dataclasses.replace(slab, index=slab.index + len(self.slabs)) for slab in other.slabs)
        return Layout(self.n_max, (*self.slabs, *later))

    @functools.cached_property
    def chunks(self) -> tuple[Chunk, ...]:
        """All chunks, slab after slab."""
        found: list[Chunk] = []
        for slab in self.slabs:
            step = max(1, CHUNK_BYTES // (slab.columns * WORD_BYTES))
            for number, first in enumerate(range(0, slab.groups, step)):
                found.append(Chunk(len(found), slab, number, first, min(step, slab.groups - first)))
        return tuple(found)

    @property
    def words(self) -> int:
        """Words in all chunks together: what a report holds, but for its framing."""
        return sum(slab.groups * slab.columns for slab in self.slabs)

    @property
    def weights(self) -> int:
        """Weights in all matrices together."""
        return sum(m.rows * m.columns for slab in self.slabs for m in slab.matrices)


def pack(bits: Digits, *, base: int, digits: int) -> Words:
    """Pack pruning-mask rows into words.

    Args:
        bits: (rows, columns) of 0 and 1, or of noised votes; rows need not be a multiple of `digits`.
        base: n_max + 1, or what the layout says.
        digits: rows per word.

    Returns:
        (ceil(rows / digits), columns); absent rows of the last group count as 0.
    """
    rows, columns = bits.shape
    groups = -(-rows // digits)
    if groups * digits != rows:
        bits = np.concatenate([bits, np.zeros((groups * digits - rows, columns), bits.dtype)])
    digit = bits.reshape(groups, digits, columns)  # (groups, D, C)
    words = digit[:, digits - 1].astype(np.uint64)
    for p in reversed(range(digits - 1)):  # Horner's rule; each step is one contiguous multiply-add
        words *= np.uint64(base)
        words += digit[:, p]
    return words


def unpack(words: Words, *, base: int, digits: int, rows: int) -> Counts:
    """Read the counters back: the inverse of `pack` for sums of up to base - 1 pruning masks.

    Args:
        words: (groups, columns).
        base: as they were packed.
        digits: rows per word.
        rows: real rows covered, at most groups * digits.

    Returns:
        (rows, columns) counters, each below `base`.
    """
    groups, columns = words.shape
    counts = np.empty((groups, digits, columns), np.uint16 if base <= 2**16 else np.uint32)
    rest = words.copy()
    for p in range(digits):
        quotient = rest // np.uint64(base)
        np.subtract(rest, quotient * np.uint64(base), out=counts[:, p], casting="unsafe")
        rest = quotient
    return counts.reshape(groups * digits, columns)[:rows]


def row_sums(words: Words) -> Words:
    """Sum of each row group's words mod 2^64, the value that aggregators open: (groups,)."""
    sums: Words = words.sum(axis=1, dtype=np.uint64)
    return sums
