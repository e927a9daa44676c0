"""The aggregator's part in a round of `pairwise`: it collects, publishes lists, and takes the masks off the sum.

It never sees a client's words but under masks, one of which (the self mask of a survivor, or the pair masks
of a client that dropped out) stays on whatever it says. Of the sum it learns everything: it is released to the
coordinator, sealed, and by then this aggregator has had it in memory.

Source: Bonawitz et al. 2017 (doi 10.1145/3133956.3133982), fig. 4, server side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from secprune.crypto.entropy import random_bytes
from secprune.crypto.seal import KEY_BYTES, ChunkCipher, open_secret
from secprune.errors import RemoteMisbehaviourError, TooFewPartiesError
from secprune.exchange.api import ChunkMissingError
from secprune.messages.codec import decode
from secprune.messages.pairwise import (
    Consent,
    KeyAdvert,
    MaskedReport,
    Reveal,
    RevealedShares,
    ShareBundle,
    ShareParcel,
    SurvivorList,
)
from secprune.messages.types import AggregateShare, Cohort, CountedReport, Parcel, Vote
from secprune.parties.aggregator import AggregatorResult
from secprune.parties.pairwise.adding import MaskedWords, OpenedReport, UnmaskedSum
from secprune.parties.pairwise.client import reveal_context
from secprune.parties.progress import Progress, Stopwatch, silent
from secprune.parties.release import check_release_or_abandon, record_release
from secprune.parties.shards import forget_shards, run_shards, shards_of, write_shards
from secprune.protocols.additive.aggregate import seal_share_key
from secprune.protocols.pairwise import aggregator as protocol
from secprune.protocols.pairwise.keys import is_usable, report_context
from secprune.protocols.pairwise.terms import Terms
from secprune.protocols.pairwise.unmask import masks_left

if TYPE_CHECKING:
    from secprune.crypto.seal import Context
    from secprune.messages.types import SealedKey
    from secprune.parties.session import AnyMessage, Patience, Received, Session

C = TypeVar("C", KeyAdvert, ShareBundle, MaskedReport)

_WHAT = {
    "keys": "keys",
    "shares": "shares",
    "reports": "masked reports",
    "consents": "consents to the list of survivors",
    "reveals": "revealed shares",
}


class PairwiseAggregator:
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
        self._terms = Terms(round=session.round, me=session.name, min_clients=session.min_clients)
        stored = session.journal.state()
        self._state: protocol.State = (
            protocol.CollectingKeys() if stored is None else msgspec.json.decode(stored, type=protocol.State)
        )
        self._keys: dict[str, tuple[bytes, bytes]] = {}
        self._bundles: dict[str, Received[ShareBundle]] = {}
        self._reports: dict[str, Received[MaskedReport]] = {}
        self._tried: protocol.State | None = None  # with these shares no sum could be made
        self._began: tuple[protocol.Step | None, float] = (None, 0.0)  # the present step, and since when
        self._watch = Stopwatch()

    def run(self, patience: Patience) -> AggregatorResult:
        """Serve the round until the sum is released.

        Raises:
            TooFewPartiesError: too few clients took part in a step; nothing is released.
            RemoteMisbehaviourError: clients revealed shares that do not fit, or reports that do not add up to
                pruning masks; nothing is released.
            NotReadyError: patience ran out; the same command goes on where this one stopped.
        """
        self._session.send()
        share = self._session.sent(AggregateShare)
        if (
            share is not None
            and isinstance(self._state, protocol.Enough)
            and not self._session.are_there(share.parcel.chunks)
        ):
            self._write_sum(self._state)  # the same bytes again
        while not self._is_released():
            moved = self._look()
            if isinstance(self._state, protocol.Failed):
                raise self._too_few(self._state)
            if isinstance(self._state, protocol.Enough) and self._state is not self._tried:
                self._release_or_go_on(self._state)
            elif not moved and not self._close_if_due(patience.waited_s):
                patience.wait(self.waiting_for())
        return self._result()

    def _is_released(self) -> bool:
        return any(m.phase == "shares" for m in self._session.journal.outbox())

    def waiting_for(self) -> str:
        """What this aggregator waits for, for people."""
        step = protocol.present_step(self._state)
        if step is None:
            return "nothing"
        return f"{_WHAT[step]} of {', '.join(protocol.waited_for(self._terms, self._state))}"

    # ---- reading
    def _look(self) -> bool:
        """Read what is new in the exchange; whether it changed anything."""
        before = self._state
        # Those that were accepted before a restart first: keys belong to whoever came first then.
        accepted = protocol.accepted_adverts(before)
        adverts = sorted(
            self._session.read(KeyAdvert), key=lambda one: accepted.get(one.sender) != one.digest
        )
        for advert in adverts:
            if self._is_advert(advert):
                self._arrived("keys", advert, "")
        self._read_bundles()
        self._read_reports()
        for consent in self._session.read(Consent):
            if not consent.contradicts:
                self._step(protocol.ConsentArrived(consent.sender, consent.message.survivors))
        for reveal in self._session.read(Reveal):
            if not reveal.contradicts:
                self._take_reveal(reveal)
        return self._state is not before

    def _read_bundles(self) -> None:
        for bundle in self._session.read(ShareBundle):
            if not bundle.contradicts:
                self._bundles[bundle.sender] = bundle
        for client, bundle in list(self._bundles.items()):
            if self._is_whole(client, bundle.message):
                self._arrived("shares", bundle, bundle.message.keys)
                del self._bundles[client]

    def _read_reports(self) -> None:
        for report in self._session.read(MaskedReport):
            if not report.contradicts:
                self._reports[report.sender] = report
        for client, report in list(self._reports.items()):
            if self._is_complete(client, report):
                self._arrived("reports", report, report.message.shares)
                del self._reports[client]

    def _arrived(self, step: protocol.Step, received: Received[Any], follows: str) -> None:
        """A client's first message of a step counts; a second, different one is an incident already."""
        if not received.contradicts:
            self._step(protocol.Arrived(step, received.sender, received.digest, follows))

    def _is_advert(self, received: Received[KeyAdvert]) -> bool:
        """Whether peers can use a client's keys; those of another client would let it open what is not for it."""
        keys = (received.message.share_key, received.message.mask_key)
        taken = {key for client, theirs in self._keys.items() if client != received.sender for key in theirs}
        if taken & set(keys) or len(set(keys)) < len(keys) or not all(map(is_usable, keys)):
            self._session.journal.note(received.sender, "advertised keys that cannot be used")
            return False
        self._keys.setdefault(received.sender, keys)
        return True

    def _is_whole(self, client: str, bundle: ShareBundle) -> bool:
        """Whether a bundle has a parcel for each neighbour, and all of them are there."""
        state = self._state
        if not isinstance(state, protocol.CollectingShares) or client not in state.advertised:
            return False
        due = sorted(self._terms.neighbours(state.advertised)[client])
        if [parcel.receiver for parcel in bundle.parcels] != due:
            self._session.journal.note(client, "shared with others than its neighbours")
            return False
        try:
            for parcel in bundle.parcels:
                self._session.exchange.get_chunk(parcel.parcel)
        except (ChunkMissingError, RemoteMisbehaviourError) as error:
            self._session.journal.note("exchange", f"{error.message} (named by {client}'s bundle)")
            return False
        return True

    def _is_complete(self, client: str, received: Received[MaskedReport]) -> bool:
        """Whether all chunks of a report are there and open; one that cannot be counted is dropped."""
        if not isinstance(self._state, protocol.CollectingReports):
            return False
        report, purpose = received.message, f"report {received.digest}"
        try:
            shards = shards_of(self._session.round.layout, [report.chunks])
            run_shards(self._session, purpose, MaskedWords, (self._open(client, report),), shards)
            forget_shards(self._session, purpose)
        except ChunkMissingError as error:
            self._session.journal.note("exchange", f"{error.message} (named by {client}'s report)")
            return False
        except RemoteMisbehaviourError as error:
            self._session.journal.note(error.party, f"{error.message} (named by {client}'s report)")
            if error.party != "exchange":  # a chunk that was altered may yet be repaired
                del self._reports[client]
                forget_shards(self._session, purpose)
            return False
        return True

    def _open(self, client: str, report: MaskedReport) -> OpenedReport:
        """A report's content key, and what else it takes to read its chunks, of which there are as many as due."""
        due = len(self._session.round.layout.chunks)
        if len(report.chunks) != due:
            raise RemoteMisbehaviourError(
                f"the report has {len(report.chunks)} chunks, not {due}", party=client
            )
        context = report_context(self._session.round, client, report.shares)
        return client, self._content_key(report.key, context), report.shares

    def _content_key(self, key: SealedKey, context: Context) -> bytes:
        content_key = open_secret(key.sealed, self._session.identity.opening, context)
        if len(content_key) != KEY_BYTES:
            raise RemoteMisbehaviourError("a sealed key has the wrong length", party=context.sender)
        return content_key

    def _take_reveal(self, received: Received[Reveal]) -> None:
        client, message = received.sender, received.message
        context = reveal_context(self._session, client, message.survivors)
        try:
            data = ChunkCipher(self._content_key(message.key, context), context, count=1).open(
                0, message.shares
            )
            revealed = decode(data, RevealedShares, party=client)
        except RemoteMisbehaviourError as error:
            self._session.journal.note(client, f"{error.message} (in revealed shares)")
            return
        self._step(protocol.RevealArrived(client, message.survivors, revealed.shares))

    # ---- steps
    def _close_if_due(self, waited_s: float) -> bool:
        """Whether the present step was closed, because it has taken long enough."""
        step = protocol.present_step(self._state)
        if step != self._began[0]:
            self._began = (step, waited_s)
        if step is None or self._close_after_s is None or waited_s - self._began[1] < self._close_after_s:
            return False
        self._step(protocol.Closed(step))
        return True

    def _step(self, event: protocol.Event) -> None:
        """Take one event: checkpoint the new state with its list, then send it."""
        transition = protocol.step(self._terms, self._state, event)
        if transition.state is self._state:
            return
        outgoing = []
        for action in transition.actions:
            if isinstance(action.message, SurvivorList):
                check_release_or_abandon(self._session, [m.client for m in action.message.members])
            outgoing.append(self._session.outgoing(action.message))
        if isinstance(transition.state, protocol.Failed):
            error = self._too_few(transition.state)
            outgoing.append(self._session.abandonment(error.message, error.missing))
        self._session.journal.checkpoint(state=msgspec.json.encode(transition.state), outgoing=outgoing)
        self._state = transition.state
        if outgoing:
            self._session.send()

    def _too_few(self, state: protocol.Failed) -> TooFewPartiesError:
        least = max(self._terms.threshold, self._terms.min_clients if state.step == "reports" else 0)
        needed = f"{least} of {len(self._terms.clients)} are needed"
        if len(state.took_part) >= least:
            needed = "but some of the shares are wrong, and no more came"
        return TooFewPartiesError(
            f"{len(state.took_part)} clients took part in the step of {_WHAT[state.step]}, {needed}; missing: "
            f"{', '.join(state.missing)}",
            missing=state.missing,
            hint="nothing was released and nothing will be in this round; the coordinator can start a new task",
        )

    # ---- release
    def _release_or_go_on(self, state: protocol.Enough) -> None:
        """Release the sum; if some of the shares are wrong, wait for those that may still come."""
        try:
            self._release(state)
        except RemoteMisbehaviourError as error:
            if error.party == "exchange":
                raise
            if protocol.waited_for(self._terms, state):
                self._session.journal.note(error.party, error.message)
                self._tried = state
                return
            # What clients did stays done, and nobody shall wait for a sum.
            self._session.abandon(error.message)
            raise

    def _release(self, state: protocol.Enough) -> None:
        session, round_ = self._session, self._session.round
        key, digests = self._write_sum(state)
        members = tuple(
            sorted(CountedReport(client=client, report=digest) for client, digest in state.reported.items())
        )
        messages: list[AnyMessage] = [
            Vote(**round_.names, accepted=members),
            Cohort(**round_.names, members=members),
            AggregateShare(**round_.names, members=members, parcel=Parcel(key=key, chunks=digests)),
        ]
        outgoing = [session.outgoing(message) for message in messages]
        # Not before: a sum that is refused is no release. Not later: without these messages nobody opens the chunks.
        record_release(session, [m.client for m in members])
        session.journal.checkpoint(outgoing=outgoing)
        session.send()

    def _write_sum(self, state: protocol.Enough) -> tuple[SealedKey, tuple[str, ...]]:
        """Take the masks off the sum, check it, and put it into the exchange, sealed; the same bytes every time."""
        session, round_ = self._session, self._session.round
        reports = self._session.counted(MaskedReport, state.reported)
        adverts = self._session.counted(KeyAdvert, state.advertised)
        bundles = self._session.counted(ShareBundle, state.shared)

        def parcel(sender: str, receiver: str) -> ShareParcel:
            digest = next((p.parcel for p in bundles[sender].parcels if p.receiver == receiver), "")
            return decode(session.exchange.get_chunk(digest), ShareParcel, party=sender)

        with self._watch.phase("unmask"):
            left = masks_left(self._terms, state, adverts=adverts, bundles=bundles, parcel=parcel)
        content_key = session.journal.secret("aggregate", lambda: random_bytes(KEY_BYTES))
        opened = tuple(self._open(client, report) for client, report in sorted(reports.items()))
        with self._watch.phase("aggregate"):
            digests = write_shards(
                session,
                "sum",
                UnmaskedSum,
                (session.name, opened, state.keys, tuple(left), content_key),
                [reports[client].chunks for client, *_ in opened],
                done=lambda count: self._progress("adding reports", count, len(round_.layout.chunks)),
            )
        return seal_share_key(round_, session.name, content_key), digests

    def _result(self) -> AggregatorResult:
        session = self._session
        state = self._state
        cohort = self._terms.in_order(state.reported) if isinstance(state, protocol.Enough) else ()
        return AggregatorResult(
            task_id=session.round.task_id,
            rounds=1,
            cohort=tuple(sorted(cohort)),
            cohort_sizes=(len(cohort),),
            refused={},
            bytes_sent=sum(len(message.envelope) for message in session.journal.outbox()),
            seconds=self._watch.seconds,
        )
