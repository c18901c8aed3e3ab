"""Networks by name, the card that says how to rebuild one, and safetensors files of their weights."""

from orfila_engine.architectures.card import ModelCard, normalise
from orfila_engine.architectures.registry import build, describe, names
from orfila_engine.architectures.weights import ModelError, load_model, save_model

__all__ = ["ModelCard", "ModelError", "build", "describe", "load_model", "names", "normalise", "save_model"]
