"""Studies in which a round of `bfv` has come to some point, for all who attack it."""

from __future__ import annotations

import pytest
from bfv_attacker import FORMS, Stages
from faulty_exchange import fast_directory


@pytest.fixture(scope="module")
def stages():
    with fast_directory() as root:
        yield Stages(root)


@pytest.fixture(params=FORMS, ids=lambda form: f"{form[0]}-{form[1]}")
def form(request):
    return request.param
