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
           "X-X mixed": "#CC79A7"}
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
