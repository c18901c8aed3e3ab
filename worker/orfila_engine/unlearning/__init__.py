"""Unlearning: repair a model without some training images, and prove the repair."""

from orfila_engine.unlearning.methods import METHODS, TRAINING, Method, Repaired, recipe_of, unlearn
from orfila_engine.unlearning.preview import Predicted, RemovalPreview
from orfila_engine.unlearning.verification import AffectedOutcome, Verification, verify

__all__ = [
    "METHODS",
    "TRAINING",
    "AffectedOutcome",
    "Method",
    "Predicted",
    "RemovalPreview",
    "Repaired",
    "Verification",
    "recipe_of",
    "unlearn",
    "verify",
]
