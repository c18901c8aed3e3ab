"""What the benchmark measures: the full form behind docs/benchmarks.md, and a quick one that must only run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from orfila_engine.attacks import Attack, WitchesBrew, make
from orfila_engine.devices import Precision


@dataclass(frozen=True)
class AttackPlan:
    """One attack at one rate, and what the collapse rule must reach on it."""

    label: str
    """Names the case: its folder is LABEL-SEED."""
    name: str
    """Of the attack, as `attacks.make` knows it."""
    rate: float
    epochs: int
    """Of the training; enough for the poison to take hold."""
    settings: dict[str, Any] = field(default_factory=dict)
    target: tuple[float, float] | None = None
    """Precision and recall of the automatic set to reach, mean over the seeds that count."""
    least_psr: float = 0.5
    """A seed counts when the poison success rate is at least this."""

    @property
    def attack(self) -> Attack | WitchesBrew:
        """The attack, with its own defaults where the plan says nothing."""
        return make(self.name, rate=self.rate, **self.settings)

    def told(self) -> dict[str, Any]:
        """What a stored result belongs to: also what the attack does by default, which may change."""
        made = self.attack
        return asdict(self) | {"attack": made.settings(), "augmented": made.augmented, "target": None}


@dataclass(frozen=True)
class Plan:
    """One form of the benchmark."""

    architecture: str
    attacks: tuple[AttackPlan, ...]
    seeds: tuple[int, ...]
    precision: Precision
    """Of the training; everything after it computes in float32."""
    clean_epochs: int
    """Of the models on clean data, for false alarms and the sweep."""
    n_ordinary: int
    """Ordinary misclassified test images asked about, for each model."""
    poisoned_for_alarms: tuple[str, ...]
    """Attacks whose first seed is asked about ordinary images too."""
    exact_removal: tuple[str, ...]
    """Attacks whose first seed is retrained without what the collapse rule flags."""
    unlearned: tuple[str, ...]
    """Attacks whose first seed is repaired by every unlearning method."""
    on_ekfac: tuple[str, ...]
    """Attacks whose first seed is investigated with EK-FAC as well."""
    reviewed: tuple[str, ...] = ()
    """Attacks whose first seed is reviewed by a simulated reviewer."""
    fine_tuned_after: tuple[str, ...] = ("collapse", "delta-influence")
    """Detectors after which every attack's first seed is repaired by fine-tuning."""
    detector_settings: dict[str, dict[str, Any]] = field(default_factory=dict)


FULL = Plan(
    architecture="resnet20-cifar",
    attacks=(
        AttackPlan("badnet", "badnet", 0.02, 15, target=(0.99, 0.99)),
        AttackPlan("badnet-all", "badnet", 0.02, 15, {"all_to_one": True}),
        AttackPlan("smooth", "smooth", 0.05, 15, target=(0.95, 0.95)),
        AttackPlan("blended", "blended", 0.02, 15, target=(0.95, 0.95)),
        AttackPlan("sinusoid", "sinusoid", 0.05, 15, target=(0.99, 0.99)),
        AttackPlan("warp", "warp", 0.05, 20, target=(0.85, 0.85), least_psr=0.8),
        AttackPlan("witches-brew", "witches-brew", 0.02, 20, target=(0.80, 0.80)),
        AttackPlan("label-flip", "label-flip", 0.02, 15, least_psr=0.0),
    ),
    seeds=(0, 1, 2),
    precision="bfloat16",
    clean_epochs=15,
    n_ordinary=100,
    poisoned_for_alarms=("badnet", "smooth", "sinusoid"),
    exact_removal=("badnet", "smooth", "witches-brew"),
    unlearned=("badnet",),
    on_ekfac=("badnet", "smooth"),
    reviewed=("badnet", "smooth", "blended", "warp", "label-flip"),
)

QUICK = Plan(
    architecture="resnet-nano",
    attacks=(AttackPlan("badnet", "badnet", 0.03, 20, {"source": 5, "target": 0}, target=(0.99, 0.99)),),
    seeds=(0,),
    precision="full",
    clean_epochs=6,
    n_ordinary=6,
    poisoned_for_alarms=("badnet",),
    exact_removal=(),
    unlearned=("badnet",),
    on_ekfac=("badnet",),
    reviewed=("badnet",),
    fine_tuned_after=("collapse",),
    detector_settings={"frequency": {"epochs": 1, "width": 4}},
)
