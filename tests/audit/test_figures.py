"""AUC, true positives, ROC curves and intervals against counting by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secprune.audit import figures
from secprune.audit.figures import auc, pooled, proportion, rates, roc, true_positives

SCORES = st.lists(st.integers(-5, 5), min_size=1, max_size=30)


@given(SCORES, SCORES)
def test_auc_is_the_share_of_pairs_in_the_right_order(members, others):
    pairs = [1.0 if a > b else 0.5 if a == b else 0.0 for a in members for b in others]
    assert auc(np.array(members, float), np.array(others, float)) == pytest.approx(np.mean(pairs))


@given(SCORES, SCORES, st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0]))
def test_true_positives_are_those_of_the_best_threshold_that_keeps_the_rate(members, others, at):
    best = 0.0
    for threshold in [-np.inf, *others]:
        if np.mean([b > threshold for b in others]) <= at:
            best = max(best, float(np.mean([a > threshold for a in members])))
    assert true_positives(np.array(members, float), np.array(others, float), at=at) == pytest.approx(best)


@given(SCORES, SCORES)
def test_the_area_under_the_curve_is_the_auc(members, others):
    curve = roc("r", np.array(members, float), np.array(others, float), points=1000)
    assert np.trapezoid(curve.y, curve.x) == pytest.approx(
        auc(np.array(members, float), np.array(others, float))
    )
    assert (curve.x[-1], curve.y[-1]) == (1.0, 1.0)


def test_an_interval_holds_the_truth_about_as_often_as_it_says():
    """Normal scores one standard deviation apart: the AUC is Phi(1 / sqrt 2) = 0.7602."""
    rng, inside = np.random.default_rng(0), 0
    for _ in range(100):
        figure = rates([(rng.normal(1, 1, 60), rng.normal(0, 1, 60))], rng, resamples=200)[0]
        inside += figure.low <= 0.7602 <= figure.high
    assert 85 <= inside <= 100


def test_with_many_trials_whole_trials_are_drawn_again():
    """Scores that are the same within a trial: drawing single ones would pretend to know more than there is."""
    rng = np.random.default_rng(1)
    trials = [(np.full(50, shift + 1.0), np.full(50, shift)) for shift in rng.normal(0, 1, 8)]
    by_trial = rates(trials, rng, resamples=200)[0]
    within = rates([pooled(trials)], rng, resamples=200)[0]
    assert by_trial.high - by_trial.low > 3 * (within.high - within.low)


def test_no_scores_are_no_auc():
    with pytest.raises(ValueError, match="no score"):
        auc(np.array([]), np.array([1.0]))


def test_drawing_again_is_the_statistic_of_what_was_drawn():
    """Weights in place of copies: the same numbers as with scores that are really repeated."""
    rng = np.random.default_rng(3)
    members, others = rng.integers(0, 6, 20).astype(float), rng.integers(0, 6, 25).astype(float)
    often = rng.multinomial(20, np.full(20, 1 / 20), 8), rng.multinomial(25, np.full(25, 1 / 25), 8)
    weighted = figures._auc(members, others, *often), figures._true_positives(members, others, *often, at=0.1)
    for row, (a, b) in enumerate(zip(*often, strict=True)):
        copies = np.repeat(members, a), np.repeat(others, b)
        assert weighted[0][row] == pytest.approx(auc(*copies))
        assert weighted[1][row] == pytest.approx(true_positives(*copies, at=0.1))


def test_a_proportion_lies_in_its_interval():
    """Wilson's interval for 8 of 10, from the formula in his paper's notation."""
    figure = proportion("p", 8, 10)
    assert (figure.low, figure.high) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert proportion("p", 0, 5).low == 0
