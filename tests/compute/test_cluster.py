"""Work on a real Dask cluster over mutual TLS: every failure that an operator can meet ends in one sentence."""

from __future__ import annotations

import base64
import logging
import os
import pickle
import signal
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import compute_items
import pytest
from compute_items import Gate
from own_cluster import LONG_S, PYTHONPATH, Authority, own_cluster

pytest.importorskip("distributed", reason="needs the extra dask")

import secprune
from secprune.compute import cluster as compute
from secprune.compute.api import Work
from secprune.compute.cluster import Cluster
from secprune.errors import ConfigurationError, LocalEnvironmentError
from secprune.exchange.api import ChunkAlteredError, ChunkMissingError

SECRET = bytes(range(200, 232))


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A cluster for tests that leave it as it is."""
    with own_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def own(tmp_path):
    """A cluster for a test that kills some of it."""
    with own_cluster(tmp_path / "own") as cluster:
        yield cluster


def connect(cluster, **files):
    return Cluster(cluster.address, **{**cluster.client, **files})


def run(cluster, make, *arguments, count=8, **files):
    return list(connect(cluster, **files).map(Work(make, arguments), range(count), count=count))


# ---- results
def test_results_are_those_of_this_process_in_order(shared):
    work = Work(compute_items.adder, (SECRET,))
    items = list(range(50))
    assert list(connect(shared).map(work, iter(items), count=50)) == list(map(work.in_this_process(), items))
    assert all("secprune-" in shared.log(f"worker-{index}") for index in range(2))  # both took part


def test_items_are_taken_only_a_few_ahead(shared):
    taken = []

    def items():
        for item in range(40):
            taken.append(item)
            yield item

    results = connect(shared).map(Work(compute_items.adder, (SECRET,)), items(), count=40)
    for done in range(1, 30):
        next(results)
        assert len(taken) <= done + 2 * 2
    results.close()
    assert len(taken) < 40


def test_few_items_stay_here(tmp_path):
    authority = Authority(tmp_path / "certificates", "client")
    certificate, key = authority.files("client")
    nowhere = Cluster("tls://127.0.0.1:1", ca=authority.ca, certificate=certificate, key=key)
    work = Work(compute_items.adder, (SECRET,), here=lambda item: item + 1)
    assert list(nowhere.map(work, [1, 2, 3], count=3)) == [2, 3, 4]


# ---- what the function raises
@pytest.mark.parametrize("what", [what for what in compute_items.ERRORS if what != "unpicklable"])
def test_what_the_function_raises_arrives_as_itself(shared, what):
    plain, got = compute_items.ERRORS[what](), []
    with pytest.raises(type(plain)) as caught:
        got.extend(connect(shared).map(Work(compute_items.failing, (what,)), range(8), count=8))
    assert type(caught.value) is type(plain)
    assert (str(caught.value), caught.value.args) == (str(plain), plain.args)
    attributes = {name: value for name, value in vars(caught.value).items() if name != "__notes__"}
    assert attributes == vars(plain)


def test_what_the_function_raises_comes_after_the_results_before_it(shared):
    results = connect(shared).map(Work(compute_items.failing, ("missing",)), range(8), count=8)
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(ChunkMissingError) as caught:
        next(results)
    assert caught.value.digest == "sha256:12"


def test_an_error_that_cannot_travel_is_told_in_words(shared):
    with pytest.raises(RuntimeError, match="UnpicklableError: cannot travel"):
        run(shared, compute_items.failing, "unpicklable")


def test_a_function_that_cannot_be_made_there_says_why(shared):
    with pytest.raises(ChunkAlteredError, match="it is another"):
        run(shared, compute_items.unmakeable, "altered")


def test_a_package_that_workers_do_not_have_is_named(shared):
    with pytest.raises(LocalEnvironmentError, match="a worker of the cluster has no package s3fs_of_ours"):
        run(shared, compute_items.importing, "s3fs_of_ours")


# ---- who gets in
def refused(cluster, **files):
    with pytest.raises(LocalEnvironmentError) as caught:
        run(cluster, compute_items.adder, SECRET, **files)
    assert cluster.address in caught.value.message
    assert "Traceback" not in caught.value.message
    assert "certificates under [workers]" in caught.value.hint
    return caught.value.message


def test_a_client_of_another_authority_is_refused(shared, tmp_path, monkeypatch):
    other = Authority(tmp_path / "other", "client")
    certificate, key = other.files("client")
    assert "certificates" in refused(shared, ca=other.ca, certificate=certificate, key=key)
    # One that believes the scheduler, so that it is the scheduler who refuses.
    before = shared.log("scheduler")
    refused(shared, certificate=certificate, key=key)
    assert "update-graph" not in shared.log("scheduler").removeprefix(before)


def test_a_client_without_a_certificate_is_refused(shared):
    """What `Cluster` cannot even be asked for: TLS without a certificate, and no TLS at all."""
    host, port = shared.address.removeprefix("tls://").split(":")
    context = ssl.create_default_context(cafile=shared.authority.ca)
    context.check_hostname = False
    with socket.create_connection((host, int(port))) as plain, context.wrap_socket(plain) as tls:
        assert answer(tls) == b""  # TLS 1.3 says only now that a certificate was due
    with socket.create_connection((host, int(port))) as plain:
        plain.sendall(b"\x00" * 64)
        assert answer(plain)[:1] in {b"", b"\x15"}  # nothing, or a TLS alert


def answer(connection):
    try:
        return connection.recv(1000)
    except (ssl.SSLError, ConnectionResetError):
        return b""


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:8786", "127.0.0.1:8786", "ws://127.0.0.1:8786"])
def test_an_address_without_tls_is_refused(shared, address):
    with pytest.raises(ConfigurationError, match="not reached over TLS"):
        Cluster(address, **shared.client)


@pytest.mark.parametrize("which", ["ca", "certificate", "key"])
def test_files_that_are_not_there_or_not_pem_are_the_configurations_fault(shared, tmp_path, which):
    with pytest.raises(ConfigurationError, match=r"there is no file .*nothing\.pem"):
        connect(shared, **{which: tmp_path / "nothing.pem"})
    (tmp_path / "something.pem").write_text("something else")
    with pytest.raises(ConfigurationError, match=r"something\.pem .*in PEM"):
        connect(shared, **{which: tmp_path / "something.pem"})


def test_a_key_of_another_certificate_or_with_a_password_is_refused_and_nobody_is_asked(shared, tmp_path):
    with pytest.raises(ConfigurationError, match="not a certificate and its key"):
        connect(shared, key=shared.authority.files("worker")[1])
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(shared.client["key"].read_bytes(), None)
    locked = tmp_path / "locked.key"
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"word"),
        )
    )
    with pytest.raises(ConfigurationError, match="without a password"):
        connect(shared, key=locked)


def test_a_scheduler_that_is_not_there_is_not_waited_for_for_ever(shared, monkeypatch):
    monkeypatch.setattr(compute, "_CONNECT_S", 1)
    why = "(.*refused|it does not answer)"  # the second where the machine itself is slow
    with pytest.raises(LocalEnvironmentError, match=rf"127\.0\.0\.1:1 cannot be used: {why}"):
        list(Cluster("tls://127.0.0.1:1", **shared.client).map(Work(Gate, ()), range(8), count=8))


def test_a_worker_of_another_version_that_comes_later_is_told_of_as_well(shared, monkeypatch):
    there = secprune.__version__
    monkeypatch.setattr(Cluster, "_check_versions", lambda *_: None)
    monkeypatch.setattr(secprune, "__version__", "99.1")
    with pytest.raises(LocalEnvironmentError, match=f"a worker .* has secprune {there}, this party has 99.1"):
        run(shared, compute_items.adder, SECRET)


def test_no_workers(tmp_path):
    with (
        own_cluster(tmp_path, workers=0) as cluster,
        pytest.raises(LocalEnvironmentError, match="no workers"),
    ):
        run(cluster, compute_items.adder, SECRET)


# ---- what dies
@pytest.fixture
def gate(tmp_path):
    """Directory of a Gate."""
    directory = tmp_path / "gate"
    directory.mkdir()
    return directory


def test_a_worker_that_is_killed_in_the_middle_loses_nothing(own, gate):
    results = connect(own).map(Work(Gate, (gate, 10)), range(30), count=30)
    got = [next(results) for _ in range(5)]
    reader = threading.Thread(target=lambda: got.extend(results))
    reader.start()
    item, process = Gate.await_one(gate)
    (killed,) = [name for name, popen in own.processes.items() if popen.pid == process]
    own.kill(killed)
    Gate.open(gate)
    reader.join()
    assert got == [item * item for item in range(30)]
    assert len(list(gate.glob(f"{item}.*"))) == 2  # another worker did it again


def when_blocked(gate, act):
    """Do something in another thread as soon as an item is being worked on that does not end by itself."""

    def wait():
        Gate.await_one(gate)
        try:
            act()
        except BaseException:
            Gate.open(gate)  # so that the test ends, and says so
            raise

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_a_scheduler_that_is_killed_in_the_middle_ends_the_run_and_keeps_what_came(own, gate):
    got, thread = [], when_blocked(gate, lambda: own.kill("scheduler"))
    with pytest.raises(LocalEnvironmentError, match="the connection was lost") as caught:
        got.extend(connect(own).map(Work(Gate, (gate, 10)), range(30), count=30))
    thread.join()
    assert "what is done is kept" in caught.value.hint
    assert 0 < len(got) <= 10
    assert got == [item * item for item in range(len(got))]


def test_a_scheduler_that_is_killed_while_it_is_asked_for_its_workers_was_lost(own, monkeypatch):
    monkeypatch.setattr(compute, "_CONNECT_S", 3)
    cluster = connect(own)
    with cluster._connected() as client:
        ask, asked = client.sync, []

        def killed_first(*arguments, **options):
            asked.append(own.kill("scheduler"))
            return ask(*arguments, **options)

        monkeypatch.setattr(client, "sync", killed_first)
        with pytest.raises(LocalEnvironmentError, match="the connection was lost"):
            cluster._threads(client)
    assert len(asked) == 1


def test_a_scheduler_that_does_not_answer_is_not_waited_for_for_ever(own, gate, monkeypatch):
    for name in ("_LOOK_S", "_CLOSE_S"):
        monkeypatch.setattr(compute, name, 0.2)
    scheduler = own.processes["scheduler"].pid

    def stop():
        monkeypatch.setattr(compute, "_CONNECT_S", 0.5)
        os.kill(scheduler, signal.SIGSTOP)

    thread = when_blocked(gate, stop)
    with pytest.raises(LocalEnvironmentError, match="it does not answer"):
        list(connect(own).map(Work(Gate, (gate, 5)), range(30), count=30))
    thread.join()


def test_when_all_workers_are_gone_the_run_ends_but_not_at_once(own, gate, monkeypatch):
    monkeypatch.setattr(compute, "_LOOK_S", 0.05)
    monkeypatch.setattr(compute, "_LOOKS_WITHOUT_WORKERS", 1000)

    def replace():
        for index in range(2):
            own.kill(f"worker-{index}")
        Gate.open(gate)
        own.start_worker("worker-2")

    thread = when_blocked(gate, replace)
    got = list(connect(own).map(Work(Gate, (gate, 5)), range(30), count=30))
    thread.join()
    assert got == [item * item for item in range(30)]

    monkeypatch.setattr(compute, "_LOOKS_WITHOUT_WORKERS", 2)
    with pytest.raises(LocalEnvironmentError, match="has no workers"):
        run(own, compute_items.mortal)


def test_work_that_kills_its_workers_is_named(tmp_path):
    settings = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}
    with own_cluster(tmp_path / "own", settings=settings) as cluster:
        with pytest.raises(LocalEnvironmentError, match="killed again and again by the same work") as caught:
            run(cluster, compute_items.mortal)
        assert "memory" in caught.value.hint


@pytest.mark.parametrize("where", ["scheduler", "worker"])
@pytest.mark.parametrize("version", [None, "0.0.1"])
def test_a_machine_with_no_secprune_or_another_one_is_named(tmp_path, where, version):
    preload = tmp_path / "preload.py"
    hidden = (
        f"import secprune; secprune.__version__ = {version!r}"
        if version
        else "sys.modules['secprune'] = None"
    )
    preload.write_text(
        "import sys, distributed.versions\n"
        f"distributed.versions.version = {{'secprune': {version!r}}}.get\n"
        f"{hidden}\n"
    )
    with own_cluster(tmp_path / "own", workers=0, options={where: ("--preload", str(preload))}) as cluster:
        cluster.start_worker("worker-0")
        with pytest.raises(LocalEnvironmentError) as caught:
            run(cluster, compute_items.adder, SECRET)
        assert f"the cluster's {where}" in caught.value.message
        there = f"has secprune {version}" if version else "has no secprune"
        assert f"{there}, this party has {secprune.__version__}" in caught.value.message


# ---- what an operator sees
SCRIPT = """
import sys
from pathlib import Path
from secprune.compute.api import Work
from secprune.compute.cluster import Cluster
from secprune.errors import LocalEnvironmentError
from compute_items import Gate
address, ca, certificate, key, gate = sys.argv[1:]
cluster = Cluster(address, ca=Path(ca), certificate=Path(certificate), key=Path(key))
try:
    for result in cluster.map(Work(Gate, (Path(gate), 10)), range(30), count=30):
        pass
except LocalEnvironmentError as error:
    sys.exit(error.message)
"""


def operator(cluster, gate):
    """A process of somebody who uses the cluster."""
    files = [str(cluster.client[name]) for name in ("ca", "certificate", "key")]
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, cluster.address, *files, str(gate)],
        env={**os.environ, "PYTHONPATH": PYTHONPATH}, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_a_lost_scheduler_is_one_sentence_on_standard_error(own, gate):
    process = operator(own, gate)
    Gate.await_one(gate)
    own.kill("scheduler")
    out, err = process.communicate(timeout=LONG_S)
    assert (process.returncode, out) == (1, "")
    assert err == f"the cluster at {own.address} cannot be used: the connection was lost\n"


def test_a_lost_worker_is_not_even_that(own, gate):
    process = operator(own, gate)
    _, pid = Gate.await_one(gate)
    own.kill(next(name for name, popen in own.processes.items() if popen.pid == pid))
    Gate.open(gate)
    assert process.communicate(timeout=LONG_S) == ("", "")
    assert process.returncode == 0


def test_the_programs_own_logging_is_as_before(shared):
    handlers = logging.getLogger("distributed").handlers
    before = [list(handler.filters) for handler in handlers]
    run(shared, compute_items.adder, SECRET)
    assert [handler.filters for handler in handlers] == before


# ---- secrets
def forms(secret):
    plain = (
        secret,
        secret.hex().encode(),
        base64.b64encode(secret)[:-2],
        base64.urlsafe_b64encode(secret)[:-2],
    )
    return (*plain, repr(secret)[2:-1].encode(), str(list(secret))[1:-1].encode())


def test_secrets_are_in_no_log_file_or_command_line(own, gate):
    """Everything the cluster writes at level DEBUG, and its scheduler's memory of what happened."""
    other = bytes(range(150, 182))
    run(own, compute_items.adder, SECRET)
    list(connect(own).map(Work(compute_items.echo, ()), [other] * 8, count=8))
    for what in compute_items.ERRORS:
        with pytest.raises(Exception):  # noqa: B017 - whatever it is
            run(own, compute_items.failing, what, SECRET)

    seen = []

    def look():
        seen.append(compute_items.on_scheduler(own).encode())
        for process in own.processes.values():
            seen.append(Path(f"/proc/{process.pid}/cmdline").read_bytes())
        Gate.open(gate)

    thread = when_blocked(gate, look)
    work = Work(Gate, (gate, 10, SECRET))
    list(connect(own).map(work, range(20), count=20))
    thread.join()

    seen += [
        path.read_bytes()
        for path in own.directory.rglob("*")
        if path.is_file() and path.suffix not in {".pem", ".key"}
    ]
    seen += [
        repr(thing).encode() for thing in (work, connect(own), compute._Secret(SECRET), vars(connect(own)))
    ]
    everything = b"\n".join(seen)
    assert everything.count(b"secprune-") > 100  # the names of items are everywhere
    assert b"processing" in seen[0]
    for form in (*forms(SECRET), *forms(other)):
        assert form not in everything
    # The search would find what was not hidden.
    assert any(form in repr(pickle.loads(pickle.dumps((SECRET,)))).encode() for form in forms(SECRET))
