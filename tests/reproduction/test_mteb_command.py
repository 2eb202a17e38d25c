"""The command on a small copy of a task of mteb, in the layout of the hub; nothing reaches for it."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT

mteb = pytest.importorskip("mteb")

from reproduction.commands import mteb as command  # noqa: E402

LISTS = ROOT / "configs" / "evidence" / "mteb.yaml"


@pytest.fixture(autouse=True)
def cache_of_its_own(offline, monkeypatch, tmp_path):
    """No network, and nothing of what other tests have loaded."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")


@pytest.fixture
def runs(tiny_encoder, tmp_path):
    """Three run folders of two systems: the same encoder, moved by noise of its own."""
    import torch
    from sentence_transformers import SentenceTransformer

    for seed, name in enumerate(("X-X-s0", "X-X-s1", "Hybrid-s0")):
        model = SentenceTransformer(str(tiny_encoder), device="cpu")
        torch.manual_seed(seed)
        with torch.no_grad():
            for weights in model.parameters():
                weights += 0.5 * weights.std() * torch.randn_like(weights)
        model.prompts = {"query": "query: ", "document": "passage: "}
        model.save(str(tmp_path / "runs" / name / "model"), create_model_card=False)
        (tmp_path / "runs" / name / "settings.json").write_text(
            json.dumps({"sampling": name[:-3], "seed": int(name[-1])}), "utf-8")
    return tmp_path / "runs"


@pytest.fixture
def copies(tmp_path):
    """EstQA's data set as the hub has it, with 12 questions and 20 documents; returns the folder of all copies."""
    folder = tmp_path / "copies" / mteb.get_task("EstQA").metadata.dataset["path"]
    rng = np.random.default_rng(0)

    def words(count):
        return " ".join(map(str, rng.integers(200, size=count)))
    parts = {"corpus": [{"id": f"d{n}", "title": "", "text": words(6)} for n in range(20)],
             "queries": [{"id": f"q{n}", "text": words(4)} for n in range(12)],
             "qrels": [{"query-id": f"q{n}", "corpus-id": f"d{n}", "score": 1} for n in range(12)]}
    folder.mkdir(parents=True)
    for name, rows in parts.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    configs = [{"config_name": name, "data_files": [{"split": "test", "path": f"{name}.jsonl"}]} for name in parts]
    (folder / "README.md").write_text(f"---\n{yaml.safe_dump({'configs': configs})}---\n", "utf-8")
    return tmp_path / "copies"


def test_each_run_has_its_own_scores_and_a_system_an_interval(runs, copies, tmp_path, capsys):
    arguments = ["--model", *map(str, sorted(runs.iterdir())), "--tasks", "EstQA", "--data", str(copies),
                 "--out", str(tmp_path / "out")]
    assert command.main(arguments) == 0
    printed = capsys.readouterr().out
    scores = pd.read_csv(tmp_path / "out" / "scores.csv")
    assert scores[["system", "seed"]].values.tolist() == [["Hybrid", 0], ["X-X", 0], ["X-X", 1]]
    assert set(scores["measure"]) == {"ndcg_at_10"} and set(scores["languages"]) == {"est-Latn"}
    # mteb calls all three by one name: with a cache in common they would have the first one's score.
    assert scores["score"].nunique() == 3
    for row in scores.itertuples():
        direct = mteb.evaluate(command.load(str(runs / f"{row.system}-s{row.seed}" / "model"))[0],
                               [command.task_named("EstQA", data=copies)], cache=None, co2_tracker=False)
        assert row.score == pytest.approx(direct[0].scores["test"][0]["ndcg_at_10"], abs=1e-6)
    table = pd.read_csv(tmp_path / "out" / "table.csv").set_index("system")
    first, second = scores.loc[scores["system"] == "X-X", "score"]
    half = 12.706 * abs(first - second) / 2       # t of one degree of freedom; s / √2 of two values
    assert table.loc["X-X", ["low", "high"]].tolist() == pytest.approx(
        [(first + second) / 2 - half, (first + second) / 2 + half], abs=1e-3)
    assert table.loc["Hybrid", ["low", "high"]].isna().all() and table["runs"].to_dict() == {"Hybrid": 1, "X-X": 2}
    assert "Hybrid one run, so no interval, X-X 2 runs" in printed and "EstQA (test), ndcg_at_10" in printed


def test_what_is_scored_is_not_scored_again_unless_the_weights_change(runs, copies, tmp_path, monkeypatch):
    arguments = ["--tasks", "EstQA", "--data", str(copies), "--out", str(tmp_path / "out"), "--model"]
    command.main([*arguments, str(runs / "X-X-s0")])
    before = pd.read_csv(tmp_path / "out" / "scores.csv")
    encoded = []
    original = mteb.models.SentenceTransformerEncoderWrapper.encode
    monkeypatch.setattr(mteb.models.SentenceTransformerEncoderWrapper, "encode",
                        lambda self, *args, **kwargs: encoded.append(1) or original(self, *args, **kwargs))
    command.main([*arguments, str(runs / "X-X-s0" / "model")])
    assert not encoded and pd.read_csv(tmp_path / "out" / "scores.csv").equals(before)
    shutil.rmtree(runs / "X-X-s0" / "model")
    shutil.copytree(runs / "X-X-s1" / "model", runs / "X-X-s0" / "model")
    command.main([*arguments, str(runs / "X-X-s0")])
    assert encoded and pd.read_csv(tmp_path / "out" / "scores.csv")["score"][0] != before["score"][0]


def test_the_mean_over_subsets_is_of_each_run():
    scores = pd.DataFrame([("T", "ndcg_at_10", "test", subset, subset, "X-X", seed, value)
                           for seed, subset, value in ((0, "a", .2), (0, "b", .4), (1, "a", .4), (1, "b", .8))],
                          columns=["task", "measure", "split", "subset", "languages", "system", "seed", "score"])
    table = command.over_runs(scores).set_index("subset")
    assert table.index.tolist() == ["mean", "a", "b"]
    assert table["score"].tolist() == pytest.approx([.45, .3, .6])
    # Of .3 and .6, not of the four values.
    assert table.loc["mean", "high"] - .45 == pytest.approx(12.706 * .15, abs=1e-3)


def test_the_lists_name_tasks_and_languages_that_mteb_has():
    lists = command.read_lists(LISTS)
    assert list(lists) == ["out-of-domain", "low-resource"]
    for entries in lists.values():
        assert len({entry["task"] for entry in entries}) == len(entries) == 8
        for entry in entries:
            task = command.task_named(entry["task"], entry.get("languages"))
            assert task.metadata.main_score == "ndcg_at_10"
            found = {code.split("-")[0] for subset in task.hf_subsets
                     for code in task.metadata.hf_subsets_to_langscripts[subset]}
            assert found and set(entry.get("languages", found)) == found


def test_a_list_with_another_field_is_refused(tmp_path):
    (tmp_path / "lists.yaml").write_text("a: [{task: EstQA, reason: none}]", "utf-8")
    with pytest.raises(ValueError, match=r"lists.yaml: list a: expected task, why and, if wanted, languages"):
        command.read_lists(tmp_path / "lists.yaml")


@pytest.mark.parametrize(("name", "message"), [
    ("Nothing", r"no task 'Nothing' in mteb .*XQuADRMultilingualPool"),
    ("Banking77Classification", "Banking77Classification: a task of type Classification")])
def test_other_tasks_are_refused_in_one_line(name, message, runs):
    with pytest.raises(SystemExit, match=f"^error: .*{message}"):
        command.main(["--model", str(runs / "X-X-s0"), "--tasks", name])


def test_runs_that_are_none_of_one_system_are_refused(runs, tmp_path):
    with pytest.raises(ValueError, match=r"there is another X-X of seed 0, .*rename one"):
        command.read_runs([str(runs / "X-X-s0"), str(runs / "X-X-s0" / "model")])
    (runs / "X-X-s1" / "settings.json").write_text(json.dumps({"sampling": "X-X", "seed": 1, "steps": 7}), "utf-8")
    with pytest.raises(ValueError, match=r"called X-X as .*s0/model is, and their settings differ"):
        command.read_runs([str(runs / "X-X-s0"), str(runs / "X-X-s1")])
    shutil.rmtree(runs / "Hybrid-s0" / "model")
    with pytest.raises(FileNotFoundError, match=r"Hybrid-s0: the run has no model/ folder; .* multilingual-e5-small"):
        command.read_runs([str(runs / "Hybrid-s0")])
    assert command.read_runs(["intfloat/one", "other/one"])[1][:3] == ("other/one", -1, "other/one")


def test_our_own_tasks_go_by_name():
    task = command.task_named("XQuADRMultilingualPool", ["deu", "zho"])
    assert task.metadata.name == "XQuADRMultilingualPool" and set(task.hf_subsets) == {"de", "zh"}
