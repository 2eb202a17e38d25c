"""``docs/ledger.md``: what was measured of each system, by which command, and where each number stands."""

from collections.abc import Sequence

import pandas as pd

from hybridlib.evaluation import HEADLINE, MEASURES
from reproduction.findings.ledger import Ledger

PAGE = "docs/ledger.md"


def page(ledger: Ledger) -> str:
    """The page as Markdown: a table of systems and settings for each benchmark, the commands, and the rows."""
    titles = [measure.title for measure in HEADLINE]
    parts = ["# Ledger", "",
             "Written by `make verify` from `results/` and [`ledger.yaml`](../results/ledger.yaml), not by hand.",
             "`make verify ROW=<name>` runs the command of one of the [rows](#rows) anew and compares;",
             "[the log](reproduction-log.md) says who did. Systems without a seed are not trained here.", ""]
    for benchmark, rows in _measured(ledger).groupby("benchmark", sort=False):
        parts += [f"## {benchmark}", "", _line(["system", "setting", *titles, "seeds", "command"]),
                  _line(["---"] * (len(titles) + 4))]
        parts += [_line([row["sampling"], row["setting"], *(measure.text(row[measure.title]) for measure in HEADLINE),
                         row["seeds"] or "", _links(row["commands"])]) for _, row in rows.iterrows()]
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


def _measured(ledger: Ledger) -> pd.DataFrame:
    """Every system that a committed table holds: means over seeds and draws, of the table with the most seeds."""
    found, titles = [], [measure.title for measure in HEADLINE]
    for path in sorted(ledger.root.glob("results/*/*.csv"), key=lambda path: (path.parent, "erasure" in path.name)):
        table = pd.read_csv(path).rename(columns={measure.name: measure.title for measure in MEASURES.values()})
        if not {"benchmark", "system", "seed", *titles} <= set(table):
            continue
        table = table[table["languages"] == "all"] if "languages" in table else table
        # A sweep names a system by its sampling and what is changed; an erasure is named by what it is fitted on.
        table = table.assign(fit="erasure: " + table["fit"] if "fit" in table else "",
                             sampling=table["sampling"] if "sampling" in table else table["system"])
        names = ["benchmark", "system", "sampling", "fit"]
        for (benchmark, system, sampling, fit), rows in table.groupby(names, sort=False):
            found.append({"benchmark": benchmark, "sampling": sampling,
                          "setting": fit or system.removeprefix(sampling).strip(" +"),
                          "seeds": rows.loc[rows["seed"] >= 0, "seed"].nunique(),
                          "commands": ledger.makers(path.relative_to(ledger.root).as_posix())}
                         | rows[titles].mean().to_dict())
    every = pd.DataFrame(found).sort_values("seeds", ascending=False, kind="stable")
    return every.drop_duplicates(["benchmark", "sampling", "setting"]).sort_index()
