"""Published ranks in place of runs: the face of `reproduction.run.Store`, from files under ``results/`` alone.

Neither a run folder nor an encoder or the preset's data are needed: all numbers, intervals and verdicts are functions
of the ranks. Those that were measured on the workspace's device are read, ``results/<preset>/<device>/<block>/``; this
machine need not have it.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd

from hybridlib import files
from hybridlib.data import TestSet
from hybridlib.errors import RunError
from hybridlib.evaluation import NO_SEED
from reproduction.run.evidence import check_alike, facts_of, read_ranks, read_test_set
from reproduction.run.preset import Preset
from reproduction.run.remedies import SideMeans
from reproduction.run.settings import read_yaml
from reproduction.run.store import MEANS_GROUPS, Run, Store
from reproduction.run.system import System

_RANKS, _KEYS = ".ranks.parquet", ".keys.parquet"


class PublishedPreset(Preset):
    """A preset whose test sets are what their published ranks say of them (`reproduction.run.evidence.read_test_set`).

    Raises
    ------
    FileNotFoundError
        If no ranks are published that were measured on the workspace's device.
    RunError
        If those that are were measured in two precisions.
    """

    def __post_init__(self) -> None:
        file = self.workspace.configs / f"{self.name}.yaml"
        if file.is_file() and not self.workspace.data and (read_yaml(file).get("data") or {}).get("needs_folder"):
            object.__setattr__(self, "workspace", replace(self.workspace, data=self.folder))
        super().__post_init__()
        # What is drawn and written is kept apart from what was measured here, which `make publish` takes.
        object.__setattr__(self, "workspace", replace(self.workspace, runs=self.workspace.runs / "published"))
        found = [file for block in self.blocks for file in sorted(block.glob(f"*{_RANKS}"))]
        if not found:
            others = sorted({path.parents[1].name for path in self.folder.parent.glob(f"*/*/*{_RANKS}")})
            raise FileNotFoundError(
                f"{self.folder}: no published ranks of preset {self.name!r}" + (
                    f" measured on {self.workspace.device}; there are some measured on {' and '.join(others)} (DEVICE="
                    f"{others[0]}; no such device is needed)" if others else "; train it (`make reproduce`)"))
        check_alike(found)

    @property
    def folder(self) -> Path:
        """Where ranks are read."""
        return self.workspace.results(self.name) / self.workspace.device

    @property
    def blocks(self) -> list[Path]:
        """The folders of the plan's blocks in there."""
        return sorted(path for path in self.folder.glob("*") if path.is_dir())

    @cached_property
    def test_sets(self) -> dict[str, TestSet]:
        """The benchmarks by name, the main one first."""
        return {entry["name"]: self.published_test_set(entry["name"]) for entry in self._entries["benchmarks"]}

    def published_test_set(self, name: str) -> TestSet:
        """A test set, without its texts; raises `FileNotFoundError` where no ranks on it are published."""
        for block in self.blocks:
            if (block / f"{name}{_KEYS}").is_file():
                return read_test_set(block, name)
        there = sorted({file.name.removesuffix(_KEYS) for block in self.blocks for file in block.glob(f"*{_KEYS}")})
        raise FileNotFoundError(f"{self.folder}: no ranks on test set {name!r} are published, only on "
                                f"{', '.join(there)}")


class PublishedStore(Store):
    """The runs of a preset whose ranks are published.

    It answers what ranks answer, and refuses by name what is not published: other systems, seeds and test sets,
    remedies, embeddings, training.

    Parameters
    ----------
    preset : PublishedPreset
    """

    preset: PublishedPreset

    def test_set(self, name: str) -> TestSet:
        """A test set by its name, without its texts."""
        return self.test_sets[name] if name in self.test_sets else self.preset.published_test_set(name)

    def _ranks(self, system: System, seed: int, test_set: str) -> tuple[Path | None, str]:
        """The file with the ranks of a run with exactly these settings, or None and why not."""
        end = f".{test_set}{_RANKS}"
        there = [file for block in self.preset.blocks for file in sorted(block.glob(f"*{end}"))]
        if not there:
            self.preset.published_test_set(test_set)
        own = [file for file in there if file.name == f"{self.run_folder(system, seed).name}{end}"]
        if own and not system.remedy:
            key = files.key(self.preset.choices(system, seed))
            same = [file for file in own if facts_of(file)[0]["key"] == key]
            return (same[0], "") if same else (
                None, f"{own[0]}: measured with other settings than preset {self.preset.name!r} has now")
        known: dict[str, list[int]] = {}
        for facts in (facts_of(file)[0] for file in there):
            known.setdefault(facts["system"], []).append(facts["seed"])
        run = f"{system}, seed {seed}," if system.is_trained else f"{system}"
        return None, f"{self.preset.folder}: no ranks of {run} on {test_set} are published, only of " + "; ".join(
            name if seeds == [NO_SEED] else f"{name} (seeds {', '.join(map(str, sorted(seeds)))})"
            for name, seeds in known.items())

    def _file(self, system: System, seed: int, test_set: str) -> Path:
        file, reason = self._ranks(system, seed, test_set)
        if not file:
            raise FileNotFoundError(reason)
        return file

    def is_trained(self, system: System, seed: int) -> bool:
        """Whether the ranks of a system and a seed are published for all benchmarks, with exactly these settings."""
        return all(self._ranks(system, seed, name)[0] for name in self.test_sets)

    def evaluate(self, runs: Sequence[Run], names: Sequence[str] | None = None) -> None:
        """Raise `FileNotFoundError` for the first of some runs whose ranks on a test set are not published."""
        for system, seed in runs:
            for name in names or self.test_sets:
                self._file(system, seed, name)

    def facts(self, system: System, seed: int = NO_SEED, test_set: str | None = None) -> dict[str, Any]:
        """What is known of how a system was evaluated on a test set."""
        file = self._file(system, seed, test_set or self.preset.test_set.name)
        encoder = system.encoder or self.preset.config["encoder"]
        trained = f"{self.run_folder(system, seed).name}, trained from " if system.is_trained else ""
        known = {name: fact for name, fact in facts_of(file)[0].items() if fact is not None}
        return {"encoder": f"{trained}{encoder}", "encoded": {}} | known

    def ranks(self, system: System, seed: int = NO_SEED, test_set: str | None = None) -> pd.DataFrame:
        """The ranks table of a system on a test set (the main one by default)."""
        name = test_set or self.preset.test_set.name
        return read_ranks(self._file(system, seed, name).parent, self.run_folder(system, seed).name, name)

    def train(self, system: System, seed: int) -> Path:
        """Raise `RunError`: nothing is trained here."""
        self._refuse(f"{system}, seed {seed}, is not trained")

    def losses(self, system: System, seed: int) -> pd.DataFrame:
        """Raise `RunError`: losses are not published."""
        self._refuse(f"there are no losses of {system}, seed {seed}")

    def embeddings(self, system: System, seed: int = NO_SEED, test_set: str | None = None,
                   ) -> tuple[np.ndarray, np.ndarray]:
        """Raise `RunError`: embeddings are not published."""
        self._refuse(f"there are no embeddings of {system}")

    def training_means(self, runs: Sequence[Run], groups: int = MEANS_GROUPS) -> list[SideMeans]:
        """Raise `RunError`: mean embeddings are not published."""
        self._refuse("there are no mean embeddings")

    def _refuse(self, what: str) -> NoReturn:
        raise RunError(f"{self.preset.folder}: of runs only ranks are published: {what}; open the store with "
                       "runs=\"trained\"")
