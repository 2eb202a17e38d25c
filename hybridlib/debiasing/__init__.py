"""Ways to take language out of embeddings without training."""

from hybridlib.debiasing.remedies import Centring, LanguageSubspace, language_means, unit

__all__ = ["Centring", "LanguageSubspace", "language_means", "unit"]
