"""Documents that are everybody's neighbours, and those that are nobody's: one number a document evens them out."""

from dataclasses import dataclass
from operator import index

import numpy as np

from hybridlib.debiasing.remedies import unit

_SAME = 1 - 1e-5  # a cosine above it is that of a vector with itself, rounded
_NUMBERS = 2**24  # similarities at a time, 64 MB


@dataclass(frozen=True, eq=False)
class NearestNeighborNormalization:
    """Lower each document's score by a part of how near the document is to its nearest neighbours.

    NNN (Chowdhury et al. 2024, arXiv 2410.24114): score(q, d) = cos(q, d) − weight · r(d), r(d) the mean cosine of d
    and its k nearest in a bank; with weight ½ the part of CSLS (Conneau et al. 2018, arXiv 1710.04087) that changes a
    ranking. In both the bank holds the other side, questions. Here it holds the documents that are searched, or a
    sample of them, so that neither questions nor languages are needed.

    It is no map of vectors: r(d) stands beside a document's vector as one number more, −weight beside a question's, and
    an index of inner products gives the score.

    Attributes
    ----------
    bank : ndarray, shape (n, width)
        Vectors of unit length, such as `LanguageErasure.transform` gives; float16 ones are brought back to it.
    neighbors : int
        k. Where documents are translations of each other, more than there are translations.
    weight : float, 0 or more
        This and k are as chosen on half of XQuAD-R's articles.

    Raises
    ------
    ValueError
        If the bank has no more than k vectors, or not of unit length, or a number is out of its range.
    """

    bank: np.ndarray
    neighbors: int = 50
    weight: float = 0.25

    def __post_init__(self) -> None:
        object.__setattr__(self, "bank", _checked(self.bank, "the bank"))
        object.__setattr__(self, "neighbors", index(self.neighbors))
        if not 1 <= self.neighbors < len(self.bank):
            raise ValueError(f"neighbors is {self.neighbors}; with {len(self.bank)} vectors in the bank it can be from "
                             f"1 to {len(self.bank) - 1}")
        if not 0 <= self.weight < np.inf:
            raise ValueError(f"weight is {self.weight}, and has to be 0 or more")

    def nearness(self, vectors: np.ndarray) -> np.ndarray:
        """Mean cosine of each vector, shape (n, width), and its nearest in the bank, shape (n,).

        A vector is no neighbour of its equal, so that documents of the bank and new ones are treated alike. Where fewer
        than k others are left, the mean is over these.
        """
        vectors = _checked(vectors, "vectors", self.bank.shape[1])
        found = np.empty(len(vectors), np.float32)
        step = max(1, _NUMBERS // len(self.bank))
        for start in range(0, len(vectors), step):
            near = vectors[start:start + step] @ self.bank.T
            near[near > _SAME] = -np.inf
            nearest = np.partition(near, -self.neighbors)[:, -self.neighbors:]
            others = np.isfinite(nearest)
            found[start:start + step] = np.where(others, nearest, 0).sum(1) / np.maximum(others.sum(1), 1)
        return found

    def documents(self, vectors: np.ndarray) -> np.ndarray:
        """Vectors of documents (n, width) as an index of inner products takes them: (n, width + 1)."""
        vectors = _checked(vectors, "vectors", self.bank.shape[1])
        return np.column_stack([vectors, self.nearness(vectors)])

    def queries(self, vectors: np.ndarray) -> np.ndarray:
        """Vectors of queries (n, width) as that index takes them: (n, width + 1)."""
        vectors = _checked(vectors, "vectors", self.bank.shape[1])
        return np.column_stack([vectors, np.full(len(vectors), -self.weight, np.float32)])


def _checked(vectors: np.ndarray, what: str, width: int | None = None) -> np.ndarray:
    """Vectors in float32, if they are rows of unit length and of the right width."""
    vectors = np.asarray(vectors, np.float32)
    if vectors.ndim != 2 or (width is not None and vectors.shape[1] != width):
        raise ValueError(f"{what}: the shape is {vectors.shape}; (texts, {width or 'width'}) is needed")
    if not np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3):
        raise ValueError(f"{what}: not all have unit length, which hybridlib.debiasing.unit gives")
    return unit(vectors)
