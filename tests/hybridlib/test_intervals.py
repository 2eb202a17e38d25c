"""Intervals from resampled clusters: paired, exact where they can be worked out, covering as they should."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from simulated import results, simulated

from hybridlib.evaluation import (
    NO_SEED,
    bootstrap,
    differences,
    draws_of,
    estimates,
    hierarchical_bootstrap,
    interval,
    macro,
    what_varies,
)
from hybridlib.evaluation.intervals import by_cluster, effect_size, holm, p_value, permutation


def test_articles_are_resampled_whole():
    # Two articles, one all zeros and one all ones: a draw is 0, 1/2 or 1, in the shares 1/4, 1/2, 1/4.
    draws = bootstrap(results([[0] * 10, [1] * 10]), "m", draws=40_000)["A"]
    shares = draws.value_counts(normalize=True)
    assert set(shares.index) == {0, 0.5, 1}
    assert shares[0.5] == pytest.approx(0.5, abs=0.01)


def test_differences_are_paired():
    rng = np.random.default_rng(0)
    base = rng.random((20, 5))
    both = pd.concat([results(base), results(base + 0.125, "B")])
    draws = bootstrap(both, "m")
    assert np.ptp(draws["A"]) > 0.05
    np.testing.assert_allclose(draws["B"] - draws["A"], 0.125)


def test_coverage_is_near_its_level():
    # 300 data sets of 40 articles with a shared article effect; the truth is 0. Binomial 3-sigma: ±.038.
    rng = np.random.default_rng(1)
    covered = 0
    for n in range(300):
        values = rng.standard_normal((40, 1)) + rng.standard_normal((40, 3))
        low, high = interval(bootstrap(results(values), "m", draws=500, seed=n)["A"])
        covered += low <= 0 <= high
    assert 0.95 - 0.05 < covered / 300 < 0.95 + 0.038


def test_languages_count_the_same_whatever_their_number_of_questions():
    table = pd.concat([results([[0, 0, 0], [0, 0, 0]]), results([[1], [1]]).assign(query_language="de")])
    assert bootstrap(table, "m", draws=10)["A"].tolist() == [0.5] * 10


def test_a_draw_without_a_language_is_the_mean_of_the_others():
    """Nothing is parallel: one cluster is asked in English, the other in German."""
    table = pd.concat([results([[0, 0]]), results([[1]]).assign(query_language="de", cluster="b")])
    shares = bootstrap(table, "m", draws=40_000)["A"].value_counts(normalize=True)
    assert set(shares.index) == {0, 0.5, 1} and shares[0.5] == pytest.approx(0.5, abs=0.01)


def test_queries_without_a_value_do_not_count():
    """As where nothing is relevant in a query's own language."""
    values = np.random.default_rng(0).random((12, 3))
    table = pd.concat([results(values), results(np.full((12, 2), np.nan))])
    pd.testing.assert_frame_equal(bootstrap(table, "m", 100), bootstrap(results(values), "m", 100))
    assert estimates(table, "m", 100).loc["A", "value"] == pytest.approx(values.mean())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert estimates(table.assign(m=np.nan), "m", 100).isna().all(axis=None), "of nothing there is no mean"


def test_estimates_are_macro_means_in_the_order_of_the_systems():
    table = simulated(np.random.default_rng(2), 0.3, systems=("X-Y", "A", "Hybrid"))
    found = estimates(table, "m", draws=300)
    assert found.index.tolist() == ["X-Y", "A", "Hybrid"] and found.columns.tolist() == ["value", "low", "high"]
    for system, row in found.iterrows():
        of_seeds = [macro(table[(table["system"] == system) & (table["seed"] == seed)], "m").item()
                    for seed in range(3)]
        assert row["value"] == pytest.approx(np.mean(of_seeds)) and row["low"] < row["value"] < row["high"]
        assert (row["low"], row["high"]) == interval(hierarchical_bootstrap(table, "m", 300)[system])


@pytest.mark.parametrize(("seeds", "seed_noise"), [(3, 0.0), (3, 0.1), (5, 0.05)])
def test_intervals_over_articles_and_seeds_cover_as_they_say(seeds, seed_noise):
    # 400 data sets: 95 % covers between 92 and 98 % of the time (binomial 3-sigma ±3.3); Student's t for two systems
    # is a little wide (Behrens-Fisher), so up to 99 % is allowed.
    rng = np.random.default_rng(5)
    covered = only_articles = 0
    for n in range(400):
        table = simulated(rng, 0.2, seeds, seed_noise=seed_noise)
        drawn = hierarchical_bootstrap(table, "m", draws=600, seed=n)
        low, high = interval(drawn["Hybrid"] - drawn["X-X"])
        covered += low <= 0.2 <= high
        drawn = bootstrap(table, "m", draws=600, seed=n)
        low, high = interval(drawn["Hybrid"] - drawn["X-X"])
        only_articles += low <= 0.2 <= high
    assert 0.915 < covered / 400 <= 0.995
    if seed_noise == 0.1:
        assert only_articles / 400 < 0.8, "without the seeds an interval promises too much"


def test_false_alarms_come_as_often_as_the_level_says():
    rng = np.random.default_rng(6)
    alarms = {"bootstrap": 0, "permutation": 0}
    for n in range(300):
        table = simulated(rng, 0.0, 3, seed_noise=0.03)
        drawn = hierarchical_bootstrap(table, "m", draws=600, seed=n)
        alarms["bootstrap"] += p_value(drawn["Hybrid"] - drawn["X-X"]) < 0.05
        still = simulated(rng, 0.0, 3, seed_noise=0.0)
        alarms["permutation"] += permutation(still, "m", "X-X", "Hybrid", draws=300, seed=n) < 0.05
    # 5 % ± 3.8 (three sigma of 300)
    assert alarms["bootstrap"] / 300 < 0.088 and 0.012 < alarms["permutation"] / 300 < 0.088


def test_one_seed_leaves_the_seed_variance_unknown():
    table = simulated(np.random.default_rng(0), 1.0, seeds=1)
    assert hierarchical_bootstrap(table, "m", draws=50).isna().all(axis=None)
    assert np.isnan(p_value(hierarchical_bootstrap(table, "m", draws=50)["X-X"]))
    untrained = table.assign(seed=NO_SEED)
    assert hierarchical_bootstrap(untrained, "m", draws=50).notna().all(axis=None)


def test_effect_size_and_contributions_by_hand():
    table = pd.concat([results([[0.0, 0.0], [0.0, 0.0]]), results([[0.1, 0.1], [0.3, 0.3]], "B")])
    contributions = by_cluster(table, "m", "B", "A")
    # Two articles of two questions each: an article adds its mean times its share of the questions.
    assert contributions.tolist() == pytest.approx([0.05, 0.15])
    assert effect_size(table, "m", "B", "A") == pytest.approx(0.1 / np.std([0.05, 0.15], ddof=1))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_the_textbook_rule(p_values):
    # Reject in ascending order while p(k) <= level / (m - k); an adjusted value is the smallest such level.
    adjusted = holm(p_values)
    for level in (0.01, 0.05, 0.2):
        rejected, stopped = set(), False
        for k, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
            stopped = stopped or p_values[index] * (len(p_values) - k) > level
            if not stopped:
                rejected.add(index)
        assert {i for i, p in enumerate(adjusted) if p <= level} == rejected


def test_differences_take_only_the_two_systems_and_hold_seeds():
    table = simulated(np.random.default_rng(3), 0.2, 3)
    row = differences(table, "Hybrid", "X-X", ["m"], draws=500).loc["m"]
    third = simulated(np.random.default_rng(4), seeds=2, systems=("X-Y",))  # with these seeds nothing could be paired
    pd.testing.assert_series_equal(
        differences(pd.concat([third, table]), "Hybrid", "X-X", ["m"], draws=500).loc["m"], row)
    assert row["low"] < row["difference"] < row["high"]
    means = macro(table, "m")
    assert row["difference"] == pytest.approx(means["Hybrid"].mean() - means["X-X"].mean())
    only_articles = bootstrap(table, "m", 500)
    narrow = np.subtract(*interval(only_articles["Hybrid"] - only_articles["X-X"])[::-1])
    assert row["high"] - row["low"] > narrow
    one = table[table["seed"] == 0]
    alone = differences(one, "Hybrid", "X-X", ["m"], draws=500).loc["m"]
    draws = bootstrap(one, "m", 500)
    assert (alone["low"], alone["high"]) == interval(draws["Hybrid"] - draws["X-X"])


def test_systems_made_from_the_same_runs_vary_together():
    # Seeds move both by the same amount, so the difference of a seed's two systems is certain.
    table = simulated(np.random.default_rng(4), 0.0, 3, articles=8, seed_noise=0.5, systems=("Hybrid",))
    moved = table.assign(system="Hybrid + subspace", m=table["m"] + 0.25)
    drawn = hierarchical_bootstrap(pd.concat([table, moved]), "m", draws=200)
    assert np.ptp(drawn["Hybrid"]) > 0.5
    np.testing.assert_allclose(drawn["Hybrid + subspace"] - drawn["Hybrid"], 0.25)
    apart = hierarchical_bootstrap(pd.concat([table, moved.assign(seed=2 - moved["seed"])]), "m", draws=200)
    assert (apart["Hybrid + subspace"] - apart["Hybrid"]).std() > 0.1


def test_systems_with_different_seeds_cannot_be_paired():
    table = simulated(np.random.default_rng(4), 0.0, 3)
    table = table[(table["system"] == "X-X") | (table["seed"] < 2)]
    with pytest.raises(ValueError, match="must have the same: X-X has 0, 1, 2; Hybrid has 0, 1"):
        hierarchical_bootstrap(table, "m", draws=50)


def test_what_intervals_hold_is_said():
    table = simulated(np.random.default_rng(4), 0.0, 3)
    untrained = table.query("seed == 0").assign(seed=NO_SEED, system="untrained")
    one = pd.concat([table.query("seed == 0"), untrained])
    assert what_varies(table) == "articles and 3 seeds" and what_varies(one) == "articles"
    assert what_varies(table, "questions") == "questions and 3 seeds" and what_varies(untrained, "pages") == "pages"
    pd.testing.assert_frame_equal(draws_of(one, "m", 50), bootstrap(one, "m", 50))
    pd.testing.assert_frame_equal(draws_of(table, "m", 50), hierarchical_bootstrap(table, "m", 50))


def test_each_of_several_systems_of_the_same_runs_has_the_t_of_its_own_seeds():
    rng = np.random.default_rng(7)
    rows = [results(np.full((4, 2), value), system, seed)
            for system in ("Hybrid", "Hybrid + subspace", "Hybrid + centring-corpus")
            for seed, value in enumerate(rng.standard_normal(4))]
    table = pd.concat(rows)
    drawn = hierarchical_bootstrap(table, "m", draws=40_000)  # articles are all alike: what varies is the seeds
    for system, means in macro(table, "m").groupby(level="system"):
        t = (drawn[system] - means.mean()) / (means.std(ddof=1) / 2)
        assert stats.kstest(t, stats.t(3).cdf).pvalue > 0.001
