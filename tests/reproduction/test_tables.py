"""Tables and sentences of findings: what brackets hold, what is one number, and what an interval allows to say."""

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from hybridlib.evaluation import HEADLINE, MEASURES
from reproduction.findings import claims, tables

LISTED = ROOT / "configs" / "evidence" / "claims.yaml"


def results(seeds, gap):
    """Two systems of so many seeds whose every measure is apart by a gap, with noise by question."""
    rng = np.random.default_rng(0)
    base, rows = rng.random(30), []
    for system, add in (("X-X", 0.0), ("X-Y", gap)):
        for seed in seeds:
            values = base + add + rng.normal(0, 0.02, 30)
            rows += [{"system": system, "seed": seed, "question": n, "cluster": n // 3, "query_language": "en"}
                     | {measure.name: value for measure in HEADLINE} for n, value in enumerate(values)]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(("seeds", "holds"), [((0,), "articles"), ((0, 1, 2), "articles and 3 seeds")])
def test_tables_say_what_their_brackets_hold(seeds, holds):
    table = results(seeds, 0.1)
    for shown in (tables.headline(table, 50), tables.pairwise(table, [("X-Y", "X-X")], 50)):
        assert shown.columns.name == f"[95 % over {holds}]"


@pytest.mark.parametrize(("gap", "told"), [(0.3, "X-Y is above X-X"), (-0.3, "X-Y is below X-X"),
                                           (0.0, "X-Y and X-X are not told apart")])
def test_a_sentence_says_what_its_interval_allows(gap, told):
    table = results((0,), gap)
    text = tables.told_of(table, "X-Y", "X-X", HEADLINE[0])
    assert text.startswith(f"{told} in monolingual mAP: ") and text.endswith("(95 %, articles only: one seed)")
    named = tables.told_apart(table, HEADLINE[:1], [("X-Y", "X-X")])
    assert named == "Told apart by paired intervals: monolingual " + (
        "X-Y > X-X" if gap > 0 else "X-X > X-Y" if gap < 0 else "none")


def test_two_names_of_one_number_are_printed_once():
    table = pd.DataFrame({"monolingual AP": [0.5, 1.0], "monolingual R@1": [0.0, 1.0], "monolingual P@1": [0.0, 1.0],
                          "monolingual RR": [0.5, 1.0]} | {m.name: [0.1, 0.2] for m in HEADLINE[1:3]}
                         | {"rank distance": [3.0, 4.0]})
    asked = [MEASURES[f"monolingual {name}"] for name in ("R@1", "P@1", "RR")]
    kept, same = tables.distinct(table, asked)
    assert [measure.name for measure in kept] == ["monolingual R@1"]
    assert same == {"monolingual P@1": "monolingual R@1", "monolingual RR": "monolingual mAP"}
    kept, same = tables.distinct(table.assign(**{"monolingual P@1": [0.0, 0.5]}), asked)
    assert [measure.name for measure in kept] == ["monolingual R@1", "monolingual P@1"]


def test_the_ranks_of_answers_in_the_own_language_stand_apart():
    ranks = pd.DataFrame({"query_language": "de", "language": ["de", "de", "de", "en", "en", "en"],
                          "rank_in_pool": [1, 3, 5, 10, 20, 0]})  # 0: not there
    table = tables.answer_ranks({"X-X": ranks})
    assert table.loc["X-X", "own language"].tolist() == [3, 4]
    assert table.loc["X-X", "other languages"].tolist() == [15, 17.5]


@pytest.mark.parametrize("folder", ["mini", "xquad", "xquad/cuda"])
def test_committed_verdicts_follow_from_the_comparisons_beside_them(folder):
    parts, verdicts = (pd.read_csv(ROOT / "results" / folder / f"{name}.csv") for name in ("claims_parts", "claims"))
    assert claims.verdicts_of(LISTED, parts)["verdict"].tolist() == verdicts["verdict"].tolist()


def test_undecided_beside_an_interval_without_zero_says_why():
    parts = pd.read_csv(ROOT / "results" / "mini" / "claims_parts.csv")
    shown = tables.claim_parts(parts)
    assert len(shown) == parts["difference"].notna().sum() and len(shown.columns) == 7
    outside = shown[shown["so"] == "undecided (Holm)"]["difference [95 %, articles and seeds]"].tolist()
    assert outside == ["-0.016 [-0.032, -0.001]"]
    reasons = claims.verdicts_of(LISTED, parts).set_index("claim")["why"]
    assert "zero is outside, but against the margin of 0.010 p = 1 after Holm's correction" in reasons[3]
    assert "zero is outside" not in reasons[1]


def test_ours_and_the_papers_are_not_subtracted():
    table = results((0,), 0.1).assign(query_language="de")
    assert set(tables.beside_paper(table, "multilingual AP").columns.get_level_values(0)) == {
        "ours", "paper, XLM-R", "paper, LaBSE"}
