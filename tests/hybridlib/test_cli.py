"""The command line gives the numbers of the library, and says in a line what is wrong."""

import json
import re
import subprocess
import sys

import pandas as pd
import pytest
import torch

from hybridlib import cli
from hybridlib.data import TestSet
from hybridlib.encoding import Prompts, load
from hybridlib.evaluation import compare, evaluate, per_query


@pytest.fixture
def folder(write_lines, tmp_path):
    """A test set in BEIR's layout: German and Zulu queries, German and Portuguese documents, some graded."""
    write_lines("queries.jsonl", [{"_id": f"q{n}", "language": "zul" if n % 3 else "de", "text": f"{n} {n + 3}"}
                                  for n in range(9)])
    write_lines("corpus.jsonl", [{"_id": f"d{n}", "language": "de" if n % 2 else "pt_BR", "text": f"{n} {n + 4}"}
                                 for n in range(20)])
    write_lines("qrels.tsv", ["query-id\tcorpus-id\tscore", *(f"q{n}\td{n + step}\t{step + 1}" for n in range(8)
                                                              for step in (0, 1, 5))])
    return tmp_path


def test_it_evaluates_a_folder_as_the_library_does(folder, tiny_encoder, tmp_path, capsys):
    command = ["evaluate", "--model", str(tiny_encoder), "--test-set", str(folder), "--precision", "fp32"]
    expected = evaluate(str(tiny_encoder), TestSet.from_beir(folder), precision="fp32")
    capsys.readouterr()
    assert cli.main(command) == 0
    printed = capsys.readouterr().out
    assert printed.strip() == expected.text().strip() and f"{expected.headline.iloc[2, 0]:.3f}" in printed
    assert cli.main([*command, "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.endswith(f"report: {tmp_path / 'out' / 'report.html'}\n")
    saved = json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))
    assert saved["query prompt"] == "''" and saved["queries"] == 8
    assert saved["queries left out, nothing relevant"] == 1
    assert {name: row["value"] for name, row in saved["headline"].items()} == pytest.approx(
        expected.headline["value"].to_dict())
    ranks = pd.read_parquet(tmp_path / "out" / f"ranks.{folder.name}.parquet")
    pd.testing.assert_frame_equal(ranks, expected.ranks)
    pd.testing.assert_frame_equal(per_query(ranks), expected.queries)


def test_prompts_of_its_own(folder, tiny_encoder, capsys):
    expected = [evaluate(str(tiny_encoder), TestSet.from_beir(folder), prompts, "fp32").text()
                for prompts in (None, Prompts("1 ", "2 "))]
    assert expected[0] != expected[1]
    capsys.readouterr()
    assert cli.main(["evaluate", "--model", str(tiny_encoder), "--test-set", str(folder), "--precision", "fp32",
                     "--query-prompt", "1 ", "--passage-prompt", "2 "]) == 0
    assert capsys.readouterr().out.strip() == expected[1].strip()


@pytest.fixture
def five_languages(write_lines, tmp_path):
    """Every query has an answer in each of five languages, but q0 none in Polish, and q1 two in Czech."""
    languages = ("cs", "de", "en", "pl", "sk")
    write_lines("queries.jsonl", [{"_id": f"q{n}", "language": languages[n % 5], "text": f"{n} {n + 3}"}
                                  for n in range(10)])
    write_lines("corpus.jsonl", [{"_id": f"{x}{n}", "language": x, "title": x, "text": f"{n} {n + 4}"}
                                 for n in range(12) for x in languages])
    write_lines("judged.tsv", ["query-id\tcorpus-id\tscore", *(
        f"q{n}\t{x}{n}\t1" for n in range(10) for x in languages if (n, x) != (0, "pl")), "q1\tcs11\t1"])
    return tmp_path


def test_files_of_ones_own_in_five_languages(five_languages, tiny_encoder, capsys):
    paths = [five_languages / name for name in ("queries.jsonl", "corpus.jsonl", "judged.tsv")]
    test_set = TestSet.from_files(*paths, five_languages.name)
    report = evaluate(str(tiny_encoder), test_set, precision="fp32")
    assert report.pairs.columns.tolist() == report.pairs.index.tolist() == ["cs", "de", "en", "pl", "sk"]
    before = sorted(five_languages.iterdir())
    capsys.readouterr()
    assert cli.main(["evaluate", "--model", str(tiny_encoder), "--precision", "fp32", "--queries", str(paths[0]),
                     "--corpus", str(paths[1]), "--qrels", str(paths[2])]) == 0
    assert capsys.readouterr().out.strip() == report.text().strip()
    assert sorted(five_languages.iterdir()) == before, "nothing is written unless --out says where"
    rows = report.ranks.groupby(["question", "language"])["rank_in_pool"]
    assert rows.size()[("q1", "cs")] == 2 and rows.max()[("q0", "pl")] == 0
    table = report.queries.set_index("question")
    assert table.loc["q1", "crosslingual AP"] > 0 and table.loc[["q0", "q1"], "TLR@20"].notna().all()
    polish = report.ranks.query("query_language == 'pl' and language == 'pl'")["rank_in_pool"]
    assert report.own_language().loc["pl"].tolist()[:3] == [2, polish.median(), polish.mean()]


def test_several_models_are_compared_with_the_first(folder, tiny_encoder, tmp_path, capsys):
    model, _ = load(str(tiny_encoder))
    with torch.no_grad():
        model[0].auto_model.embeddings.word_embeddings.weight.mul_(torch.linspace(0.1, 3, 32))
    model.save(str(tmp_path / "other"), create_model_card=False)
    names = [str(tiny_encoder), str(tmp_path / "other")]
    reports = [evaluate(name, TestSet.from_beir(folder), precision="fp32") for name in names]
    expected = compare(reports[1], reports[0])
    assert expected.table.loc["multilingual AP", "difference"] != 0
    capsys.readouterr()
    assert cli.main(["evaluate", "--model", names[0], "--model", names[1], "--test-set", str(folder),
                     "--precision", "fp32", "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert [text in printed for text in (reports[0].text(), reports[1].text(), expected.text())] == [True] * 3
    assert printed.endswith(f"comparison: {tmp_path / 'out' / 'comparison.html'}\n")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "1-model", "2-other", "comparison.csv", "comparison.html"]
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "out" / "2-other" / f"ranks.{folder.name}.parquet"), reports[1].ranks)


def test_a_second_model_is_refused_before_the_first_is_at_work(folder, tiny_encoder, capsys):
    with pytest.raises(SystemExit, match="error: .*nowhere: not a SentenceTransformer folder"):
        cli.main(["evaluate", "--model", str(tiny_encoder), "--model", "./nowhere", "--test-set", str(folder)])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("given", [["--queries", "q"], ["--queries", "q", "--qrels", "r"],
                                   ["--test-set", "FOLDER", "--corpus", "c"]])
def test_the_three_files_go_together(given):
    with pytest.raises(SystemExit, match="error: --queries, --corpus and --qrels go together; or name a folder"):
        cli.main(["evaluate", "--model", "x", *given])


@pytest.mark.parametrize(("arguments", "reason"), [
    (["--test-set", "./nowhere"], r"nowhere/queries\.jsonl: no such file .*BEIR's layout"),
    (["--test-set", "squad"], "no test set 'squad': there are xquad-r, mlqa-r, and there is no such folder"),
    (["--test-set", "FOLDER", "--query-prompt", "query: "], "give both prompts, or neither to use the model's own"),
    (["--test-set", "FOLDER", "--passage-prompt", ""], "give both prompts, or neither to use the model's own"),
    (["--test-set", "FOLDER", "--data", "."], "--data goes with xquad-r or mlqa-r"),
    (["--test-set", "xquad-r", "--data", "nowhere"], "nowhere/ar.json: no such file"),
    (["--test-set", "FOLDER", "--model", "./nowhere"], "nowhere: not a SentenceTransformer folder"),
    (["--test-set", "FOLDER", "--device", "gpu"], "no device 'gpu'; there are cpu, cuda"),
    (["--test-set", "FOLDER", "--out", "/dev/null/out"], "/dev/null/out: cannot be written, /dev/null is a file"),
])
def test_it_says_in_a_line_what_is_wrong(folder, tiny_encoder, tmp_path, capsys, arguments, reason):
    arguments = [str(folder) if argument == "FOLDER" else argument for argument in arguments]
    with pytest.raises(SystemExit) as ended:
        cli.main(["evaluate", "--model", str(tiny_encoder), "--out", str(tmp_path / "out"), *arguments])
    (line,) = str(ended.value.code).splitlines()  # Python prints it on stderr, and the status is 1
    assert re.match(f"error: .*{reason}", line)
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "out").exists()


def test_a_broken_file_is_named_by_line(folder, tiny_encoder, write_lines):
    write_lines("qrels.tsv", ["q0\td0\t1", "q1\td99\t1"])
    with pytest.raises(SystemExit) as ended:
        cli.main(["evaluate", "--model", str(tiny_encoder), "--test-set", str(folder)])
    assert ended.value.code.splitlines()[1:] == [f"{folder / 'qrels.tsv'}:2: there is no candidate 'd99'"]


def test_a_report_without_its_libraries_is_refused_before_any_work(folder, tiny_encoder, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "seaborn", None)
    monkeypatch.delitem(sys.modules, "hybridlib.evaluation.figures", raising=False)
    monkeypatch.delattr("hybridlib.evaluation.figures", raising=False)
    with pytest.raises(SystemExit, match=r"error: pictures need matplotlib and seaborn: pip install 'hybridlib\[rep"):
        cli.main(["evaluate", "--model", str(tiny_encoder), "--test-set", str(folder), "--out", str(tmp_path / "out")])
    assert capsys.readouterr().out == ""


@pytest.mark.skipif(sys.platform == "win32", reason="its pipes break otherwise")
@pytest.mark.parametrize("lines", [1, 20_000])
def test_a_reader_that_has_seen_enough_is_no_error(lines):
    script = (f"import sys\nfrom hybridlib.errors import one_line_errors\nwith one_line_errors():\n"
              f"    sys.stdin.readline()\n    for n in range({lines}):\n        print(n)")
    program = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    program.stdout.close()  # before a line is written
    _, complaints = program.communicate(b"go\n")
    assert (program.returncode, complaints) == (141, b"")


def test_help_is_answered_without_the_heavy_libraries():
    program = ("import sys; from hybridlib import cli\n"
               "try: cli.main(['evaluate', '--help'])\n"
               "except SystemExit as done: print(done.code, 'torch' in sys.modules, 'pandas' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "--test-set NAME_OR_FOLDER" in done.stdout and done.stdout.endswith("0 False False\n")


@pytest.mark.parametrize("arguments", [[], ["evaluate"], ["evaluate", "--model", "x"], ["train"]])
def test_what_cannot_be_parsed_shows_the_usage(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(arguments)
    assert capsys.readouterr().err.startswith("usage: hybridlib")
