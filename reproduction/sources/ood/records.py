"""What the builders share: the records of a test set, and reading that names what is not as it is published."""

from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import unescape

from hybridlib.data import CorpusError
from hybridlib.data.reading import read_text


class Records(NamedTuple):
    """A test set in BEIR's layout.

    Attributes
    ----------
    queries : list of dict
        ``_id``, ``language``, ``text``; ``group``, which joins the translations of a question; ``cluster``, which joins
        what is not independent.
    corpus : list of dict
        ``_id``, ``language``, ``text``, ``cluster``.
    relevant : list of (str, str)
        Ids of a query and of a document that answers it.
    """

    queries: list[dict[str, str]]
    corpus: list[dict[str, str]]
    relevant: list[tuple[str, str]]

    @classmethod
    def empty(cls) -> "Records":
        """Three empty lists, to be filled."""
        return cls([], [], [])

    def ask(self, name: str, language: str, text: str, group: str, cluster: str) -> None:
        """Add a query."""
        self.queries.append({"_id": name, "language": language, "text": text, "group": group, "cluster": cluster})

    def hold(self, name: str, language: str, text: str, cluster: str) -> None:
        """Add a document."""
        self.corpus.append({"_id": name, "language": language, "text": text, "cluster": cluster})


def sentences(path: Path, count: int | None = None) -> list[str]:
    """The lines of a file, outer white space stripped; none may be empty, since lines of one number are parallel.

    Raises
    ------
    FileNotFoundError, CorpusError
        If it is missing, has an empty line, or not ``count`` lines.
    """
    found: list[str] = []
    for number, line, problem in read_text(path):
        if line is None or number != len(found) + 1:
            raise CorpusError([f"{path}:{len(found) + 1}: {problem or 'empty, expected a sentence'}"])
        found.append(line.strip())
    if count is not None and len(found) != count:
        raise CorpusError([f"{path}: {len(found)} lines, expected {count}; the files must be parallel"])
    return found


def plain(sentence: str) -> str:
    """A sentence without what spreadsheets and web pages have left in it.

    >>> plain('"He said ""more than"" &gt; 90%. "')
    'He said "more than" > 90%.'
    """
    text = unescape(sentence, {"&quot;": '"'})
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1].replace('""', '"')
    return text.strip()
