"""Remedies without training: what they take out of embeddings, and what they refuse."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import orth, pinv, sqrtm

from hybridlib.debiasing import (
    Centring,
    LanguageInformationRemoval,
    LanguageSubspace,
    Leace,
    Shift,
    language_means,
    unit,
)

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


def test_a_shift_by_hand():
    """Groups a and b are translated; c has English only and d German only, and neither counts."""
    vectors = np.array([[1.0, 0], [0, 1], [0, 1], [0, 1], [9, 9], [-9, 9]])
    languages, groups = ["en", "de", "de", "en", "en", "de"], ["a", "a", "b", "b", "c", "d"]
    shift = Shift.fit(vectors, languages, groups, alpha=0.5)
    # (0, 1) − (1, 0) and (0, 1) − (0, 1), on the average.
    assert {x: moved.tolist() for x, moved in shift.shifts.items()} == {"en": [0, 0], "de": [-0.5, 0.5]}
    # English passages stay; a German one loses half of the shift: (1.25, −.25), of unit length.
    found = shift.transform(np.array([[1.0, 0], [1, 0]]), ["en", "de"])
    np.testing.assert_allclose(found, [[1, 0], [0.9806, -0.1961]], atol=1e-4)
    assert found.dtype == np.float32
    with pytest.raises(ValueError, match="no mean for 'el': fitted on en, de"):
        shift.transform(np.eye(2), ["el", "de"])
    # What other languages are moved by is halved, too: (1, 0) − (0, .5).
    other = Shift(shift.shifts, 0.5, np.array([0, 1.0])).transform(np.array([[1.0, 0]]), ["el"])
    np.testing.assert_allclose(other, [[0.8944, -0.4472]], atol=1e-4)


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_over_complete_translations_a_shift_is_a_difference_of_means(seed):
    """In whatever order; and a passage of any language is then, on the average, where its pivot's are."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(30)
    languages, groups = np.repeat(["de", "en", "zul"], 10)[order], np.tile(np.arange(10), 3)[order]
    texts = rng.standard_normal((30, 8)) + 3 * (languages == "zul")[:, None]
    means = language_means(texts, languages)
    fitted, of_means = Shift.fit(texts, languages, groups, "de"), Shift.from_means(means, "de")
    for language in means:
        np.testing.assert_allclose(fitted.shifts[language], of_means.shifts[language], atol=1e-12)
        np.testing.assert_allclose(means[language] - fitted.shifts[language], means["de"], atol=1e-12)


@pytest.mark.parametrize(("languages", "groups", "changes", "reason"), [
    (["en", "de", "de"], [1, 1, 1], {}, "group 1 has two texts in de; one is needed"),
    (["en", "de", "fr"], [1, 1, 2], {}, "no text in fr has a translation in en, the pivot"),
    (["en", "de", "fr"], [1, 1, 1], {"pivot": "es"}, "no text in en, de, fr has a translation in es"),
    (["en", "de", "fr"], [1, 1], {}, "3 vectors, 3 languages and 2 groups; each vector needs one of both"),
    (["en", "de", "fr"], [1, 1, 1], {"alpha": 1.5}, "alpha is 1.5, and has to be from 0 to 1"),
])
def test_what_has_no_shift_is_refused(languages, groups, changes, reason):
    with pytest.raises(ValueError, match=reason):
        Shift.fit(np.eye(3), languages, groups, **changes)
    with pytest.raises(ValueError, match="no mean for 'en', the pivot: there are de, fr"):
        Shift.from_means({"de": np.ones(2), "fr": np.ones(2)})


def test_removal_of_language_information_by_hand():
    """German vectors are strongest along the first axis, from which a mean would have taken all; English along both."""
    vectors, languages = np.array([[3, 0.5], [3, -0.5], [1, 1], [2, 2.0]]), ["de", "de", "en", "en"]
    removal = LanguageInformationRemoval.fit(vectors, languages)
    np.testing.assert_allclose(np.abs(removal.directions["de"]), [[1, 0]], atol=1e-12)
    np.testing.assert_allclose(np.abs(removal.directions["en"]), [[0.7071, 0.7071]], atol=1e-4)
    found = removal.transform(np.array([[0.6, 0.8], [0.0, 2.0]]), ["de", "en"])
    np.testing.assert_allclose(found, [[0, 1], [-0.7071, 0.7071]], atol=1e-4)
    assert found.dtype == np.float32
    with pytest.raises(ValueError, match="no mean for 'el', 'fr': fitted on de, en"):
        removal.transform(np.eye(2), ["fr", "el"])


@settings(max_examples=30, deadline=None)
@given(seeds, st.integers(1, 4))
def test_what_is_removed_are_the_strongest_of_each_language_s_own_directions(seed, count):
    fitted_on, languages = vectors(seed)
    others, asked = vectors(seed + 1)
    ours = LanguageInformationRemoval.fit(fitted_on, languages, count).transform(others, asked)
    for language in set(languages):
        own = fitted_on[languages == language].astype(float)
        # The other end of the same matrix: what is kept are the weaker axes of its second moments.
        kept = np.linalg.eigh(own.T @ own)[1][:, :8 - count]
        np.testing.assert_allclose(ours[asked == language], unit(others[asked == language] @ kept @ kept.T), atol=1e-4)


def test_directions_that_a_language_cannot_lose_are_refused():
    with pytest.raises(ValueError, match="count is 2, and must be from 1 to less than .*: de can lose 1$"):
        LanguageInformationRemoval.fit(np.eye(5, 4), ["de", "de", "en", "en", "en"], 2)
    with pytest.raises(ValueError, match="count is 0, .*: de can lose 1, en can lose 2"):
        LanguageInformationRemoval.fit(np.eye(5, 4), ["de", "de", "en", "en", "en"], 0)


def uneven(seed, width=8):
    """Vectors whose variance differs much between directions, and languages of 10, 20, 30 and 40 of them."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(["de", "en", "fr", "zul"], [10, 20, 30, 40]))
    offsets = {x: 2 * rng.standard_normal(width) for x in np.unique(labels)}
    texts = rng.standard_normal((100, width)) + np.stack([offsets[x] for x in labels])
    return texts @ (rng.standard_normal((width, width)) * np.geomspace(1, 0.05, width)), labels


def one_hot(labels):
    return (labels[:, None] == np.unique(labels)).astype(float)


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_after_leace_no_linear_classifier_has_anything_to_go_by(seed):
    """Before unit length: all languages have one mean, the whole's, and languages have no covariance with any axis."""
    texts, labels = uneven(seed)
    fitted = Leace.fit(texts, labels)
    mapped = texts @ fitted.weight.T + fitted.bias
    assert np.ptp(list(language_means(texts, labels).values()), axis=0).max() > 0.1
    for mean in language_means(mapped, labels).values():
        np.testing.assert_allclose(mean, texts.mean(0), atol=1e-8)
    z = one_hot(labels)
    assert np.abs((texts - texts.mean(0)).T @ (z - z.mean(0))).max() > 1
    np.testing.assert_allclose((mapped - mapped.mean(0)).T @ (z - z.mean(0)), 0, atol=1e-7)
    np.testing.assert_allclose(fitted.transform(texts), unit(mapped), atol=1e-6)
    assert fitted.transform(texts).dtype == np.float32


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_leace_is_its_formula(seed):
    texts, labels = uneven(seed)
    fitted, mean, z = Leace.fit(texts, labels), texts.mean(0), one_hot(labels)
    whitening = pinv(sqrtm(np.cov(texts.T, bias=True)).real)
    span = orth(whitening @ (texts - mean).T @ (z - z.mean(0)), rcond=1e-6)
    assert span.shape == (8, 3)
    removed = pinv(whitening) @ span @ span.T @ whitening
    np.testing.assert_allclose(fitted.weight, np.eye(8) - removed, atol=1e-5)
    np.testing.assert_allclose(fitted.bias, removed @ mean, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_of_the_maps_that_make_means_equal_leace_changes_least(seed):
    """In the whitened norm and in the plain one: less than the subspace projection, and than any oblique one."""
    texts, labels = uneven(seed)
    mean, fitted = texts.mean(0), Leace.fit(texts, labels)
    directions = LanguageSubspace.fit(texts, labels).directions
    random = np.random.default_rng(seed).standard_normal((3, 8))
    whitening = np.linalg.inv(np.linalg.cholesky(np.cov(texts.T, bias=True))).T

    def change(removed, norm):
        """Mean squared length of what a map takes away."""
        return np.square((texts - mean) @ removed.T @ norm).sum(1).mean()

    for across in (directions, random):
        other = directions.T @ np.linalg.solve(across @ directions.T, across)
        means = [own - other @ (own - mean) for own in language_means(texts, labels).values()]
        np.testing.assert_allclose(np.ptp(means, axis=0), 0, atol=1e-5)
        for norm in (whitening, np.eye(8)):
            assert change(np.eye(8) - fitted.weight, norm) < change(other, norm)


def test_directions_in_which_nothing_varies_stay_as_they_are():
    """In float32, whose rounding must not pass for variance: ten axes, of which the vectors span eight."""
    texts, labels = uneven(5)
    axes = np.linalg.qr(np.random.default_rng(0).standard_normal((10, 10)))[0]
    lifted = (texts @ axes[:8] + 2 * axes[8]).astype(np.float32)
    ours, plain = Leace.fit(lifted, labels), Leace.fit(texts, labels)
    np.testing.assert_allclose(ours.weight @ axes[8:].T, axes[8:].T, atol=1e-3)
    np.testing.assert_allclose(axes[:8] @ ours.weight @ axes[:8].T, plain.weight, atol=1e-3)
    np.testing.assert_allclose(np.ptp(list(language_means(lifted @ ours.weight.T, labels).values()), axis=0), 0,
                               atol=1e-5)


@pytest.mark.parametrize(("texts", "reason"), [
    (np.tile(np.eye(2), (3, 1)), r"the means of 3 languages \(a, b, c\) differ in 0 of 1 directions: no language is "
                                 "left to be taken out"),
    (np.repeat(np.eye(3), 2, 0), "differ in 2 of 2 directions: nothing would be left"),
    (np.eye(6)[:5], "5 vectors and 6 languages; each vector needs one"),
])
def test_what_has_no_erasure_is_refused(texts, reason):
    with pytest.raises(ValueError, match=reason):
        Leace.fit(texts, ["a", "a", "b", "b", "c", "c"])
