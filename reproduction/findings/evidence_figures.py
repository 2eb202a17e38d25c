"""Numbers of the evidence to pictures: sweeps, baselines, recipes, claims."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hybridlib.evaluation import HEADLINE, MEASURES, RANK_DISTANCE
from reproduction.findings.figures import colour


def sweep(table: pd.DataFrame, x: str, label: str, title: str, *, logarithmic: bool = False) -> Figure:
    """The four numbers along a setting: a line per sampling through the mean over seeds, a dot per seed.

    Parameters
    ----------
    table : DataFrame
        ``sampling``, a column ``x``, ``seed`` and the four measures.
    x : str
    label : str, of the axis, with its unit
    title : str
    logarithmic : bool
        Of the horizontal axis.
    """
    figure, axes = plt.subplots(2, 2, figsize=(7.2, 4.6), sharex=True)
    for axis, measure in zip(axes.flat, HEADLINE, strict=True):
        for sampling, rows in table.groupby("sampling", sort=False):
            axis.plot(rows[x], rows[measure.name], "o", ms=3, alpha=0.45, color=colour(sampling))
            means = rows.groupby(x)[measure.name].mean()
            axis.plot(means.index, means, color=colour(sampling), lw=1.6, label=sampling)
        axis.set_ylabel(measure.title)
        if logarithmic:
            axis.set_xscale("log")
            ticks = sorted(table[x].unique())
            axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axis.minorticks_off()
    for axis in axes[1]:
        axis.set_xlabel(label)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    if len(labels) > 1:
        figure.legend(handles, labels, loc="lower center", ncol=len(labels), bbox_to_anchor=(0.5, -0.05))
    figure.tight_layout()
    return figure


def alpha(table: pd.DataFrame, title: str, band: tuple[float, float] = (0.4, 0.6)) -> Figure:
    """The trade-off: monolingual against multilingual mAP as alpha goes from 0 to 1, and rank distance along alpha.

    Parameters
    ----------
    table : DataFrame
        ``alpha``, ``seed`` and the four measures.
    title : str
    band : (float, float)
        The range within which the paper sees little difference.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.2, 3.2))
    means = table.groupby("alpha")[["monolingual AP", "multilingual AP", "rank distance"]].mean()
    shades = sns.color_palette("viridis", as_cmap=True)
    left.plot(means["monolingual AP"], means["multilingual AP"], color="#999", lw=1, zorder=1)
    left.scatter(table["monolingual AP"], table["multilingual AP"], c=table["alpha"], cmap=shades, s=12, alpha=0.5)
    left.scatter(means["monolingual AP"], means["multilingual AP"], c=means.index, cmap=shades, s=55, zorder=3,
                 edgecolor="white")
    for value, row in means.iterrows():
        left.annotate(f"{value:g}", (row["monolingual AP"], row["multilingual AP"]), (6, -9),
                      textcoords="offset points", fontsize=8)
    left.set(xlabel="monolingual mAP", ylabel="multilingual mAP")
    left.xaxis.set_major_locator(plt.MaxNLocator(4))
    right.axvspan(*band, color="#ddd", lw=0)
    right.text(sum(band) / 2, 1, "paper: little\ndifference", transform=right.get_xaxis_transform(), ha="center",
               va="top", fontsize=7.5)
    right.plot(table["alpha"], table["rank distance"], "o", ms=3, alpha=0.5, color="#555")
    right.plot(means.index, means["rank distance"], color="#555", lw=1.6)
    right.set(xlabel="alpha: probability of a batch in one language", ylabel="rank distance")
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    figure.tight_layout()
    return figure


def systems(table: pd.DataFrame, title: str, order: Sequence[str] | None = None) -> Figure:
    """Systems one under the other in the four numbers: a dot per seed, a bar at their mean.

    Parameters
    ----------
    table : DataFrame
        ``system``, ``seed`` and the four measures.
    title : str
    order : list of str, optional
    """
    order = order or list(dict.fromkeys(table["system"]))
    figure, axes = plt.subplots(1, 4, figsize=(9.4, 0.27 * len(order) + 1.3), sharey=True)
    for axis, measure in zip(axes, HEADLINE, strict=True):
        for row, system in enumerate(order):
            values = table.loc[table["system"] == system, measure.name]
            shade = colour(system)
            axis.plot(values, [row] * len(values), "o", ms=3.5, alpha=0.5, color=shade)
            axis.plot([values.mean()] * 2, [row - 0.3, row + 0.3], color=shade, lw=2)
        axis.set(xlabel=measure.title, yticks=range(len(order)),
                 ylim=(len(order) - 0.5, -0.5))
        axis.set_yticklabels(order)
        axis.margins(x=0.08)
        axis.xaxis.set_major_locator(plt.MaxNLocator(3))
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    figure.tight_layout()
    return figure


def gains(confirmed: pd.DataFrame, title: str) -> Figure:
    """What systems gain or lose against one reference in the four numbers, with intervals; the chosen one in colour.

    Parameters
    ----------
    confirmed : DataFrame (see `reproduction.findings.claims.choose_recipe`)
    title : str
    """
    order = list(dict.fromkeys(confirmed["system"]))
    names = list(dict.fromkeys(confirmed["benchmark"]))
    figure, axes = plt.subplots(1, 4, figsize=(9.4, 0.2 * len(order) * len(names) + 1.6), sharey=True)
    for axis, measure in zip(axes, HEADLINE, strict=True):
        for _, row in confirmed[confirmed["measure"] == measure.name].iterrows():
            place = order.index(row["system"]) + 0.28 * (names.index(row["benchmark"]) - (len(names) - 1) / 2)
            side = int(row["low"] > 0) - int(row["high"] < 0)
            shade = {1: "#009E73", 0: "#777", -1: "#D55E00"}[measure.better(side) if row["chosen"] else 0]
            axis.plot([row["low"], row["high"]], [place] * 2, color=shade, lw=1.5)
            axis.plot(row["difference"], place, "os"[names.index(row["benchmark"]) % 2], ms=4.5, color=shade)
        axis.axvline(0, color="#555", lw=0.8)
        axis.set(xlabel=measure.title, yticks=range(len(order)),
                 ylim=(len(order) - 0.5, -0.5))
        axis.xaxis.set_major_locator(plt.MaxNLocator(3))
    chosen = set(confirmed.loc[confirmed["chosen"], "system"])
    axes[0].set_yticklabels([f"{system} (chosen)" if system in chosen else system for system in order])
    handles = [Line2D([], [], color=shade, lw=2, label=label) for shade, label in
               (("#009E73", "chosen: better"), ("#D55E00", "chosen: worse"), ("#777", "not told apart, or not chosen"))]
    handles += [Line2D([], [], color="#777", marker="os"[n % 2], lw=0, label=name) for n, name in enumerate(names)
                if len(names) > 1]
    figure.legend(handles=handles, loc="lower center", ncol=len(handles), bbox_to_anchor=(0.5, -0.09))
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    figure.tight_layout()
    return figure


def claims(parts: pd.DataFrame, title: str) -> Figure:
    """Every comparison of the claims with its interval and the margin within which it counts as level.

    Parameters
    ----------
    parts : DataFrame (see `reproduction.findings.claims.judge_claims`)
    title : str
    """
    shown = parts[parts["difference"].notna()].reset_index(drop=True)
    figure, axes = plt.subplots(1, 2, figsize=(9.4, 0.3 * len(shown) + 1.2), width_ratios=(2, 1))
    in_map = shown["measure"] != RANK_DISTANCE.name
    for axis, rows in ((axes[0], shown[in_map]), (axes[1], shown[~in_map])):
        names = []
        for place, (_, row) in enumerate(rows.iterrows()):
            axis.plot([-row["margin"], row["margin"]], [place] * 2, color="#ddd", lw=9, solid_capstyle="butt", zorder=0)
            shade = "#009E73" if row["holm_for"] <= 0.05 else "#D55E00" if row["holm_against"] <= 0.05 else "#555"
            axis.plot([row["low"], row["high"]], [place] * 2, color=shade, lw=1.6)
            axis.plot(row["difference"], place, "o", color=shade, ms=5)
            first, *_, second = row["comparison"].replace(" at least ", " | ").replace(" greater ", " | ").replace(
                " level ", " | ").partition(" | ")
            where = "" if row["languages"] == "all" else " (unseen)"
            kind = MEASURES[row["measure"]].title.removesuffix(" mAP")
            names.append(f"{row['claim']}: {first} − {second}, {row['benchmark']}{where}"
                         + (f", {kind}" if axis is axes[0] else ""))
        axis.axvline(0, color="#555", lw=0.8)
        axis.set(yticks=range(len(names)), ylim=(len(names) - 0.5, -0.5))
        axis.set_yticklabels(names, fontsize=8)
    axes[0].set_xlabel("difference in mAP")
    axes[1].set_xlabel("difference in rank distance")
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    handles = [Line2D([], [], color="#009E73", marker="o", label="shown"), Line2D([], [], color="#D55E00", marker="o",
               label="refuted"), Line2D([], [], color="#555", marker="o", label="undecided"),
               Line2D([], [], color="#ddd", lw=9, label="counts as level")]
    figure.legend(handles=handles, loc="lower center", ncol=4, bbox_to_anchor=(0.5, -0.06))
    figure.tight_layout()
    return figure
