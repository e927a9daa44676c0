"""The agreed mask of a round, as a client gets it from the coordinator through the exchange."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from fuzz.fuzzing import MEMORY, bulk, fuzz, judged, mutated, new_directory, peak_of, refused, workplace
from hypothesis import strategies as st
from small_study import make_study

from secprune.errors import RemoteMisbehaviourError, SecpruneError
from secprune.ids import sha256
from secprune.messages.types import RoundOutcome
from secprune.parties.outcome import AGREED_FILE, await_outcome
from secprune.parties.session import Patience
from secprune.protocols.api import Round
from secprune.storage.masks import MaskFile, write_masks
from secprune.task import PruningSpec


@cache
def study():
    pruning = PruningSpec(sparsity="1/2", sequence_length=8, max_windows=4, schedule="iterative")
    return make_study(new_directory(), matrices=(("a.weight", 3, 8), ("b.weight", 2, 13)), pruning=pruning)


@cache
def agreed():
    """Mask files: a right one, one of another task, and one that prunes too much."""
    round_, found, path = Round.of(study().task), [], workplace() / "agreed"
    for task_id, more in ((round_.task_id, 0), ("sha256:" + "0" * 64, 0), (round_.task_id, 1)):
        masks = []
        for m in round_.matrices:
            mask = np.zeros(m.rows * m.columns, bool)
            mask[: study().task.pruning.final_k(m.rows, m.columns) + more] = True
            masks.append((m.name, mask.reshape(m.rows, m.columns)))
        write_masks(path, masks, round_.matrices, task_id=task_id)
        found.append(path.read_bytes())
    return found


def receive(*pieces):
    """What a client's software makes of an outcome of these pieces."""
    round_, stored = Round.of(study().task), {sha256(piece): piece for piece in pieces}
    work = workplace() / "client"
    work.mkdir(exist_ok=True)
    (work / AGREED_FILE).unlink(missing_ok=True)
    message = RoundOutcome(**round_.names, chunks=tuple(sha256(piece) for piece in pieces))
    session = SimpleNamespace(
        round=round_,
        task=study().task,
        work=work,
        exchange=SimpleNamespace(get_chunk=stored.__getitem__),
        read_one_each=lambda _kind: iter([SimpleNamespace(message=message, sender="hq")]),
        check_abandoned=lambda: None,
    )
    return await_outcome(session, Patience(0))


def check(*pieces):
    found = judged(lambda _: receive(*pieces), b"".join(pieces), blames={"hq"})
    if refused(found):
        return "refused"
    assert isinstance(found, MaskFile)
    for m in Round.of(study().task).matrices:
        rows = found.rows(m.name)
        assert rows.shape == (m.rows, m.columns)
        assert np.count_nonzero(rows) == study().task.pruning.final_k(m.rows, m.columns)
    return "read"


def test_the_right_one_is_read_and_the_others_are_not():
    right, other, too_much = agreed()
    assert check(right) == check(right[:10], right[10:]) == "read"
    assert check(other) == check(too_much) == check() == check(right, right) == "refused"
    assert isinstance(judged(lambda _: receive(too_much), b""), RemoteMisbehaviourError)


@fuzz(120, data=mutated(agreed), cut=st.integers(0, 400))
def test_a_changed_outcome_is_refused_or_prunes_what_is_due(data, cut):
    check(data[:cut], data[cut:])


def test_many_changed_outcomes():
    for data in bulk(agreed, 1200):
        check(data)


def test_an_outcome_of_too_many_pieces_is_not_read():
    pieces = [bytes([i]) * 2**20 for i in range(200)]
    assert peak_of(lambda: judged(lambda _: receive(*pieces), b"", blames={"hq"})) < MEMORY


@pytest.mark.parametrize("which", ["malformed", "another task", "no masks"])
def test_an_outcome_that_is_no_mask_file_is_the_coordinators_fault(which):
    data = {
        "malformed": agreed()[0][:-1],
        "another task": agreed()[1],
        "no masks": b"\x02" + bytes(7) + b"{}",
    }[which]
    with pytest.raises(SecpruneError) as caught:
        receive(data)
    assert isinstance(caught.value, RemoteMisbehaviourError)
    assert caught.value.party == "hq"
