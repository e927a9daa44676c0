"""Each check of kind record finds what it is for, wherever it is planted, and says nothing of an honest study."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
from audited import Declared, draws, finished, notes_of, subject_of
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from secprune.audit.check import Kind, Verdict, run
from secprune.audit.needles import BLOCKS_OF_EACH, Needles, blocks_of
from secprune.audit.records import (
    COHORT_SIZE,
    DECLARED_FLOWS,
    LEDGERS_AGREE,
    ONE_RELEASE,
    RESIDUE,
    Cohorts,
    Haystack,
    Released,
    Remains,
)
from secprune.ids import sha256
from secprune.parties.auditor.study import open_study
from secprune.parties.session import open_session
from secprune.pruning.tensorfile import TensorFile

ALL = (DECLARED_FLOWS, RESIDUE, LEDGERS_AGREE, COHORT_SIZE, ONE_RELEASE)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return finished(tmp_path_factory.mktemp("study"), "additive").root


@pytest.fixture
def root(done, tmp_path):
    shutil.copytree(done, tmp_path / "study")
    return tmp_path / "study"


def said(root, check_id):
    """What a check says of a study: None if nothing is wrong."""
    check, subject = subject_of(open_study(root, Declared), check_id)
    found = check.measure(subject, draws(check_id))
    return found.says if found.refuted else None


def work(root, name):
    return next((root / name / "tasks").glob("*/round-000"))


def test_all_are_records_with_a_control():
    assert [check.id for check in ALL] == [
        "declared-flows",
        "residue",
        "ledgers-agree",
        "cohort-size",
        "one-release",
    ]
    assert all(check.kind is Kind.RECORD and check.mutations for check in ALL)


def test_an_honest_study(root):
    assert [said(root, check.id) for check in ALL] == [None] * len(ALL)


def test_what_nobody_looked_at_is_not_confirmed(root):
    """An exchange without any party's directory: a leak on a disk could not be found; and a study that has not begun."""
    for party in (*root.glob("clinic-*"), *root.glob("adder-*"), root / "hq"):
        shutil.rmtree(party)
    check, subject = subject_of(open_study(root, Declared), "residue")
    found = run(check, subject, draws, seed=1, clock=lambda: 0.0)
    assert found.verdict is Verdict.NO_POWER
    assert "no party's directory" in found.measurement.says
    for part in ("messages", "chunks"):
        shutil.rmtree(root / "exchange" / part)
    assert subject_of(open_study(root, Declared), "declared-flows")[1] == "nothing was sent"


def test_what_is_said_does_not_depend_on_how_many_notes_there_are(root):
    def told():
        study = open_study(root, Declared)
        check, subject = subject_of(study, "residue")
        return study.kept, check.measure(subject, draws("residue"))

    before = told()
    with (root / "clinic-0" / "notes.txt").open("a") as notes:
        notes.write("\n\n" + notes_of("another patient"))
    assert told() == before


# ---- declared-flows
def test_a_client_that_sends_something_more(root):
    with open_session(root / "clinic-0", "client") as session:
        session.exchange.put_chunk(b"leak")
    assert "unnamed chunks from clinic-0 to unknown" in said(root, "declared-flows")


def test_files_that_nobody_declared(root):
    (root / "adder-0" / "tasks").mkdir()
    (root / "adder-0" / "tasks" / "copy.bin").write_bytes(b"leak")
    (root / "exchange" / "notes.txt").write_bytes(b"leak")
    text = said(root, "declared-flows")
    assert "kept by adder-0" in text
    assert "kept by exchange" in text


def test_a_flow_that_is_not_declared(root):
    check, subject = subject_of(open_study(root, Declared), "declared-flows")
    without = replace(subject, declares=lambda *flow: flow != ("aggregator", "coordinator", "shares chunks"))
    found = check.measure(without, draws(""))
    assert found.refuted
    assert "shares chunks from adder-0 to hq; shares chunks from adder-1 to hq" in found.says
    assert found.figures[0].value == 6


# ---- residue
def mask_bytes(root):
    stored = TensorFile(work(root, "clinic-1") / "pruning-masks.safetensors")
    return stored.raw("block.0.a.weight").tobytes()


def in_exchange(root):
    return root / "exchange" / "messages" / "x" / "0" / "reports"


PLACES = {
    "a server's directory": lambda root: root / "adder-1",
    "a journal": lambda root: root / "hq",
    "the exchange": in_exchange,
    "logs": lambda root: root / "logs",
    "beside": lambda root: root,
}


@pytest.mark.parametrize("what", ["mask", "note"])
@pytest.mark.parametrize("place", PLACES)
def test_a_clients_data_in_the_clear(root, place, what):
    data = mask_bytes(root)[100:200] if what == "mask" else notes_of("clinic-1").encode()[5000:5300]
    folder = PLACES[place](root)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ("journal.sqlite" if place == "a journal" else "trace")
    path.write_bytes((path.read_bytes() if path.exists() else b"#") + b"x" + data + b"y")
    text = said(root, "residue")
    assert "data of clinic-1 in " in text
    assert data[:8].decode(errors="replace") not in text


def test_a_statistic_in_the_clear(tmp_path):
    study = finished(tmp_path, "square-sums")
    assert said(tmp_path, "residue") is None
    vector = study.statistics["clinic-2", 0]["block.0.a.weight"]
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "adder-0-run").write_bytes(b"!" + vector.tobytes())
    assert "data of clinic-2 in logs" in said(tmp_path, "residue")


def test_a_chunk_in_place_of_a_sealed_one(root):
    chunk = max((root / "exchange" / "chunks").glob("*/*"), key=lambda path: path.stat().st_size)
    chunk.write_bytes(bytes(range(16)) * (chunk.stat().st_size // 16))
    for name in ("clinic-0", "clinic-1", "clinic-2", "clinic-3"):
        shutil.rmtree(root / name)  # no needles: seen by its form
    assert "bytes that are not encrypted in the exchange" in said(root, "residue")


def test_a_file_of_masks_where_none_may_be_is_known_by_its_form(root):
    masks = (work(root, "clinic-0") / "pruning-masks.safetensors").read_bytes()
    for name in ("clinic-0", "clinic-1", "clinic-2", "clinic-3"):
        shutil.rmtree(root / name)
    (root / "adder-0" / "adder-0.card.json").write_bytes(masks)  # under a name that is declared
    assert "a file of masks, votes or statistics in the directory of adder-0" in said(root, "residue")


def test_what_the_cohort_agrees_on_is_no_residue(root):
    """A sum in which all votes agree holds everybody's votes; that is disclosed, and no leak of one party."""
    final = work(root, "hq") / "final-pruning-mask.safetensors"
    shutil.copy(work(root, "clinic-0") / "pruning-masks.safetensors", final)
    assert said(root, "residue") is None
    final.rename(final.with_name("something-else"))  # under a name that is not declared it is found
    assert "data of clinic-0 in the directory of hq" in said(root, "residue")


@given(
    hnp.arrays(np.uint8, st.integers(80, 300)),
    st.binary(max_size=40),
    st.binary(max_size=40),
    st.integers(0, 200),
)
def test_a_copy_of_twice_the_width_is_found_at_any_offset(data, before, after, start):
    whole = data.tobytes()
    blocks = blocks_of(whole, 16)
    needles = Needles(dict.fromkeys(blocks, "x"))
    part = whole[start : start + 31]
    hay = before + part + after
    assert needles.owners_in(hay) == ({"x"} if any(block in hay for block in blocks) else frozenset())
    aligned = whole[start - start % 16 :][:16]
    if len(part) == 31 and aligned != part[:16]:
        inside = whole[(start // 16 + 1) * 16 :][:16]
        assert inside not in blocks or needles.owners_in(hay)


def test_needles_are_few_and_none_is_found_in_noise():
    data = np.random.default_rng(1).bytes(32 * 20_000)
    blocks = blocks_of(data, 32)
    assert BLOCKS_OF_EACH <= len(blocks) < 2 * BLOCKS_OF_EACH
    needles = Needles(dict.fromkeys(blocks, "x"))
    assert not needles.owners_in(np.random.default_rng(2).bytes(2**20))
    assert needles.owners_in(data[1000:60_000])
    assert blocks_of(bytes(1000) + b"\xff" * 1000, 32) == []
    assert not Needles({}).owners_in(data)


@pytest.mark.parametrize("piece", [b"", b"x" * 7, b"x" * 40])
def test_short_haystacks(piece):
    stack = Haystack("x", sealed=False, read=lambda: [piece])
    needles = Needles(dict.fromkeys(blocks_of(bytes(range(64)), 32), "x"))
    assert not RESIDUE.measure(Remains((stack,), needles, (), ("adder-0",)), draws("")).refuted


# ---- ledgers-agree
def test_a_ledger_that_was_rewritten(root):
    check, subject = subject_of(open_study(root, Declared), "ledgers-agree")
    (label, data), *others = subject.ledgers
    cut = replace(subject, ledgers=((label, data.split(b"\n", 1)[1]), *others))
    assert check.measure(cut, draws("")).refuted


# ---- cohort-size, one-release
A, B = sha256(b"a"), sha256(b"b")
MODEL = sha256(b"model")
CLIENTS = ("c0", "c1", "c2", "c3")


def released(task_id, members, *, party="adder-0", index=0, model=MODEL):
    return Released(party, task_id, index, model, tuple(members))


def test_strangers_and_repeated_names_make_no_cohort_larger():
    for members, refuted in (
        (CLIENTS, False),
        (CLIENTS[:3], False),
        (CLIENTS[:2], True),
        ((*CLIENTS[:2], "c0", "stranger"), True),
    ):
        subject = Cohorts((released(A, CLIENTS), released(A, members)), CLIENTS, 3)
        assert COHORT_SIZE.measure(subject, draws("")).refuted is refuted


@pytest.mark.parametrize(
    ("other", "refuted"),
    [
        (released(B, CLIENTS[:3]), True),
        (released(B, CLIENTS), True),
        (released(B, CLIENTS[:3], party="adder-1"), True),
        (released(B, ["c4", "c5", "c6"]), False),
        (released(B, CLIENTS, model=sha256(b"other")), False),
        (released(A, CLIENTS, party="adder-1"), False),
        (released(A, CLIENTS, index=1), False),
        (released(A, CLIENTS[:3], party="adder-1"), True),
    ],
)
def test_second_releases(other, refuted):
    assert ONE_RELEASE.measure((released(A, CLIENTS), other), draws("")).refuted is refuted


def test_a_second_task_over_the_same_model_is_in_the_ledgers(root):
    with open_session(root / "adder-0", "aggregator") as session:
        journal = session.journal.at_round(0)
        journal._key = (B, 0)
        journal.record_release(session.task.model.weights_digest, ["clinic-0", "clinic-1", "clinic-2"])
    assert "share 3 clients" in said(root, "one-release")
