"""Rounds of noised votes: their sum is exactly that of what clients sent, and nothing says more than it must."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
import turns
from small_study import MATRICES, make_study

from secprune.crypto.envelope import open_envelope
from secprune.crypto.seal import TAG_BYTES
from secprune.errors import ConfigurationError, LocalMisuseError, RemoteMisbehaviourError
from secprune.exchange.directory import DirectoryExchange
from secprune.messages.types import ReportCheck
from secprune.packing import pack, unpack
from secprune.parties import client, report_words, selection
from secprune.parties.report_words import MASKS_FILE, NOISY_VOTES_FILE
from secprune.parties.session import open_session
from secprune.parties.status import status
from secprune.parties.sums import COUNTS_FILE, counts_dtype
from secprune.parties.voting import write_votes
from secprune.privacy.votes import count_noise
from secprune.protocols.api import Round
from secprune.protocols.bfv.terms import parameters_of
from secprune.pruning.selection import final_mask
from secprune.pruning.tensorfile import TensorFile, write_tensor_file
from secprune.storage.masks import MaskFile
from secprune.storage.noisy_votes import NoisyVotesFile
from secprune.task import CountNoiseSpec, PrivacySpec, ResponseSpec
from secprune_threat_models import load_system

KINDS = turns.KINDS | {"cleartext": {"protocol": "cleartext", "aggregators": 2}}
COUNT_NOISE = PrivacySpec(mechanism="count-noise", count_noise=CountNoiseSpec(sigma="3", colluders=1))
RESPONSE = PrivacySpec(mechanism="randomised-response", response=ResponseSpec(flip="0.2"))
NAMES = [name for name, _, _ in MATRICES]


def file_of(study, name):
    with open_session(study.root / name, "client") as session:
        return session.work / report_words.contents_of(session).file


def sent(study, name):
    """What this client's file holds, by matrix."""
    path, task = file_of(study, name), study.task
    if noise := count_noise(task):
        stored = NoisyVotesFile(path, task.model.matrices, noise, task_id=task.task_id)
    else:
        stored = MaskFile(path, task.model.matrices, task_id=task.task_id)
    return {matrix: stored.rows(matrix).astype(int) for matrix in NAMES}


def counts_file(study):
    (path,) = (study.root / "hq").rglob(COUNTS_FILE)
    return TensorFile(path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("privacy", [COUNT_NOISE, RESPONSE])
def test_the_sum_is_exactly_that_of_votes_and_noise(tmp_path, kind, privacy):
    study = make_study(tmp_path, **KINDS[kind], privacy=privacy)
    outcomes = turns.settle(study)
    assert not [o for o in outcomes.values() if isinstance(o, Exception)], outcomes
    counts, each, plain = (
        study.counts(),
        [sent(study, name) for name in study.clients],
        study.expected_counts(),
    )
    noise = count_noise(study.task)
    offset = 0 if noise is None else 4 * noise.bound
    for matrix in NAMES:
        np.testing.assert_array_equal(counts[matrix], sum(one[matrix] for one in each))
        assert not np.array_equal(counts[matrix].astype(int) - offset, plain[matrix])  # there is noise
        assert abs(counts[matrix].astype(int) - offset - plain[matrix]).mean() < 6
    assert counts_file(study).metadata.get("offset") == (str(offset) if offset else None)


def test_who_comes_too_late_is_in_no_noisy_sum(tmp_path):
    study = make_study(tmp_path, privacy=COUNT_NOISE)
    study.submit(*study.clients[:3])
    assert study.run_servers(close_after_s=2)["hq"].cohort == study.clients[:3]
    each = [sent(study, name) for name in study.clients[:3]]
    for matrix, counts in study.counts().items():
        np.testing.assert_array_equal(counts, sum(one[matrix] for one in each))
    assert counts_file(study).metadata["offset"] == str(3 * count_noise(study.task).bound)


@pytest.mark.parametrize("privacy", [COUNT_NOISE, RESPONSE])
def test_no_words_of_noised_votes_are_opened(tmp_path, privacy):
    """Rows of noised votes hold any number of them, so there is nothing to check, and much to learn."""
    study = make_study(tmp_path, privacy=privacy)
    study.submit()
    study.run_servers()
    keys, exchange = {p.name: p.signing_key for p in study.task.parties}, DirectoryExchange(study.exchange)
    checks = [
        open_envelope(p.read_bytes(), ReportCheck, signing_keys=keys)[1]
        for p in study.messages("checks").iterdir()
    ]
    assert len(checks) == 8
    for check in checks:
        assert [len(exchange.get_chunk(p.chunks[0])) for p in check.row_sums] == [TAG_BYTES]


@pytest.mark.parametrize("kind", ["blind", "simple"])
def test_of_bfv_counters_have_room_for_all_noise(tmp_path, kind):
    study = make_study(tmp_path, **KINDS[kind], privacy=COUNT_NOISE, with_masks=False)
    plain = make_study(tmp_path / "plain", **KINDS[kind], with_masks=False)
    parameters, most = parameters_of(study.task), count_noise(study.task).most
    assert parameters.base == 4 * most + 1
    assert parameters.digits < parameters_of(plain.task).digits
    assert parameters.primes[0] > parameters.scale * parameters.base**parameters.digits
    assert {(s.base, s.digits) for s in Round.of(study.task).layout.slabs} == {
        (parameters.base, parameters.digits)
    }
    assert b'"each"' not in msgspec.json.encode(parameters_of(plain.task))


# ---- the client's own file
@pytest.mark.parametrize("privacy", [COUNT_NOISE, RESPONSE])
def test_noise_is_drawn_once(tmp_path, privacy):
    study = make_study(tmp_path, privacy=privacy)
    before = file_of(study, "clinic-0").read_bytes()
    with pytest.raises(LocalMisuseError, match="noise is drawn once"):
        study.put_masks("clinic-0", study.masks["clinic-0"])
    with (
        open_session(tmp_path / "clinic-0", "client") as session,
        pytest.raises(LocalMisuseError, match="once"),
    ):
        client.prune(session)  # before it reads notes or a model, which are not there
    assert file_of(study, "clinic-0").read_bytes() == before
    study.submit("clinic-0")
    study.submit("clinic-0")  # the same bytes
    assert len(list(study.messages("reports").iterdir())) == 1


def test_masks_without_their_noise_are_not_kept(tmp_path):
    study = make_study(tmp_path, privacy=COUNT_NOISE)
    assert [p.name for p in (tmp_path / "clinic-0").rglob("*.safetensors")] == [NOISY_VOTES_FILE]
    study = make_study(tmp_path / "b", privacy=RESPONSE)
    assert [p.name for p in (tmp_path / "b" / "clinic-0").rglob("*.safetensors")] == [MASKS_FILE]
    turned = [sent(study, "clinic-0")[m] != study.masks["clinic-0"][m] for m in NAMES]
    share = np.concatenate([t.ravel() for t in turned]).mean()
    assert 0.12 < share < 0.28  # 1272 coins of one in five


def test_status_says_what_there_is_to_report(tmp_path):
    make_study(tmp_path, privacy=COUNT_NOISE)
    with open_session(tmp_path / "clinic-0", "client") as session:
        assert status(session).stands == "noised votes ready, not submitted"


def test_masks_of_another_shape_are_refused_and_nothing_is_kept(tmp_path):
    study = make_study(tmp_path, privacy=COUNT_NOISE, with_masks=False)
    study.make_masks("clinic-1", 1)
    for wrong in ("a shape", "a matrix missing", "a matrix more"):
        masks = dict(study.masks["clinic-1"])
        if wrong == "a shape":
            masks[NAMES[0]] = masks[NAMES[0]][:, 1:]
        elif wrong == "a matrix missing":
            del masks[NAMES[0]]
        with open_session(tmp_path / "clinic-0", "client") as session:
            items = (
                [*masks.items(), ("other", masks[NAMES[1]])] if wrong == "a matrix more" else [*masks.items()]
            )
            with pytest.raises(LocalMisuseError):
                write_votes(session, items)
        assert not file_of(study, "clinic-0").exists()


@pytest.mark.parametrize("fault", ["a vote", "a shape", "another task"])
def test_a_damaged_file_is_not_sent(tmp_path, fault):
    study = make_study(tmp_path, privacy=COUNT_NOISE)
    path, votes, noise = file_of(study, "clinic-0"), sent(study, "clinic-0"), count_noise(study.task)
    task_id = study.task.task_id if fault != "another task" else turns.NOBODYS
    if fault == "a vote":
        votes[NAMES[2]][3, 4] = noise.most + 1
    elif fault == "a shape":
        votes[NAMES[2]] = votes[NAMES[2]][1:]
    shapes = [(name, "U8", rows.shape) for name, rows in votes.items()]
    with write_tensor_file(path, shapes, metadata={"task_id": task_id}) as writer:
        for name, rows in votes.items():
            writer.write(name, rows.astype(np.uint8))
    with pytest.raises(LocalMisuseError):
        study.submit("clinic-0")


def test_every_file_is_declared(tmp_path):
    study = make_study(tmp_path, privacy=COUNT_NOISE)
    turns.settle(study)
    root = study.root / "clinic-0"
    found = {
        load_system().artefact_at("client", str(p.relative_to(root))) for p in root.rglob("*") if p.is_file()
    }
    assert None not in found
    assert "noised votes" in {artefact.name for artefact in found}


# ---- who lies, and what is made of the sum
@pytest.mark.parametrize("kind", ["additive", "pairwise"])
@pytest.mark.parametrize("excess", [0, 1])
def test_a_sum_above_what_the_cohort_can_add_up_to_is_never_written(tmp_path, monkeypatch, kind, excess):
    study = make_study(tmp_path, **KINDS[kind], privacy=COUNT_NOISE)
    honest, most = report_words._NoisyWords.words, count_noise(study.task).most

    def words(self, chunk):
        found = honest(self, chunk)
        if chunk.index == 0:
            found[0, 3] = 3 * most - 2 + excess if "clinic-2" in self.path.parts else 1
        return found

    monkeypatch.setattr(report_words._NoisyWords, "words", words)
    there = [name for name in turns.everybody(study) if name != "clinic-3"]
    outcomes = turns.settle(study, *there, close=("keys",) if kind == "pairwise" else ("reports",))
    is_written = COUNTS_FILE in {p.name for p in (study.root / "hq").rglob("*")}
    assert is_written == (not excess), outcomes


def test_what_a_cohort_can_add_up_to_depends_on_its_size(tmp_path):
    round_ = Round.of(make_study(tmp_path, privacy=COUNT_NOISE, with_masks=False).task)
    chunk, most = round_.layout.chunks[0], round_.payload.most
    total = np.zeros(chunk.shape, np.uint64)
    total[0, 0] = 3 * most
    assert round_.payload.read(chunk, total, cohort_size=3)[0, 0] == 3 * most
    total[0, 0] += np.uint64(1)
    assert round_.payload.read(chunk, total, cohort_size=3) is None
    assert round_.payload.read(chunk, total, cohort_size=4)[0, 0] == 3 * most + 1


@pytest.mark.parametrize("comparison", ["layer", "row", "column"])
@pytest.mark.parametrize("ties", ["votes-magnitude-index", "votes-index", "votes-random"])
def test_the_final_mask_is_taken_from_noisy_totals_in_their_order(tmp_path, comparison, ties):
    study = make_study(tmp_path, privacy=COUNT_NOISE)
    study.submit()
    study.run_servers()
    pruning = msgspec.structs.replace(study.task.pruning, server_comparison=comparison, ties=ties)
    noise = count_noise(study.task)
    for name, counts in study.counts().items():
        key = np.arange(counts.size, dtype=np.uint16).reshape(counts.shape)
        options = {"pruning": pruning, "cohort": 4, "tie_seed": bytes(32)}
        mask = final_mask(counts, key, most=noise.most, **options)
        if comparison == "layer" and ties != "votes-random":
            order = np.argsort(-counts.astype(int).ravel(), kind="stable")
            due = np.zeros(counts.size, np.bool_)
            due[order[: pruning.layer_k(*counts.shape)]] = True
            np.testing.assert_array_equal(mask.ravel(), due, name)
        assert counts[mask].mean() > counts[~mask].mean()
        with pytest.raises(RemoteMisbehaviourError, match="exceeds 4"):
            final_mask(counts, key, **options)


@pytest.mark.parametrize("privacy", [COUNT_NOISE, RESPONSE, PrivacySpec()])
def test_of_noised_votes_nobody_counts_those_that_are_zero(tmp_path, privacy):
    task = make_study(tmp_path, privacy=privacy, with_masks=False).task
    items = [("w", np.ones((2, 2), np.bool_), np.zeros((2, 2), np.uint8))]
    tally = selection._Tally()
    if privacy.mechanism == "none":  # the control
        with pytest.raises(ConfigurationError, match="no client's vote"):
            list(selection._counted(task, iter(items), tally))
        return
    list(selection._counted(task, iter(items), tally))
    assert (tally.zero_votes, tally.pruned) == (0, 4)


def test_counters_of_more_than_16_bits_are_packed_and_read(tmp_path):
    study = make_study(
        tmp_path,
        clients=100,
        privacy=PrivacySpec(mechanism="count-noise", count_noise=CountNoiseSpec(sigma="150")),
        with_masks=False,
    )
    round_, most = Round.of(study.task), count_noise(study.task).most
    slab = round_.layout.slabs[0]
    assert slab.base == 100 * most + 1 > 2**16
    assert counts_dtype(round_.layout) == ("U32", np.uint32)
    votes = np.random.default_rng(1).integers(0, most + 1, (100, slab.digits + 2, 5)).astype(np.uint16)
    votes[:, 0, 0] = most
    total = sum(pack(one, base=slab.base, digits=slab.digits) for one in votes)
    counts = unpack(total, base=slab.base, digits=slab.digits, rows=slab.digits + 2)
    np.testing.assert_array_equal(counts, votes.sum(axis=0, dtype=int))
    assert counts[0, 0] == 100 * most
