"""Evidence within a time budget: what to measure first, what still fits, and what the rest would cost."""

import shutil
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd

from hybridlib.evaluation import NO_SEED
from reproduction.findings import sweeps
from reproduction.run import Store, System
from reproduction.run.evidence import facts_of, is_kept, keep
from reproduction.run.settings import SettingsError, read_yaml

_MUST, _MAY = {"name", "systems", "seeds"}, {"remedies", "test_sets", "ranks"}


@dataclass(frozen=True)
class Item:
    """One run of a plan, and what is measured of it.

    Attributes
    ----------
    block : str
    system : System
    seed : int
    test_sets, remedies, ranks : tuple of str
        See `reproduction.run.evidence.keep`.
    """

    block: str
    system: System
    seed: int
    test_sets: tuple[str, ...]
    remedies: tuple[str, ...] = ()
    ranks: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.block}: {self.system}" + (f", seed {self.seed}" if self.system.is_trained else "")


def plan_of(store: Store) -> list[Item]:
    """What is measured of a preset, in order (see ``configs/evidence/plan.yaml``).

    Raises
    ------
    SettingsError
        If a block is not what it must be.
    """
    file = store.workspace.configs / "evidence" / "plan.yaml"
    blocks = read_yaml(file).get(store.preset.name) or [
        {"name": name, "systems": systems, "seeds": 3} for name, systems in sweeps.every(store).items()]
    return [item for number, block in enumerate(blocks)
            for item in _items(store, block, f"{file}: block {number + 1} of {store.preset.name}")]


def _items(store: Store, block: Any, where: str) -> Iterator[Item]:
    if not isinstance(block, dict) or not _MUST <= block.keys() <= _MUST | _MAY:
        raise SettingsError(f"{where}: expected {', '.join(sorted(_MUST))} and perhaps {', '.join(sorted(_MAY))}")
    for name in (_MUST | _MAY) - {"name", "seeds"}:
        if not isinstance(block.get(name, []), list) or not all(isinstance(x, str) for x in block.get(name, [])):
            raise SettingsError(f"{where}: {name} must be a list of names")
    seeds = list(range(block["seeds"])) if type(block["seeds"]) is int else block["seeds"]
    if not isinstance(seeds, list) or not seeds or not all(type(seed) is int and seed >= 0 for seed in seeds):
        raise SettingsError(f"{where}: seeds is {block['seeds']!r:.80}, expected how many, or a list of seeds")
    benchmarks = [entry["name"] for entry in store.preset.entries["benchmarks"]]
    test_sets = tuple(block.get("test_sets", benchmarks))
    if unknown := {*test_sets} - {*benchmarks, *store.preset.further}:
        raise SettingsError(f"{where}: the preset has no test set {', '.join(sorted(unknown))}")
    # A remedy in the name of a system is one of those that are measured beside it.
    parsed = [System.parse(text) for text in block["systems"]]
    remedies = list(dict.fromkeys([*block.get("remedies", []), *(x.remedy for x in parsed if x.remedy)]))
    for seed in dict.fromkeys(seeds):
        for system in dict.fromkeys(x.base for x in parsed):
            if system.is_trained:
                store.preset.settings(system, seed)  # what cannot be trained stops here, before any work
            if system.is_trained or seed == seeds[0]:
                yield Item(block["name"], system, seed if system.is_trained else NO_SEED, test_sets, tuple(remedies),
                           tuple(block.get("ranks", [])))


def not_at_hand(store: Store, items: Sequence[Item]) -> dict[str, str]:
    """Blocks that need a test set whose folder is not there, each with the folder."""
    folders = {entry["name"]: store.workspace.file(entry["folder"])
               for entry in (*store.preset.entries["benchmarks"], *store.preset.entries.get("further", ()))
               if "folder" in entry}
    return {item.block: str(folders[name]) for item in items for name in item.test_sets
            if name in folders and not folders[name].is_dir()}


def share(items: Sequence[Item], number: int, of: int) -> list[Item]:
    """Every ``of``-th run of a plan, from the ``number``-th on (1 is the first); all items of a run are in one share.

    So are the shares of its weights, which are made of it. For several processes that measure together, each with a
    folder of runs of its own.
    """
    runs = list(dict.fromkeys(map(_whole, items)))
    mine = set(runs[number - 1::of])
    return [item for item in items if _whole(item) in mine]


def seconds_of(text: str) -> float:
    """A budget as it is written: ``90s``, ``10m``, ``2h``.

    >>> seconds_of("10m")
    600.0
    """
    try:
        found = pd.Timedelta(text).total_seconds()
    except ValueError:
        found = 0.0
    if not found > 0 or text.strip().isdigit():
        raise ValueError(f"a budget of {text!r:.80}: expected a time such as 90s, 10m or 2h")
    return found


def folder_of(store: Store, item: Item) -> Path:
    """Where the evidence of an item is kept while it is measured: apart by device, for they are never compared."""
    return store.folder / "evidence" / store.workspace.device / item.block


def _is_kept(store: Store, item: Item) -> bool:
    return is_kept(folder_of(store, item), store, item.system, item.seed, item.test_sets, item.remedies, item.ranks)


def spend(store: Store, items: Sequence[Item], seconds: float, *, discard: bool = False,
          tell: Callable[[str], None] = print, clock: Callable[[], float] = time.monotonic) -> list[Item]:
    """Measure items in their order as far as a budget reaches; none is begun that does not fit.

    What a run costs is taken from those that were measured before, here or in an earlier call: the mean of their
    seconds a step, and of their evaluations in the same block. The first of a kind is begun on trust.

    Parameters
    ----------
    store : Store
    items : sequence of Item
    seconds : float
        The budget.
    discard : bool
        Whether a trained run's folder goes when all its items are measured, and those of the shares of its weights.
    tell : callable
        Told of every item.
    clock : callable
        Seconds.

    Returns
    -------
    list of Item
        What is left.
    """
    started, left = clock(), []
    for item in items:
        if not _is_kept(store, item):
            spent, needed = clock() - started, cost(store, item)
            if needed > seconds - spent:
                left.append(item)
                continue
            begun = clock()
            if item.system.is_trained:
                store.train(item.system, item.seed)
            keep(folder_of(store, item), store, item.system, item.seed, item.test_sets, item.remedies, item.ranks)
            tell(f"{item}: {clock() - begun:.0f} s (at {clock() - started:.0f} of {seconds:.0f} s)")
        # With what it was made of, and all else that is made of it.
        made_of = {*_trainings(item)}
        alike = [other for other in items if made_of & {*_trainings(other)}]
        if discard and item.system.is_trained and all(_is_kept(store, other) for other in alike):
            for run in {*made_of, *((other.system, other.seed) for other in alike)}:
                shutil.rmtree(store.run_folder(*run), ignore_errors=True)
    return left


def _whole(item: Item) -> tuple[System, int]:
    """What items of one training have in common: the run without the share of its weights."""
    return item.system.without("trained_share"), item.seed


def _trainings(item: Item) -> list[tuple[System, int]]:
    """The runs that are trained for an item."""
    return [(one, item.seed) for one in item.system.trainings]


def _costs(store: Store, items: Sequence[Item]) -> Iterator[float]:
    """What items will take one after the other; what several are made of is trained once."""
    trained: set[tuple[System, int]] = set()
    for item in items:
        yield cost(store, item, trained)
        trained |= {*_trainings(item)}


def cost(store: Store, item: Item, trained: Collection[tuple[System, int]] = ()) -> float:
    """Seconds that an item will take by what was measured so far; 0 where nothing is known.

    Parameters
    ----------
    store : Store
    item : Item
    trained : collection of (System, seed)
        Runs that will have been trained for other items.
    """
    found = sorted((store.folder / "evidence" / store.workspace.device).glob("*/*.cells.parquet"))
    every = [facts | {"block": file.parent.name} for file in found for facts in facts_of(file)]
    training = 0.0
    if item.system.is_trained and not store.is_trained(item.system, item.seed):
        pace = [facts["training seconds"] / facts["steps"] for facts in every if facts["steps"]]
        steps = sum(store.preset.settings(*run).steps for run in _trainings(item)
                    if run not in trained and not store.is_trained(*run))
        training = steps * fmean(pace) if pace else 0.0
    evaluation = [facts["measuring seconds"] for facts in every if facts["block"] == item.block
                  and facts["measuring seconds"] is not None]
    return training + (fmean(evaluation) if evaluation else 0.0)


def rest(store: Store, left: Sequence[Item]) -> str:
    """What was not measured, and what it would cost: a line per block."""
    lines = []
    for block in dict.fromkeys(item.block for item in left):
        items = [item for item in left if item.block == block]
        minutes = sum(_costs(store, items)) / 60
        lines.append(f"left of {block}: {len(items)} runs, about {minutes:.0f} minutes")
    return "\n".join(lines) or "nothing is left"
