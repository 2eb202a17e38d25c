"""The command line gives the numbers of the library, and says in a line what is wrong."""

import json
import re
import subprocess
import sys

import pandas as pd
import pytest

from hybridlib import cli
from hybridlib.data import TestSet
from hybridlib.encoding import Prompts
from hybridlib.evaluation import evaluate, per_query


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
