"""Every party, and every two parties together, try to compute a client's pruning mask from what they hold.

What they hold: all files of their own directories, and the whole exchange. Controls that must succeed: all
aggregators together; the coordinator with all other clients; a scan of the client's own directory.
"""

from __future__ import annotations

import base64
import itertools

import msgspec
import numpy as np
import pytest
from small_study import make_study

from secprune.crypto.envelope import open_envelope
from secprune.errors import RemoteMisbehaviourError
from secprune.exchange.directory import DirectoryExchange
from secprune.files import file_digest
from secprune.ids import sha256
from secprune.messages.types import AggregateShare, Report
from secprune.packing import pack, unpack
from secprune.parties.client import MASKS_FILE
from secprune.parties.session import open_session
from secprune.protocols.additive.aggregate import AggregateReader
from secprune.protocols.api import ReportSecrets, Round, secure_sum
from secprune.storage.keyfile import read_identity

VICTIM = "clinic-0"
MATRICES = (("a.weight", 60, 64), ("b.weight", 31, 48))


@pytest.fixture(scope="module", params=[2, 3], ids=["2 aggregators", "3 aggregators"])
def study(request, tmp_path_factory):
    made = make_study(
        tmp_path_factory.mktemp("study"), clients=4, aggregators=request.param, matrices=MATRICES
    )
    made.submit()
    assert not any(isinstance(o, Exception) for o in made.run_servers().values())
    return made


def envelopes(study, phase, kind):
    keys = {p.name: p.signing_key for p in study.task.parties}
    for path in study.messages(phase).iterdir():
        yield open_envelope(path.read_bytes(), kind, signing_keys=keys)


def victim_words(study):
    chunks = Round.of(study.task).layout.chunks
    return [pack_rows(study.masks[VICTIM], chunk) for chunk in chunks]


def pack_rows(masks, chunk):
    rows = [masks[m.name][low:high] for m, low, high in chunk.slab.pieces(chunk.first_row, chunk.end_row)]
    return pack(np.concatenate(rows).astype(np.uint8), base=chunk.slab.base, digits=chunk.slab.digits)


def candidates(study, corrupt):
    """What these parties can compute from shares: the victim's report, or the sum; one array per chunk.

    Yields ("report", words) for every combination of the victim's shares that they can open, and
    ("sum", words) for the summed counts less the votes of the corrupt clients, if they can open all shares.
    """
    round_, exchange = Round.of(study.task), DirectoryExchange(study.exchange)
    identities = {name: read_identity(study.root / name / "identity.key")[0] for name in corrupt}
    reports = dict(envelopes(study, "reports", Report))
    shares = {}
    for reader_name, identity in itertools.product(study.aggregators, identities.values()):
        try:  # any corrupt party's keys, on any aggregator's envelope
            key = secure_sum(study.task).open_key(
                round_, VICTIM, reports[VICTIM], aggregator=reader_name, identity=identity
            )
        except RemoteMisbehaviourError:
            continue
        reader = secure_sum(study.task).reader(round_, VICTIM, key, aggregator=reader_name)
        shares[reader_name] = [
            reader.share(
                chunk, exchange.get_chunk(reports[VICTIM].chunks[chunk.index]) if reader.needs_bytes else b""
            )
            for chunk in round_.layout.chunks
        ]
    for size in range(1, len(shares) + 1):
        for some in itertools.combinations(shares.values(), size):
            yield "report", [np.sum(parts, axis=0, dtype=np.uint64) for parts in zip(*some, strict=True)]
    aggregates = {}
    for sender, message in envelopes(study, "shares", AggregateShare):
        for identity in identities.values():
            try:
                reader = AggregateReader(round_, sender, message, identity)
            except RemoteMisbehaviourError:
                continue
            aggregates[sender] = [
                reader.open(chunk, exchange.get_chunk(message.parcel.chunks[chunk.index]))
                for chunk in round_.layout.chunks
            ]
    if len(aggregates) == len(study.aggregators):  # the counts, less the votes of corrupt clients
        left = [np.sum(parts, axis=0, dtype=np.uint64) for parts in zip(*aggregates.values(), strict=True)]
        for name in corrupt:
            if name in study.clients:
                left = [
                    words - pack_rows(study.masks[name], chunk)
                    for words, chunk in zip(left, round_.layout.chunks, strict=True)
                ]
        yield "sum", left


def flat(words):
    return np.concatenate([w.ravel() for w in words])


def best_guess(study, corrupt, kind):
    """Largest share of the victim's words that some candidate of that kind gives exactly."""
    truth = flat(victim_words(study))
    found = [flat(words) for what, words in candidates(study, corrupt) if what == kind]
    return max((float((guess == truth).mean()) for guess in found), default=0.0)


def check_nothing_but_the_sum_of_others(study, corrupt):
    """No share of the report gives a single word; the sum gives the honest clients' sum and nothing else."""
    assert best_guess(study, corrupt, "report") == 0.0, corrupt
    honest = [name for name in study.clients if name not in corrupt]
    assert len(honest) >= 2
    together = [
        sum(pack_rows(study.masks[name], chunk) for name in honest)
        for chunk in Round.of(study.task).layout.chunks
    ]
    for what, words in candidates(study, corrupt):
        if what == "sum":
            np.testing.assert_array_equal(flat(words), flat(together))


def test_controls_all_aggregators_and_all_other_clients_succeed(study):
    assert best_guess(study, study.aggregators, "report") == 1.0
    assert best_guess(study, ("hq", *study.clients[1:]), "sum") == 1.0  # inherent in any sum


def test_no_two_parties_that_are_not_all_aggregators_can_compute_the_mask(study):
    others = [p.name for p in study.task.parties if p.name != VICTIM]
    for size in (1, 2):
        for corrupt in itertools.combinations(others, size):
            if set(study.aggregators) <= set(corrupt):
                continue
            check_nothing_but_the_sum_of_others(study, corrupt)


def test_neither_can_all_but_one_aggregator_with_the_coordinator_and_n_minus_2_clients(study):
    for honest in study.aggregators:
        corrupt = (*(a for a in study.aggregators if a != honest), "hq", *study.clients[2:])
        check_nothing_but_the_sum_of_others(study, corrupt)


def test_a_share_says_nothing_about_single_bits(study):
    """Digits of one aggregator's share against the mask: correlation as between independent values."""
    round_ = Round.of(study.task)
    for name in study.aggregators:
        _, share = next(candidates(study, (name,)))
        bits, digits = [], []
        for words, chunk in zip(share, round_.layout.chunks, strict=True):
            slab = chunk.slab
            rows = chunk.end_row - chunk.first_row
            digits.append(unpack(words, base=slab.base, digits=slab.digits, rows=rows).ravel())
            truth = victim_words(study)[chunk.index]
            bits.append(unpack(truth, base=slab.base, digits=slab.digits, rows=rows).ravel())
        guess, truth = np.concatenate(digits).astype(float), np.concatenate(bits).astype(float)
        assert abs(np.corrcoef(guess, truth)[0, 1]) < 5 / len(truth) ** 0.5


def encodings(study):
    """Ways in which the victim's mask could lie in a file, as byte strings to look for."""
    for name, mask in study.masks[VICTIM].items():
        for axis in (0, 1):
            for order in ("little", "big"):
                packed = np.packbits(mask, axis=axis, bitorder=order)
                yield f"{name} bits {axis} {order}", packed.ravel()[:64].tobytes()
        yield f"{name} bytes", mask.astype(np.uint8).ravel()[:128].tobytes()
        yield f"{name} transposed bytes", mask.T.astype(np.uint8).ravel()[:128].tobytes()
    for words in victim_words(study):
        for order in "<>":
            yield f"words {order}", words.ravel()[:16].astype(f"{order}u8").tobytes()


def forms(data):
    return (data, data.hex().encode(), base64.b64encode(data)[:-4])


def files_holding(root, data):
    return [
        path
        for path in root.rglob("*")
        if path.is_file() and any(form in path.read_bytes() for form in forms(data))
    ]


def test_the_mask_lies_in_no_directory_but_its_clients_own(study):
    elsewhere = [study.exchange, *(study.root / p.name for p in study.task.parties if p.name != VICTIM)]
    for what, data in encodings(study):
        for root in elsewhere:
            assert not files_holding(root, data), (what, root.name)
    own = {what for what, data in encodings(study) if files_holding(study.root / VICTIM, data)}
    assert "a.weight bits 1 little" in own, "control: the scan finds the mask where it must be"


def test_report_secrets_and_private_keys_lie_in_no_other_directory(study):
    with open_session(study.root / VICTIM, "client") as session:
        stored = session.journal.secret(f"report of {file_digest(session.work / MASKS_FILE)}", bytes)
    secrets = msgspec.json.decode(stored, type=ReportSecrets)
    identity, _ = read_identity(study.root / VICTIM / "identity.key")
    for secret in (secrets.content_key, *secrets.seeds, identity.secret):
        assert files_holding(study.root / VICTIM, secret), "control"
        for root in (study.exchange, *(study.root / p.name for p in study.task.parties if p.name != VICTIM)):
            assert not files_holding(root, secret)


def test_private_files_are_private(study):
    for party in study.task.parties:
        for path in (study.root / party.name).rglob("*"):
            if path.name in {"identity.key", "journal.sqlite"} or path.suffix == ".safetensors":
                assert path.stat().st_mode & 0o077 == 0, path
        assert (study.root / party.name).stat().st_mode & 0o077 == 0


def test_what_lies_in_the_exchange_is_named_by_its_digest(study):
    for path in (study.exchange / "chunks").rglob("*"):
        if path.is_file():
            assert sha256(path.read_bytes()) == f"sha256:{path.name}"
