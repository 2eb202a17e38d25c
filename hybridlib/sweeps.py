"""Sweeps: which systems, what they cost, and what was measured.

A sweep is a list of systems in ``configs/evidence/sweeps.yaml``. Its runs are run folders like any other, so a sweep
that was stopped goes on where it was. What comes out is a small table, one row per run, kept under ``figures/`` with
the pictures: without the runs the notebooks show the committed one.
"""

import json
import math
import warnings
from pathlib import Path
from statistics import fmean

import pandas as pd
import yaml

from hybridlib import evidence, figures, metrics, runs
from hybridlib.presets import CONFIGS, parse
from hybridlib.sampling import SAMPLINGS
from hybridlib.tables import HEADLINE

FILE = CONFIGS / "evidence" / "sweeps.yaml"


def available(preset, names, fraction):
    """Those of some tables that can be shown: sweeps that the preset has, or with ``fraction`` 0 those committed."""
    has = yaml.safe_load(FILE.read_text("utf-8")).get(preset.name, {})
    return [name for name in names if (name in has if fraction else _file(preset, name).is_file())]


def _file(preset, name):
    return figures.FOLDER / preset.name / f"sweep_{name}.csv"


def systems(preset, name, fraction=1.0):
    """The systems of a sweep, or so many from its front.

    Parameters
    ----------
    preset : hybridlib.presets.Preset
    name : str
    fraction : float in (0, 1]

    Raises
    ------
    ValueError
        If the preset has no such sweep.
    """
    every = yaml.safe_load(FILE.read_text("utf-8")).get(preset.name, {})
    if name not in every:
        raise ValueError(f"preset {preset.name!r} has no sweep {name!r} in {FILE.name}; it has: {', '.join(every)}")
    return every[name][:math.ceil(fraction * len(every[name]))]


def runs_of(chosen, seeds):
    """The trained runs that systems need: a list of (system, seed), each once, debiasing apart."""
    bases = dict.fromkeys(system.partition(" + ")[0] for system in chosen)
    return [(base, seed) for base in bases if parse(base)[0] in SAMPLINGS for seed in seeds]


def cost(preset, chosen, seeds):
    """What is left to train, and what that takes: ``(runs missing, minutes, gigabytes)``.

    Minutes per step and gigabytes per run are those of the preset's finished runs here; NaN before the first.
    """
    missing = [run for run in runs_of(chosen, seeds) if not preset.is_trained(*run)]
    done = list(Path(preset.folder).glob("*-s*/manifest.json"))
    each = [m["seconds"] / m["steps_run"] for m in (json.loads(file.read_text("utf-8")) for file in done)]
    steps = sum(preset.settings(*run)["steps"] for run in missing)
    pace, size = (fmean(each), fmean(runs.size(file.parent) for file in done)) if done else (math.nan, math.nan)
    return len(missing), steps * pace / 60, len(missing) * size / 1e9


def summary(results, unseen):
    """One row per run: ``system``, ``seed``, and the four numbers over all, the trained and the unseen languages."""
    rows = []
    for (system, seed), table in results.groupby(["system", "seed"], sort=False):
        means = metrics.per_language(table.drop(columns=["system", "seed"]))[list(HEADLINE)]
        for languages, chosen in (("all", means.index), ("unseen", means.index.intersection(unseen)),
                                  ("trained", means.index.difference(unseen))):
            rows.append({"system": system, "seed": seed, "languages": languages} | means.loc[chosen].mean().to_dict())
    return pd.DataFrame(rows)


def measure(preset, name, seeds, fraction=1.0):
    """Train and evaluate what is missing of a sweep, and keep its table; or read the committed table.

    Parameters
    ----------
    preset : hybridlib.presets.Preset
    name : str
    seeds : list of int
    fraction : float
        Of the sweep; 0 trains nothing and returns what was committed.

    Returns
    -------
    DataFrame
        See `summary`; with ``benchmark``.

    Raises
    ------
    FileNotFoundError
        If ``fraction`` is 0 and nothing was committed for the preset.
    """
    if not fraction:
        return _committed(preset, name)
    unseen = [x for x in preset.benchmark.languages if x not in preset.config["languages"]]
    table = pd.concat([summary(results, unseen).assign(benchmark=benchmark)
                       for benchmark, results in _results(preset, systems(preset, name, fraction), seeds).items()],
                      ignore_index=True)
    return _commit(preset, name, table)


def recipe(preset, seeds, fraction=1.0):
    """As `measure`, for the sweep "recipe": what `hybridlib.evidence.recipe` says of its systems beside Hybrid.

    Returns
    -------
    DataFrame
        The second table of `hybridlib.evidence.recipe`, and ``seeds``, their number.
    """
    if not fraction:
        return _committed(preset, "recipe")
    chosen = systems(preset, "recipe", fraction)
    if len(chosen) < 2 or len(seeds) < 2:
        raise ValueError(f"a recipe is chosen among several systems and confirmed with several seeds; fraction "
                         f"{fraction} leaves {', '.join(chosen)}, and the seeds are {seeds}")
    _, confirmed = evidence.recipe(
        _results(preset, chosen, seeds), preset.benchmark.name, "Hybrid", list(HEADLINE))
    return _commit(preset, "recipe", confirmed.assign(seeds=len(seeds)))


def against(preset, name, seeds, fraction=1.0):
    """As `measure`: each system of a sweep minus Hybrid, with 95 % intervals (see `hybridlib.evidence.confirm`).

    Returns
    -------
    DataFrame
        ``benchmark``, ``system``, ``reference``, ``measure``, ``difference``, ``low``, ``high``, ``seeds``.
    """
    return _differences(preset, name, "against", seeds, fraction, lambda chosen: {
        system: "Hybrid" for system in chosen if system != "Hybrid"})


def effect(preset, name, seeds, fraction=1.0):
    """As `against`: each X-Y of a sweep minus the X-X of the same setting, or minus plain X-X where it has none."""
    return _differences(preset, name, "effect", seeds, fraction, lambda chosen: {
        system: twin if (twin := "X-X" + system.removeprefix("X-Y")) in chosen else "X-X"
        for system in chosen if parse(system)[0] == "X-Y"})


def _differences(preset, name, kind, seeds, fraction, pairs):
    if not fraction:
        return _committed(preset, f"{name}_{kind}")
    chosen, rows = systems(preset, name, fraction), []
    for benchmark, results in _results(preset, chosen, seeds).items():
        for system, reference in pairs(chosen).items():
            found = evidence.confirm(results, system, reference, list(HEADLINE)).rename_axis("measure").reset_index()
            rows.append(found.assign(benchmark=benchmark, system=system, reference=reference, seeds=len(seeds)))
    columns = ["benchmark", "system", "reference", "measure", "difference", "low", "high", "seeds"]
    return _commit(preset, f"{name}_{kind}", pd.concat(rows, ignore_index=True)[columns])


def _committed(preset, name):
    file = _file(preset, name)
    if not file.is_file():
        raise FileNotFoundError(f"{file.relative_to(figures.FOLDER.parent)}: no such measurement was committed for "
                                f"preset {preset.name!r}; set fraction=1 to make it")
    return pd.read_csv(file)


def _results(preset, chosen, seeds):
    """Per-query results of systems on each benchmark, trained and evaluated as far as they are missing."""
    for run in runs_of(chosen, seeds):
        preset.train(*run)
    return {benchmark: preset.results(seeds, benchmark, chosen) for benchmark in preset.benchmarks}


def _commit(preset, name, table):
    """Keep a table, unless the one that is there has systems or seeds that this one lacks."""
    file = _file(preset, name)
    if file.is_file():
        old = pd.read_csv(file)
        gone, fewer = set(old["system"]) - set(table["system"]), _seeds(old) > _seeds(table)
        if gone or fewer:
            warnings.warn(
                f"{file.name} is left as it was: it has {_seeds(old)} seeds and this measurement {_seeds(table)}"
                + (f"; not measured: {', '.join(sorted(gone))}" if gone else "")
                + ". Delete it to have it written anew", stacklevel=2)
            return table
    with runs.atomic(file) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6f")
    return table


def _seeds(table):
    return int(table["seeds"].max()) if "seeds" in table else table.loc[table["seed"] >= 0, "seed"].nunique()


def spread(table, languages="all", benchmark=None):
    """Mean over seeds and, where there are several, the lowest and highest: a row per system, in the table's order."""
    rows = table[table["languages"] == languages]
    rows = rows[rows["benchmark"] == (benchmark or table["benchmark"].iloc[0])]
    grouped = rows.groupby("system", sort=False)
    shown = {}
    for measure, title in HEADLINE.items():
        digits = 1 if measure == "rank distance" else 3
        shown[title] = {system: f"{values.mean():.{digits}f}" + (
            f" [{values.min():.{digits}f}, {values.max():.{digits}f}]" if len(values) > 1 else "")
            for system, values in grouped[measure]}
    return pd.DataFrame(shown).assign(seeds=grouped.size())


def value_of(system, setting, default):
    """What a system's name says of a setting: ``value_of("X-X temperature=0.05", "temperature", 0.01)`` is 0.05."""
    return parse(system.partition(" + ")[0])[1].get(setting, default)
