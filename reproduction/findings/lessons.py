"""What the lessons share that is no lesson itself: pairs as a table, facts of runs, three sentences at the end."""

import html
import json
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from IPython.display import HTML, Markdown

from hybridlib import languages
from hybridlib.data import ParallelCorpus
from hybridlib.training import Pair
from reproduction.run import Store, System

_CELL = "text-align: {}; vertical-align: top"
TextPair = tuple[str, str, str, str]  # the question's language, the question, the passage's language, the passage


def texts_of(corpora: Sequence[ParallelCorpus], batch: Iterable[Pair]) -> list[TextPair]:
    """A batch of the library's sampler as texts: (question's language, question, passage's language, passage)."""
    found = []
    for pair in batch:
        texts = corpora[pair.corpus].pair(pair.group, pair.query_language, pair.passage_language)
        found.append((pair.query_language, texts["query"], pair.passage_language, texts["passage"]))
    return found


def pairs_table(batch: Sequence[TextPair], first: int = 6) -> HTML:
    """The first pairs of a batch as a table, languages by name and right-to-left text set right.

    Parameters
    ----------
    batch : sequence of (question's language, question, passage's language, passage)
    first : int
    """
    rows = ["<tr><th></th>" + "".join(f'<th style="text-align: left">{head}</th>' for head in (
        "question in", "question", "passage in", "passage")) + "</tr>"]
    for number, (x, question, y, passage) in enumerate(batch[:first], 1):
        rows.append(f"<tr><td>{number}</td>{_name(x)}{_text(x, question)}{_name(y)}{_text(y, passage)}</tr>")
    return HTML(f"<table>{''.join(rows)}</table><p>{min(first, len(batch))} of {len(batch)} pairs</p>")


def _name(language: str) -> str:
    return f'<td style="{_CELL.format("left")}"><b>{language}</b> {languages.NAMES.get(language, "")}</td>'


def _text(language: str, text: str) -> str:
    rtl = languages.is_right_to_left(language)
    return (f'<td lang="{language}" dir="{"rtl" if rtl else "ltr"}" style="{_CELL.format("right" if rtl else "left")}">'
            f"{html.escape(text)}</td>")


def complete_groups(corpus: ParallelCorpus, training_languages: Sequence[str]) -> np.ndarray:
    """Groups that have question and passage in all of the languages, one for each passage, as row numbers."""
    has_all = np.all([corpus.has(side, x) for side in (corpus.query, corpus.passage) for x in training_languages],
                     axis=0)
    rows = np.flatnonzero(has_all)
    _, first = np.unique(corpus.passage_key[rows], return_index=True)
    return rows[first]


def facts(store: Store, systems: Sequence[System], seeds: Sequence[int]) -> pd.DataFrame:
    """What became of finished runs, a row for each.

    Returns
    -------
    DataFrame
        Indexed by ``system`` and ``seed``: ``in one language`` (share of the batches), ``first`` and ``last`` (mean
        training loss of the first and the last ten batches), ``kept step`` (that of the lowest validation loss),
        ``of`` (steps that were trained), ``validation loss`` (at the kept step) and ``minutes``.
    """
    rows = {}
    for system in systems:
        for seed in seeds:
            losses = store.losses(system, seed)
            manifest = json.loads((store.run_folder(system, seed) / "manifest.json").read_text("utf-8"))
            rows[str(system), seed] = {
                "in one language": (losses["served"] == "X-X").mean(), "first": losses["loss"].head(10).mean(),
                "last": losses["loss"].tail(10).mean(), "kept step": manifest["best_step"],
                "of": manifest["steps_run"], "validation loss": manifest["best_validation_loss"],
                "minutes": manifest["seconds"] / 60}
    return pd.DataFrame(rows).T.astype({"kept step": int, "of": int}).rename_axis(["system", "seed"])


def kept(table: pd.DataFrame) -> str:
    """Which steps were kept, in words: of each system of `facts`, over its seeds.

    >>> table = pd.DataFrame({"kept step": [20, 40, 40], "of": 40},
    ...                      pd.MultiIndex.from_tuples([("X-X", 0), ("X-X", 1), ("X-Y", 0)], names=["system", "seed"]))
    >>> kept(table)
    'X-X step 20 or 40 of 40, X-Y step 40 of 40'
    """
    return ", ".join(
        f"{system} step {' or '.join(map(str, sorted(set(rows['kept step']))))} of {rows['of'].max()}"
        for system, rows in table.groupby("system", sort=False))


def three_sentences(first: str, second: str, third: str) -> Markdown:
    """What a lesson ends in: three sentences, built from its numbers."""
    return Markdown("\n".join(f"{number}. {text}" for number, text in enumerate((first, second, third), 1)))
