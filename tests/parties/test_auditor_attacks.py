"""What attacks of a report are tried with: the study's own noise, where it has some."""

from __future__ import annotations

import numpy as np
from privacy_tasks import make_task, noisy_counts, private, turned_round

from secprune.parties.auditor.attacks import vote_noises


def test_noise_on_votes_is_attacked_as_the_study_has_it():
    assert vote_noises(make_task(noisy_counts("300", 1))) == (90_000,)
    assert len(vote_noises(make_task(private()))) == 2  # has none


def test_votes_turned_round_are_attacked_as_noise_that_hides_one_vote_as_well():
    """Mean and variance of counts, of many draws, with one client's true vote 0 or 1."""
    task = make_task(turned_round())
    flip, rng = float(task.privacy.response.flip), np.random.default_rng(0)
    votes = np.zeros((2, 200_000, task.n_max), bool)
    votes[1, :, 0] = True
    counts = (votes ^ (rng.random(votes.shape) < flip)).sum(axis=2)
    apart = counts[1].mean() - counts[0].mean()
    np.testing.assert_allclose(float(vote_noises(task)[0]), counts[0].var() / apart**2, rtol=0.05)
