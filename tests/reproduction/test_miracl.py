"""MIRACL in its published layouts: what is read, what is refused, runs and scores, one process and two."""

import gzip
import json
import os
import subprocess
import sys

import datasets
import huggingface_hub
import numpy as np
import pandas as pd
import pytest
import torch
from accelerate import PartialState

from hybridlib import encoding
from hybridlib.data import CorpusError
from reproduction import published
from reproduction.miracl import collection, search, task

# Invented. sw has one corpus file and te two, as released. Passage i of sw is docid 1#i; 2#99 is judged not relevant
# and is not in the corpus.
NUMBERS = {"sw": 23, "te": 9}
TOPICS = {"sw": [("q1", "3 4 5"), ("q2", "60 61"), ("q9", "not judged")], "te": [("7", "10 11"), ("8", "12")]}
QRELS = {"sw": [("q1", "1#2", 2), ("q1", "1#5", 1), ("q1", "1#7", 0), ("q2", "1#0", 1)],
         "te": [("7", "2#1", 1), ("7", "2#99", 0), ("8", "2#8", 1), ("8", "2#0", 3)]}


def text_of(number):
    return " ".join(str((7 * number + step) % 200) for step in range(1 + number % 5))


def passages_of(language):
    page = {"sw": 1, "te": 2}[language]
    return [{"docid": f"{page}#{i}", "title": str(100 + i), "text": text_of(i)} for i in range(NUMBERS[language])]


def write_corpus(folder, language, records):
    """The records cut evenly into the number of files that the release has."""
    target = folder / f"miracl-corpus-v1.0-{language}"
    target.mkdir(parents=True, exist_ok=True)
    for number, part in enumerate(np.array_split(np.arange(len(records)), collection.RELEASE[language][0])):
        with gzip.open(target / f"docs-{number}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(records[i], ensure_ascii=False) + "\n" for i in part)


@pytest.fixture
def data(tmp_path):
    """Two languages in the layout of the release."""
    folder = tmp_path / "data"
    for language in NUMBERS:
        name = f"miracl-v1.0-{language}"
        for kind, lines in (("topics", TOPICS[language]),
                            ("qrels", [(query, "Q0", docid, grade) for query, docid, grade in QRELS[language]])):
            (folder / name / kind).mkdir(parents=True)
            (folder / name / kind / f"{kind}.{name}-dev.tsv").write_text(
                "".join("\t".join(map(str, line)) + "\n" for line in lines), "utf-8")
        write_corpus(folder, language, passages_of(language))
    return folder


@pytest.fixture
def pool(tmp_path, monkeypatch):
    """The same in the layout of mteb's hard negatives; ``rename`` changes column names."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")

    def write(**rename):
        folder = tmp_path / "pool"
        for language in NUMBERS:
            for kind, table in (
                    ("corpus", pd.DataFrame(passages_of(language)).rename(columns={"docid": "id"})),
                    ("queries", pd.DataFrame(TOPICS[language], columns=["id", "text"])),
                    ("qrels", pd.DataFrame(QRELS[language], columns=["query-id", "corpus-id", "score"]))):
                (folder / f"{language}-{kind}").mkdir(parents=True)
                table.rename(columns=rename).to_parquet(
                    folder / f"{language}-{kind}" / "dev-00000-of-00001.parquet", index=False)
        return folder
    return write


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(search, "SHARD_PASSAGES", 4)
    monkeypatch.setattr(encoding, "in_bfloat16", lambda *_: False)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    PartialState._reset_state()


def expected_run(encoder, language, k=100):
    """All passages encoded at once, all scores sorted."""
    model, _ = encoding.load(str(encoder))
    records, queries = passages_of(language), [text for _, text in TOPICS[language] if text != "not judged"]
    c, q = (encoding.encode(model, texts, "")[0].astype(np.float16).astype(np.float64)
            for texts in ([f"{r['title']} {r['text']}" for r in records], queries))
    return [[records[i]["docid"] for i in row[:k]] for row in np.argsort(-(q @ c.T), axis=1, kind="stable")]


def ranked(run):
    """Docids per query in a run, in the order of the file."""
    lines = [line.split() for line in run.read_text("utf-8").splitlines()]
    return [[line[2] for line in lines if line[0] == query] for query in dict.fromkeys(line[0] for line in lines)]


def test_released_counts_are_the_papers_but_for_its_misprints():
    assert list(collection.RELEASE) == published.miracl_scores("nDCG@10").index[:-1].tolist()
    theirs = published.candidate_counts("MIRACL dev")
    for language, (_, queries, passages) in collection.RELEASE.items():
        assert passages == theirs.loc[language, "candidates"]
        if language not in ("ar", "es"):
            assert queries == theirs.loc[language, "queries"]
    assert collection.RELEASE["es"][1] == theirs.loc["en", "queries"]


@pytest.mark.parametrize("metric", ["nDCG@10", "R@100"])
@pytest.mark.parametrize("model", published.MODELS)
def test_papers_means_are_those_of_its_rows(metric, model):
    table = published.miracl_scores(metric, model)
    assert table.shape == (16, 3)
    assert (table.iloc[:-1].mean() - table.loc["mean"]).abs().max() < 0.0002
    if (metric, model) == ("R@100", "LaBSE"):
        assert table.loc["te"].tolist() == [0.8768, 0.8366, 0.8458]


def test_released_layout_is_read(data):
    found = collection.read_release(data, "te")
    assert found.queries == {"7": "10 11", "8": "12"}
    assert found.qrels == {"7": {"2#1": 1, "2#99": 0}, "8": {"2#8": 1, "2#0": 3}}
    passages = list(found.passages())
    assert passages[3] == ("2#3", "103 21 22 23 24")
    assert [docid for docid, _ in passages] == [f"2#{i}" for i in range(9)], "both files, in order"
    assert list(found.passages()) == passages, "it can be read again"
    assert list(collection.read_release(data, "sw").queries) == ["q1", "q2"], "a topic without judgements is not asked"


@pytest.mark.parametrize("id_column", ["id", "_id"])
def test_hard_negatives_hold_the_same_as_the_release(data, pool, id_column):
    folder = pool(id=id_column)
    for language in NUMBERS:
        ours, theirs = collection.read_hard_negatives(language, folder), collection.read_release(data, language)
        assert (ours.queries, ours.qrels) == (theirs.queries, theirs.qrels)
        assert collection.survey(ours) == collection.survey(theirs)


def test_hard_negatives_are_downloaded_at_the_pinned_revision(pool, monkeypatch):
    folder, load, asked = pool(), datasets.load_dataset, []

    def hub(name, config, split, revision):
        asked.append((name, config, revision))
        return load("parquet", data_files={split: str(folder / config / "*.parquet")}, split=split)

    monkeypatch.setattr(datasets, "load_dataset", hub)
    assert len(list(collection.read_hard_negatives("sw").passages())) == 23
    revision = "d7d94fa4b946cec4a27c84653aa0cf6b33f74a3c"
    assert asked == [("mteb/MIRACLRetrievalHardNegatives", f"sw-{x}", revision) for x in ("corpus", "queries", "qrels")]


@pytest.mark.parametrize(("column", "config"), [
    ("title", "sw-corpus"), ("corpus-id", "sw-qrels"), ("text", "sw-corpus")])
def test_a_missing_column_of_the_hard_negatives_is_named(pool, column, config):
    folder = pool(**{column: "other"})
    with pytest.raises(CorpusError, match=f"{config}.*column '{column}' is missing .the columns are .*'other'"):
        collection.read_hard_negatives("sw", folder)


def test_a_missing_pool_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"sw-corpus/dev-\*.parquet: no such files"):
        collection.read_hard_negatives("sw", tmp_path)


def test_survey_counts_and_misses(data):
    first = collection.survey(collection.read_release(data, "te"))
    assert (first["passages"], first["relevant_missing"]) == (9, 0)
    changed = passages_of("te")
    changed[4]["text"] += " 1"
    write_corpus(data, "te", changed)
    assert collection.survey(collection.read_release(data, "te"))["corpus"] != first["corpus"]
    write_corpus(data, "te", changed[:-1])
    assert collection.survey(collection.read_release(data, "te"))["relevant_missing"] == 1


def edit(path, change):
    """Rewrite the lines of a file, packed or not."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as file:
        lines = file.read().splitlines()
    with opened(path, "wt", encoding="utf-8") as file:
        file.write("\n".join(change(lines)) + "\n")


def without(field):
    def change(lines):
        record = json.loads(lines[2])
        del record[field]
        return [*lines[:2], json.dumps(record), *lines[3:]]
    return change


T, Q, C = ("miracl-v1.0-te/topics/topics.miracl-v1.0-te-dev.tsv", "miracl-v1.0-te/qrels/qrels.miracl-v1.0-te-dev.tsv",
           "miracl-corpus-v1.0-te/docs-1.jsonl.gz")


@pytest.mark.parametrize(("file", "change", "message"), [
    (C, without("docid"), r"docs-1.jsonl.gz:3: field 'docid' is missing or not text \(the fields are .'text', 'title'"),
    (C, without("title"), "docs-1.jsonl.gz:3: field 'title' is missing"),
    (C, without("text"), "docs-1.jsonl.gz:3: field 'text' is missing"),
    (C, lambda lines: [lines[0].replace("2#5", "2 5"), *lines[1:]], "docs-1.jsonl.gz:1: field 'docid': '2 5' cannot"),
    (C, lambda lines: [*lines, "{"], "docs-1.jsonl.gz:5: not JSON"),
    (C, lambda lines: lines[:-1], "te: 1 relevant passages are not in the corpus; it is not complete"),
    (T, lambda lines: [lines[0].replace("\t", " "), *lines[1:]], "dev.tsv:1: 1 columns, expected query id, query"),
    (T, lambda lines: lines[1:], "query '7' is not among the topics"),
    (Q, lambda lines: [*lines, "8 2#8 1"], "dev.tsv:5: 3 columns, expected query id, Q0, docid, grade"),
    (Q, lambda lines: [*lines, "8\tQ0\t2#8\tyes"], "dev.tsv:5: grade 'yes' is not an integer"),
    (Q, lambda lines: ["7\tQ0\t2#1\t1\textra"], "dev.tsv:1: grade '1.*extra' is not an integer")])
def test_changed_data_stop_the_command_before_any_work(data, tiny_encoder, tmp_path, small_shards, file, change,
                                                       message):
    edit(data / file, change)
    with pytest.raises(SystemExit, match=message):
        task.main(["--model", str(tiny_encoder), "--languages", "sw", "te", "--data", str(data),
                     "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_missing_and_broken_files_are_named(data):
    file = data / C
    packed = file.read_bytes()
    file.write_bytes(packed[:-20])
    with pytest.raises(CorpusError, match="docs-1.jsonl.gz:.*compressed file is broken"):
        list(collection.read_release(data, "te").passages())
    file.write_bytes(packed[:12] + bytes(len(packed) - 12))
    with pytest.raises(CorpusError, match="docs-1.jsonl.gz: the compressed file is broken"):
        list(collection.read_release(data, "te").passages())
    file.unlink()
    with pytest.raises(FileNotFoundError, match=r"docs-1.jsonl.gz: no such file; .*2 corpus files for te"):
        collection.read_release(data, "te")


@pytest.mark.parametrize(("arguments", "message"), [
    (["--languages", "en"], "invalid choice: 'en'"), (["--model", "/not/there"], "/not/there: not a Sentence")])
def test_bad_requests_stop_before_any_work(data, tiny_encoder, tmp_path, small_shards, capsys, arguments, message):
    with pytest.raises(SystemExit) as stop:
        task.main(["--model", str(tiny_encoder), "--data", str(data), "--out", str(tmp_path / "out"), *arguments])
    assert message in f"{stop.value} {capsys.readouterr().err}"
    assert not (tmp_path / "out").exists()


def test_scores_by_hand(tmp_path):
    run = tmp_path / "run.trec"
    docids = np.array([[f"1#{i}" for i in range(120)]], object)
    task.write_run(run, ["q"], docids[:, :100], np.linspace(0.9, 0.1, 120)[None, :100])
    # Grades 2 at rank 2, 1 at rank 4 and beyond the first ten, 1 never found; 0 counts for nothing.
    found = task.score_run(run, {"q": {"1#0": 0, "1#1": 2, "1#3": 1, "1#50": 1, "1#110": 1}})
    ideal = 2 / np.log2(2) + 1 / np.log2(3) + 1 / np.log2(4) + 1 / np.log2(5)
    assert found.loc["q", "nDCG@10"] == pytest.approx((2 / np.log2(3) + 1 / np.log2(5)) / ideal, abs=1e-9)
    assert round(found.loc["q", "nDCG@10"], 4) == 0.4752
    assert found.loc["q", "R@100"] == 0.75


def test_equal_scores_keep_the_order_of_the_corpus_in_trec_eval(tmp_path):
    """trec_eval orders ties by docid, the last first; and it sees scores in float32."""
    scores = np.array([[0.75, 0.75, 0.75 - 1e-12, 0.5]])
    task.write_run(tmp_path / "run", ["q"], np.array([["5#0", "7#0", "9#0", "1#0"]], object), scores)
    for position, docid in enumerate(["5#0", "7#0", "9#0", "1#0"]):
        found = task.score_run(tmp_path / "run", {"q": {docid: 1}}).loc["q", "nDCG@10"]
        assert found == pytest.approx(1 / np.log2(2 + position), abs=1e-9)
    written = [float(line.split()[4]) for line in (tmp_path / "run").read_text().splitlines()]
    np.testing.assert_allclose(written, scores[0], atol=1e-6)


def test_a_docid_that_stands_twice_is_refused(tmp_path):
    with pytest.raises(CorpusError, match="docid '1#7' stands more than once"):
        task.write_run(tmp_path / "run", ["q"], np.array([["1#1", "1#7", "1#7"]], object), np.ones((1, 3)))
    assert not list(tmp_path.iterdir())


def test_command_finds_what_an_unsharded_search_finds_and_prints_it_beside_the_papers(
        data, tiny_encoder, tmp_path, small_shards, capsys):
    out = tmp_path / "out"
    arguments = ["--model", str(tiny_encoder), "--languages", "sw", "te", "--data", str(data), "--out", str(out)]
    task.main(arguments)
    assert len(list((out / "sw").glob("embeddings-*.npy"))) == 6
    for language in NUMBERS:
        assert ranked(out / f"run.{language}.trec") == expected_run(tiny_encoder, language)
    results = pd.read_csv(out / "results.csv", index_col="language")
    for language in NUMBERS:
        qrels = collection.read_release(data, language).qrels
        assert results.loc[language, "nDCG@10"] == pytest.approx(np.mean([
            by_hand(found, qrels[query]) for query, found in
            zip(qrels, expected_run(tiny_encoder, language), strict=True)]), abs=1e-6)
        assert results.loc[language, "R@100"] == 1
    printed, errors = capsys.readouterr()
    rows = {line.split()[0]: line.split()[1:] for line in printed.splitlines() if line}
    assert rows["sw"] == ["2", "23", "1.0000", "0.6478", "0.6503", "0.6416", "0.8561", "0.8177", "0.8265"]
    assert rows["mean"][1:4] == ["0.7574", "0.7220", "0.7391"], "the paper's mean is over the same languages"
    remark = "sw: 2 queries and 23 passages; the release has 482 and 131,924"
    assert remark in printed and remark in errors

    files = {file: file.stat().st_mtime_ns for file in out.glob("*/*")}
    before = (out / "run.sw.trec").read_bytes()
    task.main(arguments)
    assert {file: file.stat().st_mtime_ns for file in out.glob("*/*")} == files, "nothing is encoded again"
    assert (out / "run.sw.trec").read_bytes() == before
    search.SHARD_PASSAGES = 5
    with pytest.raises(SystemExit, match="sw: holds embeddings that were made with another shard"):
        task.main(arguments)


def by_hand(found, grades):
    """nDCG@10 with linear gains, from its definition."""
    gains = [max(grades.get(docid, 0), 0) for docid in found[:10]]
    ideal = sorted(grades.values(), reverse=True)[:10]
    return sum(g / np.log2(i + 2) for i, g in enumerate(gains)) / sum(g / np.log2(i + 2) for i, g in enumerate(ideal))


def test_command_on_hard_negatives_says_so(pool, tiny_encoder, tmp_path, small_shards, capsys):
    task.main(["--model", str(tiny_encoder), "--languages", "te", "--data", str(pool()), "--out",
                 str(tmp_path / "out"), "--hard-negatives"])
    assert ranked(tmp_path / "out" / "run.te.trec") == expected_run(tiny_encoder, "te")
    assert "hard negatives: a pool instead of the whole corpus" in capsys.readouterr().out


SCRIPT = """
import os, sys
from pathlib import Path
from hybridlib import encoding
from reproduction.miracl import search, task
search.SHARD_PASSAGES = 4
encoding.in_bfloat16 = lambda *_: False
original = encoding.encode_all
def logged(siblings, texts, *rest, **named):
    with open(Path(sys.argv[1], f"encoded-{os.environ.get('RANK', 0)}.txt"), "a") as file:
        file.writelines(f"{text}\\n" for text in texts)
    return original(siblings, texts, *rest, **named)
encoding.encode_all = logged
task.main(sys.argv[2:])
"""


@pytest.mark.slow
def test_two_processes_write_the_run_of_one(data, tiny_encoder, tmp_path, small_shards):
    arguments = ["--model", str(tiny_encoder), "--languages", "sw", "te", "--data", str(data), "--out"]
    one, two = tmp_path / "one", tmp_path / "two"
    task.main([*arguments, str(one)])
    (tmp_path / "command.py").write_text(SCRIPT, "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2",
         tmp_path / "command.py", tmp_path, *arguments, two], capture_output=True, text=True, timeout=240,
        env=os.environ | {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1", "ACCELERATE_USE_CPU": "true"})
    assert done.returncode == 0, done.stderr
    assert json.loads((two / "manifest.json").read_text("utf-8"))["processes"] == 2
    for language in NUMBERS:
        name = f"run.{language}.trec"
        assert (two / name).read_bytes() == (one / name).read_bytes()
    assert done.stdout.count("XLM-R") == 2, "only the main process prints its two tables"
    # Both had shards, and no passage was encoded twice.
    passages = [f"{r['title']} {r['text']}" for language in NUMBERS for r in passages_of(language)]
    shares = [[text for text in (tmp_path / f"encoded-{rank}.txt").read_text("utf-8").splitlines() if text in passages]
              for rank in range(2)]
    assert min(map(len, shares)) >= 12
    assert sorted(shares[0] + shares[1]) == sorted(passages)


def test_download_asks_for_the_pinned_revisions_and_the_files_that_are_read(data, monkeypatch):
    asked = {}

    def snapshot(name, repo_type, revision, local_dir, allow_patterns):
        asked[name] = (repo_type, revision, local_dir, allow_patterns)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    assert collection.fetch_miracl(["sw", "te"], data) == data
    assert {name: entry[:3] for name, entry in asked.items()} == {
        "miracl/miracl": ("dataset", "5be20db9509754dadad47689368639fcec739c00", data),
        "miracl/miracl-corpus": ("dataset", "d921ec7e349ce0d28daf30b2da9da5ee698bef0d", data)}
    there = [str(path.relative_to(data)) for path in data.rglob("*.*z") if path.is_file()]
    there += [str(path.relative_to(data)) for path in data.rglob("*.tsv")]
    others = ["README.md", "miracl.py", "miracl-v1.0-sw/topics/topics.miracl-v1.0-sw-train.tsv",
              "miracl-v1.0-en/qrels/qrels.miracl-v1.0-en-dev.tsv", "miracl-corpus-v1.0-en/docs-0.jsonl.gz"]
    kept = {file for *_, patterns in asked.values() for file in huggingface_hub.utils.filter_repo_objects(
        there + others, allow_patterns=patterns)}
    assert kept == set(there) and len(kept) == 7

    def fails(*_, **__):
        raise huggingface_hub.errors.LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fails)
    with pytest.raises(ConnectionError, match="(?s)miracl/miracl at 5be20db.*--data"):
        collection.fetch_miracl(["sw"], data)
