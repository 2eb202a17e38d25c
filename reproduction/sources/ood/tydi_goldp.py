"""TyDi QA's gold passages (Clark et al. 2020), dev, in nine languages: a question → the paragraph that answers it.

The questions are natural: asked by people who did not know the answer. Each has one paragraph that is known to answer
it, in its own language; retrieval across languages cannot be measured. In English, Korean and Swahili 500 paragraphs of
the training part stand beside them, none of which `tydi` trains on. Which 500, and in what order, follows no rule that
we found: `DISTRACTORS` names each by a checksum, as they stood in the test set that the results of this repository were
measured on.

The released files could not be had when this was written. What is built from them must have the checksums of that test
set; the builder was tried on files in the released layout that were made from it.
"""

from hashlib import sha256
from importlib import resources
from pathlib import Path

from hybridlib.data import CorpusError
from hybridlib.data.reading import read_text
from reproduction.sources import tydi
from reproduction.sources.ood.records import Records

# The checksum, as that of `tydi.FILE`: of dataset_infos.json in github.com/huggingface/datasets, not compared with the
# file itself.
FILE, CHECKSUM = "tydiqa-goldp-v1.1-dev.json", "b286e0f34bc7f52259359989716f369b160565bd12ad8f3a3e311f9b0dbad1c0"
# A language and the beginning of the sha256 of a paragraph on each line, in the order of the corpus.
DISTRACTORS = Path(str(resources.files("reproduction.sources.ood") / "tydi_goldp_distractors.txt"))


def checksum(paragraph: str) -> str:
    """By what `DISTRACTORS` names a paragraph.

    >>> checksum("A boat floats.")
    'd02f26c1'
    """
    return sha256(paragraph.encode()).hexdigest()[:8]


def _distractors(path: Path) -> dict[str, list[str]]:
    """The paragraphs of the training file that `DISTRACTORS` names, by language."""
    named = [(line or "").split() for _, line, _ in read_text(DISTRACTORS)]
    languages = {language for language, _ in named}
    known = {(language, checksum(paragraph)): paragraph for language, _, _, paragraph in tydi.questions(path)
             if language in languages}
    found: dict[str, list[str]] = {language: [] for language in languages}
    for language, digest in named:
        if (language, digest) not in known:
            raise CorpusError([f"{path}: no paragraph of language {language} has a sha256 that begins with {digest}; "
                               "the file is not the released one"])
        found[language].append(known[language, digest])
    return found


def build(folder: Path) -> Records:
    """The test set, from the folder that holds `FILE` and `tydi.FILE` in ``tydiqa/``.

    Paragraphs of a language that are the same are one.

    Raises
    ------
    FileNotFoundError, CorpusError
        If a file is missing or not laid out as it is released.
    """
    asked: dict[str, list[tuple[str, str, str]]] = {language: [] for language in tydi.LANGUAGES.values()}
    for language, *question in tydi.questions(folder / "tydiqa" / FILE):
        asked[language].append(tuple(question))
    distractors = _distractors(folder / "tydiqa" / tydi.FILE)
    made = Records.empty()
    for language, questions in asked.items():
        texts = dict.fromkeys([*(paragraph for _, _, paragraph in questions), *distractors.get(language, ())])
        ids = {text: f"{language}:c{number}" for number, text in enumerate(texts)}
        for text, name in ids.items():
            made.hold(name, language, text, name)
        for name, question, paragraph in questions:
            made.ask(f"{language}:{name}", language, question, f"{language}:{name}", ids[paragraph])
            made.relevant.append((f"{language}:{name}", ids[paragraph]))
    return made
