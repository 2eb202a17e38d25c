"""Results to tables: ours with intervals, the paper's beside them."""

import html
from collections.abc import Mapping, Sequence

import pandas as pd
from pandas.io.formats.style import Styler

from hybridlib import languages
from hybridlib.evaluation import HEADLINE, MEASURES, NO_SEED, Measure, differences, estimates, macro, what_varies
from reproduction import published

PAIRS = (("X-Y", "X-X"), ("Hybrid", "X-X"), ("Hybrid", "X-Y"))


def headline(results: pd.DataFrame, draws: int = 10_000) -> pd.DataFrame:
    """The four numbers of every system as text, with 95 % intervals over `hybridlib.evaluation.what_varies`.

    Parameters
    ----------
    results : DataFrame (see `reproduction.run.Store.results`)
    draws : int, of the bootstrap
    """
    return pd.DataFrame({measure.title: {
        system: f"{measure.text(row['value'])} [{measure.text(row['low'])}, {measure.text(row['high'])}]"
        for system, row in estimates(results, measure, draws).iterrows()} for measure in HEADLINE})


def pairwise(results: pd.DataFrame, pairs: Sequence[tuple[str, str]] = PAIRS, draws: int = 10_000) -> pd.DataFrame:
    """Paired differences of systems in the four numbers, as text; a star where the interval excludes zero."""
    table: dict[str, dict[str, str]] = {measure.title: {} for measure in HEADLINE}
    for first, second in pairs:
        rows = differences(results, first, second, HEADLINE, draws)
        for measure in HEADLINE:
            table[measure.title][f"{first} − {second}"] = difference_text(measure, *rows.loc[measure.name])
    return pd.DataFrame(table)


def difference_text(measure: Measure, value: float, low: float, high: float) -> str:
    """A difference with its interval, and a star where that excludes zero.

    >>> difference_text(MEASURES["multilingual AP"], 0.01, 0.002, 0.02)
    '+0.010 [+0.002, +0.020] *'
    """
    shown = [measure.text(number, signed=True) for number in (value, low, high)]
    return f"{shown[0]} [{shown[1]}, {shown[2]}]" + (" *" if low > 0 or high < 0 else "")


def signed(rows: pd.DataFrame) -> pd.DataFrame:
    """Differences as text, like `pairwise`: a row per test set and pair of systems, a column per number.

    Parameters
    ----------
    rows : DataFrame (see `reproduction.findings.sweeps.against`)
    """
    text = [difference_text(MEASURES[name], *values) for name, *values in
            rows[["measure", "difference", "low", "high"]].itertuples(index=False)]
    pairs = rows["system"] + " − " + rows["reference"]
    shown = rows.assign(text=text, pair=pairs, measure=rows["measure"].map(lambda name: MEASURES[name].title))
    return shown.pivot_table(index=["benchmark", "pair"], columns="measure", values="text", aggfunc="first",
                             sort=False).rename_axis(index=[None, None], columns=None)


def per_seed(results: pd.DataFrame) -> pd.DataFrame:
    """The four numbers of every trained run, a row per system and seed."""
    trained = results[results["seed"] != NO_SEED]
    return pd.DataFrame({measure.title: macro(trained, measure) for measure in HEADLINE})


def paper_headline(model: str = "XLM-R", dataset: str = "XQuAD-R") -> pd.DataFrame:
    """The paper's four numbers (its Tables 1 and 2), shaped like `headline`."""
    means = published.means([measure.name for measure in HEADLINE], dataset, model)
    return means.rename(columns={measure.name: measure.title for measure in HEADLINE})


def paper_dataset(test_set: str) -> str:
    """The dataset of the paper to stand beside a test set; XQuAD-R beside one that the paper does not have."""
    return published.PAPER_NAMES.get(test_set, "XQuAD-R")


def beside_paper(results: pd.DataFrame, measure: str, dataset: str = "XQuAD-R") -> pd.DataFrame:
    """One measure per query language: ours, the paper's, and ours minus the paper's.

    Parameters
    ----------
    results : DataFrame (see `reproduction.run.Store.results`)
    measure : str, a key of `reproduction.published.COLUMNS` or ``"rank distance"``
    dataset : {"XQuAD-R", "MLQA-R"}

    Returns
    -------
    DataFrame
        Rows are languages and ``mean``; columns ``(ours | paper, XLM-R | paper, LaBSE | ours − XLM-R, system)``.
    """
    ours = results.groupby(["query_language", "system"])[measure].mean().unstack()
    ours = ours[list(dict.fromkeys(results["system"]))]
    ours.loc["mean"] = ours.mean()
    theirs = {model: published.by_language(measure, dataset, model).reindex(ours.index) for model in published.MODELS}
    both = [system for system in ours if system in theirs["XLM-R"]]
    parts = {"ours": ours} | {f"paper, {model}": table for model, table in theirs.items()}
    if both:
        parts["ours − XLM-R"] = (ours - theirs["XLM-R"])[both]
    return pd.concat(parts, axis=1)


def as_paper(table: pd.DataFrame, measure: str) -> Styler:
    """A table of `beside_paper` as the paper prints its own: the best of a row bold, the second best underlined.

    Within ours and within each of the paper's encoders apart; the differences are plain.
    """
    digits, ascending = MEASURES[measure].digits, not MEASURES[measure].higher_is_better

    def mark(row: pd.Series) -> pd.Series:
        place = row.rank(ascending=ascending, method="min")
        return place.map({1: "font-weight:bold", 2: "text-decoration:underline"}).fillna("")

    style = table.style.format(f"{{:.{digits}f}}", na_rep="")
    for part in table.columns.unique(0):
        columns = [column for column in table.columns if column[0] == part]
        if "−" in part:
            style = style.format(f"{{:+.{digits}f}}", columns, na_rep="")
        else:
            style = style.apply(mark, axis=1, subset=columns)
    return style.set_uuid(measure.replace(" ", "-")).set_table_attributes('style="font-size:90%"')


def as_text(every: Mapping[str, pd.DataFrame], title: str) -> str:
    """The text that ``make reproduce`` ends with: per test set our table, the differences, and the paper's table.

    Parameters
    ----------
    every : dict of test set name to results
    title : str
    """
    parts = [title, ""]
    for name, results in every.items():
        dataset = paper_dataset(name)
        parts += [f"{name}: ours, with 95 % intervals over {what_varies(results)}",
                  headline(results).to_string(), "",
                  "Differences (* the interval excludes zero)", pairwise(results).to_string(), ""]
        if len(results.loc[results["seed"] != NO_SEED, "seed"].unique()) > 1:
            parts += ["Each seed", per_seed(results).round(3).to_string(), ""]
        parts += [f"The paper, XLM-R on {dataset} (no intervals given)",
                  paper_headline(dataset=dataset).to_string(), ""]
    return "\n".join(parts)


def parallel(texts: Mapping[str, str | Sequence[str]]) -> str:
    """An HTML table of one text in several languages, right-to-left text set right.

    Parameters
    ----------
    texts : dict of language to text, or to a list of texts
    """
    rows = []
    for language, value in texts.items():
        shown = "<br>".join(html.escape(text) for text in ([value] if isinstance(value, str) else value))
        rtl = languages.is_right_to_left(language)
        rows.append(f'<tr><td style="text-align:left"><b>{language}</b> {languages.NAMES.get(language, "")}</td>'
                    f'<td lang="{language}" dir="{"rtl" if rtl else "ltr"}" '
                    f'style="text-align:{"right" if rtl else "left"}">{shown}</td></tr>')
    return f"<table>{''.join(rows)}</table>"
