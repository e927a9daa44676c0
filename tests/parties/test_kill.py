"""`additive` with real processes, killed (SIGKILL) at random moments: the exact sum, and one report each."""

from __future__ import annotations

from functools import partial

import pytest
from parties.killing import Runs, judge
from small_study import make_study

MATRICES = (("a.weight", 1500, 1024), ("b.weight", 700, 512))
RUNS = Runs("additive", 1, kills=15)


@pytest.mark.parametrize("seed", RUNS.seeds)
def test_killed_and_restarted_parties_still_release_one_exact_sum(tmp_path, seed):
    study = make_study(tmp_path, matrices=MATRICES)
    each = partial(judge, most={"checks": len(study.clients)})
    RUNS.run(study, seed, pause_s=0.2, judge=each, closer="coordinator", close_after_s=5)
