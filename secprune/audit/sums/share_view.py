"""What all aggregators but one see of a report of `additive`, at full width and through the code of the protocol.

Reports are drawn, written, sealed, opened and read as parties do it; only where the operating system's generator would be asked,
the audit's draws answer. A coalition of all aggregators but one has all its shares, and so their sum, which is the report less
the one share that it lacks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from secprune.audit.check import Check, Kind
from secprune.audit.sums.rounds import words_of
from secprune.audit.sums.views import compare_views
from secprune.crypto.expand import expand, expansion_key
from secprune.ids import sha256
from secprune.messages.types import Report
from secprune.protocols.additive.sharing import AdditiveSharing, report_context
from secprune.protocols.cleartext import Cleartext

if TYPE_CHECKING:
    from collections.abc import Callable

    from secprune.audit.draws import Draws
    from secprune.audit.sums.rounds import AuditRound
    from secprune.audit.sums.views import Seen
    from secprune.packing import Chunk, Words
    from secprune.protocols.api import ReportReader, ReportSecrets, ReportWriter, Round, SecureSum


def fresh_secrets(
    protocol: SecureSum, round_: Round, client: str, entropy: Callable[[int], bytes]
) -> tuple[ReportSecrets, ReportSecrets]:
    """Secrets of two reports of one client, as its software draws them."""
    return protocol.new_secrets(round_, client, entropy), protocol.new_secrets(round_, client, entropy)


@dataclass(frozen=True, slots=True)
class Sharing:
    """Reports of `additive` (or of what stands in its place) in a round of the audit's.

    Attributes:
        audit: the round.
        protocol: which reports are written and read with.
        secrets: of two reports of one client.
        reports: pairs of reports to look at, of each message.
    """

    audit: AuditRound
    protocol: SecureSum
    secrets: Callable[
        [SecureSum, Round, str, Callable[[int], bytes]], tuple[ReportSecrets, ReportSecrets]
    ] = fresh_secrets
    reports: int = 24

    def messages(self) -> tuple[Words, Words]:
        """Masks of no votes and of all votes."""
        chunk = self.audit.chunk
        empty = np.zeros((chunk.end_row - chunk.first_row, chunk.slab.columns), np.uint8)
        return words_of(self.audit, empty), words_of(self.audit, empty + np.uint8(1))

    def as_seen(self, message: Words) -> Words:
        """Words are not scaled."""
        return message

    def see(self, one: Words, other: Words, draws: Draws) -> Seen:
        """Views of all coalitions of all aggregators but one, as the sum of their shares; and each share alone."""
        client = self.audit.clients[0]
        secrets = self.secrets(self.protocol, self.audit.round, client, draws.entropy)
        shares = [self.opened(*both) for both in zip((one, other), secrets, strict=True)]
        seen: Seen = {}
        for name in self.audit.aggregators:
            first, second = (sum_of(of_report, without=name) for of_report in shares)
            seen[f"all aggregators but {name}"] = first, second
        if len(self.audit.aggregators) > 2:
            seen.update({name: (shares[0][name], shares[1][name]) for name in self.audit.aggregators})
        return seen

    def opened(self, words: Words, secrets: ReportSecrets) -> dict[str, Words]:
        """What each aggregator reads of one report: its share of the words, (groups, columns)."""
        audit, client = self.audit, self.audit.clients[0]
        data = self.protocol.writer(audit.round, client, secrets).protect(audit.chunk, words.copy())
        report = Report(**audit.round.names, keys=secrets.keys, chunks=(sha256(data),))
        shares = {}
        for name in audit.aggregators:
            key = self.protocol.open_key(
                audit.round, client, report, aggregator=name, identity=audit.identities[name]
            )
            reader = self.protocol.reader(audit.round, client, key, aggregator=name)
            shares[name] = reader.share(audit.chunk, data if reader.needs_bytes else b"")
        return shares


def sum_of(shares: dict[str, Words], *, without: str = "") -> Words:
    """Shares of all aggregators, or of all but one, added."""
    total: Words = np.add.reduce([share for name, share in shares.items() if name != without])
    return total


def differs_from_model(sharing: Sharing, draws: Draws) -> str:
    """Compare the shares that aggregators read with the scheme as it is written down, of one random report.

    The first share is the words minus all expansions; the others are expansions, each of its own seed.

    Returns:
        "" if they are the same, else what is not.
    """
    audit = sharing.audit
    client, chunk = audit.clients[0], audit.chunk
    words = np.frombuffer(draws.entropy(8 * chunk.words), "<u8").astype(np.uint64).reshape(chunk.shape)
    secrets = sharing.secrets(sharing.protocol, audit.round, client, draws.entropy)[0]
    shares = sharing.opened(words, secrets)
    first, *others = audit.aggregators
    if len(secrets.seeds) != len(others):
        return "there are not as many seeds as aggregators but one"
    expected = words.copy()
    for name, seed in zip(others, secrets.seeds, strict=True):
        context = report_context(audit.round, client, name).encode(chunk.slab.index)
        mask = expand(expansion_key(seed, context), first_word=chunk.first_word, words=chunk.words)
        expected -= mask.reshape(chunk.shape)
        if not np.array_equal(shares[name], mask.reshape(chunk.shape)):
            return f"the share of {name} is not the expansion of its seed"
    if not np.array_equal(shares[first], expected):
        return f"the share of {first} is not the words minus all expansions"
    return ""


# ---- mutations
class _Weakened(AdditiveSharing):
    """`additive` whose masks are expansions that something was done to."""

    def __init__(self, weaken: Callable[[Words], Words]) -> None:
        self._weaken = weaken

    def writer(self, round_: Round, client: str, secrets: ReportSecrets) -> ReportWriter:  # type: ignore[override]
        others = round_.task.names("aggregator")[1:]
        readers: list[ReportReader] = [
            super(_Weakened, self).reader(round_, client, seed, aggregator=name)
            for name, seed in zip(others, secrets.seeds, strict=True)
        ]
        return _WeakWriter(super().writer(round_, client, secrets), readers, self._weaken)

    def reader(self, round_: Round, client: str, key: bytes, *, aggregator: str) -> ReportReader:  # type: ignore[override]
        reader = super().reader(round_, client, key, aggregator=aggregator)
        return reader if reader.needs_bytes else _WeakReader(reader, self._weaken)


@dataclass(frozen=True, slots=True)
class _WeakWriter:
    writer: ReportWriter
    readers: list[ReportReader]
    weaken: Callable[[Words], Words]

    def protect(self, chunk: Chunk, words: Words) -> bytes:
        for reader in self.readers:
            mask = reader.share(chunk, b"")
            words += mask - self.weaken(mask)  # the writer takes the mask off; the weakened one is to be gone
        return self.writer.protect(chunk, words)


@dataclass(frozen=True, slots=True)
class _WeakReader:
    reader: ReportReader
    weaken: Callable[[Words], Words]
    needs_bytes = False

    def share(self, chunk: Chunk, data: bytes) -> Words:
        return self.weaken(self.reader.share(chunk, data))


def _reused(
    protocol: SecureSum, round_: Round, client: str, entropy: Callable[[int], bytes]
) -> tuple[ReportSecrets, ReportSecrets]:
    secrets = protocol.new_secrets(round_, client, entropy)
    return secrets, secrets


def half_range(words: Words) -> Words:
    """Masks from the lower half of the ring."""
    return words >> np.uint64(1)


def as_floats(words: Words) -> Words:
    """Masks as floating-point numbers hold them: 53 significant bits, so that the lowest eleven of 64 are none."""
    return words & ~np.uint64(2**11 - 1)


SHARE_VIEW: Check[Sharing] = Check(
    id="share-view",
    title="What all aggregators but one see of a report",
    asks="Can all aggregators but one tell what a hospital's report says, or how two of its reports differ?",
    kind=Kind.CONFORMANCE,
    source="Shares as in Prio3, draft-irtf-cfrg-vdaf, section 7.2; docs/architecture.md, one round",
    measure=compare_views,
    mutations={
        "cleartext": lambda subject: replace(subject, protocol=Cleartext()),
        "reused-mask": lambda subject: replace(subject, secrets=_reused),
        "short-range": lambda subject: replace(subject, protocol=_Weakened(half_range)),
        "float-masks": lambda subject: replace(subject, protocol=_Weakened(as_floats)),
    },
    repeatable=True,
)
