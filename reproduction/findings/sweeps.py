"""Sweeps: which systems, what they cost, and what was measured.

A sweep is a list of systems in ``configs/evidence/sweeps.yaml``. Its runs are run folders like any other, so a sweep
that was stopped goes on where it was. What comes out is a small table, one row per run: measured ones lie under
``runs/`` until they are published, the published ones under ``results/``. Without the runs the notebooks show those.
"""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean

import pandas as pd

from hybridlib import encoding, files
from hybridlib.evaluation import HEADLINE, differences, macro
from reproduction.findings import claims
from reproduction.run import HYBRID, XX, XY, Store, System
from reproduction.run.settings import read_yaml
from reproduction.run.store import Run
from reproduction.run.training import texts_of
from reproduction.workspace import Workspace

NAMES = [measure.name for measure in HEADLINE]


def _file(workspace: Workspace) -> Path:
    return workspace.configs / "evidence" / "sweeps.yaml"


def every(store: Store) -> dict[str, list[str]]:
    """The names of the systems of each sweep that a preset has."""
    return read_yaml(_file(store.workspace)).get(store.preset.name, {})


def available(store: Store, names: Sequence[str], fraction: float) -> list[str]:
    """Those of some tables that can be shown: sweeps that the preset has, or with ``fraction`` 0 those committed."""
    has = every(store)
    return [name for name in names if (name in has if fraction else _table(store, name).is_file())]


def _table(store: Store, name: str) -> Path:
    return store.workspace.results(store.preset.name) / f"sweep_{name}.csv"


def systems_of(store: Store, name: str, fraction: float = 1.0) -> list[System]:
    """The systems of a sweep, or so many from its front.

    Parameters
    ----------
    store : Store
    name : str
    fraction : float in (0, 1]

    Raises
    ------
    ValueError
        If the preset has no such sweep, or a system in it does not exist.
    """
    has = every(store)
    if name not in has:
        raise ValueError(f"preset {store.preset.name!r} has no sweep {name!r} in {_file(store.workspace).name}; "
                         f"it has: {', '.join(has)}")
    return [System.parse(text) for text in has[name][:math.ceil(fraction * len(has[name]))]]


def runs_of(systems: Sequence[System], seeds: Sequence[int]) -> list[Run]:
    """The trained runs that systems need: each once, remedies apart."""
    return [(base, seed) for base in dict.fromkeys(system.base for system in systems) if base.is_trained
            for seed in seeds]


def cost(store: Store, systems: Sequence[System], seeds: Sequence[int]) -> tuple[int, float, float]:
    """What is left to train, and what that takes: ``(runs missing, minutes, gigabytes)``.

    Minutes per step and gigabytes per run are those of the preset's finished runs here; NaN before the first.
    """
    missing = [run for run in runs_of(systems, seeds) if not store.is_trained(*run)]
    done = list(store.folder.glob("*-s*/manifest.json"))
    each = [m["seconds"] / m["steps_run"] for m in (json.loads(file.read_text("utf-8")) for file in done)]
    # A share of the weights is made of whole runs, each of which is trained once for all that are made of it.
    whole = {(one, seed) for system, seed in missing for one in system.trainings}
    trained = {run for run in whole if not store.is_trained(*run)}
    steps = sum(store.preset.settings(*run).steps for run in trained)
    pace, size = (fmean(each), fmean(files.size(file.parent) for file in done)) if done else (math.nan, math.nan)
    return len(missing), steps * pace / 60, len({*missing, *trained}) * size / 1e9


def told_cost(store: Store, names: Sequence[str], seeds: Sequence[int], fraction: float) -> str:
    """What sweeps have and what is not trained here, a line each; with a fraction also what that takes (see `cost`)."""
    lines = []
    for name in names:
        systems = systems_of(store, name, fraction or 1)
        missing, minutes, size = cost(store, systems, seeds)
        lines.append(f"{name}: {len(systems)} systems, {missing} runs of them not trained here")
        if fraction:
            lines.append(f"about {minutes:.0f} minutes of training on this machine, {size:.1f} GB of disk")
    return "\n".join(lines)


def encoded(store: Store, systems: Sequence[System]) -> pd.DataFrame:
    """What a training step encodes, in the mean over the steps of a run of seed 0.

    Parameters
    ----------
    store : Store
    systems : list of System
        Trained ones, of the preset's encoder.

    Returns
    -------
    DataFrame
        By system: ``pairs``, ``texts``, and ``tokens``: with prompts, as they are cut for training, without padding.
    """
    model, _ = encoding.load(store.preset.config["encoder"], store.preset.config["max_length"])
    prompts, rows = encoding.Prompts.of(model, otherwise=encoding.E5_PROMPTS), {}
    for system in systems:
        settings = store.preset.settings(system, 0)
        texts, tokens = 0, 0
        for batch in texts_of(settings, store.preset.sets_of(settings)):
            for column, found in batch.items():
                prompt = prompts.query if column.endswith("query") else prompts.passage
                texts += len(found)
                tokens += int(model.preprocess(found, prompt=prompt)["attention_mask"].sum())
        rows[str(system)] = {"pairs": settings.batch_size, "texts": texts / settings.steps,
                             "tokens": tokens / settings.steps}
    return pd.DataFrame.from_dict(rows, orient="index")


def summary(results: pd.DataFrame, unseen: Sequence[str]) -> pd.DataFrame:
    """One row per run: system, sampling, remedy, seed, and the four numbers over all, trained and unseen languages."""
    asked = list(dict.fromkeys(results["query_language"]))
    parts = {"all": asked, "unseen": [x for x in asked if x in unseen],
             "trained": [x for x in asked if x not in unseen]}
    runs = results[["system", "sampling", "remedy", "seed"]].drop_duplicates()
    tables = {part: pd.DataFrame({name: macro(results, name, languages) for name in NAMES})
              for part, languages in parts.items()}
    rows = [run._asdict() | {"languages": part} | tables[part].reindex([(run.system, run.seed)]).iloc[0].to_dict()
            for run in runs.itertuples(index=False) for part in parts]
    return pd.DataFrame(rows)


def measure(store: Store, name: str, seeds: Sequence[int], fraction: float = 1.0) -> pd.DataFrame:
    """Train and evaluate what is missing of a sweep, and keep its table; or read the committed table.

    Parameters
    ----------
    store : Store
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
        return _committed(store, name)
    table = pd.concat([summary(results, store.preset.unseen).assign(benchmark=benchmark)
                       for benchmark, results in _results(store, systems_of(store, name, fraction), seeds).items()],
                      ignore_index=True)
    return _keep(store, name, table)


def recipe(store: Store, seeds: Sequence[int], fraction: float = 1.0) -> pd.DataFrame:
    """As `measure`, for the sweep "recipe": what `claims.choose_recipe` says of its systems beside Hybrid.

    Returns
    -------
    DataFrame
        The second table of `reproduction.findings.claims.choose_recipe`, and ``seeds``, their number.
    """
    if not fraction:
        return _committed(store, "recipe")
    chosen = systems_of(store, "recipe", fraction)
    if len(chosen) < 2 or len(seeds) < 2:
        raise ValueError(f"a recipe is chosen among several systems and confirmed with several seeds; fraction "
                         f"{fraction} leaves {', '.join(map(str, chosen))}, and the seeds are {seeds}")
    _, confirmed = claims.choose_recipe(_results(store, chosen, seeds), store.preset.test_set.name, "Hybrid", NAMES)
    return _keep(store, "recipe", confirmed.assign(seeds=len(seeds)))


def against(store: Store, name: str, seeds: Sequence[int], fraction: float = 1.0) -> pd.DataFrame:
    """As `measure`: each system of a sweep minus Hybrid, with 95 % intervals.

    Returns
    -------
    DataFrame
        ``benchmark``, ``system``, ``reference``, ``measure``, ``difference``, ``low``, ``high``, ``seeds``.
    """
    return _differences(store, name, "against", seeds, fraction, lambda chosen: {
        system: HYBRID for system in chosen if system != HYBRID})


def effect(store: Store, name: str, seeds: Sequence[int], fraction: float = 1.0) -> pd.DataFrame:
    """As `against`: each X-Y of a sweep minus the X-X of the same setting, or minus plain X-X where it has none."""
    return _differences(store, name, "effect", seeds, fraction, lambda chosen: {
        system: twin if (twin := System(XX.sampling, system.changes)) in chosen else XX
        for system in chosen if system.sampling == XY.sampling})


def _differences(store: Store, name: str, kind: str, seeds: Sequence[int], fraction: float,
                 pairs: Callable[[list[System]], dict[System, System]]) -> pd.DataFrame:
    if not fraction:
        return _committed(store, f"{name}_{kind}")
    chosen, rows = systems_of(store, name, fraction), []
    for benchmark, results in _results(store, chosen, seeds).items():
        for system, reference in pairs(chosen).items():
            found = differences(results, str(system), str(reference), NAMES).rename_axis("measure").reset_index()
            rows.append(found.assign(benchmark=benchmark, system=str(system), reference=str(reference),
                                     seeds=len(seeds)))
    columns = ["benchmark", "system", "reference", "measure", "difference", "low", "high", "seeds"]
    return _keep(store, f"{name}_{kind}", pd.concat(rows, ignore_index=True)[columns])


def _committed(store: Store, name: str) -> pd.DataFrame:
    file = _table(store, name)
    if not file.is_file():
        raise FileNotFoundError(f"{file.parent.name}/{file.name}: no such measurement was committed for preset "
                                f"{store.preset.name!r}; set fraction=1 to make it")
    return pd.read_csv(file, keep_default_na=False, na_values={name: [""] for name in [*NAMES, "low", "high"]})


def _results(store: Store, systems: Sequence[System], seeds: Sequence[int]) -> dict[str, pd.DataFrame]:
    """Per-query results of systems on each test set, trained and evaluated as far as they are missing."""
    for run in runs_of(systems, seeds):
        store.train(*run)
    return {name: store.results(seeds, name, systems) for name in store.test_sets}


def _keep(store: Store, name: str, table: pd.DataFrame) -> pd.DataFrame:
    """Leave a measured table where ``make publish`` finds it."""
    with files.atomic(store.workspace.drawn(store.preset.name) / "results" / f"sweep_{name}.csv") as temporary:
        table.to_csv(temporary, index=False, float_format="%.6f")
    return table


def spread(table: pd.DataFrame, languages: str = "all", benchmark: str | None = None) -> pd.DataFrame:
    """Mean over seeds and, in parentheses, the lowest and highest: a row per system, in the table's order."""
    rows = table[table["languages"] == languages]
    rows = rows[rows["benchmark"] == (benchmark or table["benchmark"].iloc[0])]
    grouped = rows.groupby("system", sort=False)
    shown = {}
    for measure in HEADLINE:
        shown[measure.title] = {system: measure.text(values.mean()) + (
            f" ({measure.text(values.min())} to {measure.text(values.max())})" if len(values) > 1 else "")
            for system, values in grouped[measure.name]}
    return pd.DataFrame(shown).assign(seeds=grouped.size()).rename_axis(
        index=None, columns="mean (lowest to highest seed)")


def value_of(system: str, setting: str, default: object) -> object:
    """What a system of a table says of a setting: of "X-X temperature=0.05" its temperature is 0.05."""
    return System.parse(system).setting(setting, default)
