"""Tables of one's own to a ParallelCorpus: a column per language, or a row per group and language."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hybridlib.data.groups import ParallelCorpus
from hybridlib.data.reading import CorpusError, text_problem
from hybridlib.languages import is_language

if TYPE_CHECKING:
    import pandas as pd
    from datasets import Dataset

MOST = 20  # problems told of a column
_SHORT = 16  # letters; longer texts of white space and the like only are no accident


def corpus_of_table(table: "Dataset | pd.DataFrame | pa.Table", query: str, passage: str, language: str | None = None,
                    group: str | None = None, languages: Sequence[str] | None = None,
                    name: str = "parallel") -> ParallelCorpus:
    """A ParallelCorpus of a table; columns of a wide, memory-mapped one stay on the disk, a long one is copied.

    Parameters
    ----------
    table : datasets.Dataset, DataFrame or pyarrow.Table
    query, passage : str
        Names of columns. With ``{}`` in both, the table is wide: a row is a group, and ``"question_{}"`` stands for a
        column per language, ``question_de`` and so on. A text that is null is not there.
    language, group : str, optional
        Of a long table: the columns that say the language of a row and the group that it belongs to; ``query`` and
        ``passage`` are then columns of texts.
    languages : sequence of str, optional
        Of a wide table: which columns to read; by default all that are named like a language, ``query_id`` too.
    name : str

    Raises
    ------
    CorpusError
        If columns are missing or of another type, a text is empty, or a group has a language twice; it names rows
        (from 0) and columns.
    """
    table = _arrow(table)
    if language is None and group is None:
        if query.count("{}") != 1 or passage.count("{}") != 1:
            raise CorpusError([f"{name}: columns {query!r} and {passage!r}: put {{}} where the language stands in the "
                               "name of a column, or say with language= and group= which columns hold them"])
        sides = [dict(_wide(table, pattern, languages, name)) for pattern in (query, passage)]
        ids = [str(row) for row in range(len(table))]
    elif language is None or group is None:
        raise CorpusError([f"{name}: a table with a row per group and language needs both language= and group="])
    else:
        ids, sides = _long(table, query, passage, language, group, name)
    problems = [problem for pattern, side in zip((query, passage), sides, strict=True)
                for code, column in side.items() for problem in _text_problems(column, f"{name}: {pattern}, {code}")]
    corpus = ParallelCorpus(name, ids, *sides, {})
    if not problems and not corpus.languages:
        problems.append(f"{name}: no row has a query and a passage in one language; the queries are in "
                        f"{', '.join(sides[0]) or 'none'}, the passages in {', '.join(sides[1]) or 'none'}")
    if problems:
        raise CorpusError(problems)
    return corpus


def _arrow(table: Any) -> pa.Table:
    if isinstance(table, pa.Table):
        return table
    if hasattr(table, "flatten_indices") and hasattr(table, "data") and hasattr(table, "_indices"):  # datasets.Dataset
        return (table if table._indices is None else table.flatten_indices()).data.table
    if hasattr(table, "to_feather"):  # of pandas
        return pa.Table.from_pandas(table, preserve_index=False)
    raise TypeError(f"a {type(table).__name__} is no table here: give a datasets.Dataset (one split), a DataFrame or a "
                    "pyarrow.Table (or a ParallelCorpus, or the path of a file of groups)")


def _wide(table: pa.Table, pattern: str, languages: Sequence[str] | None, name: str,
          ) -> Iterator[tuple[str, pa.ChunkedArray]]:
    """The columns of a pattern by language."""
    before, after = pattern.split("{}")
    found = {column[len(before):len(column) - len(after)]: column for column in table.column_names
             if column.startswith(before) and column.endswith(after) and len(column) > len(before) + len(after)}
    # Without anything before and behind, every column would be a language.
    found = {code: column for code, column in found.items()
             if is_language(code) and (languages is None or code in languages)}
    if not found:
        raise CorpusError([f"{name}: no column is named {pattern} with a language's code for {{}}; there are "
                           f"{', '.join(table.column_names)}"])
    for code in sorted(found):
        yield code, _texts(table[found[code]], f"{name}: column {found[code]!r}")


def _long(table: pa.Table, query: str, passage: str, language: str, group: str, name: str,
          ) -> tuple[list[str], list[dict[str, pa.ChunkedArray]]]:
    if missing := [column for column in (query, passage, language, group) if column not in table.column_names]:
        raise CorpusError([f"{name}: no column {', '.join(map(repr, missing))}; there are "
                           f"{', '.join(table.column_names)}"])
    codes = pa.chunked_array(table[language]).to_pylist()
    groups = pc.cast(table[group], pa.string()).combine_chunks().dictionary_encode()
    wrong = [f"{name}: row {row}: {language} is {code!r}, expected a code such as de, pt-BR or eng_Latn"
             for row, code in enumerate(codes) if not is_language(code)]
    if groups.null_count:
        wrong.append(f"{name}: column {group!r} is empty in {groups.null_count} rows")
    if wrong:
        raise CorpusError(wrong)
    place, codes = groups.indices.to_numpy(), np.array(codes, object)
    sides: list[dict[str, pa.ChunkedArray]] = [{}, {}]
    for code in sorted(set(codes)):
        rows = np.flatnonzero(codes == code)
        order = rows[np.argsort(place[rows], kind="stable")]
        twice = order[1:][np.diff(place[order]) == 0]
        wrong += [f"{name}: row {row}: group {groups[int(row)].as_py()!r} has {code} a second time"
                  for row in twice.tolist()]
        taken = np.full(len(groups.dictionary), -1)
        taken[place[rows]] = rows
        indices = pa.array(taken, mask=taken < 0)
        for side, column in zip(sides, (query, passage), strict=True):
            side[code] = _texts(table[column], f"{name}: column {column!r}").take(indices)
    if wrong:
        raise CorpusError(wrong)
    return groups.dictionary.to_pylist(), sides


def _texts(column: pa.ChunkedArray, where: str) -> pa.ChunkedArray:
    if column.null_count == len(column):  # of pandas, where nothing is there, it is a column of numbers
        return pa.chunked_array([pa.nulls(len(column), pa.string())])
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise CorpusError([f"{where} is of type {column.type}, expected text"])
    return column


def _text_problems(column: pa.ChunkedArray, where: str) -> list[str]:
    """Rows whose text is empty; only short ones are looked at."""
    short = np.flatnonzero(pc.fill_null(pc.less(pc.utf8_length(column), _SHORT), False).to_numpy(zero_copy_only=False))
    found: Sequence[tuple[int, str]] = [(row, problem) for row in short.tolist()
                                        if (problem := text_problem(column[row].as_py()))][:MOST]
    return [f"{where}: row {row}: {problem}" for row, problem in found]
