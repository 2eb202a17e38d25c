"""MIRACL dev: topics, judgements and corpora of a language, from the release or from mteb's pool of hard negatives."""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from hybridlib.data import CorpusError
from hybridlib.data.reading import read_lines, read_text
from reproduction.sources.hub import fetch_files
from reproduction.sources.sets import said_by

# As several public projects pin them, the last one mteb 2.26; not compared with the hub itself.
TOPICS = ("miracl/miracl", "5be20db9509754dadad47689368639fcec739c00")
CORPUS = ("miracl/miracl-corpus", "d921ec7e349ce0d28daf30b2da9da5ee698bef0d")
HARD_NEGATIVES = ("mteb/MIRACLRetrievalHardNegatives", "d7d94fa4b946cec4a27c84653aa0cf6b33f74a3c")
# In the order of Tables 12 and 13: corpus files; dev queries and passages as the authors of MIRACL count them. The
# paper's Table 11 has the queries of Arabic as 2,869, and those of Spanish and English in each other's place.
RELEASE = {
    "sw": (1, 482, 131_924), "bn": (1, 411, 297_265), "hi": (2, 350, 506_264), "ko": (3, 213, 1_486_752),
    "th": (2, 733, 542_166), "te": (2, 828, 518_079), "fi": (4, 1_271, 1_883_509), "ja": (14, 860, 6_953_614),
    "es": (21, 648, 10_373_953), "fr": (30, 343, 14_636_953), "ru": (20, 1_252, 9_543_918), "zh": (10, 393, 4_934_368),
    "fa": (5, 632, 2_207_172), "ar": (5, 2_896, 2_061_414), "id": (3, 960, 1_446_315)}


@dataclass(frozen=True)
class Collection:
    """Queries, judgements and passages of one language.

    Attributes
    ----------
    language : str
    queries : dict of query id to text
        Those with judgements, in the order of the topics.
    qrels : dict of query id to (dict of docid to grade)
    passages : callable
        Each call reads the corpus anew from its start: an iterator of (docid, text), where the text is the title and
        the passage.
    """

    language: str
    queries: dict[str, str]
    qrels: dict[str, dict[str, int]]
    passages: Callable[[], Iterator[tuple[str, str]]]


def _collection(language: str, topics: Iterable[tuple[str, str]], judgements: Iterable[tuple[str, str, int]],
                passages: Callable[[], Iterator[tuple[str, str]]], where: str | Path) -> Collection:
    """A Collection of (query id, text) and (query id, docid, grade)."""
    topics, qrels = dict(topics), {}
    for query, docid, grade in judgements:
        qrels.setdefault(query, {})[docid] = grade
    unknown = [query for query in qrels if query not in topics]
    if unknown or not qrels:
        raise CorpusError([f"{where}: " + (f"query {unknown[0]!r} is not among the topics" if unknown
                                           else "no judgements")])
    return Collection(language, {query: text for query, text in topics.items() if query in qrels}, qrels, passages)


def fetch_miracl(languages: Iterable[str], folder: str | Path | None = None) -> Path:
    """Download topics, judgements and corpora for `read_release`: see `reproduction.sources.hub.fetch_files`."""
    for (home, revision), patterns in (
            (TOPICS, ["miracl-v1.0-{0}/topics/topics.miracl-v1.0-{0}-dev.tsv",
                      "miracl-v1.0-{0}/qrels/qrels.miracl-v1.0-{0}-dev.tsv"]),
            (CORPUS, ["miracl-corpus-v1.0-{0}/docs-*.jsonl.gz"])):
        place = fetch_files(home, revision, [pattern.format(x) for pattern in patterns for x in languages], "miracl",
                            folder)
    return place


def _rows(path: Path, columns: tuple[str, ...], separator: str | None = None) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, columns) of a file of topics or judgements."""
    for number, line, problem in read_text(path):
        if line is None:
            raise CorpusError([f"{path}:{number}: {problem}"])
        found = line.rstrip("\r\n").split(separator, len(columns) - 1)
        if len(found) < len(columns) or not all(cell.strip() for cell in found):
            raise CorpusError([f"{path}:{number}: {sum(bool(cell.strip()) for cell in found)} columns, expected "
                               f"{', '.join(columns)}"])
        yield number, found


def _judgements(path: Path) -> Iterator[tuple[str, str, int]]:
    for number, (query, _, docid, grade) in _rows(path, ("query id", "Q0", "docid", "grade")):
        # Of more digits than these is none, and Python reads no number of thousands.
        if not re.fullmatch("-?[0-9]{1,9}", grade.strip()):
            raise CorpusError([f"{path}:{number}: grade {grade!r:.80} is not an integer"])
        yield query, docid, int(grade)


def _passage(record: dict[str, Any], names: tuple[str, str, str], where: str) -> tuple[str, str]:
    """(docid, text) of a record."""
    for name in names:
        if not isinstance(record.get(name), str):
            raise CorpusError([f"{where}: field {name!r} is missing or not text (the fields are {sorted(record)})"])
    docid, title, text = (record[name] for name in names)
    if docid.split() != [docid]:
        raise CorpusError([f"{where}: field {names[0]!r}: {docid!r} cannot be a docid: it is empty or has a space"])
    return docid, f"{title} {text}".strip()


def read_release(folder: str | Path, language: str) -> Collection:
    """A language of MIRACL dev from a folder in the layout of its release.

    Parameters
    ----------
    folder : path
        With ``miracl-v1.0-<language>/{topics,qrels}/`` and ``miracl-corpus-v1.0-<language>/docs-<i>.jsonl.gz``.
    language : str
        A key of `RELEASE`.

    Returns
    -------
    Collection

    Raises
    ------
    FileNotFoundError, CorpusError
        If a file is missing, or a line, field or column is not as released; of the corpus, when it is read.
    """
    name = f"miracl-v1.0-{language}"
    topics = Path(folder, name, "topics", f"topics.{name}-dev.tsv")
    qrels = Path(folder, name, "qrels", f"qrels.{name}-dev.tsv")
    files = [Path(folder, f"miracl-corpus-v1.0-{language}", f"docs-{i}.jsonl.gz") for i in range(RELEASE[language][0])]
    for file in (topics, qrels, *files):
        if not file.is_file():
            raise FileNotFoundError(f"{file}: no such file; {file.parent} must be as in the release "
                                    f"({len(files)} corpus files for {language}); without --data it is downloaded")

    def passages() -> Iterator[tuple[str, str]]:
        for file in files:
            for line, record, problem in read_lines(file):
                if problem:
                    raise CorpusError([f"{file}:{line}: {problem}"])
                yield _passage(record, ("docid", "title", "text"), f"{file}:{line}")

    return _collection(language, (row for _, row in _rows(topics, ("query id", "query"), "\t")),
                       _judgements(qrels), passages, qrels)


def read_hard_negatives(language: str, folder: str | Path | None = None) -> Collection:
    """A language of MIRACL dev over mteb's pool: the best 250 passages per query of three retrievers.

    Parameters
    ----------
    language : str
    folder : path, optional
        A copy of the data set: ``<language>-{corpus,queries,qrels}/dev-*.parquet``. Without it they are downloaded, or
        found in the cache of `datasets`.

    Returns
    -------
    Collection
        At most 1,000 queries, of those of `read_release`.

    Raises
    ------
    OSError, ValueError
        If the data cannot be had.
    CorpusError
        If a file cannot be read, or a column is missing or not as published.
    """
    from datasets import Dataset, load_dataset

    def part(kind: str, *columns: str) -> tuple[Dataset, str]:
        config, (name, revision) = f"{language}-{kind}", HARD_NEGATIVES
        if folder is None:
            table, where = load_dataset(name, config, split="dev", revision=revision), f"{name}, {config}"
        else:
            where = str(Path(folder, config, "dev-*.parquet"))
            if not list(Path(folder, config).glob("dev-*.parquet")):
                raise FileNotFoundError(f"{where}: no such files; --data must hold a copy of {name}")
            try:
                table = load_dataset("parquet", data_files={"dev": where}, split="dev")
                table.data.validate(full=True)  # such as texts in UTF-8, which only who looks at one would find
            except Exception as error:  # whatever the reader raises is about these files
                raise CorpusError([f"{where}: cannot be read: {said_by(error)}"]) from error
        # Earlier revisions of the data set, and mteb's other ones, call the id of a text _id.
        if "_id" in table.column_names:
            table = table.rename_column("_id", "id")
        for column in columns:
            if column not in table.column_names:
                raise CorpusError([f"{where}: column {column!r} is missing (the columns are {table.column_names})"])
            types, found = ("int", "float") if column == "score" else ("string", "large_string"), table.features[column]
            if not str(getattr(found, "dtype", "")).startswith(types):
                raise CorpusError([f"{where}: column {column!r} is {found}, expected {' or '.join(types)}"])
            if table.data[column].null_count:
                raise CorpusError([f"{where}: column {column!r} has {table.data[column].null_count} empty places"])
            if column == "score" and not all(score == round(score, 0) and abs(score) < 1e9 for score in table[column]):
                raise CorpusError([f"{where}: column {column!r} has values that are no whole numbers"])
            if kind == "queries" and not all(map(str.strip, table[column])):
                raise CorpusError([f"{where}: column {column!r} has empty texts"])
        return table.select_columns(list(columns)), where

    corpus, where = part("corpus", "id", "title", "text")
    queries, _ = part("queries", "id", "text")
    qrels, source = part("qrels", "query-id", "corpus-id", "score")

    def passages() -> Iterator[tuple[str, str]]:
        for record in corpus:
            yield _passage(record, ("id", "title", "text"), where)

    return _collection(language, zip(queries["id"], queries["text"], strict=True),
                       zip(qrels["query-id"], qrels["corpus-id"], map(int, qrels["score"]), strict=True),
                       passages, source)


def survey(collection: Collection) -> dict[str, Any]:
    """Read a corpus once, before anything is encoded: check every record, and take its measure.

    Returns
    -------
    dict
        ``passages``, their number; ``corpus``, the sha256 of all docids and texts in order; ``relevant_missing``, how
        many of the relevant passages are not in the corpus.
    """
    wanted = {docid for grades in collection.qrels.values() for docid, grade in grades.items() if grade > 0}
    digest, count = hashlib.sha256(), 0
    for docid, text in tqdm(collection.passages(), desc=f"{collection.language}: reading", unit=" passages"):
        digest.update(f"{docid}\t{text}\n".encode())
        wanted.discard(docid)
        count += 1
    if not count:
        raise CorpusError([f"{collection.language}: the corpus has no passages"])
    return {"passages": count, "corpus": digest.hexdigest(), "relevant_missing": len(wanted)}
