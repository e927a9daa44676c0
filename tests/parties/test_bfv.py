"""A round of `bfv` between real parties: the plain sum, dropouts, and what lies in whose files."""

from __future__ import annotations

import base64
import contextlib
import functools
import os
import stat

import numpy as np
import pytest

pytest.importorskip("tenseal.sealapi", reason="needs tenseal (pip install 'secprune[he]')")
from faulty_exchange import BfvWorld, Crash, fast_directory
from small_study import make_study

from secprune import packing
from secprune.crypto.bfv import scheme
from secprune.crypto.envelope import open_envelope
from secprune.crypto.seal import ChunkCipher, open_secret
from secprune.errors import LocalEnvironmentError, LocalMisuseError, NotReadyError, TooFewPartiesError
from secprune.messages.bfv import CiphertextSum, EncryptedReport, HashSeed, KeyShare, LinearHash
from secprune.messages.pairwise import Abandoned
from secprune.parties import schedule
from secprune.parties.bfv import client as client_party
from secprune.parties.bfv import key_holder as holder_party
from secprune.parties.bfv import shared, workers
from secprune.parties.client import MASKS_FILE
from secprune.parties.config import read_party_file
from secprune.parties.coordinator import RoundResult
from secprune.parties.session import PHASE_OF, Session, open_session
from secprune.parties.status import status
from secprune.protocols.bfv.terms import Terms
from secprune.pruning.tensorfile import TensorFile
from secprune.storage.journal import Journal
from secprune.task import MatrixSpec, ModelSpec, PruningSpec

MATRICES = (("a.weight", 9, 40), ("b.weight", 12, 25))
SOON = 60
"""Turns after which the aggregator goes on without whoever is missing: about eight of each party."""
FORMS = [("simple", 1), ("blind", 1), ("blind", 2)]


@pytest.fixture
def root():
    with fast_directory() as directory:
        yield directory


@pytest.fixture
def quick(monkeypatch):
    """Without the self-test, which takes longer than a small round of many clients."""
    monkeypatch.setattr(scheme, "self_test", lambda _parameters: None)


@pytest.fixture
def new_world(root):
    worlds = []

    def make(clients=4, form="blind", key_holders=1, *, min_clients=None, matrices=MATRICES, **options):
        study = make_study(
            root / f"study-{len(worlds)}",
            clients=clients,
            aggregators=1,
            min_clients=min_clients,
            protocol="bfv",
            key_holder=form,
            key_holders=key_holders,
            matrices=matrices,
        )
        worlds.append(BfvWorld(study, root / f"world-{len(worlds)}", **options))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()


def bfv_study(root, **options):
    return make_study(root, aggregators=1, protocol="bfv", **{"key_holders": 1, **options})


def assert_sum_of(world, *names):
    assert isinstance(world.coordinator.outcome, RoundResult), world.coordinator
    assert world.coordinator.outcome.cohort == tuple(sorted(names))
    stored = TensorFile(world.counts_file())
    for name, plain in world.study.expected_counts(*names).items():
        np.testing.assert_array_equal(np.array(stored.raw(name)), plain)
    for holder in world.key_holders:
        assert holder.outcome.cohort == tuple(sorted(names))


def messages(world, kind):
    """All messages of a kind, in the order of sending: (sender, message)."""
    keys = {party.name: party.signing_key for party in world.study.task.parties}
    return [open_envelope(data, kind, signing_keys=keys) for _, data in world.envelopes(PHASE_OF[kind])]


def attempts(world):
    """The clients of each sum that the aggregator asked answers for."""
    return [[m.client for m in message.members] for _, message in messages(world, CiphertextSum)]


def everything_in(folder):
    """All bytes of all files, by path."""
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


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
        list(workers.in_processes(functools.partial, (os._exit,), [1] * 4, count=4))


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


def look(world, name):
    """What `status` says, beside a party that is at work."""
    journal = Journal(world.root / f"{name}.sqlite", task_id=world.round.task_id, round_index=0)
    session = Session(
        world.directory_of(world.parties[name]),
        read_party_file(world.study.root / name),
        world.study.task.party(name),
        world.study.identities[name],
        world.study.task,
        world.round,
        world.board,
        journal,
    )
    with contextlib.closing(journal):
        found = status(session)
    return found.stands, found.waiting_for


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


# ---- clients and key holders that are missing
@pytest.mark.parametrize(("form", "key_holders"), FORMS)
def test_the_round_goes_on_without_a_client_that_never_submits(new_world, quick, form, key_holders):
    world = new_world(4, form, key_holders, close_after_s=SOON)
    world.parties["clinic-1"].gone = True
    world.run_until_quiet(sweeps=200)
    assert_sum_of(world, "clinic-0", "clinic-2", "clinic-3")
    assert len(attempts(world)) == 1


@pytest.mark.parametrize(("form", "key_holders"), FORMS)
def test_a_client_that_stops_after_its_report_costs_one_more_attempt(new_world, quick, form, key_holders):
    world = new_world(4, form, key_holders, close_after_s=SOON)
    world.leaves = {"clinic-2": "encrypted-reports"}
    world.run_until_quiet(sweeps=200)
    rest = ["clinic-0", "clinic-1", "clinic-3"]
    assert attempts(world) == [sorted(world.study.clients), rest]
    assert_sum_of(world, *rest)
    seeds = {message.seed for _, message in messages(world, HashSeed)}
    assert len(seeds) == 2 * key_holders, "another sum is answered for under other seeds"


@pytest.mark.parametrize(("form", "key_holders"), FORMS)
def test_two_clients_may_stop_one_after_the_other(new_world, quick, form, key_holders):
    """One after its report, one after its first answer; three are left, and three are enough."""
    world = new_world(5, form, key_holders, min_clients=3, close_after_s=SOON)
    world.leaves = {"clinic-2": "encrypted-reports", "clinic-4": "linear-hashes"}
    world.run_until_quiet(sweeps=400)
    rest = ["clinic-0", "clinic-1", "clinic-3"]
    assert attempts(world) == [sorted(world.study.clients), [*rest, "clinic-4"], rest]
    assert_sum_of(world, *rest)


def test_a_client_that_comes_back_too_late_is_left_out(new_world, quick):
    world = new_world(close_after_s=SOON)
    world.parties["clinic-2"].gone = True
    for _ in range(200):
        world.sweep()
        if world.posted["ciphertext-sums"]:
            break
    world.parties["clinic-2"].gone = False
    world.run_until_quiet(sweeps=200)
    assert_sum_of(world, "clinic-0", "clinic-1", "clinic-3")
    assert isinstance(world.parties["clinic-2"].outcome, TooFewPartiesError)
    assert world.parties["clinic-2"].outcome.missing == ("clinic-2",)
    assert "clinic-2" not in dict(messages(world, LinearHash))


def test_status_says_that_a_client_was_left_out(new_world, quick):
    world = new_world(close_after_s=SOON)
    world.leaves = {"clinic-2": "encrypted-reports"}
    world.run_until_quiet(sweeps=200)
    world.parties["clinic-2"].gone, world.leaves = False, {}
    world.run_until_quiet()
    assert isinstance(world.parties["clinic-2"].outcome, TooFewPartiesError)
    assert "answered for" not in look(world, "clinic-2")[0]


MISSING = {
    "never come": {"clinic-1": "", "clinic-2": ""},
    "stop after their reports": {"clinic-1": "encrypted-reports", "clinic-2": "encrypted-reports"},
    "stop one by one": {"clinic-1": "encrypted-reports", "clinic-2": "linear-hashes"},
}


@pytest.mark.parametrize("leaves", MISSING.values(), ids=MISSING)
@pytest.mark.parametrize(("form", "key_holders"), FORMS)
def test_with_too_few_clients_everybody_is_told_who_is_missing(new_world, quick, form, key_holders, leaves):
    world = new_world(4, form, key_holders, min_clients=3, close_after_s=SOON)
    world.leaves = leaves
    world.run_until_quiet(sweeps=400)
    ended = [party for party in world.parties.values() if not party.gone]
    assert {type(party.outcome) for party in ended} == {TooFewPartiesError}, ended
    assert {party.outcome.missing for party in ended} == {("clinic-1", "clinic-2")}
    assert len(ended) == len(world.parties) - 2
    assert world.counts_file() is None
    assert [sender for sender, _ in messages(world, Abandoned)] == ["adder-0"]
    for phase in ("openings", "partial-decryptions", "votes", "cohorts", "shares"):
        assert not world.posted[phase]
    # Started again, everybody ends in the same way, and the key opens nothing.
    world.calm()
    world.run_until_quiet(sweeps=5)
    assert {type(party.outcome) for party in ended} == {TooFewPartiesError}
    assert not world.posted["partial-decryptions"]
    assert not world.posted["shares"]


def test_without_a_limit_the_aggregator_waits_and_says_for_whom(new_world, quick):
    world = new_world(timeout_s=SOON)
    world.parties["clinic-1"].gone = True
    world.run_until_quiet(sweeps=30)
    assert isinstance(world.aggregator.last, NotReadyError)
    assert "reports of clinic-1" in str(world.aggregator.last)
    world.parties["clinic-1"].gone = False
    world.run_until_quiet()
    assert_sum_of(world, *world.study.clients)


def test_clients_are_not_given_up_for_want_of_a_key_holder_that_comes_late(new_world, quick):
    world = new_world(close_after_s=SOON)
    world.parties["holder-0"].gone = True
    world.run_until_quiet(sweeps=30)
    world.parties["holder-0"].gone = False
    world.run_until_quiet(sweeps=200)
    assert_sum_of(world, *world.study.clients)


def test_clients_are_not_dropped_while_a_key_holder_has_drawn_no_seed(new_world, quick):
    world = new_world(4, "blind", 2, close_after_s=SOON)
    for _ in range(200):
        world.sweep()
        if world.posted["encrypted-reports"]:
            break
    world.parties["holder-1"].gone = True
    world.run_until_quiet(sweeps=30)
    world.parties["holder-1"].gone = False
    world.run_until_quiet(sweeps=200)
    assert_sum_of(world, *world.study.clients)


# ---- what lies in whose files
def spellings(secret):
    """How bytes may stand in a file."""
    return secret, secret.hex().encode(), base64.b64encode(secret).rstrip(b"=")


def hold_key(study, monkeypatch, then):
    """Run a round; `then` is called with the key's seed while the key holder's session is still open."""
    drawn, draw = [], holder_party.random_bytes

    def remember(length):
        drawn.append(draw(length))
        return drawn[-1]

    monkeypatch.setattr(holder_party, "random_bytes", remember)
    hold = schedule.hold_key

    def hold_and_look(session, patience):
        result = hold(session, patience)
        then(drawn[0])
        return result

    monkeypatch.setattr(schedule, "hold_key", hold_and_look)
    outcomes = study.run_bfv()
    assert outcomes["hq"].cohort == study.clients, outcomes
    return drawn[0]


def found_in(folder, secret):
    return [
        path.name
        for path, data in everything_in(folder).items()
        for form in spellings(secret)
        if form in data
    ]


@pytest.mark.parametrize("form", ["simple", "blind"])
def test_nothing_of_the_key_is_left_once_the_key_holder_has_ended(root, quick, monkeypatch, form):
    study = bfv_study(root, key_holder=form)
    before = []

    def look_before(self, *args):
        seed = self._state.seed
        before.extend(found_in(root / "holder-0", seed))
        return release(self, *args)

    release = holder_party.KeyHolder._release
    monkeypatch.setattr(holder_party.KeyHolder, "_release", look_before)
    seed = hold_key(study, monkeypatch, lambda _seed: None)
    assert before, "this test would find a seed"
    assert found_in(root, seed) == []


def test_nothing_of_the_key_is_left_as_soon_as_the_sum_is_opened(root, quick, monkeypatch):
    study, found = bfv_study(root), []
    hold_key(study, monkeypatch, lambda seed: found.extend(found_in(root / "holder-0", seed)))
    assert found == []


def test_nothing_of_the_key_is_left_after_a_round_that_was_given_up(root, quick, monkeypatch):
    study, drawn, draw = bfv_study(root), [], holder_party.random_bytes
    monkeypatch.setattr(holder_party, "random_bytes", lambda length: drawn.append(draw(length)) or drawn[-1])
    outcomes = study.run_bfv("clinic-0", "clinic-1", close_after_s=1)
    assert isinstance(outcomes["holder-0"], TooFewPartiesError)
    assert found_in(root, drawn[0]) == []


def test_secrets_are_in_files_of_their_owner_only(root, quick):
    study = bfv_study(root)
    outcomes = study.run_bfv()
    assert outcomes["hq"].cohort == study.clients, outcomes
    public = {"party.toml", ".lock"}
    for name in outcomes:
        for path in everything_in(root / name):
            if path.name not in public:
                mode = stat.S_IMODE(path.stat().st_mode)
                assert mode & 0o077 == 0, (path, oct(mode))
        assert (root / name / "journal.sqlite").exists()


@pytest.mark.parametrize(("form", "key_holders"), FORMS)
def test_a_ciphertext_of_a_client_lies_nowhere_in_the_clear(new_world, quick, form, key_holders):
    world = new_world(4, form, key_holders, close_after_s=SOON)
    world.leaves = {"clinic-2": "encrypted-reports"}  # so that there are two sums, too
    world.run_until_quiet(sweeps=200)
    assert_sum_of(world, "clinic-0", "clinic-1", "clinic-3")
    files, terms = everything_in(world.root), Terms(world.round, "", 3)
    opening = world.study.identities["adder-0"].opening
    for client, report in messages(world, EncryptedReport):
        context = shared.report_context(terms, client, report.keys)
        key = open_secret(report.key.sealed, opening, context)
        cipher = ChunkCipher(key, context, count=len(report.chunks))
        for index, digest in enumerate(report.chunks):
            plain = cipher.open(index, world.board.get_chunk(digest))
            pieces = [plain[place : place + 24] for place in range(64, len(plain), len(plain) // 9)]
            for path, data in files.items():
                assert not any(piece in data for piece in pieces), path
                assert key not in data or path.name.startswith(client), path
    total = next(path for path in files if path.suffix == ".sum")
    assert "adder-0" in str(total), "this test would find a ciphertext: the aggregator keeps the sum"


def test_kept_chunks_are_removed_after_the_round(new_world, quick):
    world = new_world()
    kept = []
    for _ in range(60):
        world.sweep()
        kept += [path for path in world.root.rglob("*.chunk") if world.posted["encrypted-reports"]]
    assert_sum_of(world, *world.study.clients)
    assert kept
    assert not list(world.root.rglob("*.chunk*"))


# ---- this site's own files
def begun(world, monkeypatch, *, chunks):
    """Kill clinic-0 when it has put so many chunks into the exchange, or at its first kept chunk (0)."""
    client = world.parties["clinic-0"]
    if chunks == 0:
        write = client_party.write_atomically

        def die_after(path, data):
            write(path, data)
            if world.acting == "clinic-0":
                raise Crash

        with monkeypatch.context() as patch:
            patch.setattr(client_party, "write_atomically", die_after)
            _until_killed(world, client)
        return client
    left = [chunks]

    def die(data):
        left[0] -= 1
        if left[0] < 0:
            raise Crash
        return data

    world.alter["clinic-0"] = die
    _until_killed(world, client)
    del world.alter["clinic-0"]
    return client


def _until_killed(world, client):
    for _ in range(20):
        for party in (world.parties["holder-0"], client):
            world.turn(party)
            if party is client and party.starts and party.machine is None:
                return
    raise AssertionError("it was not killed")


@pytest.fixture
def two_chunks(new_world, quick, monkeypatch):
    monkeypatch.setattr(packing, "CHUNK_BYTES", 8)
    world = new_world(matrices=(("a.weight", 4, 8), ("b.weight", 6, 6)))
    assert len(world.round.layout.chunks) == 2
    return world


@pytest.mark.parametrize("chunks", [0, 1])
def test_masks_that_change_after_the_report_was_begun_are_refused(two_chunks, monkeypatch, chunks):
    world = two_chunks
    client = begun(world, monkeypatch, chunks=chunks)
    masks = world.root / "clinic-0" / world.work / MASKS_FILE
    honest = masks.read_bytes()
    masks.write_bytes((world.root / "clinic-1" / world.work / MASKS_FILE).read_bytes())
    before = everything_in(world.root / "exchange")
    world.turn(client)
    assert isinstance(client.outcome, LocalMisuseError)
    assert "have changed since" in str(client.outcome)
    assert everything_in(world.root / "exchange") == before
    masks.write_bytes(honest)
    client.outcome = None
    world.run_until_quiet()
    assert_sum_of(world, *world.study.clients)
    assert len(world.sent["clinic-0"]) == 2


@pytest.mark.parametrize("which", [0, 1])
def test_kept_chunks_that_are_gone_after_sending_began_are_never_encrypted_anew(
    two_chunks, monkeypatch, which
):
    world = two_chunks
    client = begun(world, monkeypatch, chunks=1)
    kept = sorted((world.root / "clinic-0").rglob("*.chunk"))
    assert len(kept) == 2
    data = kept[which].read_bytes()
    kept[which].unlink()
    before = everything_in(world.root / "exchange")
    with monkeypatch.context() as patch:
        patch.setattr(client_party, "in_processes", lambda *_args, **_options: pytest.fail("encrypted"))
        for _ in range(3):
            client.outcome = None
            world.turn(client)
            assert isinstance(client.outcome, LocalMisuseError)
            assert "are gone" in str(client.outcome)
    assert everything_in(world.root / "exchange") == before
    assert len(list((world.root / "clinic-0").rglob("*.chunk*"))) == 1
    kept[which].write_bytes(data)
    client.outcome = None
    world.run_until_quiet()
    assert_sum_of(world, *world.study.clients)
    assert len(world.sent["clinic-0"]) == 2


def test_chunks_that_were_not_sent_yet_may_be_encrypted_anew(two_chunks, monkeypatch):
    world = two_chunks
    client = begun(world, monkeypatch, chunks=0)
    (kept,) = (world.root / "clinic-0").rglob("*.chunk")
    first = kept.read_bytes()
    assert not world.sent["clinic-0"]
    kept.unlink()
    world.turn(client)
    assert kept.read_bytes() != first
    world.run_until_quiet()
    assert_sum_of(world, *world.study.clients)
    assert len(world.sent["clinic-0"]) == 2


def test_kept_chunks_that_are_gone_before_the_answer_stop_the_client_and_nothing_is_sent_anew(
    new_world, quick
):
    world = new_world()
    client = world.parties["clinic-0"]
    for _ in range(60):
        world.sweep()
        if client.name in dict(messages(world, EncryptedReport)):
            break
    for path in (world.root / "clinic-0").rglob("*.chunk"):
        path.unlink()
    world.run_until_quiet(sweeps=20)
    assert isinstance(client.last, LocalEnvironmentError)
    assert "clinic-0" not in dict(messages(world, LinearHash))
    assert len(world.sent["clinic-0"]) == len(world.round.layout.chunks)
    assert world.counts_file() is None
