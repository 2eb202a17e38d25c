"""Baselines without training: what they remove, and what they never look at."""

import numpy as np
import pytest
from conftest import group

from hybridlib import benchmarks, debiasing

LANGUAGES = ("de", "en", "es")


@pytest.fixture
def benchmark():
    """Four articles of two sentences and one question, in three languages."""
    articles = [{"id": f"a{n}", "sentences": {x: [f"{n}{i}{x}" for i in range(2)] for x in LANGUAGES},
                 "questions": [{"id": f"a{n}-1", "answer": n % 2, "text": dict.fromkeys(LANGUAGES, "?")}]}
                for n in range(4)]
    return benchmarks.of_articles(articles, "toy", LANGUAGES)


def vectors(benchmark, seed=0, width=8, shift=3.0):
    """Random embeddings with an offset per language, and the offsets."""
    rng = np.random.default_rng(seed)
    offsets = {x: shift * rng.standard_normal(width) for x in LANGUAGES}
    return [debiasing.unit(rng.standard_normal((len(t), width)) + np.stack([offsets[x] for x in t["language"]]))
            for t in (benchmark.queries, benchmark.candidates)]


def test_centring_by_hand():
    centred = debiasing.centre(np.array([[1.0, 0.0], [0.0, 1.0]]), ["de", "el"], {"de": np.array([0.5, 0.5]),
                                                                                  "en": np.array([0.5, -0.5])})
    # de loses (.5, .5); el has no mean and loses the mean of de and en, (.5, 0).
    np.testing.assert_allclose(centred, [[0.7071, -0.7071], [-0.4472, 0.8944]], atol=1e-4)
    assert centred.dtype == np.float32


def test_corpus_centring_takes_out_the_candidates_means(benchmark):
    queries, candidates = vectors(benchmark)
    means = {x: candidates[block].mean(0) for x, block in benchmark.blocks().items()}
    ours = debiasing.apply("centring-corpus", queries, candidates, benchmark)
    for x, block in benchmark.blocks().items():
        np.testing.assert_allclose(ours[1][block], debiasing.unit(candidates[block] - means[x]), atol=1e-6)
    english = (benchmark.queries["language"] == "en").to_numpy()
    np.testing.assert_allclose(ours[0][english], debiasing.unit(queries[english] - means["en"]), atol=1e-6)


def test_leaving_one_out_is_a_loop_over_queries(benchmark):
    queries, candidates = vectors(benchmark)
    ours, _ = debiasing.apply("centring-queries", queries, candidates, benchmark)
    languages = benchmark.queries["language"].to_numpy()
    for row, language in enumerate(languages):
        others = [other for other, x in enumerate(languages) if x == language and other != row]
        expected = queries[row] - queries[others].mean(0)
        np.testing.assert_allclose(ours[row], expected / np.linalg.norm(expected), atol=1e-5)


@pytest.mark.parametrize("method", [*debiasing.METHODS, "subspace:1"])
def test_only_one_method_looks_at_other_test_queries(benchmark, method):
    queries, candidates = vectors(benchmark)
    means = {side: {x: np.random.default_rng(n).standard_normal(8) for n, x in enumerate(LANGUAGES)}
             for side in ("queries", "candidates")}
    changed = queries.copy()
    changed[1:] = changed[:0:-1]
    first = debiasing.apply(method, queries, candidates, benchmark, means)[0][0]
    again = debiasing.apply(method, changed, candidates, benchmark, means)[0][0]
    assert np.array_equal(first, again) == (method != "centring-queries")


def test_the_subspace_holds_the_differences_of_the_means():
    rng = np.random.default_rng(0)
    # Languages differ along three axes only, the same for queries and passages: four languages, three directions.
    axes = np.linalg.qr(rng.standard_normal((8, 3)))[0].T
    base = {side: rng.standard_normal(8) for side in ("queries", "candidates")}
    means = {side: {x: base[side] + rng.standard_normal(3) @ axes for x in "abcd"} for side in base}
    directions = debiasing.language_directions(means)
    assert directions.shape == (3, 8)
    np.testing.assert_allclose(directions @ directions.T, np.eye(3), atol=1e-10)
    np.testing.assert_allclose(directions.T @ directions, axes.T @ axes, atol=1e-10)
    cleaned = debiasing.project_out(rng.standard_normal((5, 8)), directions)
    np.testing.assert_allclose(cleaned @ axes.T, 0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(cleaned, axis=1), 1, atol=1e-6)
    assert debiasing.language_directions(means, 2).shape == (2, 8)
    with pytest.raises(ValueError, match="subspace:9: 4 languages have 1 to 8 directions"):
        debiasing.language_directions(means, 9)


def test_training_texts_are_of_the_training_languages_and_no_more_groups_than_asked(make_corpus):
    corpora = [make_corpus([group(i, ["de", "en", "el"]) for i in range(6)], "a"),
               make_corpus([group(i, ["en"]) for i in range(6)], "b")]
    texts = debiasing.training_texts(corpora, ["de", "en"], 5)
    assert set(texts["queries"]["language"]) == {"de", "en"}
    assert (texts["queries"]["language"] == "en").sum() == 5 == (texts["candidates"]["language"] == "en").sum()
    assert texts["queries"].equals(debiasing.training_texts(corpora, ["de", "en"], 5)["queries"])


def test_unknown_methods_are_named(benchmark):
    with pytest.raises(ValueError, match="no method 'magic'; there are: centring-training"):
        debiasing.apply("magic", *vectors(benchmark), benchmark)
