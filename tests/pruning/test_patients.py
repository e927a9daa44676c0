from __future__ import annotations

import warnings
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from patient_sums import batches_of, exact_norm_squared, sum_over_patients, unit_vectors
from tiny_models import NOTES, make_checkpoint, make_model, make_tokenizer

from secprune.privacy.grid import NORM
from secprune.pruning import patients as module
from secprune.pruning.activations import BlockRunner, SquareSum
from secprune.pruning.clipping import JointClip
from secprune.pruning.decoder import Decoder
from secprune.pruning.local import LocalPruning
from secprune.pruning.notes import Patient
from secprune.pruning.offload import BlocksOnDisk
from secprune.pruning.patients import distinct_inputs, mean_squares, patient_batches
from secprune.task import PruningSpec

TOKENIZER = make_tokenizer()
MODELS = {arch: make_model(arch, seed=4) for arch in ("llama", "opt", "gpt2")}


def people(*counts, first=0):
    """Patients with so many notes each, all notes different."""
    notes, found = iter(NOTES[first:]), []
    for number, count in enumerate(counts):
        found.append(Patient(f"p{number}", tuple(next(notes) for _ in range(count))))
    return found


def whole_forward(model, batches):
    """By name of each linear's weight, the mean of squares over tokens, from the model's own forward in float64."""
    sums, tokens, hooks = {}, 0, []
    linears = {}
    decoder = Decoder.of(model)
    for index in range(len(decoder.blocks)):
        linears |= decoder.linears(index)

    def keep(name):
        def hook(_module, args, _output):
            x = args[0].double()
            sums[name] = sums.get(name, 0) + x.reshape(-1, x.shape[-1]).square().sum(0)

        return hook

    hooks = [linear.register_forward_hook(keep(name)) for name, linear in linears.items()]
    with torch.no_grad():
        for batch in batches:
            for window in batch:
                model(window[None])
                tokens += window.numel()
    for hook in hooks:
        hook.remove()
    return {name: (total / tokens).numpy() for name, total in sums.items()}


@pytest.mark.parametrize("arch", MODELS)
def test_each_patients_statistics_are_those_of_the_models_own_forward(arch):
    model = MODELS[arch]
    batches = batches_of(people(1, 5, 2), TOKENIZER)
    inputs = distinct_inputs(model, batches[0][0])
    assert sorted(name for group in inputs for name in group) == sorted(Decoder.of(model).weights())
    for found, own in zip(mean_squares(model, batches, inputs), batches, strict=True):
        expected = whole_forward(model, own)
        assert list(found) == [group[0] for group in inputs]
        for group in inputs:
            for name in group:  # the first stands for all that share it
                np.testing.assert_allclose(found[group[0]], expected[name], rtol=1e-5)


def test_q_k_and_v_share_an_input_and_so_do_gate_and_up():
    first = distinct_inputs(MODELS["llama"], batches_of(people(1), TOKENIZER)[0][0])[:4]
    kinds = [tuple(name.split(".")[-2] for name in group) for group in first]
    assert kinds == [("q_proj", "k_proj", "v_proj"), ("o_proj",), ("gate_proj", "up_proj"), ("down_proj",)]


def test_nobody_changes_what_is_found_for_others_bit_for_bit(monkeypatch):
    model = MODELS["llama"]
    batches = batches_of(people(1, 4, 2, 3), TOKENIZER)
    inputs = distinct_inputs(model, batches[0][0])
    together = list(mean_squares(model, batches, inputs))
    others = list(mean_squares(model, [batches[2], batches[0]], inputs))
    monkeypatch.setattr(module, "GROUP_BYTES", 1)  # everybody in a group of one
    alone = list(mean_squares(model, batches, inputs))
    for name in together[0]:
        for place in range(4):
            np.testing.assert_array_equal(together[place][name], alone[place][name])
        np.testing.assert_array_equal(together[2][name], others[0][name])
        np.testing.assert_array_equal(together[0][name], others[1][name])


def test_blocks_on_disk_give_the_same(tmp_path):
    make_checkpoint(tmp_path / "model", "llama", seed=4)
    batches = batches_of(people(2, 1), TOKENIZER)
    inputs = distinct_inputs(MODELS["llama"], batches[0][0])
    in_memory = list(mean_squares(MODELS["llama"], batches, inputs))
    on_disk = list(mean_squares(BlocksOnDisk(tmp_path / "model"), batches, inputs))
    for one, other in zip(in_memory, on_disk, strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


def test_short_and_empty_patients():
    short = Patient("a", ("Well.",))
    (batch,) = patient_batches(short, TOKENIZER, sequence_length=64, max_windows=2)
    assert batch.shape[0] == 1
    assert 0 < batch.shape[1] < 64
    assert patient_batches(Patient("b", ("",)), TOKENIZER, sequence_length=64, max_windows=2) == []
    many = patient_batches(Patient("c", tuple(NOTES)), TOKENIZER, sequence_length=16, max_windows=5)
    assert sum(len(batch) for batch in many) == 5


# ---- how much one patient can move
def reference_for(model, patients):
    batches = batches_of(patients, TOKENIZER)
    inputs = distinct_inputs(model, batches[0][0])
    found = list(mean_squares(model, batches, inputs))
    return {name: np.exp(np.mean([np.log(one[name] + 1e-9) for one in found], axis=0)) for name in found[0]}


REFERENCES = {arch: reference_for(model, people(1, 1, 1, first=30)) for arch, model in MODELS.items()}
TEXTS = st.lists(st.text(min_size=1, max_size=200), min_size=1, max_size=4)


@settings(max_examples=15, deadline=None)
@given(arch=st.sampled_from(sorted(MODELS)), texts=TEXTS, clip=st.fractions(Fraction(1, 100), 50))
def test_no_patient_moves_the_sum_by_more_than_the_norm(arch, texts, clip):
    model, reference = MODELS[arch], REFERENCES[arch]
    others = people(1, 2)
    patient = Patient("new", tuple(texts))
    before = sum_over_patients(model, others, TOKENIZER, reference, clip)
    after = sum_over_patients(model, [*others[:1], patient, *others[1:]], TOKENIZER, reference, clip)
    assert exact_norm_squared(after - before) <= NORM**2


def test_replacing_one_patient_moves_the_sum_by_what_both_contribute_and_nothing_else():
    model, reference, clip = MODELS["llama"], REFERENCES["llama"], Fraction(3)
    first, second, third, stranger = people(1, 2, 1, 3)
    one = sum_over_patients(model, [first, second, third], TOKENIZER, reference, clip)
    other = sum_over_patients(model, [first, stranger, third], TOKENIZER, reference, clip)
    own = [sum_over_patients(model, [p], TOKENIZER, reference, clip) for p in (second, stranger)]
    np.testing.assert_array_equal(other - one, own[1] - own[0])


def test_a_patient_with_500_notes_counts_as_one():
    model, reference, clip = MODELS["llama"], REFERENCES["llama"], Fraction(1, 2)
    busy = Patient("busy", tuple(f"{NOTES[i % 40]} Visit {i}." for i in range(500)))
    vector = sum_over_patients(model, [busy], TOKENIZER, reference, clip)
    assert exact_norm_squared(vector) <= NORM**2
    # The control: the same notes as 500 documents are far beyond it.
    apart = [Patient(str(i), (note,)) for i, note in enumerate(busy.notes[:40])]
    assert exact_norm_squared(sum_over_patients(model, apart, TOKENIZER, reference, clip)) > 100 * NORM**2


def test_the_trap_of_sequential_pruning():
    """One patient's note changes the mask of the first block, and so what is found in later ones of everybody else."""
    model, clip = MODELS["llama"], Fraction(1, 4)
    spec = PruningSpec(sparsity="3/5", sequence_length=16, max_windows=3, activations="sequential")
    others, (one, another) = people(*[1] * 12), people(3, 3, first=24)
    reference = REFERENCES["llama"]

    def others_sum(patient):
        """What the others contribute, with the masks that all patients together make of earlier blocks."""
        everybody = batches_of([*others, patient], TOKENIZER)
        pruned = make_model("llama", seed=4)
        flat = [batch for batches in everybody for batch in batches]
        windows = torch.cat([batch for batch in flat if batch.shape[1] == 16])
        sequential = LocalPruning(pruned, windows, pruning=spec)
        masks = {}
        for index in range(sequential.blocks):
            masks |= dict(sequential.masks(index))
            sequential.go_on(index)
        runner = BlockRunner(pruned, [batch for batches in everybody[:-1] for batch in batches])
        owners = [place for place, batches in enumerate(everybody[:-1]) for _ in batches]
        found = [{name: np.zeros(len(r)) for name, r in reference.items()} for _ in others]
        for index in range(runner.blocks):
            for place, sums in zip(owners, runner.collect_apart(index, SquareSum), strict=True):
                for name in sums.keys() & reference.keys():
                    found[place][name] += sums[name].square_sum.numpy()
        return unit_vectors(found, reference, clip).sum(axis=0)

    moved = others_sum(one) - others_sum(another)
    assert exact_norm_squared(moved) > (2 * NORM) ** 2, "the trap does not show itself here"
    # Dense, with everybody's vector bounded in the same way, the others do not move at all.
    dense = [
        sum_over_patients(model, [*others, p], TOKENIZER, reference, clip)
        - sum_over_patients(model, [p], TOKENIZER, reference, clip)
        for p in (one, another)
    ]
    np.testing.assert_array_equal(*dense)


# ---- Opacus
def test_clipping_is_joint_and_only_where_it_is_due():
    rng = np.random.default_rng(0)
    x = {"a": rng.normal(size=20), "b": rng.normal(size=30)}
    norm = np.sqrt(sum(v @ v for v in x.values()))
    clip = JointClip({"a": 20, "b": 30}, norm / 3)
    for name, values in clip(x).items():
        np.testing.assert_allclose(values, x[name] / 3, rtol=1e-5)
    for name, values in clip({name: v / 10 for name, v in x.items()}).items():
        np.testing.assert_allclose(values, x[name] / 10, rtol=1e-12)


def test_the_statistics_are_opacus_per_sample_gradients_of_a_gate():
    """An oracle of another kind: with y = g x and the loss |y|^2 / 2, the gradient at g = 1 is the sum of squares."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from opacus import GradSampleModule
        from opacus.grad_sample import register_grad_sampler

    class Gate(torch.nn.Module):
        def __init__(self, features):
            super().__init__()
            self.g = torch.nn.Parameter(torch.ones(features, dtype=torch.float64))

        def forward(self, x):
            return self.g * x

    @register_grad_sampler(Gate)
    def _per_sample(layer, activations, backprops):
        return {layer.g: torch.einsum("n...j,n...j->nj", backprops, activations[0])}

    model = make_model("llama", seed=4, dtype=torch.float64)
    windows = torch.cat(batches_of([Patient("p", tuple(NOTES[:8]))], TOKENIZER)[0])[:3]
    inputs = distinct_inputs(model, windows)
    entered = {}
    decoder = Decoder.of(model)
    for index in range(len(decoder.blocks)):
        for name, linear in decoder.linears(index).items():
            linear.register_forward_pre_hook(lambda _m, args, name=name: entered.update({name: args[0]}))
    with torch.no_grad():
        model(windows)  # each window is one sample, as if it were one patient
    found = list(
        mean_squares(make_model("llama", seed=4, dtype=torch.float64), [[w[None]] for w in windows], inputs)
    )
    for name in found[0]:
        gate = GradSampleModule(Gate(entered[name].shape[-1]).train(), loss_reduction="sum")
        (gate(entered[name]).square().sum() / 2).backward()
        (per_sample,) = [p.grad_sample for p in gate.parameters()]
        ours = np.stack([one[name] for one in found]) * windows.shape[1]
        np.testing.assert_allclose(ours, per_sample.numpy(), rtol=1e-9)
