"""Questions and answers of Python's documentation, and their translations by volunteers, as gettext keeps them.

Real questions on programming, in as many languages as have translated them; a question is answered in each of its
languages. Every language is read from its own repository, at whatever release of Python it has reached, so that the
answers of two languages can differ by an edit of the English original. The English is that of `ENGLISH`.

Questions, code and headings are told by their form, since the files do not mark them: a question of two sentences
stands with its answer in the one before it, and a line of code that ends like a sentence stays.
"""

import json
import re
from pathlib import Path
from typing import NamedTuple

from hybridlib.data import CorpusError
from hybridlib.data.reading import read_text
from reproduction.sources.ood.records import Records

# Repository and commit of each language: the newest branch that was at hand.
REPOSITORIES = {
    "es": ("python/python-docs-es", "91f4ccc0baa8c7cbeb739e696c641388264caa30"),         # 3.12
    "ja": ("python/python-docs-ja", "7eb90aaa6d3395bcfe01801ceb5e620eedf2356a"),         # 3.11
    "pt_BR": ("python/python-docs-pt-br", "d60168178b78c20c963786dcbfda30678e630626"),   # 3.14
    "ko": ("python/python-docs-ko", "d0c58403de225366b23d0cafd8b86508186c8c8a"),         # 3.13
    "zh_CN": ("python/python-docs-zh-cn", "693cf6be2bc17f3d50ee21fe207c6964f3fab130"),   # 3.13
    "uk": ("python/python-docs-uk", "d7eb701450aab0efb7bbd4ea7096dc93a54fe83e"),         # 3.13
    "tr": ("python/python-docs-tr", "be1c5a492f430197f4f23bd679d5f65dab68866a"),         # 3.12
    "pl": ("python/python-docs-pl", "c306d49f3e13afb753e9ce9989fb805f435c3abd"),         # 3.13
    "fr": ("python/python-docs-fr", "b279d876e2a3381605d38ea62b863f60abadc92c"),         # 3.13
    "el": ("pygreece/python-docs-gr", "aaaa28612a69abd4ccb6db39b1a6825c8bb5480c"),       # 3.12
}
ENGLISH = "pt_BR"       # its originals are the newest
FILES = ("/faq/*.po",)
PARTS = ("design", "extending", "general", "gui", "installed", "library", "programming", "windows")
TRANSLATED = 0.9        # of an answer's original, in characters, at least; the rest of it is left out
SHORTEST = 60           # characters of an English answer: shorter ones send the reader elsewhere
LONGEST_NAME = 60       # characters of a question in its id
# A line without a mark at its end is code or a heading, unless it is so long, in characters or words, or begins with
# markup, as an item of a list does.
LONGEST_HEADING, MOST_WORDS, MARKS = 60, 8, ".:?!)]`"
_MARKUP = (
    (r":[\w:+-]+:`[!~]?([^`]+?)(?:\s*<[^`<>]*>)?`", r"\1"),     # :ref:`text <target>`
    (r"``(.+?)``", r"\1"),
    (r"`([^`<]*?)\s*<[^`>]*>`_{0,2}", r"\1"),                   # `text <address>`_
    (r"(?<![\w*])(\*\*?)([\w\\][^*]*|[^*\s][^*]*[^*\s])\1", r"\2"),
    (r"\\(?:\s|(?=[^\x00-\x7f]))", ""),                         # parts markup from what it touches
    (r"::", ":"),
)


class Message(NamedTuple):
    """A text of the English documentation, and what it became: empty where it is not translated, or not surely."""

    original: str
    translation: str


def plain(text: str) -> str:
    """ReStructuredText without roles, emphasis and the targets of links, white space made one space.

    >>> plain("See :ref:`the guide <start>`, ``x*y`` and *not*  `that <https://a.b>`_::")
    'See the guide, x*y and not that:'
    """
    for pattern, kept in _MARKUP:
        text = re.sub(pattern, kept, text)
    return " ".join(text.split())


def messages(path: Path) -> list[Message]:
    """The messages of a ``.po`` file, by their line in the documentation as far as the file names it.

    Raises
    ------
    FileNotFoundError, CorpusError
        If it is missing or is no such file.
    """
    found: list[tuple[int, bool, dict[str, str]]] = []
    place, fuzzy, key = 0, False, ""
    for number, line, problem in read_text(path):
        text = (line or "").strip()
        if text.startswith("#~"):       # is in the documentation no more
            place, fuzzy = 0, False
        elif text.startswith("#"):
            if text.startswith("#:") and not place and (named := re.search(r":(\d+)", text[2:])):
                place = int(named[1])
            fuzzy = fuzzy or (text.startswith("#,") and "fuzzy" in text)
        else:
            parts = re.fullmatch(r'(?:(msgid|msgstr) )?(".*")', text)
            try:
                keyword, value = parts[1], json.loads(parts[2])
                if keyword == "msgid":
                    found.append((place, fuzzy, {"msgid": "", "msgstr": ""}))
                    place, fuzzy = 0, False
                key = keyword or key
                found[-1][2][key] += value
            except (TypeError, ValueError, IndexError) as error:
                problem = problem or "expected msgid, msgstr or more of it, in quotes; not gettext's layout"
                raise CorpusError([f"{path}:{number}: {problem}"]) from error
    return [Message(texts["msgid"], "" if unsure else texts["msgstr"])
            for _, unsure, texts in sorted(found, key=lambda entry: entry[0]) if texts["msgid"]]


def is_question(text: str) -> bool:
    """Whether a text is one sentence that ends in a question mark; answers hold such, after others.

    >>> [is_question(text) for text in ("What is self?", "Yes. But why?", "It depends.")]
    [True, False, False]
    """
    return text.endswith("?") and not re.search(r"[.?!]\s+[A-Z]", text)


def is_prose(text: str) -> bool:
    """Whether a text is neither code nor a heading, as far as its form shows it (`LONGEST_HEADING` and what follows).

    >>> [is_prose(text) for text in ("Core language", "x = 1", "This is why:", "``a`` imports ``b``")]
    [False, False, True, True]
    """
    return "\n" not in text and (text[0] == "`" or text[-1] in MARKS or len(text) >= LONGEST_HEADING
                                 or len(text.split()) > MOST_WORDS)


def _answers(path: Path) -> dict[str, tuple[Message, list[Message]]]:
    """The questions of a file, each with the prose up to the next, by their original."""
    found: dict[str, tuple[Message, list[Message]]] = {}
    answer: list[Message] = []      # what stands before the first question
    for message in messages(path):
        if is_question(message.original):
            answer = []
            found[message.original] = message, answer
        elif is_prose(message.original):
            answer.append(message)
    if not found:
        raise CorpusError([f"{path}: no question; the layout is not the pinned one"])
    return found


def _translated(question: Message, answer: list[Message]) -> tuple[str, str] | None:
    """A question and its answer as translated, if enough of them is (`TRANSLATED`)."""
    done = [message for message in answer if message.translation]
    share, whole = (sum(len(message.original) for message in part) for part in (done, answer))
    if not (question.translation and done and share >= TRANSLATED * whole):
        return None
    return plain(question.translation), " ".join(plain(message.translation) for message in done)


def build(folder: Path) -> Records:
    """The test set, from the folder that holds checkouts of `REPOSITORIES`.

    Left out are questions that no language has, by the same English words, and those with a short answer. Two questions
    that have the same name are one, the later (one on C and one on C++).

    Raises
    ------
    FileNotFoundError, CorpusError
        If a file is missing or not laid out as it is published.
    """
    found: dict[str, dict[str, tuple[str, str]]] = {}
    for part in PARTS:
        answers = {language: _answers(folder / repository.rsplit("/", 1)[-1] / "faq" / f"{part}.po")
                   for language, (repository, _) in REPOSITORIES.items()}
        for original, (_, answer) in answers[ENGLISH].items():
            texts = {"en": (plain(original), " ".join(plain(message.original) for message in answer))}
            for language, own in answers.items():
                if original in own and (translated := _translated(*own[original])):
                    texts[language] = translated
            if len(texts) > 1 and len(texts["en"][1]) >= SHORTEST:
                name = re.sub(r"[^a-z0-9_]+", "-", texts["en"][0].lower()).strip("-")[:LONGEST_NAME].strip("-")
                found[f"pyfaq-{part}-{name}"] = texts
    made = Records.empty()
    for name, texts in found.items():
        for language, (question, answer) in texts.items():
            made.ask(f"{name}:q:{language}", language, question, name, name)
            made.hold(f"{name}:{language}", language, answer, name)
            made.relevant.extend((f"{name}:q:{language}", f"{name}:{other}") for other in texts)
    return made
