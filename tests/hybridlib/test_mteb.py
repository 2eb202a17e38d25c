"""mteb's runner on our tasks gives the numbers of our own path, query by query; nothing reaches for a hub."""

import json

import numpy as np
import pytest

mteb = pytest.importorskip("mteb")

from conftest import SHARED  # noqa: E402
from datasets import Dataset  # noqa: E402
from mteb.abstasks.retrieval import AbsTaskRetrieval  # noqa: E402
from mteb.abstasks.task_metadata import TaskMetadata  # noqa: E402
from mteb.models.abs_encoder import AbsEncoder  # noqa: E402
from mteb.models.model_meta import ModelMeta  # noqa: E402

from hybridlib import encoding  # noqa: E402
from hybridlib.data import LAREQA, RELEASED, CorpusError, TestSet, load_test_set, read_lareqa  # noqa: E402
from hybridlib.evaluation import (  # noqa: E402
    NO_SEED,
    embed,
    evaluate,
    language_pairs,
    macro,
    per_language,
    per_query,
    rank_test_set,
)
from hybridlib.integrations import mteb as tasks  # noqa: E402

LANGUAGES = ("de", "en", "zh")
# Questions of an article per language: all in XQuAD-R's way; in MLQA-R's, in two or three of the three.
EVERYWHERE = dict.fromkeys(LANGUAGES, range(12))
PARTLY = {"de": [0, 1, 2, 3, 4, 5, 6, 7], "en": [0, 1, 2, 3, 8, 9, 10, 11], "zh": [0, 1, 4, 5, 8, 9, 6, 10]}


@pytest.fixture
def make_test_set(tmp_path):
    """A test set from files in the released layout: three sentences a paragraph, a paragraph a question."""
    def make(name, asked, words=200):
        rng = np.random.default_rng(3)
        meaning = rng.integers(words, size=(12, 3, 2))
        for language in LANGUAGES:
            paragraphs = []
            for number in asked[language]:
                context, breaks = "", []
                for sentence in meaning[number]:
                    # Translations have two words in common, and two that are the language's own.
                    text = " ".join([language, *map(str, sentence), *map(str, rng.integers(words, size=2))]) + " "
                    breaks.append([len(context), len(context) + len(text)])
                    context += text
                question = " ".join([language, *map(str, meaning[number][1])])
                paragraphs.append({"context": context, "sentence_breaks": breaks, "qas": [
                    {"id": f"q{number}", "question": question, "answers": [{"answer_start": breaks[1][0] + 2}]}]})
            articles = [{"title": "a", "paragraphs": paragraphs[:5]}, {"title": "b", "paragraphs": paragraphs[5:]}]
            (tmp_path / f"{language}.json").write_text(json.dumps({"data": articles}))
        return read_lareqa(tmp_path, name, dict.fromkeys(LANGUAGES))
    return make


def run(task, model):
    """mteb's scores per subset, and per query what mteb and its evaluator hand to the task: scores and ranking."""
    handed, hook = {}, task.task_specific_scores

    def keep(scores, qrels, results, hf_split, hf_subset):
        handed[hf_subset] = {"scores": scores, "results": results}
        return hook(scores, qrels, results, hf_split=hf_split, hf_subset=hf_subset)
    task.task_specific_scores = keep
    result = mteb.evaluate(model, [task], cache=None, co2_tracker=False, show_progress_bar=False)[0]
    return {scores["hf_subset"]: scores for scores in result.scores["test"]}, handed, result


def our_ranks(model, test_set):
    """The ranks table of our own path, whose order floating point cannot have changed: see the assertion."""
    (embeddings,), _ = embed(encoding.Siblings([model]), test_set, encoding.Prompts.of(model))
    scores = embeddings[0].astype(float) @ embeddings[1].T.astype(float)
    for row, query in enumerate(scores):
        gaps = np.sort(np.abs(query[test_set.answers(row), None] - query), axis=1)[:, 1]
        assert gaps.min() > 3e-6, "a score so close to a relevant one that rounding may swap them: take another seed"
    return rank_test_set(test_set, *embeddings)


@pytest.fixture(params=["no prompts", "prompts"])
def model(request, tiny_encoder):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(tiny_encoder), device="cpu")
    if request.param == "prompts":
        model.prompts = {"query": "query: ", "document": "passage: "}
    return model


def test_the_documented_lines_work_and_tell_models_apart(make_test_set, tiny_encoder, offline, tmp_path):
    import torch
    from mteb.models import CachedEmbeddingWrapper, SentenceTransformerEncoderWrapper
    from sentence_transformers import SentenceTransformer

    with pytest.raises(KeyError):
        mteb.get_task("XQuADRMultilingualPool")  # what the documentation warns of
    test_set, maps = make_test_set("xquad-r", EVERYWHERE), {}
    for name in ("one", "other"):
        model = SentenceTransformer(str(tiny_encoder), device="cpu")
        if name == "other":
            torch.manual_seed(1)
            with torch.no_grad():
                for weights in model.parameters():
                    weights += weights.std() * torch.randn_like(weights)
        cached = CachedEmbeddingWrapper(SentenceTransformerEncoderWrapper(model), tmp_path / name)
        for kind, given in (("plain", model), ("cached", cached)):
            result = mteb.evaluate(given, [tasks.XQuADRMultilingualPool(test_set)], cache=None, co2_tracker=False,
                                   show_progress_bar=False)[0]
            maps[name, kind] = [scores["map"] for scores in result.scores["test"]]
    assert maps["one", "plain"] == pytest.approx(maps["one", "cached"])
    assert maps["other", "plain"] == pytest.approx(maps["other", "cached"])
    assert maps["one", "plain"] != pytest.approx(maps["other", "plain"])


POOLS = [("xquad-r", EVERYWHERE, tasks.XQuADRMultilingualPool),
         ("mlqa-r", PARTLY, tasks.MLQARMultilingualPool)]
GRIDS = [("xquad-r", EVERYWHERE, tasks.XQuADRCrosslingual), ("mlqa-r", PARTLY, tasks.MLQARCrosslingual)]


@pytest.mark.parametrize(("name", "asked", "task"), POOLS)
def test_the_pool_scores_as_our_own_path(make_test_set, model, offline, monkeypatch, name, asked, task):
    # Fewer than the pool: the whole ranking must be there in spite of mteb's cutoffs.
    monkeypatch.setattr(task, "k_values", (1, 10, 20))
    test_set = make_test_set(name, asked)
    ours = per_query(our_ranks(model, test_set))
    theirs, handed, result = run(task(test_set), model)
    assert list(theirs) == list(LANGUAGES)
    assert ours["rank distance"].max() > 20 and ours["multilingual AP"].between(0.01, 0.99).any()
    for language, mine in ours.groupby("query_language"):
        scores = theirs[language]
        assert scores["map"] == pytest.approx(mine["multilingual AP"].mean(), abs=1e-6)
        assert scores["rank_distance"] == pytest.approx(mine["rank distance"].mean(), abs=1e-6)
        # mteb rounds the mean to five decimals; before that, each query has our number.
        assert scores["ndcg_at_10"] == scores["main_score"] == pytest.approx(mine["multilingual nDCG@10"].mean(),
                                                                             abs=5.1e-6)
        ndcg = {query: values["ndcg_cut_10"] for query, values in handed[language]["scores"].items()}
        assert ndcg == pytest.approx(mine.set_index("question")["multilingual nDCG@10"].to_dict(), abs=1e-6)
        assert {len(ranked) for ranked in handed[language]["results"].values()} == {len(test_set.candidates)}
    mean = macro(ours.assign(system="ours", seed=NO_SEED), "multilingual nDCG@10").item()
    assert result.get_score() == pytest.approx(mean, abs=5.1e-6)


@pytest.mark.parametrize(("name", "asked", "task"), GRIDS)
def test_the_grid_scores_as_our_own_path(make_test_set, model, offline, name, asked, task):
    test_set = make_test_set(name, asked)
    ranks = our_ranks(model, test_set)
    theirs, handed, _ = run(task(test_set), model)
    assert list(theirs) == [f"{x}-{y}" for x in LANGUAGES for y in LANGUAGES]
    grid = language_pairs(ranks)
    for (x, y), rows in ranks[ranks["rank_in_language"] > 0].groupby(["query_language", "language"]):
        scores, mine = theirs[f"{x}-{y}"], per_query(rows).set_index("question")
        setting = "monolingual" if x == y else "crosslingual"
        assert scores["map"] == pytest.approx(grid.loc[x, y], abs=1e-6)
        assert scores["map"] == pytest.approx(mine[f"{setting} AP"].mean(), abs=1e-6)
        assert scores["ndcg_at_10"] == pytest.approx(mine[f"{setting} nDCG@10"].mean(), abs=5.1e-6)
        ndcg = {query: values["ndcg_cut_10"] for query, values in handed[f"{x}-{y}"]["scores"].items()}
        assert ndcg == pytest.approx(mine[f"{setting} nDCG@10"].to_dict(), abs=1e-6)
        # mteb's own average precision: its default cutoff of 1000 is beyond this test set.
        assert scores["map"] == pytest.approx(scores["map_at_1000"], abs=5.1e-6)
        assert "rank_distance" not in scores, "one relevant document: it could only be 0"


class OfFewDirections(AbsEncoder):
    """Texts to one of four axes, by their last word: most documents tie, and exactly so."""

    mteb_model_meta = ModelMeta.create_empty()

    @staticmethod
    def embed(texts):
        return np.eye(4, dtype=np.float32)[[int(text.split()[-1]) % 4 for text in texts]]

    def encode(self, inputs, **kwargs):
        return self.embed([text for batch in inputs for text in batch["text"]])


def test_ties_stand_in_the_order_of_the_test_set(make_test_set, offline):
    test_set = make_test_set("mlqa-r", PARTLY, words=3)
    assert test_set.candidates["text"].duplicated().any()
    embeddings = [OfFewDirections.embed(frame["text"]) for frame in (test_set.queries, test_set.candidates)]
    ranks = rank_test_set(test_set, *embeddings)
    pool = per_language(per_query(ranks))
    theirs, handed, _ = run(tasks.MLQARMultilingualPool(test_set), OfFewDirections())
    for language in LANGUAGES:
        assert theirs[language]["map"] == pytest.approx(pool.loc[language, "multilingual AP"], abs=1e-9)
        assert theirs[language]["rank_distance"] == pytest.approx(pool.loc[language, "rank distance"], abs=1e-9)
        assert theirs[language]["map"] == pytest.approx(theirs[language]["map_at_1000"], abs=5.1e-6)
        # Nothing is deduplicated: candidates of the same text are documents of their own.
        assert {len(ranked) for ranked in handed[language]["results"].values()} == {len(test_set.candidates)}
    theirs, _, _ = run(tasks.MLQARCrosslingual(test_set), OfFewDirections())
    grid = language_pairs(ranks)
    assert {pair: scores["map"] for pair, scores in theirs.items()} == pytest.approx(
        {f"{x}-{y}": grid.loc[x, y] for x in LANGUAGES for y in LANGUAGES}, abs=1e-9)


def test_ranks_of_relevant_documents():
    # By score, then the greater id: q1's order is 4 1 3 2, q2's is 2 1.
    results = {"q2": {"1": 0.5, "2": 0.5}, "q1": {"1": 0.7, "2": 0.1, "3": 0.2, "4": 0.7}}
    relevant = {"q1": {"3": 1, "1": 1, "2": 1}, "q2": {"1": 1}}
    assert tasks.relevant_ranks(results, relevant).tolist() == [[2, 3, 4], [2, 0, 0]]
    del results["q1"]["3"]
    with pytest.raises(ValueError, match=r"query q1: the model ranked 3 documents, .*not among them \(3\)"):
        tasks.relevant_ranks(results, relevant)


def test_what_is_asked_in_a_partially_parallel_pair(make_test_set):
    task = tasks.MLQARCrosslingual(make_test_set("mlqa-r", PARTLY))
    task.load_data()
    asked = {pair: sorted(split["test"]["queries"]["id"]) for pair, split in task.dataset.items()}
    assert asked["de-en"] == asked["en-de"] == ["q0", "q1", "q2", "q3"]
    assert asked["zh-en"] == ["q0", "q1", "q10", "q8", "q9"]
    assert asked["zh-zh"] == ["q0", "q1", "q10", "q4", "q5", "q6", "q8", "q9"]
    split = task.dataset["zh-de"]["test"]
    # de has the first 24 of 72 candidates; q0's answer is its second sentence. Ids count down.
    assert split["corpus"]["id"][0] == "72-de" and split["corpus"]["id"][-1] == "49-de"
    assert split["relevant_docs"]["q0"] == {"71-de": 1}


@pytest.mark.parametrize("task", [task for _, _, task in POOLS + GRIDS])
def test_metadata_is_what_mteb_accepts(task):
    task.metadata._validate_metadata()
    assert task.metadata.is_filled()
    assert {language for pair in task.metadata.hf_subsets for language in pair.split("-")} == set(
        RELEASED[task.released])
    assert task.metadata.revision in LAREQA and len(task.metadata.revision) == 40


def test_a_task_takes_only_its_own_test_set(make_test_set):
    with pytest.raises(ValueError, match=r"MLQARCrosslingual is a task of mlqa-r, not of 'xquad-r'"):
        tasks.MLQARCrosslingual(make_test_set("xquad-r", EVERYWHERE))


def test_without_a_test_set_the_released_one_is_loaded(make_test_set, monkeypatch):
    test_set, asked = make_test_set("mlqa-r", PARTLY), []
    monkeypatch.setattr(tasks, "load_test_set", lambda name: asked.append(name) or test_set)
    task = tasks.MLQARMultilingualPool().filter_languages(["zho", "deu"])
    task.load_data()
    assert asked == ["mlqa-r"]
    assert sorted(task.dataset) == ["de", "zh"], "a subset is named by the language of its queries"
    assert {len(split["test"]["corpus"]) for split in task.dataset.values()} == {72}, "and its pool is in all"


@pytest.mark.skipif(not (SHARED / "xquad-r").is_dir(), reason="XQuAD-R is not at hand (../shared/data)")
def test_xquad_r_as_released():
    task = tasks.XQuADRMultilingualPool(load_test_set("xquad-r", SHARED / "xquad-r"))
    task.load_data()
    assert len(task.dataset) == 11
    for split in task.dataset.values():
        assert len(split["test"]["corpus"]) == len(set(split["test"]["corpus"]["id"])) == 13014
        assert len(split["test"]["queries"]) == 1190
        assert {len(documents) for documents in split["test"]["relevant_docs"].values()} == {11}


def a_task(eval_langs, subsets, early=False):
    """A retrieval task of mteb made of ``{subset: (queries, corpus, relevant_docs)}``, dicts of id to text (or grades).

    ``early``: in the way of mteb's earlier tasks, which it rewrites before it evaluates them.
    """
    class ATask(AbsTaskRetrieval):
        metadata = TaskMetadata(
            name="ATask", description="", type="Retrieval", category="t2t", eval_splits=["test"], eval_langs=eval_langs,
            main_score="ndcg_at_10", dataset={"path": "nowhere", "revision": "none"})

        def load_data(self, **kwargs):
            if early:
                self.queries, self.corpus, self.relevant_docs = ({x: {"test": subsets[x][n]} for x in subsets}
                                                                 for n in range(3))
            else:
                self.dataset = {x: {"test": {
                    "queries": Dataset.from_list([{"id": i, "text": text} for i, text in queries.items()]),
                    "corpus": Dataset.from_list([{"id": i, "title": "", "text": text} for i, text in corpus.items()]),
                    "relevant_docs": relevant, "top_ranked": None}}
                    for x, (queries, corpus, relevant) in subsets.items()}
            self.data_loaded = True
    return ATask()


GERMAN, ENGLISH = {"d0": "de 0 1", "d1": "de 2 3", "d2": "de 4 5"}, {"d0": "en 0 1", "e1": "en 6 7"}
PAIRS = {"de": ["deu-Latn"], "de-en": ["deu-Latn", "eng-Latn"], "en-de": ["eng-Latn", "deu-Latn"]}
SUBSETS = {"de": ({"q0": "de 0", "q1": "de 2"}, GERMAN, {"q0": {"d0": 2, "d1": 0}, "q1": {"d1": 1}}),
           "de-en": ({"q0": "de 0", "q9": "de 9"}, ENGLISH, {"q0": {"d0": 1, "gone": 1}, "q9": {"e1": 3}}),
           "en-de": ({"q0": "en 0"}, GERMAN, {"q0": {"d2": 1}})}


@pytest.mark.parametrize("early", [False, True], ids=["today", "early"])
def test_a_task_of_mteb_is_one_test_set_of_all_its_subsets(early):
    test_set = TestSet.from_mteb(a_task(PAIRS, SUBSETS, early))
    assert test_set.name == "ATask" and test_set.languages == ("deu_Latn", "eng_Latn")
    # German documents stand in two subsets, and once here; the id d0 in two languages is two documents.
    assert test_set.candidates["text"].tolist() == ["de 0 1", "de 2 3", "de 4 5", "en 0 1", "en 6 7"]
    assert test_set.candidates["language"].tolist() == ["deu_Latn"] * 3 + ["eng_Latn"] * 2
    assert test_set.queries["text"].tolist() == ["de 0", "de 2", "de 9", "en 0"]
    assert test_set.queries["question"].is_unique, "an id in two languages is two questions"
    # q0 in German has an answer in either language; d1 is not relevant to it, and "gone" is in no corpus.
    assert test_set.relevant.values.tolist() == [[0, 0, 2], [0, 3, 1], [1, 1, 1], [2, 4, 3], [3, 2, 1]]


def test_a_task_in_one_language_has_one_subset():
    test_set = TestSet.from_mteb(a_task(["zul-Latn"], {"default": SUBSETS["de"]}))
    assert test_set.languages == ("zul_Latn",) and len(test_set.queries) == 2 and len(test_set.candidates) == 3


@pytest.mark.parametrize(("languages", "split", "change", "reason"), [
    (["nor-Latn", "nob-Latn", "nno-Latn"], "test", {}, "ATask, subset de: documents in nor_Latn, nob_Latn, nno_Latn"),
    (["deu-Latn"], "test", {"relevant": {"q0": {"d0": 0}}}, "ATask: nothing is relevant"),
    (["deu-Latn"], "test", {"corpus": GERMAN | {"d2": " "}}, "field 'text' is missing, empty or not text"),
    (["deu-Latn"], "test", {"relevant": {"q7": {"d0": 1}}}, "ATask, subset de: .*no query 'q7'"),
    (["deu-Latn"], "dev", {}, "ATask, subset de: .*no split 'dev'.*test"),
])
def test_a_task_that_cannot_be_used_is_refused_with_the_reason(languages, split, change, reason):
    parts = dict(zip(("queries", "corpus", "relevant"), SUBSETS["de"], strict=True)) | change
    with pytest.raises(CorpusError, match=reason):
        TestSet.from_mteb(a_task({"de": languages}, {"de": tuple(parts.values())}), split)


def test_a_task_scores_here_as_with_mteb(tiny_encoder, offline):
    """Several relevant documents, graded, in one language: the monolingual numbers are mteb's."""
    from sentence_transformers import SentenceTransformer

    rng = np.random.default_rng(0)
    corpus = {f"d{n:02d}": " ".join(map(str, rng.integers(200, size=4))) for n in range(30)}
    queries = {f"q{n}": " ".join(map(str, rng.integers(200, size=3))) for n in range(15)}
    grades = {q: {d: int(rng.integers(1, 4)) for d in corpus if rng.random() < 0.15} or {"d00": 1} for q in queries}
    task = a_task({"de": ["deu-Latn"]}, {"de": (queries, corpus, grades)})
    model = SentenceTransformer(str(tiny_encoder), device="cpu")
    theirs, _, _ = run(task, model)
    test_set = TestSet.from_mteb(task)
    assert len(test_set.relevant) == sum(map(len, grades.values())) > 50
    ours = evaluate(model, test_set, precision="fp32").languages.loc["mean"]
    for name, key in (("nDCG@10", "ndcg_at_10"), ("AP", "map_at_1000"), ("R@1", "recall_at_1"),
                      ("P@1", "precision_at_1"), ("RR", "mrr_at_1000")):
        assert 0 < theirs["de"][key] < 1
        assert ours[f"monolingual {name}"] == pytest.approx(theirs["de"][key], abs=5.1e-6), name
    assert ours["multilingual P@10"] == pytest.approx(theirs["de"]["precision_at_10"], abs=5.1e-6)
    assert ours["multilingual R@10"] == pytest.approx(theirs["de"]["recall_at_10"], abs=5.1e-6)
