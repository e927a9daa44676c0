"""Every rule of the loader, with a file that is right but for one thing."""

from __future__ import annotations

import msgspec
import pytest
import tomli_w
from threat_model_study import CHECKS

from secprune.errors import ConfigurationError, LocalEnvironmentError
from secprune_threat_models import load_models, load_system
from secprune_threat_models.loader import check_models, parse_model
from secprune_threat_models.system import Applies, Artefact, DeclaredFlow


def claim(**changes):
    return {
        "id": "OURS-C1",
        "text": "Backups hold no notes.",
        "property": "no residue",
        "strength": "conformance",
        "linddun": ["Data disclosure"],
        "checks": ["residue"],
        **changes,
    }


def found(**changes):
    return {
        "id": "OURS-B1",
        "text": "A backup of a client has its masks.",
        "stops_it": "Encryption.",
        "checks": ["membership-mask"],
        **changes,
    }


def model(**changes):
    return {
        "id": "OURS",
        "title": "The backup operator",
        "adversary": {"corrupts": "the backup", "behaviour": "semi-honest"},
        "sees": ["journal"],
        "claims": [claim()],
        "breaks": [found()],
        "non_claims": ["That backups are ever deleted."],
        **changes,
    }


def without(entry, name):
    return {key: value for key, value in entry.items() if key != name}


@pytest.fixture
def load(tmp_path):
    def load_it(content, name="ours.toml"):
        path = tmp_path / name
        path.write_text(tomli_w.dumps(content))
        return load_models([path], known_checks=CHECKS)

    return load_it


def test_a_consortiums_file_comes_last_and_says_where_it_is_from(load):
    models = load(model())
    assert models[-1].id == "OURS"
    assert models[-1].source == "ours.toml"
    assert models[:-1] == load_models(known_checks=CHECKS)


BROKEN = {
    "an unknown field": (model(severity="high"), "severity"),
    "an unknown field of a claim": (model(claims=[claim(status="PROVED")]), "OURS-C1.*status"),
    "a source of its own": (model(source="shipped"), "source"),
    "an unknown check": (model(claims=[claim(checks=["residue", "backup-scan"])]), "OURS-C1.*backup-scan"),
    "an unknown check of a break": (model(breaks=[found(checks=["guessing"])]), "OURS-B1.*guessing"),
    "an unknown artefact": (model(sees=["journal", "backup tape"]), "backup tape"),
    "an unknown LINDDUN category": (model(claims=[claim(linddun=["Tampering"])]), "OURS-C1.*linddun"),
    "no LINDDUN category": (model(claims=[claim(linddun=[])]), "OURS-C1"),
    "an unknown protocol": (model(claims=[claim(applies={"protocols": ["mpc"]})]), "OURS-C1.*mpc"),
    "an unknown strength": (model(claims=[claim(strength="certain")]), "OURS-C1.*strength"),
    "a claim without a check": (model(claims=[claim(checks=[])]), "OURS-C1 is backed by no check"),
    "an assumption that is not said": (
        model(claims=[claim(strength="assumed", checks=[])]),
        "OURS-C1 is assumed, and does not say what",
    ),
    "an assumption that names checks": (
        model(claims=[claim(strength="assumed", assumptions=["Disks are encrypted."])]),
        "OURS-C1 is assumed, and yet names checks",
    ),
    "a break that nothing shows": (model(breaks=[found(checks=[])]), "OURS-B1"),
    "no non-claims": (without(model(), "non_claims"), "non_claims"),
    "empty non-claims": (model(non_claims=[]), "non_claims"),
    "an empty non-claim": (model(non_claims=[""]), "non_claims"),
    "an empty view": (model(sees=[]), "sees"),
    "a taken id": (model(id="TM01", claims=[], breaks=[]), "TM01 is taken"),
    "two claims of one id": (model(claims=[claim(), claim()]), "OURS-C1 is taken"),
    "a claim of another model": (model(claims=[claim(id="TM01-C1")]), "TM01-C1 does not begin"),
    "a break that is called a claim": (model(breaks=[found(id="OURS-C2")]), "id"),
    "an id in words": (model(id="our model"), "id"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_refused(load, fault):
    content, says = BROKEN[fault]
    with pytest.raises(ConfigurationError, match=says) as caught:
        load(content)
    assert "ours.toml" in caught.value.message
    assert caught.value.hint


def test_control_what_is_assumed_needs_no_check_but_an_assumption(load):
    loaded = load(model(claims=[claim(strength="assumed", checks=[], assumptions=["Disks are encrypted."])]))
    assert loaded[-1].claims[0].checks == ()


def test_what_is_no_toml_or_not_there_is_refused(tmp_path):
    path = tmp_path / "ours.toml"
    for data in (b"id = ", b"\xff\xfe"):
        path.write_bytes(data)
        with pytest.raises(ConfigurationError, match=r"ours\.toml is not TOML"):
            load_models([path], known_checks=CHECKS)
    with pytest.raises(LocalEnvironmentError):
        load_models([tmp_path / "nowhere.toml"], known_checks=CHECKS)


def test_what_is_kept_or_sent_and_stands_in_nobodys_view_is_refused():
    models, system = load_models(known_checks=CHECKS), load_system()
    check_models(models, system=system, known_checks=CHECKS)  # control
    tape = Artefact(
        name="backup tape", keeper="client", path="tape", derived_from_notes=True, readable_by=(), protected="",
    )  # fmt: skip
    more = msgspec.structs.replace(system, artefacts=(*system.artefacts, tape))
    with pytest.raises(ConfigurationError, match="no threat model sees backup tape"):
        check_models(models, system=more, known_checks=CHECKS)
    flow = DeclaredFlow(
        artefact="votes chunks", senders=("client",), receiver="everybody", derived_from_notes=True, carries="",
    )  # fmt: skip
    more = msgspec.structs.replace(system, flows=(*system.flows, flow))
    with pytest.raises(ConfigurationError, match="no threat model sees votes chunks"):
        check_models(models, system=more, known_checks=CHECKS)


def test_a_model_that_alone_sees_something_cannot_be_left_out():
    models, system = load_models(known_checks=CHECKS), load_system()
    with pytest.raises(ConfigurationError, match="no threat model sees identity keys"):
        check_models([m for m in models if m.id != "TM10"], system=system, known_checks=CHECKS)
    # Control: what all others see without it may go.
    check_models([m for m in models if m.id != "TM11"], system=system, known_checks=CHECKS)


def test_an_entry_without_an_id_is_still_named_by_its_file():
    broken = tomli_w.dumps(model(claims=[without(claim(), "id")])).encode()
    with pytest.raises(ConfigurationError, match=r"^ours\.toml is not a threat model: .*`id`"):
        parse_model(broken, file="ours.toml")


def test_applies_says_why_not():
    applies = Applies(protocols=("pairwise", "bfv"), mechanisms=("none",))
    assert applies.why_not(protocol="bfv", payload="square-sums", mechanism="none") == ""
    assert "protocol pairwise or bfv, and this one has additive" in applies.why_not(
        protocol="additive", payload="counts", mechanism="none"
    )
    assert "mechanism" in applies.why_not(protocol="bfv", payload="counts", mechanism="count-noise")
