"""Published ranks in place of runs: the same numbers with nothing else there, and refusals by name."""

import shutil

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from conftest import ROOT
from test_explore import toy_store

from hybridlib import encoding
from hybridlib.data import TestSet
from hybridlib.errors import RunError
from hybridlib.evaluation import HEADLINE, NO_SEED, chance, macro, rank_test_set, report_of
from reproduction.run import HYBRID, SYSTEMS, UNTRAINED, XX, XY, Store, System, evidence
from reproduction.run.evidence import gather, keep, read_cells, read_test_set
from reproduction.workspace import Workspace


@pytest.fixture(scope="module")
def published(tmp_path_factory, tiny_encoder):
    """A folder laid out like the repository with the ranks of four toy runs, and what the runs themselves say."""
    place = tmp_path_factory.mktemp("published")
    store = toy_store(place, tiny_encoder)
    for system in SYSTEMS:
        keep(place / "kept" / "headline", store, system, 0 if system.is_trained else NO_SEED, ["toy"], ranks=["toy"])
    gather(place / "kept" / "headline", place / "root" / "results" / "toy" / "cpu" / "headline")
    known = {"results": store.results([0]), "report": store.report(HYBRID, 0), "test set": store.preset.test_set,
             "ranks": store.ranks(XY, 0), "unseen": store.preset.unseen, "facts": store.facts(UNTRAINED)}
    (place / "root" / "configs").mkdir()
    shutil.move(place / "toy.yaml", place / "root" / "configs")
    for system in SYSTEMS:
        shutil.rmtree(store.run_folder(system, 0))
    (place / "test.jsonl").unlink()
    return place / "root", known


@pytest.fixture
def store(published, monkeypatch):
    monkeypatch.setattr(encoding, "load", lambda *_: pytest.fail("an encoder is loaded"))
    return Store.open("toy", Workspace(root=published[0]), "published")


@pytest.fixture
def copy(published, tmp_path):
    """A folder laid out like the repository that a test may change."""
    return shutil.copytree(published[0], tmp_path / "root")


def test_numbers_are_those_of_the_runs_without_runs_encoder_or_data(published, store):
    known = published[1]
    assert list(store.test_sets) == ["toy"]
    pd.testing.assert_frame_equal(store.results([0]), known["results"], check_dtype=False)
    of_xx = known["results"].query("system == 'X-X'").reset_index(drop=True)
    pd.testing.assert_frame_equal(store.results([0], "toy", [XX]), of_xx, check_dtype=False)
    pd.testing.assert_frame_equal(store.ranks(XY, 0), known["ranks"], check_column_type=False)
    report = store.report(HYBRID, 0)
    for name in ("headline", "languages", "pairs", "top10"):
        pd.testing.assert_frame_equal(getattr(report, name), getattr(known["report"], name), check_names=False)
    assert report.text() == known["report"].text()
    assert {name: value for name, value in report.about.items() if name != "encoder"} == {
        name: value for name, value in known["report"].about.items() if name != "encoder"}
    assert report.about["encoder"].startswith("Hybrid-s0, trained from "), "and not from a folder that is gone"
    assert store.facts(UNTRAINED)["encoded"] == known["facts"]["encoded"]


def test_a_test_set_is_known_without_its_texts(published, store):
    known, found = published[1]["test set"], store.preset.test_set
    assert (found.name, found.languages, found.query_languages) == (known.name, known.languages, known.query_languages)
    assert store.preset.unseen == published[1]["unseen"] and len(found.relevant) == len(known.relevant)
    pd.testing.assert_frame_equal(found.counts(), known.counts())
    assert chance(found) == chance(known)
    assert set(found.queries["text"]) == set(found.candidates["text"]) == {""}


def test_grades_several_answers_and_languages_without_any_are_kept(tmp_path):
    """de has two relevant candidates, graded; en has candidates and none is relevant; zul has queries only."""
    test_set = TestSet.from_records(
        "toy", [{"id": x, "language": "zul", "text": x, "cluster": "c"} for x in "pqr"],
        [{"id": x, "language": x[:2], "text": x} for x in ("de1", "de2", "de3", "en1", "fr1")],
        [("q", "de3", 2), ("q", "de1", 1), ("r", "fr1"), ("r", "de2")])
    assert test_set.left_out == 1
    rng = np.random.default_rng(0)
    ranks = rank_test_set(test_set, *(rng.standard_normal((count, 4)).astype(np.float32) for count in (2, 5)))
    evidence._write(ranks[evidence.KEYS], tmp_path / "toy.keys.parquet", evidence._facts_of_test_set(test_set))
    found = read_test_set(tmp_path, "toy")
    assert found.languages == ("de", "en", "fr", "zul") and found.left_out == 1
    # de1 and de3 by their places; which of de answers r is not known, and its first one stands for it.
    assert found.relevant.values.tolist() == [[0, 0, 1], [0, 1, 2], [1, 0, 1], [1, 4, 1]]
    known, ours = (report_of(ranks, x, "m") for x in (test_set, found))
    assert ours.text() == known.text() and ours.about == known.about
    evidence._write(ranks[evidence.KEYS], tmp_path / "toy.keys.parquet", {"benchmark": "toy"})
    with pytest.raises(ValueError, match="toy.keys.parquet: says nothing of how many candidates"):
        read_test_set(tmp_path, "toy")


@pytest.mark.parametrize(("ask", "reason"), [
    (lambda store: store.ranks(HYBRID, 7), r"results/toy/cpu: no ranks of Hybrid, seed 7, on toy are published, only "
                                           r"of Hybrid \(seeds 0\); X-X \(seeds 0\); X-Y \(seeds 0\); untrained$"),
    (lambda store: store.results([0, 1]), "no ranks of X-X, seed 1, on toy"),
    (lambda store: store.results([0], systems=[System.parse("X-X + quota")]), r"no ranks of X-X \+ quota, seed 0"),
    (lambda store: store.ranks(System.parse("some/encoder")), "no ranks of some/encoder on toy"),
    (lambda store: store.facts(System.parse("Hybrid alpha=0.4"), 0), "no ranks of Hybrid alpha=0.4, seed 0"),
    (lambda store: store.report(XX, 0, "moon"), "no ranks on test set 'moon' are published, only on toy"),
    (lambda store: store.test_set("moon"), "no ranks on test set 'moon'")])
def test_what_is_not_published_is_refused_by_name(store, ask, reason):
    with pytest.raises(FileNotFoundError, match=reason):
        ask(store)


@pytest.mark.parametrize(("ask", "reason"), [
    (lambda store: store.train(XX, 0), "X-X, seed 0, is not trained"),
    (lambda store: store.losses(XX, 0), "no losses of X-X"),
    (lambda store: store.embeddings(XX, 0), "no embeddings of X-X"),
    (lambda store: store.training_means([(XX, 0)]), "no mean embeddings")])
def test_what_ranks_do_not_say_is_refused(store, ask, reason):
    with pytest.raises(RunError, match=rf"toy/cpu: of runs only ranks are published: .*{reason}.*runs=.trained"):
        ask(store)


def test_only_what_is_published_counts_as_trained(store):
    assert all(store.is_trained(system, 0) for system in (XX, XY, HYBRID))
    assert not store.is_trained(XX, 1) and not store.is_trained(System.parse("Hybrid alpha=0.4"), 0)


def test_runs_with_other_settings_are_not_taken_for_the_preset_s(copy):
    file = copy / "configs" / "toy.yaml"
    file.write_text(file.read_text("utf-8").replace("steps: 40", "steps: 41"), "utf-8")
    store = Store.open("toy", Workspace(root=copy), "published")
    assert len(store.ranks(UNTRAINED)) == len(store.ranks(UNTRAINED, 5)), "an encoder as it comes has no steps"
    with pytest.raises(FileNotFoundError, match="X-X-s0.toy.ranks.parquet: measured with other settings than preset"):
        store.ranks(XX, 0)
    assert not store.is_trained(XX, 0)


def test_the_device_is_named_and_two_precisions_are_refused(copy):
    with pytest.raises(FileNotFoundError, match=r"toy/cuda: no published ranks of preset 'toy' measured on cuda; there "
                                                r"are some measured on cpu \(DEVICE=cpu"):
        Store.open("toy", Workspace(root=copy, device="cuda"), "published")
    file = copy / "results" / "toy" / "cpu" / "headline" / "X-X-s0.toy.ranks.parquet"
    table = pq.read_table(file)
    facts = table.schema.metadata[b"reproduction"].replace(b'"precision": "float32"', b'"precision": "bfloat16"')
    pq.write_table(table.replace_schema_metadata({b"reproduction": facts}), file)
    with pytest.raises(RunError, match="two precisions are not compared"):
        Store.open("toy", Workspace(root=copy), "published")


def test_it_is_published_or_trained_and_nothing_else(copy):
    with pytest.raises(ValueError, match="runs is 'publishd', expected one of trained, published"):
        Store.open("toy", Workspace(root=copy), "publishd")
    with pytest.raises(ValueError, match="no preset 'moon'; there are: toy"):
        Store.open("moon", Workspace(root=copy), "published")
    shutil.rmtree(copy / "results")
    with pytest.raises(FileNotFoundError, match="no published ranks of preset 'toy'; train it"):
        Store.open("toy", Workspace(root=copy), "published")


def test_what_is_drawn_from_them_is_not_what_was_measured_here(copy):
    """``make publish`` takes runs/<preset>/report, and a walk its notebooks in runs/<preset>."""
    workspace = Workspace(root=copy)
    store = Store.open("toy", workspace, "published")
    assert store.folder == copy / "runs" / "published" / "toy"
    assert store.workspace.drawn("toy") == store.folder / "report" != workspace.drawn("toy")
    assert store.workspace.results("toy") == workspace.results("toy")


def test_the_committed_ranks_give_the_committed_numbers_without_data():
    store = Store.open("xquad", Workspace(device="cuda"), "published")
    assert store.preset.unseen == ("el", "vi") and len(store.preset.test_set.candidates) == 13014
    seeds = [0, 1, 2, 3, 4]
    store.evaluate([(system, seed) for system in SYSTEMS for seed in seeds])
    committed = read_cells(ROOT / "results" / "xquad" / "cuda" / "headline")
    committed = committed[committed["benchmark"] == "mlqa-r"]
    results = store.results([2], "mlqa-r", [UNTRAINED, XY])
    for measure in HEADLINE:
        found = macro(results, measure)
        np.testing.assert_allclose(found, macro(committed, measure)[found.index], rtol=1e-6)
    assert macro(results, "multilingual AP")["untrained"].item() == pytest.approx(0.313, abs=5e-4), "README's table"
