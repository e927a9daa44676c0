"""docs/threat-models.md: its example is a file that is loaded, and its table has every adversary."""

from __future__ import annotations

import re
from pathlib import Path

from threat_model_study import CHECKS, all_well, facts

from secprune.audit.claims import Shown, Status
from secprune_threat_models import evaluate, load_models

DOCUMENT = (Path(__file__).parents[2] / "docs" / "threat-models.md").read_text()


def test_the_example_of_a_consortiums_file_is_one(tmp_path):
    (block,) = re.findall(r"^```toml\n(# backups\.toml\n.*?)^```", DOCUMENT, flags=re.MULTILINE | re.DOTALL)
    path = tmp_path / "backups.toml"
    path.write_text(block)
    own = evaluate(load_models([path], known_checks=CHECKS), all_well(), facts())[-1]
    assert (own.id, own.source) == ("BACKUP", "backups.toml")
    assert [claim.status for claim in own.claims] == [Status.ASSUMED, Status.CONFORMS]
    assert [found.shown for found in own.breaks] == [Shown.SHOWN]


def test_the_table_has_every_adversary_and_the_other_one_every_status():
    rows = re.findall(r"^\| (TM\d\d) \|", DOCUMENT, flags=re.MULTILINE)
    assert rows == [model.id for model in load_models(known_checks=CHECKS)]
    for status in (*Status, *Shown):
        assert status.value in DOCUMENT
