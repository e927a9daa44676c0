"""A Dask cluster of the party's own organisation, over mutual TLS; needs the extra `dask`.

Whoever can speak to a Dask scheduler runs code on its workers, and scheduler and workers see the keys that
they work with. So a cluster belongs to one party and one organisation, as the machine that this runs on does,
and only holders of a certificate of the cluster's own authority get in (docs/scaling.md).

What the function raises travels back as a value, like a result. So whatever Dask raises here is the cluster's
fault, and nothing of what workers work with gets into Dask's logs: they know items by number.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import logging
import pickle
import ssl
import threading
import traceback
import uuid
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

from distributed import Client, Security
from distributed.scheduler import KilledWorker

import secprune
from secprune.errors import ConfigurationError, LocalEnvironmentError, SecpruneError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from secprune.compute.api import Work

T = TypeVar("T")
R = TypeVar("R")

_WORTH_A_CLUSTER = 4
"""Items below which connecting costs more than it saves."""

_AHEAD = 2
"""Items under way for each thread of a worker, so that none of them waits for the next one."""

_CONNECT_S = 20.0
"""How long a scheduler may take to answer."""

_LOOK_S = 5.0
"""How long to wait for a result before the scheduler is asked whether all is well."""

_LOOKS_WITHOUT_WORKERS = 12
"""So often the scheduler may have no workers at all, one look after the other: they may just be restarting."""

_CLOSE_S = 5.0
"""How long to take leave of it."""

_CANCELLED = (concurrent.futures.CancelledError, asyncio.CancelledError)
"""What Dask says of work whose scheduler went away; the second is no `Exception`."""

_THEN = "then run the same command again; what is done is kept"
_SEE = "see [workers] in the party file, and docs/scaling.md"


class Cluster:
    """Workers of a Dask cluster (see `Workers`).

    Args:
        address: of the scheduler, `tls://host:port`.
        ca: certificate of the cluster's own authority, PEM.
        certificate: this party's, signed by it, PEM.
        key: of this party's certificate, PEM.

    Raises:
        ConfigurationError: the address is not one over TLS, or a file is not there or not what it should be.
    """

    def __init__(self, address: str, *, ca: Path, certificate: Path, key: Path) -> None:
        if not address.startswith("tls://"):
            raise ConfigurationError(
                f"the scheduler at {address} is not reached over TLS",
                hint="give a tls:// address; docs/scaling.md says how to start the cluster",
            )
        _check_files(ca, certificate, key)
        self._address = address
        self._files = {
            "tls_ca_file": str(ca),
            "tls_client_cert": str(certificate),
            "tls_client_key": str(key),
        }

    def map(self, work: Work[T, R], items: Iterable[T], *, count: int) -> Iterator[R]:
        """Results of all items, in order; in this process, if there are few.

        A worker that is lost is replaced by the others: its items are worked on again.

        Raises:
            LocalEnvironmentError: the scheduler cannot be reached or was lost, has no workers, or they run another
                version of secprune or were killed again and again.
        """
        if count < _WORTH_A_CLUSTER:
            yield from map(work.in_this_process(), items)
            return
        packed = _Secret(pickle.dumps((work.make, work.arguments)))
        run, waiting = uuid.uuid4().hex, deque[Any]()
        with _quiet(), self._connected() as client:
            if not self._threads(client):
                raise self._without_workers()
            self._check_versions(client)
            for number, item in enumerate(items):
                waiting.append(self._submit(client, f"secprune-{run}-{number}", packed, item))
                while waiting and len(waiting) >= _AHEAD * self._threads(client):
                    yield self._result(client, waiting.popleft())
            while waiting:
                yield self._result(client, waiting.popleft())

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Client]:
        with self._dask_errors(connecting=True):
            security = Security(require_encryption=True, **self._files)
            client = _Client(self._address, security=security, timeout=_CONNECT_S, set_as_default=False)
        try:
            yield client
        finally:
            client.close_quickly()

    def _submit(self, client: Client, key: str, packed: _Secret, item: object) -> Any:
        """Hand an item to the cluster; `key` is all that its logs show of it."""
        secret = _Secret(pickle.dumps(item))
        with self._dask_errors():
            return client.submit(_apply, secprune.__version__, packed, secret, key=key, pure=False)

    def _result(self, client: Client, future: Any) -> Any:
        """What the function returned for an item, or raises what it raised."""
        without_workers, answer = 0, None
        while answer is None:
            with self._dask_errors(), contextlib.suppress(TimeoutError):
                answer = future.result(timeout=_LOOK_S)
            if answer is None:
                without_workers = 0 if self._threads(client) else without_workers + 1
                if without_workers == _LOOKS_WITHOUT_WORKERS:
                    raise self._without_workers()
        error, result = pickle.loads(answer.data)  # noqa: S301 - of this party's own worker
        if error is not None:
            raise error
        return result

    def _threads(self, client: Client) -> int:
        """Threads of all workers that the scheduler has at this moment."""
        # Dask would wait for another scheduler at this address, which knows nothing of this work.
        if client.status != "running":
            raise self._unusable("the connection was lost")
        with self._dask_errors():
            try:
                threads = client.sync(client.scheduler.ncores, workers=None, callback_timeout=_CONNECT_S)
            except TimeoutError:
                if client.status != "running":  # lost while it was asked
                    raise self._unusable("the connection was lost") from None
                raise
        return sum(threads.values())

    def _check_versions(self, client: Client) -> None:
        """Ask who is there now for its secprune; without one, a worker falls over the first message it gets."""
        with self._dask_errors():
            ask = functools.partial(client.sync, callback_timeout=_CONNECT_S)
            found = {"scheduler": ask(client.scheduler.versions, packages=["secprune"])}
            msg = {"op": "versions", "packages": ["secprune"]}
            workers = ask(client.scheduler.broadcast, msg=msg, on_error="ignore")
        found |= {f"worker {address}": versions for address, versions in workers.items() if versions}
        for name, versions in found.items():
            there = versions["packages"].get("secprune")
            if there != secprune.__version__:
                raise _other_version(f"the cluster's {name}", there, secprune.__version__)

    @contextlib.contextmanager
    def _dask_errors(self, *, connecting: bool = False) -> Iterator[None]:
        """Around calls of Dask, and of nothing else."""
        try:
            yield
        except LocalEnvironmentError:
            raise
        except KilledWorker as error:
            raise LocalEnvironmentError(
                f"workers of the cluster at {self._address} were killed again and again by the same work",
                hint=f"check their memory, and their logs, {_THEN}",
            ) from error
        except (Exception, *_CANCELLED) as error:
            raise self._unusable(_reason(error, connecting=connecting)) from error

    def _unusable(self, reason: str) -> LocalEnvironmentError:
        return LocalEnvironmentError(
            f"the cluster at {self._address} cannot be used: {reason}",
            hint="check that its scheduler runs, the address and certificates under [workers], and that all machines "
            f"of the cluster have the same secprune and dask as this one, {_THEN}",
        )

    def _without_workers(self) -> LocalEnvironmentError:
        return LocalEnvironmentError(
            f"the scheduler at {self._address} has no workers", hint=f"start some, {_THEN}"
        )


class _Client(Client):  # type: ignore[misc] # dask has no types
    """One that does not linger when it cannot connect, or its scheduler does not answer any more."""

    def start(self, **kwargs: Any) -> None:
        try:
            super().start(**kwargs)
        except BaseException:
            self.close_quickly()
            raise

    def close_quickly(self) -> None:
        """Close, whatever the scheduler says."""
        with contextlib.suppress(Exception):
            self.close(timeout=_CLOSE_S)


def _check_files(ca: Path, certificate: Path, key: Path) -> None:
    """Try the files as TLS will: what is wrong with them is not the scheduler's fault."""
    for path in (ca, certificate, key):
        if not path.is_file():
            raise ConfigurationError(f"there is no file {path}", hint=_SEE)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(ca)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigurationError(f"{ca} is not a certificate in PEM", hint=_SEE) from error
    try:
        context.load_cert_chain(certificate, key, password="")  # never ask for one
    except OSError as error:
        raise ConfigurationError(
            f"{certificate} and {key} are not a certificate and its key in PEM, without a password", hint=_SEE
        ) from error


def _other_version(who: str, there: str | None, here: str) -> LocalEnvironmentError:
    return LocalEnvironmentError(
        f"{who} has {f'secprune {there}' if there else 'no secprune'}, this party has {here}",
        hint="install the same version on all machines of the cluster",
    )


def _reason(error: BaseException, *, connecting: bool) -> str:
    """What is behind an error of Dask, for people."""
    chain = [error]
    while chain[-1].__cause__ is not None:
        chain.append(chain[-1].__cause__)
    root = chain[-1]
    if any(isinstance(one, TimeoutError) for one in chain):
        return "it does not answer"
    if not connecting and any(isinstance(one, (OSError, *_CANCELLED)) for one in chain):
        return "the connection was lost"
    if isinstance(root, ssl.SSLError):
        return f"its certificates and this party's do not go together ({root.reason or root})"
    return f"{type(root).__name__}: {root}"[:300]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Dask reports what goes wrong with tracebacks on standard error; here it goes wrong with one sentence."""
    names = ("distributed", "distributed.client")
    handlers = {handler for name in names for handler in logging.getLogger(name).handlers}

    def is_critical(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.CRITICAL

    for handler in handlers:
        handler.addFilter(is_critical)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(is_critical)


class _Secret:
    """Bytes that no log or error shows."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __repr__(self) -> str:
        return "<secret>"

    def __reduce__(self) -> tuple[type[_Secret], tuple[bytes]]:
        return _Secret, (self.data,)


_latest = threading.local()
"""What each thread of this worker made last: functions need not bear several threads at once."""


def _apply(version: str, packed: _Secret, item: _Secret) -> _Secret:
    """Run by a worker: (None, result), or (what was raised, None), pickled."""
    try:
        return _Secret(pickle.dumps((None, _function(version, packed.data)(pickle.loads(item.data)))))  # noqa: S301
    except SecpruneError as error:
        raised: Exception = error
    except ModuleNotFoundError as error:
        raised = LocalEnvironmentError(
            f"a worker of the cluster has no package {error.name}",
            hint="install the same packages on all machines of the cluster",
        )
    except Exception as error:  # noqa: BLE001 - a bug; raised again where it is seen
        raised = error
        raised.add_note(f"in a worker of the cluster: {traceback.format_exc()}")
    try:
        answer = pickle.dumps((raised, None))
        pickle.loads(answer)  # noqa: S301 - our own; some errors cannot be made again
    except Exception:  # noqa: BLE001
        answer = pickle.dumps((RuntimeError("".join(traceback.format_exception(raised))), None))
    return _Secret(answer)


def _function(version: str, packed: bytes) -> Callable[[Any], Any]:
    """The function of the latest work; a worker gets one item of it after the other."""
    if version != secprune.__version__:
        raise _other_version("a worker of the cluster", secprune.__version__, version)
    if getattr(_latest, "packed", None) != packed:
        make, arguments = pickle.loads(packed)  # noqa: S301 - whoever gets here may run code anyway, see above
        _latest.function, _latest.packed = make(*arguments), packed
    function: Callable[[Any], Any] = _latest.function
    return function
