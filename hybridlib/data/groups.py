"""Parallel question-passage groups: read them, check them, hold them.

The format is JSON Lines in UTF-8 (``.gz`` allowed), one parallel group a line; a language may be missing from a group;
``negatives`` is optional::

    {"id", "query": {language: text}, "passage": {language: text}, "negatives": {language: [text, …]}}

Texts that differ in Unicode composition or white space only are one text.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from hybridlib.data.reading import CorpusError, language_problems, named, read_lines, text_problem, text_problems


@dataclass(frozen=True)
class ParallelCorpus:
    """Parallel question-passage groups, held as Arrow columns, in one piece or in chunks (a missing language is null).

    Attributes
    ----------
    name : str
    ids : list of str, length G
    query, passage : dict of language to pyarrow.StringArray of length G
    negatives : dict of language to pyarrow.ListArray of length G; empty if the data has none
    """

    name: str
    ids: list[str]
    query: dict[str, pa.StringArray]
    passage: dict[str, pa.StringArray]
    negatives: dict[str, pa.ListArray]

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def languages(self) -> tuple[str, ...]:
        """Languages in which at least one group has both a query and a passage, sorted."""
        return tuple(sorted(language for language in self.query.keys() & self.passage.keys()
                            if (self.has(self.query, language) & self.has(self.passage, language)).any()))

    @staticmethod
    def has(side: dict[str, pa.Array], language: str) -> np.ndarray:
        """Boolean array (G,): which groups have a text in ``language`` on that side."""
        return np.asarray(side[language].is_valid().to_numpy(zero_copy_only=False), bool)

    @cached_property
    def passage_key(self) -> np.ndarray:
        """Integer array (G,): groups that share a passage, in whatever language, have the same number.

        A translation of a positive is not a negative: no two groups of one key may meet in a batch.
        """
        return self._joined(self.passage)

    @cached_property
    def query_key(self) -> np.ndarray:
        """Integer array (G,): groups that share a question, in whatever language, have the same number."""
        return self._joined(self.query)

    def _joined(self, side: dict[str, pa.StringArray]) -> np.ndarray:
        groups, texts, count = [], [], len(self)
        for language in sorted(side):
            valid = np.flatnonzero(self.has(side, language))
            numbers, distinct = _numbered(side[language])
            groups.append(valid)
            texts.append(numbers + count)
            count += len(distinct)
        rows, columns = np.concatenate(groups), np.concatenate(texts)
        graph = coo_matrix((np.ones(len(rows), bool), (rows, columns)), shape=(count, count))
        # A copy: the labels of the texts can go.
        return connected_components(graph, directed=False)[1][:len(self)].copy()

    @cached_property
    def _negative_keys(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Per language where each group's hard negatives begin, and the passage key of each or −1."""
        found = {}
        for language, column in self.negatives.items():
            starts = np.cumsum([0, *pc.fill_null(pc.list_value_length(column), 0).to_numpy()])
            keys = np.full(starts[-1], -1)
            if language in self.passage:
                numbers, distinct = _numbered(self.passage[language])
                _, first = np.unique(numbers, return_index=True)
                owners = np.flatnonzero(self.has(self.passage, language))[first]
                places = pc.index_in(same_texts(column.flatten()), value_set=distinct)
                places = pc.fill_null(places, -1).to_numpy()
                keys[places >= 0] = self.passage_key[owners[places[places >= 0]]]
            found[language] = starts, keys
        return found

    def negative_keys(self, group: int, languages: Iterable[str]) -> list[list[int]]:
        """The `passage_key` of each hard negative of a group; −1 where it is no group's passage.

        A list for each of the languages that the group has hard negatives in.
        """
        columns = [self._negative_keys[language] for language in languages if language in self._negative_keys]
        return [keys[starts[group]:starts[group + 1]].tolist() for starts, keys in columns
                if starts[group] < starts[group + 1]]

    def pair(self, group: int, query_language: str, passage_language: str,
             negative: int | None = None) -> dict[str, str]:
        """One training example: a dict with ``query``, ``passage`` and, if asked for, ``negative``.

        ``negative`` is any non-negative integer: it picks one of the group's hard negatives, modulo their
        number; they are in the passage's language.
        """
        pair = {"query": self.query[query_language][group].as_py(),
                "passage": self.passage[passage_language][group].as_py()}
        if negative is not None:
            choices = self.negatives[passage_language][group]
            pair["negative"] = choices[negative % len(choices)].as_py()
        return pair

    def select(self, indices: Iterable[int], name: str | None = None) -> "ParallelCorpus":
        """The corpus of some of the groups."""
        indices = np.asarray(indices)
        def take(side):
            return {language: column.take(pa.array(indices)) for language, column in side.items()}
        return ParallelCorpus(name or self.name, [self.ids[i] for i in indices], take(self.query),
                              take(self.passage), take(self.negatives))


def same_text(text: str) -> str:
    r"""A text as it is compared with others: composed (NFC), each stretch of white space one space, none at the ends.

    >>> same_text("cafe\u0301\u00a0 noir\n") == "caf\u00e9 noir"
    True
    """
    return " ".join(unicodedata.normalize("NFC", text).split())


def _numbered(texts: pa.StringArray | pa.ChunkedArray) -> tuple[np.ndarray, pa.StringArray]:
    """The texts that are there, as numbers of distinct ones, and the distinct ones, as they are compared."""
    encoded = same_texts(texts.drop_null()).dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    return encoded.indices.to_numpy(), encoded.dictionary


def same_texts(texts: pa.StringArray) -> pa.StringArray:
    """`same_text` of each text of a column."""
    words = pc.utf8_split_whitespace(pc.utf8_trim_whitespace(pc.utf8_normalize(texts, form="NFC")))
    return pc.binary_join(words, pa.scalar(" ", texts.type))


def corpus_of(name: str, records: list[dict[str, Any]]) -> ParallelCorpus:
    """A ParallelCorpus of records in the groups format that were checked before."""
    def column(field, language, kind):
        return pa.array([(record.get(field) or {}).get(language) for record in records], kind)

    languages = defaultdict(set)
    for record in records:
        for field in ("query", "passage", "negatives"):
            languages[field].update(record.get(field) or {})
    return ParallelCorpus(
        name, [record["id"] for record in records],
        *({language: column(field, language, kind) for language in sorted(languages[field])}
          for field, kind in (("query", pa.string()), ("passage", pa.string()),
                              ("negatives", pa.list_(pa.string())))))


def _negative_problems(record: dict[str, Any]) -> list[str]:
    """Problems of a group's hard negatives; that there are none is none."""
    negatives, passages = record.get("negatives"), record.get("passage")
    if negatives is None:
        return []
    if not isinstance(negatives, dict):
        return [f"field 'negatives' is {named(negatives)}, expected an object of language: [text, …]"]
    positives = {same_text(text) for text in passages.values() if isinstance(text, str)
                 } if isinstance(passages, dict) else set()
    problems = []
    for language, texts in negatives.items():
        if unknown := language_problems("negatives", language):
            problems += unknown
        elif not isinstance(texts, list) or not texts:
            problems.append(f"field 'negatives', {language}: expected a list of texts, one at least")
        else:
            for number, text in enumerate(texts):
                reason = text_problem(text)
                if reason is None and same_text(text) in positives:
                    reason = "this is the group's own passage"
                if reason:
                    problems.append(f"field 'negatives', {language}[{number}]: {reason}")
    return problems


def read_groups(path: str | Path, name: str | None = None, languages: Sequence[str] | None = None,
                ids: str = "given") -> ParallelCorpus:
    """Read and check a file in the groups format.

    Parameters
    ----------
    path : path
    name : str, optional
        What the corpus is called in logs; by default the file's name up to its first dot.
    languages : sequence of str, optional
        Languages that every group must have on both sides; by default a group may lack any.
    ids : {"given", "lines"}
        "lines" puts ``<name>:<line number>`` in place of the file's ids, for data whose ids are not unique.

    Raises
    ------
    CorpusError
        Every problem found, as ``file:line: reason``.
    """
    name = name or Path(path).name.split(".")[0]
    records, problems, seen = [], [], {}
    for line, record, problem in read_lines(path):
        if problem:
            problems.append(f"{path}:{line}: {problem}")
            continue
        found = []
        if ids == "lines":
            record["id"] = f"{name}:{line}"
        if not isinstance(record.get("id"), str) or not record["id"]:
            found.append("field 'id' is missing or not text")
        elif (first := seen.setdefault(record["id"], line)) != line:
            found.append(f"duplicate id {record['id']!r}, also at line {first} (if the ids mean nothing, read "
                         "the file with ids: lines)")
        for field in ("query", "passage"):
            found += text_problems(field, record.get(field), languages)
        found += _negative_problems(record)
        problems += [f"{path}:{line}: {reason}" for reason in found]
        records.append(record)
    if not problems and not records:
        problems.append(f"{path}: the file has no groups")
    if problems:
        raise CorpusError(problems)
    return corpus_of(name, records)
