"""What `make test-oldest` runs with is what pyproject.toml promises to support."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def _pins(name):
    lines = (ROOT / name).read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))


def test_the_oldest_transformers_is_of_the_release_that_is_the_lower_bound():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (bound,) = (r for r in project["optional-dependencies"]["prune"] if r.startswith("transformers"))
    oldest = _pins("constraints-oldest.txt")["transformers"]
    assert bound == "transformers>=" + oldest.rpartition(".")[0]


def test_only_packages_that_are_installed_anyway_have_an_older_release():
    assert set(_pins("constraints-oldest.txt")) <= set(_pins("constraints.txt"))
