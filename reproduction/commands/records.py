"""The record table: what was chosen, what is confirmed, and what each recipe misses.

    python -m reproduction.commands.records

Nothing is trained: it reads committed evidence, ``results/<preset>/<device>/<block>``, by the rule of
``configs/evidence/records.yaml``, and says who enters docs/records.md; the tables ``choices``, ``records`` and
``records_where`` go to ``results/``, a picture of the last choice to ``figures/``. To enter a recipe: a block of
``configs/evidence/plan.yaml`` with five seeds of it and of the reference, ``make evidence BUDGET=…``, ``make publish``,
a row under ``records``, and this.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import cache

import pandas as pd

from hybridlib import files
from hybridlib.errors import one_line_errors
from hybridlib.languages import SCRIPTS
from reproduction.findings.cross_figures import trade
from reproduction.findings.figures import seeds_text, use_style
from reproduction.findings.records import (
    by_group,
    choose,
    choose_three,
    dearer,
    gains,
    half,
    judge,
    misses,
    read_records,
)
from reproduction.run import UNTRAINED
from reproduction.run.evidence import read_cells
from reproduction.run.settings import SettingsError, read_yaml
from reproduction.workspace import Workspace


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    argparse.ArgumentParser(prog="python -m reproduction.commands.records", description=__doc__,
                            formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(arguments)
    with one_line_errors():
        workspace = Workspace()
        found = read_records(workspace.configs / "evidence" / "records.yaml")
        rule, reference = found["rule"], found["reference"]

        for row in (*found["choices"], *found["records"]):
            settings = read_yaml(workspace.configs / f"{row['evidence'][0].split('/')[0]}.yaml")
            for recipe in row.get("candidates", [row.get("recipe")]):
                if more := dearer(recipe, settings):
                    raise SettingsError(f"{recipe}: has more than {reference} of {', '.join(more)}")

        read = cache(lambda place: read_cells(workspace.root / "results" / place))

        def cells_of(row: dict, benchmarks: list[str]) -> pd.DataFrame:
            every = pd.concat(map(read, row["evidence"]))
            return every[every["benchmark"].isin(benchmarks)]

        choices = []
        for number, choice in enumerate(found["choices"], 1):
            cells = half(cells_of(choice, [choice["benchmark"]]), choice["articles"])
            table = gains(cells, choice["candidates"], reference, rule["better"], choice.get("units"))
            if "stricter" in choice:
                chosen = choose_three(table, rule["monolingual_loss"], choice["stricter"])
            else:  # of one seed nothing is chosen
                chosen = [choose(table, rule["monolingual_loss"])] if table["seeds"].max() > 1 else []
            choices.append(table.assign(choice=number, chosen=table["system"].isin(chosen)))
            print(f"choice {number}, from {', '.join(choice['evidence'])}: {'; '.join(chosen) or 'a trial, one seed'}")
        records, where, told = [], [], set()
        for record in found["records"]:
            judged = pd.concat([judge(half(cells_of(record, [name]), articles), record["recipe"], reference, rule)
                                for name, articles in record["judged_on"].items()], ignore_index=True)
            failed = misses(judged)
            cells = cells_of(record, list(record["judged_on"]))
            trained = read_yaml(workspace.configs / f"{record['evidence'][0].split('/')[0]}.yaml")["languages"]
            asked = sorted(cells["query_language"].unique())
            groups = {"trained on": trained, "not trained on": [x for x in asked if x not in trained],
                      "Latin script": [x for x in asked if x not in SCRIPTS], "other scripts": list(SCRIPTS)}
            evidence = ", ".join(record["evidence"])
            once = [reference] if evidence not in told else []  # beside the untrained encoder; with the first recipe
            pairs = (([record["recipe"]], reference), ([record["recipe"], *once], str(UNTRAINED)))
            for systems, against in pairs if judged["seeds"].max() > 1 else ():  # one seed has no interval
                where.append(by_group(cells, systems, against, groups, rule["better"]).assign(evidence=evidence))
                told.add(evidence)
            records.append(judged.assign(recipe=record["recipe"], evidence=evidence))
            print(f"{record['recipe']}: " + ("enters" if not failed else f"does not enter: {', '.join(failed)}"))
        for name, tables in (("choices", choices), ("records", records), ("records_where", where)):
            if tables:
                table = pd.concat(tables, ignore_index=True)
                with files.atomic(workspace.root / "results" / f"{name}.csv") as temporary:
                    table.to_csv(temporary, index=False, float_format="%.6g")
        last, last_table = found["choices"][-1], choices[-1]
        use_style()
        fewest, most = last_table["seeds"].min(), last_table["seeds"].max()
        note = (f"{last['benchmark']}, {last['articles']} articles; each with the map, shares of a training joined. "
                + (seeds_text(int(most)) if fewest == most else f"{fewest} to {most} seeds."))
        with files.atomic(workspace.root / "figures" / last["evidence"][0].split("/")[0] / "records.png") as temporary:
            trade(last_table, rule["monolingual_loss"], note).savefig(temporary, format="png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
