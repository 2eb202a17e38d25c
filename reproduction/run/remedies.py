"""The remedies that are measured against training (`hybridlib.debiasing`), and what each is fitted on.

================== ===========================================================================================
centring-training  subtract from each text the mean of training texts in its language (queries and passages apart)
centring-corpus    subtract the mean of the candidates in its language, from candidates and from queries
centring-queries   like centring-corpus, but a query loses the mean of the *other test queries* of its language
subspace           project out the directions in which the training languages' means differ; no language label is
                   needed at search time; ``subspace:4`` projects out the four strongest only
subspace-corpus    the same of the candidates' languages
erasure-corpus     the same, and half of what their means have in common subtracted (``LanguageErasure``)
erasure-nnn-corpus the same, and each candidate's score lowered by a part of how near it is to its neighbours among the
                   candidates (``NearestNeighborNormalization``)
leace-corpus       the least affine map that leaves no linear trace of the candidates' languages; no label needed
lir-corpus         project out of each text the strongest direction of the candidates in its language
shift-training     subtract from a candidate the mean of training passages in its language less that in English;
                   queries stay; ``shift-training:0.6`` subtracts that part of it
quota              embeddings stay; ranks deal out each language's candidates in rounds (``rank_by_quota``)
================== ===========================================================================================

Only ``centring-queries`` ever looks at test queries other than the one that is asked. A language without training
texts loses the mean over the training languages under ``centring-training``, and is moved by the mean of the others'
shifts under ``shift-training``. Candidates must be there in a language for its queries under ``centring-corpus`` and
``lir-corpus``.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from hybridlib.data import ParallelCorpus, TestSet
from hybridlib.debiasing import (
    Centring,
    LanguageErasure,
    LanguageInformationRemoval,
    LanguageSubspace,
    Leace,
    NearestNeighborNormalization,
    Shift,
    language_means,
    unit,
)

REMEDIES = ("centring-training", "centring-corpus", "centring-queries", "subspace", "subspace-corpus",
            "erasure-corpus", "erasure-nnn-corpus", "leace-corpus", "lir-corpus", "shift-training", "quota")
# What may stand behind a colon, written in one way only. No subspace has so many directions, and Python reads no number
# of thousands of digits.
_ARGUMENTS = {"subspace": "[1-9][0-9]{0,8}", "shift-training": r"0\.[0-9]{0,3}[1-9]"}
_OF_CORPUS = {"subspace-corpus": LanguageSubspace, "erasure-corpus": LanguageErasure, "leace-corpus": Leace}
OF_TRAINING = ("centring-training", "shift-training", "subspace")  # fitted on training texts
SIDES = ("queries", "candidates")
SideMeans = dict[str, dict[str, np.ndarray]]  # side, then language


def check_remedy(remedy: str) -> None:
    """Raise ValueError unless there is such a remedy."""
    name, colon, argument = remedy.partition(":")
    if name not in REMEDIES or (colon and not re.fullmatch(_ARGUMENTS.get(name, "(?!)"), argument)):
        raise ValueError(f"no remedy {remedy!r:.25}; there are: {', '.join(REMEDIES)}, shift-training:0.N and "
                         "subspace:N")


def needs_training_means(remedy: str) -> bool:
    """Whether a remedy is fitted on training texts."""
    return remedy.split(":")[0] in OF_TRAINING


def is_quota(remedy: str) -> bool:
    """Whether a remedy is one of ranks (`hybridlib.evaluation.rank_test_set`) and leaves embeddings as they are."""
    return remedy == "quota"


def training_texts(corpora: Sequence[ParallelCorpus], languages: Sequence[str], groups: int, seed: int = 0,
                   ) -> dict[str, pd.DataFrame]:
    """Texts of some training groups, for their means.

    Parameters
    ----------
    corpora : list of ParallelCorpus
    languages : sequence of str
    groups : int
        So many groups, drawn without replacement over all sets from those that are parallel in most languages.
    seed : int

    Returns
    -------
    dict of "queries" and "candidates" to DataFrame with ``language`` and ``text``
    """
    # Only groups that have as many languages as any: else the mean of one would be that of other texts.
    counts = np.concatenate([sum((corpus.has(side, x) for side in (corpus.query, corpus.passage) for x in languages
                                  if x in side), np.zeros(len(corpus), int)) for corpus in corpora])
    complete = np.flatnonzero(counts == counts.max())
    starts = np.cumsum([0, *map(len, corpora)])
    chosen = complete[np.random.default_rng(seed).permutation(len(complete))[:groups]]
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
    """Embeddings of a test set after a remedy, whose inner products are the scores.

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
    name, _, argument = remedy.partition(":")
    match name:
        case "quota":
            return queries, candidates
        case "centring-training":
            fitted = {side: Centring(means, np.mean(list(means.values()), axis=0))
                      for side, means in training_means.items()}
            return fitted["queries"].transform(queries, asked), fitted["candidates"].transform(candidates, pool)
        case "subspace":
            subspace = LanguageSubspace.from_means(*training_means.values(), count=int(argument) if argument else None)
            return subspace.transform(queries), subspace.transform(candidates)
        case "shift-training":
            shift = Shift.from_means(training_means["candidates"], alpha=float(argument or 1))
            others = [moved for language, moved in shift.shifts.items() if language != "en"]
            return queries, replace(shift, other=np.mean(others, axis=0)).transform(candidates, pool)
        case "lir-corpus":
            removal = LanguageInformationRemoval.fit(candidates, pool)
            return removal.transform(queries, asked), removal.transform(candidates, pool)
        case "erasure-nnn-corpus":
            queries, candidates = apply_remedy("erasure-corpus", queries, candidates, test_set)
            neighbors = min(NearestNeighborNormalization.neighbors, len(candidates) - 1)
            normalization = NearestNeighborNormalization(candidates, neighbors)
            return normalization.queries(queries), normalization.documents(candidates)
        case _ if name in _OF_CORPUS:
            fitted = _OF_CORPUS[name].fit(candidates, pool)
            return fitted.transform(queries), fitted.transform(candidates)
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
