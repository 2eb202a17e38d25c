"""The language-bias report of one encoder on one benchmark: numbers, tables, pictures, one page.

The numbers are functions of the ranks table (`hybridlib.ranking.rank_benchmark`); no part of it needs the encoder.
"""

import base64
import html
import io
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

from hybridlib import encoders, evidence, figures, metrics, ranking, runs
from hybridlib.tables import HEADLINE

_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;font-size:13px;margin:1em 0}td,th{padding:.2em .7em;text-align:right;
border-bottom:1px solid #ddd}img{max-width:100%}h1{font-size:1.5em}h2{font-size:1.15em;margin-top:2em}"""


@dataclass(frozen=True)
class Report:
    """What an encoder does on a benchmark.

    Attributes
    ----------
    model, benchmark : str
    about : dict
        How it was made: encoder, prompts, precision, counts.
    headline : DataFrame
        The four numbers: ``value``, ``low`` and ``high`` (95 % interval over articles), ``chance``.
    languages : DataFrame
        All measures per query language, with a last row ``mean``.
    pairs : DataFrame
        mAP per query language and candidate language.
    top10 : DataFrame
        Share of each language in the first ten of the pool per query language, with a last row ``pool``: its
        share of the pool.
    queries : DataFrame
        All measures per query (`hybridlib.metrics.per_query`).
    """

    model: str
    benchmark: str
    about: dict
    headline: pd.DataFrame
    languages: pd.DataFrame
    pairs: pd.DataFrame
    top10: pd.DataFrame
    queries: pd.DataFrame

    def own_language_factor(self):
        """How many times its share of the pool the query's own language takes of the top 10, mean over languages."""
        shares = self.top10.drop(index="pool")
        return sum(shares.loc[x, x] / self.top10.loc["pool", x] for x in shares.index) / len(shares)

    def figures(self):
        """The pictures: a dict of name to matplotlib figure, titles stating what they show."""
        own = pd.Series({x: self.pairs.loc[x, x] for x in self.pairs.index})
        others = self.pairs.mask(np.eye(len(self.pairs), dtype=bool))
        hardest = others.min(axis=1).idxmin()
        distance = self.queries.groupby("query_language")["rank distance"].mean()
        return {
            "pairs": figures.heat_map(
                self.pairs, f"mAP {own.mean():.2f} within a language, {others.mean(axis=None):.2f} across; "
                f"the hardest pair is {hardest} to {others.loc[hardest].idxmin()}"),
            "top10": figures.top_shares(
                self.top10.drop(index="pool"), self.top10.loc["pool"],
                f"The query's own language takes {self.own_language_factor():.1f} times its share of the top 10"),
            "rank_distance": figures.rank_distances(
                self.queries, self.headline.loc["rank distance", "chance"],
                f"Mean rank distance from {distance.min():.0f} ({distance.idxmin()}) to {distance.max():.0f} "
                f"({distance.idxmax()})")}

    def text(self):
        """The headline as a table to print."""
        rows = {}
        for measure, row in self.headline.iterrows():
            value, low, high, chance = (f"{x:.1f}" if measure == "rank distance" else f"{x:.3f}" for x in row)
            rows[HEADLINE[measure]] = {"": value, "95 % interval": f"[{low}, {high}]", "chance": chance}
        table = pd.DataFrame(rows).T
        return (f"{self.model} on {self.benchmark}\n{table.to_string()}\n"
                f"own language in the top 10: {self.own_language_factor():.2f} times its share of the pool\n")

    def write(self, folder):
        """Write ``report.json``, a CSV per table and ``report.html``, one page with everything in it.

        Returns
        -------
        Path
            The page.
        """
        folder = Path(folder)
        tables = {"headline": self.headline, "languages": self.languages, "pairs": self.pairs, "top10": self.top10}
        runs.write_json(folder / "report.json", {"model": self.model, "benchmark": self.benchmark} | self.about | {
            name: table.T.to_dict() for name, table in tables.items()})
        for name, table in {**tables, "queries": self.queries.set_index(["question", "query_language"])}.items():
            with runs.atomic(folder / f"{name}.csv") as temporary:
                table.to_csv(temporary)
        with runs.atomic(folder / "report.html") as temporary:
            temporary.write_text(self._page(), "utf-8")
        return folder / "report.html"

    def _page(self):
        pictures = {}
        for name, figure in self.figures().items():
            data = io.BytesIO()
            figure.savefig(data, format="png")
            plt.close(figure)
            encoded = base64.b64encode(data.getvalue()).decode()
            pictures[name] = f'<img alt="{name}" src="data:image/png;base64,{encoded}">'
        title = html.escape(f"{self.model} on {self.benchmark}")
        about = "".join(f"<tr><th>{html.escape(key)}</th><td>{html.escape(str(value))}</td></tr>"
                        for key, value in self.about.items())
        parts = [
            "<h2>Four numbers</h2>", self.headline.rename(index=HEADLINE).round(4).to_html(border=0),
            "<p>Intervals: 95 %, from resampling whole articles. Chance: a random order of the candidates.</p>",
            "<h2>Every pair of languages</h2>", pictures["pairs"],
            "<h2>Language bias: rank distance per query language</h2>", pictures["rank_distance"],
            "<p>Rank distance: the worst minus the best rank of a question's relevant sentences in the pool of all "
            "languages. It grows with the pool: compare within one benchmark only.</p>",
            "<h2>Which language the top ranks go to</h2>", pictures["top10"],
            self.top10.round(3).to_html(border=0),
            "<h2>Per query language</h2>", self.languages.T.round(4).to_html(border=0),
            "<h2>How it was made</h2>", f"<table>{about}</table>"]
        return (f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
                f"<h1>{title}</h1>{''.join(parts)}</html>\n")


ABOUT = ("encoder", "query prompt", "passage prompt", "precision", "device", "queries", "candidates", "tokens")


def about(source, prompts, dtype, device, counts):
    """How embeddings were made: a dict with the keys `ABOUT`."""
    tokens = counts["queries"]["tokens"] + counts["candidates"]["tokens"]
    return dict(zip(ABOUT, (source, repr(prompts.query), repr(prompts.passage), str(dtype).removeprefix("torch."),
                            device, counts["queries"]["texts"], counts["candidates"]["texts"], tokens), strict=True))


def of_ranks(ranks, benchmark, model, about=None):
    """The report of a ranks table.

    Parameters
    ----------
    ranks : DataFrame (see `hybridlib.ranking.rank_benchmark`)
    benchmark : hybridlib.benchmarks.Benchmark
    model : str
        Its name in titles.
    about : dict, optional
    """
    queries = metrics.per_query(ranks)
    languages = metrics.per_language(queries).loc[list(benchmark.languages)]
    chance = metrics.chance(benchmark)
    headline = {}
    for measure in HEADLINE:
        draws = evidence.bootstrap(queries.assign(system=model, seed=-1), measure)[model]
        low, high = evidence.interval(draws)
        headline[measure] = {"value": languages[measure].mean(), "low": low, "high": high, "chance": chance[measure]}
    languages.loc["mean"] = languages.mean()
    order = list(benchmark.languages)
    top10 = metrics.top_shares(ranks).loc[order, order]
    sizes = benchmark.counts()["candidates"]
    top10.loc["pool"] = sizes / sizes.sum()
    return Report(model, benchmark.name, about or {}, pd.DataFrame(headline).T, languages,
                  metrics.language_pairs(ranks).loc[order, order], top10, queries)


def evaluate(name, benchmark, folder, prompts=None, precision="auto", device="cpu"):
    """Encode a benchmark with any encoder, and write its report and its ranks.

    Parameters
    ----------
    name : str
        See `hybridlib.encoders.load`.
    benchmark : hybridlib.benchmarks.Benchmark
    folder : path
        Where the report goes; ``ranks.<benchmark>.parquet`` beside it.
    prompts : hybridlib.encoders.Prompts, optional
        By default the model's own.
    precision : {"auto", "bf16", "fp32"}
    device : str

    Returns
    -------
    Report
    """
    model, source = encoders.load(name)
    prompts = prompts or encoders.Prompts.of(model)
    dtype = torch.bfloat16 if encoders.in_bfloat16(precision, device) else torch.float32
    (embeddings,), counts = ranking.embed(encoders.Siblings([model.to(device)], dtype), benchmark, prompts)
    ranks = ranking.rank_benchmark(benchmark, *embeddings)
    with runs.atomic(runs.ranks_file(folder, benchmark.name)) as temporary:
        ranks.to_parquet(temporary, index=False)
    found = of_ranks(ranks, benchmark, str(name), about(source, prompts, dtype, device, counts))
    found.write(folder)
    return found
