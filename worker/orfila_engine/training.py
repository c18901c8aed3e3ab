"""Training of image classifiers: SGD with momentum and a one-cycle learning rate, seeded, resumable bit for bit.

Randomness is a function of (seed, epoch) alone, so a checkpoint needs no generator state: a training that is killed and
resumed gives the same weights as one that was not (on the same device and thread count).
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Collection, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol, get_args

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from orfila_engine.architectures import ModelCard, build, normalise
from orfila_engine.data import PackedDataset
from orfila_engine.devices import Precision, mixed_precision, select_device
from orfila_engine.evaluation import to_tensor
from orfila_engine.layerwise import at_each_layer
from orfila_engine.progress import Progress, quiet

CHECKPOINT = "checkpoint.safetensors"
_ON_DEVICE_BYTES = 2 * 2**30
_STATISTICS_IMAGES = 5_000


@dataclass(frozen=True)
class Recipe:
    """Everything, beside the data and the architecture, that decides the trained weights."""

    epochs: int = 12
    seed: int = 0
    batch_size: int = 128
    learning_rate: float = 0.1
    """Peak of the one-cycle schedule."""
    weight_decay: float = 5e-4
    momentum: float = 0.9
    warm_up: float = 0.25
    """Share of the steps in which the learning rate rises to its peak; it falls to nearly 0 in the rest (cosine)."""
    augment: bool = True
    """Random crops (shifts by up to an eighth of the height) and, for colour pictures, horizontal flips."""
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ValueError(f"epochs is {self.epochs}; train for at least 1")
        if self.batch_size < 2:
            raise ValueError(f"the batch size is {self.batch_size}; batch normalisation needs at least 2")
        if not self.learning_rate > 0:
            raise ValueError(f"the learning rate is {self.learning_rate}; it must be positive")
        if self.precision not in get_args(Precision):
            raise ValueError(f"the precision is '{self.precision}'; use {', '.join(get_args(Precision))}")


class Lesson(Protocol):
    """What the steps of a fit learn, where it is not the labels alone (unlearning by distillation)."""

    name: str
    """Names the lesson and its settings; a checkpoint of another one is not continued."""

    def before_epoch(self, model: nn.Module, optimiser: torch.optim.Optimizer, number: int) -> None:
        """Called before each epoch, numbered from 0, with the learning rate of its middle."""
        ...

    def loss(self, model: nn.Module, x: Tensor, labels: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss of a batch, and its logits [B, K]. x: normalised; indices: [B] `index` of each image, on the CPU.

        Called under the device's mixed precision.
        """
        ...


class Labels:
    """The ordinary lesson: cross-entropy with the labels."""

    name = "labels"

    def before_epoch(self, model: nn.Module, optimiser: torch.optim.Optimizer, number: int) -> None:
        """Nothing to do."""

    def loss(self, model: nn.Module, x: Tensor, labels: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
        """See `Lesson`."""
        logits: Tensor = model(x)
        return F.cross_entropy(logits.float(), labels), logits


@dataclass(frozen=True)
class Epoch:
    """What one epoch reached, measured on the augmented training images while they were learned."""

    number: int
    loss: float
    accuracy: float
    seconds: float


@dataclass(frozen=True)
class TrainedModel:
    """A model in evaluation mode on the CPU, and how it came to be."""

    model: nn.Module
    card: ModelCard
    recipe: Recipe
    history: list[Epoch]
    n_images: int
    n_excluded: int
    data_digest: str
    seconds: float

    def summary(self) -> dict[str, object]:
        """For the metadata of the model file."""
        return {
            "recipe": asdict(self.recipe),
            "n_images": self.n_images,
            "n_excluded": self.n_excluded,
            "data": self.data_digest,
            "training_accuracy": round(self.history[-1].accuracy, 4),
            "torch": torch.__version__,
        }


def card_for(architecture: str, packed: PackedDataset) -> ModelCard:
    """The card of a new model for a data set; mean and standard deviation come from its training images."""
    images, _ = packed.train
    step = max(1, len(images) // _STATISTICS_IMAGES)
    sample = np.asarray(images[::step], dtype=np.float64) / 255
    std = sample.std(axis=(0, 1, 2))
    return ModelCard(
        architecture=architecture,
        classes=packed.classes,
        input_size=(images.shape[1], images.shape[2]),
        channels=images.shape[3],
        mean=tuple(round(float(m), 4) for m in sample.mean(axis=(0, 1, 2))),
        std=tuple(max(round(float(s), 4), 1e-3) for s in std),
    )


def train(
    card_or_architecture: ModelCard | str,
    packed: PackedDataset,
    *,
    epochs: int = 12,
    seed: int = 0,
    exclude: Collection[int] = (),
    batch_size: int = 128,
    lr: float = 0.1,
    augment: bool = True,
    precision: Precision = "auto",
    device: str = "auto",
    progress: Progress = quiet,
    checkpoint_dir: Path | None = None,
    resume: bool = True,
) -> TrainedModel:
    """Train a new model on the training images of a pack.

    exclude: `index` of training images to leave out (exact unlearning: EU).
    augment: see Recipe; a planted poison takes hold in fewer epochs without it.
    checkpoint_dir: a checkpoint is written there after each epoch; with `resume` an existing one is continued.

    Raises ValueError when the data do not fit the card, or the checkpoint belongs to another training.
    """
    card = card_for(card_or_architecture, packed) if isinstance(card_or_architecture, str) else card_or_architecture
    recipe = Recipe(
        epochs=epochs, seed=seed, batch_size=batch_size, learning_rate=lr, augment=augment, precision=precision
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build(card)
    return fit(
        model,
        card,
        packed,
        recipe,
        exclude=exclude,
        device=device,
        progress=progress,
        checkpoint_dir=checkpoint_dir,
        resume=resume,
    )


def fit(
    model: nn.Module,
    card: ModelCard,
    packed: PackedDataset,
    recipe: Recipe,
    *,
    exclude: Collection[int] = (),
    lesson: Lesson | None = None,
    device: str = "auto",
    progress: Progress = quiet,
    checkpoint_dir: Path | None = None,
    resume: bool = True,
) -> TrainedModel:
    """Train (or go on training) a given model; its weights are the starting point. See `train`.

    The model is changed in place. Used for training from scratch and for fine-tuning (CF) alike.
    lesson: what to learn of each batch; the labels by default.
    """
    lesson = lesson or Labels()
    check_fit(card, packed)
    images, labels = packed.train
    kept = _kept(packed.n_train, exclude)
    missing = sorted(set(range(len(card.classes))) - set(np.unique(labels[kept]).tolist()))
    if missing:
        raise ValueError(
            f"no training image of the class '{card.classes[missing[0]]}' is left; a model cannot learn it without any"
        )
    where = select_device(device)
    model = model.to(where).to(memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(
        model.parameters(),
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=True,
    )
    identity = _identity(model, card, packed, recipe, kept) | {"lesson": lesson.name}
    checkpoint = checkpoint_dir / CHECKPOINT if checkpoint_dir is not None else None
    history: list[Epoch] = []
    if checkpoint is not None and resume and checkpoint.is_file():
        history = _restore(checkpoint, model, optimiser, identity)
    data = _Batches(images, labels, kept, where)
    started = time.perf_counter()
    for number in range(len(history), recipe.epochs):
        history.append(_epoch(model, card, data, recipe, lesson, optimiser, number, progress))
        if checkpoint is not None:
            _save(checkpoint, model, optimiser, identity, history)
    progress("trained", 1.0)
    return TrainedModel(
        model=model.to("cpu").to(memory_format=torch.contiguous_format).eval(),
        card=card,
        recipe=recipe,
        history=history,
        n_images=len(kept),
        n_excluded=packed.n_train - len(kept),
        data_digest=packed.digest,
        seconds=time.perf_counter() - started,
    )


def check_fit(card: ModelCard, packed: PackedDataset) -> None:
    """Raise ValueError, saying what to do, when a data set cannot be given to a model."""
    height, width, channels = packed.pixels.shape[1:]
    if len(card.classes) != len(packed.classes):
        raise ValueError(
            f"the model knows {len(card.classes)} classes, the data set has {len(packed.classes)}; "
            "use the data set that the model was trained on"
        )
    if card.classes != packed.classes:
        mine, theirs = next((a, b) for a, b in zip(card.classes, packed.classes, strict=True) if a != b)
        raise ValueError(
            f"the model's class '{mine}' is '{theirs}' in the data set; give both the same class names in one order"
        )
    if card.channels != channels:
        raise ValueError(f"the model takes {card.channels} channels, the data set's pictures have {channels}")
    if card.input_size != (height, width):
        raise ValueError(
            f"the model takes pictures of {card.input_size[1]} x {card.input_size[0]}, the data set's are "
            f"{width} x {height}; resize the data set to the model's size and pack it again"
        )


def learning_rate(recipe: Recipe, step: int, n_steps: int) -> float:
    """One-cycle (Smith 2018): linear warm-up to the peak, then a half cosine to nearly 0. step: 0 .. n_steps - 1."""
    rise = max(1.0, recipe.warm_up * n_steps)
    if step < rise:
        return recipe.learning_rate * (step + 1) / (rise + 1)
    share = (step - rise) / max(1.0, n_steps - rise)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * share))


def training_length(recipe: Recipe, n_images: int) -> float:
    """Sum of the learning rates of all steps, over 1 - momentum: how far gradient descent gets where nothing curves."""
    n_steps = recipe.epochs * -(-n_images // recipe.batch_size)
    return sum(learning_rate(recipe, step, n_steps) for step in range(n_steps)) / (1 - recipe.momentum)


def _kept(n_train: int, exclude: Collection[int]) -> NDArray[np.int64]:
    excluded = np.array(sorted({int(i) for i in exclude}), dtype=np.int64)
    if len(excluded) and not 0 <= excluded[0] <= excluded[-1] < n_train:
        raise ValueError(
            f"training images are numbered 0..{n_train - 1}; the set to leave out holds {excluded[0]} to {excluded[-1]}"
        )
    mask = np.ones(n_train, dtype=bool)
    mask[excluded] = False
    if int(mask.sum()) < 2:
        raise ValueError("fewer than two training images are left; leave out less")
    return np.flatnonzero(mask)


class _Batches:
    """Training images by position, on the device as a whole when they are small enough."""

    def __init__(
        self, images: NDArray[np.uint8], labels: NDArray[np.int64], kept: NDArray[np.int64], device: torch.device
    ) -> None:
        self.n = len(kept)
        self._device = device
        self._kept = kept
        self._images = images
        self._labels = torch.from_numpy(labels[kept]).to(device)
        small = self.n * images[0].size <= _ON_DEVICE_BYTES
        self._resident = to_tensor(images[kept]).to(device) if small else None

    def get(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """positions [B] -> images uint8 [B, C, H, W], labels [B]."""
        labels = self._labels[positions.to(self._device)]
        if self._resident is not None:
            return self._resident[positions.to(self._device)], labels
        return to_tensor(self._images[self._kept[positions.numpy()]]).to(self._device), labels

    def indices(self, positions: Tensor) -> Tensor:
        """positions [B] -> `index` [B], on the CPU."""
        return torch.from_numpy(self._kept[positions.numpy()])


def augment(x: Tensor, generator: torch.Generator) -> Tensor:
    """x: [B, C, H, W] -> the same, each picture shifted and (colour pictures) perhaps mirrored.

    Letters and digits, mostly grey, are not mirrored: many change their meaning.
    """
    n, channels, height, width = x.shape
    pad = max(1, height // 8)
    offsets = torch.randint(0, 2 * pad + 1, (2, n), generator=generator).to(x.device)
    flips = torch.rand(n, generator=generator).lt(0.5).to(x.device)
    padded = F.pad(x, (pad, pad, pad, pad))
    rows = offsets[0, :, None] + torch.arange(height, device=x.device)
    columns = offsets[1, :, None] + torch.arange(width, device=x.device)
    if channels == 3:
        columns = torch.where(flips[:, None], columns.flip(1), columns)
    batch = torch.arange(n, device=x.device)[:, None, None]
    # Indexing moves the channels to the end: [B, H, W, C].
    return padded[batch, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _epoch(
    model: nn.Module,
    card: ModelCard,
    data: _Batches,
    recipe: Recipe,
    lesson: Lesson,
    optimiser: torch.optim.Optimizer,
    number: int,
    progress: Progress,
) -> Epoch:
    started = time.perf_counter()
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(_mix(recipe.seed, number))
    order = torch.randperm(data.n, generator=generator)
    # A last batch of one image would give batch normalisation nothing to normalise over.
    batches = [b for b in torch.split(order, recipe.batch_size) if len(b) > 1]
    n_steps = recipe.epochs * len(batches)
    loss_sum = torch.zeros((), device=device)
    right = torch.zeros((), device=device)
    seen = step = 0

    def tell() -> None:
        progress(f"epoch {number + 1} of {recipe.epochs}", (number + step / len(batches)) / recipe.epochs)

    # On a processor a step is long for somebody who waits for it to make room, or to end.
    looked_up = at_each_layer(model, tell) if device.type == "cpu" else nullcontext()
    with looked_up, torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(_mix(recipe.seed, number) + 1)  # dropout and stochastic depth
        _set_rate(optimiser, learning_rate(recipe, int((number + 0.5) * len(batches)), n_steps))
        lesson.before_epoch(model, optimiser, number)
        model.train()
        for step, batch in enumerate(batches):
            images, labels = data.get(batch)
            x = normalise(augment(images, generator) if recipe.augment else images, card)
            _set_rate(optimiser, learning_rate(recipe, number * len(batches) + step, n_steps))
            with mixed_precision(device, recipe.precision):
                x = x.contiguous(memory_format=torch.channels_last)
                loss, logits = lesson.loss(model, x, labels, data.indices(batch))
            optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimiser.step()
            with torch.no_grad():
                loss_sum += loss.detach() * len(batch)
                right += (logits.argmax(1) == labels).sum()
            seen += len(batch)
            tell()
    mean_loss = float(loss_sum) / seen
    if not math.isfinite(mean_loss):
        raise ValueError(
            f"the training diverged in epoch {number + 1}; use a smaller learning rate than {recipe.learning_rate}"
        )
    return Epoch(number + 1, mean_loss, float(right) / seen, time.perf_counter() - started)


def _set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate


def _mix(seed: int, epoch: int) -> int:
    """One 62-bit number for (seed, epoch): neighbouring seeds share no epoch."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{epoch}".encode()).digest()[:8], "little") >> 2


def _identity(
    model: nn.Module, card: ModelCard, packed: PackedDataset, recipe: Recipe, kept: NDArray[np.int64]
) -> dict[str, str]:
    """What a checkpoint belongs to; compared field by field on resume."""
    start = hashlib.sha256()
    for tensor in model.state_dict().values():
        start.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return {
        "model": json.dumps(card.to_metadata(), sort_keys=True),
        "start": start.hexdigest(),
        "data": packed.digest,
        "images": hashlib.sha256(kept.tobytes()).hexdigest(),
    } | {k: repr(v) for k, v in asdict(recipe).items()}


def _save(
    path: Path,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    identity: dict[str, str],
    history: Sequence[Epoch],
) -> None:
    tensors = {f"model.{k}": v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        state = optimiser.state[parameter]
        if "momentum_buffer" in state:
            tensors[f"momentum.{name}"] = state["momentum_buffer"].detach().cpu().contiguous()
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    metadata = {"identity": json.dumps(identity), "history": json.dumps([asdict(e) for e in history])}
    save_file(tensors, part, metadata=metadata)
    part.replace(path)


def _restore(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer, identity: dict[str, str]) -> list[Epoch]:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        found = json.loads(metadata["identity"])
        differing = [k for k in identity if found.get(k) != identity[k]]
        if differing:
            raise ValueError(
                f"the checkpoint in {path.parent} belongs to another training (it differs in {', '.join(differing)}); "
                "delete it or give another directory"
            )
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    model.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")})
    for name, parameter in model.named_parameters():
        buffer = tensors.get(f"momentum.{name}")
        if buffer is not None:
            momentum = torch.empty_like(parameter, memory_format=torch.preserve_format).copy_(buffer)
            optimiser.state[parameter]["momentum_buffer"] = momentum
    return [Epoch(**e) for e in json.loads(metadata["history"])]
