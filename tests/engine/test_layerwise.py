"""Who listens to a training is told in the middle of a step, forwards and backwards, and may stop it there."""

import pytest
import torch
from torch import nn

from orfila_engine import layerwise
from orfila_engine.architectures import ModelCard, build
from orfila_engine.layerwise import at_each_layer


@pytest.fixture(autouse=True)
def _always(monkeypatch):
    monkeypatch.setattr(layerwise, "_LEAST_SECONDS", -1.0)


def network() -> nn.Module:
    torch.manual_seed(0)
    card = ModelCard("resnet-nano", ("a", "b", "c"), (8, 8), 1, (0.5,), (0.25,))
    return build(card).train()


def step(model: nn.Module) -> list[torch.Tensor]:
    model.zero_grad()
    x = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    loss = nn.functional.cross_entropy(model(x), torch.tensor([0, 1, 2, 0]))
    torch.autograd.backward(loss)
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


def test_both_passes_look_up_at_each_layer_and_change_nothing():
    plain = step(network())
    model, told = network(), []
    n_layers = sum(1 for module in model.modules() if not list(module.children()))
    with at_each_layer(model, lambda: told.append(1)):
        watched = step(model)
    assert len(told) > 1.5 * n_layers
    assert len(plain) == len(watched) > 5
    assert all(torch.equal(a, b) for a, b in zip(plain, watched, strict=True))
    told.clear()
    step(model)
    assert told == [], "nobody is told afterwards"


@pytest.mark.parametrize("after", [3, -2])
def test_what_is_raised_ends_the_step_where_it_is(after):
    class Stop(Exception):
        pass

    model, told = network(), []
    with at_each_layer(model, lambda: told.append(1)):
        step(model)
    n_all, model, told = len(told), network(), []

    def tell():
        told.append(1)
        if len(told) == after % n_all:
            raise Stop

    with pytest.raises(Stop), at_each_layer(model, tell):
        step(model)
    assert len(told) == after % n_all


def test_a_look_up_is_rare(monkeypatch):
    monkeypatch.setattr(layerwise, "_LEAST_SECONDS", 60.0)
    model, told = network(), []
    with at_each_layer(model, lambda: told.append(1)):
        step(model)
    assert told == []
