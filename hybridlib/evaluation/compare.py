"""Two encoders on one test set: what differs, and how sure that is."""

import html
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from hybridlib import files
from hybridlib.evaluation.intervals import NO_SEED, differences
from hybridlib.evaluation.measures import HEADLINE, KEY, MEASURES, OWN_LANGUAGE, macro
from hybridlib.evaluation.report import STYLE, Report

COMPARED = (*HEADLINE, *OWN_LANGUAGE)


@dataclass(frozen=True, eq=False)
class Comparison:
    """One report minus another.

    Attributes
    ----------
    first, second : str
        The models' names.
    test_set : str
    table : DataFrame
        A row per measure, by its name: ``first``, ``second``, their ``difference``, and ``low`` and ``high``, the 95 %
        interval of that, paired, over clusters of questions.
    """

    first: str
    second: str
    test_set: str
    table: pd.DataFrame

    def shown(self) -> pd.DataFrame:
        """The table as it is printed."""
        rows = {}
        for name, row in self.table.iterrows():
            measure = MEASURES[name]
            low, high = (measure.text(row[end], signed=True) for end in ("low", "high"))
            rows[measure.title] = {"first": measure.text(row["first"]), "second": measure.text(row["second"]),
                                   "difference": measure.text(row["difference"], signed=True),
                                   "95 % interval": f"[{low}, {high}]"}
        return pd.DataFrame(rows).T

    def text(self) -> str:
        """The table to print, under the names of the two."""
        return (f"first: {self.first}\nsecond: {self.second}\nfirst minus second on {self.test_set}\n"
                f"{self.shown().to_string()}\n")

    def write(self, folder: str | Path) -> Path:
        """Write ``comparison.csv`` and a page, ``comparison.html``; returns the page."""
        folder = Path(folder)
        with files.atomic(folder / "comparison.csv") as temporary:
            self.table.rename_axis("measure").to_csv(temporary)
        title = html.escape(f"{self.first} minus {self.second} on {self.test_set}")
        with files.atomic(folder / "comparison.html") as temporary:
            temporary.write_text(
                f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
                f"<h1>{title}</h1>{self.shown().to_html(border=0)}"
                "<p>Intervals: 95 %, of the paired difference, from resampling whole clusters of questions, such as "
                "articles. Rank distance, ranks, and answers above the own-language one: lower is better.</p></html>\n",
                "utf-8")
        return folder / "comparison.html"


def compare(first: Report, second: Report) -> Comparison:
    """The headline of a report, and what it does to the own language, minus that of another on the same test set.

    Means are over the queries that have something to measure, which are the same in both.

    Raises
    ------
    ValueError
        If the reports are not of the same test set; it says what differs.
    """
    if differ := _what_differs(first, second):
        raise ValueError(f"{first.model} on {first.test_set} and {second.model} on {second.test_set} cannot be "
                         f"compared: {differ}")
    # Under names of their own: the models' may be the same, as they are before and after a remedy.
    results = pd.concat([report.queries.assign(system=name, seed=NO_SEED)
                         for name, report in (("first", first), ("second", second))])
    values = pd.DataFrame({str(measure): macro(results, measure).droplevel("seed") for measure in COMPARED}).T
    return Comparison(first.model, second.model, first.test_set,
                      values.join(differences(results, "first", "second", COMPARED))
                      [["first", "second", "difference", "low", "high"]])


def _what_differs(first: Report, second: Report) -> str | None:
    """Why two reports are not of one test set; None if nothing says so."""
    if first.test_set != second.test_set:
        return "their test sets have different names"
    asked = [set(report.queries[KEY].itertuples(index=False, name=None)) for report in (first, second)]
    if asked[0] != asked[1]:
        query = min(asked[0] ^ asked[1])
        return (f"{len(asked[0] ^ asked[1])} queries are in one only, the first of them question {query[0]!r} in "
                f"{query[2]} (cluster {query[1]!r})")
    columns = ["question", "query_language", "language", "grade"]
    judged = [report.ranks[columns].sort_values(columns).to_numpy() for report in (first, second)]
    if not np.array_equal(*judged):
        return "other candidates are relevant, or have other grades"
    pools = [report.top10.loc["pool"] for report in (first, second)]
    # The pool's size is in what chance gives.
    if not pools[0].equals(pools[1]) or not first.headline["chance"].equals(second.headline["chance"]):
        return "their pools are of different sizes"
    return None
