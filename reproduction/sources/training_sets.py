"""The paper's nine training sets, and SQuADShifts for selection: from their public homes to files in our groups format.

    python -m reproduction.sources.training_sets                              what is there and what is missing
    python -m reproduction.sources.training_sets wikiqa mfaq --out FOLDER     download at pinned revisions
    python -m reproduction.sources.training_sets newsqa --data FILES --out FOLDER     from files as published

How a row becomes a question-passage pair stands in `reproduction.sources.sets`. The texts are English, with runs of
white space made one space. No set gives more pairs than the paper has of it, so that the sets keep its proportions: of
a larger one the rows are read in an order drawn by seed 0 until that many are there.

Each ``<name>.jsonl.gz`` has a ``<name>.json`` beside it, written last: home, revision, licence, counts, sha256.
"""

import argparse
import gzip
import io
import json
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
from huggingface_hub import snapshot_download
from tqdm.auto import tqdm

from hybridlib import files
from hybridlib.data import CorpusError
from hybridlib.data.reading import named, read_json, read_lines
from hybridlib.errors import one_line_errors
from hybridlib.languages import is_language
from reproduction import published
from reproduction.sources import mmarco
from reproduction.sources.sets import SETS, TrainingSet, said_by

_TYPES = {str: ("string", "large_string"), int: ("int8", "int32", "int64"), bool: ("bool",)}


def _leaf(features: Any, path: str) -> tuple[Any, str | None]:
    """What stands at a path of fields; the name of the first one that is missing."""
    for name in path.split("."):
        while isinstance(features, (datasets.List, datasets.LargeList)):
            features = features.feature
        if not isinstance(features, dict) or name not in features:
            return None, name
        features = features[name]
    return features, None


def check_layout(dataset: datasets.Dataset, chosen: TrainingSet) -> None:
    """Raise `CorpusError` if a field is missing or of another type than published; names the set and the field."""
    problems = []
    for path, kind in chosen.fields.items():
        found, missing = _leaf(dataset.features, path)
        if missing:
            problems.append(f"{chosen.title}: field {path!r}: there is no {missing!r}")
            continue
        if isinstance(kind, list):
            kind, found = kind[0], getattr(found, "feature", found)
        known = isinstance(found, datasets.ClassLabel) if kind is int else False
        if not known and getattr(found, "dtype", None) not in _TYPES[kind]:
            problems.append(f"{chosen.title}: field {path!r} is {found}, expected {kind.__name__}")
    if problems:
        raise CorpusError([*problems, f"{chosen.title}: the fields are {list(dataset.features)}; its layout is not "
                           f"the published one ({chosen.home})"])


def load_published_set(name: str, data: str | Path | None = None) -> datasets.Dataset:
    """A set as published.

    Parameters
    ----------
    name : str
        A key of `SETS`.
    data : path, optional
        Folder of its files; without it they are downloaded at the pinned revision.

    Returns
    -------
    datasets.Dataset

    Raises
    ------
    ValueError
        If the set cannot be downloaded and no folder was given.
    FileNotFoundError, ConnectionError, CorpusError
        If files are missing, cannot be had, or are not in the published layout.
    """
    chosen = SETS[name]
    if data is None and chosen.revision is None:
        raise ValueError(f"{chosen.title} cannot be downloaded by a program: {chosen.get} ({chosen.home})")
    if data is None:
        try:
            data = snapshot_download(chosen.home, repo_type="dataset", revision=chosen.revision,
                                     allow_patterns=list(chosen.files))
        except OSError as error:
            raise ConnectionError(f"{chosen.home} at {chosen.revision} could not be had: {error}\nGet the files by "
                                  "other means and give their folder with --data") from error
    if absent := [file for file in chosen.files if not list(Path(data).glob(file))]:
        raise FileNotFoundError(f"{Path(data, absent[0])}: no such file; {data} must be laid out as {chosen.home}")
    for file in (file for pattern in chosen.files for file in sorted(Path(data).glob(pattern))):
        if chosen.reader == "json":
            _check_records(file, chosen.field)
    options = {"field": chosen.field} if chosen.field else {}
    try:
        dataset = datasets.load_dataset(chosen.reader, split="train", **options, data_files={
            "train": [str(Path(data, file)) for file in chosen.files]})
        dataset.data.validate(full=True)  # such as texts in UTF-8, which only who looks at one would find
    except Exception as error:  # whatever the readers raise is about these files
        raise CorpusError([f"{data}, {', '.join(chosen.files)}: cannot be read as {chosen.title}: {said_by(error)}"]
                          ) from error
    check_layout(dataset, chosen)
    return dataset


def _check_records(file: Path, field: str | None) -> None:
    """Raise `CorpusError`, with the line, unless a JSON file holds records: null among them ends the whole process."""
    if ".jsonl" in file.suffixes:
        for line, _, problem in read_lines(file):
            if problem:
                raise CorpusError([f"{file}:{line}: {problem}"])
        return
    records = read_json(file)
    if field:
        records = records.get(field) if isinstance(records, dict) else None
    if not isinstance(records, list) or not records:
        raise CorpusError([f"{file}: expected a list of records" + (f" in field {field!r}" if field else "")])
    for number, record in enumerate(records):
        if not isinstance(record, dict):
            raise CorpusError([f"{file}: record {number} is {named(record)}, expected an object"])


def _has_null(value: Any, path: str) -> bool:
    """Whether there is null on a path of fields, through lists."""
    if isinstance(value, list):
        return any(_has_null(one, path) for one in value)
    name, _, rest = path.partition(".")
    return value is None or (bool(name) and _has_null(value[name], rest))


def pairs_of(name: str, dataset: datasets.Dataset) -> Iterator[tuple[str, str]]:
    """Yield the (question, passage) pairs of a set, at most as many as the paper has.

    Parameters
    ----------
    name : str
        A key of `SETS`.
    dataset : datasets.Dataset
        As `load_published_set` returns it.

    Raises
    ------
    CorpusError
        If the layout is not the published one, or a row has null where a text must be, or a place outside its text.
    """
    chosen, limit = SETS[name], pairs_in_paper(name)
    check_layout(dataset, chosen)
    needed = [path.rpartition(".")[0] if path in chosen.nullable else path for path in chosen.fields]
    if limit is not None and len(dataset) > 1:
        dataset = dataset.shuffle(seed=0)
    count = 0
    for row in tqdm(dataset, desc=name, unit=" rows"):
        if nulls := [path for path in needed if _has_null(row, path)]:
            raise CorpusError([f"{chosen.title}: field {nulls[0]!r} is null in the row {row!r:.200}"])
        try:
            pairs = list(chosen.pairs(row))
        except ValueError as error:
            raise CorpusError([f"{chosen.title}: {error}, in the row {row!r:.200}"]) from error
        for pair in pairs:
            question, passage = (" ".join(text.split()) for text in pair)
            if question and passage:
                yield question, passage
                count += 1
                if count == limit:
                    return


def pairs_in_paper(name: str) -> int | None:
    """How many pairs a language the paper has of a set; None of SQuADShifts."""
    title = "mMARCO" if name == "mmarco" else SETS[name].title
    return published.training_data().get(title)


def make_training_set(name: str, out: str | Path, data: str | Path | None = None) -> dict[str, Any]:
    """Write ``<out>/<name>.jsonl.gz`` and ``<name>.json``, unless they are there at the pinned revision.

    ``mmarco`` becomes the folder ``<out>/mmarco`` (`reproduction.sources.mmarco.prepare`).

    Returns
    -------
    dict
        What the ``.json`` holds.
    """
    out = Path(out)
    said, file = out / f"{name}.json", out / f"{name}.jsonl.gz"
    if name == "mmarco":
        return mmarco.prepare(data or mmarco.fetch_mmarco(), out / name)
    chosen = SETS[name]
    if data is None and said.is_file() and file.is_file():
        facts = _facts(said)
        if facts.get("revision") == chosen.revision and facts["sha256"] == files.sha256(file):
            return facts
    dataset, count = load_published_set(name, data), 0
    said.unlink(missing_ok=True)
    with (files.atomic(file) as temporary, open(temporary, "wb") as raw,
          gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed, io.TextIOWrapper(packed, "utf-8") as text):
        for question, passage in pairs_of(name, dataset):
            count += 1
            text.write(json.dumps({"id": f"{name}:{count}", "query": {"en": question}, "passage": {"en": passage}},
                                  ensure_ascii=False) + "\n")
        if not count:
            raise CorpusError([f"{chosen.title}: none of its {len(dataset)} rows gives a pair"])
    facts = {"home": chosen.home, "revision": chosen.revision if data is None else "given", "licence": chosen.licence,
             "languages": ["en"], "rows": len(dataset), "groups": count, "sha256": files.sha256(file)}
    files.write_json(said, facts)
    return facts


def _command(name: str) -> str:
    return f"python -m reproduction.sources.training_sets {name} --out FOLDER" + (
        " --data FILES" if name in SETS and SETS[name].revision is None else "")


def _facts(file: Path) -> dict[str, Any]:
    """What ``<name>.json`` says of a set that was made; CorpusError if it does not."""
    facts = read_json(file)
    languages = facts.get("languages", []) if isinstance(facts, dict) else None
    if (not isinstance(languages, list) or not all(map(is_language, languages))
            or not isinstance(facts.get("sha256"), str) or not re.fullmatch("[0-9a-f]+", facts["sha256"])
            or type(facts.get("groups", 0)) is not int):
        raise CorpusError([f"{file}: does not say what was made; remove it and make the set again: "
                           f"{_command(file.stem)}"])
    return facts


def overview(folder: str | Path | None = None) -> pd.DataFrame:
    """The sets as a table: home, licence, the paper's pairs per language and ours, and what to do about those missing.

    Parameters
    ----------
    folder : path, optional
        Where they were made.
    """
    rows = {}
    for name in [*SETS, "mmarco"]:
        file = Path(folder, f"{name}.json") if folder else None
        facts = _facts(file) if file and file.is_file() else {}
        home, revision, licence, get = (
            (mmarco.HOME, mmarco.REVISION, "Apache-2.0; MS MARCO's terms: research, not commercial", "")
            if name == "mmarco" else (SETS[name].home, SETS[name].revision, SETS[name].licence, SETS[name].get))
        rows[name] = {
            "home": home, "revision": revision or "none", "licence": licence, "paper": pairs_in_paper(name),
            "ours": facts.get("groups"), "languages": " ".join(facts.get("languages", [])),
            "state": "present" if facts else f"missing: {_command(name)}" + (f"; before that, {get}" if get else "")}
    return pd.DataFrame.from_dict(rows, orient="index").astype({"paper": "Int64", "ours": "Int64"})


def resolve(data: dict[str, Any], folder: str | Path) -> dict[str, Any]:
    """What a preset says of its data, with file and checksum of each set that was made here.

    Parameters
    ----------
    data : dict
        ``training``, a list of entries, ``selection``, an entry, and ``partial``: whether to leave out training sets
        that are missing, with a warning, rather than to stop. Entries with ``format: set`` have a ``name``, a key of
        `SETS` or "mmarco"; others stay as they are.
    folder : path

    Returns
    -------
    dict

    Raises
    ------
    FileNotFoundError
        Names every set that is missing, and the command that makes it.
    CorpusError
        If what stands beside a set does not say what it is.
    """
    def found(entry: dict[str, Any]) -> dict[str, Any] | None:
        name = entry.get("name")
        if entry.get("format") != "set":
            return entry
        said = Path(folder, f"{name}.json")
        if not said.is_file():
            missing.append(name)
            return None
        kind, file = ("mmarco", name) if name == "mmarco" else ("groups", f"{name}.jsonl.gz")
        return {"format": kind, "name": name, "file": file, "sha256": _facts(said)["sha256"]}

    missing = []
    training = [entry for entry in map(found, data["training"]) if entry]
    skipped, selection = list(missing), found(data["selection"])
    if missing and not (data.get("partial") and training and selection):
        raise FileNotFoundError(
            f"{folder} does not have {', '.join(missing)}; make them with\n"
            + "\n".join(f"  {_command(name)}" for name in missing)
            + "\nor, to train on those that are there, set partial: true under data in the preset's file")
    if skipped:
        warnings.warn(f"training without {', '.join(skipped)}, which {folder} does not have", stacklevel=2)
    return data | {"training": training, "selection": selection}


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``python -m reproduction.sources.training_sets``."""
    parser = argparse.ArgumentParser(prog="python -m reproduction.sources.training_sets",
                                     description=__doc__.split("\n\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {' '.join([*SETS, 'mmarco'])}; none: the table")
    parser.add_argument("--out", type=Path, help="folder of the finished files")
    parser.add_argument("--data", type=Path, help="folder of one set's files in the published layout; else downloaded")
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.names) - {*SETS, "mmarco"}:
        parser.error(f"no set {', '.join(sorted(unknown))}; there are {' '.join([*SETS, 'mmarco'])}")
    if chosen.names and not chosen.out:
        parser.error("give the folder of the finished files with --out")
    if chosen.data and len(chosen.names) != 1:
        parser.error("--data is the folder of one set: name that one")
    with one_line_errors():
        for name in chosen.names:
            facts = make_training_set(name, chosen.out, chosen.data)
            print(f"{name}: {facts['groups']:,} groups")
        if not chosen.names:
            print(overview(chosen.out).to_string())


if __name__ == "__main__":
    main()
