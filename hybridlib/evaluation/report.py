"""The language-bias report of one encoder on one test set: numbers, tables, pictures, one page.

The numbers are functions of the ranks table (`hybridlib.evaluation.rank_test_set`); no part of it needs the encoder.
"""

import base64
import html
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from hybridlib import encoding, files
from hybridlib.data import TestSet
from hybridlib.evaluation.chance import chance
from hybridlib.evaluation.intervals import NO_SEED, estimates
from hybridlib.evaluation.measures import (
    HEADLINE,
    MEASURES,
    OWN_LANGUAGE,
    Measure,
    language_pairs,
    per_language,
    per_query,
    top_shares,
)
from hybridlib.evaluation.ranking import embed, rank_test_set

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from sentence_transformers import SentenceTransformer

STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;font-size:13px;margin:1em 0}td,th{padding:.2em .7em;text-align:right;
border-bottom:1px solid #ddd}img{max-width:100%}h1{font-size:1.5em}h2{font-size:1.15em;margin-top:2em}"""
ABOUT = ("encoder", "query prompt", "passage prompt", "precision", "device", "queries", "candidates", "tokens")


@dataclass(frozen=True, eq=False)
class Report:
    """What an encoder does on a test set.

    Attributes
    ----------
    model, test_set : str
    about : dict
        How it was made: encoder, prompts, precision, counts.
    headline : DataFrame
        The four numbers: ``value``, ``low`` and ``high`` (95 % interval over clusters of questions), ``chance``.
    languages : DataFrame
        All measures per query language, with a last row ``mean``.
    pairs : DataFrame
        mAP per query language and candidate language.
    top10 : DataFrame
        Share of each language in the first ten of the pool per query language, with a last row ``pool``: its
        share of the pool.
    queries : DataFrame
        All measures per query (`hybridlib.evaluation.per_query`).
    ranks : DataFrame
        What all of it is made from.
    """

    model: str
    test_set: str
    about: dict[str, Any]
    headline: pd.DataFrame
    languages: pd.DataFrame
    pairs: pd.DataFrame
    top10: pd.DataFrame
    queries: pd.DataFrame
    ranks: pd.DataFrame

    def own_language_factor(self) -> float:
        """How many times its share of the pool the query's own language takes of the top 10, mean over languages.

        Over the query languages that have candidates; NaN where none has.
        """
        shares = self.top10.drop(index="pool")
        own = [shares.loc[x, x] / self.top10.loc["pool", x] for x in shares.index if x in shares]
        return sum(own) / len(own) if own else float("nan")

    def own_language(self) -> pd.DataFrame:
        """Where the mixed pool puts the answer in the query's own language: per query language, and their mean.

        Returns
        -------
        DataFrame
            ``queries`` (those that have such an answer; in the last row all of them), ``median`` and ``mean`` of its
            rank, ``at 1``, the share of the queries where that is 1, and ``others above``, the mean share of the
            answers in other languages that stand above it; NaN where there is nothing to measure.
        """
        rank, first, above = (self.queries.groupby("query_language")[str(measure)] for measure in OWN_LANGUAGE)
        table = pd.DataFrame({"queries": rank.count(), "median": rank.median(), "mean": rank.mean(),
                              "at 1": first.mean(), "others above": above.mean()}).loc[list(self.top10.index[:-1])]
        table.loc["mean"] = table.mean()
        table.loc["mean", "queries"] = table["queries"].iloc[:-1].sum()
        return table.astype({"queries": int})

    def what_counts(self) -> pd.DataFrame:
        """Which numbers to look at, by how results are shown: ``look at``, and ``here``, what they are."""
        def values(*measures: Measure) -> str:
            return ", ".join(f"{x.title} {x.text(self.headline.loc[str(x), 'value'])}" for x in measures)

        monolingual, _, multilingual, distance = HEADLINE
        own = self.own_language().loc["mean"]
        rows = {
            "results filtered by language": (
                "monolingual mAP only: what a mixed pool does is never seen", values(monolingual)),
            "one index for all languages, an answer in any language is welcome": (
                "multilingual mAP and rank distance", values(multilingual, distance)),
            "one index for all languages, the own language is wanted first": (
                "the rank of the own-language answer, before and after any remedy against language bias: it may push "
                "that answer down",
                f"median rank {own['median']:.1f} (mean over query languages), rank 1 for {own['at 1']:.0%} of the "
                f"queries; {own['others above']:.0%} of other languages' answers stand above it"
                if own["queries"] else "no query has an answer in its own language")}
        return pd.DataFrame(rows, ["look at", "here"]).T

    def figures(self) -> "dict[str, Figure]":
        """The pictures: a dict of name to matplotlib figure, titles stating what they show."""
        from hybridlib.evaluation import figures

        own = pd.Series({x: self.pairs.loc[x, x] for x in self.pairs.index if x in self.pairs}).dropna()
        others = self.pairs.mask(self.pairs.index.to_numpy()[:, None] == self.pairs.columns.to_numpy())
        found = [f"mAP {own.mean():.2f} within a language"] if len(own) else []
        if others.notna().any(axis=None):
            hardest = others.min(axis=1).idxmin()
            found += [f"{others.mean(axis=None):.2f} across; the hardest pair is {hardest} to "
                      f"{others.loc[hardest].idxmin()}"]
        distance = self.queries.groupby("query_language")["rank distance"].mean()
        whose = f"{self.model} on {self.test_set}"
        return {
            "pairs": figures.heat_map(self.pairs, ", ".join(found), whose),
            "top10": figures.top_shares(
                self.top10.drop(index="pool"), self.top10.loc["pool"],
                f"The query's own language takes {self.own_language_factor():.1f} times its share of the top 10",
                whose),
            "rank_distance": figures.rank_distances(
                self.queries, self.headline.loc["rank distance", "chance"],
                f"Mean rank distance from {distance.min():.0f} ({distance.idxmin()}) to {distance.max():.0f} "
                f"({distance.idxmax()})", whose)}

    def text(self) -> str:
        """The headline as a table to print."""
        rows = {}
        for name, row in self.headline.iterrows():
            measure = MEASURES[name]
            value, low, high, expected = (measure.text(x) for x in row)
            rows[measure.title] = {"": value, "95 % interval": f"[{low}, {high}]", "chance": expected}
        table = pd.DataFrame(rows).T
        own = self.own_language().round({"median": 1, "mean": 1, "at 1": 3, "others above": 3})
        advice = "".join(f"- {case}: look at {row['look at']}. Here: {row['here']}.\n"
                         for case, row in self.what_counts().iterrows())
        return (f"{self.model} on {self.test_set}\n{table.to_string()}\n"
                f"own language in the top 10: {self.own_language_factor():.2f} times its share of the pool\n\n"
                f"Rank of the own-language answer in the pool, by language of the query\n{own.to_string()}\n\n"
                f"What to look at\n{advice}")

    def write(self, folder: str | Path) -> Path:
        """Write ``report.json``, a CSV per table, the ranks, and ``report.html``, one page with everything in it.

        Returns
        -------
        Path
            The page.
        """
        folder = Path(folder)
        tables = {"headline": self.headline, "languages": self.languages, "own_language": self.own_language(),
                  "pairs": self.pairs, "top10": self.top10}
        files.write_json(folder / "report.json", {"model": self.model, "test_set": self.test_set} | self.about | {
            # None where there is nothing to measure: strict readers of JSON know no NaN.
            name: table.astype(object).where(table.notna(), None).T.to_dict() for name, table in tables.items()})
        for name, table in {**tables, "queries": self.queries.set_index(["question", "query_language"])}.items():
            with files.atomic(folder / f"{name}.csv") as temporary:
                table.to_csv(temporary)
        with files.atomic(folder / f"ranks.{self.test_set}.parquet") as temporary:
            self.ranks.to_parquet(temporary, index=False)
        with files.atomic(folder / "report.html") as temporary:
            temporary.write_text(self._page(), "utf-8")
        return folder / "report.html"

    def _page(self) -> str:
        import matplotlib.pyplot as plt

        pictures = {}
        for name, figure in self.figures().items():
            data = io.BytesIO()
            figure.savefig(data, format="png")
            plt.close(figure)
            encoded = base64.b64encode(data.getvalue()).decode()
            pictures[name] = f'<img alt="{name}" src="data:image/png;base64,{encoded}">'
        title = html.escape(f"{self.model} on {self.test_set}")
        about = "".join(f"<tr><th>{html.escape(key)}</th><td>{html.escape(str(value))}</td></tr>"
                        for key, value in self.about.items())
        titles = {measure.name: measure.title for measure in HEADLINE}
        measured = self.queries.groupby("query_language")[list(MEASURES)].count().sum().rename("queries")
        parts = [
            "<h2>Four numbers</h2>", self.headline.rename(index=titles).round(4).to_html(border=0),
            "<p>Intervals: 95 %, from resampling whole clusters of questions, such as articles. Chance: a random order "
            "of the candidates.</p>",
            "<h2>What to look at</h2>", self.what_counts().to_html(border=0),
            "<h2>Every pair of languages</h2>", pictures["pairs"],
            "<h2>Language bias: rank distance per query language</h2>", pictures["rank_distance"],
            "<p>Rank distance: the worst minus the best rank of a question's relevant candidates in the pool of all "
            "languages, of each language the best one. It grows with the pool: compare within one test set only.</p>",
            "<h2>Which language the top ranks go to</h2>", pictures["top10"],
            self.top10.round(3).to_html(border=0),
            "<h2>Where the own-language answer stands</h2>", self.own_language().round(3).to_html(border=0),
            "<p>The rank, in the pool of all languages, of the best answer in the language of the query; how often it "
            "is 1; and the share of the answers in other languages that stand above it. Less language bias is not "
            "better here: to those who want their own language it may do harm.</p>",
            "<h2>Per query language</h2>", self.languages.T.round(4).join(measured).to_html(border=0),
            "<p>The last column: how many queries a measure is taken over, those that have something to measure. "
            "TLR@20: recall at 20 of what is relevant in other languages than the query's. Max@R: the rank at which "
            "all that is relevant has been seen. Complete@10: the share of queries whose relevant candidates are all "
            "in the first 10; it is 0 where there are more. PEER@k: the mean p-value of a Kruskal-Wallis test of the "
            "relevant ranks by language, ranks beyond k counted as k + 1; high where no language is seen to be "
            "favoured. With one relevant candidate in each language it says next to nothing: it then tells only how "
            "many of them are beyond k.</p>",
            "<h2>How it was made</h2>", f"<table>{about}</table>"]
        return (f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
                f"<h1>{title}</h1>{''.join(parts)}</html>\n")


def about(source: str, prompts: encoding.Prompts, dtype: torch.dtype, device: str,
          counts: dict[str, dict[str, int]]) -> dict[str, Any]:
    """How embeddings were made: a dict with the keys `ABOUT`."""
    tokens = counts["queries"]["tokens"] + counts["candidates"]["tokens"]
    return dict(zip(ABOUT, (source, repr(prompts.query), repr(prompts.passage), str(dtype).removeprefix("torch."),
                            device, counts["queries"]["texts"], counts["candidates"]["texts"], tokens), strict=True))


def report_of(ranks: pd.DataFrame, test_set: TestSet, model: str, about: dict[str, Any] | None = None) -> Report:
    """The report of a ranks table.

    Parameters
    ----------
    ranks : DataFrame (see `hybridlib.evaluation.rank_test_set`)
    test_set : TestSet
    model : str
        Its name in titles.
    about : dict, optional
    """
    queries = per_query(ranks)
    asked, sizes = list(test_set.query_languages), test_set.counts()["candidates"]
    pooled = list(sizes.index[sizes > 0])
    languages = per_language(queries).loc[asked]
    expected, results = chance(test_set), queries.assign(system=model, seed=NO_SEED)
    headline = pd.DataFrame({measure.name: estimates(results, measure).loc[model] for measure in HEADLINE}).T
    headline["chance"] = pd.Series(expected)
    languages.loc["mean"] = languages.mean()
    top10 = top_shares(ranks).loc[asked, pooled]
    top10.loc["pool"] = sizes[pooled] / sizes.sum()
    left_out = {"queries left out, nothing relevant": test_set.left_out} if test_set.left_out else {}
    return Report(model, test_set.name, (about or {}) | left_out, headline, languages,
                  language_pairs(ranks).reindex(index=asked, columns=pooled), top10, queries, ranks)


def evaluate(model: "SentenceTransformer | str", test_set: TestSet, prompts: encoding.Prompts | None = None,
             precision: str = "auto", device: str | None = None) -> Report:
    """Encode a test set with an encoder, rank, and report; nothing is written (see `Report.write`).

    Parameters
    ----------
    model : SentenceTransformer or str
        A model in memory, or a name (see `hybridlib.encoding.load`).
    test_set : TestSet
    prompts : Prompts, optional
        By default the model's own.
    precision : {"auto", "bf16", "fp32"}
        "auto" is bf16 where the device is fast at it.
    device : str, optional
        By default the model's, "cpu" for a name.

    Raises
    ------
    TypeError
        If the model gives no dense embeddings of single texts.
    ValueError
        If it gives embeddings that cannot be ranked (see `hybridlib.encoding.encode_all`).
    """
    ranks, name, made = ranks_of(model, test_set, prompts, precision, device)
    return report_of(ranks, test_set, name, made)


def ranks_of(model: "SentenceTransformer | str", test_set: TestSet, prompts: encoding.Prompts | None = None,
             precision: str = "auto", device: str | None = None) -> tuple[pd.DataFrame, str, dict[str, Any]]:
    """What `evaluate` reports on: the ranks table, the model's name, and how it was made (see `about`)."""
    from sentence_transformers import SentenceTransformer

    if isinstance(model, str):
        name, (model, source) = model, encoding.load(model)
        model = model.to(device or "cpu")
    else:
        if not isinstance(model, SentenceTransformer):
            raise TypeError(f"a {type(model).__name__} cannot be evaluated here; a SentenceTransformer can")
        name = source = encoding.name_of(model)
        model = model.to(device) if device else model
    place = str(model.device)
    prompts = prompts or encoding.Prompts.of(model)
    dtype = torch.bfloat16 if encoding.in_bfloat16(precision, place) else torch.float32
    (embeddings,), counts = embed(encoding.Siblings([model], dtype, names=[name]), test_set, prompts)
    return rank_test_set(test_set, *embeddings), name, about(source, prompts, dtype, place, counts)
