"""Results to tables: ours with intervals, the paper's beside them."""

import html

import pandas as pd

from hybridlib import evidence, paper
from hybridlib.corpus import LANGUAGE_NAMES, RIGHT_TO_LEFT

HEADLINE = {"monolingual AP": "monolingual mAP", "crosslingual AP": "cross-lingual mAP",
            "multilingual AP": "multilingual mAP", "rank distance": "rank distance"}


def _format(measure, *values):
    digits = 1 if measure == "rank distance" else 3
    return [f"{value:.{digits}f}" for value in values]


def _mean(results, system, measure):
    rows = results[results["system"] == system]
    return rows.groupby("query_language")[measure].mean().mean()


def headline(results, draws=10_000):
    """The four numbers of every system with their 95 % intervals over articles, as text.

    Parameters
    ----------
    results : DataFrame (see `hybridlib.presets.Preset.results`)
    draws : int, of the bootstrap
    """
    table = {}
    for measure, title in HEADLINE.items():
        resampled = evidence.bootstrap(results, measure, draws)
        table[title] = {}
        for system in resampled:
            value, low, high = _format(measure, _mean(results, system, measure),
                                       *evidence.interval(resampled[system]))
            table[title][system] = f"{value} [{low}, {high}]"
    return pd.DataFrame(table)


def difference(results, measure, first, second, draws=10_000):
    """``(estimate, low, high)`` of ``first`` minus ``second``, a 95 % interval by paired resampling of articles."""
    resampled = evidence.bootstrap(results, measure, draws)
    low, high = evidence.interval(resampled[first] - resampled[second])
    return _mean(results, first, measure) - _mean(results, second, measure), low, high


def differences(results, pairs=(("X-Y", "X-X"), ("Hybrid", "X-X"), ("Hybrid", "X-Y")), draws=10_000):
    """Paired differences of systems in the four numbers, as text; a star where the interval excludes zero."""
    table = {}
    for measure, title in HEADLINE.items():
        table[title] = {}
        for first, second in pairs:
            value, low, high = difference(results, measure, first, second, draws)
            shown = [f"{number:+.{1 if measure == 'rank distance' else 3}f}" for number in (value, low, high)]
            star = " *" if low > 0 or high < 0 else ""
            table[title][f"{first} − {second}"] = f"{shown[0]} [{shown[1]}, {shown[2]}]{star}"
    return pd.DataFrame(table)


def seeds(results):
    """The four numbers of every trained run, a row per system and seed."""
    trained = results[results["seed"] >= 0]
    by_language = trained.groupby(["system", "seed", "query_language"], sort=False)[list(HEADLINE)].mean()
    return by_language.groupby(["system", "seed"], sort=False).mean().rename(columns=HEADLINE)


def paper_headline(model="XLM-R", dataset="XQuAD-R"):
    """The paper's four numbers (its Tables 1 and 2), shaped like `headline`."""
    return paper.headline(HEADLINE, dataset, model).rename(columns=HEADLINE)


def beside_paper(results, measure, model="XLM-R", dataset="XQuAD-R"):
    """One measure per query language: ours and, where the paper has the language, the paper's.

    Returns
    -------
    DataFrame
        Rows are languages and ``mean``; columns ``(ours | paper, sampling)``.
    """
    ours = results.groupby(["query_language", "system"])[measure].mean().unstack()
    ours = ours[[s for s in ("untrained", "X-X", "X-Y", "Hybrid") if s in ours]]
    ours.loc["mean"] = ours.mean()
    theirs = paper.by_language(measure, dataset, model).reindex(ours.index)
    return pd.concat({"ours": ours, f"paper, {model}": theirs}, axis=1).round(
        1 if measure == "rank distance" else 3)


def as_text(results, title):
    """The text that ``make reproduce`` ends with: our table, the differences, and the paper's table."""
    parts = [title, "", "Ours, with 95 % intervals over articles", headline(results).to_string(), "",
             "Differences (* the interval excludes zero)", differences(results).to_string(), ""]
    if results["seed"].nunique() > 2:
        parts += ["Each seed", seeds(results).round(3).to_string(), ""]
    parts += ["The paper, XLM-R on XQuAD-R (no intervals given)", paper_headline().to_string()]
    return "\n".join(parts) + "\n"


def parallel(texts):
    """An HTML table of one text in several languages, right-to-left text set right.

    Parameters
    ----------
    texts : dict of language to text, or to a list of texts
    """
    rows = []
    for language, value in texts.items():
        shown = "<br>".join(html.escape(text) for text in ([value] if isinstance(value, str) else value))
        rtl = language in RIGHT_TO_LEFT
        rows.append(f'<tr><td style="text-align:left"><b>{language}</b> {LANGUAGE_NAMES.get(language, "")}</td>'
                    f'<td lang="{language}" dir="{"rtl" if rtl else "ltr"}" '
                    f'style="text-align:{"right" if rtl else "left"}">{shown}</td></tr>')
    return f"<table>{''.join(rows)}</table>"
