"""A study that takes statistics of patients, with a tiny language model: real notes, reference, keys, parties, exchange."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import tomli_w
import turns
from small_study import SmallStudy, make_study
from tiny_models import NOTES

from secprune.parties import schedule
from secprune.parties.private_pruning import reference_file
from secprune.parties.public_reference import make_reference
from secprune.parties.selection import select
from secprune.parties.session import Patience, open_session
from secprune.parties.study import model_spec
from secprune.parties.study_privacy import PrivacyOptions, privacy_spec
from secprune.pruning.reference import read_reference
from secprune.task import PruningSpec, StatisticsSpec

PRUNING = PruningSpec(sparsity="1/2", sequence_length=16, max_windows=4, activations="dense")
KINDS = {name: turns.KINDS[name] for name in ("additive", "pairwise", "blind")}


def make_public_reference(checkpoint: Path, directory: Path) -> Path:
    text = directory / "public.txt"
    text.write_text("\n\n".join(NOTES[28:]))
    output = directory / "reference.safetensors"
    make_reference(checkpoint, text, output, sequence_length=16, max_windows=4)
    return output


def notes_of(index: int) -> list[dict[str, str]]:
    """Seven notes of one client, about five patients, none of them public."""
    return [{"patient": f"p{number % 5}", "text": note} for number, note in enumerate(NOTES[index:28:4])]


def private_study(
    root: Path, checkpoint: Path, reference: Path, wishes: PrivacyOptions, *, clients: int = 4, **options
) -> SmallStudy:
    known = read_reference(reference)
    statistics = StatisticsSpec(inputs=known.facts.inputs, reference=known.digest)
    takes = wishes.epsilon is not None or wishes.payload == "square-sums"
    privacy = privacy_spec(
        wishes, statistics if takes else None, clip=known.typical_clip, clients=clients, min_clients=3
    )
    study = make_study(
        root,
        clients=clients,
        model=model_spec(checkpoint),
        pruning=PRUNING,
        privacy=privacy,
        with_masks=False,
        **options,
    )
    reference_file(root / "task.toml").write_bytes(reference.read_bytes())
    for index, name in enumerate(study.clients):
        lines = [json.dumps(note) for note in notes_of(index)]
        (root / name / "notes.jsonl").write_text("\n".join(lines))
        write_party_file(study, name, checkpoint)
    write_party_file(study, "hq", checkpoint)
    return study


def write_party_file(study: SmallStudy, name: str, checkpoint: Path, **policy: object) -> None:
    content = {
        "task": "../task.toml",
        "exchange": "../exchange",
        "model": str(checkpoint),
        "notes": "notes.jsonl",
        "policy": {
            "protocols": [study.task.protocol.name],
            "payloads": ["counts", "square-sums", "square-sums-without-noise"],
            **policy,
        },
    }
    (study.root / name / "party.toml").write_text(tomli_w.dumps(content))


def run_study(study: SmallStudy, *, without: tuple[str, ...] = ()) -> dict[str, object]:
    """All parties take turns, each as the command line runs it, until nobody moves; what each returned or raised."""
    work = {
        "client": schedule.take_part,
        "aggregator": schedule.serve,
        "key-holder": schedule.hold_key,
        "coordinator": schedule.drive,
    }
    outcomes: dict[str, object] = {}
    for _ in range(20):  # more turns than any protocol takes
        for party in study.task.parties:
            if party.name in without or not isinstance(outcomes.get(party.name, Exception()), Exception):
                continue
            try:
                with open_session(study.root / party.name, party.role) as session:
                    outcomes[party.name] = work[party.role](session, Patience(0, poll_s=0))
            except Exception as error:  # noqa: BLE001 - handed to the test
                outcomes[party.name] = error
        if not any(isinstance(outcome, Exception) for outcome in outcomes.values()):
            break
    return outcomes


def select_model(study: SmallStudy, **options):
    with open_session(study.root / "hq", "coordinator") as session:
        return select(session, study.root / "pruned", **options)


def provenance(study: SmallStudy) -> dict:
    return msgspec.json.decode((study.root / "pruned" / "secprune.json").read_bytes())
