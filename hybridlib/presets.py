"""A preset: one file of ``configs/``, and the data and runs that belong to it.

What the notebooks call. Each method is lazy and remembers nothing but files: it reads the preset, checks the
data, and finds or makes a run folder.
"""

import json
import re
import shutil
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml
from safetensors.numpy import load_file, save_file

from hybridlib import benchmarks, corpus, encoders, metrics, ranking, report, runs, training
from hybridlib.sampling import ALPHA, SAMPLINGS

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
        entries = [*data["training"], data["selection"], *data["benchmarks"]]
        return corpus.read_articles(*(self._path(e) for e in entries if e.get("format") == "articles"))

    @cached_property
    def benchmarks(self):
        """The benchmarks of the preset: a dict of name to Benchmark, the main one first."""
        found = {}
        for entry in self.config["data"]["benchmarks"]:
            if entry["format"] == "lareqa":
                found[entry["name"]] = benchmarks.lareqa(Path(self.data, entry["folder"]), entry["name"])
            else:
                found[entry["name"]] = benchmarks.of_articles(corpus.read_articles(self._path(entry)), entry["name"])
        return found

    @property
    def benchmark(self):
        """The main benchmark."""
        return next(iter(self.benchmarks.values()))

    def settings(self, sampling, seed):
        """Everything that was chosen for a run: what its key is made from."""
        chosen = {k: v for k, v in self.config.items() if k not in _NOT_SETTINGS}
        chosen["data"] = [[entry["file"], entry["sha256"]] for entry in self.config["data"]["training"]]
        chosen["selection"] = self.config["data"]["selection"]
        if sampling not in SAMPLINGS:
            encoder = chosen["encoder"] if sampling == UNTRAINED else sampling
            return {"encoder": encoder, "precision": chosen["precision"], "sampling": UNTRAINED}
        alpha = chosen["alpha"] if sampling == "Hybrid" else ALPHA.get(sampling)
        return chosen | {"sampling": sampling, "seed": seed, "alpha": alpha}

    def run_folder(self, sampling, seed):
        """Where a run lies, finished or not."""
        name = f"{sampling}-s{seed}" if sampling in SAMPLINGS else sampling
        return self.folder / re.sub(r"[^\w.-]+", "-", name).strip("-")

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

    def _check_is_trained(self, sampling, seed):
        folder, settings = self.run_folder(sampling, seed), self.settings(sampling, seed)
        if sampling not in SAMPLINGS and not runs.is_complete(folder, settings):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            runs.write_json(folder / "settings.json", settings)
        if not runs.is_complete(folder, settings):
            raise FileNotFoundError(f"{folder}: no run with the settings of preset {self.name!r}; train it first "
                                    f"(notebooks 02 to 04, or `make reproduce PRESET={self.name}`)")

    def evaluate(self, chosen):
        """Evaluate systems on all benchmarks of the preset, as far as that is not done yet.

        Those of the preset's own encoder are evaluated together. Each run folder gets
        ``ranks.<benchmark>.parquet`` and ``embeddings.<benchmark>.safetensors``.

        Parameters
        ----------
        chosen : list of (system, seed)
            A system is a sampling, "untrained", or the name of any other encoder (see `hybridlib.encoders.load`).

        Raises
        ------
        FileNotFoundError
            If a run was not trained yet.
        """
        for run in chosen:
            self._check_is_trained(*run)
        own = [run for run in chosen if run[0] in (UNTRAINED, *SAMPLINGS)]
        for benchmark in self.benchmarks.values():
            for group in [own, *([run] for run in chosen if run not in own)]:
                missing = [run for run in group
                           if not runs.ranks_file(self.run_folder(*run), benchmark.name).is_file()]
                if missing:
                    self._evaluate(missing, benchmark)

    def _evaluate(self, chosen, benchmark):
        started = time.monotonic()
        bf16 = encoders.in_bfloat16(self.config["precision"], self.device)
        dtype = torch.bfloat16 if bf16 else torch.float32
        sources, prompts = [], encoders.E5_PROMPTS
        folders = [self.run_folder(*run) for run in chosen]

        def loaded():
            nonlocal prompts
            for (system, _), folder in zip(chosen, folders, strict=True):
                name = str(folder / "model") if system in SAMPLINGS else self.settings(system, None)["encoder"]
                model, source = encoders.load(name)
                sources.append(source)
                if system not in (UNTRAINED, *SAMPLINGS):
                    prompts = encoders.Prompts.of(model)
                yield model.to(self.device)

        siblings = encoders.Siblings(loaded(), dtype, self._frozen_layers(folders))
        embeddings, counts = ranking.embed(siblings, benchmark, prompts)
        for folder, (queries, candidates), source in zip(folders, embeddings, sources, strict=True):
            table = ranking.rank_benchmark(benchmark, queries, candidates)
            with runs.atomic(folder / f"embeddings.{benchmark.name}.safetensors") as temporary:
                save_file({"queries": queries, "candidates": candidates}, temporary)
            runs.write_json(folder / f"evaluation.{benchmark.name}.json", runs.manifest(
                started, **report.about(source, prompts, dtype, self.device, counts), encoded=counts,
                evaluated_together=len(folders)))
            with runs.atomic(runs.ranks_file(folder, benchmark.name)) as temporary:
                table.to_parquet(temporary, index=False)

    def _frozen_layers(self, folders):
        """How many first layers the runs of the preset's encoder have in common."""
        trainable = self.config["trainable_layers"]
        if trainable is None or len(folders) == 1:
            return 0
        trained = next(folder for folder in folders if folder.name != UNTRAINED)
        config = json.loads((trained / "model" / "config.json").read_text("utf-8"))
        return config["num_hidden_layers"] - trainable

    def report(self, system, seed=None, benchmark=None):
        """The language-bias report of a system: see `hybridlib.report.Report`."""
        name = benchmark or self.benchmark.name
        ranks = self.ranks(system, seed, name)
        made = json.loads((self.run_folder(system, seed) / f"evaluation.{name}.json").read_text("utf-8"))
        title = f"{system}, seed {seed}" if system in SAMPLINGS else system
        return report.of_ranks(ranks, self.benchmarks[name], title, {key: made[key] for key in report.ABOUT})

    def ranks(self, sampling, seed=None, benchmark=None):
        """The ranks table of a system on a benchmark (the main one by default), computed if it is not there yet."""
        self.evaluate([(sampling, seed)])
        return pd.read_parquet(runs.ranks_file(self.run_folder(sampling, seed), benchmark or self.benchmark.name))

    def embeddings(self, sampling, seed=None, benchmark=None):
        """Embeddings of a system on a benchmark: ``(queries, candidates)``, computed if they are not there yet."""
        self.evaluate([(sampling, seed)])
        found = load_file(self.run_folder(sampling, seed)
                          / f"embeddings.{benchmark or self.benchmark.name}.safetensors")
        return found["queries"], found["candidates"]

    def results(self, seeds, benchmark=None, systems=SYSTEMS):
        """Per-query measures of systems: a table with ``system`` and ``seed`` before the measures."""
        chosen = [(system, seed) for system in systems for seed in (seeds if system in SAMPLINGS else [None])]
        self.evaluate(chosen)
        return pd.concat([metrics.per_query(self.ranks(system, seed, benchmark)).assign(
            system=system, seed=-1 if seed is None else seed) for system, seed in chosen], ignore_index=True)
