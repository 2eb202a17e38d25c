"""Two reports: what differs, by hand and by the intervals' own functions; and what cannot be compared."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from hybridlib.data import TestSet
from hybridlib.evaluation import COMPARED, bootstrap, compare, interval, rank_test_set, report_of


def at(*degrees):
    """Unit vectors at angles in the plane."""
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)


def toy(name="toy", grade=1, more=(), question="q1"):
    """A German and an English query, each with a German and an English answer; German first in the pool."""
    return TestSet.from_records(
        name, [{"id": "q1", "question": question, "language": "de", "text": "?"},
               {"id": "q2", "language": "en", "text": "?"}],
        [{"id": x, "language": x[:2], "text": x} for x in ("de1", "de2", "en1", "en2", *more)],
        [("q1", "de1", grade), ("q1", "en1"), ("q2", "de2"), ("q2", "en2")])


def report(test_set, *degrees, model="model"):
    """Both queries at 0 degrees, the candidates where said."""
    return report_of(rank_test_set(test_set, at(0, 0), at(*degrees)), test_set, model)


def test_differences_by_hand():
    test_set = toy()
    # By angle: de1 de2 en1 en2 in the first; en2 en1 de2 de1 in the second.
    found = compare(report(test_set, 1, 2, 3, 4, model="a"), report(test_set, 4, 3, 2, 1, model="b"))
    assert (found.first, found.second, found.test_set) == ("a", "b", "toy")
    assert found.table.index.tolist() == [measure.name for measure in COMPARED] == [
        "monolingual AP", "crosslingual AP", "multilingual AP", "rank distance",
        "own-language rank", "own language first", "others above own"]
    # q1, German: its own at 1, then at 4; q2, English: at 4 and at 1. The other answer stands at 3 and 2.
    assert found.table.loc["own-language rank", ["first", "second", "difference"]].tolist() == [2.5, 2.5, 0]
    assert found.table.loc["rank distance"].tolist() == [2, 2, 0, 0, 0]
    # The second query's others: German at 2 above English at 4 in the first; in the second none, English being at 1.
    better = compare(report(test_set, 1, 3, 4, 2, model="a"), report(test_set, 4, 2, 1, 3, model="b")).table
    assert better.loc["own-language rank", ["first", "second", "difference"]].tolist() == [1.5, 3.5, -2]
    assert better.loc["others above own", ["first", "second", "difference"]].tolist() == [0, 1, -1]
    assert better.loc["own language first", ["first", "second", "difference"]].tolist() == [0.5, 0, 0.5]


@pytest.fixture(scope="module")
def noise():
    """Reports of two random encoders, under one name; articles of four questions."""
    rng = np.random.default_rng(0)
    languages, count = ("de", "en", "pl"), 40
    test_set = TestSet.from_parallel(
        "noise", languages, [(f"q{n}", f"a{n // 4}", x, f"{n} {x}", n) for x in languages for n in range(count)],
        [(f"a{n // 4}", x, f"{n} {x}") for x in languages for n in range(count)])
    return [report_of(rank_test_set(test_set, *(
        (v / np.linalg.norm(v, axis=1, keepdims=True)).astype(np.float32)
        for v in (rng.standard_normal((len(texts), 8)) for texts in (test_set.queries, test_set.candidates)))),
        test_set, "model") for _ in range(2)]


def test_intervals_are_paired_and_over_clusters(noise):
    table = compare(*noise).table
    results = pd.concat([one.queries.assign(system=name, seed=-1) for name, one in zip("ab", noise, strict=True)])
    drawn = bootstrap(results, "own-language rank")
    assert tuple(table.loc["own-language rank", ["low", "high"]]) == interval(drawn["a"] - drawn["b"])
    for measure in COMPARED[:4]:
        assert table.loc[measure.name, "first"] == pytest.approx(noise[0].headline.loc[measure.name, "value"])
        assert table.loc[measure.name, "second"] == pytest.approx(noise[1].headline.loc[measure.name, "value"])
    pd.testing.assert_series_equal(table["difference"], table["first"] - table["second"], check_names=False)
    itself = compare(noise[0], noise[0]).table
    assert (itself[["difference", "low", "high"]] == 0).all(axis=None), "paired: nothing varies"


def test_it_prints_and_writes_what_it_found(noise, tmp_path):
    found = compare(*noise)
    row = found.table.loc["rank distance"]
    line = next(line for line in found.text().splitlines() if line.startswith("rank distance"))
    assert line.split() == ["rank", "distance", f"{row['first']:.1f}", f"{row['second']:.1f}",
                            f"{row['difference']:+.1f}", f"[{row['low']:+.1f},", f"{row['high']:+.1f}]"]
    page = found.write(tmp_path)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "comparison.csv", index_col="measure"), found.table,
                                  check_names=False)
    assert f"[{row['low']:+.1f}, {row['high']:+.1f}]" in page.read_text("utf-8")


@pytest.mark.parametrize(("other", "reason"), [
    (toy("other"), "model on toy and model on other cannot be compared: their test sets have different names"),
    (toy(question="q9"), r"2 queries are in one only, the first of them question 'q1' in de \(cluster 'q1'\)"),
    (toy(grade=2), "other candidates are relevant, or have other grades"),
    (toy(more=["en3", "en4"]), "their pools are of different sizes"),
])
def test_reports_of_other_test_sets_are_refused(other, reason):
    degrees = list(range(1, len(other.candidates) + 1))
    with pytest.raises(ValueError, match=reason):
        compare(report(toy(), 1, 2, 3, 4), report(other, *degrees))


def test_means_of_nothing_are_not_numbers():
    """Queries in a language without candidates have no answer in their own."""
    test_set = TestSet.from_records(
        "across", [{"id": "q1", "language": "pl", "text": "?"}],
        [{"id": x, "language": x[:2], "text": x} for x in ("de1", "en1")], [("q1", "de1"), ("q1", "en1")])
    one = report_of(rank_test_set(test_set, at(0), at(1, 2)), test_set, "model")
    table = compare(one, dataclasses.replace(one, model="other")).table
    assert table.loc[["own-language rank", "own language first", "others above own", "monolingual AP"]].isna().all(
        axis=None)
    assert table.loc["rank distance"].tolist() == [1, 1, 0, 0, 0]
