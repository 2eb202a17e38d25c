"""Test sets: queries and candidates in any languages, and what is relevant to what.

XQuAD-R and MLQA-R (`hybridlib.data.lareqa`), a folder in BEIR's layout, records in memory and a task of mteb all
become the same `TestSet`.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from hybridlib.data.beir import beir_texts, one_of, read_qrels
from hybridlib.data.reading import CorpusError, is_empty, named, text_problem
from hybridlib.languages import is_language

if TYPE_CHECKING:
    from mteb.abstasks.retrieval import AbsTaskRetrieval

Records = Iterable[tuple[str, dict[str, Any]]]  # each with the place that it is from: "file:line"


@dataclass(frozen=True, eq=False)
class TestSet:
    """Queries, a pool of candidates, and which of them are relevant.

    A query has one or more relevant candidates, in any languages, graded or not. Nothing needs to be parallel; where
    it is, ``question`` says which queries are translations of each other.

    Attributes
    ----------
    name : str
    languages : tuple of str, length L
        Of queries, candidates or both.
    queries : DataFrame with ``question`` (shared by translations), ``cluster``, ``language``, ``text``
        Q rows; the index is 0 … Q − 1. Queries of one cluster are not independent: intervals resample clusters.
    candidates : DataFrame with ``cluster``, ``language``, ``text``
        The pool, C rows, all candidates of a language in one stretch, in the order of ``languages``.
    relevant : DataFrame of int with ``query``, ``candidate`` (row numbers) and ``grade`` (above 0)
        Sorted by query, then candidate.
    left_out : int
        How many queries the source has beside these, without anything relevant.

    Raises
    ------
    ValueError
        If the parts do not fit together; it names rows and languages.
    """

    __test__ = False  # not a test, whatever pytest makes of its name

    name: str
    languages: tuple[str, ...]
    queries: pd.DataFrame
    candidates: pd.DataFrame
    relevant: pd.DataFrame
    left_out: int = 0

    def __post_init__(self) -> None:
        problems = [*self._table_problems("queries", self.queries, ("question", "cluster", "language", "text")),
                    *self._table_problems("candidates", self.candidates, ("cluster", "language", "text")),
                    *([] if list(self.relevant.columns) == ["query", "candidate", "grade"] else
                      [f"relevant has the columns {list(self.relevant.columns)}, expected query, candidate, grade"])]
        if not problems:
            problems = [*self._candidate_problems(), *self._relevance_problems()]
        if problems:
            raise ValueError(f"test set {self.name!r}: " + "; ".join(problems))

    def _table_problems(self, name: str, table: pd.DataFrame, columns: tuple[str, ...]) -> list[str]:
        if missing := [column for column in columns if column not in table]:
            return [f"{name} has no column {', '.join(missing)}"]
        if not len(table) or not (table.index == np.arange(len(table))).all():
            return [f"{name} has no rows" if not len(table) else f"the index of {name} is not 0 … {len(table) - 1}"]
        unknown = set(table["language"]) - set(self.languages)
        return [f"{name} in {', '.join(map(repr, sorted(map(str, unknown))))}, which is not among its languages"
                ] if unknown else []

    def _candidate_problems(self) -> list[str]:
        codes = self.candidates["language"].map({x: n for n, x in enumerate(self.languages)}).to_numpy()
        if (wrong := np.flatnonzero(np.diff(codes) < 0)).size:
            row = int(wrong[0]) + 1
            return [f"candidate {row} ({self.candidates['language'][row]}) stands behind one in "
                    f"{self.candidates['language'][row - 1]}: candidates must be sorted by language, in the order of "
                    f"{', '.join(self.languages)}"]
        return []

    def _relevance_problems(self) -> list[str]:
        if not len(self.relevant):
            return ["nothing is relevant"]
        if wrong := [column for column, kind in self.relevant.dtypes.items()
                     if not pd.api.types.is_integer_dtype(kind)]:
            return [f"column {column} of relevant is {self.relevant[column].dtype}, expected whole numbers"
                    for column in wrong]
        query, candidate, grade = (self.relevant[column].to_numpy() for column in self.relevant)
        if query.min() < 0 or query.max() >= len(self.queries) or candidate.min() < 0 or (
                candidate.max() >= len(self.candidates)):
            return ["relevant names rows that are not there"]
        problems = [] if (grade > 0).all() else ["a grade is not above 0"]
        order = query * len(self.candidates) + candidate
        if not (np.diff(order) > 0).all():
            problems.append("relevant is not sorted by query and candidate, or holds a pair twice")
        without = np.setdiff1d(np.arange(len(self.queries)), query)
        if without.size:
            shown = ", ".join(map(repr, self.queries["question"][without[:5]]))
            problems.append(f"{without.size} queries have nothing relevant ({shown}{', …' * (without.size > 5)})")
        twice = self.queries.duplicated(["question", "language"])
        if twice.any():
            row = self.queries[twice].iloc[0]
            problems.append(f"question {row['question']!r} is asked twice in {row['language']}")
        return problems

    @property
    def query_languages(self) -> tuple[str, ...]:
        """The languages that queries are in."""
        asked = set(self.queries["language"])
        return tuple(language for language in self.languages if language in asked)

    def blocks(self) -> dict[str, slice]:
        """Where each language's candidates stand in the pool; an empty slice where a language has none."""
        sizes = self.counts()["candidates"]
        stops = sizes.cumsum()
        return {x: slice(int(stops[x] - sizes[x]), int(stops[x])) for x in self.languages}

    def counts(self) -> pd.DataFrame:
        """Queries and candidates per language, as a table indexed by language."""
        return pd.DataFrame({side: table["language"].value_counts().reindex(list(self.languages), fill_value=0)
                             for side, table in (("queries", self.queries), ("candidates", self.candidates))})

    @cached_property
    def fingerprint(self) -> str:
        """Of all that is in it; a test set of the same name with other texts, or fewer, has another one."""
        digest = hashlib.sha256()
        for table in (self.queries, self.candidates, self.relevant):
            digest.update(pd.util.hash_pandas_object(table, index=False).to_numpy().tobytes())
        return digest.hexdigest()[:16]

    def answers(self, query: int) -> np.ndarray:
        """Rows of the candidates that are relevant to a query, ascending."""
        start, stop = np.searchsorted(self.relevant["query"].to_numpy(), [query, query + 1])
        return self.relevant["candidate"].to_numpy()[start:stop]

    def only(self, languages: Sequence[str], clusters: Sequence[str] | None = None) -> "TestSet":
        """The part of the test set that is in some of the languages and clusters.

        Queries that have no answer there go, and are counted in ``left_out``, which does not know of those that the
        source itself left out; a language that has nothing any more is none of the test set's.

        Raises
        ------
        ValueError
            If there is no such language or cluster, or nothing is left.
        """
        parts = [(name, x) for name, x in (("language", languages), ("cluster", clusters)) if x is not None]
        there = {name: {*self.queries[name], *self.candidates[name]} for name, _ in parts}
        if unknown := [f"{name} {x!r}" for name, chosen in parts for x in chosen if x not in there[name]]:
            raise ValueError(f"test set {self.name!r} has no {', '.join(unknown)}")
        asked, kept = (np.logical_and.reduce([table[name].isin(chosen) for name, chosen in parts])
                       for table in (self.queries, self.candidates))
        pairs = self.relevant[asked[self.relevant["query"]] & kept[self.relevant["candidate"]]]
        answered = np.unique(pairs["query"])
        pairs = pairs.assign(query=np.searchsorted(answered, pairs["query"]),
                             candidate=np.cumsum(kept)[pairs["candidate"]] - 1)
        queries, candidates = self.queries.iloc[answered], self.candidates[kept]
        left = {*queries["language"], *candidates["language"]}
        return TestSet(self.name, tuple(x for x in self.languages if x in left), queries.reset_index(drop=True),
                       candidates.reset_index(drop=True), pairs.reset_index(drop=True),
                       int(asked.sum()) - len(answered))

    @classmethod
    def from_parallel(cls, name: str, languages: Sequence[str], queries: Iterable[tuple],
                      candidates: Iterable[tuple]) -> "TestSet":
        """Questions that stand in several languages, each with one answer per language that it stands in.

        Parameters
        ----------
        name : str
        languages : sequence of str
        queries : iterable of (question, cluster, language, text, answer)
            ``answer`` is the number of the answering candidate among those of its language, from 0. What answers a
            question in one language is relevant to its translations, too.
        candidates : iterable of (cluster, language, text)
            All of a language in one stretch, in the order of ``languages``.

        Raises
        ------
        ValueError
            If an answer is not among the candidates of its language, or the parts do not fit together.
        """
        asked = pd.DataFrame(queries, columns=["question", "cluster", "language", "text", "answer"])
        pool = pd.DataFrame(candidates, columns=["cluster", "language", "text"])
        start = {language: int(np.argmax(pool["language"].to_numpy() == language)) for language in languages}
        sizes = pool["language"].value_counts()
        for question, language, answer in asked[["question", "language", "answer"]].itertuples(index=False):
            if language not in start or not 0 <= answer < sizes.get(language, 0):
                raise ValueError(f"test set {name!r}: question {question!r} in {language}: answer {answer}, of "
                                 f"{sizes.get(language, 0)} candidates in that language (the first is 0)")
        answers = pd.DataFrame({"question": asked["question"], "candidate":
                                asked["answer"] + asked["language"].map(start)})
        pairs = asked[["question"]].rename_axis("query").reset_index().merge(answers, on="question")
        return cls(name, tuple(languages), asked.drop(columns="answer"), pool, _sorted(pairs.assign(grade=1)))

    @classmethod
    def from_records(cls, name: str, queries: Iterable[dict[str, Any]], candidates: Iterable[dict[str, Any]],
                     relevant: Iterable[tuple]) -> "TestSet":
        """Records in memory.

        Parameters
        ----------
        name : str
        queries : iterable of dict with ``id``, ``language``, ``text``
            ``question`` (by default the id) joins translations; ``cluster`` (by default the question) joins what is
            not independent.
        candidates : iterable of dict with ``id``, ``language``, ``text`` and, if wanted, ``cluster``
        relevant : iterable of (query id, candidate id) or (query id, candidate id, grade)
            Pairs of grade 0 are not relevant. Queries without a relevant candidate are left out, and counted.

        Raises
        ------
        CorpusError
            Every problem found: what is missing, unknown or given twice.
        """
        def placed(kind: str, records: Iterable[dict[str, Any]]) -> Records:
            return ((f"{kind}[{number}]", record) for number, record in enumerate(records))
        rows = ((f"relevant[{number}]", *row) for number, row in enumerate(relevant))
        return _assemble(name, placed("queries", queries), placed("candidates", candidates),
                         ((where, query, candidate, *(grade or [1])) for where, query, candidate, *grade in rows))

    @classmethod
    def from_beir(cls, folder: str | Path, name: str | None = None, split: str = "test") -> "TestSet":
        """A folder in BEIR's layout whose queries and corpus have a field ``language``.

        ``queries.jsonl`` and ``corpus.jsonl`` (``_id``, ``language``, ``text``, and ``title`` if there is one) and
        ``qrels.tsv`` or ``qrels/<split>.tsv`` (query id, corpus id, score; a head line), each also with ``.gz``.

        Raises
        ------
        FileNotFoundError, CorpusError
        """
        folder = Path(folder)
        return cls.from_files(one_of(folder, "queries.jsonl"), one_of(folder, "corpus.jsonl"),
                              one_of(folder, "qrels.tsv", f"qrels/{split}.tsv"), name or folder.resolve().name)

    @classmethod
    def from_files(cls, queries: str | Path, corpus: str | Path, qrels: str | Path, name: str) -> "TestSet":
        """The three files of BEIR's layout (see `from_beir`), wherever they are.

        A query's ``group`` joins translations, and ``cluster`` what is not independent; as in `from_records`.
        """
        problems: list[str] = []
        return _assemble(name, beir_texts(queries, problems), beir_texts(corpus, problems),
                         read_qrels(qrels, problems), problems, str(qrels))

    @classmethod
    def from_mteb(cls, task: "AbsTaskRetrieval", split: str = "test",
                  languages: Mapping[str, tuple[str, str]] | None = None) -> "TestSet":
        """One pool of all subsets of a retrieval task of mteb.

        A subset's queries are in the first of its ``eval_langs`` and its documents in the last, unless a row has a
        field ``language``. Documents (queries) of several subsets are the same one if id, language and text are.

        Parameters
        ----------
        task : AbsTaskRetrieval
        split : str
        languages : dict of subset to (language of queries, language of documents), optional
            Where the order of the task's ``eval_langs`` is another (Belebele's).

        Raises
        ------
        CorpusError
            If a subset's documents are in more than one language: then nothing says which is in which.
        """
        if not task.data_loaded:
            task.load_data()
        task.convert_v1_dataset_format_to_v2(num_proc=None)  # nothing to do for tasks of today's layout
        queries: dict[tuple, dict] = {}
        candidates: dict[tuple, dict] = {}
        relevant: dict[tuple, int] = {}
        subsets = task.metadata.eval_langs if isinstance(task.metadata.eval_langs, dict) else {
            "default": task.metadata.eval_langs}
        for subset, data in task.dataset.items():
            where = f"{task.metadata.name}, subset {subset}"
            codes = (languages or {}).get(subset) or [code.replace("-", "_", 1) for code in subsets[subset]]
            if len(codes) > 2:
                raise CorpusError([f"{where}: documents in {', '.join(codes)}, and nothing says which is in which; "
                                   "read it with from_records"])
            if split not in data:
                raise CorpusError([f"{where}: there is no split {split!r}, only {', '.join(data)}"])
            part = data[split]
            ids: dict[str, dict[str, tuple]] = {"queries": {}, "corpus": {}}
            for side, language, kept in (("queries", codes[0], queries), ("corpus", codes[-1], candidates)):
                for row in part[side]:
                    text = f"{row.get('title') or ''} {row['text']}".strip()
                    place = (row.get("language") or language, row["id"], text)
                    ids[side][row["id"]] = place
                    kept[place] = {"id": place, "language": place[0], "text": text} | (
                        {"question": f"{place[0]}:{row['id']}"} if side == "queries" else {})
            if unknown := part["relevant_docs"].keys() - ids["queries"].keys():
                raise CorpusError([f"{where}: there is no query {query!r}" for query in sorted(unknown)])
            relevant |= {(ids["queries"][query], ids["corpus"][document]): grade
                         for query, grades in part["relevant_docs"].items() for document, grade in grades.items()
                         if document in ids["corpus"]}
        return cls.from_records(task.metadata.name, queries.values(), candidates.values(),
                                ((*pair, grade) for pair, grade in relevant.items()))


def read_corpus(path: str | Path) -> pd.DataFrame:
    """The documents of a file in BEIR's layout, with a field ``language``: ``id``, ``language`` and ``text``.

    Raises
    ------
    CorpusError, FileNotFoundError
        Every problem found, as ``file:line: reason``.
    """
    problems: list[str] = []
    found = _texts(beir_texts(path, problems), problems)
    if not problems and found.empty:
        problems.append(f"{path}: the file has no documents")
    if problems:
        raise CorpusError(problems)
    return found[["id", "language", "text"]]


def _sorted(pairs: pd.DataFrame) -> pd.DataFrame:
    return pairs[["query", "candidate", "grade"]].astype(np.int64).sort_values(
        ["query", "candidate"], ignore_index=True)


def _assemble(name: str, queries: Records, candidates: Records, relevant: Iterable[tuple],
              problems: list[str] | None = None, judged: str | None = None) -> TestSet:
    """A TestSet of checked records; raises `CorpusError` with every problem."""
    problems = [] if problems is None else problems
    asked, pool = _texts(queries, problems), _texts(candidates, problems)
    rows: dict[str, dict[Any, int]] = {"query": {x: n for n, x in enumerate(asked["id"])},
                                       "candidate": {x: n for n, x in enumerate(pool["id"])}}
    pairs: dict[tuple[int, int], int] = {}
    for where, query, candidate, grade in relevant:
        unknown = [f"{side} {x!r}" for side, x in (("query", query), ("candidate", candidate)) if x not in rows[side]]
        if unknown:
            problems.append(f"{where}: there is no {' and no '.join(unknown)}")
            continue
        if not isinstance(grade, int | np.integer) or isinstance(grade, bool):
            problems.append(f"{where}: grade {grade!r} is not a whole number")
            continue
        pair = rows["query"][query], rows["candidate"][candidate]
        if pairs.setdefault(pair, grade) != grade:
            problems.append(f"{where}: query {query!r} and candidate {candidate!r} have grades {pairs[pair]} and "
                            f"{grade}")
    if not problems and not any(grade > 0 for grade in pairs.values()):
        problems.append(f"{judged or name}: nothing is relevant")
    if problems:
        raise CorpusError(problems)
    asked["question"] = asked["question"].where(asked["question"].notna(), asked["id"]).map(str)
    asked["cluster"] = asked["cluster"].where(asked["cluster"].notna(), asked["question"]).map(str)
    languages = sorted({*asked["language"], *pool["language"]})
    # Rows move, and the pairs with them: candidates are sorted by language, queries without an answer go.
    order = pool["language"].argsort(kind="stable").to_numpy()
    found = pd.DataFrame([(*pair, grade) for pair, grade in pairs.items() if grade > 0],
                         columns=["query", "candidate", "grade"])
    found["candidate"] = np.argsort(order)[found["candidate"]]
    kept = np.unique(found["query"])
    twice = asked.iloc[kept].duplicated(["question", "language"])
    if twice.any():
        raise CorpusError([f"{row['where']}: question {row['question']!r} is asked twice in {row['language']}"
                           for _, row in asked.iloc[kept][twice.to_numpy()].iterrows()])
    found["query"] = np.searchsorted(kept, found["query"])
    pool["cluster"] = pool["cluster"].where(pool["cluster"].notna(), "")
    return TestSet(name, tuple(languages),
                   asked.iloc[kept][["question", "cluster", "language", "text"]].reset_index(drop=True),
                   pool.iloc[order][["cluster", "language", "text"]].reset_index(drop=True), _sorted(found),
                   len(asked) - len(kept))


def _texts(records: Records, problems: list[str]) -> pd.DataFrame:
    """Checked records as a table of id, question, cluster, language and text."""
    rows, seen = [], {}
    for where, record in records:
        found, own, text = [], record.get("id"), record.get("text")
        if own in (None, ""):
            found.append("field 'id' is missing")
        elif isinstance(own, list | dict):
            found.append(f"field 'id' is {named(own)}, expected text")
            own = where
        elif (first := seen.setdefault(own, where)) != where:
            found.append(f"duplicate id {own!r}, also at {first}")
        if not is_language(record.get("language")):
            found.append(f"field 'language' is {record.get('language')!r}, expected a code such as de, pt-BR or "
                         "eng_Latn")
        if reason := text_problem(text):
            found.append("field 'text' is missing, empty or not text" if not isinstance(text, str) or is_empty(text)
                         else f"field 'text': {reason}")
        problems += [f"{where}: {reason}" for reason in found]
        rows.append([own, *(record.get(field) for field in ("question", "cluster", "language")), text, where])
    return pd.DataFrame(rows, columns=["id", "question", "cluster", "language", "text", "where"], dtype=object)
