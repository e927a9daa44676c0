"""Second sums over one model: who refuses which, with controls that succeed, and what is not noticed."""

from __future__ import annotations

import numpy as np
import pytest
from small_study import make_study
from turns import (
    ADDER,
    HOLDER,
    HQ,
    KINDS,
    allow,
    assert_nothing_released,
    assert_sum_of,
    counts,
    everybody,
    forget,
    new_board,
    new_study,
    next_task,
    post,
    posted,
    set_party_file,
    settle,
)

from secprune.errors import ConfigurationError, NotReadyError
from secprune.files import private_directory
from secprune.ids import sha256
from secprune.messages.pairwise import Consent
from secprune.messages.types import Cohort, CountedReport
from secprune.parties import client, schedule
from secprune.parties.session import REPORT_OF, Patience, open_session
from secprune.storage.keyfile import card_of, write_identity
from secprune.task import MatrixSpec, ModelSpec, PruningSpec

ALL = tuple(KINDS)
SERVERS = {
    "additive": (ADDER, "adder-1"),
    "pairwise": (ADDER,),
    "blind": (ADDER, HOLDER),
    "simple": (HOLDER,),
}
"""Who releases something, and so remembers it; in the simple form the aggregator never does."""
CLOSES = {
    "additive": ("reports",),
    "pairwise": ("keys", "shares", "reports"),
    "blind": ("reports",),
    "simple": ("reports",),
}
"""Steps in which a client that never comes is given up."""


@pytest.fixture(params=ALL)
def kind(request):
    return request.param


def released(study, *absent, kind):
    """A round from beginning to end, without some clients."""
    present = [name for name in everybody(study) if name not in absent]
    return settle(study, *present, close=CLOSES[kind] if absent else ())


def first_sum(root, kind, *absent, **options):
    study = new_study(root, kind, **options)
    released(study, *absent, kind=kind)
    assert_sum_of(study, *(name for name in study.clients if name not in absent))
    return study


def errors(outcomes, *names):
    return {name: str(outcomes[name]) for name in names if isinstance(outcomes[name], ConfigurationError)}


def reports(study):
    return posted(study, REPORT_OF[study.task.protocol.name])


# ---- by default there is no second one
def test_by_default_no_client_gives_votes_on_a_model_again(root, kind):
    study = first_sum(root, kind)
    next_task(study)
    outcomes = settle(study)
    refused = errors(outcomes, *study.clients)
    assert set(refused) == set(study.clients)
    assert all("this site's votes on this model are in a sum" in text for text in refused.values())
    assert all(isinstance(outcomes[name], NotReadyError) for name in (*SERVERS[kind], HQ))
    assert not reports(study)
    assert_nothing_released(study)
    allow(study)  # control
    settle(study)
    assert_sum_of(study, *study.clients)


@pytest.mark.parametrize(
    ("kind", "stern"), [(kind, server) for kind, servers in SERVERS.items() for server in servers]
)
def test_by_default_nobody_who_releases_does_it_again_whatever_clients_allow(root, kind, stern):
    """One of them is enough; all others' policies allow it."""
    study = first_sum(root, kind)
    next_task(study)
    allow(study, *(name for name in everybody(study) if name != stern))
    outcomes = settle(study)
    assert f"with {len(study.clients)} of the same clients" in errors(outcomes, stern)[stern]
    assert_nothing_released(study)
    next_task(study)  # control: that round is over
    allow(study)
    settle(study)
    assert_sum_of(study, *study.clients)


def test_clients_of_another_model_or_that_were_left_out_may_take_part(root, kind):
    study = first_sum(root, kind, "clinic-3")
    next_task(study)
    outcomes = settle(study)
    assert set(errors(outcomes, *study.clients)) == set(study.clients) - {"clinic-3"}
    other = sha256(b"fine-tuned since")
    next_task(study, model=ModelSpec(**dict(_fields(study.task.model), weights_digest=other)))
    settle(study)
    assert_sum_of(study, *study.clients)


def _fields(struct):
    return {name: getattr(struct, name) for name in struct.__struct_fields__}


def test_a_client_says_so_before_hours_of_pruning(root, monkeypatch):
    monkeypatch.setattr(client, "check_model", lambda _task, _model: None)
    study = first_sum(root, "additive")
    next_task(study)

    def check(name):
        with open_session(study.root / name, "client") as session:
            return client.check(session)

    for name in study.clients:
        set_party_file(study, name, model="../model")
        with pytest.raises(ConfigurationError, match="this site's votes on this model"):
            check(name)
    allow(study, "clinic-0")
    set_party_file(study, "clinic-0", model="../model")
    assert check("clinic-0").task_id == study.task.task_id


def test_the_same_round_again_is_no_second_sum(root, kind):
    study = first_sum(root, kind)
    again = settle(study)
    assert not [outcome for outcome in again.values() if isinstance(outcome, Exception)]


# ---- with repeat_releases: not if it gives somebody away
def test_no_client_submits_if_the_roster_would_isolate_somebody(root):
    """Protocols do not differ here: it is before a client sends anything."""
    study = first_sum(root, "additive", clients=6)
    allow(study)
    next_task(study, *study.clients[:5])
    refused = errors(settle(study), *study.clients)
    assert set(refused) == set(study.clients)
    assert all("say something about clinic-5 alone" in text for text in refused.values())
    assert not reports(study)
    next_task(study, *study.clients[:3])  # control: three differ, as many as min_clients
    settle(study)
    assert_sum_of(study, *study.clients)


REMEMBER = [
    ("additive", (ADDER,)),
    ("additive", ("adder-1",)),
    ("pairwise", (ADDER,)),
    ("pairwise", "clients"),
    ("blind", (ADDER,)),
    ("blind", (HOLDER,)),
    ("blind", "clients"),
    ("simple", (HOLDER,)),
    ("simple", "clients"),
]


def second_without_one(root, kind, remember):
    """The same roster and the same masks again, but one client stays away; only these have kept their journals."""
    study = first_sum(root, kind)
    before = counts(study)
    remember = study.clients if remember == "clients" else remember
    forget(study, *(name for name in everybody(study) if name not in remember))
    allow(study)
    next_task(study)
    return study, before, released(study, "clinic-3", kind=kind)


@pytest.mark.parametrize(("kind", "remember"), REMEMBER)
def test_one_who_remembers_is_enough_against_a_cohort_that_lacks_one_client(root, kind, remember):
    study, _, outcomes = second_without_one(root, kind, remember)
    refused = errors(outcomes, *(study.clients[:3] if remember == "clients" else remember))
    assert refused
    assert all("about clinic-3 alone" in text for text in refused.values())
    assert_nothing_released(study)


def test_pairwise_clients_refuse_before_they_consent(root):
    study, _, outcomes = second_without_one(root, "pairwise", "clients")
    assert set(errors(outcomes, *study.clients[:3])) == set(study.clients[:3])
    assert len(reports(study)) == 3  # under masks that nobody can take off
    assert not posted(study, Consent)


@pytest.mark.parametrize("kind", ALL)
def test_known_weakness_once_all_have_forgotten_the_difference_is_a_clients_mask(root, kind):
    study, before, _ = second_without_one(root, kind, ())
    after = counts(study)
    for name, mask in study.masks["clinic-3"].items():
        np.testing.assert_array_equal(before[name] - after[name], mask)


def test_known_weakness_clients_of_additive_never_see_the_cohort_in_time(root):
    """Their reports are out when it is agreed on: only aggregators can refuse it."""
    study, _, outcomes = second_without_one(root, "additive", "clients")
    assert not errors(outcomes, *study.clients[:3])
    assert_sum_of(study, *study.clients[:3])


def test_the_same_cohort_again_is_allowed_under_a_roster_of_it(root, kind):
    """Clients cannot know that the one who was missing will be missing again: for them the roster stands."""
    study = first_sum(root, kind, "clinic-3")
    allow(study)
    whole = study.task
    next_task(study)
    refused = errors(released(study, "clinic-3", kind=kind), *study.clients[:3])
    assert set(refused) == set(study.clients[:3])
    assert all("about clinic-3 alone" in text for text in refused.values())
    assert_nothing_released(study)
    study.task = whole
    next_task(study, *study.clients[:3])
    settle(study)
    assert_sum_of(study, *study.clients)


# ---- several sums together
def test_three_sums_that_are_harmless_in_pairs(root):
    """The third is the first two together, without one client."""
    study = new_study(root, "additive", clients=9)
    everyone = study.clients
    allow(study)

    def sum_over(*names):
        study.task = whole
        next_task(study, *names)
        outcomes = settle(study)
        return outcomes, errors(outcomes, ADDER, "adder-1")

    whole = study.task
    for cohort in (everyone[:4], everyone[4:]):  # disjoint, so that this is no repetition for anybody
        assert not sum_over(*cohort)[1]
        assert_sum_of(study, *cohort)
    outcomes, refused = sum_over(*everyone[1:])
    assert set(refused) == {ADDER, "adder-1"}
    assert all("about clinic-0 alone" in text for text in refused.values())
    assert_nothing_released(study)
    # Known weakness: a client knows only of sums in which it was counted itself; only those who release know all.
    assert not errors(outcomes, *everyone[1:])
    forget(study, ADDER, "adder-1")
    assert not sum_over(*everyone[1:])[1]
    assert_sum_of(study, *everyone[1:])


def test_all_of_several_disjoint_sums_together_are_no_news(root):
    study = new_study(root, "additive", clients=6)
    whole = study.task
    for cohort in (whole.names("client")[:3], whole.names("client")[3:]):
        study.task = whole
        next_task(study, *cohort)
        settle(study)  # nobody's policy has to allow it
        assert_sum_of(study, *cohort)
    study.task = whole
    next_task(study)
    outcomes = settle(study)
    assert set(errors(outcomes, *study.clients)) == set(study.clients)  # control: by default not
    allow(study)
    settle(study)
    assert_sum_of(study, *study.clients)


# ---- block by block
BLOCKS = ModelSpec(
    name="two",
    weights_digest=sha256(b"two blocks"),
    tokenizer_digest=sha256(b""),
    matrices=tuple(MatrixSpec(name=f"{b}.w", rows=3, columns=8, block=b) for b in (0, 1)),
)
BY_BLOCKS = PruningSpec(sparsity="1/2", sequence_length=8, max_windows=4, schedule="iterative")


@pytest.fixture
def outcomes_without_a_model(monkeypatch):
    """The agreed mask of a round needs a checkpoint; what clients go on with is not what is tested here."""
    monkeypatch.setattr(schedule, "publish_outcome", lambda _session, _masks: None)
    monkeypatch.setattr(schedule, "round_masks", lambda _session: None)


def by_blocks(root, monkeypatch):
    """An iterative study in which clinic-5 is counted in block 1 alone."""
    import turns

    monkeypatch.setattr(turns, "await_outcome", lambda _session, _patience: None)
    study = make_study(root, clients=6, model=BLOCKS, pruning=BY_BLOCKS)
    with open_session(study.root / "clinic-5", "client") as session:
        second = session.at_round(1)
        schedule.submit_round(second, Patience(0, poll_s=0))
    others = [name for name in everybody(study) if name != "clinic-5"]
    settle(study, *others, close=("reports",))
    assert_sum_of(study, *study.clients[:5], index=0)
    assert_sum_of(study, *study.clients, index=1)
    return study


@pytest.mark.usefixtures("outcomes_without_a_model")
def test_sums_of_other_blocks_do_not_count(root, monkeypatch):
    """Of block 0 the same five again; of block 1, where there were six, that would say something about the sixth."""
    study = by_blocks(root, monkeypatch)
    allow(study)
    next_task(study, *study.clients[:5])
    outcomes = settle(study)
    assert_sum_of(study, *study.clients, index=0)
    refused = errors(outcomes, *study.clients)
    assert set(refused) == set(study.clients)
    assert all("about clinic-5 alone" in text for text in refused.values())
    assert counts(study, index=1) is None


@pytest.mark.usefixtures("outcomes_without_a_model")
def test_an_aggregator_tells_blocks_apart_too(root, monkeypatch):
    study = by_blocks(root, monkeypatch)
    forget(study, *study.clients)
    allow(study)
    next_task(study, *study.clients[:5])
    outcomes = settle(study)
    assert_sum_of(study, *study.clients, index=0)
    assert set(errors(outcomes, ADDER, "adder-1")) == {ADDER, "adder-1"}
    assert counts(study, index=1) is None


@pytest.mark.usefixtures("outcomes_without_a_model")
def test_a_sum_of_all_blocks_is_compared_with_those_of_each(root, monkeypatch):
    study = by_blocks(root, monkeypatch)
    allow(study)
    one_shot, whole = PruningSpec(sparsity="1/2", sequence_length=8, max_windows=4), study.task
    for cohort in (study.clients[:5], study.clients):  # differs by one in block 1, and in block 0
        study.task = whole
        next_task(study, *cohort, pruning=one_shot)
        refused = errors(settle(study), *cohort)
        assert set(refused) >= set(cohort[:5])
        assert all("about clinic-5 alone" in text for text in refused.values())
        assert_nothing_released(study)
    study.task = whole
    next_task(study, *study.clients[:3], pruning=one_shot)  # two differ in block 0, three in block 1
    assert set(errors(settle(study), *study.clients)) == set(study.clients)
    assert_nothing_released(study)


@pytest.mark.usefixtures("outcomes_without_a_model")
def test_by_default_one_block_is_as_much_as_all(root, monkeypatch):
    study = by_blocks(root, monkeypatch)
    next_task(study)
    assert set(errors(settle(study), *study.clients)) == set(study.clients)
    assert [sender for sender, *_ in reports(study)] == ["clinic-5"]  # of block 0, in which it was not
    assert counts(study, index=0) is None


# ---- what clients learn, and from whom
def cohort_of(study, *names):
    members = tuple(CountedReport(client=name, report="sha256:" + "2" * 64) for name in names)
    return Cohort(task_id=study.task.task_id, round=0, members=members)


def submit_once(study, name="clinic-0"):
    with open_session(study.root / name, "client") as session:
        return schedule.submit_round(session, Patience(0, poll_s=0))


@pytest.mark.parametrize(
    ("sender", "believed"), [(ADDER, True), (HQ, False), ("clinic-1", False), ("stranger", False)]
)
def test_one_who_releases_is_believed_and_nobody_else(root, sender, believed):
    from secprune.crypto.entropy import random_bytes
    from secprune.crypto.identity import Identity

    study = new_study(root, "additive")
    submit_once(study)
    stranger = Identity.generate(random_bytes) if sender == "stranger" else None
    name = ADDER if stranger else sender
    post(study, name, cohort_of(study, *study.clients), identity=stranger)
    next_task(study)
    if believed:
        with pytest.raises(ConfigurationError, match="this site's votes on this model"):
            submit_once(study)
    else:
        submit_once(study)


def test_a_cohort_without_this_client_or_of_another_round_is_none_of_its_business(root):
    study = new_study(root, "additive")
    submit_once(study)
    post(study, ADDER, cohort_of(study, *study.clients[1:]))
    replayed = cohort_of(study, *study.clients)
    first = study.task
    next_task(study)
    submit_once(study)
    study.task = first
    post(study, ADDER, type(replayed)(task_id=first.task_id, round=7, members=replayed.members))
    next_task(study)
    submit_once(study)


def test_known_weakness_an_aggregator_can_bar_a_client_with_a_cohort_that_was_never_summed(root):
    """It errs on the safe side: votes are kept back, and whoever signed it can be shown to have done so."""
    study = new_study(root, "additive")
    submit_once(study)
    post(study, "adder-1", cohort_of(study, "clinic-0"))
    next_task(study)
    with pytest.raises(ConfigurationError):
        submit_once(study)


def test_known_weakness_an_exchange_that_shows_no_cohorts(root, monkeypatch):
    """Clients of `additive` learn nothing; those who release remember by themselves."""
    board = new_board(monkeypatch)
    study = first_sum(root, "additive")
    board.listing = lambda _reader, topic, found: [] if topic.phase == "cohorts" else found
    next_task(study)
    outcomes = settle(study)
    assert not errors(outcomes, *study.clients)
    assert reports(study)
    assert errors(outcomes, *SERVERS["additive"])  # one has told all others, or all have refused
    assert_nothing_released(study)


@pytest.mark.parametrize("kind", ["pairwise", "blind", "simple"])
def test_clients_of_several_steps_remember_what_they_did_without_being_shown_cohorts(root, monkeypatch, kind):
    """They revealed shares for a list, or saw that a sum was to be opened; all servers have forgotten it."""
    board = new_board(monkeypatch)
    study = first_sum(root, kind)
    board.listing = lambda reader, topic, found: [] if topic.phase == "cohorts" and reader != HQ else found
    forget(study, *SERVERS[kind])
    next_task(study)
    assert set(errors(settle(study), *study.clients)) == set(study.clients)
    assert not reports(study)
    forget(study, *study.clients)  # control
    settle(study)
    assert_sum_of(study, *study.clients)


def test_known_weakness_a_task_that_was_run_on_another_exchange(root):
    study = first_sum(root, "additive")
    for name in everybody(study):
        set_party_file(study, name, exchange="../elsewhere")
    next_task(study)
    outcomes = settle(study)
    assert not errors(outcomes, *study.clients)
    assert set(errors(outcomes, ADDER, "adder-1")) == {ADDER, "adder-1"}
    assert_nothing_released(study)


def test_once_learned_a_cohort_is_remembered_wherever_the_next_task_is_run(root):
    study = first_sum(root, "additive")
    next_task(study)
    assert set(errors(settle(study), *study.clients)) == set(study.clients)  # here they learn it
    for name in everybody(study):
        set_party_file(study, name, exchange="../elsewhere")
    next_task(study)
    assert set(errors(settle(study), *study.clients)) == set(study.clients)


def test_known_weakness_names_are_compared_and_not_keys(root):
    """Under another name everybody is somebody else; clients would have to help, for the name is in their files."""
    study = first_sum(root, "additive")
    before, old, parties = counts(study), study.clients[:3], []
    for party in study.task.parties:
        if party.name in old:
            new = party.name.replace("clinic", "site")
            identity = study.identities[new] = study.identities[party.name]
            directory = private_directory(root / new)
            write_identity(directory / "identity.key", identity, role="client", name=new)
            study.write_party_file(new)
            study.masks[new] = study.masks[party.name]
            parties.append(card_of(identity, role="client", name=new))
        elif party.role != "client":
            parties.append(party)
    next_task(study, parties=tuple(parties))
    settle(study)
    after = counts(study)
    for name, mask in study.masks["clinic-3"].items():
        np.testing.assert_array_equal(before[name] - after[name], mask)
