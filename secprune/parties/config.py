"""A party's own file (`party.toml`): where its things are, and what this site allows.

Unknown keys are refused. Secrets are never in it; the keys lie beside it in `identity.key`, mode 0600.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta, Struct

from secprune.errors import ConfigurationError
from secprune.files import read_bytes
from secprune.ids import Digest, Role
from secprune.task import MIN_COHORT, ProtocolName, Task, load_toml

if TYPE_CHECKING:
    from pathlib import Path

PARTY_FILE = "party.toml"
IDENTITY_FILE = "identity.key"
JOURNAL_FILE = "journal.sqlite"


class Policy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What this site agrees to, whatever a task says.

    `min_clients`: smallest cohort this site's votes may be counted in (or this aggregator releases).
    `protocols`: protocols this site takes part in. `coordinator`: fingerprint of the only coordinator
    whose tasks are accepted, compared over another channel; without it any coordinator's are.
    `aggregators`: fingerprints of the only aggregators that reports are shared among; without them any are,
    and a coordinator could enrol itself twice. `key_holders`: likewise, of the only key holders.
    `repeat_releases`: whether this site takes part in a second sum over a model with any of the same clients;
    one that would isolate fewer than `min_clients` of them is refused even then.
    """

    min_clients: Annotated[int, Meta(ge=1, lt=2**16)] = MIN_COHORT
    protocols: tuple[ProtocolName, ...] = ("additive",)
    coordinator: Digest | None = None
    aggregators: tuple[Digest, ...] = ()
    key_holders: tuple[Digest, ...] = ()
    repeat_releases: bool = False


class WorkerSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who does this party's heavy work.

    `processes`: of this machine; one for each core, up to eight, if not given. `scheduler`: of an aggregator's own
    Dask cluster, `tls://host:port`, instead of them; `ca`, `certificate` and `key` are PEM files for it.
    """

    processes: Annotated[int, Meta(ge=1, le=1024)] | None = None
    scheduler: Annotated[str, Meta(pattern=r"^tls://[A-Za-z0-9._:\[\]-]{1,255}\Z")] | None = None
    ca: str | None = None
    certificate: str | None = None
    key: str | None = None


class PartyFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a party finds its things; relative paths start at the party file's directory."""

    task: str = "task.toml"
    exchange: str = "exchange"
    model: str | None = None
    notes: str | None = None
    policy: Policy = Policy()
    workers: WorkerSpec = WorkerSpec()


_TEMPLATE = {
    "client": """model = "../model"            # directory of the model that the task names
notes = "notes.txt"           # .txt (documents separated by a blank line), .jsonl (field text), or a directory
""",
    "aggregator": "",
    "key-holder": "",
    "coordinator": 'model = "../model"            # directory of the model to prune\n',
}


def party_file_template(role: Role, name: str) -> str:
    """The party file that `secprune keys new` writes, to be edited."""
    return f"""# Party file of {role} {name}. Relative paths start at this file's directory.
task = "../task.toml"         # what all parties agree on; its signature lies beside it
exchange = "../exchange"      # directory that all parties reach
{_TEMPLATE[role]}
[policy]                      # what this site agrees to, whatever a task says
min_clients = {MIN_COHORT}               # smallest cohort
protocols = ["additive"]      # or "pairwise" (docs/pairwise.md), "bfv" (docs/bfv.md): one aggregator
# coordinator = "sha256:..."  # fingerprint of the only coordinator to follow; compare it by telephone
# aggregators = ["sha256:...", "sha256:..."]  # likewise, of the only aggregators to share reports among
# key_holders = ["sha256:..."]                # likewise, of the only key holders (bfv)
# repeat_releases = false     # take part in a second sum over a model with any of the same clients
"""


def read_party_file(directory: Path) -> PartyFile:
    """Read and check a party file.

    Raises:
        ConfigurationError: not TOML, an unknown key, or a value out of range.
    """
    path = directory / PARTY_FILE
    try:
        text = read_bytes(path, what="the party file").decode()
        return msgspec.convert(load_toml(text), PartyFile)
    except (ValueError, RecursionError) as error:  # all others derive from ValueError
        raise ConfigurationError(
            f"{path} is not valid: {str(error)[:1000]}", hint="see docs/deploying.md"
        ) from error


def check_policy(policy: Policy, task: Task) -> None:
    """Refuse a task that this site does not agree to.

    Raises:
        ConfigurationError: says which rule of the site the task breaks.
    """
    hint = f"ask the coordinator for another task, or change [policy] in {PARTY_FILE} if your site agrees"
    if task.protocol.name not in policy.protocols:
        raise ConfigurationError(
            f"this site's policy does not allow the protocol {task.protocol.name}", hint=hint
        )
    if task.protocol.min_clients < policy.min_clients:
        raise ConfigurationError(
            f"the task releases sums of {task.protocol.min_clients} clients, this site's policy asks for "
            f"{policy.min_clients}",
            hint=hint,
        )
    if policy.coordinator not in (None, task.coordinator.fingerprint):
        raise ConfigurationError(
            f"the task's coordinator has fingerprint {task.coordinator.fingerprint}, this site follows only "
            f"{policy.coordinator}",
            hint="do not go on before you have spoken to the coordinator over another channel",
        )
    _check_listed(task, "aggregator", policy.aggregators)
    _check_listed(task, "key-holder", policy.key_holders)


def check_workers(workers: WorkerSpec, role: Role) -> None:
    """Refuse a cluster for whom there is none, or one that is not described in full.

    Raises:
        ConfigurationError: says what is wrong.
    """
    if workers.scheduler is None:
        return
    if role != "aggregator":
        raise ConfigurationError(
            f"a {role}'s work is not sent to a cluster",
            hint="give [workers] processes instead of a scheduler",
        )
    missing = [what for what in ("ca", "certificate", "key") if getattr(workers, what) is None]
    if missing:
        raise ConfigurationError(
            f"[workers] names a scheduler, but no {' and no '.join(missing)}",
            hint="a cluster is reached over mutual TLS only; see docs/scaling.md",
        )


def _check_listed(task: Task, role: Role, listed: tuple[str, ...]) -> None:
    for name in task.names(role):
        fingerprint = task.party(name).fingerprint
        if listed and fingerprint not in listed:
            raise ConfigurationError(
                f"the task's {role} {name} has fingerprint {fingerprint}, which this site's policy does not list",
                hint="do not go on before you have spoken to that organisation over another channel",
            )
