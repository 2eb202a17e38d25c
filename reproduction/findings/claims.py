"""The paper's claims: what results say of each, as a verdict that is computed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from scipy import stats

from hybridlib.evaluation import MEASURES
from hybridlib.evaluation.intervals import (
    bootstrap,
    by_seed,
    differences,
    effect_size,
    hierarchical_bootstrap,
    holm,
    interval,
    macro,
    p_value,
    permutation,
)

VERDICTS = ("reproduced", "not reproduced", "undecided", "not measured")


@dataclass(frozen=True)
class Part:
    """One comparison that a claim is made of: ``first`` against ``second`` in one measure.

    ``kind`` is "greater" (first is greater), "less", "at least" (not worse than second by the margin or more, in the
    measure's own direction), or "level" (not apart by the margin or more). ``languages``: "all" or "unseen".
    ``benchmark``: "main", or "others" for each of the others.
    """

    measure: str
    first: str
    second: str
    kind: str
    languages: str = "all"
    benchmark: str = "main"


def read_claims(path: Path) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """The claims file: ``(claims, rules)``, the claims a list of dict with ``parts`` a list of `Part`."""
    found = yaml.safe_load(Path(path).read_text("utf-8"))
    claims = [claim | {"parts": [Part(**part) for part in claim["parts"]]} for claim in found["claims"]]
    return claims, found["rules"]


def part_evidence(results: pd.DataFrame, part: Part, rules: dict[str, float], unseen: Sequence[str] = (),
                  draws: int = 10_000, family: int = 1) -> dict[str, float] | None:
    """What the results say about one part of a claim, ``family`` parts being judged together.

    Returns
    -------
    dict
        ``difference`` (first minus second), ``low``, ``high`` (95 %, articles and seeds), ``margin``, ``p_for`` and
        ``p_against`` (one-sided, uncorrected), ``permutation`` (two-sided, articles only), ``effect`` (Cohen's d),
        ``seeds``, ``seeds_needed`` and ``articles_needed`` (for 80 % power at the difference seen; NaN where that
        number alone can never be enough). None if a system or language is missing.
    """
    if part.languages == "unseen":
        results = results[results["query_language"].isin(unseen)]
    results = results[results["system"].isin([part.first, part.second])]
    if results["system"].nunique() < 2:
        return None
    measure, level = MEASURES[part.measure], rules["level"] / family
    means = macro(results, part.measure)
    difference = means[part.first].mean() - means[part.second].mean()
    margin = rules["map_margin"] if measure.higher_is_better else (
        rules["rank_distance_margin"] * means[part.second].mean())
    table = hierarchical_bootstrap(results, part.measure, draws)
    drawn = (table[part.first] - table[part.second]).to_numpy()
    better = measure.better(drawn)  # positive where first is the better one
    if part.kind in ("greater", "less"):
        way = drawn if part.kind == "greater" else -drawn
        p_for, p_against, gap = p_value(way), p_value(-way), abs(difference)
    elif part.kind == "at least":
        p_for, p_against, gap = p_value(better, -margin), p_value(-better, margin), measure.better(difference) + margin
    elif part.kind == "level":
        p_for = max(p_value(drawn, -margin), p_value(-drawn, -margin))
        p_against = min(1.0, 2 * min(p_value(drawn, margin), p_value(-drawn, margin)))
        gap = margin - abs(difference)
    else:
        raise ValueError(f"a part of a claim is greater, less, at least or level, not {part.kind!r}")
    low, high = interval(drawn) if not np.isnan(drawn).any() else (np.nan, np.nan)
    return {"difference": difference, "low": low, "high": high, "margin": margin, "p_for": p_for,
            "p_against": p_against, "permutation": permutation(results, part.measure, part.first, part.second),
            "effect": effect_size(results, part.measure, part.first, part.second),
            "seeds": int(means.groupby(level="system").size().max())} | _needed(results, part, abs(gap), level)


def _needed(results: pd.DataFrame, part: Part, gap: float, level: float) -> dict[str, float]:
    """Seeds, or articles, that would show a part at this level with 80 % power, if the truth lay at the estimate.

    The test's distribution is taken as Student's t with one degree of freedom less than there are seeds; ``level`` as
    that of one part of a family, by Bonferroni: no less than Holm asks for.
    """
    means = by_seed(results, part.measure)  # an untrained system is not in it: it has no seeds
    count = means.shape[1]
    of_seeds = sum(sign * means.loc[s] for s, sign in ((part.first, 1), (part.second, -1)) if s in means.index).var()
    table = bootstrap(results, part.measure, 2000)
    of_articles = (table[part.first] - table[part.second]).var()
    articles = results["cluster"].nunique()

    def allowed(seeds: int) -> float:
        """The variance of the difference that leaves this power."""
        return (gap / (stats.t.ppf(1 - level, seeds - 1) + stats.t.ppf(0.8, seeds - 1))) ** 2

    seeds = next((n for n in range(2, 1001) if of_seeds / n + of_articles <= allowed(n)), np.nan)
    left = allowed(count) - of_seeds / count if count > 1 else np.nan
    return {"seeds_needed": seeds, "articles_needed": float(np.ceil(articles * of_articles / left)) if left > 0
            else np.nan}


def verdict_of(rows: Sequence[dict[str, float]], level: float = 0.05) -> str:
    """The verdict on a claim from its parts' corrected p-values.

    Reproduced if every part is shown; not reproduced if one part is refuted; else undecided.

    >>> verdict_of([{"p_for": 0.01, "p_against": 1}, {"p_for": 0.02, "p_against": 1}])
    'reproduced'
    >>> verdict_of([{"p_for": 0.01, "p_against": 1}, {"p_for": 1, "p_against": 0.001}])
    'not reproduced'
    >>> verdict_of([{"p_for": 0.01, "p_against": 1}, {"p_for": 0.4, "p_against": 0.6}])
    'undecided'
    >>> verdict_of([])
    'not measured'
    """
    if not rows:
        return "not measured"
    if any(row["p_against"] <= level for row in rows):
        return "not reproduced"
    if all(row["p_for"] <= level for row in rows):
        return "reproduced"
    return "undecided"


def part_word(part: Mapping[str, Any], level: float = 0.05) -> str:
    """What the corrected p-values say of one part: "shown", "refuted" or "undecided".

    >>> part_word({"holm_for": 0.2, "holm_against": 0.01})
    'refuted'
    """
    if part["holm_against"] <= level:
        return "refuted"
    return "shown" if part["holm_for"] <= level else "undecided"


def judge_claims(path: Path, every: dict[str, pd.DataFrame], main: str, unseen: Sequence[str] = (),
                 draws: int = 10_000) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A verdict on every claim of the file.

    All parts of all claims are one family: their p-values are corrected by Holm, those for and those against apart.

    Parameters
    ----------
    path : path
        The claims file: see `read_claims`.
    every : dict of test set name to results (see `reproduction.run.Store.results`)
    main : str
        The benchmark that parts are about which name none.
    unseen : sequence of str
        Languages never trained on.

    Returns
    -------
    (DataFrame, DataFrame)
        A row per claim: ``claim``, ``text``, ``verdict``, ``why``; and a row per part, with what `part_evidence`
        found and the corrected ``holm_for`` and ``holm_against``.
    """
    claims, rules = read_claims(path)
    rows, family = [], sum(len(claim["parts"]) for claim in claims)
    for claim in claims:
        for part in claim["parts"]:
            names = [main] if part.benchmark == "main" else [name for name in every if name != main]
            for name in names or ["others"]:
                found = part_evidence(every[name], part, rules, unseen, draws, family) if name in every else None
                shown = {"claim": claim["number"], "benchmark": name, "measure": part.measure, "languages":
                         part.languages, "comparison": f"{part.first} {part.kind} {part.second}"}
                rows.append(shown | (found or {}))
    parts = pd.DataFrame(rows).reindex(columns=_COLUMNS)
    for side in ("for", "against"):
        parts[f"holm_{side}"] = holm(parts[f"p_{side}"])
    return verdicts_of(path, parts), parts


def verdicts_of(path: Path, parts: pd.DataFrame) -> pd.DataFrame:
    """The verdict on each claim of a file from its parts (see `judge_claims`): the first table of that function."""
    (claims, rules), verdicts = read_claims(path), []
    for claim in claims:
        own = parts[parts["claim"] == claim["number"]]
        measured = own[own["difference"].notna()]
        judged = [{"p_for": row["holm_for"], "p_against": row["holm_against"]} for _, row in measured.iterrows()]
        verdict = verdict_of(judged, rules["level"]) if len(measured) == len(own) else "not measured"
        verdicts.append({"claim": claim["number"], "text": claim["text"], "verdict": verdict,
                         "why": _why(verdict, measured, rules["level"]) if judged else claim.get("missing", "")})
    return pd.DataFrame(verdicts)


def halves(results: pd.DataFrame, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Results of one half of the articles, and of the other: to choose on the first and confirm on the second."""
    articles = np.random.default_rng(seed).permutation(sorted(results["cluster"].unique()))
    chosen = results["cluster"].isin(articles[:len(articles) // 2])
    return results[chosen], results[~chosen]


def relative_gains(results: pd.DataFrame, reference: str, measures: Sequence[str]) -> pd.DataFrame:
    """How much better than a reference each system is, as a share of the reference's value; positive is better.

    Returns
    -------
    DataFrame
        A row per system, best mean gain first; a column per measure, and ``mean``.
    """
    values = pd.DataFrame({m: macro(results, m).groupby(level="system", sort=False).mean() for m in measures})
    relative = (values / values.loc[reference] - 1).apply(lambda column: MEASURES[column.name].better(column))
    return relative.assign(mean=relative.mean(axis=1)).sort_values("mean", ascending=False)


def choose_recipe(every: dict[str, pd.DataFrame], main: str, reference: str, measures: Sequence[str],
                  draws: int = 10_000) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Which system is best on all numbers together, chosen on one half of the articles and confirmed on the other.

    Chosen is the system whose smallest gain (see `relative_gains`) over the reference is largest on the first of the
    `halves` of the main test set's articles: a large gain in one number must not hide a loss in another. It may be a
    loss, too: then the chosen one is what comes nearest. The same seeds choose and confirm.

    Parameters
    ----------
    every : dict of test set name to results
    main : str
    reference : str
    measures : list of str

    Returns
    -------
    (DataFrame, DataFrame)
        `relative_gains` on the first half with ``smallest``, best first; and every system's differences to the
        reference on the second half and on the other test sets whole: ``system``, ``benchmark``, ``articles``,
        ``measure``, ``difference``, ``low``, ``high``, ``chosen``.
    """
    first, second = halves(every[main])
    ranking = relative_gains(first, reference, measures)
    ranking = ranking.assign(smallest=ranking[measures].min(axis=1)).sort_values("smallest", ascending=False)
    others = [system for system in ranking.index if system != reference]
    rows = []
    for name, results in {main: second, **{k: v for k, v in every.items() if k != main}}.items():
        for system in others:
            found = differences(results, system, reference, measures, draws).rename_axis("measure").reset_index()
            rows.append(found.assign(system=system, benchmark=name, articles=results["cluster"].nunique(),
                                     chosen=system == others[0]))
    columns = ["system", "benchmark", "articles", "measure", "difference", "low", "high", "chosen"]
    return ranking, pd.concat(rows, ignore_index=True)[columns]


_COLUMNS = ["claim", "benchmark", "languages", "measure", "comparison", "difference", "low", "high", "margin", "p_for",
            "p_against", "permutation", "effect", "seeds", "seeds_needed", "articles_needed"]


def _why(verdict: str, parts: pd.DataFrame, level: float) -> str:
    """The part that decides, in words."""
    if verdict == "not reproduced":
        row = parts.loc[parts["holm_against"].idxmin()]
    elif parts["holm_for"].isna().all():
        return "one seed: how much seeds vary is unknown"
    else:
        row = parts.loc[parts["holm_for"].idxmax()]
    value, low, high = (MEASURES[row["measure"]].text(row[name], signed=True) for name in ("difference", "low", "high"))
    title = MEASURES[row["measure"]].title
    text = f"{row['comparison']} in {title} on {row['benchmark']}: {value} [{low}, {high}]"
    # Two things can leave a part open whose interval excludes zero: its margin, and the correction.
    if verdict == "undecided" and (row["low"] > 0 or row["high"] < 0):
        asked = "" if " greater " in row["comparison"] else (
            f" against the margin of {MEASURES[row['measure']].text(row['margin'])}")
        text += f" (zero is outside, but{asked} p = {row['holm_for']:.2g} after Holm's correction)"
    if verdict == "undecided":
        needs = [f"{row[name]:.0f} {name.split('_')[0]}" for name in ("seeds_needed", "articles_needed")
                 if np.isfinite(row[name])]
        text += f"; would take {' or '.join(needs)}" if needs else "; neither seeds nor articles alone would do"
    return text
