"""Records: recipes that are better than the reference in all numbers, by a rule that was written before they were run.

``configs/evidence/records.yaml`` has the rule, what is chosen from and on which articles, and the rows.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hybridlib.evaluation import HEADLINE, MEASURES, NO_SEED, differences, macro
from reproduction.run import UNTRAINED, System
from reproduction.run.settings import SettingsError, read_yaml
from reproduction.run.training import LOSSES

MONOLINGUAL = "monolingual AP"
# Blocks of a plan that nothing else reads.
OF_RECORDS = ("trial", "trial-mlqa", "screening", "confirmation", "soups", "hubs")
_PARTS = {"reference", "rule", "choices", "records"}


def read_records(file: str | Path) -> dict[str, Any]:
    """The rule, the choices and the rows.

    Raises
    ------
    SettingsError
        If the file says something else, or a row leaves out what it must say.
    """
    found = read_yaml(file)
    if found.keys() != _PARTS:
        raise SettingsError(f"{file}: expected {', '.join(sorted(_PARTS))}")
    for kind, must in (("choices", {"evidence", "benchmark", "articles", "candidates"}),
                       ("records", {"recipe", "evidence", "judged_on"})):
        for number, row in enumerate(found[kind], 1):
            if not isinstance(row, dict) or not must <= row.keys():
                raise SettingsError(f"{file}: number {number} of {kind} must say {', '.join(sorted(must))}")
    for number, row in enumerate(found["choices"], 1):
        if "units" in row and sorted(row["units"]) != sorted(found["rule"]["better"]):
            raise SettingsError(f"{file}: number {number} of choices: expected units of "
                                f"{', '.join(found['rule']['better'])}")
    unknown = [name for name in found["rule"]["better"] if name not in MEASURES]
    if unknown:
        raise SettingsError(f"{file}: rule: no measure {', '.join(unknown)}")
    return found


def dearer(recipe: str, settings: Mapping[str, Any]) -> list[str]:
    """In what a recipe costs more than the settings of a preset: steps, batch or trained layers; empty if in nothing.

    A step with a teacher counts for one and a half, for it encodes as many texts again, forwards only; so does one with
    a question in two languages. Of several losses each has its steps.

    >>> dearer("X-Y steps=50 trainable_layers=null + erasure-corpus", {"steps": 150, "trainable_layers": 6})
    ['trainable_layers']
    >>> [dearer(f"X-Y loss={loss} steps={n}", {"steps": 150}) for loss in ("anchored", "clear") for n in (100, 101)]
    [[], ['steps'], [], ['steps']]
    >>> [dearer(f"X-Y losses=[embedding_distillation,centred] steps={n}", {"steps": 150}) for n in (60, 61)]
    [[], ['steps']]
    """
    def much(value: Any) -> float:
        return np.inf if value is None else value  # all layers
    system = System.parse(recipe)
    changes = dict(system.changes)
    more = [getattr(LOSSES.get(one.setting("loss")), "needs", None) in ("english", "parallel_query")
            for one in system.trainings]
    each = {"steps": len(more) + sum(more) / 2}
    return [name for name in ("steps", "batch_size", "trainable_layers")
            if name in settings and much(changes.get(name, settings[name])) * each.get(name, 1) > much(settings[name])]


def half(cells: pd.DataFrame, which: str) -> pd.DataFrame:
    """The cells of one half of the clusters: "even" or "odd", by their number in the release; "all" for all."""
    if which == "all":
        return cells
    if which not in ("even", "odd"):
        raise SettingsError(f"articles: {which!r}, expected even, odd or all")
    number = cells["cluster"].astype(str).str.extract(r"(\d+)$")[0].astype(int)
    return cells[number % 2 == ("even", "odd").index(which)]


def gains(cells: pd.DataFrame, candidates: Sequence[str], reference: str,
          measures: Sequence[str] = tuple(map(str, HEADLINE)),
          units: Mapping[str, float] | None = None) -> pd.DataFrame:
    """What each candidate gains over the reference, in means over the seeds that both have.

    Parameters
    ----------
    cells : DataFrame (see `hybridlib.evaluation.cells`)
        Of one benchmark.
    candidates : sequence of str
        Systems; those that were not measured are left out.
    reference : str
    measures : sequence of str
    units : mapping of measure to number, optional
        What a gain is divided by before the smallest is looked for, say half the width of its usual interval.

    Returns
    -------
    DataFrame
        A row per candidate, the largest ``smallest`` first: the gain in each measure, positive where it is better, a
        rank distance as a share of the reference's; ``smallest`` of them; ``within``, the monolingual AP over that of
        the untrained encoder; and ``seeds``.
    """
    rows = []
    untrained = _mean(cells, str(UNTRAINED), MONOLINGUAL, None)
    for candidate in candidates:
        seeds = set(cells.loc[cells["system"] == candidate, "seed"])
        seeds &= set(cells.loc[cells["system"] == reference, "seed"])
        if not seeds:
            continue
        row: dict[str, Any] = {"system": candidate, "seeds": len(seeds)}
        for name in measures:
            ours, theirs = (_mean(cells, system, name, seeds) for system in (candidate, reference))
            gain = MEASURES[name].better(ours - theirs)
            row[name] = gain / theirs if name == "rank distance" else gain
        row["smallest"] = min(row[name] / (units[name] if units else 1) for name in measures)
        row["within"] = _mean(cells, candidate, MONOLINGUAL, seeds) - untrained
        rows.append(row)
    return pd.DataFrame(rows).sort_values("smallest", ascending=False, kind="stable", ignore_index=True)


def _mean(cells: pd.DataFrame, system: str, measure: str, seeds: set[int] | None) -> float:
    rows = cells[(cells["system"] == system) & (cells["seed"].isin(seeds) if seeds else True)]
    return float(macro(rows, measure).mean())


def choose(table: pd.DataFrame, loss: float) -> str:
    """The candidate that is confirmed: of those within the loss the one whose smallest gain is largest.

    Where none is within it, the one that loses least within a language.

    Parameters
    ----------
    table : DataFrame (see `gains`)
    loss : float
        How far under the untrained encoder its monolingual AP may be.
    """
    inside = table[table["within"] >= -loss]
    ordered = inside if len(inside) else table.sort_values("within", ascending=False, kind="stable")
    return str(ordered["system"].iloc[0])


def choose_three(table: pd.DataFrame, loss: float, stricter: float) -> list[str]:
    """Three candidates to confirm: the rule's, the rule's of another training, and the rule's with a stricter loss.

    Candidates with one seed are left out.

    Parameters
    ----------
    table : DataFrame (see `gains`)
    loss, stricter : float
        See `choose`.
    """
    def training(name: str) -> System:
        return System.parse(name).base.without("trained_share")
    table = table[table["seeds"] > 1]
    chosen = [choose(table, loss)]
    chosen.append(choose(table[table["system"].map(training) != training(chosen[0])], loss))
    return [*chosen, choose(table[~table["system"].isin(chosen)], stricter)]


def judge(cells: pd.DataFrame, recipe: str, reference: str, rule: Mapping[str, Any]) -> pd.DataFrame:
    """A recipe held against the rule, on each benchmark of some cells.

    Returns
    -------
    DataFrame
        ``benchmark``, ``measure``, ``value``, ``reference`` (its value), ``difference``, ``low``, ``high`` (95 % over
        clusters and paired seeds), ``seeds`` and ``holds``: whether the interval excludes zero on the better side. Two
        rows more per benchmark: ``within``, monolingual AP beside that of the untrained encoder, which holds where the
        mean loss is no larger than the rule allows; ``seeds``, which holds where they are as many as it wants.
    """
    if missing := {recipe, reference, str(UNTRAINED)} - {*cells["system"]}:
        raise SettingsError(f"{recipe}: the evidence has no {', '.join(sorted(missing))}")
    rows, common = [], {NO_SEED}
    of_both = [set(cells.loc[cells["system"] == name, "seed"]) - {NO_SEED} for name in (recipe, reference)]
    if trained := [*filter(None, of_both)]:
        common |= set.intersection(*trained)
    cells = cells[cells["seed"].isin(common)]
    found = _against(cells, [recipe], reference, rule["better"])
    for row in found.itertuples():
        measure = MEASURES[row.measure]
        of_benchmark = cells[cells["benchmark"] == row.benchmark]
        value, theirs = (_mean(of_benchmark, system, row.measure, None) for system in (recipe, reference))
        better = sorted((measure.better(row.low), measure.better(row.high)))
        rows.append({"benchmark": row.benchmark, "measure": row.measure, "value": value, "reference": theirs,
                     "difference": row.difference, "low": row.low, "high": row.high, "seeds": row.seeds,
                     "holds": better[0] > 0})
    for benchmark, of_benchmark in cells.groupby("benchmark", sort=False):
        value, theirs = (_mean(of_benchmark, system, MONOLINGUAL, None) for system in (recipe, str(UNTRAINED)))
        seeds = int(found.loc[found["benchmark"] == benchmark, "seeds"].iloc[0])
        rows.append({"benchmark": benchmark, "measure": "within", "value": value, "reference": theirs,
                     "difference": value - theirs, "low": np.nan, "high": np.nan, "seeds": seeds,
                     "holds": value - theirs >= -rule["monolingual_loss"]})
        rows.append({"benchmark": benchmark, "measure": "seeds", "value": seeds, "reference": rule["seeds"],
                     "difference": seeds - rule["seeds"], "low": np.nan, "high": np.nan, "seeds": seeds,
                     "holds": seeds >= rule["seeds"]})
    return pd.DataFrame(rows)


def by_group(cells: pd.DataFrame, systems: Sequence[str], reference: str, groups: Mapping[str, Sequence[str]],
             measures: Sequence[str] = tuple(map(str, HEADLINE))) -> pd.DataFrame:
    """Where systems differ from a reference: the same differences over some query languages only.

    Parameters
    ----------
    cells : DataFrame (see `hybridlib.evaluation.cells`)
    systems : sequence of str
    reference : str
    groups : mapping of name to languages
        A group of which a benchmark asks in no language is left out there.
    measures : sequence of str

    Returns
    -------
    DataFrame
        ``benchmark``, ``system``, ``reference``, ``seeds``, ``measure``, ``difference``, ``low``, ``high`` (95 % over
        clusters and paired seeds) and ``queries``, the group's name.
    """
    parts = []
    for name, languages in groups.items():
        some = cells[cells["query_language"].isin(list(languages))]
        if len(some):
            parts.append(_against(some, systems, reference, measures).assign(queries=name))
    return pd.concat(parts, ignore_index=True)


def _against(cells: pd.DataFrame, systems: Sequence[str], reference: str, measures: Sequence[str]) -> pd.DataFrame:
    """Each system minus a reference on each benchmark, over the seeds that both have; one seed has no interval."""
    rows = []
    for (benchmark, system), _ in cells[cells["system"].isin(systems)].groupby(["benchmark", "system"], sort=False):
        pair = cells[(cells["benchmark"] == benchmark) & cells["system"].isin([system, reference])]
        seeds = [set(pair.loc[pair["system"] == name, "seed"]) - {NO_SEED} for name in (system, reference)]
        common = set.intersection(*filter(None, seeds)) if any(seeds) else set()
        pair = pair[pair["seed"].isin([*common, NO_SEED])]
        found = differences(pair, system, reference, measures)
        if len(common) == 1:
            found[["low", "high"]] = np.nan
        rows += [{"benchmark": benchmark, "system": system, "reference": reference, "seeds": len(common),
                  "measure": name} | dict(row) for name, row in found.iterrows()]
    return pd.DataFrame(rows)


def misses(judged: pd.DataFrame) -> list[str]:
    """What keeps a recipe out of the table: the parts of the rule that do not hold; empty for one that enters.

    >>> misses(pd.DataFrame({"benchmark": ["b", "b"], "measure": ["within", "rank distance"], "holds": [False, True]}))
    ['within on b']
    """
    return [f"{row.measure} on {row.benchmark}" for row in judged.itertuples() if not row.holds]
