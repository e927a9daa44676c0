"""The oracle of releases against a search through combinations, and the rule against the oracle on single cases."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secprune.audit.sums.releases import ReleasePolicy, is_large_enough, says_of_few

cohorts = st.frozensets(st.sampled_from("abcdef"), min_size=1)


def fewest(released):
    """Clients in the smallest combination with small whole factors that is not nothing."""
    found = 7
    for factors in itertools.product(range(-3, 4), repeat=len(released)):
        total = [
            sum(f * (c in cohort) for f, cohort in zip(factors, released, strict=True)) for c in "abcdef"
        ]
        if any(total):
            found = min(found, sum(map(bool, total)))
    return found


@settings(max_examples=150, deadline=None)
@given(st.sets(cohorts, min_size=1, max_size=3))
def test_the_oracle_finds_what_a_search_finds(released):
    released = frozenset(released)
    for least in range(2, 5):
        if fewest(sorted(released, key=sorted)) < least:
            assert says_of_few(released, least)


@settings(max_examples=100, deadline=None)
@given(st.sets(cohorts, min_size=1, max_size=3), st.integers(2, 4))
def test_and_nothing_else(released, least):
    """Of 0/1 rows of three cohorts, the smallest combination has factors that the search tries."""
    released = frozenset(released)
    if says_of_few(released, least):
        assert fewest(sorted(released, key=sorted)) < least


@pytest.mark.parametrize(
    ("released", "few"),
    [
        (("abcd",), False),
        (("ab",), True),
        (("abcd", "abc"), True),
        (("abcdef", "abc"), False),
        (("abcd", "ab", "cd"), True),
        (("abcdefg", "abc", "def"), True),
    ],
)
def test_known_cases(released, few):
    assert says_of_few(frozenset(map(frozenset, released)), 3) == few


def test_the_floor_is_that_of_the_agreement():
    assert [is_large_enough(frozenset("abcde"[:size]), 3) for size in range(6)] == [False] * 3 + [True] * 3


def test_the_rule_remembers_everything():
    rule = ReleasePolicy()
    assert rule.allows(frozenset("abcdefg"), (), 3)
    assert rule.allows(frozenset("abcdefg"), (frozenset("abc"),), 3)
    assert not rule.allows(frozenset("abcdefg"), (frozenset("abc"), frozenset("def")), 3)
