"""The audits of privacy with the clip, the sampler and the forward that clients run."""

from __future__ import annotations

import time

import pytest
from privacy_tasks import bare_sums, make_task, noisy_counts, private, turned_round
from tiny_models import NOTES, make_checkpoint

from secprune.audit.check import Verdict, run
from secprune.audit.draws import Draws
from secprune.parties.auditor.guarantees import checks_of

STATISTICS = ["sensitivity", "noise-conformance", "canary-bound", "gaussian-estimate", "accounting"]


def results(pairs, seed=1):
    return {
        check.id: run(
            check, subject, lambda purpose: Draws(seed, purpose), seed=seed, clock=time.perf_counter
        )
        for check, subject in pairs
    }


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("model"), layers=3)


@pytest.mark.parametrize("payload", ["counts", "square-sums"])
def test_a_study_that_protects_patients_passes_what_has_power(model, payload):
    task = make_task(private(payload, epsilon="8"))
    found = results(checks_of(task, model=model, notes=NOTES[:6]))
    assert list(found) == [*STATISTICS, "replace-one"]
    for check in ("sensitivity", "noise-conformance", "accounting", "replace-one"):
        assert found[check].verdict is Verdict.CONFORMS, found[check]
    # 65 features are too few canaries for a lower bound to say anything, and this is what it says.
    assert found["canary-bound"].verdict in {Verdict.NO_POWER, Verdict.NOT_REFUTED}
    assert found["gaussian-estimate"].verdict in {Verdict.NO_POWER, Verdict.NOT_REFUTED}
    names = {figure.name for figure in found["accounting"].measurement.figures}
    assert {"Opacus, PRV", "dp-accounting, exact"} <= names  # the other accountants too


@pytest.mark.parametrize("arch", ["llama", "qwen2", "opt", "gpt2"])
def test_one_units_text_changes_nobody_elses_in_any_architecture(tmp_path, arch):
    task = make_task(private())
    *_, pair = checks_of(task, model=make_checkpoint(tmp_path, arch), notes=NOTES[:5])
    result = results([pair])["replace-one"]
    assert result.verdict is Verdict.CONFORMS
    assert result.measurement.figures[1].value > 0
    (control,) = result.controls
    assert control.measurement.figures[0].value > 100


def test_sequential_statistics_leave_the_model_as_it_was(model):
    task = make_task(private())
    check, cohort = checks_of(task, model=model, notes=NOTES[:4])[-1]
    before = cohort.vectors(cohort.texts)
    sequential = check.mutations["sequential"](cohort).vectors(cohort.texts)
    after = cohort.vectors(cohort.texts)
    assert all((one == other).all() for one, other in zip(before, after, strict=True))
    assert any((one != other).any() for one, other in zip(before, sequential, strict=True))


def test_noise_on_votes_is_audited_as_such():
    found = results(checks_of(make_task(noisy_counts("8", 1))))
    assert list(found) == ["noise-conformance", "accounting"]
    assert all(result.verdict is Verdict.CONFORMS for result in found.values())


def test_a_task_without_additive_noise_has_nothing_to_audit():
    assert checks_of(make_task(bare_sums())) == []
    assert checks_of(make_task(turned_round())) == []
