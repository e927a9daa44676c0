"""The `utility` command: what an epsilon does to the model, on any model and texts."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console

from secprune.errors import LocalMisuseError
from secprune.files import PRIVATE_FILE, environment_errors, private_directory, write_atomically
from secprune.ids import sha256, short
from secprune_cli._output import JsonOption, progress_bars, show

if TYPE_CHECKING:
    from secprune.parties.progress import Progress
    from secprune_cli.utility.cells import Cell, Choices
    from secprune_cli.utility.measure import Finding, Measurer


class UtilityResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a run has done, and where it lies."""

    measured_now: int
    measured_before: int
    table: str
    results: str


def utility(
    data: Annotated[
        Path,
        typer.Option(
            help="Directory with one .jsonl or .txt of notes per hospital; the last fifth is held out."
        ),
    ],
    public: Annotated[
        list[Path],
        typer.Option(help="Public text for a reference; give it several times to compare several."),
    ],
    model: Annotated[
        Path | None, typer.Option(help="Directory of a local Hugging Face causal LM instead of SmolLM2-135M.")
    ] = None,
    epsilon: Annotated[str, typer.Option(help="Epsilons to try; none is the mechanism without noise.")] = (
        "0.5,1,2,8,none"
    ),
    delta: Annotated[str, typer.Option(help="And delta.")] = "0.000001",
    hospitals: Annotated[
        str,
        typer.Option(
            help="Numbers of hospitals; the first files of --data. Masks are judged on the "
            "held-out texts of as many as the smallest number."
        ),
    ] = "4",
    patients: Annotated[
        str, typer.Option(help="Numbers of patients of each hospital; its first ones.")
    ] = "25",
    payload: Annotated[
        str, typer.Option(help="counts, square-sums, or both with a comma.")
    ] = "counts,square-sums",
    sparsity: Annotated[str, typer.Option(help="Share of weights to prune.")] = "1/2",
    seeds: Annotated[int, typer.Option(help="How often each noisy cell is measured.", min=1)] = 3,
    sequence_length: Annotated[int, typer.Option(help="Tokens in a window.", min=2)] = 256,
    max_windows: Annotated[int, typer.Option(help="Windows of one patient, at most.", min=1)] = 1,
    eval_windows: Annotated[int, typer.Option(help="Held-out windows scored per text, at most.", min=1)] = 2,
    output: Annotated[
        Path,
        typer.Option(
            "--out",
            help="Directory for results; what is there is not measured again. It also keeps statistics of single "
            "patients: treat it as you treat the notes.",
        ),
    ] = Path("utility-out"),
    table_only: Annotated[
        bool, typer.Option("--table-only", help="Measure nothing; write the table.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure what differential privacy does to the pruned model, beside the public-only baseline.

    A simulation of all parties in one process, without cryptography, which would not change a bit. Stop it at
    any time and run it again to go on.
    """
    from secprune.task import Payload
    from secprune_cli.demo.material import prepare_model
    from secprune_cli.utility.cells import Choices, numbers
    from secprune_cli.utility.table import tables

    names = [path.stem for path in public]
    if len(set(names)) != len(names):
        raise LocalMisuseError("two public texts have the same name", hint="rename one of the files")
    try:
        payloads = msgspec.convert(payload.split(","), tuple[Payload, ...])
    except msgspec.ValidationError:
        raise LocalMisuseError(
            f"there is no payload {payload!r}", hint="give counts, square-sums, or counts,square-sums"
        ) from None
    choices = Choices(
        references=tuple(names),
        payloads=payloads,
        hospitals=numbers(hospitals, "--hospitals"),
        patients=numbers(patients, "--patients"),
        epsilons=tuple(part.strip() for part in epsilon.split(",")),
        delta=delta,
        seeds=seeds,
    )
    multipliers = choices.multipliers()
    console = Console(stderr=True, highlight=False)
    source = prepare_model(model, console=console)
    options = [sparsity, sequence_length, max_windows, eval_windows, delta, min(choices.hospitals)]
    setup = _setup(source, data, public, options)
    results = private_directory(output) / f"results-{short(setup)}.jsonl"
    found = _read(results)
    before = len(found)
    due = [] if table_only else [cell for cell in choices.cells() if cell not in found]
    if due:
        with progress_bars() as progress:
            measurer = _measurer(
                source, data, public, output, choices, multipliers, progress,
                sparsity=sparsity, sequence_length=sequence_length, max_windows=max_windows,
                eval_windows=eval_windows,
            )  # fmt: skip
            for number, cell in enumerate(due):
                found[cell] = measurer.measure(cell)
                _append(results, cell, found[cell])
                progress("measuring", number + 1, len(due))
                if not console.is_terminal:
                    console.print(f"[{number + 1}/{len(due)}] {cell} {found[cell]}", soft_wrap=True)
    table = output / "utility.md"
    write_atomically(table, tables(choices, found).encode())
    result = UtilityResult(
        measured_now=len(due), measured_before=before, table=str(table), results=str(results)
    )
    show(result, as_json=as_json, title="Utility measured")


def _setup(model: Path, data: Path, public: list[Path], options: list[object]) -> str:
    """What all results depend on."""
    from secprune.files import file_digest
    from secprune.pruning.checkpoint import weights_digest
    from secprune.pruning.notes import NOTE_SUFFIXES

    files = sorted(path for path in data.glob("*") if path.suffix in NOTE_SUFFIXES)
    digests = [file_digest(path) for path in (*files, *public)]
    return sha256(msgspec.json.encode([weights_digest(model), digests, options]))


def _measurer(
    source: Path,
    data: Path,
    public: list[Path],
    output: Path,
    choices: Choices,
    multipliers: dict[str, Fraction],
    progress: Progress,
    *,
    sparsity: str,
    sequence_length: int,
    max_windows: int,
    eval_windows: int,
) -> Measurer:
    from secprune.parties.study import model_spec
    from secprune.pruning.calibration import text_tokens
    from secprune.pruning.models import load_tokenizer
    from secprune.pruning.notes import Patient, read_patients
    from secprune.pruning.reference import reference_of, typical_clip
    from secprune_cli._pruning import pruning_spec
    from secprune_cli.demo.material import read_hospitals
    from secprune_cli.experiment.bench import Bench
    from secprune_cli.utility.measure import Measurer, Public
    from secprune_cli.utility.units import UnitStatistics, bounded_vectors

    pruning = pruning_spec(
        sparsity=sparsity, sequence_length=sequence_length, max_windows=max_windows, activations="dense"
    )
    most, people = max(choices.hospitals), max(choices.patients)
    given = read_hospitals(data=data, clients=most)
    sites = []
    for site in given:
        ids = site.patients or [str(number) for number in range(len(site.notes))]
        by_patient: dict[str, list[str]] = {}
        for name, note in zip(ids, site.notes, strict=True):
            by_patient.setdefault(name, []).append(note)
        if len(by_patient) < people:
            raise LocalMisuseError(
                f"{site.name} has {len(by_patient)} patients beside those held out, {people} are asked for",
                hint="set --patients to less, or give more notes",
            )
        sites.append([Patient(name, tuple(notes)) for name, notes in list(by_patient.items())[:people]])
    spec, tokenizer = model_spec(source, sequence_length=sequence_length), load_tokenizer(source)
    bench = Bench(
        source,
        spec.matrices,
        {site.name: text_tokens(site.held_out, tokenizer) for site in given},
        dtype=None,
        sequence_length=sequence_length,
        windows=eval_windows,
    )
    units = UnitStatistics(
        output / "statistics",
        bench.model,
        weights=spec.weights_digest,
        tokenizer=tokenizer,
        sequence_length=sequence_length,
        max_windows=max_windows,
        progress=progress,
    )
    square_means = [units.of(site.name, people_) for site, people_ in zip(given, sites, strict=True)]
    references = {}
    for path in public:
        known = reference_of(units.of(path.stem, read_patients(path, "document")))
        clip = Fraction(typical_clip(known.norms))
        vectors = [bounded_vectors(one, known.square_means, clip) for one in square_means]
        references[path.stem] = Public(known, clip, vectors)
    return Measurer(
        bench,
        units.inputs,
        pruning=pruning,
        public=references,
        square_means=square_means,
        multipliers=multipliers,
        texts=min(choices.hospitals),
    )


def _read(path: Path) -> dict[Cell, Finding]:
    """What was measured before; a line that a crash tore is left out."""
    from secprune_cli.utility.cells import Cell
    from secprune_cli.utility.measure import Finding

    found = {}
    if path.exists():
        for line in path.read_bytes().split(b"\n")[:-1]:
            try:
                cell, finding = msgspec.json.decode(line, type=tuple[Cell, Finding])
            except msgspec.DecodeError:
                continue
            found[cell] = finding
    return found


def _append(path: Path, cell: Cell, finding: Finding) -> None:
    """Add one line, durably."""
    with environment_errors(f"write {path.name}"):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, PRIVATE_FILE)
        try:
            os.write(handle, msgspec.json.encode((cell, finding)) + b"\n")
            os.fsync(handle)
        finally:
            os.close(handle)
