"""Unlearning by distillation: a student that follows teachers on the kept images and leaves them on the removed ones.

SCRUB (Kurmanji 2023, arXiv 2302.09880, section 3): the teacher is the deployed model. Steps that drive the student away
from it on the removed images alternate with an epoch that keeps the student near it, and right, on the kept ones; the
last epochs only keep.

Bad Teacher (Chundawat 2023, arXiv 2205.08096): on the removed images the student follows an incompetent teacher, a
freshly initialised network; on the kept ones the deployed model.

Both take the optimiser, schedule and number of epochs of the fine-tuning repair (CF), so that their costs compare.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from orfila_engine.architectures import ModelCard, build, normalise
from orfila_engine.data import PackedDataset
from orfila_engine.devices import mixed_precision
from orfila_engine.evaluation import evaluate, to_tensor
from orfila_engine.progress import Progress, part
from orfila_engine.training import Lesson, fit
from orfila_engine.unlearning.held_out import TOLERANCE, hold_out, strongest
from orfila_engine.unlearning.retraining import fine_tuning
from orfila_engine.unlearning.task import Outcome, Setting, Task

RATES = (1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
"""Peak learning rates to try, as shares of the training's peak, from the weakest."""
TRIALS = 3
"""Rates that are tried to find the largest good one of the seven."""
SCRUB_TEACHER_WEIGHT = 0.5
"""alpha of SCRUB; the labels weigh 1 (gamma). Both as in the authors' code."""
SCRUB_TEMPERATURE = 4.0
"""Of the softmax in SCRUB's distances, as in the authors' code."""
SCRUB_MAX_EPOCHS = 3
"""Epochs that begin with steps away from the teacher (3 in the authors' code); at least the last epoch does not."""
SCRUB_BATCH = 32
"""Removed images in a step away from the teacher."""
SCRUB_CLIP = 1.0
"""Longest gradient of such a step. The distance has no upper bound, and its steps run away without one."""


class Scrub:
    """The lesson of SCRUB: see the module."""

    def __init__(
        self, teacher: nn.Module, card: ModelCard, packed: PackedDataset, removed: NDArray[np.int64], recipe_seed: int,
        n_max_epochs: int,
    ) -> None:  # fmt: skip
        """teacher: the deployed model, in evaluation mode. n_max_epochs: how many epochs begin with steps away."""
        self.name = f"scrub {SCRUB_TEACHER_WEIGHT} {SCRUB_TEMPERATURE} {n_max_epochs}"
        self._teacher = teacher
        self._card, self._packed, self._removed = card, packed, removed
        self._seed, self._n_max_epochs = recipe_seed, n_max_epochs

    def before_epoch(self, model: nn.Module, optimiser: torch.optim.Optimizer, number: int) -> None:
        """One pass over the removed images: maximise the distance to the teacher (equation 3, second term).

        In evaluation mode, so that the statistics of batch normalisation stay those of kept images.
        """
        if number >= self._n_max_epochs:
            return
        device = next(model.parameters()).device
        order = np.random.default_rng([self._seed, 3, number]).permutation(self._removed)
        model.eval()
        for start in range(0, len(order), SCRUB_BATCH):
            x = normalise(to_tensor(self._packed.pixels[order[start : start + SCRUB_BATCH]]).to(device), self._card)
            with mixed_precision(device):
                distance = divergence(model(x), _answers(self._teacher, x), SCRUB_TEMPERATURE).mean()
            optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(-distance)
            nn.utils.clip_grad_norm_(model.parameters(), SCRUB_CLIP)
            optimiser.step()

    def loss(self, model: nn.Module, x: Tensor, labels: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
        """alpha KL(teacher | student) + cross-entropy, on kept images (equation 3, first and third term)."""
        logits: Tensor = model(x)
        distance = divergence(logits, _answers(self._teacher, x), SCRUB_TEMPERATURE).mean()
        return SCRUB_TEACHER_WEIGHT * distance + F.cross_entropy(logits.float(), labels), logits


class BadTeacher:
    """The lesson of Bad Teacher: see the module. It is given kept and removed images together."""

    name = "badt"

    def __init__(self, competent: nn.Module, incompetent: nn.Module, removed: NDArray[np.int64], n_train: int) -> None:
        """competent: the deployed model; incompetent: an untrained one; both in evaluation mode."""
        self._competent, self._incompetent = competent, incompetent
        self._is_removed = torch.zeros(n_train, dtype=torch.bool)
        self._is_removed[torch.from_numpy(removed)] = True

    def before_epoch(self, model: nn.Module, optimiser: torch.optim.Optimizer, number: int) -> None:
        """Nothing to do."""

    def loss(self, model: nn.Module, x: Tensor, labels: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
        """KL to the teacher of each image (equation 3)."""
        logits: Tensor = model(x)
        bad = self._is_removed[indices].to(x.device)
        teacher = _answers(self._competent, x)
        if bool(bad.any()):
            teacher[bad] = _answers(self._incompetent, x[bad])
        return divergence(logits, teacher, 1.0).mean(), logits


def divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """KL(teacher | student) of softened answers, scaled by the squared temperature: logits [B, K] -> [B]."""
    log_student = F.log_softmax(student.float() / temperature, dim=1)
    log_teacher = F.log_softmax(teacher.float() / temperature, dim=1)
    return temperature**2 * F.kl_div(log_student, log_teacher, reduction="none", log_target=True).sum(1)


def _answers(teacher: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        logits: Tensor = teacher(x)
    return logits


def scrub(task: Task) -> Outcome:
    """Repair by SCRUB."""
    teacher = copy.deepcopy(task.model).eval().to(task.where)

    def lesson(epochs: int) -> Lesson:
        away = max(1, min(SCRUB_MAX_EPOCHS, epochs - 1))
        return Scrub(teacher, task.card, task.packed, task.removed, task.recipe.seed, away)

    return _distil(task, lesson, task.removed)


def bad_teacher(task: Task) -> Outcome:
    """Repair by Bad Teacher."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(task.recipe.seed)
        incompetent = build(task.card).eval().to(task.where)
    competent = copy.deepcopy(task.model).eval().to(task.where)
    made = BadTeacher(competent, incompetent, task.removed, task.packed.n_train)
    return _distil(task, lambda _epochs: made, np.empty(0, dtype=np.int64))


def _distil(task: Task, lesson: Callable[[int], Lesson], exclude: NDArray[np.int64]) -> Outcome:
    """Fit the lesson at the largest peak learning rate that keeps what the model knows.

    lesson: made for a number of epochs. exclude: training images that the lesson is not given. Each rate is tried for
    one epoch without the held-out images; the repair itself then uses all of the kept ones.
    """
    recipe = fine_tuning(task)
    settings: dict[str, Setting] = {}
    share = 0.0
    if task.learning_rate is None:
        share = TRIALS / (TRIALS + recipe.epochs)
        rate, settings = _peak(task, lesson(1), exclude, part(task.progress, 0, share))
        recipe = replace(recipe, learning_rate=rate)
    trained = fit(
        task.model,
        task.card,
        task.packed,
        recipe,
        exclude=exclude.tolist(),
        lesson=lesson(recipe.epochs),
        device=task.device,
        progress=part(task.progress, share, 1.0),
        checkpoint_dir=task.checkpoint_dir,
        resume=task.resume,
    )
    return Outcome(trained.model, settings, recipe)


def _peak(
    task: Task, lesson: Lesson, exclude: NDArray[np.int64], progress: Progress
) -> tuple[float, dict[str, Setting]]:
    """The largest rate after which the held-out images are answered as well as the deployed model answers test images.

    A training forgets the single images that it is not shown, as it should, so what the deployed model makes of its own
    training images is no measure here; what it makes of images that it never saw is.
    """
    recipe = fine_tuning(task)
    held = hold_out(task.model, task.card, task.packed, task.removed, recipe.seed, task.device)
    unseen = evaluate(task.model, task.card, *task.packed.test, device=task.device).accuracy
    found: dict[float, float] = {}

    def keeps_knowledge(share: float) -> bool:
        tried = fit(
            copy.deepcopy(task.model),
            task.card,
            task.packed,
            replace(recipe, epochs=1, learning_rate=recipe.learning_rate * share),
            exclude=np.union1d(exclude, held.indices).tolist(),
            lesson=lesson,
            device=task.device,
            progress=part(progress, len(found) / TRIALS, (len(found) + 1) / TRIALS),
        )
        found[share] = held.accuracy(held.right(tried.model))
        return found[share] >= unseen - TOLERANCE

    share = strongest(RATES, keeps_knowledge) or RATES[0]
    settings: dict[str, Setting] = {
        "learning_rate_of_training": task.recipe.learning_rate,
        "test_accuracy_before": unseen,
        "held_out_after_one_epoch": found[share],
    }
    return recipe.learning_rate * share, settings
