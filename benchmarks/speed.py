"""How long the fingerprint index and our EK-FAC take, beside one plain training epoch and Kronfluence's EK-FAC.

`python -m benchmarks.speed --data CIFAR --architecture resnet18-cifar --images 2000` measures one network by itself.

The epoch is forward and backward over the same images in the same batches on the same threads, with batch
normalisation in training mode and no optimiser, loader or augmentation: the least that any training pays. It is
measured in both memory formats, and the ratio is to the faster one. Rounds are interleaved; the best of each counts.
A few thousand images suffice for the ratio of a large network: both sides are linear in them.
"""

from __future__ import annotations

import argparse
import copy
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from benchmarks import machine
from benchmarks.peers import kronfluence
from orfila_engine.architectures import ModelCard, build, normalise
from orfila_engine.collapse import collapse, query_direction
from orfila_engine.confirmation import rank_correlation
from orfila_engine.data import PackedDataset, resolve
from orfila_engine.ekfac import build_engine
from orfila_engine.fingerprint import BATCH_SIZE, FingerprintIndex, build_index
from orfila_engine.questions import Asked, ask, suspects_of
from orfila_engine.training import train

ARCHITECTURE = "resnet20-cifar"
TARGETS = {"resnet20-cifar": 1.0, "resnet18-cifar": 0.8}
"""At most this many epochs for an index."""
N_B = 50


def run(
    packed: PackedDataset,
    work: Path,
    *,
    threads: int,
    rounds: int,
    peer: bool,
    n_images: int,
    architecture: str = ARCHITECTURE,
) -> dict[str, Any]:
    """Time epoch and index over `rounds`, then the peer once. Returns seconds and ratios."""
    torch.set_num_threads(threads)
    about = machine.describe()
    pixels, labels = packed.train[0][:n_images], packed.train[1][:n_images]
    model, card = _model(architecture, packed)
    index_dir = work / "index"

    def index() -> FingerprintIndex:
        return build_index(model, card, pixels, labels, index_dir, device="cpu")

    steps: dict[str, Callable[[], object]] = {
        "epoch": _epoch(model, card, pixels, labels, torch.contiguous_format),
        "epoch, channels last": _epoch(model, card, pixels, labels, torch.channels_last),
        "index": index,
    }
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            began = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - began)
    best = {name: min(values) for name, values in seconds.items()}
    opened = FingerprintIndex.open(index_dir, device="cpu")
    answer, influences = _answer(opened, packed, model, card)
    result: dict[str, Any] = {
        "machine": about,
        "architecture": architecture,
        "target": TARGETS[architecture],
        "threads": threads,
        "images": len(pixels),
        "batch": BATCH_SIZE,
        "parameters": sum(p.numel() for p in model.parameters()),
        "dimension": opened.dimension,
        "seconds": {name: [round(v, 2) for v in values] for name, values in seconds.items()},
        "phases of the last index": {k: round(v, 2) for k, v in opened.meta["seconds"].items()},
        "index / epoch": round(best["index"] / min(best["epoch"], best["epoch, channels last"]), 3),
        "further affected image": round(answer, 3),
    }
    if peer:
        result["kronfluence"] = _peer(packed, model, card, n_images, work, best["index"] + answer, influences)
    shutil.rmtree(work)
    return result


def _model(architecture: str, packed: PackedDataset) -> tuple[nn.Module, ModelCard]:
    """A model trained for one epoch; of the larger architectures as it was drawn, which takes as long to index."""
    if architecture == ARCHITECTURE:
        trained = train(architecture, packed, epochs=1, seed=0, device="cpu")
        return trained.model, trained.card
    torch.manual_seed(0)
    channels = packed.pixels.shape[3]
    card = ModelCard(
        architecture, packed.classes, packed.pixels.shape[1:3], channels, (0.5,) * channels, (0.25,) * channels
    )
    return build(card).eval(), card


def _epoch(
    model: nn.Module, card: ModelCard, pixels: NDArray[np.uint8], labels: NDArray[np.int64], layout: torch.memory_format
) -> Callable[[], None]:
    trained = copy.deepcopy(model).train().to(memory_format=layout)
    targets = torch.from_numpy(np.array(labels))

    def epoch() -> None:
        for start in range(0, len(pixels), BATCH_SIZE):
            images = torch.from_numpy(np.array(pixels[start : start + BATCH_SIZE])).permute(0, 3, 1, 2)
            x = normalise(images, card).contiguous(memory_format=layout)
            trained.zero_grad(set_to_none=True)
            torch.autograd.backward(F.cross_entropy(trained(x), targets[start : start + BATCH_SIZE]))

    return epoch


def _answer(
    index: FingerprintIndex, packed: PackedDataset, model: nn.Module, card: ModelCard
) -> tuple[float, NDArray[np.float32]]:
    """Seconds for a further affected image against a ready index, and its influences [n, 1 + n_b]."""
    labels = packed.train[1][: index.n]
    taken = []
    influences = np.empty(0, dtype=np.float32)
    for number in range(4):  # the first one prepares the model and reads the index from disk
        image = np.array(packed.test[0][number])
        began = time.perf_counter()
        asked = ask(index, model, card, image, 0, n_b=N_B, seed=number)
        influences = index.influence(asked.fingerprints)
        direction = query_direction([asked.fingerprints])
        suspects = suspects_of(labels, 0, "label")
        collapse(index.suspects(suspects), direction)
        taken.append(time.perf_counter() - began)
    return min(taken[1:]), influences


def _peer(
    packed: PackedDataset,
    model: nn.Module,
    card: ModelCard,
    n_images: int,
    work: Path,
    ours: float,
    influences: NDArray[np.float32],
) -> dict[str, Any]:
    pixels, labels = np.array(packed.train[0][:n_images]), np.array(packed.train[1][:n_images])
    x = normalise(torch.from_numpy(pixels).permute(0, 3, 1, 2), card).contiguous()
    picture = torch.from_numpy(np.array(packed.test[0][3:4])).permute(0, 3, 1, 2).float() / 255
    asked = Asked(
        fingerprints=np.empty((1 + N_B, 0), dtype=np.float32),  # of a store, which is not asked here
        inputs=picture.repeat(1 + N_B, 1, 1, 1),
        images=np.repeat(np.array(packed.test[0][3:4]), 1 + N_B, axis=0),
        labels=np.zeros(1 + N_B, dtype=np.int64),
        kinds=("none",) * (1 + N_B),
    )
    factors, scores, theirs = kronfluence(
        copy.deepcopy(model),
        x,
        torch.from_numpy(labels),
        normalise(asked.inputs, card).contiguous(),
        torch.from_numpy(asked.labels),
        128,
        work / "kronfluence",
    )
    own, own_influences = _own_ekfac(model, card, pixels, labels, asked, work / "ekfac")
    return {
        "factors": round(factors, 1),
        "51 queries": round(scores, 1),
        "ours, index + 51 queries": round(ours, 1),
        "times faster": round((factors + scores) / ours, 1),
        "rank correlation of the influences": _rank_correlation(influences[:, 0], theirs[:, 0].numpy()),
        "our EK-FAC": own
        | {
            "times faster": round((factors + scores) / (own["factors"] + own["51 queries"]), 1),
            "rank correlation of the influences": _rank_correlation(own_influences, theirs[:, 0].numpy()),
        },
    }


def _own_ekfac(
    model: nn.Module,
    card: ModelCard,
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    asked: Asked,
    folder: Path,
) -> tuple[dict[str, float], NDArray[np.float32]]:
    """Seconds of our EK-FAC's phases, and the influences [n] on query 0."""
    began = time.perf_counter()
    engine = build_engine(model, card, pixels, labels, folder, device="cpu")
    fitted = time.perf_counter()
    engine.prepare()
    prepared = time.perf_counter()
    influences = engine.influence([asked])[0, :, 0]
    done = time.perf_counter()
    seconds = {
        "factors": round(fitted - began, 1),
        "51 queries": round(done - prepared, 1),
        "self-influence and sketches": round(prepared - fitted, 1),
    }
    return seconds, influences


def _rank_correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Query 0 is the same image with the same label on both sides.

    A few images with large influence rule the product moment, so the ranks are compared.
    """
    return round(rank_correlation(one, other), 3)


def main() -> None:
    """Measure one network and print the result as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="CIFAR-10: a pack, class folders, or an archive")
    parser.add_argument("--architecture", choices=sorted(TARGETS), default=ARCHITECTURE)
    parser.add_argument("--images", type=int, default=2_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", action="store_true", help="also Kronfluence and our EK-FAC")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        packed = resolve(asked.data, work / "packs")
        result = run(
            packed,
            work / "speed",
            threads=asked.threads,
            rounds=asked.rounds,
            peer=asked.peer,
            n_images=asked.images,
            architecture=asked.architecture,
        )
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
