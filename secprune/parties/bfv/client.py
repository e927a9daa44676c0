"""A client's part in a round of `bfv`: it encrypts its report, posts it, and answers for the sum that counts it.

Encryption draws fresh randomness, so what is made once is kept: sealed chunks stand in the client's own
directory before they are sent, and a retry sends these bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from secprune.compute.api import Work
from secprune.crypto.bfv import wire
from secprune.crypto.bfv.decoding import ciphertexts_for
from secprune.crypto.bfv.hashing import LinearHash as Hash
from secprune.crypto.seal import TAG_BYTES
from secprune.errors import LocalMisuseError, TooFewPartiesError
from secprune.exchange.api import ChunkMissingError
from secprune.files import private_directory, read_bytes, write_atomically
from secprune.ids import sha256, short
from secprune.messages.bfv import CiphertextSum, EncryptedReport, LinearHash, Opening
from secprune.parties.bfv import shared
from secprune.parties.client import SubmitResult
from secprune.parties.progress import Progress, Stopwatch, silent
from secprune.parties.release import check_release, record_counted
from secprune.parties.report_words import contents_of, open_report, report_digest, require_report
from secprune.protocols.bfv import client as protocol
from secprune.protocols.bfv.terms import message_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from secprune.crypto.bfv.parameters import Parameters
    from secprune.packing import Chunk, Words
    from secprune.parties.session import Patience, Session
    from secprune.storage.journal import Outgoing


_SENDING = "sending of the report under {}"


class BfvClient:
    """One client at work on one round.

    Args:
        session: its open directory.
        progress: told about long work.
    """

    def __init__(self, session: Session, *, progress: Progress = silent) -> None:
        self._session, self._progress = session, progress
        self._terms = shared.terms_of(session)
        stored = session.journal.state()
        self._state: protocol.State = (
            protocol.Idle() if stored is None else msgspec.json.decode(stored, type=protocol.State)
        )
        self._watch = Stopwatch()

    def run(self, patience: Patience) -> SubmitResult:
        """Take part until the aggregator has asked to open a sum with this client's report.

        Raises:
            LocalMisuseError: there is nothing to report, or it has changed since it was encrypted.
            TooFewPartiesError: the aggregator went on without this client.
            RemoteMisbehaviourError: aggregator or key holders showed something that honest software never
                shows; nothing more is sent.
            NotReadyError: patience ran out; the same command goes on where this one stopped.
        """
        require_report(self._session)
        self._session.send()
        report = self._session.sent(EncryptedReport)
        if report is not None and isinstance(self._state, protocol.Encrypted):
            shared.put_again(self._session, report.chunks, lambda: self._send_chunks(report.keys))
        while not isinstance(self._state, protocol.Counted):
            if isinstance(self._state, protocol.LeftOut):
                raise TooFewPartiesError(
                    "the aggregator went on without this client",
                    missing=(self._session.name,),
                    hint="it is not in the sum that the aggregator shows now; ask the coordinator for a new task",
                )
            before = self._state
            try:
                self._look()
            except ChunkMissingError as error:
                shared.note_missing(self._session, error, "a message that was whole before")
            if self._state is before:
                self._session.check_abandoned()
                patience.wait(self.waiting_for())
        self._forget_chunks()
        return self._result()

    @property
    def is_left_out(self) -> bool:
        """Whether the aggregator went on without this client."""
        return isinstance(self._state, protocol.LeftOut)

    def waiting_for(self) -> str:
        """What this client waits for, for people."""
        match self._state:
            case protocol.Idle():
                return f"the key shares of {', '.join(self._terms.key_holders)}"
            case protocol.Encrypted(sums=sums, answered=answered) if len(sums) > len(answered):
                return f"the seeds of {', '.join(self._terms.key_holders)}"
            case protocol.Encrypted():
                return f"{self._terms.aggregator}'s sum of all reports"
            case _:
                return "nothing"

    # ---- reading
    def _look(self) -> None:
        session, terms = self._session, self._terms
        if isinstance(self._state, protocol.Idle):
            promised, shares = shared.commitments(session, terms), shared.key_shares(session, terms)
            if promised is not None and shares is not None:
                self._step(protocol.KeysPublished(promised, shares))
            return
        for one in list(session.read_one_each(Opening, again=True)):
            self._step(protocol.OpeningSeen(one.message))
        sums = [one.message for one in session.read(CiphertextSum, lambda m: str(m.attempt), again=True)]
        for message in sorted(sums, key=lambda m: m.attempt):
            self._step(protocol.SumSeen(message, self._own_report()))
        if isinstance(self._state, protocol.Encrypted) and self._state.sums:
            latest = self._state.sums[-1]
            seeds = shared.hash_seeds(session, terms, latest)
            if seeds is not None:
                self._step(protocol.SeedsDrawn(latest, seeds))

    def _members_of(self, sum_: str) -> list[str]:
        """The clients in a sum that the aggregator has shown."""
        for one in self._session.read(CiphertextSum, lambda m: str(m.attempt), again=True):
            if message_digest(one.message) == sum_:
                return [member.client for member in one.message.members]
        raise ChunkMissingError("the sum to answer for is not in the exchange any more")

    def _own_report(self) -> str:
        outbox = self._session.journal.outbox()
        return next((sha256(m.envelope) for m in outbox if m.phase == "encrypted-reports"), "")

    # ---- acting
    def _step(self, event: protocol.Event) -> None:
        """Take one event: checkpoint the new state with its messages, then send them."""
        transition = protocol.step(self._terms, self._state, event)
        if transition.state is self._state:
            return
        outgoing = [self._message(action) for action in transition.actions]
        if isinstance(transition.state, protocol.Counted):
            record_counted(self._session, self._members_of(transition.state.sum))
        self._session.journal.checkpoint(state=msgspec.json.encode(transition.state), outgoing=outgoing)
        self._state = transition.state
        if outgoing:
            self._session.send()

    def _message(self, action: protocol.Action) -> Outgoing:
        names = self._session.round.names
        match action:
            case protocol.Encrypt(keys=keys):
                self._encrypt(keys)
                key, digests = self._send_chunks(keys)
                return self._session.outgoing(
                    EncryptedReport(**names, keys=keys, key=key.sealed[0], chunks=digests)
                )
            case protocol.Answer(sum=sum_, seed=seed, seeds=seeds):
                check_release(self._session, self._members_of(sum_))
                values = self._hash(sum_, seed)
                return self._session.outgoing(
                    LinearHash(**names, sum=sum_, seeds=seeds, values=values), subject=sum_
                )

    def _chunk_path(self, keys: str, chunk: Chunk) -> Path:
        return private_directory(self._session.work / f"encrypted-{short(keys)}") / f"{chunk.index:06d}.chunk"

    def _content_key(self, keys: str) -> shared.ContentKey:
        """The key that the report's chunks are sealed under; it belongs to this very content."""
        digest = report_digest(self._session).encode()
        if self._session.journal.secret("digest of the pruning masks", lambda: digest) != digest:
            raise LocalMisuseError(
                f"the {contents_of(self._session).what} have changed since their report was begun; only one counts in "
                "a round",
                hint="restore the file, or ask the coordinator for a new task",
            )
        context = shared.report_context(self._terms, self._session.name, keys)
        return shared.content_key(self._session, f"report under {keys}", [context])

    def _encrypt(self, keys: str) -> None:
        """Encrypt, seal and keep all chunks that are not kept already."""
        session, round_, terms = self._session, self._session.round, self._terms
        key = self._content_key(keys)
        cipher = shared.chunk_cipher(session, key.key, shared.report_context(terms, session.name, keys))
        contents = open_report(session)
        chunks = [c for c in round_.layout.chunks if not self._chunk_path(keys, c).exists()]
        if chunks and session.journal.has_secret(_SENDING.format(keys)):
            raise LocalMisuseError(
                f"{len(chunks)} kept chunks of a report that was being sent are gone; encrypted anew under the "
                "same key they would give their contents away",
                hint="restore the directory, or ask the coordinator for a new task",
            )
        shares = shared.key_shares(session, terms)
        if shares is None:  # they were read to come here
            raise ChunkMissingError("a key share is not in the exchange any more")
        arguments = (terms.parameters, shared.joint_key(session, terms, shares), terms.key_context)
        words = (contents.words(chunk) for chunk in chunks)
        with self._watch.phase("protect"):
            work = Work(_encryptor, arguments)
            encrypted = session.workers.map(work, words, count=len(chunks))
            for chunk, data in zip(chunks, encrypted, strict=True):
                # All are kept before one is sent: nobody ever sees two encryptions sealed with one nonce.
                write_atomically(self._chunk_path(keys, chunk), cipher.seal(chunk.index, data))
                self._progress("encrypting chunks", chunk.index + 1, len(round_.layout.chunks))

    def _kept(self, keys: str) -> Iterator[tuple[Chunk, bytes]]:
        for chunk in self._session.round.layout.chunks:
            yield chunk, read_bytes(self._chunk_path(keys, chunk), what="a chunk of the report")

    def _send_chunks(self, keys: str) -> tuple[shared.ContentKey, tuple[str, ...]]:
        self._session.journal.secret(_SENDING.format(keys), lambda: b"begun")
        with self._watch.phase("send"):
            digests = tuple(self._session.exchange.put_chunk(data) for _, data in self._kept(keys))
        return self._content_key(keys), digests

    def _hash(self, sum_: str, seed: bytes) -> tuple[tuple[int, ...], ...]:
        """The linear hash of this client's own c1, from the chunks that it has kept."""
        session, terms = self._session, self._terms
        report = session.sent(EncryptedReport)
        assert report is not None  # noqa: S101 - the state says so
        context = shared.report_context(terms, session.name, report.keys)
        cipher = shared.chunk_cipher(session, self._content_key(report.keys).key, context)
        found = Hash(seed, shared.hash_context(terms, sum_), terms.parameters)
        with self._watch.phase("answer"):
            for chunk, data in self._kept(report.keys):
                plain = cipher.open(chunk.index, data)
                planes = shared.parse_chunk(plain, "ciphertexts", terms, chunk, sender=session.name)
                found.update(planes[1:])
        return found.values()

    def _forget_chunks(self) -> None:
        """Remove the kept chunks: the aggregator has asked to open a sum that they are in."""
        assert isinstance(self._state, protocol.Counted)  # noqa: S101 - where this is called
        for chunk in self._session.round.layout.chunks:
            self._chunk_path(self._state.keys, chunk).unlink(missing_ok=True)

    def _result(self) -> SubmitResult:
        session, parameters = self._session, self._terms.parameters
        chunks = session.round.layout.chunks
        outbox = session.journal.outbox()
        counts = [ciphertexts_for(chunk.words, parameters) for chunk in chunks]
        size = sum(wire.wire_size("ciphertexts", parameters, count) + TAG_BYTES for count in counts)
        size += sum(len(message.envelope) for message in outbox)
        return SubmitResult(
            report=self._own_report(),
            bytes_sent=size,
            bits_per_weight=round(8 * size / session.round.weights, 4),
            chunks=len(chunks),
            seconds=self._watch.seconds,
        )


def _encryptor(parameters: Parameters, joint: tuple[Words, ...], context: bytes) -> Callable[[Words], bytes]:
    """Encrypts the words of a chunk into wire bytes. Needs tenseal (extra `he`)."""
    from secprune.crypto.bfv.scheme import Encryptor, self_test  # noqa: PLC0415 - tenseal, only where it is used

    self_test(parameters)
    encryptor = Encryptor(parameters, joint, context)
    return lambda words: wire.serialise(encryptor.encrypt(words), "ciphertexts", parameters)
