"""Write environment.yml from requirements.txt: the same pinned set, for conda users. Part of `make lock`."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def rendered(requirements):
    """The text of environment.yml for the lines of requirements.txt."""
    pins = [line.strip() for line in requirements.splitlines() if line.strip() and line[0] not in "# -"]
    lines = ["# Written by `make lock` from requirements.txt: conda brings Python, pip the same pinned set.",
             "name: hybridlib", "channels: [conda-forge]", "dependencies:", "  - python=3.11", "  - pip",
             "  - pip:", *(f'      - "{pin}"' for pin in pins), "      - -e ."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (ROOT / "environment.yml").write_text(rendered((ROOT / "requirements.txt").read_text("utf-8")), "utf-8")
