"""The JSON schema is that of the types, and speaks of every field that a file may have."""

from __future__ import annotations

import importlib.resources
import json
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = importlib.resources.files("secprune_threat_models")


def test_making_it_again_gives_the_committed_one(tmp_path):
    made = tmp_path / "schema.json"
    command = [sys.executable, "-m", "scripts.make_threat_model_schema", "--out", made]
    subprocess.run(command, check=True, cwd=ROOT)
    assert made.read_bytes() == (PACKAGE / "schema.json").read_bytes()


def test_it_has_every_field_of_the_shipped_files_and_refuses_others():
    definitions = json.loads((PACKAGE / "schema.json").read_text())["$defs"]
    for definition in definitions.values():
        assert definition["additionalProperties"] is False
    used = {"ThreatModelFile": set(), "Claim": set(), "Break": set(), "Adversary": set()}
    for file in (PACKAGE / "models").iterdir():
        table = tomllib.loads(file.read_text())
        used["ThreatModelFile"] |= set(table)
        used["Adversary"] |= set(table["adversary"])
        used["Claim"] |= {name for claim in table.get("claims", []) for name in claim}
        used["Break"] |= {name for found in table.get("breaks", []) for name in found}
    for name, fields in used.items():
        assert fields == set(definitions[name]["properties"])
    assert "non_claims" in definitions["ThreatModelFile"]["required"]
