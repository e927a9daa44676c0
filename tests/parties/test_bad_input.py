"""What must go wrong clearly: each fault is blamed on the right party, and nothing is released or lost."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
import threading

import msgspec
import numpy as np
import pytest
from small_study import make_study

from secprune.crypto.entropy import random_bytes
from secprune.crypto.envelope import sign
from secprune.crypto.identity import Identity
from secprune.errors import ConfigurationError, LocalMisuseError, RemoteMisbehaviourError, TooFewPartiesError
from secprune.exchange.directory import DirectoryExchange
from secprune.files import file_digest
from secprune.ids import sha256
from secprune.messages.types import CountedReport, Report, Vote
from secprune.packing import pack
from secprune.parties import client
from secprune.parties.session import open_session
from secprune.protocols.api import ReportSecrets, Round, secure_sum
from secprune.storage.keyfile import read_identity
from secprune.task import parse_task


def post(study, phase, envelope):
    folder = study.messages(phase)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / sha256(envelope).removeprefix("sha256:")).write_bytes(envelope)


def report_of(study, name, words_of=None):
    """A report made outside the client's own software: `words_of(chunk)` are the words it shares."""
    round_, protocol = Round.of(study.task), secure_sum(study.task)
    secrets = protocol.new_secrets(round_, name, random_bytes)
    writer = protocol.writer(round_, name, secrets)
    exchange = DirectoryExchange(study.exchange)
    masks = study.masks[name]

    def honest(chunk):
        rows = [masks[m.name][low:high] for m, low, high in chunk.slab.pieces(chunk.first_row, chunk.end_row)]
        return pack(np.concatenate(rows).astype(np.uint8), base=chunk.slab.base, digits=chunk.slab.digits)

    digests = [
        exchange.put_chunk(writer.protect(chunk, (words_of or honest)(chunk)))
        for chunk in round_.layout.chunks
    ]
    return Report(task_id=round_.task_id, round=0, keys=secrets.keys, chunks=tuple(digests))


def signed(study, name, message):
    return sign(message, signer=name, identity=study.identities[name])


def counts_of(study, *names):
    for name, plain in study.expected_counts(*names).items():
        np.testing.assert_array_equal(study.counts()[name], plain)


def first_chunk(study):
    return next(p for p in sorted((study.exchange / "chunks").rglob("*")) if p.is_file())


# ---- the exchange misbehaves
@pytest.mark.parametrize("damage", ["tampered", "missing", "swapped"])
def test_a_damaged_chunk_is_the_exchanges_fault_and_the_client_repairs_it(tmp_path, damage):
    study = make_study(tmp_path)
    study.submit("clinic-0")
    victim = first_chunk(study)
    whole = victim.read_bytes()
    if damage == "tampered":
        victim.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    elif damage == "missing":
        victim.unlink()
    else:
        victim.write_bytes(random_bytes(len(whole)))
    study.submit("clinic-1", "clinic-2", "clinic-3")
    outcomes = study.run_servers(timeout_s=4)
    assert {type(o).__name__ for o in outcomes.values()} == {"NotReadyError"}
    blamed = study.incidents("adder-0")
    assert [party for party, _ in blamed] == ["exchange"]
    assert "clinic-0" in blamed[0][1]
    study.submit("clinic-0")
    assert victim.read_bytes() == whole
    assert study.run_servers()["hq"].cohort == study.clients
    counts_of(study)


def test_a_damaged_chunk_does_not_stop_the_others_once_the_round_is_closed(tmp_path):
    study = make_study(tmp_path)
    study.submit("clinic-0")
    first_chunk(study).unlink()
    study.submit("clinic-1", "clinic-2", "clinic-3")
    assert study.run_servers(close_after_s=4)["hq"].cohort == study.clients[1:]
    counts_of(study, *study.clients[1:])


def test_a_chunk_swapped_between_check_and_sum_is_noticed(tmp_path, monkeypatch):
    """A client that works with the exchange must not get other words added than those that were checked."""
    study = make_study(tmp_path)
    study.submit()
    from secprune.parties.aggregator import Aggregator

    original = Aggregator._write_share

    def swap_then_send(self, reports, state):
        for path in (study.exchange / "chunks").rglob("*"):
            if path.is_file():
                path.write_bytes(random_bytes(path.stat().st_size))
        return original(self, reports, state)

    monkeypatch.setattr(Aggregator, "_write_share", swap_then_send)
    outcomes = study.run_servers(timeout_s=12)
    assert isinstance(outcomes["adder-0"], RemoteMisbehaviourError)
    assert outcomes["adder-0"].party == "exchange"
    assert not list(tmp_path.glob("hq/tasks/*/*/counts*"))


def test_garbage_in_the_exchange_blames_nobody_in_the_roster(tmp_path):
    study = make_study(tmp_path)
    study.submit()
    honest = next(study.messages("reports").iterdir()).read_bytes()
    post(study, "reports", b"{}")
    post(study, "reports", honest[:-1])
    post(study, "reports", honest.replace(b'"sig":"', b'"sig":"AAAA'))
    (study.messages("reports") / ("f" * 64)).write_bytes(b"not what the name says")
    assert study.run_servers()["hq"].cohort == study.clients
    counts_of(study)
    assert {party for party, _ in study.incidents("adder-0")} == {"exchange"}


# ---- reports that must not count
def test_a_replayed_report_of_another_task_is_not_counted(tmp_path):
    other = make_study(tmp_path / "other")
    other.submit()
    study = make_study(tmp_path / "this")
    # The same hospital, with the same keys, in two studies.
    study.identities.update(other.identities)
    study.submit("clinic-1", "clinic-2", "clinic-3")
    foreign = Report(task_id=other.task.task_id, round=0, keys=(), chunks=())
    with open_session(tmp_path / "this" / "clinic-0", "client") as session:
        replayed = session.outgoing(foreign).envelope
    post(study, "reports", replayed)
    assert study.run_servers(close_after_s=4)["hq"].cohort == study.clients[1:]
    assert any("replayed" in what and party == "exchange" for party, what in study.incidents("adder-0"))


def test_a_report_for_another_round_is_not_counted(tmp_path):
    study = make_study(tmp_path)
    study.submit("clinic-1", "clinic-2", "clinic-3")
    message = msgspec.structs.replace(report_of(study, "clinic-0"), round=1)
    post(study, "reports", signed(study, "clinic-0", message))
    assert study.run_servers(close_after_s=4)["hq"].cohort == study.clients[1:]


def test_a_report_from_a_stranger_is_not_counted_and_the_roster_is_not_blamed(tmp_path):
    study = make_study(tmp_path)
    study.submit("clinic-1", "clinic-2", "clinic-3")
    stranger = Identity.generate(random_bytes)
    report = report_of(study, "clinic-0")
    post(study, "reports", sign(report, signer="mallory", identity=stranger))
    post(study, "reports", sign(report, signer="clinic-0", identity=stranger))  # claims to be clinic-0
    post(study, "reports", sign(report, signer="adder-1", identity=study.identities["adder-1"]))  # wrong role
    assert study.run_servers(close_after_s=4)["hq"].cohort == study.clients[1:]
    incidents = study.incidents("adder-0")
    assert {party for party, _ in incidents} == {"exchange"}
    assert any("mallory" in what for _, what in incidents)
    assert any("clinic-0 has a wrong signature" in what for _, what in incidents)


def test_two_different_reports_of_one_client_exclude_it_by_name(tmp_path):
    study = make_study(tmp_path)
    study.submit()
    post(study, "reports", signed(study, "clinic-0", report_of(study, "clinic-0")))
    result = study.run_servers()["hq"]
    assert result.cohort == study.clients[1:]
    assert "two different reports" in result.refused["clinic-0"]


def test_a_clients_own_software_never_sends_a_second_report(tmp_path):
    study = make_study(tmp_path)
    study.submit("clinic-0")
    before = {p for p in study.exchange.rglob("*") if p.is_file()}
    study.make_masks("clinic-0", seed=999)
    with pytest.raises(LocalMisuseError, match="have changed since"):
        study.submit("clinic-0")
    # Not one chunk either: a second mask under the same keystream would give away the difference.
    assert {p for p in study.exchange.rglob("*") if p.is_file()} == before


def test_masks_that_change_before_the_report_is_out_get_fresh_secrets(tmp_path, monkeypatch):
    """A submission that died half-way, then other masks: no chunk is sealed twice under one key."""
    study = make_study(tmp_path)

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("secprune.parties.session.Session.outgoing", die)
        with pytest.raises(KeyboardInterrupt):
            study.submit("clinic-0")
    study.make_masks("clinic-0", seed=999)
    study.submit()
    with sqlite3.connect(tmp_path / "clinic-0" / "journal.sqlite") as db:
        stored = [row[0] for row in db.execute("SELECT value FROM secret WHERE purpose LIKE 'report of %'")]
    assert len(stored) == 2
    keys = [msgspec.json.decode(value, type=ReportSecrets) for value in stored]
    assert keys[0].content_key != keys[1].content_key
    assert not set(keys[0].seeds) & set(keys[1].seeds)
    study.run_servers()
    counts_of(study)


@pytest.mark.parametrize("excess", ["one bit more", "vote stuffing", "a digit beyond the base"])
def test_a_report_with_wrong_row_sums_names_client_matrix_and_rows(tmp_path, excess):
    study = make_study(tmp_path)
    study.submit("clinic-1", "clinic-2", "clinic-3")
    round_ = Round.of(study.task)
    slab = round_.layout.slabs[0]

    def words(chunk):
        rows = [
            study.masks["clinic-0"][m.name][low:high]
            for m, low, high in chunk.slab.pieces(chunk.first_row, chunk.end_row)
        ]
        honest = pack(np.concatenate(rows).astype(np.uint8), base=slab.base, digits=slab.digits)
        if chunk.index == 0:
            honest[0, 3] += np.uint64(
                {"one bit more": 1, "vote stuffing": 3, "a digit beyond the base": 2**63}[excess]
            )
        return honest

    post(study, "reports", signed(study, "clinic-0", report_of(study, "clinic-0", words)))
    result = study.run_servers()["hq"]
    assert result.cohort == study.clients[1:]
    assert "block.0.a.weight" in result.refused["clinic-0"]
    assert "rows 0 to" in result.refused["clinic-0"]
    counts_of(study, *study.clients[1:])


@pytest.mark.parametrize(
    "fault", ["chunk of random bytes", "too few chunks", "key for the wrong party", "stolen key"]
)
def test_a_malformed_report_is_the_clients_fault(tmp_path, fault):
    study = make_study(tmp_path)
    study.submit("clinic-1", "clinic-2", "clinic-3")
    report = report_of(study, "clinic-0")
    exchange = DirectoryExchange(study.exchange)
    if fault == "chunk of random bytes":
        report = msgspec.structs.replace(
            report, chunks=(exchange.put_chunk(random_bytes(100)), *report.chunks[1:])
        )
    elif fault == "too few chunks":
        report = msgspec.structs.replace(report, chunks=report.chunks[:-1])
    elif fault == "key for the wrong party":
        report = msgspec.structs.replace(report, keys=report.keys[::-1])
    else:  # another client's sealed keys and chunks, passed off as its own
        with open_session(tmp_path / "clinic-1", "client") as session:
            masks = file_digest(session.work / client.MASKS_FILE)
            other = session.journal.secret(f"report of {masks}", bytes)
        report = msgspec.structs.replace(report, keys=msgspec.json.decode(other, type=ReportSecrets).keys)
    post(study, "reports", signed(study, "clinic-0", report))
    result = study.run_servers()["hq"]
    assert result.cohort == study.clients[1:]
    assert set(result.refused) == {"clinic-0"}
    counts_of(study, *study.clients[1:])


# ---- aggregators that lie
def test_an_aggregator_that_votes_twice_stops_the_round(tmp_path):
    study = make_study(tmp_path)
    study.submit()
    for accepted in ((), (CountedReport(client="clinic-0", report="sha256:" + "1" * 64),)):
        vote = Vote(task_id=study.task.task_id, round=0, accepted=accepted)
        post(study, "votes", signed(study, "adder-1", vote))
    with pytest.raises(RemoteMisbehaviourError, match="adder-1 signed two different votes") as caught:
        study.run_aggregator("adder-0", timeout_s=30)
    assert caught.value.party == "adder-1"
    assert not study.messages("shares").exists()


def test_an_aggregator_that_votes_for_a_cohort_of_one_releases_nothing(tmp_path):
    """The attack of singling out: the honest aggregator never adds fewer than min_clients reports."""
    study = make_study(tmp_path)
    study.submit()
    target = next(
        CountedReport(client="clinic-0", report=f"sha256:{path.name}")
        for path in study.messages("reports").iterdir()
        if b"clinic-0" in path.read_bytes()
    )
    vote = Vote(task_id=study.task.task_id, round=0, accepted=(target,))
    post(study, "votes", signed(study, "adder-1", vote))
    stop = threading.Thread(target=lambda: _quietly(study.run_aggregator, "adder-1", 12))
    stop.start()  # its checks are honest, only the vote is not
    with pytest.raises((TooFewPartiesError, RemoteMisbehaviourError)):
        study.run_aggregator("adder-0", timeout_s=30)
    stop.join()
    assert not study.messages("shares").exists()


def _quietly(function, *arguments):
    with contextlib.suppress(Exception):  # the other side is what the test looks at
        function(*arguments)


def test_a_share_that_does_not_add_up_writes_no_counts(tmp_path, monkeypatch):
    study = make_study(tmp_path)
    study.submit()
    from secprune.parties import adding as module

    original = module.add_shares

    def wrong(chunk, shares):
        total = original(chunk, shares)
        total[0, 0] += np.uint64(1)
        return total

    monkeypatch.setattr(module, "add_shares", wrong)
    outcomes = study.run_servers()
    assert isinstance(outcomes["hq"], RemoteMisbehaviourError)
    assert "do not add up" in str(outcomes["hq"])
    assert not [p for p in (tmp_path / "hq").rglob("*") if "counts" in p.name]


# ---- this party's own files
def test_unknown_keys_are_refused_in_task_and_party_file(tmp_path):
    study = make_study(tmp_path)
    with pytest.raises(ConfigurationError, match="colour"):
        parse_task("colour = 1\n" + study.task.to_toml())
    path = tmp_path / "clinic-0" / "party.toml"
    path.write_text(path.read_text().replace("[policy]", "[policy]\nmin_client = 2"))
    with pytest.raises(ConfigurationError, match="min_client"), open_session(tmp_path / "clinic-0", "client"):
        pass


def test_a_task_changed_after_signing_is_refused(tmp_path):
    study = make_study(tmp_path)
    path = tmp_path / "task.toml"
    path.write_text(path.read_text().replace('sparsity = "1/2"', 'sparsity = "1/3"'))
    with (
        pytest.raises(ConfigurationError, match="changed after hq signed it"),
        open_session(tmp_path / "clinic-0", "client"),
    ):
        pass
    assert study.task.pruning.sparsity == "1/2"


def test_a_coordinator_other_than_the_pinned_one_is_refused(tmp_path):
    study = make_study(tmp_path)
    study.write_party_file("clinic-0", coordinator="sha256:" + "a" * 64)
    with (
        pytest.raises(ConfigurationError, match="follows only"),
        open_session(tmp_path / "clinic-0", "client"),
    ):
        pass
    study.write_party_file("clinic-0", coordinator=study.task.coordinator.fingerprint)
    with open_session(tmp_path / "clinic-0", "client") as session:
        assert session.name == "clinic-0"


def test_aggregators_other_than_the_pinned_ones_are_refused(tmp_path):
    """A coordinator that enrols itself as two aggregators would read everything."""
    study = make_study(tmp_path)
    known = [study.task.party(name).fingerprint for name in study.aggregators]
    study.write_party_file("clinic-0", aggregators=known[:1])
    with (
        pytest.raises(ConfigurationError, match="aggregator adder-1 has fingerprint"),
        open_session(tmp_path / "clinic-0", "client"),
    ):
        pass
    study.write_party_file("clinic-0", aggregators=known)
    study.submit("clinic-0")


@pytest.mark.parametrize(
    ("policy", "message"), [({"min_clients": 4}, "policy asks for 4"), ({"protocols": []}, "does not allow")]
)
def test_a_site_refuses_a_task_against_its_policy(tmp_path, policy, message):
    study = make_study(tmp_path)
    study.write_party_file("clinic-0", **policy)
    with pytest.raises(ConfigurationError, match=message):
        study.submit("clinic-0")
    assert not study.messages("reports").exists()


def test_cleartext_is_refused_by_default(tmp_path):
    study = make_study(tmp_path, protocol="cleartext", with_masks=False)
    path = tmp_path / "clinic-0" / "party.toml"
    path.write_text('task = "../task.toml"\nexchange = "../exchange"\n')
    with (
        pytest.raises(ConfigurationError, match="does not allow the protocol cleartext"),
        open_session(tmp_path / "clinic-0", "client"),
    ):
        pass
    assert study.task.protocol.name == "cleartext"


def test_keys_that_others_can_read_are_refused(tmp_path):
    study = make_study(tmp_path, with_masks=False)
    path = tmp_path / "clinic-0" / "identity.key"
    path.chmod(0o644)
    with pytest.raises(ConfigurationError, match="can be read by other users"):
        read_identity(path)
    assert study.clients


def test_a_card_in_the_roster_with_other_keys_is_refused(tmp_path):
    study = make_study(tmp_path)
    parties = [
        msgspec.structs.replace(p, signing_key=Identity.generate(random_bytes).signing_key)
        if p.name == "clinic-0"
        else p
        for p in study.task.parties
    ]
    study.write_task(msgspec.structs.replace(study.task, parties=tuple(parties)))
    with pytest.raises(ConfigurationError, match="other keys for clinic-0"):
        study.submit("clinic-0")


def test_a_second_process_in_one_directory_says_so_and_leaves(tmp_path):
    study = make_study(tmp_path)
    with (
        open_session(tmp_path / "clinic-0", "client"),
        pytest.raises(LocalMisuseError, match="another secprune"),
    ):
        study.submit("clinic-0")


# ---- masks and disks
def test_a_mask_of_the_wrong_shape_is_refused_and_leaves_no_file(tmp_path):
    study = make_study(tmp_path, with_masks=False)
    masks = {m.name: np.zeros((m.rows, m.columns), bool) for m in study.task.model.matrices}
    masks["block.0.b.weight"] = np.zeros((8, 32), bool)
    with pytest.raises(LocalMisuseError, match="8x32, the task says 8x33"):
        study.put_masks("clinic-0", masks)
    assert not [p for p in (tmp_path / "clinic-0").rglob("*") if "masks" in p.name]


def test_masks_with_a_wrong_row_are_refused_before_anything_is_sent(tmp_path):
    study = make_study(tmp_path)
    masks = {name: mask.copy() for name, mask in study.masks["clinic-0"].items()}
    masks["block.0.a.weight"][7, :] = True
    study.put_masks("clinic-0", masks)
    with pytest.raises(LocalMisuseError, match=r"row 7 of the pruning mask of block\.0\.a\.weight"):
        study.submit("clinic-0")
    assert not study.messages("reports").exists()


def test_masks_of_another_task_are_refused(tmp_path):
    study = make_study(tmp_path)
    name = study.clients[0]
    with open_session(tmp_path / name, "client") as session:
        old = (session.work / client.MASKS_FILE).read_bytes()
    study.write_task(msgspec.structs.replace(study.task, nonce="cd" * 16))
    with open_session(tmp_path / name, "client") as session:
        (session.work / client.MASKS_FILE).write_bytes(old)
        with pytest.raises(LocalMisuseError, match="another task"):
            client.submit(session)


_LIMITED = """
import resource, sys
from pathlib import Path
from secprune.parties import client
from secprune.parties.session import open_session
from secprune.errors import SecpruneError
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
try:
    with open_session(Path(sys.argv[1]), "client") as session:
        client.submit(session)
except SecpruneError as error:
    print(error.fault, "|", error, "|", error.hint)
    sys.exit(error.exit_code)
"""


def test_a_full_disk_is_this_machines_fault_and_nothing_is_half_written(tmp_path):
    """The file-size limit makes the kernel refuse writes as a full disk does."""
    study = make_study(tmp_path, matrices=(("big.weight", 2000, 400),))
    script = _LIMITED.format(limit=100_000)
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "clinic-0")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 6, done.stderr
    assert "local environment" in done.stdout
    assert "run the same command again" in done.stdout
    assert not [p for p in study.exchange.rglob("*") if p.is_file()], "no part files, no chunks"
    study.submit()
    assert study.run_servers()["hq"].cohort == study.clients
    counts_of(study)
