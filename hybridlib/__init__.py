"""Thin helpers under the notebooks that reproduce arXiv 2408.10536 (hybrid batch training)."""

__version__ = "0.1.0"
