"""Other domains and low-resource languages, from evidence that was kept: effects per test set, precision, languages.

Nothing is trained or encoded here: numbers are computed from sums over clusters, and from ranks where they were kept.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

from hybridlib.data import TestSet
from hybridlib.evaluation import cells, draws_of, interval, macro
from hybridlib.evaluation.measures import KEY
from reproduction.run.evidence import facts_of, read_ranks
from reproduction.run.system import System

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ENGLISH = ("en", "eng_Latn")  # as sources write it


def effects(kept: pd.DataFrame, pairs: Sequence[tuple[str, str]], measures: Iterable[str], draws: int = 10_000,
            ) -> pd.DataFrame:
    """Differences between samplings on each test set, with each remedy on both sides of a difference.

    Parameters
    ----------
    kept : DataFrame (see `reproduction.findings.cross.read_blocks`)
    pairs : sequence of (str, str)
        A sampling and the one that is subtracted from it; "untrained" is one of them.
    measures : iterable of str
        A test set without one of them has no rows of it.
    draws : int

    Returns
    -------
    DataFrame
        ``benchmark``, ``remedy``, ``sampling``, ``reference``, ``seeds``, ``measure``; ``difference``, and ``low`` and
        ``high``, its 95 % interval over clusters and seeds; and ``ratio`` of the two, with ``ratio_low`` and
        ``ratio_high``, since test sets are not equally hard.
    """
    rows = []
    for (benchmark, remedy), group in kept.groupby(["benchmark", "remedy"], sort=False):
        group = group.assign(system=group["sampling"])
        seeds = group.loc[group["seed"] >= 0, "seed"].nunique()
        for measure in measures:
            means = macro(group, measure).groupby(level="system", sort=False).mean()
            if means.isna().all():
                continue
            drawn = draws_of(group, measure, draws)
            for sampling, reference in pairs:
                low, high = interval(drawn[sampling] - drawn[reference])
                ratio_low, ratio_high = interval(drawn[sampling] / drawn[reference])
                rows.append({"benchmark": benchmark, "remedy": remedy, "sampling": sampling, "reference": reference,
                             "seeds": seeds, "measure": measure, "difference": means[sampling] - means[reference],
                             "low": low, "high": high, "ratio": means[sampling] / means[reference],
                             "ratio_low": ratio_low, "ratio_high": ratio_high})
    return pd.DataFrame(rows)


def precision(folder: str | Path, benchmark: str, samplings: Sequence[str], cutoffs: Sequence[int] = (1, 5, 10),
              ) -> pd.DataFrame:
    """Cross-lingual precision at k of runs whose ranks were kept, as cells.

    A query's is the mean over the other languages that have something relevant, as in `hybridlib.evaluation.per_query`.

    Parameters
    ----------
    folder : path
        Of a block: ``results/xquad/cuda/headline``.
    benchmark : str
    samplings : sequence of str
    cutoffs : sequence of int

    Returns
    -------
    DataFrame (see `hybridlib.evaluation.cells`)
        Of measures ``crosslingual P@<k>``; with ``benchmark``, ``system`` and ``seed``.
    """
    parts, ending = [], f".{benchmark}.ranks.parquet"
    for file in sorted(Path(folder).glob(f"*{ending}")):
        facts = facts_of(file)[0]
        if System.parse(facts["system"]).sampling not in samplings:
            continue
        ranks = read_ranks(folder, file.name.removesuffix(ending), benchmark)
        there = ranks[(ranks["rank_in_language"] > 0) & (ranks["language"] != ranks["query_language"])]
        hits = {f"crosslingual P@{k}": (there["rank_in_language"] <= k) / k for k in cutoffs}
        of_languages = there.assign(**hits).groupby([*KEY, "language"], sort=False)[list(hits)].sum()
        queries = of_languages.groupby(level=KEY, sort=False).mean().reset_index()
        parts.append(cells(queries, hits).assign(benchmark=benchmark, system=facts["system"], seed=facts["seed"]))
    return pd.concat(parts, ignore_index=True)


def gains(kept: pd.DataFrame, pairs: Sequence[tuple[str, str]], measure: str, draws: int = 10_000,
          ) -> dict[tuple[str, str], tuple[pd.DataFrame, pd.DataFrame]]:
    """Systems minus others for the queries of each language, or, without another one, the system itself.

    Parameters
    ----------
    kept : DataFrame (see `reproduction.findings.cross.read_blocks`)
        Of one benchmark.
    pairs : sequence of (str, str)
        A system and what is subtracted from it; "" for nothing.
    measure : str
    draws : int

    Returns
    -------
    dict of pair to (DataFrame, DataFrame)
        Per ``query_language``: ``difference``, and ``low`` and ``high``, its 95 % interval over clusters and seeds;
        and the draws behind it, a column per language.
    """
    rows, every = {pair: {} for pair in pairs}, {pair: {} for pair in pairs}
    for language, group in kept[kept["system"].isin({x for pair in pairs for x in pair})].groupby("query_language"):
        means = macro(group, measure).groupby(level="system").mean()
        drawn = draws_of(group, measure, draws)
        for system, reference in pairs:
            gained = drawn[system] - (drawn[reference] if reference else 0)
            low, high = interval(gained)
            every[system, reference][language] = gained
            rows[system, reference][language] = {
                "difference": means[system] - (means[reference] if reference else 0), "low": low, "high": high}
    return {pair: (pd.DataFrame(rows[pair]).T.rename_axis("query_language"), pd.DataFrame(every[pair]))
            for pair in pairs}


def goes_with(table: pd.DataFrame, drawn: pd.DataFrame, known: pd.Series, seed: int = 0) -> dict[str, float]:
    """Spearman's rank correlation over languages of a gain with what is known of each.

    Its 95 % interval is over the draws of the gains and over languages, which are drawn with replacement. Languages
    are not independent of each other (families, scripts), so it is narrower than it should be.

    Parameters
    ----------
    table, drawn : DataFrame (see `gains`)
    known : Series
        By language; languages that have none are left out.
    seed : int

    Returns
    -------
    dict
        ``correlation``, ``low``, ``high``, ``languages`` (how many).
    """
    known = known.reindex(table.index).dropna()
    gained, facts = drawn[known.index].to_numpy(), known.to_numpy()
    chosen = np.random.default_rng(seed).integers(len(facts), size=gained.shape)
    ranked = [stats.rankdata(x, axis=1) for x in (np.take_along_axis(gained, chosen, axis=1), facts[chosen])]
    first, second = (x - x.mean(axis=1, keepdims=True) for x in ranked)
    with np.errstate(invalid="ignore"):
        resampled = (first * second).sum(1) / np.sqrt((first**2).sum(1) * (second**2).sum(1))
    low, high = interval(resampled[~np.isnan(resampled)])
    return {"correlation": stats.spearmanr(table.loc[known.index, "difference"], known).statistic, "low": low,
            "high": high, "languages": len(known)}


def told_by_language(kept: pd.DataFrame, pairs: Sequence[tuple[str, str]], measures: Iterable[str],
                     known: pd.DataFrame, draws: int = 10_000) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`gains` of several measures in one table, and `goes_with` of each with each fact that something is known of.

    Parameters
    ----------
    kept, pairs, draws : see `gains`
    measures : iterable of str
    known : DataFrame
        By language, a column per fact.

    Returns
    -------
    (DataFrame, DataFrame)
        Each with ``measure``, ``system``, ``reference`` ("" for none) and ``seeds``; the second with ``fact``.
    """
    rows, related = [], []
    for measure in measures:
        for (system, reference), (table, drawn) in gains(kept, pairs, measure, draws).items():
            place = {"measure": measure, "system": system, "reference": reference,
                     "seeds": kept.loc[(kept["system"] == system) & (kept["seed"] >= 0), "seed"].nunique()}
            rows.append(table.reset_index().assign(**place))
            related += [place | {"fact": fact} | goes_with(table, drawn, known[fact]) for fact in known
                        if known[fact].notna().any()]
    return pd.concat(rows, ignore_index=True), pd.DataFrame(related)


def of_passages(ranks: pd.DataFrame, first: int) -> pd.DataFrame:
    """How well the passages of each language are found by questions in other languages, as cells.

    Parameters
    ----------
    ranks : DataFrame (see `hybridlib.evaluation.rank_test_set`)
        Of a test set in which a question has one relevant passage in each language.
    first : int
        How far down the pool is looked.

    Returns
    -------
    DataFrame (see `hybridlib.evaluation.cells`)
        ``query_language`` is the language of the *passages*, so that what is told by the language of queries elsewhere
        is told by theirs: ``crosslingual AP``, among the passages of that language, and ``in the first <first>``, the
        share of questions for which the passage is so far up in the pool.
    """
    across = ranks[(ranks["language"] != ranks["query_language"]) & (ranks["rank_in_language"] > 0)]
    found = {"crosslingual AP": 1 / across["rank_in_language"],
             f"in the first {first}": across["rank_in_pool"] <= first}
    by = ["question", "cluster", "language"]
    table = across[by].assign(**found).groupby(by, sort=False)[list(found)].mean().reset_index()
    return cells(table.rename(columns={"language": "query_language"}), found)


def with_tokens(facts: pd.DataFrame, test_sets: Iterable[TestSet], tokenizer: "PreTrainedTokenizerBase",
                ) -> pd.DataFrame:
    """How finely a tokenizer cuts each language, beside what is known of it.

    The queries are cut; of a test set whose passages are in more languages, these.

    Parameters
    ----------
    facts : DataFrame
        ``test_set``, ``language``, and anything else; ``spaces`` says whether the script puts them between words.
    test_sets : iterable of TestSet
    tokenizer : PreTrainedTokenizerBase

    Returns
    -------
    DataFrame
        The facts with ``tokens_per_word``, of words between white space (the "fertility" of Rust et al. 2021, arXiv
        2012.15613; empty without spaces); ``tokens_against_english``, of the whole against its English translation
        (the "premium" of Petrov et al. 2023, arXiv 2305.15425; empty where texts are not translations); and
        ``unknown``, the share of tokens that the vocabulary lacks.
    """
    measured = []
    for test_set in test_sets:
        counted, texts = {}, _in_most_languages(test_set)
        for language, of_language in texts.groupby("language")["text"]:
            ids = tokenizer(of_language.tolist(), add_special_tokens=False)["input_ids"]
            unknown = sum(one.count(tokenizer.unk_token_id) for one in ids)
            counted[language] = sum(map(len, ids)), of_language.str.split().str.len().sum(), unknown
        english = _english_of(texts)
        for language, (tokens, words, unknown) in counted.items():
            measured.append({"test_set": test_set.name, "language": language, "tokens_per_word": tokens / words,
                             "tokens_against_english": tokens / counted[english][0] if english else np.nan,
                             "unknown": unknown / tokens})
    new = pd.DataFrame(measured)
    table = facts.drop(columns=new.columns[2:], errors="ignore").merge(new, on=["test_set", "language"], how="left")
    return table.assign(tokens_per_word=table["tokens_per_word"].where(table["spaces"] == "yes"))


def _in_most_languages(test_set: TestSet) -> pd.DataFrame:
    """The queries or, if they are in more languages, the candidates; translations share a ``question``."""
    asked, found = test_set.queries, test_set.candidates
    more = found["language"].nunique() > asked["language"].nunique()
    return found.assign(question=found["cluster"]) if more else asked


def _english_of(texts: pd.DataFrame) -> str | None:
    """The code of English, of texts in which each ``question`` stands in every language, English among them."""
    languages = {*texts["language"]}
    parallel = texts.groupby("question")["language"].nunique().eq(len(languages)).all()
    return next((x for x in ENGLISH if x in languages and parallel), None)


def is_parallel(test_set: TestSet) -> bool:
    """Whether each question is asked in every language, English among them."""
    return _english_of(test_set.queries) is not None


def numbers_of_the_passage(test_set: TestSet) -> pd.Series:
    """A check of parallel test sets: do the queries of a language translate the English ones, or something else?

    Numbers need no dictionary. Of the queries of a language with a number: the share that has one which the English
    passage has and the English query has not.

    Parameters
    ----------
    test_set : TestSet (see `is_parallel`)

    Returns
    -------
    Series
        By language.
    """
    numbers, asked = test_set.queries["text"].map(_numbers), test_set.queries["question"]
    passages = test_set.candidates[test_set.candidates["language"] == "en"]["text"].map(_numbers)
    english = test_set.relevant[test_set.relevant["candidate"].isin(passages.index) & test_set.relevant["query"].isin(
        numbers.index[test_set.queries["language"] == "en"])].drop_duplicates("query")
    only = {asked[query]: passages[candidate] - numbers[query]
            for query, candidate in zip(english["query"], english["candidate"], strict=True)}
    with_numbers = test_set.queries[numbers.map(bool)]
    foreign = [bool(numbers[row] & only[question]) for row, question in with_numbers["question"].items()]
    return pd.Series(foreign, with_numbers["language"]).groupby(level=0).mean()


def _numbers(text: str) -> frozenset[int]:
    """The whole numbers of a text, in whatever digits they are written."""
    return frozenset(int(found) for found in re.findall(r"\d+", text))
