"""Row-sum words are opened only where their total is a public constant."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
import turns
from small_study import make_study

from secprune.crypto.entropy import random_bytes
from secprune.crypto.envelope import open_envelope
from secprune.crypto.seal import TAG_BYTES
from secprune.exchange.directory import DirectoryExchange
from secprune.messages.types import Report, ReportCheck
from secprune.packing import WORD_BYTES, Layout, PackedMatrix
from secprune.parties.session import open_session
from secprune.protocols.additive.row_sums import open_row_sums, row_group_count, row_sum_fault
from secprune.protocols.api import Round
from secprune.task import PruningSpec


def keys_of(study):
    return {p.name: p.signing_key for p in study.task.parties}


def reports(study):
    return study.messages("reports").iterdir()


def checks_of(study):
    for path in study.messages("checks").iterdir():
        yield open_envelope(path.read_bytes(), ReportCheck, signing_keys=keys_of(study))


def run(tmp_path, **pruning):
    spec = PruningSpec(sparsity="1/2", sequence_length=8, max_windows=4, **pruning)
    study = make_study(tmp_path, pruning=spec, with_masks=False)
    rng = np.random.default_rng(1)
    for name in study.clients:  # rows of any number of ones, but for a budget
        if spec.row_budget(16) is None:
            masks = {m.name: rng.random((m.rows, m.columns)) < 0.5 for m in study.task.model.matrices}
            study.put_masks(name, masks)
        else:
            study.make_masks(name, int(rng.integers(100)))
    study.submit()
    assert not [o for o in study.run_servers().values() if isinstance(o, Exception)]
    for name, plain in study.expected_counts().items():
        np.testing.assert_array_equal(study.counts()[name], plain)
    return study


@pytest.mark.parametrize(
    ("pruning", "is_opened"),
    [
        ({}, True),  # the control: with a budget the words are there
        ({"local_pruner": "wanda-adaptive"}, False),
        ({"local_pruner": "sparsegpt"}, False),
        ({"local_comparison": "layer"}, False),
        ({"local_comparison": "column"}, False),
    ],
)
def test_words_of_slabs_without_a_row_budget_are_neither_sent_nor_kept(tmp_path, pruning, is_opened):
    study = run(tmp_path, **pruning)
    round_ = Round.of(study.task)
    groups = sum(slab.groups for slab in round_.layout.slabs)
    exchange, seen = DirectoryExchange(study.exchange), 0
    for sender, check in checks_of(study):
        (receiver,) = {*study.aggregators} - {sender}
        names = {"sender": sender, "receiver": receiver, "client": check.client}
        words = open_row_sums(
            round_, check.row_sums, **names, identity=study.identities[receiver], fetch=exchange.get_chunk
        )
        assert words.size == (groups if is_opened else 0)
        (digest,) = check.row_sums[0].chunks
        assert len(exchange.get_chunk(digest)) == TAG_BYTES + words.size * WORD_BYTES
        with open_session(study.root / sender, "aggregator") as session:
            assert len(session.journal.row_sums(check.report)) == words.size * WORD_BYTES
        seen += 1
    assert seen == len(study.aggregators) * len(study.clients)


def test_of_a_mixed_layout_only_slabs_with_a_budget_are_opened_and_judged():
    layout = Layout.of(
        [
            PackedMatrix("free", 60, 8, None),
            PackedMatrix("due", 5, 4, 2),
            PackedMatrix("free too", 3, 6, None),
        ],
        n_max=4,
    )
    assert [slab.groups for slab in layout.slabs] == [3, 1, 1]
    assert row_group_count(layout) == 1
    due = layout.chunks[1].row_sum_targets()
    assert row_sum_fault(layout, [due - np.uint64(7), np.array([7], np.uint64)]) == ""
    assert "due" in row_sum_fault(layout, [due, np.array([7], np.uint64)])


def test_a_report_without_any_budget_that_cannot_be_read_is_still_refused(tmp_path):
    spec = PruningSpec(sparsity="1/2", sequence_length=8, max_windows=4, local_comparison="layer")
    study = make_study(tmp_path, pruning=spec)
    study.submit(*study.clients[1:])
    others = [open_envelope(p.read_bytes(), Report, signing_keys=keys_of(study)) for p in reports(study)]
    garbage = DirectoryExchange(study.exchange).put_chunk(random_bytes(100))
    report = msgspec.structs.replace(others[0][1], chunks=(garbage, *others[0][1].chunks[1:]))
    turns.post(study, "clinic-0", report)
    outcome = study.run_servers()["hq"]
    assert outcome.cohort == study.clients[1:]
    assert set(outcome.refused) == {"clinic-0"}
