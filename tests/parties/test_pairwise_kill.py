"""`pairwise` with real processes, killed (SIGKILL) at random moments: the exact sum, and one message of each kind.

Clients that are killed for good are in tests/e2e/test_pairwise.py.
"""

from __future__ import annotations

import pytest
from parties.killing import Runs
from small_study import make_study

MATRICES = (("a.weight", 1500, 1024), ("b.weight", 700, 512))
RUNS = Runs("pairwise", 1, kills=12)


def new_study(root):
    return make_study(root, clients=4, aggregators=1, protocol="pairwise", matrices=MATRICES)


@pytest.mark.parametrize("seed", RUNS.seeds)
def test_killed_and_restarted_parties_still_release_one_exact_sum(tmp_path, seed):
    RUNS.run(new_study(tmp_path), seed, pause_s=0.3, close_after_s=5)
