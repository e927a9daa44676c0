"""A client's privacy budget over several tasks: what counts, what does not, and that a refusal leaves nothing behind."""

from __future__ import annotations

import contextlib
import dataclasses
import sqlite3
import threading
from fractions import Fraction

import pytest
from msgspec import structs
from privacy_tasks import bare_sums, make_task, private, turned_round, with_privacy
from small_study import make_study

from secprune.errors import ConfigurationError, LocalMisuseError
from secprune.ids import sha256
from secprune.parties import budget
from secprune.parties.config import JOURNAL_FILE, Policy, check_policy, payload_kind
from secprune.parties.session import open_session
from secprune.privacy.accounting import epsilon_of_rho, noise_multiplier_for, rho_of_gaussian
from secprune.privacy.guarantee import spent_rho
from secprune.storage.journal import Journal
from secprune.task import PrivacySpec

NAME = "clinic-0"
PATIENTS = tuple(f"patient-{number:04d}" for number in range(20))
OTHERS = tuple(f"somebody-{number:04d}" for number in range(20))
FIRST, SECOND = sha256(b"export of May"), sha256(b"export of June")
SEVEN = rho_of_gaussian(Fraction(noise_multiplier_for(7, Fraction("0.00001"))))
"""What costs epsilon 7 at the policy's delta: once is allowed, twice is not."""


@pytest.fixture
def study(tmp_path):
    study = make_study(tmp_path, clients=3, with_masks=False)
    study.write_task(with_privacy(study.task, private()))
    return study


@contextlib.contextmanager
def session_of(study, number=0, **policy):
    """The client in one of several tasks, which differ in their nonce."""
    task = structs.replace(study.task, nonce=f"{number:032x}")
    study.write_task(task)
    study.write_party_file(NAME, **policy)
    with open_session(study.root / NAME, "client") as session:
        yield session


def reserve(study, number=0, *, dataset=FIRST, units=PATIENTS, rho=SEVEN, **policy):
    with session_of(study, number, **policy) as session:
        budget.reserve(session, dataset=dataset, units=units, rho=rho)


def status(study):
    with session_of(study) as session:
        return budget.budget_status(session)


def rows(study):
    with contextlib.closing(sqlite3.connect(study.root / NAME / JOURNAL_FILE)) as db:
        return [
            sorted(db.execute(f"SELECT * FROM {table}").fetchall())
            for table in ("budget_key", "spending", "spending_dataset", "spending_unit")
        ]


def test_it_is_written_down_and_shown(study):
    assert status(study).epsilon == 0
    assert status(study).tasks == ()
    reserve(study)
    found = status(study)
    assert (found.max_epsilon, found.max_delta) == ("10", "0.00001")
    assert found.epsilon == epsilon_of_rho(SEVEN, 1e-5) == pytest.approx(7, abs=1e-4)
    (only,) = found.tasks
    assert (only.units, only.datasets, only.epsilon) == (20, (FIRST,), found.epsilon)
    assert only.task_id == study.task.task_id


def test_the_same_task_costs_once(study):
    reserve(study)
    before = rows(study)
    for _ in range(3):
        reserve(study)
    assert rows(study) == before
    # Units that are new to it are added; the others are not charged again.
    reserve(study, dataset=SECOND, units=PATIENTS[:5] + OTHERS[:1])
    (only,) = status(study).tasks
    assert (only.units, only.datasets) == (21, (FIRST, SECOND))
    assert status(study).epsilon == pytest.approx(7, abs=1e-4)


def test_a_task_has_one_cost(study):
    reserve(study)
    before = rows(study)
    with pytest.raises(ConfigurationError, match="recorded to cost"):
        reserve(study, rho=SEVEN / 2)
    assert rows(study) == before


def test_two_studies_add_up(study):
    reserve(study, 1, rho=SEVEN / 4)
    reserve(study, 2, rho=SEVEN / 4)
    assert status(study).epsilon == epsilon_of_rho(SEVEN / 2, 1e-5)
    reserve(study, 3, rho=SEVEN / 2)
    before = rows(study)
    with pytest.raises(
        ConfigurationError, match=r"have cost epsilon 7 .* asks for 7, .* budget is 10"
    ) as caught:
        reserve(study, 4)
    assert "max_epsilon" in caught.value.hint
    assert rows(study) == before, "a refusal leaves nothing behind"
    reserve(study, 4, max_epsilon="20")  # control: the budget was the reason


@pytest.mark.parametrize(
    ("dataset", "units"),
    [
        (FIRST, PATIENTS),
        (SECOND, PATIENTS),  # another export
        (SECOND, (*PATIENTS, "one more")),
        (SECOND, (*OTHERS, PATIENTS[7])),  # one patient in common
        (FIRST, OTHERS),  # the same bytes under other ids
    ],
)
def test_the_same_patients_do_not_start_anew(study, dataset, units):
    reserve(study, 1)
    before = rows(study)
    with pytest.raises(ConfigurationError, match="this site's budget"):
        reserve(study, 2, dataset=dataset, units=units)
    assert rows(study) == before


def test_other_patients_have_a_budget_of_their_own(study):
    reserve(study, 1)
    reserve(study, 2, dataset=SECOND, units=OTHERS)
    assert status(study).epsilon == pytest.approx(7, abs=1e-4)
    assert len(status(study).tasks) == 2


def test_the_dearest_patient_counts(study):
    """One in three tasks, all others in one: nobody's sum is mixed up with another's."""
    part = rho_of_gaussian(Fraction(noise_multiplier_for(4, Fraction("0.00001"))))
    reserve(study, 1, dataset=sha256(b"1"), units=PATIENTS, rho=part)
    reserve(study, 2, dataset=sha256(b"2"), units=(PATIENTS[0], *OTHERS), rho=part)
    with session_of(study, 3) as session:
        two, one = (
            budget.check_budget(session, dataset=sha256(b"3"), units=units, rho=part)
            for units in ((PATIENTS[0], "x"), PATIENTS[1:])
        )
    assert two == epsilon_of_rho(3 * part, 1e-5)
    assert one == epsilon_of_rho(2 * part, 1e-5)
    assert status(study).epsilon == epsilon_of_rho(2 * part, 1e-5)


def test_looking_writes_nothing(study):
    with session_of(study) as session:
        before = rows(study)
        assert budget.check_budget(session, dataset=FIRST, units=PATIENTS, rho=SEVEN) == epsilon_of_rho(
            SEVEN, 1e-5
        )
        with pytest.raises(ConfigurationError, match="this site's budget"):
            budget.check_budget(session, dataset=FIRST, units=PATIENTS, rho=4 * SEVEN)
    assert rows(study) == before == [[], [], [], []]


def test_the_limit_itself_is_allowed(study):
    reserve(study, max_epsilon="7")
    with pytest.raises(ConfigurationError, match="this site's budget"):
        reserve(study, 2, dataset=SECOND, units=OTHERS, max_epsilon="6.999999")
    with pytest.raises(ConfigurationError, match="this site's budget"):
        reserve(study, 2, dataset=SECOND, units=OTHERS, max_epsilon="7", max_delta="0.000001")


def test_ids_never_stand_in_the_journal(study):
    ids = ("Ada Lovelace 10.12.1815", "name-\udcff.txt", *PATIENTS)
    reserve(study, units=ids)
    files = [path for path in (study.root / NAME).rglob("*") if path.is_file()]
    assert any(path.name == JOURNAL_FILE for path in files)
    content = b"".join(path.read_bytes() for path in files)
    assert FIRST.encode() in content, "control: what was written is in these files"
    for unit in ids:
        data = unit.encode(errors="surrogatepass")
        assert data not in content
        # A digest without a key could be guessed by anybody with a list of patients.
        assert bytes.fromhex(sha256(data).removeprefix("sha256:")) not in content


def test_two_sites_know_a_patient_by_different_digests(study):
    reserve(study)
    first = rows(study)
    (study.root / NAME / JOURNAL_FILE).unlink()
    for rest in (study.root / NAME).glob(f"{JOURNAL_FILE}-*"):
        rest.unlink()
    reserve(study)
    second = rows(study)
    assert first[1:3] == second[1:3]
    assert not {unit for unit, _ in first[3]} & {unit for unit, _ in second[3]}


def test_a_crash_leaves_all_or_nothing(study, monkeypatch):
    from secprune.storage import budget as table

    whole = table.record

    def crash(*args, **what):
        whole(*args, **what)
        raise KeyboardInterrupt

    monkeypatch.setattr(table, "record", crash)
    with pytest.raises(KeyboardInterrupt):
        reserve(study)
    assert rows(study) == [[], [], [], []]
    monkeypatch.undo()
    reserve(study)
    assert len(rows(study)[3]) == len(PATIENTS)


def test_of_many_at_once_only_what_the_budget_allows(study):
    """Eight tasks ask at the same time for patients of whom one task is allowed."""
    with session_of(study) as session:
        outcomes, barrier = [], threading.Barrier(8)

        def ask(number):
            path = study.root / NAME / JOURNAL_FILE
            with contextlib.closing(
                Journal(path, task_id=sha256(bytes([number])), round_index=0, party=NAME)
            ) as journal:
                here = dataclasses.replace(session, journal=journal)
                barrier.wait()
                try:
                    budget.reserve(here, dataset=FIRST, units=PATIENTS, rho=SEVEN)
                    outcomes.append("recorded")
                except ConfigurationError:
                    outcomes.append("refused")

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(outcomes) == ["recorded"] + ["refused"] * 7
    assert len(status(study).tasks) == 1


@pytest.mark.parametrize(("units", "rho"), [((), SEVEN), (PATIENTS, Fraction(0)), (PATIENTS, Fraction(-1))])
def test_requests_that_make_no_sense(study, units, rho):
    with pytest.raises(LocalMisuseError):
        reserve(study, units=units, rho=rho)
    assert rows(study) == [[], [], [], []]


@pytest.mark.parametrize("delta", ["0", "1", "2.5"])
def test_a_delta_that_is_no_probability(study, delta):
    with pytest.raises(ConfigurationError, match="max_delta"):
        reserve(study, max_delta=delta)


def test_a_task_costs_what_its_noise_says(study):
    reserve(study, rho=spent_rho(study.task))
    with session_of(study) as session:
        assert budget.budget_status(session).epsilon < 1  # epsilon 1 at delta 1e-6


# ---- policy
def refusal(task, **policy):
    try:
        check_policy(Policy(min_clients=3, protocols=(task.protocol.name,), **policy), task, "clinic-0")
    except ConfigurationError as error:
        return error.message
    return ""


def test_payloads_that_a_site_allows():
    sums, bare, counts = make_task(private("square-sums")), make_task(bare_sums()), make_task(PrivacySpec())
    kinds = {"counts": counts, "square-sums": sums, "square-sums-without-noise": bare}
    for kind, task in kinds.items():
        assert payload_kind(task) == kind
        assert (not refusal(task)) == (kind == "counts")
        for allowed in kinds:
            assert (not refusal(task, payloads=(allowed,))) == (kind == allowed)
    assert "square-sums-without-noise" in refusal(bare)


def test_a_site_that_asks_for_privacy():
    for privacy in (PrivacySpec(), turned_round()):
        assert not refusal(make_task(privacy))
        assert "asks for differential privacy" in refusal(make_task(privacy), require_privacy=True)
    assert not refusal(make_task(private()), require_privacy=True)


def test_what_may_be_left_when_everybody_else_colludes():
    task = make_task(private("square-sums", z="4.531", colluders=1), clients=6, min_clients=5)
    assert not refusal(task, payloads=("square-sums",))
    assert not refusal(task, payloads=("square-sums",), max_collapsed_epsilon="2.112")
    assert "epsilon 2.11" in refusal(task, payloads=("square-sums",), max_collapsed_epsilon="2.11")
    assert not refusal(make_task(private()), max_collapsed_epsilon="0.1")  # nothing collapses
