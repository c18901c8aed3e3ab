"""EK-FAC: influence with the eigenvalue-corrected Kronecker factorisation of the Fisher (George 2018, Grosse 2023).

contraction.py  sums over positions of one layer
passes.py       batches, and per-example gradients as the backward pass reaches them
factors.py      eigenvectors, corrected eigenvalues, F^-1 g
engine.py       influence on many questions, directions, suspects
parts.py        the same in parts, for several workers
sketch.py       short rows for the evidence test
"""

from orfila_engine.ekfac.engine import EkfacDirection, EkfacEngine, EkfacSuspects
from orfila_engine.ekfac.factors import EkfacFactors, EkfacSpec, fit_factors
from orfila_engine.ekfac.kept import build_engine, kept_engine, open_engine

__all__ = [
    "EkfacDirection",
    "EkfacEngine",
    "EkfacFactors",
    "EkfacSpec",
    "EkfacSuspects",
    "build_engine",
    "fit_factors",
    "kept_engine",
    "open_engine",
]
