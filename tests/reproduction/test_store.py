"""The store finds results by what a model is, not by where it lies; and reads what earlier versions wrote."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from interrupted import begin, end, limited
from sentence_transformers import SentenceTransformer
from test_explore import toy_store

from hybridlib.evaluation import NO_SEED, rank_test_set
from reproduction.run import HYBRID, UNTRAINED, XX, Store, System
from reproduction.run.remedies import apply_remedy

SUBSPACE = System.parse("X-X + centring-corpus")


@pytest.fixture
def store(tmp_path, tiny_encoder):
    return toy_store(tmp_path, tiny_encoder)


def other_weights(folder):
    """Save another model in the same folder."""
    model = SentenceTransformer(str(folder), device="cpu")
    torch.manual_seed(7)
    with torch.no_grad():
        for weights in model.parameters():
            weights += 0.5 * weights.std() * torch.randn_like(weights)
    model.save(str(folder), create_model_card=False)


def test_other_weights_in_a_trained_models_folder_are_evaluated_anew(store):
    systems = (XX, SUBSPACE)
    first, others = [store.ranks(system, 0) for system in systems], store.ranks(HYBRID, 0)
    time = store.run_folder(HYBRID, 0).joinpath("ranks.toy.parquet").stat().st_mtime_ns
    means = store.training_means([(XX, 0)])[0]["queries"]["de"]
    other_weights(store.run_folder(XX, 0) / "model")
    second = [store.ranks(system, 0) for system in systems]
    for before, after in zip(first, second, strict=True):
        assert not before.equals(after)
    assert not np.array_equal(store.training_means([(XX, 0)])[0]["queries"]["de"], means)
    # Nothing was made anew that had no reason to be.
    pd.testing.assert_frame_equal(store.ranks(HYBRID, 0), others)
    assert store.run_folder(HYBRID, 0).joinpath("ranks.toy.parquet").stat().st_mtime_ns == time


def test_other_weights_in_an_encoders_folder_are_another_encoder(store, tiny_encoder, tmp_path):
    folder = tmp_path / "mine"
    shutil.copytree(tiny_encoder, folder)
    mine = System.parse(str(folder))
    first = store.ranks(mine)
    assert store.ranks(mine).equals(first)
    other_weights(folder)
    assert not store.ranks(mine).equals(first)


def test_another_encoder_in_its_folder_is_another_run(tiny_encoder, tmp_path):
    folder = tmp_path / "encoder"
    shutil.copytree(tiny_encoder, folder)
    store = toy_store(tmp_path, folder)
    assert store.is_trained(XX, 0)
    store.ranks(UNTRAINED)
    other_weights(folder)
    assert not store.is_trained(XX, 0)
    with pytest.raises(FileNotFoundError, match="no run with the settings"):
        store.ranks(XX, 0)


def test_ranks_of_earlier_versions_are_read(store):
    now = store.ranks(XX, 0)
    file = store.run_folder(XX, 0) / "ranks.toy.parquet"
    now.drop(columns="grade").rename(columns={"cluster": "article"}).to_parquet(file, index=False)
    pd.testing.assert_frame_equal(store.ranks(XX, 0), now)


def test_results_say_what_each_row_is_of(store):
    results = store.results([0], systems=(UNTRAINED, SUBSPACE))
    described = results[["system", "sampling", "remedy", "seed"]].drop_duplicates().to_numpy().tolist()
    assert described == [["untrained", "untrained", "", NO_SEED],
                         ["X-X + centring-corpus", "X-X", "centring-corpus", 0]]
    assert len(results) == 2 * 10 * 11


def test_a_further_test_set_is_evaluated_for_its_own_sake_and_alone(store, tmp_path):
    for name, record in (("queries", '"group": "q", "text": "3 {0}"'), ("corpus", '"text": "{1} {0}"')):
        (tmp_path / f"{name}.jsonl").write_text("".join(
            f'{{"_id": "{x}{n}", "language": "{x}", {record.replace("{0}", x).replace("{1}", str(n))}}}\n'
            for x in ("de", "en") for n in range(12 if name == "corpus" else 1)), "utf-8")
    (tmp_path / "qrels.tsv").write_text("en0\ten3\t1\n" + "".join(
        f"de0\t{x}{n}\t1\n" for x in ("de", "en") for n in range(12)), "utf-8")
    config = yaml.safe_load((tmp_path / "toy.yaml").read_text("utf-8"))
    config["data"]["further"] = [{"format": "beir", "name": "more", "folder": str(tmp_path)},
                                 {"format": "beir", "name": "away", "folder": str(tmp_path / "nowhere")}]
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(config), "utf-8")
    store, place = Store.open(str(tmp_path / "toy")), store.run_folder(XX, 0)
    found = store.ranks(XX, 0, "more")
    assert len(found) == 24 + 2 and (found["grade"] > 0).sum() == 24 + 1
    assert [path.name for path in place.glob("ranks.*")] == ["ranks.more.parquet"], "and no benchmark"
    queries, candidates = store.embeddings(XX, 0, "more")
    assert (len(queries), len(candidates)) == (2, 24)
    # Remedies, the one of ranks among them, are of that test set, too.
    dealt = store.ranks(System.parse("X-X + quota"), 0, "more")
    pd.testing.assert_frame_equal(dealt, rank_test_set(store.test_set("more"), queries, candidates, quota=True))
    assert not dealt["rank_in_pool"].equals(found["rank_in_pool"])
    [means] = store.training_means([(XX, 0)])
    for remedy in ("shift-training:0.6", "leace-corpus"):
        remedied = store.ranks(System.parse(f"X-X + {remedy}"), 0, "more")
        pd.testing.assert_frame_equal(remedied, rank_test_set(store.test_set("more"), *apply_remedy(
            remedy, queries, candidates, store.test_set("more"), means)))
    assert not remedied["rank_in_pool"].equals(found["rank_in_pool"])
    assert "more" in store.report(XX, 0, "more").write(tmp_path / "report").read_text("utf-8")
    results = store.results([0], "more", [XX, System.parse("X-X + quota")])
    assert len(results) == 4 and not list(place.glob("*.toy.*"))
    # The benchmarks are evaluated as ever; of these, the set whose folder is missing is none.
    store.ranks(XX, 0)
    assert store.test_sets.keys() == {"toy"} and sorted(path.name for path in place.glob("ranks.toy*")) == [
        "ranks.toy.parquet"]
    with pytest.raises(FileNotFoundError, match="nowhere/queries.jsonl: no such file"):
        store.evaluate([(XX, 0)], ["away"])
    with pytest.raises(ValueError, match="preset '.*toy' has no test set 'nope'; there are: toy, more, away"):
        store.test_set("nope")


def test_without_room_nothing_half_has_a_name(store, tmp_path):
    whole = store.ranks(XX, 0)
    run, report = store.run_folder(XX, 0), tmp_path / "report"
    page = store.report(XX, 0).write(report).read_bytes()
    made = run / "embeddings.toy.safetensors", run / "ranks.toy.parquet", report / "report.html"
    for size in [path.stat().st_size for path in made]:
        for other in (*run.glob("*.toy.*"), *report.iterdir()):
            other.unlink()

        def work():
            store.ranks(XX, 0)
            store.report(XX, 0).write(report)
        assert end(begin(limited(work, size - 1), 1, tmp_path / "said")) == [1]
        said = (tmp_path / "said.0.txt").read_text()
        there = [path for path in (*run.iterdir(), *report.iterdir()) if path.is_file()]
        assert not [path for path in there if path.stat().st_size >= size or path.name.endswith(".tmp")]
        [named] = [path for path in made if f"OSError: {path}: cannot be written, there is no room" in said]
        assert not named.exists()
        pd.testing.assert_frame_equal(store.ranks(XX, 0), whole)
    assert store.report(XX, 0).write(report).read_bytes() == page
