"""Batch composition, evaluation and remedies for monolingual, cross-lingual and multilingual retrieval.

Everything here is looked up when it is first used, so that importing the package costs next to nothing. The
sub-packages hold more: `hybridlib.data`, `hybridlib.training`, `hybridlib.encoding`, `hybridlib.evaluation`,
`hybridlib.debiasing` and `hybridlib.integrations`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hybridlib.data import CorpusError, ParallelCorpus, TestSet, load_test_set, read_groups
    from hybridlib.debiasing import Centring, LanguageErasure, LanguageSubspace
    from hybridlib.encoding import Prompts
    from hybridlib.evaluation import HEADLINE, LanguageBiasEvaluator, Report, compare, evaluate, per_query, rank
    from hybridlib.training import LanguageBatchSampler, info_nce, language_batches, parallel_dataset

__version__ = "0.1.0"
__all__ = ["HEADLINE", "Centring", "CorpusError", "LanguageBatchSampler", "LanguageBiasEvaluator", "LanguageErasure",
           "LanguageSubspace", "ParallelCorpus", "Prompts", "Report", "TestSet", "compare", "evaluate", "info_nce",
           "language_batches", "load_test_set", "parallel_dataset", "per_query", "rank", "read_groups"]

# The sub-package whose face exports a name; the same as the imports above, which only type checkers follow.
_EXPORTED = {
    "data": ("CorpusError", "ParallelCorpus", "TestSet", "load_test_set", "read_groups"),
    "debiasing": ("Centring", "LanguageErasure", "LanguageSubspace"),
    "encoding": ("Prompts",),
    "evaluation": ("HEADLINE", "LanguageBiasEvaluator", "Report", "compare", "evaluate", "per_query", "rank"),
    "training": ("LanguageBatchSampler", "info_nce", "language_batches", "parallel_dataset"),
}
_HOME = {name: f"hybridlib.{package}" for package, names in _EXPORTED.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'hybridlib' has no attribute {name!r}; it has {', '.join(__all__)}")
    # Kept, so that the next look-up does not come here.
    value = globals()[name] = getattr(import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
