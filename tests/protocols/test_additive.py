"""Additive sharing: shares add up, fewer than all of them say nothing, retries repeat, secrets are not shown."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_study import make_study

from secprune.crypto.entropy import random_bytes
from secprune.messages.types import Report
from secprune.packing import pack
from secprune.protocols.additive.aggregate import add_shares, unshard
from secprune.protocols.additive.row_sums import row_sum_fault
from secprune.protocols.additive.sharing import AdditiveWriter, SeedShare, report_context
from secprune.protocols.api import Round, secure_sum


@pytest.fixture(scope="module", params=[2, 3])
def study(request, tmp_path_factory):
    return make_study(tmp_path_factory.mktemp("study"), aggregators=request.param, with_masks=False)


def random_words(chunk, row_k, rng):
    rows = chunk.end_row - chunk.first_row
    bits = rng.random((rows, chunk.slab.columns)).argsort(axis=1) < row_k
    return pack(bits.astype(np.uint8), base=chunk.slab.base, digits=chunk.slab.digits)


def shared(study, client, words_of):
    """All aggregators' shares of one report, read through the sealed bytes: {aggregator: [words]}."""
    round_, protocol = Round.of(study.task), secure_sum(study.task)
    secrets = protocol.new_secrets(round_, client, random_bytes)
    writer = protocol.writer(round_, client, secrets)
    data = [writer.protect(chunk, words_of[chunk.index].copy()) for chunk in round_.layout.chunks]
    report = Report(
        task_id=round_.task_id, round=0, keys=secrets.keys, chunks=("sha256:" + "0" * 64,) * len(data)
    )
    shares = {}
    for name in study.aggregators:
        key = protocol.open_key(round_, client, report, aggregator=name, identity=study.identities[name])
        reader = protocol.reader(round_, client, key, aggregator=name)
        shares[name] = [
            reader.share(chunk, data[chunk.index] if reader.needs_bytes else b"")
            for chunk in round_.layout.chunks
        ]
    return shares


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_the_shares_of_a_cohort_add_up_to_the_plain_counts(study, seed):
    round_, rng = Round.of(study.task), np.random.default_rng(seed)
    words = {
        client: [random_words(chunk, chunk.slab.row_k, rng) for chunk in round_.layout.chunks]
        for client in study.clients
    }
    shares = {client: shared(study, client, words[client]) for client in study.clients}
    for chunk in round_.layout.chunks:
        aggregates = [
            add_shares(chunk, [shares[client][name][chunk.index] for client in study.clients])
            for name in study.aggregators
        ]
        plain = sum(
            (words[client][chunk.index] for client in study.clients), np.zeros(chunk.shape, np.uint64)
        )
        np.testing.assert_array_equal(add_shares(chunk, aggregates), plain)
        counts = unshard(chunk, aggregates, payload=round_.payload, cohort_size=len(study.clients))
        assert int(counts.max()) <= len(study.clients)


def test_the_row_sums_of_all_shares_fit_and_one_share_alone_does_not(study):
    round_, rng = Round.of(study.task), np.random.default_rng(1)
    words = [random_words(chunk, chunk.slab.row_k, rng) for chunk in round_.layout.chunks]
    shares = shared(study, "clinic-0", words)
    opened = [
        np.concatenate([s.sum(axis=1, dtype=np.uint64) for s in shares[name]]) for name in study.aggregators
    ]
    assert row_sum_fault(round_.layout, opened) == ""
    assert row_sum_fault(round_.layout, opened[1:]) != ""


def test_all_but_one_aggregator_hold_the_same_bytes_whatever_the_mask_is(study):
    """Coupled randomness: helpers' shares do not depend on the mask at all, and for any two masks there are
    seeds with which the first aggregator and all helpers but one see the same words."""
    round_, rng = Round.of(study.task), np.random.default_rng(2)
    context = report_context(round_, "clinic-0", study.aggregators[1])
    chunk = round_.layout.chunks[0]
    one, other = (random_words(chunk, chunk.slab.row_k, rng) for _ in range(2))
    expansion = SeedShare(b"a" * 32, context, round_).share(chunk)
    # What the first aggregator sees of `one` is what it would see of `other` under this other mask:
    mask_for_other = other - (one - expansion)
    np.testing.assert_array_equal(one - expansion, other - mask_for_other)
    assert not np.array_equal(expansion, mask_for_other)


def test_the_first_share_looks_uniform_and_the_plain_words_do_not(study):
    """Chi-square over the words' top bytes, with the unmasked words as the control that must fail."""
    round_ = Round.of(study.task)
    rng = np.random.default_rng(3)
    values, plain = [], []
    for _ in range(40):
        words = [random_words(chunk, chunk.slab.row_k, rng) for chunk in round_.layout.chunks]
        share = shared(study, "clinic-0", words)[study.aggregators[0]]
        values += [np.concatenate([s.ravel() for s in share])]
        plain += [np.concatenate([w.ravel() for w in words])]

    def chi_square(all_words):
        top = (np.concatenate(all_words) >> np.uint64(56)).astype(int)
        observed = np.bincount(top, minlength=256)
        expected = len(top) / 256
        return float(((observed - expected) ** 2 / expected).sum())

    assert chi_square(values) < 255 + 6 * (2 * 255) ** 0.5
    assert chi_square(plain) > 255 + 6 * (2 * 255) ** 0.5


def test_expansions_differ_by_client_aggregator_round_slab_and_task(study):
    round_ = Round.of(study.task)
    chunk = round_.layout.chunks[0]
    contexts = [
        report_context(round_, client, aggregator)
        for client in study.clients
        for aggregator in study.aggregators
    ]
    words = {SeedShare(b"a" * 32, context, round_).share(chunk).tobytes() for context in contexts}
    assert len(words) == len(contexts)
    first = SeedShare(b"a" * 32, contexts[0], round_)
    slabs = [c for c in round_.layout.chunks if c.number == 0]
    assert len({first.share(c).ravel()[:8].tobytes() for c in slabs}) == len(slabs)


def test_a_retry_seals_the_same_bytes_and_nothing_secret_is_printed(study):
    round_, protocol = Round.of(study.task), secure_sum(study.task)
    secrets = protocol.new_secrets(round_, "clinic-0", random_bytes)
    chunk = round_.layout.chunks[0]
    words = random_words(chunk, chunk.slab.row_k, np.random.default_rng(4))
    twice = [AdditiveWriter(round_, "clinic-0", secrets).protect(chunk, words.copy()) for _ in range(2)]
    assert twice[0] == twice[1]
    shown = (
        repr(secrets)
        + repr(AdditiveWriter(round_, "clinic-0", secrets))
        + str(vars(AdditiveWriter(round_, "clinic-0", secrets)))
    )
    for secret in (secrets.content_key, *secrets.seeds):
        assert secret.hex() not in shown
        assert repr(secret)[2:-1] not in shown
