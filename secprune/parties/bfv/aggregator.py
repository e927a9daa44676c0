"""The aggregator's part in a round of `bfv`: it adds ciphertexts, has the sum answered for, and has it opened.

It cannot open anything by itself. In the blind form it finishes the opening and so learns the sum; in the simple
form it learns nothing. It needs no tenseal: ciphertexts are arrays of residues here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from secprune.crypto.bfv import ring, wire
from secprune.crypto.bfv.decoding import decode
from secprune.crypto.bfv.hashing import LinearHash as Hash
from secprune.crypto.bfv.hashing import add_hashes, is_well_formed
from secprune.crypto.entropy import random_bytes
from secprune.crypto.seal import KEY_BYTES
from secprune.errors import NotReadyError, RemoteMisbehaviourError, TooFewPartiesError
from secprune.exchange.api import ChunkMissingError
from secprune.files import private_directory, read_bytes, write_atomically
from secprune.messages.bfv import CiphertextSum, EncryptedReport, LinearHash, Opening, PartialDecryption
from secprune.messages.types import AggregateShare, Cohort, Parcel, Vote
from secprune.parties.aggregator import AggregatorResult
from secprune.parties.bfv import shared
from secprune.parties.progress import Progress, Stopwatch, silent
from secprune.parties.release import check_release_or_abandon, record_release
from secprune.protocols.additive.aggregate import AggregateWriter, check_sum, seal_share_key
from secprune.protocols.bfv import aggregator as protocol
from secprune.protocols.bfv.terms import message_digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from secprune.crypto.seal import ChunkCipher
    from secprune.messages.types import SealedKey
    from secprune.packing import Chunk, Words
    from secprune.parties.session import AnyMessage, Patience, Session
    from secprune.storage.journal import Outgoing

_WHAT = {
    "reports": "reports",
    "hashes": "answers for the sum",
    "products": "partial decryptions",
}


class BfvAggregator:
    """The one aggregator at work on one round.

    Args:
        session: its open directory.
        close_after_s: go on without clients that have not taken part in a step so many seconds after it
            began (or this process did); None waits for all of them.
        progress: told about long work.
    """

    def __init__(
        self, session: Session, *, close_after_s: float | None = None, progress: Progress = silent
    ) -> None:
        self._session, self._progress, self._close_after_s = session, progress, close_after_s
        self._terms = shared.terms_of(session)
        stored = session.journal.state()
        self._state: protocol.State = (
            protocol.Collecting() if stored is None else msgspec.json.decode(stored, type=protocol.State)
        )
        self._keys: str | None = None
        self._reports: dict[str, tuple[str, EncryptedReport]] = {}
        # The present step and attempt, and since when.
        self._began: tuple[tuple[protocol.Step | None, int], float] = ((None, 0), 0.0)
        self._watch = Stopwatch()

    def run(self, patience: Patience) -> AggregatorResult:
        """Serve the round until the sum is released; in the simple form the key holder does that.

        Raises:
            TooFewPartiesError: too few clients took part in a step; nothing is released.
            RemoteMisbehaviourError: key holders contradict themselves, or what they opened is no sum of pruning
                masks; nothing is released.
            NotReadyError: patience ran out; the same command goes on where this one stopped.
        """
        self._repair()
        while not isinstance(self._state, protocol.Released):
            before = self._state
            if isinstance(before, protocol.Failed):
                raise self._too_few(before)
            try:
                self._go_on(before)
            except ChunkMissingError as error:
                shared.note_missing(self._session, error, "a message that was whole before")
            if self._state is before:
                self._session.check_abandoned()
                if not self._close_if_due(patience.waited_s):
                    patience.wait(self.waiting_for())
        return self._result()

    def _go_on(self, state: protocol.State) -> None:
        if type(state) is protocol.Adding:
            self._add(state)
        elif isinstance(state, protocol.Opened) and not self._missing():
            if self._terms.blind:
                self._release(state)
            else:
                self._step(protocol.SumReleased())
        else:
            self._look()

    def waiting_for(self) -> str:
        """What this aggregator waits for, for people."""
        step = protocol.present_step(self._state)
        missing = protocol.waited_for(self._terms, self._state)
        if step in ("reports", "hashes") and not self._clients_can_act():
            what = "key shares" if step == "reports" else "seeds"
            return f"{what} of {', '.join(self._terms.key_holders)}"
        return f"{_WHAT[step]} of {', '.join(missing)}" if step and missing else "nothing"

    def _repair(self) -> None:
        """Send again what this aggregator has committed itself to, chunks that were lost included."""
        session, state = self._session, self._state
        session.send()
        share = session.sent(AggregateShare)
        if share is not None and isinstance(state, protocol.Released):
            shared.put_again(session, share.parcel.chunks, lambda: self._write_sum(state))
        elif isinstance(state, protocol.Hashing | protocol.Opened):
            message = self._sum_message(state)
            shared.put_again(session, message.chunks, lambda: self._write_request(state, message.keys))

    # ---- reading
    def _look(self) -> None:
        """Read what is new in the exchange for the present step."""
        match self._state:
            case protocol.Collecting():
                self._read_reports()
            case protocol.Hashing():
                self._read_hashes(self._state)
            case protocol.Opened() if self._terms.blind:
                for one in self._session.read_one_each(PartialDecryption, again=True):
                    self._step(protocol.ProductArrived(one.sender, one.digest, one.message.opening))
            case protocol.Opened(members=members, opening=opening):
                for share in self._session.read_one_each(AggregateShare, again=True):
                    if share.message.members == protocol.counted(members):
                        self._step(protocol.ProductArrived(share.sender, share.digest, opening))

    def _read_reports(self) -> None:
        if self._joint_keys() is None:
            return
        for one in self._session.read(EncryptedReport):
            if not one.contradicts:
                self._reports[one.sender] = one.digest, one.message
        for client, (digest, report) in list(self._reports.items()):
            if self._is_whole(client, report):
                del self._reports[client]
                self._step(protocol.ReportArrived(client, digest))
                due = len(self._terms.clients)
                self._progress("reports", due - len(self._missing()), due)

    def _joint_keys(self) -> str | None:
        """The joint key's name; None if not all key holders have published their shares yet."""
        if self._keys is None:
            promised = shared.commitments(self._session, self._terms)
            shares = shared.key_shares(self._session, self._terms)
            if promised is not None and shares is not None:
                self._keys = self._terms.joint_keys(promised, shares)
        return self._keys

    def _missing(self) -> tuple[str, ...]:
        return protocol.waited_for(self._terms, self._state)

    def _is_whole(self, client: str, report: EncryptedReport) -> bool:
        """Whether all chunks of a report are there, open and parse; one that cannot be counted is dropped."""
        try:
            for _ in self._ciphertexts(client, report):
                pass
        except ChunkMissingError as error:
            shared.note_missing(self._session, error, f"{client}'s report")
            return False
        except RemoteMisbehaviourError as error:
            self._session.journal.note(error.party, f"{error.message} (in {client}'s report)")
            if error.party != "exchange":  # a repaired chunk may yet come
                del self._reports[client]
            return False
        return True

    def _ciphertexts(self, client: str, report: EncryptedReport) -> Iterator[tuple[Words, ...]]:
        """Planes of a client's ciphertexts, chunk by chunk."""
        keys = self._joint_keys()
        if keys is None:
            raise ChunkMissingError("a key share is not in the exchange any more")
        if report.keys != keys:
            raise RemoteMisbehaviourError("the report is under another key than this round's", party=client)
        context = shared.report_context(self._terms, client, report.keys)
        cipher = shared.open_parcel(self._session, report.key, context, context, report.chunks)
        get = self._session.exchange.get_chunk
        for chunk, digest in zip(self._session.round.layout.chunks, report.chunks, strict=True):
            # Bound to no name: the readers of all clients wait here, each would keep a chunk in memory.
            yield shared.parse_chunk(
                cipher.open(chunk.index, get(digest)), "ciphertexts", self._terms, chunk, sender=client
            )

    def _read_hashes(self, state: protocol.Hashing) -> None:
        seeds = shared.hash_seeds(self._session, self._terms, state.sum)
        if seeds is None:
            return
        seed, digest = self._terms.all_seeds(seeds)
        answers: dict[str, LinearHash] = {}
        for one in self._session.read(LinearHash, lambda message: message.sum, again=True):
            if one.contradicts or one.message.sum != state.sum or one.sender not in state.members:
                continue
            if one.message.seeds == digest and is_well_formed(one.message.values, self._terms.parameters):
                answers[one.sender] = one.message
                self._step(protocol.HashArrived(one.sender, one.digest, state.sum))
            elif one.message.seeds != digest:  # shown to it by a key holder that shows others something else
                what = f"{one.sender} answered under other seeds than are shown here"
                self._session.journal.note("exchange", what)
            else:
                self._session.journal.note(one.sender, "answered with a hash that is not for this sum")
        complete = isinstance(self._state, protocol.Hashing) and set(answers) == set(self._state.members)
        if complete and not self._missing():
            assert isinstance(self._state, protocol.Hashing)  # noqa: S101 - for the type checker
            self._step(protocol.HashesChecked(state.sum, self._wrong(self._state, seed, answers)))

    def _wrong(
        self, state: protocol.Hashing, seed: bytes, answers: Mapping[str, LinearHash]
    ) -> tuple[str, ...]:
        """The clients whose hash is not that of the report which was counted for them; mostly nobody."""
        parameters = self._terms.parameters
        with self._watch.phase("check answers"):
            due = add_hashes([answer.values for answer in answers.values()], parameters)
            found = self._new_hash(state.sum, seed)
            for _, planes in self._stored(state):
                found.update(planes[1:])
            if found.values() == due:
                return ()
            wrong = []
            for client, report in self._session.counted(EncryptedReport, state.members).items():
                found = self._new_hash(state.sum, seed)
                for planes in self._ciphertexts(client, report):
                    found.update(planes[1:])
                if found.values() != answers[client].values:
                    self._session.journal.note(client, "answered with a hash that is not that of its report")
                    wrong.append(client)
            return tuple(wrong)

    def _new_hash(self, sum_: str, seed: bytes) -> Hash:
        return Hash(seed, shared.hash_context(self._terms, sum_), self._terms.parameters)

    # ---- steps
    def _close_if_due(self, waited_s: float) -> bool:
        """Whether the present step was closed, because it has taken long enough."""
        step = protocol.present_step(self._state) if self._clients_can_act() else None
        attempt = getattr(self._state, "attempt", 0)
        if (step, attempt) != self._began[0]:
            self._began = ((step, attempt), waited_s)
        if step is None or self._close_after_s is None or waited_s - self._began[1] < self._close_after_s:
            return False
        before = self._state
        self._step(protocol.Closed(step))
        return self._state is not before

    def _clients_can_act(self) -> bool:
        """Whether what clients need is there; while key holders are late, clients' time does not run."""
        if isinstance(self._state, protocol.Hashing):
            return shared.hash_seeds(self._session, self._terms, self._state.sum) is not None
        return self._joint_keys() is not None

    def _step(self, event: protocol.Event, *others: Outgoing) -> None:
        """Take one event: checkpoint the new state with its messages, then send them."""
        transition = protocol.step(self._terms, self._state, event)
        if transition.state is self._state:
            return
        outgoing = [*others]
        if isinstance(transition.state, protocol.Adding) and type(self._state) is not protocol.Adding:
            check_release_or_abandon(self._session, list(transition.state.members))
        if transition.message is not None:
            outgoing.append(self._session.outgoing(transition.message))
        if isinstance(transition.state, protocol.Failed):
            error = self._too_few(transition.state)
            outgoing.append(self._session.abandonment(error.message, error.missing))
        self._session.journal.checkpoint(state=msgspec.json.encode(transition.state), outgoing=outgoing)
        self._state = transition.state
        if outgoing:
            self._session.send()

    def _too_few(self, state: protocol.Failed) -> TooFewPartiesError:
        return TooFewPartiesError(
            f"{len(state.took_part)} clients took part up to the step of {_WHAT[state.step]}, "
            f"{self._terms.min_clients} of {len(self._terms.clients)} are needed; missing: {', '.join(state.missing)}",
            missing=state.missing,
            hint="nothing was released and nothing will be in this round; the coordinator can start a new task",
        )

    # ---- the sum
    def _sum_path(self, attempt: int, chunk: Chunk) -> Path:
        return private_directory(self._session.work / f"sum-{attempt:02d}") / f"{chunk.index:06d}.sum"

    def _add(self, state: protocol.Adding) -> None:
        """Add the ciphertexts of the present attempt, keep the sum, and send it to the key holders."""
        session = self._session
        reports = self._session.counted(EncryptedReport, state.members)
        keys = next(iter(reports.values())).keys
        with self._watch.phase("aggregate"):
            for chunk, total in self._sums(reports):
                data = wire.serialise(total, "ciphertexts", self._terms.parameters)
                write_atomically(self._sum_path(state.attempt, chunk), data)
                self._progress("adding reports", chunk.index + 1, len(session.round.layout.chunks))
            sealed, digests = self._write_request(state, keys)
        message = CiphertextSum(
            **session.round.names,
            keys=keys,
            attempt=state.attempt,
            members=protocol.counted(state.members),
            content_keys=sealed,
            chunks=digests,
        )
        outgoing = session.outgoing(message, subject=str(state.attempt))
        self._step(protocol.SumWritten(state.attempt, message_digest(message)), outgoing)

    def _sums(self, reports: Mapping[str, EncryptedReport]) -> Iterator[tuple[Chunk, tuple[Words, ...]]]:
        primes = wire.planes_of("ciphertexts", self._terms.parameters)
        readers = [self._ciphertexts(client, report) for client, report in sorted(reports.items())]
        for chunk in self._session.round.layout.chunks:
            total = next(readers[0])
            for planes in readers[1:]:
                for plane, other, q in zip(total, next(planes), primes, strict=True):
                    ring.add(plane, other, q, out=plane)
            yield chunk, total

    def _stored(self, state: protocol.Adding) -> Iterator[tuple[Chunk, tuple[Words, ...]]]:
        """The sum of an attempt, from this aggregator's own directory."""
        for chunk in self._session.round.layout.chunks:
            data = read_bytes(self._sum_path(state.attempt, chunk), what="the sum of ciphertexts")
            yield (
                chunk,
                shared.parse_chunk(data, "ciphertexts", self._terms, chunk, sender=self._session.name),
            )

    def _write_request(
        self, state: protocol.Adding, keys: str
    ) -> tuple[tuple[SealedKey, ...], tuple[str, ...]]:
        """Put what the key holders are to see of the sum into the exchange, sealed; the same bytes every time."""
        session, terms = self._session, self._terms
        contexts = [shared.sum_context(terms, holder, keys, state.attempt) for holder in terms.key_holders]
        key = shared.content_key(session, f"sum {state.attempt}", contexts)
        cipher = shared.chunk_cipher(session, key.key, shared.sum_context(terms, "", keys, state.attempt))
        digests = []
        for chunk, planes in self._stored(state):
            seen = planes[1:] if terms.blind else planes
            data = wire.serialise(seen, "masks" if terms.blind else "ciphertexts", terms.parameters)
            digests.append(session.exchange.put_chunk(cipher.seal(chunk.index, data)))
        return key.sealed, tuple(digests)

    def _sum_message(self, state: protocol.Hashing | protocol.Opened) -> CiphertextSum:
        for one in self._session.read(CiphertextSum, lambda message: str(message.attempt), again=True):
            if message_digest(one.message) == state.sum:
                return one.message
        raise NotReadyError(
            "this aggregator's own sum is no longer in the exchange", hint="run the same command again"
        )

    # ---- release, in the blind form
    def _release(self, state: protocol.Opened) -> None:
        session, round_ = self._session, self._session.round
        try:
            key, digests = self._write_sum(state)
        except RemoteMisbehaviourError as error:
            if error.party != "exchange":
                session.abandon(error.message)
            raise
        members = protocol.counted(state.members)
        messages: list[AnyMessage] = [
            Vote(**round_.names, accepted=members),
            Cohort(**round_.names, members=members),
            AggregateShare(**round_.names, members=members, parcel=Parcel(key=key, chunks=digests)),
        ]
        # Not before: a sum that is refused is no release. Not later: without these messages nobody opens the chunks.
        record_release(session, list(state.members))
        self._step(protocol.SumReleased(), *[session.outgoing(message) for message in messages])

    def _write_sum(self, state: protocol.Opened | protocol.Released) -> tuple[SealedKey, tuple[str, ...]]:
        """Decode the sum, check it, and put it into the exchange, sealed; the same bytes every time."""
        session, round_, terms = self._session, self._session.round, self._terms
        products = {holder: (message, cipher) for holder, message, cipher in self._products()}  # each once
        if missing := sorted(set(terms.key_holders) - set(products)):
            raise ChunkMissingError(
                f"partial decryptions of {', '.join(missing)} are no longer in the exchange"
            )
        content_key = session.journal.secret("aggregate", lambda: random_bytes(KEY_BYTES))
        writer, digests = AggregateWriter(round_, session.name, content_key), []
        with self._watch.phase("decode"):
            for chunk, planes in self._stored(state):
                parts = [
                    self._product(holder, message, cipher, chunk)
                    for holder, (message, cipher) in products.items()
                ]
                total = decode(planes[0], parts, terms.parameters, words=chunk.words).reshape(chunk.shape)
                check_sum(
                    chunk,
                    total,
                    payload=round_.payload,
                    cohort_size=len(state.members),
                    culprits=shared.CULPRITS,
                )
                digests.append(session.exchange.put_chunk(writer.seal(chunk, total)))
                self._progress("decoding the sum", chunk.index + 1, len(round_.layout.chunks))
        return seal_share_key(round_, session.name, content_key), tuple(digests)

    def _products(self) -> Iterator[tuple[str, PartialDecryption, ChunkCipher]]:
        opening = self._session.sent(Opening)
        assert opening is not None  # noqa: S101 - the state says so
        digest = message_digest(opening)
        for one in self._session.read_one_each(PartialDecryption, again=True):
            if one.message.opening == digest:
                context = shared.products_context(self._terms, one.sender, digest)
                parcel = one.message.parcel
                yield (
                    one.sender,
                    one.message,
                    shared.open_parcel(self._session, parcel.key, context, context, parcel.chunks),
                )

    def _product(
        self, key_holder: str, message: PartialDecryption, cipher: ChunkCipher, chunk: Chunk
    ) -> Words:
        data = self._session.exchange.get_chunk(message.parcel.chunks[chunk.index])
        plain = cipher.open(chunk.index, data)
        return shared.parse_chunk(plain, "products", self._terms, chunk, sender=key_holder)[0]

    def _result(self) -> AggregatorResult:
        session, state = self._session, self._state
        cohort = tuple(state.members) if isinstance(state, protocol.Adding) else ()
        return AggregatorResult(
            task_id=session.round.task_id,
            rounds=1,
            cohort=tuple(sorted(cohort)),
            cohort_sizes=(len(cohort),),
            refused={},
            bytes_sent=sum(len(message.envelope) for message in session.journal.outbox()),
            seconds=self._watch.seconds,
        )
