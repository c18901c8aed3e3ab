"""Detectors to offer. The engine runs them; a test keeps the two lists equal."""

from orfila.comparisons.schemas import Detector
from orfila.errors import Unprocessable

_DETECTORS = (
    ("collapse", "Collapse rule (ours)", "docs/method.md"),
    ("collapse-gradients", "Collapse rule, gradients alone (ours)", "docs/method.md"),
    ("collapse-all", "Collapse rule, every image a suspect (ours)", "docs/method.md"),
    ("delta-influence", "Delta-Influence (paper rule)", "arXiv 2411.13731"),
    ("image-only", "Delta-Influence, image transforms only", "arXiv 2411.13731"),
    ("label-only", "Delta-Influence, label changes only", "arXiv 2411.13731"),
    ("influence", "Influence threshold", "Koh & Liang 2017, arXiv 1703.04730; threshold of arXiv 2411.13731"),
    ("cosine", "Gradient cosine, no curvature", "Hammoudeh & Lowd 2022, arXiv 2201.10055"),
    ("trak", "TRAK score, one model", "Park 2023, arXiv 2303.14186"),
    ("activation-clustering", "Activation Clustering", "Chen 2018, arXiv 1811.03728"),
    ("activation-clustering-ica", "Activation Clustering, ICA", "Chen 2018, arXiv 1811.03728"),
    ("spectral-signatures", "Spectral Signatures", "Tran 2018, arXiv 1811.00636"),
    ("frequency", "Frequency", "Zeng 2021, arXiv 2104.03413"),
)


def offered() -> list[Detector]:
    """What can be compared, ours first."""
    return [Detector(name=name, title=title, source=source) for name, title, source in _DETECTORS]


def chosen(names: list[str] | None) -> list[str]:
    """The detectors of these names in the order of the list, all of them for None. Refuses unknown ones."""
    known = [name for name, _, _ in _DETECTORS]
    unknown = sorted(set(names or ()) - set(known))
    if unknown:
        raise Unprocessable(
            f"There is no detector '{unknown[0][:40]}'; use some of {', '.join(known)}.", code="unknown_detector"
        )
    return [name for name in known if names is None or name in names]
