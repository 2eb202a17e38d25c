"""Tables from committed evidence: means, differences from Hybrid and from the untrained encoder, with 95 % intervals.

    python -m reproduction.commands.tables --preset xquad

Nothing is trained or encoded. Writes ``values.csv``, ``against.csv`` (every run that was measured with as many seeds as
X-X), ``screened.csv`` (those with fewer: leads, no results), and the verdicts, ``claims.csv`` and ``claims_parts.csv``,
beside the evidence, ``results/<preset>/<device>/``. What chooses and confirms a recipe is told by
``reproduction.commands.records``: it has runs of its own, some with the seeds of others.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from hybridlib import files
from hybridlib.errors import one_line_errors
from hybridlib.evaluation import COMPARED
from reproduction.findings.claims import judge_claims
from reproduction.findings.cross import against, read_blocks, values
from reproduction.findings.records import OF_RECORDS
from reproduction.run import HYBRID, UNTRAINED, XX
from reproduction.run.settings import read_yaml
from reproduction.workspace import Workspace


def tables(cells: pd.DataFrame, benchmarks: Sequence[str], languages: Sequence[str], claims_file: Path,
           ) -> dict[str, pd.DataFrame]:
    """The tables by name.

    Parameters
    ----------
    cells : DataFrame (see `reproduction.findings.cross.read_blocks`)
    benchmarks : sequence of str
        What the claims are judged on, the main one first.
    languages : sequence of str
        Those that were trained on.
    claims_file : path
    """
    # What was trained with fewer seeds stands beside Hybrid of the same seeds, in a table of its own.
    # Five seeds of X-X where a whole plan was measured.
    most = cells.loc[(cells["block"] == "headline") & (cells["system"] == str(XX)), "seed"].nunique()
    few = (cells["sampling"] != UNTRAINED.sampling) & (
        cells.groupby(["benchmark", "system"])["seed"].transform("nunique") < most)
    whole = cells[~few]
    screened = cells[few | ((cells["system"] == str(HYBRID)) & cells["benchmark"].isin(cells.loc[few, "benchmark"]))]
    every = {name: whole[(whole["benchmark"] == name) & (whole["block"] == "headline")] for name in benchmarks}
    asked = every[benchmarks[0]]["query_language"].unique()
    verdicts, parts = judge_claims(claims_file, every, benchmarks[0], [x for x in asked if x not in languages])
    return {"values": values(whole), "claims": verdicts, "claims_parts": parts,
            "against": against(whole, [str(HYBRID), str(UNTRAINED)], COMPARED),
            "screened": against(screened, str(HYBRID), COMPARED)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m reproduction.commands.tables", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="xquad", help="a file of configs/, without its ending")
    parser.add_argument("--device", default="cuda", help="what the evidence was measured on")
    chosen = parser.parse_args(arguments)
    with one_line_errors():
        workspace = Workspace()
        folder = workspace.results(chosen.preset) / chosen.device
        preset = read_yaml(workspace.configs / f"{chosen.preset}.yaml")
        blocks = sorted(x.name for x in folder.iterdir() if x.is_dir() and x.name not in OF_RECORDS)
        if not blocks:
            raise FileNotFoundError(f"{folder}: no evidence but what the records read")
        made = tables(read_blocks(folder, blocks), [entry["name"] for entry in preset["data"]["benchmarks"]],
                      preset["languages"], workspace.configs / "evidence" / "claims.yaml")
        for name, table in made.items():
            if not len(table):
                (folder / f"{name}.csv").unlink(missing_ok=True)
                continue
            with files.atomic(folder / f"{name}.csv") as temporary:
                table.to_csv(temporary, index=False, float_format="%.6g")
            print(f"{name}: {len(table)} rows -> {folder / name}.csv")
    return 0


if __name__ == "__main__":
    sys.exit(main())
