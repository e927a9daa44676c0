"""An aggregator: checks reports, agrees with the others on the cohort, releases one share of one sum.

It never sees more of a report than its own uniformly random share, keeps no opened key on disk, and needs
no torch. Chunks are read twice, to check a report and to add it, and verified both times, because the
exchange could swap them in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from secprune.crypto.entropy import random_bytes
from secprune.crypto.seal import KEY_BYTES, TAG_BYTES
from secprune.errors import LocalEnvironmentError, RemoteMisbehaviourError, TooFewPartiesError
from secprune.exchange.api import ChunkAlteredError, ChunkMissingError
from secprune.ids import sha256
from secprune.messages.types import (
    AggregateShare,
    CloseRound,
    Cohort,
    Parcel,
    Report,
    ReportCheck,
    Vote,
)
from secprune.packing import WORD_BYTES
from secprune.parties.adding import RowSums, ShareSum
from secprune.parties.progress import Progress, Stopwatch, silent
from secprune.parties.release import check_release, record_release
from secprune.parties.shards import forget_shards, run_shards, shards_of, write_shards
from secprune.protocols import agreement
from secprune.protocols.additive.aggregate import seal_share_key
from secprune.protocols.additive.row_sums import (
    open_row_sums,
    row_group_count,
    row_sum_fault,
    seal_row_sums,
)
from secprune.protocols.api import secure_sum
from secprune.protocols.words import vector_from_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from secprune.packing import Words
    from secprune.parties.session import Patience, Received, Session
    from secprune.storage.journal import Outgoing


class AggregatorResult(Struct, frozen=True, kw_only=True):
    """What this aggregator released.

    Attributes:
        task_id: of the task.
        rounds: how many, all of them or one.
        cohort: clients counted in every one of these rounds that they take part in.
        cohort_sizes: clients counted in each round.
        refused: by client, why its report was not counted.
        bytes_sent: in all rounds.
        seconds: by what was done.
    """

    task_id: str
    rounds: int
    cohort: tuple[str, ...]
    cohort_sizes: tuple[int, ...]
    refused: dict[str, str]
    bytes_sent: int
    seconds: dict[str, float]


class Aggregator:
    """One aggregator at work on one round.

    Args:
        session: its open directory.
        progress: told about long work.
        arrived: clients whose reports somebody has seen already.
    """

    def __init__(self, session: Session, *, progress: Progress = silent, arrived: Iterable[str] = ()) -> None:
        task = session.task
        self._session, self._progress = session, progress
        self._protocol = secure_sum(task)
        self._terms = agreement.Terms(
            me=session.name,
            aggregators=task.names("aggregator"),
            clients=session.round.clients,
            min_clients=task.protocol.min_clients,
        )
        stored = session.journal.state()
        self._state: agreement.State = (
            agreement.Collecting() if stored is None else msgspec.json.decode(stored, type=agreement.State)
        )
        self._arrived = set(arrived)
        self._reports: dict[str, Received[Report]] = {}
        self._blocked_on: dict[str, str] = {}  # by client, the chunk that was not there
        self._checks: dict[str, dict[str, ReportCheck]] = {}
        self._watch = Stopwatch()

    def run(self, patience: Patience) -> AggregatorResult:
        """Serve the task until this aggregator's share is released.

        Raises:
            TooFewPartiesError: the reports that all aggregators accept are too few; nothing is released.
            RemoteMisbehaviourError: another aggregator contradicts itself; nothing is released.
            NotReadyError: patience ran out; the same command goes on where this one stopped.
        """
        self._session.send()
        while True:
            moved = self._read_reports() | self._read_checks() | self._read_agreement()
            if isinstance(self._state, agreement.Failed):
                raise self._too_few(self._state)
            if isinstance(self._state, agreement.Agreed):
                return self._release(self._state)
            if not moved:
                patience.wait(self.waiting_for())

    def waiting_for(self) -> str:
        """What this aggregator waits for, for people."""
        match self._state:
            case agreement.Collecting(accepted=accepted, refused=refused):
                due = [c for c in self._terms.clients if c not in {*accepted, *refused}]
                absent = [c for c in due if c not in self._arrived]
                if absent:
                    return "reports of " + ", ".join(absent)
                return "the other aggregators' checks of " + ", ".join(due)
            case agreement.Voted(votes=votes):
                return "votes of " + ", ".join(a for a in self._terms.aggregators if a not in votes)
            case agreement.Signed(cohorts=cohorts):
                return "signatures of " + ", ".join(a for a in self._terms.aggregators if a not in cohorts)
            case _:
                return "nothing"

    # ---- reports
    def _read_reports(self) -> bool:
        moved = False
        for received in self._session.read(Report):
            moved = True
            self._arrived.add(received.sender)
            if not isinstance(self._state, agreement.Collecting):
                voted = {(m.client, m.report) for m in self._state.votes[self._session.name]}
                refused = getattr(self._state, "refused", {})
                if (received.sender, received.digest) not in voted and received.sender not in refused:
                    self._session.journal.note(received.sender, "sent a report that came after the vote")
            elif received.contradicts:
                self._step(agreement.Judged(received.sender, "", "it sent two different reports"))
            else:
                self._reports[received.sender] = received
        if isinstance(self._state, agreement.Collecting):
            for client, received in list(self._reports.items()):
                if self._check(client, received):
                    moved = True
                    del self._reports[client]
        return moved

    def _check(self, client: str, received: Received[Report]) -> bool:
        """Read one report and post what this aggregator finds; False if chunks are not (intactly) there."""
        if any(m.phase == "checks" and m.subject == client for m in self._session.journal.outbox()):
            return True

        purpose = f"row sums of {received.digest}"
        chunks: list[bytes] = []
        try:
            with self._watch.phase("check"):
                if self._blocked_on.get(client):  # do not read megabytes again before this one chunk is there
                    self._session.exchange.get_chunk(self._blocked_on[client])
                words = self._row_sums(client, received.message, purpose)
        except (ChunkMissingError, ChunkAlteredError) as error:
            self._blocked_on[client] = error.digest
            self._session.journal.note("exchange", f"{error.message} (named by {client}'s report)")
            return False
        except RemoteMisbehaviourError as error:
            check = self._new_check(client, received.digest, refusal=error.message)
        else:
            self._session.journal.keep_row_sums(received.digest, words)
            opened = vector_from_bytes(
                words, row_group_count(self._session.round.layout), sender=self._session.name
            )
            parcels = self._open_row_sums(client, opened, chunks)
            check = self._new_check(client, received.digest, row_sums=parcels)
        self._session.journal.checkpoint(outgoing=[self._session.outgoing(check, client, chunks=chunks)])
        forget_shards(self._session, purpose)
        self._session.send()
        self._progress("checking reports", len(self._checks) + 1, len(self._terms.clients))
        return True

    def _open_key(self, client: str, report: Report) -> bytes:
        return self._protocol.open_key(
            self._session.round,
            client,
            report,
            aggregator=self._session.name,
            identity=self._session.identity,
        )

    def _row_sums(self, client: str, report: Report, purpose: str) -> bytes:
        """Read a whole report once; the words to open, one for each row group that has a budget."""
        arguments = (self._session.name, client, self._open_key(client, report))
        shards = shards_of(self._session.round.layout, [report.chunks])
        return b"".join(run_shards(self._session, purpose, RowSums, arguments, shards))

    def _new_check(
        self, client: str, report: str, *, refusal: str = "", row_sums: tuple[Parcel, ...] = ()
    ) -> ReportCheck:
        round_ = self._session.round
        return ReportCheck(
            **round_.names,
            client=client,
            report=report,
            refusal=refusal,
            row_sums=row_sums,
        )

    def _open_row_sums(self, client: str, words: Words, chunks: list[bytes]) -> tuple[Parcel, ...]:
        """Seal this aggregator's row-sum words of a report to every other aggregator; adds to `chunks`."""
        session = self._session

        def put(data: bytes) -> str:
            chunks.append(data)
            return sha256(data)

        return tuple(
            seal_row_sums(
                session.round,
                words,
                sender=session.name,
                receiver=peer,
                client=client,
                entropy=random_bytes,
                put=put,
            )
            for peer in self._terms.aggregators
            if peer != session.name
        )

    # ---- checks
    def _read_checks(self) -> bool:
        moved = False
        for received in self._session.read(ReportCheck, subject=lambda check: check.client):
            if received.contradicts:
                raise RemoteMisbehaviourError(
                    f"{received.sender} signed two different checks of one report", party=received.sender
                )
            self._checks.setdefault(received.message.client, {})[received.sender] = received.message
            moved = True
        for client in self._terms.clients:
            checks = self._checks.get(client, {})
            complete = set(checks) >= set(self._terms.aggregators)
            if complete and not self._is_settled(client) and self._judge(client, checks):
                moved = True
        return moved

    def _is_settled(self, client: str) -> bool:
        state = self._state
        return not isinstance(state, agreement.Collecting) or client in {*state.accepted, *state.refused}

    def _judge(self, client: str, checks: dict[str, ReportCheck]) -> bool:
        """Decide on a report that all aggregators have checked; False if their words are not readable yet."""
        reports = {check.report for check in checks.values()}
        refusals = [f"{name}: {check.refusal}" for name, check in checks.items() if check.refusal]
        if len(reports) > 1:
            refusals.append("it sent two different reports")
        if not refusals:
            try:
                opened = [self._opened(name, client, check) for name, check in checks.items()]
            except ChunkMissingError:
                return False
            except RemoteMisbehaviourError as error:
                if error.party != "exchange":
                    raise
                self._session.journal.note(error.party, error.message)
                return False
            fault = row_sum_fault(self._session.round.layout, opened)
            refusals.extend([fault] if fault else [])
        self._step(agreement.Judged(client, next(iter(reports)), "; ".join(refusals)[:1000]))
        return True

    def _opened(self, sender: str, client: str, check: ReportCheck) -> Words:
        """One aggregator's row-sum words of a report."""
        session = self._session
        if sender != session.name:
            return open_row_sums(
                session.round,
                check.row_sums,
                sender=sender,
                receiver=session.name,
                client=client,
                identity=session.identity,
                fetch=session.exchange.get_chunk,
            )
        own = session.journal.row_sums(check.report)
        if own is None:
            raise LocalEnvironmentError(
                f"the journal has lost this aggregator's words of {client}'s report",
                hint="it was restored from an old copy; this aggregator cannot finish the round",
            )
        return vector_from_bytes(own, row_group_count(session.round.layout), sender=sender)

    # ---- agreement
    def _read_agreement(self) -> bool:
        moved = False
        for _ in self._session.read_one_each(CloseRound):
            moved = True
            self._step(agreement.Closed())
        for vote in self._session.read_one_each(Vote):
            moved = True
            if vote.sender != self._session.name:
                self._step(agreement.VoteSeen(vote.sender, vote.message.accepted))
        for cohort in self._session.read_one_each(Cohort):
            moved = True
            if cohort.sender != self._session.name:
                self._step(agreement.CohortSeen(cohort.sender, cohort.message.members))
        return moved

    def _step(self, event: agreement.Event) -> None:
        """Take one event: checkpoint the new state with its messages, then send them."""
        transition = agreement.step(self._terms, self._state, event)
        outgoing = [self._message(action) for action in transition.actions]
        if isinstance(transition.state, agreement.Signed | agreement.Agreed):
            # Before this party binds itself to a cohort, so that a refusal leaves nothing behind.
            check_release(self._session, [m.client for m in transition.state.members])
        self._session.journal.checkpoint(state=msgspec.json.encode(transition.state), outgoing=outgoing)
        self._state = transition.state
        if outgoing:
            self._session.send()

    def _message(self, action: agreement.Action) -> Outgoing:
        round_ = self._session.round
        match action:
            case agreement.CastVote():
                message: Vote | Cohort = Vote(
                    **round_.names,
                    accepted=action.accepted,
                    refused=action.refused,
                )
            case agreement.SignCohort():
                message = Cohort(**round_.names, members=action.members)
        return self._session.outgoing(message)

    def _too_few(self, state: agreement.Failed) -> TooFewPartiesError:
        reasons = "".join(f"; {client} was refused: {reason}" for client, reason in state.refused.items())
        return TooFewPartiesError(
            f"{len(state.accepted)} reports are accepted by all aggregators, {self._terms.min_clients} are "
            f"needed; missing: {', '.join(state.missing)}{reasons}",
            missing=state.missing,
            hint="nothing was released and nothing will be in this round; the coordinator can start a new task",
        )

    # ---- release
    def _release(self, state: agreement.Agreed) -> AggregatorResult:
        session, round_ = self._session, self._session.round
        members = {m.client: m.report for m in state.members}
        record_release(session, sorted(members))
        sent, size = session.sent(AggregateShare), 0
        if sent is None or not session.are_there(sent.parcel.chunks):
            with self._watch.phase("aggregate"):
                size = self._write_share(session.counted(Report, members), state)
        session.send()
        return AggregatorResult(
            task_id=round_.task_id,
            rounds=1,
            cohort=tuple(sorted(members)),
            cohort_sizes=(len(members),),
            refused=dict(state.refused),
            bytes_sent=size,
            seconds=self._watch.seconds,
        )

    def _write_share(self, reports: dict[str, Report], state: agreement.Agreed) -> int:
        """Add the shares of the counted reports and commit to the sum; the same bytes every time."""
        session, round_ = self._session, self._session.round
        keys = tuple((client, self._open_key(client, report)) for client, report in sorted(reports.items()))
        content_key = session.journal.secret("aggregate", lambda: random_bytes(KEY_BYTES))
        chunks = round_.layout.chunks
        written = write_shards(
            session,
            "share",
            ShareSum,
            (session.name, keys, content_key),
            [reports[client].chunks for client, _ in keys],
            done=lambda count: self._progress("adding shares", count, len(chunks)),
        )
        if session.sent(AggregateShare) is None:
            message = AggregateShare(
                **round_.names,
                members=state.members,
                parcel=Parcel(key=seal_share_key(round_, session.name, content_key), chunks=written),
            )
            session.journal.checkpoint(outgoing=[session.outgoing(message)])
        return sum(chunk.words * WORD_BYTES + TAG_BYTES for chunk in chunks)
