"""``docs/ledger.md``: what was measured of each system, by which command, and where each number stands."""

from collections.abc import Iterator, Sequence

import pandas as pd

from hybridlib.evaluation import HEADLINE, MEASURES, macro
from reproduction.findings.ledger import Ledger
from reproduction.run.evidence import read_cells

PAGE = "docs/ledger.md"
_TITLES = [measure.title for measure in HEADLINE]


def page(ledger: Ledger) -> str:
    """The page as Markdown: a table of systems and settings for each benchmark, the commands, and the rows."""
    parts = ["# Ledger", "",
             "Written by `make verify` from `results/` and [`ledger.yaml`](../results/ledger.yaml), not by hand.",
             "`make verify ROW=<name>` runs the command of one of the [rows](#rows) anew and compares;",
             "[the log](reproduction-log.md) says who did. Systems without a seed are not trained here.", ""]
    for benchmark, rows in _measured(ledger).groupby("benchmark", sort=False):
        parts += [f"## {benchmark}", "", _line(["system", "setting", *_TITLES, "seeds", "command"]),
                  _line(["---"] * (len(_TITLES) + 4))]
        parts += [_line([row["sampling"], row["setting"],
                         *("" if pd.isna(row[measure.title]) else measure.text(row[measure.title])
                           for measure in HEADLINE), row["seeds"] or "", _links(row["commands"])])
                  for _, row in rows.iterrows()]
        parts.append("")
    parts += ["## Commands", ""]
    for name, command in ledger.commands.items():
        makes = f" Makes {', '.join(f'`{made}`' for made in command.makes)}." if command.makes else ""
        within = f" Elsewhere within {command.tolerance:g}." if command.tolerance else ""
        parts += [f"### {name}", "", f"    {command.run}", "", f"On {command.machine}.{makes}{within}", ""]
    parts += ["## Rows", "", _line(["row", "stands in", "where", "kind", "command"]), _line(["---"] * 5)]
    for name, row in ledger.rows.items():
        where = f"“{row.quote}”" if row.quote else f"the table below “{row.below}”"
        where = where.replace("|", r"\|") + (f" ({row.note})" if row.note else "")
        parts.append(_line([name, f"[{row.stands}](../{row.stands})", where, row.kind,
                            _links(ledger.commands_of(row)) or f"`{row.sources[0]}`"]))
    return "\n".join(parts) + "\n"


def _line(cells: Sequence[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _links(names: Sequence[str]) -> str:
    return ", ".join(f"[{name}](#{name})" for name in names)


def _tables(ledger: Ledger) -> Iterator[tuple[str, pd.DataFrame]]:
    """The committed tables of systems, and tables of the evidence of runs: a row per benchmark, system and seed."""
    for path in sorted(ledger.root.glob("results/*/*.csv"), key=lambda path: (path.parent, "erasure" in path.name)):
        table = pd.read_csv(path).rename(columns={measure.name: measure.title for measure in MEASURES.values()})
        if {"benchmark", "system", "seed", *_TITLES} <= set(table):
            yield (path.relative_to(ledger.root).as_posix(),
                   table[table["languages"] == "all"] if "languages" in table else table)
    for folder in sorted({file.parent for file in ledger.root.glob("results/*/**/*.cells.parquet")}):
        for benchmark, cells in read_cells(folder).groupby("benchmark", sort=False):
            means = pd.DataFrame({measure.title: macro(cells, measure) for measure in HEADLINE}).reset_index()
            samplings = dict(zip(cells["system"], cells["sampling"], strict=True))
            yield (folder.relative_to(ledger.root).as_posix(),
                   means.assign(benchmark=benchmark, sampling=means["system"].map(samplings)))


def _measured(ledger: Ledger) -> pd.DataFrame:
    """Every system that was measured: means over seeds and draws, of the table of a machine with the most seeds."""
    found = []
    for path, table in _tables(ledger):
        # A sweep names a system by its sampling and what is changed; an erasure is named by what it is fitted on.
        table = table.assign(fit="erasure: " + table["fit"] if "fit" in table else "",
                             sampling=table["sampling"] if "sampling" in table else table["system"])
        names = ["benchmark", "system", "sampling", "fit"]
        for (benchmark, system, sampling, fit), rows in table.groupby(names, sort=False):
            found.append({"benchmark": benchmark, "sampling": sampling,
                          "setting": fit or system.removeprefix(sampling).strip(" +"),
                          "seeds": rows.loc[rows["seed"] >= 0, "seed"].nunique(),
                          "machine": "/".join(path.split("/")[1:-1]), "commands": ledger.makers(path)}
                         | rows[_TITLES].mean().to_dict())
    every = pd.DataFrame(found).sort_values("seeds", ascending=False, kind="stable")
    return every.drop_duplicates(["benchmark", "sampling", "setting", "machine"]).sort_index()
