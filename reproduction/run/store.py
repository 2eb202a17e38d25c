"""What was trained and measured: run folders with their ranks, embeddings and means, made when they are asked for."""

import json
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from sentence_transformers import SentenceTransformer

from hybridlib import encoding, files
from hybridlib.data import TestSet
from hybridlib.evaluation import ABOUT, NO_SEED, Report, about, embed, per_query, rank_test_set, report_of
from reproduction.run import folder, training
from reproduction.run.preset import Preset
from reproduction.run.remedies import (
    OF_TRAINING,
    SIDES,
    SideMeans,
    apply_remedy,
    is_quota,
    needs_training_means,
    training_texts,
)
from reproduction.run.system import SYSTEMS, XX, System
from reproduction.workspace import Workspace

MEANS_GROUPS = 200  # training groups behind a mean embedding
RUNS = ("trained", "published")
Run = tuple[System, int]  # a system and its training seed; NO_SEED for what is not trained here


class Store:
    """The runs of a preset. It remembers nothing but files.

    A seed is asked for with every system; it counts for trained ones only.

    Parameters
    ----------
    preset : Preset
    """

    def __init__(self, preset: Preset):
        self.preset, self.workspace = preset, preset.workspace
        self.folder = Path(self.workspace.runs, preset.name)

    @classmethod
    def open(cls, preset: str, workspace: Workspace | None = None, runs: str = "trained") -> "Store":
        """The store of a preset by name.

        Parameters
        ----------
        preset : str
        workspace : Workspace, optional
        runs : {"trained", "published"}
            Those that are trained here, or those whose ranks are published
            (`reproduction.run.published_store.PublishedStore`): never the one in place of the other.

        Raises
        ------
        ValueError, FileNotFoundError
            If there is no such preset, or nothing of it is published.
        """
        if runs not in RUNS:
            raise ValueError(f"runs is {runs!r}, expected one of {', '.join(RUNS)}")
        if runs == "published":
            from reproduction.run.published_store import PublishedPreset, PublishedStore  # it is made from this class

            return PublishedStore(PublishedPreset(preset, workspace or Workspace()))
        return cls(Preset(preset, workspace or Workspace()))

    @property
    def test_sets(self) -> dict[str, TestSet]:
        """The preset's test sets by name, the main one first."""
        return self.preset.test_sets

    def test_set(self, name: str) -> TestSet:
        """A test set of the preset, one of the benchmarks or of the further ones, by its name."""
        if name in self.preset.further:
            return self.preset.further[name]
        if name not in self.test_sets:
            raise ValueError(f"preset {self.preset.name!r} has no test set {name!r}; there are: "
                             f"{', '.join([*self.test_sets, *self.preset.further])}")
        return self.test_sets[name]

    def run_folder(self, system: System, seed: int = NO_SEED) -> Path:
        """Where a run lies, finished or not."""
        name = f"{system.base}-s{seed}" if system.is_trained else str(system.base)
        return self.folder / re.sub(r"[^\w.-]+", "-", name).strip("-")

    def is_trained(self, system: System, seed: int) -> bool:
        """Whether the run folder of a system and a seed is there, with exactly these settings."""
        return folder.is_complete(self.run_folder(system, seed), self.preset.choices(system, seed))

    def train(self, system: System, seed: int) -> Path:
        """The run folder of a trained system and a seed, trained if it is not there yet."""
        settings = self.preset.settings(system, seed)
        if settings.trained_share is not None or settings.losses:
            return training.mix(self.run_folder(system, seed), settings,
                                [self.train(one, seed) for one in system.trainings])
        return training.train(self.run_folder(system, seed), settings, self.preset.sets_of(settings),
                              self.preset.selection, device=self.workspace.device)

    def losses(self, system: System, seed: int) -> pd.DataFrame:
        """The ``losses.csv`` of a finished run: a row per step."""
        return pd.read_csv(self.run_folder(system, seed) / "losses.csv")

    def _check_is_there(self, system: System, seed: int) -> None:
        place, choices = self.run_folder(system, seed), self.preset.choices(system, seed)
        if not system.is_trained and not folder.is_complete(place, choices):
            with files.alone(self.folder, wait=True):
                if not folder.is_complete(place, choices):
                    shutil.rmtree(place, ignore_errors=True)
                    place.mkdir(parents=True)
                    files.write_json(place / "settings.json", choices)
        if not folder.is_complete(place, choices):
            raise FileNotFoundError(f"{place}: no run with the settings of preset {self.preset.name!r}; train it first "
                                    f"(notebooks 02 to 04, or `make reproduce PRESET={self.preset.name}`)")

    def evaluate(self, runs: Sequence[Run], names: Sequence[str] | None = None) -> None:
        """Evaluate systems on test sets, by default all benchmarks of the preset, as far as that is not done yet.

        Those of the preset's own encoder are evaluated together. Each run folder gets ``ranks.<test set>.parquet`` and
        ``embeddings.<test set>.safetensors``. Where another process evaluates or ranks in the same store, this waits.

        Raises
        ------
        FileNotFoundError
            If a run was not trained yet.
        """
        runs = list(dict.fromkeys((system.base, seed) for system, seed in runs))
        for run in runs:
            self._check_is_there(*run)
        own = [run for run in runs if not run[0].encoder]
        for test_set in map(self.test_set, names or self.test_sets):
            for group in [own, *([run] for run in runs if run not in own)]:
                if all(self._is_evaluated(*run, test_set) for run in group):
                    continue
                with files.alone(self.folder, wait=True):
                    missing = [run for run in group if not self._is_evaluated(*run, test_set)]
                    if missing:
                        self._evaluate(missing, test_set)

    def _model_fingerprint(self, system: System, seed: int) -> str | None:
        """What is in the folder of a trained model; of other encoders the settings say it."""
        return files.fingerprint(self.run_folder(system, seed) / "model") if system.is_trained else None

    def _is_evaluated(self, system: System, seed: int, test_set: TestSet) -> bool:
        """Whether there are ranks on this very test set, made by the very model that is there now."""
        file = self._facts_file(system, seed, test_set.name)
        if not (folder.ranks_file(self.run_folder(system, seed), test_set.name).is_file() and file.is_file()):
            return False
        facts = json.loads(file.read_text("utf-8"))
        # An earlier version did not say what was in the test set.
        return facts.get("model") == self._model_fingerprint(system, seed) and (
            facts.get("test_set", test_set.fingerprint) == test_set.fingerprint)

    def _load_together(self, runs: Sequence[Run]) -> tuple[encoding.Siblings, list[str], encoding.Prompts]:
        """Models of systems as siblings; where each came from; and the prompts that they take."""
        device = self.workspace.device
        bf16 = encoding.in_bfloat16(self.preset.config["precision"], device)
        sources, prompts = [], []

        def loaded() -> Iterator[SentenceTransformer]:
            for system, seed in runs:
                model, source = encoding.load(str(self.run_folder(system, seed) / "model") if system.is_trained
                                              else self.preset.choices(system, seed)["encoder"])
                if system.is_trained and not self._says_its_maximum(system, seed):
                    # Saved by an earlier version, with the maximum that it was trained with.
                    model.max_seq_length = encoding.MAX_LENGTH
                    encoding.limit(source, model)
                sources.append(source)
                prompts.append(encoding.Prompts.of(model, None if system.encoder else encoding.E5_PROMPTS))
                yield model.to(device)

        siblings = encoding.Siblings(loaded(), torch.bfloat16 if bf16 else torch.float32, self._frozen_layers(runs),
                                     [str(system) for system, _ in runs])
        return siblings, sources, prompts[0]

    def _says_its_maximum(self, system: System, seed: int) -> bool:
        manifest = self.run_folder(system, seed) / "manifest.json"
        return manifest.is_file() and "max_tokens" in json.loads(manifest.read_text("utf-8"))

    def _frozen_layers(self, runs: Sequence[Run]) -> int:
        """How many first layers the runs of the preset's encoder have in common."""
        trainable = self.preset.config["trainable_layers"]
        if trainable is None or len(runs) == 1:
            return 0
        place = next(self.run_folder(*run) for run in runs if run[0].is_trained)
        return json.loads((place / "model" / "config.json").read_text("utf-8"))["num_hidden_layers"] - trainable

    def _evaluate(self, runs: Sequence[Run], test_set: TestSet) -> None:
        started = time.monotonic()
        # Taken before the models are read: should a run be trained anew meanwhile, its facts will not fit its model.
        fingerprints = [self._model_fingerprint(*run) for run in runs]
        siblings, sources, prompts = self._load_together(runs)
        embeddings, counts = embed(siblings, test_set, prompts)
        for run, (queries, candidates), source, model in zip(runs, embeddings, sources, fingerprints, strict=True):
            place = self.run_folder(*run)
            files.sweep(place)
            # What was made of another model that stood here goes first.
            for file in place.glob(f"ranks.{test_set.name}.*parquet"):
                file.unlink()
            table = rank_test_set(test_set, queries, candidates, device=self.workspace.device)
            with files.atomic(place / f"embeddings.{test_set.name}.safetensors") as temporary:
                save_file({"queries": queries, "candidates": candidates}, temporary)
            files.write_json(self._facts_file(*run, test_set.name), folder.manifest(
                started, **about(source, prompts, siblings.dtype, self.workspace.device, counts), encoded=counts,
                evaluated_together=len(runs), model=model, test_set=test_set.fingerprint))
            with files.atomic(folder.ranks_file(place, test_set.name)) as temporary:
                table.to_parquet(temporary, index=False)

    def _facts_file(self, system: System, seed: int, test_set: str) -> Path:
        return self.run_folder(system, seed) / f"evaluation.{test_set}.json"

    def facts(self, system: System, seed: int = NO_SEED, test_set: str | None = None) -> dict[str, Any]:
        """How a system was evaluated on a test set: encoder, prompts, counts of texts and tokens, machine."""
        name = test_set or self.preset.test_set.name
        self.evaluate([(system, seed)], [name])
        return json.loads(self._facts_file(system, seed, name).read_text("utf-8"))

    def report(self, system: System, seed: int = NO_SEED, test_set: str | None = None) -> Report:
        """The language-bias report of a system."""
        name = test_set or self.preset.test_set.name
        facts = self.facts(system, seed, name)
        title = f"{system}, seed {seed}" if system.is_trained else str(system)
        return report_of(self.ranks(system, seed, name), self.test_set(name), title,
                         {key: facts[key] for key in ABOUT if facts.get(key) is not None})

    def ranks(self, system: System, seed: int = NO_SEED, test_set: str | None = None) -> pd.DataFrame:
        """The ranks table of a system on a test set (the main one by default), computed if it is not there yet."""
        name = test_set or self.preset.test_set.name
        file = folder.ranks_file(self.run_folder(system, seed), name)
        self.evaluate([(system, seed)], [name])
        if system.remedy:
            file = file.with_name(f"{file.stem}.{system.remedy}.parquet")
            if not file.is_file():
                # Alone, so that nobody evaluates another model here between the reading and the writing.
                with files.alone(self.folder, wait=True):
                    means = None
                    if needs_training_means(system.remedy):
                        self._write_means([(system, seed)], MEANS_GROUPS)
                        means = self._read_means(system, seed)
                    embeddings = apply_remedy(system.remedy, *self._read_embeddings(system, seed, name),
                                              self.test_set(name), means)
                    with files.atomic(file) as temporary:
                        rank_test_set(self.test_set(name), *embeddings, device=self.workspace.device,
                                      quota=is_quota(system.remedy)).to_parquet(temporary, index=False)
        return _as_of_today(pd.read_parquet(file))

    def embeddings(self, system: System, seed: int = NO_SEED, test_set: str | None = None,
                   ) -> tuple[np.ndarray, np.ndarray]:
        """Embeddings of a system on a test set before any remedy: ``(queries, candidates)``."""
        name = test_set or self.preset.test_set.name
        self.evaluate([(system, seed)], [name])
        return self._read_embeddings(system, seed, name)

    def _read_embeddings(self, system: System, seed: int, test_set: str) -> tuple[np.ndarray, np.ndarray]:
        found = load_file(self.run_folder(system, seed) / f"embeddings.{test_set}.safetensors")
        return found["queries"], found["candidates"]

    def training_means(self, runs: Sequence[Run], groups: int = MEANS_GROUPS) -> list[SideMeans]:
        """Mean embedding of training texts per language, apart for queries and passages, computed if not there yet.

        Parameters
        ----------
        runs : sequence of (System, seed)
        groups : int
            Of how many training groups, the same for all languages as far as they have them.

        Returns
        -------
        list of dict
            Per run: ``{"queries": {language: ndarray (width,)}, "candidates": {…}}``, training languages only.
        """
        for run in runs:
            self._check_is_there(*run)
        if self._without_means(runs, groups):
            with files.alone(self.folder, wait=True):
                self._write_means(runs, groups)
        return [self._read_means(*run) for run in runs]

    def _means_file(self, system: System, seed: int) -> Path:
        return self.run_folder(system, seed) / "parallel_means.safetensors"

    def _read_means(self, system: System, seed: int) -> SideMeans:
        table = load_file(self._means_file(system, seed))
        return {side: {name.split()[1]: mean for name, mean in table.items() if name.startswith(side)}
                for side in SIDES}

    def _without_means(self, runs: Sequence[Run], groups: int) -> list[tuple[Run, str]]:
        """Those without means of their present model and the present data, each with what stands for these."""
        settings = self.preset.settings(XX, 0)
        data = files.key({"data": settings.data, "languages": list(settings.languages), "groups": groups})
        made_of = [(run, f"{self._model_fingerprint(*run) or ''} {data}") for run in runs]
        return [(run, model) for run, model in made_of if _made_of(self._means_file(*run)) != model]

    def _write_means(self, runs: Sequence[Run], groups: int) -> None:
        """For who is alone in the folder: write those means that are not there yet."""
        missing = self._without_means(runs, groups)
        if not missing:
            return
        texts = training_texts(self.preset.training_sets, self.preset.languages, groups)
        siblings, _, prompts = self._load_together([run for run, _ in missing])
        tables: list[dict[str, np.ndarray]] = [{} for _ in missing]
        for side, prompt, role in (("queries", prompts.query, "query"), ("candidates", prompts.passage, "document")):
            every, _ = encoding.encode_all(
                siblings, texts[side]["text"].tolist(), prompt, description=f"training {side}", role=role)
            for table, embeddings in zip(tables, every, strict=True):
                for language, rows in texts[side].groupby("language").indices.items():
                    table[f"{side} {language}"] = embeddings[rows].mean(0)
        for table, (run, model) in zip(tables, missing, strict=True):
            with files.atomic(self._means_file(*run)) as temporary:
                save_file(table, temporary, {"model": model})
            for file in self.run_folder(*run).glob("ranks.*.*.parquet"):  # of remedies that others were fitted on
                if any(f".{name}" in file.name for name in OF_TRAINING):
                    file.unlink()

    def results(self, seeds: Sequence[int], test_set: str | None = None, systems: Sequence[System] = SYSTEMS,
                ) -> pd.DataFrame:
        """Per-query measures of systems, with ``system``, ``sampling``, ``remedy`` and ``seed``.

        ``seed`` is `hybridlib.evaluation.NO_SEED` where nothing was trained.
        """
        runs = [(system, seed) for system in systems for seed in (seeds if system.is_trained else [NO_SEED])]
        self.evaluate(runs, [test_set or self.preset.test_set.name])
        fitted = list(dict.fromkeys((system.base, seed) for system, seed in runs
                                    if needs_training_means(system.remedy)))
        if fitted:
            self.training_means(fitted)
        return pd.concat([per_query(self.ranks(system, seed, test_set)).assign(
            system=str(system), sampling=system.sampling, remedy=system.remedy, seed=seed)
            for system, seed in runs], ignore_index=True)


def _made_of(means: Path) -> str | None:
    """The fingerprint of the model that a file of means was made of; None without the file."""
    if not means.is_file():
        return None
    with safe_open(means, "np") as file:
        return (file.metadata() or {}).get("model")


def _as_of_today(ranks: pd.DataFrame) -> pd.DataFrame:
    """A ranks table as it is written now: earlier ones said article for cluster, and had no grades but 1."""
    if "grade" not in ranks:
        ranks.insert(4, "grade", (ranks["rank_in_pool"] > 0).astype(np.int32))
    return ranks.rename(columns={"article": "cluster"})
