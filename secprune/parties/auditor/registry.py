"""Every check that there is: what threat models may name, and what a report says of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from secprune.audit import records
from secprune.audit.attacks import disclosure, hospitals, known_others, membership
from secprune.audit.guarantees.accounting import ACCOUNTING
from secprune.audit.guarantees.canaries import canary_bound
from secprune.audit.guarantees.conformance import noise_conformance
from secprune.audit.guarantees.estimate import gaussian_estimate
from secprune.audit.guarantees.replacing import replace_one
from secprune.audit.guarantees.sensitivity import sensitivity
from secprune.audit.sums import (
    ciphertext_view,
    collusion,
    malleability,
    models,
    pairwise_view,
    randomness,
    releases,
    sealing,
    share_model,
    share_view,
    votes,
)

if TYPE_CHECKING:
    from secprune.audit.check import Check

RECORDS: tuple[Check[Any], ...] = (
    records.DECLARED_FLOWS,
    records.RESIDUE,
    records.LEDGERS_AGREE,
    records.COHORT_SIZE,
    records.ONE_RELEASE,
)
"""Of a study's own record."""

PUBLIC_RECORDS = frozenset(
    check.id for check in (records.LEDGERS_AGREE, records.COHORT_SIZE, records.ONE_RELEASE)
)
"""Of them those that need nothing but task, ledgers and exchange."""

SUMS: tuple[Check[Any], ...] = (
    share_model.SHARE_MODEL,
    share_view.SHARE_VIEW,
    pairwise_view.PAIRWISE_VIEW,
    ciphertext_view.CIPHERTEXT_VIEW,
    votes.ROW_SUMS,
    votes.PAIRED_VOTES,
    collusion.ALL_AGGREGATORS,
    collusion.COLLUDERS_SUBTRACT,
    collusion.DIFFERENCING,
    malleability.MALLEABILITY,
    releases.RELEASE_POLICY,
    models.MODEL_PINNED,
    randomness.RANDOMNESS,
    sealing.SEALING,
)
"""Of the secure sums."""

GUARANTEES: tuple[Check[Any], ...] = (
    sensitivity(1.0),  # the bound is the task's where it is run
    replace_one(lambda _notes: ()),
    noise_conformance(),
    canary_bound(),
    gaussian_estimate(),
    ACCOUNTING,
)
"""Of differential privacy."""

ATTACKS: tuple[Check[Any], ...] = (
    disclosure.MASK_INVERSION,
    membership.MEMBERSHIP_MASK,
    hospitals.SPECIALTY_MASK,
    membership.MEMBERSHIP_COUNTS,
    membership.MEMBERSHIP_MODEL,
    membership.MEMBERSHIP_COLLUDERS,
    membership.MEMBERSHIP_SQUARE_SUMS,
    known_others.MEMBERSHIP_COUNT_NOISE,
    hospitals.PROPERTY_IN_SUM,
    disclosure.UNANIMITY,
    membership.MEMBERSHIP_SHARE,
    membership.MEMBERSHIP_DP,
    membership.MEMBERSHIP_DP_SUM,
    hospitals.SPECIALTY_DP,
)
"""Run in a rehearsal."""

CHECKS: dict[str, Check[Any]] = {
    check.id: check for group in (RECORDS, SUMS, GUARANTEES, ATTACKS) for check in group
}
"""All of them, by id."""
