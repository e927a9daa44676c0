"""Input shares: aggregators 2..m get a seed, the first one gets the words minus all expansions.

Source: seed-compressed additive sharing as in Prio3 (draft-irtf-cfrg-vdaf, section 7.2: helpers' shares
are seeds), here over Z_2^64 and without its proofs; the row-sum check takes their place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from secprune.crypto.expand import SEED_BYTES, expand, expansion_key
from secprune.crypto.seal import KEY_BYTES, ChunkCipher, Context, open_secret, seal_secret
from secprune.errors import RemoteMisbehaviourError
from secprune.messages.types import Report, SealedKey
from secprune.protocols.api import ReportSecrets, Round
from secprune.protocols.words import words_from_bytes, words_to_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from secprune.crypto.identity import Identity
    from secprune.packing import Chunk, Words


def report_context(round_: Round, client: str, aggregator: str) -> Context:
    """What every key and chunk of one client's report to one aggregator is bound to."""
    return Context(round_.task_id, round_.index, "report", client, aggregator, client)


class SeedShare:
    """The share of an aggregator that got a seed: the seed's expansion, one keystream per slab."""

    needs_bytes = False

    def __init__(self, seed: bytes, context: Context, round_: Round) -> None:
        self._keys = [expansion_key(seed, context.encode(slab.index)) for slab in round_.layout.slabs]

    def share(self, chunk: Chunk, data: bytes = b"") -> Words:  # noqa: ARG002 - the interface of ReportReader
        """Share of the chunk's words, (groups, columns)."""
        key = self._keys[chunk.slab.index]
        return expand(key, first_word=chunk.first_word, words=chunk.words).reshape(chunk.shape)


class ChunkShare:
    """The share of the first aggregator: sealed chunks of words minus all expansions."""

    needs_bytes = True

    def __init__(self, content_key: bytes, context: Context, round_: Round) -> None:
        self._cipher = ChunkCipher(content_key, context, count=len(round_.layout.chunks))
        self._client = context.sender

    def share(self, chunk: Chunk, data: bytes) -> Words:
        """Share of the chunk's words, (groups, columns).

        Raises:
            RemoteMisbehaviourError: the client sealed something else than these words.
        """
        return words_from_bytes(self._cipher.open(chunk.index, data), chunk, sender=self._client)


class AdditiveWriter:
    """A client's side of one report (see `ReportWriter`)."""

    def __init__(self, round_: Round, client: str, secrets: ReportSecrets) -> None:
        first, *others = round_.task.names("aggregator")
        context = report_context(round_, client, first)
        self._cipher = ChunkCipher(secrets.content_key, context, count=len(round_.layout.chunks))
        self._seed_shares = [
            SeedShare(seed, report_context(round_, client, aggregator), round_)
            for seed, aggregator in zip(secrets.seeds, others, strict=True)
        ]

    def protect(self, chunk: Chunk, words: Words) -> bytes:
        """Seal `words` minus all expansions to the first aggregator; overwrites `words`."""
        for seed_share in self._seed_shares:
            words -= seed_share.share(chunk)
        return self._cipher.seal(chunk.index, words_to_bytes(words))


class AdditiveSharing:
    """The protocol `additive` (see `SecureSum`)."""

    def new_secrets(self, round_: Round, client: str, entropy: Callable[[int], bytes]) -> ReportSecrets:
        """Draw a content key for the first aggregator and a seed for each other one, and seal them."""
        aggregators = round_.task.names("aggregator")
        secrets = [entropy(KEY_BYTES), *(entropy(SEED_BYTES) for _ in aggregators[1:])]
        keys = tuple(
            SealedKey(
                receiver=aggregator,
                sealed=seal_secret(
                    secret,
                    round_.task.party(aggregator).sealing_key,
                    report_context(round_, client, aggregator),
                ),
            )
            for aggregator, secret in zip(aggregators, secrets, strict=True)
        )
        return ReportSecrets(content_key=secrets[0], seeds=tuple(secrets[1:]), keys=keys)

    def writer(self, round_: Round, client: str, secrets: ReportSecrets) -> AdditiveWriter:
        """Start writing a report. Run by the client."""
        return AdditiveWriter(round_, client, secrets)

    def open_key(
        self, round_: Round, client: str, report: Report, *, aggregator: str, identity: Identity
    ) -> bytes:
        """This aggregator's key in a report: a seed, or the first aggregator's content key.

        Raises:
            RemoteMisbehaviourError: the report does not have the form this task prescribes.
        """
        aggregators = round_.task.names("aggregator")
        if tuple(key.receiver for key in report.keys) != aggregators:
            raise RemoteMisbehaviourError("the report has keys for the wrong aggregators", party=client)
        if len(report.chunks) != len(round_.layout.chunks):
            raise RemoteMisbehaviourError(
                f"the report has {len(report.chunks)} chunks, not {len(round_.layout.chunks)}", party=client
            )
        sealed = report.keys[aggregators.index(aggregator)].sealed
        key = open_secret(sealed, identity.opening, report_context(round_, client, aggregator))
        if len(key) != KEY_BYTES:
            raise RemoteMisbehaviourError("the report holds a key of the wrong length", party=client)
        return key

    def reader(self, round_: Round, client: str, key: bytes, *, aggregator: str) -> SeedShare | ChunkShare:
        """Start reading a report. Run by an aggregator."""
        context = report_context(round_, client, aggregator)
        if aggregator == round_.task.names("aggregator")[0]:
            return ChunkShare(key, context, round_)
        return SeedShare(key, context, round_)
