"""A round of `bfv` between real parties: the plain sum, and what is said of it."""

from __future__ import annotations

import functools
import os

import numpy as np
import pytest

pytest.importorskip("tenseal.sealapi", reason="needs tenseal (pip install 'secprune[he]')")
from bfv_world import FORMS, assert_sum_of, attempts, bfv_study, look, messages

from secprune import packing
from secprune.compute import processes as workers
from secprune.compute.api import Work
from secprune.errors import LocalEnvironmentError
from secprune.messages.bfv import EncryptedReport, KeyShare
from secprune.parties import schedule
from secprune.parties.session import open_session
from secprune.pruning.tensorfile import TensorFile
from secprune.task import MatrixSpec, ModelSpec, PruningSpec


# ---- the ordinary case
@pytest.mark.parametrize(
    ("clients", "form", "key_holders"),
    [
        (3, "simple", 1),
        (3, "blind", 1),
        (3, "blind", 3),
        (8, "simple", 1),
        (8, "blind", 2),
        (8, "blind", 3),
        (64, "simple", 1),
        (64, "blind", 2),
    ],
)
def test_the_counts_are_the_plain_sum(new_world, quick, clients, form, key_holders):
    world = new_world(clients, form, key_holders)
    world.run_until_quiet()
    assert_sum_of(world, *world.study.clients)
    assert all(party.last is None for party in world.parties.values())
    assert not world.blamed()
    assert attempts(world) == [sorted(world.study.clients)]


@pytest.mark.parametrize(("form", "key_holders"), [("simple", 1), ("blind", 2)])
def test_threads_and_the_schedule_give_the_plain_sum(root, form, key_holders):
    study = bfv_study(root, key_holder=form, key_holders=key_holders)
    outcomes = study.run_bfv()
    assert outcomes["hq"].cohort == outcomes["holder-0"].cohort == study.clients, outcomes
    for name, plain in study.expected_counts().items():
        np.testing.assert_array_equal(study.counts()[name], plain)


@pytest.mark.parametrize("form", ["simple", "blind"])
def test_each_round_of_the_iterative_schedule_has_a_key_and_a_sum_of_its_own(root, quick, monkeypatch, form):
    blocks = [MatrixSpec(name=f"block.{i}.weight", rows=6, columns=8, block=i) for i in range(3)]
    digest = "sha256:" + "0" * 64
    study = bfv_study(
        root,
        clients=3,
        key_holder=form,
        model=ModelSpec(name="none", weights_digest=digest, tokenizer_digest=digest, matrices=tuple(blocks)),
        pruning=PruningSpec(sparsity="1/2", sequence_length=8, max_windows=1, schedule="iterative"),
    )
    assert study.task.rounds == 3

    def agreed(session):  # the real one reads a model
        for m in session.round.matrices:
            yield m.name, np.arange(m.rows * m.columns).reshape(m.rows, m.columns) % 2 == 0

    monkeypatch.setattr(schedule, "round_masks", agreed)
    outcomes = study.run_bfv()
    for name in ("hq", "adder-0", "holder-0"):
        assert outcomes[name].rounds == 3, outcomes
        assert outcomes[name].cohort == study.clients
    counts = study.counts()
    for name, plain in study.expected_counts().items():
        np.testing.assert_array_equal(counts[name], plain)
    halves = set()
    with open_session(study.root / "hq", "coordinator") as session:
        for index in range(3):
            halves |= {one.message.half for one in session.at_round(index).read(KeyShare)}
    assert len(halves) == 3, "a key was used in two rounds"


class CountedPool(workers.ProcessPoolExecutor):
    made = 0

    def __init__(self, *args):
        CountedPool.made += 1
        super().__init__(*args)


@pytest.mark.parametrize("form", ["simple", "blind"])
def test_chunks_that_go_through_worker_processes_give_the_same_counts_as_inline(new_world, monkeypatch, form):
    matrices = (("a.weight", 96, 12), ("b.weight", 5, 8))
    monkeypatch.setattr(packing, "CHUNK_BYTES", 12 * packing.WORD_BYTES)  # one row group each
    monkeypatch.setattr(workers, "ProcessPoolExecutor", CountedPool)
    monkeypatch.setattr(workers.os, "sched_getaffinity", lambda _process: {0, 1})
    monkeypatch.setattr(CountedPool, "made", 0)
    found = []
    for worth, pools in ((4, 4), (10**9, 4)):
        monkeypatch.setattr(workers, "_WORTH_A_PROCESS", worth)
        world = new_world(3, form, matrices=matrices)
        assert len(world.round.layout.chunks) >= 4
        world.run_until_quiet()
        assert CountedPool.made == pools, "one pool for each client, and one for the key holder"
        assert_sum_of(world, *world.study.clients)
        stored = TensorFile(world.counts_file())
        found.append({name: np.array(stored.raw(name)) for name in stored.names})
    for name, counts in found[0].items():
        np.testing.assert_array_equal(counts, found[1][name])


def test_a_worker_that_is_killed_is_said_to_be(monkeypatch):
    monkeypatch.setattr(workers.os, "sched_getaffinity", lambda _process: {0, 1})
    with pytest.raises(LocalEnvironmentError, match="was killed"):
        list(workers.Processes().map(Work(functools.partial, (os._exit,)), [1] * 4, count=4))


# ---- what is said of it
@pytest.mark.parametrize(("form", "key_holders"), FORMS)
@pytest.mark.parametrize("chunk_bytes", [packing.CHUNK_BYTES, 25 * packing.WORD_BYTES])
def test_bits_per_weight_are_those_that_lie_in_the_exchange(
    new_world, quick, monkeypatch, form, key_holders, chunk_bytes
):
    monkeypatch.setattr(packing, "CHUNK_BYTES", chunk_bytes)
    monkeypatch.setattr(workers, "_WORTH_A_PROCESS", 100)
    world = new_world(3, form, key_holders)
    world.run_until_quiet()
    assert_sum_of(world, *world.study.clients)
    reports = dict(messages(world, EncryptedReport))
    for client in world.clients:
        size = sum(len(world.board.get_chunk(digest)) for digest in reports[client.name].chunks)
        envelopes = [e for phase in list(world.posted) for s, e in world.envelopes(phase) if s == client.name]
        assert len(envelopes) == 2
        size += sum(map(len, envelopes))
        assert client.outcome.bytes_sent == size
        assert client.outcome.bits_per_weight == round(8 * size / world.round.layout.weights, 4)
        assert client.outcome.chunks == len(reports[client.name].chunks)


CLINICS = "clinic-0, clinic-1, clinic-2, clinic-3"
SAID = {
    "clinic-0": {
        ("taking part", "the key shares of holder-0"),
        ("taking part", "adder-0's sum of all reports"),
        ("taking part", "the seeds of holder-0"),
        ("report answered for", "nothing"),
    },
    "adder-0": {
        ("0 of 4 clients reported", "key shares of holder-0"),
        ("0 of 4 clients reported", f"reports of {CLINICS}"),
        ("4 of 4 clients reported", "seeds of holder-0"),
        ("4 of 4 clients reported", f"answers for the sum of {CLINICS}"),
        ("4 of 4 clients reported", "partial decryptions of holder-0"),
        ("sum released", "nothing"),
    },
    "holder-0": {
        ("0 of 4 clients reported", "adder-0's sum of all reports"),
        ("4 of 4 clients reported", "answers of the clients for adder-0's sum"),
        ("sum opened", "nothing"),
    },
    "hq": {
        ("0 of 4 clients reported", f"reports of {CLINICS}"),
        ("counts ready", "secprune coordinator select"),
    },
}
"""What must have been said at some time or other, among other things."""


@pytest.mark.parametrize("form", ["simple", "blind"])
def test_status_says_where_each_party_stands_at_every_stage(new_world, quick, form):
    world, said = new_world(4, form), {name: [] for name in SAID}
    for party in world.parties.values():
        world.directory_of(party).mkdir(exist_ok=True)
    in_turn = [world.coordinator, *world.key_holders, world.aggregator, *world.clients]

    def write_down():
        for name, found in said.items():
            stands, waiting_for = look(world, name)
            if (stands, waiting_for) not in found:
                found.append((stands, waiting_for))

    for _ in range(8):
        for party in in_turn:
            write_down()
            world.turn(party)
    write_down()
    assert_sum_of(world, *world.study.clients)
    releaser = "holder-0" if form == "simple" else "adder-0"
    for name, found in said.items():
        due = SAID[name] - {("4 of 4 clients reported", "partial decryptions of holder-0")}
        assert due <= set(found), (name, due - set(found), set(found) - due)
        assert found[-1] in {("counts ready", "secprune coordinator select")} | {
            (stands, "nothing") for stands in ("report answered for", "sum released", "sum opened")
        }
    assert ("4 of 4 clients reported", f"votes of {releaser}") in said["hq"]
