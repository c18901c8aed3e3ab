"""Projected per-example gradients against autograd, in float64, for every kind of layer that users have."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orfila_engine.architectures import ModelCard, build
from orfila_engine.gradients import GradientProjector, ProjectionSpec, cross_entropy, measurement
from orfila_engine.gradients.attention import without_fast_path
from orfila_engine.gradients.folding import fold_batchnorm
from orfila_engine.gradients.objectives import Objective
from orfila_engine.gradients.projector import contract
from orfila_engine.gradients.random import projection

SPEC = ProjectionSpec(k_in=5, k_out=3, k_in_vector=7, seed=11)
EVERYTHING = ProjectionSpec(k_in=10**6, k_out=10**6, k_in_vector=10**6)
N_CLASSES = 4


class Head(nn.Module):
    """Any body, then pooling and a classifier."""

    def __init__(self, body: nn.Module, channels: int) -> None:
        super().__init__()
        self.body = body
        self.classifier = nn.Linear(channels, N_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.classifier(self.body(x).mean((2, 3)))
        return out


class Twice(nn.Module):
    """One convolution used twice, with an activation in place between."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(6, 6, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(self.relu(self.conv(x)))
        return out


class Tokens(nn.Module):
    """A small ViT on torch's own encoder layer; T tokens, batch first or not."""

    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 8, 3, stride=3)
        self.batch_first = batch_first
        self.attention = nn.MultiheadAttention(8, 2, batch_first=batch_first)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.classifier = nn.Linear(8, N_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patch(x).flatten(2).transpose(1, 2)
        if not self.batch_first:
            tokens = tokens.transpose(0, 1)
        tokens = tokens + self.attention(tokens, tokens, tokens, need_weights=False)[0]
        if not self.batch_first:
            tokens = tokens.transpose(0, 1)
        out: Tensor = self.classifier(self.layer(tokens).mean(1))
        return out


class Shortcut(nn.Module):
    """The convolution's output goes to the normalisation and past it: folding would be wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(6)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.norm(y) + y


def conv(*args: int, **kwargs: object) -> Callable[[], nn.Module]:
    return lambda: Head(nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(inplace=True), nn.Conv2d(*args, **kwargs)), args[1])  # type: ignore[arg-type]


def normed(groups: int, affine: bool, bias: bool) -> Callable[[], nn.Module]:
    return lambda: Head(
        nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.Conv2d(6, 8 if groups == 2 else 6, 3, groups=groups, bias=bias),
            nn.BatchNorm2d(8 if groups == 2 else 6, affine=affine),
            nn.ReLU(inplace=True),
        ),
        8 if groups == 2 else 6,
    )


def named(architecture: str, channels: int = 3, size: int = 32) -> Callable[[], nn.Module]:
    classes = tuple("abcd")
    return lambda: build(ModelCard(architecture, classes, (size, size), channels, (0.5,) * channels, (0.2,) * channels))


MODELS: dict[str, Callable[[], nn.Module]] = {
    "plain": conv(6, 7, 3),
    "no bias": conv(6, 7, 3, bias=False),
    "one by one": conv(6, 7, 1),
    "rectangular kernel": conv(6, 7, (1, 3)),  # type: ignore[arg-type]
    "strided": conv(6, 7, 3, stride=2),
    "strided unevenly": conv(6, 7, 3, stride=(2, 3)),
    "dilated": conv(6, 7, 3, dilation=2),
    "padded": conv(6, 7, 3, padding=2),
    "padding same": conv(6, 7, 3, padding="same"),
    "padding valid": conv(6, 7, 3, padding="valid"),
    "padding same, even kernel": conv(6, 7, 4, padding="same"),
    "padding reflect": conv(6, 7, 3, padding=1, padding_mode="reflect"),
    "padding circular": conv(6, 7, 3, padding=(2, 1), padding_mode="circular"),
    "padding replicate, strided": conv(6, 7, 3, stride=2, padding=1, padding_mode="replicate"),
    "grouped": conv(6, 9, 3, groups=3),
    "grouped, no bias, strided, dilated": conv(6, 4, 3, groups=2, bias=False, stride=2, dilation=2),
    "depthwise": conv(6, 6, 3, groups=6),
    "depthwise, multiplied": conv(6, 12, 3, groups=6, padding=1),
    "batch normalisation": normed(1, affine=True, bias=False),
    "batch normalisation, bias": normed(1, affine=True, bias=True),
    "batch normalisation, not affine": normed(1, affine=False, bias=False),
    "batch normalisation, grouped": normed(2, affine=True, bias=True),
    "batch normalisation, depthwise": normed(6, affine=True, bias=False),
    "output used past the normalisation": lambda: Head(Shortcut(), 6),
    "shared module": lambda: Head(nn.Sequential(nn.Conv2d(3, 6, 3), Twice()), 6),
    "linear only": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(3 * 9 * 9, 12), nn.ReLU(inplace=True), nn.Linear(12, N_CLASSES, bias=False)
    ),
    "tokens": lambda: Tokens(batch_first=True),
    "tokens first": lambda: Tokens(batch_first=False),
}


def prepared(make: Callable[[], nn.Module], seed: int = 3) -> nn.Module:
    """A float64 model in evaluation mode whose batch normalisation has statistics worth folding."""
    torch.manual_seed(seed)
    model = make().double().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_()
            module.running_var.uniform_(0.3, 2.0)
            if module.affine:
                nn.init.normal_(module.weight)
                nn.init.normal_(module.bias)
    return model


def autograd_gradient(model: nn.Module, name: str, x: Tensor, label: Tensor, objective: Objective) -> Tensor:
    """G [fan-out, fan-in (+ 1)] of one example by plain autograd."""
    model = copy.deepcopy(model)
    modules = dict(model.named_modules())
    if name.endswith("in_proj"):
        owner = modules[name.removesuffix(".in_proj")]
        assert isinstance(owner, nn.MultiheadAttention)
        weight, bias = owner.in_proj_weight, owner.in_proj_bias
    else:
        weight, bias = modules[name].weight, modules[name].bias  # type: ignore[assignment]
    wanted = [weight] if bias is None else [weight, bias]
    grads = torch.autograd.grad(objective(model(x[None]), label[None]).sum(), wanted)
    columns = [grads[0].flatten(1)] + [g[:, None] for g in grads[1:]]
    return torch.cat(columns, dim=1)


def assert_agrees(model: nn.Module, x: Tensor, labels: Tensor, spec: ProjectionSpec, objective: Objective) -> None:
    projector = GradientProjector(model, (x.shape[1], x.shape[2], x.shape[3]), spec)
    got = projector(x, labels, objective)
    assert got.shape == (len(x), projector.dimension)
    for i in range(len(x)):
        for layer in projector.layers:
            gradient = autograd_gradient(model, layer.name, x[i], labels[i], objective)
            p_b = projection(spec.seed, layer.name, "output", layer.k_b, gradient.shape[0])
            p_a = projection(spec.seed, layer.name, "input", layer.k_a, gradient.shape[1])
            expected = p_b @ gradient @ p_a.T
            assert expected.abs().max() > 0
            torch.testing.assert_close(
                got[i, layer.columns].view(layer.k_b, layer.k_a), expected, rtol=1e-8, atol=1e-11
            )


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("objective", [cross_entropy, measurement])
def test_projection_of_the_autograd_gradient(kind: str, objective: Objective) -> None:
    model = prepared(MODELS[kind])
    x, labels = torch.randn(3, 3, 9, 9, dtype=torch.float64), torch.tensor([0, 3, 1])
    assert_agrees(model, x, labels, SPEC, objective)


@pytest.mark.parametrize("kind", MODELS)
def test_full_rank_is_the_autograd_gradient(kind: str) -> None:
    model = prepared(MODELS[kind])
    x, labels = torch.randn(2, 3, 9, 9, dtype=torch.float64), torch.tensor([2, 0])
    projector = GradientProjector(model, (3, 9, 9), EVERYTHING)
    got = projector(x, labels)
    for i in range(2):
        for layer in projector.layers:
            gradient = autograd_gradient(model, layer.name, x[i], labels[i], cross_entropy)
            torch.testing.assert_close(got[i, layer.columns].view_as(gradient), gradient, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize(
    ("architecture", "channels", "size"),
    [
        ("resnet-nano", 1, 8),
        ("resnet20-cifar", 3, 32),
        ("torchvision:mobilenet_v3_small", 3, 64),
        ("timm:vit_tiny_patch16_224", 3, 32),
    ],
)
def test_named_architectures(architecture: str, channels: int, size: int) -> None:
    model = prepared(named(architecture, channels, size))
    x = torch.randn(1, channels, size, size, dtype=torch.float64)
    assert_agrees(model, x, torch.tensor([3]), ProjectionSpec(k_in=3, k_out=2, k_in_vector=4), measurement)


@pytest.mark.parametrize("kind", list(MODELS))
def test_every_layer_is_covered(kind: str) -> None:
    """Only normalisation stays out of these models, and what is in and out adds up to the whole model."""
    model = prepared(MODELS[kind])
    projector = GradientProjector(model, (3, 9, 9))
    assert {item.kind for item in projector.left_out} <= {"BatchNorm2d", "LayerNorm"}
    total = sum(layer.n_parameters for layer in projector.layers) + sum(i.n_parameters for i in projector.left_out)
    assert total == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("positions", [1, 3, 50])
def test_both_orders_of_contraction_agree(groups: int, positions: int) -> None:
    generator = torch.Generator().manual_seed(0)
    b = torch.randn(5, 8, positions, generator=generator, dtype=torch.float64)
    a = torch.randn(5, groups * 6, positions, generator=generator, dtype=torch.float64)
    p_b = torch.randn(3, 8, generator=generator, dtype=torch.float64)
    by_group = a.view(5, groups, 6, positions)
    expected = torch.zeros(5, 8, 6, dtype=torch.float64)
    for c in range(8):
        expected[:, c] = torch.einsum("np,nkp->nk", b[:, c], by_group[:, c * groups // 8])
    expected = torch.einsum("kc,ncj->nkj", p_b, expected)
    for first in (True, False, None):
        torch.testing.assert_close(contract(b, a, p_b, groups, first), expected)


def test_channels_last_and_batches_do_not_matter() -> None:
    model = prepared(MODELS["grouped"])
    x, labels = torch.randn(7, 3, 9, 9, dtype=torch.float64), torch.arange(7) % N_CLASSES
    projector = GradientProjector(model, (3, 9, 9), SPEC)
    whole = projector(x, labels)
    in_parts = torch.cat([projector(x[i : i + 3], labels[i : i + 3]) for i in range(0, 7, 3)])
    torch.testing.assert_close(in_parts, whole, rtol=1e-10, atol=1e-13)
    last = GradientProjector(model.to(memory_format=torch.channels_last), (3, 9, 9), SPEC)
    torch.testing.assert_close(
        last(x.contiguous(memory_format=torch.channels_last), labels), whole, rtol=1e-10, atol=1e-13
    )


def test_the_model_is_not_changed() -> None:
    model = prepared(MODELS["batch normalisation"])
    before = copy.deepcopy(model.state_dict())
    x = torch.randn(2, 3, 9, 9, dtype=torch.float64)
    GradientProjector(model, (3, 9, 9), SPEC)(x, torch.tensor([0, 1]))
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert not any(m._forward_hooks for m in model.modules())


@pytest.mark.parametrize(
    ("layers", "names"), [("later-half", ["body.2", "classifier"]), ("classifier", ["classifier"])]
)
def test_only_some_layers(layers: str, names: list[str]) -> None:
    model = prepared(MODELS["plain"])
    spec = ProjectionSpec(layers=layers)  # type: ignore[arg-type]
    projector = GradientProjector(model, (3, 9, 9), spec)
    expected = names if layers == "classifier" else ["body.2", "classifier"]
    assert [layer.name for layer in projector.layers] == expected
    assert any("asked for" in item.reason for item in projector.left_out)
    x, labels = torch.randn(3, 3, 9, 9, dtype=torch.float64), torch.tensor([0, 3, 1])
    assert_agrees(model, x, labels, spec, cross_entropy)


def test_layers_that_cannot_be_indexed_are_named() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 3)
            self.normed = nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 8, 3))
            self.direct = nn.Linear(8, 8)
            self.tied_a, self.tied_b = nn.Linear(8, 8), nn.Linear(8, 8)
            self.tied_b.weight = self.tied_a.weight
            self.tokens_first = nn.Linear(8, 8)
            self.auxiliary = nn.Linear(8, 2)
            self.classifier = nn.Linear(8, N_CLASSES)

        def forward(self, x: Tensor) -> Tensor:
            tokens = self.normed(self.stem(x)).flatten(2).permute(2, 0, 1)
            h = self.tokens_first(tokens).mean(0)
            self.auxiliary(h)
            h = self.tied_b(self.tied_a(F.linear(h, self.direct.weight, self.direct.bias)))
            out: Tensor = self.classifier(h)
            return out

    model = prepared(Odd)
    projector = GradientProjector(model, (3, 9, 9), SPEC)
    reasons = {item.name: item.reason for item in projector.left_out}
    assert [layer.name for layer in projector.layers] == ["stem", "classifier"]
    assert "changes the weights" in next(r for n, r in reasons.items() if n.startswith("normed"))
    assert "never called" in reasons["direct"]
    assert reasons["tied_a"] == "it shares its weight with tied_b"
    assert "first dimension" in reasons["tokens_first"]
    assert "no effect on the logits" in reasons["auxiliary"]
    x, labels = torch.randn(3, 3, 9, 9, dtype=torch.float64), torch.tensor([0, 3, 1])
    assert_agrees(model, x, labels, SPEC, cross_entropy)


def test_a_model_without_layers_is_refused() -> None:
    class Nothing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(3))

        def forward(self, x: Tensor) -> Tensor:
            return x.mean((2, 3)) * self.scale

    with pytest.raises(ValueError, match="no Conv2d or Linear layer"):
        GradientProjector(Nothing(), (3, 9, 9))


@pytest.mark.parametrize("margin", [0.0, 5.0, 12.0, 18.0, 30.0])
def test_the_loss_gradient_keeps_its_digits_where_the_model_is_certain(margin: float) -> None:
    """torch's own cross-entropy loses the gradient's direction from a margin of 15 on: p - 1 is rounding noise."""
    logits = torch.randn(6, N_CLASSES, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(6) % N_CLASSES
    logits[torch.arange(6), labels] += margin
    torch.testing.assert_close(cross_entropy(logits, labels), F.cross_entropy(logits, labels, reduction="none"))
    single = logits.float().requires_grad_()
    cross_entropy(single, labels).sum().backward()
    others = logits.softmax(1).scatter(1, labels[:, None], 0)
    expected = others.scatter(1, labels[:, None], -others.sum(1, keepdim=True))
    assert single.grad is not None
    error = (single.grad.double() - expected).norm(dim=1) / expected.norm(dim=1)
    assert float(error.max()) < 1e-5


def test_passes_side_by_side_keep_the_fast_path_of_attention_off() -> None:
    """The switch is one for the process: the first pass to end must not turn it on under another."""
    one, two = without_fast_path(), without_fast_path()
    one.__enter__()
    two.__enter__()
    one.__exit__(None, None, None)
    assert not torch.backends.mha.get_fastpath_enabled()
    two.__exit__(None, None, None)
    assert torch.backends.mha.get_fastpath_enabled()


def test_folding_keeps_the_function_and_refuses_where_it_would_not() -> None:
    model = prepared(MODELS["batch normalisation"])
    x = torch.randn(2, 3, 9, 9, dtype=torch.float64)
    folded, scales = fold_batchnorm(model, [("body.1", "body.2")], x)
    assert list(scales) == ["body.1"]
    torch.testing.assert_close(folded(x), model(x))
    shortcut = prepared(MODELS["output used past the normalisation"])
    same, none = fold_batchnorm(shortcut, [("body.conv", "body.norm")], x)
    assert same is shortcut
    assert none == {}


def test_projection_keeps_inner_products_and_is_fixed_for_ever() -> None:
    p = projection(seed=5, layer="stem", side="input", k=400, fan=900)
    u, v = torch.randn(2, 900, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert abs(float((p @ u) @ (p @ u) / (u @ u)) - 1) < 0.2
    assert abs(float((p @ u) @ (p @ v) / (u.norm() * v.norm())) - float(u @ v / (u.norm() * v.norm()))) < 0.2
    assert torch.equal(projection(5, "stem", "input", 4, 4), torch.eye(4, dtype=torch.float64))
    # The bits of these projections are part of the file format: an index is queried with projections made anew.
    signs = np.sign(projection(0, "stem.0", "input", 2, 8).numpy()).astype(int).tolist()
    assert signs == [[1, -1, -1, 1, -1, 1, 1, 1], [1, 1, 1, 1, -1, 1, 1, 1]]
    assert not torch.equal(projection(0, "a", "input", 4, 9), projection(0, "a", "output", 4, 9))
    assert not torch.equal(projection(0, "a", "input", 4, 9), projection(1, "a", "input", 4, 9))


@pytest.mark.cuda
def test_cuda_agrees_with_the_processor() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    model = prepared(MODELS["batch normalisation, grouped"]).float()
    x, labels = torch.randn(8, 3, 9, 9), torch.arange(8) % N_CLASSES
    here = GradientProjector(model, (3, 9, 9), SPEC)(x, labels)
    there = GradientProjector(model, (3, 9, 9), SPEC, "cuda")(x, labels).cpu()
    # bfloat16 keeps 8 bits of each product.
    assert float(F.cosine_similarity(here, there).min()) > 0.995
