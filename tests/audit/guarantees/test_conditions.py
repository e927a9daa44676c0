"""Sensitivity, replacing one unit, and accounting: what the proof takes for granted."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from noised_subjects import draws, mechanism, task_of
from privacy_tasks import make_task, noisy_counts, private, turned_round

from secprune.audit.check import Verdict, run
from secprune.audit.draws import Draws
from secprune.audit.guarantees import accounting
from secprune.audit.guarantees.accounting import ACCOUNTING, claim_of, closed_form
from secprune.audit.guarantees.replacing import Cohort, replace_one
from secprune.audit.guarantees.sensitivity import norm_squared, sensitivity
from secprune.errors import ConfigurationError, LocalEnvironmentError
from secprune.privacy.accounting import epsilon_of_rho
from secprune.privacy.grid import COUNT_UNITS, NORM
from secprune.privacy.guarantee import guarantee, round_variances


def ran(check, subject, seed=1):
    return run(check, subject, draws(seed), seed=seed, clock=time.perf_counter)


def test_no_hostile_vector_gets_past_the_clip():
    result = ran(sensitivity(12.5), mechanism(400))
    assert result.verdict is Verdict.CONFORMS
    assert result.measurement.sample > 60
    largest = result.measurement.figures[0].value
    assert 0.999 < largest <= 1  # and some come close
    (control,) = result.controls
    assert control.measurement.figures[0].value > 1.9


def test_a_bound_that_is_missed_by_one_is_noticed():
    most = math.isqrt(NORM**2 - COUNT_UNITS**2)
    for longer, refuted in ((0, False), (1, True)):
        vector = np.array([most + longer] + [0] * 399)
        subject = replace(mechanism(400), bounded=lambda _x, vector=vector: vector)
        assert sensitivity(12.5).measure(subject, Draws(1, "x")).refuted == refuted


def test_what_is_refused_does_not_count():
    def refuse(_x):
        raise LocalEnvironmentError("no")

    measured = sensitivity(12.5).measure(replace(mechanism(400), bounded=refuse), Draws(1, "x"))
    assert not measured.refuted
    assert measured.figures[1].value > 50


def test_norms_are_exact():
    vector = np.array([2**22, -(2**22), 3] * 50_000)
    assert norm_squared(vector) == sum(int(x) ** 2 for x in vector.tolist())


def alone(texts):
    return [np.array([len(text), text.count("a"), 1]) for text in texts]


def together(texts):
    """What a shared mask does: everybody's last number depends on all texts."""
    longest = max(map(len, texts))
    return [np.array([len(text), text.count("a"), longest]) for text in texts]


COHORT = Cohort(alone, ("a", "bab", "aaaa", "bb"), ("a much longer text",))


def test_units_that_stand_for_themselves_conform():
    result = ran(replace_one(together), COHORT)
    assert result.verdict is Verdict.CONFORMS
    assert result.measurement.figures[0].value == 0
    assert result.measurement.figures[1].value > 0


def test_units_that_depend_on_each_other_are_refuted():
    assert ran(replace_one(together), replace(COHORT, vectors=together)).verdict is Verdict.REFUTED


def test_changes_that_cancel_out_in_the_sum_are_noticed_too():
    def swapped(texts):
        vectors, shift = alone(texts), sum(map(len, texts))
        vectors[0] = vectors[0] + shift
        vectors[1] = vectors[1] - shift
        return vectors

    cohort = replace(COHORT, vectors=swapped)
    assert replace_one(together).measure(cohort, Draws(3, "x")).refuted


TASKS = [
    *(private(epsilon=e) for e in ("0.1", "1", "8")),
    private("square-sums", epsilon="2", colluders=1),
    private("square-sums", recentring="0.25"),
    noisy_counts(),
    noisy_counts("300", 1),
]


@pytest.mark.parametrize("privacy", TASKS)
def test_claims_of_every_mechanism_are_confirmed(privacy):
    result = ran(ACCOUNTING, claim_of(make_task(privacy), {}))
    assert result.verdict is Verdict.CONFORMS
    found = {figure.name: figure.value for figure in result.measurement.figures}
    assert found["exact, of continuous Gaussian noise"] < found["computed by the project"]
    assert found["computed by the project"] <= found["claimed epsilon"]


def test_a_task_that_claims_half_of_what_it_has_is_refuted():
    claim = ACCOUNTING.mutations["claims-less"](claim_of(task_of(), {}))
    assert ran(ACCOUNTING, claim).verdict is Verdict.REFUTED


@pytest.mark.parametrize("factor", [0.9, 0.98, 1.02])
def test_an_accountant_that_is_off_is_refuted(factor):
    task = task_of(epsilon="2")

    def wrong(task):
        given = guarantee(task)
        return type(given)(
            **{name: getattr(given, name) for name in given.__struct_fields__ if name != "epsilon"},
            epsilon=given.epsilon * factor,
        )

    claim = replace(claim_of(task, {}, wrong), epsilon=Fraction(3))
    assert ran(ACCOUNTING, claim).verdict is Verdict.REFUTED


def test_an_epsilon_of_one_partys_own_noise_that_is_off_is_refuted():
    claim = claim_of(make_task(private("square-sums", epsilon="2", colluders=1)), {})
    assert claim.parts > 1
    assert ran(ACCOUNTING, claim).verdict is Verdict.CONFORMS
    wrong = ran(ACCOUNTING, replace(claim, collapsed=claim.collapsed * 0.9))
    assert wrong.verdict is Verdict.REFUTED
    assert "of one party's own noise" in wrong.measurement.says


def test_noise_that_is_divided_among_too_many_parties_is_refuted(monkeypatch):
    """Parties draw with these variances, and so does the check of noise: it cannot know that they are too small."""
    task = make_task(private("square-sums", epsilon="2", colluders=1))
    monkeypatch.setattr(accounting, "round_variances", lambda task: [v / 2 for v in round_variances(task)])
    assert ran(ACCOUNTING, claim_of(task, {})).verdict is Verdict.REFUTED


def test_tasks_without_additive_noise_have_no_claim():
    with pytest.raises(ConfigurationError, match="additive noise"):
        claim_of(make_task(turned_round()), {})


def test_the_distance_of_two_masks_is_what_noise_on_votes_hides():
    task = make_task(noisy_counts())
    differing = sum(2 * m.rows * (m.columns // 2) for m in task.model.matrices)
    assert claim_of(task, {}).mu == pytest.approx(math.sqrt(differing) / 8)


@pytest.mark.parametrize("mu", [0.01, 0.3, 1, 5, 100])
def test_the_closed_form_agrees_with_the_search(mu):
    assert closed_form(mu, 1e-6) == pytest.approx(epsilon_of_rho(mu**2 / 2, 1e-6), rel=1e-5)
