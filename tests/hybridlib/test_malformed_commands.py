"""Command lines that cannot be meant: ended before any work, with a status and one line that says why."""

import pytest

from hybridlib import cli


@pytest.fixture
def folder(write_lines, tmp_path):
    """A test set in BEIR's layout whose corpus is large enough to be debiased."""
    write_lines("queries.jsonl", [{"_id": "q", "language": "de", "text": "1"}])
    write_lines("corpus.jsonl", [{"_id": f"{x}{n}", "language": x, "text": f"{n} {n + 4}"} for n in range(15)
                                 for x in ("de", "en")])
    write_lines("qrels.tsv", ["q\tde1\t1"])
    return tmp_path


def ended(arguments, capsys):
    """The line with which a command ends; of data a first line counts the problems."""
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    printed = capsys.readouterr()
    assert stopped.value.code not in (0, None) and printed.out == ""
    lines = stopped.value.code.splitlines() if isinstance(stopped.value.code, str) else printed.err.splitlines()[-1:]
    assert "error: " in lines[0] and len(lines) <= 2 and all(map(str.isprintable, lines)), lines
    return lines[-1]


FILES = ["--queries", "queries.jsonl", "--corpus", "corpus.jsonl", "--qrels", "qrels.tsv"]


@pytest.mark.parametrize(("arguments", "reason"), [
    ([], "the following arguments are required: --model"), (["--model", "x"], "one of the arguments --test-set"),
    (["--model", "x", "--test-set", "a\x00b"], "no test set"),
    (["--model", "x", "--test-set", "./nowhere"], "queries.jsonl: no such file"),
    (["--model", "x", "--test-set", "queries.jsonl"], "queries.jsonl/queries.jsonl: no such file"),
    (["--model", "x", "--test-set", ".", *FILES], "not allowed with argument"),
    (["--model", "x", *FILES[:4]], "go together"), (["--model", "x", *FILES[2:]], "one of the arguments"),
    (["--model", "x", "--queries", "nowhere", *FILES[2:]], "nowhere: no such file"),
    (["--model", "x", "--queries", "", *FILES[2:]], ".: not a file"),
    (["--model", "x", *FILES[:2], "--corpus", ".", *FILES[4:]], ".: not a file"),
    (["--model", "x", *FILES[:4], "--qrels", "queries.jsonl"], "queries.jsonl:"),
    (["--model", "", "--test-set", "."], "the name of a model is empty"),
    (["--model", "./nowhere", "--test-set", "."], "nowhere: not a SentenceTransformer folder"),
    (["--model", "./queries.jsonl", "--test-set", "."], "queries.jsonl: not a SentenceTransformer folder"),
    (["--model", "x", "--test-set", ".", "--device", "gpu"], "no device 'gpu'"),
    (["--model", "x", "--test-set", ".", "--device", ""], "no device ''"),
    (["--model", "x", "--test-set", ".", "--precision", "fp8"], "invalid choice: 'fp8'"),
    (["--model", "x", "--test-set", ".", "--query-prompt", ""], "give both prompts"),
    (["--model", "x", "--test-set", ".", "--out", "queries.jsonl"], "queries.jsonl: cannot be written"),
    (["--model", "x", "--test-set", ".", "--out", "/dev/null/x"], "/dev/null/x: cannot be written"),
    (["--model", "x", "--test-set", ".", "--data", "."], "--data goes with"),
    (["--model", "x", "--test-set", "xquad-r", "--data", "./nowhere"], "no such file")])
def test_evaluate(folder, monkeypatch, capsys, arguments, reason):
    monkeypatch.chdir(folder)
    before = sorted(folder.rglob("*"))
    assert reason in ended(["evaluate", *arguments], capsys)
    assert sorted(folder.rglob("*")) == before


GIVEN = {"--model": "x", "--corpus": "corpus.jsonl", "--out": "out"}


@pytest.mark.parametrize(("changes", "reason"), [
    ({"--out": None}, "the following arguments are required: --out"), ({"--model": ""}, "the name of a model is empty"),
    ({"--model": "./nowhere"}, "not a SentenceTransformer folder"), ({"--corpus": "nowhere"}, "nowhere: no such file"),
    ({"--corpus": "."}, ".: not a file"), ({"--corpus": ""}, ".: not a file"),
    ({"--corpus": "qrels.tsv"}, "qrels.tsv:1: not JSON"), ({"--out": "queries.jsonl"}, "is there already"),
    ({"--out": ""}, "is there already"), ({"--out": "/dev/null/x"}, "cannot be written"),
    ({"--out": "queries.jsonl/x"}, "queries.jsonl is a file"), ({"--strength": "2"}, "has to be from 0 to 1"),
    ({"--strength": "nan"}, "has to be from 0 to 1"), ({"--strength": "-0.1"}, "has to be from 0 to 1"),
    ({"--strength": "x"}, "invalid float value"), ({"--device": "gpu"}, "no device 'gpu'"),
    ({"--queries": "queries.jsonl"}, "give both --queries and --qrels"),
    ({"--qrels": "qrels.tsv"}, "give both --queries and --qrels"),
    ({"--queries": "nowhere", "--qrels": "qrels.tsv"}, "nowhere: no such file"),
    ({"--queries": "queries.jsonl", "--qrels": "."}, ".: not a file"),
    ({"--queries": "queries.jsonl", "--qrels": "qrels.tsv", "--test-set": "."}, "give one of them"),
    ({"--test-set": "./nowhere"}, "no such file"), ({"--test-set": "squad"}, "no test set 'squad'"),
    ({"--data": "."}, "--data goes with")])
def test_debias(folder, monkeypatch, capsys, changes, reason):
    monkeypatch.chdir(folder)
    before = sorted(folder.rglob("*"))
    words = [word for name, value in (GIVEN | changes).items() if value is not None for word in (name, value)]
    assert reason in ended(["debias", *words], capsys)
    assert sorted(folder.rglob("*")) == before
