"""Tables from committed evidence: means, differences from Hybrid and from the untrained encoder, with 95 % intervals.

    python -m reproduction.commands.tables --preset xquad

Nothing is trained or encoded. Writes ``values.csv``, ``against.csv`` (every run that was measured with five seeds),
``screened.csv`` (those with fewer), and the verdicts, ``claims.csv`` and ``claims_parts.csv``, beside the evidence,
``results/<preset>/<device>/``.
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
from reproduction.run import HYBRID, UNTRAINED
from reproduction.workspace import Workspace

BENCHMARKS, UNSEEN = ("xquad-r", "mlqa-r"), ("el", "vi")
SEEDS = 5  # under which a difference is a lead, and no result


def tables(folder: Path, claims_file: Path) -> dict[str, pd.DataFrame]:
    """The tables by name."""
    cells = read_blocks(folder)
    # What was trained with fewer seeds stands beside Hybrid of the same seeds, in a table of its own.
    few = (cells["sampling"] != UNTRAINED.sampling) & (
        cells.groupby(["benchmark", "system"])["seed"].transform("nunique") < SEEDS)
    whole = cells[~few]
    screened = cells[few | ((cells["system"] == str(HYBRID)) & cells["benchmark"].isin(cells.loc[few, "benchmark"]))]
    # The verdicts are on the preset's benchmarks, the released ones.
    every = {name: cells[(cells["benchmark"] == name) & (cells["block"] == "headline")] for name in BENCHMARKS}
    verdicts, parts = judge_claims(claims_file, every, BENCHMARKS[0], UNSEEN)
    return {"values": values(whole), "claims": verdicts, "claims_parts": parts,
            "against": pd.concat([against(whole, str(x), COMPARED) for x in (HYBRID, UNTRAINED)], ignore_index=True),
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
        for name, table in tables(folder, workspace.configs / "evidence" / "claims.yaml").items():
            with files.atomic(folder / f"{name}.csv") as temporary:
                table.to_csv(temporary, index=False, float_format="%.6g")
            print(f"{name}: {len(table)} rows -> {folder / name}.csv")
    return 0


if __name__ == "__main__":
    sys.exit(main())
