"""Print what evening out hubs adds to the map: ``python -m reproduction.commands.hubs --preset mini --seeds 0 1 2``.

For the preset's encoder as it comes and, with ``--seeds``, for those runs of the three samplings that lie under
``runs/``: the four numbers and how often the own language's answer is first, with the map (``erasure-corpus``); and
what nearest-neighbour normalization on top of it adds to them, for several numbers of neighbours and weights, with 95 %
intervals over articles and, from two on, seeds. Of XQuAD-R the articles with even numbers chose the default, so those
with odd numbers stand apart. Nothing is trained; the table is left where ``make publish`` finds it.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from hybridlib import files
from hybridlib.data import TestSet
from hybridlib.debiasing import LanguageErasure, NearestNeighborNormalization
from hybridlib.errors import one_line_errors
from hybridlib.evaluation import HEADLINE, MEASURES, NO_SEED, differences, macro, per_query, rank_test_set
from reproduction.findings.records import half
from reproduction.findings.tables import difference_text
from reproduction.run import HYBRID, UNTRAINED, XX, XY, Store, System
from reproduction.workspace import Workspace

MAP = "the map"
NEIGHBORS, WEIGHTS = (10, 50, 200), (0.1, 0.25, 0.5)
MEASURED = (*HEADLINE, MEASURES["own language first"])


def variants(test_set: TestSet, queries: np.ndarray, candidates: np.ndarray,
             ) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Names and embeddings, the map alone first."""
    erasure = LanguageErasure.fit(candidates, test_set.candidates["language"].to_numpy())
    queries, candidates = erasure.transform(queries), erasure.transform(candidates)
    yield MAP, queries, candidates
    for neighbors in (x for x in NEIGHBORS if x < len(candidates)):
        normalization = NearestNeighborNormalization(candidates, neighbors)
        documents = normalization.documents(candidates)  # the same for every weight, which stands beside the queries
        for weight in WEIGHTS:
            yield (f"{neighbors} neighbours, weight {weight}", replace(normalization, weight=weight).queries(queries),
                   documents)


def measure(store: Store, system: System, seeds: Sequence[int], name: str) -> pd.DataFrame:
    """The measures of each query (`per_query`) of each variant; ``system`` is the variant's name."""
    tables = []
    for seed in seeds:
        for variant, *embeddings in variants(store.test_set(name), *store.embeddings(system, seed, name)):
            found = per_query(rank_test_set(store.test_set(name), *embeddings))
            tables.append(found.assign(system=variant, seed=seed))
    return pd.concat(tables, ignore_index=True)


def compared(results: pd.DataFrame) -> pd.DataFrame:
    """A row per variant and measure: its mean, and what it adds to the map alone, with its interval."""
    rows = []
    for variant, of in product(results["system"].unique(), MEASURED):
        if results[of.name].isna().all():  # no answer in another language, say
            continue
        row = {"variant": variant, "measure": str(of), "mean": macro(results, of)[variant].mean()}
        if variant != MAP:
            row |= differences(results, variant, MAP, [of]).loc[str(of)].to_dict()
        rows.append(row)
    return pd.DataFrame(rows)


def tables(store: Store, seeds: Sequence[int], test_sets: Sequence[str]) -> pd.DataFrame:
    """`compared` for all systems, test sets and, of XQuAD-R, both halves of its articles."""
    found = []
    for name, system in product(test_sets, (UNTRAINED, XX, XY, HYBRID)):
        runs = [NO_SEED] if system == UNTRAINED else [seed for seed in seeds if store.is_trained(system, seed)]
        if not runs:
            continue
        results = measure(store, system, runs, name)
        for articles in ("even", "odd", "all") if name == "xquad-r" else ("all",):
            place = {"benchmark": name, "articles": articles, "system": str(system), "seeds": len(runs)}
            found.append(compared(half(results, articles)).assign(**place))
    return pd.concat(found, ignore_index=True)


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """One line per variant: the mean of the map alone, differences with their intervals of the others."""
    def text(row: pd.Series) -> str:
        of = MEASURES[row["measure"]]
        if row["variant"] == MAP:
            return of.text(row["mean"])
        return difference_text(of, row["difference"], row["low"], row["high"])

    cells = table.assign(text=table.apply(text, axis=1), measure=table["measure"].map(lambda x: MEASURES[x].title))
    place = ["benchmark", "articles", "system", "variant"]
    wide = cells.groupby([*place, "measure"], sort=False)["text"].first().unstack()
    return wide.reindex(columns=[of.title for of in MEASURED]).fillna("")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m reproduction.commands.hubs", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="mini", help="a file of configs/, without its ending")
    parser.add_argument("--data", type=Path, help="folder of the preset's data, where it needs one")
    parser.add_argument("--seeds", type=int, nargs="*", default=[], help="of the runs of the three samplings")
    parser.add_argument("--test-sets", nargs="+", help="the preset's, its further ones too; by default its benchmarks")
    chosen = parser.parse_args(arguments)
    with one_line_errors():
        store = Store.open(chosen.preset, Workspace(chosen.data))
        table = tables(store, chosen.seeds, chosen.test_sets or list(store.test_sets))
        file = store.workspace.drawn(chosen.preset) / "results" / "hubs.csv"
        with files.atomic(file) as temporary:
            table.to_csv(temporary, index=False, float_format="%.6f")
        print(f"{shown(table).to_string()}\n{file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
