"""What left a party is recorded once, found from the exchange alone, and compared where both are at hand."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest
from audited import Declared, finished, opened
from small_study import make_study

from secprune.audit.transcript import (
    EVERYBODY,
    FOREIGN,
    UNKNOWN,
    UNNAMED,
    Sent,
    make_transcript,
    named_chunks,
)
from secprune.crypto.envelope import open_envelope, sign
from secprune.exchange.api import Topic
from secprune.ids import sha256
from secprune.messages.types import CloseRound, Report, SealedKey
from secprune.parties.auditor.directories import read_exchange
from secprune.parties.auditor.study import open_study
from secprune.parties.session import PHASE_OF, open_session


@pytest.fixture
def study(tmp_path):
    """All reports are sent, and nothing else has happened."""
    made = make_study(tmp_path)
    made.submit()
    return made


def sent(study, **wanted):
    return [
        one
        for one in opened(study).transcript.sent
        if all(getattr(one, name) == value for name, value in wanted.items())
    ]


def recorded(study, name):
    with open_session(study.root / name, study.task.party(name).role, exclusive=False) as session:
        return session.journal.recorded_chunks()


def forget(study, name, digest):
    """As if the process had died after it sent a chunk, before it was recorded."""
    with contextlib.closing(sqlite3.connect(study.root / name / "journal.sqlite")) as db, db:
        db.execute("DELETE FROM sent_chunk WHERE digest = ?", (digest,))


def test_every_chunk_of_a_report_is_named_with_its_receiver_and_size(study):
    (path,) = [path for path in study.messages("reports").iterdir() if b"clinic-2" in path.read_bytes()]
    _, report = open_envelope(
        path.read_bytes(), Report, signing_keys={"clinic-2": study.task.party("clinic-2").signing_key}
    )
    sizes = [(study.exchange / "chunks" / d[7:9] / d[7:]).stat().st_size for d in report.chunks]
    assert sorted(
        sent(study, sender="clinic-2", artefact="reports chunks"), key=lambda one: one.digest
    ) == sorted(
        (
            Sent("clinic-2", "reports chunks", "adder-0", size, digest, 0)
            for digest, size in zip(report.chunks, sizes, strict=True)
        ),
        key=lambda one: one.digest,
    )
    assert sent(study, sender="clinic-2", artefact="reports") == [
        Sent("clinic-2", "reports", EVERYBODY, path.stat().st_size, f"sha256:{path.name}", 0)
    ]


def test_sending_again_counts_nothing_twice(study):
    before, chunks = opened(study).transcript, recorded(study, "clinic-1")
    study.submit("clinic-1")
    study.submit("clinic-1")
    assert recorded(study, "clinic-1") == chunks
    assert opened(study).transcript == before


def test_what_was_sent_before_a_crash_is_recorded_when_it_is_sent_again(study):
    chunks = recorded(study, "clinic-1")
    digest = next(iter(chunks))
    forget(study, "clinic-1", digest)
    assert opened(study).transcript.unrecorded == (digest,)
    study.submit("clinic-1")
    assert recorded(study, "clinic-1") == chunks
    assert opened(study).transcript.unrecorded == ()


def test_a_chunk_that_no_message_names(study):
    with open_session(study.root / "clinic-3", "client") as session:
        digest = session.exchange.put_chunk(b"leak")
    leak = Sent("clinic-3", UNNAMED, UNKNOWN, 4, digest, None)
    assert sent(study, artefact=UNNAMED) == [leak]
    path = study.exchange / "chunks" / digest[7:9] / digest[7:]
    path.unlink()  # whoever took it away again does not take it out of the sender's record
    assert sent(study, artefact=UNNAMED) == [leak]
    assert opened(study).transcript.missing == (digest,)
    path.write_bytes(b"leak")
    forget(study, "clinic-3", digest)
    assert sent(study, artefact=UNNAMED) == [Sent(UNKNOWN, UNNAMED, UNKNOWN, 4, digest, None)]


@pytest.mark.parametrize("name", ["ab/notes.txt", "notes.txt", f"cd/{64 * 'a'}", f"aa/{64 * 'a'}"])
def test_other_files_where_chunks_lie(study, name):
    path = study.exchange / "chunks" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"leak")
    (one,) = sent(study, artefact=UNNAMED)
    assert (one.sender, one.size) == (UNKNOWN, 4)


def test_a_chunk_of_another_size_than_was_recorded(study):
    digest = next(iter(recorded(study, "clinic-0")))
    (study.exchange / "chunks" / digest[7:9] / digest[7:]).write_bytes(b"altered")
    assert opened(study).transcript.unrecorded == (digest,)


def test_what_is_taken_away_or_not_posted_yet_is_missing(study):
    (path,) = [path for path in study.messages("reports").iterdir() if b"clinic-2" in path.read_bytes()]
    before = opened(study).transcript
    path.unlink()
    after = opened(study).transcript
    assert after.missing == (f"sha256:{path.name}",)
    assert after.sent == before.sent  # the party's own record has it


def test_who_posts_without_recording_is_found(study):
    message = CloseRound(task_id=study.task.task_id, round=0)
    envelope = sign(message, signer="hq", identity=study.identities["hq"])
    with open_session(study.root / "hq", "coordinator") as session:
        session.exchange.post(Topic(study.task.task_id, 0, "close"), envelope)
    assert opened(study).transcript.unrecorded == (sha256(envelope),)
    assert sent(study, artefact="close") == [
        Sent("hq", "close", EVERYBODY, len(envelope), sha256(envelope), 0)
    ]


def test_a_receiver_that_somebody_made_up(study):
    digest = sha256(b"leak")
    key = SealedKey(receiver="somebody", sealed=b"")
    message = Report(task_id=study.task.task_id, round=0, keys=(key,), chunks=(digest,))
    envelope = sign(message, signer="clinic-0", identity=study.identities["clinic-0"])
    with open_session(study.root / "clinic-0", "client") as session:
        session.exchange.put_chunk(b"leak")
        session.exchange.post(Topic(study.task.task_id, 0, "reports"), envelope)
    (flow,) = [flow for flow in opened(study).flows if not flow.declared]
    assert (flow.sender, flow.receiver, flow.receiver_role) == ("clinic-0", "somebody", UNKNOWN)


@pytest.mark.parametrize("place", ["votes", "1/reports", "elsewhere"])
def test_messages_where_they_do_not_belong_are_foreign(study, place):
    """A copy shadows nothing: anybody can write it."""
    path = next(study.messages("reports").iterdir())
    folder = {
        "votes": study.messages("votes"),
        "1/reports": study.messages("reports").parents[1] / "1" / "reports",
        "elsewhere": study.exchange / "messages" / "ab" / "0" / "reports",
    }[place]
    folder.mkdir(parents=True)
    (folder / path.name).write_bytes(path.read_bytes())
    (one,) = sent(study, artefact=FOREIGN)
    assert (one.sender, one.digest) == (UNKNOWN, f"sha256:{path.name}")
    assert len(sent(study, artefact="reports")) == len(study.clients)


@pytest.mark.parametrize("content", [b"", b"{}", b"notes of a patient"])
def test_what_nobody_signed_is_foreign(study, content):
    (study.messages("reports") / "notes.txt").write_bytes(content)
    assert [one.size for one in sent(study, artefact=FOREIGN)] == [len(content)]


@pytest.mark.parametrize("kind", ["pairwise", "bfv-blind"])
def test_the_exchange_and_the_parties_tell_the_same(tmp_path, kind):
    study = finished(tmp_path, kind)
    whole = open_study(tmp_path, Declared).transcript
    board = read_exchange(study.exchange, study.task)
    alone = make_transcript(study.task, board.posted, board.chunks, phases=PHASE_OF)
    assert alone == whole
    assert (whole.unrecorded, whole.missing) == ((), ())
    assert {one.digest for one in whole.sent if one.artefact.endswith("chunks")} == set(board.chunks)


def test_every_kind_of_message_with_digests_of_chunks_is_known():
    """A new message that names bulk data has to say for whom it is, or its chunks are unnamed."""
    naming = {"chunks", "parcel", "parcels", "row_sums", "half"}
    for kind in PHASE_OF:
        fields = set(kind.__struct_fields__) & naming
        covered = kind.__name__ in named_chunks.__code__.co_names
        assert bool(fields) == covered, kind.__name__
