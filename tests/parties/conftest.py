"""Worlds in which rounds of `bfv` run between real parties."""

from __future__ import annotations

import pytest
from bfv_world import MATRICES
from faulty_exchange import BfvWorld, fast_directory
from small_study import make_study


@pytest.fixture
def root():
    with fast_directory() as directory:
        yield directory


@pytest.fixture
def quick(monkeypatch):
    """Without the self-test, which takes longer than a small round of many clients."""
    from secprune.crypto.bfv import scheme  # needs tenseal, which other tests here do without

    monkeypatch.setattr(scheme, "self_test", lambda _parameters: None)


@pytest.fixture
def new_world(root):
    worlds = []

    def make(clients=4, form="blind", key_holders=1, *, min_clients=None, matrices=MATRICES, **options):
        study = make_study(
            root / f"study-{len(worlds)}",
            clients=clients,
            aggregators=1,
            min_clients=min_clients,
            protocol="bfv",
            key_holder=form,
            key_holders=key_holders,
            matrices=matrices,
        )
        worlds.append(BfvWorld(study, root / f"world-{len(worlds)}", **options))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()
