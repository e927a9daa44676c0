"""What is promised follows from the noise alone, and a task that claims more is refused wherever one is read or made."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from msgspec import structs
from privacy_tasks import (
    PRUNING,
    bare_sums,
    claiming,
    make_task,
    noisy_counts,
    private,
    turned_round,
    with_privacy,
)
from small_study import make_study

from secprune.errors import ConfigurationError
from secprune.parties.session import load_task, open_session
from secprune.parties.study import StudyOptions, build_task
from secprune.privacy.accounting import epsilon_of_rho, rho_of_gaussian
from secprune.privacy.grid import COUNT_UNITS, NORM
from secprune.privacy.guarantee import (
    CLIENT_LEVEL_DELTA,
    check_claims,
    guarantee,
    noise_dimension,
    round_variances,
    spent_rho,
)
from secprune.task import PrivacySpec
from secprune.vectors import VALUE_BITS

DELTA = Fraction("0.000001")


def test_the_grid():
    assert NORM == 2**20
    assert COUNT_UNITS == 2**17
    assert VALUE_BITS == 44
    # The counting coordinate takes 1/64 of the squared norm, hence 1/128 of the norm that is left.
    assert math.sqrt(NORM**2 - COUNT_UNITS**2) == pytest.approx(NORM * (1 - 1 / 128), rel=1e-4)


def test_without_noise_nothing_is_promised():
    assert guarantee(make_task(PrivacySpec())) is None
    assert guarantee(make_task(bare_sums())) is None


def test_counts_of_noised_statistics():
    task = make_task(private(z="4.531", unit="document"))
    found = guarantee(task)
    assert found.unit == "document"
    assert found.adjacency == "add/remove one document"
    assert "all servers" in found.adversary
    assert found.epsilon == epsilon_of_rho(rho_of_gaussian(Fraction("4.531")), DELTA)
    assert found.epsilon == pytest.approx(0.99997, abs=1e-5)
    assert found.epsilon_collapsed is None  # nobody else's noise counts
    assert found.sigma == found.sigma_per_party == (pytest.approx(4.531 * NORM),)
    assert round_variances(task) == (Fraction("4.531") ** 2 * NORM**2,)
    assert spent_rho(task) == 1 / (2 * Fraction("4.531") ** 2)
    assert noise_dimension(task) == 16 + 33 + 16 + 1


def test_distributed_noise():
    task = make_task(private("square-sums", z="4.531", colluders=1), clients=6, min_clients=5)
    found = guarantee(task)
    (variance,) = round_variances(task)
    assert variance == Fraction("4.531") ** 2 * NORM**2 / 4
    assert found.sigma == (pytest.approx(4.531 * NORM),)
    assert found.sigma_per_party == (pytest.approx(4.531 * NORM / 2),)
    assert found.epsilon == pytest.approx(0.99997, abs=1e-5)
    assert found.epsilon >= epsilon_of_rho(rho_of_gaussian(Fraction("4.531")), DELTA)
    # Alone, a client is left with noise of z / sqrt(4).
    assert found.epsilon_collapsed == epsilon_of_rho(rho_of_gaussian(Fraction("4.531") / 2), DELTA)
    assert found.epsilon_collapsed == pytest.approx(2.11, abs=0.01)
    assert noise_dimension(task) == 16 + 33 + 16 + 1


def test_two_rounds_cost_what_one_does():
    once = make_task(private("square-sums", colluders=1))
    twice = make_task(private("square-sums", colluders=1, recentring="0.25"))
    first, second = round_variances(twice)
    (whole,) = round_variances(once)
    assert (first, second) == (4 * whole, whole * Fraction(4, 3))
    assert 1 / first + 1 / second == 1 / whole
    assert guarantee(twice).epsilon == pytest.approx(guarantee(once).epsilon, rel=1e-9)
    assert guarantee(twice).epsilon_collapsed == guarantee(once).epsilon_collapsed
    check_claims(twice)


@pytest.mark.parametrize(
    ("protocol", "options", "words"),
    [
        ("additive", {}, "at least one of the 2 aggregators is honest and at least 3 of the counted clients"),
        ("pairwise", {}, "at most 1 of 5 clients help the aggregator"),
        ("bfv", {"key_holders": 2}, "neither with a client nor with all 2 key holders, and at least 3"),
        ("bfv", {"key_holders": 1, "key_holder": "simple"}, "neither with a client nor with the key holder"),
        ("cleartext", {}, "the first aggregator, who reads what each client sends, is honest"),
    ],
)
def test_who_must_be_honest(protocol, options, words):
    task = make_task(private("square-sums", colluders=1), protocol=protocol, **options)
    assert words in guarantee(task).adversary
    assert words not in guarantee(make_task(private(), protocol=protocol, **options)).adversary


def test_noise_on_votes():
    found = guarantee(make_task(noisy_counts("8", colluders=1)))
    assert found.adjacency == "replace one client's mask"
    assert found.delta == CLIENT_LEVEL_DELTA
    assert found.sigma == (8.0,)
    assert found.sigma_per_party == (pytest.approx(8 / math.sqrt(3)),)
    # Rows of 16, 33 and 16 columns, of which 8, 16 and 8 are pruned: all of a mask but 8 weights may differ.
    differ = 23 * 16 + 8 * 32 + 40 * 16
    assert found.epsilon == pytest.approx(epsilon_of_rho(differ / (2 * 64), 1e-6), rel=1e-6)
    # Other pruners fix no number of a row.
    other = make_task(noisy_counts("8", colluders=1))
    other = structs.replace(other, pruning=structs.replace(PRUNING, local_pruner="wanda-adaptive"))
    assert guarantee(other).epsilon == pytest.approx(epsilon_of_rho((differ + 8) / (2 * 64), 1e-6), rel=1e-6)


def test_noise_on_votes_that_nothing_is_known_of():
    check_claims(make_task(noisy_counts("1")))  # 1/2 of each of 4 clients
    with pytest.raises(ConfigurationError, match="nothing can be said"):
        check_claims(make_task(noisy_counts("0.99")))


def test_votes_that_are_turned_round():
    found = guarantee(make_task(turned_round("0.25")))
    assert found.epsilon_of_vote == pytest.approx(math.log(3))
    assert found.epsilon > 100 * found.epsilon_of_vote
    assert "all servers" in found.adversary


# ---- claims
EXACT = private()


@pytest.mark.parametrize("payload", ["counts", "square-sums"])
@pytest.mark.parametrize("epsilon", ["0.1", "1", "8"])
def test_just_enough_noise_keeps_the_claim_and_no_less(payload, epsilon):
    options = {"colluders": 1} if payload == "square-sums" else {}
    task = make_task(private(payload, epsilon=epsilon, **options))
    check_claims(task)
    patients = task.privacy.patients
    less = str(float(patients.z) * 0.9999)
    weaker = structs.replace(task.privacy, patients=structs.replace(patients, noise_multiplier=less))
    with pytest.raises(ConfigurationError, match=f"claims epsilon {epsilon} at delta 0.000001") as caught:
        check_claims(structs.replace(task, privacy=weaker))
    assert patients.noise_multiplier in caught.value.hint


def test_a_claim_that_no_noise_keeps():
    with pytest.raises(ConfigurationError) as caught:
        check_claims(make_task(claiming(private(), "0.000000001")))
    assert caught.value.hint


def test_noise_that_does_not_fit_into_what_is_sent():
    check_claims(make_task(private("square-sums", z="500000")))  # half of it at each of 4 clients
    with pytest.raises(ConfigurationError, match="would not fit"):
        check_claims(make_task(private("square-sums", z="600000")))
    check_claims(make_task(private(z="600000")))  # masks are sent, not statistics


def test_a_task_that_claims_too_much_is_not_read(tmp_path):
    study = make_study(tmp_path, clients=3, with_masks=False)
    study.write_task(with_privacy(study.task, EXACT))
    assert load_task(tmp_path / "task.toml").privacy == EXACT
    with open_session(tmp_path / "clinic-0", "client"):
        pass
    study.write_task(with_privacy(study.task, claiming(EXACT, "0.999")))
    with pytest.raises(ConfigurationError, match=r"claims epsilon 0\.999"):
        load_task(tmp_path / "task.toml")
    with (
        pytest.raises(ConfigurationError, match=r"claims epsilon 0\.999"),
        open_session(tmp_path / "clinic-0", "client"),
    ):
        pass


def test_a_task_that_claims_too_much_is_not_made():
    task = make_task(EXACT)

    def build(privacy):
        options = StudyOptions(protocol="additive", min_clients=4, pruning=PRUNING, privacy=privacy)
        return build_task(task.model, task.parties, options)

    assert build(EXACT).privacy == EXACT
    with pytest.raises(ConfigurationError, match=r"claims epsilon 0\.999"):
        build(claiming(EXACT, "0.999"))
