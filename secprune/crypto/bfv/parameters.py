"""Which ring a round is encrypted in: the fewest bits per weight that are secure and decrypt without failure.

A word of d counters (see `secprune.packing`) is one coefficient of a plaintext polynomial of degree below N.
With primes q = q1 (* q2), a ciphertext is (c0, c1) with c0 + c1 s = (q / q1) Delta m + e (mod q): BFV with the
scale Delta chosen as an integer, so that a message is encoded exactly and the noise e tells nothing about it.

Two forms:

*simple*   one prime. Whoever holds the key decrypts the sum.
*blind*    two primes. c1 is sent modulo q, c0 rounded to q1 (by switching the modulus of c0 alone, which
           anybody could do to a published ciphertext). Key holders return c1 s_j plus flooding noise f_j of about
           the size of q2, also switched to q1; so the flooding costs bits in c1 only.

`special` is one more prime that only exists while a client encrypts: SEAL divides by it at the end, which
leaves the noise of rounding instead of that of the public key, 4 bits less (Kim, Polyakov and Zucca,
"Revisiting homomorphic encryption schemes for finite fields", ASIACRYPT 2021).

Noise. All terms are independent and *strictly sub-Gaussian* (uniform, centred binomial, ternary): a sum of
variance v exceeds z sqrt(v) with probability at most 2 exp(-z^2 / 2). `FAILURE_BITS` bounds that for one
coefficient of an honest sum; it is an average over keys, whose norm is taken at its mean.

Flooding. f_j is the sum of four uniform integers of `flood_bits` bits, less its mean. Moving such a sum by e
changes its distribution by at most |e| sqrt(I / 4) / 2^flood_bits in Hellinger's norm, I = 3.12 being the
Fisher information of the sum of four uniform variables on [0, 1]. Over C coefficients the norms add as squares,
so that what the sum and the public keys already tell differs from what an aggregator sees by a total variation
of at most sqrt(C) rms(e) sqrt(I / 4) / 2^flood_bits <= 2^-FLOODING_BITS.

Security: SEAL refuses more than 27, 54, 109 and 218 bits for N = 1024 to 8192 (128 bits, ternary secrets;
Albrecht et al., "Homomorphic Encryption Standard", 2018). The bounds here are those of Bossuat et al.,
"Security guidelines for implementing homomorphic encryption" (IACR ePrint 2024/463), which are lower.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import msgspec
from msgspec import Struct

from secprune.errors import ConfigurationError
from secprune.ids import sha256
from secprune.vectors import Limbs

FAILURE_BITS = 128
"""A coefficient of an honest sum is decrypted wrongly with probability at most 2^-128."""

FLOODING_BITS = 40
"""Statistical distance of everything released in a round from noise that does not depend on a key: 2^-40."""

MAX_MODULUS_BITS = {1024: 26, 2048: 53, 4096: 106, 8192: 212}
"""Bits of all primes together, by degree N, at 128-bit security."""

ERROR_VARIANCE = 10.5
"""Of the centred binomial distribution over 42 coins, SEAL's default error (standard deviation 3.24)."""

_MAX_PRIME_BITS = 60  # SEAL's bound for a prime of the user's
_MAX_FLOOD_BITS = 64
_SPECIAL_BITS = 17
_FISHER_INFORMATION = 3.12
_NOISE_SIGMAS = math.sqrt(2 * (FAILURE_BITS + 1) * math.log(2))  # 2 exp(-z^2 / 2) = 2^-FAILURE_BITS


class Parameters(Struct, frozen=True, kw_only=True, cache_hash=True, omit_defaults=True):
    """Everything that ciphertexts of one task have in common; a pure function of the roster and the model's size.

    Attributes:
        clients: in the roster.
        key_holders: who hold additive shares of the key.
        blind: whether key holders see c1 only.
        degree: N.
        primes: q1, or q1 and q2.
        special: the prime that is divided out while encrypting; 0 if there is none.
        scale: Delta, at the level of q1.
        digits: counters in one coefficient.
        flood_bits: of each of four uniform terms of the flooding noise; 0 in the simple form.
        each: the largest number that a client adds to one counter; 1 but where votes carry noise.
    """

    clients: int
    key_holders: int
    blind: bool
    degree: int
    primes: tuple[int, ...]
    special: int
    scale: int
    digits: int
    flood_bits: int
    each: int = 1

    @property
    def base(self) -> int:
        """Radix of the counters: one more than all clients together can add."""
        return self.clients * self.each + 1

    @property
    def all_primes(self) -> tuple[int, ...]:
        """Primes of keys: those of ciphertexts, then the special one."""
        return (*self.primes, self.special) if self.special else self.primes

    @property
    def wire_bits(self) -> tuple[int, ...]:
        """Bits of the polynomials of a ciphertext on the wire: c0 modulo q1, then c1 modulo each prime."""
        return (self.primes[0].bit_length(), *(q.bit_length() for q in self.primes))

    @property
    def bits_per_weight(self) -> float:
        """What a client sends, without framing and padding."""
        return sum(self.wire_bits) / self.digits

    @property
    def fresh_noise(self) -> float:
        """Standard deviation of the noise of one encryption, modulo q, before c0 is rounded."""
        return _fresh_noise(self.degree, self.special, self.key_holders)

    @property
    def decoding_noise(self) -> float:
        """Standard deviation of the noise of a sum of all clients as it is decoded, modulo q1."""
        noise = self.clients * self.fresh_noise**2
        if not self.blind:
            return math.sqrt(noise)
        flood = self.key_holders * 4 ** (self.flood_bits + 1) / 12
        return math.sqrt((noise + flood) / self.primes[1] ** 2 + (self.clients + self.key_holders) / 12)

    @property
    def id(self) -> str:
        """Digest that stands in front of every chunk of ciphertexts."""
        return sha256(b"secprune/bfv/parameters/v1\0" + msgspec.json.encode(self, order="sorted"))


def choose_parameters(
    *, clients: int, key_holders: int, blind: bool, weights: int, values: int = 0, each: int = 1
) -> Parameters:
    """The parameters with the fewest bits per weight (or value); of equal ones those of the smallest degree.

    Args:
        clients: in the roster.
        key_holders: 1 or more; the simple form has one.
        blind: whether the key holders shall not see the sum.
        weights: of the whole model; flooding noise is measured for all of them together.
        values: in all vectors of a report, if it holds vectors (`secprune.vectors`) and not counters of weights.
        each: the largest number that a client adds to one counter.

    Raises:
        ConfigurationError: so many clients or weights fit into no ring.
    """
    if not blind and key_holders != 1:
        raise ConfigurationError(
            f"a key holder that decrypts the sum itself is alone, not one of {key_holders}",
            hint='use key_holder = "blind" with several key holders',
        )
    found = _choose(clients, key_holders, blind, weights, values, each)
    if found is None:
        raise ConfigurationError(
            f"no ring of at most {max(MAX_MODULUS_BITS)} coefficients holds the sum of {clients} clients with "
            f"{key_holders} {'blind ' if blind else ''}key holder(s) and {values or weights} "
            f"{'values' if values else 'weights'}",
            hint="use the protocol additive or pairwise, which have no such bound",
        )
    return found


@functools.lru_cache(maxsize=64)
def _choose(
    clients: int, key_holders: int, blind: bool, weights: int, values: int, each: int
) -> Parameters | None:
    candidates = []
    for ring in _rings(blind):
        budget = _Budget(ring, clients, key_holders, weights, values, each)
        for digits in range(1, 64):
            bits = budget.first_bits(digits)
            if bits is not None:
                spent = 2 * bits + ring.second.bit_length()
                cost = spent * budget.limbs(digits) if values else spent / digits
                candidates.append((cost, ring.degree, -digits, digits, budget))
    for *_, digits, budget in sorted(candidates, key=lambda one: one[:3]):
        found = budget.parameters(digits)
        if found is not None:
            return found
    return None


@dataclass(frozen=True, slots=True)
class _Ring:
    """Degree, special prime and second prime of a candidate; 0 for a prime that it has not."""

    degree: int
    special: int
    second: int


@functools.cache
def _rings(blind: bool) -> tuple[_Ring, ...]:
    rings = []
    for degree, most in MAX_MODULUS_BITS.items():
        # Of several primes SEAL always takes the last one for the special one.
        for special_bits in (_SPECIAL_BITS,) if blind else (0, _SPECIAL_BITS):
            special = _largest_prime(2**special_bits, 1, 2 * degree) if special_bits else 0
            # q2 takes what the flooding noise needs: the more the better, but not half of the modulus.
            second_bits = min(_MAX_PRIME_BITS, (most - special_bits) // 2) if blind else 0
            second = _largest_prime(2**second_bits, 1, 2 * degree) if blind else 0
            if special is not None and second is not None:
                rings.append(_Ring(degree, special, second))
    return tuple(rings)


@dataclass(frozen=True, slots=True)
class _Budget:
    """How the bits of one candidate are spent: scale for the noise, the rest for counters."""

    ring: _Ring
    clients: int
    key_holders: int
    weights: int
    values: int
    each: int

    @property
    def base(self) -> int:
        """Radix of the counters."""
        return self.clients * self.each + 1

    def limbs(self, digits: int) -> int:
        """Coefficients of one value, if vectors are sent; 0 if the coefficients have no room for one bit of each."""
        room = self.base**digits
        return Limbs.below(room, n_max=self.clients).count if room > 2 * self.clients else 0

    def first_bits(self, digits: int) -> int | None:
        """Bits of q1, if everything fits."""
        if self.values and not self.limbs(digits):
            return None
        ring, flood = self.ring, self.flood_bits(digits)
        bits = self.least(digits).bit_length()
        total = bits + ring.special.bit_length() + ring.second.bit_length()
        fits = (
            ring.degree.bit_length() + 1 < bits <= _MAX_PRIME_BITS and total <= MAX_MODULUS_BITS[ring.degree]
        )
        return bits if fits and flood <= _MAX_FLOOD_BITS else None

    def parameters(self, digits: int) -> Parameters | None:
        """The parameters with their first prime; None in the rare case that there is none of that size."""
        ring, least, scale = self.ring, self.least(digits), self.scale(digits)
        # In the simple form q = 1 (mod Delta): then BFV's own plaintext modulus is (q - 1) / Delta exactly.
        step = 2 * ring.degree if ring.second else math.lcm(2 * ring.degree, scale)
        first = _largest_prime(2 ** least.bit_length(), least, step, avoid=(ring.second, ring.special))
        if first is None:
            return None
        return Parameters(
            clients=self.clients,
            key_holders=self.key_holders,
            blind=bool(ring.second),
            degree=ring.degree,
            primes=(first, ring.second) if ring.second else (first,),
            special=ring.special,
            scale=scale,
            digits=digits,
            flood_bits=self.flood_bits(digits),
            each=self.each,
        )

    def least(self, digits: int) -> int:
        """What q1 has to exceed: no sum of messages at this scale may wrap around it."""
        counters: int = self.base**digits
        return self.scale(digits) * counters

    def scale(self, digits: int) -> int:
        """Delta: twice the largest noise of an honest sum at the level of q1, even."""
        noise = _NOISE_SIGMAS * self.noise
        if self.ring.second:
            # Each client's c0 and each key holder's product is rounded once, by half a unit at most.
            flood = self.key_holders * 2 ** (self.flood_bits(digits) + 1)
            noise = (noise + flood) / self.ring.second + (self.clients + self.key_holders) / 2
        return 2 * (math.floor(noise) + 1)

    def flood_bits(self, digits: int) -> int:
        """Bits of each of the four terms of a key holder's flooding noise; 0 without any."""
        if not self.ring.second:
            return 0
        sent = self.values * self.limbs(digits) if self.values else self.weights / digits
        coefficients = sent * (1 + 1 / 32) + 64 * self.ring.degree  # with the padding of chunks
        distance = math.sqrt(coefficients) * self.noise * math.sqrt(_FISHER_INFORMATION / 4)
        return math.ceil(FLOODING_BITS + math.log2(distance))

    @property
    def noise(self) -> float:
        """Standard deviation of the noise of the sum of all clients' encryptions."""
        return _fresh_noise(self.ring.degree, self.ring.special, self.key_holders) * math.sqrt(self.clients)


def _fresh_noise(degree: int, special: int, key_holders: int) -> float:
    key_norm = key_holders * 2 * degree / 3  # squared norm of the key: key_holders ternary polynomials
    error_norm = (
        ERROR_VARIANCE * key_holders * 2 * degree / 3
    )  # of the public key's error, times a ternary one
    variance = error_norm + ERROR_VARIANCE * (1 + key_norm)
    if special:
        variance = variance / special**2 + (1 + key_norm) / 12
    return math.sqrt(variance)


def _largest_prime(below: int, least: int, step: int, *, avoid: tuple[int, ...] = ()) -> int | None:
    """The largest prime p = 1 (mod step) with least <= p < below."""
    candidate = (below - 2) // step * step + 1
    while candidate >= max(least, 3):
        if candidate not in avoid and is_prime(candidate):
            return candidate
        candidate -= step
    return None


def is_prime(number: int) -> bool:
    """Whether a number below 2^64 is prime.

    Source: Miller-Rabin; the bases are enough below 3.3 * 10^24 (Sorenson and Webster, "Strong pseudoprimes to
    twelve prime bases", Math. Comp. 86, 2017).
    """
    bases = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)
    if number < 2 or number in bases or any(number % p == 0 for p in bases):
        return number in bases
    twos = ((number - 1) & -(number - 1)).bit_length() - 1
    for base in bases:
        power = pow(base, (number - 1) >> twos, number)
        if power in (1, number - 1):
            continue
        for _ in range(twos - 1):
            power = power * power % number
            if power == number - 1:
                break
        else:
            return False
    return True
