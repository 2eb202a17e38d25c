"""The ledger: where each number that README and docs print is from, and whether it still says so.

``results/ledger.yaml`` has three parts:

``commands``
    By name, what makes tables and measurements; see `Command`.
``names``
    Texts with digits that state no finding: versions, numbers of papers and issues.
``rows``
    By name, what numbers stand where; see `Row`.

To add a row, run ``make verify``: it names each number in each line that has none. Quote a few words with the number
(``quote``), or name words above a table (``below``), and what of it is meant (``lines``, ``columns``). If a committed
table holds the number, say which lines of it (``source``, ``where``), and which column or what arithmetic of columns
(``values``); else say which command measured it (``command``), and when (``note``). ::

    how-much:
      stands: README.md
      quote: "X-Y has 0.64 of X-X's rank distance"
      source: results/xquad/sweep_baselines.csv
      where: {benchmark: xquad-r, languages: all}
      let: {xx: {system: X-X}, xy: {system: X-Y}}
      values: [xy.rank_distance / xx.rank_distance]

Then run ``make verify`` again, and commit ``docs/ledger.md``, which it writes, together with the row.
"""

import json
import math
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatch
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd

from hybridlib.evaluation import differences, estimates
from hybridlib.evaluation.intervals import holm
from reproduction.findings.claims import read_claims, verdict_of
from reproduction.findings.markdown import Document, Span
from reproduction.run.evidence import read_cells
from reproduction.run.settings import read_yaml
from reproduction.workspace import Workspace

# Written from the ledger, and the diary of those who ran it, whose lines are records of their own.
NO_PROSE = ("docs/ledger.md", "docs/reproduction-log.md")
AS_PRINTED = "as printed"


@dataclass(frozen=True)
class Command:
    """What makes tables or measurements.

    Attributes
    ----------
    run : str
        For a shell in the repository; ``{data}`` is the folder of the data.
    machine : str
        What it ran on, when the committed numbers were made: processor, precision.
    makes : list of str
        The committed files that it makes, ``*`` for anything.
    tolerance : float
        How far a number may be off where the command runs anew, absolute below 1 and relative above.
    """

    run: str
    machine: str
    makes: tuple[str, ...] = ()
    tolerance: float = 0.0


@dataclass(frozen=True)
class Row:
    """Numbers that stand in one place, and what they are held against.

    Attributes
    ----------
    stands : str
        The document.
    quote : str
        Words that stand there exactly once, with the numbers.
    below : str
        Instead: words that stand there once, above a table. Of this are meant the ``lines``, by their first cell, and
        the ``columns``, by their head. What either is mapped to is added to ``where``, ``values`` too.
    source : str
        A file of ``results/``, ``data/``, ``configs/`` or ``timings/``: CSV; or YAML or JSON, a table of one line whose
        columns are paths of keys. Or a folder of evidence (see `reproduction.run.evidence`): ``value``, ``low`` and
        ``high`` of the ``benchmark``, ``system`` and ``measure`` of ``where``, from all its runs with 95 % intervals;
        with a ``reference``, ``difference`` in place of the value.
    where : dict
        Lines of the source: column to value, or list of values. Of several seeds or draws the mean is taken; of any
        lines what ``take`` names (max, min, std, sum). A ``source`` here is put in place of the row's.
    let : dict of name to where
        Several choices of lines, for arithmetic. Without it there is one, ``d``.
    values : list of str
        An expression for each number, of ``<name>.<column>`` with ``_`` for what is no letter or digit; in a quotation
        null for one that no table holds. With a column of text the quotation, or cell, must begin.
    command : str
        What measured that which no table holds.
    note : str
        When, and anything else one must know.
    """

    stands: str
    quote: str = ""
    below: str = ""
    lines: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    columns: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    source: str = ""
    where: dict[str, Any] = field(default_factory=dict)
    let: dict[str, dict[str, Any]] = field(default_factory=dict)
    values: tuple[str | None, ...] = ()
    command: str = ""
    note: str = ""

    @property
    def sources(self) -> list[str]:
        """All files that values are computed from."""
        choices = [{"source": self.source}, self.where, *self.let.values(), *self.lines.values(),
                   *self.columns.values()]
        return list(dict.fromkeys(choice["source"] for choice in choices if choice and choice.get("source")))

    @property
    def kind(self) -> str:
        """Setting, published (by the paper), computed (from a table), or measured (and as it was printed)."""
        first = "".join(self.sources[:1])
        return ("measured" if not first else "setting" if first.startswith("configs/") else
                "published" if first.startswith("data/paper/") else "computed")


@dataclass(frozen=True)
class Found:
    """What came of one number: "OK", "close", "FAIL", or `AS_PRINTED` where no table holds it."""

    status: str
    line: int
    printed: str
    value: str = ""


def judge(printed: str, value: float, tolerance: float = 0.0) -> tuple[str, str]:
    """Whether a value, written as another one is printed, is the same: a status (see `Found`), and how it is written.

    OK too is what is off by no more than the tolerance, close by twice as much, or by one in the last digit.

    >>> judge(".114", 0.11375), judge("+.114", 0.1157), judge("1,206", 1205.0)
    (('OK', '.114'), ('FAIL', '+.116'), ('close', '1,205'))
    >>> judge("−.1", -0.24, tolerance=0.1)
    ('close', '−.2')
    """
    number, digits = float(printed.replace(",", "").replace("−", "-")), len(printed.partition(".")[2])
    if "e" in printed:  # orders of magnitude: 1e-16
        shown = re.sub(r"e-0*", "e-", f"{value:.0e}")
        return "OK" if shown == printed else "FAIL", shown
    shown = f"{value:{'+' * printed.startswith('+')}{',' * (',' in printed)}.{digits}f}".replace("-", "−")
    if printed.lstrip("+−").startswith("."):
        shown = re.sub(r"^([+−]?)0\.", r"\1.", shown)
    off, allowed, last = abs(number - value), tolerance * max(1.0, abs(number)), 10.0 ** -digits
    tie = math.isclose(off, last / 2, rel_tol=1e-6)  # is rounded up here and to even there
    return ("OK" if shown == printed or tie or off <= allowed else
            "close" if off <= max(2 * allowed, last) else "FAIL"), shown


class Ledger:
    """The rows of ``results/ledger.yaml``, held against README, docs and committed files.

    Parameters
    ----------
    workspace : Workspace
    fresh : bool
        Take tables that were measured here, under ``runs/``, in place of the committed ones.

    Attributes
    ----------
    documents : dict of str to Document
        README and the prose of docs, by their path in the repository.
    commands : dict of str to Command
    rows : dict of str to Row

    Raises
    ------
    ValueError
        If the file is malformed.
    """

    def __init__(self, workspace: Workspace, fresh: bool = False) -> None:
        self.workspace, self.root, self.fresh = workspace, workspace.root, fresh
        self._tables: dict[str, pd.DataFrame] = {}
        self._known: dict[str, SimpleNamespace] = {}
        file = self.root / "results" / "ledger.yaml"
        found = read_yaml(file)
        self.names: list[str] = found.get("names", [])
        self.commands = {name: _made(Command, fields, f"{file}: command {name}")
                         for name, fields in found["commands"].items()}
        self.rows = {name: _made(Row, fields, f"{file}: row {name}") for name, fields in found["rows"].items()}
        docs = sorted(path.relative_to(self.root).as_posix() for path in (self.root / "docs").glob("*.md"))
        self.documents = {name: Document(name, (self.root / name).read_text("utf-8"), self.names)
                          for name in ("README.md", *docs) if name not in NO_PROSE}
        for name, row in self.rows.items():
            if row.stands not in self.documents:
                raise ValueError(f"{file}: row {name}: stands in none of {', '.join(self.documents)}")
            if bool(row.quote) == bool(row.below):
                raise ValueError(f"{file}: row {name}: give either quote or below")
            if row.command not in self.commands and (row.command or not row.sources):
                raise ValueError(f"{file}: row {name}: give a source, or one of the commands: "
                                 f"{', '.join(self.commands)}")

    def makers(self, source: str) -> list[str]:
        """The names of the commands that make a file."""
        return [name for name, command in self.commands.items() if any(fnmatch(source, x) for x in command.makes)]

    def commands_of(self, row: Row) -> list[str]:
        """The names of the commands that make a row's numbers."""
        made = [name for source in row.sources for name in self.makers(source)]
        return list(dict.fromkeys([*made, *([row.command] if row.command else [])]))

    def check(self, name: str) -> list[Found]:
        """Each number of a row, and each word that is computed.

        Raises
        ------
        ValueError
            If the row's words do not stand there once, its source has no such line, or there are more or fewer numbers.
        """
        row, found = self.rows[name], []
        document = self.documents[row.stands]
        tolerance = max((self.commands[made].tolerance for made in self.commands_of(row)), default=0.0) * self.fresh
        try:
            for place, choices, expressions in self._places(row):
                line = document.line(place.start)
                claimed = _within(document, place)
                values = [self._evaluate(expression, choices) for expression in expressions]
                found += [Found("OK" if place.text.startswith(value) else "FAIL", line, place.text, value)
                          for value in values if isinstance(value, str)]
                values = [value for value in values if not isinstance(value, str)]
                if expressions and len(values) != len(claimed):
                    raise ValueError(f"{row.stands}:{line} has {len(claimed)} numbers "
                                     f"({', '.join(number.text for number in claimed)}), the row {len(values)} values")
                for number, value in zip(claimed, values or [None] * len(claimed), strict=True):
                    status, shown = (AS_PRINTED, "") if value is None else judge(number.text, value, tolerance)
                    found.append(Found(status, document.line(number.start), number.text, shown))
            if not found:
                raise ValueError("no number stands there")
        except (ValueError, OSError) as error:
            raise ValueError(f"row {name}: {error}") from None
        return found

    def claimed(self, name: str) -> list[Span]:
        """The numbers in the document of a row that it is about; none if its words do not stand there."""
        row = self.rows[name]
        with suppress(ValueError):  # `check` says why
            return [number for place, _, _ in self._places(row)
                    for number in _within(self.documents[row.stands], place)]
        return []

    def without_row(self) -> list[str]:
        """The numbers that no row is about: ``file:line: number: the line``."""
        missing = []
        for name, document in self.documents.items():
            claimed = {number.start for row in self.rows if self.rows[row].stands == name
                       for number in self.claimed(row)}
            lines = document.text.splitlines()
            missing += [f"{name}:{line}: {number.text}: {lines[line - 1].strip()}" for number in document.numbers
                        if number.start not in claimed and (line := document.line(number.start))]
        return missing

    def _places(self, row: Row) -> Iterator[tuple[Span, dict[str, dict[str, Any]], list[str | None]]]:
        """What a row claims: a piece of its document, choices of lines of sources by name, and expressions."""
        document, common = self.documents[row.stands], {"source": row.source} | row.where
        if row.quote:
            choices = {key: common | where for key, where in row.let.items()} or {"d": common}
            yield document.find(row.quote), choices, list(row.values)
            return
        head, *body = document.table(row.below)
        lines, columns = {line[0].text: line for line in body}, {cell.text: place for place, cell in enumerate(head)}
        for kind, wanted, there in (("line", row.lines, lines), ("column", row.columns, columns)):
            if lacking := [label for label in wanted if label not in there]:
                raise ValueError(f"the table below “{row.below}” has no {kind} “{lacking[0]}”; it has: "
                                 f"{', '.join(there)}")
        for cell in (*(head[columns[title]] for title in row.columns), *(lines[label][0] for label in row.lines)):
            yield cell, {}, []
        for label, title in product(row.lines, row.columns):
            cell = lines[label][columns[title]]
            where = {"values": row.values} | common | (row.lines[label] or {}) | (row.columns[title] or {})
            values = list(where.pop("values"))
            if cell.text and (not values or None in values):
                raise ValueError(f"“{label}”, “{title}”: quote the lines whose numbers no table holds")
            if cell.text:
                yield cell, {"d": where}, values

    def _evaluate(self, expression: str | None, choices: dict[str, dict[str, Any]]) -> float | str | None:
        if expression is None:
            return None
        names = {}
        for name, where in choices.items():
            if re.search(rf"\b{name}\.", expression):
                key = json.dumps(where, sort_keys=True)
                if key not in self._known:  # an interval takes a while
                    self._known[key] = SimpleNamespace(**self._chosen(where))
                names[name] = self._known[key]
        try:
            return pd.eval(expression, engine="python", local_dict=names)
        except (AttributeError, NameError, SyntaxError) as error:
            raise ValueError(f"{expression!r}: {error}") from None

    def _chosen(self, where: dict[str, Any]) -> dict[str, float | str]:
        """The columns of the lines of a source, each as one value."""
        source, filters = where["source"], {key: where[key] for key in where if key not in ("source", "take")}
        if (self.root / source).is_dir():
            return self._estimated(source, filters)
        table = _filtered(self._table(source), filters, source)
        texts = table.select_dtypes(exclude="number")
        if "take" not in where and (several := [column for column in texts if len(texts[column].unique()) > 1]):
            raise ValueError(f"{source} has several values of {several[0]!r} with {filters}: "
                             f"{', '.join(map(str, texts[several[0]].unique()))}")
        taken = table.select_dtypes("number").agg(where.get("take", "mean"))
        return {re.sub(r"\W+", "_", column): value for column, value in (*texts.iloc[0].items(), *taken.items())}

    def _estimated(self, source: str, filters: dict[str, Any]) -> dict[str, float]:
        """An estimate, or a difference, from the evidence of runs."""
        cells, (system, reference, measure) = self._table(source), map(filters.get, ("system", "reference", "measure"))
        if measure not in cells or "benchmark" not in filters:
            raise ValueError(f"{source}: name benchmark, system and a measure, not {filters}")
        for one in (system, reference) if reference else (system,):
            _filtered(cells, {"benchmark": filters["benchmark"], "system": one}, source)
        kept = {key: value for key, value in filters.items() if key not in ("system", "reference", "measure")}
        cells = _filtered(cells, kept | {"system": [system, reference]}, source)
        return (differences(cells, system, reference, [measure]).loc[measure] if reference else
                estimates(cells, measure).loc[system]).to_dict()

    def _table(self, source: str) -> pd.DataFrame:
        if source not in self._tables:
            path, (room, preset, *names) = self.root / source, Path(source).parts
            if self.fresh and room == "results" and path.is_dir():
                path = self.workspace.runs.joinpath(preset, "evidence", *names)
            elif self.fresh and room == "results" and len(names) == 1:  # others are made where they lie
                path = self.workspace.drawn(preset) / "results" / names[0]
            if path.is_dir():
                table = read_cells(path)
            elif path.suffix == ".csv":
                table = pd.read_csv(path)
            else:
                table = pd.DataFrame([_flat(json.loads(path.read_text("utf-8")) if path.suffix == ".json"
                                            else read_yaml(path))])
            if path.name == "claims_parts.csv":
                table["verdict"] = self._verdicts(table)
            self._tables[source] = table
        return self._tables[source]

    def _verdicts(self, parts: pd.DataFrame) -> pd.Series:
        """The verdict on each part's claim, anew from the p-values, as `claims.judge_claims` gives it."""
        judged = pd.DataFrame({f"p_{side}": holm(parts[f"p_{side}"]) for side in ("for", "against")})
        level = read_claims(self.workspace.configs / "evidence" / "claims.yaml")[1]["level"]
        return parts["claim"].map({
            number: "not measured" if own["difference"].isna().any() else
            verdict_of(judged.loc[own.index].to_dict("records"), level) for number, own in parts.groupby("claim")})


def _filtered(table: pd.DataFrame, filters: dict[str, Any], source: str) -> pd.DataFrame:
    """The lines of a table that have one of the wanted values in each column."""
    for column, value in filters.items():
        if column not in table:
            raise ValueError(f"{source} has no column {column!r}; it has: {', '.join(table)}")
        wanted = [str(one) for one in (value if isinstance(value, list) else [value])]
        table = table[table[column].astype(str).isin(wanted)]
    if table.empty:
        raise ValueError(f"{source} has no line with {filters}")
    return table


def _within(document: Document, place: Span) -> list[Span]:
    return [number for number in document.numbers if place.start <= number.start < place.end]


def _made(kind: type, fields: dict[str, Any], place: str) -> Any:
    try:
        return kind(**fields)
    except TypeError as error:
        raise ValueError(f"{place}: {str(error).replace(f'{kind.__name__}.__init__() ', '')}") from None


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    """Nested keys and positions as columns: ``{"a": [{"b c": 1}]}`` is ``{"a_0_b c": 1}``."""
    if not isinstance(value, dict | list):
        return {path: value}
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    return {column: leaf for key, inner in pairs
            for column, leaf in _flat(inner, f"{path}_{key}" if path else str(key)).items()}
