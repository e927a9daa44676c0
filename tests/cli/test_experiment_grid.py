"""Grid files: what they make, what is shipped, and what is refused."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
from tiny_models import make_checkpoint

from secprune.errors import ConfigurationError
from secprune.parties.study import model_spec
from secprune.pruning.models import load_tokenizer
from secprune_cli.demo.material import read_hospitals
from secprune_cli.experiment.grid import AXES, parse_grid, read_grid
from secprune_cli.experiment.material import Material
from secprune_cli.experiment.plan import measurements, plan


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("model") / "tiny", "llama", seed=3)


def test_cells_of_several_sections_are_measured_once():
    grid = read_grid("papers")
    cells = grid.cells(3)
    assert len(cells) < 3 * sum(len(section.choices) for section in grid.sections)
    due = plan(cells)
    assert len(set(due)) == len(due)
    assert set(due) == {m for cell in cells for m in measurements(cell).values()}
    groups = [group for group, _ in itertools.groupby(m.group for m in due)]
    assert len(groups) == len(set(groups))


@pytest.mark.parametrize("name", ["papers", "quick"])
def test_shipped_grids_fit_the_notes_that_are_shipped(name, checkpoint):
    grid, shipped = read_grid(name), read_hospitals(data=None, clients=8)
    grid.check(model_spec(checkpoint).matrices, sequence_length=256)
    material = Material(shipped, load_tokenizer(checkpoint), sequence_length=256)
    for cell in grid.cells(2):
        # Only whether it fits: the tiny model's tokenizer gives more tokens than a real one.
        material.check(cell)


def test_the_documented_grid_is_valid():
    text = (Path(__file__).parents[2] / "docs" / "experiments.md").read_text()
    grid = parse_grid(text.partition("```toml\n")[2].partition("```")[0])
    assert [len(section.choices) for section in grid.sections] == [9, 3]
    assert set(AXES) <= set(re.findall(r"`(\w+)`", text))


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ("[[grid]", "is not TOML"),
        ("[defaults]\nclients = 3", r"one or more \[\[grid\]\]"),
        ("[[grid]]\nclients = 3", "grid number 1 has no name"),
        ('[[grid]]\nname = "a"\n[[grid]]\nname = "a"', "grid number 2 has no name of its own"),
        ('[[grid]]\nname = "a"\nspeed = 3', "grid 'a': there is no axis 'speed'"),
        ('[[grid]]\nname = "a"\nclients = [3, 0]', "grid 'a': clients = 0 is not possible"),
        ('[[grid]]\nname = "a"\nties = "coin"', "grid 'a': ties = 'coin' is not possible"),
        ('[[grid]]\nname = "a"\nsparsity = 0.5', "grid 'a': sparsity = 0.5 is not possible"),
        ('[[grid]]\nname = "a"\nclients = []', "grid 'a': clients is an empty list"),
        ('[[grid]]\nname = "a"\nclients = [3, 3]', "holds a value twice"),
        ('[defaults]\nclients = [3, 4]\n[[grid]]\nname = "a"', "holds a list"),
    ],
)
def test_a_bad_grid_is_refused(grid, message):
    with pytest.raises(ConfigurationError, match=message):
        parse_grid(grid)
