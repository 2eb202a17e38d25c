"""``make reproduce``'s engine: what is unchanged is not run again, what failed leaves no finished notebook."""

import nbformat
import papermill
import pytest
import torch
from conftest import ROOT

from reproduction.commands import reproduce

FOLDER = ROOT / "tests" / "notebooks"


def test_key_follows_source_parameters_and_what_ran_before(tmp_path):
    path = tmp_path / "n.ipynb"
    notebook = nbformat.read(FOLDER / "holds.ipynb", 4)
    nbformat.write(notebook, path)
    parameters = {"preset_name": "mini", "seeds": [0]}
    first = reproduce.source_key(path, parameters, "")
    assert first != reproduce.source_key(path, parameters | {"seeds": [1]}, "")
    assert first != reproduce.source_key(path, parameters, "before")
    notebook.cells[-1].outputs = []
    nbformat.write(notebook, path)
    assert first == reproduce.source_key(path, parameters, ""), "outputs are not source"
    notebook.cells[-1].source += "\n"
    nbformat.write(notebook, path)
    assert first != reproduce.source_key(path, parameters, "")


def test_a_notebook_runs_once_per_key(tmp_path):
    output = tmp_path / "out" / "holds.ipynb"
    assert reproduce.execute(FOLDER / "holds.ipynb", output, {"seeds": [5]}, "k1")
    assert "seeds = [5]" in nbformat.read(output, 4).cells[1].source
    assert not reproduce.execute(FOLDER / "holds.ipynb", output, {"seeds": [5]}, "k1")
    assert reproduce.execute(FOLDER / "holds.ipynb", output, {"seeds": [6]}, "k2")


def test_a_failed_notebook_is_left_aside(tmp_path):
    output = tmp_path / "assertion_fails.ipynb"
    with pytest.raises(papermill.PapermillExecutionError, match="this must fail"):
        reproduce.execute(FOLDER / "assertion_fails.ipynb", output, {}, "k")
    assert [path.name for path in tmp_path.iterdir()] == ["assertion_fails.failed.ipynb"]


@pytest.mark.parametrize(("arguments", "message"), [
    (["--preset", "maxi"], "no preset 'maxi'"), (["--preset", "xquad"], "DATA=<folder>"),
    (["--preset", "xquad", "--data", "/nowhere"], "/nowhere/train/docs.jsonl: no such file"),
    pytest.param(["--device", "cuda"], "no CUDA device is there",
                 marks=pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is there"))])
def test_bad_requests_stop_before_any_work(arguments, message):
    with pytest.raises(SystemExit, match=message):
        reproduce.main(arguments)


def test_from_published_ranks_05_to_07_run_and_nothing_is_read_of_the_data(monkeypatch):
    assert [path.name[:2] for path in reproduce.notebooks("published")] == ["05", "06", "07"]
    asked = []

    def first(path, output, parameters, key):
        asked.append((path.name, output.relative_to(ROOT).as_posix(), parameters))
        raise InterruptedError

    monkeypatch.setattr(reproduce, "execute", first)
    with pytest.raises(InterruptedError):  # no data folder, no GPU, and it comes as far as the first notebook
        reproduce.main(["--published", "--preset", "xquad", "--device", "cuda", "--seeds", "0", "4"])
    assert asked == [("05_evaluate.ipynb", "runs/published/xquad/notebooks/05_evaluate.ipynb", {
        "preset_name": "xquad", "data": "", "seeds": [0, 4], "device": "cuda", "runs": "published"})]


@pytest.mark.parametrize(("arguments", "message"), [
    (["--seeds", "0", "7", "--device", "cuda"], "xquad/cuda: no ranks of X-X, seed 7, on xquad-r are published"),
    ([], "results/xquad/cpu: no published ranks of preset 'xquad' measured on cpu; there are some measured on cuda")])
def test_what_is_not_published_stops_before_any_work(monkeypatch, arguments, message):
    monkeypatch.setattr(reproduce, "execute", lambda *_: pytest.fail("a notebook runs"))
    with pytest.raises(SystemExit, match=message):
        reproduce.main(["--published", "--preset", "xquad", *arguments])


def test_published_or_evidence(capsys):
    with pytest.raises(SystemExit):
        reproduce.main(["--published", "--evidence"])
    assert "not allowed with argument" in capsys.readouterr().err
