"""The report of any encoder: what chance looks like, and that the page holds what the numbers say."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from hybridlib import __main__, benchmarks, metrics, ranking, report
from hybridlib.benchmarks import Benchmark


def random_benchmark(languages, questions, candidates):
    """Questions in all languages, candidates in numbers that differ by language."""
    rng = np.random.default_rng(0)
    sizes = [candidates + 20 * n for n in range(len(languages))]
    starts = np.cumsum([0, *sizes[:-1]])
    queries = pd.DataFrame([(f"q{n}", f"a{n % 10}", x, f"{n} {x}") for x in languages for n in range(questions)],
                           columns=["question", "article", "language", "text"])
    pool = pd.DataFrame([("a0", x, str(n)) for x, size in zip(languages, sizes, strict=True) for n in range(size)],
                        columns=["article", "language", "text"])
    own = np.stack([start + rng.integers(size, size=questions) for start, size in zip(starts, sizes, strict=True)], 1)
    return Benchmark("random", tuple(languages), queries, pool, np.tile(own, (len(languages), 1)))


@pytest.fixture(scope="module")
def by_chance():
    """The report of random embeddings."""
    benchmark = random_benchmark(("ar", "de", "en", "zh"), 400, 60)
    rng = np.random.default_rng(1)
    ranks = ranking.rank_benchmark(benchmark, *(
        (v / np.linalg.norm(v, axis=1, keepdims=True)).astype(np.float32)
        for v in (rng.standard_normal((len(texts), 24)) for texts in (benchmark.queries, benchmark.candidates))))
    return benchmark, ranks, report.of_ranks(ranks, benchmark, "noise")


def test_random_embeddings_give_the_expected_numbers(by_chance):
    _, _, found = by_chance
    for measure, row in found.headline.iterrows():
        assert row["value"] == pytest.approx(row["chance"], rel=0.06), measure


def test_chance_is_what_simulation_gives():
    rng = np.random.default_rng(0)
    orders = np.argsort(rng.random((200_000, 30)), axis=1)[:, :4] + 1
    assert metrics.expected_average_precision(4, 30) == pytest.approx(
        metrics.average_precision(orders).mean(), rel=0.01)
    assert metrics.expected_rank_distance(4, 30) == pytest.approx(metrics.rank_distance(orders).mean(), rel=0.01)


def test_random_top_10_go_to_languages_as_their_share_of_the_pool(by_chance):
    benchmark, _, found = by_chance
    assert found.top10.loc["pool"].tolist() == pytest.approx([60 / 360, 80 / 360, 100 / 360, 120 / 360])
    assert len(benchmark.candidates) == 360
    assert np.abs(found.top10.drop(index="pool") - found.top10.loc["pool"]).max(axis=None) < 0.03
    assert found.own_language_factor() == pytest.approx(1, abs=0.1)


def test_an_encoder_that_sorts_by_language_first_shows_it():
    benchmark = random_benchmark(("de", "en"), 50, 60)
    axis = {"de": 0, "en": 1}
    vectors = [np.eye(2, dtype=np.float32)[texts["language"].map(axis)] for texts in (benchmark.queries,
                                                                                        benchmark.candidates)]
    found = report.of_ranks(ranking.rank_benchmark(benchmark, *vectors), benchmark, "by language")
    assert found.top10.loc["de"].tolist() == [1, 0] and found.top10.loc["en"].tolist() == [0, 1]
    assert found.own_language_factor() == pytest.approx((140 / 60 + 140 / 80) / 2)


def test_pairs_and_headline_agree(by_chance):
    _, ranks, found = by_chance
    assert np.diag(found.pairs).mean() == pytest.approx(found.headline.loc["monolingual AP", "value"])
    off = found.pairs.mask(np.eye(4, dtype=bool)).mean(axis=None)
    assert off == pytest.approx(found.headline.loc["crosslingual AP", "value"])
    one = ranks[(ranks["query_language"] == "ar") & (ranks["language"] == "zh")]
    assert found.pairs.loc["ar", "zh"] == pytest.approx((1 / one["rank_in_language"]).mean())


def test_the_page_stands_alone_and_the_files_agree(by_chance, tmp_path):
    _, _, found = by_chance
    page = found.write(tmp_path).read_text("utf-8")
    assert page.count("data:image/png;base64,") == 3
    assert not re.search(r"(src|href)=\"(?!data:)", page), "nothing is loaded from elsewhere"
    saved = json.loads((tmp_path / "report.json").read_text("utf-8"))
    value = found.headline.loc["rank distance", "value"]
    assert saved["headline"]["rank distance"]["value"] == pytest.approx(value)
    assert pd.read_csv(tmp_path / "queries.csv").groupby("query_language")["rank distance"].mean().mean() == (
        pytest.approx(value))
    assert f"{value:.4f}" in page


@pytest.fixture
def small_benchmark(monkeypatch):
    """The command's ``mini`` with 8 of its articles."""
    articles = benchmarks.read_articles(ROOT / "data" / "mini" / "test.jsonl")[:8]
    monkeypatch.setattr(benchmarks, "read_articles", lambda path: articles)


def test_the_command_evaluates_any_encoder(small_benchmark, tiny_encoder, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["evaluate", "--model", str(tiny_encoder), "--benchmark", "mini", "--precision", "fp32"]
    assert __main__.main([*command, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    saved = json.loads((out / "report.json").read_text("utf-8"))
    assert saved["query prompt"] == "''" and saved["queries"] == 24 * 11
    assert f"{saved['headline']['multilingual AP']['value']:.3f}" in printed
    ranks = pd.read_parquet(out / "ranks.mini.parquet")
    assert saved["headline"]["multilingual AP"]["value"] == pytest.approx(
        metrics.macro(metrics.per_query(ranks))["multilingual AP"])
    prompted = tmp_path / "prompted"
    assert __main__.main([*command, "--out", str(prompted), "--query-prompt", "1 ", "--passage-prompt", "2 "]) == 0
    assert json.loads((prompted / "report.json").read_text("utf-8"))["passage prompt"] == "'2 '"


@pytest.mark.parametrize(("model", "data", "message"), [
    ("./nowhere", None, "not a SentenceTransformer folder"), (None, "nowhere", "ar.json")])
def test_the_command_says_what_is_wrong(tiny_encoder, tmp_path, capsys, model, data, message):
    command = ["evaluate", "--model", model or str(tiny_encoder), "--benchmark", "xquad-r" if data else "mini",
               "--out", str(tmp_path / "out")]
    assert __main__.main(command + (["--data", data] if data else [])) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
