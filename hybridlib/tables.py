"""Results to tables: ours with intervals, the paper's beside them."""

import html

import pandas as pd

from hybridlib import evidence, paper
from hybridlib.benchmarks import PAPER_NAMES
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
    """The four numbers of every system as text, with 95 % intervals over `hybridlib.evidence.what_varies`.

    Parameters
    ----------
    results : DataFrame (see `hybridlib.presets.Preset.results`)
    draws : int, of the bootstrap
    """
    table = {}
    for measure, title in HEADLINE.items():
        resampled = evidence.draws_of(results, measure, draws)
        table[title] = {}
        for system in resampled:
            value, low, high = _format(measure, _mean(results, system, measure),
                                       *evidence.interval(resampled[system]))
            table[title][system] = f"{value} [{low}, {high}]"
    return pd.DataFrame(table)


def difference(results, measure, first, second, draws=10_000):
    """``(estimate, low, high)`` of ``first`` minus ``second``: a paired 95 % interval, see `evidence.draws_of`."""
    return tuple(evidence.confirm(results, first, second, [measure], draws).loc[measure, ["difference", "low", "high"]])


def differences(results, pairs=(("X-Y", "X-X"), ("Hybrid", "X-X"), ("Hybrid", "X-Y")), draws=10_000):
    """Paired differences of systems in the four numbers, as text; a star where the interval excludes zero."""
    table = {}
    for measure, title in HEADLINE.items():
        table[title] = {}
        for first, second in pairs:
            value, low, high = difference(results, measure, first, second, draws)
            table[title][f"{first} − {second}"] = _signed(measure, value, low, high)
    return pd.DataFrame(table)


def _signed(measure, value, low, high):
    shown = [f"{number:+.{1 if measure == 'rank distance' else 3}f}" for number in (value, low, high)]
    return f"{shown[0]} [{shown[1]}, {shown[2]}]" + (" *" if low > 0 or high < 0 else "")


def signed(rows):
    """Differences as text, like `differences`: a row per benchmark and pair of systems, a column per number.

    Parameters
    ----------
    rows : DataFrame (see `hybridlib.sweeps.against`)
    """
    text = [_signed(*row) for row in rows[["measure", "difference", "low", "high"]].itertuples(index=False)]
    pairs = rows["system"] + " − " + rows["reference"]
    shown = rows.assign(text=text, pair=pairs, measure=rows["measure"].map(HEADLINE))
    return shown.pivot_table(index=["benchmark", "pair"], columns="measure", values="text", aggfunc="first",
                             sort=False).rename_axis(index=[None, None], columns=None)


def seeds(results):
    """The four numbers of every trained run, a row per system and seed."""
    trained = results[results["seed"] >= 0]
    by_language = trained.groupby(["system", "seed", "query_language"], sort=False)[list(HEADLINE)].mean()
    return by_language.groupby(["system", "seed"], sort=False).mean().rename(columns=HEADLINE)


def paper_headline(model="XLM-R", dataset="XQuAD-R"):
    """The paper's four numbers (its Tables 1 and 2), shaped like `headline`."""
    return paper.headline(HEADLINE, dataset, model).rename(columns=HEADLINE)


def paper_dataset(benchmark):
    """The dataset of the paper to stand beside a benchmark; XQuAD-R beside one that the paper does not have."""
    return PAPER_NAMES.get(benchmark, "XQuAD-R")


def beside_paper(results, measure, dataset="XQuAD-R"):
    """One measure per query language: ours, the paper's, and ours minus the paper's.

    Parameters
    ----------
    results : DataFrame (see `hybridlib.presets.Preset.results`)
    measure : str, a key of `hybridlib.paper.COLUMNS` or ``"rank distance"``
    dataset : {"XQuAD-R", "MLQA-R"}

    Returns
    -------
    DataFrame
        Rows are languages and ``mean``; columns ``(ours | paper, XLM-R | paper, LaBSE | ours − XLM-R, system)``.
    """
    ours = results.groupby(["query_language", "system"])[measure].mean().unstack()
    ours = ours[list(dict.fromkeys(results["system"]))]
    ours.loc["mean"] = ours.mean()
    theirs = {model: paper.by_language(measure, dataset, model).reindex(ours.index) for model in paper.MODELS}
    both = [system for system in ours if system in theirs["XLM-R"]]
    parts = {"ours": ours} | {f"paper, {model}": table for model, table in theirs.items()}
    if both:
        parts["ours − XLM-R"] = (ours - theirs["XLM-R"])[both]
    return pd.concat(parts, axis=1)


def as_paper(table, measure):
    """A table of `beside_paper` as the paper prints its own: the best of a row bold, the second best underlined.

    Within ours and within each of the paper's encoders apart; the differences are plain.
    """
    lower_is_better = measure == "rank distance"

    def mark(row):
        place = row.rank(ascending=lower_is_better, method="min")
        return place.map({1: "font-weight:bold", 2: "text-decoration:underline"}).fillna("")

    style = table.style.format("{:.1f}" if measure == "rank distance" else "{:.3f}", na_rep="")
    for part in table.columns.unique(0):
        columns = [column for column in table.columns if column[0] == part]
        if "−" in part:
            style = style.format("{:+.1f}" if measure == "rank distance" else "{:+.3f}", columns, na_rep="")
        else:
            style = style.apply(mark, axis=1, subset=columns)
    return style.set_uuid(measure.replace(" ", "-")).set_table_attributes('style="font-size:90%"')


def as_text(every, title):
    """The text that ``make reproduce`` ends with: per benchmark our table, the differences, and the paper's table.

    Parameters
    ----------
    every : dict of benchmark name to results
    title : str
    """
    parts = [title, ""]
    for name, results in every.items():
        dataset = paper_dataset(name)
        parts += [f"{name}: ours, with 95 % intervals over {evidence.what_varies(results)}",
                  headline(results).to_string(), "",
                  "Differences (* the interval excludes zero)", differences(results).to_string(), ""]
        if results["seed"].nunique() > 2:
            parts += ["Each seed", seeds(results).round(3).to_string(), ""]
        parts += [f"The paper, XLM-R on {dataset} (no intervals given)",
                  paper_headline(dataset=dataset).to_string(), ""]
    return "\n".join(parts)


def as_markdown(table):
    """A table as Markdown, with its index.

    >>> print(as_markdown(pd.DataFrame({"a": [1], "b": ["x"]}, index=["row"])))
    |  | a | b |
    |---|---|---|
    | row | 1 | x |
    """
    def line(cells):
        return f"| {' | '.join(map(str, cells))} |"

    rows = [line([name, *values]) for name, values in zip(table.index, table.to_numpy(), strict=True)]
    return "\n".join([line(["", *table.columns]), "|---" * (1 + table.shape[1]) + "|", *rows])


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
