"""The paper's nine training sets and SQuADShifts: where each comes from, and how a row becomes question-passage pairs.

The paper says only that they are question-passage pairs; how a row becomes one is our choice, in `SETS`.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

Pairs = Iterator[tuple[str, str]]
WORDS = 100


def around(text: str, start: int, end: int, words: int = WORDS) -> str:
    """The ``words`` words around ``text[start:end]``, as evenly on both sides as the text's ends allow.

    As long as the passages of DPR (Karpukhin et al. 2020), for texts that are too long to encode.

    >>> around("one two three four five six seven", 14, 18, words=3)
    'three four five'
    >>> around("one two three four five six seven", 0, 3, words=3)
    'one two three'
    """
    spans = [(found.start(), found.end()) for found in re.finditer(r"\S+", text)]
    inside = [number for number, (a, b) in enumerate(spans) if a < end and b > start]
    if not inside:
        raise ValueError(f"no word stands at {start} to {end} of a text of {len(text)} characters")
    first = max(0, min((inside[0] + inside[-1] + 1 - words) // 2, len(spans) - words))
    return " ".join(text[a:b] for a, b in spans[first:first + words])


def said_by(error: BaseException) -> str:
    """What a library says of a file, in one line without control characters, at most 300 characters."""
    said = " ".join(str(error.__cause__ or error).split())
    return "".join(character for character in said if character.isprintable())[:300]


def _titled(passage: dict[str, str]) -> str:
    # A passage without a title has null there.
    return " ".join(filter(None, (passage["title"], passage["text"])))


def _wikiqa(row: dict[str, Any]) -> Pairs:
    if row["label"] == 1:
        yield row["question"], row["answer"]


def _mr_tydi(row: dict[str, Any]) -> Pairs:
    for passage in row["positive_passages"]:
        yield row["query"], _titled(passage)


def _duorc(row: dict[str, Any]) -> Pairs:
    for answer in [] if row["no_answer"] else row["answers"]:
        if answer.strip() and (start := row["plot"].find(answer)) >= 0:
            yield row["question"], around(row["plot"], start, start + len(answer))
            return


def _newsqa(row: dict[str, Any]) -> Pairs:
    for question in row["questions"] if row["type"] == "train" else []:
        start, end = question["consensus"]["s"], question["consensus"]["e"]
        if None not in (start, end) and row["text"][start:end].strip():
            yield question["q"], around(row["text"], start, end)


def _natural_questions(row: dict[str, Any]) -> Pairs:
    yield row["query"], row["answer"]


def _yahoo(row: dict[str, Any]) -> Pairs:
    yield row["title"], row["answer"]


def _entity_questions(row: dict[str, Any]) -> Pairs:
    passage = next((found for found in row["ctxs"] if found["has_answer"]), None)
    if passage:
        yield row["question"], _titled(passage)


def _mfaq(row: dict[str, Any]) -> Pairs:
    for pair in row["qa_pairs"]:
        yield pair["question"], pair["answer"]


def _squadshifts(row: dict[str, Any]) -> Pairs:
    yield row["question"], row["context"]


@dataclass(frozen=True)
class TrainingSet:
    """Where a set comes from, and how a row of it becomes question-passage pairs.

    Attributes
    ----------
    title : str
        As the paper's Table 9 has it.
    home : str
        A data set of the hub, or the page of a set that cannot be downloaded by a program.
    revision : str or None
        Commit of the hub; None where there is none to pin: then the files must be given.
    files : tuple of str
        Relative to the home's root, or to the folder that is given.
    reader : {"parquet", "json"}
        Which builder of `datasets` reads them; none of them runs code of the set.
    fields : dict of str to type
        What must be there; ``a.b`` is the field b inside a, through lists.
    pairs : callable
        A row to its (question, passage) pairs, any number of them.
    licence, choice : str
    get : str
        How to get the files where that takes more than a download.
    nullable : tuple of str
        Of the fields, those that may be null.
    field : str, optional
        Of a JSON file, under which field the rows are.
    """

    title: str
    home: str
    revision: str | None
    files: tuple[str, ...]
    reader: str
    fields: dict[str, Any]
    pairs: Callable[[dict[str, Any]], Pairs]
    licence: str
    choice: str
    get: str = ""
    nullable: tuple[str, ...] = ()
    field: str | None = None


# Revisions are those that the hub's own pages show for the files named here, as public copies of these pages have them;
# not compared with the hub itself.
SETS = {
    "wikiqa": TrainingSet(
        "WikiQA", "microsoft/wiki_qa", "3f104672b5de699878fe7907afc486f0de325eb5", ("data/*.parquet",), "parquet",
        {"question": str, "answer": str, "label": int}, _wikiqa, "Microsoft Research Data License",
        "sentences labelled 1, of all three splits: only together do they come near the paper's number"),
    "mr-tydi": TrainingSet(
        "Mr. TyDi", "castorini/mr-tydi", "a05d7f0bf105cb974d293c1d782938074de8d419",
        ("mrtydi-v1.1-english/train.jsonl.gz",), "json",
        {"query": str, "positive_passages.title": str, "positive_passages.text": str}, _mr_tydi, "Apache-2.0",
        "English training queries with each positive passage, its title in front",
        nullable=("positive_passages.title",)),
    "duorc": TrainingSet(
        "DuoRC", "ibm-research/duorc", "2de12436b8945030c283bf4af83925d60efe10c6", ("SelfRC/train-*.parquet",),
        "parquet", {"plot": str, "question": str, "answers": [str], "no_answer": bool}, _duorc, "MIT",
        f"SelfRC, train; the {WORDS} words around the first place where an answer stands in the plot; a question "
        "whose answer stands nowhere is left out"),
    "newsqa": TrainingSet(
        "NewsQA", "https://github.com/Maluuba/newsqa", None, ("combined-newsqa-data-v1.json",), "json",
        {"text": str, "type": str, "questions.q": str, "questions.consensus.s": int, "questions.consensus.e": int},
        _newsqa, "Microsoft's and CNN's terms; not to be passed on",
        f"train; the {WORDS} words around the answer that the crowd agreed on; none, no pair",
        "accept Microsoft's terms for the questions, get the CNN stories, and pack both by the steps of its README; "
        "--data is the folder of the file that this makes", field="data",
        nullable=("questions.consensus.s", "questions.consensus.e")),
    "natural-questions": TrainingSet(
        "Google NQ", "sentence-transformers/natural-questions", "f9e894e1081e206e577b4eaa9ee6de2b06ae6f17",
        ("pair/train-*.parquet",), "parquet", {"query": str, "answer": str}, _natural_questions, "CC BY-SA 3.0",
        "the pairs of that copy: the question and its long answer"),
    "yahoo": TrainingSet(
        "Yahoo QA", "sentence-transformers/yahoo-answers", "93b3605c508cf93e3666c9d3e34640b5fe62b507",
        ("title-answer-pair/train-*.parquet",), "parquet", {"title": str, "answer": str}, _yahoo,
        "none stated; Yahoo's terms", "the question's title and the best answer"),
    "entityquestions": TrainingSet(
        "EntityQuestions", "https://github.com/princeton-nlp/EntityQuestions", None, ("P*.train.json",), "json",
        {"question": str, "ctxs.title": str, "ctxs.text": str, "ctxs.has_answer": bool}, _entity_questions,
        "MIT; passages CC BY-SA 3.0",
        "the set has questions and answers but no passages: the best of BM25's passages of DPR's Wikipedia that has "
        "an answer, as its authors retrieve them, the title in front; none, no pair",
        "download dataset.zip and DPR's psgs_w100.tsv, index it and run bm25/bm25_retriever.py over "
        "dataset/train/P*.train.json by the steps of its README; --data is the folder of the results",
        nullable=("ctxs.title",)),
    "mfaq": TrainingSet(
        "MFAQ", "clips/mfaq", "72248e10c1bbe5e3c3710e5e969a41947ca43937", ("data/en/train.jsonl",), "json",
        {"qa_pairs.question": str, "qa_pairs.answer": str}, _mfaq, "CC0-1.0", "every pair of every English page"),
    # A copy of ludwigschmidt/squadshifts, which has only a script: its four test sets, cut in three each.
    "squadshifts": TrainingSet(
        "SQuADShifts", "lmqg/qa_squadshifts", "a2cea37f3153f25e6924bc3e6a05baca6a475fec",
        tuple(f"{part}/*.parquet" for part in ("new_wiki", "nyt", "reddit", "amazon")), "parquet",
        {"question": str, "context": str}, _squadshifts, "CC BY 4.0",
        "selection only: all four domains, the question and its paragraph"),
}
