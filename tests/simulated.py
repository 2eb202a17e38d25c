"""Results whose truth is known, for tests of intervals and of what is concluded from them."""

import pandas as pd


def results(values, system="A", seed=0, measure="m"):
    """Per-query results: ``values[article]`` is a list of values of its questions, one language."""
    rows = [{"system": system, "seed": seed, "cluster": f"a{n}", "query_language": "en", measure: value}
            for n, article in enumerate(values) for value in article]
    return pd.DataFrame(rows)


def simulated(rng, effect=0.0, seeds=3, articles=30, seed_noise=0.05, systems=("X-X", "Hybrid"), measure="m"):
    """Results of systems: shared article difficulty, own article and question noise, a shift per seed."""
    difficulty = rng.standard_normal((articles, 1)) * 0.3
    every = []
    for number, system in enumerate(systems):
        own = rng.standard_normal((articles, 1)) * 0.1
        for seed in range(seeds):
            values = difficulty + own + rng.standard_normal((articles, 4)) * 0.1 + rng.normal(0, seed_noise)
            every.append(results(values + number * effect, system, seed, measure))
    return pd.concat(every, ignore_index=True)
