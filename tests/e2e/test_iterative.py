"""The iterative schedule: one secure sum per decoder block, against an oracle that sees everything."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import tomli_w
import torch
from small_study import make_study
from tiny_models import NOTES, make_checkpoint
from transformers import AutoModelForCausalLM

from secprune.crypto.envelope import sign
from secprune.errors import ConfigurationError, RemoteMisbehaviourError
from secprune.exchange.directory import DirectoryExchange
from secprune.messages.types import RoundOutcome
from secprune.parties import client, selection
from secprune.parties.outcome import AGREED_FILE, await_outcome
from secprune.parties.schedule import drive, serve, take_part
from secprune.parties.selection import select
from secprune.parties.session import Patience, open_session
from secprune.parties.study import model_spec
from secprune.pruning.calibration import pack_windows
from secprune.pruning.models import load_tokenizer
from secprune.pruning.notes import read_notes
from secprune.pruning.tensorfile import CheckpointFiles
from secprune.task import PruningSpec

SPEC = PruningSpec(sparsity="1/2", sequence_length=16, max_windows=3, schedule="iterative")


@pytest.fixture(autouse=True)
def _one_model_is_loaded_at_a_time(monkeypatch):
    """Parties are threads here, and transformers sets torch's default dtype while it loads."""
    lock, start = threading.Lock(), client.start_pruning

    def start_alone(session, device):
        with lock:
            return start(session, device)

    monkeypatch.setattr(client, "start_pruning", start_alone)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """In float64, so that the oracle and the parties agree to the bit."""
    directory = tmp_path_factory.mktemp("model") / "tiny"
    return make_checkpoint(directory, "llama", seed=7, dtype=torch.float64)


def new_study(root, checkpoint, **options):
    study = make_study(
        root, clients=3, model=model_spec(checkpoint), pruning=SPEC, with_masks=False, **options
    )
    for index, name in enumerate((*study.clients, "hq")):
        (root / name / "notes.txt").write_text("\n\n".join(NOTES[index::4]))
        content = {
            "task": "../task.toml",
            "exchange": "../exchange",
            "model": str(checkpoint),
            "notes": "notes.txt",
        }
        content["policy"] = {"protocols": [study.task.protocol.name]}
        (root / name / "party.toml").write_text(tomli_w.dumps(content))
    return study


def run_all(study, timeout_s=60):
    outcomes = {}

    def keep(name, role, work):
        try:
            with open_session(study.root / name, role) as session:
                outcomes[name] = work(session, Patience(timeout_s, poll_s=0.01))
        except Exception as error:  # noqa: BLE001 - handed to the test
            outcomes[name] = error

    work = {"client": take_part, "aggregator": serve, "coordinator": drive}
    threads = [
        threading.Thread(target=keep, args=(party.name, party.role, work[party.role]))
        for party in study.task.parties
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def oracle(study, checkpoint):
    """FedPrLLM, iterative, in plain numpy and whole forwards: final mask of every matrix."""
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float64).eval()
    tokenizer = load_tokenizer(checkpoint)
    windows = [
        pack_windows(
            read_notes(study.root / name / "notes.txt"), tokenizer, sequence_length=16, max_windows=3
        )
        for name in study.clients
    ]
    modules = dict(model.named_modules())
    final = {}
    for block in sorted({m.block for m in study.task.model.matrices}):
        matrices = [m for m in study.task.model.matrices if m.block == block]
        votes = {m.name: np.zeros((m.rows, m.columns), int) for m in matrices}
        for tokens in windows:
            inputs = {}
            hooks = [
                modules[m.name.removesuffix(".weight")].register_forward_pre_hook(
                    lambda _module, args, name=m.name, to=inputs: to.__setitem__(
                        name, args[0].detach().numpy()
                    )
                )
                for m in matrices
            ]
            with torch.no_grad():
                model(input_ids=tokens)
            for hook in hooks:
                hook.remove()
            for m in matrices:
                weight = modules[m.name.removesuffix(".weight")].weight.detach().numpy()
                norm = np.sqrt((inputs[m.name].reshape(-1, m.columns) ** 2).sum(axis=0))
                order = np.argsort(np.abs(weight) * norm, axis=1, kind="stable")
                np.put_along_axis(
                    votes[m.name],
                    order[:, : m.columns // 2],
                    np.take_along_axis(votes[m.name], order[:, : m.columns // 2], 1) + 1,
                    1,
                )
        for m in matrices:
            parameter = modules[m.name.removesuffix(".weight")].weight
            flat = np.lexsort(
                (
                    np.arange(m.rows * m.columns),
                    np.abs(parameter.detach().numpy()).ravel(),
                    -votes[m.name].ravel(),
                )
            )
            mask = np.zeros(m.rows * m.columns, bool)
            mask[flat[: m.rows * m.columns // 2]] = True
            final[m.name] = mask.reshape(m.rows, m.columns)
            with torch.no_grad():
                parameter.masked_fill_(torch.from_numpy(final[m.name]), 0)
    return final


@pytest.mark.parametrize("protocol", ["additive", "cleartext"])
def test_block_by_block_equals_the_oracle_bit_for_bit(tmp_path, checkpoint, protocol):
    study = new_study(tmp_path, checkpoint, protocol=protocol)
    outcomes = run_all(study)
    assert {n: repr(o) for n, o in outcomes.items() if isinstance(o, Exception)} == {}
    assert outcomes["hq"].rounds == study.task.rounds > 1
    assert outcomes["clinic-0"].rounds == study.task.rounds
    with open_session(tmp_path / "hq", "coordinator") as session:
        select(session, tmp_path / "out")
    pruned, dense = CheckpointFiles(tmp_path / "out"), CheckpointFiles(checkpoint)
    for name, mask in oracle(study, checkpoint).items():
        np.testing.assert_array_equal(pruned.raw(name), np.where(mask, 0, dense.raw(name)))


def test_every_party_resumes_in_the_middle(tmp_path, checkpoint):
    study = new_study(tmp_path, checkpoint)
    first = run_all(study, timeout_s=0.0)  # everybody gives up at the first wait
    assert any(isinstance(o, Exception) for o in first.values())
    for _ in range(2):
        outcomes = run_all(study)
        assert {n: repr(o) for n, o in outcomes.items() if isinstance(o, Exception)} == {}
    reports = list(study.exchange.glob("messages/*/*/reports/*"))
    assert len(reports) == 3 * study.task.rounds, (
        "one report of each client in each round, however often they ran"
    )


def test_a_second_outcome_or_one_of_the_wrong_size_is_refused(tmp_path, checkpoint):
    study = new_study(tmp_path, checkpoint)
    run_all(study)
    (agreed,) = (tmp_path / "clinic-0").glob(f"tasks/*/round-000/{AGREED_FILE}")
    genuine = agreed.read_bytes()
    wrong = bytearray(genuine)
    wrong[-1] ^= 1
    agreed.unlink()
    exchange = DirectoryExchange(study.exchange)
    message = RoundOutcome(task_id=study.task.task_id, round=0, chunks=(exchange.put_chunk(bytes(wrong)),))
    envelope = sign(message, signer="hq", identity=study.identities["hq"])
    with open_session(tmp_path / "clinic-0", "client") as session:
        session.exchange.post(session._topic("outcomes"), envelope)
        with pytest.raises(RemoteMisbehaviourError, match="two different outcomes") as caught:
            list(session.read_one_each(RoundOutcome))
        assert caught.value.party == "hq"
    with open_session(tmp_path / "clinic-2", "client") as session:
        (session.work / AGREED_FILE).write_bytes(bytes(wrong))
        with pytest.raises(RemoteMisbehaviourError, match="prunes") as caught:
            await_outcome(session, Patience(0))
    assert caught.value.party == "hq"


def test_a_round_that_prunes_what_nobody_voted_for_ends_there(tmp_path, checkpoint, monkeypatch):
    """Clients must not go on from such a mask; it is never published."""
    monkeypatch.setattr(
        selection, "zero_vote_share", lambda _counts, mask: (int(mask.sum()), int(mask.sum()))
    )
    study = new_study(tmp_path, checkpoint)
    outcomes = run_all(study, timeout_s=12)
    assert isinstance(outcomes["hq"], ConfigurationError)
    assert "had no client's vote" in str(outcomes["hq"])
    assert not study.messages("outcomes").exists()
    assert not list(tmp_path.rglob(AGREED_FILE))
