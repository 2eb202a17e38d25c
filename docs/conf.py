"""The site: the pages of ``docs/``, the notebooks as they were executed, and the library. ``make docs`` builds it.

Its source is the repository itself, of which only the patterns below are read. So nothing is copied, and a link from a
page to a notebook or a picture is the same here as in the repository.
"""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

project = "hybridlib"
author = project_copyright = "The hybridlib authors"
root_doc = "docs/index"
include_patterns = ["README.md", "CONTRIBUTING.md", "docs/*.md", "data/**.md", "notebooks/**.ipynb", "tests/README.md"]
# What is installed, run, built and downloaded there.
exclude_patterns = [".git", ".venv", "runs", "build", "data/public"]

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
nb_execution_mode = "off"
# Widgets need a kernel, and their scripts would come from another host.
nb_ipywidgets_js = {}
myst_heading_anchors = 4

default_role = "py:obj"
autodoc_typehints = "none"
napoleon_use_param = napoleon_use_rtype = False
napoleon_use_ivar = True
# The names of other projects are not looked up: that would need the network.
nitpick_ignore_regex = [("py:.*", r"(?!hybridlib\b).*")]
# Of the library's own, these have no entry on its page: a constant, and a module whose functions have theirs.
nitpick_ignore = [("py:obj", "hybridlib.training.SAMPLINGS"), ("py:obj", "hybridlib.evaluation.intervals")]

html_theme = "furo"
html_title = "Which languages meet in a batch?"
html_show_sourcelink = html_copy_source = False


def follow_links(app, name, source):
    """Links to folders, which have no page here, become text; headings of notebooks are named in small letters here."""
    file = Path(app.env.doc2path(name))
    if file.suffix == ".ipynb":
        source[0] = re.sub(r"\]\(([^)#:]*)(#[^)]+)\)", lambda link: f"]({link[1]}{link[2].lower()})", source[0])
    source[0] = re.sub(r"\[([^\]]+)\]\(([^)#:]+)\)",
                       lambda link: link[1] if (file.parent / link[2]).is_dir() else link[0], source[0])


def open_at_the_index(app, failure):
    """The folder of the site opens at its index, which lies in ``docs/``."""
    if failure is None:
        Path(app.outdir, "index.html").write_text(
            '<!doctype html><meta http-equiv="refresh" content="0; url=docs/index.html"><title>docs</title>\n', "utf-8")


def setup(app):
    """Connect the above."""
    app.connect("source-read", follow_links)
    app.connect("build-finished", open_at_the_index)
