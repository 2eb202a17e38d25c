"""Remedies crossed with samplings (`reproduction.findings.cross`) to pictures."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hybridlib.evaluation import MEASURES
from hybridlib.evaluation.figures import INK, head
from reproduction.findings.figures import MARKERS, colour, count_seeds, seeds_text
from reproduction.run import System

# By remedy: its marker, and what it is called elsewhere. Those of a kind have the same shape.
REMEDIES = {
    "": ("o", "none"), "centring-corpus": ("s", "centring, of the candidates"),
    "centring-training": ("D", "centring, of training texts"), "shift-training": ("^", "SHIFT"),
    "lir-corpus": ("v", "LIR"), "subspace": ("<", "language subspace, of training texts"),
    "subspace-corpus": (">", "language subspace, of the candidates"), "leace-corpus": ("P", "LEACE"),
    "erasure-corpus": ("X", "erasure (ours)"), "erasure-nnn-corpus": ("p", "erasure, hubs evened out"),
    "quota": ("*", "quota")}
# Samplings as the paper names them, and as the field does where that is another name.
SAMPLINGS = {"untrained": "untrained", "X-X": "X-X", "X-Y": "X-Y", "Hybrid": "Hybrid",
             "X-X mixed": "X-X mixed (LAReQA; \"infonce\")"}
# Losses that a recipe was trained with: what each is called, and its marker; colours are those of samplings.
TRAINED_WITH = {
    None: ("InfoNCE", ""), "embedding_distillation": ("English embeddings, distilled", "^"),
    "anchored": ("InfoNCE and English embeddings", "v"), "distillation": ("English ranking, distilled", "P"),
    "centred": ("InfoNCE, centred", "X")}
# Where the name of a sampling stands beside its point.
NAMED = {"X-X": (-30, -12), "X-Y": (-34, 14), "Hybrid": (-34, -22), "X-X mixed": (-44, 0)}


def cost_and_gain(table: pd.DataFrame, title: str, names: Mapping[str, str]) -> Figure:
    """What each sampling with each remedy costs within a language, and gains in the pool, over the untrained encoder.

    Parameters
    ----------
    table : DataFrame (see `reproduction.findings.cross.against`), and ``sampling`` and ``remedy``
        Of "monolingual AP" and "multilingual AP".
    title : str
    names : dict of benchmark to its name, a panel each
    """
    figure, axes = plt.subplots(1, len(names), figsize=(9.4, 4.6), sharex=True, sharey=True, squeeze=False)
    across, up = (MEASURES[f"{setting} AP"] for setting in ("monolingual", "multilingual"))
    for axis, (benchmark, name) in zip(axes[0], names.items(), strict=True):
        of_measure = dict(iter(table[table["benchmark"] == benchmark].set_index("system").groupby("measure")))
        for system, x in of_measure[across.name].iterrows():
            y, shade = of_measure[up.name].loc[system], colour(x["sampling"])
            axis.plot([x["low"], x["high"]], [y["difference"]] * 2, color=shade, lw=1, alpha=0.25)
            axis.plot([x["difference"]] * 2, [y["low"], y["high"]], color=shade, lw=1, alpha=0.25)
            axis.plot(x["difference"], y["difference"], REMEDIES[x["remedy"]][0], color=shade, mec="white", mew=0.6,
                      ms=10 if x["remedy"] in ("", "quota") else 7, zorder=3 if x["remedy"] else 4)
            if not x["remedy"] and x["sampling"] in NAMED:  # a name as well as a colour, for those who print in grey
                axis.annotate(x["sampling"], (x["difference"], y["difference"]), NAMED[x["sampling"]], fontsize=8,
                              textcoords="offset points", ha="center", va="center",
                              arrowprops={"arrowstyle": "-", "color": shade, "lw": 0.6})
        axis.plot(0, 0, REMEDIES[""][0], color=colour("untrained"), mec="white", mew=0.6, ms=10, zorder=4)
        axis.axhline(0, color=INK, lw=0.8, zorder=1)
        axis.axvline(0, color=INK, lw=0.8, zorder=1)
        axis.set(xlabel=f"difference in {across.title} from untrained", title=name)
        axis.xaxis.set_major_locator(plt.MultipleLocator(0.01))
    axes[0, 0].set_ylabel(f"difference in {up.title} from untrained")
    colours = [Line2D([], [], marker="o", lw=0, ms=8, color=colour(sampling), label=label)
               for sampling, label in SAMPLINGS.items() if sampling in {*table["sampling"], "untrained"}]
    shapes = [Line2D([], [], marker=marker, lw=0, ms=7, color=INK, label=label)
              for remedy, (marker, label) in REMEDIES.items() if remedy in {*table["remedy"], ""}]
    figure.tight_layout()
    head(figure, title, f"Bars: 95 % over articles and seeds. {seeds_text(count_seeds(table))}")
    for handles, what, place in ((colours, "batches of", 0), (shapes, "remedy", 0.3)):
        legend = figure.legend(handles=handles, title=what, loc="upper left", bbox_to_anchor=(place, 0.01),
                               fontsize=8.5, ncol=2 if place else 1, alignment="left")
        legend.get_title().set_fontweight("bold")
    return figure


def forest(table: pd.DataFrame, title: str, label: str) -> Figure:
    """Differences one under the other, with their intervals: filled as trained, open after a remedy.

    Parameters
    ----------
    table : DataFrame
        ``row``, what stands at the left, in the order of the picture; ``remedy``, ``difference``, ``low``, ``high``.
    title : str
    label : str, of the axis
    """
    rows = list(dict.fromkeys(table["row"]))
    figure, axis = plt.subplots(figsize=(8.2, 0.42 * len(rows) + 1.5))
    for _, found in table.iterrows():
        marker = REMEDIES[found["remedy"]][0]
        place, shade = rows.index(found["row"]) + (0.16 if found["remedy"] else -0.16), colour("X-Y")
        axis.plot([found["low"], found["high"]], [place] * 2, color=shade, lw=1.8, alpha=0.5)
        axis.plot(found["difference"], place, marker, color=shade, mfc="white" if found["remedy"] else shade, ms=7)
    axis.axvline(0, color=INK, lw=0.8)
    axis.set(xlabel=label, yticks=range(len(rows)), ylim=(len(rows) - 0.5, -0.5))
    axis.set_yticklabels(rows)
    axis.grid(axis="y", visible=False)
    shown = [remedy for remedy in REMEDIES if remedy in set(table["remedy"])]
    axis.legend(handles=[Line2D([], [], marker=REMEDIES[remedy][0], lw=0, ms=7, color=colour("X-Y"),
                                mfc="white" if remedy else None, label=f"remedy: {REMEDIES[remedy][1]}")
                         for remedy in shown], loc="upper center", ncol=len(shown), bbox_to_anchor=(0.35, -0.14))
    figure.tight_layout()
    return head(figure, title)


def trade(table: pd.DataFrame, loss: float, note: str = "") -> Figure:
    """What recipes lose within a language against what they gain in rank distance; shares of one training are joined.

    Parameters
    ----------
    table : DataFrame (see `reproduction.findings.records.gains`)
        Of the measure "rank distance".
    loss : float
        How much of monolingual mAP a record may lose.
    note : str (see `hybridlib.evaluation.figures.head`)
    """
    figure, axis = plt.subplots(figsize=(7.4, 4.8))
    handles: dict[str, Line2D] = {}
    whole = table["system"].map(lambda name: System.parse(name).base.without("trained_share"))
    for training, shares in table.groupby(whole, sort=False):
        losses = [one.setting("loss") for one in training.trainings]
        names, markers = zip(*(TRAINED_WITH.get(loss, (loss, "d")) for loss in losses), strict=True)
        label, shade = f"{' and '.join(names)}, {training.sampling}", colour(training.sampling)
        marker = "*" if len(losses) > 1 else markers[0] or MARKERS.get(training.sampling, "p")
        shares = shares.sort_values("within")
        axis.plot(shares["within"], 100 * shares["rank distance"], "-", color=shade, lw=1, alpha=0.4)
        axis.plot(shares["within"], 100 * shares["rank distance"], marker, color=shade, ms=7, mec="white", mew=0.5)
        handles[label] = Line2D([], [], marker=marker, lw=0, ms=7, color=shade, label=label)
    axis.axhline(0, color=INK, lw=0.8, zorder=1)
    axis.axvline(0, color=INK, lw=0.8, zorder=1)
    axis.axvline(-loss, color=INK, lw=0.8, ls=":", zorder=1)
    axis.set(xlabel="difference in monolingual mAP from untrained (dotted: what a record may lose)",
             ylabel="rank distance saved, % of Hybrid's")
    figure.tight_layout()
    figure.legend(handles=handles.values(), loc="upper center", ncol=2, bbox_to_anchor=(0.5, 0.01), fontsize=8.5)
    inside = int(((table["within"] >= -loss) & (table["rank distance"] > 0)).sum())
    none = int(((table["within"] >= 0) & (table["rank distance"] > 0)).sum())
    few = f"{loss:.3f}".lstrip("0")
    return head(figure, f"Of {len(table)} candidates {inside} are less biased than Hybrid and lose at most {few} mAP "
                        f"within a language, {none or 'none'} of them nothing", note)
