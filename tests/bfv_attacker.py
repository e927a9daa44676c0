"""A round of `bfv` by hand: turns for its real parties, and what liars among them can say with their real keys.

Parties take turns over the real exchange and have real journals, so that a state on disk is one that can be
looked at. Whatever a liar signs is signed with the keys that the roster lists for it.
"""

from __future__ import annotations

import functools
import shutil
from dataclasses import dataclass, field

import msgspec
import numpy as np
from small_study import SmallStudy, make_study

from secprune.audit.sums import malleability
from secprune.crypto.bfv import ring, wire
from secprune.crypto.bfv.decoding import decode
from secprune.crypto.bfv.hashing import LinearHash as Hash
from secprune.crypto.entropy import random_bytes
from secprune.crypto.envelope import open_envelope, sign
from secprune.crypto.seal import ChunkCipher, open_secret, seal_secret
from secprune.errors import NotReadyError, RemoteMisbehaviourError, SecpruneError, TooFewPartiesError
from secprune.exchange.api import Topic
from secprune.exchange.directory import DirectoryExchange
from secprune.messages.bfv import (
    CiphertextSum,
    EncryptedReport,
    HashSeed,
    KeyCommitment,
    KeyShare,
    LinearHash,
    Opening,
    PartialDecryption,
)
from secprune.messages.types import AggregateShare, CountedReport, SealedKey
from secprune.packing import pack, unpack
from secprune.parties.bfv import shared
from secprune.parties.bfv.aggregator import BfvAggregator
from secprune.parties.bfv.client import BfvClient
from secprune.parties.bfv.key_holder import KeyHolder
from secprune.parties.coordinator import Coordinator
from secprune.parties.session import PHASE_OF, Patience, open_session
from secprune.protocols.additive.aggregate import AggregateReader
from secprune.protocols.api import Round
from secprune.protocols.bfv import aggregator as aggregator_machine
from secprune.protocols.bfv import key_holder as key_holder_machine
from secprune.protocols.bfv.terms import Terms, message_digest

ADDER, HQ, VICTIM, LIAR = "adder-0", "hq", "clinic-0", "clinic-4"
FORMS = [("simple", 1), ("blind", 1), ("blind", 2)]
NONE = "sha256:" + "9" * 64
PARTIES = {
    "aggregator": BfvAggregator,
    "client": BfvClient,
    "coordinator": Coordinator,
    "key-holder": KeyHolder,
}


# ---- turns
def new_study(root, form, **options):
    kind, holders = form
    options = {"clients": 5, "min_clients": 3, **options}
    return make_study(root, aggregators=1, protocol="bfv", key_holders=holders, key_holder=kind, **options)


def copied(study, root):
    """The same study as it stands on disk, to go on with apart from the original."""
    shutil.copytree(study.root, root)
    return SmallStudy(root, study.task, study.identities, study.masks)


def turn(study, name, *, close=""):
    """Let a party work until it waits; what it returned or raised. An aggregator may close a step before that."""
    role = study.task.party(name).role
    try:
        with open_session(study.root / name, role) as session:
            party = PARTIES[role](session)
            if close:
                party._step(aggregator_machine.Closed(close))
            return party.run(Patience(0, poll_s=0))
    except SecpruneError as error:
        return error


def holders(study):
    return study.task.names("key-holder")


def sent(study):
    """How many messages there are in the exchange."""
    return sum(path.is_file() for path in (study.exchange / "messages").rglob("*"))


def settle(study, *names, close=False):
    """Turns for these parties (or all) until nothing is sent any more; what each returned or raised at last.

    Args:
        study: whose parties.
        names: whose turns; those who are not named say nothing more.
        close: whether the aggregator closes the step it waits in, whenever nothing else is left to do.
    """
    names = names or (*holders(study), *study.clients, ADDER, HQ)
    outcomes, before = {}, -1
    while before != sent(study):
        before = sent(study)
        for name in names:
            if not isinstance(outcomes.get(name), RemoteMisbehaviourError | TooFewPartiesError):
                outcomes[name] = turn(study, name)
        if close and before == sent(study) and isinstance(outcomes[ADDER], NotReadyError):
            step = step_of(study)
            turn(study, ADDER, close=step or "")
            before = -1 if step_of(study) != step else before
    return outcomes


def stored(study, name, kind):
    """The state in a party's journal."""
    with open_session(study.root / name, study.task.party(name).role, exclusive=False) as session:
        data = session.journal.state()
    return None if data is None else msgspec.json.decode(data, type=kind)


def step_of(study):
    state = stored(study, ADDER, aggregator_machine.State)
    return "reports" if state is None else aggregator_machine.present_step(state)


def key_seeds(study):
    """The key seeds of all key holders, from their journals."""
    states = {name: stored(study, name, key_holder_machine.State) for name in holders(study)}
    return {name: state.seed for name, state in states.items()}


# ---- what is in the exchange, and what liars add to it
def received(study, kind):
    """[(sender, digest, message)] of a kind, by whoever signed it."""
    keys = {party.name: party.signing_key for party in study.task.parties}
    folder = study.messages(PHASE_OF[kind])
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        sender, message = open_envelope(path.read_bytes(), kind, signing_keys=keys)
        found.append((sender, f"sha256:{path.name}", message))
    return found


def senders(study, kind):
    return {sender for sender, _, _ in received(study, kind)}


def post(study, sender, message, *, task_id=None, index=0):
    """Sign a message as this party and post it; returns the digest of its envelope."""
    envelope = sign(message, signer=sender, identity=study.identities[sender])
    topic = Topic(task_id or study.task.task_id, index, PHASE_OF[type(message)])
    return DirectoryExchange(study.exchange).post(topic, envelope)


def counted(digests):
    """Members or hashes as messages list them."""
    return tuple(sorted(CountedReport(client=name, report=digest) for name, digest in digests.items()))


def words_of(study, masks):
    """A client's words, one array for each chunk."""
    found = []
    for chunk in Round.of(study.task).layout.chunks:
        rows = [masks[m.name][low:high] for m, low, high in chunk.slab.pieces(chunk.first_row, chunk.end_row)]
        bits = np.concatenate(rows).astype(np.uint8)
        found.append(pack(bits, base=chunk.slab.base, digits=chunk.slab.digits))
    return found


def masks_of(study, words):
    """Counts by matrix from words, one array for each chunk."""
    found = {m.name: np.zeros((m.rows, m.columns), int) for m in study.task.model.matrices}
    for chunk, of_chunk in zip(Round.of(study.task).layout.chunks, words, strict=True):
        rows = chunk.end_row - chunk.first_row
        counts = unpack(
            of_chunk.reshape(chunk.shape), base=chunk.slab.base, digits=chunk.slab.digits, rows=rows
        )
        offset = 0
        for matrix, low, high in chunk.slab.pieces(chunk.first_row, chunk.end_row):
            found[matrix.name][low:high] = counts[offset : offset + high - low]
            offset += high - low
    return found


def same(one, other):
    return set(one) == set(other) and all(np.array_equal(one[name], other[name]) for name in one)


@dataclass
class Liar:
    """Any party that lies: it knows what all parties of these names know, and signs as them."""

    study: SmallStudy
    round: Round = field(init=False)
    terms: Terms = field(init=False)
    exchange: DirectoryExchange = field(init=False)

    def __post_init__(self):
        self.round = Round.of(self.study.task)
        self.terms = Terms(self.round, ADDER, self.study.task.protocol.min_clients)
        self.exchange = DirectoryExchange(self.study.exchange)

    @property
    def parameters(self):
        return self.terms.parameters

    @property
    def chunks(self):
        return self.round.layout.chunks

    @property
    def primes(self):
        return wire.planes_of("ciphertexts", self.parameters)

    @property
    def keys(self):
        """The joint key's name."""
        promised = {sender: message.share for sender, _, message in received(self.study, KeyCommitment)}
        shares = {sender: message for sender, _, message in received(self.study, KeyShare)}
        return self.terms.joint_keys(promised, shares)

    @property
    def joint(self):
        """The joint key's b, from the halves in the exchange."""
        shares = {sender: message for sender, _, message in received(self.study, KeyShare)}
        session = type("Session", (), {"exchange": self.exchange})
        return shared.joint_key(session, self.terms, shares)

    def cipher(self, key, context):
        return ChunkCipher(key, context, count=len(self.chunks))

    def seal_to(self, receiver, key, context, *, named=None):
        return SealedKey(
            receiver=named or receiver,
            sealed=seal_secret(key, self.study.task.party(receiver).sealing_key, context),
        )

    def open_parcel(self, key, context, chunk_context, digests):
        """Plaintexts of a parcel, with the keys of its receiver."""
        secret = open_secret(key.sealed, self.study.identities[key.receiver].opening, context)
        cipher = self.cipher(secret, chunk_context)
        return [cipher.open(i, self.exchange.get_chunk(digest)) for i, digest in enumerate(digests)]

    # ---- as the aggregator
    def reports(self):
        """{client: (digest, [planes of each chunk])}."""
        found = {}
        for client, digest, report in received(self.study, EncryptedReport):
            context = shared.report_context(self.terms, client, report.keys)
            data = self.open_parcel(report.key, context, context, report.chunks)
            planes = [
                shared.parse_chunk(one, "ciphertexts", self.terms, chunk, sender=client)
                for one, chunk in zip(data, self.chunks, strict=True)
            ]
            found[client] = digest, planes
        return found

    def members(self, *clients):
        """These clients (or all) with the digests of their reports."""
        reports = {client: digest for client, digest, _ in received(self.study, EncryptedReport)}
        return counted({name: reports[name] for name in clients or reports})

    def total(self, *clients):
        """The sum of the ciphertexts of these clients (or all), each as often as it is named."""
        reports = self.reports()
        return self.add(*(reports[name][1] for name in clients or reports))

    def add(self, *reports):
        return [malleability.added(chunk, self.parameters) for chunk in zip(*reports, strict=True)]

    def minus(self, report):
        return [malleability.negated(chunk, self.parameters) for chunk in report]

    def show(self, total, members, *, attempt=0, keys=None, to=None):
        """Post a sum with these members over these ciphertexts."""
        message = self.request(total, members, attempt=attempt, keys=keys, to=to)
        post(self.study, ADDER, message)
        return message

    def request(self, total, members, *, attempt=0, keys=None, to=None):
        keys, blind, key = keys or self.keys, self.terms.blind, random_bytes(32)
        sealed = tuple(
            self.seal_to(name, key, shared.sum_context(self.terms, name, keys, attempt))
            for name in (holders(self.study) if to is None else to)
        )
        cipher = self.cipher(key, shared.sum_context(self.terms, "", keys, attempt))
        digests = []
        for chunk, planes in zip(self.chunks, total, strict=True):
            seen, form = (planes[1:], "masks") if blind else (planes, "ciphertexts")
            data = wire.serialise(seen, form, self.parameters)
            digests.append(self.exchange.put_chunk(cipher.seal(chunk.index, data)))
        return CiphertextSum(
            **self.round.names,
            keys=keys,
            attempt=attempt,
            members=members,
            content_keys=sealed,
            chunks=tuple(digests),
        )

    def answers(self, message):
        """The digests of all linear hashes for a sum, by client."""
        digest = message_digest(message)
        return {
            client: envelope
            for client, envelope, answer in received(self.study, LinearHash)
            if answer.sum == digest
        }

    def open(self, message, hashes=None):
        """Ask to open a sum, with these hashes or all there are."""
        hashes = self.answers(message) if hashes is None else hashes
        opening = Opening(**self.round.names, sum=message_digest(message), hashes=counted(hashes))
        post(self.study, ADDER, opening)
        return opening

    def decoded(self, total):
        """What the one opened sum says, in words of each chunk, to those who receive it; unchecked."""
        if not self.terms.blind:
            ((holder, _, share),) = received(self.study, AggregateShare)
            reader = AggregateReader(self.round, holder, share, self.study.identities[HQ])
            data = [self.exchange.get_chunk(digest) for digest in share.parcel.chunks]
            return [reader.open(chunk, one).reshape(-1) for chunk, one in zip(self.chunks, data, strict=True)]
        products = [
            self.products(message, holder) for holder, _, message in received(self.study, PartialDecryption)
        ]
        return [
            decode(planes[0], parts, self.parameters, words=chunk.words)
            for chunk, planes, *parts in zip(self.chunks, total, *products, strict=True)
        ]

    def products(self, message, holder):
        """A key holder's products, one array for each chunk, as the aggregator opens them."""
        context = shared.products_context(self.terms, holder, message.opening)
        data = self.open_parcel(message.parcel.key, context, context, message.parcel.chunks)
        return [
            shared.parse_chunk(one, "products", self.terms, chunk, sender=holder)[0]
            for one, chunk in zip(data, self.chunks, strict=True)
        ]

    # ---- as a client
    def encrypt(self, words, joint=None):
        """Encryptions of words, one array for each chunk, under the joint key or another."""
        from secprune.crypto.bfv.scheme import Encryptor

        encryptor = Encryptor(self.parameters, self.joint if joint is None else joint, self.terms.key_context)
        return [encryptor.encrypt(np.asarray(one, np.uint64)) for one in words]

    def report(self, client, pieces, *, keys=None, to=ADDER, named=None, order=slice(None)):
        """Post a report of this client: planes of each chunk, or bytes that stand for them."""
        keys, key = keys or self.keys, random_bytes(32)
        context = shared.report_context(self.terms, client, keys)
        cipher, digests = self.cipher(key, context), []
        for index, piece in enumerate(pieces):
            data = piece if isinstance(piece, bytes) else self.serialised(piece)
            digests.append(self.exchange.put_chunk(cipher.seal(index, data)))
        sealed = self.seal_to(to, key, context, named=named)
        message = EncryptedReport(**self.round.names, keys=keys, key=sealed, chunks=tuple(digests[order]))
        return post(self.study, client, message)

    def serialised(self, planes):
        return wire.serialise(planes, "ciphertexts", self.parameters)

    def seed(self, sum_):
        """All key holders' seeds for a sum together, and the digest of them."""
        seeds = {sender: one for sender, _, one in received(self.study, HashSeed) if one.sum == sum_}
        return self.terms.all_seeds(seeds)

    def hash_of(self, ciphertexts, sum_):
        """The linear hash of the c1 of anything, for a sum."""
        found = Hash(self.seed(sum_)[0], shared.hash_context(self.terms, sum_), self.parameters)
        for planes in ciphertexts:
            found.update(planes[1:])
        return found.values()

    def answer(self, client, message, ciphertexts=None, *, values=None, seeds=None, sum_=None):
        """Post this client's hash for a sum: that of these ciphertexts, or these values."""
        digest = message_digest(message)
        answer = LinearHash(
            **self.round.names,
            sum=sum_ or digest,
            seeds=seeds or self.seed(digest)[1],
            values=self.hash_of(ciphertexts, digest) if values is None else values,
        )
        return post(self.study, client, answer)

    def answer_for_the_rest(self, client, message, total):
        """Post the hash that makes those of all members add up to whatever the sum is."""
        digest, answers = message_digest(message), received(self.study, LinearHash)
        others = [one.values for _, _, one in answers if one.sum == digest]
        values = tuple(
            tuple((due - sum(one[place][i] for one in others)) % q for i, due in enumerate(of_prime))
            for place, (of_prime, q) in enumerate(
                zip(self.hash_of(total, digest), self.parameters.primes, strict=True)
            )
        )
        return self.answer(client, message, values=values)

    # ---- with keys
    def decrypted(self, ciphertexts, secrets, *, checked=True):
        """Words of each chunk with these key shares' secret polynomials: what is left of a message is exact."""
        from secprune.crypto.bfv.seal_backend import KeyProduct

        found, first = [], self.parameters.primes[0]
        for chunk, (c0, *masks) in zip(self.chunks, ciphertexts, strict=True):
            parts = []
            for secret in secrets:
                products = KeyProduct(self.parameters, secret)(np.stack(masks, axis=1))
                one = (
                    ring.switch_down(products, self.parameters.primes) if self.terms.blind else products[:, 0]
                )
                parts.append(np.ascontiguousarray(one))
            if checked:
                found.append(decode(c0, parts, self.parameters, words=chunk.words))
            else:
                found.append(functools.reduce(functools.partial(ring.add, q=first), parts, c0))
        return found

    def with_message(self, ciphertexts, words, times=1):
        """The same ciphertexts with known words added to what they say."""
        return [
            malleability.with_message(planes, one, self.parameters, times=times)
            for planes, one in zip(ciphertexts, words, strict=True)
        ]


# ---- stages, made once and copied for each test
class Stages:
    """Studies as they stand at some point of an honest round; every test gets a copy of its own."""

    def __init__(self, root):
        self._root, self._made, self._copies = root, {}, 0

    def _copy(self, study):
        self._copies += 1
        return Liar(copied(study, self._root / f"copy-{self._copies}"))

    def _make(self, key, make):
        if key not in self._made:
            self._made[key] = make(self._root / "-".join(str(part) for part in key))
        return self._copy(self._made[key])

    def keys(self, form, **options):
        """All key holders have published their shares."""

        def make(root):
            study = new_study(root, form, **options)
            settle(study, *holders(study))
            return study

        return self._make(("keys", form, *options.items()), make)

    def reported(self, form, *, without=(), **options):
        """All clients (but some) have posted their reports."""

        def make(root):
            study = copied(self.keys(form, **options).study, root)
            settle(study, *(name for name in study.clients if name not in without))
            return study

        return self._make(("reported", form, without, *options.items()), make)

    def answered(self, form):
        """The honest sum has been shown, and all clients have answered for it; (liar, sum, ciphertexts)."""

        def make(root):
            liar = self.reported(form)
            liar.show(liar.total(), liar.members())
            settle(liar.study, *holders(liar.study), *liar.study.clients)
            return copied(liar.study, root)

        liar = self._make(("answered", form), make)
        ((_, _, message),) = received(liar.study, CiphertextSum)
        return liar, message, liar.total()
