"""The words for each kind of noise: never "differentially private" without the numbers, and never of noise on votes."""

from __future__ import annotations

import re
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from privacy_tasks import bare_sums, make_task, noisy_counts, private, turned_round

from secprune.privacy.labels import PrivacyLabel, privacy_label, rounded_up
from secprune.task import PrivacySpec

NOT_DP = [PrivacySpec(), bare_sums(), noisy_counts(), turned_round()]
DP = [private(), private("square-sums", colluders=1), private("square-sums", recentring="0.25")]


def test_votes_as_they_are_keep_their_words():
    """Written out: these are in reports of studies that are over."""
    label = privacy_label(make_task(PrivacySpec()))
    assert label.label == (
        "Not differentially private. Hides single masks from up to 1 of 2 aggregators and 2 of at least 4 counted "
        "clients. The sum itself is disclosed."
    )
    assert label.hides_from == (
        "any 1 of the 2 aggregators, the coordinator, the exchange and up to 2 of the counted clients together"
    )
    assert label.discloses == (
        "to the coordinator: how many clients of the cohort vote to prune each weight; where all agree, each client's "
        "vote. To everybody: the final pruning mask"
    )
    assert label.guarantee is None
    assert privacy_label(make_task(PrivacySpec(), protocol="cleartext")).label == (
        "Not differentially private. No secure sum: the first aggregator reads every pruning mask."
    )
    assert privacy_label(make_task(PrivacySpec(), protocol="bfv", key_holders=1)).label == (
        "Not differentially private. Hides single masks from the aggregator alone, and from all key holders without it; "
        "not from the aggregator with all key holders, and not from the aggregator when a client helps it. The sum itself "
        "is disclosed, also to the aggregator."
    )


def test_counts_of_noised_statistics():
    label = privacy_label(make_task(private()))
    assert label.differentially_private
    assert label.label.startswith(
        "(1, 0.000001)-differentially private per patient, add/remove, against everyone, all servers colluding included."
    )
    assert "Hides single masks from up to 1 of 2 aggregators" in label.label
    assert "votes" not in label.label
    assert label.hides_from.startswith("everybody: that any one patient is among the data")
    assert "per document" in privacy_label(make_task(private(unit="document"))).label
    assert "how many clients of the cohort vote" in label.discloses


def test_square_sums_print_both_numbers():
    task = make_task(private("square-sums", z="4.531", colluders=1), clients=6, min_clients=5)
    label = privacy_label(task)
    assert label.differentially_private
    assert label.label.startswith(
        "(1, 0.000001)-differentially private per patient, add/remove, if at least one of the 2 aggregators is honest and "
        "at least 4 of the counted clients are honest; (2.112, 0.000001) otherwise, against all servers and all other "
        "clients together."
    )
    assert label.guarantee.epsilon_collapsed <= 2.112
    assert "Hides single vectors of statistics from up to 1 of 2 aggregators" in label.label
    assert label.hides_from.startswith("everybody, if at least one of the 2 aggregators is honest")
    assert label.discloses == (
        "to the coordinator: a noised sum of feature statistics. To everybody: the final pruning mask"
    )


def test_square_sums_without_noise():
    label = privacy_label(make_task(bare_sums()))
    assert label.label.startswith("Not differentially private.")
    assert "tests and rehearsals only" in label.label
    assert "the exact sum of feature statistics" in label.discloses


def test_noise_on_votes():
    label = privacy_label(make_task(noisy_counts("8")))
    assert label.label.startswith(
        "Deniability of one weight's vote, if at least one of the 2 aggregators is honest"
    )
    assert re.search(
        r"Client-level epsilon = [0-9.]+ at delta 0\.000001\. Not a patient guarantee", label.label
    )
    turned = privacy_label(make_task(turned_round("0.25")))
    assert "(epsilon 1.099 for each vote), against everyone" in turned.label
    assert "Not a patient guarantee" in turned.label
    for each in (label, turned):
        assert "give or take the noise" in each.discloses
        assert "where all agree" not in each.discloses


@pytest.mark.parametrize("protocol", ["additive", "pairwise", "bfv", "cleartext"])
@pytest.mark.parametrize("privacy", NOT_DP + DP)
def test_what_every_label_says(protocol, privacy):
    task = make_task(privacy, protocol=protocol, key_holders=int(protocol == "bfv"))
    label = privacy_label(task, cohort_size=5)
    promised = re.search(r"\([0-9.]+, [0-9.]+\)-differentially private per patient", label.label)
    assert bool(promised) == label.differentially_private == (privacy in DP)
    assert "differentially private" not in label.label.replace("Not differentially private.", "") or promised
    assert ("does not hide a hospital's specialty" in label.label) == (label.guarantee is not None)
    assert label.mechanism == privacy.mechanism
    assert label.payload == privacy.payload
    # It goes into provenance, and comes back.
    assert msgspec.json.decode(msgspec.json.encode(label), type=PrivacyLabel) == label


@given(st.floats(0, 1e12))
def test_epsilon_is_never_rounded_down(number):
    text = rounded_up(number)
    assert re.fullmatch(r"[0-9]+(\.[0-9]+)?", text)
    assert Decimal(number) <= Decimal(text) <= Decimal(number) * Decimal("1.0011")
