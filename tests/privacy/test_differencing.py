"""Differencing: whatever combination of sums is about few clients alone is found, and nothing else is."""

from __future__ import annotations

import itertools
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secprune.privacy import differencing
from secprune.privacy.differencing import isolated


@pytest.mark.parametrize(
    ("new", "earlier", "alone"),
    [
        ("abcd", ["abc"], "d"),
        ("abc", ["abcd"], "d"),
        ("abcd", ["abcd"], ""),
        ("abcd", [], ""),
        ("abcdef", ["abc"], ""),  # the difference is about d, e and f
        ("abcde", ["abc"], "de"),
        ("abc", ["def"], ""),
        ("abcx", ["abcy"], "xy"),  # x less y: a statement about two
        ("abcdefg", ["abc", "def"], "g"),  # no two of them differ by fewer than three
        ("abcdef", ["abc", "def"], ""),  # the new sum says nothing that the others do not
        ("ab", [], "ab"),
        ("abc", ["xyz", "wxyz"], ""),  # what others gave away is not this sum's doing
    ],
)
def test_known_cases(new, earlier, alone):
    assert isolated(set(new), [set(cohort) for cohort in earlier], fewer_than=3) == frozenset(alone)


cohorts = st.sets(st.sampled_from("abcdef"), min_size=1)


def spans(vectors, target):
    """Whether rational combinations of vectors give a target: elimination with fractions, another way than the code's."""
    rows = [[Fraction(v[i]) for v in vectors] + [Fraction(target[i])] for i in range(len(target))]
    width, done = len(vectors), 0
    for column in range(width):
        pivot = next((r for r in range(done, len(rows)) if rows[r][column]), None)
        if pivot is None:
            continue
        rows[done], rows[pivot] = rows[pivot], rows[done]
        for r in range(len(rows)):
            if r != done and rows[r][column]:
                factor = rows[r][column] / rows[done][column]
                rows[r] = [a - factor * b for a, b in zip(rows[r], rows[done], strict=True)]
        done += 1
    return not any(row[-1] for row in rows[done:])


def combinations(new, earlier):
    """All combinations with small whole coefficients in which the new sum takes part: clients that do not cancel."""
    for factors in itertools.product(range(-3, 4), repeat=len(earlier)):
        for own in (1, 2):
            weight = dict.fromkeys(new, own)
            for factor, cohort in zip(factors, earlier, strict=True):
                for client in cohort:
                    weight[client] = weight.get(client, 0) + factor
            yield {client for client, value in weight.items() if value}


@settings(max_examples=150, deadline=None)
@given(new=cohorts, earlier=st.lists(cohorts, max_size=3), fewer_than=st.integers(2, 4))
def test_no_combination_is_missed(new, earlier, fewer_than):
    found = isolated(new, earlier, fewer_than=fewer_than)
    if spans([[int(c in cohort) for c in "abcdef"] for cohort in earlier], [int(c in new) for c in "abcdef"]):
        assert not found, "the sum says nothing new"
        return
    few = [alone for alone in combinations(new, earlier) if 0 < len(alone) < fewer_than]
    if few:
        assert found


@settings(max_examples=150, deadline=None)
@given(new=cohorts, earlier=st.lists(cohorts, max_size=4))
def test_what_is_named_can_be_isolated(new, earlier):
    found = isolated(new, earlier, fewer_than=3)
    if not found:
        return
    assert len(found) < 3
    everybody = sorted(set(new).union(*earlier) - found)
    # The earlier sums cancel the new one on all others: so a combination is left that is about these few.
    vectors = [[int(client in cohort) for client in everybody] for cohort in earlier]
    assert spans(vectors, [int(client in new) for client in everybody])


def test_many_sums_are_refused_rather_than_searched_for_ever():
    everybody = [f"c{i}" for i in range(64)]
    earlier = [set(everybody[: 20 + i]) | {everybody[-1]} for i in range(38)]
    assert isolated(set(everybody), earlier, fewer_than=3)


def test_a_search_that_is_cut_short_names_all_suspects(monkeypatch):
    monkeypatch.setattr(differencing, "_MAX_SETS", 1)
    assert isolated(set("abcdefg"), [set("abc"), set("def")], fewer_than=4) >= {"g"}
