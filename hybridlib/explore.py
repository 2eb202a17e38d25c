"""One question at a time: what two systems put first in the mixed pool, side by side.

For a reader who wants to see what the numbers mean. `search` ranks a pool for one query as `hybridlib.ranking`
does, `comparison` sets ranked lists beside each other as HTML, and `Explorer` puts widgets before both.
"""

import html

import ipywidgets as widgets
import numpy as np
import torch
from matplotlib.colors import to_hex

from hybridlib import encoders, metrics
from hybridlib.corpus import LANGUAGE_NAMES, RIGHT_TO_LEFT
from hybridlib.figures import COLOURS, LANGUAGE_COLOURS
from hybridlib.presets import SYSTEMS, UNTRAINED
from hybridlib.ranking import grid

TOP = 20
# The alignment is said outright: notebooks align cells to the right, and let no "start" through.
_CELL = "padding: 3px 6px; text-align: {}; vertical-align: top; color: #111111; background-color: {}"
_HEAD = "padding: 3px 6px; text-align: left; vertical-align: top; font-weight: normal"


def search(query, candidates, benchmark, question=None):
    """Rank the whole pool for one query.

    Scores and ties are those of `hybridlib.ranking.rank`: exact sums of rounded embeddings, candidates of equal
    score in the order of the benchmark.

    Parameters
    ----------
    query : ndarray of float32, shape (width,), of unit length
    candidates : ndarray of float32, shape (C, width), of unit length
    benchmark : hybridlib.benchmarks.Benchmark
    question : int, optional
        Row of the query in ``benchmark.queries``; without it nothing is known to be relevant.

    Returns
    -------
    DataFrame
        C rows, the best first, indexed by the row in ``benchmark.candidates``: ``rank`` from 1, ``score``
        (cosine), ``language``, ``text``, and ``relevant``, whether it is a parallel answer.
    """
    steps, _ = grid(len(candidates))
    scores = np.rint(candidates * np.float64(steps)) @ np.rint(query * np.float64(steps))
    order = np.argsort(-scores, kind="stable")
    relevant = [] if question is None else benchmark.relevant[question]
    found = benchmark.candidates.loc[order, ["language", "text"]]
    found.insert(0, "rank", np.arange(1, len(order) + 1))
    found.insert(1, "score", scores[order] / steps**2)
    return found.assign(relevant=np.isin(order, relevant))


def comparison(lists, query, language=None, top=TOP):
    """Ranked lists side by side, as an HTML table that needs no style sheet and no script.

    A row is coloured by its language, whose code is written too; a star marks the parallel answers. Above each
    list stand the rank distance of this query and the languages of what is shown.

    Parameters
    ----------
    lists : dict of system to DataFrame (see `search`)
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
    heads = "".join(f'<th colspan="2" style="{_HEAD}"><b style="color: {COLOURS[system]}">{html.escape(system)}</b>'
                    f"<br/>{_summary(found, top)}</th>" for system, found in lists.items())
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


def _summary(found, top):
    """What stands above a list."""
    shown = found.head(top)["language"].value_counts()
    shown = ", ".join(f"{language} {count}" for language, count in shown.items())
    answers = found[found["relevant"]]
    if answers.empty:
        return f"no rank distance<br/>first {top}: {shown}"
    first, last = answers.iloc[0], answers.iloc[-1]
    return (f"rank distance <b>{metrics.rank_distance(answers['rank'])}</b>: {len(answers)} answers at ranks "
            f"{first['rank']} ({first['language']}) to {last['rank']} ({last['language']}), "
            f"{answers['rank'].le(top).sum()} of them here<br/>first {top}: {shown}")


def _cells(row):
    """The two cells of a candidate: its language, and its text."""
    colour = np.array(LANGUAGE_COLOURS[row["language"]])
    full, pale = to_hex(colour), to_hex(1 - 0.35 * (1 - colour))
    text = html.escape(row["text"])
    mark, text = (" ★", f"<b>{text}</b>") if row["relevant"] else ("", text)
    side = "right" if row["language"] in RIGHT_TO_LEFT else "left"
    return (f'<td style="{_CELL.format("left", full)}">{row["language"]}{mark}</td>'
            f'<td {_direction(row["language"])} style="{_CELL.format(side, pale)}">{text}</td>')


def _direction(language):
    """The attributes that set a text in its language and direction; the browser judges where it is not known."""
    if language is None:
        return 'dir="auto"'
    return f'lang="{language}" dir="{"rtl" if language in RIGHT_TO_LEFT else "ltr"}"'


class Explorer(widgets.VBox):
    """Widgets to ask a question and see two systems answer; display it as the last line of a cell.

    Questions of the benchmark need no model: their embeddings lie in the run folders. For typed questions the
    encoder of a system is loaded when it is first needed, and kept.

    Parameters
    ----------
    preset : hybridlib.presets.Preset
    seed : int
        The training seed.
    systems : pair of str
        What is shown first.
    top : int
        How many rows of each list to show.

    Raises
    ------
    FileNotFoundError
        If a run of the preset was not trained yet.
    """

    def __init__(self, preset, seed=0, systems=("X-X", "Hybrid"), top=TOP):
        self.preset, self.seed, self.benchmark, self.top = preset, seed, preset.benchmark, top
        self._encoders = {}
        preset.evaluate([self._run(system) for system in SYSTEMS])
        self._embeddings = {system: preset.embeddings(*self._run(system)) for system in SYSTEMS}

        languages = [(f"{LANGUAGE_NAMES[x]} ({x})", x) for x in self.benchmark.languages]
        chosen = "en" if "en" in self.benchmark.languages else self.benchmark.languages[0]
        wide = widgets.Layout(width="98%")
        self.language = widgets.Dropdown(description="language", options=languages, value=chosen)
        self.question = widgets.Dropdown(description="question", options=self._questions(chosen), layout=wide)
        self.typed = widgets.Text(description="or type", continuous_update=False, layout=wide,
                                  placeholder="your own question, in any language, then Enter")
        self.left, self.right = (widgets.Dropdown(description=side, options=SYSTEMS, value=system)
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

    def __repr__(self):
        return f"Explorer of preset {self.preset.name!r}: run this cell to search"

    def row(self, question, language):
        """The row of a question in ``benchmark.queries``, by its id and language; KeyError if it is not there."""
        queries = self.benchmark.queries
        rows = queries.index[(queries["question"] == question) & (queries["language"] == language)]
        if rows.empty:
            raise KeyError(f"benchmark {self.benchmark.name!r} has no question {question!r} in {language!r}")
        return int(rows[0])

    def lists(self, query, systems):
        """The pool as each system ranks it.

        Parameters
        ----------
        query : int or str
            A row of ``benchmark.queries`` (see `row`), or a question in your own words.
        systems : sequence of str

        Returns
        -------
        dict of system to DataFrame (see `search`)
        """
        if isinstance(query, str):
            return {system: search(self._encode(system, query), self._embeddings[system][1], self.benchmark)
                    for system in systems}
        return {system: search(queries[query], candidates, self.benchmark, query) for system in systems
                for queries, candidates in [self._embeddings[system]]}

    def compare(self, query, systems=("X-X", "Hybrid")):
        """`comparison` of systems, as HTML; the parameters are those of `lists`."""
        if isinstance(query, str):
            return comparison(self.lists(query, systems), query, top=self.top)
        text, language = self.benchmark.queries.loc[query, ["text", "language"]]
        return comparison(self.lists(query, systems), text, language, top=self.top)

    def _run(self, system):
        return system, None if system == UNTRAINED else self.seed

    def _encode(self, system, text):
        """Embed a typed question as the benchmark's questions were, shape (width,)."""
        if system not in self._encoders:
            config, device = self.preset.config, self.preset.device
            model, _ = encoders.load(config["encoder"] if system == UNTRAINED else
                                     str(self.preset.run_folder(*self._run(system)) / "model"))
            bf16 = encoders.in_bfloat16(config["precision"], device)
            self._encoders[system] = encoders.Siblings(
                [model.to(device)], torch.bfloat16 if bf16 else torch.float32)
        (embeddings,), _ = encoders.encode_all(self._encoders[system], [text], encoders.E5_PROMPTS.query)
        return embeddings[0]

    def _questions(self, language):
        queries = self.benchmark.queries
        queries = queries[queries["language"] == language]
        return list(zip(queries["text"], queries.index.tolist(), strict=True))

    def _language_changed(self, change):
        """Offer the questions of the language, and stay at the same question where it stands in it."""
        kept = self.benchmark.queries.loc[self.question.value, "question"]
        # One message for both: else the page could be a step behind, and undo what a quick reader picks meanwhile.
        with self.question.hold_sync():
            self.question.options = self._questions(change["new"])
            rows = [row for _, row in self.question.options if self.benchmark.queries.loc[row, "question"] == kept]
            self.question.value = rows[0] if rows else self.question.options[0][1]

    def _question_changed(self, change):
        """A question that was picked takes the place of one that was typed."""
        if self.typed.value:
            self.typed.value = ""
        else:
            self._changed(change)

    def _changed(self, change):
        with self.trouble:
            self._show()
            self.trouble.clear_output()

    def _show(self):
        typed, systems = self.typed.value.strip(), (self.left.value, self.right.value)
        if typed and not self._encoders.keys() >= {*systems}:
            self.shown.value = "<p>Loading the encoders …</p>"
        self.shown.value = self.compare(typed or self.question.value, systems)
