"""A client's part in a round of `pairwise`: it stays until it has revealed its shares, or is left out.

Every step is checkpointed with the message that belongs to it before the message is sent, so a client that
is stopped goes on where it was and never sends a second, different message. Its secrets of the round are
in its own journal until it has revealed, and then forgotten.

Source: Bonawitz et al. 2017 (doi 10.1145/3133956.3133982), fig. 4, user side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec

from secprune.crypto.entropy import random_bytes
from secprune.crypto.seal import KEY_BYTES, TAG_BYTES, ChunkCipher, seal_secret
from secprune.errors import LocalMisuseError, TooFewPartiesError
from secprune.exchange.api import ChunkMissingError
from secprune.ids import sha256
from secprune.messages.codec import decode, encode
from secprune.messages.pairwise import (
    Consent,
    KeyAdvert,
    KeyList,
    MaskedReport,
    ParcelDigest,
    Reveal,
    RevealedShares,
    ShareBundle,
    ShareList,
    ShareParcel,
    SurvivorList,
)
from secprune.messages.types import SealedKey
from secprune.packing import WORD_BYTES
from secprune.parties.client import SubmitResult
from secprune.parties.progress import Progress, Stopwatch, silent
from secprune.parties.release import check_release, record_counted
from secprune.parties.report_words import contents_of, open_report, require_report
from secprune.protocols.pairwise import client as protocol
from secprune.protocols.pairwise.aggregator import list_digest
from secprune.protocols.pairwise.keys import Binding, report_context
from secprune.protocols.pairwise.masks import Masking
from secprune.protocols.pairwise.terms import Terms
from secprune.protocols.words import words_to_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from secprune.crypto.seal import Context
    from secprune.messages.types import CountedReport
    from secprune.parties.session import AnyMessage, Patience, Session
    from secprune.storage.journal import Outgoing

L = TypeVar("L", KeyList, ShareList, SurvivorList)
N = TypeVar("N", KeyAdvert, ShareBundle)


class LeftOutError(TooFewPartiesError):
    """The round goes on without this client, and is not given up."""


def reveal_context(session: Session, client: str, survivors: str) -> Context:
    """What a client's revealed shares are bound to: the very list of survivors that they are for."""
    aggregator = session.task.names("aggregator")[0]
    return Binding(session.round, survivors).context("reveal", client, aggregator)


class PairwiseClient:
    """One client at work on one round.

    Args:
        session: its open directory.
        progress: told about long work.
    """

    def __init__(self, session: Session, *, progress: Progress = silent) -> None:
        self._session, self._progress = session, progress
        self._terms = Terms(round=session.round, me=session.name, min_clients=session.min_clients)
        stored = session.journal.state()
        self._state: protocol.State = (
            protocol.Idle() if stored is None else msgspec.json.decode(stored, type=protocol.State)
        )
        self._watch = Stopwatch()

    def run(self, patience: Patience) -> SubmitResult:
        """Take part until this client's shares are revealed.

        Raises:
            LocalMisuseError: there is nothing to report, or it has changed since it was submitted.
            LeftOutError: the aggregator's list does not have this client.
            TooFewPartiesError: the aggregator gave the round up.
            RemoteMisbehaviourError: the aggregator or a peer sent something that honest software never
                sends; nothing is revealed.
            NotReadyError: patience ran out; the same command goes on where this one stopped.
        """
        require_report(self._session)
        self._session.send()
        self._step(protocol.Begin())
        if isinstance(self._state, protocol.Masked):
            report = self._session.sent(MaskedReport)
            if report is not None and not self._session.are_there(report.chunks):
                self._write_report(self._state)  # the same bytes again
        while not isinstance(self._state, protocol.Revealed):
            if isinstance(self._state, protocol.LeftOut):
                raise LeftOutError(
                    f"the aggregator went on without this client (its list of {self._state.of})",
                    missing=(self._session.name,),
                    hint="nothing of this client is in the sum; ask the coordinator for a new task",
                )
            self._session.check_abandoned()  # first: in a round that was given up nothing more is revealed
            if not self._look():
                patience.wait(self.waiting_for())
        return self._result()

    def waiting_for(self) -> str:
        """What this client waits for, for people."""
        match self._state:
            case protocol.Shared():
                return f"{self._terms.aggregator}'s list of shares"
            case protocol.Advertised():
                return f"{self._terms.aggregator}'s list of keys"
            case protocol.Consented(consents=consents):
                return f"{self._terms.threshold - len(consents)} more consents to the list of survivors"
            case protocol.Masked():
                return f"{self._terms.aggregator}'s list of survivors"
            case _:
                return "nothing"

    # ---- reading
    def _look(self) -> bool:
        """Take the next event, if its messages are all there."""
        match self._state:
            case protocol.Consented():
                return self._take_consents(self._state)
            case protocol.Shared():
                return self._take_shares()
            case protocol.Advertised():
                return self._take_keys()
            case protocol.Masked():
                return self._take_survivors()
            case _:
                return False

    def _take_keys(self) -> bool:
        found = self._one_list(KeyList)
        members = _members(found.members) if found else {}
        adverts = self._named(KeyAdvert, members)
        if found is None or adverts is None:
            return False
        self._step(protocol.KeysListed(list_digest(found), members, adverts, self._own("keys")))
        return True

    def _take_shares(self) -> bool:
        found = self._one_list(ShareList)
        members = _members(found.members) if found else {}
        bundles = self._named(ShareBundle, members)
        if found is None or bundles is None:
            return False
        parcels = {}
        for client, bundle in bundles.items():
            for parcel in bundle.parcels:
                if parcel.receiver == self._session.name:
                    try:
                        data = self._session.exchange.get_chunk(parcel.parcel)
                    except ChunkMissingError as error:
                        self._session.journal.note(
                            "exchange", f"{error.message} (named by {client}'s bundle)"
                        )
                        return False
                    parcels[client] = decode(data, ShareParcel, party=client)
        own = self._own("bundles")
        event = protocol.SharesListed(list_digest(found), found.keys, members, bundles, parcels, own)
        self._step(event)
        return True

    def _take_survivors(self) -> bool:
        found = self._one_list(SurvivorList)
        if found is None:
            return False
        members, own = _members(found.members), self._own("masked-reports")
        if self._session.name in members:
            check_release(self._session, list(members))  # before it is agreed to
        self._step(protocol.SurvivorsListed(list_digest(found), found.shares, members, own))
        return True

    def _take_consents(self, before: protocol.Consented) -> bool:
        self._one_list(SurvivorList, before.survivors)
        for received in self._session.read(Consent, again=True):
            self._step(protocol.ConsentSeen(received.sender, received.message.survivors))
        return self._state is not before

    def _one_list(self, kind: type[L], accepted: str | None = None) -> L | None:
        """The aggregator's only list of a kind; two different ones are evidence against it."""
        found: L | None = None
        for received in self._session.read(kind, again=True):
            same = found is None or list_digest(received.message) == list_digest(found)
            if received.contradicts or not same or accepted not in (None, list_digest(received.message)):
                raise self._terms.equivocation(f"{received.sender} signed two different lists")
            found = received.message
        return found

    def _named(self, kind: type[N], members: Mapping[str, str]) -> dict[str, N] | None:
        """The very messages that a list names, by client; None if some are not there (yet)."""
        found: dict[str, N] = {}
        for received in self._session.read(kind, again=True):
            if members.get(received.sender) == received.digest:
                found[received.sender] = received.message
        return found if len(found) == len(members) else None

    def _own(self, phase: str) -> str:
        return next((sha256(m.envelope) for m in self._session.journal.outbox() if m.phase == phase), "")

    # ---- acting
    def _step(self, event: protocol.Event) -> None:
        """Take one event: checkpoint the new state with its messages, then send them."""
        transition = protocol.step(self._terms, self._state, event, random_bytes)
        if transition.state is self._state:
            return
        outgoing = [self._message(transition.state, action) for action in transition.actions]
        self._session.journal.checkpoint(state=msgspec.json.encode(transition.state), outgoing=outgoing)
        self._state = transition.state
        if outgoing:
            self._session.send()

    def _message(self, state: protocol.State, action: protocol.Action) -> Outgoing:
        names = self._session.round.names
        message: AnyMessage
        match action:
            case protocol.Advertise(share_key=share_key, mask_key=mask_key):
                message = KeyAdvert(**names, share_key=share_key, mask_key=mask_key)
            case protocol.Distribute(keys=keys, commitment=commitment):
                chunks = {peer: encode(parcel) for peer, parcel in sorted(action.parcels.items())}
                parcels = tuple(ParcelDigest(receiver=p, parcel=sha256(data)) for p, data in chunks.items())
                message = ShareBundle(**names, keys=keys, commitment=commitment, parcels=parcels)
                return self._session.outgoing(message, chunks=chunks.values())
            case protocol.Submit(shares=shares):
                key, digests = self._write_report(state)
                message = MaskedReport(**names, shares=shares, key=key, chunks=digests)
            case protocol.GiveConsent(survivors=survivors):
                message = Consent(**names, survivors=survivors)
            case protocol.RevealShares(survivors=survivors):
                listed = self._one_list(SurvivorList, survivors)
                record_counted(
                    self._session, list(_members(listed.members)) if listed else [self._session.name]
                )
                message = self._reveal(survivors, action)
        return self._session.outgoing(message)

    def _write_report(self, state: protocol.State) -> tuple[SealedKey, tuple[str, ...]]:
        """Mask and seal all words and put them into the exchange; the same bytes whenever it is done."""
        assert isinstance(state, protocol.Masked)  # noqa: S101 - for the type checker
        session, round_ = self._session, self._session.round
        contents = open_report(session)
        # Other contents under the same keystreams would tell the difference of the two.
        digest = contents.digest.encode()
        if session.journal.secret("digest of the pruning masks", lambda: digest) != digest:
            raise LocalMisuseError(
                f"the {contents_of(session).what} have changed since their report was begun; only one counts in a round",
                hint="restore the file, or ask the coordinator for a new task",
            )
        masking = Masking(round_, Binding(round_, state.keys), protocol.masks_of(self._terms, state))
        context = report_context(session.round, session.name, state.shares)

        def draw() -> bytes:
            content_key = random_bytes(KEY_BYTES)
            sealing_key = session.task.party(self._terms.aggregator).sealing_key
            return content_key + seal_secret(content_key, sealing_key, context)

        # For other masks another key: the same one would tell their difference.
        drawn = session.journal.secret(f"masked report of {state.shares}", draw)
        cipher = ChunkCipher(drawn[:KEY_BYTES], context, count=len(round_.layout.chunks))
        digests = []
        with self._watch.phase("protect"):
            for chunk in round_.layout.chunks:
                words = contents.words(chunk)
                masking.put_on(chunk, words)
                data = cipher.seal(chunk.index, words_to_bytes(words))
                digests.append(session.exchange.put_chunk(data))
                self._progress("masking and sending chunks", chunk.index + 1, len(round_.layout.chunks))
        return SealedKey(receiver=self._terms.aggregator, sealed=drawn[KEY_BYTES:]), tuple(digests)

    def _reveal(self, survivors: str, action: protocol.RevealShares) -> Reveal:
        session, round_ = self._session, self._session.round
        context = reveal_context(session, session.name, survivors)
        content_key = random_bytes(KEY_BYTES)
        sealing_key = session.task.party(self._terms.aggregator).sealing_key
        return Reveal(
            **round_.names,
            survivors=survivors,
            key=SealedKey(
                receiver=self._terms.aggregator, sealed=seal_secret(content_key, sealing_key, context)
            ),
            shares=ChunkCipher(content_key, context, count=1).seal(
                0, encode(RevealedShares(shares=action.shares))
            ),
        )

    def _result(self) -> SubmitResult:
        chunks = self._session.round.layout.chunks
        size = sum(chunk.words * WORD_BYTES + TAG_BYTES for chunk in chunks)
        size += sum(len(message.envelope) for message in self._session.journal.outbox())
        size += sum(len(data) for _, data in self._session.journal.chunks())
        return SubmitResult(
            report=self._own("masked-reports"),
            bytes_sent=size,
            bits_per_weight=round(8 * size / self._session.round.weights, 4),
            chunks=len(chunks),
            seconds=self._watch.seconds,
        )


def _members(counted: Sequence[CountedReport]) -> dict[str, str]:
    return {member.client: member.report for member in counted}
