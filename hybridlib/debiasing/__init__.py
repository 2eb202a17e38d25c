"""Ways to take language out of embeddings without training."""

from hybridlib.debiasing.dial import STRENGTHS, dial, language_told, neighbours_in_own_language
from hybridlib.debiasing.erasure import LEAST, LanguageErasure, check_counts, check_model
from hybridlib.debiasing.hubness import NearestNeighborNormalization
from hybridlib.debiasing.remedies import (
    Centring,
    LanguageInformationRemoval,
    LanguageSubspace,
    Leace,
    Shift,
    language_means,
    unit,
)

__all__ = ["LEAST", "STRENGTHS", "Centring", "LanguageErasure", "LanguageInformationRemoval", "LanguageSubspace",
           "Leace", "NearestNeighborNormalization", "Shift", "check_counts", "check_model", "dial", "language_means",
           "language_told", "neighbours_in_own_language", "unit"]
