"""Batches by language, the losses over them, and the hooks into sentence-transformers' trainer."""

from hybridlib.training.losses import EnglishRankingDistillation, info_nce
from hybridlib.training.sampling import (
    ALPHA,
    MIXED,
    ORDERED,
    SAMPLINGS,
    LanguageBatchSampler,
    Pair,
    PairDataset,
    SamplingError,
    describe,
)
from hybridlib.training.trainer import LanguageBatchTrainer, Progress, freeze, selection_of

__all__ = ["ALPHA", "MIXED", "ORDERED", "SAMPLINGS", "EnglishRankingDistillation", "LanguageBatchSampler",
           "LanguageBatchTrainer", "Pair", "PairDataset", "Progress", "SamplingError", "describe", "freeze", "info_nce",
           "selection_of"]
