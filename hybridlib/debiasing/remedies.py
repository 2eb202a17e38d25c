"""Training-free ways to take language out of embeddings: fit on vectors and their languages, then transform.

All end with unit length.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

Means = Mapping[str, np.ndarray]


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors scaled to unit length, in float32."""
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def language_means(vectors: np.ndarray, languages: Sequence[str]) -> dict[str, np.ndarray]:
    """The mean vector of each language, in order of appearance.

    Parameters
    ----------
    vectors : ndarray, shape (n, width)
    languages : sequence of str, length n
    """
    return {language: own.mean(0) for language, own in _by_language(vectors, languages).items()}


def _by_language(vectors: np.ndarray, languages: Sequence[str]) -> dict[str, np.ndarray]:
    """The vectors of each language, in order of appearance."""
    labels = np.asarray(languages, object)
    if len(labels) != len(vectors):
        raise ValueError(f"{len(vectors)} vectors and {len(labels)} languages; each vector needs one")
    return {language: vectors[labels == language] for language in dict.fromkeys(labels.tolist())}


def _of_languages(means: Means, languages: Sequence[str], other: np.ndarray | None) -> np.ndarray:
    """The mean of each text's language, ``other`` where it has none; ValueError if that is None."""
    unknown = sorted({str(x) for x in languages} - set(means))
    if unknown and other is None:
        raise ValueError(f"no mean for {', '.join(map(repr, unknown))}: fitted on {', '.join(means)}")
    return np.stack([means.get(language, other) for language in languages])


@dataclass(frozen=True, eq=False)
class Centring:
    """Subtract from each vector the mean of its language (a remedy that LAReQA's authors discuss).

    The language of every text must be known when it is encoded, of queries as of candidates.

    Attributes
    ----------
    means : dict of language to ndarray, shape (width,)
    other : ndarray, shape (width,), or None
        What is subtracted in languages that have no mean; None refuses them.
    """

    means: Means
    other: np.ndarray | None = None

    @classmethod
    def fit(cls, vectors: np.ndarray, languages: Sequence[str]) -> "Centring":
        """The means of vectors, shape (n, width), by their languages; others are refused."""
        return cls(language_means(vectors, languages))

    def transform(self, vectors: np.ndarray, languages: Sequence[str]) -> np.ndarray:
        """Vectors (n, width) in the given languages, centred, of unit length.

        Raises
        ------
        ValueError
            If a language has no mean, and nothing else is to be subtracted.
        """
        return unit(vectors - _of_languages(self.means, languages, self.other))


@dataclass(frozen=True, eq=False)
class Shift:
    """Move passages by what their language's translations differ from those in a pivot language, on the average.

    SHIFT (Jang et al. 2026, arXiv 2606.18801): e − alpha · shift of its language. For passages only, whose languages
    must be known; queries stay as they are, and so do passages in the pivot language.

    Attributes
    ----------
    shifts : dict of language to ndarray, shape (width,)
        The mean, over texts in two languages, of the vector in this one less that in the pivot language.
    alpha : float in [0, 1]
    other : ndarray, shape (width,), or None
        The shift of languages that have none; None refuses them.
    """

    shifts: Means
    alpha: float = 1.0
    other: np.ndarray | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha is {self.alpha}, and has to be from 0 to 1")

    @classmethod
    def from_means(cls, means: Means, pivot: str = "en", alpha: float = 1.0) -> "Shift":
        """From the means of languages over the same texts, those in the pivot language among them."""
        if pivot not in means:
            raise ValueError(f"no mean for {pivot!r}, the pivot: there are {', '.join(means)}")
        return cls({language: mean - means[pivot] for language, mean in means.items()}, alpha)

    @classmethod
    def fit(cls, vectors: np.ndarray, languages: Sequence[str], groups: Sequence[Hashable], pivot: str = "en",
            alpha: float = 1.0) -> "Shift":
        """From vectors, shape (n, width), their languages, and the group of translations that each is in.

        Raises
        ------
        ValueError
            If a group has a language twice, or a language has no text in a group with the pivot language.
        """
        if not len(vectors) == len(languages) == len(groups):
            raise ValueError(f"{len(vectors)} vectors, {len(languages)} languages and {len(groups)} groups; each "
                             "vector needs one of both")
        rows = pd.DataFrame({"group": list(groups), "language": list(languages)}, dtype=object)
        if (twice := rows[rows.duplicated()]).size:
            raise ValueError(f"group {twice['group'].iloc[0]!r} has two texts in {twice['language'].iloc[0]}; "
                             "one is needed")
        pivots = rows.index[rows["language"] == pivot]
        partner = rows["group"].map(pd.Series(pivots, rows["group"][pivots]))
        paired = partner.notna().to_numpy()
        if lacking := [str(x) for x in rows["language"].unique() if x not in set(rows["language"][paired])]:
            raise ValueError(f"no text in {', '.join(lacking)} has a translation in {pivot}, the pivot")
        differences = vectors[paired] - vectors[partner[paired].astype(int)]
        return cls(language_means(differences, rows["language"][paired]), alpha)

    def transform(self, vectors: np.ndarray, languages: Sequence[str]) -> np.ndarray:
        """Vectors (n, width) of passages in the given languages, moved, of unit length.

        Raises
        ------
        ValueError
            If a language has no shift, and no other is given.
        """
        return unit(vectors - self.alpha * _of_languages(self.shifts, languages, self.other))


@dataclass(frozen=True, eq=False)
class LanguageInformationRemoval:
    """Project out of each vector the strongest directions of its language's vectors, which are not centred.

    LIR (Yang et al. 2021, arXiv 2109.04727), where one direction is best. The language of every text must be known
    when it is encoded, of queries as of candidates.

    Attributes
    ----------
    directions : dict of language to ndarray, shape (count, width), orthonormal
    """

    directions: Means

    @classmethod
    def fit(cls, vectors: np.ndarray, languages: Sequence[str], count: int = 1) -> "LanguageInformationRemoval":
        """From vectors, shape (n, width), and their languages: the first right singular vectors of each language's.

        Raises
        ------
        ValueError
            If a language has no more than so many texts, or vectors are no wider: nothing would be left of them.
        """
        own = _by_language(vectors, languages)
        most = {language: min(one.shape) - 1 for language, one in own.items()}
        if few := [f"{language} can lose {number}" for language, number in most.items() if not 1 <= count <= number]:
            raise ValueError(f"count is {count}, and must be from 1 to less than the texts of a language and the width "
                             f"of vectors: {', '.join(few)}")
        return cls({language: np.linalg.svd(one, full_matrices=False)[2][:count] for language, one in own.items()})

    def transform(self, vectors: np.ndarray, languages: Sequence[str]) -> np.ndarray:
        """Vectors (n, width) in the given languages without these directions, of unit length.

        Raises
        ------
        ValueError
            If a language has no directions.
        """
        own = _of_languages(self.directions, languages, None)  # (n, count, width)
        return unit(vectors - np.einsum("nc,ncw->nw", np.einsum("nw,ncw->nc", vectors, own), own))


@dataclass(frozen=True, eq=False)
class LanguageSubspace:
    """Project out the directions in which the means of languages differ. No language is needed at search time.

    Attributes
    ----------
    directions : ndarray, shape (count, width), orthonormal
    """

    directions: np.ndarray

    @classmethod
    def fit(cls, vectors: np.ndarray, languages: Sequence[str], count: int | None = None) -> "LanguageSubspace":
        """From vectors, shape (n, width), and their languages; ``count`` as in `from_means`."""
        return cls.from_means(language_means(vectors, languages), count=count)

    @classmethod
    def from_means(cls, *sides: Means, count: int | None = None) -> "LanguageSubspace":
        """From the means of languages, those of queries and passages apart if there are both.

        The means of each side, less their mean over languages, stacked; of these the leading right singular vectors.

        Parameters
        ----------
        *sides : dict of language to ndarray, shape (width,)
        count : int, optional
            How many directions; by default the number of languages − 1, all that one side can have.

        Raises
        ------
        ValueError
            If the sides differ in their languages, there is only one, or there are not so many directions.
        """
        if len({frozenset(side) for side in sides}) != 1 or len(sides[0]) < 2:
            raise ValueError(f"the sides have the languages {' and '.join(', '.join(side) for side in sides)}: all "
                             "must have the same two or more")
        languages = list(sides[0])
        stacked = [np.stack([side[language] for language in languages]) for side in sides]
        differences = np.concatenate([side - side.mean(0) for side in stacked])
        if count is not None and not 1 <= count <= len(differences):
            raise ValueError(f"count is {count}: {len(languages)} languages have 1 to {len(differences)} directions")
        return cls(np.linalg.svd(differences, full_matrices=False)[2][:count or len(languages) - 1])

    def transform(self, vectors: np.ndarray) -> np.ndarray:
        """Vectors (n, width) without these directions, of unit length."""
        return unit(vectors - vectors @ self.directions.T @ self.directions)


@dataclass(frozen=True, eq=False)
class Leace:
    """The affine map of least change after which no linear classifier can tell the language. None is needed at search.

    LEACE (Belrose et al. 2023, arXiv 2306.03819): r(e) = e − W⁺ P W (e − μ). W is the whitening of the embeddings, the
    inverse square root of their covariance on its support; P the orthogonal projection on the columns of W Σ, Σ the
    covariance of embeddings and languages' indicators; μ the mean. What it was fitted on has then the same mean in all
    languages, up to unit length, and no other affine map that does so moves it less, in any quadratic norm.

    Attributes
    ----------
    weight : ndarray, shape (width, width)
    bias : ndarray, shape (width,)
    """

    weight: np.ndarray
    bias: np.ndarray

    @classmethod
    def fit(cls, vectors: np.ndarray, languages: Sequence[str]) -> "Leace":
        """From vectors, shape (n, width), and their languages; one with more texts weighs more.

        Raises
        ------
        ValueError
            If nothing tells the languages apart, or nothing else would be left.
        """
        vectors = np.asarray(vectors, np.float64)
        means, mean = language_means(vectors, languages), vectors.mean(0)
        shares = pd.Series(languages).value_counts(normalize=True)
        variances, axes = np.linalg.eigh(np.cov(vectors.T, bias=True))
        # On the support: less is what rounding leaves of a direction in which vectors do not differ.
        there = variances > variances.max() * len(variances) * np.finfo(float).eps
        deviations, axes = np.sqrt(variances[there]), axes[:, there]
        # Columns of W Σ, each over the root of its language's share: the same span, and the singular values are
        # canonical correlations, 0 to 1 whatever the scale.
        columns = np.stack([np.sqrt(shares[x]) * (own - mean) for x, own in means.items()], 1)
        basis, correlations, _ = np.linalg.svd((axes.T @ columns) / deviations[:, None], full_matrices=False)
        basis = basis[:, correlations > 1e-6]
        if not 0 < basis.shape[1] < len(basis):
            raise ValueError(f"the means of {len(means)} languages ({', '.join(means)}) differ in {basis.shape[1]} of "
                             f"{len(basis)} directions: {'nothing would be' if basis.shape[1] else 'no language is'} "
                             f"left{'' if basis.shape[1] else ' to be taken out'}")
        removed = (axes * deviations) @ basis @ ((axes / deviations) @ basis).T  # W⁺ P W
        return cls(np.eye(len(mean)) - removed, removed @ mean)

    def transform(self, vectors: np.ndarray) -> np.ndarray:
        """Vectors (n, width) of queries or candidates, mapped, of unit length."""
        return unit(vectors @ self.weight.T + self.bias)
