"""The referee sees every party's directory, as nobody does in a study, and judges the result.

It recomputes the final mask in cleartext from what the hospitals that were counted have on their own disks (local masks, or
noised statistics), and measures perplexities on all hospitals' held-out text, also of those that dropped out: a mask of
their own they have.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from msgspec import Struct
from msgspec.structs import replace

from secprune.fixedpoint import FixedPoint
from secprune.ids import short
from secprune.parties.private_pruning import open_reference
from secprune.parties.released_statistics import ReleasedStatistics, released_by
from secprune.parties.report_words import STATISTICS_FILE
from secprune.parties.selection import FINAL_MASK_FILE
from secprune.parties.session import open_session
from secprune.parties.sums import SUMS_FILE, counts_dtype
from secprune.protocols.api import Round
from secprune.pruning.averaging import matrix_reach
from secprune.pruning.selection import final_mask, magnitude_key, magnitude_mask, tie_seed
from secprune.pruning.tensorfile import CheckpointFiles, TensorFile
from secprune.storage.masks import MaskFile
from secprune.storage.statistics import StatisticsFile
from secprune_cli.demo.hospital_model import HospitalModel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from secprune.task import MatrixSpec, Task
    from secprune_cli.demo.consortium import Consortium

Mask = npt.NDArray[np.bool_]


class Perplexities(Struct, frozen=True, kw_only=True):
    """Perplexity on every hospital's held-out text: mean, worst, and one by one.

    For `local_only` a hospital's text counts with its mean over all local masks, because a model that one
    hospital prunes alone is what the others would have to work with; `per_mask` is each mask's mean over
    all texts.
    """

    mean: float
    worst: float
    per_client: dict[str, float]
    per_mask: dict[str, float] = {}


class Referee:
    """Judges a finished consortium.

    Args:
        consortium: whose round is over.
        task: its task.
        counted: the hospitals whose masks are in the sum; all, if not given.
    """

    def __init__(self, consortium: Consortium, task: Task, *, counted: Sequence[str] | None = None) -> None:
        self._consortium, self._task = consortium, task
        self._weights = CheckpointFiles(consortium.model)
        self._names = list(consortium.clients if counted is None else counted)
        # With square-sums hospitals have no masks of their own.
        with_masks = consortium.clients if task.privacy.payload == "counts" else []
        self._local = {
            name: HospitalModel(name, functools.partial(self._directory, name), task) for name in with_masks
        }
        self._counted = [self._local[name] for name in self._names if name in self._local]
        self._final = MaskFile(
            self._directory("coordinator", 0) / FINAL_MASK_FILE, task.model.matrices, task_id=task.task_id
        )

    def _directory(self, party: str, index: int) -> Path:
        return self._consortium.output / party / "tasks" / short(self._task.task_id) / f"round-{index:03d}"

    # ---- masks
    def _raw(self, files: CheckpointFiles, matrix: MatrixSpec) -> npt.NDArray[Any]:
        """A matrix's bits, (rows, columns)."""
        raw = files.raw(matrix.name)
        return raw.T if matrix.transposed else raw

    def _key(self, matrix: MatrixSpec) -> npt.NDArray[Any]:
        return magnitude_key(self._raw(self._weights, matrix), self._weights.entry(matrix.name)[0])

    def _counts(self, matrix: MatrixSpec) -> npt.NDArray[Any]:
        dtype = counts_dtype(Round.of(self._task).layout)[1]
        counts = np.zeros((matrix.rows, matrix.columns), dtype)
        for hospital in self._counted_in(matrix):
            counts += hospital.mask(matrix)
        return counts

    def _counted_in(self, matrix: MatrixSpec) -> list[HospitalModel]:
        """Those whose masks of this matrix are in a sum."""
        return [hospital for hospital in self._counted if hospital.has(matrix)]

    def _step(self, matrix: MatrixSpec) -> float:
        """What the whole number 1 stands for, in the weights of a matrix (FedSpaLLM)."""
        fixed = FixedPoint(self._task.pruning.of_fedspallm.weight_bits)
        return matrix_reach(self._weights, matrix.name) / fixed.half

    def cleartext_mask(self, matrix: MatrixSpec, counts: npt.NDArray[Any] | None = None) -> Mask:
        """The final mask from the local masks themselves, no protocol in between."""
        return final_mask(
            self._counts(matrix) if counts is None else counts,
            self._key(matrix),
            pruning=self._task.pruning,
            cohort=len(self._counted_in(matrix)),
            tie_seed=tie_seed(self._task.nonce, matrix.name),
        )

    def _dense(self, matrix: MatrixSpec, counts: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Bits of the weights before any is pruned; scaled or averaged, if the task says so, and rounded by torch."""
        raw, averaged = self._raw(self._weights, matrix), self._task.pruning.algorithm == "fedspallm"
        if not (self._task.pruning.weight_scaling or averaged):
            return raw
        import torch

        stored, working = {
            "F16": (torch.float16, torch.float32),
            "BF16": (torch.bfloat16, torch.float32),
            "F32": (torch.float32, torch.float32),
            "F64": (torch.float64, torch.float64),
        }[self._weights.entry(matrix.name)[0]]
        signed = np.dtype(f"i{raw.itemsize}")
        if averaged:
            total, kept_by = self._summed(matrix), len(self._counted_in(matrix)) - counts.astype(np.int64)
            mean = torch.from_numpy(total / np.maximum(kept_by, 1) * self._step(matrix))
            written = mean.to(working).to(stored).view(getattr(torch, signed.name)).numpy()
            return np.asarray(written.view(f"u{raw.itemsize}"))
        weights = torch.from_numpy(raw.astype(raw.dtype.newbyteorder("="), order="C").view(signed)).view(
            stored
        )
        kept = torch.from_numpy(len(self._counted) - counts.astype(np.int64)).to(working)
        scaled = (weights.to(working) * (kept / len(self._counted))).to(stored)
        bits = scaled.view(getattr(torch, signed.name)).numpy()
        return np.asarray(bits.view(f"u{raw.itemsize}"))

    def _summed(self, matrix: MatrixSpec) -> npt.NDArray[np.int64]:
        """The sum of the weights that hospitals kept, as whole numbers."""
        total = np.zeros((matrix.rows, matrix.columns), np.int64)
        for hospital in self._counted_in(matrix):
            if (numbers := hospital.numbers(matrix)) is not None:
                total += numbers
        return total

    def differing_bits(self) -> int:
        """Bits by which the pruned checkpoint differs from a cleartext run on what the hospitals have on disk.

        The mask is compared, and every weight that was written: dense (or scaled) where kept, zero where
        pruned. Of square-sums each number of the sums counts as well.
        """
        pruned = CheckpointFiles(self._consortium.pruned_model)
        wrong = 0
        by_sums = {} if self._task.privacy.payload == "counts" else self._masks_by_sums()
        if by_sums:
            wrong += self._differing_sums()
        for matrix in self._task.model.matrices:
            if by_sums:
                mask, dense = by_sums[matrix.name], self._raw(self._weights, matrix)
            else:
                counts = self._counts(matrix)
                mask, dense = self.cleartext_mask(matrix, counts), self._dense(matrix, counts)
            due = np.where(mask, 0, dense)
            in_mask = self._final.rows(matrix.name).view(np.bool_) != mask
            wrong += int(np.count_nonzero(in_mask | (self._raw(pruned, matrix) != due)))
        return wrong

    def _differing_sums(self) -> int:
        """Numbers in which released sums differ from those of the hospitals' own files."""
        wrong = 0
        for index in range(self._task.rounds):
            released = TensorFile(self._directory("coordinator", index) / SUMS_FILE)
            parts = [
                StatisticsFile(self._directory(name, index) / STATISTICS_FILE, self._task)
                for name in self._names
            ]
            for name in self._task.vectors:
                due = np.sum([part.vector(name) for part in parts], axis=0)
                wrong += int(np.count_nonzero(released.raw(name).view("<i8") != due))
        return wrong

    def _masks_by_sums(self) -> dict[str, Mask]:
        """Wanda's masks of what the released sums say."""
        from secprune.pruning.from_statistics import masks_of_statistics
        from secprune.pruning.offload import open_blocks

        directory = self._consortium.output / "coordinator"
        with open_session(directory, "coordinator", exclusive=False) as session:
            sums = released_by(session, self._task.rounds)
            released = ReleasedStatistics(self._task, open_reference(session), sums)
        inputs = self._task.privacy.of_statistics.inputs
        blocks = open_blocks(self._consortium.model)
        return dict(masks_of_statistics(blocks, released.square_means, inputs, pruning=self._task.pruning))

    def sparsity(self) -> dict[str, float]:
        """Share of pruned weights by kind of matrix (q_proj, up_proj, ...), and `total`."""
        pruned: dict[str, int] = {}
        sizes: dict[str, int] = {}
        for matrix in self._task.model.matrices:
            kind = matrix.name.removesuffix(".weight").rsplit(".", 1)[-1]
            ones = int(np.count_nonzero(self._final.rows(matrix.name)))
            for key in (kind, "total"):
                pruned[key] = pruned.get(key, 0) + ones
                sizes[key] = sizes.get(key, 0) + matrix.rows * matrix.columns
        return {
            kind: round(pruned[kind] / sizes[kind], 6)
            for kind in sorted(pruned, key=lambda k: (k == "total", k))
        }

    # ---- perplexity
    def perplexities(
        self, *, sequence_length: int, max_windows: int, progress: Callable[[int, int], None]
    ) -> dict[str, Perplexities]:
        """Perplexity of dense, magnitude-pruned, local-only, public-only and federated models on all held-out text."""
        import torch

        from secprune.pruning.calibration import text_tokens
        from secprune.pruning.decoder import Decoder
        from secprune.pruning.models import load_model, load_tokenizer
        from secprune.pruning.perplexity import perplexity

        tokenizer = load_tokenizer(self._consortium.model)
        texts = {h.name: text_tokens(h.held_out, tokenizer) for h in self._consortium.plan.hospitals}
        public_only = self._consortium.plan.takes_statistics
        models = len(self._local) + 3 + int(public_only)
        done = 0

        def on_all(model: Any) -> dict[str, float]:
            nonlocal done
            found = {}
            for name, tokens in texts.items():
                measured = perplexity(model, tokens, sequence_length=sequence_length, max_windows=max_windows)
                found[name] = round(measured.value, 4)
                done += 1
                progress(done, models * len(texts))
            return found

        model = load_model(self._consortium.model)
        weights = Decoder.of(model).weights()
        kept = {name: weight.clone() for name, weight in weights.items()}

        def masked(mask_of: Callable[[MatrixSpec], Mask]) -> dict[str, float]:
            for matrix in self._task.model.matrices:
                mask = torch.from_numpy(mask_of(matrix))
                weights[matrix.name].copy_(kept[matrix.name].masked_fill(mask, 0))
            return on_all(model)

        def alone(hospital: HospitalModel) -> dict[str, float]:
            for matrix in self._task.model.matrices:
                own, dense = hospital.numbers(matrix), kept[matrix.name]
                if own is not None:
                    dense = torch.from_numpy(own * self._step(matrix)).to(dense)
                weights[matrix.name].copy_(dense.masked_fill(torch.from_numpy(hospital.mask(matrix)), 0))
            return on_all(model)

        result = {"dense": _over_texts(on_all(model))}
        result["magnitude"] = _over_texts(masked(self._magnitude_mask))
        if self._local:
            result["local_only"] = _over_masks(
                {name: alone(hospital) for name, hospital in self._local.items()}
            )
        if public_only:
            result["public_only"] = _over_texts(on_all(load_model(self._consortium.public_only_model)))
        result["federated"] = _over_texts(on_all(load_model(self._consortium.pruned_model)))
        return result

    def _magnitude_mask(self, matrix: MatrixSpec) -> Mask:
        return magnitude_mask(self._key(matrix), self._task.pruning.layer_k(matrix.rows, matrix.columns))

    def sample(self, prompt: str, *, new_tokens: int) -> str:
        """What the pruned checkpoint writes, loaded with stock transformers (greedy)."""
        from transformers import AutoModelForCausalLM, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(self._consortium.pruned_model, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(self._consortium.pruned_model, local_files_only=True)
        inputs = tokenizer(prompt, return_tensors="pt")
        written = model.generate(
            **inputs, max_new_tokens=new_tokens, do_sample=False, pad_token_id=tokenizer.eos_token_id
        )
        return str(tokenizer.decode(written[0], skip_special_tokens=True))


def _over_texts(found: dict[str, float]) -> Perplexities:
    values = list(found.values())
    return Perplexities(mean=_mean(values), worst=max(values), per_client=found)


def _over_masks(found: dict[str, dict[str, float]]) -> Perplexities:
    """`found[mask][text]`."""
    texts = next(iter(found.values()))
    over = _over_texts({text: _mean([on[text] for on in found.values()]) for text in texts})
    return replace(over, per_mask={mask: _mean(list(on.values())) for mask, on in found.items()})


def _mean(values: list[float]) -> float:
    return round(sum(values) / len(values), 4)
