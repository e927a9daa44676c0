"""Documents are executed: the README's study, python blocks, party files, links."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import msgspec
import pytest
from tiny_models import NOTES, make_checkpoint

from secprune.parties.config import PartyFile, party_file_template
from secprune.parties.progress import Stopwatch

ROOT = Path(__file__).parents[2]
DOCS = [
    ROOT / "README.md",
    ROOT / "SECURITY.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]


def blocks(path, language):
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), flags=re.MULTILINE | re.DOTALL)


def test_the_readmes_study_on_separate_machines(tmp_path):
    """Every bash block of the README in order; the lines of a block with servers in it run side by side."""
    make_checkpoint(tmp_path / "models" / "SmolLM2-135M", "llama", seed=3, max_positions=128)
    site = tmp_path / "site"
    hospitals = ("st-marys", "northside", "riverbank")
    pairwise = (f"pairwise/{name}" for name in (*hospitals, "hillview"))
    for index, name in enumerate((*hospitals, *pairwise, *(f"bfv/{name}" for name in hospitals))):
        (site / name).mkdir(parents=True, mode=0o700)
        (site / name / "notes.txt").write_text("\n\n".join(NOTES[index % 4 :: 4] * 3))
    for index, name in enumerate(hospitals):
        (site / "private" / name).mkdir(parents=True, mode=0o700)
        lines = [json.dumps({"patient": f"p{i % 5}", "text": n}) for i, n in enumerate(NOTES[index:28:3])]
        (site / "private" / name / "notes.jsonl").write_text("\n".join(lines))
    (site / "public-notes.txt").write_text("\n\n".join(NOTES[28:]))
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
    }
    background: list[subprocess.Popen[str]] = []
    watch = Stopwatch()

    def start(script):
        return subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", script], cwd=site, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def finish(process):
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, f"{process.args}\n{out}\n{err}"
        return out

    output = ""
    for block in blocks(ROOT / "README.md", "bash"):
        script = (
            block.replace("/mnt/study", str(tmp_path / "study"))
            .replace("/models/", f"{tmp_path}/models/")
            .replace(r"\/models\/", f"{tmp_path}/models/".replace("/", r"\/"))
        )
        with watch.phase("block"):
            if "aggregator run" in script:
                background = [start(line) for line in script.splitlines() if line.strip()]
                for process in background:
                    finish(process)
            else:
                output += finish(start(script))
    assert "Not differentially private" in " ".join(output.split())
    assert "counts ready" in output
    assert (site / "pruned-model" / "secprune.json").is_file()
    provenance = json.loads((site / "pairwise" / "pruned-model" / "secprune.json").read_text())
    assert provenance["cohort_size"] == 4
    assert "up to 1 of 4 clients" in " ".join(output.split())
    provenance = json.loads((site / "bfv" / "pruned-model" / "secprune.json").read_text())
    assert provenance["cohort_size"] == 3
    assert "not from the aggregator when a client helps it" in provenance["privacy"]["label"]
    provenance = json.loads((site / "private" / "pruned-model" / "secprune.json").read_text())
    assert provenance["privacy"]["guarantee"]["epsilon"] <= 8
    assert provenance["privacy"]["guarantee"]["unit"] == "patient"
    assert (site / "private" / "public-only-model" / "model.safetensors").is_file()
    assert not any(process.poll() is None for process in background)
    assert time.monotonic() > watch.seconds["block"] >= 0


@pytest.mark.parametrize("path", DOCS, ids=lambda p: str(p.relative_to(ROOT)))
def test_python_blocks_run(path):
    for block in blocks(path, "python"):
        exec(compile(block, str(path), "exec"), {"__name__": "doc"})


@pytest.mark.parametrize("path", DOCS, ids=lambda p: str(p.relative_to(ROOT)))
def test_party_files_in_documents_are_valid(path):
    for block in blocks(path, "toml"):
        if block.startswith("# party.toml"):
            msgspec.convert(tomllib.loads(block), PartyFile)


@pytest.mark.parametrize("role", ["client", "aggregator", "key-holder", "coordinator"])
def test_the_party_file_that_keys_new_writes_is_valid(role):
    msgspec.convert(tomllib.loads(party_file_template(role, "somebody")), PartyFile)


@pytest.mark.parametrize("path", DOCS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_and_named_files_exist(path):
    text = path.read_text()
    for target in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", text):
        assert (path.parent / target).exists(), target
    for named in re.findall(
        r"`((?:secprune|cli|docs|tests|benchmarks|scripts)/[\w./-]+\.(?:py|md|txt|toml|json))`", text
    ):
        assert (ROOT / named).exists(), named


def test_documents_speak_of_the_project_alone():
    forbidden = re.compile(r"/(?:work|root|tmp)/|pypi\.org|localhost:\d+")
    for path in [
        *DOCS,
        ROOT / "CHANGELOG.md",
        ROOT / "Makefile",
        ROOT / "pyproject.toml",
        ROOT / "constraints.txt",
    ]:
        assert not forbidden.search(path.read_text()), path
