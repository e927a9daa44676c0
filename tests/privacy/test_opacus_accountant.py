"""Our accountant in Opacus, and what other accountants say of the same noise."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction

import pytest
from opacus.accountants import create_accountant
from opacus.accountants.utils import get_noise_multiplier

from secprune.errors import ConfigurationError
from secprune.privacy import opacus_accountant as ours
from secprune.privacy.accounting import epsilon_of_rho, noise_multiplier_for, rho_of_gaussian


@pytest.fixture(autouse=True)
def _registered():
    ours.register()
    ours.register()  # again is fine


def test_it_counts_what_it_is_told():
    accountant = create_accountant(ours.MECHANISM)
    assert accountant.mechanism() == "zcdp-dgauss"
    assert len(accountant) == 0
    assert accountant.get_epsilon(1e-6) == 0
    accountant.step(noise_multiplier=2.0, sample_rate=1.0)
    accountant.step(noise_multiplier=3.0, sample_rate=1.0)
    assert len(accountant) == 2
    assert accountant.get_epsilon(delta=1e-6) == epsilon_of_rho(Fraction(1, 8) + Fraction(1, 18), 1e-6)
    again = create_accountant(ours.MECHANISM)
    again.load_state_dict(accountant.state_dict())
    assert again.get_epsilon(1e-6) == accountant.get_epsilon(1e-6)


def test_samples_are_refused():
    accountant = create_accountant(ours.MECHANISM)
    with pytest.raises(ConfigurationError, match="sample"):
        accountant.step(noise_multiplier=2.0, sample_rate=0.5)
    assert len(accountant) == 0
    accountant.history = [(2.0, 0.5, 1)]
    with pytest.raises(ConfigurationError, match="sample"):
        accountant.get_epsilon(1e-6)


def test_opacus_finds_its_noise_multiplier():
    found = get_noise_multiplier(
        target_epsilon=1,
        target_delta=1e-6,
        sample_rate=1.0,
        steps=1,
        accountant=ours.MECHANISM,
        epsilon_tolerance=1e-4,
    )
    assert found == pytest.approx(4.531, abs=1e-3)


@pytest.mark.parametrize("epsilon", ["0.05", "0.5", "1", "8", "100"])
def test_the_noise_multiplier_is_enough_and_hardly_more(epsilon):
    z, least = (
        ours.noise_multiplier(Fraction(epsilon), Fraction("1e-6")),
        noise_multiplier_for(Fraction(epsilon), Fraction("1e-6")),
    )
    assert Fraction(least) <= Fraction(z) <= Fraction(least) * Fraction(1001, 1000)
    assert len(z.partition(".")[2]) <= 9
    assert Fraction(epsilon_of_rho(rho_of_gaussian(Fraction(z)), 1e-6)) <= Fraction(epsilon)
    assert Fraction(epsilon_of_rho(rho_of_gaussian(Fraction(z) * Fraction(99, 100)), 1e-6)) > Fraction(
        epsilon
    )


@pytest.mark.parametrize("z", [0.1, 0.5, 1, 4.531, 20, 1000])
def test_accountants_agree(z):
    found = ours.cross_check(z, 1e-6)
    assert found.zcdp == epsilon_of_rho(rho_of_gaussian(Fraction(z)), 1e-6)
    # The same conversion over a grid of alphas: never below the minimum, and close to it.
    assert found.zcdp * (1 - 1e-9) <= found.dp_accounting_zcdp <= found.zcdp * 1.001
    # PRV gives an upper bound: an estimate that is right to eps_error, plus eps_error.
    assert abs(found.opacus_prv - found.eps_error - found.analytic) <= found.eps_error
    assert found.analytic < found.zcdp


def test_the_comparison_notices_noise_that_is_one_percent_off():
    found, other = ours.cross_check(1, 1e-6), ours.cross_check(0.99, 1e-6)
    assert abs(other.opacus_prv - other.eps_error - found.analytic) > found.eps_error
    assert other.dp_accounting_zcdp > found.zcdp * 1.001


def test_a_finer_prv_is_closer():
    found = ours.cross_check(1, 1e-6, eps_error=0.001)
    assert 0 <= found.opacus_prv - found.analytic <= 2 * found.eps_error


def test_the_gaussian_accountant_that_is_not_offered_is_wrong():
    """Why `gdp` is left out: at sampling rate 1 it is a third above what is exact."""
    accountant = create_accountant("gdp")
    accountant.history = [(1.0, 1.0, 1)]
    assert accountant.get_epsilon(1e-6) > 1.3 * ours.cross_check(1, 1e-6).analytic


@pytest.mark.parametrize(
    ("module", "loaded"),
    [
        ("secprune.privacy.guarantee, secprune.privacy.labels, secprune.parties.session", False),
        ("secprune.parties.aggregator, secprune.parties.budget, secprune.parties.study", False),
        ("secprune.privacy.opacus_accountant", True),  # control
    ],
)
def test_whoever_checks_a_task_does_without_opacus(module, loaded):
    code = (
        f"import {module}, sys; print([m for m in ('torch', 'opacus', 'dp_accounting') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout.strip() != "[]") == loaded
