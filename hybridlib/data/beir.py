"""A folder in BEIR's layout, as records with the places that they are from."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hybridlib.data.reading import named, read_lines, read_text


def one_of(folder: Path, *names: str) -> Path:
    """The first of some files that is there, compressed or not; FileNotFoundError without any."""
    found = [folder / f"{name}{ending}" for name in names for ending in ("", ".gz")
             if (folder / f"{name}{ending}").is_file()]
    if not found:
        raise FileNotFoundError(f"{folder / names[0]}: no such file (nor {', '.join(f'{n}.gz' for n in names)}"
                                f"{''.join(f', {n}' for n in names[1:])}); the folder must be in BEIR's layout")
    return found[0]


def beir_texts(path: str | Path, problems: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The records of a file in BEIR's layout, with a document's title before its text; adds what is wrong."""
    for line, record, problem in read_lines(path):
        if problem or record is None:
            problems.append(f"{path}:{line}: {problem}")
            continue
        where, title = f"{path}:{line}", record.get("title")
        record = record | {"id": record.get("_id")} | (
            {"question": record["group"]} if "group" in record else {})
        if not isinstance(title, str | None):
            problems.append(f"{where}: field 'title' is {named(title)}, expected text")
        elif title is not None and isinstance(record.get("text"), str):
            record["text"] = f"{title} {record['text']}".strip()
        problems.extend(
            f"{where}: field {field!r} is {named(record[field])}, expected text"
            for field, kind in (("_id", str), ("group", str | int), ("cluster", str | int))
            if not isinstance(record.get(field), kind | None) or isinstance(record.get(field), bool))
        yield where, record


def read_qrels(path: str | Path, problems: list[str]) -> Iterator[tuple]:
    """Yield (place, query id, corpus id, grade) of a file of judgements."""
    first = True
    for number, line, problem in read_text(path):
        if line is None:
            problems.append(f"{path}:{number}: {problem}")
            continue
        cells = line.rstrip("\r\n").split("\t")
        if first and cells[-1] == "score":
            first = False
            continue
        first = False
        # A grade of more digits than these is none, and Python reads no number of thousands.
        if len(cells) != 3 or not re.fullmatch("-?[0-9]{1,9}", cells[2]):
            problems.append(f"{path}:{number}: expected query-id, corpus-id and a whole number, parted by tabs")
            continue
        yield f"{path}:{number}", cells[0], cells[1], int(cells[2])
