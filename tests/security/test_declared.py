"""Every file that a study leaves is declared in the threat models' system.toml, and the other way round."""

from __future__ import annotations

from small_study import make_study

from secprune.packing import CHUNK_BYTES
from secprune_threat_models import load_system


def files(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def undeclared(study):
    system = load_system()
    places = [("exchange", study.exchange), *((p.role, study.root / p.name) for p in study.task.parties)]
    return [
        (keeper, path)
        for keeper, root in places
        for path in files(root)
        if system.artefact_at(keeper, path) is None
    ]


def test_every_file_of_a_study_is_declared(tmp_path):
    study = make_study(tmp_path)
    study.submit()
    study.run_servers()
    assert undeclared(study) == []
    # Control: a planted leak is found, also under a declared name in the wrong place.
    (tmp_path / "adder-0" / "tasks").mkdir(exist_ok=True)
    (tmp_path / "adder-0" / "tasks" / "pruning-masks.safetensors").write_bytes(b"leak")
    (study.exchange / "notes.txt").write_text("leak")
    assert undeclared(study) == [("exchange", "notes.txt"), ("aggregator", "tasks/pruning-masks.safetensors")]


def test_every_declared_artefact_exists_somewhere(tmp_path):
    """A declaration of something that is never made would make the catalogue look more complete than it is."""
    study = make_study(tmp_path)
    study.submit()
    study.run_servers()
    system = load_system()
    places = [("exchange", study.exchange), *((p.role, study.root / p.name) for p in study.task.parties)]
    seen = {
        a.name for keeper, root in places for path in files(root) if (a := system.artefact_at(keeper, path))
    }
    made_elsewhere = {"public card", "notes", "final pruning mask", "agreed mask of a round"}  # see tests/e2e
    made_elsewhere |= {"encrypted report", "sum of ciphertexts"}  # see below
    made_elsewhere |= {"local statistics", "summed statistics"}  # see tests/parties/test_square_sums.py
    made_elsewhere |= {"noised votes"}  # see tests/parties/test_noised_votes.py
    made_elsewhere |= {
        "public reference",
        "public-only mask",
        "released sums",
    }  # see tests/e2e/test_private_study.py
    assert seen | made_elsewhere == {a.name for a in system.artefacts}


def test_every_file_of_a_bfv_study_is_declared_while_it_runs_and_after(tmp_path):
    study = make_study(tmp_path, protocol="bfv", aggregators=1, key_holders=2)
    system, seen = load_system(), set()

    def look():
        assert undeclared(study) == []
        for party in study.task.parties:
            seen.update(
                artefact.name
                for path in files(study.root / party.name)
                if (artefact := system.artefact_at(party.role, path))
            )

    while "encrypted report" not in seen:  # until the others' reports are out, and wait
        study.run_bfv(without=(study.clients[0],), timeout_s=1)
        look()
    outcomes = study.run_bfv()
    assert not [error for error in outcomes.values() if isinstance(error, Exception)]
    look()
    assert "sum of ciphertexts" in seen


def test_no_chunk_is_larger_than_a_chunk(tmp_path):
    study = make_study(tmp_path, matrices=(("wide.weight", 60, 30_000),))
    study.submit("clinic-0")
    sizes = [path.stat().st_size for path in (study.exchange / "chunks").rglob("*") if path.is_file()]
    assert max(sizes) <= CHUNK_BYTES + 16
