"""The remedies that are measured against training (`hybridlib.debiasing`), and what each is fitted on.

================== ===========================================================================================
centring-training  subtract from each text the mean of training texts in its language (queries and passages apart)
centring-corpus    subtract the mean of the candidates in its language, from candidates and from queries
centring-queries   like centring-corpus, but a query loses the mean of the *other test queries* of its language
subspace           project out the directions in which the training languages' means differ; no language label is
                   needed at search time; ``subspace:4`` projects out the four strongest only
================== ===========================================================================================

Only ``centring-queries`` ever looks at test queries other than the one that is asked. A language without training
texts loses the mean over the training languages under ``centring-training``.
"""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from hybridlib.data import ParallelCorpus, TestSet
from hybridlib.debiasing import Centring, LanguageSubspace, language_means, unit

REMEDIES = ("centring-training", "centring-corpus", "centring-queries", "subspace")
SIDES = ("queries", "candidates")
SideMeans = dict[str, dict[str, np.ndarray]]  # side, then language


def check_remedy(remedy: str) -> None:
    """Raise ValueError unless there is such a remedy."""
    name, colon, count = remedy.partition(":")
    # No subspace has so many directions, and Python reads no number of thousands of digits.
    if name not in REMEDIES or (colon and (name != "subspace" or not re.fullmatch("[1-9][0-9]{0,8}", count))):
        raise ValueError(f"no remedy {remedy!r:.80}; there are: {', '.join(REMEDIES)} and subspace:N")


def needs_training_means(remedy: str) -> bool:
    """Whether a remedy is fitted on training texts."""
    return remedy == "centring-training" or remedy.split(":")[0] == "subspace"


def training_texts(corpora: Sequence[ParallelCorpus], languages: Sequence[str], groups: int, seed: int = 0,
                   ) -> dict[str, pd.DataFrame]:
    """Texts of some training groups, for their means.

    Parameters
    ----------
    corpora : list of ParallelCorpus
    languages : sequence of str
    groups : int
        So many groups, drawn over all sets without replacement.
    seed : int

    Returns
    -------
    dict of "queries" and "candidates" to DataFrame with ``language`` and ``text``
    """
    starts = np.cumsum([0, *map(len, corpora)])
    chosen = np.random.default_rng(seed).permutation(starts[-1])[:groups]
    rows: dict[str, list[tuple[str, str]]] = {side: [] for side in SIDES}
    for place in np.sort(chosen).tolist():
        number = int(np.searchsorted(starts, place, side="right")) - 1
        corpus, row = corpora[number], place - int(starts[number])
        for side, columns in (("queries", corpus.query), ("candidates", corpus.passage)):
            rows[side] += [(x, columns[x][row].as_py()) for x in languages
                           if x in columns and columns[x][row].is_valid]
    return {side: pd.DataFrame(found, columns=["language", "text"]) for side, found in rows.items()}


def apply_remedy(remedy: str, queries: np.ndarray, candidates: np.ndarray, test_set: TestSet,
                 training_means: SideMeans | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of a test set after a remedy.

    Parameters
    ----------
    remedy : str, see above
    queries, candidates : ndarray of float32, shapes (Q, width) and (C, width)
    test_set : TestSet
    training_means : dict of side to dict of language to ndarray, for remedies that need them
        See `reproduction.run.Store.training_means`.

    Raises
    ------
    ValueError
        If there is no such remedy.
    """
    check_remedy(remedy)
    asked, pool = test_set.queries["language"].to_numpy(), test_set.candidates["language"].to_numpy()
    name, _, count = remedy.partition(":")
    match name:
        case "centring-training":
            fitted = {side: Centring(means, np.mean(list(means.values()), axis=0))
                      for side, means in training_means.items()}
            return fitted["queries"].transform(queries, asked), fitted["candidates"].transform(candidates, pool)
        case "subspace":
            subspace = LanguageSubspace.from_means(*training_means.values(), count=int(count) if count else None)
            return subspace.transform(queries), subspace.transform(candidates)
    corpus = Centring(language_means(candidates, pool))
    if name == "centring-corpus":
        return corpus.transform(queries, asked), corpus.transform(candidates, pool)
    left = np.empty_like(queries)
    for language in test_set.query_languages:
        own = asked == language
        if own.sum() < 2:
            raise ValueError(f"centring-queries: one query in {language}, and no other to take a mean of")
        left[own] = queries[own] - (queries[own].sum(0) - queries[own]) / (own.sum() - 1)
    return unit(left), corpus.transform(candidates, pool)
