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
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml
from safetensors.numpy import load_file, save_file

from hybridlib import (
    benchmarks,
    corpus,
    debiasing,
    encoders,
    metrics,
    mmarco,
    ranking,
    report,
    runs,
    training,
    training_sets,
)
from hybridlib.sampling import ALPHA, SAMPLINGS

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = ROOT / "configs"
UNTRAINED = "untrained"
# The order of every table and legend.
SYSTEMS = (UNTRAINED, "X-X", "X-Y", "Hybrid")
_NOT_SETTINGS = ("data",)


def _is_own(system):
    """Whether a system is the preset's encoder, trained or not, rather than some other encoder."""
    return system == UNTRAINED or parse(system)[0] in SAMPLINGS


def parse(system):
    """The sampling of a system, and what it changes in the preset's settings.

    >>> parse("Hybrid alpha=0.4")
    ('Hybrid', {'alpha': 0.4})
    >>> parse("X-X mixed languages=[de,en]")
    ('X-X mixed', {'languages': ['de', 'en']})
    """
    words = system.split(" ")
    changes = [word.split("=", 1) for word in words if "=" in word]
    return " ".join(word for word in words if "=" not in word), {k: yaml.safe_load(v) for k, v in changes}


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

    @cached_property
    def _data(self):
        """The data of the file, with the sets that the user made here named by file and checksum."""
        return training_sets.resolve(self.config["data"], self.data)

    def _path(self, entry):
        path = Path(self.data or ROOT, entry["file"])
        corpus.verify_checksum(path, entry["sha256"])
        return path

    def _groups(self, entry):
        if entry["format"] == "mmarco":
            kept = [x for x in self.config["languages"] if x in mmarco.LANGUAGES]
            return mmarco.MarcoCorpus(Path(self.data, entry["file"]), kept, entry["name"])
        path = self._path(entry)
        name = entry.get("name", path.name.split(".")[0])
        if entry["format"] == "articles":
            return corpus.groups_of(corpus.read_articles(path), name)
        return corpus.read_groups(path, name, ids=entry.get("ids", "given"))

    @cached_property
    def _split(self):
        """``(training sets, selection set)`` as ParallelCorpus: selection has a file, or is held out of a set."""
        sets = [self._groups(entry) for entry in self._data["training"]]
        selection = self._data["selection"]
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
        data = self._data
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

    def settings(self, system, seed):
        """Everything that was chosen for a run: what its key is made from.

        Parameters
        ----------
        system : str
            A sampling, with what differs from the preset's file behind it: ``"X-X temperature=0.05"``,
            ``"Hybrid alpha=0.4"``. Beside the names of the file there are ``groups=64`` (so many training groups,
            drawn once), ``sets=[docs,ntrex]`` (only those training sets) and ``loss=distillation`` (see
            `hybridlib.training.train`). Or "untrained", or the name of any
            encoder. A method of `hybridlib.debiasing` may follow: ``"Hybrid + subspace"``; it is no part of the run.
        seed : int

        Raises
        ------
        ValueError
            If there is no such setting.
        """
        sampling, changes = parse(system)
        chosen = {k: v for k, v in self.config.items() if k not in _NOT_SETTINGS}
        chosen["data"] = [[entry["file"], entry["sha256"]] for entry in self._data["training"]]
        chosen["selection"] = self._data["selection"]
        if sampling not in SAMPLINGS:
            encoder = chosen["encoder"] if system == UNTRAINED else system
            return {"encoder": encoder, "precision": chosen["precision"], "sampling": UNTRAINED}
        unknown = changes.keys() - chosen.keys() - {"groups", "sets", "loss", "mini_batch_size"}
        if unknown:
            raise ValueError(f"{system!r}: no setting {', '.join(sorted(unknown))} in configs/{self.name}.yaml")
        alpha = chosen["alpha"] if sampling == "Hybrid" else ALPHA.get(sampling)
        return chosen | {"sampling": sampling, "seed": seed, "alpha": alpha} | changes

    def run_folder(self, sampling, seed):
        """Where a run lies, finished or not."""
        name = f"{sampling}-s{seed}" if parse(sampling)[0] in SAMPLINGS else sampling
        return self.folder / re.sub(r"[^\w.-]+", "-", name).strip("-")

    def sampler(self, sampling, seed):
        """The batch sampler of a run, to look at its batches."""
        settings = self.settings(sampling, seed)
        return training.sampler_of(settings, self._sets_of(settings))

    def _sets_of(self, settings):
        """The training sets of a run: all of the preset, or what its settings leave of them."""
        sets = [c for c in self.training_sets if "sets" not in settings or c.name in settings["sets"]]
        if "groups" in settings:
            # The first n of one order, so that a smaller set is part of a larger one.
            total, rng = sum(map(len, sets)), np.random.default_rng(0)
            if settings["groups"] > total:
                raise ValueError(f"groups={settings['groups']}, and the training sets have {total}")
            kept = np.sort(rng.permutation(total)[:settings["groups"]])
            ends = np.cumsum([0, *map(len, sets)])
            sets = [c.select(kept[(kept >= a) & (kept < b)] - a)
                    for c, (a, b) in zip(sets, pairwise(ends), strict=True)]
        return [c for c in sets if len(c)]

    def losses(self, sampling, seed):
        """The ``losses.csv`` of a finished run: a row per step."""
        return pd.read_csv(self.run_folder(sampling, seed) / "losses.csv")

    def train(self, sampling, seed):
        """The run folder of a sampling and a seed, trained if it is not there yet."""
        settings = self.settings(sampling, seed)
        return training.train(self.run_folder(sampling, seed), settings, self._sets_of(settings), self.selection,
                              device=self.device)

    def is_trained(self, system, seed):
        """Whether the run folder of a system and a seed is there, with exactly these settings."""
        return runs.is_complete(self.run_folder(system, seed), self.settings(system, seed))

    def _check_is_trained(self, sampling, seed):
        folder, settings = self.run_folder(sampling, seed), self.settings(sampling, seed)
        if parse(sampling)[0] not in SAMPLINGS and not runs.is_complete(folder, settings):
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
        own = [run for run in chosen if _is_own(run[0])]
        for benchmark in self.benchmarks.values():
            for group in [own, *([run] for run in chosen if run not in own)]:
                missing = [run for run in group
                           if not runs.ranks_file(self.run_folder(*run), benchmark.name).is_file()]
                if missing:
                    self._evaluate(missing, benchmark)

    def _load_together(self, chosen):
        """Models of systems as `Siblings`; where each came from; and the prompts that they take."""
        bf16 = encoders.in_bfloat16(self.config["precision"], self.device)
        sources, prompts = [], [encoders.E5_PROMPTS]

        def loaded():
            for system, seed in chosen:
                folder = self.run_folder(system, seed)
                trained = parse(system)[0] in SAMPLINGS
                model, source = encoders.load(
                    str(folder / "model") if trained else self.settings(system, None)["encoder"])
                sources.append(source)
                if not _is_own(system):
                    prompts[:] = [encoders.Prompts.of(model)]
                yield model.to(self.device)

        folders = [self.run_folder(*run) for run in chosen]
        siblings = encoders.Siblings(loaded(), torch.bfloat16 if bf16 else torch.float32, self._frozen_layers(folders))
        return siblings, sources, prompts[0]

    def _evaluate(self, chosen, benchmark):
        started = time.monotonic()
        siblings, sources, prompts = self._load_together(chosen)
        embeddings, counts = ranking.embed(siblings, benchmark, prompts)
        for run, (queries, candidates), source in zip(chosen, embeddings, sources, strict=True):
            folder = self.run_folder(*run)
            table = ranking.rank_benchmark(benchmark, queries, candidates)
            with runs.atomic(folder / f"embeddings.{benchmark.name}.safetensors") as temporary:
                save_file({"queries": queries, "candidates": candidates}, temporary)
            runs.write_json(folder / f"evaluation.{benchmark.name}.json", runs.manifest(
                started, **report.about(source, prompts, siblings.dtype, self.device, counts), encoded=counts,
                evaluated_together=len(chosen)))
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
        title = f"{system}, seed {seed}" if parse(system)[0] in SAMPLINGS else system
        return report.of_ranks(ranks, self.benchmarks[name], title, {key: made[key] for key in report.ABOUT})

    def ranks(self, system, seed=None, benchmark=None):
        """The ranks table of a system on a benchmark (the main one by default), computed if it is not there yet."""
        name = benchmark or self.benchmark.name
        base, _, method = system.partition(" + ")
        file = runs.ranks_file(self.run_folder(base, seed), name)
        if method:
            file = file.with_name(f"{file.stem}.{method}.parquet")
            self._check_is_trained(base, seed)
            if not file.is_file():
                self._debias(base, seed, self.benchmarks[name], method, file)
        else:
            self.evaluate([(base, seed)])
        return pd.read_parquet(file)

    def _debias(self, base, seed, benchmark, method, file):
        means = self.training_means([(base, seed)])[0] if debiasing.needs_training(method) else None
        embeddings = debiasing.apply(method, *self.embeddings(base, seed, benchmark.name), benchmark, means)
        with runs.atomic(file) as temporary:
            ranking.rank_benchmark(benchmark, *embeddings).to_parquet(temporary, index=False)

    def embeddings(self, system, seed=None, benchmark=None):
        """Embeddings of a system on a benchmark: ``(queries, candidates)``, computed if they are not there yet."""
        self.evaluate([(system, seed)])
        found = load_file(self.run_folder(system, seed)
                          / f"embeddings.{benchmark or self.benchmark.name}.safetensors")
        return found["queries"], found["candidates"]

    def training_means(self, chosen, groups=200):
        """Mean embedding of training texts per language, apart for queries and passages, computed if not there yet.

        Parameters
        ----------
        chosen : list of (system, seed)
        groups : int
            Of how many training groups, the same for all languages as far as they have them.

        Returns
        -------
        list of dict
            Per system: ``{"queries": {language: ndarray (width,)}, "candidates": {…}}``, training languages only.
        """
        for run in chosen:
            self._check_is_trained(*run)
        files = [self.run_folder(*run) / "training_means.safetensors" for run in chosen]
        missing = [(run, file) for run, file in zip(chosen, files, strict=True) if not file.is_file()]
        if missing:
            texts = debiasing.training_texts(self.training_sets, self.config["languages"], groups)
            siblings, _, prompts = self._load_together([run for run, _ in missing])
            found = [{} for _ in missing]
            for side, prompt in (("queries", prompts.query), ("candidates", prompts.passage)):
                every, _ = encoders.encode_all(
                    siblings, texts[side]["text"].tolist(), prompt, description=f"training {side}")
                for means, embeddings in zip(found, every, strict=True):
                    for language, rows in texts[side].groupby("language").indices.items():
                        means[f"{side} {language}"] = embeddings[rows].mean(0)
            for means, (_, file) in zip(found, missing, strict=True):
                with runs.atomic(file) as temporary:
                    save_file(means, temporary)
        tables = [load_file(file) for file in files]
        return [{side: {name.split()[1]: mean for name, mean in table.items() if name.startswith(side)}
                 for side in ("queries", "candidates")} for table in tables]

    def results(self, seeds, benchmark=None, systems=SYSTEMS):
        """Per-query measures of systems: a table with ``system`` and ``seed`` before the measures."""
        chosen = [(system, seed) for system in systems
                  for seed in (seeds if parse(system.split(" + ")[0])[0] in SAMPLINGS else [None])]
        bases = list(dict.fromkeys((system.split(" + ")[0], seed) for system, seed in chosen))
        self.evaluate(bases)
        if any(debiasing.needs_training(system.partition(" + ")[2]) for system, _ in chosen):
            self.training_means(list(dict.fromkeys(
                (system.split(" + ")[0], seed) for system, seed in chosen
                if debiasing.needs_training(system.partition(" + ")[2]))))
        return pd.concat([metrics.per_query(self.ranks(system, seed, benchmark)).assign(
            system=system, seed=-1 if seed is None else seed) for system, seed in chosen], ignore_index=True)
