"""A preset: one file of ``configs/``, and the data and runs that belong to it.

What the notebooks call. Each method is lazy and remembers nothing but files: it reads the preset, checks the
data, and finds or makes a run folder.
"""

import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml

from hybridlib import benchmarks, corpus, encoders, metrics, ranking, runs, training
from hybridlib.sampling import ALPHA

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = ROOT / "configs"
UNTRAINED = "untrained"
# The order of every table and legend.
SYSTEMS = (UNTRAINED, "X-X", "X-Y", "Hybrid")
_NOT_SETTINGS = ("data",)


@dataclass(frozen=True)
class Preset:
    """A named configuration over data.

    Parameters
    ----------
    name : str
        A file of ``configs/``, without its ending.
    data : path, optional
        The folder that the preset's data files are relative to; for ``mini`` the repository itself.
    runs_folder : path
        Where run folders go: ``<runs_folder>/<name>/``.
    device : str
        "cpu" or "cuda".

    Raises
    ------
    ValueError, FileNotFoundError
        If there is no such preset, or it needs a data folder and none was given.
    """

    name: str
    data: Path | None = None
    runs_folder: Path = ROOT / "runs"
    device: str = "cpu"
    config: dict = field(init=False, repr=False)

    def __post_init__(self):
        file = CONFIGS / f"{self.name}.yaml"
        if not file.is_file():
            names = ", ".join(sorted(path.stem for path in CONFIGS.glob("*.yaml")))
            raise ValueError(f"no preset {self.name!r}; there are: {names}")
        config = yaml.safe_load(file.read_text("utf-8"))
        if config["data"].get("needs_folder") and not self.data:
            raise ValueError(f"preset {self.name!r} reads its data from a folder: give DATA=<folder> "
                             "(see 'Presets' in the README)")
        object.__setattr__(self, "config", config)
        object.__setattr__(self, "folder", Path(self.runs_folder, self.name))

    def _path(self, entry):
        path = Path(self.data or ROOT, entry["file"])
        corpus.verify_checksum(path, entry["sha256"])
        return path

    def _groups(self, entry):
        path = self._path(entry)
        name = entry.get("name", path.name.split(".")[0])
        if entry["format"] == "articles":
            return corpus.groups_of(corpus.read_articles(path), name)
        return corpus.read_groups(path, name, ids=entry.get("ids", "given"))

    @cached_property
    def _split(self):
        """``(training sets, selection set)`` as ParallelCorpus: selection has a file, or is held out of a set."""
        sets = [self._groups(entry) for entry in self.config["data"]["training"]]
        selection = self.config["data"]["selection"]
        if "held_out_of" not in selection:
            return sets, self._groups(selection)
        place = [c.name for c in sets].index(selection["held_out_of"])
        whole = sets[place]
        # Whole passages are held out, one question of each is read: no passage of selection is trained on,
        # and none is another's in-batch negative.
        keys = np.random.default_rng(selection["seed"]).permutation(whole.passage_key.max() + 1)
        out = np.isin(whole.passage_key, keys[:selection["passages"]])
        _, first = np.unique(whole.passage_key[out], return_index=True)
        sets[place] = whole.select(np.flatnonzero(~out))
        return sets, whole.select(np.flatnonzero(out)[np.sort(first)])

    @property
    def training_sets(self):
        """The training corpora, a list of ParallelCorpus."""
        return self._split[0]

    @property
    def selection(self):
        """The selection set, in English: a `datasets.Dataset` of query and passage."""
        return training.selection_of(self._split[1])

    @property
    def articles(self):
        """All articles of the preset's files in the articles format; empty if it has none."""
        data = self.config["data"]
        entries = [*data["training"], data["selection"], data["benchmark"]]
        return corpus.read_articles(*(self._path(e) for e in entries if e.get("format") == "articles"))

    @cached_property
    def benchmark(self):
        """The benchmark that every table of the preset is about."""
        entry = self.config["data"]["benchmark"]
        if entry["format"] == "xquad-r":
            return benchmarks.xquad_r(Path(self.data, entry["folder"]))
        return benchmarks.of_articles(corpus.read_articles(self._path(entry)), entry["name"])

    def settings(self, sampling, seed):
        """Everything that was chosen for a run: what its key is made from."""
        chosen = {k: v for k, v in self.config.items() if k not in _NOT_SETTINGS}
        chosen["data"] = [[entry["file"], entry["sha256"]] for entry in self.config["data"]["training"]]
        chosen["selection"] = self.config["data"]["selection"]
        if sampling == UNTRAINED:
            return {"encoder": chosen["encoder"], "precision": chosen["precision"], "sampling": sampling}
        alpha = chosen["alpha"] if sampling == "Hybrid" else ALPHA.get(sampling)
        return chosen | {"sampling": sampling, "seed": seed, "alpha": alpha}

    def run_folder(self, sampling, seed):
        """Where a run lies, finished or not."""
        name = UNTRAINED if sampling == UNTRAINED else f"{sampling.replace(' ', '-')}-s{seed}"
        return self.folder / name

    def sampler(self, sampling, seed):
        """The batch sampler of a run, to look at its batches."""
        return training.sampler_of(self.settings(sampling, seed), self.training_sets)

    def losses(self, sampling, seed):
        """The ``losses.csv`` of a finished run: a row per step."""
        return pd.read_csv(self.run_folder(sampling, seed) / "losses.csv")

    def train(self, sampling, seed):
        """The run folder of a sampling and a seed, trained if it is not there yet."""
        return training.train(self.run_folder(sampling, seed), self.settings(sampling, seed),
                              self.training_sets, self.selection, device=self.device)

    def ranks(self, sampling, seed=None):
        """The ranks table of a system on the benchmark, computed if it is not there yet.

        Raises
        ------
        FileNotFoundError
            If the run was not trained yet.
        """
        folder, settings = self.run_folder(sampling, seed), self.settings(sampling, seed)
        if sampling == UNTRAINED and not runs.is_complete(folder, settings):
            folder.mkdir(parents=True, exist_ok=True)
            runs.write_json(folder / "settings.json", settings)
            runs.ranks_file(folder, self.benchmark.name).unlink(missing_ok=True)
        if not runs.is_complete(folder, settings):
            raise FileNotFoundError(f"{folder}: no run with the settings of preset {self.name!r}; train it first "
                                    f"(notebooks 02 to 04, or `make reproduce PRESET={self.name}`)")
        file = runs.ranks_file(folder, self.benchmark.name)
        if not file.is_file():
            name = self.config["encoder"] if sampling == UNTRAINED else str(folder / "model")
            self._evaluate(name, folder, file)
        return pd.read_parquet(file)

    def _evaluate(self, model_name, folder, file):
        started = time.monotonic()
        model, source = encoders.load(model_name)
        model.to(self.device)
        wanted = self.config["precision"]
        bf16 = wanted == "bf16" or (wanted == "auto" and encoders.has_fast_bfloat16(self.device))
        table, counts = ranking.evaluate(model, self.benchmark, torch.bfloat16 if bf16 else torch.float32)
        with runs.atomic(file) as temporary:
            table.to_parquet(temporary, index=False)
        runs.write_json(folder / f"evaluation.{self.benchmark.name}.json", runs.manifest(
            started, encoder=source, device=self.device, precision="bf16" if bf16 else "fp32", encoded=counts))

    def results(self, seeds):
        """Per-query measures of all systems: a table with ``system`` and ``seed`` before the measures."""
        tables = []
        for system in SYSTEMS:
            for seed in [None] if system == UNTRAINED else seeds:
                table = metrics.per_query(self.ranks(system, seed))
                tables.append(table.assign(system=system, seed=-1 if seed is None else seed))
        return pd.concat(tables, ignore_index=True)
