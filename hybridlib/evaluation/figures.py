"""The pictures of a report, in the style of all figures of the project; needs ``pip install hybridlib[report]``."""

import textwrap
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

# Okabe and Ito 2008: told apart by colour-blind readers, too. Grey is the untrained encoder and nothing else.
COLOURS = {"untrained": "#8C8C8C", "X-X": "#D55E00", "X-Y": "#0072B2", "Hybrid": "#009E73",
           "X-X mixed": "#CC79A7", "alternation": "#E69F00", "X-X then X-Y": "#56B4E9", "X-Y then X-X": "#882255"}
INK = "#222222"  # what belongs to no sampling: reference lines, keys to markers, the paper's numbers
_REPORT = "#332288"  # of the pictures of one encoder, whose sampling nobody need know


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


def head(figure: Figure, title: str, note: str = "") -> Figure:
    """Set a title over a finished figure, wrapped to its width, and under it in plain letters what it holds.

    Parameters
    ----------
    figure : Figure
        Laid out (``tight_layout``); it grows by what is set.
    title : str
    note : str
        How many seeds, say, and what the bars are.
    """
    texts, above = [], 0.0
    for text, size, weight, letter in ((note, 8.5, "normal", 0.56), (title, 11, "bold", 0.69)):
        # Letters are about so wide: a title must not reach over the figure's right edge.
        wide = int(figure.get_figwidth() * 72 / (letter * size))
        lines = textwrap.wrap(text, wide)
        if lines:
            texts.append((above + 0.05, "\n".join(lines), {"fontsize": size, "fontweight": weight}))
            above += (1.25 * size * len(lines) + 4) / 72
    width, before = figure.get_size_inches()
    height, places = before + above, figure.subplotpars
    figure.set_size_inches(width, height)
    figure.subplots_adjust(bottom=places.bottom * before / height, top=places.top * before / height)
    for place, text, font in texts:
        figure.text(0.01, (before + place) / height, text, ha="left", va="bottom", **font)
    return figure


def heat_map(pairs: pd.DataFrame, title: str, note: str = "") -> Figure:
    """The mAP of every pair of query and candidate language, as a grid of numbers.

    Parameters
    ----------
    pairs : DataFrame (see `hybridlib.evaluation.language_pairs`)
    title, note : str (see `head`)
    """
    figure, axis = plt.subplots(figsize=(6.4, 4.6))
    sns.heatmap(pairs, ax=axis, annot=True, fmt=".2f", annot_kws={"fontsize": 7.5}, cmap="cividis",
                cbar_kws={"label": "mAP"}, linewidths=0.4)
    axis.set(xlabel="language of the candidates", ylabel="language of the query")
    axis.tick_params(rotation=0, length=0)
    figure.tight_layout()
    return head(figure, title, note)


def top_shares(shares: pd.DataFrame, pool: pd.Series, title: str, note: str = "",
               largest: float | None = None) -> Figure:
    """Whose the first ten of the pool are: each language's share, over its share of the pool, per query language.

    Parameters
    ----------
    shares : DataFrame (see `hybridlib.evaluation.top_shares`)
    pool : Series
        Share of each language in the pool; 1 is what an encoder blind to languages would give.
    title, note : str (see `head`)
    largest : float, optional
        The ratio at the end of the colours, the same for pictures that are compared; by default the largest here.
    """
    ratio = shares / pool[shares.columns]
    ratio.loc["mean"] = ratio.mean()
    figure, axis = plt.subplots(figsize=(6.4, 4.8))
    limit = np.log2(max(largest or ratio.max(axis=None), 2))
    with np.errstate(divide="ignore"):
        shown = np.log2(ratio).clip(-limit, limit)
    # From dark to light throughout, so that too little and too much differ in grey print as well.
    sns.heatmap(shown, ax=axis, annot=ratio, fmt=".1f", annot_kws={"fontsize": 7.5}, cmap="cividis", vmin=-limit,
                vmax=limit, linewidths=0.4, cbar_kws={"label": "share of the top 10 / share of the pool"})
    bar = axis.collections[0].colorbar
    ticks = np.arange(-np.floor(limit), np.floor(limit) + 1)
    bar.set_ticks(ticks, labels=[f"{2.0**tick:g}" for tick in ticks])
    axis.set(xlabel="language of the candidates in the top 10", ylabel="language of the query")
    axis.tick_params(rotation=0, length=0)
    figure.tight_layout()
    return head(figure, title, note)


def rank_distances(table: pd.DataFrame, chance: float, title: str, note: str = "") -> Figure:
    """The distribution of rank distance per query language: median, middle half, and 5 to 95 % of the queries.

    Parameters
    ----------
    table : DataFrame (see `hybridlib.evaluation.per_query`)
    chance : float
        What a random order of the pool would give.
    title, note : str (see `head`)
    """
    quantiles = table.groupby("query_language")["rank distance"].quantile([0.05, 0.25, 0.5, 0.75, 0.95]).unstack()
    means = table.groupby("query_language")["rank distance"].mean()
    figure, axis = plt.subplots(figsize=(6.4, 3.2))
    for place, (language, row) in enumerate(quantiles.clip(lower=1).iterrows()):
        axis.plot([place] * 2, row[[0.05, 0.95]], color=INK, lw=0.8)
        axis.plot([place] * 2, row[[0.25, 0.75]], color=_REPORT, lw=8, alpha=0.4, solid_capstyle="butt")
        axis.plot(place, row[0.5], "o", color=_REPORT, ms=5)
        axis.plot(place, means[language], "_", color=INK, ms=11, mew=1.6)
    axis.axhline(chance, color=INK, lw=1, ls="--")
    axis.set(yscale="log", ylabel="rank distance", xlabel="language of the query", xticks=range(len(quantiles)))
    axis.set_xticklabels(quantiles.index)
    axis.grid(axis="x", visible=False)
    axis.legend(handles=[Line2D([], [], marker="o", ls="", color=_REPORT, label="median"),
                         Line2D([], [], color=_REPORT, lw=8, alpha=0.4, label="middle half"),
                         Line2D([], [], color=INK, lw=0.8, label="5 to 95 %"),
                         Line2D([], [], marker="_", ls="", color=INK, ms=11, label="mean"),
                         Line2D([], [], color=INK, lw=1, ls="--", label="chance")],
                ncol=5, loc="upper center", bbox_to_anchor=(0.5, -0.2), columnspacing=1, handletextpad=0.5)
    figure.tight_layout()
    return head(figure, title, note)
