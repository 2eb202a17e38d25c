"""Training-free ways to take language out of embeddings: the baselines that the paper lacks.

================== ===========================================================================================
centring-training  subtract from each text the mean of training texts in its language (queries and passages apart)
centring-corpus    subtract the mean of the candidates in its language, from candidates and from queries
centring-queries   like centring-corpus, but a query loses the mean of the *other test queries* of its language
subspace           project out the directions in which the training languages' means differ; no language label is
                   needed at search time; ``subspace:4`` projects out the four strongest only
================== ===========================================================================================

All end with unit length. Only ``centring-queries`` ever looks at test queries other than the one that is asked.
A language without training texts loses the mean over the training languages under ``centring-training``.
"""

import numpy as np
import pandas as pd

METHODS = ("centring-training", "centring-corpus", "centring-queries", "subspace")


def needs_training(method):
    """Whether a method takes means of training texts."""
    return method == "centring-training" or method.split(":")[0] == "subspace"


def unit(vectors):
    """Vectors scaled to unit length, in float32."""
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def training_texts(corpora, languages, groups, seed=0):
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
    rows = {"queries": [], "candidates": []}
    for place in np.sort(chosen).tolist():
        number = int(np.searchsorted(starts, place, side="right")) - 1
        corpus, row = corpora[number], place - int(starts[number])
        for side, columns in (("queries", corpus.query), ("candidates", corpus.passage)):
            rows[side] += [(x, columns[x][row].as_py()) for x in languages
                           if x in columns and columns[x][row].is_valid]
    return {side: pd.DataFrame(found, columns=["language", "text"]) for side, found in rows.items()}


def centre(vectors, languages, means):
    """Subtract from each vector the mean of its language, and scale to unit length.

    Parameters
    ----------
    vectors : ndarray, shape (n, width)
    languages : sequence of str, length n
    means : dict of language to ndarray, shape (width,)
        A language that is not there gets the mean of those that are.
    """
    other = np.mean(list(means.values()), axis=0)
    return unit(vectors - np.stack([means.get(language, other) for language in languages]))


def language_directions(means, count=None):
    """Orthonormal directions in which languages differ.

    The means of each side (queries, passages) per language, less their mean over languages, stacked; of these the
    leading right singular vectors.

    Parameters
    ----------
    means : dict of side to dict of language to ndarray, shape (width,)
    count : int, optional
        How many; by default the number of languages − 1, all that one side can have.

    Returns
    -------
    ndarray, shape (count, width)
    """
    stacked = [np.stack(list(side.values())) for side in means.values()]
    differences = np.concatenate([side - side.mean(0) for side in stacked])
    most = len(stacked[0]) - 1
    if count is not None and not 1 <= count <= len(differences):
        raise ValueError(f"subspace:{count}: {len(stacked[0])} languages have 1 to {len(differences)} directions")
    return np.linalg.svd(differences, full_matrices=False)[2][:count or most]


def project_out(vectors, directions):
    """Remove orthonormal directions from vectors, and scale to unit length."""
    return unit(vectors - vectors @ directions.T @ directions)


def apply(method, queries, candidates, benchmark, training_means=None):
    """Embeddings of a benchmark, debiased.

    Parameters
    ----------
    method : str, see above
    queries, candidates : ndarray of float32, shapes (Q, width) and (C, width)
    benchmark : hybridlib.benchmarks.Benchmark
    training_means : dict, for methods that need them
        See `hybridlib.presets.Preset.training_means`.

    Returns
    -------
    (ndarray, ndarray)

    Raises
    ------
    ValueError
        If there is no such method.
    """
    asked, pool = benchmark.queries["language"].to_numpy(), benchmark.candidates["language"].to_numpy()
    name, _, count = method.partition(":")
    if name == "centring-training":
        return centre(queries, asked, training_means["queries"]), centre(candidates, pool, training_means["candidates"])
    if name in ("centring-corpus", "centring-queries"):
        means = {language: candidates[block].mean(0) for language, block in benchmark.blocks().items()}
        centred = centre(candidates, pool, means)
        if name == "centring-corpus":
            return centre(queries, asked, means), centred
        left = np.empty_like(queries)
        for language in benchmark.languages:
            own = asked == language
            total, others = queries[own].sum(0), own.sum() - 1
            left[own] = queries[own] - (total - queries[own]) / others
        return unit(left), centred
    if name == "subspace":
        directions = language_directions(training_means, int(count) if count else None)
        return project_out(queries, directions), project_out(candidates, directions)
    raise ValueError(f"no method {method!r}; there are: {', '.join(METHODS)}")
