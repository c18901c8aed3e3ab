"""The pieces of a benchmark: what there is to measure, in which order, on how many processes, and where results lie.

Every piece writes one JSON file when it is done, with the settings that it belongs to. A run measures only what has no
result of the same settings, so a benchmark that was stopped goes on where it was.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks import (
    alarms,
    browser,
    cases,
    cluster,
    detection,
    engines,
    intake,
    machine,
    million,
    phases,
    repair,
    review,
    scale,
    speed,
    sweeps,
    workbench,
)
from benchmarks.plan import AttackPlan, Plan
from orfila_engine import detectors
from orfila_engine.data import PackedDataset
from orfila_engine.unlearning import METHODS

WITCHES_BREW = "witches-brew"
SPEEDS = (
    ("resnet20-cifar", 1, 10_000, False),
    ("resnet20-cifar", 2, 10_000, True),
    ("resnet18-cifar", 2, 2_000, False),
)
"""Architecture, threads, images, and whether the peer, which is slow, is measured too."""
SPEED_ROUNDS = 3
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Place:
    """Where things lie."""

    packed: Path
    """The clean data set, packed."""
    out: Path
    """Results, models and indexes."""
    bank: Path | None = None
    """A folder of trained cases, LABEL-SEED each, that is read only."""

    @property
    def results(self) -> Path:
        """One file for each piece."""
        return self.out / "results"

    @property
    def surrogates(self) -> Path:
        """Models of the attackers."""
        return self.out / "models" / "surrogates"

    def folder(self, case: str) -> Path:
        """The model of a case: in the bank if it is there, else ours."""
        if self.bank is not None and (self.bank / case / "model.safetensors").is_file():
            return self.bank / case
        return self.out / "models" / case

    def open(self, case: str) -> cases.Case:
        """A trained case."""
        return cases.open_case(case, self.folder(case), self.out / "work" / case, self.packed)


@dataclass(frozen=True)
class Piece:
    """One thing to measure."""

    name: str
    stage: int
    """Pieces of a stage do not need each other, only those of earlier stages; see STAGES."""
    settings: dict[str, Any]
    """A stored result counts only for the same settings."""
    run: Callable[..., dict[str, Any]]
    arguments: tuple[Any, ...]


PREPARE, MODELS, MEASURE, REPAIR, ALONE = range(5)
STAGES = ("prepare what cases share", "train the models", "detect, question, sweep", "repair", "time, one by one")
"""Stage -> what is done in it. The last runs one piece at a time, with all threads."""


def pieces(plan: Plan, place: Place, *, with_speed: bool) -> list[Piece]:
    """Everything that a plan measures. with_speed: also the timings, which want a quiet machine."""
    found: list[Piece] = []
    data = PackedDataset.open(place.packed).digest
    base: dict[str, Any] = {"data": data, "architecture": plan.architecture, "precision": plan.precision}
    settings = plan.detector_settings.get("frequency", {})
    found.append(Piece("frequency network", PREPARE, base | settings, _frequency, (place, settings)))
    for attack in plan.attacks:
        if attack.name == WITCHES_BREW:
            told = base | attack.told()
            found.append(Piece(f"attacker {attack.label}", PREPARE, told, _attacker, (place, plan, attack)))
    for seed in plan.seeds:
        clean = f"{cases.CLEAN}-{seed}"
        told = base | {"epochs": plan.clean_epochs, "seed": seed}
        found.append(Piece(f"model {clean}", MODELS, told, _clean_model, (place, plan, seed)))
        found.append(
            Piece(f"alarms {clean}", MEASURE, told | {"n": plan.n_ordinary}, _alarms, (place, clean, plan.n_ordinary))
        )
        found.append(Piece(f"sweep {clean}", MEASURE, told, _sweep, (place, clean)))
        for attack in plan.attacks:
            found += _of_attack(plan, place, attack, seed, base)
    if with_speed:
        first = f"{plan.attacks[0].label}-{plan.seeds[0]}"
        told = base | {"epochs": plan.attacks[0].epochs}
        found.append(Piece("scale", ALONE, {"sizes": scale.SIZES}, _scale, (place,)))
        found.append(Piece("intake", ALONE, {"data": data, "bytes": intake.UPLOAD_BYTES}, _intake, (place,)))
        sizes = {"data": data, "images": [browser.N_REAL, browser.N_SYNTHETIC]}
        found.append(Piece("browser", ALONE, sizes, _browser, (place,)))
        found.append(Piece("workbench", ALONE, {"data": data, "images": browser.N_REAL}, _workbench, (place,)))
        found.append(Piece("million", ALONE, {"images": browser.N_SYNTHETIC}, _million, (place,)))
        found.append(Piece("cluster", ALONE, {"data": data, "images": browser.N_REAL}, _cluster, (place,)))
        found.append(Piece("phases", ALONE, told, _phases, (place, first)))
        for speed_of in SPEEDS:
            architecture, threads, *_ = speed_of
            told = {"data": data, "what": speed_of, "rounds": SPEED_ROUNDS}
            found.append(Piece(f"speed {architecture} {threads}", ALONE, told, _speed, (place, *speed_of)))
    return found


def run(todo: Sequence[Piece], place: Place, *, jobs: int, threads: int, say: Callable[[str], None]) -> list[str]:
    """Measure pieces stage by stage; returns the names of those that failed. The traceback of each is said."""
    failed: list[str] = []
    place.results.mkdir(parents=True, exist_ok=True)
    for stage, title in enumerate(STAGES):
        chosen = [piece for piece in todo if piece.stage == stage]
        if not chosen:
            continue
        say(f"{title}: {len(chosen)} pieces")
        alone = stage == ALONE
        # A fresh interpreter for each worker: threads cannot be set after torch has used them.
        for variable in _THREAD_VARIABLES:
            os.environ[variable] = str(os.cpu_count() or 1 if alone else threads)
        if alone:
            # The Makefile lets waiting threads sleep, since tests share the cores. A plain epoch then takes twice as
            # long, and every ratio to it would flatter us.
            os.environ.pop("OMP_WAIT_POLICY", None)
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1 if alone else jobs, mp_context=context) as pool:
            running = {pool.submit(_measure, piece): piece for piece in chosen}
            for future in as_completed(running):
                piece = running[future]
                try:
                    _store(place, piece, future.result())
                    say(f"  {piece.name}: done")
                except Exception:  # the others go on, and the page says what is missing
                    failed.append(piece.name)
                    say(f"  {piece.name}: failed\n{traceback.format_exc()}")
    return failed


def missing(wanted: Iterable[Piece], place: Place, *, again: bool) -> list[Piece]:
    """Pieces that have no result of their settings, or all when they are to be measured again."""
    return [piece for piece in wanted if again or stored(place, piece) is None]


def stored(place: Place, piece: Piece) -> dict[str, Any] | None:
    """The stored result of a piece with its settings, seconds and machine; None when there is none that counts."""
    path = _path(place, piece.name)
    if not path.is_file():
        return None
    kept: dict[str, Any] = json.loads(path.read_text())
    # Through JSON, as the stored ones went.
    return kept if kept["settings"] == json.loads(json.dumps(piece.settings)) else None


def _path(place: Place, name: str) -> Path:
    return place.results / f"{name}.json"


def _store(place: Place, piece: Piece, measured: dict[str, Any]) -> None:
    path = _path(place, piece.name)
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps({"piece": piece.name, "settings": piece.settings} | measured, indent=1))
    partial.replace(path)


def _measure(piece: Piece) -> dict[str, Any]:
    about = machine.describe()
    began = time.perf_counter()
    result = piece.run(*piece.arguments)
    about["threads"] = str(torch.get_num_threads())
    return {"seconds": round(time.perf_counter() - began, 1), "machine": about, "result": result}


def _of_attack(plan: Plan, place: Place, attack: AttackPlan, seed: int, base: dict[str, Any]) -> list[Piece]:
    case = f"{attack.label}-{seed}"
    told = base | attack.told() | {"seed": seed}
    found = [
        Piece(f"model {case}", MODELS, told, _poisoned_model, (place, plan, attack, seed)),
        Piece(
            f"detection {case}", MEASURE, told | {"detectors": plan.detector_settings}, _detection,
            (place, case, plan.detector_settings),
        ),
        Piece(f"sweep {case}", MEASURE, told, _sweep, (place, case)),
    ]  # fmt: skip
    if seed != plan.seeds[0]:
        return found
    if attack.label in plan.poisoned_for_alarms:
        asked = told | {"n": plan.n_ordinary}
        found.append(Piece(f"alarms {case}", MEASURE, asked, _alarms, (place, case, plan.n_ordinary)))
    if attack.label in plan.reviewed:
        found.append(Piece(f"review {case}", MEASURE, told, _review, (place, case)))
    if attack.label in plan.on_ekfac:
        found.append(Piece(f"engines {case}", MEASURE, told, _engines, (place, case)))
    repairs = [("cf", detector) for detector in plan.fine_tuned_after]
    if attack.label in plan.exact_removal:
        repairs.append(("eu", "collapse"))
    if attack.label in plan.unlearned:
        repairs += [(method, "collapse") for method in METHODS if (method, "collapse") not in repairs]
    for method, detector in repairs:
        name = f"repair {case} {method} {detector}"
        found.append(Piece(name, REPAIR, told, _repair, (place, case, method, detector)))
    return found


def _frequency(place: Place, settings: dict[str, Any]) -> dict[str, Any]:
    """The network of the frequency detector: all cases have the same clean test images."""
    clean = PackedDataset.open(place.packed).test[0]
    detectors.Frequency(folder=place.out / "models", **settings).network(clean)
    return {"n_clean": len(clean)}


def _attacker(place: Place, plan: Plan, attack: AttackPlan) -> dict[str, Any]:
    """The surrogates that the seeds of Witches' Brew share: seeds that train side by side must not train them twice."""
    return cases.make_surrogates(plan, attack, place.packed, place.surrogates)


def _poisoned_model(place: Place, plan: Plan, attack: AttackPlan, seed: int) -> dict[str, Any]:
    case = f"{attack.label}-{seed}"
    folder = place.folder(case)
    if folder != place.out / "models" / case:
        about: dict[str, Any] = json.loads((folder / "planting.json").read_text())
        return about | {"bank": True}
    return cases.make_poisoned(plan, attack, seed, place.packed, folder, place.surrogates)


def _clean_model(place: Place, plan: Plan, seed: int) -> dict[str, Any]:
    case = f"{cases.CLEAN}-{seed}"
    folder = place.folder(case)
    if folder != place.out / "models" / case:
        return {"bank": True}
    return cases.make_clean(plan, seed, place.packed, folder)


def _detection(place: Place, case: str, settings: dict[str, dict[str, Any]]) -> dict[str, Any]:
    kept = {"frequency": settings.get("frequency", {}) | {"folder": place.out / "models"}}
    return detection.run(place.open(case), settings | kept)


def _alarms(place: Place, case: str, n_images: int) -> dict[str, Any]:
    return alarms.run(place.open(case), n_images)


def _engines(place: Place, case: str) -> dict[str, Any]:
    return engines.run(place.open(case))


def _review(place: Place, case: str) -> dict[str, Any]:
    return review.run(place.open(case))


def _sweep(place: Place, case: str) -> dict[str, Any]:
    return sweeps.run(place.open(case))


def _repair(place: Place, case: str, method: str, detector: str) -> dict[str, Any]:
    found = json.loads(_path(place, f"detection {case}").read_text())["result"]
    if "skipped" in found:
        return {"skipped": found["skipped"]}
    return repair.run(place.open(case), found["flagged"][detector], method) | {"detector": detector}


def _phases(place: Place, case: str) -> dict[str, Any]:
    return phases.run(place.open(case))


def _speed(place: Place, architecture: str, threads: int, n_images: int, peer: bool) -> dict[str, Any]:
    packed = PackedDataset.open(place.packed)
    work = place.out / "work" / "speed"
    work.mkdir(parents=True, exist_ok=True)
    return speed.run(
        packed,
        work,
        threads=threads,
        rounds=SPEED_ROUNDS,
        peer=peer,
        n_images=min(n_images, packed.n_train),
        architecture=architecture,
    )


def _intake(place: Place) -> dict[str, Any]:
    return intake.run(place.packed, place.out / "work" / "intake")


def _cluster(place: Place) -> dict[str, Any]:
    return cluster.run(place.packed, place.out / "work" / "cluster")


def _workbench(place: Place) -> dict[str, Any]:
    return workbench.run(place.packed, place.out / "work" / "workbench")


def _million(place: Place) -> dict[str, Any]:
    return million.run(place.out / "work" / "million")


def _browser(place: Place) -> dict[str, Any]:
    return browser.run(place.packed, place.out / "work" / "browser")


def _scale(place: Place) -> dict[str, Any]:
    work = place.out / "work"
    work.mkdir(parents=True, exist_ok=True)
    return scale.run(work, threads=torch.get_num_threads())
