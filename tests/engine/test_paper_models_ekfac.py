"""EK-FAC on the models of the paper and those that users bring, against autograd on whole networks, in float64.

`test_ekfac_contraction` holds the kinds of layers one by one. Eigenvectors of ResNet-18's widest layers take minutes;
so gradients are compared on every network, and the engine's answers on those that are narrow enough.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from test_ekfac_engine import close, solve, vectors
from test_paper_models import CLASSES, NETWORKS, prepared, weights_of
from torch import Tensor

from orfila_engine.architectures import ModelCard
from orfila_engine.ekfac import EkfacSpec, build_engine
from orfila_engine.ekfac.contraction import Contraction
from orfila_engine.evaluation import to_tensor
from orfila_engine.gradients.hooked import HookedModel
from orfila_engine.gradients.objectives import cross_entropy, measurement
from orfila_engine.questions import Asked

N = 5
LABELS = np.arange(N) % len(CLASSES)
NARROW = ("timm:convnext_atto", "timm:mobilenetv3_small_100", "torchvision ViT")


@pytest.mark.parametrize("network", NETWORKS)
def test_gradients_of_each_example_agree_with_autograd_on_every_layer(network: str) -> None:
    make, size = NETWORKS[network]
    model = prepared(make)
    x, labels = torch.randn(2, 3, size, size, dtype=torch.float64), torch.tensor([3, 1])
    hooked = HookedModel(model, (3, size, size))
    # Summed as they come: the inputs of all layers of a whole network are not kept.
    each: dict[str, Tensor] = {}
    along: dict[str, Tensor] = {}
    contractions = {layer.name: Contraction(layer, torch.float64) for layer in hooked.layers}
    directions = {name: torch.randn(c.shape, dtype=torch.float64) for name, c in contractions.items()}

    def receive(layer: object, a: Tensor, b: Tensor) -> None:
        name = layer.name  # type: ignore[attr-defined]
        contraction, scale = contractions[name], layer.scale  # type: ignore[attr-defined]
        factor = 1 if scale is None else scale.view(contraction.groups, -1, 1)
        each[name] = each.get(name, 0) + factor * contraction.gradients(a, b, 2)
        along[name] = along.get(name, 0) + contraction.along(a, b, 2, factor * directions[name])

    hooked.run(x, labels, measurement, receive)
    assert set(each) == set(contractions)
    for i in range(2):
        wanted = [w for layer in hooked.layers for w in weights_of(model, layer.name) if w is not None]
        found = iter(torch.autograd.grad(measurement(model(x[i : i + 1]), labels[i : i + 1]).sum(), wanted))
        for layer in hooked.layers:
            weight, bias = next(found), None if weights_of(model, layer.name)[1] is None else next(found)
            expected = contractions[layer.name].pack(weight, bias)
            assert expected.abs().max() > 0, layer.name
            assert float((each[layer.name][i] - expected).norm() / expected.norm()) < 1e-8, layer.name
            product = float((expected * directions[layer.name]).sum())
            assert float(along[layer.name][i]) == pytest.approx(product, rel=1e-6, abs=1e-9 * float(expected.norm()))


@pytest.mark.parametrize("network", NARROW)
def test_influences_of_a_whole_network(network: str, tmp_path: Path) -> None:
    """Influences, self-influences and cosines against autograd's gradients and the factors' own inverse."""
    make, size = NETWORKS[network]
    model = prepared(make)
    card = ModelCard(network, CLASSES, (size, size), 3, (0.5,) * 3, (0.25,) * 3)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (N, size, size, 3), dtype=np.uint8)
    engine = build_engine(model, card, pixels, LABELS, tmp_path / "ekfac", EkfacSpec(labels="all"), device="cpu")
    shown = rng.integers(0, 256, (3, size, size, 3), dtype=np.uint8)
    question = Asked(np.empty((0, 0), np.float32), to_tensor(shown), shown, np.array([1, 2, 0]), ("none",) * 3)
    g = vectors(model, engine, to_tensor(pixels), LABELS, cross_entropy, card)
    h = vectors(model, engine, question.inputs, question.labels, measurement, card)
    solved = solve(model, engine, g)
    close(engine.influence([question]), (solved @ h.T)[None])
    close(engine.self_influence, (g * solved).sum(1))
