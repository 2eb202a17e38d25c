"""The paper's claims: verdicts on results whose truth is known, and what would decide where nothing is decided."""

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from scipy import stats
from simulated import results, simulated

from hybridlib.evaluation import HEADLINE, bootstrap, macro
from reproduction.findings import tables
from reproduction.findings.claims import (
    Part,
    choose_recipe,
    halves,
    judge_claims,
    part_evidence,
    read_claims,
    relative_gains,
)

CLAIMS = ROOT / "configs" / "evidence" / "claims.yaml"
NAMES = [measure.name for measure in HEADLINE]


def test_table_marks_only_differences_that_exclude_zero():
    rng = np.random.default_rng(0)
    base = rng.random((30, 3))
    systems = {"X-X": base, "X-Y": base + 0.1, "Hybrid": base + 0.1 + 0.2 * (rng.random((30, 3)) - 0.5)}
    table = pd.concat([results(values, name) for name, values in systems.items()])
    table = table.assign(**dict.fromkeys(NAMES, table["m"]))
    shown = tables.pairwise(table, draws=1000)["multilingual mAP"]
    assert shown["X-Y − X-X"] == "+0.100 [+0.100, +0.100] *"
    assert shown["Hybrid − X-X"].endswith("*") and not shown["Hybrid − X-Y"].endswith("*")


def test_measured_differences_are_shown_with_sign_interval_and_star():
    rows = [("b", "A", "X-X", "multilingual AP", 0.1234, 0.01, 0.2), ("b", "A", "X-X", "rank distance", -3.21, -7, 0.5),
            ("b", "B", "A", "multilingual AP", -0.01, -0.02, -0.001), ("b", "B", "A", "rank distance", 2, 1, 3)]
    shown = tables.signed(pd.DataFrame(
        rows, columns=["benchmark", "system", "reference", "measure", "difference", "low", "high"]).assign(
            seeds=5))
    assert shown.columns.name == "[95 % over articles and seeds]"
    assert shown.index.tolist() == [("b", "A − X-X"), ("b", "B − A")]
    assert shown["multilingual mAP"].tolist() == ["+0.123 [+0.010, +0.200] *", "-0.010 [-0.020, -0.001] *"]
    assert shown["rank distance"].tolist() == ["-3.2 [-7.0, +0.5]", "+2.0 [+1.0, +3.0] *"]


def claim_results(gap_mono, gap_multi, distance, seeds=3, noise=0.002):
    """Three systems with known gaps of Hybrid to X-X (monolingual, multilingual), and rank distances."""
    rng = np.random.default_rng(7)
    base = {m: rng.random((30, 3)) * 0.2 + 0.5 for m in NAMES}
    rows = []
    for system in ("X-X", "X-Y", "Hybrid"):
        for seed in range(seeds):
            values = {m: base[m] + rng.normal(0, noise) + rng.normal(0, noise, (30, 3)) for m in base}
            values["monolingual AP"] += gap_mono * (system == "Hybrid")
            values["multilingual AP"] += gap_multi * (system != "X-X")
            values["rank distance"] = 100 * (1 + values["rank distance"]) * (distance if system != "X-X" else 1)
            table = pd.concat([results(values[m], system, seed, m) for m in base], axis=1)
            rows.append(table.loc[:, ~table.columns.duplicated()])
    return pd.concat(rows, ignore_index=True)


def verdicts(table):
    return judge_claims(CLAIMS, {"toy": table}, "toy", draws=2000)[0].set_index("claim")["verdict"]


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
    verdict, parts = judge_claims(CLAIMS, {"toy": claim_results(0.0, 0.1, 0.7, noise=0.015)}, "toy", draws=2000)
    row = verdict.set_index("claim").loc[1]
    assert row["verdict"] == "undecided" and "would take" in row["why"] and "seeds" in row["why"]
    needed = parts.loc[parts["claim"] == 1, "seeds_needed"].item()
    assert 3 < needed < 100
    # Recomputed: the smallest number of seeds at which the margin is as many standard errors away as power asks for.
    table, family = claim_results(0.0, 0.1, 0.7, noise=0.015), 15
    means = macro(table, "monolingual AP")
    by_seed = means["Hybrid"] - means["X-X"]
    resampled = bootstrap(table[table["system"] != "X-Y"], "monolingual AP", 2000)
    gap = by_seed.mean() + 0.01

    def power_is_enough(seeds):
        error = np.sqrt(by_seed.var() / seeds + (resampled["Hybrid"] - resampled["X-X"]).var())
        t = stats.t(seeds - 1)
        return gap / error >= t.ppf(1 - 0.05 / family) + t.ppf(0.8)
    assert power_is_enough(needed) and not power_is_enough(needed - 1)


def test_the_claims_file_has_the_seven_claims():
    found, rules = read_claims(CLAIMS)
    assert [claim["number"] for claim in found] == [1, 2, 3, 4, 5, 6, 7]
    assert {part.kind for claim in found for part in claim["parts"]} == {"at least", "greater", "level"}
    assert rules == {"level": 0.05, "map_margin": 0.01, "rank_distance_margin": 0.05}


def test_halves_share_no_article_and_lose_none():
    table = simulated(np.random.default_rng(0), articles=31)
    first, second = halves(table)
    assert set(first["cluster"]) | set(second["cluster"]) == set(table["cluster"])
    assert not set(first["cluster"]) & set(second["cluster"])
    assert first["cluster"].nunique() == 15 and len(first) + len(second) == len(table)


def test_gains_are_shares_and_a_smaller_rank_distance_is_one():
    table = pd.concat([results([[value]], system, measure="multilingual AP").assign(**{"rank distance": distance})
                       for system, value, distance in (("Hybrid", 0.5, 100.0), ("A", 0.6, 90.0), ("B", 0.5, 110.0))])
    found = relative_gains(table, "Hybrid", ["multilingual AP", "rank distance"])
    assert found.index.tolist() == ["A", "Hybrid", "B"]
    assert found.loc["A"].tolist() == pytest.approx([0.2, 0.1, 0.15])
    assert found.loc["B", "mean"] == pytest.approx(-0.05)


def test_at_least_is_refuted_only_beyond_the_margin():
    # Certainly a little worse, by less than the margin: that is "at least as good", and not its opposite.
    base = simulated(np.random.default_rng(9), 0.0, 3, seed_noise=0.0, systems=("X-X",), measure="multilingual AP")
    rules = {"level": 0.05, "map_margin": 0.01, "rank_distance_margin": 0.05}
    part = Part("multilingual AP", "Hybrid", "X-X", "at least")
    for loss, shown in ((0.004, True), (0.016, False)):
        worse = base.assign(**{"system": "Hybrid", "multilingual AP": base["multilingual AP"] - loss})
        found = part_evidence(pd.concat([base, worse]), part, rules, draws=500)
        assert (found["p_for"] < 0.01, found["p_against"] < 0.01) == (shown, not shown)


def test_a_recipe_is_chosen_by_its_smallest_gain_and_confirmed_on_other_articles():
    rng = np.random.default_rng(8)
    name, measures = "multilingual AP", ["multilingual AP", "rank distance"]
    base = simulated(rng, 0.0, 3, articles=20, seed_noise=0.0, systems=("Hybrid",), measure=name)
    base = base.assign(**{name: base[name] + 5, "rank distance": 100.0})
    # A gains a little in both, B much in one and loses a little in the other: B has the larger mean gain.
    a = base.assign(**{"system": "A", name: base[name] * 1.01, "rank distance": 99.0})
    b = base.assign(**{"system": "B", name: base[name] * 2, "rank distance": 101.0})
    table = pd.concat([base, a, b])
    ranking, confirmed = choose_recipe({"other": table, "main": table}, "main", "Hybrid", measures, 50)
    assert ranking.index.tolist() == ["A", "Hybrid", "B"]
    assert ranking.loc["B", "mean"] > ranking.loc["A", "mean"]
    assert confirmed.loc[confirmed["chosen"], "system"].unique().tolist() == ["A"]
    assert confirmed.groupby("benchmark", sort=False)["articles"].first().to_dict() == {"main": 10, "other": 20}
    first, second = halves(table)
    means = macro(second, name).groupby(level="system").mean()
    row = confirmed.query("system == 'A' and benchmark == 'main' and measure == @name").iloc[0]
    assert row["difference"] == pytest.approx(means["A"] - means["Hybrid"])
    assert means["A"] - means["Hybrid"] != pytest.approx(
        np.subtract(*macro(first, name).groupby(level="system").mean()[["A", "Hybrid"]]))
