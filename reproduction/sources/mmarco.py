"""mMARCO (Bonifacio et al. 2021) without holding it: 39.8 million triples over 8.8 million passages a language.

`prepare` turns the published files into memory-mapped ones, a file at a time, each in one pass. `MarcoCorpus` looks
texts up in them: a training pair exists only while its batch is made, and memory does not grow with the corpus.

Under the prepared folder: ``<side>.<language>.arrow``, the texts in the order of the published file;
``<side>.<language>.rows.npy``, where in it the text of an id stands; ``triples.int32``, the ids of query, relevant and
irrelevant passage, G rows of three; and beside each a ``.json`` that says what it was made from. The last one that is
written, ``mmarco.json`` beside the folder, stands for the whole.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
from tqdm.auto import tqdm

from hybridlib import files
from hybridlib.data import CorpusError
from hybridlib.data.reading import read_json
from hybridlib.languages import NAMES
from reproduction.sources.hub import fetch_files
from reproduction.sources.sets import said_by

# The hub's short hash of main and several public projects agree on it; not compared with the hub itself.
HOME, REVISION = "unicamp-dl/mmarco", "6d039c4638c0ba3e46a9cb7b498b145e7edc6230"
# Those of the paper's training languages that mMARCO has, by the names in its files.
LANGUAGES = {x: NAMES[x].lower() for x in ("ar", "de", "en", "es", "hi", "ru", "zh")}
# Google's translations: Helsinki's have no Arabic and no Hindi.
PUBLISHED = {"queries": "data/google/queries/train/{}_queries.train.tsv",
             "passages": "data/google/collections/{}_collection.tsv"}
TRIPLES = "data/triples.train.ids.small.tsv"
PARTS = ("query", "positive", "negative")
_ANEW = "remove the folder of what was prepared and its .json, and make it anew"
CHUNK = 2**20
LARGEST = 2**24  # the published ids are below 9 million, and the rows of a side take as much room as its largest id


def fetch_mmarco(languages: Iterable[str] = LANGUAGES, folder: str | Path | None = None) -> Path:
    """Download the published files for `prepare`, 31 GB for the seven languages: see `hub.fetch_files`."""
    patterns = [pattern.format(LANGUAGES[x]) for pattern in PUBLISHED.values() for x in languages]
    return fetch_files(HOME, REVISION, [TRIPLES, *patterns], "mmarco", folder)


def _batches(path: Path, columns: dict[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
    """Record batches of a headless TSV file, in order; ``columns`` is a dict of name to type."""
    read = pa.csv.ReadOptions(column_names=list(columns), block_size=2**24)
    parse = pa.csv.ParseOptions(delimiter="\t", quote_char=False, double_quote=False, ignore_empty_lines=False)
    convert = pa.csv.ConvertOptions(column_types=columns, strings_can_be_null=False, null_values=[])
    with open(path, "rb") as file, tqdm(total=path.stat().st_size, desc=path.name, unit="B", unit_scale=True) as bar:
        try:
            with pa.csv.open_csv(file, read, parse, convert) as reader:
                for batch in reader:
                    yield batch
                    bar.update(file.tell() - bar.n)
        except pa.ArrowInvalid as error:
            reason = re.sub(r"column #(\d+)", lambda found: f"field {list(columns)[int(found[1])]!r}", said_by(error))
            raise CorpusError([f"{path}: {reason} (the fields are {', '.join(columns)}, parted by tabs)"]) from error


def _write_texts(path, target):
    """One published file of id and text to an Arrow file and its rows; returns what to say of it."""
    schema, ids, empty, count = pa.schema([("text", pa.string())]), [], 0, 0
    with (files.atomic(target) as temporary, pa.OSFile(str(temporary), "wb") as sink,
          pa.ipc.new_file(sink, schema) as writer):
        for batch in _batches(path, {"id": pa.int32(), "text": pa.string()}):
            writer.write_batch(batch.select(["text"]))
            found = batch["id"].to_numpy()
            # An empty text is none: the groups that would need it are not served in this language.
            blank = pa.compute.equal(pa.compute.binary_length(batch["text"]), 0).to_numpy(zero_copy_only=False)
            ids.append(np.where(blank, -1, found))
            empty, count = empty + int(blank.sum()), count + len(found)
    ids = np.concatenate(ids) if ids else np.empty(0, np.int32)
    if ids.max(initial=0) > LARGEST:
        target.unlink()
        raise CorpusError([f"{path}: field 'id': {ids.max()} is above {LARGEST}, and no id"])
    rows = np.full(ids.max(initial=0) + 1, -1, np.int32)
    kept = np.flatnonzero(ids >= 0)
    rows[ids[kept]] = kept
    if len(kept) + empty < count or (rows >= 0).sum() < len(kept):
        repeated = next((int(i) for i in ids[kept] if (ids == i).sum() > 1), "below 0")
        target.unlink()
        raise CorpusError([f"{path}: field 'id': {repeated} stands twice or is no id"])
    files.save_array(_rows_of(target), rows)
    return {"texts": count, "empty": empty}


def _rows_of(target):
    return target.with_suffix(".rows.npy")


def _write_triples(path, target):
    count = 0
    with files.atomic(target) as temporary, open(temporary, "wb") as file:
        for batch in _batches(path, dict.fromkeys(PARTS, pa.int32())):
            # Not by tofile, which is silent where the disk is full.
            file.write(np.stack([batch[part].to_numpy() for part in PARTS], axis=1).astype("<i4").tobytes())
            count += len(batch)
    if not count:
        raise CorpusError([f"{path}: no triples"])
    return {"triples": count}


def _once(make, path, target):
    """Make a file unless it is there, and return what its ``.json`` says."""
    said = target.with_suffix(".json")
    if not said.is_file():
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file; the folder must be laid out as {HOME} at {REVISION}")
        files.write_json(said, make(path, target) | {"sha256": files.sha256(path)})
    return _said(said, sha256=str)


def _said(file: Path, **fields: type) -> dict[str, Any]:
    """What a ``.json`` says of what was made; CorpusError unless it has these fields."""
    said = read_json(file)
    if not isinstance(said, dict) or not all(isinstance(said.get(name), kind) for name, kind in fields.items()):
        raise CorpusError([f"{file}: must say {', '.join(fields)}, and does not; {_ANEW}"])
    return said


def prepare(source: str | Path, out: str | Path, languages: Iterable[str] = LANGUAGES) -> dict[str, Any]:
    """Turn the published files into memory-mapped ones, and write ``<out>.json``.

    Each file is read once, in blocks; memory is that of a block and of 8 bytes a passage. Interrupted, it goes on with
    the file that it was at.

    Parameters
    ----------
    source : path
        Folder of the published files, as `fetch_mmarco` leaves it.
    out : path
        The prepared folder; takes about as much room as the published files.
    languages : sequence of str
        Keys of `LANGUAGES`.

    Returns
    -------
    dict
        What ``<out>.json`` holds: ``groups``; ``missing``, of each side and language how many groups lack its text;
        ``sha256`` of everything that it was made from.

    Raises
    ------
    FileNotFoundError, CorpusError
        A file that is missing, or not in the published layout: the message names file and field.
    """
    source, out = Path(source), Path(out)
    made = {"triples": _once(_write_triples, source / TRIPLES, out / "triples.int32")}
    for side, pattern in PUBLISHED.items():
        for language in languages:
            made[f"{side}.{language}"] = _once(
                _write_texts, source / pattern.format(LANGUAGES[language]), out / f"{side}.{language}.arrow")
    triples = _triples(out)
    missing = {}
    for language in languages:
        for side, parts in (("queries", triples[:, :1]), ("passages", triples[:, 1:])):
            rows = _rows(out, f"{side}.{language}")
            missing[f"{side}.{language}"] = sum(
                int((~_there(rows, parts[start:start + CHUNK]).all(axis=1)).sum())
                for start in tqdm(range(0, len(parts), CHUNK), desc=f"{side}.{language}: ids", leave=False))
    said = {"home": HOME, "revision": REVISION, "languages": sorted(languages), "groups": len(triples),
            "missing": missing, "sha256": files.key({name: facts["sha256"] for name, facts in made.items()})}
    files.write_json(out.with_name(out.name + ".json"), said)
    return said


def _triples(folder):
    return _mapped(folder / "triples.int32", lambda file: np.memmap(file, "<i4", "r").reshape(-1, len(PARTS)))


def _rows(folder, name):
    return _mapped(_rows_of(folder / f"{name}.arrow"), lambda file: np.load(file, mmap_mode="r"))


def _column(folder, name):
    return _mapped(folder / f"{name}.arrow",
                   lambda file: pa.ipc.open_file(pa.memory_map(str(file))).read_all()["text"])


def _mapped(file, read):
    """A prepared file, or CorpusError with its name."""
    try:
        return read(file)
    except Exception as error:  # whatever a reader raises is about the file
        raise CorpusError([f"{file}: cannot be read ({said_by(error)}); {_ANEW}"]) from error


def _there(rows, ids):
    """Whether each id has a text."""
    known = (ids >= 0) & (ids < len(rows))
    return known & (rows[np.where(known, ids, 0)] >= 0)


class _Texts:
    """The texts of one part of all triples in one language, read where they lie."""

    def __init__(self, column, rows, ids, complete):
        self.column, self.rows, self.ids, self.complete = column, rows, ids, complete

    def __getitem__(self, group):
        """The text of a group as an Arrow scalar; null if the language lacks it."""
        number = self.ids[group]
        row = self.rows[number] if 0 <= number < len(self.rows) else -1
        return self.column[int(row)] if row >= 0 else pa.scalar(None, pa.string())

    def present(self) -> np.ndarray | bool:
        """Boolean array (G,): which groups have a text; plain True if all have."""
        return self.complete or np.concatenate([
            _there(self.rows, self.ids[start:start + CHUNK]) for start in range(0, len(self.ids), CHUNK)])


class MarcoCorpus:
    """mMARCO as a training corpus: a group is a triple of query, relevant and irrelevant passage.

    To the samplings it is a `hybridlib.data.ParallelCorpus`; see there for what is not described here.

    Attributes
    ----------
    name : str
    ids : sequence of int, length G
        Which triple each group is.
    query, passage, negatives : dict of language to texts, indexed by group
        Each text is looked up when asked for. Every group has one hard negative.
    passage_key : integer array (G,), memory-mapped
        The id of the relevant passage: two triples with the same one never meet in a batch.
    query_key : integer array (G,), memory-mapped
        The id of the query.
    """

    def __init__(self, folder: str | Path, languages: Iterable[str] | None = None, name: str = "mmarco",
                 triples: np.ndarray | None = None, ids: Sequence[int] | None = None):
        """Open a prepared folder.

        Parameters
        ----------
        folder : path
            As `prepare` leaves it.
        languages : sequence of str, optional
            Those of its languages to open; all by default.

        Raises
        ------
        FileNotFoundError, CorpusError
            If the folder is not prepared to its end, or a file is damaged.
        ValueError
            If it has not all of the languages.
        """
        self.folder, self.name = Path(folder), name
        said = self.folder.with_name(self.folder.name + ".json")
        if not said.is_file():
            raise FileNotFoundError(f"{said}: no such file; {self.folder} is not prepared to its end")
        said = _said(said, languages=list, missing=dict, groups=int)
        there = [x for x in said["languages"] if isinstance(x, str)]
        self.languages = tuple(sorted(languages or there))
        if unknown := set(self.languages) - set(there):
            raise ValueError(f"{folder} has no {', '.join(sorted(unknown))}; prepare it with those languages")
        self._triples = _triples(self.folder) if triples is None else triples
        if triples is None and len(self._triples) != said["groups"]:
            raise CorpusError([f"{self.folder}: holds {len(self._triples)} triples, and its .json says "
                               f"{said['groups']}; {_ANEW}"])
        self.ids = range(len(self._triples)) if ids is None else ids
        self.query, self.passage, self.negatives = {}, {}, {}
        for language in self.languages:
            for side, parts in (("queries", {0: self.query}), ("passages", {1: self.passage, 2: self.negatives})):
                file = f"{side}.{language}"
                column, rows = _column(self.folder, file), _rows(self.folder, file)
                if rows.dtype != np.int32 or rows.ndim != 1 or rows.max(initial=-1) >= len(column):
                    raise CorpusError([f"{self.folder / file}.rows.npy: does not belong to the texts; {_ANEW}"])
                complete = said["missing"].get(file) == 0
                for part, texts in parts.items():
                    texts[language] = _Texts(column, rows, self._triples[:, part], complete)
        # Plain views of the mapped file, which are faster at single places.
        self.query_key, self.passage_key, self._negative_key = (np.asarray(self._triples[:, i]) for i in range(3))

    def __len__(self) -> int:
        return len(self._triples)

    def has(self, side: dict[str, _Texts], language: str) -> np.ndarray | bool:
        """Boolean array (G,), or plain True: which groups have a text in ``language`` on that side.

        A passage counts only together with the triple's irrelevant one.
        """
        present = side[language].present()
        return present & self.negatives[language].present() if side is self.passage else present

    def negative_keys(self, group: int, languages: Iterable[str]) -> list[list[int]]:
        """The id of the irrelevant passage: one list, since it is the same in all languages."""
        return [[int(self._negative_key[group])]]

    def pair(self, group: int, query_language: str, passage_language: str,
             negative: int | None = None) -> dict[str, str]:
        """One training example; the group's own hard negative if ``negative`` is any integer."""
        pair = {"query": self.query[query_language][group].as_py(),
                "passage": self.passage[passage_language][group].as_py()}
        if negative is not None:
            pair["negative"] = self.negatives[passage_language][group].as_py()
        return pair

    def select(self, indices: Sequence[int], name: str | None = None) -> "MarcoCorpus":
        """The corpus of some of the groups; their ids are held in memory, their texts are not."""
        indices = np.asarray(indices)
        return MarcoCorpus(self.folder, self.languages, name or self.name, np.ascontiguousarray(self._triples[indices]),
                           np.asarray(self.ids)[indices])
