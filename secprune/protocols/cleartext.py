"""The protocol `cleartext`: no cryptography on reports. Test double, and the baseline an auditor attacks.

The first aggregator gets the packed words as they are, the others add nothing. Refused outside
`demo`, `audit` and tests (the client's and aggregators' policies do that).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from secprune.errors import RemoteMisbehaviourError
from secprune.protocols.api import ReportSecrets
from secprune.protocols.words import words_from_bytes, words_to_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from secprune.crypto.identity import Identity
    from secprune.messages.types import Report
    from secprune.packing import Chunk, Words
    from secprune.protocols.api import Round


class _PlainWriter:
    def protect(self, chunk: Chunk, words: Words) -> bytes:  # noqa: ARG002 - the interface of ReportWriter
        return bytes(words_to_bytes(words))


class _PlainReader:
    needs_bytes = True

    def __init__(self, client: str) -> None:
        self._client = client

    def share(self, chunk: Chunk, data: bytes) -> Words:
        return words_from_bytes(data, chunk, sender=self._client)


class _ZeroReader:
    needs_bytes = False

    def share(self, chunk: Chunk, data: bytes) -> Words:  # noqa: ARG002 - the interface of ReportReader
        return np.zeros(chunk.shape, np.uint64)


class Cleartext:
    """The protocol `cleartext` (see `SecureSum`)."""

    def new_secrets(self, round_: Round, client: str, entropy: Callable[[int], bytes]) -> ReportSecrets:  # noqa: ARG002
        """Nothing is secret here."""
        return ReportSecrets(content_key=b"", seeds=(), keys=())

    def writer(self, round_: Round, client: str, secrets: ReportSecrets) -> _PlainWriter:  # noqa: ARG002
        """Start writing a report. Run by the client."""
        return _PlainWriter()

    def open_key(
        self,
        round_: Round,
        client: str,
        report: Report,
        *,
        aggregator: str,  # noqa: ARG002 - nothing is sealed
        identity: Identity,  # noqa: ARG002
    ) -> bytes:
        """Nothing is secret here; the form of the report is checked.

        Raises:
            RemoteMisbehaviourError: the report does not have the form this task prescribes.
        """
        if report.keys or len(report.chunks) != len(round_.layout.chunks):
            raise RemoteMisbehaviourError("the report does not have the form of this task", party=client)
        return b""

    def reader(
        self,
        round_: Round,
        client: str,
        key: bytes,  # noqa: ARG002
        *,
        aggregator: str,
    ) -> _PlainReader | _ZeroReader:
        """Start reading a report. Run by an aggregator."""
        first = round_.task.names("aggregator")[0]
        return _PlainReader(client) if aggregator == first else _ZeroReader()
