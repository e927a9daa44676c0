"""`secprune experiment` as a whole on a tiny model: interrupted, refused, and reported."""

from __future__ import annotations

import json
import shutil

import msgspec
import pytest
from command_line import called, secprune
from tiny_models import make_checkpoint

from secprune.errors import ConfigurationError, LocalMisuseError
from secprune_cli.experiment.grid import Cell, parse_grid
from secprune_cli.experiment.plan import measurements
from secprune_cli.experiment.report import write_report
from secprune_cli.experiment.results import Results, summary
from secprune_cli.experiment.run import run
from secprune_cli.experiment.simulate import Simulation
from secprune_cli.experiment.store import MaskCache, read_results, read_setup

LENGTH = 16
GRID = """
[defaults]
clients = 3
windows = 2
texts = 2

[[grid]]
name = "server"
server_comparison = ["layer", "column"]
sparsity = ["1/2", "3/5"]

[[grid]]
name = "pruner"
local_pruner = ["wanda", "magnitude"]
"""


def measured(directory, checkpoint, hospitals, grid=GRID, **options):
    options = {"dtype": "stored", "seeds": 2, "sequence_length": LENGTH, "eval_windows": 2, **options}
    return run(
        parse_grid(grid),
        model=checkpoint,
        hospitals=hospitals,
        output=directory,
        progress=lambda *_: None,
        **options,
    )


def values(directory):
    """What results.jsonl holds, without the time it took."""
    records, _ = read_results(directory / "results.jsonl")
    return {r.key: msgspec.structs.replace(r, seconds=0.0) for r in records}


# ---- going on


def test_a_killed_run_goes_on_and_ends_the_same(tmp_path, checkpoint, hospitals):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    made = measured(whole, checkpoint, hospitals)
    assert made == len(values(whole)) > 10
    shutil.copytree(whole, cut)
    content = (whole / "results.jsonl").read_bytes()
    lines = content.splitlines(keepends=True)
    (cut / "results.jsonl").write_bytes(b"".join(lines[:4]) + lines[4][:100])
    assert measured(cut, checkpoint, hospitals) == made - 4
    assert values(cut) == values(whole)
    assert (cut / "results.jsonl").read_bytes().startswith(b"".join(lines[:4]))
    assert measured(cut, checkpoint, hospitals) == 0
    tables = []
    for directory in (whole, cut):
        records = list(values(directory).values())
        written = write_report(directory, parse_grid(GRID), read_setup(directory), records)
        tables.append(written.report.read_text())
    assert tables[0] == tables[1]


def test_two_runs_find_the_same(tmp_path, checkpoint, hospitals):
    for name in ("a", "b"):
        measured(tmp_path / name, checkpoint, hospitals, seeds=1)
    assert values(tmp_path / "a") == values(tmp_path / "b")


def test_masks_are_kept_for_one_setting_at_a_time_and_then_deleted(
    tmp_path, checkpoint, hospitals, monkeypatch
):
    seen, directories = [], set()
    original = Simulation.measure

    def watch(self, measurement):
        finding = original(self, measurement)
        there = {p.name for p in (tmp_path / "masks").glob("*")}
        directories.update(there)
        seen.append(len(there))
        return finding

    monkeypatch.setattr(Simulation, "measure", watch)
    measured(tmp_path, checkpoint, hospitals)
    assert max(seen) == 1
    assert len(directories) == 5  # two sparsities with two seeds, and one mask by magnitude
    assert not list((tmp_path / "masks").glob("*"))
    assert tmp_path.stat().st_mode & 0o777 == 0o700


def test_local_masks_survive_a_crash(tmp_path, checkpoint, hospitals, monkeypatch):
    measured(tmp_path, checkpoint, hospitals)
    monkeypatch.setattr(Simulation, "federated", lambda *_: pytest.fail("stopped here"))
    extended = GRID.replace('"3/5"]', '"3/5", "2/5"]')
    with pytest.raises(pytest.fail.Exception):
        measured(tmp_path, checkpoint, hospitals, grid=extended, seeds=1)
    monkeypatch.undo()
    there = {p: p.stat().st_mtime_ns for p in (tmp_path / "masks").glob("*/*")}
    assert len(there) == 3
    monkeypatch.setattr(
        MaskCache, "keep_only", lambda *_: None
    )  # so that what was there can be looked at afterwards
    measured(tmp_path, checkpoint, hospitals, grid=extended, seeds=1)
    assert {p: p.stat().st_mtime_ns for p in there} == there


# ---- refused


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (
            'schedule = ["one-shot", "iterative"]\nweight_scaling = true',
            "'x', cell schedule=iterative, weight_scaling",
        ),
        ('pattern = "2:4"\nsparsity = "3/5"', "'x', cell pattern=2:4, sparsity=3/5: the pattern"),
        ('pattern = "5:10"', "not a multiple of 10"),
        ('local_pruner = "sparsegpt"\nlocal_comparison = "layer"', "chooses its own groups"),
        ("windows = 300", "asks for 300 windows of 16 tokens each, and client 1 has"),
        ("clients = 40\nwindows = 1", r"client \d+ has 0"),
        ("texts = 5", "judged on 5 texts, and there are 4"),
    ],
)
def test_an_impossible_cell_is_refused_before_any_work(tmp_path, checkpoint, hospitals, grid, message):
    with pytest.raises(ConfigurationError, match=message):
        measured(tmp_path / "out", checkpoint, hospitals, grid=f'[[grid]]\nname = "x"\n{grid}')
    assert not (tmp_path / "out").exists()


def test_results_of_another_setup_are_never_mixed(tmp_path, checkpoint, hospitals):
    measured(tmp_path / "out", checkpoint, hospitals, seeds=1)
    before = (tmp_path / "out" / "results.jsonl").read_bytes()
    other = make_checkpoint(tmp_path / "other", "llama", seed=4)
    fewer = [msgspec.structs.replace(h, notes=h.notes[:-1]) for h in hospitals]
    for change, what in (
        ({"checkpoint": other}, "weights"),
        ({"hospitals": fewer}, "data"),
        ({"eval_windows": 3}, "eval_windows"),
        ({"dtype": "bfloat16"}, "dtype"),
    ):
        arguments = {"checkpoint": checkpoint, "hospitals": hospitals, **change}
        with pytest.raises(ConfigurationError, match=f"another setup.*{what}"):
            measured(tmp_path / "out", **arguments, seeds=1)
    assert (tmp_path / "out" / "results.jsonl").read_bytes() == before


def test_a_directory_with_something_else_and_a_damaged_file_are_refused(tmp_path, checkpoint, hospitals):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(LocalMisuseError, match="holds something else"):
        measured(tmp_path / "mine", checkpoint, hospitals)
    measured(tmp_path / "out", checkpoint, hospitals, seeds=1)
    path = tmp_path / "out" / "results.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b'{"key": 3}\n' + b"".join(lines[2:]))
    with pytest.raises(ConfigurationError, match=r"line 2 of .* is damaged"):
        measured(tmp_path / "out", checkpoint, hospitals, seeds=1)


def test_one_process_at_a_time(tmp_path, checkpoint, hospitals, monkeypatch):
    def second(*_):
        with pytest.raises(LocalMisuseError, match="another process is measuring"):
            measured(tmp_path, checkpoint, hospitals)
        raise KeyboardInterrupt

    monkeypatch.setattr(Simulation, "measure", second)
    with pytest.raises(KeyboardInterrupt):
        measured(tmp_path, checkpoint, hospitals)


# ---- reported


def test_mean_and_sample_deviation():
    assert summary([1.0, 2.0, 4.0]) == (pytest.approx(7 / 3), pytest.approx(1.5275252))
    assert summary([3.0]) == (3.0, None)
    assert summary([float("inf"), 3.0]) == (float("inf"), None)
    assert summary([float("nan"), 3.0]) == (3.0, None)


def test_rows_are_those_of_the_measurements(tmp_path, checkpoint, hospitals):
    measured(tmp_path, checkpoint, hospitals)
    grid, setup = parse_grid(GRID), read_setup(tmp_path)
    records, _ = read_results(tmp_path / "results.jsonl")
    choices = grid.sections[0].choices[0]
    rows = Results(records, setup.digest).rows(choices)
    assert sorted(rows) == [0, 1]
    by_key = {r.key: r for r in records}
    for seed, row in rows.items():
        cell = Cell(**msgspec.structs.asdict(choices), seed=seed)
        due = measurements(cell)
        federated = by_key[due["federated"].key(setup.digest)].finding.perplexity[0]
        local = by_key[due["local"].key(setup.digest)].finding.perplexity
        assert row.federated == pytest.approx(sum(federated.values()) / 2)
        assert row.federated_worst == max(federated.values())
        every = [value for on in local for value in on.values()]
        assert len(every) == 6  # three masks on two texts
        assert row.local == pytest.approx(sum(every) / 6)
        assert row.local_worst == max(every)
        assert row.difference == row.federated - row.local
    written = write_report(tmp_path, grid, setup, records)
    mean, deviation = summary(row.difference for row in rows.values())
    assert f"{mean:+.2f} ± {deviation:.2f}" in written.report.read_text()
    assert len(written.table.read_text().splitlines()) == 1 + 2 * (4 + 2)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written.plots)
    assert len(written.plots) == 2


def test_the_command(tmp_path, checkpoint, notes):
    command = ("experiment", "--json", "--out", tmp_path / "out")
    given = ("--model", checkpoint, "--data", notes, "--sequence-length", LENGTH, "--grid", "quick")
    done = secprune(*command, *given, "--seeds", 1)
    result = json.loads(done.stdout)
    assert result["measured_now"] > 10
    assert len(result["plots"]) == 3
    table = (tmp_path / "out" / "results.md").read_text()
    (tmp_path / "out" / "results.md").unlink()
    again = called(*command, "--report-only")
    assert json.loads(again.stdout)["measured_before"] == result["measured_now"]
    assert (tmp_path / "out" / "results.md").read_text() == table
    nowhere = called(*command[:-1], tmp_path / "nowhere", "--report-only", check=False)
    assert nowhere.returncode == 6
