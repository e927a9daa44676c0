"""A whole study over a store: real parties whose party files name an S3 bucket or an SSH server."""

from __future__ import annotations

import time

import numpy as np
import pytest
from small_study import make_study

from secprune.exchange.store import StoreExchange
from secprune.messages.types import CloseRound
from secprune.parties.config import PARTY_FILE
from secprune.parties.session import open_session


def move_to(study, board):
    for name in study.identities:
        path = study.root / name / PARTY_FILE
        text = path.read_text()
        assert '"../exchange"' in text
        path.write_text(text.replace('"../exchange"', f'"{board.url}"'))


@pytest.mark.parametrize("kind", ["moto", "rclone", "sftp"])
def test_a_study_over_a_store_gives_the_plain_sum(tmp_path, new_board, kind):
    board = new_board(kind)
    study = make_study(tmp_path)
    move_to(study, board)
    study.submit()
    assert any(key.startswith("chunks/") for key in board.listing())
    assert not list(study.exchange.rglob("*/*")), "control: nothing went through a directory"
    outcomes = study.run_servers()
    assert outcomes["hq"].cohort == study.clients
    for name, plain in study.expected_counts().items():
        np.testing.assert_array_equal(study.counts()[name], plain)
    assert not any(study.incidents(name) for name in study.identities)


@pytest.mark.parametrize("kind", ["sftp"])
def test_a_chunk_that_a_store_damaged_is_noticed_and_repaired(tmp_path, new_board, kind):
    board = new_board(kind)
    study = make_study(tmp_path)
    move_to(study, board)
    study.submit("clinic-0")
    victim = next(key for key in board.listing() if key.startswith("chunks/"))
    whole = board.get(victim)
    board.put(victim, bytes(len(whole)))
    study.submit("clinic-1", "clinic-2", "clinic-3")
    assert {type(o).__name__ for o in study.run_servers(timeout_s=3).values()} == {"NotReadyError"}
    assert [party for party, _ in study.incidents("adder-0")] == ["exchange"]
    study.submit("clinic-0")
    assert board.get(victim) == whole
    assert study.run_servers()["hq"].cohort == study.clients
    for name, plain in study.expected_counts().items():
        np.testing.assert_array_equal(study.counts()[name], plain)


@pytest.mark.parametrize("protocol", ["pairwise", "bfv"])
def test_protocols_of_several_steps_work_over_a_store(tmp_path, new_board, protocol):
    if protocol == "bfv":
        pytest.importorskip("tenseal")
    study = make_study(tmp_path, protocol=protocol, aggregators=1, key_holders=protocol == "bfv")
    move_to(study, new_board("moto"))
    outcomes = study.run_bfv() if protocol == "bfv" else study.run_pairwise()
    assert not [error for error in outcomes.values() if isinstance(error, Exception)]
    for name, plain in study.expected_counts().items():
        np.testing.assert_array_equal(study.counts()[name], plain)


def test_nobody_commits_to_a_message_before_its_chunks_are_stored(tmp_path):
    """A process that is killed after its checkpoint would else have promised chunks that were on their way."""
    study, store = make_study(tmp_path, with_masks=False), SlowStore()
    with open_session(study.root / "clinic-0", "client") as session:
        session.exchange = StoreExchange(store)
        for i in range(3):
            session.exchange.put_chunk(bytes([i]) * 10)
        assert len(store.written) < 3, "control: they are still on their way"
        session.outgoing(CloseRound(**session.round.names))
        assert len(store.written) == 3


class SlowStore:
    """A store that takes its time, and remembers what was written."""

    url = "memory://slow"

    def __init__(self):
        self.written = []

    def stat(self, key):
        return None

    def write(self, key, data):
        time.sleep(0.2)
        self.written.append(key)
