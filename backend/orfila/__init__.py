"""Orfila: poison forensics for image classifiers. The API and the domain; never imports torch."""

__version__ = "0.1.0"
