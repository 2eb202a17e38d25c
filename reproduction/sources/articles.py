"""Our own corpus: articles in several languages with questions, and what they become.

The format (``data/mini/README.md``, ``data/mini/schema.json``) is JSON Lines in UTF-8 (``.gz`` allowed)::

    {"id", "topic", "title": {lang: text}, "sentences": {lang: [text, …]},
     "questions": [{"id", "answer", "text": {lang: text}}, …]}

Every language in every article; ``answer`` is the 0-based index of the sentence that answers the question.
"""

import json
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pandas as pd

from hybridlib.data import CorpusError, ParallelCorpus, TestSet, corpus_of
from hybridlib.data.groups import same_text
from hybridlib.data.reading import read_lines, text_problems
from reproduction.workspace import ROOT

LANGUAGES = ("ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh")


@cache
def _schema() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads((ROOT / "data/mini/schema.json").read_text("utf-8")))


def _one_line(text: str, most: int = 200) -> str:
    """A message without what it quotes at length."""
    text = " ".join(text.splitlines())
    return text if len(text) <= most else f"{text[:most // 2]} … {text[-most // 2:]}"


def _article_problems(article: dict[str, Any], languages: Iterable[str]) -> list[str]:
    """What the schema finds; if that is nothing, what it cannot say."""
    if found := [_one_line(f"{error.json_path.replace('$', 'article', 1)}: {error.message}")
                 for error in _schema().iter_errors(article)]:
        return found
    sentences = article["sentences"]
    problems = [f"field 'sentences' lacks language {x!r}" for x in languages if x not in sentences]
    if len(lengths := sorted({len(texts) for texts in sentences.values()})) > 1:
        problems.append(f"the languages have different numbers of sentences: {lengths}")
    for index, texts in enumerate(zip(*sentences.values(), strict=False)):
        problems += text_problems(f"sentences[{index}]", dict(zip(sentences, texts, strict=True)), None)
    problems += text_problems("title", article["title"], languages)
    for number, question in enumerate(article["questions"]):
        field, answer = f"questions[{number}]", question["answer"]
        problems += text_problems(f"{field}.text", question["text"], languages)
        if not (isinstance(answer, int) and answer < lengths[0]):
            problems.append(f"field {field!r}: answer {answer!r} is out of range, the article has {lengths[0]} "
                            "sentences (the first is 0)")
    return problems


def read_articles(*paths: str | Path, languages: Sequence[str] = LANGUAGES) -> list[dict[str, Any]]:
    """Read and check files in the articles format.

    Parameters
    ----------
    *paths : path
        Files that belong together: no id and no text may stand twice in a language, across all of them; texts that
        differ in white space only are the same.
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

    def note(kind: str, value: str, where: str) -> None:
        if (other := first_seen.setdefault((kind, value), where)) != where:
            problems.append(f"{where}: duplicate {kind} {value!r}, also at {other}")

    for path in paths:
        line = 0
        for line, article, problem in read_lines(path):
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
            counted = Counter((language, same_text(text)) for language, text in texts)
            for (language, text), count in counted.items():
                if count > 1:
                    problems.append(f"{where}: duplicate {language} text {text!r} inside the article")
                note(f"{language} text", text, where)
            problems += [f"{where}: {language} text is not in NFC: {text!r}" for language, text in dict.fromkeys(texts)
                         if not unicodedata.is_normalized("NFC", text)]
        if not line:
            problems.append(f"{path}: the file has no articles")
    if problems:
        raise CorpusError(problems)
    return articles


def groups_of(articles: Iterable[dict[str, Any]], name: str) -> ParallelCorpus:
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
    return corpus_of(name, records)


def test_set(articles: Sequence[dict[str, Any]], name: str, languages: Sequence[str] = LANGUAGES) -> TestSet:
    """The test set of articles: their questions, in every language, against all their sentences in every language.

    The relevant candidates of a question are its answer sentence and that sentence's translations; the questions of an
    article are one cluster.
    """
    queries, candidates, answers = [], [], defaultdict(list)
    for language in languages:
        for article in articles:
            for question in article["questions"]:
                queries.append((question["id"], article["id"], language, question["text"][language]))
                answers[question["id"]].append(len(candidates) + question["answer"])
            candidates += [(article["id"], language, text) for text in article["sentences"][language]]
    relevant = [(row, candidate, 1) for row, (question, *_) in enumerate(queries) for candidate in answers[question]]
    return TestSet(name, tuple(languages), pd.DataFrame(queries, columns=["question", "cluster", "language", "text"]),
                   pd.DataFrame(candidates, columns=["cluster", "language", "text"]),
                   pd.DataFrame(relevant, columns=["query", "candidate", "grade"]))


# Not a test, though pytest would take it for one where it is imported by name.
test_set.__test__ = False
