"""The remedies by name, on a test set: what they remove, and what they never look at."""

import numpy as np
import pytest
from conftest import group

from hybridlib.debiasing import (
    LanguageErasure,
    LanguageInformationRemoval,
    LanguageSubspace,
    Leace,
    NearestNeighborNormalization,
    unit,
)
from reproduction.run.remedies import (
    REMEDIES,
    SIDES,
    apply_remedy,
    check_remedy,
    is_quota,
    needs_training_means,
    training_texts,
)
from reproduction.sources import articles

LANGUAGES = ("de", "en", "es")


@pytest.fixture
def test_set():
    """Six articles of two sentences and one question, in three languages."""
    return articles.test_set(
        [{"id": f"a{n}", "sentences": {x: [f"{n}{i}{x}" for i in range(2)] for x in LANGUAGES},
          "questions": [{"id": f"a{n}-1", "answer": n % 2, "text": dict.fromkeys(LANGUAGES, "?")}]}
         for n in range(6)], "toy", LANGUAGES)


def vectors(test_set, seed=0, width=8, shift=3.0):
    """Random embeddings of queries and candidates with an offset per language."""
    rng = np.random.default_rng(seed)
    offsets = {x: shift * rng.standard_normal(width) for x in LANGUAGES}
    return [unit(rng.standard_normal((len(texts), width)) + np.stack([offsets[x] for x in texts["language"]]))
            for texts in (test_set.queries, test_set.candidates)]


def means_of_training(languages=LANGUAGES):
    return {side: {x: np.random.default_rng([number, n]).standard_normal(8) for n, x in enumerate(languages)}
            for number, side in enumerate(SIDES)}


def test_corpus_centring_takes_out_the_candidates_means(test_set):
    queries, candidates = vectors(test_set)
    ours = apply_remedy("centring-corpus", queries, candidates, test_set)
    for language, block in test_set.blocks().items():
        mean = candidates[block].mean(0)
        np.testing.assert_allclose(ours[1][block], unit(candidates[block] - mean), atol=1e-6)
        asked = (test_set.queries["language"] == language).to_numpy()
        np.testing.assert_allclose(ours[0][asked], unit(queries[asked] - mean), atol=1e-6)


def test_training_centring_takes_each_side_s_own_means_and_theirs_where_a_language_has_none(test_set):
    queries, candidates = vectors(test_set)
    means = means_of_training(("de", "en"))
    ours = apply_remedy("centring-training", queries, candidates, test_set, means)
    for found, given, texts, side in zip(ours, (queries, candidates), (test_set.queries, test_set.candidates), SIDES,
                                         strict=True):
        own = means[side] | {"es": (means[side]["de"] + means[side]["en"]) / 2}
        np.testing.assert_allclose(found, unit(given - np.stack([own[x] for x in texts["language"]])), atol=1e-6)


def test_the_subspace_is_that_of_both_sides_means(test_set):
    means = means_of_training()
    ours = apply_remedy("subspace", *vectors(test_set), test_set, means)
    # 3 languages have 2 directions: the strongest of the differences within either side.
    differences = np.concatenate([np.stack(list(side.values())) - np.mean(list(side.values()), axis=0)
                                  for side in means.values()])
    directions = np.linalg.svd(differences)[2][:2]
    for found in ours:
        np.testing.assert_allclose(found @ directions.T, 0, atol=1e-6)
    one = apply_remedy("subspace:1", *vectors(test_set), test_set, means)
    for found in one:
        np.testing.assert_allclose(found @ directions[0], 0, atol=1e-6)
        assert np.abs(found @ directions[1]).max() > 0.1


@pytest.mark.parametrize(("remedy", "kind"), [
    ("subspace-corpus", LanguageSubspace), ("erasure-corpus", LanguageErasure), ("leace-corpus", Leace)])
def test_what_needs_no_label_is_fitted_on_the_candidates_and_asks_no_query_for_its_language(test_set, remedy, kind):
    queries, candidates = vectors(test_set)
    queries[:] = queries[0]
    ours = apply_remedy(remedy, queries, candidates, test_set)
    fitted = kind.fit(candidates, test_set.candidates["language"].to_numpy())
    np.testing.assert_array_equal(ours[1], fitted.transform(candidates))
    np.testing.assert_array_equal(ours[0], fitted.transform(queries))
    assert np.ptp(ours[0], axis=0).max() < 1e-6 and np.abs(ours[0] - queries).max() > 0.1


def test_hubs_are_evened_out_behind_the_map_and_among_the_candidates(test_set):
    queries, candidates = vectors(test_set)
    mapped = apply_remedy("erasure-corpus", queries, candidates, test_set)
    ours = apply_remedy("erasure-nnn-corpus", queries, candidates, test_set)
    # Six articles of two sentences in three languages are fewer than the neighbours it takes else.
    own = NearestNeighborNormalization(mapped[1], neighbors=35)
    np.testing.assert_array_equal(ours[0], own.queries(mapped[0]))
    np.testing.assert_array_equal(ours[1], own.documents(mapped[1]))
    assert np.abs(ours[0] @ ours[1].T - mapped[0] @ mapped[1].T).max() > 0.01


def test_removal_of_language_information_is_fitted_on_the_candidates(test_set):
    queries, candidates = vectors(test_set)
    ours = apply_remedy("lir-corpus", queries, candidates, test_set)
    fitted = LanguageInformationRemoval.fit(candidates, test_set.candidates["language"].to_numpy())
    for found, texts in zip(ours, (test_set.queries, test_set.candidates), strict=True):
        for language in LANGUAGES:
            own = found[(texts["language"] == language).to_numpy()]
            np.testing.assert_allclose(own @ fitted.directions[language].T, 0, atol=1e-6)


@pytest.mark.parametrize(("remedy", "alpha"), [("shift-training", 1), ("shift-training:0.6", 0.6)])
def test_a_shift_moves_candidates_only_by_training_passages_and_not_the_english(test_set, remedy, alpha):
    queries, candidates = vectors(test_set)
    means = means_of_training(("de", "en", "fr"))
    ours = apply_remedy(remedy, queries, candidates, test_set, means)
    np.testing.assert_array_equal(ours[0], queries)
    passages, blocks = means["candidates"], test_set.blocks()
    of_german, of_french = passages["de"] - passages["en"], passages["fr"] - passages["en"]
    # No Spanish passage was trained on: the mean shift of the languages that are not English.
    for language, moved in (("en", 0), ("de", of_german), ("es", (of_german + of_french) / 2)):
        given = candidates[blocks[language]]
        np.testing.assert_allclose(ours[1][blocks[language]], unit(given - alpha * moved), atol=1e-6)


def test_a_quota_is_of_ranks_and_leaves_embeddings_as_they_are(test_set):
    given = vectors(test_set)
    for found, before in zip(apply_remedy("quota", *given, test_set), given, strict=True):
        np.testing.assert_array_equal(found, before)
    assert [remedy for remedy in ("", *REMEDIES) if is_quota(remedy)] == ["quota"]


def test_leaving_one_out_is_a_loop_over_queries(test_set):
    queries, candidates = vectors(test_set)
    ours, _ = apply_remedy("centring-queries", queries, candidates, test_set)
    languages = test_set.queries["language"].to_numpy()
    for row, language in enumerate(languages):
        others = [other for other, x in enumerate(languages) if x == language and other != row]
        expected = queries[row] - queries[others].mean(0)
        np.testing.assert_allclose(ours[row], expected / np.linalg.norm(expected), atol=1e-5)


def test_one_query_in_a_language_has_no_other_to_take_a_mean_of():
    one = articles.test_set([{"id": "a", "sentences": {"de": ["0"], "en": ["0"]},
                              "questions": [{"id": "a-1", "answer": 0, "text": {"de": "?", "en": "?"}}]}], "one",
                            ("de", "en"))
    with pytest.raises(ValueError, match="centring-queries: one query in de, and no other"):
        apply_remedy("centring-queries", *vectors(one), one)


@pytest.mark.parametrize("remedy", [*REMEDIES, "subspace:1", "shift-training:0.25"])
def test_only_one_remedy_looks_at_other_test_queries(test_set, remedy):
    queries, candidates = vectors(test_set)
    changed = queries.copy()
    changed[1:] = changed[:0:-1]
    first, again = (apply_remedy(remedy, given, candidates, test_set, means_of_training())[0][0]
                    for given in (queries, changed))
    assert np.array_equal(first, again) == (remedy != "centring-queries")


def test_training_texts_are_of_the_training_languages_and_no_more_groups_than_asked(make_corpus):
    corpora = [make_corpus([group(i, ["de", "en", "el"]) for i in range(6)], "a"),
               make_corpus([group(i, ["en"]) for i in range(6)], "b")]
    texts = training_texts(corpora, ["de", "en"], 5)
    assert set(texts["queries"]["language"]) == {"de", "en"}
    assert (texts["queries"]["language"] == "en").sum() == 5 == (texts["candidates"]["language"] == "en").sum()
    assert texts["queries"].equals(training_texts(corpora, ["de", "en"], 5)["queries"])
    assert not texts["queries"].equals(training_texts(corpora, ["de", "en"], 5, seed=1)["queries"])


def test_which_remedies_need_training_texts():
    every = (*REMEDIES, "subspace:4", "shift-training:0.6")
    assert [remedy for remedy in every if needs_training_means(remedy)] == [
        "centring-training", "subspace", "shift-training", "subspace:4", "shift-training:0.6"]


@pytest.mark.parametrize("remedy", [
    "magic", "centring-corpus:2", "subspace:", "subspace:0", "subspace:x", "", "quota:2", "leace-corpus:1",
    "subspace-corpus:4", "shift-training:", "shift-training:1", "shift-training:0", "shift-training:0.60",
    "shift-training:.6", "shift-training:1.5", "shift-training:0.6x"])
def test_unknown_remedies_are_named(test_set, remedy):
    with pytest.raises(ValueError, match=f"no remedy '{remedy}'; there are: centring-training, .* and subspace:N"):
        check_remedy(remedy)
    with pytest.raises(ValueError, match=f"no remedy '{remedy}'"):
        apply_remedy(remedy, *vectors(test_set), test_set)
