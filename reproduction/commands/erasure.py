"""Print what a language erasure does to systems that exist: ``python -m reproduction.commands.erasure --preset xquad``.

For the preset's encoder as it comes, and for those runs that lie under ``runs/``, on every test set of the preset: the
four numbers and where the own language's answer stands, for every strength; for fits on few documents, on one language
with nine in ten of them, without a language, and on labels of a language identifier; with 95 % intervals of the
difference to the plain system over clusters. Centring, which needs every query's language, stands beside it. Nothing
is trained; the tables are left where ``make publish`` finds them.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from hybridlib import files
from hybridlib.data import TestSet
from hybridlib.debiasing import LEAST, STRENGTHS, Centring, LanguageErasure
from hybridlib.debiasing.dial import numbers
from hybridlib.errors import one_line_errors
from hybridlib.evaluation import HEADLINE, NO_SEED, differences, per_query, rank_test_set
from reproduction.run import HYBRID, UNTRAINED, XX, XY, Store
from reproduction.sources.checks import identifier
from reproduction.workspace import Workspace

SIZES = (10, 30, 100, 300, 1000)  # documents a language, as far as all have them
DRAWS = 3
SHARE = 0.9  # of one language, where they are unequal


@dataclass(frozen=True, eq=False)
class Pool:
    """Embeddings of a test set before any remedy."""

    test_set: TestSet
    queries: np.ndarray
    candidates: np.ndarray

    @property
    def languages(self) -> np.ndarray:
        """Of the candidates."""
        return self.test_set.candidates["language"].to_numpy()


Variant = tuple[str, int, np.ndarray, np.ndarray]  # name, draw, embeddings of queries and of candidates


def fits(pool: Pool, told: Sequence[str]) -> Iterator[tuple[str, int, np.ndarray, Sequence[str]]]:
    """What erasures are fitted on: name, draw, rows of candidates, and their languages.

    Parameters
    ----------
    pool : Pool
    told : sequence of str
        What a language identifier takes the candidates' languages for.
    """
    labels, every = pool.languages, np.arange(len(pool.candidates))
    known = list(dict.fromkeys(labels))
    fewest = pd.Series(labels).value_counts().min()
    for draw in range(DRAWS):
        for size in (size for size in SIZES if size <= fewest):
            rng = np.random.default_rng([draw, size])
            rows = np.concatenate([rng.choice(every[labels == x], size, replace=False) for x in known])
            yield f"{size} documents a language", draw, rows, labels[rows]
        # As many of the others together as a ninth of the large one.
        rng = np.random.default_rng([draw, 90])
        large = known[int(rng.integers(len(known)))]
        most = every[labels == large]
        each = max(LEAST, round(len(most) * (1 - SHARE) / SHARE / (len(known) - 1)))
        rows = np.concatenate([most, *(rng.choice(every[labels == x], each, replace=False)
                                       for x in known if x != large)])
        yield "one language with 90 %", draw, rows, labels[rows]
        left_out = known[int(np.random.default_rng([draw, 1]).integers(len(known)))]
        rows = every[labels != left_out]
        yield "a language missing", draw, rows, labels[rows]
    kept = np.flatnonzero(pd.Series(told).groupby(told).transform("size") >= LEAST)
    yield "labels of an identifier", 0, kept, np.asarray(told, object)[kept]


def variants(pool: Pool, told: Sequence[str]) -> Iterator[Variant]:
    """All that is measured of a system, the plain one first."""
    def mapped(erasure: LanguageErasure) -> tuple[np.ndarray, np.ndarray]:
        return erasure.transform(pool.queries), erasure.transform(pool.candidates)

    own = LanguageErasure.fit(pool.candidates, pool.languages)
    for strength in STRENGTHS:
        yield f"strength {strength}" if strength else "plain", 0, *mapped(replace(own, strength=strength))
    for share in (0.0, 1.0):
        yield f"mean share {share:.0f}", 0, *mapped(replace(own, mean_share=share))
    centring = Centring.fit(pool.candidates, pool.languages)
    yield ("centring", 0, centring.transform(pool.queries, pool.test_set.queries["language"]),
           centring.transform(pool.candidates, pool.languages))
    for name, draw, rows, labels in fits(pool, told):
        yield name, draw, *mapped(LanguageErasure.fit(pool.candidates[rows], labels))


def identified(test_set: TestSet) -> np.ndarray:
    """The candidates' languages as py3langid takes them, of those that are there."""
    classify = identifier(tuple(sorted(set(test_set.candidates["language"])))).classify
    return np.array([classify(text)[0] for text in test_set.candidates["text"]], object)


def measure(pool: Pool, told: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two tables: `hybridlib.debiasing.dial.numbers` of each variant, and its differences to the plain one."""
    rows, against, plain = [], [], pd.DataFrame()
    for name, draw, queries, candidates in variants(pool, told):
        results = per_query(rank_test_set(pool.test_set, queries, candidates)).assign(system=name, seed=NO_SEED)
        rows.append({"fit": name, "draw": draw} | numbers(results))
        if name == "plain":
            plain = results
        else:
            found = differences(pd.concat([plain, results]), name, "plain", HEADLINE).rename_axis("measure")
            against.append(found.reset_index().assign(fit=name, draw=draw))
    return pd.DataFrame(rows), pd.concat(against, ignore_index=True)


def tables(store: Store) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """What `measure` gives for all systems and test sets; and facts: the identifier's accuracy, seconds of a fit."""
    runs = [(UNTRAINED, NO_SEED), *((system, 0) for system in (XX, XY, HYBRID) if store.is_trained(system, 0))]
    every, against, facts = [], [], []
    for name, test_set in store.test_sets.items():
        started = time.monotonic()
        told = identified(test_set)
        identifying = time.monotonic() - started
        for system, seed in runs:
            pool = Pool(test_set, *store.embeddings(system, seed, name))
            place = {"benchmark": name, "system": str(system), "seed": seed}
            started = time.monotonic()
            LanguageErasure.fit(pool.candidates, pool.languages)
            facts.append(place | {"documents": len(pool.candidates), "fit, s": time.monotonic() - started,
                                  "identifier, s": identifying, "told right": (told == pool.languages).mean()})
            for found, tables_ in zip(measure(pool, told), (every, against), strict=True):
                tables_.append(pd.DataFrame({key: [value] * len(found) for key, value in place.items()}).join(found))
    return pd.concat(every, ignore_index=True), pd.concat(against, ignore_index=True), pd.DataFrame(facts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m reproduction.commands.erasure", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="mini", help="a file of configs/, without its ending")
    parser.add_argument("--data", type=Path, help="folder of the preset's data, where it needs one")
    chosen = parser.parse_args(arguments)
    with one_line_errors():
        store = Store.open(chosen.preset, Workspace(chosen.data))
        for name, table in zip(("erasure", "erasure_against", "erasure_facts"), tables(store), strict=True):
            file = store.workspace.drawn(chosen.preset) / "results" / f"{name}.csv"
            with files.atomic(file) as temporary:
                table.to_csv(temporary, index=False, float_format="%.6f")
            print(f"{file}\n{table.round(4).to_string(index=False)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
