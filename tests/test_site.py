"""The site of the documentation, built as `make docs` does."""

import re
import subprocess
import sys

import nbformat
import pytest
from conftest import ROOT

pytest.importorskip("furo", reason="the extra docs is not installed")


def build(source, out, *more):
    """Sphinx with the project's settings; without a network it would have to use, and with warnings as errors."""
    command = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going", "--nitpicky",
               "-c", str(ROOT / "docs"), "-d", str(out.with_name("doctrees")), *more, str(source), str(out)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_it_builds_without_a_warning_and_asks_no_other_host(tmp_path):
    out = tmp_path / "site"
    done = build(ROOT, out)
    assert done.returncode == 0, done.stderr
    pages = {page.relative_to(out).as_posix(): page.read_text("utf-8") for page in out.rglob("*.html")}
    assert {"index.html", "docs/index.html", "docs/api.html", "README.html", "notebooks/13_remedies.html"} <= set(pages)
    asked = r'<(?:script|link|img|iframe)\b[^>]*?(?:src|href)="((?:https?:)?//[^"]+)'
    assert not {name: found for name, text in pages.items() if (found := re.findall(asked, text))}
    assert 'id="hybridlib.debiasing.LanguageErasure"' in pages["docs/api.html"]
    assert "cell_output" in pages["notebooks/13_remedies.html"], "the notebooks come with what they printed"


@pytest.fixture
def small(tmp_path):
    """A repository of two pages and a notebook that must not be run."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "configs").mkdir()
    cell = nbformat.v4.new_code_cell("open('ran', 'w')", outputs=[nbformat.v4.new_output("stream", text="as it was")])
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# One"), cell])
    notebook.metadata["language_info"] = {"name": "python"}
    nbformat.write(notebook, tmp_path / "notebooks" / "one.ipynb")
    (tmp_path / "docs" / "index.md").write_text(
        "# Index\n\n```{toctree}\nother\n../notebooks/one\n```\n\n[other](other.md#there) and [a folder](../configs)\n")
    (tmp_path / "docs" / "other.md").write_text("# Other\n\n## There\n\n[one](../notebooks/one.ipynb)\n")
    return tmp_path


def test_notebooks_are_shown_as_they_are_and_folders_are_no_links(small):
    assert (done := build(small, small / "site")).returncode == 0, done.stderr
    assert "as it was" in (small / "site" / "notebooks" / "one.html").read_text("utf-8")
    assert not list(small.rglob("ran"))
    assert "other</span></a> and a folder" in (small / "site" / "docs" / "index.html").read_text("utf-8")


@pytest.mark.parametrize(("link", "named"), [("nowhere.md", "nowhere.md"), ("other.md#nowhere", "nowhere"),
                                             ("../notebooks/none.ipynb", "none.ipynb")])
def test_a_dead_link_stops_it(small, link, named):
    (small / "docs" / "other.md").write_text(f"# Other\n\n## There\n\n[dead]({link})\n")
    done = build(small, small / "site")
    assert done.returncode != 0 and named in done.stderr and "other.md:5" in done.stderr
