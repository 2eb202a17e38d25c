"""Intervals from resampled articles: paired, exact where they can be worked out, covering as they should."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hybridlib import evidence, tables


def results(values, system="A", seed=0):
    """Per-query results: ``values[article]`` is a list of values of its questions, one language."""
    rows = [{"system": system, "seed": seed, "article": f"a{n}", "query_language": "en", "m": value}
            for n, article in enumerate(values) for value in article]
    return pd.DataFrame(rows)


def test_articles_are_resampled_whole():
    # Two articles, one all zeros and one all ones: a draw is 0, 1/2 or 1, in the shares 1/4, 1/2, 1/4.
    draws = evidence.bootstrap(results([[0] * 10, [1] * 10]), "m", draws=40_000)["A"]
    shares = draws.value_counts(normalize=True)
    assert set(shares.index) == {0, 0.5, 1}
    assert shares[0.5] == pytest.approx(0.5, abs=0.01)


def test_differences_are_paired():
    rng = np.random.default_rng(0)
    base = rng.random((20, 5))
    both = pd.concat([results(base), results(base + 0.125, "B")])
    draws = evidence.bootstrap(both, "m")
    assert np.ptp(draws["A"]) > 0.05
    np.testing.assert_allclose(draws["B"] - draws["A"], 0.125)


def test_coverage_is_near_its_level():
    # 300 data sets of 40 articles with a shared article effect; the truth is 0. Binomial 3-sigma: ±.038.
    rng = np.random.default_rng(1)
    covered = 0
    for n in range(300):
        values = rng.standard_normal((40, 1)) + rng.standard_normal((40, 3))
        low, high = evidence.interval(evidence.bootstrap(results(values), "m", draws=500, seed=n)["A"])
        covered += low <= 0 <= high
    assert 0.95 - 0.05 < covered / 300 < 0.95 + 0.038


def test_languages_count_the_same_whatever_their_number_of_questions():
    table = pd.concat([results([[0, 0, 0], [0, 0, 0]]), results([[1], [1]]).assign(query_language="de")])
    assert evidence.bootstrap(table, "m", draws=10)["A"].tolist() == [0.5] * 10


def test_table_marks_only_differences_that_exclude_zero():
    rng = np.random.default_rng(0)
    base = rng.random((30, 3))
    systems = {"X-X": base, "X-Y": base + 0.1, "Hybrid": base + 0.1 + 0.2 * (rng.random((30, 3)) - 0.5)}
    table = pd.concat([results(values, name) for name, values in systems.items()])
    table = table.assign(**dict.fromkeys(tables.HEADLINE, table["m"]))
    shown = tables.differences(table, draws=1000)["multilingual mAP"]
    assert shown["X-Y − X-X"] == "+0.100 [+0.100, +0.100] *"
    assert shown["Hybrid − X-X"].endswith("*") and not shown["Hybrid − X-Y"].endswith("*")


def test_measured_differences_are_shown_with_sign_interval_and_star():
    rows = [("b", "A", "X-X", "multilingual AP", 0.1234, 0.01, 0.2), ("b", "A", "X-X", "rank distance", -3.21, -7, 0.5),
            ("b", "B", "A", "multilingual AP", -0.01, -0.02, -0.001), ("b", "B", "A", "rank distance", 2, 1, 3)]
    shown = tables.signed(pd.DataFrame(
        rows, columns=["benchmark", "system", "reference", "measure", "difference", "low", "high"]))
    assert shown.index.tolist() == [("b", "A − X-X"), ("b", "B − A")]
    assert shown["multilingual mAP"].tolist() == ["+0.123 [+0.010, +0.200] *", "-0.010 [-0.020, -0.001] *"]
    assert shown["rank distance"].tolist() == ["-3.2 [-7.0, +0.5]", "+2.0 [+1.0, +3.0] *"]


def simulated(rng, effect=0.0, seeds=3, articles=30, seed_noise=0.05, systems=("X-X", "Hybrid")):
    """Results of two systems: shared article difficulty, own article and question noise, a shift per seed."""
    difficulty = rng.standard_normal((articles, 1)) * 0.3
    tables_ = []
    for number, system in enumerate(systems):
        own = rng.standard_normal((articles, 1)) * 0.1
        for seed in range(seeds):
            values = difficulty + own + rng.standard_normal((articles, 4)) * 0.1 + rng.normal(0, seed_noise)
            tables_.append(results(values + number * effect, system, seed))
    return pd.concat(tables_, ignore_index=True)


@pytest.mark.parametrize(("seeds", "seed_noise"), [(3, 0.0), (3, 0.1), (5, 0.05)])
def test_intervals_over_articles_and_seeds_cover_as_they_say(seeds, seed_noise):
    # 400 data sets: 95 % covers between 92 and 98 % of the time (binomial 3-sigma ±3.3); Student's t for two systems
    # is a little wide (Behrens-Fisher), so up to 99 % is allowed.
    rng = np.random.default_rng(5)
    covered = only_articles = 0
    for n in range(400):
        table = simulated(rng, 0.2, seeds, seed_noise=seed_noise)
        drawn = evidence.both(table, "m", draws=600, seed=n)
        low, high = evidence.interval(drawn["Hybrid"] - drawn["X-X"])
        covered += low <= 0.2 <= high
        drawn = evidence.bootstrap(table, "m", draws=600, seed=n)
        low, high = evidence.interval(drawn["Hybrid"] - drawn["X-X"])
        only_articles += low <= 0.2 <= high
    assert 0.915 < covered / 400 <= 0.995
    if seed_noise == 0.1:
        assert only_articles / 400 < 0.8, "without the seeds an interval promises too much"


def test_false_alarms_come_as_often_as_the_level_says():
    rng = np.random.default_rng(6)
    alarms = {"bootstrap": 0, "permutation": 0}
    for n in range(300):
        table = simulated(rng, 0.0, 3, seed_noise=0.03)
        drawn = evidence.both(table, "m", draws=600, seed=n)
        alarms["bootstrap"] += evidence.p_value(drawn["Hybrid"] - drawn["X-X"]) < 0.05
        still = simulated(rng, 0.0, 3, seed_noise=0.0)
        alarms["permutation"] += evidence.permutation(still, "m", "X-X", "Hybrid", draws=300, seed=n) < 0.05
    # 5 % ± 3.8 (three sigma of 300)
    assert alarms["bootstrap"] / 300 < 0.088 and 0.012 < alarms["permutation"] / 300 < 0.088


def test_one_seed_leaves_the_seed_variance_unknown():
    table = simulated(np.random.default_rng(0), 1.0, seeds=1)
    assert evidence.both(table, "m", draws=50).isna().all(axis=None)
    assert np.isnan(evidence.p_value(evidence.both(table, "m", draws=50)["X-X"]))
    untrained = table.assign(seed=-1)
    assert evidence.both(untrained, "m", draws=50).notna().all(axis=None)


def test_effect_size_and_contributions_by_hand():
    table = pd.concat([results([[0.0, 0.0], [0.0, 0.0]]), results([[0.1, 0.1], [0.3, 0.3]], "B")])
    contributions = evidence.by_article(table, "m", "B", "A")
    # Two articles of two questions each: an article adds its mean times its share of the questions.
    assert contributions.tolist() == pytest.approx([0.05, 0.15])
    assert evidence.effect_size(table, "m", "B", "A") == pytest.approx(0.1 / np.std([0.05, 0.15], ddof=1))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_the_textbook_rule(p_values):
    # Reject in ascending order while p(k) <= level / (m - k); an adjusted value is the smallest such level.
    adjusted = evidence.holm(p_values)
    for level in (0.01, 0.05, 0.2):
        rejected, stopped = set(), False
        for k, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
            stopped = stopped or p_values[index] * (len(p_values) - k) > level
            if not stopped:
                rejected.add(index)
        assert {i for i, p in enumerate(adjusted) if p <= level} == rejected


def claim_results(gap_mono, gap_multi, distance, seeds=3, noise=0.002):
    """Three systems with known gaps of Hybrid to X-X (monolingual, multilingual), and rank distances."""
    rng = np.random.default_rng(7)
    base = {m: rng.random((30, 3)) * 0.2 + 0.5 for m in tables.HEADLINE}
    rows = []
    for system in ("X-X", "X-Y", "Hybrid"):
        for seed in range(seeds):
            values = {m: base[m] + rng.normal(0, noise) + rng.normal(0, noise, (30, 3)) for m in base}
            values["monolingual AP"] += gap_mono * (system == "Hybrid")
            values["multilingual AP"] += gap_multi * (system != "X-X")
            values["rank distance"] = 100 * (1 + values["rank distance"]) * (distance if system != "X-X" else 1)
            table = pd.concat([results(values[m], system, seed).rename(columns={"m": m}) for m in base], axis=1)
            rows.append(table.loc[:, ~table.columns.duplicated()])
    return pd.concat(rows, ignore_index=True)


def verdicts(table):
    return evidence.judge_claims({"toy": table}, "toy", draws=2000)[0].set_index("claim")["verdict"]


def test_verdicts_on_constructed_cases():
    as_the_paper = verdicts(claim_results(0.0, 0.1, 0.7))
    assert as_the_paper.loc[[1, 2, 3, 4]].tolist() == ["reproduced"] * 4
    assert as_the_paper.loc[[5, 6, 7]].tolist() == ["not measured"] * 3
    otherwise = verdicts(claim_results(-0.05, -0.1, 1.3))
    assert otherwise.loc[[1, 3, 4]].tolist() == ["not reproduced"] * 3
    noisy = verdicts(claim_results(-0.008, 0.0, 1.0, noise=0.02))
    assert set(noisy.loc[[1, 3]]) == {"undecided"}
    assert verdicts(claim_results(0.0, 0.1, 0.7, seeds=1)).loc[[1, 2, 3, 4]].tolist() == ["undecided"] * 4


def test_an_undecided_claim_says_what_would_decide_it():
    verdict, parts = evidence.judge_claims({"toy": claim_results(0.0, 0.1, 0.7, noise=0.015)}, "toy", draws=2000)
    row = verdict.set_index("claim").loc[1]
    assert row["verdict"] == "undecided" and "would take" in row["why"] and "seeds" in row["why"]
    needed = parts.loc[parts["claim"] == 1, "seeds_needed"].item()
    assert 3 < needed < 100
    # Recomputed: the smallest number of seeds at which the margin is as many standard errors away as power asks for.
    table, family = claim_results(0.0, 0.1, 0.7, noise=0.015), 15
    means = evidence.seed_means(table, "monolingual AP")
    by_seed = means["Hybrid"] - means["X-X"]
    resampled = evidence.bootstrap(table[table["system"] != "X-Y"], "monolingual AP", 2000)
    gap = by_seed.mean() + 0.01

    def power_is_enough(seeds):
        error = np.sqrt(by_seed.var() / seeds + (resampled["Hybrid"] - resampled["X-X"]).var())
        t = stats.t(seeds - 1)
        return gap / error >= t.ppf(1 - 0.05 / family) + t.ppf(0.8)
    assert power_is_enough(needed) and not power_is_enough(needed - 1)


def test_the_claims_file_has_the_seven_claims():
    claims, rules = evidence.read_claims()
    assert [claim["number"] for claim in claims] == [1, 2, 3, 4, 5, 6, 7]
    assert {part.kind for claim in claims for part in claim["parts"]} == {"at least", "greater", "level"}
    assert rules == {"level": 0.05, "map_margin": 0.01, "rank_distance_margin": 0.05}


def test_halves_share_no_article_and_lose_none():
    table = simulated(np.random.default_rng(0), articles=31)
    first, second = evidence.halves(table)
    assert set(first["article"]) | set(second["article"]) == set(table["article"])
    assert not set(first["article"]) & set(second["article"])
    assert first["article"].nunique() == 15 and len(first) + len(second) == len(table)


def test_gains_are_shares_and_a_smaller_rank_distance_is_one():
    table = pd.concat([results([[value]], system).assign(**{"rank distance": distance}) for system, value, distance in
                       (("Hybrid", 0.5, 100.0), ("A", 0.6, 90.0), ("B", 0.5, 110.0))])
    found = evidence.gains(table, "Hybrid", ["m", "rank distance"])
    assert found.index.tolist() == ["A", "Hybrid", "B"]
    assert found.loc["A"].tolist() == pytest.approx([0.2, 0.1, 0.15])
    assert found.loc["B", "mean"] == pytest.approx(-0.05)


def test_confirming_takes_only_the_two_systems_and_holds_seeds():
    table = simulated(np.random.default_rng(3), 0.2, 3)
    row = evidence.confirm(table, "Hybrid", "X-X", ["m"], draws=500).loc["m"]
    assert row["low"] < row["difference"] < row["high"]
    means = evidence.seed_means(table, "m")
    assert row["difference"] == pytest.approx(means["Hybrid"].mean() - means["X-X"].mean())
    only_articles = evidence.bootstrap(table, "m", 500)
    narrow = np.subtract(*evidence.interval(only_articles["Hybrid"] - only_articles["X-X"])[::-1])
    assert row["high"] - row["low"] > narrow
    one = table[table["seed"] == 0]
    alone = evidence.confirm(one, "Hybrid", "X-X", ["m"], draws=500).loc["m"]
    draws = evidence.bootstrap(one, "m", 500)
    assert (alone["low"], alone["high"]) == evidence.interval(draws["Hybrid"] - draws["X-X"])


def test_systems_made_from_the_same_runs_vary_together():
    # Seeds move both by the same amount, so the difference of a seed's two systems is certain.
    table = simulated(np.random.default_rng(4), 0.0, 3, articles=8, seed_noise=0.5, systems=("Hybrid",))
    moved = table.assign(system="Hybrid + subspace", m=table["m"] + 0.25)
    drawn = evidence.both(pd.concat([table, moved]), "m", draws=200)
    assert np.ptp(drawn["Hybrid"]) > 0.5
    np.testing.assert_allclose(drawn["Hybrid + subspace"] - drawn["Hybrid"], 0.25)
    apart = evidence.both(pd.concat([table, moved.assign(seed=2 - moved["seed"])]), "m", draws=200)
    assert (apart["Hybrid + subspace"] - apart["Hybrid"]).std() > 0.1


def test_systems_with_different_seeds_cannot_be_paired():
    table = simulated(np.random.default_rng(4), 0.0, 3)
    table = table[(table["system"] == "X-X") | (table["seed"] < 2)]
    with pytest.raises(ValueError, match="must have the same: X-X has 0, 1, 2; Hybrid has 0, 1"):
        evidence.both(table, "m", draws=50)


def test_what_intervals_hold_is_said():
    table = simulated(np.random.default_rng(4), 0.0, 3)
    untrained = table.query("seed == 0").assign(seed=-1, system="untrained")
    one = pd.concat([table.query("seed == 0"), untrained])
    assert evidence.what_varies(table) == "articles and 3 seeds" and evidence.what_varies(one) == "articles"
    pd.testing.assert_frame_equal(evidence.draws_of(one, "m", 50), evidence.bootstrap(one, "m", 50))
    pd.testing.assert_frame_equal(evidence.draws_of(table, "m", 50), evidence.both(table, "m", 50))


def test_at_least_is_refuted_only_beyond_the_margin():
    # Certainly a little worse, by less than the margin: that is "at least as good", and not its opposite.
    base = simulated(np.random.default_rng(9), 0.0, 3, seed_noise=0.0, systems=("X-X",)).rename(
        columns={"m": "multilingual AP"})
    rules = {"level": 0.05, "map_margin": 0.01, "rank_distance_margin": 0.05}
    part = evidence.Part("multilingual AP", "Hybrid", "X-X", "at least")
    for loss, shown in ((0.004, True), (0.016, False)):
        worse = base.assign(**{"system": "Hybrid", "multilingual AP": base["multilingual AP"] - loss})
        found = evidence.part_evidence(pd.concat([base, worse]), part, rules, draws=500)
        assert (found["p_for"] < 0.01, found["p_against"] < 0.01) == (shown, not shown)


def test_each_of_several_systems_of_the_same_runs_has_the_t_of_its_own_seeds():
    rng = np.random.default_rng(7)
    rows = [results(np.full((4, 2), value), system, seed)
            for system in ("Hybrid", "Hybrid + subspace", "Hybrid + centring-corpus")
            for seed, value in enumerate(rng.standard_normal(4))]
    table = pd.concat(rows)
    drawn = evidence.both(table, "m", draws=40_000)  # articles are all alike: what varies is the seeds
    for system, means in evidence.seed_means(table, "m").groupby(level="system"):
        t = (drawn[system] - means.mean()) / (means.std(ddof=1) / 2)
        assert stats.kstest(t, stats.t(3).cdf).pvalue > 0.001


def test_a_recipe_is_chosen_by_its_smallest_gain_and_confirmed_on_other_articles():
    rng = np.random.default_rng(8)
    base = simulated(rng, 0.0, 3, articles=20, seed_noise=0.0, systems=("Hybrid",))
    base = base.assign(m=base["m"] + 5, **{"rank distance": 100.0})
    # A gains a little in both, B much in one and loses a little in the other: B has the larger mean gain.
    a = base.assign(system="A", m=base["m"] * 1.01, **{"rank distance": 99.0})
    b = base.assign(system="B", m=base["m"] * 2, **{"rank distance": 101.0})
    table = pd.concat([base, a, b])
    ranking, confirmed = evidence.recipe({"other": table, "main": table}, "main", "Hybrid", ["m", "rank distance"], 50)
    assert ranking.index.tolist() == ["A", "Hybrid", "B"]
    assert ranking.loc["B", "mean"] > ranking.loc["A", "mean"]
    assert confirmed.loc[confirmed["chosen"], "system"].unique().tolist() == ["A"]
    assert confirmed.groupby("benchmark", sort=False)["articles"].first().to_dict() == {"main": 10, "other": 20}
    first, second = evidence.halves(table)
    means = evidence.seed_means(second, "m").groupby(level="system").mean()
    row = confirmed.query("system == 'A' and benchmark == 'main' and measure == 'm'").iloc[0]
    assert row["difference"] == pytest.approx(means["A"] - means["Hybrid"])
    assert means["A"] - means["Hybrid"] != pytest.approx(
        np.subtract(*evidence.seed_means(first, "m").groupby(level="system").mean()[["A", "Hybrid"]]))
