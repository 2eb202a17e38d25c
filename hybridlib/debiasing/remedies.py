"""Training-free ways to take language out of embeddings: fit on vectors and their languages, then transform.

All end with unit length.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

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
    labels = np.asarray(languages, object)
    if len(labels) != len(vectors):
        raise ValueError(f"{len(vectors)} vectors and {len(labels)} languages; each vector needs one")
    return {language: vectors[labels == language].mean(0) for language in dict.fromkeys(labels.tolist())}


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
        unknown = sorted({str(x) for x in languages} - set(self.means))
        if unknown and self.other is None:
            raise ValueError(f"no mean for {', '.join(map(repr, unknown))}: fitted on {', '.join(self.means)}")
        return unit(vectors - np.stack([self.means.get(language, self.other) for language in languages]))


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
