"""The rounds of a task, for each party: one (one-shot), one for each block (iterative, layer sampling), two (recentring).

In the iterative schedule a client prunes one block, submits, waits for the agreed mask of that block, and
goes on with activations under it. With layer sampling it prunes all of its own blocks at once, and then submits one after
the other. Aggregators and coordinator do one round after the other. Running a command again skips what is done:
rounds whose messages are out are only looked at. After each round every party that takes part posts the head of its
ledger.

Source: FedPrLLM (arXiv 2505.13547), iterative variant; FedSpaLLM (arXiv 2410.14852), layer sampling. Here a round that a
client misses is closed without it.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from msgspec import UNSET, Struct

from secprune.errors import ConfigurationError, SecpruneError, TooFewPartiesError
from secprune.messages.pairwise import Abandoned
from secprune.parties import client
from secprune.parties.aggregator import Aggregator, AggregatorResult
from secprune.parties.bfv.aggregator import BfvAggregator
from secprune.parties.bfv.client import BfvClient
from secprune.parties.bfv.key_holder import KeyHolder, KeyHolderResult
from secprune.parties.coordinator import Coordinator, RoundResult
from secprune.parties.one_task import check_one_task
from secprune.parties.outcome import await_outcome, await_sums, publish_outcome, publish_sums
from secprune.parties.pairwise.aggregator import PairwiseAggregator
from secprune.parties.pairwise.client import LeftOutError, PairwiseClient
from secprune.parties.private_pruning import check_site, open_reference, prune_privately, take_raw_sums
from secprune.parties.progress import Progress, Stopwatch, add_seconds, silent
from secprune.parties.release import check_participation
from secprune.parties.released_statistics import ReleasedStatistics
from secprune.parties.report_words import report_is_ready
from secprune.parties.selection import round_masks
from secprune.parties.session import REPORT_OF
from secprune.parties.voting import write_votes
from secprune.parties.weight_pruning import prune_and_keep
from secprune.parties.witness import witness

if TYPE_CHECKING:
    from collections.abc import Sequence

    from secprune.parties.session import Patience, Session
    from secprune.task import Task


class ClientResult(Struct, frozen=True, kw_only=True):
    """What a client did in the rounds that it takes part in; `prune` is None if its masks had been made before."""

    rounds: int
    prune: client.PruneResult | None
    submit: client.SubmitResult


def take_part(
    session: Session, patience: Patience, *, device: str = "auto", progress: Progress = silent
) -> ClientResult:
    """Check the task, prune and submit, in all rounds. Run by a client; see `client` for what it raises."""
    check(session)
    if session.task.pruning.schedule == "iterative":
        return _take_part_by_blocks(session, patience, device, progress)
    if session.task.privacy.rounds > 1:
        return _take_part_with_recentring(session, patience, device, progress)
    pruned = None if _all_ready(session) else prune(session, device=device, progress=progress)
    return ClientResult(
        rounds=len(_rounds_at_once(session)),
        prune=pruned,
        submit=submit(session, patience, progress=progress),
    )


def check(session: Session) -> client.CheckResult:
    """Whether this site can take part, its notes included where the task says whom it protects.

    Raises:
        ConfigurationError: as `client.check` and `private_pruning.check_site`.
        LocalMisuseError: likewise.
        RemoteMisbehaviourError: as `client.check`.
    """
    checked = client.check(session)
    check_participation(session, _rounds_at_once(session))
    if not _all_ready(session):
        check_site(session)
    return checked


def _rounds_at_once(session: Session) -> tuple[int, ...]:
    """Rounds that a client prunes for before it submits any: those of its blocks with layer sampling, else this one."""
    if session.task.sampled_blocks is None:
        return (session.round.index,)
    return session.task.client_rounds(session.name)


def _all_ready(session: Session) -> bool:
    return all(report_is_ready(session.at_round(index)) for index in _rounds_at_once(session))


def prune(session: Session, *, device: str = "auto", progress: Progress = silent) -> client.PruneResult:
    """Compute what this client reports, as the task has it, in all rounds that do not follow from each other.

    That is masks of its notes, with FedSpaLLM also the weights that it keeps, or noised statistics of its patients.

    Raises:
        ConfigurationError: the task has rounds that follow from each other; or as `client.prune`, `weight_pruning.prune_and_keep`
            and `private_pruning.prune_privately`.
        LocalMisuseError: likewise.
    """
    if session.task.pruning.schedule == "iterative" or session.task.privacy.rounds > 1:
        raise ConfigurationError(
            "this task has several rounds, each on the outcome of the one before",
            hint="run `secprune client run`",
        )
    if session.task.privacy.patients is not UNSET:
        return prune_privately(session, device=device, progress=progress)
    if session.task.privacy.payload == "square-sums":
        return take_raw_sums(session, device=device, progress=progress)
    if session.task.pruning.algorithm == "fedspallm":
        return prune_and_keep(session, device=device, progress=progress)
    return client.prune(session, device=device, progress=progress)


def submit(session: Session, patience: Patience, *, progress: Progress = silent) -> client.SubmitResult:
    """Send what this client has pruned for: one report, or with layer sampling one for each of its decoder blocks.

    A round that has gone on without this client does not keep it from the rounds after it.

    Raises:
        TooFewPartiesError: `pairwise`: rounds went on without this client; or as `submit_round`.
        ConfigurationError, LocalMisuseError, RemoteMisbehaviourError, NotReadyError: as `submit_round`.
    """
    if session.task.sampled_blocks is None:
        return submit_round(session, patience, progress=progress)
    sent, missed = [], []
    for index in _rounds_at_once(session):
        try:
            sent.append(submit_round(session.at_round(index), patience, progress=progress))
        except LeftOutError:
            missed.append(index)
    if missed:
        raise TooFewPartiesError(
            f"the aggregator went on without this client in {len(missed)} of {len(missed) + len(sent)} rounds: "
            f"{', '.join(map(str, missed))}",
            missing=(session.name,),
            hint="nothing of this client is in their sums; what it sent in the others counts",
        )
    return _all_sent(session, sent)


def submit_round(session: Session, patience: Patience, *, progress: Progress = silent) -> client.SubmitResult:
    """Send what this client has to send in one round.

    With `pairwise` that takes until it has revealed its shares, with `bfv` until it has answered for the sum.

    Raises:
        ConfigurationError: this site has given its votes on this model before, and its policy does not allow that.
        LocalMisuseError: there is nothing to report yet, it is damaged, or it has changed since it was submitted.
        TooFewPartiesError: not with `additive`: the aggregator went on without this client.
        RemoteMisbehaviourError: not with `additive`: somebody sent what honest software never sends.
        NotReadyError: not with `additive`: patience ran out.
    """
    if session.sent(REPORT_OF[session.task.protocol.name]) is None:
        check_participation(session)
    parties: dict[str, type[PairwiseClient | BfvClient]] = {"pairwise": PairwiseClient, "bfv": BfvClient}
    if party := parties.get(session.task.protocol.name):
        result = party(session, progress=progress).run(dataclasses.replace(patience, _started=None))
    else:
        result = client.submit(session, progress=progress)
    witness(session)
    return result


def _take_part_by_blocks(
    session: Session, patience: Patience, device: str, progress: Progress
) -> ClientResult:
    rounds, watch, sent = session.task.rounds, Stopwatch(), []
    with watch.phase("load"):
        work = client.start_pruning(session, device)
    for index in range(rounds):
        here = session.at_round(index)
        with watch.phase("prune"):
            if not report_is_ready(here):
                masks = work.pruning.masks(index)
                write_votes(here, masks)
        sent.append(submit_round(here, patience))
        progress("decoder blocks", index + 1, rounds)
        if index + 1 < rounds:
            with watch.phase("wait"):
                agreed = await_outcome(here, patience)
            with watch.phase("prune"):
                work.pruning.go_on(
                    index, {m.name: agreed.rows(m.name).view(np.bool_) for m in here.round.matrices}
                )
    return ClientResult(
        rounds=rounds,
        prune=work.result(session.task, watch.seconds),
        submit=_all_sent(session, sent),
    )


def _take_part_with_recentring(
    session: Session, patience: Patience, device: str, progress: Progress
) -> ClientResult:
    """Two rounds of square-sums: the second one about what the first has found.

    Statistics of patients are not kept from one to the other, so they are computed twice.
    """
    pruned, sent = None, []
    for index in range(session.task.rounds):
        here = session.at_round(index)
        if not report_is_ready(here):
            before = [await_sums(session.at_round(i), patience) for i in range(index)]
            released = ReleasedStatistics(session.task, open_reference(session), before)
            pruned = prune_privately(here, device=device, progress=progress, centre=released.square_means)
        sent.append(submit_round(here, patience, progress=progress))
    return ClientResult(rounds=session.task.rounds, prune=pruned, submit=_all_sent(session, sent))


def _all_sent(session: Session, sent: Sequence[client.SubmitResult]) -> client.SubmitResult:
    """What this client sent in all rounds together."""
    task, size = session.task, sum(result.bytes_sent for result in sent)
    rounds = task.client_rounds(session.name)
    weights = sum(m.rows * m.columns for m in {m for index in rounds for m in task.round_matrices(index)})
    sampled = task.sampled_blocks is not None
    return client.SubmitResult(
        report=sent[-1].report,
        bytes_sent=size,
        bits_per_weight=round(8 * size / weights, 4),
        chunks=sum(result.chunks for result in sent),
        seconds=add_seconds(result.seconds for result in sent),
        blocks=len(rounds) if sampled else None,
        of_blocks=len(task.blocks) if sampled else None,
    )


def serve(
    session: Session, patience: Patience, *, close_after_s: float | None = None, progress: Progress = silent
) -> AggregatorResult:
    """Serve all rounds of the task, one after the other; see `Aggregator.run` for what it raises.

    Args:
        session: the aggregator's.
        patience: how long to wait.
        close_after_s: not with `additive`: go on without clients that have not taken part in a step by then.
        progress: told about long work.

    Returns:
        What was released in all rounds together.
    """
    check_one_task(session)
    _ = session.workers  # what is wrong with them is said before reports are waited for
    results = []
    for index in range(session.task.rounds):
        here = session.at_round(index)
        party: Aggregator | PairwiseAggregator | BfvAggregator
        match session.task.protocol.name:
            case "pairwise":
                party = PairwiseAggregator(here, close_after_s=close_after_s, progress=progress)
            case "bfv":
                party = BfvAggregator(here, close_after_s=close_after_s, progress=progress)
            case _:
                party = Aggregator(here, progress=progress)
        try:
            results.append(party.run(dataclasses.replace(patience, _started=None)))
        except SecpruneError:
            _abandon_later_rounds(here)
            raise
        witness(here)
    return AggregatorResult(
        task_id=session.round.task_id,
        rounds=len(results),
        cohort=_counted_in_all(session.task, results),
        cohort_sizes=tuple(len(r.cohort) for r in results),
        refused=_refused_in_any(results),
        bytes_sent=sum(r.bytes_sent for r in results),
        seconds=add_seconds(r.seconds for r in results),
    )


def hold_key(session: Session, patience: Patience, *, progress: Progress = silent) -> KeyHolderResult:
    """Serve all rounds of the task, one after the other, each with a key of its own; see `KeyHolder.run`."""
    check_one_task(session)
    results = []
    for index in range(session.task.rounds):
        here = session.at_round(index)
        party = KeyHolder(here, progress=progress)
        results.append(party.run(dataclasses.replace(patience, _started=None)))
        witness(here)
    return KeyHolderResult(
        task_id=session.round.task_id,
        rounds=len(results),
        form=results[0].form,
        cohort=_counted_in_all(session.task, results),
        seconds=add_seconds(r.seconds for r in results),
    )


def drive(
    session: Session, patience: Patience, *, close_after_s: float | None = None, progress: Progress = silent
) -> RoundResult:
    """Drive all rounds of the task, one after the other; see `Coordinator.run` for what it raises.

    Returns:
        All rounds together.
    """
    check_one_task(session)
    results = []
    for index in range(session.task.rounds):
        here = session.at_round(index)
        waiting = dataclasses.replace(patience, _started=None)  # each round has its own time to close
        results.append(Coordinator(here, close_after_s=close_after_s, progress=progress).run(waiting))
        if session.task.pruning.schedule == "iterative":
            publish_outcome(here, round_masks(here))
        elif index + 1 < session.task.privacy.rounds:
            publish_sums(here)
        witness(here)
    return RoundResult(
        task_id=session.round.task_id,
        rounds=len(results),
        cohort=_counted_in_all(session.task, results),
        cohort_sizes=tuple(len(r.cohort) for r in results),
        refused=_refused_in_any(results),
        seconds=add_seconds(r.seconds for r in results),
    )


def _abandon_later_rounds(session: Session) -> None:
    """If this round was given up, tell clients of later ones, who may have no part in this one and see nothing of it."""
    given_up = session.sent(Abandoned)
    if given_up is not None and session.task.sampled_blocks is not None:
        for index in range(session.round.index + 1, session.task.rounds):
            session.at_round(index).abandon(given_up.reason, given_up.missing)


def _counted_in_all(
    task: Task, results: Sequence[AggregatorResult | KeyHolderResult | RoundResult]
) -> tuple[str, ...]:
    """Clients that are counted in every round that they take part in."""
    clients = sorted(task.names("client"))
    return tuple(c for c in clients if all(c in results[index].cohort for index in task.client_rounds(c)))


def _refused_in_any(results: Sequence[AggregatorResult | RoundResult]) -> dict[str, str]:
    return {client_name: why for r in results for client_name, why in r.refused.items()}
