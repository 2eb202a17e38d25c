"""mteb's retrieval tasks over run folders: a table per task and language, with intervals over runs.

    python -m reproduction.commands.mteb --model runs/xquad/X-X-s* runs/xquad/Hybrid-s* --list low-resource --out scores

A model is a run folder, or any folder or name that sentence-transformers can load. Run folders ``<sampling>-s<seed>``
that differ in their seed only are runs of one system: its row is their mean, with the 95 % interval by Student's t over
them. It says what another training would give on the same queries; one run has none. Our own tasks (XQuAD-R and MLQA-R
as a pool, or by pairs of languages) go by their names, too: XQuADRMultilingualPool and the others.

mteb gets its data from the hub, or finds them in the cache of ``datasets`` (``HF_HUB_OFFLINE=1``), or in ``--data``: a
folder that holds copies laid out as on the hub, ``<owner>/<name>/``, and ``xquad-r/`` and ``mlqa-r/`` as released.

A test set of your own needs none of this: ``hybridlib evaluate --model … --test-set FOLDER``, in BEIR's layout.
"""

import argparse
import json
import re
import sys
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import yaml
from scipy import stats

from hybridlib import files
from hybridlib.devices import check_device
from hybridlib.encoding import Prompts, load
from hybridlib.errors import one_line_errors
from hybridlib.evaluation.intervals import NO_SEED
from reproduction.workspace import Workspace

if TYPE_CHECKING:
    from mteb.abstasks.retrieval import AbsTaskRetrieval


class Run(NamedTuple):
    """A model to score.

    Attributes
    ----------
    system : str
        What its runs share: the name of its folder without the seed.
    seed : int
        `NO_SEED` where the name has none.
    place : str
        What `hybridlib.encoding.load` reads.
    settings : dict
        Of a run folder, without the seed; else empty.
    """

    system: str
    seed: int
    place: str
    settings: dict[str, Any]

    @classmethod
    def at(cls, name: str) -> "Run":
        """A run folder, or whatever else `hybridlib.encoding.load` can read."""
        folder, settings = Path(name), {}
        if not folder.is_dir():
            return cls(name, NO_SEED, name, settings)
        folder = folder.resolve()
        if folder.name == "model" and (folder.parent / "settings.json").is_file():
            folder = folder.parent
        if (folder / "settings.json").is_file():
            settings = json.loads((folder / "settings.json").read_text("utf-8"))
            if not (folder / "model").is_dir():
                raise FileNotFoundError(f"{folder}: the run has no model/ folder; for the encoder itself give its "
                                        f"name, {settings.get('encoder', 'multilingual-e5-small')}")
        seeded = re.fullmatch(r"(.+)-s(\d+)", folder.name)
        return cls(seeded[1] if seeded else folder.name, int(seeded[2]) if seeded else NO_SEED,
                   str(folder / "model" if settings else folder), {x: y for x, y in settings.items() if x != "seed"})


def read_runs(names: Iterable[str]) -> list[Run]:
    """The models of a command line.

    Raises
    ------
    FileNotFoundError
        If a run folder has no model.
    ValueError
        If two are the same run, or share a name and differ in more than their seed.
    """
    runs: list[Run] = []
    for name in names:
        run = Run.at(name)
        for other in runs:
            if other[:2] == run[:2]:
                raise ValueError(f"{name}: there is another {run.system} of seed {run.seed}, {other.place}; rename one")
            if other.system == run.system and other.settings != run.settings:
                raise ValueError(f"{name}: called {run.system} as {other.place} is, and their settings differ in more "
                                 "than the seed; they are no runs of one system, rename one of the folders")
        runs.append(run)
    return runs


def read_lists(path: Path) -> dict[str, list[dict[str, Any]]]:
    """The named lists of tasks: of each its name, the languages that are taken (all without), and why it is there.

    Raises
    ------
    ValueError
        If an entry has another field, or lacks one.
    """
    lists = yaml.safe_load(path.read_text("utf-8"))
    for name, entries in lists.items():
        for entry in entries:
            if not {"task", "why"} <= entry.keys() <= {"task", "why", "languages"}:
                raise ValueError(f"{path}: list {name}: expected task, why and, if wanted, languages, not {entry}")
    return lists


def task_named(name: str, languages: Sequence[str] | None = None, data: Path | None = None) -> "AbsTaskRetrieval":
    """A retrieval task by its name: one of ours, or one of mteb's.

    Parameters
    ----------
    name : str
    languages : sequence of str, optional
        ISO 639-3 codes: only the subsets in these.
    data : path, optional
        Holds copies of data sets; see the top of this module.

    Raises
    ------
    ValueError
        If there is no such task, or it does no retrieval of texts.
    ImportError
        If mteb is not installed.
    """
    import mteb
    from mteb.abstasks.retrieval import AbsTaskRetrieval

    from hybridlib.data import load_test_set
    from hybridlib.integrations import mteb as ours

    own = {task.metadata.name: task for task in (ours.XQuADRMultilingualPool, ours.MLQARMultilingualPool,
                                                 ours.XQuADRCrosslingual, ours.MLQARCrosslingual)}
    if name in own:
        folder = data / own[name].released if data else None
        task = own[name](load_test_set(own[name].released, folder) if folder and folder.is_dir() else None)
        return task.filter_languages(languages) if languages else task
    try:
        task = mteb.get_task(name, languages=languages)
    except KeyError as error:
        raise ValueError(f"no task {name!r} in mteb {mteb.__version__}, and ours are {', '.join(own)}") from error
    if not isinstance(task, AbsTaskRetrieval) or task.metadata.modalities != ["text"]:
        raise ValueError(f"{name}: a task of type {task.metadata.type}; only retrieval of texts is tabled here")
    copy = data / task.metadata.dataset["path"] if data else None
    if copy and copy.is_dir():
        task.metadata = task.metadata.model_copy(update={"dataset": task.metadata.dataset | {"path": str(copy)}})
    return task


def score(run: Run, tasks: Sequence["AbsTaskRetrieval"], device: str = "cpu", cache: Path | None = None,
          ) -> pd.DataFrame:
    """Scores of a model, each task by its main measure, as mteb computes it.

    The model's own prompts go before queries and documents. It computes in float32.

    Parameters
    ----------
    run : Run
    tasks : sequence of AbsTaskRetrieval
    device : str
    cache : path, optional
        Where mteb keeps what it has scored, so that an interrupted call is gone on with: in folders of this model's
        own, named by its weights and by where a task's data are from. mteb's cache calls all local models by one name,
        and would give a second one the first one's scores.

    Returns
    -------
    DataFrame
        ``task``, ``measure``, ``split``, ``subset``, ``languages``, ``system``, ``seed``, ``score``.
    """
    import mteb
    from mteb.cache import ResultCache
    from mteb.models import CachedEmbeddingWrapper, SentenceTransformerEncoderWrapper

    model, _ = load(run.place)
    prompts = Prompts.of(model)
    model.prompts = {"query": prompts.query, "document": prompts.passage}
    weights = files.fingerprint(run.place) if Path(run.place).is_dir() else run.place
    of = {}
    for task in tasks:
        kept = cache and ResultCache(cache / files.key({"model": weights, "data": _data_of(task)}))
        # The subsets of a task share texts: those of another subset are not encoded again.
        with TemporaryDirectory() as embeddings, warnings.catch_warnings():
            # An empty cache is no reason to warn, nor is a text that stands twice in a call.
            warnings.filterwarnings("ignore", module=r"mteb\.models\.cache_wrappers")
            (result,) = mteb.evaluate(
                CachedEmbeddingWrapper(SentenceTransformerEncoderWrapper(model.to(device)), embeddings), task,
                cache=kept, co2_tracker=False, encode_kwargs={"batch_size": 64})
        of[result.task_name] = result.scores
    # What was scored before may hold more subsets than are asked for now.
    return pd.DataFrame([
        {"task": task.metadata.name, "measure": task.metadata.main_score, "split": split, "subset": found["hf_subset"],
         "languages": " ".join(found["languages"]), "system": run.system, "seed": run.seed,
         "score": found["main_score"]}
        for task in tasks for split, subsets in of[task.metadata.name].items() for found in subsets
        if found["hf_subset"] in task.hf_subsets])


def _data_of(task: "AbsTaskRetrieval") -> str:
    """What a task's data are: those that it was given, or a folder, or a name at the hub."""
    given = getattr(task, "test_set", None)
    return given.fingerprint if given is not None else str(task.metadata.dataset["path"])


def over_runs(scores: pd.DataFrame) -> pd.DataFrame:
    """Means over runs with 95 % intervals by Student's t, per task, subset and system.

    A task of several subsets has a row ``mean`` before them: of each run's mean over them.

    Parameters
    ----------
    scores : DataFrame
        As `score` gives.

    Returns
    -------
    DataFrame
        ``task``, ``measure``, ``split``, ``subset``, ``languages``, ``system``, ``runs``, ``score``, ``low``, ``high``;
        the last two are missing with one run, which says nothing of how runs vary.

    Raises
    ------
    ValueError
        If the runs of a task were scored on other subsets.
    """
    by = ["task", "measure", "split"]
    subsets = scores.groupby(["task", "system", "seed"])["subset"].agg(frozenset)
    if uneven := [name for name, found in subsets.groupby("task") if len({*found}) > 1]:
        raise ValueError(f"{', '.join(uneven)}: the runs have not the same subsets; their means are not compared")
    several = scores.groupby(by)["subset"].transform("nunique") > 1
    means = scores[several].groupby([*by, "system", "seed"], sort=False, as_index=False)["score"].mean()
    every = pd.concat([means.assign(subset="mean", languages=""), scores], ignore_index=True)
    table = every.groupby([*by, "subset", "languages", "system"], sort=False)["score"].agg(
        runs="size", score="mean", error="sem").reset_index()
    half = stats.t.ppf(0.975, table["runs"] - 1) * table.pop("error")  # of one run neither is a number
    table = table.assign(low=table["score"] - half, high=table["score"] + half)
    # The tasks in the order that they were asked for, the mean of each first.
    order = {task: place for place, task in enumerate(scores["task"].unique())}
    return table.sort_values("task", key=lambda tasks: tasks.map(order), kind="stable", ignore_index=True)


def text(table: pd.DataFrame) -> str:
    """The table of `over_runs` for a terminal: a block per task, a row per subset, a column per system."""
    blocks = []
    for (task, measure, split), rows in table.groupby(["task", "measure", "split"], sort=False):
        cells = rows.assign(cell=[
            f"{row.score:.3f}" if np.isnan(row.low) else f"{row.score:.3f} [{row.low:.3f}, {row.high:.3f}]"
            for row in rows.itertuples()])
        shown = cells.pivot(index="subset", columns="system", values="cell")
        shown = shown.loc[rows["subset"].unique(), rows["system"].unique()].rename_axis(index=None, columns=None)
        blocks.append(f"{task} ({split}), {measure}\n{shown.to_string()}")
    runs = [f"{system} {count} runs" if count > 1 else f"{system} one run, so no interval"
            for system, count in table.groupby("system", sort=False)["runs"].max().items()]
    return "\n\n".join([*blocks, f"95 % intervals by Student's t over runs: {', '.join(runs)}"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    lists = read_lists(Workspace().configs / "evidence" / "mteb.yaml")
    parser = argparse.ArgumentParser(prog="python -m reproduction.commands.mteb", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", required=True, metavar="RUN", help="run folders, or names of models")
    parser.add_argument("--tasks", nargs="+", default=[], metavar="NAME", help="names of retrieval tasks")
    parser.add_argument("--list", choices=lists, dest="named", help="tasks that configs/evidence/mteb.yaml lists")
    parser.add_argument("--data", type=Path, help="folder of copies of data sets, laid out as on the hub")
    parser.add_argument("--out", type=Path, help="folder for scores.csv and table.csv; what is scored there is kept")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    chosen = parser.parse_args(arguments)
    with one_line_errors():
        asked = {entry["task"]: entry.get("languages") for entry in lists.get(chosen.named, [])}
        asked |= {name: None for name in chosen.tasks if name not in asked}
        if not asked:
            raise ValueError("name tasks with --tasks, or one of our lists with --list")
        check_device(chosen.device)
        if chosen.out:
            files.check_writable(chosen.out)
        runs = read_runs(chosen.model)
        for name, languages in asked.items():
            task_named(name, languages, chosen.data)     # a wrong name stops here, before any work
        # Made anew for each run: a task that was evaluated forgets where its copy lies.
        scores = pd.concat([score(run, [task_named(name, languages, chosen.data) for name, languages in asked.items()],
                                  chosen.device, chosen.out and chosen.out / "mteb") for run in runs],
                           ignore_index=True)
        table = over_runs(scores)
        if chosen.out:
            for name, rows in (("scores", scores), ("table", table)):
                with files.atomic(chosen.out / f"{name}.csv") as temporary:
                    rows.to_csv(temporary, index=False, float_format="%.6g")
        print(text(table))
    return 0


if __name__ == "__main__":
    sys.exit(main())
