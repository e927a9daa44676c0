"""A key holder's part in a round of `bfv`: it makes a key share, and opens one sum that enough clients answer for.

Its key share is drawn here, kept in this directory's journal (mode 0600), never sent, and gone once the sum is
opened. In the blind form it sees no c0 and so learns nothing of any message, the sum included; in the simple form
it learns the sum.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from secprune.compute.api import Work
from secprune.crypto.bfv import wire
from secprune.crypto.bfv.decoding import decode
from secprune.crypto.bfv.hashing import LinearHash as Hash
from secprune.crypto.entropy import random_bytes
from secprune.crypto.seal import KEY_BYTES
from secprune.errors import ConfigurationError, RemoteMisbehaviourError, SecpruneError, TooFewPartiesError
from secprune.exchange.api import ChunkMissingError
from secprune.ids import sha256
from secprune.messages.bfv import (
    CiphertextSum,
    HashSeed,
    KeyCommitment,
    KeyShare,
    LinearHash,
    Opening,
    PartialDecryption,
)
from secprune.messages.types import AggregateShare, Cohort, Parcel, Vote
from secprune.parties.bfv import shared
from secprune.parties.progress import Progress, Stopwatch, silent
from secprune.parties.release import check_release, record_release
from secprune.protocols.additive.aggregate import AggregateWriter, check_sum, seal_share_key
from secprune.protocols.bfv import key_holder as protocol
from secprune.protocols.bfv.terms import message_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from secprune.crypto.bfv.parameters import Parameters
    from secprune.crypto.seal import ChunkCipher
    from secprune.packing import Chunk, Words
    from secprune.parties.session import AnyMessage, Patience, Session
    from secprune.storage.journal import Outgoing

Masks = tuple["Words", ...]
"""c1 of a chunk of the sum: (count, N) for each prime."""


class KeyHolderResult(Struct, frozen=True, kw_only=True):
    """What a key holder did in all rounds."""

    task_id: str
    rounds: int
    form: str
    cohort: tuple[str, ...]
    seconds: dict[str, float]


class KeyHolder:
    """One key holder at work on one round.

    Args:
        session: its open directory.
        progress: told about long work.
    """

    def __init__(self, session: Session, *, progress: Progress = silent) -> None:
        self._session, self._progress = session, progress
        self._terms = shared.terms_of(session)
        stored = session.journal.state()
        self._state: protocol.State | None = (
            None if stored is None else msgspec.json.decode(stored, type=protocol.State)
        )
        self._watch = Stopwatch()

    def run(self, patience: Patience) -> KeyHolderResult:
        """Serve the round until one sum is opened.

        Raises:
            RemoteMisbehaviourError: the aggregator asked to open what is never opened, or another key holder
                published another share than it had promised; nothing is opened.
            TooFewPartiesError: the aggregator gave the round up.
            NotReadyError: patience ran out; the same command goes on where this one stopped.
        """
        if self._state is None:
            self._promise()
        self._session.send()
        while not isinstance(self._state, protocol.Released):
            if isinstance(self._state, protocol.Refused):
                raise self._refusal(self._state)
            if isinstance(self._state, protocol.GivenUp):
                raise TooFewPartiesError(
                    self._state.reason,
                    missing=self._state.missing,
                    hint="nothing was released; the coordinator can make a new task",
                )
            before = self._state
            self._look()
            if self._state is before:
                try:
                    self._session.check_abandoned()
                except TooFewPartiesError as error:
                    self._end(protocol.GivenUp(reason=error.message, missing=error.missing), [])
                    raise
                patience.wait(self.waiting_for())
        return KeyHolderResult(
            task_id=self._session.round.task_id,
            rounds=1,
            form="blind" if self._terms.blind else "simple",
            cohort=tuple(member.client for member in self._state.members),
            seconds=self._watch.seconds,
        )

    def _refusal(self, state: protocol.Refused) -> SecpruneError:
        if state.party == self._session.name:  # this site's own policy
            return ConfigurationError(
                state.reason, hint="the round is over, and its key is gone; make a new task"
            )
        return self._terms.misbehaviour(state.party, state.reason)

    def waiting_for(self) -> str:
        """What this key holder waits for, for people."""
        match self._state:
            case protocol.Serving(sums=sums) if sums:
                return f"answers of the clients for {self._terms.aggregator}'s sum"
            case protocol.Serving():
                return f"{self._terms.aggregator}'s sum of all reports"
            case protocol.Committed():
                return f"the keys of {', '.join(self._terms.key_holders)}"
            case None:
                return "secprune key-holder run"
            case _:
                return "nothing"

    # ---- keys
    def _promise(self) -> None:
        """Draw the key share, and publish a digest of its public half."""
        seed = random_bytes(protocol.SEED_BYTES)
        message = KeyCommitment(**self._session.round.names, share=message_digest(self._share(seed)[0]))
        state = protocol.Committed(seed=seed)
        outgoing = [self._session.outgoing(message)]
        self._session.journal.checkpoint(state=msgspec.json.encode(state), outgoing=outgoing)
        self._state = state

    def _share(self, seed: bytes) -> tuple[KeyShare, bytes]:
        """The message with this key holder's public half, and the chunk that it names."""
        from secprune.crypto.bfv.keys import KeyShare as Key  # noqa: PLC0415 - tenseal, only where it is used
        from secprune.crypto.bfv.scheme import self_test  # noqa: PLC0415

        parameters = self._terms.parameters
        self_test(parameters)
        half = Key.derive(seed, parameters).public_half(parameters, self._terms.key_context)
        data = wire.serialise(half, "key share", parameters)
        return KeyShare(**self._session.round.names, parameters=parameters.id, half=sha256(data)), data

    # ---- reading
    def _look(self) -> None:
        """Go on as far as the exchange allows; what is never opened, or a key that is none, ends the round."""
        session = self._session
        try:
            if isinstance(self._state, protocol.Serving):
                self._serve()
            else:
                self._read_keys()
        except ChunkMissingError as error:
            shared.note_missing(session, error, "the aggregator's sum")
        except RemoteMisbehaviourError as error:
            if error.party == "exchange":  # a repaired chunk may yet come
                session.journal.note(error.party, f"{error.message} (named by a signed message)")
                return
            self._refuse(error.message, error.party)
            raise
        except ConfigurationError as error:  # an earlier release overlaps, and policy says no
            self._refuse(error.message, session.name)
            raise

    def _read_keys(self) -> None:
        session, terms, state = self._session, self._terms, self._state
        promised = shared.commitments(session, terms)
        if promised is None:
            return
        if isinstance(state, protocol.Shared):
            shares = shared.key_shares(session, terms)
            if shares is not None:
                self._step(protocol.KeysPublished(promised, shares))
        elif isinstance(state, protocol.Committed):
            own = message_digest(self._share(state.seed)[0])
            self._step(protocol.AllCommitted(promised, own))

    def _serve(self) -> None:
        session = self._session
        sums = [one.message for one in session.read(CiphertextSum, lambda m: str(m.attempt), again=True)]
        for message in sorted(sums, key=lambda m: m.attempt):
            self._step(protocol.SumSeen(message))
        for one in list(session.read_one_each(Opening, again=True)):  # two different ones before either
            self._open(one.message, sums)

    def _step(self, event: protocol.Event) -> None:
        """Take one event: checkpoint the new state with its messages, then send them."""
        assert self._state is not None  # noqa: S101 - it has promised a key share
        transition = protocol.step(self._terms, self._state, event, random_bytes)
        if transition.state is self._state:
            return
        outgoing = []
        if isinstance(transition.action, protocol.PublishShare):
            assert isinstance(transition.state, protocol.Shared)  # noqa: S101 - for the type checker
            message, data = self._share(transition.state.seed)
            outgoing.append(self._session.outgoing(message, chunks=[data]))
        elif isinstance(transition.action, HashSeed):
            seed = transition.action
            outgoing.append(self._session.outgoing(seed, subject=seed.sum))
        self._session.journal.checkpoint(state=msgspec.json.encode(transition.state), outgoing=outgoing)
        self._state = transition.state
        if outgoing:
            self._session.send()

    def _refuse(self, reason: str, party: str) -> None:
        """Forget the key, and tell everybody that this round is over."""
        self._end(protocol.Refused(reason=reason, party=party), [self._session.abandonment(reason)])
        self._session.send()

    def _end(self, state: protocol.Refused | protocol.GivenUp, outgoing: list[Outgoing]) -> None:
        """Forget the key."""
        self._session.journal.checkpoint(state=msgspec.json.encode(state), outgoing=outgoing)
        self._state = state

    # ---- opening
    def _open(self, opening: Opening, sums: list[CiphertextSum]) -> None:
        """Open the sum that the aggregator asks for, if its clients have answered for exactly that one."""
        state, terms, session = self._state, self._terms, self._session
        if not isinstance(state, protocol.Serving):
            return
        if opening.sum not in state.sums:
            if len(state.sums) == len(sums):
                raise terms.misbehaviour(
                    terms.aggregator, "the aggregator asks to open a sum it never showed"
                )
            return
        message = next((one for one in sums if message_digest(one) == opening.sum), None)
        hashes, seeds = self._answers(opening), shared.hash_seeds(session, terms, opening.sum)
        if message is None or seeds is None or len(hashes) < len(opening.hashes):
            return  # the exchange is late
        seed, digest = terms.all_seeds(seeds)
        due = protocol.check_opening(terms, opening, message, hashes, seeds=digest)
        context = shared.sum_context(terms, session.name, message.keys, message.attempt)
        key = next((one for one in message.content_keys if one.receiver == session.name), None)
        if key is None:
            raise terms.misbehaviour(terms.aggregator, "the sum is not sealed to this key holder")
        chunks = shared.sum_context(terms, "", message.keys, message.attempt)
        cipher = shared.open_parcel(session, key, context, chunks, message.chunks)
        found = Hash(seed, shared.hash_context(terms, opening.sum), terms.parameters)
        with self._watch.phase("check answers"):
            for _, planes in self._sum(message, cipher):
                found.update(planes if terms.blind else planes[1:])
        protocol.check_hash(terms, due, found.values())
        check_release(session, [member.client for member in message.members])
        self._release(state, opening, message, cipher)

    def _answers(self, opening: Opening) -> dict[str, LinearHash]:
        """The very hashes that an opening names, by client."""
        named = {member.client: member.report for member in opening.hashes}
        found = {}
        for one in self._session.read(LinearHash, lambda message: message.sum, again=True):
            if named.get(one.sender) == one.digest:
                found[one.sender] = one.message
        return found

    def _sum(self, message: CiphertextSum, cipher: ChunkCipher) -> Iterator[tuple[Chunk, tuple[Words, ...]]]:
        """What this key holder sees of the sum, chunk by chunk: c1; in the simple form c0 before it."""
        form: wire.Form = "masks" if self._terms.blind else "ciphertexts"
        for chunk, digest in zip(self._session.round.layout.chunks, message.chunks, strict=True):
            data = cipher.open(chunk.index, self._session.exchange.get_chunk(digest))
            yield chunk, shared.parse_chunk(data, form, self._terms, chunk, sender=self._terms.aggregator)

    def _release(
        self, state: protocol.Serving, opening: Opening, message: CiphertextSum, cipher: ChunkCipher
    ) -> None:
        """Write what opens the sum, then forget the key and send it."""
        session, round_ = self._session, self._session.round
        with self._watch.phase("open"):
            if self._terms.blind:
                messages = self._partial_decryption(state, opening, message, cipher)
            else:
                messages = self._sum_itself(state, message, cipher)
        # A sum that is refused is no release; and without these messages nobody opens the chunks.
        cohort = [member.client for member in message.members]
        record_release(session, cohort)
        released = protocol.Released(members=message.members)
        session.journal.checkpoint(
            state=msgspec.json.encode(released), outgoing=[session.outgoing(m) for m in messages]
        )
        self._state = released
        session.send()
        self._progress("opening the sum", len(round_.layout.chunks), len(round_.layout.chunks))

    def _partial_decryption(
        self, state: protocol.Serving, opening: Opening, message: CiphertextSum, cipher: ChunkCipher
    ) -> list[AnyMessage]:
        session, terms = self._session, self._terms
        digest = message_digest(opening)
        context = shared.products_context(terms, session.name, digest)
        key = shared.content_key(session, f"products for {digest}", [context])
        sealing = shared.chunk_cipher(session, key.key, context)
        arguments = (terms.parameters, state.seed, context.encode())
        items = ((chunk.index, planes) for chunk, planes in self._sum(message, cipher))
        chunks = session.round.layout.chunks
        digests = []
        work = Work(_flooded_products, arguments)
        for index, product in enumerate(session.workers.map(work, items, count=len(chunks))):
            data = wire.serialise([product], "products", terms.parameters)
            digests.append(session.exchange.put_chunk(sealing.seal(index, data)))
            self._progress("opening the sum", index + 1, len(chunks))
        parcel = Parcel(key=key.sealed[0], chunks=tuple(digests))
        return [PartialDecryption(**session.round.names, opening=digest, parcel=parcel)]

    def _sum_itself(
        self, state: protocol.Serving, message: CiphertextSum, cipher: ChunkCipher
    ) -> list[AnyMessage]:
        """Simple form: decrypt the sum, check it, and seal it to the coordinator."""
        session, round_, terms = self._session, self._session.round, self._terms
        content_key = session.journal.secret("aggregate", lambda: random_bytes(KEY_BYTES))
        writer, digests, chunks = AggregateWriter(round_, session.name, content_key), [], round_.layout.chunks
        work = Work(_decrypted_words, (terms.parameters, state.seed))
        decrypted = session.workers.map(work, self._sum_items(message, cipher), count=len(chunks))
        for chunk, words in zip(chunks, decrypted, strict=True):
            total = words.reshape(chunk.shape)
            check_sum(
                chunk,
                total,
                payload=round_.payload,
                cohort_size=len(message.members),
                culprits=shared.CULPRITS,
            )
            digests.append(session.exchange.put_chunk(writer.seal(chunk, total)))
            self._progress("opening the sum", chunk.index + 1, len(chunks))
        members, sealed = message.members, seal_share_key(round_, session.name, content_key)
        return [
            Vote(**round_.names, accepted=members),
            Cohort(**round_.names, members=members),
            AggregateShare(**round_.names, members=members, parcel=Parcel(key=sealed, chunks=tuple(digests))),
        ]

    def _sum_items(self, message: CiphertextSum, cipher: ChunkCipher) -> Iterator[tuple[int, Masks]]:
        for chunk, planes in self._sum(message, cipher):
            yield chunk.words, planes


def _flooded_products(
    parameters: Parameters, seed: bytes, context: bytes
) -> Callable[[tuple[int, Masks]], Words]:
    """Multiplies the c1 of a chunk, (its index, planes), by the key share, with noise of its own.

    Key share and noise are expanded from one seed, under keys of their own, so that they are forgotten together.
    """
    from secprune.crypto.bfv.keys import Flooding, KeyShare  # noqa: PLC0415 - tenseal, only where it is used
    from secprune.crypto.bfv.scheme import Decryptor  # noqa: PLC0415

    decryptor = Decryptor(parameters, KeyShare.derive(seed, parameters))

    def product(item: tuple[int, Masks]) -> Words:
        index, masks = item
        noise = Flooding(seed, b"%d of %b" % (index, context), parameters)
        return decryptor.product(masks, noise)

    return product


def _decrypted_words(parameters: Parameters, seed: bytes) -> Callable[[tuple[int, Masks]], Words]:
    """Decrypts a chunk of the sum, (how many words, planes)."""
    from secprune.crypto.bfv.keys import KeyShare  # noqa: PLC0415 - tenseal, only where it is used
    from secprune.crypto.bfv.scheme import Decryptor  # noqa: PLC0415

    decryptor = Decryptor(parameters, KeyShare.derive(seed, parameters))

    def words(item: tuple[int, Masks]) -> Words:
        count, (c0, *masks) = item
        return decode(c0, [decryptor.product(masks)], parameters, words=count)

    return words
