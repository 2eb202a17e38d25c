"""Sweeps: the files name systems that exist, a fraction is a front part, and a table is the means of its runs."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT

from hybridlib import files
from hybridlib.evaluation import HEADLINE
from hybridlib.training import SAMPLINGS
from reproduction.findings import sweeps
from reproduction.run import HYBRID, UNTRAINED, XX, Store, System
from reproduction.workspace import Workspace

NAMES = [measure.name for measure in HEADLINE]
SUBSPACE = System.parse("Hybrid + subspace")


@pytest.mark.parametrize("name", ["mini", "xquad"])
def test_every_system_of_every_sweep_can_be_asked_for(name):
    store = Store.open(name, Workspace(data=None if name == "mini" else ROOT))
    for sweep in yaml.safe_load((ROOT / "configs" / "evidence" / "sweeps.yaml").read_text())[name]:
        systems = sweeps.systems_of(store, sweep)
        assert len(systems) == len(set(systems)), sweep
        for run in sweeps.runs_of(systems, [0]):
            assert store.preset.settings(*run).sampling in SAMPLINGS


def test_a_fraction_is_taken_from_the_front():
    mini = Store.open("mini")
    assert list(map(str, sweeps.systems_of(mini, "order", 0.5))) == ["Hybrid", "alternation"]
    assert sweeps.systems_of(mini, "order", 0.01) == [HYBRID]
    with pytest.raises(ValueError, match="preset 'mini' has no sweep 'moon' in sweeps.yaml; it has: alpha, order"):
        sweeps.systems_of(mini, "moon")


def test_a_remedy_needs_no_run_of_its_own():
    alternation = System("alternation")
    systems = [UNTRAINED, System.parse("untrained + subspace"), HYBRID, SUBSPACE,
               System.parse("alternation + subspace")]
    assert sweeps.runs_of(systems, [0, 1]) == [(HYBRID, 0), (HYBRID, 1), (alternation, 0), (alternation, 1)]


def test_cost_counts_what_is_missing_at_the_pace_of_what_is_there(tmp_path):
    store = Store.open("mini", Workspace(runs=tmp_path))
    assert sweeps.cost(store, [XX], [0])[0] == 1 and np.isnan(sweeps.cost(store, [XX], [0])[1:]).all()
    done = store.run_folder(XX, 0)
    files.write_json(done / "settings.json", store.preset.choices(XX, 0))
    (done / "manifest.json").write_text(json.dumps({"seconds": 60, "steps_run": 40}))
    (done / "model").mkdir()
    (done / "model" / "weights").write_bytes(b"x" * 1_000_000)
    small = sum((done / name).stat().st_size for name in ("settings.json", "manifest.json"))
    # X-X of seed 0 is there; three others are not, 40 steps each at 1.5 seconds, a megabyte each.
    assert sweeps.cost(store, [XX, HYBRID], [0, 1]) == (3, 3 * 40 * 1.5 / 60, 3 * (1_000_000 + small) / 1e9)
    # Shares of a run: of X-X, seed 0, nothing is trained; of Hybrid one run for both. All leave folders.
    shares = [System.parse(f"{name} trained_share={share}") for name in ("X-X", "Hybrid") for share in (0.3, 0.5)]
    assert sweeps.cost(store, shares, [0]) == (4, 40 * 1.5 / 60, 5 * (1_000_000 + small) / 1e9)
    assert sweeps.told_cost(store, ["order"], [0], 0.25).splitlines() == [
        "order: 1 systems, 1 runs of them not trained here",
        "about 1 minutes of training on this machine, 0.0 GB of disk"]
    assert sweeps.told_cost(store, ["order"], [0], 0) == "order: 4 systems, 4 runs of them not trained here"


def test_what_a_step_encodes_is_counted_in_texts_and_tokens(tiny_settings, complete_corpus):
    clear = {"sampling": "X-Y", "alpha": 0.0, "loss": "clear", "batch_size": 5}
    preset = SimpleNamespace(
        config={"encoder": tiny_settings.encoder, "max_length": 16}, sets_of=lambda settings: [complete_corpus],
        settings=lambda system, seed: replace(tiny_settings, seed=seed, **(clear if system.changes else {})))
    found = sweeps.encoded(SimpleNamespace(preset=preset), [XX, System.parse("X-Y loss=clear")])
    # "query: query 12 de" has five tokens, and so has a passage.
    assert found.loc["X-X"].to_dict() == {"pairs": 8, "texts": 16, "tokens": 80}
    assert found.loc["X-Y loss=clear"].to_dict() == {"pairs": 5, "texts": 15, "tokens": 75}


def test_a_summary_is_the_mean_over_languages_of_each_run():
    rows = [{"system": "X-X + subspace", "sampling": "X-X", "remedy": "subspace", "seed": seed, "question": n,
             "cluster": n, "query_language": x} | {m: 10 * seed + value for m in NAMES}
            for seed in (0, 1) for x, values in {"de": [1, 2], "en": [4], "el": [9]}.items()
            for n, value in enumerate(values)]
    summary = sweeps.summary(pd.DataFrame(rows), ["el"])
    assert set(summary["sampling"]) == {"X-X"} and set(summary["remedy"]) == {"subspace"}
    table = summary.set_index(["seed", "languages"])["rank distance"]
    assert table.loc[(0, "all")] == pytest.approx((1.5 + 4 + 9) / 3)
    assert table.loc[(1, "trained")] == pytest.approx(10 + (1.5 + 4) / 2) and table.loc[(1, "unseen")] == 19


def test_spread_shows_mean_and_range_over_seeds():
    rows = [{"system": "X-X", "seed": s, "languages": "all", "benchmark": "b"} | dict.fromkeys(NAMES, value)
            for s, value in enumerate((0.1, 0.2, 0.6))]
    shown = sweeps.spread(pd.DataFrame(rows))
    assert shown.loc["X-X", "multilingual mAP"] == "0.300 (0.100 to 0.600)" and shown.loc["X-X", "seeds"] == 3


@dataclass
class MeasuredPreset:
    """As much of a preset as a sweep looks at."""

    name: str = "mini"
    unseen: tuple = ()
    test_set: object = Store.open("mini").preset.test_set


class MeasuredStore:
    """A store whose every system has measured values: those of Hybrid, and one more."""

    def __init__(self, folder: Path):
        self.workspace, self.preset = Workspace(root=folder), MeasuredPreset()
        (folder / "configs").symlink_to(ROOT / "configs")
        self.test_sets = {"mini": self.preset.test_set}

    def train(self, system, seed):
        pass

    def results(self, seeds, test_set, systems):
        return pd.DataFrame([
            {"system": str(system), "sampling": system.sampling, "remedy": system.remedy, "seed": seed, "question": n,
             "cluster": n, "query_language": "en"} | {m: n + 0.01 * seed + (system != HYBRID) for m in NAMES}
            for system in systems for seed in seeds for n in range(1, 7)])


@pytest.fixture
def store(tmp_path):
    return MeasuredStore(tmp_path)


def commit(store, name):
    """Make a measured table the committed one."""
    committed = store.workspace.results("mini")
    committed.mkdir(parents=True, exist_ok=True)
    (store.workspace.drawn("mini") / "results" / name).rename(committed / name)


def test_without_measuring_the_committed_table_is_read_or_missed(store):
    with pytest.raises(FileNotFoundError, match="sweep_order.csv: no such measurement.*set fraction=1"):
        sweeps.measure(store, "order", [0], 0)
    store.workspace.results("mini").mkdir(parents=True)
    (store.workspace.results("mini") / "sweep_order.csv").write_text("system,seed\nHybrid,0\n")
    assert sweeps.measure(store, "order", [0], 0)["system"].tolist() == ["Hybrid"]
    assert sweeps.available(store, ["alpha", "order", "moon"], 0) == ["order"]
    assert sweeps.available(store, ["alpha", "order", "moon"], 0.1) == ["alpha", "order"]


def test_a_recipe_is_measured_and_read_back(store):
    with pytest.raises(FileNotFoundError, match="sweep_recipe.csv: no such measurement"):
        sweeps.recipe(store, [0], 0)
    with pytest.raises(ValueError, match=r"several systems .* leaves Hybrid, and the seeds are \[0, 1\]"):
        sweeps.recipe(store, [0, 1], 0.1)
    made = sweeps.recipe(store, [0, 1], 0.2)
    assert made["difference"].tolist() == pytest.approx([1.0] * 4) and set(made["articles"]) == {3}
    commit(store, "sweep_recipe.csv")
    pd.testing.assert_frame_equal(sweeps.recipe(store, [0, 1], 0), made, check_exact=False, atol=1e-6)


def test_differences_to_hybrid_hold_every_article(store):
    made = sweeps.against(store, "order", [0, 1], 0.5)
    assert set(made["system"]) == {"alternation"} and made["difference"].tolist() == pytest.approx([1.0] * 4)
    assert set(made["reference"]) == {"Hybrid"}
    commit(store, "sweep_order_against.csv")
    pd.testing.assert_frame_equal(sweeps.against(store, "order", [0, 1], 0), made, check_exact=False, atol=1e-6)


def test_the_effect_is_xy_minus_the_xx_of_the_same_setting(store):
    made = sweeps.effect(store, "batch", [0, 1])
    assert dict(zip(made["system"], made["reference"], strict=True)) == {
        "X-Y": "X-X", "X-Y batch_size=8": "X-X batch_size=8", "X-Y pair_per_batch=true": "X-X"}


def test_measuring_changes_nothing_that_is_committed(store):
    sweeps.measure(store, "order", [0, 1, 2], 0.5)
    assert not store.workspace.results("mini").exists()
    commit(store, "sweep_order.csv")
    before = (store.workspace.results("mini") / "sweep_order.csv").read_bytes()
    assert len(sweeps.measure(store, "order", [0, 1], 1)) == 4 * 2 * 3
    assert (store.workspace.results("mini") / "sweep_order.csv").read_bytes() == before
