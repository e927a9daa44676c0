"""What the plots take from results: names of figures are for people, and are read leniently."""

from __future__ import annotations

import audited_study
import pytest

from secprune.audit.check import CheckResult, Control, Figure, Kind, Measurement, Verdict
from secprune_cli.report import series, words

ABOUT = audited_study.ABOUT


def _result(check, *figures, curves=(), controls=(), kind=Kind.ATTACK):
    found = Measurement(refuted=True, says="", figures=figures, curves=curves)
    return CheckResult(check=check, kind=kind, verdict=Verdict.REFUTED, measurement=found, controls=controls)


def _evidence(*results, private=True):
    return audited_study.evidence("s", 4, results, (), private=private)


def _aucs(*names):
    return [Figure(name=name, value=0.9 - 0.1 * i) for i, name in enumerate(names)]


@pytest.mark.parametrize(
    ("names", "across", "x"),
    [
        (("AUC, n = 16", "AUC, n = 2"), "clients", (2, 16)),
        (("AUC, 4 clients", "AUC (64 clients)"), "clients", (4, 64)),
        (("AUC, 2 documents", "AUC, 8 documents"), "documents", (2, 8)),
        (("AUC, 4 x 2 documents", "AUC, 16 x 2 documents"), "clients", (4, 16)),
        (("AUC with 1 note", "auc, 8 notes"), "documents", (1, 8)),
    ],
)
def test_numbers_are_read_from_names(names, across, x):
    (panel,) = series.leakage(_evidence(_result("membership-counts", *_aucs(*names))), ABOUT)
    assert panel.title == f"against {across}"
    (line,) = panel.lines
    assert line.x == x
    assert set(line.y) == {0.9, 0.8}


def test_two_numbers_in_a_name_give_a_line_for_each_value_of_the_other():
    names = [f"AUC, n = {n}, {d} documents" for n in (2, 8) for d in (2, 4, 8)]
    clients, documents = series.leakage(_evidence(_result("membership-counts", *_aucs(*names))), ABOUT)
    assert [len(line.x) for line in clients.lines] == [2, 2, 2]
    assert [len(line.x) for line in documents.lines] == [3, 3]


def test_a_baseline_is_no_measurement():
    result = _result(
        "membership-counts", *_aucs("AUC, n = 2", "AUC of the baseline (neither was used), n = 4")
    )
    assert series.leakage(_evidence(result), ABOUT) == ()
    assert [dot.compared for dot in series.aucs(_evidence(result), ABOUT)] == [False, True]


def test_a_single_number_is_no_line():
    assert series.leakage(_evidence(_result("membership-counts", *_aucs("AUC, n = 4", "AUC"))), ABOUT) == ()


def test_controls_stand_beside_what_was_measured():
    (first, *_) = series.rocs(audited_study.sound(), ABOUT)
    assert [line.control for line in first.lines] == [False, True]
    dots = [dot for dot in series.aucs(audited_study.sound(), ABOUT) if dot.check == first.title]
    assert [(dot.label, dot.control) for dot in dots] == [("measured", False), ("control: cleartext", True)]


def test_bounds_and_estimates_are_apart_and_the_claim_is_the_checks_own():
    found = series.epsilons(audited_study.sound(), ABOUT)
    assert found.claimed == 8.0
    assert [dot.value for dot in found.bounds] == [1.7, 9.6]
    assert [dot.value for dot in found.estimates] == [7.7, 11.9]


def test_the_promise_is_the_labels_where_a_check_says_none():
    bound = Figure(name="lower bound on epsilon", value=2.0)
    control = Control(
        mutation="claims-less", measurement=Measurement(refuted=True, says="", figures=(bound,))
    )
    result = _result("canary-bound", bound, controls=(control,), kind=Kind.LOWER_BOUND)
    assert series.epsilons(_evidence(result), ABOUT).claimed == 8.0
    assert len(series.epsilons(_evidence(result), ABOUT).bounds) == 2
    assert series.epsilons(_evidence(result, private=False), ABOUT).claimed is None
    assert series.epsilons(_evidence(), ABOUT) is None


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, "0 B"),
        (9_999, "9,999 B"),
        (10_000, "10 kB"),
        (999_999, "1 MB"),
        (1_234_567, "1.23 MB"),
        (5 * 10**15, "5,000 TB"),
    ],
)
def test_bytes_are_said_in_three_digits(number, said):
    assert words.size(number) == said


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0.5, "0.500"),
        (8.0, "8"),
        (1e-6, "1e-06"),
        (12345.6, "12,346"),
        (float("inf"), "infinite"),
        (-3.0, "-3"),
    ],
)
def test_figures_are_said_in_few_digits(number, said):
    assert words.decimal(number) == said


def test_half_an_interval_is_a_bound():
    assert words.interval(Figure(name="a", value=1, low=0.5)) == "at least 0.500"
    assert words.interval(Figure(name="a", value=1, high=2.0)) == "at most 2"
    assert words.interval(Figure(name="a", value=1, low=0.0, high=2.0)) == "0 to 2"
    assert words.interval(Figure(name="a", value=1)) == "\N{EN DASH}"


def test_what_was_computed_and_not_measured_is_for_comparison():
    figures = (
        Figure(name="estimate of epsilon", value=7.0, low=6.5, high=7.6),
        Figure(name="claimed epsilon", value=8.0),
        Figure(name="exact epsilon of the promised noise", value=6.9),
        Figure(name="guesses behind the larger bound", value=128.0),
    )
    result = _result("gaussian-estimate", *figures, kind=Kind.ESTIMATE)
    found = series.epsilons(_evidence(result), ABOUT)
    assert [(dot.value, dot.compared) for dot in found.estimates] == [(7.0, False), (6.9, True)]
    assert series.epsilons(_evidence(_result("gaussian-estimate", *figures[1:])), ABOUT) is None
