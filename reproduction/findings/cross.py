"""Remedies and samplings against each other, from evidence that was kept (`reproduction.run.evidence`).

Nothing is trained or encoded here: every number is computed from sums over articles.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from hybridlib.evaluation import COMPARED, HEADLINE, MEASURES, NO_SEED, draws_of, interval, macro
from hybridlib.evaluation.intervals import holm, p_value
from reproduction.run.evidence import KEPT, check_alike, read_cells

TESTED_DRAWS = 40_000  # a two-sided p is never below two over them: a family of a thousand cannot be told apart by it
FURTHER = [MEASURES[name] for name in KEPT if name not in map(str, COMPARED)]


def read_blocks(folder: str | Path, blocks: Sequence[str] = ()) -> pd.DataFrame:
    """The cells of some blocks of a plan, or of all, under a folder such as ``results/xquad/cuda``.

    Raises
    ------
    RunError
        If they are of two precisions or devices.
    FileNotFoundError
        If a block is not there.
    """
    places = [Path(folder, block) for block in blocks] or sorted(x for x in Path(folder).iterdir() if x.is_dir())
    check_alike([file for place in places for file in sorted(place.glob("*.cells.parquet"))])
    return pd.concat([read_cells(place).assign(block=place.name) for place in places], ignore_index=True)


def _comparable(cells: pd.DataFrame, reference: str | None) -> Iterator[pd.DataFrame]:
    """Parts of one benchmark in which all trained systems have the same seeds; what is not trained is in each."""
    seeds = {system: frozenset(found) - {NO_SEED} for system, found in cells.groupby("system")["seed"].unique().items()}
    if reference and seeds[reference]:
        common = {system: found & seeds[reference] for system, found in seeds.items()}
        seeds = {system: found for system, found in common.items() if found or not seeds[system]}
    every = sorted({found for found in seeds.values() if found}, key=lambda x: (-len(x), sorted(x)))
    for same in every or [frozenset()]:
        alike = [system for system, found in seeds.items() if found in (same, frozenset())]
        yield cells[cells["system"].isin([*alike, reference]) & cells["seed"].isin([*same, NO_SEED])]


def values(cells: pd.DataFrame, measures: Sequence = (*COMPARED, *FURTHER), draws: int = 10_000) -> pd.DataFrame:
    """Means with 95 % intervals over clusters and seeds.

    Returns
    -------
    DataFrame
        ``benchmark``, ``system``, ``sampling``, ``remedy``, ``seeds``, ``measure``, ``value``, ``low``, ``high``; where
        a system has one training seed, or a benchmark no such measure, the interval or the row is missing.
    """
    rows = []
    for benchmark, of_benchmark in cells.groupby("benchmark", sort=False):
        for part in _comparable(of_benchmark, None):
            about = part.groupby("system", sort=False)[["sampling", "remedy"]].first()
            seeds = part[part["seed"] != NO_SEED].groupby("system")["seed"].nunique()
            for measure in map(str, measures):
                means = macro(part, measure).groupby(level="system", sort=False).mean()
                if means.isna().all():
                    continue
                drawn = draws_of(part, measure, draws)
                for system, mean in means.items():
                    low, high = _interval(drawn[system], seeds.get(system, 0) == 1)
                    rows.append({"benchmark": benchmark, "system": system, **about.loc[system],
                                 "seeds": seeds.get(system, 0), "measure": measure, "value": mean, "low": low,
                                 "high": high})
    columns = ["benchmark", "system", "sampling", "remedy", "seeds", "measure", "value", "low", "high"]
    return pd.DataFrame(rows, columns=columns).drop_duplicates(["benchmark", "system", "measure"], ignore_index=True)


def against(cells: pd.DataFrame, reference: str | Sequence[str], measures: Sequence = COMPARED,
            draws: int = 10_000) -> pd.DataFrame:
    """Each system minus a reference, over the seeds that both have, with 95 % intervals over clusters and seeds.

    Parameters
    ----------
    cells : DataFrame (see `read_blocks`)
    reference : str, or sequence of str
        Several give one table below the other, as if each were asked for alone; what is drawn is shared.
    measures : sequence of str or Measure
    draws : int

    Returns
    -------
    DataFrame
        ``benchmark``, ``system``, ``reference``, ``seeds``, ``measure``, ``difference``, ``low``, ``high``; ``p``, two
        sided, from the same draws; and ``holm``, corrected over the paper's four numbers of all systems and benchmarks
        and its reference. What is not among the four has neither; neither has what has one training seed.
    """
    references = [reference] if isinstance(reference, str) else reference
    rows: dict[str, list[dict]] = {one: [] for one in references}
    for benchmark, of_benchmark in cells.groupby("benchmark", sort=False):
        known: dict[tuple, pd.DataFrame] = {}
        for one, part in ((x, part) for x in references if x in set(of_benchmark["system"])
                          for part in _comparable(of_benchmark, x)):
            counts = part[part["seed"] != NO_SEED].groupby("system")["seed"].nunique()
            same = frozenset(part["system"].unique()), frozenset(part["seed"].unique())  # all that parts differ in
            for measure in map(str, measures):
                means = macro(part, measure).groupby(level="system", sort=False).mean()
                if means.isna().all():
                    continue
                headline = measure in map(str, HEADLINE)
                if (*same, measure) not in known:
                    known[*same, measure] = draws_of(part, measure, TESTED_DRAWS if headline else draws)
                drawn = known[*same, measure]
                for system in means.index.drop(one):
                    seeds = max(counts.get(system, 0), counts.get(one, 0))
                    difference = drawn[system] - drawn[one]
                    low, high = _interval(difference, seeds == 1)
                    # Where nothing can differ (monolingual under quota) nothing is tested.
                    p = (min(1.0, 2 * min(p_value(difference), p_value(-difference)))
                         if headline and seeds != 1 and difference.any() else np.nan)
                    rows[one].append({"benchmark": benchmark, "system": system, "reference": one, "seeds": seeds,
                                      "measure": measure, "difference": means[system] - means[one], "low": low,
                                      "high": high, "p": p})
    columns = ["benchmark", "system", "reference", "seeds", "measure", "difference", "low", "high", "p"]
    tables = [pd.DataFrame(rows[one], columns=columns).drop_duplicates(["benchmark", "system", "measure"])
              for one in references]
    return pd.concat([table.assign(holm=holm(table["p"])) for table in tables], ignore_index=True)


def within(cells: pd.DataFrame, apart: Sequence[str], system: str, reference: str, measures: Sequence,
           ) -> pd.DataFrame:
    """Differences from a reference among the cells that are alike in some columns.

    Parameters
    ----------
    cells : DataFrame
    apart : sequence of str
        Columns: "benchmark" and "remedy", say, to compare samplings within each remedy.
    system : str
        The column of what is compared: "sampling".
    reference : str
        One of its values.
    measures : sequence of str or Measure

    Returns
    -------
    DataFrame
        The columns that were kept apart, the one of what is compared, ``measure``, ``difference``, ``low``, ``high``.
    """
    rows = []
    for key, group in cells.assign(system=cells[system]).groupby(list(apart), sort=False):
        for measure in map(str, measures):
            means = macro(group, measure).groupby(level="system", sort=False).mean()
            drawn = draws_of(group, measure)
            for name in means.index.drop(reference):
                low, high = interval(drawn[name] - drawn[reference])
                rows.append(dict(zip(apart, key, strict=True)) | {
                    system: name, "measure": measure, "difference": means[name] - means[reference], "low": low,
                    "high": high})
    return pd.DataFrame(rows)


def _interval(drawn: pd.Series, one_seed: bool) -> tuple[float, float]:
    """Of one training seed the spread over seeds is not known, and neither is an interval that would hold it."""
    return (np.nan, np.nan) if one_seed or drawn.isna().any() else interval(drawn)
