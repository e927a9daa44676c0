"""Work in shards: what is done is not done again, wherever it was done and whatever was killed meanwhile."""

from __future__ import annotations

import dataclasses
import threading
import tomllib

import msgspec
import numpy as np
import pytest
import tomli_w
from compute_items import Gate
from own_cluster import own_cluster
from small_study import _at_once, make_study

from secprune.errors import LocalEnvironmentError, NotReadyError, RemoteMisbehaviourError
from secprune.exchange.layout import chunk_key
from secprune.messages.types import AggregateShare
from secprune.parties import adding, aggregator, shards
from secprune.parties.config import PARTY_FILE, WorkerSpec
from secprune.parties.pairwise import adding as pairwise_adding
from secprune.parties.pairwise import aggregator as pairwise_aggregator
from secprune.parties.session import Session, open_session
from secprune.parties.shards import forget_shards, run_shards, shards_of

MATRICES = tuple((f"block.{index}.weight", 23, 16 + index) for index in range(8))
"""Of eight widths, so of eight slabs and chunks."""


@pytest.fixture(autouse=True)
def shards_of_one_chunk(monkeypatch):
    monkeypatch.setattr(shards, "CHUNKS_IN_SHARD", 1)


class CrashError(Exception):
    """Like the power cut."""


class Here:
    """Workers in this process that remember which shards they worked on, and may crash before one of them."""

    def __init__(self, crash_at=None):
        self.seen, self._crash_at = [], crash_at

    def map(self, work, items, *, count):
        function = work.in_this_process()
        for item in items:
            if item.index == self._crash_at:
                raise CrashError
            self.seen.append(item.index)
            yield function(item)


class Digests:
    """What is applied to a shard here: its place, and a word."""

    def __init__(self, round_, exchange, word):
        self._word = word

    def __call__(self, shard):
        return f"{shard.index} {self._word} {' '.join(shard.digests[0])}".encode()


def small(root):
    """A study whose aggregators do all work themselves, as long as they are told nothing else."""
    study = make_study(root, clients=3, matrices=MATRICES)
    for name in study.aggregators:
        use(study, name, processes=1)
    return study


@pytest.fixture
def study(tmp_path):
    return small(tmp_path / "study")


def use(study, name, **workers):
    """Write [workers] into a party file."""
    path = study.root / name / PARTY_FILE
    content = tomllib.loads(path.read_text())
    path.write_text(
        tomli_w.dumps(
            {**content, "workers": {k: str(v) if k != "processes" else v for k, v in workers.items()}}
        )
    )


def use_here(monkeypatch, workers):
    monkeypatch.setattr(Session, "workers", property(lambda _session: workers))
    return workers


def some_shards(session):
    return shards_of(session.round.layout, [[f"sha256:{index}" for index in range(8)]])


def run_digests(study, **options):
    with open_session(study.root / "adder-0", "aggregator") as session:
        return run_shards(session, "digests", Digests, ("hunter2",), some_shards(session), **options)


# ---- results are kept
def test_shards_cover_all_chunks_once(study, monkeypatch):
    for size in (1, 3, 8, 100):
        monkeypatch.setattr(shards, "CHUNKS_IN_SHARD", size)
        with open_session(study.root / "adder-0", "aggregator") as session:
            found = some_shards(session)
        assert [index for shard in found for index in range(shard.first, shard.end)] == list(range(8))
        assert [digest for shard in found for digest in shard.digests[0]] == [f"sha256:{i}" for i in range(8)]
        assert [shard.index for shard in found] == list(range(len(found)))


def test_what_is_done_is_not_done_again_after_a_crash(study, monkeypatch):
    told = []
    first = use_here(monkeypatch, Here(crash_at=3))
    with pytest.raises(CrashError):
        run_digests(study, done=told.append)
    second = use_here(monkeypatch, Here())
    results = run_digests(study, done=told.append)
    assert (first.seen, second.seen) == ([0, 1, 2], [3, 4, 5, 6, 7])
    assert told == [1, 2, 3, 4, 5, 6, 7, 8]
    assert results == [f"{index} hunter2 sha256:{index}".encode() for index in range(8)]
    third = use_here(monkeypatch, Here())
    assert run_digests(study) == results
    assert third.seen == []


def test_a_result_that_is_not_good_any_more_is_made_again_alone(study, monkeypatch):
    use_here(monkeypatch, Here())
    results = run_digests(study)
    again = use_here(monkeypatch, Here())
    assert run_digests(study, is_intact=lambda result: not result.startswith((b"2 ", b"5 "))) == results
    assert again.seen == [2, 5]


def test_results_of_other_work_are_others_and_can_be_forgotten(study, monkeypatch):
    use_here(monkeypatch, Here())
    run_digests(study)
    with open_session(study.root / "adder-0", "aggregator") as session:
        run_shards(session, "other", Digests, ("word",), some_shards(session)[:2])
        assert kept_by(session) == {"digests": 8, "other": 2}
        forget_shards(session, "digests")
        assert kept_by(session) == {"other": 2}


def test_the_secret_of_work_is_not_in_the_journal(study, monkeypatch):
    """Results are; what the function was made with is not."""
    use_here(monkeypatch, Here())
    monkeypatch.setattr(Digests, "__call__", lambda _self, shard: b"done")
    run_digests(study)
    held = [path.read_bytes() for path in (study.root / "adder-0").glob("journal.sqlite*")]
    assert any(b"digests" in data for data in held)
    assert not any(b"hunter2" in data for data in held)


# ---- checking reports
def check_reports(study, name="adder-0"):
    """Run one aggregator until it waits for the other."""
    with pytest.raises(NotReadyError):
        study.run_aggregator(name, timeout_s=0)


def kept(study, name="adder-0"):
    """How many results of shards are in a journal, by purpose."""
    with open_session(study.root / name, "aggregator") as session:
        return kept_by(session)


def kept_by(session):
    rows = session.journal._db.execute("SELECT purpose, count(*) FROM shard GROUP BY purpose").fetchall()
    return {purpose.removesuffix(" by 1"): count for purpose, count in rows}


def chunk_file(study, digest):
    return study.exchange / chunk_key(digest)


def test_a_report_whose_chunk_comes_late_is_read_on_from_there(study, monkeypatch):
    study.submit("clinic-0")
    seen = []
    plain = adding.RowSums.__call__

    def call(self, shard):
        seen.append(shard)
        return plain(self, shard)

    monkeypatch.setattr(adding.RowSums, "__call__", call)
    check_reports(study)
    assert [shard.index for shard in seen] == list(range(8))
    assert kept(study) == {}  # the check says it all

    # The same in a study of which a chunk is missing.
    late = small(study.root / "late")
    late.submit("clinic-0")
    seen.clear()
    with monkeypatch.context() as patch:
        gone = {}

        def lose(self, shard):
            if shard.index == 5 and not gone:
                path = chunk_file(late, shard.digests[0][0])
                gone[path] = path.read_bytes()
                path.unlink()
            return call(self, shard)

        patch.setattr(adding.RowSums, "__call__", lose)
        check_reports(late)
    assert [shard.index for shard in seen] == [0, 1, 2, 3, 4, 5]
    assert list(kept(late).values()) == [5]
    assert any("is not in the exchange" in what for _, what in late.incidents("adder-0"))
    ((path, data),) = gone.items()
    path.write_bytes(data)
    seen.clear()
    check_reports(late)
    assert [shard.index for shard in seen] == [5, 6, 7]
    assert kept(late) == {}


def test_shards_of_a_report_that_is_refused_are_forgotten(study, monkeypatch):
    study.submit("clinic-0")
    plain = adding.RowSums.__call__

    def call(self, shard):
        if shard.index == 5:
            raise RemoteMisbehaviourError("chunk 5 does not decrypt", party="clinic-0")
        return plain(self, shard)

    monkeypatch.setattr(adding.RowSums, "__call__", call)
    check_reports(study)
    assert len(list(study.messages("checks").iterdir())) == 1
    assert kept(study) == {}


# ---- a share that was released
@pytest.mark.parametrize("how", ["lost", "damaged"])
def test_a_chunk_of_a_released_share_is_made_again_with_the_same_bytes_and_nothing_else_is(
    study, monkeypatch, how
):
    study.submit()
    outcomes = study.run_servers()
    assert not any(isinstance(outcome, Exception) for outcome in outcomes.values())
    with open_session(study.root / "adder-0", "aggregator") as session:
        chunks = session.sent(AggregateShare).parcel.chunks
    assert len(chunks) == 8
    files = {path: path.read_bytes() for path in study.exchange.rglob("*") if path.is_file()}
    path = chunk_file(study, chunks[6])
    if how == "lost":
        path.unlink()
    else:
        path.write_bytes(bytes(len(files[path])))
    workers = use_here(monkeypatch, Here())
    study.run_aggregator("adder-0")
    assert workers.seen == [6]
    assert {path: path.read_bytes() for path in study.exchange.rglob("*") if path.is_file()} == files


# ---- elsewhere
@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    pytest.importorskip("distributed", reason="needs the extra dask")
    with own_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


def elsewhere(request, kind):
    if kind == "processes":
        return WorkerSpec(processes=2)
    cluster = request.getfixturevalue("cluster")
    return WorkerSpec(scheduler=cluster.address, **{name: str(path) for name, path in cluster.client.items()})


def test_a_worker_that_does_not_see_the_exchange_makes_nothing(study, monkeypatch, tmp_path):
    study.submit()
    monkeypatch.setattr(Session, "exchange_location", property(lambda _session: str(tmp_path / "elsewhere")))
    use(study, "adder-1", processes=2)  # it needs no chunks of reports, and would put its sum elsewhere
    with pytest.raises(LocalEnvironmentError, match="sees no report of this round"):
        study.run_aggregator("adder-1")
    assert not list((tmp_path / "elsewhere").rglob("chunks"))


@pytest.mark.parametrize("kind", ["processes", "cluster"])
@pytest.mark.parametrize("protocol", ["additive", "pairwise"])
def test_results_of_other_processes_are_those_made_here(tmp_path, monkeypatch, request, protocol, kind):
    """Of all work of a study: every shard is made twice, and the study's sum is exact."""
    study = make_study(
        tmp_path,
        clients=3,
        aggregators=2 if protocol == "additive" else 1,
        protocol=protocol,
        matrices=MATRICES,
    )
    spec, compared = elsewhere(request, kind), []

    def twice(session, purpose, function, arguments, due, **options):
        results = []
        for workers in (WorkerSpec(processes=1), spec):
            at = dataclasses.replace(session, config=msgspec.structs.replace(session.config, workers=workers))
            results.append(run_shards(at, f"{purpose} {len(results)}", function, arguments, due, **options))
        assert results[0] == results[1]
        compared.append((session.name, function))
        return results[1]

    for module in (aggregator, pairwise_aggregator, shards):
        monkeypatch.setattr(module, "run_shards", twice)
    if protocol == "additive":
        study.submit()
        outcomes = study.run_servers()
        each = [adding.RowSums] * 3 + [adding.ShareSum]
        expected = [(name, function) for name in study.aggregators for function in each]
    else:
        outcomes = study.run_pairwise()
        expected = [("adder-0", pairwise_adding.MaskedWords)] * 3 + [("adder-0", pairwise_adding.UnmaskedSum)]
    assert {name: o for name, o in outcomes.items() if isinstance(o, Exception)} == {}
    assert sorted(map(str, compared)) == sorted(map(str, expected))
    assert_exact(study)


def assert_exact(study):
    counts, expected = study.counts(), study.expected_counts()
    assert set(counts) == set(expected)
    for name, plain in expected.items():
        np.testing.assert_array_equal(counts[name], plain)


GATED = """
from pathlib import Path
from compute_items import Gate
from secprune.parties import adding

def gated(plain, gate):
    def call(self, shard):
        gate(shard.index)
        return plain(self, shard)

    return call

adding.ShareSum.__call__ = gated(adding.ShareSum.__call__, Gate(Path({gate!r}), {closed}))
"""


def gated_cluster(root, *, closed):
    """A cluster whose workers say which shards of a sum they add, and wait before those from `closed` on."""
    pytest.importorskip("distributed", reason="needs the extra dask")
    gate = root / "gate"
    gate.mkdir(parents=True)
    preload = root / "gated.py"
    preload.write_text(GATED.format(gate=str(gate), closed=closed))
    return gate, own_cluster(root / "cluster", options={"worker": ("--preload", str(preload))})


def test_a_study_on_a_cluster_whose_worker_is_killed_in_the_middle_is_exact(study, tmp_path):
    gate, starting = gated_cluster(tmp_path / "gated", closed=2)
    with starting as cluster:
        use(study, "adder-0", scheduler=cluster.address, **cluster.client)

        def kill():
            _, process = Gate.await_one(gate)
            cluster.kill(next(name for name, popen in cluster.processes.items() if popen.pid == process))
            Gate.open(gate)

        study.submit()
        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        outcomes = study.run_servers()
        assert {name: o for name, o in outcomes.items() if isinstance(o, Exception)} == {}
        killer.join()
        assert len(cluster.processes) == 2  # the scheduler, and the other worker
    assert_exact(study)
    assert study.incidents("adder-0") == []


def test_a_study_goes_on_with_another_cluster_when_the_scheduler_was_killed(study, tmp_path):
    gate, starting = gated_cluster(tmp_path / "first", closed=4)
    study.submit()
    with starting as cluster:
        use(study, "adder-0", scheduler=cluster.address, **cluster.client)

        def kill():
            Gate.await_one(gate)
            cluster.kill("scheduler")

        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        outcomes = _at_once(
            {name: lambda name=name: study.run_aggregator(name) for name in study.aggregators}
        )
        assert isinstance(outcomes["adder-0"], LocalEnvironmentError), outcomes["adder-0"]
        assert "the connection was lost" in outcomes["adder-0"].message
        killer.join()
    assert not isinstance(outcomes["adder-1"], Exception)
    done = kept(study)["share"]
    assert 0 < done <= 4

    gate, starting = gated_cluster(tmp_path / "second", closed=0)
    Gate.open(gate)  # it only says what it does
    with starting as cluster:
        use(study, "adder-0", scheduler=cluster.address, **cluster.client)
        study.run_aggregator("adder-0")
    assert sorted(int(path.name.split(".")[0]) for path in gate.glob("*.*")) == list(range(done, 8))
    study.run_coordinator()
    assert_exact(study)
