"""Numbers of the walk to pictures; the same colour for a system everywhere (`hybridlib.evaluation.figures`)."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hybridlib import files
from hybridlib.evaluation import HEADLINE, RANK_DISTANCE, estimates, what_varies
from hybridlib.evaluation.figures import COLOURS, INK, head, language_colours, use_style
from hybridlib.training import LanguageBatchSampler
from reproduction.run import Store, System
from reproduction.sources.articles import LANGUAGES

__all__ = ["COLOURS", "LANGUAGE_COLOURS", "batches", "colour", "headline", "losses", "pool_ranks", "rank_distance",
           "save", "seeds_text", "use_style"]

# Beside the colour, for those who print in grey.
MARKERS = {"X-X": "o", "X-Y": "s", "Hybrid": "D"}
HATCHES = {"X-X": "", "X-Y": "///", "Hybrid": "..."}
LANGUAGE_COLOURS = language_colours(LANGUAGES)
DRAWN = "drawn.json"


def colour(system: str) -> str:
    """The colour of a system, which is that of its sampling; encoders that the paper does not know are black."""
    return COLOURS.get(System.parse(system).sampling if not System.parse(system).encoder else "", "#000000")


def save(figure: Figure, store: Store, name: str, table: pd.DataFrame | None = None, seeds: Iterable[int] = ()) -> Path:
    """Leave a picture where ``make publish`` finds it, and note what it was drawn from; returns its path.

    Parameters
    ----------
    figure : Figure
    store : Store
    name : str
        A folder may stand before it.
    table : DataFrame, optional
        What is drawn, with ``system`` and ``seed`` (or ``seeds``, their number).
    seeds : iterable of int
        Where there is no table.
    """
    folder = store.workspace.drawn(store.preset.name) / "figures"
    path = folder / f"{name}.png"
    with files.atomic(path) as temporary:
        figure.savefig(temporary, format="png")
    noted = json.loads((folder / DRAWN).read_text("utf-8")) if (folder / DRAWN).is_file() else {}
    systems = [] if table is None else sorted(set(table["system"]))
    count = len(set(seeds)) if table is None else count_seeds(table)
    files.write_json(folder / DRAWN, noted | {name: {"seeds": count, "systems": systems}})
    return path


def count_seeds(table: pd.DataFrame) -> int:
    """How many training seeds a table holds."""
    return int(table["seeds"].max()) if "seeds" in table else table.loc[table["seed"] >= 0, "seed"].nunique()


def seeds_text(count: int) -> str:
    """How many training seeds a picture holds, for its note.

    >>> seeds_text(1)
    'One seed: how much another would differ is not known.'
    >>> seeds_text(3)
    '3 seeds.'
    """
    if count == 0:
        return "Nothing here was trained."
    return f"{count} seeds." if count > 1 else "One seed: how much another would differ is not known."


def batches(samplers: Mapping[str, LanguageBatchSampler], steps: Sequence[int], pairs: int = 10) -> Figure:
    """The paper's Figure 2 from real batches: each item's query above its passage, coloured by language.

    Parameters
    ----------
    samplers : dict of name to LanguageBatchSampler
    steps : sequence of int
        Which batches to draw, one row of blocks each.
    pairs : int
        How many items of each batch to draw.
    """
    figure, axes = plt.subplots(1, len(samplers), figsize=(8.2, 0.58 * len(steps) + 0.8), sharey=True, squeeze=False)
    for axis, (name, sampler) in zip(axes[0], samplers.items(), strict=True):
        for row, step in enumerate(steps):
            for column, pair in enumerate(sampler.batch(step)[:pairs]):
                for offset, language in ((0, pair.query_language), (0.4, pair.passage_language)):
                    axis.add_patch(plt.Rectangle((column, row + offset), 0.92, 0.38,
                                                 color=LANGUAGE_COLOURS[language], lw=0))
                    # The code as well as the colour: eleven colours are more than an eye can tell apart.
                    axis.text(column + 0.46, row + offset + 0.19, language, ha="center", va="center", fontsize=6.5)
        axis.set(xlim=(-0.2, pairs + 0.1), ylim=(len(steps) - 0.1, -0.15), xticks=[],
                 yticks=np.arange(len(steps)) + 0.39, xlabel=f"the first {pairs} of {sampler.batch_size} pairs")
        axis.set_yticklabels([f"batch {step + 1}" for step in steps])
        axis.set_title(name, color=COLOURS[name])
        axis.grid(False)
        sns.despine(ax=axis, left=True, bottom=True)
    figure.tight_layout()
    return figure


def losses(tables: Mapping[str, Sequence[pd.DataFrame]], title: str) -> Figure:
    """Training loss per step; and the validation loss where it was measured, the kept checkpoint filled.

    Parameters
    ----------
    tables : dict of sampling to list of DataFrame (the ``losses.csv`` of its seeds)
    title : str
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.2, 2.9))
    for place, (name, runs) in enumerate(tables.items()):
        for number, run in enumerate(runs):
            left.plot(run["step"], run["loss"], lw=0.5, alpha=0.35, color=COLOURS[name])
            smooth = run["loss"].rolling(9, center=True, min_periods=1).mean()
            left.plot(run["step"], smooth, color=COLOURS[name], label=name if number == 0 else None,
                      marker=MARKERS.get(name, "o"), markevery=max(1, len(run) // 5), ms=4)
            checked = run.dropna(subset="eval_loss")
            # Side by side, for they lie close together; and no line, for nothing was measured between them.
            steps = checked["step"] + (place - (len(tables) - 1) / 2) * 0.03 * run["step"].max()
            right.plot(steps, checked["eval_loss"], MARKERS.get(name, "o"), ms=6, mfc="white", color=COLOURS[name])
            best = checked["eval_loss"].idxmin()
            right.plot(steps[best], checked.loc[best, "eval_loss"], MARKERS.get(name, "o"), ms=6, color=COLOURS[name])
    last = max(int(run["step"].max()) for runs in tables.values() for run in runs)
    left.set(xlabel="step", ylabel="training loss (nats)", ylim=(0, None))
    right.set(xlabel="step", ylabel="validation loss,\nEnglish (nats)",
              xlim=(0, 1.08 * last), xticks=sorted(set(checked["step"])))
    right.margins(y=0.15)
    if len(tables) > 1:
        left.legend()
    figure.tight_layout()
    return head(figure, title, "Left: thin, each batch; thick, their running mean. Right: a dot where it was measured, "
                f"filled where the model is kept. {seeds_text(max(map(len, tables.values())))}")


def headline(results: pd.DataFrame, paper: pd.DataFrame, title: str, dataset: str = "XQuAD-R") -> Figure:
    """The mAP of every system in the three settings with 95 % intervals, as in the table; the paper's as diamonds.

    Parameters
    ----------
    results : DataFrame (see `reproduction.run.Store.results`)
    paper : DataFrame (see `reproduction.published.means`)
    title : str
    dataset : str
        The paper's, for the legend.
    """
    figure, axes = plt.subplots(1, 3, figsize=(8.2, 2.7), sharey=True)
    for axis, measure in zip(axes, HEADLINE[:3], strict=True):
        table = estimates(results, measure)
        for row, (system, (value, low, high)) in enumerate(table.iterrows()):
            axis.plot([low, high], [row, row], color=colour(system), lw=5, alpha=0.3, solid_capstyle="butt")
            axis.plot(value, row, "o", color=colour(system), ms=7)
            axis.annotate(measure.text(value), (value, row), (0, 7), textcoords="offset points", ha="center",
                          fontsize=8)
            if system in paper.index:
                axis.plot(paper.loc[system, measure.name], row, "D", mfc="white", mec=colour(system), ms=5)
        axis.set(xlabel=measure.title, yticks=range(len(table)), ylim=(len(table) - 0.5, -0.7))
        axis.set_yticklabels(table.index)
        axis.margins(x=0.12)
    handles = [Line2D([], [], marker="o", ls="", color=INK,
                      label=f"ours, 95 % interval over {what_varies(results)}"),
               Line2D([], [], marker="D", ls="", mfc="white", mec=INK, label=f"paper, XLM-R on {dataset}")]
    figure.legend(handles=handles, loc="upper center", ncol=2, bbox_to_anchor=(0.5, 0.03))
    figure.tight_layout()
    return head(figure, title, "Bars are of one system each; whether two are apart is told from their paired "
                f"difference, as in the title. {seeds_text(count_seeds(results))}")


def rank_distance(results: pd.DataFrame, paper: pd.DataFrame, title: str,
                  unseen: Sequence[str] = ("el", "vi")) -> Figure:
    """Rank distance per query language as a share of X-X's mean, so that pools of any size compare.

    Parameters
    ----------
    results : DataFrame (see `reproduction.run.Store.results`)
    paper : DataFrame, query languages (and ``mean``) by samplings (see `reproduction.published.by_language`)
    title : str
    unseen : sequence of str
        Languages that were never trained on; marked with a star.
    """
    systems = [s for s in ("X-X", "X-Y", "Hybrid") if s in set(results["system"])]
    ours = results.groupby(["query_language", "system"])[RANK_DISTANCE.name].mean().unstack()[systems]
    ours.loc["mean"] = ours.mean()
    order = [*ours.index.drop("mean"), "mean"]
    figure, axis = plt.subplots(figsize=(8.2, 2.9))
    width = 0.26
    for number, system in enumerate(systems):
        places = np.arange(len(order)) + (number - 1) * width
        share = ours.loc[order, system] / ours.loc["mean", "X-X"]
        axis.bar(places, share, width * 0.92, color=colour(system), hatch=HATCHES[system], edgecolor="white", lw=0,
                 label=system)
        theirs = paper.reindex(order)[system] / paper.loc["mean", "X-X"]
        axis.plot(places, theirs, ls="", marker="D", mfc="white", mec=INK, mew=0.8, ms=4,
                  label="paper, XLM-R" if number == len(systems) - 1 else None)
    axis.axhline(1, color=INK, lw=0.8, ls=":")
    axis.set(xticks=range(len(order)), ylabel="rank distance\n(X-X's mean = 1)", xlabel="query language "
             "(* never trained on)")
    axis.set_xticklabels([f"{x}*" if x in unseen else x for x in order])
    axis.grid(axis="x", visible=False)
    handles, labels = axis.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda i: labels[i].startswith("paper"))
    axis.legend([handles[i] for i in order], [labels[i] for i in order], ncol=4, loc="upper center",
                bbox_to_anchor=(0.5, -0.24))
    figure.tight_layout()
    return head(figure, title, f"Means over questions. {seeds_text(count_seeds(results))}")


def pool_ranks(ranks_by_system: Mapping[str, pd.DataFrame], title: str, seeds: int) -> Figure:
    """Where the relevant sentences stand in the pool: same language as the query against the others.

    Parameters
    ----------
    ranks_by_system : dict of system to ranks table (see `hybridlib.evaluation.rank_test_set`)
    title : str
    seeds : int
        How many training seeds the tables hold.
    """
    figure, axis = plt.subplots(figsize=(8.2, 2.9))
    for row, (system, ranks) in enumerate(ranks_by_system.items()):
        same = ranks["language"] == ranks["query_language"]
        for offset, rows, filled in ((-0.14, ranks[same], True), (0.14, ranks[~same], False)):
            quartiles = rows["rank_in_pool"].quantile([0.25, 0.5, 0.75]).to_numpy()
            axis.plot(quartiles[[0, 2]], [row + offset] * 2, color=colour(system), lw=5, alpha=0.3,
                      solid_capstyle="butt")
            axis.plot(quartiles[1], row + offset, "o", color=colour(system), ms=7,
                      mfc=colour(system) if filled else "white")
    axis.set(xscale="log", xlabel="rank of the relevant sentence in the pool of all languages "
             "(median, middle half)", yticks=range(len(ranks_by_system)))
    axis.set_yticklabels(ranks_by_system)
    axis.invert_yaxis()
    axis.legend(handles=[Line2D([], [], marker="o", ls="", color=INK, label="in the query's language"),
                         Line2D([], [], marker="o", ls="", color=INK, mfc="white",
                                label="in another language")], loc="upper center", ncol=2,
                bbox_to_anchor=(0.5, -0.28))
    figure.tight_layout()
    return head(figure, title, f"Dots are medians, bars the middle half of all answers. {seeds_text(seeds)}")
