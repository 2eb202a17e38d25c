"""Markdown as a text with numbers in it: which of them state something, and where words and tables stand."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

# Code, the targets of links, and addresses.
_HIDDEN = re.compile(r"^```.*?^```|^(?: {4}|\t)[^\n]*|`(?:[^`\n]|\n(?!\s*\n))*`|\]\([^)]*\)|https?://\S+", re.M | re.S)
_NUMBER = re.compile(r"(?<![\w@^.,/-])[+−]?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)(?:e[+-]?\d+)?(?!\.?\w)")
_UNIT = re.compile(r"(?:\s+(?:to|and|or)\s+[\d.,]+)?\s+(?:%|s|ms|times|(?:second|minute|hour|seed)s?|[KMG]i?B)(?!\w)")
_END_OF_CELL = re.compile(r"[ *]*\|")


@dataclass(frozen=True)
class Span:
    """A piece of a document."""

    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Document:
    """A Markdown text.

    Attributes
    ----------
    name : str
        The file, for messages.
    text : str
    names : sequence of str
        Words with digits that state nothing.
    """

    name: str
    text: str
    names: Sequence[str] = ()

    @cached_property
    def numbers(self) -> list[Span]:
        """The numbers that state something.

        Those with a point, a sign, a comma, an exponent, a unit behind them, or three digits and more; no years; and
        those alone in a cell of a table. What stands in code, in addresses, or within a word is none.

        >>> text = "In 2026 3 runs: −.8 of 1,190, 59 to 70 %, nDCG@10, `make 500`, 2 GB on Python 3.11."
        >>> [number.text for number in Document("", text, ["Python 3.11"]).numbers]
        ['−.8', '1,190', '59', '70', '2']
        """
        hidden = _HIDDEN.sub(_blank, self.text)
        for name in self.names:
            hidden = _words(name).sub(_blank, hidden)
        return [Span(match[0], *match.span()) for match in _NUMBER.finditer(hidden)
                if re.search(r"[.,+−e]", match[0]) or _UNIT.match(hidden, match.end())
                or (hidden[:match.start()].rstrip(" *").endswith("|") and _END_OF_CELL.match(hidden, match.end()))
                or (len(match[0]) > 2 and not re.fullmatch("(?:19|20)..", match[0]))]

    def line(self, start: int) -> int:
        """The number of the line of a position."""
        return self.text.count("\n", 0, start) + 1

    def find(self, words: str) -> Span:
        """Words, whatever white space is between them.

        Raises
        ------
        ValueError
            If they do not stand there exactly once.
        """
        found = list(_words(words).finditer(self.text))
        if len(found) != 1:
            raise ValueError(f"“{words}” stands {len(found)} times in {self.name}, not once")
        return Span(found[0][0], *found[0].span())

    def table(self, below: str) -> list[list[Span]]:
        """The first table below some words: per line its cells, without stars; the line under the head is left out."""
        lines, start = [], self.find(below).end
        for match in re.finditer(r"^.*$", self.text[start:], re.M):
            if match[0].startswith("|"):
                bars = [start + match.start() + place for place, sign in enumerate(match[0]) if sign == "|"]
                lines.append([Span(self.text[a + 1:b].replace("*", "").strip(), a + 1, b)
                              for a, b in pairwise(bars)])
            elif lines:
                break
        return [line for line in lines if not all(re.fullmatch("-+", cell.text) for cell in line)]


def _words(words: str) -> re.Pattern[str]:
    return re.compile(r"\s+".join(map(re.escape, words.split())))


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match[0])
