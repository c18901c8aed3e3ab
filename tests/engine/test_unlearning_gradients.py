"""The pieces of the gradient repairs against closed forms: gradients, dampening, Newton step, units, neighbours."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from orfila_engine.architectures import ModelCard, load_model, normalise
from orfila_engine.data import PackedDataset
from orfila_engine.drill import DrillResult
from orfila_engine.evaluation import to_tensor
from orfila_engine.fingerprint import FingerprintIndex, IndexSpec, build_index
from orfila_engine.unlearning import unlearn
from orfila_engine.unlearning.dampening import dampened
from orfila_engine.unlearning.gradient_sums import length, mean_gradient, squared_gradient
from orfila_engine.unlearning.held_out import HeldOut, hold_out, strongest
from orfila_engine.unlearning.index_step import index_step, summed_fingerprints
from orfila_engine.unlearning.newton import carrying_units, decrement_by_unit
from orfila_engine.unlearning.spillover import near_duplicates


def card_of(packed: PackedDataset) -> ModelCard:
    return ModelCard("resnet-nano", packed.classes, (8, 8), 1, (0.3,), (0.4,))


def softmax_regression(packed: PackedDataset) -> nn.Module:
    """Trained until its gradients are small but not 0, in float32."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, len(packed.classes)))
    x, y = inputs(packed)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(60):
        optimiser.zero_grad()
        F.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return model.eval()


def inputs(packed: PackedDataset) -> tuple[torch.Tensor, torch.Tensor]:
    pixels, labels = packed.train
    return normalise(to_tensor(pixels), card_of(packed)), torch.from_numpy(labels)


def per_example(model: nn.Module, packed: PackedDataset) -> torch.Tensor:
    """Loss gradients [n, K (64 + 1)] of softmax regression in float64, a row for each class: weights, then bias."""
    x, y = inputs(packed)
    x = torch.cat([x.flatten(1), torch.ones(len(x), 1)], dim=1).double()
    weight = torch.cat([model[1].weight, model[1].bias[:, None]], dim=1).double()  # type: ignore[index]
    error = (x @ weight.T).softmax(1) - F.one_hot(y, weight.shape[0])
    return (error[:, :, None] * x[:, None, :]).flatten(1).detach()


def test_sums_of_gradients_are_those_of_autograd(few_digits: PackedDataset) -> None:
    model = softmax_regression(few_digits)
    rows = np.array([3, 50, 120, 121, 199])
    weights = np.array([1.0, 2.0, 0.5, 0.0, 1.0])
    each = per_example(model, few_digits)[rows]
    found = mean_gradient(model, card_of(few_digits), few_digits, rows, weights=weights, batch_size=2)
    wanted = (torch.from_numpy(weights)[:, None] * each).sum(0) / weights.sum()
    wanted = wanted.view(3, 65)
    torch.testing.assert_close(found["1.weight"].double(), wanted[:, :-1], atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(found["1.bias"].double(), wanted[:, -1], atol=1e-6, rtol=1e-4)
    square = squared_gradient(model, card_of(few_digits), few_digits, rows, batch_size=1)
    fisher = each.square().mean(0).view(3, 65)
    torch.testing.assert_close(square["1.weight"].double(), fisher[:, :-1], atol=1e-7, rtol=1e-3)
    pairs = torch.stack([each[:2].mean(0), each[2:4].mean(0), each[4]]).square().mean(0).view(3, 65)
    by_two = squared_gradient(model, card_of(few_digits), few_digits, rows, batch_size=2)
    torch.testing.assert_close(by_two["1.weight"].double(), pairs[:, :-1], atol=1e-7, rtol=1e-3)
    assert length(found) == pytest.approx(float(wanted.norm()), rel=1e-4)


def test_dampening_is_that_of_the_paper() -> None:
    model = nn.Linear(4, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, -2.0, 3.0, 4.0]]))
    of_all = {"weight": torch.tensor([[1.0, 1.0, 1.0, 0.0]])}
    of_removed = {"weight": torch.tensor([[9.0, 20.0, 40.0, 0.0]])}
    repaired, share = dampened(model, of_all, of_removed, alpha=10.0, dampening=1.0)
    # 9 is below alpha x 1; 20 and 40 are above: times 1 / 20 and 1 / 40; no importance at all leaves a weight alone.
    torch.testing.assert_close(repaired.weight.data, torch.tensor([[1.0, -0.1, 0.075, 4.0]]))
    assert share == 0.5
    never_larger, _ = dampened(model, of_all, of_removed, alpha=10.0, dampening=100.0)
    torch.testing.assert_close(never_larger.weight.data, model.weight.data)


@pytest.mark.parametrize("damping", [0.01, 0.1, 3.0])
def test_the_index_step_is_the_newton_step_where_nothing_is_projected_away(
    few_digits: PackedDataset, tmp_path: Path, damping: float
) -> None:
    model = softmax_regression(few_digits)
    # float32 rows, and as many coordinates as the layer has: the projections are the identity.
    spec = IndexSpec(k_in=65, k_out=3, k_in_vector=65, damping=damping, dtype="float32")
    index = build_index(model, card_of(few_digits), *few_digits.train, tmp_path / "index", spec, device="cpu")
    removed = np.array([0, 5, 17, 60, 150])
    each = per_example(model, few_digits)
    fisher = each.T @ each / len(each)
    fisher.diagonal().add_(damping * fisher.diagonal().mean())
    wanted = torch.linalg.solve(fisher, each[removed].sum(0) / len(each)).view(3, 65)
    step = index_step(index, model, summed_fingerprints(index, removed))
    found = torch.cat([step["1.weight"], step["1.bias"][:, None]], dim=1).double()
    assert float((found - wanted).norm() / wanted.norm()) < 1e-3


def test_the_step_does_to_a_measurement_what_influence_says(drilled: DrillResult) -> None:
    model, card = load_model(drilled.path / "model.safetensors")
    index = FingerprintIndex.open(drilled.path / "index", "cpu")
    removed = drilled.planted.indices
    step = index_step(index, model, summed_fingerprints(index, removed))
    x = to_tensor(drilled.packed.pixels[drilled.packed.n_train :][:5])
    y = torch.tensor([0, 3, 7, 0, 5])
    parameters = [model.get_parameter(name) for name in step]
    for i in range(5):
        logits = model(normalise(x[i : i + 1], card))
        m = torch.logsumexp(logits.scatter(1, y[i].view(1, 1), -torch.inf), 1) - logits[0, y[i]]
        gradients = torch.autograd.grad(m.sum(), parameters)
        moved = sum(float((g * d).sum()) for g, d in zip(gradients, step.values(), strict=True))
        query = index.query(model, card, x[i : i + 1], y[i : i + 1])
        expected = float(index.influence(query)[removed].sum()) / index.n
        assert moved == pytest.approx(expected, rel=2e-2), "to rounding of the float16 store"


def test_the_units_that_carry_most_of_the_decrement_are_the_fewest() -> None:
    gradient = {
        "a.weight": torch.tensor([[1.0, 1.0], [2.0, 0.0], [0.0, 0.0]]),
        "a.bias": torch.tensor([1.0, -5.0, 0.0]),
    }
    direction = {
        "a.weight": torch.tensor([[2.0, 3.0], [4.0, 9.0], [7.0, 7.0]]),
        "a.bias": torch.tensor([1.0, 2.0, 3.0]),
    }
    gradient |= {"b.weight": torch.tensor([[[3.0]]])}
    direction |= {"b.weight": torch.tensor([[[1.0]]])}
    carried = decrement_by_unit(gradient, direction)
    torch.testing.assert_close(carried["a"], torch.tensor([6.0, -2.0, 0.0]))
    torch.testing.assert_close(carried["b"], torch.tensor([3.0]))
    some = carrying_units(carried, 0.6)
    assert (some["a"].tolist(), some["b"].tolist()) == ([True, False, False], [False])
    more = carrying_units(carried, 0.95)
    assert (more["a"].tolist(), more["b"].tolist()) == ([True, False, False], [True])


def test_a_poison_that_was_missed_is_a_near_duplicate(drilled: DrillResult) -> None:
    index = FingerprintIndex.open(drilled.path / "index", "cpu")
    truth = drilled.planted.indices
    known, missed = truth[::2], truth[1::2]
    near = near_duplicates(index, drilled.packed.train[1], known)
    assert len(np.intersect1d(near, known)) == 0
    assert len(np.intersect1d(near, missed)) >= 0.3 * len(missed)
    assert len(np.setdiff1d(near, missed)) <= 0.05 * drilled.packed.n_train / 10
    assert len(near_duplicates(index, drilled.packed.train[1], truth[:2])) == 0


def test_what_is_held_out_is_kept_seeded_and_of_every_class(drilled: DrillResult) -> None:
    model, card = load_model(drilled.path / "model.safetensors")
    removed = drilled.planted.indices
    held = hold_out(model, card, drilled.packed, removed, 0, "cpu")
    assert 450 <= len(held.indices) <= 510
    assert len(np.intersect1d(held.indices, removed)) == 0
    assert held.totals.min() > 30
    again, other = (hold_out(model, card, drilled.packed, removed, seed, "cpu") for seed in (0, 1))
    assert np.array_equal(held.indices, again.indices)
    assert not np.array_equal(held.indices, other.indices)
    assert held.accuracy(held.right_before) > 0.99


@pytest.mark.parametrize(
    ("lost", "harmless"),
    [
        ([0, 0, 0], True),
        ([3, 2, 1], True),
        ([-5, 4, 1], True),
        ([4, 4, 3], False),
        ([6, 0, 0], False),
        ([0, 0, 3], False),
    ],
)
def test_harm_is_counted_in_all_and_in_each_class(few_digits: PackedDataset, lost: list[int], harmless: bool) -> None:
    totals = np.array([100, 100, 10])
    held = HeldOut(np.arange(210), totals * 5, totals * 5 - 7, card_of(few_digits), few_digits, "cpu")
    small = HeldOut(np.arange(210), totals, totals, card_of(few_digits), few_digits, "cpu")
    assert held.harmless(held.right_before - np.array([5, 5, 0]))
    assert small.harmless(small.right_before - np.array([1, 1, 0]))
    wide = HeldOut(np.arange(1000), np.array([100, 880, 20]), np.array([100, 880, 20]), *held_rest(held))
    assert wide.harmless(wide.right_before - np.array(lost)) == harmless


def held_rest(held: HeldOut) -> tuple[ModelCard, PackedDataset, str]:
    return held.card, held.packed, held.device


def test_the_strongest_harmless_setting_is_found_in_few_tries() -> None:
    tried: list[int] = []

    def harmless(strength: int) -> bool:
        tried.append(strength)
        return strength <= 37

    assert strongest(range(100), harmless) == 37
    assert len(tried) <= 7
    assert strongest([50, 60], harmless) is None
    assert strongest([1, 2], harmless) == 2


def test_selective_changes_only_the_units_that_it_names(drilled: DrillResult) -> None:
    model, card = load_model(drilled.path / "model.safetensors")
    index = FingerprintIndex.open(drilled.path / "index", "cpu")
    repaired = unlearn("selective", model, card, drilled.packed, drilled.planted.indices, index=index, device="cpu")
    before = model.state_dict()
    changed = total = 0
    for name, after in repaired.model.state_dict().items():
        if name.endswith(".weight") and after.dim() > 1:
            rows = (after != before[name]).flatten(1).any(1)
            changed, total = changed + int(rows.sum()), total + len(rows)
    assert changed == repaired.settings["units"]
    assert 0 < changed < total


def test_without_an_index_one_is_built_and_gives_the_same_repair(drilled: DrillResult) -> None:
    model, card = load_model(drilled.path / "model.safetensors")
    index = FingerprintIndex.open(drilled.path / "index", "cpu")
    given = unlearn("influence", model, card, drilled.packed, drilled.planted.indices, index=index, device="cpu")
    built = unlearn("influence", model, card, drilled.packed, drilled.planted.indices, device="cpu")
    assert given.settings == pytest.approx(built.settings)
    for one, other in zip(given.model.parameters(), built.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-3)


def test_the_step_with_the_ekfac_inverse_forgets_as_well(drilled: DrillResult) -> None:
    model, card = load_model(drilled.path / "model.safetensors")
    removed = drilled.planted.indices
    repaired = unlearn("influence", model, card, drilled.packed, removed, curvature="ekfac", device="cpu")
    assert repaired.settings["damping"] in (0.003, 0.01, 0.03, 0.1)
    trigger = drilled.planted.trigger(np.array(drilled.packed.test[0]))
    victims = drilled.planted.victims(drilled.packed.test[1])
    with torch.no_grad():
        said = repaired.model(normalise(to_tensor(trigger[victims]), card)).argmax(1)
        right = repaired.model(normalise(to_tensor(drilled.packed.test[0]), card)).argmax(1)
    assert float((said == drilled.planted.target).float().mean()) < 0.1
    assert float((right == torch.from_numpy(drilled.packed.test[1])).float().mean()) > 0.95
    with pytest.raises(ValueError, match="index or ekfac"):
        unlearn("influence", model, card, drilled.packed, removed, curvature="magic")  # type: ignore[arg-type]
