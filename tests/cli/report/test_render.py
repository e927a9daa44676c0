"""The report as text: order, words, escaping; that nothing comes from outside, and nothing unknown is green."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser

import audited_study
import msgspec
import pytest

from secprune.audit.check import Verdict
from secprune.audit.claims import Shown, Status
from secprune_cli.report import render
from secprune_cli.report.outcome import outcome

HOSTILE = """<script>alert("x")</script> & $\\frac{a}{b}$ '--><!-- </style></svg>"""
VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """What a test asks of a page: elements in order, with attributes and the text inside."""

    def __init__(self, html):
        super().__init__()
        self.elements = []
        self._open = []
        self.feed(html)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        element = {"tag": tag, "attrs": dict(attrs), "text": "", "inside": [e["tag"] for e in self._open]}
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self._open.pop()["tag"] == tag

    def handle_data(self, data):
        for element in self._open:
            element["text"] += data

    def all(self, *tags):
        return [element for element in self.elements if element["tag"] in tags]

    def classed(self, name):
        return [e for e in self.elements if name in e["attrs"].get("class", "").split()]

    @property
    def text(self):
        (body,) = self.all("body")
        return " ".join(body["text"].split())


@pytest.fixture(scope="module")
def pages(texts):
    return {name: Page(text) for name, text in texts.items()}


@pytest.fixture(scope="module")
def hostile():
    """As `refuted`, but whatever a party or a consortium can choose is hostile."""
    found = audited_study.refuted()
    replace = msgspec.structs.replace
    first, *rest = found.models
    return replace(
        found,
        auditor=HOSTILE,
        facts=replace(found.facts, study=HOSTILE, cohort=(HOSTILE,)),
        flows=(*found.flows, replace(audited_study.LEAK, sender=HOSTILE, artefact=HOSTILE)),
        kept=tuple(replace(kept, protected=HOSTILE) for kept in found.kept),
        models=(replace(first, title=HOSTILE, source=HOSTILE, non_claims=(HOSTILE,)), *rest),
        results=tuple(replace(result, parameters={HOSTILE: HOSTILE}) for result in found.results),
        commands=(HOSTILE,),
        inputs={HOSTILE: HOSTILE},
    )


@pytest.mark.parametrize("name", ["sound", "open_questions", "refuted"])
class TestEveryPage:
    def test_headings_go_down_by_one_from_a_single_first_one(self, pages, name):
        levels = [int(heading["tag"][1]) for heading in pages[name].all("h1", "h2", "h3", "h4", "h5", "h6")]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after <= before + 1 for before, after in itertools.pairwise(levels))

    def test_it_has_a_language_a_title_and_a_way_past_the_front(self, pages, name):
        page = pages[name]
        (html,) = page.all("html")
        assert html["attrs"]["lang"] == "en-GB"
        assert "Leakage report" in page.all("title")[0]["text"]
        first = page.all("a")[0]
        assert first["attrs"]["class"] == "skip"
        assert any(e["attrs"].get("id") == first["attrs"]["href"].removeprefix("#") for e in page.all("main"))

    def test_every_picture_is_said_in_words(self, pages, name):
        page = pages[name]
        texts = {e["attrs"]["id"]: e["text"] for e in page.elements if "id" in e["attrs"]}
        assert not page.all("img")
        for svg in page.all("svg"):
            assert svg["attrs"]["role"] == "img"
            named = svg["attrs"]["aria-labelledby"].split()
            assert len(named) == 2
            assert all(len(texts[each].strip()) > 10 for each in named)

    def test_every_table_has_a_caption_and_every_header_a_scope(self, pages, name):
        page = pages[name]
        assert len(page.all("caption")) == len(page.all("table")) > 5
        assert all(header["attrs"].get("scope") in {"col", "row", "rowgroup"} for header in page.all("th"))

    def test_ids_are_unique_and_every_reference_leads_somewhere(self, texts, pages, name):
        ids = Counter(e["attrs"]["id"] for e in pages[name].elements if "id" in e["attrs"])
        assert max(ids.values()) == 1
        references = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', texts[name])
        labels = [e["attrs"].get("aria-labelledby", "") for e in pages[name].elements]
        named = {a or b for a, b in references} | set(" ".join(labels).split())
        assert named <= set(ids)

    def test_nothing_comes_from_outside_and_no_script_is_in_it(self, texts, pages, name):
        page = pages[name]
        assert not page.all("script", "link", "iframe", "object", "embed", "form", "base")
        assert "://" not in texts[name]
        assert "@import" not in texts[name]
        for element in page.elements:
            assert not any(attribute.startswith("on") for attribute in element["attrs"])
            for attribute in ("src", "href", "xlink:href", "data", "action", "srcset"):
                assert element["attrs"].get(attribute, "#").startswith("#")
        (policy,) = (e for e in page.all("meta") if "http-equiv" in e["attrs"])
        assert policy["attrs"]["content"] == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"

    def test_what_is_not_claimed_comes_before_what_is(self, texts, name):
        text = texts[name]
        evidence = getattr(audited_study, name)()
        claims = [
            c.id for model in evidence.models for c in model.claims if c.status in {"PROVED", "CONFORMS"}
        ]
        reassuring = [
            text.index(word) for word in ('class="badge green"', 'class="banner green"') if word in text
        ]
        first_non_claim = text.index("That the counts are right if an aggregator lies")
        assert first_non_claim < min([*reassuring, *(text.index(f"{claim},") for claim in claims)])

    def test_it_never_promises_what_it_may_not(self, pages, name):
        text = pages[name].text.lower()
        assert "compliant" not in text
        assert "anonym" not in text
        assert "supports a dpia or an expert determination" in text

    def test_unknown_is_never_green(self, pages, name):
        for element in pages[name].classed("green"):
            assert "NO POWER" not in element["text"]
            assert "NOT RUN" not in element["text"]
            assert "ASSUMED" not in element["text"]


def test_the_same_evidence_gives_the_same_bytes_in_another_process(texts):
    made = "import sys, audited_study as a; from secprune_cli.report import render; sys.stdout.write(render(a.sound(), a.ABOUT))"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "PYTHONHASHSEED": "1",
        "PYTHONIOENCODING": "utf-8",
    }
    ran = subprocess.run(
        [sys.executable, "-c", made], env=environment, capture_output=True, check=True, timeout=120
    )
    assert ran.stdout.decode() == texts["sound"]


def test_every_status_verdict_and_outcome_of_a_weakness_stands_there_as_text(pages):
    words = {e["text"].split(maxsplit=1)[1] for page in pages.values() for e in page.classed("badge")}
    assert {str(status.value) for status in (*Status, *Verdict, *Shown)} <= words


def test_symbols_tell_statuses_apart_without_colours(pages):
    symbols = {}
    for badge in pages["sound"].classed("badge"):
        symbol, word = badge["text"].split(maxsplit=1)
        symbols.setdefault(symbol, set()).add(word)
    assert all(len(words) == 1 for words in symbols.values())


def test_a_refuted_claim_stands_in_a_red_banner_with_its_text(pages):
    (banner,) = pages["refuted"].classed("banner")
    assert "red" in banner["attrs"]["class"].split()
    assert "by TM01-C2" in banner["text"]
    assert not pages["refuted"].classed("banner green")


def test_what_could_not_be_checked_makes_the_banner_amber(pages):
    (banner,) = pages["open_questions"].classed("banner")
    assert "amber" in banner["attrs"]["class"].split()
    assert "TM02-C1" in banner["text"]
    assert "TM02-C2" in banner["text"]
    green = {e["text"].split(maxsplit=1)[1] for e in pages["open_questions"].classed("green")}
    assert green <= {"PROVED", "CONFORMS", "NOT REFUTED"}  # only in tables that say what words mean


def test_a_shown_weakness_does_not_make_a_study_red(pages):
    (banner,) = pages["sound"].classed("banner")
    assert "green" in banner["attrs"]["class"].split()
    checks = [
        e for e in pages["sound"].classed("check") if "Membership of a note, from exact counts" in e["text"]
    ]
    assert "SHOWN" in checks[0]["text"]
    assert "REFUTED" not in checks[0]["text"]


@pytest.mark.parametrize("status", [Status.NO_POWER, Status.NOT_RUN])
def test_one_open_claim_among_good_ones_is_enough_for_amber(status):
    found = audited_study.sound()
    first, *rest = found.models
    claims = (*first.claims, audited_study.claim("TM01-C9", status, "share-view"))
    changed = msgspec.structs.replace(found, models=(msgspec.structs.replace(first, claims=claims), *rest))
    assert outcome(found).level == "green"
    assert outcome(changed).level == "amber"


def test_models_that_do_not_apply_count_for_nothing_and_say_why(pages):
    found = audited_study.sound()
    broken = audited_study.model(
        "TM13", "Quantum", audited_study.claim("TM13-C1", Status.REFUTED), why="not asked"
    )
    assert outcome(msgspec.structs.replace(found, models=(*found.models, broken))).level == "green"
    assert outcome(msgspec.structs.replace(found, models=(broken,))).level == "amber"
    assert "TM12: Key holder : the protocol has no key holders".replace(" :", ":") in pages["sound"].text


def test_a_promise_that_is_broken_and_that_no_claim_names_is_red_too():
    found = audited_study.refuted()
    unclaimed = msgspec.structs.replace(found, models=audited_study.SOUND_MODELS[1:3], flows=(), kept=())
    summary = outcome(unclaimed)
    assert summary.level == "red"
    assert any("share-view" in reason for reason in summary.reasons)


def test_undeclared_flows_and_files_are_flagged_with_the_party_that_sent_or_keeps_them(pages):
    rows = [row["text"] for row in pages["refuted"].classed("undeclared") if row["tag"] == "tr"]
    assert len(rows) == 2
    assert all("UNDECLARED" in row for row in rows)
    assert "hospital-2 (client)" in rows[0]
    assert "hospital-2" in rows[1]
    assert not [row for row in pages["sound"].classed("undeclared") if row["tag"] == "tr"]
    assert "UNDECLARED" not in pages["sound"].text


def test_a_missed_mutation_is_said_to_be_missed(pages):
    (check,) = (e for e in pages["open_questions"].classed("check") if "from one share" in e["text"])
    assert "NO POWER" in check["text"]
    assert "what is sent is sent in the clear" in check["text"]
    assert "? NO" in check["text"].replace("? NO POWER", "")


def test_plots_without_data_say_why(pages):
    assert "No picture here: no canary audit was run" in pages["open_questions"].text
    assert "No picture here: how often clients agree was not measured" in pages["open_questions"].text
    assert "No picture here" not in pages["sound"].text


def test_hostile_names_are_text_and_nothing_else(hostile, pages):
    about = {**audited_study.ABOUT, "membership-mask": audited_study.CheckText(title=HOSTILE, asks=HOSTILE)}
    text = render(hostile, about)
    page = Page(text)
    assert not page.all("script")
    assert "<script" not in text
    assert len(page.all("style")) == 1
    assert page.all("h1")[0]["text"] == HOSTILE
    tame = pages["refuted"]
    assert {e["tag"] for e in page.elements} == {e["tag"] for e in tame.elements}
    assert {a for e in page.elements for a in e["attrs"]} == {a for e in tame.elements for a in e["attrs"]}


def test_an_empty_audit_is_amber_and_says_what_is_missing():
    empty = audited_study.evidence("nothing", 4, (), (), private=False, flows=(), kept=(), rehearsal="")
    page = Page(render(empty, {}))
    (banner,) = page.classed("banner")
    assert "amber" in banner["attrs"]["class"].split()
    assert "No flow was recorded" in page.text
    assert "No check was run" in page.text
    assert "No attack was run on text" in page.text


def _luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_text_stands_out_from_what_is_behind_it(texts):
    """WCAG 2, contrast of level AA, wherever a rule of the style sheet sets both colours, or text on the page's white."""
    rules = re.findall(r"\{([^{}]+)\}", texts["sound"][: texts["sound"].index("</style>")])
    seen = 0
    for rule in rules:
        colour = re.search(r"(?<![-\w])color: (#[0-9a-f]{6})", rule)
        behind = re.search(r"background: (#[0-9a-f]{6})", rule)
        if colour is None or (colour[1] == "#ffffff" and behind is None):
            continue
        pair = sorted([_luminance(colour[1]), _luminance(behind[1] if behind else "#ffffff")])
        assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5, rule
        seen += 1
    assert seen > 12


def test_page_one_has_non_claims_up_to_their_explanations_and_the_claims_have_them_whole():
    whole = "Correct counts. It can let a wrong report pass (attacks.md, 11): nobody sees single votes."
    found = audited_study.sound()
    first, *rest = found.models
    models = (msgspec.structs.replace(first, non_claims=(whole, "It ends: no")), *rest)
    page = Page(render(msgspec.structs.replace(found, models=models), {}))
    front, full, *_ = (e["text"] for e in page.classed("non-claims"))
    assert "One aggregator: Correct counts. It ends. TM01" in " ".join(front.split())
    assert whole in full
