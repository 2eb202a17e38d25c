"""Numbers to pictures, in one style: the same colour for a system everywhere, safe for colour-blind readers."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.lines import Line2D

from hybridlib import evidence
from hybridlib.corpus import LANGUAGES

FOLDER = Path(__file__).resolve().parent.parent / "figures"
# Okabe and Ito 2008.
COLOURS = {"untrained": "#8C8C8C", "X-X": "#D55E00", "X-Y": "#0072B2", "Hybrid": "#009E73",
           "X-X mixed": "#CC79A7", "alternation": "#E69F00", "X-X then X-Y": "#56B4E9", "X-Y then X-X": "#882255"}
LANGUAGE_COLOURS = dict(zip(LANGUAGES, sns.husl_palette(len(LANGUAGES), s=0.7, l=0.75), strict=True))
SETTING_NAMES = {"monolingual AP": "monolingual", "crosslingual AP": "cross-lingual",
                 "multilingual AP": "multilingual"}


def colour(system):
    """The colour of a system; encoders that the paper does not know are black."""
    return COLOURS.get(system, "#000000")


def use_style():
    """Set the style of all figures: sized to be read at the width of a column."""
    sns.set_theme(style="whitegrid", context="paper", font_scale=1.1, rc={
        "figure.dpi": 110, "savefig.dpi": 160, "axes.titlesize": 11, "axes.titleweight": "bold",
        "axes.titlelocation": "left", "axes.spines.top": False, "axes.spines.right": False,
        "grid.linewidth": 0.5, "legend.frameon": False, "savefig.bbox": "tight"})


def save(figure, preset, name):
    """Write ``figures/<preset>/<name>.png``; returns the path."""
    path = FOLDER / preset / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path


def batches(samplers, steps, pairs=10):
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


def losses(tables, title):
    """Training loss per step and validation loss, for the runs of one or more samplings.

    Parameters
    ----------
    tables : dict of sampling to list of DataFrame (the ``losses.csv`` of its seeds)
    title : str
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.2, 2.9))
    for name, runs in tables.items():
        for number, run in enumerate(runs):
            label = name if number == 0 else None
            left.plot(run["step"], run["loss"], lw=0.5, alpha=0.35, color=COLOURS[name])
            smooth = run["loss"].rolling(9, center=True, min_periods=1).mean()
            left.plot(run["step"], smooth, color=COLOURS[name], label=label)
            checked = run.dropna(subset="eval_loss")
            right.plot(checked["step"], checked["eval_loss"], "o-", ms=4, color=COLOURS[name], label=label)
    left.set(xlabel="step", ylabel="training loss (nats)", ylim=(0, None))
    right.set(xlabel="step", ylabel="validation loss,\nEnglish (nats)", ylim=(0, None))
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    if len(tables) > 1:
        left.legend()
    figure.tight_layout()
    return figure


def headline(results, paper, title):
    """MAP of every system in the three settings, with 95 % intervals over articles; the paper's as diamonds.

    Parameters
    ----------
    results : DataFrame (see `hybridlib.presets.Preset.results`)
    paper : DataFrame (see `hybridlib.paper.headline`)
    title : str
    """
    systems = list(dict.fromkeys(results["system"]))
    figure, axes = plt.subplots(1, 3, figsize=(8.2, 2.7), sharey=True)
    for axis, (measure, name) in zip(axes, SETTING_NAMES.items(), strict=True):
        draws = evidence.bootstrap(results, measure, draws=2000)
        for row, system in enumerate(systems):
            low, high = evidence.interval(draws[system])
            axis.plot([low, high], [row, row], color=colour(system), lw=5, alpha=0.3, solid_capstyle="butt")
            value = _macro(results, system, measure)
            axis.plot(value, row, "o", color=colour(system), ms=7)
            axis.annotate(f"{value:.3f}", (value, row), (0, 7), textcoords="offset points", ha="center",
                          fontsize=8)
            if system in paper.index:
                axis.plot(paper.loc[system, measure], row, "D", mfc="white", mec=colour(system), ms=5)
        axis.set(xlabel=f"{name} mAP", yticks=range(len(systems)), ylim=(len(systems) - 0.5, -0.7))
        axis.set_yticklabels(systems)
        axis.margins(x=0.12)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    handles = [Line2D([], [], marker="o", ls="", color="#555", label="ours, 95 % interval over articles"),
               Line2D([], [], marker="D", ls="", mfc="white", mec="#555", label="paper, XLM-R on XQuAD-R")]
    figure.legend(handles=handles, loc="lower center", ncol=2, bbox_to_anchor=(0.5, -0.07))
    figure.tight_layout()
    return figure


def _macro(results, system, measure):
    rows = results[results["system"] == system]
    return rows.groupby("query_language")[measure].mean().mean()


def rank_distance(results, paper, title, unseen=("el", "vi")):
    """Rank distance per query language as a share of X-X's mean, so that pools of any size compare.

    Parameters
    ----------
    results : DataFrame (see `hybridlib.presets.Preset.results`)
    paper : DataFrame, query languages (and ``mean``) by samplings (see `hybridlib.paper.by_language`)
    title : str
    unseen : sequence of str
        Languages that were never trained on; marked with a star.
    """
    systems = [s for s in ("X-X", "X-Y", "Hybrid") if s in set(results["system"])]
    ours = results.groupby(["query_language", "system"])["rank distance"].mean().unstack()[systems]
    ours.loc["mean"] = ours.mean()
    order = [*ours.index.drop("mean"), "mean"]
    figure, axis = plt.subplots(figsize=(8.2, 2.9))
    width = 0.26
    for number, system in enumerate(systems):
        places = np.arange(len(order)) + (number - 1) * width
        share = ours.loc[order, system] / ours.loc["mean", "X-X"]
        axis.bar(places, share, width * 0.92, color=colour(system), label=system)
        theirs = paper.reindex(order)[system] / paper.loc["mean", "X-X"]
        axis.plot(places, theirs, ls="", marker="D", mfc="white", mec="black", mew=0.8, ms=4,
                  label="paper, XLM-R" if number == len(systems) - 1 else None)
    axis.axhline(1, color="#555", lw=0.8, ls=":")
    axis.set(xticks=range(len(order)), ylabel="rank distance\n(X-X's mean = 1)", xlabel="query language "
             "(* never trained on)")
    axis.set_xticklabels([f"{x}*" if x in unseen else x for x in order])
    axis.grid(axis="x", visible=False)
    axis.set_title(title)
    handles, labels = axis.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda i: labels[i].startswith("paper"))
    axis.legend([handles[i] for i in order], [labels[i] for i in order], ncol=4, loc="upper center",
                bbox_to_anchor=(0.5, -0.24))
    figure.tight_layout()
    return figure


def pool_ranks(ranks_by_system, title):
    """Where the relevant sentences stand in the pool: same language as the query against the others.

    Parameters
    ----------
    ranks_by_system : dict of system to ranks table (see `hybridlib.ranking.rank_benchmark`)
    title : str
    """
    figure, axis = plt.subplots(figsize=(8.2, 2.7))
    for row, (system, ranks) in enumerate(ranks_by_system.items()):
        same = ranks["language"] == ranks["query_language"]
        medians = []
        for offset, rows, filled in ((-0.14, ranks[same], True), (0.14, ranks[~same], False)):
            quartiles = rows["rank_in_pool"].quantile([0.25, 0.5, 0.75]).to_numpy()
            axis.plot(quartiles[[0, 2]], [row + offset] * 2, color=colour(system), lw=5, alpha=0.3,
                      solid_capstyle="butt")
            axis.plot(quartiles[1], row + offset, "o", color=colour(system), ms=7,
                      mfc=colour(system) if filled else "white")
            medians.append(quartiles[1])
    axis.set(xscale="log", xlabel="rank of the relevant sentence in the pool of all languages "
             "(median, middle half)", yticks=range(len(ranks_by_system)))
    axis.set_yticklabels(ranks_by_system)
    axis.invert_yaxis()
    axis.set_title(title)
    axis.legend(handles=[Line2D([], [], marker="o", ls="", color="#555", label="in the query's language"),
                         Line2D([], [], marker="o", ls="", color="#555", mfc="white",
                                label="in another language")], loc="upper center", ncol=2,
                bbox_to_anchor=(0.5, -0.24))
    figure.tight_layout()
    return figure


def heat_map(pairs, title):
    """The mAP of every pair of query and candidate language, as a grid of numbers.

    Parameters
    ----------
    pairs : DataFrame (see `hybridlib.metrics.language_pairs`)
    title : str
    """
    figure, axis = plt.subplots(figsize=(6.4, 4.6))
    sns.heatmap(pairs, ax=axis, annot=True, fmt=".2f", annot_kws={"fontsize": 7.5}, cmap="cividis",
                cbar_kws={"label": "mAP"}, linewidths=0.4)
    axis.set(xlabel="language of the candidates", ylabel="language of the query")
    axis.set_title(title)
    axis.tick_params(rotation=0, length=0)
    figure.tight_layout()
    return figure


def top_shares(shares, pool, title):
    """Whose the first ten of the pool are: each language's share, over its share of the pool, per query language.

    Parameters
    ----------
    shares : DataFrame (see `hybridlib.metrics.top_shares`)
    pool : Series
        Share of each language in the pool; 1 is what an encoder blind to languages would give.
    title : str
    """
    ratio = shares / pool[shares.columns]
    ratio.loc["mean"] = ratio.mean()
    figure, axis = plt.subplots(figsize=(6.4, 4.8))
    limit = np.log2(max(ratio.max(axis=None), 2))
    with np.errstate(divide="ignore"):
        shown = np.log2(ratio).clip(-limit, limit)
    sns.heatmap(shown, ax=axis, annot=ratio, fmt=".1f", annot_kws={"fontsize": 7.5}, cmap="PuOr_r", vmin=-limit,
                vmax=limit, linewidths=0.4, cbar_kws={"label": "share of the top 10 / share of the pool"})
    bar = axis.collections[0].colorbar
    ticks = np.arange(-np.floor(limit), np.floor(limit) + 1)
    bar.set_ticks(ticks, labels=[f"{2.0**tick:g}" for tick in ticks])
    axis.set(xlabel="language of the candidates in the top 10", ylabel="language of the query")
    axis.set_title(title)
    axis.tick_params(rotation=0, length=0)
    figure.tight_layout()
    return figure


def rank_distances(table, chance, title):
    """The distribution of rank distance per query language: median, middle half, and 5 to 95 % of the queries.

    Parameters
    ----------
    table : DataFrame (see `hybridlib.metrics.per_query`)
    chance : float
        What a random order of the pool would give.
    title : str
    """
    quantiles = table.groupby("query_language")["rank distance"].quantile([0.05, 0.25, 0.5, 0.75, 0.95]).unstack()
    means = table.groupby("query_language")["rank distance"].mean()
    figure, axis = plt.subplots(figsize=(6.4, 3.2))
    for place, (language, row) in enumerate(quantiles.clip(lower=1).iterrows()):
        axis.plot([place] * 2, row[[0.05, 0.95]], color="#555", lw=0.8)
        axis.plot([place] * 2, row[[0.25, 0.75]], color="#0072B2", lw=8, alpha=0.4, solid_capstyle="butt")
        axis.plot(place, row[0.5], "o", color="#0072B2", ms=5)
        axis.plot(place, means[language], "_", color="black", ms=11, mew=1.6)
    axis.axhline(chance, color="#D55E00", lw=1, ls="--")
    axis.set(yscale="log", ylabel="rank distance", xlabel="language of the query", xticks=range(len(quantiles)))
    axis.set_xticklabels(quantiles.index)
    axis.grid(axis="x", visible=False)
    axis.set_title(title)
    axis.legend(handles=[Line2D([], [], marker="o", ls="", color="#0072B2", label="median"),
                         Line2D([], [], color="#0072B2", lw=8, alpha=0.4, label="middle half"),
                         Line2D([], [], color="#555", lw=0.8, label="5 to 95 %"),
                         Line2D([], [], marker="_", ls="", color="black", ms=11, label="mean"),
                         Line2D([], [], color="#D55E00", lw=1, ls="--", label="chance")],
                ncol=5, loc="upper center", bbox_to_anchor=(0.5, -0.2), columnspacing=1, handletextpad=0.5)
    figure.tight_layout()
    return figure


def sweep(table, x, label, title, *, logarithmic=False):
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
    measures = {**SETTING_NAMES, "rank distance": "rank distance"}
    for axis, (measure, name) in zip(axes.flat, measures.items(), strict=True):
        for sampling, rows in table.groupby("sampling", sort=False):
            axis.plot(rows[x], rows[measure], "o", ms=3, alpha=0.45, color=colour(sampling))
            means = rows.groupby(x)[measure].mean()
            axis.plot(means.index, means, color=colour(sampling), lw=1.6, label=sampling)
        axis.set_ylabel(name if measure == "rank distance" else f"{name} mAP")
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


def alpha(table, title, band=(0.4, 0.6)):
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


def systems(table, title, order=None):
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
    measures = {**SETTING_NAMES, "rank distance": "rank distance"}
    for axis, (measure, name) in zip(axes, measures.items(), strict=True):
        for row, system in enumerate(order):
            values = table.loc[table["system"] == system, measure]
            shade = colour(system.partition(" + ")[0])
            axis.plot(values, [row] * len(values), "o", ms=3.5, alpha=0.5, color=shade)
            axis.plot([values.mean()] * 2, [row - 0.3, row + 0.3], color=shade, lw=2)
        axis.set(xlabel=name if measure == "rank distance" else f"{name} mAP", yticks=range(len(order)),
                 ylim=(len(order) - 0.5, -0.5))
        axis.set_yticklabels(order)
        axis.margins(x=0.08)
        axis.xaxis.set_major_locator(plt.MaxNLocator(3))
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    figure.tight_layout()
    return figure


def gains(confirmed, title):
    """What systems gain or lose against one reference in the four numbers, with intervals; the chosen one in colour.

    Parameters
    ----------
    confirmed : DataFrame (see `hybridlib.evidence.recipe`)
    title : str
    """
    order = list(dict.fromkeys(confirmed["system"]))
    names = list(dict.fromkeys(confirmed["benchmark"]))
    measures = {**SETTING_NAMES, "rank distance": "rank distance"}
    figure, axes = plt.subplots(1, 4, figsize=(9.4, 0.2 * len(order) * len(names) + 1.6), sharey=True)
    for axis, (measure, name) in zip(axes, measures.items(), strict=True):
        for _, row in confirmed[confirmed["measure"] == measure].iterrows():
            place = order.index(row["system"]) + 0.28 * (names.index(row["benchmark"]) - (len(names) - 1) / 2)
            side = int(row["low"] > 0) - int(row["high"] < 0)
            better = -side if measure == "rank distance" else side
            shade = {1: "#009E73", 0: "#777", -1: "#D55E00"}[better if row["chosen"] else 0]
            axis.plot([row["low"], row["high"]], [place] * 2, color=shade, lw=1.5)
            axis.plot(row["difference"], place, "os"[names.index(row["benchmark"]) % 2], ms=4.5, color=shade)
        axis.axvline(0, color="#555", lw=0.8)
        axis.set(xlabel=name if measure == "rank distance" else f"{name} mAP", yticks=range(len(order)),
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


def claims(parts, title):
    """Every comparison of the claims with its interval and the margin within which it counts as level.

    Parameters
    ----------
    parts : DataFrame (see `hybridlib.evidence.judge_claims`)
    title : str
    """
    shown = parts[parts["difference"].notna()].reset_index(drop=True)
    figure, axes = plt.subplots(1, 2, figsize=(9.4, 0.3 * len(shown) + 1.2), width_ratios=(2, 1))
    for axis, rows in ((axes[0], shown[shown["measure"] != "rank distance"]),
                       (axes[1], shown[shown["measure"] == "rank distance"])):
        names = []
        for place, (_, row) in enumerate(rows.iterrows()):
            axis.plot([-row["margin"], row["margin"]], [place] * 2, color="#ddd", lw=9, solid_capstyle="butt", zorder=0)
            shade = "#009E73" if row["holm_for"] <= 0.05 else "#D55E00" if row["holm_against"] <= 0.05 else "#555"
            axis.plot([row["low"], row["high"]], [place] * 2, color=shade, lw=1.6)
            axis.plot(row["difference"], place, "o", color=shade, ms=5)
            first, *_, second = row["comparison"].replace(" at least ", " | ").replace(" greater ", " | ").replace(
                " level ", " | ").partition(" | ")
            where = "" if row["languages"] == "all" else " (unseen)"
            kind = row["measure"].removesuffix(" AP").replace("crosslingual", "cross-lingual")
            names.append(f"{row['claim']}: {first} − {second}, {row['benchmark']}{where}"
                         + ("" if kind == "rank distance" else f", {kind}"))
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
