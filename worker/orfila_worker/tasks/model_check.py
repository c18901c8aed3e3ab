"""Model check: does it load, does it fit the data, what does it predict?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from orfila.jobs.contracts import ModelCheckResult, ModelCheckSpec
from orfila.models.schemas import ModelCard as CardSchema
from orfila_engine.architectures import ModelCard
from orfila_engine.caveats import training_accuracy, untrained
from orfila_engine.data import PackedDataset
from orfila_engine.evaluation import evaluate
from orfila_engine.progress import part
from orfila_engine.training import check_fit

if TYPE_CHECKING:
    from orfila_worker.runner import Work


def model_check(work: Work) -> ModelCheckResult:
    """Load the weights, predict the test split and a sample of the training split.

    Raises ValueError where weights, card and data do not fit together.
    """
    spec = ModelCheckSpec.model_validate(work.spec)
    work.progress("loading the model", 0.0)
    model, card = work.warm.model(spec.weights, spec.card)
    return check(work, model, card, work.warm.pack(spec.pack))


def check(work: Work, model: nn.Module, card: ModelCard, packed: PackedDataset) -> ModelCheckResult:
    """What is known of any model of the product, uploaded or repaired."""
    check_fit(card, packed)
    pixels, labels = packed.test
    test = evaluate(model, card, pixels, labels, device=work.device, progress=part(work.progress, 0.05, 0.6))
    accuracy = training_accuracy(model, card, packed, device=work.device, progress=part(work.progress, 0.6, 1.0))
    model.to(work.device)
    path = work.folder / "predictions.npz"
    np.savez(
        path,
        test_index=np.arange(packed.n_train, packed.n_train + len(labels), dtype=np.int32),
        label=labels.astype(np.int32),
        predicted=test.predicted.astype(np.int32),
        confidence=test.confidence,
        margin=test.margin,
    )
    warning = untrained(accuracy, packed)
    return ModelCheckResult(
        card=CardSchema(
            architecture=card.architecture,
            classes=list(card.classes),
            input_size=card.input_size,
            channels=3 if card.channels == 3 else 1,
            mean=list(card.mean),
            std=list(card.std),
        ),
        n_parameters=sum(p.numel() for p in model.parameters()),
        accuracy_train=accuracy,
        accuracy_test=test.accuracy,
        warnings=[] if warning is None else [warning],
        files={path.name: work.store.put_file(path)},
    )
