"""The pinned set: complete, exact, the same for pip and conda, and free of places."""

import re
import tomllib

from conftest import ROOT
from environment import rendered

REQUIREMENTS = (ROOT / "requirements.txt").read_text("utf-8")
PINS = dict(re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", REQUIREMENTS, re.MULTILINE))


def name(requirement):
    return re.match(r"[A-Za-z0-9._-]+", requirement)[0].lower()


def test_every_line_is_an_exact_pin():
    lines = [line for line in REQUIREMENTS.splitlines() if line.strip() and not line.startswith("#")]
    assert len(lines) == len(PINS) > 100
    assert PINS["torch"] == "2.13.0"


def test_every_direct_dependency_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert {name(d) for d in project["dependencies"]} <= {n.lower() for n in PINS}


def test_conda_gets_the_same_set():
    assert (ROOT / "environment.yml").read_text("utf-8") == rendered(REQUIREMENTS), "run `make lock`"


def test_no_place_is_named():
    assert not re.search(r"https?://|file:/|--(extra-)?index-url|--find-links", REQUIREMENTS)
