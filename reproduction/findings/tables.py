"""Results to tables: ours with intervals, the paper's beside them."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from hybridlib import languages
from hybridlib.evaluation import HEADLINE, MEASURES, NO_SEED, Measure, differences, estimates, macro, what_varies
from reproduction import published
from reproduction.findings.claims import part_word

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
        for system, row in estimates(results, measure, draws).iterrows()} for measure in HEADLINE}).rename_axis(
            columns=f"[95 % over {what_varies(results)}]")


def pairwise(results: pd.DataFrame, pairs: Sequence[tuple[str, str]] = PAIRS, draws: int = 10_000) -> pd.DataFrame:
    """Paired differences of systems in the four numbers, as text; a star where the interval excludes zero."""
    table: dict[str, dict[str, str]] = {measure.title: {} for measure in HEADLINE}
    for first, second in pairs:
        rows = differences(results, first, second, HEADLINE, draws)
        for measure in HEADLINE:
            table[measure.title][f"{first} − {second}"] = difference_text(measure, *rows.loc[measure.name])
    return pd.DataFrame(table).rename_axis(columns=f"[95 % over {what_varies(results)}]")


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
    varies = "articles and seeds" if rows["seeds"].max() > 1 else "articles; one seed"
    text = [difference_text(MEASURES[name], *values) for name, *values in
            rows[["measure", "difference", "low", "high"]].itertuples(index=False)]
    pairs = rows["system"] + " − " + rows["reference"]
    shown = rows.assign(text=text, pair=pairs, measure=rows["measure"].map(lambda name: MEASURES[name].title))
    return shown.pivot_table(index=["benchmark", "pair"], columns="measure", values="text", aggfunc="first",
                             sort=False).rename_axis(index=[None, None], columns=f"[95 % over {varies}]")


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
    """One measure per query language: ours and the paper's.

    They are not subtracted: the encoders differ, and mostly the corpora too.

    Parameters
    ----------
    results : DataFrame (see `reproduction.run.Store.results`)
    measure : str, a key of `reproduction.published.COLUMNS` or ``"rank distance"``
    dataset : {"XQuAD-R", "MLQA-R"}

    Returns
    -------
    DataFrame
        Rows are languages and ``mean``; columns ``(ours | paper, XLM-R | paper, LaBSE, system)``.
    """
    ours = results.groupby(["query_language", "system"])[measure].mean().unstack()
    ours = ours[list(dict.fromkeys(results["system"]))]
    ours.loc["mean"] = ours.mean()
    theirs = {f"paper, {model}": published.by_language(measure, dataset, model).reindex(ours.index)
              for model in published.MODELS}
    return pd.concat({"ours": ours} | theirs, axis=1)


def as_paper(table: pd.DataFrame, measure: str) -> Styler:
    """A table of `beside_paper` as the paper prints its own: the best of a row bold, the second best underlined.

    Within ours and within each of the paper's encoders apart.
    """
    ascending = not MEASURES[measure].higher_is_better

    def mark(row: pd.Series) -> pd.Series:
        place = row.rank(ascending=ascending, method="min")
        return place.map({1: "font-weight:bold", 2: "text-decoration:underline"}).fillna("")

    style = table.style.format(f"{{:.{MEASURES[measure].digits}f}}", na_rep="")
    for part in table.columns.unique(0):
        style = style.apply(mark, axis=1, subset=[column for column in table.columns if column[0] == part])
    return style.set_uuid(measure.replace(" ", "-")).set_table_attributes('style="font-size:90%"')


def told(row: Mapping[str, Any]) -> str:
    """A difference as a sentence that says no more than its interval: above, below, or not told apart.

    Parameters
    ----------
    row : mapping (see `reproduction.findings.sweeps.against`)

    >>> row = {"system": "X-Y", "reference": "X-X", "measure": "multilingual AP", "seeds": 5}
    >>> told(row | {"difference": 0.1, "low": 0.05, "high": 0.15})
    'X-Y is above X-X in multilingual mAP: +0.100 [+0.050, +0.150] (95 %, articles and 5 seeds)'
    >>> told(row | {"difference": -0.01, "low": -0.05, "high": 0.03, "seeds": 1})
    'X-Y and X-X are not told apart in multilingual mAP: -0.010 [-0.050, +0.030] (95 %, articles only: one seed)'
    """
    measure, seeds = MEASURES[row["measure"]], int(row["seeds"])
    numbers = difference_text(measure, row["difference"], row["low"], row["high"]).removesuffix(" *")
    varies = {0: "articles; nothing was trained", 1: "articles only: one seed"}
    holds = f"(95 %, {varies.get(seeds, f'articles and {seeds} seeds')})"
    if row["low"] > 0 or row["high"] < 0:
        side = "above" if row["low"] > 0 else "below"
        return f"{row['system']} is {side} {row['reference']} in {measure.title}: {numbers} {holds}"
    return f"{row['system']} and {row['reference']} are not told apart in {measure.title}: {numbers} {holds}"


def told_of(results: pd.DataFrame, first: str, second: str, measure: Measure) -> str:
    """The sentence (see `told`) on the first system minus the second, computed from results."""
    row = differences(results, first, second, [measure]).loc[measure.name]
    seeds = results.loc[results["seed"] != NO_SEED, "seed"].nunique()
    return told({"system": first, "reference": second, "measure": measure.name, "seeds": seeds} | dict(row))


def told_apart(results: pd.DataFrame, measures: Sequence[Measure] = HEADLINE[:3],
               pairs: Sequence[tuple[str, str]] = PAIRS) -> str:
    """For a title: which of the pairs are told apart in each measure, the higher one first.

    Parameters
    ----------
    results : DataFrame (see `reproduction.run.Store.results`)
    measures : sequence of Measure
    pairs : sequence of (str, str)
    """
    every = {pair: differences(results, *pair, list(measures)) for pair in pairs}
    parts = []
    for measure in measures:
        apart = [f"{first} > {second}" if row["low"] > 0 else f"{second} > {first}"
                 for (first, second), rows in every.items() for row in [rows.loc[measure.name]]
                 if row["low"] > 0 or row["high"] < 0]
        parts.append(f"{measure.title.removesuffix(' mAP')} {', '.join(apart) or 'none'}")
    return f"Told apart by paired intervals: {'; '.join(parts)}"


def distinct(results: pd.DataFrame, measures: Sequence[Measure]) -> tuple[list[Measure], dict[str, str]]:
    """Those of some measures that are different numbers on these results, and what the others are the same as.

    Where each query has one relevant candidate, R@1 is P@1 and the reciprocal rank is the average precision.

    Returns
    -------
    (list of Measure, dict of title to title)
    """
    kept, same = [], {}
    for measure in measures:
        twin = next((other for other in [*HEADLINE, *kept] if other != measure and np.allclose(
            results[measure.name], results[other.name], equal_nan=True)), None)
        if twin:
            same[measure.title] = twin.title
        else:
            kept.append(measure)
    return kept, same


def answer_ranks(ranks_by_system: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Where the mixed pool puts the answers: median and upper quartile of their ranks, a row per system.

    Parameters
    ----------
    ranks_by_system : dict of system to ranks table (see `hybridlib.evaluation.rank_test_set`)

    Returns
    -------
    DataFrame
        Columns ``(own language | other languages, median | upper quartile)``.
    """
    rows = {}
    for system, ranks in ranks_by_system.items():
        ranks = ranks[ranks["rank_in_pool"] > 0]
        own = ranks["language"] == ranks["query_language"]
        rows[system] = {(side, name): part["rank_in_pool"].quantile(share)
                        for side, part in (("own language", ranks[own]), ("other languages", ranks[~own]))
                        for name, share in (("median", 0.5), ("upper quartile", 0.75))}
    return pd.DataFrame(rows).T


def claim_parts(parts: pd.DataFrame, level: float = 0.05) -> pd.DataFrame:
    """Every measured comparison of the claims, to read: with its interval, what it is asked, and what came out.

    Parameters
    ----------
    parts : DataFrame (see `reproduction.findings.claims.judge_claims`)
    level : float
        Of the corrected p-values.
    """
    rows = []
    for _, row in parts[parts["difference"].notna()].iterrows():
        measure, word = MEASURES[row["measure"]], part_word(row, level)
        outside = row["low"] > 0 or row["high"] < 0
        rows.append({
            "claim": row["claim"], "comparison": row["comparison"], "measure": measure.title,
            "on": row["benchmark"] + ("" if row["languages"] == "all" else f", {row['languages']}"),
            "difference [95 %, articles and seeds]": difference_text(
                measure, *row[["difference", "low", "high"]]).removesuffix(" *"),
            "margin": "0" if " greater " in row["comparison"] else measure.text(row["margin"]),
            "p for": f"{row['holm_for']:.2g}", "p against": f"{row['holm_against']:.2g}",
            "so": word + (" (Holm)" if word == "undecided" and outside else "")})
    return pd.DataFrame(rows).set_index(["claim", "comparison"])


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
