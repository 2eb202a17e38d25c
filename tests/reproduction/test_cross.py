"""Systems against each other from sums over articles: the library's differences, common seeds, one family of tests."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from conftest import ROOT
from matplotlib.colors import to_hex
from simulated import simulated

from hybridlib.errors import RunError
from hybridlib.evaluation import HEADLINE, NO_SEED, differences, estimates
from reproduction.commands import tables as tables_command
from reproduction.findings import cross, cross_figures
from reproduction.findings.figures import COLOURS
from reproduction.run.evidence import read_cells

MEASURE, OTHER = "multilingual AP", "TLR@20"
DRAWS = 300


def cells(*parts):
    """Simulated results as if of evidence, sampling and remedy from the name of the system."""
    table = pd.concat(parts, ignore_index=True)
    names = table["system"].str.partition(" + ")
    return table.assign(sampling=names[0], remedy=names[2])


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    """As many for what is tested as for the rest, so that they can be held against the library's."""
    monkeypatch.setattr(cross, "TESTED_DRAWS", DRAWS)


@pytest.fixture
def five():
    """X-X, Hybrid and one more with a remedy, five seeds each, and two without seeds."""
    rng = np.random.default_rng(5)
    trained = simulated(rng, 0.1, seeds=5, systems=("X-X", "Hybrid", "X-X + quota"), measure=MEASURE)
    fixed = simulated(rng, 0.2, seeds=1, systems=("untrained", "untrained + quota"), measure=MEASURE)
    return cells(trained, fixed.assign(seed=NO_SEED)).assign(benchmark="toy")


def test_differences_and_values_are_those_of_the_library(five):
    table = cross.against(five, "Hybrid", [MEASURE], DRAWS).set_index("system")
    assert sorted(table.index) == ["X-X", "X-X + quota", "untrained", "untrained + quota"]
    for system in table.index:
        known = differences(five, system, "Hybrid", [MEASURE], DRAWS).loc[MEASURE]
        np.testing.assert_allclose(table.loc[system, known.index].astype(float), known)
    assert (table["seeds"] == 5).all()
    known, found = estimates(five, MEASURE, DRAWS), cross.values(five, [MEASURE], DRAWS).set_index("system")
    np.testing.assert_allclose(found.loc[known.index, known.columns].astype(float), known)
    assert found["seeds"].to_dict() == dict.fromkeys(("X-X", "Hybrid", "X-X + quota"), 5) | dict.fromkeys(
        ("untrained", "untrained + quota"), 0)
    assert found.loc["untrained + quota", ["sampling", "remedy"]].tolist() == ["untrained", "quota"]


def test_other_seeds_are_compared_on_those_that_both_have(five):
    few = five[(five["system"] != "X-X") | (five["seed"].isin([1, 3]))]
    table = cross.against(few, "Hybrid", [MEASURE], DRAWS).set_index("system")
    assert table["seeds"].to_dict() == {"X-X": 2, "X-X + quota": 5, "untrained": 5, "untrained + quota": 5}
    common = five[five["seed"].isin([1, 3])]
    known = differences(common, "X-X", "Hybrid", [MEASURE], DRAWS).loc[MEASURE]
    np.testing.assert_allclose(table.loc["X-X", known.index].astype(float), known)
    whole = differences(five, "untrained", "Hybrid", [MEASURE], DRAWS).loc[MEASURE]
    assert table.loc["untrained", "difference"] == pytest.approx(whole["difference"]), "of all of Hybrid's seeds"


def test_of_one_seed_there_is_a_difference_and_no_interval(five):
    one = five[(five["system"] != "X-X") | (five["seed"] == 2)]
    row = cross.against(one, "Hybrid", [MEASURE], DRAWS).set_index("system").loc["X-X"]
    seed = five[five["seed"] == 2].groupby("system")[MEASURE].mean()
    assert row["difference"] == pytest.approx(seed["X-X"] - seed["Hybrid"]) and row["seeds"] == 1
    assert row[["low", "high", "p", "holm"]].isna().all()
    found = cross.values(one, [MEASURE], DRAWS).set_index("system")
    assert found.loc["X-X", ["low", "high"]].isna().all() and found.loc["untrained", "low"] > -1


def test_untrained_systems_differ_with_an_interval_over_articles(five):
    """The encoder and what a remedy makes of it are no sample of seeds."""
    table = cross.against(five, "untrained", [MEASURE], DRAWS).set_index("system")
    known = differences(five[five["seed"] == NO_SEED], "untrained + quota", "untrained", [MEASURE], DRAWS).loc[MEASURE]
    np.testing.assert_allclose(table.loc["untrained + quota", known.index].astype(float), known)
    assert table["seeds"].to_dict() == {"untrained + quota": 0, "X-X": 5, "Hybrid": 5, "X-X + quota": 5}


def test_holm_corrects_over_all_systems_and_benchmarks_and_only_the_four_numbers(five):
    far = five.assign(**{MEASURE: five[MEASURE] + 9 * (five["system"] == "untrained")})
    two = cells(five, far.assign(benchmark="other")).assign(**{OTHER: 0.5})
    table = cross.against(two, "Hybrid", [MEASURE, OTHER], DRAWS)
    tested = table[table["measure"] == MEASURE]
    assert len(tested) == 8 and tested["p"].notna().all()
    assert table.loc[table["measure"] == OTHER, ["p", "holm"]].isna().all(axis=None)
    smallest = tested["p"].min()
    assert smallest == pytest.approx(2 / (DRAWS + 1)), "no draw is on the other side, and both counts have one added"
    assert tested.loc[tested["p"].idxmin(), "holm"] == pytest.approx(8 * smallest)
    assert (tested["holm"] >= tested["p"]).all()


def test_a_measure_that_a_test_set_does_not_have_is_left_out(five):
    both = [MEASURE, OTHER]
    lacking = cells(five.assign(**{OTHER: 0.5}), five.assign(benchmark="other", **{OTHER: np.nan}))
    for table in (cross.values(lacking, both, DRAWS), cross.against(lacking, "Hybrid", both, DRAWS)):
        assert set(zip(table["benchmark"], table["measure"], strict=True)) == {
            ("toy", MEASURE), ("toy", OTHER), ("other", MEASURE)}


def evidence(folder, system, precision="bfloat16"):
    """A file of evidence of one run, as `reproduction.run.evidence` writes them."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = json.dumps({"precision": precision, "device": "cuda"})
    table = pa.table({"system": [system], "benchmark": ["toy"]}).replace_schema_metadata({"reproduction": facts})
    pq.write_table(table, folder / f"{system}.cells.parquet")


def test_blocks_are_read_together_and_never_two_precisions(tmp_path):
    evidence(tmp_path / "headline", "X-X")
    evidence(tmp_path / "domains", "X-Y")
    (tmp_path / "values.csv").write_text("not a block\n")
    every = cross.read_blocks(tmp_path)
    assert every.set_index("system")["block"].to_dict() == {"X-X": "headline", "X-Y": "domains"}
    assert cross.read_blocks(tmp_path, ["domains"])["system"].tolist() == ["X-Y"]
    with pytest.raises(FileNotFoundError, match="temperature: no evidence"):
        cross.read_blocks(tmp_path, ["temperature"])
    evidence(tmp_path / "recipe", "Hybrid", "float32")
    assert len(read_cells(tmp_path / "recipe")) == 1, "alone they are fine"
    with pytest.raises(RunError, match=r"two precisions .*X-Y\.cells\.parquet is of bfloat16.*Hybrid.* of float32"):
        cross.read_blocks(tmp_path)
    assert len(cross.read_blocks(tmp_path, ["domains", "headline"])) == 2


def test_each_remedy_of_the_plan_has_a_marker_of_its_own():
    plan = yaml.safe_load((ROOT / "configs" / "evidence" / "plan.yaml").read_text("utf-8"))["xquad"]
    markers = {remedy: marker for remedy, (marker, _) in cross_figures.REMEDIES.items()}
    assert {remedy for block in plan for remedy in block["remedies"]} == set(markers) - {""}
    assert len(set(markers.values())) == len(markers)


def test_the_picture_has_cost_across_and_gain_upwards_in_the_colour_of_the_sampling():
    place = {"monolingual AP": (-0.02, -0.03, -0.01), MEASURE: (0.2, 0.1, 0.3)}
    table = pd.DataFrame([{"benchmark": "toy", "system": "X-Y + quota", "sampling": "X-Y", "remedy": "quota",
                           "measure": measure, "difference": value, "low": low, "high": high, "seeds": 5}
                          for measure, (value, low, high) in place.items()])
    figure = cross_figures.cost_and_gain(table, "title", {"toy": "Toy"})
    assert "difference" in figure.axes[0].get_xlabel() and "difference" in figure.axes[0].get_ylabel()
    drawn = {tuple(np.ravel(line.get_data())): line for line in figure.axes[0].lines}
    assert {(-0.03, -0.01, 0.2, 0.2), (-0.02, -0.02, 0.1, 0.3)} <= set(drawn), "the intervals"
    point = drawn[(-0.02, 0.2)]
    assert to_hex(point.get_color()).upper() == COLOURS["X-Y"] and point.get_marker() == "*"
    assert to_hex(drawn[(0, 0)].get_color()).upper() == COLOURS["untrained"]
    plt.close(figure)


def test_a_forest_has_remedied_differences_open_in_the_row_of_the_plain_one():
    table = pd.DataFrame({"row": ["one", "two", "one"], "remedy": ["", "", "quota"], "difference": [0.3, 0.2, 0.1],
                          "low": [0.25, 0.1, 0.0], "high": [0.35, 0.3, 0.2]})
    figure = cross_figures.forest(table, "title", "difference")
    axis = figure.axes[0]
    points = {line.get_xdata()[0]: line for line in axis.lines if line.get_marker() not in ("None", None, "")}
    assert [text.get_text() for text in axis.get_yticklabels()] == ["one", "two"]
    assert {x: round(float(line.get_ydata()[0])) for x, line in points.items()} == {0.3: 0, 0.2: 1, 0.1: 0}
    assert {x for x, line in points.items() if line.get_markerfacecolor() == "white"} == {0.1}
    plt.close(figure)


def test_a_budget_that_ended_between_two_systems_of_a_seed_leaves_what_can_be_compared(five):
    # X-X has a seed more than Hybrid, and one system no seed of Hybrid's.
    cut = five[~((five["system"] == "Hybrid") & (five["seed"] == 4))]
    cut = cut[(cut["system"] != "X-X + quota") | (cut["seed"] == 4)]
    table = cross.against(cut, "Hybrid", [MEASURE], DRAWS).set_index("system")
    assert table.loc["X-X", "seeds"] == 4 and "X-X + quota" not in table.index
    both = cut[cut["system"].isin(["X-X", "Hybrid"]) & (cut["seed"] != 4)]
    known = differences(both, "X-X", "Hybrid", [MEASURE], DRAWS)
    np.testing.assert_allclose(table.loc["X-X", ["difference", "low", "high"]].astype(float), known.loc[MEASURE])


def test_samplings_are_compared_within_each_remedy(five):
    both = five[five["system"].isin(["X-X", "X-X + quota"])]
    table = cross.within(both, ["benchmark", "sampling"], "remedy", "", [MEASURE]).iloc[0]
    assert table[["benchmark", "sampling", "remedy", "measure"]].tolist() == ["toy", "X-X", "quota", MEASURE]
    known = differences(both, "X-X + quota", "X-X", [MEASURE])
    np.testing.assert_allclose(table[["difference", "low", "high"]].astype(float), known.loc[MEASURE])


def test_with_five_seeds_of_all_nothing_is_screened_and_with_fewer_it_is(five, monkeypatch):
    whole = pd.concat([five, five[five["system"] == "Hybrid"].assign(system="X-Y", sampling="X-Y")], ignore_index=True)
    whole = whole.assign(block="headline", **{name: whole[MEASURE] for name in map(str, HEADLINE)})
    monkeypatch.setattr(tables_command, "values", lambda cells: cells)
    monkeypatch.setattr(tables_command, "against", lambda cells, reference, _: pd.DataFrame(
        {"system": sorted(cells["system"].unique())}))
    made = [tables_command.tables(cells, ["toy"], ["de"], ROOT / "configs" / "evidence" / "claims.yaml")
            for cells in (whole, whole[(whole["system"] != "X-Y") | (whole["seed"] > 0)])]
    assert made[0]["screened"].empty and "X-Y" in set(made[0]["against"]["system"])
    assert made[1]["screened"]["system"].tolist() == ["Hybrid", "X-Y"]
    assert "X-Y" not in set(made[1]["against"]["system"])
    # English, the language of the toy's questions, is unseen where German is trained on: claim 5 has its parts.
    assert made[0]["claims_parts"].loc[lambda parts: parts["languages"] == "unseen", "difference"].notna().all()


def test_where_nothing_is_left_or_nothing_can_differ_there_is_no_test(five):
    assert cross.against(five[:0], "Hybrid").empty and cross.values(five[:0]).empty
    same = pd.concat([five, five[five["system"] == "Hybrid"].assign(system="Hybrid + quota")])
    table = cross.against(same, "Hybrid", [MEASURE], DRAWS).set_index("system")
    assert table.loc["Hybrid + quota", "difference"] == 0 and np.isnan(table.loc["Hybrid + quota", "p"])
    assert table["p"].drop("Hybrid + quota").notna().all()


@pytest.mark.parametrize(("missing", "draws"), [([], 4), ([2, 4], 8)])
def test_references_share_what_is_drawn_and_nothing_else(five, monkeypatch, missing, draws):
    """Where X-X lacks seeds it is compared with Hybrid and with the encoder on other parts, drawn apart."""
    both = cells(five, five.assign(benchmark="other")).assign(**{OTHER: five[MEASURE].to_numpy()[0]})
    both = both[~((both["system"] == "X-X") & both["seed"].isin(missing) & (both["benchmark"] == "toy"))]
    apart = [cross.against(both, name, [MEASURE, OTHER], DRAWS) for name in ("Hybrid", "untrained")]
    drawn, plain = [], cross.draws_of
    monkeypatch.setattr(cross, "draws_of", lambda *asked: drawn.append(asked) or plain(*asked))
    together = cross.against(both, ["Hybrid", "untrained"], [MEASURE, OTHER], DRAWS)
    pd.testing.assert_frame_equal(together, pd.concat(apart, ignore_index=True), check_exact=True)
    # Of each benchmark and measure once; where seeds are missing two more, X-X beside Hybrid and X-X without it.
    assert len(drawn) == draws
