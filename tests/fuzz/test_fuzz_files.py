"""Files that others hand over: cards, tasks, party files, masks and checkpoints."""

from __future__ import annotations

import json
import math
import struct
import tomllib
from collections import Counter
from functools import cache

import msgspec
import numpy as np
import pytest
from fuzz.fuzzing import (
    MEMORY,
    NASTY,
    bulk,
    fuzz,
    judged,
    mutated,
    new_directory,
    peak_of,
    refused,
    restructured,
    workplace,
)
from hypothesis import strategies as st
from small_study import SQUARE_SUMS, make_study

from secprune.crypto.envelope import sign
from secprune.errors import ConfigurationError, LocalMisuseError
from secprune.messages.types import TaskSignature
from secprune.parties.config import PARTY_FILE, PartyFile, party_file_template, read_party_file
from secprune.parties.session import load_task
from secprune.privacy.votes import count_noise
from secprune.pruning.tensorfile import INDEX_NAME, CheckpointFiles, TensorFile, write_tensor_file
from secprune.storage.keyfile import read_card, write_card
from secprune.storage.masks import MaskFile, write_masks
from secprune.storage.noisy_votes import NoisyVotesFile
from secprune.storage.statistics import StatisticsFile
from secprune.task import CountNoiseSpec, PrivacySpec, Task, parse_task
from secprune.vectors import VALUE_BOUND


@cache
def study():
    return make_study(new_directory(), matrices=(("a.weight", 3, 8), ("b.weight", 2, 13)))


def put(name, data):
    path = workplace() / name
    path.write_bytes(data)
    return path


# ---- cards
@cache
def cards():
    found = []
    for party in study().task.parties:
        path = workplace() / "a.card"
        write_card(path, party, study().identities[party.name])
        found.append(path.read_bytes())
    return found


def check_card(data):
    found = judged(lambda d: read_card(put("b.card", d)), data)
    if refused(found):
        assert found is None or isinstance(found, ConfigurationError)
        return "refused"
    write_card(workplace() / "c.card", found, study().identities[found.name])
    assert (workplace() / "c.card").read_bytes() == data
    return "same bytes"


@fuzz(150, data=st.one_of(mutated(cards), restructured(cards), st.binary(max_size=80)))
def test_a_changed_card_is_refused_or_whole(data):
    check_card(data)


def test_many_changed_cards():
    ends = Counter(check_card(data) for data in bulk(cards, 2500))
    assert ends["refused"] > 1000


# ---- tasks and party files
@cache
def tasks():
    other = msgspec.structs.replace(
        study().task, pruning=msgspec.structs.replace(study().task.pruning, sparsity="0.25", pattern="2:8")
    )
    long = study().task.to_toml()
    short = "\n".join(line[:120] for line in long.splitlines() if len(line) < 300)
    return [long.encode(), other.to_toml().encode(), short.encode()]


def check_task_text(data):
    found = judged(lambda d: parse_task(d.decode(errors="replace")), data)
    if refused(found):
        assert found is None or isinstance(found, ConfigurationError)
        return "refused"
    assert isinstance(found, Task)
    # TOML is not canonical; what was understood is, and says the same to everybody.
    text = found.to_toml()
    assert parse_task(text) == found
    assert parse_task(text).to_toml() == text
    return "understood"


def toml_document(data):
    return json.dumps(tomllib.loads(data.decode()), default=str).encode()


@cache
def task_documents():
    return [toml_document(data) for data in tasks()[:2]]


@fuzz(120, data=mutated(tasks))
def test_a_changed_task_is_refused_or_understood_by_all_alike(data):
    check_task_text(data)


def test_many_changed_tasks():
    ends = Counter(check_task_text(data) for data in bulk(tasks, 500))
    assert ends["refused"] > 250
    assert ends["understood"] > 3


@fuzz(200, data=restructured(task_documents))
def test_a_task_with_other_values_is_refused_or_understood_by_all_alike(data):
    def convert(text):
        from secprune.task import check_task

        try:
            task = msgspec.convert(json.loads(text), Task)
        except msgspec.ValidationError as error:
            raise ConfigurationError(str(error)) from error
        check_task(task)
        return task

    found = judged(convert, data)
    if not refused(found):
        assert parse_task(found.to_toml()) == found


def check_signed_task(text, signature):
    path = put("task.toml", text)
    put("task.toml.sig", signature)
    found = judged(lambda _: load_task(path), text + signature)
    if refused(found):
        assert found is None or isinstance(found, ConfigurationError)
        return "refused"
    assert found == study().task
    assert (
        sign(
            TaskSignature(task_id=found.task_id, study=found.study),
            signer="hq",
            identity=study().identities["hq"],
        )
        == signature
    )
    return "same task"


@cache
def signatures():
    return [
        sign(
            TaskSignature(task_id=study().task.task_id, study=study().task.study),
            signer="hq",
            identity=study().identities[name],
        )
        for name in ("hq", "adder-0")
    ]


def test_many_changed_signed_tasks():
    whole, signature = tasks()[0], signatures()[0]
    assert check_signed_task(whole, signature) == "same task"
    for data in bulk(signatures, 250):
        check_signed_task(whole, data)
    for data in bulk(lambda: tasks()[:1], 50):
        check_signed_task(data, signature)


@cache
def party_files():
    fingerprint = "sha256:" + "ab" * 32
    pinned = f'coordinator = "{fingerprint}"\naggregators = ["{fingerprint}"]\nrepeat_releases = true\n'
    template = party_file_template("client", "clinic-0")
    return [template.encode(), (template + pinned).encode(), b'task = "t"\nexchange = "s3://a/b"\n']


def check_party_file(data):
    put(PARTY_FILE, data)
    found = judged(lambda _: read_party_file(workplace()), data)
    if refused(found):
        assert found is None or isinstance(found, ConfigurationError)
        return "refused"
    assert isinstance(found, PartyFile)
    assert msgspec.convert(msgspec.to_builtins(found), PartyFile) == found
    assert 1 <= found.policy.min_clients < 2**16
    return "understood"


@fuzz(120, data=mutated(party_files))
def test_a_changed_party_file_is_refused_or_understood(data):
    check_party_file(data)


def test_many_changed_party_files():
    ends = Counter(check_party_file(data) for data in bulk(party_files, 2500))
    assert ends["refused"] > 500
    assert ends["understood"] > 50


# ---- tensors and masks
@cache
def tensor_files():
    path, found = workplace() / "x.safetensors", []
    shapes = [
        [("a", "F32", (2, 3)), ("b", "BF16", (5,)), ("c", "U8", ())],
        [("a", "F64", (0, 4)), ("d.weight", "F8_E4M3", (1, 1, 3))],
        [],
    ]
    for tensors in shapes:
        metadata = {"format": "pt", "task_id": "é"} if tensors else None
        with write_tensor_file(path, tensors, metadata=metadata):
            pass
        found.append(path.read_bytes())
    return found


@cache
def headers():
    return [data[8 : 8 + struct.unpack_from("<Q", data)[0]].rstrip() for data in tensor_files()]


def with_header(header, size=39):
    return struct.pack("<Q", len(header)) + header + bytes(size)


def check_tensor_file(data):
    path = put("y.safetensors", data)
    found = judged(lambda _: TensorFile(path), data)
    if refused(found):
        assert isinstance(found, ConfigurationError)
        return "refused"
    assert_well_formed(data, found)
    taken = b""
    for name in found.names:
        raw, (begin, end) = found.raw(name), found.span(name)
        assert raw.shape == found.entry(name)[1]
        assert raw.tobytes() == data[begin:end]
        taken += raw.tobytes()
        if raw.ndim:
            np.testing.assert_array_equal(found.rows(name), raw)
    assert data[found.data_start :] == taken
    assert data[8 : found.data_start] == data[8 : 8 + struct.unpack_from("<Q", data)[0]]
    return "whole"


WIDTHS = {"U8": 1, "BOOL": 1, "BF16": 2, "F32": 4, "I64": 8}


@st.composite
def almost_tensor_files(draw):
    """A few tensors that follow each other, most of them where they belong; and what fills the file, mostly."""
    header, position = "", 0
    for number in range(draw(st.integers(1, 3))):
        dtype = draw(st.sampled_from(tuple(WIDTHS)))
        shape = draw(st.lists(st.integers(0, 3), max_size=3))
        size = math.prod(shape) * WIDTHS[dtype]
        begin = max(0, position + draw(st.sampled_from((0, 0, 0, 0, 1, -1, -size, size))))
        position = begin + size + draw(st.sampled_from((0, 0, 0, 0, 1, -1)))
        offsets = json.dumps([begin, position])
        shown = json.dumps(
            [draw(st.sampled_from((n, n, n, n, n, bool(n), float(n), -n, str(n)))) for n in shape]
        )
        name = draw(st.sampled_from((f"t{number}", f"t{number}", f"t{number}", "t0", "__metadata__")))
        entry = f'{{"dtype":"{dtype}","shape":{shown},"data_offsets":{offsets}}}'
        header += f'{"," if header else ""}"{name}":{entry}'
        if draw(st.integers(0, 9)) == 0:
            header += f',"{name}":{entry}'
    size = max(0, position + draw(st.sampled_from((0, 0, 0, 0, 0, 1, -1))))
    return with_header(f"{{{header}}}".encode(), size)


def assert_well_formed(data, file):
    """The rules of the format once more: every key once, whole numbers, tensors side by side to the end."""

    def unique(pairs):
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    tensors = json.loads(data[8 : file.data_start], object_pairs_hook=unique)
    tensors.pop("__metadata__", None)
    assert set(tensors) == set(file.names)
    end = 0
    for tensor in sorted(tensors.values(), key=lambda t: t["data_offsets"]):
        assert all(
            type(number) is int and number >= 0 for number in (*tensor["shape"], *tensor["data_offsets"])
        )
        assert tensor["data_offsets"][0] == end
        end = tensor["data_offsets"][1]
    assert end == len(data) - file.data_start


@fuzz(300, data=almost_tensor_files())
def test_an_almost_right_tensor_file_is_refused_or_every_byte_has_its_place(data):
    check_tensor_file(data)


@fuzz(200, data=mutated(tensor_files))
def test_a_changed_tensor_file_is_refused_or_every_byte_has_its_place(data):
    check_tensor_file(data)


@fuzz(250, header=st.one_of(restructured(headers), mutated(headers)), size=st.sampled_from((0, 3, 35, 39)))
def test_a_changed_header_is_refused_or_every_byte_has_its_place(header, size):
    check_tensor_file(with_header(header, size))


def test_many_changed_tensor_files():
    ends = Counter(check_tensor_file(data) for data in bulk(tensor_files, 4000))
    ends += Counter(check_tensor_file(with_header(data, 35)) for data in bulk(headers, 4000))
    assert ends["refused"] > 3000
    assert ends["whole"] > 100


@cache
def mask_files():
    path, task = workplace() / "m.safetensors", study().task
    found = []
    for task_id in (task.task_id, "sha256:" + "0" * 64):
        write_masks(path, study().masks["clinic-0"].items(), task.model.matrices, task_id=task_id)
        found.append(path.read_bytes())
    return found


def check_mask_file(data):
    path, task = put("n.safetensors", data), study().task
    found = judged(lambda _: MaskFile(path, task.model.matrices, task_id=task.task_id), data)
    if refused(found):
        assert isinstance(found, (ConfigurationError, LocalMisuseError))
        return "refused"
    for m in task.model.matrices:
        rows = found.rows(m.name)
        assert rows.shape == (m.rows, m.columns)
        assert rows.max() <= 1
    return "read"


@fuzz(150, data=mutated(mask_files))
def test_a_changed_mask_file_is_refused_or_read(data):
    check_mask_file(data)


def test_many_changed_mask_files():
    ends = Counter(check_mask_file(data) for data in bulk(mask_files, 4000))
    assert ends["refused"] > 1000
    assert ends["read"] > 50


@cache
def indices():
    return [
        b'{"metadata":{"total_size":39},"weight_map":{"a":"one.safetensors","b":"one.safetensors"}}',
        b'{"weight_map":{"a":"one.safetensors","d.weight":"two.safetensors"}}',
    ]


def check_index(data):
    directory = workplace() / "checkpoint"
    directory.mkdir(exist_ok=True)
    (directory / "one.safetensors").write_bytes(tensor_files()[0])
    (directory / "two.safetensors").write_bytes(tensor_files()[1])
    (directory / INDEX_NAME).write_bytes(data)
    found = judged(lambda _: CheckpointFiles(directory), data)
    if refused(found):
        assert found is None or isinstance(found, ConfigurationError)
        return "refused"
    for name in found.names:
        assert found.file_of(name).path.parent == directory
    return "read"


def test_many_changed_indices():
    ends = Counter(check_index(data) for data in bulk(indices, 1000))
    ends += Counter(check_index(indices()[0].replace(b"one.safetensors", piece, 1)) for piece in NASTY)
    assert ends["refused"] > 500
    assert ends["read"] > 3


@fuzz(120, data=restructured(indices))
def test_an_index_with_other_values_is_refused_or_read(data):
    check_index(data)


# ---- memory
def test_what_claims_to_be_large_takes_no_memory():
    data, header = tensor_files()[0], headers()[0]
    for length in (2**63, 2**64 - 1, 100_000_000, len(data), 99_999_999):
        assert peak_of(lambda n=length: check_tensor_file(struct.pack("<Q", n) + data[8:])) < MEMORY
    for claim in (
        b"[18446744073709551616]",
        b"[72057594037927936,0]",
        b"[0,4294967296,16777215]",
        b"[1,2,3" + b",1" * 5000 + b"]",
    ):
        claimed = header.replace(b"[2,3]", claim)
        assert claimed != header
        assert peak_of(lambda c=claimed: check_tensor_file(with_header(c))) < MEMORY


def test_an_empty_tensor_of_an_impossible_shape_is_refused():
    for shape in ([2**62, 0, 2**62], [0, 2**64], [2**32, 2**32, 0], [0] * 33):
        header = json.dumps({"a": {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}}).encode()
        assert check_tensor_file(with_header(header, 0)) == "refused"


def test_changed_files_take_no_memory():
    def work():
        for check, examples in (
            (check_tensor_file, tensor_files),
            (check_mask_file, mask_files),
            (check_card, cards),
            (check_party_file, party_files),
        ):
            for data, _ in zip(bulk(examples, 150, seed=2), range(150), strict=False):
                check(data)

    assert peak_of(work) < MEMORY


# ---- what else reports are made of
@cache
def other_tasks():
    """Tasks of statistics and of count noise, and what stands in their files."""
    privacy = {
        "statistics": SQUARE_SUMS,
        "votes": PrivacySpec(mechanism="count-noise", count_noise=CountNoiseSpec(sigma="2")),
    }
    made = {name: make_study(new_directory(), privacy=spec) for name, spec in privacy.items()}
    made["statistics"].make_statistics("clinic-0", 1)
    files = {
        name: next((study.root / "clinic-0").rglob("*.safetensors")).read_bytes()
        for name, study in made.items()
    }
    return {name: study.task for name, study in made.items()}, files


def check_statistics(data):
    task = other_tasks()[0]["statistics"]
    path = put("s.safetensors", data)

    def read(_):
        found = StatisticsFile(path, task)
        return {name: found.vector(name) for name in task.vectors}

    found = judged(read, data)
    if refused(found):
        assert isinstance(found, (ConfigurationError, LocalMisuseError))
        return "refused"
    for name, length in task.vectors.items():
        assert (found[name].dtype, found[name].shape) == (np.int64, (length,))
        assert np.abs(found[name]).max() <= VALUE_BOUND
    return "read"


def check_noisy_votes(data):
    task = other_tasks()[0]["votes"]
    path, noise = put("v.safetensors", data), count_noise(task)

    def read(_):
        found = NoisyVotesFile(path, task.model.matrices, noise, task_id=task.task_id)
        return {m.name: found.rows(m.name) for m in task.model.matrices}

    found = judged(read, data)
    if refused(found):
        assert isinstance(found, (ConfigurationError, LocalMisuseError))
        return "refused"
    for m in task.model.matrices:
        assert found[m.name].shape == (m.rows, m.columns)
        assert found[m.name].max() <= noise.most
    return "read"


@pytest.mark.parametrize(("name", "check"), [("statistics", check_statistics), ("votes", check_noisy_votes)])
def test_many_changed_files_of_statistics_and_noisy_votes(name, check):
    data = other_tasks()[1][name]
    assert check(data) == "read"
    ends = Counter(check(changed) for changed in bulk(lambda: [data], 2000))
    assert ends["refused"] > 200
    assert ends["read"] > 20
