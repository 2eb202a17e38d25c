"""TICO-19 (Anastasopoulos et al. 2020): texts on COVID-19 in 39 languages, translated by people.

A constructed task: a document is cut into pieces of four sentences, and the first asks for the three that follow it
(the inverse cloze task, Lee et al. 2019). It says how a model finds what belongs together in a language and across
languages; nobody asked these queries. From the texts the dialogue phrases (CMU) are left out, whose lines are no text.
"""

from pathlib import Path

from hybridlib.data import CorpusError
from reproduction.sources.ood.records import Records, plain, sentences

# The commit that has FLORES-200's dev split, too (`belebele`); the test sets of TICO-19 are the same in later ones.
REPOSITORY, COMMIT = "Helsinki-NLP/OPUS-MT-testsets", "d4522b6dc6a7d668ec636a4256c6b913671a9666"
LANGUAGES = ("am ar bn ckb din es_LA fa fr fuv ha hi id km kr ku lg ln mr ms my ne nus om prs ps pt_BR ru rw so sw ta "
             "ti ti_ER ti_ET tl ur zh zu").split()
FILES = ("/testsets/en-am/tico19-test.en", "/testsets/en-am/tico19-test.en.info",
         *(f"/testsets/en-{x}/tico19-test.{x}" for x in LANGUAGES))
PIECE = 4           # sentences: a query and the three of its passage
FEWEST_WORDS = 6    # of an English query: shorter ones are headings
NO_TEXT = "CMU_"    # how the dialogue phrases' ids begin
UNSPACED = ("zh",)  # whose sentences are joined without a space


def _pieces(info: Path, count: int) -> dict[str, tuple[str, range]]:
    """The name of each piece of so many lines, with the address of its document and the numbers of its lines."""
    documents: dict[str, list[tuple[str, str, int]]] = {}
    for number, line in enumerate(sentences(info, count)):
        cells = line.split("\t")
        name, _, place = cells[0].partition(":")
        if len(cells) < 2 or not place:
            raise CorpusError([f"{info}:{number + 1}: expected <document>:<line>, an address and more, parted by tabs"])
        documents.setdefault(name, []).append((f"tico-{name}-{place}", cells[1], number))
    return {lines[first][0]: (lines[first][1], range(lines[first][2], lines[first][2] + PIECE))
            for name, lines in documents.items() if not name.startswith(NO_TEXT)
            for first in range(0, len(lines) - PIECE + 1, PIECE)}


def build(folder: Path) -> Records:
    """The test set, from the folder that holds a checkout of `REPOSITORY`.

    Passages of a language that are the same are one.

    Raises
    ------
    FileNotFoundError, CorpusError
        If a file is missing or not laid out as it is published.
    """
    place = folder / "OPUS-MT-testsets" / "testsets"
    english = sentences(place / "en-am" / "tico19-test.en")
    info = place / "en-am" / "tico19-test.en.info"
    texts = {x: sentences(place / f"en-{x}" / f"tico19-test.{x}", len(english)) for x in LANGUAGES} | {"en": english}
    made, ids = Records.empty(), {}
    for piece, (address, lines) in _pieces(info, len(english)).items():
        if len(plain(english[lines[0]]).split()) < FEWEST_WORDS:
            continue
        relevant = []
        for language, own in texts.items():
            passage = ("" if language in UNSPACED else " ").join(plain(own[line]) for line in lines[1:])
            if (language, passage) not in ids:
                ids[language, passage] = f"{piece}:{language}"
                made.hold(ids[language, passage], language, passage, address)
            relevant.append(ids[language, passage])
        for language, own in texts.items():
            name = f"{piece}:q:{language}"
            made.ask(name, language, plain(own[lines[0]]), piece, address)
            made.relevant.extend((name, passage) for passage in relevant)
    return made
