"""A round of `bfv` between real parties: what lies in whose files, and files that change between two starts."""

from __future__ import annotations

import base64
import stat

import pytest

pytest.importorskip("tenseal.sealapi", reason="needs tenseal (pip install 'secprune[he]')")
from bfv_world import FORMS, SOON, assert_sum_of, bfv_study, messages
from faulty_exchange import Crash

from secprune import packing
from secprune.compute.processes import Processes
from secprune.crypto.seal import ChunkCipher, open_secret
from secprune.errors import LocalEnvironmentError, LocalMisuseError, TooFewPartiesError
from secprune.messages.bfv import EncryptedReport, LinearHash
from secprune.parties import schedule
from secprune.parties.bfv import client as client_party
from secprune.parties.bfv import key_holder as holder_party
from secprune.parties.bfv import shared
from secprune.parties.client import MASKS_FILE
from secprune.protocols.bfv.terms import Terms


def everything_in(folder):
    """All bytes of all files, by path."""
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


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
        patch.setattr(Processes, "map", lambda *_args, **_options: pytest.fail("encrypted"))
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
