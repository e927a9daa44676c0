"""Vectors as words: every value comes back, sums are exact, and what no honest clients send is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from small_study import MATRICES, SQUARE_SUMS, make_study

from secprune.crypto.bfv.parameters import choose_parameters
from secprune.errors import ConfigurationError, LocalMisuseError, RemoteMisbehaviourError
from secprune.packing import CHUNK_BYTES, Layout, PackedMatrix
from secprune.protocols.api import Round
from secprune.protocols.bfv.terms import parameters_of
from secprune.protocols.payloads import Vectors
from secprune.vectors import ONE_WORD, VALUE_BITS, VALUE_BOUND, Limbs

VALUES = st.one_of(
    st.sampled_from([-VALUE_BOUND, VALUE_BOUND - 1, -1, 0, 1]),
    st.integers(-VALUE_BOUND, VALUE_BOUND - 1),
    st.integers(0, VALUE_BITS - 1).map(lambda bit: 2**bit - VALUE_BOUND),  # each bit alone
)
SHAPES = st.one_of(st.just(ONE_WORD), st.integers(1, VALUE_BITS).map(Limbs))


@given(st.data(), SHAPES, st.integers(1, 9), st.integers(1, 5))
def test_sums_of_any_values_are_exact(data, limbs, clients, length):
    values = data.draw(arrays(np.int64, (clients, length), elements=VALUES))
    total = np.zeros((limbs.count, length), np.uint64)
    for one in values:
        words = limbs.encode(one)
        assert words.shape == (limbs.count, length)
        total += words
    found = limbs.decode(total, cohort=clients)
    assert found.dtype == np.int64
    assert found.tolist() == np.sum(values.astype(object), axis=0).tolist()


@given(SHAPES, st.sampled_from([-VALUE_BOUND, VALUE_BOUND - 1]), st.sampled_from([1, 255, 2**16 - 1]))
def test_the_largest_roster_at_both_limits(limbs, value, cohort):
    total = limbs.encode(np.array([value, 0])) * np.uint64(cohort)
    assert limbs.decode(total, cohort=cohort).tolist() == [value * cohort, 0]


@given(st.data(), st.integers(1, VALUE_BITS).map(Limbs))
def test_limbs_one_by_one_are_those_of_all_together(data, limbs):
    values = data.draw(arrays(np.int64, 3, elements=VALUES))
    whole = limbs.encode(values)
    low = data.draw(st.integers(0, limbs.count - 1))
    high = data.draw(st.integers(low + 1, limbs.count))
    np.testing.assert_array_equal(limbs.encode(values, low, high), whole[low:high])
    assert limbs.is_sum(whole[low:high], cohort=1, low=low)


@given(st.integers(1, 2**16 - 1), st.integers(2, 2**62))
def test_limbs_are_as_large_as_the_room_allows(n_max, room):
    if room - 1 < 2 * n_max:
        with pytest.raises(ConfigurationError):
            Limbs.below(room, n_max=n_max)
        return
    limbs = Limbs.below(room, n_max=n_max)
    assert n_max * (2**limbs.bits - 1) < room
    assert limbs.bits == VALUE_BITS or n_max * 2 ** (limbs.bits + 1) > room - 1
    assert limbs.count == -(-VALUE_BITS // limbs.bits)
    assert all(0 < limbs.largest(limb) < 2**limbs.bits for limb in range(limbs.count))
    assert sum(limbs.largest(limb) << limbs.bits * limb for limb in range(limbs.count)) == 2**VALUE_BITS - 1


@pytest.mark.parametrize("limbs", [ONE_WORD, Limbs(7), Limbs(44)])
@pytest.mark.parametrize("value", [VALUE_BOUND, -VALUE_BOUND - 1, 2**63 - 1, -(2**63)])
def test_a_client_refuses_values_out_of_range(limbs, value):
    limbs.encode(np.array([VALUE_BOUND - 1, -VALUE_BOUND]))
    with pytest.raises(LocalMisuseError, match="2\\^43"):
        limbs.encode(np.array([0, value]))


def test_a_client_refuses_what_is_no_vector_of_whole_numbers():
    for wrong in (np.zeros(3), np.zeros(3, np.uint64), np.zeros((2, 2), np.int64)):
        with pytest.raises(LocalMisuseError, match="not a vector of 64-bit integers"):
            ONE_WORD.encode(wrong)


@given(SHAPES, st.integers(1, 100), st.data())
def test_sums_that_no_honest_clients_have_are_refused(limbs, cohort, data):
    limb = data.draw(st.integers(0, limbs.count - 1))
    sums = np.zeros((limbs.count, 2), np.uint64)
    if limbs is ONE_WORD:
        most, wrong = cohort * VALUE_BOUND, data.draw(st.sampled_from([1, -1]))
        sums[0, 1] = np.uint64(most * wrong % 2**64)
        excess = np.uint64(wrong % 2**64)
    else:
        sums[limb, 1], excess = np.uint64(cohort * limbs.largest(limb)), np.uint64(1)
    limbs.decode(sums, cohort=cohort)  # the control
    sums[limb, 1:] += excess
    with pytest.raises(RemoteMisbehaviourError):
        limbs.decode(sums, cohort=cohort)


# ---- rounds
def test_of_a_study_each_vector_has_a_matrix_of_limbs(tmp_path):
    study = make_study(tmp_path, privacy=SQUARE_SUMS)
    round_ = Round.of(study.task)
    assert isinstance(round_.payload, Vectors)
    assert round_.payload.limbs == ONE_WORD
    assert {(m.name, m.rows, m.columns) for s in round_.layout.slabs for m in s.matrices} == {
        (name, 1, columns) for name, _, columns in MATRICES
    }
    assert {(slab.digits, slab.row_k) for slab in round_.layout.slabs} == {(1, None)}
    assert round_.weights == sum(rows * columns for _, rows, columns in MATRICES)


@pytest.mark.parametrize("form", ["blind", "simple"])
@pytest.mark.parametrize("clients", [3, 8, 64])
def test_of_bfv_limbs_fill_a_coefficient_and_sums_never_reach_the_bound(tmp_path, form, clients):
    study = make_study(
        tmp_path, protocol="bfv", aggregators=1, key_holders=1, key_holder=form, clients=clients,
        privacy=SQUARE_SUMS,
    )  # fmt: skip
    round_, parameters = Round.of(study.task), parameters_of(study.task)
    limbs, room = round_.payload.limbs, parameters.base**parameters.digits
    assert clients * (2**limbs.bits - 1) < room
    assert round_.layout.words == limbs.count * sum(study.task.vectors.values())


@pytest.mark.parametrize("blind", [True, False])
def test_flooding_covers_the_coefficients_that_are_really_sent(blind):
    options = {"clients": 8, "key_holders": 1, "blind": blind, "weights": 7 * 10**9}
    few, many = (choose_parameters(**options, values=values) for values in (10**3, 10**9))
    if not blind:
        assert few == many
        return
    assert few.flood_bits < many.flood_bits
    assert few.flood_bits < choose_parameters(**options).flood_bits  # of seven billion weights
    for parameters, values in ((few, 10**3), (many, 10**9)):
        limbs = Limbs.below(parameters.base**parameters.digits, n_max=8)
        noise = parameters.fresh_noise * 8**0.5
        distance = (values * limbs.count) ** 0.5 * noise * (3.12 / 4) ** 0.5 / 2**parameters.flood_bits
        assert distance <= 2**-40


def test_a_vector_whose_limbs_lie_in_several_chunks_is_read_limb_by_limb():
    limbs, length = Limbs(20), CHUNK_BYTES // 8  # one limb is a chunk
    layout = Layout.of([PackedMatrix("v", limbs.count, length, None)], n_max=4, digits=1)
    assert len(layout.chunks) == limbs.count == 3
    payload = Vectors(limbs)
    words = limbs.encode(np.full(length, -VALUE_BOUND + 5, np.int64)) * np.uint64(3)
    parts = [
        payload.read(chunk, words[chunk.first_group : chunk.first_group + chunk.groups], cohort_size=3)
        for chunk in layout.chunks
    ]
    assert (limbs.decode(np.concatenate(parts), cohort=3) == 3 * (-VALUE_BOUND + 5)).all()
    assert payload.read(layout.chunks[2], np.full((1, length), 3 * 15 + 1, np.uint64), cohort_size=3) is None
