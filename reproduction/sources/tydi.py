"""TyDi QA's gold passages (Clark et al. 2020), training, English: a question → the paragraph that answers it.

Without the questions of MIRACL dev, which were taken from TyDi QA.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hybridlib.data import CorpusError
from hybridlib.data.reading import field, read_json, read_text

LONGEST = 1200  # characters of a paragraph that are kept
# The released file, and MIRACL's topics as github.com/castorini/anserini-tools has them; the first checksum is that of
# dataset_infos.json in github.com/huggingface/datasets, not compared with the file itself.
URL, FILE = "https://storage.googleapis.com/tydiqa/v1.1", "tydiqa-goldp-v1.1-train.json"
CHECKSUM = "cefc8e09ff2548d9b10a678d3a6bbbe5bc036be543f92418819ea676c97be23b"
TOPICS_REPOSITORY, TOPICS_COMMIT = "castorini/anserini-tools", "5b819c1a45c8a0a3ec9426f476694f44a29dfaf3"
TOPICS = "topics/topics.miracl-v1.0-en-dev.tsv"
TOPICS_CHECKSUM = "25d9e6d17656674fd7aa3b67ee912c71545e664a842b147bfc17e9ff391db3da"
# As the ids of questions begin.
LANGUAGES = {"arabic": "ar", "bengali": "bn", "english": "en", "finnish": "fi", "indonesian": "id", "korean": "ko",
             "russian": "ru", "swahili": "sw", "telugu": "te"}


def questions(path: Path) -> Iterator[tuple[str, str, str, str]]:
    """Yield (language, id, question, paragraph) of a released file, in order.

    Raises
    ------
    FileNotFoundError, CorpusError
        If it is missing or in another layout, or has a question in another language.
    """
    for number, article in enumerate(field(read_json(path), "data", list, str(path))):
        place = f"{path}: data[{number}]"
        for paragraph in field(article, "paragraphs", list, place):
            context = field(paragraph, "context", str, place)
            for question in field(paragraph, "qas", list, place):
                name, text = (field(question, key, str, place) for key in ("id", "question"))
                if (language := name.partition("-")[0]) not in LANGUAGES:
                    raise CorpusError([f"{place}: id {name!r} begins with none of {', '.join(LANGUAGES)}"])
                yield LANGUAGES[language], name, " ".join(text.split()), " ".join(context.split())


def _topics(path: Path) -> set[str]:
    """The questions of a file of topics."""
    found = set()
    for number, line, problem in read_text(path):
        if line is None or "\t" not in line:
            raise CorpusError([f"{path}:{number}: {problem or 'one column, expected query id and query'}"])
        found.add(" ".join(line.split("\t", 1)[1].split()))
    return found


def groups(released: Path, topics: Path) -> Iterator[dict[str, Any]]:
    """Yield the groups; their ids end as those of the released file, and repeat.

    Parameters
    ----------
    released, topics : path
        `FILE` and `TOPICS`.

    Raises
    ------
    FileNotFoundError, CorpusError
        If a file is missing or in another layout, or has no English questions.
    """
    excluded, count = _topics(topics), 0
    for language, name, question, paragraph in questions(released):
        if language != "en":
            continue
        count += 1
        if question not in excluded:
            yield {"id": f"tydi-en:{name.rpartition('-')[2]}", "query": {"en": question},
                   "passage": {"en": paragraph[:LONGEST]}}
    if not count:
        raise CorpusError([f"{released}: no question's id begins with english-"])
