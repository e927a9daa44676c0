"""Whole studies with their ledgers, and ways to falsify a ledger with and without its party's key."""

from __future__ import annotations

import contextlib
from functools import partial

import msgspec
from small_study import _at_once

from secprune.audit.chain import export
from secprune.audit.ledgers import verify_ledgers
from secprune.crypto.envelope import sign
from secprune.ids import sha256
from secprune.messages.codec import decode
from secprune.messages.ledger import ROOT, LedgerEntry, LedgerExport, entry_bytes
from secprune.parties import schedule
from secprune.parties.auditing import _posted, export_ledger
from secprune.parties.session import Patience, open_session
from secprune.storage.journal import Journal


def run_additive(study):
    """All parties as the command line runs them: every one ends its rounds with the head of its ledger."""

    def server(name, role, run):
        with open_session(study.root / name, role) as session:
            return run(session, Patience(60, poll_s=0.01))

    jobs = {name: partial(study.take_part, name) for name in study.clients}
    jobs |= {name: partial(server, name, "aggregator", schedule.serve) for name in study.aggregators}
    jobs["hq"] = partial(server, "hq", "coordinator", schedule.drive)
    return _at_once(jobs)


def exported(study):
    """The ledgers of all parties, by name."""
    found = {}
    for party in study.task.parties:
        path = study.root / f"{party.name}.ledger"
        export_ledger(study.root / party.name, path)
        found[party.name] = path.read_bytes()
    return found


def posted(study):
    return list(_posted(study.task, str(study.exchange)))


def entries_of(data):
    return [decode(line, LedgerEntry, party="") for line in data.splitlines()[:-1]]


def chained(entries):
    """These entries as one chain."""
    lines, previous = [], ROOT
    for seq, entry in enumerate(entries):
        lines.append(entry_bytes(msgspec.structs.replace(entry, seq=seq, previous=previous)))
        previous = sha256(lines[-1])
    return lines


def signed(study, party, lines):
    end = LedgerExport(entries=len(lines), head=sha256(lines[-1]) if lines else ROOT)
    return export(lines, sign(end, signer=party, identity=study.identities[party]))


def falsified(study, party, data, change):
    """What the party itself could write instead: `change` alters the list of its entries."""
    entries = entries_of(data)
    change(entries)
    return signed(study, party, chained(entries))


def audit(study, ledgers, messages=()):
    return verify_ledgers(study.task, list(ledgers.items()), messages)


@contextlib.contextmanager
def journal_of(study, party, path=None):
    path = path or study.root / party / "journal.sqlite"
    with contextlib.closing(Journal(path, task_id=study.task.task_id, round_index=0, party=party)) as journal:
        yield journal


def blamed(study, ledgers, messages=()):
    found = audit(study, ledgers, messages).finding
    return found and (found.check, found.party, found.seq)


def find(data, kind, **wanted):
    """Place of the first entry of a kind."""
    for place, entry in enumerate(entries_of(data)):
        if entry.kind == kind and all(getattr(entry, name) == value for name, value in wanted.items()):
            return place
    raise AssertionError(kind, wanted)


def exported_one(study, name):
    export_ledger(study.root / name, study.root / f"{name}.ledger")
    assert (study.root / f"{name}.ledger").stat().st_mode & 0o777 == 0o644
    return (study.root / f"{name}.ledger").read_bytes()
