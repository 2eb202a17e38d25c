"""The training sets in their published layouts, with texts of our own: what is read, what is refused, what is made."""

import gzip
import json
import warnings

import datasets
import pandas as pd
import pytest
import yaml
from conftest import ROOT

from hybridlib.data import CorpusError, read_groups
from reproduction import published
from reproduction.run import HYBRID, Preset
from reproduction.sources import training_sets
from reproduction.workspace import Workspace

LONG = " ".join(f"word{i}" for i in range(300))
# Per set: the file, and rows as published (fields that are not read are there too, where a row has some).
ROWS = {
    "wikiqa": ("data/train-00000-of-00001.parquet", [
        {"question_id": "Q1", "question": "who  mends\nnets", "document_title": "Nets", "answer": "Weavers mend nets.",
         "label": 1},
        {"question_id": "Q1", "question": "who mends nets", "document_title": "Nets", "answer": "Nets are wet.",
         "label": 0}]),
    "mr-tydi": ("mrtydi-v1.1-english/train.jsonl.gz", [
        {"query_id": "1", "query": "How deep is the pond?", "positive_passages": [
            {"docid": "7#0", "title": "Pond", "text": "It is two metres deep."}],
         "negative_passages": [{"docid": "8#1", "title": "Hill", "text": "It is high."}]}]),
    "duorc": ("SelfRC/train-00000-of-00001.parquet", [
        {"plot_id": "a", "plot": LONG, "title": "t", "question_id": "1", "question": "Which word?",
         "answers": ["not there", "word150"], "no_answer": False},
        {"plot_id": "a", "plot": LONG, "title": "t", "question_id": "2", "question": "And who?",
         "answers": ["nobody"], "no_answer": False},
        {"plot_id": "a", "plot": LONG, "title": "t", "question_id": "3", "question": "word1?",
         "answers": ["word1"], "no_answer": True}]),
    "newsqa": ("combined-newsqa-data-v1.json", {"version": "1", "data": [
        {"storyId": "./s/1", "type": "train", "text": "Harbour town.\n\nThe crane fell at noon. Nobody was hurt.",
         "questions": [
             {"q": "When did the crane fall?", "consensus": {"s": 30, "e": 37}, "isAnswerAbsent": 0.0},
             {"q": "Who pushed it?", "consensus": {"noAnswer": True}, "isAnswerAbsent": 1.0},
             {"q": "What what?", "consensus": {"badQuestion": True}, "isAnswerAbsent": 0.0}]},
        {"storyId": "./s/2", "type": "dev", "text": "A short one.",
         "questions": [{"q": "How long?", "consensus": {"s": 2, "e": 7}, "isAnswerAbsent": 0.0}]}]}),
    "natural-questions": ("pair/train-00000-of-00001.parquet", [
        {"query": "when was the mill built", "answer": "The mill was built in 1801."}]),
    "yahoo": ("title-answer-pair/train-00000-of-00002.parquet", [
        {"title": "Why do cats purr?", "answer": "They are content."}, {"title": "Why not?", "answer": "  "}]),
    "entityquestions": ("P19.train.json", [
        {"question": "Where was Ada Moor born?", "answers": ["Leeds"], "ctxs": [
            {"id": "1", "title": "Moor", "text": "A moor is wet.", "score": 9.5, "has_answer": False},
            {"id": "2", "title": "Ada Moor", "text": "She was born in Leeds.", "score": 9.1, "has_answer": True},
            {"id": "3", "title": "Leeds", "text": "Leeds is a city.", "score": 8.0, "has_answer": True}]},
        {"question": "Where was Bo Fell born?", "answers": ["York"], "ctxs": [
            {"id": "1", "title": "Moor", "text": "A moor is wet.", "score": 3.0, "has_answer": False}]}]),
    "mfaq": ("data/en/train.jsonl", [
        {"id": 5, "language": "en", "domain": "shop.example", "num_pairs": 2, "qa_pairs": [
            {"question": "Do you ship?", "answer": "Yes, on Mondays.", "language": "en"},
            {"question": "And on Sundays?", "answer": "No.", "language": "en"}]}]),
    "squadshifts": ("new_wiki/qa_squadshifts-test.parquet", [
        {"id": place, "title": "Kiln", "context": f"A kiln is hot in {place}.", "question": f"What is hot in {place}?",
         "answers": {"text": ["A kiln"], "answer_start": [0]}} for place in ("Ayr", "Ely", "Rye", "Wem")])}
PAIRS = {
    "wikiqa": {("who mends nets", "Weavers mend nets.")},
    "mr-tydi": {("How deep is the pond?", "Pond It is two metres deep.")},
    "duorc": {("Which word?", " ".join(f"word{i}" for i in range(100, 200)))},
    "newsqa": {("When did the crane fall?", "Harbour town. The crane fell at noon. Nobody was hurt.")},
    "natural-questions": {("when was the mill built", "The mill was built in 1801.")},
    "yahoo": {("Why do cats purr?", "They are content.")},
    "entityquestions": {("Where was Ada Moor born?", "Ada Moor She was born in Leeds.")},
    "mfaq": {("Do you ship?", "Yes, on Mondays."), ("And on Sundays?", "No.")},
    "squadshifts": {(f"What is hot in {x}?", f"A kiln is hot in {x}.") for x in ("Ayr", "Ely", "Rye", "Wem")}}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def publish(tmp_path):
    """Write rows as a set publishes them; returns the folder."""
    def write(name, rows=None):
        file, published = ROWS[name]
        rows, folder = published if rows is None else rows, tmp_path / "published" / name
        patterns = training_sets.SETS[name].files
        for number, pattern in enumerate(patterns):
            path = folder / (file if len(patterns) == 1 else pattern.replace("*", "qa_squadshifts-test"))
            path.parent.mkdir(parents=True, exist_ok=True)
            part = rows if len(patterns) == 1 else rows[number:number + 1]
            if path.suffix == ".parquet":
                pd.DataFrame(part).to_parquet(path, index=False)
            elif path.suffix == ".json":
                path.write_text(json.dumps(part), "utf-8")
            else:
                text = "".join(json.dumps(row) + "\n" for row in part)
                path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
        return folder
    return write


def changed(value, path, change):
    """A copy of nested rows with the last field of ``path`` changed wherever it stands."""
    if isinstance(value, list):
        return [changed(one, path, change) for one in value]
    first, _, rest = path.partition(".")
    if rest:
        return value | {first: changed(value[first], rest, change)}
    rest = {name: kept for name, kept in value.items() if name != first}
    return rest if change == "gone" else rest | ({first: {"nested": value[first]}} if first in value else {})


@pytest.mark.parametrize("name", training_sets.SETS)
def test_each_set_is_read_as_published(name, publish, tmp_path):
    facts = training_sets.make_training_set(name, tmp_path / "out", publish(name))
    groups = read_groups(tmp_path / "out" / f"{name}.jsonl.gz")
    assert groups.name == name and groups.languages == ("en",)
    assert {tuple(groups.pair(i, "en", "en").values()) for i in range(len(groups))} == PAIRS[name]
    assert facts["groups"] == len(groups) == len(PAIRS[name])
    assert json.loads((tmp_path / "out" / f"{name}.json").read_text()) == facts
    assert not list((tmp_path / "out").glob(".*")), "nothing half-written stays"


@pytest.mark.parametrize("change", ["gone", "nested"])
@pytest.mark.parametrize(("name", "path"), [(name, path) for name, chosen in training_sets.SETS.items()
                                            for path in chosen.fields])
def test_a_changed_layout_is_refused_by_naming_set_and_field(name, path, change, publish, tmp_path):
    rows = ROWS[name][1]
    if name == "newsqa":
        rows = rows | {"data": changed(rows["data"], path, change)}
    else:
        rows = changed(rows, path, change)
    with pytest.raises(CorpusError) as error:
        training_sets.make_training_set(name, tmp_path / "out", publish(name, rows))
    assert any(f"{training_sets.SETS[name].title}: field {path!r}" in problem for problem in error.value.problems)
    assert not list((tmp_path / "out").glob("*")), "nothing is made of it"


def test_the_sets_are_those_of_the_paper_at_whole_commits():
    own = {chosen.title for chosen in training_sets.SETS.values()}
    assert own ^ set(published.training_data()) == {"SQuADShifts", "mMARCO"}
    revisions = {name: chosen.revision for name, chosen in training_sets.SETS.items()}
    assert {name for name, revision in revisions.items() if revision is None} == {"newsqa", "entityquestions"}
    assert all(len(bytes.fromhex(revision)) == 20 for revision in revisions.values() if revision)


def test_mmarco_is_nine_tenths_of_the_papers_pairs():
    table = pd.read_csv(published.FOLDER / "training_data.csv")
    pairs = table["pairs_per_language"] * table["languages"].str.split().str.len()
    assert 0.95 < (pairs / pairs.sum())[table["dataset"] == "mMARCO"].item() < 0.98
    per_language = table["pairs_per_language"] / table["pairs_per_language"].sum()
    assert round(per_language[table["dataset"] == "mMARCO"].item(), 2) == 0.91


def test_no_more_pairs_than_the_paper_and_the_same_ones_each_time(publish, monkeypatch):
    monkeypatch.setattr(published, "training_data", lambda: {"Google NQ": 3})
    rows = [{"query": f"query {i}", "answer": f"answer {i}"} for i in range(20)]
    dataset = training_sets.load_published_set("natural-questions", publish("natural-questions", rows))
    found = list(training_sets.pairs_of("natural-questions", dataset))
    assert len(found) == 3 and found == list(training_sets.pairs_of("natural-questions", dataset))
    assert {question for question, _ in found} != {"query 0", "query 1", "query 2"}, "drawn, not the first"
    assert all(answer == question.replace("query", "answer") for question, answer in found)


@pytest.mark.parametrize("name", ["newsqa", "entityquestions"])
def test_what_no_program_can_download_says_how_to_get_it(name, tmp_path):
    with pytest.raises(ValueError, match="cannot be downloaded by a program: .*--data"):
        training_sets.make_training_set(name, tmp_path)
    with pytest.raises(FileNotFoundError, match="no such file.*must be laid out as"):
        training_sets.make_training_set(name, tmp_path, tmp_path)


def test_a_set_without_a_pair_leaves_nothing(publish, tmp_path):
    rows = [row | {"label": 0} for row in ROWS["wikiqa"][1]]
    with pytest.raises(CorpusError, match="WikiQA: none of its 2 rows gives a pair"):
        training_sets.make_training_set("wikiqa", tmp_path / "out", publish("wikiqa", rows))
    assert not list((tmp_path / "out").iterdir())


def test_the_table_says_what_is_there_and_what_to_do(publish, tmp_path):
    training_sets.make_training_set("mfaq", tmp_path, publish("mfaq"))
    table = training_sets.overview(tmp_path)
    assert list(table.index) == [*training_sets.SETS, "mmarco"]
    assert table.loc["mfaq", ["paper", "ours", "languages", "state"]].tolist() == [3567659, 2, "en", "present"]
    assert table.loc["mmarco", "state"] == "missing: python -m reproduction.sources.training_sets mmarco --out FOLDER"
    assert "get the CNN stories" in table.loc["newsqa", "state"] and "--data FILES" in table.loc["newsqa", "state"]
    assert table["ours"].notna().sum() == 1


@pytest.fixture
def paper_preset(tmp_path, publish):
    """The paper preset over a folder with two of its sets; ``partial`` as in its file."""
    for name in ("mfaq", "wikiqa", "squadshifts"):
        training_sets.make_training_set(name, tmp_path / "data", publish(name))

    def make(partial):
        preset = Preset("paper", Workspace(data=tmp_path / "data", runs=tmp_path / "runs"))
        preset.entries["partial"] = partial
        return preset
    return make


def test_the_paper_preset_names_all_that_is_missing_at_once(paper_preset):
    with pytest.raises(FileNotFoundError) as error:
        paper_preset(False).training_sets  # noqa: B018
    missing = ["mr-tydi", "duorc", "newsqa", "natural-questions", "yahoo", "entityquestions", "mmarco"]
    assert [line.split()[3] for line in str(error.value).splitlines() if "python -m" in line] == missing


def test_told_so_it_trains_on_what_is_there_and_says_what_is_not(paper_preset, tmp_path):
    with pytest.warns(UserWarning, match="without mr-tydi, duorc, newsqa, natural-questions, yahoo, entityquestions, "
                                         "mmarco"):
        found = paper_preset(True).training_sets
    assert [(c.name, len(c)) for c in found] == [("wikiqa", 1), ("mfaq", 2)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        settings = paper_preset(True).choices(HYBRID, 0)
        shas = {name: json.loads((tmp_path / "data" / f"{name}.json").read_text())["sha256"]
                for name in ("wikiqa", "mfaq", "squadshifts")}
        assert settings["data"] == [["wikiqa.jsonl.gz", shas["wikiqa"]], ["mfaq.jsonl.gz", shas["mfaq"]]]
        assert settings["selection"]["sha256"] == shas["squadshifts"]
        assert paper_preset(True).selection[0] == {
            "query": "What is hot in Ayr?", "passage": "A kiln is hot in Ayr."}
        with open(tmp_path / "data" / "wikiqa.jsonl.gz", "ab") as file:
            file.write(b"more")
        with pytest.raises(CorpusError, match="wikiqa.jsonl.gz: sha256 is"):
            paper_preset(True).training_sets  # noqa: B018
        (tmp_path / "data" / "squadshifts.json").unlink()
        with pytest.raises(FileNotFoundError, match="squadshifts --out"):
            paper_preset(True).choices(HYBRID, 0)


def test_labse_is_the_paper_preset_with_another_encoder():
    first, second = (yaml.safe_load((ROOT / "configs" / f"{name}.yaml").read_text())
                     for name in ("paper", "paper-labse"))
    assert first.pop("encoder").partition("@")[0] == "FacebookAI/xlm-roberta-base"
    assert second.pop("encoder").partition("@")[0] == "sentence-transformers/LaBSE"
    assert first == second


@pytest.mark.parametrize(("arguments", "message"), [
    (["squad", "--out", "x"], "no set squad; there are wikiqa"), (["wikiqa"], "with --out"),
    (["wikiqa", "mfaq", "--out", "x", "--data", "y"], "name that one")])
def test_bad_requests_stop_before_any_work(arguments, message, capsys):
    with pytest.raises(SystemExit):
        training_sets.main(arguments)
    assert message in capsys.readouterr().err
