"""Commit to what was measured: ``make publish PRESET=mini`` takes tables and pictures from ``runs/`` to the repository.

Notebooks leave what they measure and draw under ``runs/<preset>/report``. A committed table or picture is replaced only
by one that has no fewer seeds and lacks none of its systems and benchmarks; what is left as it was is said, with the
reason. What ``make evidence BUDGET=…`` measured goes from ``runs/<preset>/evidence`` to ``results/<preset>/<device>``,
by the same rule: a block that lacks a run of the committed one is left.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from hybridlib import files
from hybridlib.errors import one_line_errors
from reproduction.findings.figures import DRAWN, count_seeds
from reproduction.run.evidence import gather, read_cells
from reproduction.workspace import Workspace


def _content(table: Path) -> dict:
    """How many seeds a table has, and which systems and benchmarks."""
    # The verdicts have neither: the comparisons that they are made from stand beside them.
    rows = pd.read_csv(table.with_name("claims_parts.csv") if table.name == "claims.csv" else table)
    if "comparison" in rows:
        rows = rows[rows["difference"].notna()].assign(system=rows["comparison"])
    return {"seeds": 0 if rows.empty else count_seeds(rows), "systems": sorted(set(rows["system"])),
            "benchmarks": sorted(set(rows.get("benchmark", [])))}


def why_smaller(old: dict, new: dict) -> str:
    """Why a measurement must not take the place of another one; nothing if it may.

    >>> why_smaller({"seeds": 5, "systems": ["X-X"]}, {"seeds": 3, "systems": ["X-X", "X-Y"]})
    'it has 5 seeds, the new one 3'
    >>> why_smaller({"seeds": 1, "systems": ["X-X"]}, {"seeds": 1, "systems": []})
    'the new one lacks X-X'
    >>> why_smaller({"seeds": 1, "systems": [], "benchmarks": ["tydi"]}, {"seeds": 1, "systems": [], "benchmarks": []})
    'the new one lacks tydi'
    """
    gone = [one for what in ("systems", "benchmarks") for one in old.get(what, []) if one not in new.get(what, [])]
    reasons = [f"it has {old['seeds']} seeds, the new one {new['seeds']}"] if old["seeds"] > new["seeds"] else []
    return "; ".join([*reasons, *([f"the new one lacks {', '.join(gone)}"] if gone else [])])


def publish(preset: str, workspace: Workspace) -> tuple[list[str], dict[str, str]]:
    """Take the tables and pictures of a preset from where notebooks left them.

    Returns
    -------
    (list of str, dict of str to str)
        What was published, and what was left as it was with the reason.

    Raises
    ------
    FileNotFoundError
        If nothing was measured or drawn.
    """
    drawn = workspace.drawn(preset)
    tables, pictures = sorted((drawn / "results").glob("*.csv")), drawn / "figures" / DRAWN
    if not tables and not pictures.is_file():
        raise FileNotFoundError(f"{drawn}: nothing was measured or drawn yet; run `make reproduce PRESET={preset}`")
    done, left = [], {}
    # Decided for all before any is replaced: verdicts are judged by the comparisons beside them.
    contents = {table: (_content(workspace.results(preset) / table.name)
                        if (workspace.results(preset) / table.name).is_file() else None, _content(table))
                for table in tables}
    for table, (old, new) in contents.items():
        reason = why_smaller(old, new) if old else ""
        if reason:
            left[table.name] = reason
            continue
        with files.atomic(workspace.results(preset) / table.name) as temporary:
            shutil.copyfile(table, temporary)
        done.append(table.name)
    if pictures.is_file():
        noted, target = json.loads(pictures.read_text("utf-8")), workspace.figures(preset)
        before = json.loads((target / DRAWN).read_text("utf-8")) if (target / DRAWN).is_file() else {}
        # Those of single encoders (05 with a model) are nobody's results.
        for name, new in ((name, new) for name, new in noted.items() if not name.startswith("models/")):
            reason = why_smaller(before[name], new) if name in before else ""
            if reason:
                left[f"{name}.png"] = reason
                continue
            with files.atomic(target / f"{name}.png") as temporary:
                shutil.copyfile(drawn / "figures" / f"{name}.png", temporary)
            before[name] = new
            done.append(f"{name}.png")
        files.write_json(target / DRAWN, before)
    return done, left


def _measured(place: Path) -> set[tuple[str, int, str]]:
    """What a folder of evidence has: systems with their remedies, seeds, test sets."""
    if not any(place.glob("*.cells.parquet")):
        return set()
    rows = read_cells(place)[["system", "seed", "benchmark"]].drop_duplicates()
    return set(rows.itertuples(index=False, name=None))


def publish_evidence(preset: str, workspace: Workspace) -> tuple[list[str], dict[str, str]]:
    """Take the evidence of a preset from where it was measured, block by block; returns as `publish`."""
    done, left = [], {}
    for source in sorted(path for path in (workspace.runs / preset / "evidence").glob("*/*") if path.is_dir()):
        target = workspace.results(preset) / source.parent.name / source.name
        old, new = (_measured(place) for place in (target, source))
        if gone := sorted(old - new):
            left[f"evidence of {source.name}"] = (
                f"the new one lacks {gone[0][0]} of seed {gone[0][1]} on {gone[0][2]}"
                + (f", and {len(gone) - 1} more" if len(gone) > 1 else ""))
        elif new:
            gather(source, target)
            done.append(f"evidence of {source.name}")
    return done, left


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m reproduction.commands.publish", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="mini", help="a file of configs/, without its ending")
    chosen = parser.parse_args(arguments)
    with one_line_errors():
        done, left = publish_evidence(chosen.preset, Workspace())
        if not (done or left) or Workspace().drawn(chosen.preset).is_dir():
            tables, kept = publish(chosen.preset, Workspace())
            done, left = [*done, *tables], left | kept
    print("published:", ", ".join(done) or "nothing")
    for name, reason in left.items():
        print(f"left as it was: {name}: {reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
