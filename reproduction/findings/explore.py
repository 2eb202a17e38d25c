"""One question at a time: what two systems put first in the mixed pool, side by side.

For a reader who wants to see what the numbers mean. `search` ranks a pool for one query as `hybridlib.evaluation`
does, `comparison` sets ranked lists beside each other as HTML, and `Explorer` puts widgets before both.
"""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import ipywidgets as widgets
import numpy as np
import pandas as pd
import torch
from matplotlib.colors import to_hex

from hybridlib import encoding, languages
from hybridlib.data import TestSet
from hybridlib.evaluation import grid, rank_distance
from reproduction.findings.figures import COLOURS, LANGUAGE_COLOURS
from reproduction.run import HYBRID, SYSTEMS, XX, Store, System

TOP = 20
# The alignment is said outright: notebooks align cells to the right, and let no "start" through.
_CELL = "padding: 3px 6px; text-align: {}; vertical-align: top; color: #111111; background-color: {}"
_HEAD = "padding: 3px 6px; text-align: left; vertical-align: top; font-weight: normal"


def search(query: np.ndarray, candidates: np.ndarray, test_set: TestSet, question: int | None = None) -> pd.DataFrame:
    """Rank the whole pool for one query.

    Scores and ties are those of `hybridlib.evaluation.rank`: exact sums of rounded embeddings, candidates of equal
    score in the order of the test set.

    Parameters
    ----------
    query : ndarray of float32, shape (width,), of unit length
    candidates : ndarray of float32, shape (C, width), of unit length
    test_set : TestSet
    question : int, optional
        Row of the query in ``test_set.queries``; without it nothing is known to be relevant.

    Returns
    -------
    DataFrame
        C rows, the best first, indexed by the row in ``test_set.candidates``: ``rank`` from 1, ``score``
        (cosine), ``language``, ``text``, and ``relevant``, whether it is a parallel answer.
    """
    steps, _ = grid(len(candidates))
    scores = np.rint(candidates * np.float64(steps)) @ np.rint(query * np.float64(steps))
    order = np.argsort(-scores, kind="stable")
    relevant = [] if question is None else test_set.answers(question)
    found = test_set.candidates.loc[order, ["language", "text"]]
    found.insert(0, "rank", np.arange(1, len(order) + 1))
    found.insert(1, "score", scores[order] / steps**2)
    return found.assign(relevant=np.isin(order, relevant))


def comparison(lists: Mapping[System, pd.DataFrame], query: str, language: str | None = None,
               top: int = TOP) -> str:
    """Ranked lists side by side, as an HTML table that needs no style sheet and no script.

    A row is coloured by its language, whose code is written too; a star marks the parallel answers. Above each
    list stand the rank distance of this query and the languages of what is shown.

    Parameters
    ----------
    lists : dict of System to DataFrame (see `search`)
    query : str
    language : str, optional
        Language of a question of the benchmark; without it the query was typed, and no answer to it is known.
    top : int
        How many rows of each list to show.

    Returns
    -------
    str
        Well-formed XML; all texts are escaped.
    """
    note = "★ marks the parallel answers: the sentence that answers the question, in each language."
    if language is None:
        note = "A typed question: no answer to it is known, so none is marked and there is no rank distance."
    heads = "".join(f'<th colspan="2" style="{_HEAD}"><b style="color: {COLOURS[system.sampling]}">'
                    f"{html.escape(str(system))}</b><br/>{_summary(found, top)}</th>"
                    for system, found in lists.items())
    tables = [found.head(top) for found in lists.values()]
    rows = "".join(
        f'<tr><td style="{_HEAD}">{number + 1}</td>{"".join(_cells(table.iloc[number]) for table in tables)}</tr>'
        for number in range(max(map(len, tables))))
    columns = '<col style="width: 2.5em"/>' + '<col style="width: 3.5em"/><col/>' * len(lists)
    return (f'<div style="line-height: 1.35"><p>{language or "typed"}: '
            f'<b {_direction(language)}>{html.escape(query)}</b><br/>{note}</p>'
            f'<table style="width: 100%; table-layout: fixed; border-collapse: collapse; font-size: 13px">'
            f'<colgroup>{columns}</colgroup><thead><tr><th style="{_HEAD}">rank</th>{heads}</tr></thead>'
            f"<tbody>{rows}</tbody></table></div>")


def _summary(found: pd.DataFrame, top: int) -> str:
    """What stands above a list."""
    shown = found.head(top)["language"].value_counts()
    shown = ", ".join(f"{language} {count}" for language, count in shown.items())
    answers = found[found["relevant"]]
    if answers.empty:
        return f"no rank distance<br/>first {top}: {shown}"
    first, last = answers.iloc[0], answers.iloc[-1]
    return (f"rank distance <b>{_distance(answers)}</b>: {len(answers)} answers at ranks "
            f"{first['rank']} ({first['language']}) to {last['rank']} ({last['language']}), "
            f"{answers['rank'].le(top).sum()} of them here<br/>first {top}: {shown}")


def _distance(answers: pd.DataFrame) -> int:
    """The rank distance of the answers in a list, of each language the best one."""
    return int(rank_distance(answers.drop_duplicates("language")["rank"]))


def _cells(row: pd.Series) -> str:
    """The two cells of a candidate: its language, and its text."""
    colour = np.array(LANGUAGE_COLOURS[row["language"]])
    full, pale = to_hex(colour), to_hex(1 - 0.35 * (1 - colour))
    text = html.escape(row["text"])
    mark, text = (" ★", f"<b>{text}</b>") if row["relevant"] else ("", text)
    side = "right" if languages.is_right_to_left(row["language"]) else "left"
    return (f'<td style="{_CELL.format("left", full)}">{row["language"]}{mark}</td>'
            f'<td {_direction(row["language"])} style="{_CELL.format(side, pale)}">{text}</td>')


def _direction(language: str | None) -> str:
    """The attributes that set a text in its language and direction; the browser judges where it is not known."""
    if language is None:
        return 'dir="auto"'
    return f'lang="{language}" dir="{"rtl" if languages.is_right_to_left(language) else "ltr"}"'


class Explorer(widgets.VBox):
    """Widgets to ask a question and see two systems answer; display it as the last line of a cell.

    Questions of the test set need no model: their embeddings lie in the run folders. For typed questions the
    encoder of a system is loaded when it is first needed, and kept.

    Parameters
    ----------
    store : Store
    seed : int
        The training seed.
    systems : pair of System
        What is shown first.
    top : int
        How many rows of each list to show.

    Raises
    ------
    FileNotFoundError
        If a run of the preset was not trained yet.
    """

    def __init__(self, store: Store, seed: int = 0, systems: tuple[System, System] = (XX, HYBRID),
                 top: int = TOP):
        self.store, self.seed, self.test_set, self.top = store, seed, store.preset.test_set, top
        self._encoders = {}
        store.evaluate([(system, seed) for system in SYSTEMS])
        self._embeddings = {system: store.embeddings(system, seed) for system in SYSTEMS}

        named = [(f"{languages.name(x)} ({x})", x) for x in self.test_set.query_languages]
        chosen = next((x for _, x in named if x == "en"), named[0][1])
        wide = widgets.Layout(width="98%")
        self.language = widgets.Dropdown(description="language", options=named, value=chosen)
        self.question = widgets.Dropdown(description="question", options=self._questions(chosen), layout=wide)
        self.typed = widgets.Text(description="or type", continuous_update=False, layout=wide,
                                  placeholder="your own question, in any language, then Enter")
        offered = [(str(system), system) for system in SYSTEMS]
        self.left, self.right = (widgets.Dropdown(description=side, options=offered, value=system)
                                 for side, system in zip(("left", "right"), systems, strict=True))
        self.shown = widgets.HTML(layout=wide)
        # What goes wrong inside a widget's callback is lost unless an Output catches it.
        self.trouble = widgets.Output()
        self._show()
        self.language.observe(self._language_changed, "value")
        self.question.observe(self._question_changed, "value")
        for widget in (self.typed, self.left, self.right):
            widget.observe(self._changed, "value")
        super().__init__([widgets.HBox([self.language, self.left, self.right]), self.question, self.typed,
                          self.shown, self.trouble])

    def __repr__(self) -> str:
        return f"Explorer of preset {self.store.preset.name!r}: run this cell to search"

    def row(self, question: str, language: str) -> int:
        """The row of a question in ``test_set.queries``, by its id and language; KeyError if it is not there."""
        queries = self.test_set.queries
        rows = queries.index[(queries["question"] == question) & (queries["language"] == language)]
        if rows.empty:
            raise KeyError(f"test set {self.test_set.name!r} has no question {question!r} in {language!r}")
        return int(rows[0])

    def lists(self, query: int | str, systems: Sequence[System]) -> dict[System, pd.DataFrame]:
        """The pool as each system ranks it.

        Parameters
        ----------
        query : int or str
            A row of ``test_set.queries`` (see `row`), or a question in your own words.
        systems : sequence of System

        Returns
        -------
        dict of System to DataFrame (see `search`)
        """
        if isinstance(query, str):
            return {system: search(self._encode(system, query), self._embeddings[system][1], self.test_set)
                    for system in systems}
        return {system: search(queries[query], candidates, self.test_set, query) for system in systems
                for queries, candidates in [self._embeddings[system]]}

    def compare(self, query: int | str, systems: Sequence[System] = (XX, HYBRID)) -> str:
        """`comparison` of systems, as HTML; the parameters are those of `lists`."""
        if isinstance(query, str):
            return comparison(self.lists(query, systems), query, top=self.top)
        text, language = self.test_set.queries.loc[query, ["text", "language"]]
        return comparison(self.lists(query, systems), text, language, top=self.top)

    def _encode(self, system: System, text: str) -> np.ndarray:
        """Embed a typed question as the benchmark's questions were, shape (width,)."""
        if system not in self._encoders:
            config, device = self.store.preset.config, self.store.workspace.device
            model, _ = encoding.load(str(self.store.run_folder(system, self.seed) / "model") if system.is_trained
                                     else config["encoder"])
            bf16 = encoding.in_bfloat16(config["precision"], device)
            self._encoders[system] = encoding.Siblings(
                [model.to(device)], torch.bfloat16 if bf16 else torch.float32)
        (embeddings,), _ = encoding.encode_all(
            self._encoders[system], [text], encoding.E5_PROMPTS.query, role="query")
        return embeddings[0]

    def _questions(self, language: str) -> list[tuple[str, int]]:
        queries = self.test_set.queries
        queries = queries[queries["language"] == language]
        return list(zip(queries["text"], queries.index.tolist(), strict=True))

    def _language_changed(self, change: dict[str, Any]) -> None:
        """Offer the questions of the language, and stay at the same question where it stands in it."""
        kept = self.test_set.queries.loc[self.question.value, "question"]
        # One message for both: else the page could be a step behind, and undo what a quick reader picks meanwhile.
        with self.question.hold_sync():
            self.question.options = self._questions(change["new"])
            rows = [row for _, row in self.question.options if self.test_set.queries.loc[row, "question"] == kept]
            self.question.value = rows[0] if rows else self.question.options[0][1]

    def _question_changed(self, change: dict[str, Any]) -> None:
        """A question that was picked takes the place of one that was typed."""
        if self.typed.value:
            self.typed.value = ""
        else:
            self._changed(change)

    def _changed(self, change: dict[str, Any]) -> None:
        with self.trouble:
            self._show()
            self.trouble.clear_output()

    def _show(self) -> None:
        typed, systems = self.typed.value.strip(), (self.left.value, self.right.value)
        if typed and not self._encoders.keys() >= {*systems}:
            self.shown.value = "<p>Loading the encoders …</p>"
        self.shown.value = self.compare(typed or self.question.value, systems)
