"""Relative links of the pages and of the notebooks' texts lead somewhere, to the heading too where they name one."""

import re
from functools import cache
from itertools import chain, pairwise

import nbformat
import pytest
from conftest import ROOT
from markdown_it import MarkdownIt

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "tests" / "README.md",
         *sorted((ROOT / "docs").glob("*.md")), ROOT / "data" / "README.md", ROOT / "data" / "mini" / "README.md"]
NOTEBOOKS = sorted((ROOT / "notebooks").rglob("*.ipynb"))


def texts(path):
    """The Markdown of a page, or of each text cell of a notebook."""
    if path.suffix != ".ipynb":
        return [path.read_text("utf-8")]
    return [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "markdown"]


def tokens(text):
    """The blocks of a Markdown text, each before its content, so that nothing in code is a link."""
    parsed = MarkdownIt("commonmark").enable("table").parse(text)
    return list(chain.from_iterable([token, *(token.children or [])] for token in parsed))


def links(text):
    """Where links and pictures lead, in Markdown and in HTML."""
    found = tokens(text)
    written = [token.attrs.get("href") or token.attrs.get("src") for token in found]
    html = [token.content for token in found if token.type in ("html_block", "html_inline")]
    return [place for place in written if place] + re.findall(r'(?:href|src)="([^"]+)"', " ".join(html))


def anchors(text):
    """What may stand behind #: the headings as GitHub and the site name them, and names given in HTML."""
    found, names = tokens(text), re.findall(r'(?:id|name)="([^"]+)"', text)
    for head, content in pairwise(found):
        if head.type == "heading_open":
            words = "".join(child.content for child in content.children if child.type in ("text", "code_inline"))
            name = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
            # A heading that stands there again gets a number.
            count = sum(re.fullmatch(rf"{re.escape(name)}(-\d+)?", known) is not None for known in names)
            names.append(f"{name}-{count}" if count else name)
    return names


@cache
def anchors_of(path):
    """Those of a file; JupyterLab names headings as they are written."""
    written = "\n".join(texts(path)) if path.suffix == ".ipynb" else ""
    return [*chain.from_iterable(map(anchors, texts(path))),
            *(head.replace(" ", "-") for head in re.findall(r"^#+ +(.+?) *$", written, re.MULTILINE))]


def broken(text, page):
    """The links of a text that lead nowhere, as seen from its page."""
    dead = []
    for link in links(text):
        if re.match(r"[a-z]+:", link):
            continue
        place, _, name = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        inside = target.is_relative_to(ROOT) and target.exists()
        if not inside or (name and name not in anchors_of(target)):
            dead.append(link)
    return dead


@pytest.mark.parametrize("path", PAGES + NOTEBOOKS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path):
    assert not [link for text in texts(path) for link in broken(text, path)]


def test_a_link_that_leads_nowhere_is_named():
    page = ROOT / "docs" / "ledger.md"
    text = """
[a page](../tests/README.md#tests), [a folder](../configs), [`a heading`](#rows), <https://example.org/nowhere>,
`[in code](nowhere.md)`

    [in code](nowhere.md)

| [moved](../nowhere.md) | [renamed](../tests/README.md#nowhere) |
|---|---|
| ![gone](../figures/nowhere.png) | [out of the repository](../../shared) |

[here](#nowhere) <a href="nowhere.html">there</a> [a notebook](../notebooks/01_data.ipynb#nowhere)
"""
    assert broken(text, page) == ["../nowhere.md", "../tests/README.md#nowhere", "../figures/nowhere.png",
                                  "../../shared", "#nowhere", "../notebooks/01_data.ipynb#nowhere", "nowhere.html"]


def test_headings_are_named_as_where_they_are_shown():
    text = "# One `two`: three, *four*\n\n## Own\n\n## Own\n\n## Ünder_way – 5\n\n<a id=\"given\"></a>"
    assert anchors(text) == ["given", "one-two-three-four", "own", "own-1", "ünder_way--5"]
