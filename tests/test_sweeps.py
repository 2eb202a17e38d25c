"""Sweeps: the files name systems that exist, a fraction is a front part, and a table is the means of its runs."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT

from hybridlib import figures, runs, sweeps
from hybridlib.presets import Preset
from hybridlib.sampling import SAMPLINGS
from hybridlib.tables import HEADLINE


@pytest.mark.parametrize("name", ["mini", "xquad"])
def test_every_system_of_every_sweep_can_be_asked_for(name):
    preset = Preset(name, data=ROOT)
    for sweep, systems in yaml.safe_load(sweeps.FILE.read_text())[name].items():
        assert len(systems) == len(set(systems)), sweep
        for system, seed in sweeps.runs_of(systems, [0]):
            assert preset.settings(system, seed)["sampling"] in SAMPLINGS


def test_a_fraction_is_taken_from_the_front():
    mini = Preset("mini")
    assert sweeps.systems(mini, "order", 0.5) == ["Hybrid", "alternation"]
    assert sweeps.systems(mini, "order", 0.01) == ["Hybrid"]
    with pytest.raises(ValueError, match="preset 'mini' has no sweep 'moon' in sweeps.yaml; it has: alpha, order"):
        sweeps.systems(mini, "moon")


def test_debiasing_needs_no_run_of_its_own():
    chosen = ["untrained", "untrained + subspace", "Hybrid", "Hybrid + subspace", "alternation + subspace"]
    assert sweeps.runs_of(chosen, [0, 1]) == [("Hybrid", 0), ("Hybrid", 1), ("alternation", 0), ("alternation", 1)]


def test_cost_counts_what_is_missing_at_the_pace_of_what_is_there(tmp_path):
    preset = Preset("mini", runs_folder=tmp_path)
    assert sweeps.cost(preset, ["X-X"], [0])[0] == 1 and np.isnan(sweeps.cost(preset, ["X-X"], [0])[1:]).all()
    done = preset.run_folder("X-X", 0)
    runs.write_json(done / "settings.json", preset.settings("X-X", 0))
    (done / "manifest.json").write_text(json.dumps({"seconds": 60, "steps_run": 40}))
    (done / "model").mkdir()
    (done / "model" / "weights").write_bytes(b"x" * 1_000_000)
    small = sum((done / name).stat().st_size for name in ("settings.json", "manifest.json"))
    # X-X of seed 0 is there; three others are not, 40 steps each at 1.5 seconds, a megabyte each.
    assert sweeps.cost(preset, ["X-X", "Hybrid"], [0, 1]) == (3, 3 * 40 * 1.5 / 60, 3 * (1_000_000 + small) / 1e9)


def test_a_summary_is_the_mean_over_languages_of_each_run():
    rows = [{"system": "X-X", "seed": seed, "question": n, "article": n, "query_language": x}
            | {m: 10 * seed + value for m in HEADLINE}
            for seed in (0, 1) for x, values in {"de": [1, 2], "en": [4], "el": [9]}.items()
            for n, value in enumerate(values)]
    table = sweeps.summary(pd.DataFrame(rows), ["el"]).set_index(["seed", "languages"])["rank distance"]
    assert table.loc[(0, "all")] == pytest.approx((1.5 + 4 + 9) / 3)
    assert table.loc[(1, "trained")] == pytest.approx(10 + (1.5 + 4) / 2) and table.loc[(1, "unseen")] == 19


def test_without_measuring_the_committed_table_is_read_or_missed(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "FOLDER", tmp_path)
    preset = Preset("mini", runs_folder=tmp_path)
    with pytest.raises(FileNotFoundError, match="sweep_order.csv: no such measurement.*set fraction=1"):
        sweeps.measure(preset, "order", [0], 0)
    (tmp_path / "mini").mkdir()
    (tmp_path / "mini" / "sweep_order.csv").write_text("system,seed\nHybrid,0\n")
    assert sweeps.measure(preset, "order", [0], 0)["system"].tolist() == ["Hybrid"]
    assert sweeps.available(preset, ["alpha", "order", "moon"], 0) == ["order"]
    assert sweeps.available(preset, ["alpha", "order", "moon"], 0.1) == ["alpha", "order"]


def test_spread_shows_mean_and_range_over_seeds():
    rows = [{"system": "X-X", "seed": s, "languages": "all", "benchmark": "b"} | dict.fromkeys(HEADLINE, value)
            for s, value in enumerate((0.1, 0.2, 0.6))]
    shown = sweeps.spread(pd.DataFrame(rows))
    assert shown.loc["X-X", "multilingual mAP"] == "0.300 [0.100, 0.600]" and shown.loc["X-X", "seeds"] == 3


@pytest.fixture
def pretended(tmp_path, monkeypatch):
    """A preset whose every system has measured values: those of Hybrid, and one more."""
    def results(self, seeds, benchmark, systems):
        return pd.DataFrame([
            {"system": system, "seed": seed, "question": n, "article": n, "query_language": "en"}
            | {m: n + 0.01 * seed + (system != "Hybrid") for m in HEADLINE}
            for system in systems for seed in seeds for n in range(1, 7)])
    monkeypatch.setattr(figures, "FOLDER", tmp_path)
    monkeypatch.setattr(Preset, "results", results)
    monkeypatch.setattr(Preset, "train", lambda self, system, seed: None)
    return Preset("mini", runs_folder=tmp_path)


def test_a_recipe_is_committed_and_read_back(pretended):
    with pytest.raises(FileNotFoundError, match="sweep_recipe.csv: no such measurement"):
        sweeps.recipe(pretended, [0], 0)
    with pytest.raises(ValueError, match=r"several systems .* leaves Hybrid, and the seeds are \[0, 1\]"):
        sweeps.recipe(pretended, [0, 1], 0.1)
    made = sweeps.recipe(pretended, [0, 1], 0.2)
    assert made["difference"].tolist() == pytest.approx([1.0] * 4) and set(made["articles"]) == {3}
    pd.testing.assert_frame_equal(sweeps.recipe(pretended, [0, 1], 0), made, check_exact=False, atol=1e-6)


def test_differences_to_hybrid_hold_every_article(pretended):
    made = sweeps.against(pretended, "order", [0, 1], 0.5)
    assert set(made["system"]) == {"alternation"} and made["difference"].tolist() == pytest.approx([1.0] * 4)
    assert set(made["reference"]) == {"Hybrid"}
    pd.testing.assert_frame_equal(sweeps.against(pretended, "order", [0, 1], 0), made, check_exact=False, atol=1e-6)


def test_the_effect_is_xy_minus_the_xx_of_the_same_setting(pretended):
    made = sweeps.effect(pretended, "batch", [0, 1])
    assert dict(zip(made["system"], made["reference"], strict=True)) == {
        "X-Y": "X-X", "X-Y batch_size=8": "X-X batch_size=8", "X-Y pair_per_batch=true": "X-X"}
    pd.testing.assert_frame_equal(sweeps.effect(pretended, "batch", [0, 1], 0), made, check_exact=False, atol=1e-6)


def test_a_smaller_measurement_does_not_replace_a_larger_one(pretended):
    large = sweeps.measure(pretended, "order", [0, 1, 2], 0.5)
    with pytest.warns(UserWarning, match="sweep_order.csv is left as it was: it has 3 seeds .* 2. Delete"):
        assert len(sweeps.measure(pretended, "order", [0, 1], 0.5)) < len(large)
    with pytest.warns(UserWarning, match="not measured: alternation"):
        sweeps.measure(pretended, "order", [0, 1, 2], 0.25)
    assert len(sweeps.measure(pretended, "order", [], 0)) == len(large)
    sweeps.measure(pretended, "order", [0, 1, 2], 1)
    assert sweeps.measure(pretended, "order", [], 0)["system"].nunique() == 4
