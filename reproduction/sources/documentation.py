"""Course texts of four of Microsoft's repositories, translated by machine: title and heading → the section itself.

A repository holds each Markdown file once per language, under ``translations/<language>/``. A file that all of
`LANGUAGES` have is cut at its headings (`sections`), and its sections are paired across languages (`align`).
"""

import difflib
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from hybridlib.data import CorpusError
from hybridlib.data.reading import read_text

# The name of each repository of github.com/microsoft, and the commit that is read.
REPOSITORIES = {"IoT-For-Beginners": "8bd535533b39c8b70e2b027f69e18ac842812968",
                "AZD-for-beginners": "ee9762cd155e2f31d503f97f3d6999f6a0f65b80",
                "edgeai-for-beginners": "05d7c7ef90ac647ff3afc3a878281a848d5ca47a",
                "Security-101": "2e6e0f30cd6914594640191a5bdd14c6914ebeab"}
# Folders of a language; English too is one of the translations, a rewording that the others were not made from.
LANGUAGES = {x: (x,) for x in ("ar", "de", "en", "es", "hi", "ru", "th", "tr")} | {"zh": ("zh", "zh-CN")}
SHORTEST, LONGEST = 80, 1200  # characters: of an English section that is kept, and of what is kept of a section
TRANSLATOR = "co-op translator"  # signs each file with a disclaimer, which is not to be learned from
_MARKUP = ((r"!\[[^\]]*\]\([^)]*\)", ""), (r"\[([^\]]*)\]\([^)]*\)", r"\1"), (r"<[^>\n]+>", ""), (r"[*_`]", ""))


class Section(NamedTuple):
    """A section of a file.

    Attributes
    ----------
    query : str
        The outermost heading above it and its own, or its own if there is none above.
    passage : str
        Its text up to the next heading.
    shape : tuple of int
        What a translation keeps of it: level of the heading, number of lines, list items and links.
    """

    query: str
    passage: str
    shape: tuple[int, ...]


def plain(markdown: str) -> str:
    """Markdown without images, tags, emphasis and the targets of links, white space made one space.

    >>> plain("**Read** the [guide](a.md)<br>  now ![logo](b.png)")
    'Read the guide now'
    """
    for pattern, kept in _MARKUP:
        markdown = re.sub(pattern, kept, markdown)
    return " ".join(markdown.split())


def sections(markdown: str) -> list[Section]:
    r"""The sections of a file, without comments and fenced code; what stands before the first heading is left out.

    >>> [section[:2] for section in sections("# Boats\nThey float.\n## Sails\nOf linen.")]
    [('Boats', 'They float.'), ('Boats: Sails', 'Of linen.')]
    """
    found, above, code = [], [], False
    for line in re.sub(r"<!--.*?-->", "", markdown, flags=re.DOTALL).splitlines():
        if re.match(r"[\s>]*(```|~~~)", line):
            code = not code
        elif not code and (heading := re.match(r"(#{1,6})\s+(.*)", line)):
            level, title = len(heading[1]), plain(heading[2])
            above = [*itertools.takewhile(lambda upper, level=level: upper[0] < level, above), (level, title)]
            found.append((level, title if len(above) == 1 else f"{above[0][1]}: {title}", []))
        elif not code and found:
            found[-1][2].append(line)
    return [Section(query, plain("\n".join(lines)), (level, *_shape(lines))) for level, query, lines in found]


def _shape(lines: list[str]) -> tuple[int, int, int]:
    return (sum(bool(line.strip()) for line in lines), sum(bool(re.match(r"\s*[-*+] ", line)) for line in lines),
            sum(len(re.findall(r"(?<!!)\[[^\]]*\]\(", line)) for line in lines))


def align(english: list[Section], other: list[Section]) -> dict[int, int]:
    """Which section of a translation belongs to which of the English file.

    By position if there are as many. Otherwise the translator has lost or invented some, and sections are paired that
    stand in runs of the same shapes (`difflib.SequenceMatcher`); a run of one may be chance.
    """
    if len(english) == len(other):
        return {number: number for number in range(len(english))}
    shapes = [[section.shape for section in side] for side in (english, other)]
    runs = difflib.SequenceMatcher(None, *shapes, autojunk=False).get_matching_blocks()
    return {a + step: b + step for a, b, size in runs if size > 1 for step in range(size)}


def _read(path: Path) -> list[Section]:
    lines = []
    for number, line, problem in read_text(path):
        if line is None:
            raise CorpusError([f"{path}:{number}: {problem}"])
        lines.append(line)
    return sections("".join(lines))


def files_of(repository: Path) -> dict[str, dict[str, Path]]:
    """The files of a checkout that are there in all of `LANGUAGES`: ``{name: {language: path}}``, by name.

    Raises
    ------
    FileNotFoundError, CorpusError
        If the folder of a language is missing, or no file is there in all languages.
    """
    found = {}
    for language, names in LANGUAGES.items():
        folders = [repository / "translations" / name for name in names]
        folder = next(filter(Path.is_dir, folders), None)
        if folder is None:
            raise FileNotFoundError(f"{folders[0]}: no such folder; {repository} must be laid out as "
                                    f"github.com/microsoft/{repository.name} at {REPOSITORIES[repository.name][:7]}")
        for path in folder.rglob("*.md"):
            found.setdefault(path.relative_to(folder).as_posix(), {})[language] = path
    complete = {name: paths for name, paths in sorted(found.items()) if len(paths) == len(LANGUAGES)}
    if not complete:
        raise CorpusError([f"{repository / 'translations'}: no Markdown file is there in all of "
                           f"{', '.join(LANGUAGES)}"])
    return complete


def groups(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the groups of all repositories.

    Left out are sections whose English is shorter than `SHORTEST`, those that name the translator, those that are not
    translated (two languages have the same text), and those asked for as an earlier one was: by the same English query.

    Parameters
    ----------
    folder : path
        Holds a checkout of each of `REPOSITORIES`, under its name.
    """
    seen = set()
    for name in REPOSITORIES:
        for file, paths in files_of(folder / name).items():
            texts = {language: _read(path) for language, path in paths.items()}
            places = {language: align(texts["en"], found) for language, found in texts.items()}
            for number, english in enumerate(texts["en"]):
                if english.query in seen or not all(number in pairs for pairs in places.values()):
                    continue
                group = {language: texts[language][pairs[number]] for language, pairs in places.items()}
                passages = {language: section.passage[:LONGEST] for language, section in group.items()}
                if (len(english.passage) >= SHORTEST and all(passages.values())
                        and len(set(passages.values())) == len(LANGUAGES)
                        and TRANSLATOR not in english.passage.lower()):
                    seen.add(english.query)
                    yield {"id": f"docs:{name}/{file}#{number}",
                           "query": {language: section.query for language, section in group.items()},
                           "passage": passages}
