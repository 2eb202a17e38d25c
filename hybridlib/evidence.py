"""How sure a number is: intervals, paired tests, corrections, verdicts on claims.

Two things vary: which articles the test has, and which seed a model was trained with. `bootstrap` resamples whole
articles, the same ones for every system; `both` adds the seeds. Everything is computed from per-query measures
(`hybridlib.presets.Preset.results`), so from the ranks files alone.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from scipy import stats

CLAIMS = Path(__file__).resolve().parent.parent / "configs" / "evidence" / "claims.yaml"
VERDICTS = ("reproduced", "not reproduced", "undecided", "not measured")


def _tables(rows, measure, articles, languages):
    """Sums and counts of a measure: two arrays of shape (articles, languages)."""
    grouped = rows.groupby(["article", "query_language"])[measure]
    return tuple(found.unstack().reindex(index=articles, columns=languages).fillna(0).to_numpy()
                 for found in (grouped.sum(), grouped.count()))


def bootstrap(results, measure, draws=10_000, seed=0):
    """Macro means of all systems under resampled articles.

    The questions of an article are not independent, so whole articles are drawn with replacement (a cluster
    bootstrap; Field and Welsh 2007), the same ones for every system, so that differences of columns are
    paired. The seeds of a system are averaged first: the draws hold the choice of articles, not that of seeds.

    Parameters
    ----------
    results : DataFrame
        ``system``, ``seed``, ``article``, ``query_language`` and a column ``measure`` (see
        `hybridlib.presets.Preset.results`).
    measure : str
    draws, seed : int

    Returns
    -------
    DataFrame
        ``draws`` rows, a column per system: the mean over languages of the means over queries.
    """
    articles, languages = sorted(results["article"].unique()), sorted(results["query_language"].unique())
    weights = np.random.default_rng(seed).multinomial(
        len(articles), np.full(len(articles), 1 / len(articles)), size=draws)  # (draws, articles)
    columns = {}
    for system, rows in results.groupby("system", sort=False):
        sums, counts = _tables(rows, measure, articles, languages)
        # A small draw may leave a language without a query; the mean is over those that have one.
        with np.errstate(invalid="ignore"):
            columns[system] = np.nanmean((weights @ sums) / (weights @ counts), axis=1)
    return pd.DataFrame(columns)


def seed_means(results, measure):
    """Macro mean of every run: a Series indexed by ``(system, seed)``."""
    by_language = results.groupby(["system", "seed", "query_language"], sort=False)[measure].mean()
    return by_language.groupby(["system", "seed"], sort=False).mean()


def both(results, measure, draws=10_000, seed=0):
    """Macro means of all systems under resampled articles *and* seeds.

    A hierarchical bootstrap. Articles are resampled as in `bootstrap`. Seeds are three or five, too few to
    resample (their own bootstrap covers far less than it says); instead each system's mean over its n seeds moves
    by s / √n times a draw from Student's t with n − 1 degrees of freedom, s the standard deviation over seeds. Seeds
    are paired: batch k of a seed comes from the same random draws in every sampling (see
    `hybridlib.sampling.LanguageBatchSampler`), and "Hybrid" and "Hybrid + subspace" are the same runs. So all systems
    move together, by the multivariate t, and a difference of two has the spread of the differences within seeds.
    With one trained seed the variance is unknown, and trained systems are NaN throughout; an untrained one
    (seed −1) has none.

    Returns
    -------
    DataFrame
        As `bootstrap`.

    Raises
    ------
    ValueError
        If the trained systems do not have the same seeds.
    """
    table = bootstrap(results, measure, draws, seed)
    means = _by_seed(results, measure)
    if means.empty:
        return table
    count = means.shape[1]
    if count < 2:
        table[means.index] = np.nan
        return table
    rng = np.random.default_rng([seed, 1])
    deviations = means.sub(means.mean(axis=1), axis=0).to_numpy()  # (systems, seeds)
    together = rng.standard_normal((draws, count)) @ deviations.T / np.sqrt(count * (count - 1))
    table[means.index] += together / np.sqrt(rng.chisquare(count - 1, (draws, 1)) / (count - 1))
    return table


def _by_seed(results, measure):
    """Macro means of the trained systems, a column per seed."""
    means = seed_means(results[results["seed"] >= 0], measure).unstack("seed")
    if means.isna().any(axis=None):
        raise ValueError("seeds are paired, so all trained systems must have the same: " + "; ".join(
            f"{system} has {', '.join(str(seed) for seed in row.dropna().index)}" for system, row in means.iterrows()))
    return means


def draws_of(results, measure, draws=10_000):
    """`both` where there are several seeds, else `bootstrap`; `what_varies` says which."""
    several = results["seed"].max() > results.loc[results["seed"] >= 0, "seed"].min()
    return (both if several else bootstrap)(results, measure, draws)


def what_varies(results):
    """What intervals from `draws_of` hold: "articles and 3 seeds", or "articles" where there is one seed."""
    count = results.loc[results["seed"] >= 0, "seed"].nunique()
    return f"articles and {count} seeds" if count > 1 else "articles"


def interval(draws, level=0.95):
    """Percentile interval of bootstrap draws: ``(low, high)``.

    >>> low, high = interval(np.arange(101.0))
    >>> round(low, 6), round(high, 6)
    (2.5, 97.5)
    """
    tail = 50 * (1 - level)
    return tuple(float(value) for value in np.percentile(draws, [tail, 100 - tail]))


def p_value(draws, bound=0.0):
    """One-sided bootstrap p-value of "the truth is at most ``bound``", with one added to both counts.

    >>> p_value(np.arange(1.0, 100.0))
    0.01
    """
    draws = np.asarray(draws)
    return float((np.sum(draws <= bound) + 1) / (len(draws) + 1)) if not np.isnan(draws).any() else float("nan")


def by_article(results, measure, first, second):
    """What each article adds to the macro difference of two systems (the mean over seeds of each): a Series."""
    articles, languages = sorted(results["article"].unique()), sorted(results["query_language"].unique())
    parts = []
    for system in (first, second):
        sums, counts = _tables(results[results["system"] == system], measure, articles, languages)
        parts.append((sums / counts.sum(0)).mean(1))
    return pd.Series(parts[0] - parts[1], articles)


def permutation(results, measure, first, second, draws=9_999, seed=0):
    """Two-sided p-value that two systems do not differ, given their seeds: articles swap systems as a whole.

    The paired permutation test with articles as units, by `scipy.stats.permutation_test`.
    """
    difference = by_article(results, measure, first, second).to_numpy()
    return float(stats.permutation_test(
        (difference,), np.sum, permutation_type="samples", n_resamples=draws, alternative="two-sided",
        rng=np.random.default_rng(seed)).pvalue)


def effect_size(results, measure, first, second):
    """Cohen's d for paired samples over articles: the mean of their differences over its standard deviation."""
    difference = by_article(results, measure, first, second)
    spread = difference.std(ddof=1)
    return float(difference.mean() / spread) if spread > 0 else float("nan")


def holm(p_values):
    """Holm's (1979) step-down correction: adjusted p-values in the order given; NaN stays and does not count.

    >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    p_values = np.asarray(p_values, float)
    adjusted = np.full(len(p_values), np.nan)
    known = np.flatnonzero(~np.isnan(p_values))
    order = known[np.argsort(p_values[known], kind="stable")]
    steps = p_values[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted


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


def read_claims(path=CLAIMS):
    """The claims file: ``(claims, rules)``, the claims a list of dict with ``parts`` a list of `Part`."""
    found = yaml.safe_load(Path(path).read_text("utf-8"))
    claims = [claim | {"parts": [Part(**part) for part in claim["parts"]]} for claim in found["claims"]]
    return claims, found["rules"]


def part_evidence(results, part, rules, unseen=(), draws=10_000, family=1):
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
    lower_is_better, level = part.measure == "rank distance", rules["level"] / family
    means = seed_means(results, part.measure)
    difference = means[part.first].mean() - means[part.second].mean()
    margin = (rules["rank_distance_margin"] * means[part.second].mean() if lower_is_better else rules["map_margin"])
    table = both(results, part.measure, draws)
    drawn = (table[part.first] - table[part.second]).to_numpy()
    sign = -1 if lower_is_better else 1
    better = sign * drawn  # positive where first is the better one
    if part.kind in ("greater", "less"):
        way = drawn if part.kind == "greater" else -drawn
        p_for, p_against, gap = p_value(way), p_value(-way), abs(difference)
    elif part.kind == "at least":
        p_for, p_against, gap = p_value(better, -margin), p_value(-better, margin), sign * difference + margin
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


def _needed(results, part, gap, level):
    """Seeds, or articles, that would show a part at this level with 80 % power, if the truth lay at the estimate.

    The test's distribution is taken as Student's t with one degree of freedom less than there are seeds; ``level`` as
    that of one part of a family, by Bonferroni: no less than Holm asks for.
    """
    means = _by_seed(results, part.measure)  # an untrained system is not in it: it has no seeds
    count = means.shape[1]
    of_seeds = sum(sign * means.loc[s] for s, sign in ((part.first, 1), (part.second, -1)) if s in means.index).var()
    table = bootstrap(results, part.measure, 2000)
    of_articles = (table[part.first] - table[part.second]).var()
    articles = results["article"].nunique()

    def allowed(seeds):
        """The variance of the difference that leaves this power."""
        return (gap / (stats.t.ppf(1 - level, seeds - 1) + stats.t.ppf(0.8, seeds - 1))) ** 2

    seeds = next((n for n in range(2, 1001) if of_seeds / n + of_articles <= allowed(n)), np.nan)
    left = allowed(count) - of_seeds / count if count > 1 else np.nan
    return {"seeds_needed": seeds, "articles_needed": float(np.ceil(articles * of_articles / left)) if left > 0
            else np.nan}


def judge(rows, level=0.05):
    """The verdict on a claim from its parts' corrected p-values.

    Reproduced if every part is shown; not reproduced if one part is refuted; else undecided.

    >>> judge([{"p_for": 0.01, "p_against": 1}, {"p_for": 0.02, "p_against": 1}])
    'reproduced'
    >>> judge([{"p_for": 0.01, "p_against": 1}, {"p_for": 1, "p_against": 0.001}])
    'not reproduced'
    >>> judge([{"p_for": 0.01, "p_against": 1}, {"p_for": 0.4, "p_against": 0.6}])
    'undecided'
    >>> judge([])
    'not measured'
    """
    if not rows:
        return "not measured"
    if any(row["p_against"] <= level for row in rows):
        return "not reproduced"
    if all(row["p_for"] <= level for row in rows):
        return "reproduced"
    return "undecided"


def judge_claims(every, main, unseen=(), draws=10_000, path=CLAIMS):
    """A verdict on every claim of the file.

    All parts of all claims are one family: their p-values are corrected by Holm, those for and those against apart.

    Parameters
    ----------
    every : dict of benchmark name to results (see `hybridlib.presets.Preset.results`)
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
    verdicts = []
    for claim in claims:
        own = parts[parts["claim"] == claim["number"]]
        measured = own[own["difference"].notna()]
        judged = [{"p_for": row["holm_for"], "p_against": row["holm_against"]} for _, row in measured.iterrows()]
        verdict = judge(judged, rules["level"]) if len(measured) == len(own) else "not measured"
        verdicts.append({"claim": claim["number"], "text": claim["text"], "verdict": verdict,
                         "why": _why(verdict, measured, rules["level"]) if judged else claim.get("missing", "")})
    return pd.DataFrame(verdicts), parts


def halves(results, seed=0):
    """Results of one half of the articles, and of the other: to choose on the first and confirm on the second."""
    articles = np.random.default_rng(seed).permutation(sorted(results["article"].unique()))
    chosen = results["article"].isin(articles[:len(articles) // 2])
    return results[chosen], results[~chosen]


def gains(results, reference, measures):
    """How much better than a reference each system is, as a share of the reference's value; positive is better.

    Returns
    -------
    DataFrame
        A row per system, best mean gain first; a column per measure, and ``mean``.
    """
    values = pd.DataFrame({m: seed_means(results, m).groupby(level="system", sort=False).mean() for m in measures})
    relative = values / values.loc[reference] - 1
    if "rank distance" in relative:
        relative["rank distance"] *= -1
    return relative.assign(mean=relative.mean(axis=1)).sort_values("mean", ascending=False)


def recipe(every, main, reference, measures, draws=10_000):
    """Which system is best on all numbers together, chosen on one half of the articles and confirmed on the other.

    Chosen is the system whose smallest gain (see `gains`) over the reference is largest on the first of the `halves` of
    the main benchmark's articles: a large gain in one number must not hide a loss in another. It may be a loss, too:
    then the chosen one is what comes nearest. The same seeds choose and confirm.

    Parameters
    ----------
    every : dict of benchmark name to results
    main : str
    reference : str
    measures : list of str

    Returns
    -------
    (DataFrame, DataFrame)
        `gains` on the first half with ``smallest``, best first; and what every system's `confirm` says on the second
        half and on the other benchmarks whole: ``system``, ``benchmark``, ``articles``, ``measure``, ``difference``,
        ``low``, ``high``, ``chosen``.
    """
    first, second = halves(every[main])
    ranking = gains(first, reference, measures)
    ranking = ranking.assign(smallest=ranking[measures].min(axis=1)).sort_values("smallest", ascending=False)
    others = [system for system in ranking.index if system != reference]
    rows = []
    for name, results in {main: second, **{k: v for k, v in every.items() if k != main}}.items():
        for system in others:
            found = confirm(results, system, reference, measures, draws).rename_axis("measure").reset_index()
            rows.append(found.assign(system=system, benchmark=name, articles=results["article"].nunique(),
                                     chosen=system == others[0]))
    columns = ["system", "benchmark", "articles", "measure", "difference", "low", "high", "chosen"]
    return ranking, pd.concat(rows, ignore_index=True)[columns]


def confirm(results, system, reference, measures, draws=10_000):
    """Differences of a system to a reference with 95 % intervals (see `draws_of`): a row per measure."""
    rows = {}
    for measure in measures:
        means = seed_means(results, measure)
        table = draws_of(results[results["system"].isin([system, reference])], measure, draws)
        low, high = interval(table[system] - table[reference])
        rows[measure] = {"difference": means[system].mean() - means[reference].mean(), "low": low, "high": high}
    return pd.DataFrame(rows).T


_COLUMNS = ["claim", "benchmark", "languages", "measure", "comparison", "difference", "low", "high", "margin", "p_for",
            "p_against", "permutation", "effect", "seeds", "seeds_needed", "articles_needed"]


def _why(verdict, parts, level):
    """The part that decides, in words."""
    if verdict == "not reproduced":
        row = parts.loc[parts["holm_against"].idxmin()]
    elif parts["holm_for"].isna().all():
        return "one seed: how much seeds vary is unknown"
    else:
        row = parts.loc[parts["holm_for"].idxmax()]
    digits = 1 if row["measure"] == "rank distance" else 3
    text = (f"{row['comparison']} in {row['measure']} on {row['benchmark']}: {row['difference']:+.{digits}f} "
            f"[{row['low']:+.{digits}f}, {row['high']:+.{digits}f}]")
    if verdict == "undecided":
        needs = [f"{row[name]:.0f} {name.split('_')[0]}" for name in ("seeds_needed", "articles_needed")
                 if np.isfinite(row[name])]
        text += f"; would take {' or '.join(needs)}" if needs else "; neither seeds nor articles alone would do"
    return text
