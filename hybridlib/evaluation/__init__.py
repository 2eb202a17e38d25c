"""Embeddings to ranks, ranks to measures, measures to intervals and reports."""

from hybridlib.evaluation.chance import chance, expected_average_precision, expected_rank_distance
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
    RANK_DISTANCE,
    Measure,
    language_pairs,
    macro,
    per_language,
    per_query,
    rank_distance,
    top_shares,
)
from hybridlib.evaluation.ranking import embed, grid, rank, rank_test_set
from hybridlib.evaluation.report import ABOUT, Report, about, evaluate, report_of

__all__ = ["ABOUT", "HEADLINE", "MEASURES", "NO_SEED", "RANK_DISTANCE", "Measure", "Report", "about", "bootstrap",
           "chance", "differences", "draws_of", "embed", "estimates", "evaluate", "expected_average_precision",
           "expected_rank_distance", "grid", "hierarchical_bootstrap", "interval", "language_pairs", "macro",
           "per_language", "per_query", "rank", "rank_distance", "rank_test_set", "report_of", "top_shares",
           "what_varies"]
