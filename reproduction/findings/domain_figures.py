"""Effects by test set, and what languages gain (`reproduction.findings.domains`), to pictures."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hybridlib.evaluation import MEASURES
from hybridlib.evaluation.figures import INK, head
from reproduction.findings.figures import MARKERS, colour


def effects(table: pd.DataFrame, names: Mapping[str, str], measures: Sequence[str], title: str,
            note: str = "") -> Figure:
    """Differences between samplings by test set: above from X-X, below from the untrained encoder.

    Parameters
    ----------
    table : DataFrame (see `reproduction.findings.domains.effects`)
        Filled are differences without a remedy, open are those with one on both sides.
    names : dict of benchmark to its name, a row each
    measures : sequence of str, a column each
    title, note : str (see `hybridlib.evaluation.figures.head`)
    """
    upper = [("X-Y", "X-X"), ("Hybrid", "X-X")]
    lower = [(sampling, "untrained") for sampling in ("X-X", "X-Y", "Hybrid")]
    figure, axes = plt.subplots(2, len(measures), figsize=(9.4, 6.6), sharey="row", squeeze=False,
                                gridspec_kw={"height_ratios": [2, 3]})
    for row, pairs in zip(axes, (upper, lower), strict=True):
        for axis, measure in zip(row, measures, strict=True):
            for place, benchmark in enumerate(names):
                _stacked(axis, table[(table["benchmark"] == benchmark) & (table["measure"] == measure)], pairs, place)
            axis.axvline(0, color=INK, lw=0.8)
            axis.set(yticks=range(len(names)), ylim=(len(names) - 0.5, -0.5),
                     xlabel=f"difference in {MEASURES[measure].title}\nfrom {pairs[0][1]}")
            axis.set_yticklabels(names.values())
            axis.locator_params(axis="x", nbins=5)
            axis.grid(axis="y", visible=False)
    handles = [Line2D([], [], marker=MARKERS[name], lw=0, ms=6, color=colour(name), label=name)
               for name in ("X-X", "X-Y", "Hybrid")]
    handles += [Line2D([], [], marker="o", lw=0, ms=6, color=INK, mfc=fill, label=label)
                for fill, label in ((INK, "as trained"), ("white", "with the same remedy on both sides"))]
    figure.tight_layout()
    figure.legend(handles=handles, loc="upper center", ncol=5, bbox_to_anchor=(0.5, 0.01))
    return head(figure, title, note)


def _stacked(axis: plt.Axes, found: pd.DataFrame, pairs: Sequence[tuple[str, str]], place: float) -> None:
    """The differences of one test set one under the other, each without and with a remedy."""
    count = 2 * len(pairs)
    for number, (sampling, reference) in enumerate(pairs):
        for _, x in found[(found["sampling"] == sampling) & (found["reference"] == reference)].iterrows():
            y = place + (2 * number + bool(x["remedy"]) - (count - 1) / 2) * 0.8 / count
            axis.plot([x["low"], x["high"]], [y, y], color=colour(sampling), lw=1.6, alpha=0.6)
            axis.plot(x["difference"], y, MARKERS[sampling], color=colour(sampling), ms=5,
                      mfc="white" if x["remedy"] else colour(sampling))


def gains(tables: Mapping[str, pd.DataFrame], facts: Mapping[str, str], label: str, sampling: str, title: str,
          note: str = "") -> Figure:
    """What the queries of each language gain, against what is known of the language.

    Parameters
    ----------
    tables : dict of a test set's name to DataFrame, a row of panels each
        By language: ``difference``, ``low``, ``high``, and the facts.
    facts : dict of column to the label of its axis, a column of panels each
        Open are languages that the corpus has none of; what is nowhere known of a language leaves it out.
    label : str, of what is gained
    sampling : str
        For the colour.
    title, note : str (see `hybridlib.evaluation.figures.head`)
    """
    figure, axes = plt.subplots(len(tables), len(facts), figsize=(9.4, 3.4 * len(tables)), sharey="row", squeeze=False)
    for row, (name, table) in zip(axes, tables.items(), strict=True):
        for axis, (fact, about) in zip(row, facts.items(), strict=True):
            for _, x in table[table[fact].notna()].iterrows():
                listed = not x["cc100_gib"] == 0
                axis.plot([x[fact]] * 2, [x["low"], x["high"]], color=colour(sampling), lw=1, alpha=0.45)
                axis.plot(x[fact], x["difference"], "o", color=colour(sampling), ms=5,
                          mfc=colour(sampling) if listed else "white")
            if fact == "cc100_gib":
                axis.set_xscale("symlog", linthresh=0.1, linscale=0.5)
            axis.axhline(0, color=INK, lw=0.8)
            axis.set(xlabel=about, title=name)
            # Those that are not listed stand one upon the other, and are named beside.
            _name(axis, table.loc[table[fact] > 0, [fact, "difference"]])
        row[0].set_ylabel(label)
    figure.tight_layout()
    figure.legend(handles=[Line2D([], [], marker="o", lw=0, ms=6, color=colour(sampling), mfc=fill, label=text)
                           for fill, text in ((None, "in XLM-R's corpus, or not known"),
                                              ("white", "not listed there"))],
                  loc="upper center", ncol=2, bbox_to_anchor=(0.5, 0.01))
    return head(figure, title, note)


def _name(axis: plt.Axes, points: pd.DataFrame) -> None:
    """Name points that have room for it, the outermost first."""
    places = axis.transData.transform(points.to_numpy(float))
    taken: list[tuple[float, float]] = []
    for number in np.argsort(-np.abs(places - np.median(places, axis=0)).max(axis=1), kind="stable"):
        x, y = places[number]
        width = 8 + 5 * len(str(points.index[number]))  # of the name, as that of the others is about
        if all(abs(x - left) > width or abs(y - low) > 9 for left, low in taken):
            taken.append((x, y))
            axis.annotate(str(points.index[number]), points.iloc[number], (4, 2), textcoords="offset points",
                          fontsize=6.5)
