"""Reading files that people bring: every problem as ``file:line: reason``, all of them at once."""

import gzip
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from hybridlib.files import sha256
from hybridlib.languages import is_language


class CorpusError(ValueError):
    """A data file that cannot be used; the message lists each problem as ``file:line: reason``."""

    def __init__(self, problems: Iterable[str]):
        self.problems = list(problems)
        shown = "\n".join(self.problems[:20])
        more = f"\n… and {len(self.problems) - 20} more" if len(self.problems) > 20 else ""
        super().__init__(f"{len(self.problems)} problem(s) in the data\n{shown}{more}")


def verify_checksum(path: str | Path, expected: str) -> None:
    """Raise `CorpusError` unless the file's sha256 is the expected one; FileNotFoundError if it is missing."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; give the folder that holds it with DATA=…")
    found = sha256(path)
    if found != expected:
        raise CorpusError([f"{path}: sha256 is {found}, expected {expected}; the file differs from the pinned "
                           "one: fetch it again, or change the checksum in the preset on purpose"])


def open_text(path: str | Path) -> TextIO:
    """Open a text file in UTF-8, compressed if its name ends in ``.gz``."""
    path = Path(path)
    return gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else open(path, encoding="utf-8")


def read_lines(path: str | Path) -> Iterator[tuple[int, dict[str, Any] | None, str | None]]:
    """Yield (line number, record, problem) for each line of a JSON Lines file; one of the last two is None."""
    with open_text(path) as file:
        number = 0
        try:
            for number, line in enumerate(file, 1):
                try:
                    record = json.loads(line)
                except json.JSONDecodeError as error:
                    yield number, None, f"not JSON ({error.msg} at column {error.colno})"
                    continue
                if isinstance(record, dict):
                    yield number, record, None
                else:
                    yield number, None, f"a {type(record).__name__}, expected an object"
        except UnicodeDecodeError as error:
            yield number + 1, None, f"not UTF-8 ({error.reason})"
        except (EOFError, gzip.BadGzipFile) as error:
            yield number + 1, None, f"the compressed file is broken ({error})"


def text_problems(field: str, texts: Any, languages: Iterable[str] | None) -> list[str]:
    """Problems of a ``{language: text}`` object; ``languages`` are those it must hold, or None for any."""
    if not isinstance(texts, dict) or not texts:
        return [f"field {field!r} must be an object of language: text"]
    problems = [f"field {field!r} lacks language {language!r}" for language in languages or ()
                if language not in texts]
    for language, text in texts.items():
        if not is_language(language):
            problems.append(f"field {field!r}: {language!r} is not a language code such as de, pt-BR or eng_Latn")
        if not isinstance(text, str):
            problems.append(f"field {field!r}, {language}: a {type(text).__name__}, expected text")
        elif not text.strip():
            problems.append(f"field {field!r}, {language}: the text is empty")
    return problems
