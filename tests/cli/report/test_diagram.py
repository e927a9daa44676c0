"""The picture of flows: columns for parties, folded where there are many, and nothing outside of it."""

from __future__ import annotations

import audited_study
import msgspec
import pytest

from secprune_cli.report.diagram import diagram, folding


def _with(clients, *extra):
    found = audited_study.sound()
    facts = audited_study.facts("s", clients, private=False)
    return msgspec.structs.replace(found, facts=facts, flows=audited_study.flows(clients, extra=extra))


def test_few_parties_have_columns_of_their_own():
    picture = diagram(_with(2))
    names = [column.lines[0] for column in picture.columns]
    assert names == [
        "hospital-1",
        "hospital-2",
        "health-trust",
        "university",
        "coordinator-1",
        "the exchange:",
    ]


@pytest.mark.parametrize("clients", [3, 4, 64])
def test_many_parties_of_a_role_share_one(clients):
    picture = diagram(_with(clients))
    assert picture.columns[0].lines == (f"{clients} clients",)
    assert len(picture.columns) <= 6


def test_arrows_add_up_to_what_was_sent():
    evidence = _with(64)
    fold = folding(evidence)
    shares = [f for f in evidence.flows if f.artefact == "input share" and f.receiver == "university"]
    assert fold.name("hospital-7", "client") == "64 clients"
    (words,) = (words for words in diagram(evidence).words if words.startswith("64 clients to university"))
    assert f"\N{MULTIPLICATION SIGN}{sum(f.count for f in shares):,}" in words
    assert "2.15 GB" in words


def test_everything_stays_inside_the_picture():
    long = msgspec.structs.replace(
        audited_study.LEAK, artefact="an artefact with a name that is far too long " * 2
    )
    picture = diagram(_with(4, long))
    for column in picture.columns:
        assert column.left >= 0
        assert column.left + column.width <= picture.width
    for arrow in picture.arrows:
        assert 0 < arrow.y < picture.height
        assert all(0 <= x <= picture.width and 60 < y < arrow.y for x, y, _ in arrow.label)


def test_rows_do_not_overlap():
    picture = diagram(_with(4))
    previous = 0.0
    for arrow in picture.arrows:
        assert min(y for _, y, _ in arrow.label) - 10 > previous
        previous = arrow.y


def test_an_undeclared_flow_is_an_arrow_of_its_own():
    leak = msgspec.structs.replace(audited_study.LEAK, receiver="university", receiver_role="aggregator")
    arrows = diagram(_with(4, leak)).arrows
    (undeclared,) = (arrow for arrow in arrows if not arrow.declared)
    assert [text for _, _, text in undeclared.label] == [
        "UNDECLARED",
        "debug log \N{MULTIPLICATION SIGN}1, 48.2 kB",
    ]


def test_without_flows_there_is_no_picture():
    assert diagram(msgspec.structs.replace(audited_study.sound(), flows=())) is None
