"""Publishing: a smaller measurement takes no larger one's place, and nothing is half replaced."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from test_sweeps import MeasuredStore, sweeps

from reproduction.commands.publish import publish
from reproduction.findings import figures


@pytest.fixture
def store(tmp_path):
    return MeasuredStore(tmp_path)


def committed(store, name):
    return pd.read_csv(store.workspace.results("mini") / name)


def test_nothing_to_publish_is_said(store):
    with pytest.raises(FileNotFoundError, match="nothing was measured or drawn yet; run `make reproduce PRESET=mini`"):
        publish("mini", store.workspace)


def test_a_table_is_replaced_by_one_with_no_fewer_seeds_and_systems(store):
    sweeps.measure(store, "order", [0, 1, 2], 0.5)
    assert publish("mini", store.workspace) == (["sweep_order.csv"], {})
    large = committed(store, "sweep_order.csv")
    sweeps.measure(store, "order", [0, 1], 0.5)
    assert publish("mini", store.workspace) == ([], {"sweep_order.csv": "it has 3 seeds, the new one 2"})
    sweeps.measure(store, "order", [0, 1, 2], 0.25)
    assert publish("mini", store.workspace) == ([], {"sweep_order.csv": "the new one lacks alternation"})
    pd.testing.assert_frame_equal(committed(store, "sweep_order.csv"), large)
    sweeps.measure(store, "order", [0, 1, 2], 1)
    publish("mini", store.workspace)
    assert committed(store, "sweep_order.csv")["system"].nunique() == 4


def test_a_table_is_replaced_by_one_of_no_fewer_benchmarks(store):
    folder = store.workspace.drawn("mini") / "results"
    folder.mkdir(parents=True)
    whole = pd.DataFrame({"benchmark": ["mini", "tydi-goldp"], "system": ["untrained"] * 2, "seeds": [1, 1]})
    whole.to_csv(folder / "hubs.csv", index=False)
    assert publish("mini", store.workspace) == (["hubs.csv"], {})
    whole[:1].to_csv(folder / "hubs.csv", index=False)
    assert publish("mini", store.workspace) == ([], {"hubs.csv": "the new one lacks tydi-goldp"})
    pd.testing.assert_frame_equal(committed(store, "hubs.csv"), whole)


def test_verdicts_go_with_the_comparisons_that_they_are_made_from(store):
    folder = store.workspace.drawn("mini") / "results"
    folder.mkdir(parents=True)
    verdicts = pd.DataFrame({"claim": [1], "verdict": ["undecided"]})
    parts = pd.DataFrame({"comparison": ["X-X greater X-Y", "a level b"], "difference": [0.1, None],
                          "seeds": [5, None]})
    for seeds, verdict, taken in ((5, "undecided", True), (3, "reproduced", False)):
        verdicts.assign(verdict=verdict).to_csv(folder / "claims.csv", index=False)
        parts.assign(seeds=[seeds, None]).to_csv(folder / "claims_parts.csv", index=False)
        done, left = publish("mini", store.workspace)
        assert set(done if taken else left) == {"claims.csv", "claims_parts.csv"}
    assert committed(store, "claims.csv")["verdict"].tolist() == ["undecided"]
    assert committed(store, "claims_parts.csv")["seeds"].max() == 5


def test_a_picture_is_replaced_by_one_of_no_fewer_seeds_and_systems(store):
    def draw(systems, seeds, size):
        figure = plt.figure(figsize=(size, 1))
        table = pd.DataFrame([(system, seed) for system in systems for seed in seeds], columns=["system", "seed"])
        figures.save(figure, store, "order", table=table)
        plt.close(figure)
        return publish("mini", store.workspace)
    picture = store.workspace.figures("mini") / "order.png"
    assert draw(["X-X", "X-Y"], [0, 1], 1) == (["order.png"], {})
    first = picture.read_bytes()
    assert draw(["X-X", "X-Y"], [0], 2) == ([], {"order.png": "it has 2 seeds, the new one 1"})
    assert draw(["X-X"], [0, 1], 2) == ([], {"order.png": "the new one lacks X-Y"})
    assert picture.read_bytes() == first
    assert draw(["X-X", "X-Y", "Hybrid"], [0, 1], 2)[0] == ["order.png"] and picture.read_bytes() != first
