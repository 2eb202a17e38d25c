"""What is kept of a run without its weights: ranks, packed, and sums over articles of every measure.

In one folder, of one precision on one kind of device:

``<run>.cells.parquet``
    `hybridlib.evaluation.cells` per test set and remedy, all in one table, with ``benchmark``, ``system``,
    ``sampling``, ``remedy`` and ``seed``: every mean, interval and verdict comes from it. Committed are several runs
    in one file, with the measures of `KEPT`.
``<run>.<test set>.ranks.parquet``
    The numbers of the ranks table; its keys, the same for all runs, are in ``<test set>.keys.parquet``, and so is how
    many candidates each language has. `reproduction.run.published_store` reads these in place of runs.

The facts of the runs (keys of their settings, precision, machine, versions, seconds) stand in the metadata of each
file.
"""

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from hybridlib import files
from hybridlib.data import TestSet
from hybridlib.errors import RunError
from hybridlib.evaluation import ABOUT, cells, per_query
from reproduction.run.folder import ranks_file
from reproduction.run.store import Store
from reproduction.run.system import System

# What is committed: a hundred runs have some 20 MB with these, twice as many with all.
KEPT = ("monolingual AP", "crosslingual AP", "multilingual AP", "rank distance", "own-language rank",
        "own language first", "others above own", "TLR@20", "Max@R", "Complete@10", "PEER@20", "monolingual nDCG@10",
        "multilingual nDCG@10", "multilingual R@10", "crosslingual P@1")
KEYS = ["question", "cluster", "query_language", "language", "grade"]
_FACTS = b"reproduction"
_RUN = ("benchmark", "system", "sampling", "remedy", "seed")
_ALIKE = ("precision", "device")  # of all runs in a folder: others differ by more than what is compared


def _write(table: pd.DataFrame, file: Path, facts: Any) -> None:
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    arrow = arrow.replace_schema_metadata({_FACTS: json.dumps(facts, sort_keys=True)})
    with files.atomic(file) as temporary:
        numbers = [name for name in table if table[name].dtype == "float32"]
        pq.write_table(arrow, temporary, compression="zstd", compression_level=19, use_byte_stream_split=numbers,
                       use_dictionary=[name for name in table if name not in numbers])


def facts_of(file: str | Path) -> list[dict[str, Any]]:
    """What is known of the runs behind a file of evidence, one after the other.

    Raises
    ------
    ValueError
        If it is none.
    """
    try:
        found = json.loads(pq.read_schema(file).metadata[_FACTS])
        return found if isinstance(found, list) else [found]
    except (pa.ArrowInvalid, KeyError, TypeError, ValueError):
        raise ValueError(f"{file}: not a file of evidence of this project") from None


def is_kept(folder: Path, store: Store, system: System, seed: int, test_sets: Sequence[str] = (),
            remedies: Sequence[str] = (), ranks: Sequence[str] = ()) -> bool:
    """Whether a folder has the evidence of a run with exactly these settings, and all that is asked of it."""
    file = _cells_file(folder, store, system, seed)
    if not file.is_file():
        return False
    facts = facts_of(file)[0]
    asked = (("test sets", test_sets), ("remedies", remedies), ("ranks", ranks))
    # An earlier version did not say what was in the test sets.
    made_on = facts.get("test set fingerprints", {})
    return facts["key"] == files.key(store.preset.choices(system, seed)) and all(
        set(names) <= set(facts[of]) for of, names in asked) and all(
        made_on[name] == store.test_set(name).fingerprint for name in test_sets if name in made_on)


def _cells_file(folder: Path, store: Store, system: System, seed: int) -> Path:
    return Path(folder) / f"{store.run_folder(system, seed).name}.cells.parquet"


def keep(folder: Path, store: Store, system: System, seed: int, test_sets: Sequence[str],
         remedies: Sequence[str] = (), ranks: Sequence[str] = ()) -> None:
    """Evaluate a run, as far as that is not done, and keep what came out.

    Parameters
    ----------
    folder : Path
    store : Store
    system : System
        Without a remedy.
    seed : int
    test_sets : sequence of str
    remedies : sequence of str
        Measured beside the plain run.
    ranks : sequence of str
        Test sets whose ranks are kept, too.

    Raises
    ------
    RunError
        If the run was evaluated in two precisions, or on two kinds of devices.
    """
    started, place = time.monotonic(), store.run_folder(system, seed)
    # What was ranked before costs nothing now: such a time would say nothing of the next run.
    anew = not any(ranks_file(place, name).is_file() for name in test_sets)
    store.evaluate([(system, seed)], test_sets)
    every = [_facts(store, system, seed, name) for name in test_sets]
    for fact in _ALIKE:
        if len(found := {str(x[fact]) for x in every}) > 1:
            raise RunError(f"{place}: evaluated with two {fact}s, {' and '.join(sorted(found))}: remove the folder's "
                           "ranks.* and evaluation.*, and measure again")
    parts = []
    for name, facts in zip(test_sets, every, strict=True):
        for remedied in [system, *(replace(system, remedy=remedy) for remedy in remedies)]:
            table = store.ranks(remedied, seed, name)
            parts.append(cells(per_query(table)).assign(benchmark=name, system=str(remedied),
                                                        sampling=system.sampling, remedy=remedied.remedy, seed=seed))
            if not remedied.remedy and name in ranks:
                keys, of_test_set = Path(folder) / f"{name}.keys.parquet", _facts_of_test_set(store.test_set(name))
                if not keys.is_file() or facts_of(keys)[0] != of_test_set:
                    _write(table[KEYS], keys, of_test_set)
                _write(table.drop(columns=KEYS), Path(folder) / f"{store.run_folder(system, seed).name}.{name}"
                                                                ".ranks.parquet", facts)
    whole = pd.concat(parts, ignore_index=True)
    # Half the bytes; what is lost is below a ten-millionth of a value.
    sums = whole.select_dtypes("float64").columns
    counts = [name for name in whole if name.endswith(": queries")]
    whole = whole.astype(dict.fromkeys(sums, "float32") | dict.fromkeys(counts, "int32"))
    _write(whole, _cells_file(folder, store, system, seed), every[-1] | {
        "test sets": list(test_sets),
        "test set fingerprints": {name: store.test_set(name).fingerprint for name in test_sets},
        "remedies": list(remedies), "ranks": list(ranks),
        "measuring seconds": round(time.monotonic() - started, 1) if anew else None})


def _facts_of_test_set(test_set: TestSet) -> dict[str, Any]:
    """What the ranks do not say of a test set, and its numbers and chance need."""
    return {"benchmark": test_set.name, "candidates": test_set.counts()["candidates"].to_dict(),
            "left out": test_set.left_out}


def _facts(store: Store, system: System, seed: int, test_set: str) -> dict[str, Any]:
    """Of a run and its evaluation: what must be alike in a comparison, and what a reader wants to know."""
    measured = store.facts(system, seed, test_set)
    manifest = store.run_folder(system, seed) / "manifest.json"
    trained = json.loads(manifest.read_text("utf-8")) if manifest.is_file() else {}
    return {"key": files.key(store.preset.choices(system, seed)), "system": str(system), "seed": seed,
            # Of a trained run the encoder is a folder of this machine.
            **{name: measured.get(name) for name in (*_ALIKE, *ABOUT, "encoded", "gpu", "cpu", "threads", "versions",
                                                     "git") if name != "encoder" or not system.is_trained},
            "trained precision": trained.get("precision"), "trained device": trained.get("device"),
            "training seconds": trained.get("seconds"), "steps": trained.get("steps_run"),
            "best step": trained.get("best_step")}


def read_cells(folder: str | Path) -> pd.DataFrame:
    """All cells of a folder, in one table.

    Raises
    ------
    RunError
        If runs of two precisions, or of two kinds of devices, lie in it.
    FileNotFoundError
        If there is none.
    """
    found = sorted(Path(folder).glob("*.cells.parquet"))
    if not found:
        raise FileNotFoundError(f"{folder}: no evidence, that is no file *.cells.parquet")
    check_alike(found)
    return pd.concat([pd.read_parquet(file) for file in found], ignore_index=True)


def gather(source: str | Path, target: str | Path) -> list[Path]:
    """Copy the evidence of a folder to where it is committed: cells in one file, ranks as they are.

    Returns
    -------
    list of Path
        What was written.
    """
    source, target = Path(source), Path(target)
    found = sorted(source.glob("*.cells.parquet"))
    table = read_cells(source)
    columns = [name for name in table if name.removesuffix(": queries") in (*KEPT, "cluster", "query_language",
                                                                           *_RUN)]
    order = ["benchmark", "cluster", "query_language"]  # alike rows side by side: they take less room
    written = [target / f"{source.name}.cells.parquet"]
    _write(table[columns].sort_values(order, kind="stable", ignore_index=True), written[0],
           [facts for file in found for facts in facts_of(file)])
    for file in sorted((*source.glob("*.ranks.parquet"), *source.glob("*.keys.parquet"))):
        written.append(target / file.name)
        with files.atomic(written[-1]) as temporary:
            shutil.copyfile(file, temporary)
    for file in {*target.glob("*.parquet")} - {*written}:  # of runs with other settings
        file.unlink()
    return written


def check_alike(found: Sequence[Path]) -> None:
    """Raise `RunError` where files of evidence are of two precisions or two kinds of devices."""
    for fact in (*_ALIKE, *(f"trained {fact}" for fact in _ALIKE)):
        values: dict[str, Path] = {}
        for file in found:
            for facts in facts_of(file):
                if facts.get(fact) is not None:  # nothing was trained
                    values.setdefault(facts[fact], file)
        if len(values) > 1:
            raise RunError(f"runs of two {fact}s are not compared: " + ", ".join(
                f"{file.name} is of {value}" for value, file in values.items()) + "; keep them in folders of their own")


def read_ranks(folder: str | Path, run: str, test_set: str) -> pd.DataFrame:
    """The ranks table of a run, as `hybridlib.evaluation.rank_test_set` made it."""
    keys, numbers = (pd.read_parquet(Path(folder) / name)
                     for name in (f"{test_set}.keys.parquet", f"{run}.{test_set}.ranks.parquet"))
    if len(keys) != len(numbers):
        raise ValueError(f"{folder}: {run}.{test_set}.ranks.parquet has {len(numbers)} rows, and the keys of "
                         f"{test_set} are {len(keys)}")
    return pd.concat([keys, numbers], axis=1)


def read_test_set(folder: str | Path, name: str) -> TestSet:
    """A test set as far as ranks and chance need it, from the keys of its ranks.

    Queries, their clusters, the sizes of the pool and how much is relevant in which language are those of the test
    set; texts are empty. *Which* candidates are relevant is not kept: the first ones of the language stand for them.

    Raises
    ------
    ValueError
        If the file does not say how many candidates there are.
    """
    file = Path(folder) / f"{name}.keys.parquet"
    keys, facts = pd.read_parquet(file), facts_of(file)[0]
    if "candidates" not in facts:
        raise ValueError(f"{file}: says nothing of how many candidates each language has: remove it, and the"
                         " evidence beside it, and measure again")
    languages = tuple(keys["language"].unique())  # each query has a row or more for every language, in their order
    sizes = np.array([facts["candidates"][language] for language in languages])
    asked = ["question", "query_language"]
    queries = keys.drop_duplicates(asked)[["question", "cluster", "query_language"]]
    found = keys.assign(query=keys.groupby(asked, sort=False).ngroup(),
                        place=keys["language"].map(dict(zip(languages, sizes.cumsum() - sizes, strict=True))))
    found = found[found["grade"] > 0]
    nth = found.groupby(["query", "language"], sort=False).cumcount()
    return TestSet(
        name, languages,
        queries.rename(columns={"query_language": "language"}).assign(text="").reset_index(drop=True),
        pd.DataFrame({"cluster": "", "language": np.repeat(np.array(languages, object), sizes), "text": ""}),
        found.assign(candidate=found["place"] + nth)[["query", "candidate", "grade"]].astype(np.int64).reset_index(
            drop=True), facts["left out"])
