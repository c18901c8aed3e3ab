"""Attacks to plant in drills and benchmarks: one module each, one protocol (`Attack.plant`), by name."""

from orfila_engine.attacks.badnet import BadNet
from orfila_engine.attacks.base import Attack, Planted
from orfila_engine.attacks.blended import Blended
from orfila_engine.attacks.sinusoid import Sinusoid
from orfila_engine.attacks.smooth import Smooth

_ATTACKS = {"badnet": BadNet, "blended": Blended, "sinusoid": Sinusoid, "smooth": Smooth}


def names() -> list[str]:
    """Names that `make` knows."""
    return list(_ATTACKS)


def make(name: str, *, rate: float, source: int | None = None, target: int | None = None) -> Attack:
    """The attack of a name.

    rate: share of all training images that become poison. source: victim class; None takes the attack's default.
    target: the label that triggered images shall receive; None chooses by seed.

    Raises ValueError for an unknown name or an impossible rate.
    """
    if name not in _ATTACKS:
        raise ValueError(f"unknown attack '{name}'; use one of {', '.join(_ATTACKS)}")
    return _ATTACKS[name](rate=rate, source=source, target=target)


__all__ = ["Attack", "BadNet", "Blended", "Planted", "Sinusoid", "Smooth", "make", "names"]
