"""Reading files that people bring: every problem as ``file:line: reason``, all of them at once."""

import codecs
import gzip
import json
import math
import re
import unicodedata
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pooch

from hybridlib.files import sha256
from hybridlib.languages import is_language

DEEPEST = 50  # objects and lists inside each other
_BRACKETS = re.compile(r'[][{}]|"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)  # and texts whole: brackets in them are text
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_SURROGATE = re.compile("[\ud800-\udfff]")
# Characters that show nothing and are neither white space nor of the categories Cc and Cf.
_FILLERS = {*"\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u3164\uffa0", *map(chr, range(0xfe00, 0xfe10))}
_JSON_NAMES = {dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a number",
               float: "a number", type(None): "null"}


class CorpusError(ValueError):
    """A data file that cannot be used; the message lists each problem as ``file:line: reason``."""

    def __init__(self, problems: Iterable[str]):
        self.problems = list(problems)
        shown = "\n".join(self.problems[:20])
        more = f"\n… and {len(self.problems) - 20} more" if len(self.problems) > 20 else ""
        super().__init__(f"{len(self.problems)} problem(s) in the data\n{shown}{more}")


def fetch_all(store: pooch.Pooch, advice: str) -> None:
    """Download the files of a store that are not there yet, each checked.

    Raises
    ------
    ConnectionError
        If one cannot be had, or has another checksum; it names the address, and ends with the advice.
    """
    for file in store.registry:
        try:
            store.fetch(file, progressbar=True)
        except (OSError, ValueError) as error:
            raise ConnectionError(f"{store.get_url(file)} could not be had: {error}. {advice}") from error


def verify_checksum(path: str | Path, expected: str) -> None:
    """Raise `CorpusError` unless the file's sha256 is the expected one; FileNotFoundError if it is missing."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; is the folder that holds it the one that was given?")
    found = sha256(path)
    if found != expected:
        raise CorpusError([f"{path}: sha256 is {found}, expected {expected}; the file differs from the pinned "
                           "one: fetch it again, or change the checksum that stands beside its name on purpose"])


def named(value: Any) -> str:
    """What a value of a JSON file is, in words.

    >>> [named(value) for value in (None, 7, [1], True)]
    ['null', 'a number', 'a list', 'true or false']
    """
    return _JSON_NAMES.get(type(value), f"a {type(value).__name__}")


def field(record: Any, name: str, kind: type, where: str) -> Any:
    """A field of a record of a released JSON file; `CorpusError`, with the place, unless it is of that kind."""
    found = record.get(name) if isinstance(record, dict) else None
    if not isinstance(found, kind):
        raise CorpusError([f"{where}: field {name!r} is {named(found)}, expected {named(kind())}; the layout is not "
                           "the released one"])
    return found


def read_text(path: str | Path) -> Iterator[tuple[int, str | None, str | None]]:
    """Yield (line number, line, problem) for each line of a file in UTF-8; one of the last two is None.

    The file is decompressed if its name ends in ``.gz``. A byte order mark at its start is no part of it, and lines of
    white space only are passed over, so that one at the end of a file says nothing.

    Raises
    ------
    FileNotFoundError, CorpusError
        If there is no such file, it is a folder, or it cannot be decompressed.
    """
    path, number = Path(path), 0
    if "\0" in str(path):
        raise FileNotFoundError(f"{str(path)!r}: no such file, a name holds no null character")
    if not path.is_file():
        if path.exists():
            raise CorpusError([f"{path}: not a file"])
        raise FileNotFoundError(f"{path}: no such file")
    with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
        try:
            for number, line in enumerate(file, 1):
                if number == 1:
                    if line.startswith(b"\x1f\x8b"):
                        yield number, None, "compressed, and its name does not end in .gz"
                        return
                    line = line.removeprefix(codecs.BOM_UTF8)
                try:
                    text = line.decode("utf-8")
                except UnicodeDecodeError as error:
                    # What follows is as likely not UTF-8 either.
                    yield number, None, f"not UTF-8 ({error.reason} at byte {error.start + 1})"
                    return
                if text and not text.isspace():
                    yield number, text, None
        except (EOFError, gzip.BadGzipFile) as error:
            yield number + 1, None, f"the compressed file is broken ({error})"
        except zlib.error as error:
            # Met before the lines of the same block were seen, so that nothing is known of the line.
            raise CorpusError([f"{path}: the compressed file is broken ({error})"]) from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"key {next(key for key in keys if keys.count(key) > 1)!r} stands twice in one object")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


def _finite(digits: str) -> float:
    if math.isinf(value := float(digits)):
        raise ValueError(f"{digits[:20]} is too large a number")
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)


def _depth(text: str) -> int:
    """How deeply a text in JSON is nested."""
    depth = deepest = 0
    for found in _BRACKETS.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(found[0], 0)
        deepest = max(deepest, depth)
    return deepest


def _surrogates(value: Any, field: str) -> Iterator[str]:
    """Every place inside a JSON value where a text holds a lone surrogate: half a character, which UTF-8 has not."""
    if isinstance(value, str):
        if found := _SURROGATE.search(value):
            yield f"field {field!r} holds a lone surrogate, U+{ord(found[0]):04X}"
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _surrogates(inner, f"{field}[{number}]")
    elif isinstance(value, dict):
        for key, inner in value.items():
            if _SURROGATE.search(key):
                yield f"key {key!r} holds a lone surrogate"
            yield from _surrogates(inner, f"{field}.{key}" if field else key)


def parse_json(text: str) -> tuple[Any, str | None]:
    """(value, problem) of a text in JSON, taken strictly; the value is None where there is a problem.

    Refused beside what is no JSON: NaN and infinite numbers, a key twice in one object, lone surrogates.
    """
    # Counted first: what is nested so deeply has as many brackets.
    if text.count("[") + text.count("{") > DEEPEST and _depth(text) > DEEPEST:
        return None, f"nested more than {DEEPEST} deep"
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        at = f"column {error.colno}" if error.lineno == 1 else f"line {error.lineno}, column {error.colno}"
        return None, f"not JSON ({error.msg} at {at})"
    except ValueError as error:
        return None, f"not JSON ({error})"
    if _ESCAPED_SURROGATE.search(text) and (problem := next(_surrogates(value, ""), None)):
        return None, problem
    return value, None


def read_lines(path: str | Path) -> Iterator[tuple[int, dict[str, Any] | None, str | None]]:
    """Yield (line number, record, problem) for each line of a JSON Lines file; one of the last two is None.

    Lines are those of `read_text`, each taken as strictly as `parse_json` does.
    """
    for number, line, problem in read_text(path):
        record, problem = (None, problem) if line is None else parse_json(line)
        if problem is None and not isinstance(record, dict):
            record, problem = None, f"{named(record)}, expected an object"
        yield number, record, problem


def read_json(path: str | Path) -> Any:
    """What a JSON file holds, taken as strictly as `parse_json` does.

    Raises
    ------
    FileNotFoundError, CorpusError
    """
    lines = []
    for number, line, problem in read_text(path):
        if line is None:
            raise CorpusError([f"{path}:{number}: {problem}"])
        # Empty lines are passed over: so many stood before this one.
        lines += ["\n"] * (number - 1 - len(lines)) + [line]
    value, problem = parse_json("".join(lines))
    if problem is not None:
        raise CorpusError([f"{path}: {problem}"])
    return value


def is_empty(text: str) -> bool:
    r"""Whether a text shows nothing: no characters but white space, control and format characters and fillers.

    >>> [is_empty(text) for text in ("", " \u3000", "\u200b\ufeff", "\u00ad", "a\u200b", "؟")]
    [True, True, True, True, False, False]
    """
    return all(c.isspace() or c in _FILLERS or unicodedata.category(c) in ("Cc", "Cf") for c in text)


def text_problem(text: Any) -> str | None:
    """What is wrong with a text: that it is none, is empty or has a lone surrogate; None if nothing is.

    NUL and other control characters are kept: tokenizers leave them out.
    """
    if not isinstance(text, str):
        return f"{named(text)}, expected text"
    if is_empty(text):
        return "the text is empty"
    return next((f"the text holds a lone surrogate, U+{ord(found[0]):04X}" for found in _SURROGATE.finditer(text)),
                None)


def text_problems(field: str, texts: Any, languages: Iterable[str] | None) -> list[str]:
    """Problems of a ``{language: text}`` object; ``languages`` are those it must hold, or None for any."""
    if not isinstance(texts, dict) or not texts:
        return [f"field {field!r} must be an object of language: text"]
    problems = [f"field {field!r} lacks language {language!r}" for language in languages or ()
                if language not in texts]
    for language, text in texts.items():
        if unknown := language_problems(field, language):
            problems += unknown
        elif problem := text_problem(text):
            problems.append(f"field {field!r}, {language}: {problem}")
    return problems


def language_problems(field: str, language: Any) -> list[str]:
    """The problem of a key that should be a language's code: one or none."""
    return [] if is_language(language) else [
        f"field {field!r}: {language!r} is not a language code such as de, pt-BR or eng_Latn"]
