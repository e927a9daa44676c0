"""`pairwise` with real processes, killed (SIGKILL) at random moments: the exact sum, and one message of each kind."""

from __future__ import annotations

import pytest
from parties.killing import Processes, Runs, judge, sent
from small_study import make_study

MATRICES = (("a.weight", 1500, 1024), ("b.weight", 700, 512))
RUNS = Runs("pairwise", 1, kills=12)


def new_study(root):
    return make_study(root, clients=4, aggregators=1, protocol="pairwise", matrices=MATRICES)


@pytest.mark.parametrize("seed", RUNS.seeds)
def test_killed_and_restarted_parties_still_release_one_exact_sum(tmp_path, seed):
    RUNS.run(new_study(tmp_path), seed, pause_s=0.3, close_after_s=5)


@pytest.mark.parametrize("after", ["bundles", "masked-reports"])
def test_a_client_killed_for_good_is_counted_if_its_report_was_out_and_the_sum_is_exact(tmp_path, after):
    study, gone = new_study(tmp_path), "clinic-2"
    processes = Processes(study, close_after_s=5, once="keys")
    processes.run_until(gone, after)
    outcome, members = judge(processes)
    assert outcome == "sum"
    assert (gone in members) == bool(sent(study, "masked-reports")[gone])
    assert set(members) >= set(study.clients) - {gone}
