"""Embeddings to ranks, ranks to measures, measures to intervals and reports."""

from typing import TYPE_CHECKING, Any

from hybridlib.evaluation.chance import chance, expected_average_precision, expected_rank_distance
from hybridlib.evaluation.compare import COMPARED, Comparison, compare
from hybridlib.evaluation.intervals import (
    NO_SEED,
    bootstrap,
    differences,
    draws_of,
    estimates,
    hierarchical_bootstrap,
    interval,
    what_varies,
)
from hybridlib.evaluation.measures import (
    HEADLINE,
    MEASURES,
    OWN_LANGUAGE,
    RANK_DISTANCE,
    Measure,
    cells,
    language_pairs,
    macro,
    per_language,
    per_query,
    rank_distance,
    top_shares,
)
from hybridlib.evaluation.ranking import embed, grid, rank, rank_by_quota, rank_test_set
from hybridlib.evaluation.report import ABOUT, Report, about, evaluate, report_of

if TYPE_CHECKING:
    from hybridlib.evaluation.evaluator import LanguageBiasEvaluator

__all__ = ["ABOUT", "COMPARED", "HEADLINE", "MEASURES", "NO_SEED", "OWN_LANGUAGE", "RANK_DISTANCE", "Comparison",
           "LanguageBiasEvaluator", "Measure", "Report", "about", "bootstrap", "cells", "chance", "compare",
           "differences", "draws_of", "embed", "estimates", "evaluate", "expected_average_precision",
           "expected_rank_distance", "grid", "hierarchical_bootstrap", "interval", "language_pairs", "macro",
           "per_language", "per_query", "rank", "rank_by_quota", "rank_distance", "rank_test_set", "report_of",
           "top_shares", "what_varies"]


def __getattr__(name: str) -> Any:
    # When it is first used: sentence-transformers takes seconds to import, and nothing else here needs it.
    if name != "LanguageBiasEvaluator":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from hybridlib.evaluation.evaluator import LanguageBiasEvaluator

    return LanguageBiasEvaluator
