"""One question at a time: what two systems put first in the mixed pool, side by side.

For a reader who wants to see what the numbers mean. `search` ranks a pool for one query as `hybridlib.evaluation`
does, `comparison` sets ranked lists beside each other as HTML, and `Explorer` puts widgets before both: over the runs
of a preset, or over models and a test set of one's own, with the remedy `REMEDY` switched on or off.
"""

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import ipywidgets as widgets
import numpy as np
import pandas as pd
import torch
from matplotlib.colors import to_hex

from hybridlib import encoding, languages
from hybridlib.data import TestSet
from hybridlib.debiasing import LanguageErasure
from hybridlib.evaluation import embed, grid, rank_distance
from hybridlib.evaluation.figures import language_colours
from reproduction.findings.figures import COLOURS, LANGUAGE_COLOURS
from reproduction.run import HYBRID, SYSTEMS, XX, Store, System

TOP = 20
REMEDY = "erasure-corpus"  # `hybridlib.debiasing.LanguageErasure`, fitted on the pool that is searched
Encoder = tuple[encoding.Siblings, encoding.Prompts]
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
    colours = _colours({language for found in lists.values() for language in found["language"].unique()})
    cells = ("".join(_cells(table.iloc[number], colours) for table in tables)
             for number in range(max(map(len, tables))))
    rows = "".join(f'<tr><td style="{_HEAD}">{number}</td>{row}</tr>' for number, row in enumerate(cells, 1))
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


def _colours(shown: set[str]) -> dict[str, tuple[float, float, float]]:
    """A colour for each language; the project's own where it has them all."""
    return LANGUAGE_COLOURS if shown <= LANGUAGE_COLOURS.keys() else language_colours(sorted(shown))


def _cells(row: pd.Series, colours: Mapping[str, tuple[float, float, float]]) -> str:
    """The two cells of a candidate: its language, and its text."""
    colour = np.array(colours[row["language"]])
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

    Questions of the test set need no model: their embeddings are there. For typed questions the encoder of a system is
    loaded when it is first needed, and kept.

    Parameters
    ----------
    name : str
        What is explored, for who reads the cell without a kernel.
    test_set : TestSet
    embeddings : dict of System to (queries, candidates)
        What is offered, without remedies: ndarrays of float32, shapes (Q, width) and (C, width), of unit length.
    load : callable
        Gives the encoder and the prompts of a system.
    systems : pair of System
        What is shown first.
    top : int
        How many rows of each list to show.
    """

    def __init__(self, name: str, test_set: TestSet, embeddings: Mapping[System, tuple[np.ndarray, np.ndarray]],
                 load: Callable[[System], Encoder], systems: tuple[System, System], top: int = TOP):
        self.name, self.test_set, self.top, self._load = name, test_set, top, load
        self._embeddings, self._encoders, self._erasures = dict(embeddings), {}, {}

        named = [(f"{languages.name(x)} ({x})", x) for x in self.test_set.query_languages]
        chosen = next((x for _, x in named if x == "en"), named[0][1])
        wide = widgets.Layout(width="98%")
        self.language = widgets.Dropdown(description="language", options=named, value=chosen)
        self.question = widgets.Dropdown(description="question", options=self._questions(chosen), layout=wide)
        self.typed = widgets.Text(description="or type", continuous_update=False, layout=wide,
                                  placeholder="your own question, in any language, then Enter")
        offered = [(str(system), system) for system in self._embeddings]
        self.left, self.right = (widgets.Dropdown(description=side, options=offered, value=system)
                                 for side, system in zip(("left", "right"), systems, strict=True))
        self.left_remedy, self.right_remedy = (
            widgets.Checkbox(description=f"{side}: language taken out", indent=False) for side in ("left", "right"))
        self.shown = widgets.HTML(layout=wide)
        # What goes wrong inside a widget's callback is lost unless an Output catches it.
        self.trouble = widgets.Output()
        self._show()
        self.language.observe(self._language_changed, "value")
        self.question.observe(self._question_changed, "value")
        for widget in (self.typed, self.left, self.right, self.left_remedy, self.right_remedy):
            widget.observe(self._changed, "value")
        super().__init__([widgets.HBox([self.language, self.left, self.right]),
                          widgets.HBox([self.left_remedy, self.right_remedy]), self.question, self.typed,
                          self.shown, self.trouble])

    @classmethod
    def of_store(cls, store: Store, seed: int = 0, systems: tuple[System, System] = (XX, HYBRID),
                 top: int = TOP) -> "Explorer":
        """Over the untrained encoder and the three samplings of a preset, from its run folders.

        Raises
        ------
        FileNotFoundError
            If a run of the preset was not trained yet.
        """
        def load(system: System) -> Encoder:
            config = store.preset.config
            return _encoder(str(store.run_folder(system, seed) / "model") if system.is_trained else config["encoder"],
                            config["precision"], store.workspace.device, encoding.E5_PROMPTS)

        store.evaluate([(system, seed) for system in SYSTEMS])
        return cls(f"preset {store.preset.name!r}", store.preset.test_set,
                   {system: store.embeddings(system, seed) for system in SYSTEMS}, load, systems, top)

    @classmethod
    def of_models(cls, models: Sequence[str], test_set: TestSet, device: str = "cpu", top: int = TOP) -> "Explorer":
        """Over encoders by name, which are loaded and encode the test set: the first left, the last right.

        Parameters
        ----------
        models : sequence of str
            Folders (``model`` of a run folder, say) or names that `hybridlib.encoding.load` knows.
        test_set : TestSet
        device : str
        top : int

        Raises
        ------
        ValueError
            If no model is named.
        """
        if not models:
            raise ValueError("no model is named: give a folder or a name of at least one")
        systems = [System("untrained", encoder=str(name)) for name in dict.fromkeys(models)]
        encoders = {system: _encoder(system.encoder, "auto", device) for system in systems}
        embeddings = {system: embed(siblings, test_set, prompts)[0][0]
                      for system, (siblings, prompts) in encoders.items()}
        return cls(f"test set {test_set.name!r}", test_set, embeddings, encoders.__getitem__,
                   (systems[0], systems[-1]), top)

    def __repr__(self) -> str:
        return f"Explorer of {self.name}: run this cell to search"

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
            Those that it was made with, each without a remedy or with `REMEDY`.

        Returns
        -------
        dict of System to DataFrame (see `search`)

        Raises
        ------
        ValueError
            If a system has another remedy; or if the pool has less than two languages, or too little of one, for it.
        """
        lists = {}
        for system in systems:
            queries, candidates = self._embeddings[system.base]
            asked = self._encode(system.base, query) if isinstance(query, str) else queries[query]
            if system.remedy:
                erasure, candidates = self._erasure(system)
                asked = erasure.transform(asked[None])[0]
            lists[system] = search(asked, candidates, self.test_set, None if isinstance(query, str) else query)
        return lists

    def _erasure(self, system: System) -> tuple[LanguageErasure, np.ndarray]:
        """The remedy of a system, fitted on its candidates when it is first needed, and they as it leaves them."""
        if system.remedy != REMEDY:
            raise ValueError(f"{system}: the remedy that can be explored is {REMEDY}")
        if system not in self._erasures:
            candidates = self._embeddings[system.base][1]
            erasure = LanguageErasure.fit(candidates, self.test_set.candidates["language"].to_numpy())
            self._erasures[system] = erasure, erasure.transform(candidates)
        return self._erasures[system]

    def compare(self, query: int | str, systems: Sequence[System] = (XX, HYBRID)) -> str:
        """`comparison` of systems, as HTML; the parameters are those of `lists`."""
        if isinstance(query, str):
            return comparison(self.lists(query, systems), query, top=self.top)
        text, language = self.test_set.queries.loc[query, ["text", "language"]]
        return comparison(self.lists(query, systems), text, language, top=self.top)

    def _encode(self, system: System, text: str) -> np.ndarray:
        """Embed a typed question as the test set's questions were, shape (width,)."""
        if system not in self._encoders:
            self._encoders[system] = self._load(system)
        siblings, prompts = self._encoders[system]
        (embeddings,), _ = encoding.encode_all(siblings, [text], prompts.query, role="query")
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
        typed = self.typed.value.strip()
        systems = [replace(side.value, remedy=REMEDY) if ticked.value else side.value
                   for side, ticked in ((self.left, self.left_remedy), (self.right, self.right_remedy))]
        if typed and not self._encoders.keys() >= {system.base for system in systems}:
            self.shown.value = "<p>Loading the encoders …</p>"
        self.shown.value = self.compare(typed or self.question.value, systems)


def _encoder(name: str, precision: str, device: str, prompts: encoding.Prompts | None = None) -> Encoder:
    """An encoder by name, in a precision (see `hybridlib.encoding.in_bfloat16`), and the prompts that it takes."""
    model, _ = encoding.load(name)
    bf16 = encoding.in_bfloat16(precision, device)
    siblings = encoding.Siblings([model.to(device)], torch.bfloat16 if bf16 else torch.float32)
    return siblings, encoding.Prompts.of(model, prompts)
