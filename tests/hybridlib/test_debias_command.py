"""The command fits on one part of a corpus, looks at another, and leaves a model and a map that agree."""

import re

import numpy as np
import pytest
from conftest import ROOT
from sentence_transformers import SentenceTransformer

from hybridlib import cli
from hybridlib.commands.debias import _parts
from hybridlib.data import TestSet, read_corpus
from hybridlib.debiasing import LEAST, LanguageErasure, dial

COUNTS = {"de": 40, "en": 25, "zh": 13}


@pytest.fixture
def folder(write_lines, tmp_path):
    """A corpus in three languages, whose documents begin with their language's code; and queries of it."""
    documents = [(language, number) for language, count in COUNTS.items() for number in range(count)]
    write_lines("corpus.jsonl", [{"_id": f"{x}{n}", "language": x, "title": x, "text": f"{n} {n + 7}"}
                                 for x, n in documents])
    write_lines("queries.jsonl", [{"_id": f"q{x}{n}", "language": x, "text": f"{x} {n}"}
                                  for x, n in documents if n < 6])
    write_lines("qrels.tsv", [f"q{x}{n}\t{y}{n}\t1" for x, n in documents if n < 6 for y in COUNTS])
    return tmp_path


def command(folder, model, *more, out="out"):
    return ["debias", "--model", str(model), "--corpus", str(folder / "corpus.jsonl"), "--out", str(folder / out),
            "--precision", "fp32", *map(str, more)]


def test_a_fifth_of_each_language_is_held_out(folder):
    corpus = read_corpus(folder / "corpus.jsonl")
    fitted, held_out = _parts(corpus, 10)
    assert held_out["language"].value_counts().to_dict() == {"de": 8, "en": 5, "zh": 2}
    assert sorted([*fitted.index, *held_out.index]) == list(range(78)), "every document is in one part"


def test_enough_is_left_to_fit_on():
    # Of the example's 11 or more documents a language as many as 10 stay: its command runs as it is printed.
    fitted, held_out = _parts(read_corpus(ROOT / "examples" / "data" / "corpus.jsonl"), LEAST)
    assert fitted["language"].value_counts().min() == LEAST
    assert set(held_out["language"]) == {"de", "en", "es", "fr", "pl"}


def test_the_model_and_the_map_agree_and_the_dial_is_the_librarys(folder, tiny_encoder, capsys):
    queries = ("--queries", folder / "queries.jsonl", "--qrels", folder / "qrels.tsv")
    assert cli.main(command(folder, tiny_encoder, "--strength", 0.75, *queries)) == 0
    printed = capsys.readouterr().out
    assert "3 languages (de, en, zh), fitted on 63 documents, looked at on 15 others" in printed
    assert "fewer than 100 documents in de, en, zh: the map is rough" in printed
    erasure = LanguageErasure.load(folder / "out" / "erasure.safetensors")
    model, made = (SentenceTransformer(str(path), device="cpu") for path in (tiny_encoder, folder / "out"))
    texts = ["de 1 8", "zh 199"]
    np.testing.assert_allclose(made.encode(texts), erasure.transform(model.encode(texts)), atol=1e-6)
    test_set = TestSet.from_files(folder / "queries.jsonl", folder / "corpus.jsonl", folder / "qrels.tsv", "x")
    table = dial(erasure, test_set, model.encode(test_set.queries["text"].tolist()),
                 model.encode(test_set.candidates["text"].tolist()))
    rows = re.findall(r"^(0\.\d\d|1\.00) +(\S+) +(\S+) +(\S+) +(\S+) ", printed, re.MULTILINE)
    assert [row[0] for row in rows] == ["0.00", "0.25", "0.50", "0.75", "1.00"]
    np.testing.assert_allclose(np.array(rows, float), table.reset_index().to_numpy()[:, :5], atol=0.051)
    np.testing.assert_allclose(np.array(rows, float)[:, :4], table.reset_index().to_numpy()[:, :4], atol=0.002)
    neighbours = re.search(r"in the same language +(\S+) +(\S+) +(\S+)", printed)
    before, after, chance = map(float, neighbours.groups())
    # 8, 5 and 2 of 15: (7 + 4 + 1) / 14, mean over three languages.
    assert before > after and chance == pytest.approx(12 / 14 / 3, abs=0.0006)


@pytest.mark.parametrize(("more", "reason"), [
    (["--strength", "2"], "--strength is 2.0, and has to be from 0 to 1"),
    (["--strength", "nan"], "--strength is nan, and has to be from 0 to 1"),
    (["--queries", "x"], "give both --queries and --qrels, or neither"),
    (["--queries", "x", "--qrels", "y", "--test-set", "z"], "give one of them"),
    (["--data", "."], "--data goes with xquad-r or mlqa-r"),
    (["--test-set", "squad"], "no test set 'squad'"),
    (["--device", "gpu"], "no device 'gpu'"),
    (["--out", "/dev/null/x"], "/dev/null/x: cannot be written"),
    (["--out", "."], r"\.: is there already"),
    (["--corpus", "nowhere.jsonl"], "nowhere.jsonl: no such file"),
])
def test_it_says_in_a_line_what_is_wrong_before_any_work(folder, capsys, more, reason):
    with pytest.raises(SystemExit) as ended:
        cli.main(command(folder, "no/model", *more))
    (line,) = str(ended.value.code).splitlines()
    assert re.match(f"error: .*{reason}", line)
    assert capsys.readouterr().out == "" and not (folder / "out").exists()


@pytest.mark.parametrize(("lines", "reason"), [
    ([{"_id": str(n), "language": "de", "text": str(n)} for n in range(30)], "documents in de: two languages or more"),
    ([{"_id": f"{x}{n}", "language": x, "text": str(n)}
      for x, c in (("de", 30), ("en", 12), ("zh", 9)) for n in range(c)],
     "zh has 9: at least 10 documents"),
    ([], r"corpus\.jsonl: the file has no documents"),
    ([{"_id": "a", "language": "de", "text": " "}], r"corpus\.jsonl:1: field 'text' is missing, empty"),
    ([{"_id": "a", "text": "1"}], r"corpus\.jsonl:1: field 'language' is None, expected a code"),
    (["[1]"], r"corpus\.jsonl:1: a list, expected an object"),
])
def test_a_corpus_that_cannot_be_used_is_refused(folder, write_lines, lines, reason):
    write_lines("corpus.jsonl", lines)
    with pytest.raises(SystemExit, match=reason):
        cli.main(command(folder, "no/model"))
