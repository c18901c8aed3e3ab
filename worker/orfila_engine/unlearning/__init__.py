"""Unlearning: repair a model without some training images, and prove the repair."""

from orfila_engine.unlearning.methods import METHODS, Method, Repaired, recipe_of, unlearn
from orfila_engine.unlearning.verification import AffectedOutcome, Verification, verify

__all__ = ["METHODS", "AffectedOutcome", "Method", "Repaired", "Verification", "recipe_of", "unlearn", "verify"]
