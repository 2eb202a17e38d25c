"""Presets: pinned data, held-out selection, settings that name everything."""

import re

import pytest
import yaml
from conftest import ROOT, SHARED

from hybridlib import corpus, runs
from hybridlib.presets import Preset


def test_the_corpus_is_the_pinned_one_and_clean():
    config = yaml.safe_load((ROOT / "configs" / "mini.yaml").read_text())
    entries = [*config["data"]["training"], config["data"]["selection"], *config["data"]["benchmarks"]]
    paths = [ROOT / entry["file"] for entry in entries]
    assert [runs.sha256(path) for path in paths] == [entry["sha256"] for entry in entries]
    assert len(corpus.read_articles(*paths)) == 120


def test_changed_data_is_refused(tmp_path):
    (tmp_path / "data" / "mini").mkdir(parents=True)
    for name in ("train", "selection", "test"):
        (tmp_path / "data" / "mini" / f"{name}.jsonl").write_text("{}\n")
    with pytest.raises(corpus.CorpusError, match="train.jsonl: sha256 is"):
        Preset("mini", data=tmp_path).training_sets  # noqa: B018


def test_unknown_presets_and_missing_folders():
    with pytest.raises(ValueError, match="no preset 'maxi'; there are: mini, mmarco, paper, paper-labse, xquad"):
        Preset("maxi")
    with pytest.raises(ValueError, match="DATA=<folder>"):
        Preset("xquad")
    with pytest.raises(FileNotFoundError, match="docs.jsonl.gz: no such file"):
        Preset("xquad", data="/nowhere").training_sets  # noqa: B018


def test_settings_name_the_data_and_all_choices():
    settings = Preset("mini").settings("Hybrid", 7)
    assert (settings["sampling"], settings["alpha"], settings["seed"]) == ("Hybrid", 0.5, 7)
    assert settings["data"][0][0] == "data/mini/train.jsonl" and len(settings["data"][0][1]) == 64
    assert Preset("mini").settings("X-X", 7)["alpha"] == 1 and Preset("mini").settings("X-Y", 7)["alpha"] == 0
    keys = {runs.key(Preset("mini").settings(name, seed)) for name in ("X-X", "X-Y") for seed in (0, 1)}
    assert len(keys) == 4
    assert re.fullmatch("Hybrid-s7", Preset("mini").run_folder("Hybrid", 7).name)


def test_a_system_names_what_it_changes():
    mini = Preset("mini")
    changed = mini.settings("X-X temperature=0.05 groups=64", 0)
    assert changed == mini.settings("X-X", 0) | {"temperature": 0.05, "groups": 64}
    assert mini.settings("Hybrid alpha=0.5", 0) == mini.settings("Hybrid", 0)
    assert mini.run_folder("Hybrid alpha=0.4", 2).name == "Hybrid-alpha-0.4-s2"
    with pytest.raises(ValueError, match="'X-X heat=1': no setting heat in configs/mini.yaml"):
        mini.settings("X-X heat=1", 0)


def test_fewer_groups_are_part_of_more():
    mini = Preset("mini")
    kept = {n: set(mini.sampler(f"X-X groups={n}", 0).corpora[0].ids) for n in (40, 100)}
    assert len(kept[40]) == 40 and kept[40] < kept[100] and len(kept[100]) == 100
    with pytest.raises(ValueError, match="groups=999, and the training sets have 216"):
        mini.sampler("X-X groups=999", 0)


def test_ranks_of_an_untrained_run_say_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="train it first"):
        Preset("mini", runs_folder=tmp_path).ranks("X-X", 0)


@pytest.mark.skipif(not (SHARED / "train").is_dir(), reason="the training data is not at hand (../shared/data)")
def test_selection_is_held_out_of_training():
    preset = Preset("xquad", data=SHARED)
    assert [len(c) for c in preset.training_sets[:2]] == [3273, 1874]
    tydi = preset.training_sets[2]
    held = preset.selection["passage"]
    assert len(held) == len(set(held)) == 256
    assert not set(held) & set(tydi.passage["en"].to_pylist())
