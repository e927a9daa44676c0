"""A Dask cluster on this machine, of real processes over mutual TLS, started as docs/scaling.md says."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

TESTS = Path(__file__).parent
PYTHONPATH = os.pathsep.join(filter(None, (str(TESTS), os.environ.get("PYTHONPATH"))))
"""Of processes that make the functions of tests as well."""

_ADDRESS = re.compile(r"Scheduler at: +(tls://[0-9.:]+)\n")
LONG_S = 120
"""How long anything may take before a test gives up: a last resort, never reached."""


class Authority:
    """A certificate authority of one's own: `ca.pem`, and `<name>.pem` with `<name>.key` for each name."""

    def __init__(self, directory: Path, *names: str) -> None:
        directory.mkdir(parents=True)
        self.directory, self.ca = directory, directory / "ca.pem"
        self._name, self._key = _name("own cluster"), ec.generate_private_key(ec.SECP256R1())
        own = self._certificate(self._name, self._key.public_key()).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        self._write(self.ca, own)
        for name in names:
            self.issue(name)

    def issue(self, name: str) -> tuple[Path, Path]:
        """Make a key and a certificate for it; their files."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate, key_file = self.files(name)
        addresses = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        self._write(
            certificate,
            self._certificate(_name(name), key.public_key()).add_extension(addresses, critical=False),
        )
        with os.fdopen(os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(
                key.private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.NoEncryption(),
                )
            )
        return certificate, key_file

    def files(self, name: str) -> tuple[Path, Path]:
        """Certificate and key of a name."""
        return self.directory / f"{name}.pem", self.directory / f"{name}.key"

    def _certificate(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
        )

    def _write(self, path: Path, certificate: x509.CertificateBuilder) -> None:
        signed = certificate.sign(self._key, hashes.SHA256())
        path.write_bytes(signed.public_bytes(serialization.Encoding.PEM))


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


@dataclass
class OwnCluster:
    """A scheduler and its workers; `log` holds what each of them wrote."""

    directory: Path
    authority: Authority
    settings: dict[str, str] = field(default_factory=dict)
    options: dict[str, tuple[str, ...]] = field(default_factory=dict)
    address: str = ""
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def client(self) -> dict[str, Path]:
        """What a client of this cluster is given besides its address."""
        certificate, key = self.authority.files("client")
        return {"ca": self.authority.ca, "certificate": certificate, "key": key}

    def start_scheduler(self, *options: str) -> None:
        """Start one; it chooses its own port."""
        self._start(
            "scheduler", "--host", "127.0.0.1", "--port", "0", "--protocol", "tls", *options
        )  # fmt: skip
        self._await("scheduler", lambda: _ADDRESS.search(self.log("scheduler")))
        self.address = _ADDRESS.search(self.log("scheduler"))[1]

    def start_worker(self, name: str, *options: str) -> None:
        """Start one and wait until the scheduler has it."""
        self._start(
            "worker", self.address, "--name", name, "--host", "127.0.0.1", "--nthreads", "1", "--no-nanny", "--memory-limit", "0",
            "--local-directory", str(self.directory / name), *options, name=name,
        )  # fmt: skip
        self._await(name, lambda: "Registered to" in self.log(name))

    def kill(self, name: str) -> None:
        """SIGKILL."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def log(self, name: str) -> str:
        """What a process has written so far."""
        return (self.directory / f"{name}.log").read_text(errors="replace")

    def stop(self) -> None:
        """Kill everything."""
        for name in list(self.processes):
            self.kill(name)

    def _start(self, kind: str, *options: str, name: str = "") -> None:
        certificate, key = self.authority.files(kind)
        command = [
            sys.executable, "-m", f"distributed.cli.dask_{kind}", *options, *self.options.get(kind, ()),
            "--tls-ca-file", str(self.authority.ca), "--tls-cert", str(certificate), "--tls-key", str(key),
            "--no-dashboard", "--dashboard-address", "127.0.0.1:0",
        ]  # fmt: skip
        environment = {
            **os.environ,
            "PYTHONPATH": PYTHONPATH,
            "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "true",
            "DASK_DISTRIBUTED__SCHEDULER__HTTP__ROUTES": "[]",
            "DASK_DISTRIBUTED__WORKER__HTTP__ROUTES": "[]",
            "DASK_LOGGING__DISTRIBUTED": "debug",
            "OMP_NUM_THREADS": "1",
            **self.settings,
        }
        with (self.directory / f"{name or kind}.log").open("wb") as log:
            self.processes[name or kind] = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )

    def _await(self, name: str, ready) -> None:
        deadline = time.monotonic() + LONG_S
        while not ready():
            assert self.processes[name].poll() is None, self.log(name)
            assert time.monotonic() < deadline, self.log(name)
            time.sleep(0.02)


@contextmanager
def own_cluster(
    directory: Path,
    *,
    workers: int = 2,
    settings: dict[str, str] | None = None,
    options: dict[str, tuple[str, ...]] | None = None,
) -> Iterator[OwnCluster]:
    """A scheduler and workers `worker-0`, `worker-1`, ...; all are killed in the end."""
    authority = Authority(directory / "certificates", "scheduler", "worker", "client")
    cluster = OwnCluster(directory, authority, settings or {}, options or {})
    try:
        cluster.start_scheduler()
        for index in range(workers):
            cluster.start_worker(f"worker-{index}")
        yield cluster
    finally:
        cluster.stop()
