"""Masks and kept weights from a client's file to the coordinator's, without a language model."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace
from small_study import MATRICES, make_study

from secprune.errors import LocalMisuseError, RemoteMisbehaviourError
from secprune.fixedpoint import FixedPoint
from secprune.packing import pack
from secprune.parties import client, report_words
from secprune.parties.report_words import KEPT_WEIGHTS_FILE
from secprune.parties.session import open_session
from secprune.parties.sums import COUNTS_FILE
from secprune.protocols.api import Round
from secprune.protocols.payloads import holds_weights, kept_name
from secprune.pruning.averaging import mean_bits
from secprune.pruning.tensorfile import TensorFile
from secprune.storage.kept_weights import KeptMatrix, KeptWeightsFile, write_kept_weights
from secprune.task import FedSpaLLMSpec, MatrixSpec, PruningSpec

BITS = 11
FIXED = FixedPoint(BITS)
SPEC = PruningSpec(
    algorithm="fedspallm",
    sparsity="1/2",
    sequence_length=8,
    max_windows=4,
    fedspallm=FedSpaLLMSpec(weight_bits=BITS),
)
SPECS = [MatrixSpec(name=name, rows=rows, columns=columns) for name, rows, columns in MATRICES]


def random_kept(seed):
    """Of every matrix a mask without any budget, and numbers, both ends of their range among them."""
    rng, found = np.random.default_rng(seed), []
    for m in SPECS:
        mask = rng.random((m.rows, m.columns)) < rng.uniform(0.2, 0.8)
        numbers = rng.integers(0, FIXED.most + 1, mask.shape, np.uint16)
        numbers[0, :2], mask[0, :2] = (0, FIXED.most), False
        numbers[mask] = FIXED.half
        found.append(KeptMatrix(m.name, mask, numbers))
    return found


def new_study(root, **options):
    study = make_study(root, pruning=SPEC, with_masks=False, **options)
    kept = {}
    for seed, name in enumerate(study.clients):
        kept[name] = random_kept(seed)
        put(study, name, kept[name])
    return study, kept


def put(study, name, kept):
    with open_session(study.root / name, "client") as session:
        write_kept_weights(
            session.work / KEPT_WEIGHTS_FILE, kept, session.round.matrices, task_id=study.task.task_id
        )


def summed(study, kept, names):
    """Of each tensor of the coordinator's file, what it must be."""
    due = {}
    for index, m in enumerate(study.task.model.matrices):
        due[m.name] = sum(kept[name][index].mask.astype(np.int64) for name in names)
        due[kept_name(m.name)] = sum(kept[name][index].numbers.astype(np.int64) for name in names)
    return due


# ---- the file
def test_what_is_written_is_read(tmp_path):
    kept = random_kept(1)
    write_kept_weights(tmp_path / "k", reversed(kept), SPECS, task_id="t")
    file = KeptWeightsFile(tmp_path / "k", SPECS, FIXED, task_id="t")
    for name, mask, numbers in kept:
        np.testing.assert_array_equal(file.masks.rows(name), mask)
        np.testing.assert_array_equal(file.numbers(name), numbers)
        np.testing.assert_array_equal(file.numbers(name, 2, 5), numbers[2:5])
    assert TensorFile(tmp_path / "k").metadata == {"task_id": "t", "kind": "kept-weights"}


@pytest.mark.parametrize("how", ["missing", "shape", "numbers", "stranger", "interrupted"])
def test_all_or_nothing(tmp_path, how):
    first, *rest = random_kept(1)

    def given():
        yield from rest
        if how == "interrupted":
            raise KeyboardInterrupt
        if how == "shape":
            yield KeptMatrix(first.name, first.mask[1:], first.numbers[1:])
        if how == "numbers":
            yield KeptMatrix(first.name, first.mask, first.numbers[1:])
        if how == "stranger":
            yield KeptMatrix("other", first.mask, first.numbers)

    with pytest.raises((LocalMisuseError, KeyboardInterrupt)):
        write_kept_weights(tmp_path / "k", given(), SPECS, task_id="t")
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_not_of_this_task_are_refused(tmp_path):
    kept = random_kept(1)
    write_kept_weights(tmp_path / "k", kept, SPECS, task_id="t")
    with pytest.raises(LocalMisuseError, match="another task"):
        KeptWeightsFile(tmp_path / "k", SPECS, FIXED, task_id="u")
    wider = [replace(SPECS[0], columns=SPECS[0].columns - 1), *SPECS[1:]]  # as many bytes of mask
    with pytest.raises(LocalMisuseError, match="no kept weights"):
        KeptWeightsFile(tmp_path / "k", wider, FIXED, task_id="t")
    narrow = KeptWeightsFile(tmp_path / "k", SPECS, FixedPoint(BITS - 1), task_id="t")
    with pytest.raises(LocalMisuseError, match="damaged"):
        narrow.numbers(SPECS[0].name)


# ---- words
def test_words_of_a_report_are_masks_and_then_weights(tmp_path):
    study, kept = new_study(tmp_path)
    mine = {m.name: m for m in kept["clinic-1"]}
    with open_session(tmp_path / "clinic-1", "client") as session:
        words, layout = report_words.open_report(session), session.round.layout
        seen = []
        for chunk in layout.chunks:
            slab, rows = chunk.slab, []
            for matrix, low, high in slab.pieces(chunk.first_row, chunk.end_row):
                name = matrix.name.removeprefix("kept weights of ")
                both = mine[name]
                rows.append((both.numbers if holds_weights(slab) else both.mask)[low:high])
                seen.append(matrix.name)
            due = pack(np.concatenate(rows), base=slab.base, digits=slab.digits)
            np.testing.assert_array_equal(words.words(chunk), due)
    assert sorted(seen) == sorted([*mine, *map(kept_name, mine)])
    assert holds_weights(layout.slabs[-1])
    assert not holds_weights(layout.slabs[0])
    assert study.task.pruning.row_budget(16) is None


def test_secrets_belong_to_masks_and_weights(tmp_path):
    """Another weight under the same keystream would tell the difference of the two; only one report counts."""
    study, kept = new_study(tmp_path)
    study.submit("clinic-0")
    study.submit("clinic-0")  # control
    first, *rest = kept["clinic-0"]
    changed = first.numbers.copy()
    changed[1, 0] = FIXED.half if changed[1, 0] != FIXED.half else 0
    put(study, "clinic-0", [KeptMatrix(first.name, first.mask, changed), *rest])
    with pytest.raises(LocalMisuseError, match="masks and kept weights have changed"):
        study.submit("clinic-0")


def test_without_a_file_there_is_nothing_to_report(tmp_path):
    study = make_study(tmp_path, pruning=SPEC, with_masks=False)
    with (
        open_session(tmp_path / "clinic-0", "client") as session,
        pytest.raises(LocalMisuseError, match="no pruning masks and kept weights yet"),
    ):
        client.submit(session)
    assert study.task.pruning.algorithm == "fedspallm"


# ---- sums
@pytest.mark.parametrize(
    ("protocol", "gone"),
    [("additive", ()), ("pairwise", ()), ("additive", ("clinic-2",)), ("pairwise", ("clinic-2",))],
)
def test_both_sums_are_exact_and_about_one_cohort(tmp_path, protocol, gone):
    study, kept = new_study(tmp_path, protocol=protocol, aggregators=1 if protocol == "pairwise" else 2)
    there = [name for name in study.clients if name not in gone]
    if protocol == "pairwise":
        outcomes = study.run_pairwise(*there, close_after_s=1.5 if gone else None)
    else:
        study.submit(*there)
        outcomes = study.run_servers(close_after_s=0.1 if gone else None)
    assert {n: repr(o) for n, o in outcomes.items() if isinstance(o, Exception)} == {}
    due, found = summed(study, kept, there), study.counts()
    assert found.keys() == due.keys()
    for name, total in due.items():
        np.testing.assert_array_equal(found[name], total)
    (path,) = (tmp_path / "hq").rglob(COUNTS_FILE)
    stored = TensorFile(path)
    assert stored.metadata["cohort"] == str(len(there))
    assert {stored.entry(m.name)[0] for m in SPECS} == {"U8"}
    assert {stored.entry(kept_name(m.name))[0] for m in SPECS} == {"U32"}


def test_weights_that_do_not_fit_their_mask_show_where_too_few_kept_them(tmp_path):
    """One client sends a weight that it prunes. Beside another one's it may not show; where nobody kept any, it does."""
    study, kept = new_study(tmp_path)
    for name in study.clients:
        for matrix in kept[name]:
            matrix.mask[3, 3], matrix.numbers[3, 3] = True, FIXED.half
    kept["clinic-0"][0].numbers[3, 3] += 1
    for name in study.clients:
        put(study, name, kept[name])
    study.submit()
    study.run_servers()
    found = study.counts()
    for index, m in enumerate(SPECS):

        def mean(name=m.name):
            return mean_bits(
                found[name], found[kept_name(name)], fixed=FIXED, cohort=4, reach=1.0, dtype="F32"
            )

        if index:
            assert mean()[3, 3] == 0  # control
        else:
            with pytest.raises(RemoteMisbehaviourError, match="do not belong together"):
                mean()


# ---- size
@pytest.mark.parametrize("bits", [8, 15, 16])
@pytest.mark.parametrize(("clients", "digits"), [(3, 32), (8, 20), (64, 10)])
def test_a_report_takes_as_many_bits_as_its_counters_fill_words(tmp_path, clients, digits, bits):
    weight_digits = int(64 / np.log2(clients * FixedPoint(bits).most + 1))
    rows = 4 * digits * weight_digits
    pruning = replace(SPEC, fedspallm=FedSpaLLMSpec(weight_bits=bits))
    task = make_study(
        tmp_path, clients=clients, matrices=(("w", rows, 24),), pruning=pruning, with_masks=False
    ).task
    layout = Round.of(task).layout
    assert [slab.digits for slab in layout.slabs] == [digits, weight_digits]
    assert 64 * layout.words / (rows * 24) == pytest.approx(64 / digits + 64 / weight_digits, rel=1e-12)


@pytest.mark.parametrize("excess", [0, 1])
def test_a_sum_of_weights_beyond_what_a_cohort_can_send_is_no_sum(tmp_path, excess):
    task = make_study(tmp_path, pruning=SPEC, with_masks=False).task
    round_ = Round.of(task)
    chunk = next(c for c in round_.layout.chunks if holds_weights(c.slab))
    sums = np.zeros((chunk.end_row - chunk.first_row, chunk.slab.columns), np.uint32)
    sums[2, 3] = 3 * FIXED.most + excess  # three of the roster's four are counted
    words = pack(sums, base=chunk.slab.base, digits=chunk.slab.digits)
    read = round_.payload.read(chunk, words, cohort_size=3)
    if excess:
        assert read is None
    else:
        np.testing.assert_array_equal(read, sums)
