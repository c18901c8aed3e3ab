"""Detectors of the field behind one interface: one module each, one protocol (`Detector.detect`), by name."""

from typing import Any

from orfila_engine.detectors.activation_clustering import ActivationClustering, ActivationClusteringIca
from orfila_engine.detectors.base import Detected, Detector, DetectorInput, Within, settings_of
from orfila_engine.detectors.collapse_rule import CollapseRule, CollapseRuleEveryClass, CollapseRuleGradients
from orfila_engine.detectors.cosine import GradientCosine
from orfila_engine.detectors.delta_influence import DeltaInfluence, ImageOnly, LabelOnly
from orfila_engine.detectors.frequency import Frequency
from orfila_engine.detectors.influence import InfluenceThreshold
from orfila_engine.detectors.spectral_signatures import SpectralSignatures
from orfila_engine.detectors.trak import Trak

_DETECTORS: dict[str, type[Any]] = {
    detector.name: detector
    for detector in (
        CollapseRule,
        CollapseRuleGradients,
        CollapseRuleEveryClass,
        DeltaInfluence,
        ImageOnly,
        LabelOnly,
        InfluenceThreshold,
        GradientCosine,
        Trak,
        ActivationClustering,
        ActivationClusteringIca,
        SpectralSignatures,
        Frequency,
    )
}


def names() -> list[str]:
    """Names that `make` knows, ours first."""
    return list(_DETECTORS)


def make(name: str, **settings: Any) -> Detector:
    """The detector of a name with its published settings, or others where they are given.

    Raises ValueError for an unknown name or setting.
    """
    if name not in _DETECTORS:
        raise ValueError(f"unknown detector '{name}'; use one of {', '.join(_DETECTORS)}")
    try:
        detector: Detector = _DETECTORS[name](**settings)
    except TypeError as error:
        known = ", ".join(settings_of(_DETECTORS[name]())) or "none"
        raise ValueError(f"the detector '{name}' has no setting {', '.join(settings)}; it knows {known}") from error
    return detector


__all__ = [
    "ActivationClustering",
    "ActivationClusteringIca",
    "CollapseRule",
    "CollapseRuleEveryClass",
    "CollapseRuleGradients",
    "DeltaInfluence",
    "Detected",
    "Detector",
    "DetectorInput",
    "Frequency",
    "GradientCosine",
    "ImageOnly",
    "InfluenceThreshold",
    "LabelOnly",
    "SpectralSignatures",
    "Trak",
    "Within",
    "make",
    "names",
    "settings_of",
]
