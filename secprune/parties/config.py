"""A party's own file (`party.toml`): where its things are, and what this site allows.

Unknown keys are refused. Secrets are never in it; the keys lie beside it in `identity.key`, mode 0600.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from secprune.errors import ConfigurationError
from secprune.files import read_bytes
from secprune.ids import Digest, Role
from secprune.privacy.guarantee import guarantee
from secprune.task import MIN_COHORT, ProtocolName, Ratio, Task, load_toml
from secprune.task.privacy import Decimal

if TYPE_CHECKING:
    from pathlib import Path

PARTY_FILE = "party.toml"
IDENTITY_FILE = "identity.key"
JOURNAL_FILE = "journal.sqlite"

PayloadKind = Literal["counts", "square-sums", "square-sums-without-noise"]
"""What a task sums, as a site's policy names it: sums of statistics without noise are a kind of their own."""


class Policy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What this site agrees to, whatever a task says.

    `min_clients`: smallest cohort this site's votes may be counted in (or this aggregator releases).
    `protocols`: protocols this site takes part in. `coordinator`: fingerprint of the only coordinator
    whose tasks are accepted, compared over another channel; without it any coordinator's are.
    `aggregators`: fingerprints of the only aggregators that reports are shared among; without them any are,
    and a coordinator could enrol itself twice. `key_holders`: likewise, of the only key holders.
    `repeat_releases`: whether this site takes part in a second sum over a model with any of the same clients;
    one that would isolate fewer than `min_clients` of them is refused even then.

    `payloads`: what may be summed; square-sums disclose something else than votes do, and without noise they are for
    tests and rehearsals. `require_privacy`: refuse tasks without differential privacy of statistics.
    `max_collapsed_epsilon`: largest epsilon that may be left if all servers and all other clients work together; None
    for any. `max_epsilon`, `max_delta`: this client's privacy budget, of each patient (or document) over all tasks
    together (`parties.budget`).

    `max_blocks`: most decoder blocks that this client prunes in a task; None for any number. With layer sampling a task
    assigns it some, without all of them.
    """

    min_clients: Annotated[int, Meta(ge=1, lt=2**16)] = MIN_COHORT
    protocols: tuple[ProtocolName, ...] = ("additive",)
    coordinator: Digest | None = None
    aggregators: tuple[Digest, ...] = ()
    key_holders: tuple[Digest, ...] = ()
    repeat_releases: bool = False
    payloads: tuple[PayloadKind, ...] = ("counts",)
    require_privacy: bool = False
    max_collapsed_epsilon: Decimal | None = None
    max_epsilon: Decimal = "10"
    max_delta: Decimal = "0.00001"
    max_blocks: Annotated[int, Meta(ge=1, lt=2**31)] | None = None


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
    """Where a party finds its things; relative paths start at the party file's directory.

    `sparsity` is a client's own, in tasks of FedSpaLLM; the task's if not given.
    """

    task: str = "task.toml"
    exchange: str = "exchange"
    model: str | None = None
    notes: str | None = None
    sparsity: Ratio | None = None
    policy: Policy = Policy()
    workers: WorkerSpec = WorkerSpec()


_TEMPLATE = {
    "client": """model = "../model"            # directory of the model that the task names
notes = "notes.txt"           # .txt (documents separated by a blank line), .jsonl (field text), or a directory
# sparsity = "0.4"            # in tasks of FedSpaLLM, a share of weights to prune of this site's own
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
# payloads = ["counts"]       # or "square-sums": a noised sum of feature statistics (docs/deploying.md, section 5)
# require_privacy = false     # refuse tasks without differential privacy
# max_collapsed_epsilon = "8" # largest epsilon if all servers and all other clients work together
# max_epsilon = "10"          # privacy budget of each patient over all tasks (clients),
# max_delta = "0.00001"       # and the delta it is counted at
# max_blocks = 12             # most decoder blocks that this site prunes in a task
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


def check_policy(policy: Policy, task: Task, name: str) -> None:
    """Refuse a task that this site, which has that name in it, does not agree to.

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
    _check_privacy(policy, task, hint)
    _check_blocks(policy, task, name, hint)


def payload_kind(task: Task) -> PayloadKind:
    """What a task sums, as policies name it."""
    bare = task.privacy.payload == "square-sums" and task.privacy.mechanism == "none"
    return "square-sums-without-noise" if bare else task.privacy.payload


def _check_privacy(policy: Policy, task: Task, hint: str) -> None:
    kind = payload_kind(task)
    if kind not in policy.payloads:
        raise ConfigurationError(
            f"this site's policy does not allow the payload {kind}: it discloses something else than votes",
            hint=hint,
        )
    if policy.require_privacy and task.privacy.mechanism != "dp-statistics":
        raise ConfigurationError(
            "this site's policy asks for differential privacy of statistics, and the task's mechanism is "
            f"{task.privacy.mechanism}",
            hint=hint,
        )
    limit, given = policy.max_collapsed_epsilon, guarantee(task)
    left = given.epsilon_collapsed if given else None
    if limit is not None and left is not None and Fraction(left) > Fraction(limit):
        raise ConfigurationError(
            f"if all servers and all other clients worked together, epsilon {left:.4g} would be left, and this site's "
            f"policy allows {limit}",
            hint=hint,
        )


def _check_blocks(policy: Policy, task: Task, name: str, hint: str) -> None:
    if policy.max_blocks is None or name not in task.names("client"):
        return
    sampled = task.sampled_blocks
    assigned = len(task.blocks if sampled is None else sampled[name])
    if assigned > policy.max_blocks:
        raise ConfigurationError(
            f"the task has {name} prune {assigned} of {len(task.blocks)} decoder blocks, this site's policy allows "
            f"{policy.max_blocks}",
            hint=hint,
        )


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
