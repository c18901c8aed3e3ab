"""Attacks to plant in drills and benchmarks: one module each, one protocol (`Attack.plant`), by name."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from orfila_engine.attacks.badnet import BadNet
from orfila_engine.attacks.base import Attack, Planted, PoisonSettings
from orfila_engine.attacks.blended import Blended
from orfila_engine.attacks.label_flip import LabelFlip
from orfila_engine.attacks.sinusoid import Sinusoid
from orfila_engine.attacks.smooth import Smooth
from orfila_engine.attacks.warp import Warp
from orfila_engine.attacks.witches_brew import WitchesBrew

_AnyAttack = BadNet | Smooth | Blended | Sinusoid | Warp | LabelFlip | WitchesBrew
_ATTACKS: dict[str, type[_AnyAttack]] = {
    attack.name: attack for attack in (BadNet, Smooth, Blended, Sinusoid, Warp, LabelFlip, WitchesBrew)
}


def names() -> list[str]:
    """Names that `make` knows."""
    return list(_ATTACKS)


def options(name: str) -> list[str]:
    """The settings of an attack beyond rate, source and target. Raises ValueError for an unknown name."""
    common = {f.name for f in fields(PoisonSettings)}
    return [f.name for f in fields(_known(name)) if f.name not in common]


def make(
    name: str, *, rate: float, source: int | None = None, target: int | None = None, **settings: Any
) -> Attack | WitchesBrew:
    """The attack of a name. All but Witches' Brew, which needs models, are planted by `Attack.plant`.

    rate: share of all training images that become poison. source: victim class; None takes the attack's default.
    target: the label that victims shall receive; None chooses by seed. settings: see `options`.

    Raises ValueError for an unknown name, a setting that the attack does not have, or an impossible one.
    """
    attack = _known(name)
    foreign = sorted(set(settings) - set(options(name)))
    if foreign:
        has = options(name)
        raise ValueError(
            f"the attack '{name}' has no setting '{foreign[0]}'; "
            + (f"beside rate, source and target it has {', '.join(has)}" if has else "it has rate, source and target")
        )
    return attack(rate=rate, source=source, target=target, **settings)


def _known(name: str) -> type[_AnyAttack]:
    if name not in _ATTACKS:
        raise ValueError(f"unknown attack '{name}'; use one of {', '.join(_ATTACKS)}")
    return _ATTACKS[name]


__all__ = [
    "Attack",
    "BadNet",
    "Blended",
    "LabelFlip",
    "Planted",
    "Sinusoid",
    "Smooth",
    "Warp",
    "WitchesBrew",
    "make",
    "names",
    "options",
]
