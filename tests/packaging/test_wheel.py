"""The built wheel in a clean environment, without torch, run from /."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(out.glob("*.whl"))


def test_the_wheel_holds_the_packages_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {t for t in tops if not t.endswith(".dist-info")} == {
        "secprune",
        "secprune_cli",
        "secprune_threat_models",
    }
    corpus = [name for name in names if name.startswith("secprune_cli/demo/corpus/")]
    assert len(corpus) == 8
    assert "secprune/py.typed" in names
    templates = {
        name.rpartition("/")[2] for name in names if name.startswith("secprune_cli/report/templates/")
    }
    assert {"report.html.j2", "report.css"} < templates
    checked = subprocess.run(
        [
            str(Path(sys.executable).parent / "check-wheel-contents"),
            "--config",
            str(ROOT / "pyproject.toml"),
            str(wheel),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


@pytest.mark.slow
def test_a_base_install_serves_an_aggregator_without_torch(wheel, tmp_path):
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    install = [
        python,
        "-m",
        "pip",
        "install",
        "-q",
        "--disable-pip-version-check",
        "-c",
        ROOT / "constraints.txt",
        wheel,
    ]
    subprocess.run(install, check=True)
    secprune = tmp_path / "venv" / "bin" / "secprune"

    def run(*arguments):
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
        return subprocess.run(
            [secprune, *arguments], capture_output=True, text=True, check=False, cwd="/", env=environment
        )

    assert run("--version").stdout.strip() == "0.1.0"
    made = run(
        "keys", "new", "--role", "aggregator", "--name", "university", "--dir", str(tmp_path / "u"), "--json"
    )
    assert json.loads(made.stdout)["fingerprint"].startswith("sha256:")
    waiting = run("aggregator", "run", "--dir", str(tmp_path / "u"))
    assert waiting.returncode == 6  # no task file there yet
    assert "Traceback" not in waiting.stderr
    needs_torch = run("evaluate", str(tmp_path), "--text", str(tmp_path / "u" / "party.toml"))
    assert needs_torch.returncode == 6
    assert "secprune[prune]" in needs_torch.stderr
    without = subprocess.run([python, "-c", "import torch"], capture_output=True, check=False, cwd="/")
    assert without.returncode != 0


def test_no_torch_is_imported_by_an_aggregators_code():
    code = (
        "import secprune.parties.aggregator, secprune.parties.session, secprune_cli.main, sys;"
        "print([m for m in ('torch', 'transformers', 'tenseal', 'opacus') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout.strip() == "[]"
