"""Views of additive shares: no false alarms, cleartext is seen, and the model is the code."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from audit_draws import draws
from sum_subjects import sharing

from secprune.audit.draws import Draws
from secprune.audit.sums.rounds import audit_round, some_mask, words_of
from secprune.audit.sums.share_model import (
    CASES,
    SHARE_MODEL,
    Case,
    ShareModel,
    real_views,
    simulated_views,
)
from secprune.audit.sums.share_view import (
    SHARE_VIEW,
    Sharing,
    differs_from_model,
    fresh_secrets,
    sum_of,
)
from secprune.protocols.cleartext import Cleartext

SEEDS = 30


def figures(found):
    return {figure.name: figure.value for figure in found.figures}


def test_no_seed_cries_wolf():
    subject = replace(sharing(), reports=12)  # half of what a report looks at, to save time
    alarms = [SHARE_VIEW.measure(subject, Draws(seed, "wolf")) for seed in range(SEEDS)]
    assert not any(found.refuted for found in alarms)
    worst = min(figures(found)["probability that honest reports look so odd"] for found in alarms)
    assert worst > 1e-4, "thirty runs, and a level of one in a million"


def test_of_a_cleartext_task_the_mask_is_seen():
    audit = audit_round("cleartext", draws("clear"), clients=4, aggregators=2, rows=27, columns=1024)
    found = SHARE_VIEW.measure(Sharing(audit, Cleartext()), draws("clear view"))
    assert found.refuted
    assert figures(found)["words that are seen as they are"] == 1
    assert figures(found)["which of two messages, guessed rightly by the best coalition"] == 1
    assert SHARE_MODEL.measure(ShareModel(Sharing(audit, Cleartext())), draws("clear model")).refuted


def test_a_reused_mask_shows_exactly_how_two_reports_differ():
    mutated = SHARE_VIEW.mutations["reused-mask"](sharing())
    found = figures(SHARE_VIEW.measure(mutated, draws("reused")))
    assert found["words whose change from report to report is seen"] == 1
    assert found["words that are seen as they are"] == 0
    honest = figures(SHARE_VIEW.measure(sharing(), draws("honest")))
    assert honest["words whose change from report to report is seen"] == 0


@pytest.mark.parametrize("mutation", [*SHARE_VIEW.mutations])
def test_mutated_shares_still_add_up(mutation):
    """They are mistakes that no honest party notices: the sum is right."""
    subject = SHARE_VIEW.mutations[mutation](sharing(aggregators=3, columns=32))
    words = words_of(subject.audit, some_mask(subject.audit, draws("mask").numpy))
    client = subject.audit.clients[0]
    secrets = subject.secrets(subject.protocol, subject.audit.round, client, draws("secrets").entropy)
    for one in secrets:
        assert np.array_equal(sum_of(subject.opened(words, one)), words)


@pytest.mark.parametrize("aggregators", [2, 3, 5])
def test_the_code_is_the_model(aggregators):
    assert differs_from_model(sharing(aggregators, columns=32), draws("model")) == ""


def test_other_code_is_not_the_model():
    for mutation in ("cleartext", "short-range", "float-masks"):
        subject = SHARE_VIEW.mutations[mutation](sharing(columns=32))
        assert differs_from_model(replace(subject, secrets=fresh_secrets), draws("model")) != ""
        assert SHARE_MODEL.measure(ShareModel(subject, cases=(Case(2, 1, 2),)), draws("model")).refuted


def test_the_simulator_is_no_better_than_the_sum():
    """Reports of other sums have other views, so that the equality that is proved says something."""
    case = Case(3, 1, 2)
    right = simulated_views(case, (2,), (1, 1))
    assert real_views(ShareModel(sharing(columns=8)), case, 0, (1,), (1,)) == right
    assert simulated_views(case, (2,), (0, 2)) != right
    assert simulated_views(case, (1,), (1, 1)) != right


def test_views_are_as_many_as_masks():
    for case in CASES:
        draws_of_masks = case.modulus ** (2 * case.columns * (case.aggregators - 1))
        nothing = (0,) * case.columns
        assert simulated_views(case, nothing, (0, 0)).total() == draws_of_masks
