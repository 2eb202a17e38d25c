"""NTREX-128 (Federmann et al. 2022), news in human translation: a sentence → the sentences around it.

The inverse cloze task (Lee et al. 2019): of a document, each sentence but the last asks for its neighbours.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hybridlib.data import CorpusError
from hybridlib.data.reading import read_text

# github.com/MicrosoftTranslator/NTREX at this commit; sha256 of every file.
REPOSITORY, COMMIT = "MicrosoftTranslator/NTREX", "8561f6a622db9edad1217683e5c83daefd8bb2bf"
DOCUMENTS = "DOCUMENT_IDS.tsv"
LANGUAGES = {language: f"NTREX-128/newstest2019-{name}.txt" for language, name in {
    "ar": "ref.arb", "de": "ref.deu", "en": "src.eng", "es": "ref.spa", "hi": "ref.hin", "ru": "ref.rus",
    "th": "ref.tha", "tr": "ref.tur", "zh": "ref.zho-CN"}.items()}
CHECKSUMS = {
    DOCUMENTS: "88a8b0ff1eae47e83f60dcde01075b8c87d75ced59ca09e0af1eb539958e05d5",
    LANGUAGES["ar"]: "d271c8645933421f760eba8ed8cc1ceaaa052f917d9c2839b8abb27e0ded71e6",
    LANGUAGES["de"]: "259d7406a07b63e6b5b9c4a22fb76b85e2578a3fa0a4e541a50f4f7348e5c1b2",
    LANGUAGES["en"]: "389e8f5796c66db4f646dfad33e1ec622d74767af5ef112b42a1f2cd814df3cc",
    LANGUAGES["es"]: "0ad8129e5ce0bea86ba7e0ea0db0504d6626b8a4d2a7cf4c44b7791c70e99b84",
    LANGUAGES["hi"]: "10d612b3960dc1f90d297aff7e3c6d39e6eb7221b912cef0c053d9f510e41bbc",
    LANGUAGES["ru"]: "a7e3601298b0368659a5c006c52809cf6792e02eb94bde9b9693333278d85732",
    LANGUAGES["th"]: "45a57c4f9fdbae282eb2c94821535ae3c88b09186a23c5506eb0907ba429d6a5",
    LANGUAGES["tr"]: "bd0c3978cb7d283ee5f8834d90a32fe2ffd0c71e4b133c677cff259d07a70ea9",
    LANGUAGES["zh"]: "8bcd6f0868d33f26c8da12f55a82f66088a7b60a5f7b0b1a99dcec51daa8054a"}
BEFORE, AFTER = 1, 2  # sentences


def _lines(path: Path) -> list[str]:
    """The lines of a file, white space made one space; none may be empty, since lines with one number are parallel."""
    lines = []
    for number, line, problem in read_text(path):
        if line is None or number != len(lines) + 1:
            raise CorpusError([f"{path}:{len(lines) + 1}: {problem or 'empty, expected a sentence'}"])
        lines.append(" ".join(line.split()))
    return lines


def groups(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the groups.

    Parameters
    ----------
    folder : path
        A checkout of `REPOSITORY`.

    Raises
    ------
    FileNotFoundError, CorpusError
        If a file is missing, has an empty line, or has not as many lines as there are in `DOCUMENTS`.
    """
    documents = _lines(folder / DOCUMENTS)
    texts = {language: _lines(folder / name) for language, name in LANGUAGES.items()}
    for language, lines in texts.items():
        if len(lines) != len(documents):
            raise CorpusError([f"{folder / LANGUAGES[language]}: {len(lines)} lines, and {DOCUMENTS} has "
                               f"{len(documents)}; they must be parallel"])
    for number, document in enumerate(documents[:-1]):
        if documents[number + 1] == document:
            around = [place for place in range(max(0, number - BEFORE), min(number + AFTER + 1, len(documents)))
                      if place != number and documents[place] == document]
            yield {"id": f"ntrex:{number}", "query": {language: lines[number] for language, lines in texts.items()},
                   "passage": {language: " ".join(lines[place] for place in around)
                               for language, lines in texts.items()}}
