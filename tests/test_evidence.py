"""Intervals from resampled articles: paired, exact where they can be worked out, covering as they should."""

import numpy as np
import pandas as pd
import pytest

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
