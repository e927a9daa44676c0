"""Repeatable draws for tests of audits."""

from __future__ import annotations

from functools import partial

from secprune.audit.draws import Draws

SEED = 8

draws = partial(Draws, SEED)
