"""The paper's own numbers (arXiv 2408.10536), to stand beside ours. Facts read from its tables."""

from collections.abc import Iterable

import pandas as pd

from reproduction.workspace import ROOT

FOLDER = ROOT / "data" / "paper"
# What the paper calls our test sets.
PAPER_NAMES = {"xquad-r": "XQuAD-R", "mlqa-r": "MLQA-R"}
# Our columns (hybridlib.evaluation.per_query) -> the paper's setting and metric.
COLUMNS = {"monolingual AP": ("monolingual", "mAP"), "monolingual R@1": ("monolingual", "R@1"),
           "crosslingual AP": ("cross-lingual", "mAP"), "crosslingual R@1": ("cross-lingual", "R@1"),
           "multilingual AP": ("multilingual", "mAP"), "multilingual R@10": ("multilingual", "R@10")}
MODELS = ("XLM-R", "LaBSE")


def candidate_counts(dataset: str = "XQuAD-R") -> pd.DataFrame:
    """Published numbers of queries and candidates per language (Tables 10 and 11), indexed by language."""
    table = pd.read_csv(FOLDER / "evaluation_data.csv")
    return table[table["dataset"] == dataset].set_index("language")[["queries", "candidates"]]


def training_data() -> dict[str, int]:
    """Pairs per language of each training set (Table 9): a dict of its name there to a number."""
    table = pd.read_csv(FOLDER / "training_data.csv")
    return dict(zip(table["dataset"], table["pairs_per_language"].tolist(), strict=True))


def by_language(measure: str, dataset: str = "XQuAD-R", model: str = "XLM-R") -> pd.DataFrame:
    """One measure per query language and sampling (Tables 3 to 8).

    Parameters
    ----------
    measure : str
        A key of `COLUMNS`, or ``"rank distance"``.

    Returns
    -------
    DataFrame
        Rows are query languages, with a last row ``mean``; columns the samplings X-X, X-Y, Hybrid.
    """
    if measure == "rank distance":
        table, value = pd.read_csv(FOLDER / "rank_distance.csv"), "rank_distance"
    else:
        table, value = pd.read_csv(FOLDER / "retrieval.csv"), "value"
        setting, metric = COLUMNS[measure]
        table = table[(table["setting"] == setting) & (table["metric"] == metric)]
    table = table[(table["dataset"] == dataset) & (table["model"] == model)]
    table = table.pivot(index="query_language", columns="sampling", values=value)
    order = [language for language in table.index if language != "mean"] + ["mean"]
    return table.loc[order, ["X-X", "X-Y", "Hybrid"]]


def means(measures: Iterable[str], dataset: str = "XQuAD-R", model: str = "XLM-R") -> pd.DataFrame:
    """The means over languages (Tables 1 and 2): rows are samplings, columns the measures."""
    return pd.DataFrame({m: by_language(m, dataset, model).loc["mean"] for m in measures})


def miracl_scores(metric: str, model: str = "XLM-R") -> pd.DataFrame:
    """MIRACL dev (Tables 12 and 13), monolingual.

    Parameters
    ----------
    metric : {"nDCG@10", "R@100"}
    model : {"XLM-R", "LaBSE"}

    Returns
    -------
    DataFrame
        Rows are languages in the order of the tables, with a last row ``mean``; columns the samplings X-X, X-Y, Hybrid.
    """
    table = pd.read_csv(FOLDER / "miracl.csv")
    table = table[(table["metric"] == metric) & (table["model"] == model)]
    order = table["language"].unique()
    return table.pivot(index="language", columns="sampling", values="value").loc[order, ["X-X", "X-Y", "Hybrid"]]
