"""mteb's runner on our tasks gives the numbers of our own path, query by query; nothing reaches for a hub."""

import json
import socket

import numpy as np
import pytest

mteb = pytest.importorskip("mteb")

from conftest import SHARED  # noqa: E402
from mteb.models.abs_encoder import AbsEncoder  # noqa: E402
from mteb.models.model_meta import ModelMeta  # noqa: E402

from hybridlib import benchmarks, encoders, metrics, mteb_tasks, ranking  # noqa: E402

LANGUAGES = ("de", "en", "zh")
# Questions of an article per language: all in XQuAD-R's way; in MLQA-R's, in two or three of the three.
EVERYWHERE = dict.fromkeys(LANGUAGES, range(12))
PARTLY = {"de": [0, 1, 2, 3, 4, 5, 6, 7], "en": [0, 1, 2, 3, 8, 9, 10, 11], "zh": [0, 1, 4, 5, 8, 9, 6, 10]}


@pytest.fixture
def make_benchmark(tmp_path):
    """A benchmark from files in the released layout: three sentences a paragraph, a paragraph a question."""
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
        return benchmarks.lareqa(tmp_path, name, dict.fromkeys(LANGUAGES))
    return make


@pytest.fixture
def offline(monkeypatch):
    """Every attempt to open a connection fails the test, a caught one too."""
    attempts = []

    def refuse(*args, **kwargs):
        attempts.append(args)
        raise OSError("the test is offline")
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    yield
    assert not attempts


def evaluate(task, model):
    """mteb's scores per subset, and per query what mteb and its evaluator hand to the task: scores and ranking."""
    handed, hook = {}, task.task_specific_scores

    def keep(scores, qrels, results, hf_split, hf_subset):
        handed[hf_subset] = {"scores": scores, "results": results}
        return hook(scores, qrels, results, hf_split=hf_split, hf_subset=hf_subset)
    task.task_specific_scores = keep
    result = mteb.evaluate(model, [task], cache=None, co2_tracker=False, show_progress_bar=False)[0]
    return {scores["hf_subset"]: scores for scores in result.scores["test"]}, handed, result


def our_ranks(model, benchmark):
    """The ranks table of our own path, whose order floating point cannot have changed: see the assertion."""
    siblings = encoders.Siblings([model])
    (embeddings,), _ = ranking.embed(siblings, benchmark, encoders.Prompts.of(model))
    scores = embeddings[0].astype(float) @ embeddings[1].T.astype(float)
    for query, rows in zip(scores, benchmark.relevant, strict=True):
        gaps = np.sort(np.abs(query[rows[rows >= 0], None] - query), axis=1)[:, 1]
        assert gaps.min() > 3e-6, "a score so close to a relevant one that rounding may swap them: take another seed"
    return ranking.rank_benchmark(benchmark, *embeddings)


@pytest.fixture(params=["no prompts", "prompts"])
def model(request, tiny_encoder):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(tiny_encoder), device="cpu")
    if request.param == "prompts":
        model.prompts = {"query": "query: ", "document": "passage: "}
    return model


POOLS = [("xquad-r", EVERYWHERE, mteb_tasks.XQuADRMultilingualPool),
         ("mlqa-r", PARTLY, mteb_tasks.MLQARMultilingualPool)]
GRIDS = [("xquad-r", EVERYWHERE, mteb_tasks.XQuADRCrosslingual), ("mlqa-r", PARTLY, mteb_tasks.MLQARCrosslingual)]


@pytest.mark.parametrize(("name", "asked", "task"), POOLS)
def test_the_pool_scores_as_our_own_path(make_benchmark, model, offline, monkeypatch, name, asked, task):
    # Fewer than the pool: the whole ranking must be there in spite of mteb's cutoffs.
    monkeypatch.setattr(task, "k_values", (1, 10, 20))
    benchmark = make_benchmark(name, asked)
    ours = metrics.per_query(our_ranks(model, benchmark))
    theirs, handed, result = evaluate(task(benchmark), model)
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
        assert {len(ranked) for ranked in handed[language]["results"].values()} == {len(benchmark.candidates)}
    assert result.get_score() == pytest.approx(metrics.macro(ours)["multilingual nDCG@10"], abs=5.1e-6)


@pytest.mark.parametrize(("name", "asked", "task"), GRIDS)
def test_the_grid_scores_as_our_own_path(make_benchmark, model, offline, name, asked, task):
    benchmark = make_benchmark(name, asked)
    ranks = our_ranks(model, benchmark)
    theirs, handed, _ = evaluate(task(benchmark), model)
    assert list(theirs) == [f"{x}-{y}" for x in LANGUAGES for y in LANGUAGES]
    grid = metrics.language_pairs(ranks)
    for (x, y), rows in ranks[ranks["rank_in_language"] > 0].groupby(["query_language", "language"]):
        scores, mine = theirs[f"{x}-{y}"], metrics.per_query(rows).set_index("question")
        setting = "monolingual" if x == y else "crosslingual"
        assert scores["map"] == pytest.approx(grid.loc[x, y], abs=1e-6)
        assert scores["map"] == pytest.approx(mine[f"{setting} AP"].mean(), abs=1e-6)
        assert scores["ndcg_at_10"] == pytest.approx(mine[f"{setting} nDCG@10"].mean(), abs=5.1e-6)
        ndcg = {query: values["ndcg_cut_10"] for query, values in handed[f"{x}-{y}"]["scores"].items()}
        assert ndcg == pytest.approx(mine[f"{setting} nDCG@10"].to_dict(), abs=1e-6)
        # mteb's own average precision: its default cutoff of 1000 is beyond this benchmark.
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


def test_ties_stand_in_the_order_of_the_benchmark(make_benchmark, offline):
    benchmark = make_benchmark("mlqa-r", PARTLY, words=3)
    assert benchmark.candidates["text"].duplicated().any()
    embeddings = [OfFewDirections.embed(frame["text"]) for frame in (benchmark.queries, benchmark.candidates)]
    ranks = ranking.rank_benchmark(benchmark, *embeddings)
    pool = metrics.per_language(metrics.per_query(ranks))
    theirs, handed, _ = evaluate(mteb_tasks.MLQARMultilingualPool(benchmark), OfFewDirections())
    for language in LANGUAGES:
        assert theirs[language]["map"] == pytest.approx(pool.loc[language, "multilingual AP"], abs=1e-9)
        assert theirs[language]["rank_distance"] == pytest.approx(pool.loc[language, "rank distance"], abs=1e-9)
        assert theirs[language]["map"] == pytest.approx(theirs[language]["map_at_1000"], abs=5.1e-6)
        # Nothing is deduplicated: candidates of the same text are documents of their own.
        assert {len(ranked) for ranked in handed[language]["results"].values()} == {len(benchmark.candidates)}
    theirs, _, _ = evaluate(mteb_tasks.MLQARCrosslingual(benchmark), OfFewDirections())
    grid = metrics.language_pairs(ranks)
    assert {pair: scores["map"] for pair, scores in theirs.items()} == pytest.approx(
        {f"{x}-{y}": grid.loc[x, y] for x in LANGUAGES for y in LANGUAGES}, abs=1e-9)


def test_ranks_of_relevant_documents():
    # By score, then the greater id: q1's order is 4 1 3 2, q2's is 2 1.
    results = {"q2": {"1": 0.5, "2": 0.5}, "q1": {"1": 0.7, "2": 0.1, "3": 0.2, "4": 0.7}}
    relevant = {"q1": {"3": 1, "1": 1, "2": 1}, "q2": {"1": 1}}
    assert mteb_tasks.relevant_ranks(results, relevant).tolist() == [[2, 3, 4], [2, 0, 0]]
    del results["q1"]["3"]
    with pytest.raises(ValueError, match=r"query q1: the model ranked 3 documents, .*not among them \(3\)"):
        mteb_tasks.relevant_ranks(results, relevant)


def test_what_is_asked_in_a_partially_parallel_pair(make_benchmark):
    task = mteb_tasks.MLQARCrosslingual(make_benchmark("mlqa-r", PARTLY))
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
        benchmarks.RELEASED[task.released])
    assert task.metadata.revision in benchmarks.LAREQA and len(task.metadata.revision) == 40


def test_a_task_takes_only_its_own_benchmark(make_benchmark):
    with pytest.raises(ValueError, match=r"MLQARCrosslingual is a task of mlqa-r, not of 'xquad-r'"):
        mteb_tasks.MLQARCrosslingual(make_benchmark("xquad-r", EVERYWHERE))


def test_without_a_benchmark_the_released_one_is_loaded(make_benchmark, monkeypatch):
    benchmark, asked = make_benchmark("mlqa-r", PARTLY), []
    monkeypatch.setattr(benchmarks, "load", lambda name: asked.append(name) or benchmark)
    task = mteb_tasks.MLQARMultilingualPool().filter_languages(["zho", "deu"])
    task.load_data()
    assert asked == ["mlqa-r"]
    assert sorted(task.dataset) == ["de", "zh"], "a subset is named by the language of its queries"
    assert {len(split["test"]["corpus"]) for split in task.dataset.values()} == {72}, "and its pool is in all"


@pytest.mark.skipif(not (SHARED / "xquad-r").is_dir(), reason="XQuAD-R is not at hand (../shared/data)")
def test_xquad_r_as_released():
    task = mteb_tasks.XQuADRMultilingualPool(benchmarks.load("xquad-r", SHARED / "xquad-r"))
    task.load_data()
    assert len(task.dataset) == 11
    for split in task.dataset.values():
        assert len(split["test"]["corpus"]) == len(set(split["test"]["corpus"]["id"])) == 13014
        assert len(split["test"]["queries"]) == 1190
        assert {len(documents) for documents in split["test"]["relevant_docs"].values()} == {11}
