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
from hybridlib.evaluation.measures import HEADLINE, MEASURES, language_pairs, per_language, per_query, top_shares
from hybridlib.evaluation.ranking import embed, rank_test_set

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from sentence_transformers import SentenceTransformer

_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}
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
        return {
            "pairs": figures.heat_map(self.pairs, ", ".join(found)),
            "top10": figures.top_shares(
                self.top10.drop(index="pool"), self.top10.loc["pool"],
                f"The query's own language takes {self.own_language_factor():.1f} times its share of the top 10"),
            "rank_distance": figures.rank_distances(
                self.queries, self.headline.loc["rank distance", "chance"],
                f"Mean rank distance from {distance.min():.0f} ({distance.idxmin()}) to {distance.max():.0f} "
                f"({distance.idxmax()})")}

    def text(self) -> str:
        """The headline as a table to print."""
        rows = {}
        for name, row in self.headline.iterrows():
            measure = MEASURES[name]
            value, low, high, expected = (measure.text(x) for x in row)
            rows[measure.title] = {"": value, "95 % interval": f"[{low}, {high}]", "chance": expected}
        table = pd.DataFrame(rows).T
        return (f"{self.model} on {self.test_set}\n{table.to_string()}\n"
                f"own language in the top 10: {self.own_language_factor():.2f} times its share of the pool\n")

    def write(self, folder: str | Path) -> Path:
        """Write ``report.json``, a CSV per table, the ranks, and ``report.html``, one page with everything in it.

        Returns
        -------
        Path
            The page.
        """
        folder = Path(folder)
        tables = {"headline": self.headline, "languages": self.languages, "pairs": self.pairs, "top10": self.top10}
        files.write_json(folder / "report.json", {"model": self.model, "test_set": self.test_set} | self.about | {
            name: table.T.to_dict() for name, table in tables.items()})
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
        parts = [
            "<h2>Four numbers</h2>", self.headline.rename(index=titles).round(4).to_html(border=0),
            "<p>Intervals: 95 %, from resampling whole clusters of questions, such as articles. Chance: a random order "
            "of the candidates.</p>",
            "<h2>Every pair of languages</h2>", pictures["pairs"],
            "<h2>Language bias: rank distance per query language</h2>", pictures["rank_distance"],
            "<p>Rank distance: the worst minus the best rank of a question's relevant candidates in the pool of all "
            "languages, of each language the best one. It grows with the pool: compare within one test set only.</p>",
            "<h2>Which language the top ranks go to</h2>", pictures["top10"],
            self.top10.round(3).to_html(border=0),
            "<h2>Per query language</h2>", self.languages.T.round(4).to_html(border=0),
            "<h2>How it was made</h2>", f"<table>{about}</table>"]
        return (f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
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
    return report_of(rank_test_set(test_set, *embeddings), test_set, name,
                     about(source, prompts, dtype, place, counts))
