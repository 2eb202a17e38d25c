"""The notebooks as files, and proof that nbval's checks of them can fail."""

import ast
import re
import subprocess
import sys

import nbformat
import pytest
from conftest import ROOT

from hybridlib.evaluation import MEASURES
from reproduction.commands.reproduce import notebooks

HERE = ROOT / "tests" / "notebooks"
PATHS = notebooks()
SOLUTIONS = sorted((ROOT / "notebooks" / "solutions").glob("*.ipynb"))


def code(path):
    return [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]


def nodes(path, kind):
    return [node for cell in code(path) for node in ast.walk(ast.parse(cell.source)) if isinstance(node, kind)]


def test_they_are_numbered_in_the_order_they_run():
    assert [path.name[:3] for path in PATHS] == [f"{n:02d}_" for n in range(len(PATHS))]
    assert [path.name[:2] for path in notebooks("walk")] == [f"{n:02d}" for n in range(1, 8)]
    assert [path.name[:2] for path in notebooks("evidence")] == ["08", "09", "10", "11", "14", "07"]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_committed_outputs_are_of_one_run_from_top_to_bottom(path):
    cells = code(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]
    assert sum("parameters" in cell.metadata.get("tags", []) for cell in cells) == 1
    checked = [cell for cell in cells if "nbval-check-output" in cell.metadata.get("tags", [])]
    assert checked and all(cell.outputs for cell in checked), "a check of an empty output cannot fail"


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_notebooks_tell_and_the_library_does(path):
    lines = [len(cell.source.splitlines()) for cell in code(path)]
    assert max(lines) <= 15 and sorted(lines)[len(lines) // 2] <= 8 and sum(lines) <= 200
    assert not any(place in path.read_text("utf-8") for place in ("/home/", "/tmp/", "site-packages", f"{ROOT}/"))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_lesson_says_for_whom_it_is_how_long_it_takes_and_what_comes_before(path):
    rows = re.findall(r"^\| \*\*(.+?)\*\* \| (.+) \|$", nbformat.read(path, 4).cells[0].source, re.MULTILINE)
    assert [name for name, _ in rows[:3]] == ["For whom", "Time", "Before"]
    assert "minutes" in dict(rows)["Time"]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_lesson_ends_in_three_sentences_that_are_computed(path):
    cells = nbformat.read(path, 4).cells
    (start,) = [n for n, cell in enumerate(cells) if re.search("^## What we saw", cell.source, re.MULTILINE)]
    shown = [output["data"]["text/markdown"] for cell in cells[start:] if cell.cell_type == "code"
             for output in cell.outputs if "text/markdown" in output.get("data", {})]
    assert re.fullmatch(r"1\. .+\.\n2\. .+\.\n3\. .+\.", shown[0]), "three sentences, of `lessons.three_sentences`"


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_each_exercise_has_a_solution(path):
    text = "\n".join(cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "markdown")
    exercises = re.findall(r"^\d\. \*\*(.+?)\.\*\*", text.split("## Exercises\n")[1], re.MULTILINE)
    solutions = path.parent / "solutions" / f"{path.name[:2]}_solutions.ipynb"
    assert f"(solutions/{solutions.name})" in text and 2 <= len(exercises) <= 3
    solved = "\n".join(cell.source for cell in nbformat.read(solutions, 4).cells if cell.cell_type == "markdown")
    assert re.findall(r"^## \d\. (.+)$", solved, re.MULTILINE) == exercises


@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)
def test_solutions_are_of_one_run_and_check_something(path):
    cells = code(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]
    assert sum("parameters" in cell.metadata.get("tags", []) for cell in cells) == 1
    assert nodes(path, ast.Assert) or any("nbval-check-output" in cell.metadata.get("tags", []) for cell in cells)
    assert not any(place in path.read_text("utf-8") for place in ("/home/", "/tmp/", "site-packages", f"{ROOT}/"))


@pytest.mark.parametrize("path", [*PATHS, *SOLUTIONS], ids=lambda path: path.stem)
def test_every_import_can_be_made(path):
    for node in nodes(path, (ast.Import, ast.ImportFrom)):
        exec(ast.unparse(node), {})


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_no_finding_is_asserted(path):
    words = (*MEASURES, "loss", "macro(", "differences(", "estimates(", "means")
    asserted = [ast.unparse(node) for node in nodes(path, ast.Assert)]
    assert not [text for text in asserted if any(word in text for word in words)], "say it as a verdict instead"


@pytest.mark.parametrize(("name", "status"), [("holds", 0), ("output_differs", 1), ("assertion_fails", 1)])
def test_nbval_fails_where_it_must(name, status):
    command = [sys.executable, "-m", "pytest", "-o", "addopts=", "--nbval-lax", "-p", "no:cacheprovider",
               str(HERE / f"{name}.ipynb")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout
