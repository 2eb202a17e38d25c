"""The pictures of a report, in the style of all figures of the project; needs ``pip install hybridlib[report]``."""

from collections.abc import Iterable

try:
    import matplotlib.pyplot as plt
    import seaborn as sns
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
except ImportError as error:
    raise ImportError("pictures need matplotlib and seaborn: pip install 'hybridlib[report]'") from error
import numpy as np
import pandas as pd

# Okabe and Ito 2008: told apart by colour-blind readers, too.
COLOURS = {"untrained": "#8C8C8C", "X-X": "#D55E00", "X-Y": "#0072B2", "Hybrid": "#009E73",
           "X-X mixed": "#CC79A7", "alternation": "#E69F00", "X-X then X-Y": "#56B4E9", "X-Y then X-X": "#882255"}


def use_style() -> None:
    """Set the style of all figures: sized to be read at the width of a column."""
    sns.set_theme(style="whitegrid", context="paper", font_scale=1.1, rc={
        "figure.dpi": 110, "savefig.dpi": 160, "axes.titlesize": 11, "axes.titleweight": "bold",
        "axes.titlelocation": "left", "axes.spines.top": False, "axes.spines.right": False,
        "grid.linewidth": 0.5, "legend.frameon": False, "savefig.bbox": "tight"})


def language_colours(languages: Iterable[str]) -> dict[str, tuple[float, float, float]]:
    """A pale colour for each language, in the order given; more than an eye can tell apart, so write the code too."""
    languages = list(languages)
    return dict(zip(languages, sns.husl_palette(len(languages), s=0.7, l=0.75), strict=True))


def heat_map(pairs: pd.DataFrame, title: str) -> Figure:
    """The mAP of every pair of query and candidate language, as a grid of numbers.

    Parameters
    ----------
    pairs : DataFrame (see `hybridlib.evaluation.language_pairs`)
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


def top_shares(shares: pd.DataFrame, pool: pd.Series, title: str) -> Figure:
    """Whose the first ten of the pool are: each language's share, over its share of the pool, per query language.

    Parameters
    ----------
    shares : DataFrame (see `hybridlib.evaluation.top_shares`)
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


def rank_distances(table: pd.DataFrame, chance: float, title: str) -> Figure:
    """The distribution of rank distance per query language: median, middle half, and 5 to 95 % of the queries.

    Parameters
    ----------
    table : DataFrame (see `hybridlib.evaluation.per_query`)
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
