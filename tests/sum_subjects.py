"""The checks of sums with real subjects, small enough for tests."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from audit_draws import draws
from small_study import make_study

from secprune.audit.sums.collusion import ALL_AGGREGATORS, COLLUDERS_SUBTRACT, DIFFERENCING, Study
from secprune.audit.sums.models import MODEL_PINNED
from secprune.audit.sums.pairwise_view import PAIRWISE_VIEW, PairwiseMasking
from secprune.audit.sums.randomness import DECLARED, RANDOMNESS, Sources
from secprune.audit.sums.releases import RELEASE_POLICY, ReleasePolicy
from secprune.audit.sums.rounds import audit_round
from secprune.audit.sums.sealing import SEALING, Sealing
from secprune.audit.sums.share_model import SHARE_MODEL, ShareModel
from secprune.audit.sums.share_view import SHARE_VIEW, Sharing
from secprune.audit.sums.votes import PAIRED_VOTES, ROW_SUMS, RowSums
from secprune.parties.auditor.sums import own_sources, pinned_model
from secprune.protocols.additive.sharing import AdditiveSharing

KEPT = tempfile.TemporaryDirectory()
"""Removed when the tests end."""


@cache
def sharing(aggregators=2, columns=1024, protocol="additive"):
    audit = audit_round(protocol, draws("keys"), clients=4, aggregators=aggregators, rows=27, columns=columns)
    return Sharing(audit, AdditiveSharing())


@cache
def masking():
    audit = audit_round("pairwise", draws("keys"), clients=4, aggregators=1, rows=27, columns=4096)
    return PairwiseMasking(audit)


@cache
def model():
    root = Path(KEPT.name)
    return pinned_model(make_study(root / "study", with_masks=False).task, draws("model"), root)


def study():
    return Study(sharing(columns=32).audit)


CONFORMING = {
    "share-view-exhaustive": (SHARE_MODEL, lambda: ShareModel(sharing(columns=8))),
    "share-view": (SHARE_VIEW, sharing),
    "share-view of three": (SHARE_VIEW, lambda: sharing(aggregators=3)),
    "pairwise-view": (PAIRWISE_VIEW, masking),
    "randomness-source": (RANDOMNESS, lambda: Sources(own_sources(), DECLARED)),
    "hybrid-sealing": (SEALING, Sealing),
    "release-policy": (RELEASE_POLICY, ReleasePolicy),
    "model-pinned": (MODEL_PINNED, model),
    "row-sums": (ROW_SUMS, lambda: RowSums(4)),
    "row-sums of many": (ROW_SUMS, lambda: RowSums(200)),
}
WEAKNESSES = {
    "all-aggregators": (ALL_AGGREGATORS, lambda: sharing(columns=32)),
    "all-aggregators of three": (ALL_AGGREGATORS, lambda: sharing(aggregators=3, columns=32)),
    "colluders-subtract": (COLLUDERS_SUBTRACT, study),
    "differencing": (DIFFERENCING, study),
    "paired-votes": (PAIRED_VOTES, lambda: RowSums(4)),
}
