"""A study that has ended, with all its ledgers."""

from __future__ import annotations

import pytest
from ledger_study import (
    exported,
    posted,
    run_additive,
)
from small_study import make_study

from secprune.parties.session import open_session
from secprune.parties.witness import witness


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """An additive study that has ended, its ledgers and its messages."""
    study = make_study(tmp_path_factory.mktemp("study"))
    assert not [o for o in run_additive(study).values() if isinstance(o, Exception)]
    with open_session(study.root / "clinic-0", "client") as session:
        witness(session)  # run again after all have ended: now it has seen all heads
    return study, exported(study), posted(study)
