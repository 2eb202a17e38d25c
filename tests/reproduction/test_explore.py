"""Searching one question: the order of the evaluation, and what the page shows of it."""

import dataclasses
import json
import re
import shutil
import xml.etree.ElementTree as ET
from dataclasses import replace

import nbformat
import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT
from matplotlib.colors import to_hex

from hybridlib import files
from hybridlib.data import TestSet
from hybridlib.evaluation import per_query, rank_test_set
from reproduction.findings import explore
from reproduction.findings.figures import LANGUAGE_COLOURS
from reproduction.run import HYBRID, SYSTEMS, UNTRAINED, XX, XY, Store
from reproduction.sources import articles
from reproduction.sources.articles import LANGUAGES

NOTEBOOK = ROOT / "notebooks" / "00_explore.ipynb"


def toy(languages=LANGUAGES):
    """Five articles of four sentences and two questions, in words that the tiny encoder knows."""
    def article(number):
        words = range(4 * number, 4 * number + 4)
        return {"id": f"article-{number}", "topic": "toy", "title": {x: f"title {number} {x}" for x in languages},
                "sentences": {x: [f"{word} < {word + 100} & {x}" for word in words] for x in languages},
                "questions": [{"id": f"article-{number}-{i}", "answer": i, "text": {x: f"{words[i]} {x}"
                                                                                    for x in languages}}
                              for i in (1, 2)]}
    return [article(number) for number in range(5)]


def toy_store(folder, encoder):
    """Runs over the toy articles whose four systems are the tiny encoder, with more and more noise added."""
    import torch
    from sentence_transformers import SentenceTransformer

    test = folder / "test.jsonl"
    test.write_text("".join(json.dumps(article) + "\n" for article in toy()), "utf-8")
    config = yaml.safe_load((ROOT / "configs" / "mini.yaml").read_text("utf-8"))
    config |= {"encoder": str(encoder), "trainable_layers": None, "precision": "fp32"}
    config["data"]["benchmarks"] = [
        {"format": "articles", "name": "toy", "file": str(test), "sha256": files.sha256(test)}]
    (folder / "toy.yaml").write_text(yaml.safe_dump(config), "utf-8")
    store = Store.open(str(folder / "toy"))
    torch.manual_seed(0)
    for system in SYSTEMS[1:]:
        model = SentenceTransformer(str(encoder), device="cpu")
        with torch.no_grad():
            for weights in model.parameters():
                weights += 0.3 * weights.std() * torch.randn_like(weights)
        run = store.run_folder(system, 0)
        model.save(str(run / "model"), create_model_card=False)
        files.write_json(run / "settings.json", store.preset.choices(system, 0))
    return store


@pytest.fixture(scope="module")
def store(tmp_path_factory, tiny_encoder):
    return toy_store(tmp_path_factory.mktemp("toy"), tiny_encoder)


@pytest.fixture
def explorer(store):
    return explore.Explorer.of_store(store)


def rows(page):
    """The rows of a comparison: per row, the text of each cell."""
    return [["".join(cell.itertext()) for cell in row] for row in ET.fromstring(page).find("table/tbody")]


def heads(page):
    """The systems of a comparison, as its columns are headed."""
    return [system.text for system in ET.fromstring(page).findall("table/thead/tr/th/b[1]")]


def shown(table, top=explore.TOP):
    """What the page should say of a ranked list: code (with its star) and text of the first ones."""
    return [(language + " ★" * relevant, text)
            for language, text, relevant in table[["language", "text", "relevant"]].head(top).itertuples(index=False)]


# --- search ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("levels", [2, 10**6], ids=["many ties", "no ties"])
def test_search_ranks_as_the_evaluation_does(unit_vectors, levels):
    rng = np.random.default_rng(levels)
    benchmark = articles.test_set(toy(("ar", "en", "zh")), "toy", ("ar", "en", "zh"))
    queries, candidates = (np.rint(unit_vectors(rng, n, 8) * levels).astype(np.float32) / np.float32(levels) / 4
                           for n in (len(benchmark.queries), len(benchmark.candidates)))
    table = rank_test_set(benchmark, queries, candidates)
    if levels == 2:
        assert len(np.unique(candidates @ queries[0])) < len(candidates) / 2, "there should be ties"
    for row, (_, expected) in enumerate(table.groupby(["query_language", "question"], sort=False)):
        assert (expected[["question", "query_language"]].to_numpy()
                == benchmark.queries.loc[row, ["question", "language"]].to_numpy()).all()
        found = explore.search(queries[row], candidates, benchmark, row)
        answers = found[found["relevant"]].set_index("language")["rank"]
        assert answers[expected["language"]].tolist() == expected["rank_in_pool"].tolist()
        top = found.head(10)["language"].value_counts().reindex(benchmark.languages, fill_value=0)
        assert top.tolist() == expected["top10"].tolist()


def test_search_orders_by_score_then_by_place():
    benchmark = articles.test_set(toy(("en",))[:1], "toy", ("en",))
    candidates = np.array([[0.6, 0.8], [1, 0], [0.6, -0.8], [-1, 0]], np.float32)
    found = explore.search(np.array([1, 0], np.float32), candidates, benchmark)
    assert found.index.tolist() == [1, 0, 2, 3] and found["rank"].tolist() == [1, 2, 3, 4]
    assert found["score"].round(6).tolist() == [1, 0.6, 0.6, -1]
    assert found["text"].iloc[0] == "1 < 101 & en" and not found["relevant"].any()


def test_languages_without_an_answer_mark_nothing(unit_vectors):
    benchmark = articles.test_set(toy(("ar", "en")), "toy", ("ar", "en"))
    english = benchmark.candidates["language"].eq("en").to_numpy()[benchmark.relevant["candidate"]]
    benchmark = dataclasses.replace(benchmark, relevant=benchmark.relevant[english])
    candidates = unit_vectors(np.random.default_rng(0), 40)
    found = explore.search(candidates[39], candidates, benchmark, 0)
    assert found.index[found["relevant"]].tolist() == [21]


# --- comparison -----------------------------------------------------------------------------------------------

def ranked(languages, texts, answers):
    return pd.DataFrame({"rank": range(1, len(texts) + 1), "language": languages, "text": texts,
                         "relevant": [i in answers for i in range(len(texts))]})


LISTS = {XX: ranked(["en", "en", "ar", "de"], ["a < b & c", "two", "ثلاثة", "vier"], (0, 3)),
         HYBRID: ranked(["en", "de", "ar", "en"], ["a < b & c", "vier", "ثلاثة", "two"], (0, 1))}


def test_the_page_holds_both_lists_and_marks_the_answers():
    page = explore.comparison(LISTS, "which <b>?", "en", top=3)
    assert rows(page) == [["1", "en ★", "a < b & c", "en ★", "a < b & c"], ["2", "en", "two", "de ★", "vier"],
                          ["3", "ar", "ثلاثة", "ar", "ثلاثة"]]
    texts = ["".join(cell.itertext()) for cell in ET.fromstring(page).findall("table/thead/tr/th")]
    assert texts == [
        "rank",
        "X-Xrank distance 3: 2 answers at ranks 1 (en) to 4 (de), 1 of them herefirst 3: en 2, ar 1",
        "Hybridrank distance 1: 2 answers at ranks 1 (en) to 2 (de), 2 of them herefirst 3: en 1, de 1, ar 1"]
    assert "en: which <b>?★ marks the parallel answers" in "".join(ET.fromstring(page).find("p").itertext())


def test_rows_have_their_languages_colour_and_direction():
    cells = ET.fromstring(explore.comparison(LISTS, "q", "ar")).findall("table/tbody/tr/td[@lang]/..")
    for row in cells:
        for code, text in ((row[1], row[2]), (row[3], row[4])):
            language = code.text[:2]
            assert to_hex(LANGUAGE_COLOURS[language]) in code.get("style")
            assert text.get("lang") == language and text.get("dir") == ("rtl" if language == "ar" else "ltr")
            assert f"text-align: {'right' if language == 'ar' else 'left'};" in text.get("style")
            backgrounds = [re.search("background-color: (#[0-9a-f]{6})", cell.get("style"))[1] for cell in (code, text)]
            assert all(contrast(colour, "#111111") > 4.5 for colour in backgrounds), "WCAG 2.1, level AA"
    assert len(cells) == 4
    assert ET.fromstring(explore.comparison(LISTS, "q", "ar")).find("p/b").get("dir") == "rtl"


def contrast(first, second):
    """Contrast ratio of two colours, WCAG 2.1."""
    def luminance(colour):
        channels = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    light, dark = sorted(map(luminance, (first, second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_a_typed_question_has_no_answers_and_no_rank_distance():
    lists = {name: table.assign(relevant=False) for name, table in LISTS.items()}
    page = explore.comparison(lists, "ما <script>?")
    assert "★" not in page and "<script>" not in page
    text = "".join(ET.fromstring(page).itertext())
    assert "typed: ما <script>?A typed question: no answer to it is known" in text
    assert text.count("no rank distancefirst 20") == 2 and ET.fromstring(page).find("p/b").get("dir") == "auto"


# --- the widgets ----------------------------------------------------------------------------------------------

def test_explorer_shows_what_search_finds(explorer, store):
    explorer.language.value = "de"
    row = explorer.row("article-3-2", "de")
    explorer.question.value = row
    explorer.left.value, explorer.right.value = XY, UNTRAINED
    expected = []
    for system in (XY, UNTRAINED):
        queries, candidates = store.embeddings(system, 0)
        found = explore.search(queries[row], candidates, store.preset.test_set, row)
        expected.append(shown(found))
        ranks = store.ranks(system, 0).query("question == 'article-3-2' and query_language == 'de'")
        distance = per_query(ranks)["rank distance"].item()
        assert f"rank distance <b>{distance}</b>" in explorer.shown.value
    page = [((left, text), (right, other)) for _, left, text, right, other in rows(explorer.shown.value)]
    assert page == list(zip(*expected, strict=True))
    assert expected[0] != expected[1]
    explorer.left.value = HYBRID
    assert heads(explorer.shown.value) == ["Hybrid", "untrained"]
    explorer.right.value = XX
    assert heads(explorer.shown.value) == ["Hybrid", "X-X"]


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_switch_takes_the_language_out_on_its_side(explorer, store, side):
    row = explorer.row("article-3-2", "de")
    explorer.language.value, explorer.question.value = "de", row
    plain = {"left": XX, "right": HYBRID}
    getattr(explorer, f"{side}_remedy").value = True
    systems = {name: replace(system, remedy="erasure-corpus") if name == side else system
               for name, system in plain.items()}
    assert heads(explorer.shown.value) == [str(system) for system in systems.values()]
    for system in systems.values():
        ranks = store.ranks(system, 0).query("question == 'article-3-2' and query_language == 'de'")
        assert f"rank distance <b>{per_query(ranks)['rank distance'].item()}</b>" in explorer.shown.value
        found = explorer.lists(row, [system])[system]
        answers = found[found["relevant"]].set_index("language")["rank"]
        assert answers[ranks["language"]].tolist() == ranks["rank_in_pool"].tolist()
    before, after = (explorer.lists(row, [each[side]])[each[side]] for each in (plain, systems))
    assert not before.equals(after)
    getattr(explorer, f"{side}_remedy").value = False
    assert heads(explorer.shown.value) == ["X-X", "Hybrid"]


def test_a_typed_question_takes_the_same_map(explorer):
    system = replace(XX, remedy="erasure-corpus")
    asked, typed = explorer.lists(explorer.row("article-1-1", "en"), [system]), explorer.lists("5 en", [system])
    assert asked[system].set_index("rank")["score"].to_numpy() == pytest.approx(
        typed[system].set_index("rank")["score"].to_numpy(), abs=1e-5)
    with pytest.raises(ValueError, match="the remedy that can be explored is erasure-corpus"):
        explorer.lists("5 en", [replace(XX, remedy="quota")])


def test_own_models_and_an_own_test_set(store, tiny_encoder):
    """Languages that the project's corpus does not have, not parallel, and two answers in one language."""
    own = TestSet.from_records(
        "own", [{"id": "q", "language": "sw", "text": "3 sw"}],
        [{"id": f"{language}{n}", "language": language, "text": f"{n} {language}"}
         for language in ("pt-BR", "sw") for n in range(12)], [("q", "sw3"), ("q", "sw4")])
    models = [str(tiny_encoder), str(store.run_folder(XX, 0) / "model")]
    explorer = explore.Explorer.of_models(models, own, top=5)
    assert heads(explorer.shown.value) == models
    assert repr(explorer) == "Explorer of test set 'own': run this cell to search"
    assert len(rows(explorer.shown.value)) == 5 and {row[1][:2] for row in rows(explorer.shown.value)} <= {"pt", "sw"}
    assert "2 answers at ranks" in explorer.shown.value
    explorer.typed.value = "7 pt-BR"
    explorer.left_remedy.value = True
    assert heads(explorer.shown.value) == [f"{models[0]} + erasure-corpus", models[1]]
    with pytest.raises(ValueError, match="no model is named"):
        explore.Explorer.of_models([], own)


def test_a_typed_question_is_encoded_as_the_benchmarks_are(explorer):
    row = explorer.row("article-1-1", "en")
    asked = explorer.lists(row, SYSTEMS)
    typed = explorer.lists("5 en", SYSTEMS)
    for system in SYSTEMS:
        assert asked[system].set_index("rank")["score"].to_numpy() == pytest.approx(
            typed[system].set_index("rank")["score"].to_numpy(), abs=1e-5)
        assert asked[system]["relevant"].sum() == 11 and not typed[system]["relevant"].any()
    encoders = dict(explorer._encoders)
    explorer.lists("6 en", SYSTEMS)
    assert explorer._encoders == encoders and len(encoders) == 4, "each is loaded once"


def test_typing_and_picking_take_turns(explorer):
    first = explorer.shown.value
    assert not explorer._encoders, "a question of the benchmark needs no model"
    explorer.typed.value = "  17 "
    assert "typed: " in explorer.shown.value and set(explorer._encoders) == {XX, HYBRID}
    explorer.typed.value = ""
    assert explorer.shown.value == first
    explorer.typed.value = "17"
    explorer.question.value = explorer.row("article-2-1", "en")
    assert explorer.typed.value == "" and "<p>en: " in explorer.shown.value


@pytest.mark.parametrize("question", ["article-0-1", "article-4-2"], ids=["the first", "another"])
def test_another_language_keeps_the_question(explorer, question):
    explorer.question.value = explorer.row(question, "en")
    explorer.language.value = "ar"
    assert explorer.question.value == explorer.row(question, "ar")
    text = explorer.test_set.queries.loc[explorer.question.value, "text"]
    assert f'<p>ar: <b lang="ar" dir="rtl">{text}</b>' in explorer.shown.value
    assert len(explorer.question.options) == 10


def test_unknown_questions_and_missing_runs_are_named(explorer, store, tmp_path):
    with pytest.raises(KeyError, match="no question 'article-9-1' in 'en'"):
        explorer.row("article-9-1", "en")
    shutil.copy(store.folder.parent / "toy.yaml", tmp_path / "toy.yaml")
    with pytest.raises(FileNotFoundError, match="train it first"):
        explore.Explorer.of_store(Store.open(str(tmp_path / "toy")))


# --- the committed notebook -----------------------------------------------------------------------------------

def test_the_notebook_shows_a_comparison_where_no_kernel_runs():
    notebook = nbformat.read(NOTEBOOK, 4)
    assert "widgets" not in notebook.metadata, "strip the widgets' state: it would be carried in every version"
    outputs = [output.data for cell in notebook.cells if cell.cell_type == "code"
               for output in cell.outputs if "data" in output]
    assert not any("application/vnd.jupyter.widget-view+json" in data for data in outputs), \
        "strip the widgets' view: without its kernel it is an error message"
    pages = [data["text/html"] for data in outputs if "parallel answers" in data.get("text/html", "")]
    assert [heads(page) for page in pages] == [["X-X", "Hybrid"], ["X-X", "X-X + erasure-corpus"]]
    benchmark = Store.open("mini").preset.test_set
    texts = set(zip(benchmark.candidates["language"], benchmark.candidates["text"], strict=True))
    for page in pages:
        assert len(rows(page)) == explore.TOP
        assert {(row[i][:2], row[i + 1]) for row in rows(page) for i in (1, 3)} <= texts
    assert NOTEBOOK.stat().st_size < 70_000
