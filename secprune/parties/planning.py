"""Before a study: what each epsilon costs for this model and these public texts, and from how many patients on it is worth it.

Run by anybody: no keys, no party directory, no private data. With the model's directory, what is lost is measured as agreement
of pruning masks on the model itself; without it, as error of the features alone.
"""

from __future__ import annotations

import contextlib
import math
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from secprune.errors import ConfigurationError, LocalMisuseError
from secprune.parties.progress import Progress, silent
from secprune.parties.study_privacy import DEFAULT_DELTA, exact, usual_cohort, usual_colluders
from secprune.privacy.accounting import noise_multiplier_for
from secprune.privacy.mechanism import FEATURES_SHARE, LOG_LIMIT
from secprune.privacy.planning import (
    Yardstick,
    epsilons,
    fewest,
    noise_of_mean,
    pulled_by_clip,
    remaining_error,
)
from secprune.pruning.reference import read_reference
from secprune.task import MIN_COHORT, Payload, PruningSpec

if TYPE_CHECKING:
    from secprune.pruning.reference import Reference

PAYLOADS: tuple[Payload, ...] = ("square-sums", "counts")

_LEAST_SHIFT = Fraction(1, 10_000)
"""Text that is nearer to the public text than this has nothing to teach, and the numbers of patients know no bounds."""

_MAX_CLIENTS = 2**16 - 1
_MAX_PATIENTS = 10**9  # at one hospital

ASSUMPTION = (
    "No private data were looked at. How far the hospitals' text is from the public text is an assumption: {source}. If they are "
    "nearer, public text alone does better, and more patients are needed to beat it; if they are further, fewer."
)
MEASURED = "the distance between the two halves of the public text, of which about {chance:.3g} is chance"
GIVEN = "a number that was given (the two halves of the public text are {measured:.3g} apart)"
CONSERVATIVE = (
    "A study loses less than this where hospitals differ from the public text in the same directions as public documents differ "
    "from each other. With counts it is what one hospital's own mask loses, before votes are counted; counting them helps against "
    "noise, but not against what every hospital's estimate keeps of the public text."
)


class PlanOptions(Struct, frozen=True, kw_only=True):
    """What is to be priced.

    Attributes:
        reference: file of the public reference.
        model: directory of the model that it was made for; None to compare errors in place of masks.
        hospitals: sizes of the consortium.
        patients: of each hospital.
        epsilons: decimals.
        delta: likewise.
        clip: bound of one patient's norm; the reference's typical one if None.
        shift: assumed distance of the hospitals' text from the public text, root mean square of a feature's logarithm; that
            between the halves of the public text if None.
        sparsity: of the masks that are compared.
        device: as for `client.prune`.
    """

    reference: Path
    model: Path | None = None
    hospitals: tuple[int, ...] = (4, 8, 16, 64)
    patients: tuple[int, ...] = (25, 100, 400, 1600, 6400)
    epsilons: tuple[str, ...] = ("0.5", "1", "2", "4", "8")
    delta: str = DEFAULT_DELTA
    clip: str | None = None
    shift: str | None = None
    sparsity: str = "0.5"
    device: str = "auto"


class Case(Struct, frozen=True, kw_only=True):
    """One consortium.

    Attributes:
        hospitals: how many.
        patients_per_hospital: at each.
        noise: standard deviation on a feature's mean logarithm; with counts, on one hospital's own.
        noise_to_signal: the same, in parts of the assumed shift.
        error: what the estimate is off by, root mean square.
        agreement: expected, of the pruning mask with the one without noise; None without a model.
        worth_having: at most half of what public text alone loses is lost.
    """

    hospitals: int
    patients_per_hospital: int
    noise: float
    noise_to_signal: float
    error: float
    agreement: float | None
    worth_having: bool


class Threshold(Struct, frozen=True, kw_only=True):
    """With how many patients an epsilon begins to be worth having.

    Attributes:
        hospitals: how many.
        patients: of all of them together, fewest; with counts a multiple of `hospitals`.
        patients_per_hospital: rounded up.
        epsilon_intact: while enough parties are honest.
        epsilon_collapsed: if all servers and all other hospitals work together; None if that changes nothing.
    """

    hospitals: int
    patients: int
    patients_per_hospital: int
    epsilon_intact: float
    epsilon_collapsed: float | None


class Price(Struct, frozen=True, kw_only=True):
    """One epsilon with one payload.

    Attributes:
        epsilon: asked for.
        payload: what is summed.
        noise_multiplier: the least that gives it.
        smallest: the consortium with the fewest patients for which it is worth having.
        thresholds: for each number of hospitals.
        cases: for each number of hospitals and of patients.
    """

    epsilon: str
    payload: Payload
    noise_multiplier: str
    smallest: Threshold
    thresholds: tuple[Threshold, ...]
    cases: tuple[Case, ...]


class Plan(Struct, frozen=True, kw_only=True):
    """What was found, and what it rests on.

    Attributes:
        assumption: in words; no private data.
        conservative: in words, in which way it errs.
        reference: digest of the public reference.
        features: statistics of one patient.
        delta: of every epsilon.
        clip: bound of one patient's norm.
        shift: assumed distance of the hospitals' text from the public text.
        shift_measured: between the halves of the public text.
        shift_by_chance: about what halves of so few documents differ by, if they are of one kind.
        pulled_by_clip: share of the shift that clipping takes from a patient as far from the others as public documents are
            from each other; not in the errors.
        sparsity: of the masks that were compared.
        public_only_agreement: expected of the mask of public text alone, where the error is `shift`; None without a model.
        ladder: measured, (error, agreement); empty without a model.
        prices: by epsilon and payload.
    """

    assumption: str
    conservative: str
    reference: str
    features: int
    delta: str
    clip: str
    shift: float
    shift_measured: float
    shift_by_chance: float
    pulled_by_clip: float
    sparsity: str
    public_only_agreement: float | None
    ladder: tuple[tuple[float, float], ...]
    prices: tuple[Price, ...]


def plan_study(options: PlanOptions, *, progress: Progress = silent) -> Plan:
    """Price every epsilon, payload and consortium. Needs torch with a model only.

    Args:
        options: what is to be priced.
        progress: told of the steps on the model.

    Raises:
        LocalMisuseError: no reference there, or numbers that cannot be.
        ConfigurationError: a damaged reference, one of another model, or an epsilon that no noise gives.
    """
    _check_lists(options)
    delta = exact(options.delta, "delta")
    if not 0 < Fraction(delta) < 1:
        raise LocalMisuseError(f"delta is {delta}", hint="give a probability, such as 1e-6")
    wanted = [exact(epsilon, "epsilon") for epsilon in options.epsilons]
    if not all(map(Fraction, wanted)):
        raise LocalMisuseError("epsilon cannot be 0", hint="give numbers such as 0.5,1,2")
    sparsity = _sparsity(options.sparsity)
    reference = read_reference(options.reference)
    pruning = PruningSpec(
        sparsity=sparsity,
        sequence_length=reference.facts.sequence_length,
        max_windows=reference.facts.max_windows,
        activations="dense",
    )
    features = sum(reference.features.values())
    clip = _clip(options.clip or reference.typical_clip, features)
    shift = _shift(f"{reference.facts.shift:.9f}" if options.shift is None else options.shift)
    ladder = () if options.model is None else _ladder(options, reference, shift, pruning, progress)
    yardstick = Yardstick(shift, ladder)
    multipliers = {epsilon: noise_multiplier_for(Fraction(epsilon), Fraction(delta)) for epsilon in wanted}
    chance = 2 * reference.spread / math.sqrt(len(reference.facts.documents))
    source = (
        MEASURED.format(chance=chance)
        if options.shift is None
        else GIVEN.format(measured=reference.facts.shift)
    )
    return Plan(
        assumption=ASSUMPTION.format(source=source),
        conservative=CONSERVATIVE,
        reference=reference.digest,
        features=features,
        delta=delta,
        clip=clip,
        shift=shift,
        shift_measured=reference.facts.shift,
        shift_by_chance=chance,
        pulled_by_clip=pulled_by_clip(
            Fraction(clip), features=features, spread=reference.spread, shift=shift
        ),
        sparsity=sparsity,
        public_only_agreement=yardstick.agreement(shift),
        ladder=ladder,
        prices=tuple(
            _Pricing(epsilon, delta, z, clip, features, yardstick).price(payload, options)
            for epsilon, z in multipliers.items()
            for payload in PAYLOADS
        ),
    )


class _Pricing:
    """One epsilon."""

    def __init__(
        self, epsilon: str, delta: str, z: str, clip: str, features: int, yardstick: Yardstick
    ) -> None:
        self._epsilon, self._delta, self._z, self._clip = epsilon, Fraction(delta), z, Fraction(clip)
        self._features, self._yardstick = features, yardstick

    def price(self, payload: Payload, options: PlanOptions) -> Price:
        thresholds = tuple(self._threshold(payload, hospitals) for hospitals in options.hospitals)
        return Price(
            epsilon=self._epsilon,
            payload=payload,
            noise_multiplier=self._z,
            smallest=min(thresholds, key=lambda t: (t.patients, t.hospitals)),
            thresholds=thresholds,
            cases=tuple(
                self._case(payload, hospitals, patients)
                for hospitals in options.hospitals
                for patients in options.patients
            ),
        )

    def _noise(self, payload: Payload, hospitals: int, patients: int) -> float:
        """On what one estimate is made of: all hospitals' patients with square-sums, one hospital's with counts."""
        if payload == "counts":
            return noise_of_mean(Fraction(self._z), self._clip, patients=patients)
        return noise_of_mean(
            Fraction(self._z),
            self._clip,
            patients=patients,
            clients=hospitals,
            parties=noises_that_count(hospitals),
        )

    def _case(self, payload: Payload, hospitals: int, patients: int) -> Case:
        shift = self._yardstick.shift
        noise = self._noise(payload, hospitals, patients * (1 if payload == "counts" else hospitals))
        error = remaining_error(noise, shift)
        return Case(
            hospitals=hospitals,
            patients_per_hospital=patients,
            noise=noise,
            noise_to_signal=noise / shift,
            error=error,
            agreement=self._yardstick.agreement(error),
            worth_having=self._yardstick.is_worth(noise),
        )

    def _threshold(self, payload: Payload, hospitals: int) -> Threshold:
        alone = payload == "counts"
        found = fewest(lambda patients: self._yardstick.is_worth(self._noise(payload, hospitals, patients)))
        patients = found * hospitals if alone else found
        intact, collapsed = epsilons(
            Fraction(self._z),
            self._delta,
            parties=1 if alone else noises_that_count(hospitals),
            dimension=self._features + 1,
        )
        return Threshold(
            hospitals=hospitals,
            patients=patients,
            patients_per_hospital=-(-patients // hospitals),
            epsilon_intact=intact,
            epsilon_collapsed=collapsed,
        )


def noises_that_count(hospitals: int) -> int:
    """With square-sums, how many hospitals' noises make up the whole one, as tasks have it by default."""
    cohort = usual_cohort(hospitals)
    return cohort - usual_colluders(hospitals, cohort)


def _ladder(
    options: PlanOptions, reference: Reference, shift: float, pruning: PruningSpec, progress: Progress
) -> tuple[tuple[float, float], ...]:
    from secprune.pruning.agreement import LADDER, agreement_ladder  # noqa: PLC0415 - torch, only with a model
    from secprune.pruning.checkpoint import weights_digest  # noqa: PLC0415
    from secprune.pruning.devices import choose_device  # noqa: PLC0415
    from secprune.pruning.offload import open_blocks  # noqa: PLC0415

    if options.model is None:
        return ()
    device = choose_device(options.device)
    if weights_digest(options.model) != reference.facts.weights_digest:
        raise ConfigurationError(
            f"the public reference was made for another model than the one in {options.model.name}",
            hint="give the model that `secprune coordinator reference` was run with, or leave --model out",
        )
    return agreement_ladder(
        open_blocks(options.model, device=device),
        reference.square_means,
        reference.facts.inputs,
        pruning=pruning,
        # With a rung at the shift itself the public-only baseline is measured and not interpolated.
        errors=sorted({*LADDER, shift}),
        progress=lambda done, steps: progress("masks of some decoder blocks", done, steps),
    )


def _check_lists(options: PlanOptions) -> None:
    for what, values, least, most in (
        ("hospitals", options.hospitals, MIN_COHORT, _MAX_CLIENTS),
        ("patients per hospital", options.patients, 1, _MAX_PATIENTS),
    ):
        wrong = [value for value in values if not least <= value <= most]
        if wrong or not values:
            raise LocalMisuseError(
                f"a study cannot have {wrong[0] if wrong else 'no'} {what}",
                hint=f"give numbers from {least} to {most}, such as 4,8,16",
            )
    if not options.epsilons:
        raise LocalMisuseError("there is no epsilon to plan for", hint="give numbers such as 0.5,1,2")


def _sparsity(text: str) -> str:
    with contextlib.suppress(ValueError, ZeroDivisionError):
        if 0 < Fraction(text) < 1:
            return text
    raise LocalMisuseError(f"sparsity {text!r} is not between 0 and 1", hint="give a share, as 0.5 or 1/2")


def _clip(text: str, features: int) -> str:
    clip, most = exact(text, "the clip bound"), LOG_LIMIT * math.sqrt(features) / FEATURES_SHARE
    if not 0 < Fraction(clip) <= most:
        raise LocalMisuseError(
            f"a clip bound of {clip} is of no use: no patient's norm is above {most:.4g}, and none below 0",
            hint="leave --clip out for the bound that half of the public documents are within",
        )
    return clip


def _shift(text: str) -> float:
    shift = exact(text, "the shift")
    if not _LEAST_SHIFT <= Fraction(shift) <= Fraction(LOG_LIMIT):
        raise LocalMisuseError(
            f"a shift of {shift} from the public text cannot be planned with",
            hint=f"give a number from {float(_LEAST_SHIFT):g} to {LOG_LIMIT:g}; nearer, public text alone is as good",
        )
    return float(shift)
