"""Remedies without training: what they take out of embeddings, and what they refuse."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridlib.debiasing import Centring, LanguageSubspace, language_means, unit

seeds = st.integers(0, 2**31)


def vectors(seed, languages=("de", "en", "zul"), each=12, width=8, shift=3.0):
    """Random unit vectors with an offset per language, and their languages, mixed."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(languages, each))
    offsets = {language: shift * rng.standard_normal(width) for language in languages}
    return unit(rng.standard_normal((len(labels), width)) + np.stack([offsets[x] for x in labels])), labels


def test_means_by_hand():
    found = language_means(np.array([[1.0, 0.0], [0.0, 4.0], [3.0, 2.0]]), ["en", "de", "en"])
    assert {language: mean.tolist() for language, mean in found.items()} == {"en": [2, 1], "de": [0, 4]}
    assert list(found) == ["en", "de"], "in order of appearance"
    with pytest.raises(ValueError, match="2 vectors and 1 languages; each vector needs one"):
        language_means(np.eye(2), ["en"])


def test_centring_by_hand():
    means = {"de": np.array([0.5, 0.5]), "en": np.array([0.5, -0.5])}
    centred = Centring(means, other=np.array([0.5, 0.0])).transform(np.eye(2), ["de", "el"])
    # de loses (.5, .5); el has no mean and loses (.5, 0).
    np.testing.assert_allclose(centred, [[0.7071, -0.7071], [-0.4472, 0.8944]], atol=1e-4)
    assert centred.dtype == np.float32
    with pytest.raises(ValueError, match="no mean for 'el', 'fr': fitted on de, en"):
        Centring(means).transform(np.eye(3, 2), ["fr", "de", "el"])


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_centring_is_a_loop_over_texts(seed):
    fitted_on, languages = vectors(seed)
    others, asked = vectors(seed + 1)
    ours = Centring.fit(fitted_on, languages).transform(others, asked)
    for vector, language, found in zip(others, asked, ours, strict=True):
        expected = vector - np.mean([v for v, x in zip(fitted_on, languages, strict=True) if x == language], axis=0)
        np.testing.assert_allclose(found, expected / np.linalg.norm(expected), atol=1e-5)


def test_the_subspace_holds_the_differences_of_the_means():
    rng = np.random.default_rng(0)
    # Languages differ along three axes only, the same for queries and passages: four languages, three directions.
    axes = np.linalg.qr(rng.standard_normal((8, 3)))[0].T
    sides = [{x: base + rng.standard_normal(3) @ axes for x in "abcd"} for base in rng.standard_normal((2, 8))]
    directions = LanguageSubspace.from_means(*sides).directions
    assert directions.shape == (3, 8)
    np.testing.assert_allclose(directions @ directions.T, np.eye(3), atol=1e-10)
    np.testing.assert_allclose(directions.T @ directions, axes.T @ axes, atol=1e-10)
    cleaned = LanguageSubspace(directions).transform(rng.standard_normal((5, 8)))
    np.testing.assert_allclose(cleaned @ axes.T, 0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(cleaned, axis=1), 1, atol=1e-6)
    assert cleaned.dtype == np.float32


def test_the_sides_are_centred_apart():
    """Queries and passages differ along the first axis, which says nothing of languages; these differ along others."""
    queries = {"de": np.array([5.0, 1, 0]), "en": np.array([5.0, -1, 0])}
    passages = {"en": np.array([-5.0, 0, -2]), "de": np.array([-5.0, 0, 2])}
    directions = LanguageSubspace.from_means(queries, passages, count=2).directions
    # The stronger first: the passages' means are 4 apart, those of queries 2; languages in another order are the same.
    np.testing.assert_allclose(np.abs(directions), [[0, 0, 1], [0, 1, 0]], atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(seeds, st.integers(2, 5))
def test_without_the_subspace_the_means_of_languages_meet(seed, count):
    """Before the vectors get unit length again, that is: with all directions out, each mean is the same vector."""
    texts, languages = vectors(seed, [f"x{n}" for n in range(count)])
    subspace = LanguageSubspace.fit(texts, languages)
    assert subspace.directions.shape == (count - 1, 8)
    means = np.stack(list(language_means(texts, languages).values()))
    assert np.ptp(means, axis=0).max() > 0.1
    left = means - means @ subspace.directions.T @ subspace.directions
    assert np.ptp(left, axis=0).max() < 1e-5
    # As it should: the same as projecting out, and projecting twice is projecting once.
    out = subspace.transform(texts)
    np.testing.assert_allclose(subspace.transform(out), out, atol=1e-5)
    np.testing.assert_allclose(out, unit(texts - (texts @ subspace.directions.T) @ subspace.directions), atol=1e-6)


def test_fewer_directions_are_the_strongest_of_all():
    texts, languages = vectors(3, ("de", "en", "fr", "zul"))
    every = LanguageSubspace.fit(texts, languages).directions
    np.testing.assert_allclose(LanguageSubspace.fit(texts, languages, count=2).directions, every[:2], atol=1e-6)


@pytest.mark.parametrize(("sides", "count", "reason"), [
    ([["a", "b", "c", "d"], ["a", "b", "c", "d"]], 9, "count is 9: 4 languages have 1 to 8 directions"),
    ([["a", "b", "c", "d"]], 0, "count is 0: 4 languages have 1 to 4 directions"),
    ([["a", "b"], ["a", "c"]], None, "the sides have the languages a, b and a, c: all must have the same two or more"),
    ([["a"]], None, "the languages a: all must have the same two or more"),
])
def test_what_has_no_subspace_is_refused(sides, count, reason):
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=reason):
        LanguageSubspace.from_means(*({x: rng.standard_normal(8) for x in side} for side in sides), count=count)
