"""Batches by language, the losses over them, and the hooks into sentence-transformers' trainer."""

from hybridlib.training.losses import (
    CLEAR,
    AnchoredInfoNCE,
    CentredInfoNCE,
    CrossingInfoNCE,
    EnglishEmbeddingDistillation,
    EnglishRankingDistillation,
    LaKDA,
    info_nce,
)
from hybridlib.training.parallel import LanguageBatches, ParallelDataset, language_batches, parallel_dataset
from hybridlib.training.sampling import (
    ALPHA,
    MIXED,
    ORDERED,
    SAMPLINGS,
    LanguageBatchSampler,
    Pair,
    PairDataset,
    describe,
)
from hybridlib.training.sources import SamplingError
from hybridlib.training.trainer import LanguageBatchTrainer, Progress, freeze, selection_of
from hybridlib.training.weights import average_weights

__all__ = ["ALPHA", "CLEAR", "MIXED", "ORDERED", "SAMPLINGS", "AnchoredInfoNCE", "CentredInfoNCE", "CrossingInfoNCE",
           "EnglishEmbeddingDistillation", "EnglishRankingDistillation", "LaKDA", "LanguageBatchSampler",
           "LanguageBatchTrainer", "LanguageBatches", "Pair", "PairDataset", "ParallelDataset", "Progress",
           "SamplingError", "average_weights", "describe", "freeze", "info_nce", "language_batches", "parallel_dataset",
           "selection_of"]
