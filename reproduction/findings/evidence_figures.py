"""Numbers of the evidence to pictures: sweeps, baselines, recipes, claims."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hybridlib.evaluation import HEADLINE, MEASURES, RANK_DISTANCE
from hybridlib.evaluation.figures import INK, head
from reproduction.findings.claims import part_word
from reproduction.findings.figures import MARKERS, colour, count_seeds, seeds_text

PALE = "#F5ECA3"  # a range that counts as level


def sweep(table: pd.DataFrame, x: str, label: str, title: str) -> Figure:
    """The four numbers at the values of a setting that were measured: a dot per seed, a larger one at their mean.

    No line joins them: nothing was measured in between.

    Parameters
    ----------
    table : DataFrame
        ``sampling``, a column ``x``, ``seed`` and the four measures.
    x : str
    label : str, of the axis, with its unit
    title : str
    """
    values, samplings = sorted(table[x].unique()), list(dict.fromkeys(table["sampling"]))
    figure, axes = plt.subplots(2, 2, figsize=(7.2, 4.6), sharex=True)
    for axis, measure in zip(axes.flat, HEADLINE, strict=True):
        for number, sampling in enumerate(samplings):
            apart = 0.16 * (number - (len(samplings) - 1) / 2)
            look = {"marker": MARKERS.get(sampling, "o"), "ls": "", "color": colour(sampling)}
            for (_, value), rows in table[table["sampling"] == sampling].groupby(["sampling", x]):
                place = values.index(value) + apart
                axis.plot([place] * len(rows), rows[measure.name], ms=3, alpha=0.5, **look)
                axis.plot(place, rows[measure.name].mean(), ms=7, mec="white", mew=0.6, **look)
        axis.set(ylabel=measure.title, xlim=(-0.5, len(values) - 0.5))
        axis.set_xticks(range(len(values)), [f"{value:g}" for value in values])
        axis.grid(axis="x", visible=False)
    for axis in axes[1]:
        axis.set_xlabel(label)
    if len(samplings) > 1:
        figure.legend(handles=[Line2D([], [], marker=MARKERS.get(name, "o"), ls="", color=colour(name), label=name)
                               for name in samplings],
                      loc="upper center", ncol=len(samplings), bbox_to_anchor=(0.5, 0.02))
    figure.tight_layout()
    return head(figure, title, _dots(table))


def alpha(table: pd.DataFrame, title: str, band: tuple[float, float] = (0.4, 0.6)) -> Figure:
    """The trade-off: monolingual against multilingual mAP at each alpha measured, and rank distance at each.

    Parameters
    ----------
    table : DataFrame
        ``alpha``, ``sampling``, ``seed`` and the four measures.
    title : str
    band : (float, float)
        The range within which the paper sees little difference.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.2, 3.2))
    names = ["monolingual AP", "multilingual AP", "rank distance"]
    right.axvspan(*band, color=PALE, lw=0)
    right.text(sum(band) / 2, 1, "paper: little\ndifference", transform=right.get_xaxis_transform(), ha="center",
               va="top", fontsize=7.5)
    for value, rows in table.groupby("alpha"):
        means, sampling = rows[names].mean(), rows["sampling"].iloc[0]
        small = {"ls": "", "ms": 3, "alpha": 0.5, "color": colour(sampling), "marker": MARKERS.get(sampling, "o")}
        large = small | {"ms": 8, "alpha": 1, "mec": "white", "mew": 0.6}
        for axis, x, y in ((left, "monolingual AP", "multilingual AP"), (right, "alpha", "rank distance")):
            axis.plot(rows[x], rows[y], **small)
            axis.plot(value if x == "alpha" else means[x], means[y], **large)
        left.annotate(f"{value:g}", (means["monolingual AP"], means["multilingual AP"]), (6, -9),
                      textcoords="offset points", fontsize=8)
    left.set(xlabel="monolingual mAP", ylabel="multilingual mAP")
    left.xaxis.set_major_locator(plt.MaxNLocator(4))
    right.set(xlabel="alpha (ticks: what was measured)", ylabel="rank distance")
    right.set_xticks(sorted(table["alpha"].unique()))
    samplings = list(dict.fromkeys(table["sampling"]))
    figure.legend(handles=[Line2D([], [], marker=MARKERS.get(name, "o"), ls="", color=colour(name), label=name)
                           for name in samplings],
                  loc="upper center", ncol=len(samplings), bbox_to_anchor=(0.5, 0.02))
    figure.tight_layout()
    return head(figure, title, f"{_dots(table)} At a point its alpha.")


def _dots(table: pd.DataFrame) -> str:
    """What the dots are."""
    several = count_seeds(table) > 1
    return f"{seeds_text(count_seeds(table))}{' Small dots are seeds, large ones their means.' if several else ''}"


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
    figure.tight_layout()
    several = " Dots are seeds, upright bars their means." if count_seeds(table) > 1 else ""
    return head(figure, title, seeds_text(count_seeds(table)) + several)


def gains(confirmed: pd.DataFrame, title: str, called: Mapping[str, str] | None = None) -> Figure:
    """What systems gain or lose against one reference in the four numbers: filled where the interval excludes zero.

    Parameters
    ----------
    confirmed : DataFrame (see `reproduction.findings.claims.choose_recipe`), and ``seeds``
    title : str
    called : dict of system to name, optional
        What the field calls some of them.
    """
    order = list(dict.fromkeys(confirmed["system"]))
    names = list(dict.fromkeys(confirmed["benchmark"]))
    figure, axes = plt.subplots(1, 4, figsize=(9.4, 0.2 * len(order) * len(names) + 1.6), sharey=True)
    for axis, measure in zip(axes, HEADLINE, strict=True):
        for _, row in confirmed[confirmed["measure"] == measure.name].iterrows():
            place = order.index(row["system"]) + 0.28 * (names.index(row["benchmark"]) - (len(names) - 1) / 2)
            told, shade = row["low"] > 0 or row["high"] < 0, colour(row["system"])
            axis.plot([row["low"], row["high"]], [place] * 2, color=shade, lw=1.5)
            axis.plot(row["difference"], place, "os"[names.index(row["benchmark"]) % 2], ms=5, color=shade,
                      mfc=shade if told else "white")
        axis.axvline(0, color=INK, lw=0.8)
        axis.set(xlabel=f"difference in\n{measure.title}", yticks=range(len(order)), ylim=(len(order) - 0.5, -0.5))
        axis.xaxis.set_major_locator(plt.MaxNLocator(3))
    chosen = set(confirmed.loc[confirmed["chosen"], "system"])
    shown = [(called or {}).get(system, system) for system in order]
    axes[0].set_yticklabels([f"{name} (chosen)" if system in chosen else name
                             for system, name in zip(order, shown, strict=True)])
    handles = [Line2D([], [], marker="o", lw=1.5, color=INK, mfc=fill, label=label)
               for fill, label in ((INK, "zero is outside the interval"), ("white", "not told apart"))]
    handles += [Line2D([], [], color=INK, marker="os"[n % 2], lw=0, label=name) for n, name in enumerate(names)
                if len(names) > 1]
    figure.legend(handles=handles, loc="upper center", ncol=len(handles), bbox_to_anchor=(0.5, 0.02))
    figure.tight_layout()
    return head(figure, title, "Differences from Hybrid with 95 % intervals over articles and seeds; rank distance: "
                f"below zero is less biased. {seeds_text(count_seeds(confirmed))}")


def claims(parts: pd.DataFrame, title: str, level: float = 0.05) -> Figure:
    """Every comparison of the claims with its interval and the margin within which it counts as level.

    Parameters
    ----------
    parts : DataFrame (see `reproduction.findings.claims.judge_claims`)
    title : str
    level : float
        Of the corrected p-values.
    """
    shown = parts[parts["difference"].notna()].reset_index(drop=True)
    figure, axes = plt.subplots(1, 2, figsize=(9.4, 0.3 * len(shown) + 1.2), width_ratios=(2, 1))
    looks = {"shown": ("o", INK), "refuted": ("X", INK), "undecided": ("o", "white")}
    in_map = shown["measure"] != RANK_DISTANCE.name
    for axis, rows in ((axes[0], shown[in_map]), (axes[1], shown[~in_map])):
        names = []
        for place, (_, row) in enumerate(rows.iterrows()):
            axis.plot([-row["margin"], row["margin"]], [place] * 2, color=PALE, lw=9, solid_capstyle="butt", zorder=0)
            marker, fill = looks[part_word(row, level)]
            axis.plot([row["low"], row["high"]], [place] * 2, color=INK, lw=1.4)
            axis.plot(row["difference"], place, marker, color=INK, mfc=fill, ms=6)
            first, *_, second = row["comparison"].replace(" at least ", " | ").replace(" greater ", " | ").replace(
                " level ", " | ").partition(" | ")
            where = "" if row["languages"] == "all" else " (unseen)"
            kind = MEASURES[row["measure"]].title.removesuffix(" mAP")
            names.append(f"{row['claim']}: {first} − {second}, {row['benchmark']}{where}"
                         + (f", {kind}" if axis is axes[0] else ""))
        axis.axvline(0, color=INK, lw=0.8)
        axis.set(yticks=range(len(names)), ylim=(len(names) - 0.5, -0.5))
        axis.set_yticklabels(names, fontsize=8)
    axes[0].set_xlabel("difference in mAP")
    axes[1].set_xlabel("difference in rank distance")
    handles = [Line2D([], [], color=INK, marker=marker, mfc=fill, label=label)
               for label, (marker, fill) in looks.items()]
    handles += [Line2D([], [], color=PALE, lw=9, label="counts as level")]
    figure.legend(handles=handles, loc="upper center", ncol=4, bbox_to_anchor=(0.5, 0.02))
    figure.tight_layout()
    return head(figure, title, "95 % intervals over articles and seeds, each for itself; whether a comparison is shown "
                f"or refuted is told after Holm's correction over all. {seeds_text(count_seeds(shown))}")
