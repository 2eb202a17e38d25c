"""Parallel question-passage data: read it, check it, hold it.

Two formats, both JSON Lines in UTF-8 (``.gz`` allowed):

groups (what users bring)
    ``{"id", "query": {lang: text}, "passage": {lang: text}, "negatives": {lang: [text, …]}}``; one parallel
    group a line; a language may be missing from a group; ``negatives`` is optional.
articles (our own corpus, see ``data/mini/README.md``)
    ``{"id", "topic", "title": {lang: text}, "sentences": {lang: [text, …]}, "questions": [{"id", "answer",
    "text": {lang: text}}, …]}``; every language in every article; ``answer`` is the 0-based index of the
    sentence that answers the question.
"""

import gzip
import json
import unicodedata
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from hybridlib.runs import sha256

LANGUAGES = ("ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh")
LANGUAGE_NAMES = {
    "ar": "Arabic", "de": "German", "el": "Greek", "en": "English", "es": "Spanish", "hi": "Hindi",
    "ru": "Russian", "th": "Thai", "tr": "Turkish", "vi": "Vietnamese", "zh": "Chinese"}
RIGHT_TO_LEFT = ("ar",)


class CorpusError(ValueError):
    """A data file that cannot be used; the message lists each problem as ``file:line: reason``."""

    def __init__(self, problems):
        self.problems = list(problems)
        shown = "\n".join(self.problems[:20])
        more = f"\n… and {len(self.problems) - 20} more" if len(self.problems) > 20 else ""
        super().__init__(f"{len(self.problems)} problem(s) in the data\n{shown}{more}")


def verify_checksum(path, expected):
    """Raise `CorpusError` unless the file's sha256 is the expected one; FileNotFoundError if it is missing."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; give the folder that holds it with DATA=…")
    found = sha256(path)
    if found != expected:
        raise CorpusError([f"{path}: sha256 is {found}, expected {expected}; the file differs from the pinned "
                           "one: fetch it again, or change the checksum in the preset on purpose"])


def _lines(path):
    """Yield (line number, record, problem) for each line of a JSON Lines file; one of the last two is None."""
    path = Path(path)
    opened = gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else open(path, encoding="utf-8")
    with opened as file:
        number = 0
        try:
            for number, line in enumerate(file, 1):
                try:
                    record = json.loads(line)
                except json.JSONDecodeError as error:
                    yield number, None, f"not JSON ({error.msg} at column {error.colno})"
                    continue
                if isinstance(record, dict):
                    yield number, record, None
                else:
                    yield number, None, f"a {type(record).__name__}, expected an object"
        except UnicodeDecodeError as error:
            yield number + 1, None, f"not UTF-8 ({error.reason})"
        except (EOFError, gzip.BadGzipFile) as error:
            yield number + 1, None, f"the compressed file is broken ({error})"


def _text_problems(field, texts, languages):
    """Problems of a ``{lang: text}`` object; ``languages`` are those it must hold, or None for any."""
    if not isinstance(texts, dict) or not texts:
        return [f"field {field!r} must be an object of language: text"]
    problems = [f"field {field!r} lacks language {language!r}" for language in languages or ()
                if language not in texts]
    for language, text in texts.items():
        if len(language) != 2 or not language.islower():
            problems.append(f"field {field!r}: {language!r} is not an ISO 639-1 code")
        if not isinstance(text, str):
            problems.append(f"field {field!r}, {language}: a {type(text).__name__}, expected text")
        elif not text.strip():
            problems.append(f"field {field!r}, {language}: the text is empty")
    return problems


def _article_problems(article, languages):
    problems = [f"field {name!r} is missing" for name in ("id", "topic", "title", "sentences", "questions")
                if name not in article]
    if problems:
        return problems
    problems += _text_problems("title", article["title"], languages)
    sentences = article["sentences"]
    if not isinstance(sentences, dict):
        return [*problems, "field 'sentences' must be an object of language: list of texts"]
    problems += [f"field 'sentences' lacks language {language!r}" for language in languages
                 if language not in sentences]
    lengths = {len(texts) for texts in sentences.values() if isinstance(texts, list)}
    if len(lengths) != 1:
        problems.append(f"the languages have different numbers of sentences: {sorted(lengths)}")
    for index in range(max(lengths, default=0)):
        at_index = {language: texts[index] for language, texts in sentences.items()
                    if isinstance(texts, list) and index < len(texts)}
        problems += _text_problems(f"sentences[{index}]", at_index, None)
    for number, question in enumerate(article["questions"]):
        field = f"questions[{number}]"
        if not isinstance(question, dict) or not {"id", "answer", "text"} <= question.keys():
            problems.append(f"field {field!r} must have 'id', 'answer' and 'text'")
            continue
        answer = question["answer"]
        if type(answer) is not int or not 0 <= answer < min(lengths, default=0):
            problems.append(f"field {field!r}: answer {answer!r} is out of range, the article has "
                            f"{min(lengths, default=0)} sentences (the first is 0)")
        problems += _text_problems(f"{field}.text", question["text"], languages)
    return problems


def read_articles(*paths, languages=LANGUAGES):
    """Read and check files in the articles format.

    Parameters
    ----------
    *paths : path
        Files that belong together: no id and no text may stand twice in a language, across all of them.
    languages : sequence of str
        Languages that every article must have.

    Returns
    -------
    list of dict

    Raises
    ------
    CorpusError
        Every problem found, as ``file:line: reason``.
    """
    articles, problems = [], []
    first_seen = {}

    def note(kind, value, where):
        if (other := first_seen.setdefault((kind, value), where)) != where:
            problems.append(f"{where}: duplicate {kind} {value!r}, also at {other}")

    for path in paths:
        for line, article, problem in _lines(path):
            where = f"{path}:{line}"
            found = [problem] if problem else _article_problems(article, languages)
            problems += [f"{where}: {reason}" for reason in found]
            if found:
                continue
            articles.append(article)
            note("article id", article["id"], where)
            texts = [(language, text) for language, sentences in article["sentences"].items()
                     for text in sentences]
            for question in article["questions"]:
                note("question id", question["id"], where)
                texts += question["text"].items()
            counted = Counter(texts)
            for (language, text), count in counted.items():
                if count > 1:
                    problems.append(f"{where}: duplicate {language} text {text!r} inside the article")
                note(f"{language} text", text, where)
            problems += [f"{where}: {language} text is not in NFC: {text!r}" for language, text in counted
                         if not unicodedata.is_normalized("NFC", text)]
    if problems:
        raise CorpusError(problems)
    return articles


@dataclass(frozen=True)
class ParallelCorpus:
    """Parallel question-passage groups, held as Arrow columns (a missing language is null).

    Attributes
    ----------
    name : str
    ids : list of str, length G
    query, passage : dict of language to pyarrow.StringArray of length G
    negatives : dict of language to pyarrow.ListArray of length G; empty if the data has none
    """

    name: str
    ids: list
    query: dict
    passage: dict
    negatives: dict

    def __len__(self):
        return len(self.ids)

    @cached_property
    def languages(self):
        """Languages in which at least one group has both a query and a passage, sorted."""
        return tuple(sorted(language for language in self.query.keys() & self.passage.keys()
                            if (self.has(self.query, language) & self.has(self.passage, language)).any()))

    @staticmethod
    def has(side, language):
        """Boolean array (G,): which groups have a text in ``language`` on that side."""
        return side[language].is_valid().to_numpy(zero_copy_only=False)

    @cached_property
    def passage_key(self):
        """Integer array (G,): groups that share a passage, in whatever language, have the same number.

        A translation of a positive is not a negative: no two groups of one key may meet in a batch.
        """
        groups, texts = [], []
        for language in sorted(self.passage):
            encoded = self.passage[language].dictionary_encode()
            valid = np.flatnonzero(self.has(self.passage, language))
            groups.append(valid)
            texts.append(encoded.indices.drop_null().to_numpy() + sum(len(t) for t in texts) + len(self))
        rows, columns = np.concatenate(groups), np.concatenate(texts)
        size = int(columns.max()) + 1
        graph = coo_matrix((np.ones(len(rows), bool), (rows, columns)), shape=(size, size))
        return connected_components(graph, directed=False)[1][:len(self)]

    def pair(self, group, query_language, passage_language, negative=None):
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

    def select(self, indices, name=None):
        """The corpus of some of the groups."""
        indices = np.asarray(indices)
        def take(side):
            return {language: column.take(pa.array(indices)) for language, column in side.items()}
        return ParallelCorpus(name or self.name, [self.ids[i] for i in indices], take(self.query),
                              take(self.passage), take(self.negatives))


def _corpus(name, records):
    """A ParallelCorpus of checked records in the groups format."""
    def column(field, language, kind):
        return pa.array([record.get(field, {}).get(language) for record in records], kind)

    languages = defaultdict(set)
    for record in records:
        for field in ("query", "passage", "negatives"):
            languages[field].update(record.get(field, {}))
    return ParallelCorpus(
        name, [record["id"] for record in records],
        *({language: column(field, language, kind) for language in sorted(languages[field])}
          for field, kind in (("query", pa.string()), ("passage", pa.string()),
                              ("negatives", pa.list_(pa.string())))))


def read_groups(path, name=None, languages=None, ids="given"):
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
    for line, record, problem in _lines(path):
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
            found += _text_problems(field, record.get(field), languages)
        for language, texts in (record.get("negatives") or {}).items():
            if not isinstance(texts, list) or not texts or not all(isinstance(t, str) and t for t in texts):
                found.append(f"field 'negatives', {language}: expected a list of texts")
        problems += [f"{path}:{line}: {reason}" for reason in found]
        records.append(record)
    if not problems and not records:
        problems.append(f"{path}: the file has no groups")
    if problems:
        raise CorpusError(problems)
    return _corpus(name, records)


def groups_of(articles, name):
    """Training groups of articles: each question with its answer sentence.

    The other sentences of the article are the group's hard negatives.
    """
    records = []
    for article in articles:
        for question in article["questions"]:
            answer = question["answer"]
            records.append({
                "id": question["id"], "query": question["text"],
                "passage": {language: texts[answer] for language, texts in article["sentences"].items()},
                "negatives": {language: texts[:answer] + texts[answer + 1:]
                              for language, texts in article["sentences"].items()}})
    return _corpus(name, records)


if __name__ == "__main__":
    from hybridlib.checks import main

    main()
