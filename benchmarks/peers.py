"""Kronfluence's EK-FAC on the same model and images: the peer of the speed benchmark."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from orfila_engine.gradients import cross_entropy, measurement


def kronfluence(
    model: nn.Module, x: Tensor, labels: Tensor, queries: Tensor, query_labels: Tensor, batch_size: int, folder: Path
) -> tuple[float, float, Tensor]:
    """Fit EK-FAC factors on normalised training images x [N, C, H, W] and score the queries [Q, C, H, W].

    Default settings of the library: true Fisher with labels sampled from the model, float32; but its heuristic for the
    damping (0.1 x the mean eigenvalue), which ours takes too, instead of 1e-8. Returns the seconds for the factors, the
    seconds for the scores, and the influences [N, Q].
    """
    from kronfluence.analyzer import Analyzer, prepare_model
    from kronfluence.arguments import FactorArguments, ScoreArguments
    from kronfluence.task import Task

    class Classification(Task):  # type: ignore[misc,unused-ignore]
        """The loss and the measurement that our engines differentiate too."""

        def compute_train_loss(self, batch: Any, model: nn.Module, sample: bool = False) -> Tensor:
            """Summed cross-entropy, with sampled labels where the Fisher asks for them."""
            images, targets = batch
            logits = model(images)
            if sample:
                targets = torch.multinomial(logits.detach().softmax(1), 1).flatten()
            return cross_entropy(logits, targets).sum()

        def compute_measurement(self, batch: Any, model: nn.Module) -> Tensor:
            """Summed m(x, y)."""
            return measurement(model(batch[0]), batch[1]).sum()

    task = Classification()
    analyzer = Analyzer("bench", prepare_model(model, task), task, cpu=True, disable_tqdm=True, output_dir=str(folder))
    train, asked = TensorDataset(x, labels), TensorDataset(queries, query_labels)
    began = time.perf_counter()
    analyzer.fit_all_factors(
        "ekfac",
        train,
        per_device_batch_size=batch_size,
        factor_args=FactorArguments("ekfac"),
        overwrite_output_dir=True,
    )
    fitted = time.perf_counter()
    scores = analyzer.compute_pairwise_scores(
        "scores",
        "ekfac",
        asked,
        train,
        per_device_query_batch_size=len(queries),
        per_device_train_batch_size=batch_size,
        score_args=ScoreArguments(damping_factor=None),
        overwrite_output_dir=True,
    )
    done = time.perf_counter()
    if scores is None:
        scores = analyzer.load_pairwise_scores("scores")
    return fitted - began, done - fitted, scores["all_modules"].T.float()
