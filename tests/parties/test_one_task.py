"""A coordinator that shows different parties different tasks: who notices, who is blamed, and where nobody can notice."""

from __future__ import annotations

import msgspec
import pytest
from ledger_study import posted as posted_to_auditors
from turns import (
    ADDER,
    HOLDER,
    HQ,
    KINDS,
    allow,
    assert_nothing_released,
    assert_sum_of,
    blamed,
    changed_task,
    everybody,
    forget,
    give,
    new_board,
    new_study,
    next_task,
    posted,
    set_party_file,
    settle,
    turn,
)
from typer.testing import CliRunner

from secprune.audit.ledgers import verify_ledgers
from secprune.crypto.entropy import random_bytes
from secprune.crypto.envelope import open_envelope, sign
from secprune.crypto.identity import Identity
from secprune.errors import ConfigurationError, LocalMisuseError, RemoteMisbehaviourError
from secprune.exchange.directory import DirectoryExchange
from secprune.files import private_directory
from secprune.ids import sha256
from secprune.messages.bfv import LinearHash
from secprune.messages.pairwise import Consent
from secprune.messages.types import Cohort, TaskSignature
from secprune.parties import study as studies
from secprune.parties.one_task import study_topic
from secprune.parties.session import REPORT_OF, load_task
from secprune.protocols.one_task import other_task
from secprune.storage.keyfile import write_card
from secprune.task import parse_task
from secprune_cli.main import app


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def reports(study):
    return posted(study, REPORT_OF[study.task.protocol.name])


def finding(study, task=None):
    """What an auditor says of a task who can read all of the exchange."""
    found = verify_ledgers(task or study.task, [], posted_to_auditors(study)).finding
    return found and (found.check, found.party)


def others(task, exchange):
    """Other tasks that what was posted proves."""
    found = (other_task(task, envelope) for _, envelope in exchange.messages(study_topic(task)))
    return [task_id for task_id in found if task_id]


def signatures(study, task=None):
    task = task or study.task
    keys = {HQ: task.coordinator.signing_key}
    listed = DirectoryExchange(study.exchange).messages(study_topic(task))
    return {open_envelope(data, TaskSignature, signing_keys=keys)[1].task_id for _, data in listed}


def assert_both_are_named(outcome, one, other):
    assert isinstance(outcome, RemoteMisbehaviourError), outcome
    assert outcome.party == HQ
    assert "signed two different tasks for the study 'small'" in outcome.message
    for task in (one, other):
        assert task.task_id.removeprefix("sha256:")[:12] in outcome.message


# ---- noticed
def test_two_tasks_of_one_study_are_noticed_by_everybody_who_comes_after_the_second(root, kind):
    """One half of the clients is shown another sparsity."""
    study = new_study(root, kind)
    other = changed_task(study.task, pruning=msgspec.structs.replace(study.task.pruning, sparsity="1/4"))
    give(study, other, "clinic-2", "clinic-3", masks=False)
    assert not isinstance(turn(study, "clinic-0"), RemoteMisbehaviourError)  # the first cannot know yet
    outcomes = {name: turn(study, name) for name in ("clinic-2", "clinic-1", "clinic-3")} | settle(study)
    noticed = {name for name, outcome in outcomes.items() if isinstance(outcome, RemoteMisbehaviourError)}
    assert noticed >= set(outcomes) - {"clinic-0"}  # with `additive` it has sent its report, and ended
    for name in noticed:
        assert_both_are_named(outcomes[name], study.task, other)
    for name in noticed - {"clinic-2", "clinic-3"}:
        assert any(party == HQ and "two different tasks" in what for party, what in study.incidents(name))
    assert {whom for _, whom in blamed(study)} == {HQ}
    assert not {sender for sender, *_ in reports(study)} - {"clinic-0"}
    assert_nothing_released(study)
    assert signatures(study) == {study.task.task_id, other.task_id}
    assert finding(study) == finding(study, other) == ("task", HQ)


def test_one_task_for_all_is_all_right(root, kind):
    study = new_study(root, kind)
    settle(study)
    assert_sum_of(study, *study.clients)
    assert signatures(study) == {study.task.task_id}
    assert not blamed(study)
    assert finding(study) is None


LATE = [
    ("additive", (ADDER, "adder-1"), Cohort, 1),
    ("pairwise", ("clinic-0", "clinic-1", "clinic-2"), Consent, 0),
    ("blind", ("clinic-0", "clinic-1", "clinic-2"), LinearHash, 0),
    ("pairwise", (ADDER,), Consent, 0),
    ("blind", (ADDER,), LinearHash, 0),
    ("blind", (HOLDER,), LinearHash, 3),
    ("simple", (HOLDER,), LinearHash, 3),
]


@pytest.mark.parametrize(("kind", "who", "message", "there"), LATE)
def test_a_second_task_that_shows_late_is_noticed_before_anything_is_released(
    root, monkeypatch, kind, who, message, there
):
    """The exchange hides it until the very last moment at which these parties look."""
    board = new_board(monkeypatch)
    study = new_study(root, kind, clients=3)
    other = changed_task(study.task)
    give(study, other, masks=False)
    DirectoryExchange(study.exchange).post(study_topic(other), _signature(study, other))

    def listing(reader, topic, found):
        own = study.task.task_id if topic.phase == "tasks" else ""
        late = reader in who and len(posted(study, message)) >= there and _reported(study)
        return found if late or not own else [m for m in found if _task_of(study, m[1]) == own]

    board.listing = listing
    outcomes = settle(study)
    assert len(reports(study)) == 3
    assert {name for name, o in outcomes.items() if isinstance(o, RemoteMisbehaviourError)} & set(who)
    for name in who:
        if isinstance(outcomes[name], RemoteMisbehaviourError):
            assert_both_are_named(outcomes[name], study.task, other)
    assert_nothing_released(study)
    board.listing = None
    next_task(study)  # control
    allow(study)  # with `additive` a cohort had been signed
    settle(study)
    assert_sum_of(study, *study.clients)


def _reported(study):
    return len(reports(study)) == len(study.clients)


def _signature(study, task, *, signer=HQ, identity=None):
    signed = TaskSignature(task_id=task.task_id, study=task.study)
    return sign(signed, signer=signer, identity=identity or study.identities[HQ])


def _task_of(study, data):
    return open_envelope(data, TaskSignature, signing_keys={HQ: study.task.coordinator.signing_key})[
        1
    ].task_id


def test_a_party_that_ended_before_the_second_task_says_so_when_it_is_run_again(root):
    study = new_study(root, "additive")
    settle(study)
    assert_sum_of(study, *study.clients)
    other = changed_task(study.task)
    give(study, other, "clinic-3", masks=False)
    assert_both_are_named(turn(study, "clinic-3"), study.task, other)
    for name in (ADDER, "adder-1", HQ):
        assert_both_are_named(turn(study, name), study.task, other)
    assert finding(study) == ("task", HQ)


# ---- not noticed
def test_known_weakness_an_exchange_that_shows_each_party_only_its_own_task(root, monkeypatch, kind):
    """Coordinator and exchange together; an auditor who is shown everything notices it afterwards."""
    board = new_board(monkeypatch)
    study = new_study(root, kind)
    other = changed_task(study.task)
    give(study, other, "clinic-3")
    tasks = dict.fromkeys(everybody(study), study.task.task_id) | {"clinic-3": other.task_id}

    def own(reader, topic, found):
        if topic.phase != "tasks":
            return found
        return [item for item in found if _task_of(study, item[1]) == tasks[reader]]

    board.listing = own
    close = {"additive": ("reports",), "pairwise": ("keys",)}.get(kind, ("reports",))
    outcomes = settle(study, close=close)
    assert_sum_of(study, *study.clients[:3])
    assert not [o for o in outcomes.values() if isinstance(o, RemoteMisbehaviourError)]
    assert finding(study) == ("task", HQ)
    board.listing = None
    assert_both_are_named(turn(study, ADDER), study.task, other)  # control: nothing but the exchange hid it


def test_known_weakness_two_studies_of_different_names_are_no_equivocation(root):
    study = new_study(root, "additive")
    other = changed_task(study.task, study="small, too")
    give(study, other, "clinic-3")
    outcomes = settle(study, close=("reports",))
    assert_sum_of(study, *study.clients[:3])
    assert not [o for o in outcomes.values() if isinstance(o, RemoteMisbehaviourError)]
    assert finding(study) is None
    assert signatures(study, other) == {other.task_id}
    assert load_task(root / "task.toml").study != other.study  # what people would have to compare


def test_known_weakness_the_other_task_is_run_on_another_exchange(root):
    study = new_study(root, "additive")
    give(study, changed_task(study.task), "clinic-3")
    set_party_file(study, "clinic-3", exchange="../elsewhere")
    outcomes = settle(study, close=("reports",))
    assert_sum_of(study, *study.clients[:3])
    assert not [o for o in outcomes.values() if isinstance(o, RemoteMisbehaviourError)]
    assert finding(study) is None


# ---- nobody can be framed
def test_nobody_but_the_coordinator_can_make_it_look_like_two_tasks(root):
    study = new_study(root, "additive")
    exchange, task = DirectoryExchange(study.exchange), study.task
    other, topic = changed_task(task), study_topic(task)
    stranger, elsewhere = Identity.generate(random_bytes), changed_task(task, study="of another name")
    signed = [
        _signature(study, other, identity=stranger),
        _signature(study, other, signer=ADDER, identity=study.identities[ADDER]),
        _signature(study, other, signer=HQ, identity=study.identities[ADDER]),
        _signature(study, elsewhere),  # of another study of the same coordinator, replayed here
        sign(Cohort(task_id=other.task_id, round=0, members=()), signer=HQ, identity=study.identities[HQ]),
        _signature(study, other)[:-1],
        b"",
        b"[" * 10_000,
    ]
    for data in signed:
        exchange.post(topic, data)
    assert others(task, exchange) == []
    settle(study)
    assert_sum_of(study, *study.clients)
    assert not blamed(study)
    assert finding(study) is None
    exchange.post(topic, _signature(study, other))  # control
    assert others(task, exchange) == [other.task_id]
    assert finding(study) == ("task", HQ)


def test_a_signature_of_another_study_is_none_of_this_task(root):
    """Else a coordinator could sign a name for this one task, and none for the next."""
    study = new_study(root, "additive")
    lie = TaskSignature(task_id=study.task.task_id, study="something else")
    (root / "task.toml.sig").write_bytes(sign(lie, signer=HQ, identity=study.identities[HQ]))
    with pytest.raises(ConfigurationError, match="was changed after hq signed it"):
        load_task(root / "task.toml")
    study.write_task(study.task)
    assert load_task(root / "task.toml") == study.task


def test_a_study_of_one_coordinator_is_not_that_of_another(root):
    study, other = new_study(root / "one", "additive"), new_study(root / "two", "additive")
    assert study.task.study == other.task.study
    assert study_topic(study.task) != study_topic(other.task)
    key, name = study.task.coordinator.signing_key, study.task.study.encode()
    assert study_topic(study.task).task_id == sha256(b"secprune/study/v1\0" + key + name)


# ---- the auditor
def test_the_auditors_command_blames_the_coordinator(root):
    study = new_study(root, "additive")
    settle(study)
    arguments = ["auditor", "verify", "--task", str(root / "task.toml"), "--exchange", str(study.exchange)]
    ledgers = []
    for name in everybody(study):
        ledgers.append(str(root / f"{name}.ledger"))
        shown = CliRunner().invoke(
            app, ["auditor", "export", "--dir", str(root / name), "--out", ledgers[-1]]
        )
        assert shown.exit_code == 0, shown.output
    assert CliRunner().invoke(app, [*arguments, *ledgers]).exit_code == 0
    give(study, changed_task(study.task), "clinic-3", masks=False)
    turn(study, "clinic-3")
    done = CliRunner().invoke(app, [*arguments, *ledgers])
    assert isinstance(done.exception, RemoteMisbehaviourError)
    assert (done.exception.party, done.exception.exit_code) == (HQ, 4)
    without = CliRunner().invoke(app, [*arguments[:4], *ledgers])
    assert without.exit_code == 0, "ledgers alone do not tell of it"


# ---- the coordinator's own software
@pytest.fixture
def desk(root, monkeypatch):
    """A coordinator's directory with all cards, and `init` without a model."""
    study = new_study(root, "additive", with_masks=False)
    spec = study.task.model
    monkeypatch.setattr(studies, "model_spec", lambda _model, **_options: spec)
    for party in study.task.parties:
        write_card(
            private_directory(root / "cards") / f"{party.name}.card.json", party, study.identities[party.name]
        )

    def init(output, name=None, directory=HQ):
        options = studies.StudyOptions(
            study=name, protocol="additive", min_clients=3, pruning=study.task.pruning
        )
        model, cards = root / "model", root / "cards"
        studies.init_study(root / directory, model=model, cards=cards, output=root / output, options=options)
        return parse_task((root / output).read_text())

    return study, init


def test_a_name_is_taken_once_a_task_was_made_for_it(desk, root):
    study, init = desk
    task = init("first.toml", "our study")
    assert load_task(root / "first.toml") == task
    with pytest.raises(LocalMisuseError, match="has made a task for the study 'our study' already"):
        init("second.toml", "our study")
    assert not (root / "second.toml").exists()
    assert not (root / "second.toml.sig").exists()
    assert init("third.toml", "our study 2").study == "our study 2"
    # Known weakness: the name is remembered in the directory of the one who would have to lie.
    forget(study, HQ)
    assert init("again.toml", "our study").task_id != task.task_id


def test_names_that_nobody_chose_differ(desk):
    _, init = desk
    tasks = [init(f"{number}.toml") for number in range(3)]
    assert len({task.study for task in tasks}) == 3
    assert all(task.study == f"none {task.nonce[:8]}" for task in tasks)


def test_a_task_that_replaces_another_takes_a_new_name(root):
    """What an honest coordinator does when nobody was counted in the first; policies need not allow anything."""
    study = new_study(root, "additive")
    settle(study, "clinic-0", "clinic-1", HQ)
    next_task(study)
    settle(study)
    assert_sum_of(study, *study.clients)
    assert not blamed(study)
    next_task(study, study_name=study.task.study)  # control: under the same name it is taken for a lie
    allow(study)
    outcomes = settle(study)
    assert {type(outcome) for outcome in outcomes.values()} == {RemoteMisbehaviourError}
    assert_nothing_released(study)
