"""What an erasure does, in numbers: how much of the language is left in vectors, and what a search gains or loses."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from hybridlib.data import TestSet
from hybridlib.debiasing.erasure import LanguageErasure
from hybridlib.evaluation import HEADLINE, NO_SEED, macro, per_query, rank_test_set

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
RIDGE = 0.01  # of the mean variance of a direction, added to each


def neighbours_in_own_language(vectors: np.ndarray, languages: Sequence[str], k: int = 10) -> tuple[float, float]:
    """How much of each text's k nearest neighbours is in its own language: ``(share, by chance)``.

    The mean over languages of the mean over their texts; by chance, what a random order of the others gives.

    Parameters
    ----------
    vectors : ndarray, shape (n, width), of unit length
    languages : sequence of str, length n
    k : int
        Or all the others, where there are fewer.
    """
    labels = pd.Series(languages).astype("category").cat.codes.to_numpy()
    k, own = min(k, len(vectors) - 1), np.empty(len(vectors))
    for start in range(0, len(vectors), 1024):
        scores = vectors[start:start + 1024] @ vectors.T
        rows = np.arange(start, start + len(scores))
        scores[np.arange(len(rows)), rows] = -np.inf
        nearest = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        own[rows] = (labels[nearest] == labels[rows, None]).mean(1)
    counts = np.bincount(labels)
    return (float(pd.Series(own).groupby(labels).mean().mean()),
            float(np.mean((counts - 1) / (len(vectors) - 1))))


def language_told(vectors: np.ndarray, languages: Sequence[str], others: np.ndarray,
                  their_languages: Sequence[str]) -> tuple[float, float]:
    """How often a linear classifier tells the language of texts that it has not seen: ``(share, by chance)``.

    Ridge regression on the languages' indicators, each language with the same weight, the largest wins; the mean over
    languages of the share of their texts that are told right.

    Parameters
    ----------
    vectors, others : ndarray, shapes (n, width) and (m, width)
        What it learns from, and what it is asked. An erasure makes the means equal of what it was fitted on: learn from
        other texts, or there is nothing to be learned.
    languages, their_languages : sequence of str, lengths n and m
    """
    known = sorted(set(languages))
    y = np.array([[x == one for one in known] for x in languages], float)
    weight = (y / y.sum(0) / len(known)).sum(1, keepdims=True)  # of a text; 1 together
    centre = (weight * vectors).sum(0)
    x = np.float64(vectors - centre)
    covariance = x.T @ (weight * x)
    ridge = RIDGE * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    weights = np.linalg.solve(covariance + ridge, x.T @ (weight * (y - 1 / len(known))))
    told = np.array(known)[((others - centre) @ weights).argmax(1)]
    right = pd.Series(told == np.asarray(their_languages))
    return float(right.groupby(np.asarray(their_languages)).mean().mean()), 1 / len(known)


def numbers(queries: pd.DataFrame) -> dict[str, float]:
    """The four numbers of all queries' measures (`per_query`), and where in the pool their own answers stand."""
    results = queries.assign(system="", seed=NO_SEED)
    return {measure.title: macro(results, measure).iloc[0] for measure in HEADLINE} | {
        "own language, median rank": results["own-language rank"].median(),
        "own language first": macro(results, "own language first").iloc[0]}


def dial(erasure: LanguageErasure, test_set: TestSet, queries: np.ndarray, candidates: np.ndarray,
         strengths: Iterable[float] = STRENGTHS) -> pd.DataFrame:
    """What a search gains and loses as the strength grows: a row per strength, `numbers` as columns.

    Parameters
    ----------
    erasure : LanguageErasure
        Its own strength does not count.
    test_set : TestSet
    queries, candidates : ndarray, shapes (Q, width) and (C, width)
        Before the map.
    strengths : iterable of float
    """
    rows = {}
    for strength in strengths:
        turned = replace(erasure, strength=strength)
        ranks = rank_test_set(test_set, turned.transform(queries), turned.transform(candidates))
        rows[strength] = numbers(per_query(ranks))
    return pd.DataFrame(rows).T.rename_axis("strength")
