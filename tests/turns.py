"""A study of any protocol in one thread: its parties take turns, over an exchange that may lie to some of them.

Everybody runs as the command line runs it (`parties.schedule`), gives up at once where it would wait, and goes on
at its next turn from its journal. Nothing depends on real seconds.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field

import msgspec
import numpy as np
import tomli_w
from small_study import make_study

from secprune.crypto.entropy import random_bytes
from secprune.crypto.envelope import open_envelope, sign
from secprune.errors import (
    ConfigurationError,
    LocalMisuseError,
    RemoteMisbehaviourError,
    SecpruneError,
    TooFewPartiesError,
)
from secprune.exchange.api import Topic, altered_chunk, missing_chunk
from secprune.exchange.directory import DirectoryExchange
from secprune.ids import sha256, short
from secprune.messages.types import TaskSignature
from secprune.parties import schedule, session
from secprune.parties.bfv.aggregator import BfvAggregator
from secprune.parties.config import JOURNAL_FILE, PARTY_FILE
from secprune.parties.coordinator import COUNTS_FILE
from secprune.parties.outcome import await_outcome
from secprune.parties.pairwise.aggregator import PairwiseAggregator
from secprune.parties.session import PHASE_OF, Patience, open_session
from secprune.parties.status import _current_round
from secprune.protocols.bfv import aggregator as bfv_states
from secprune.protocols.pairwise import aggregator as pairwise_states
from secprune.pruning.tensorfile import TensorFile

HQ, ADDER, HOLDER = "hq", "adder-0", "holder-0"
MATRICES = (("a.weight", 3, 8), ("b.weight", 2, 6))
KINDS = {
    "additive": {"protocol": "additive"},
    "pairwise": {"protocol": "pairwise", "aggregators": 1},
    "blind": {"protocol": "bfv", "aggregators": 1, "key_holders": 1},
    "simple": {"protocol": "bfv", "aggregators": 1, "key_holders": 1, "key_holder": "simple"},
}
"""All protocols; of `bfv` both forms."""
NOBODYS = "sha256:" + "1" * 64
_FINAL = (ConfigurationError, LocalMisuseError, TooFewPartiesError)


def new_study(root, kind, **options):
    return make_study(root, **{"matrices": MATRICES, **KINDS[kind], **options})


# ---- an exchange that lies
@dataclass
class Board:
    """What the exchange shows to whom; what is posted is kept as it is.

    listing: (reader, topic, messages) -> messages; a message is (digest, bytes).
    chunk: (reader, who put it, digest, bytes) -> bytes, or None if it does not show it.
    """

    listing: object = None
    chunk: object = None
    owners: dict = field(default_factory=dict)  # by digest of a chunk: who put it first


class View(DirectoryExchange):
    """One party's view of the exchange."""

    def __init__(self, root, name, board):
        super().__init__(root)
        self._name, self._board = name, board

    def put_chunk(self, data):
        self._board.owners.setdefault(sha256(data), self._name)
        return super().put_chunk(data)

    def get_chunk(self, digest):
        data = super().get_chunk(digest)
        if self._board.chunk:
            data = self._board.chunk(self._name, self._board.owners[digest], digest, data)
        if data is None:
            raise missing_chunk(digest)
        if sha256(data) != digest:
            raise altered_chunk(digest)
        return data

    def messages(self, topic, *, known=()):
        found = list(super().messages(topic))
        if self._board.listing:
            found = self._board.listing(self._name, topic, found)
        yield from (item for item in found if item[0] not in known)


def new_board(monkeypatch):
    """A board between all parties that are opened from now on and their exchange."""
    board = Board()

    def open_view(url, *, base):
        return View((base / url).resolve(), base.name, board)

    monkeypatch.setattr(session, "open_exchange", open_view)
    return board


# ---- turns
def turn(study, name, *, close=""):
    """Let a party work until it would wait; what it returned or raised. `close`: a step that is closed before."""
    role, patience = study.task.party(name).role, Patience(0, poll_s=0)
    try:
        with open_session(study.root / name, role) as here:
            match role:
                case "client":
                    return _rounds(here, patience)
                case "key-holder":
                    return schedule.hold_key(here, patience)
                case "coordinator":
                    return schedule.drive(here, patience, close_after_s=0 if close else None)
            if close and here.task.protocol.name == "pairwise":
                PairwiseAggregator(here.at_round(_current_round(here)))._step(pairwise_states.Closed(close))
            elif close and here.task.protocol.name == "bfv":
                BfvAggregator(here)._step(bfv_states.Closed(close))
            return schedule.serve(here, patience)
    except SecpruneError as error:
        return error


def _rounds(here, patience):
    if here.task.sampled_blocks is not None:
        return schedule.submit(here, patience)
    for index in range(here.task.rounds):
        result = schedule.submit_round(here.at_round(index), patience)
        if index + 1 < here.task.rounds and here.task.pruning.schedule == "iterative":
            await_outcome(here.at_round(index), patience)
    return result


def everybody(study):
    return (*study.task.names("key-holder"), *study.clients, *study.aggregators, HQ)


def sent(study):
    """How many messages there are in the exchange."""
    return sum(path.is_file() for path in (study.exchange / "messages").rglob("*"))


def settle(study, *names, close=()):
    """Turns for these parties (or all) until nothing happens any more; what each returned or raised at last.

    close: steps that the aggregator of several steps closes, or ("reports",) for the coordinator of `additive`,
    one after the other, whenever nothing else is left to do.
    """
    names, outcomes, before, left = names or everybody(study), {}, None, list(close)
    while True:
        for name in names:
            if not _has_ended(outcomes.get(name)):
                outcomes[name] = turn(study, name)
        now = sent(study), {name: str(outcome) for name, outcome in outcomes.items()}
        if now == before:
            closer = HQ if study.task.protocol.name == "additive" else ADDER
            if not left or _has_ended(outcomes.get(closer)):
                return outcomes
            outcomes[closer] = turn(study, closer, close=left.pop(0))
            before = None
            continue
        before = now


def _has_ended(outcome):
    if isinstance(outcome, RemoteMisbehaviourError):
        return outcome.party != "exchange"
    return outcome is not None and (not isinstance(outcome, SecpruneError) or isinstance(outcome, _FINAL))


# ---- tasks
def changed_task(task, *clients, **changes):
    """Another task of the same parties, of these clients only if they are named."""
    parties = tuple(p for p in task.parties if p.role != "client" or not clients or p.name in clients)
    new = {"nonce": random_bytes(16).hex(), "parties": parties, **changes}
    return msgspec.structs.replace(task, **new)


def next_task(study, *clients, study_name=None, masks=True, **changes):
    """The coordinator makes another task and gives it to everybody; under another study's name unless it is given."""
    name = study_name or f"another {random_bytes(4).hex()}"
    study.write_task(changed_task(study.task, *clients, study=name, **changes))
    for client in study.clients:
        study.put_masks(client, study.masks[client]) if masks else None
    return study.task


def give(study, task, *names, masks=True):
    """The coordinator signs a task and gives it to these parties alone."""
    path = study.root / f"task-{short(task.task_id)}.toml"
    path.write_text(task.to_toml())
    signature = sign(
        TaskSignature(task_id=task.task_id, study=task.study), signer=HQ, identity=study.identities[HQ]
    )
    path.with_name(path.name + ".sig").write_bytes(signature)
    for name in names:
        set_party_file(study, name, task=f"../{path.name}")
        if masks and name in study.masks:
            study.put_masks(name, study.masks[name])


def set_party_file(study, name, **changes):
    path = study.root / name / PARTY_FILE
    path.write_text(tomli_w.dumps(tomllib.loads(path.read_text()) | changes))


def allow(study, *names):
    """These parties' policies allow second sums."""
    for name in names or everybody(study):
        study.write_party_file(name, repeat_releases=True)


def forget(study, *names):
    """These parties lose their journals."""
    for name in names:
        for path in (study.root / name).glob(f"{JOURNAL_FILE}*"):
            path.unlink()


# ---- what came of it
def posted(study, kind, *, index=0):
    """[(sender, digest, message)] of a kind, under the study's present task."""
    keys = {party.name: party.signing_key for party in study.task.parties}
    topic = Topic(study.task.task_id, index, PHASE_OF[kind])
    return [
        (*open_envelope(data, kind, signing_keys=keys), digest)
        for digest, data in DirectoryExchange(study.exchange).messages(topic)
    ]


def post(study, sender, message, *, identity=None):
    """Sign something as this party and post it; returns its digest."""
    envelope = sign(message, signer=sender, identity=identity or study.identities[sender])
    topic = Topic(study.task.task_id, message.round, PHASE_OF[type(message)])
    return DirectoryExchange(study.exchange).post(topic, envelope)


def counts(study, *, index=0):
    """The counts of the study's present task, or None."""
    place = study.root / HQ / "tasks" / short(study.task.task_id) / f"round-{index:03d}" / COUNTS_FILE
    if not place.exists():
        return None
    stored = TensorFile(place)
    return {name: np.array(stored.raw(name)).astype(int) for name in stored.names}


def assert_sum_of(study, *clients, index=0):
    found = counts(study, index=index)
    assert found is not None, "there is no sum"
    expected = study.expected_counts(*clients)
    for name, values in found.items():
        np.testing.assert_array_equal(values, expected[name])


def assert_nothing_released(study):
    """No counts, and nothing from which whoever works with the coordinator could make any."""
    assert counts(study) is None
    for phase in ("shares", "partial-decryptions", "reveals"):
        assert not study.messages(phase).exists() or not list(study.messages(phase).iterdir()), phase


def blamed(study):
    """Members of the roster that anybody blames: {(who, whom)}."""
    found = {
        (p.name, party)
        for p in study.task.parties
        for party, _ in study.incidents(p.name)
        if party != "exchange"
    }
    return {(who, whom) for who, whom in found if who != whom}
