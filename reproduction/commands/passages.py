"""How well the passages of each language are found by questions in other languages, and what goes with it.

    python -m reproduction.commands.passages --preset mini --test-set belebele-third --first 69

Of a test set whose passages are in many languages, one relevant passage in each for every question. The runs must have
been trained here. Writes, beside the committed evidence, ``passages.csv`` (what each language's passages gain) and
``passages_go_with.csv`` (its correlation with what is known of the languages, ``languages.csv``, in which the encoder's
tokenizer cuts the passages anew).
"""

import argparse
import sys
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import pandas as pd

from hybridlib import files
from hybridlib.encoding import load
from hybridlib.errors import one_line_errors
from hybridlib.evaluation import NO_SEED
from reproduction.commands.domains import DRAWS, FACTS, read_facts
from reproduction.findings import domains
from reproduction.run import Store, System
from reproduction.workspace import Workspace

SYSTEMS = ("untrained", "X-X", "X-Y", "Hybrid", "untrained + subspace", "untrained + erasure-corpus",
           "Hybrid + subspace", "Hybrid + erasure-corpus")
GAINS = (*((name, "") for name in SYSTEMS), *((name, "untrained") for name in SYSTEMS[1:]), ("Hybrid", "X-X"),
         ("Hybrid + subspace", "Hybrid"), ("Hybrid + erasure-corpus", "Hybrid"))


def passages(store: Store, test_set: str, seeds: Sequence[int], first: int) -> pd.DataFrame:
    """`domains.of_passages` of every system and seed, with ``system`` and ``seed``."""
    runs = [(system, seed) for system in map(System.parse, SYSTEMS)
            for seed in (seeds if system.is_trained else [NO_SEED])]
    store.evaluate(runs, [test_set])  # together, so that the layers that they share are computed once
    return pd.concat([domains.of_passages(store.ranks(system, seed, test_set), first).assign(
        system=str(system), seed=seed) for system, seed in runs], ignore_index=True)


def gains(kept: pd.DataFrame, facts: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What the passages of each language gain, and how that goes with facts about the languages.

    Parameters
    ----------
    kept : DataFrame (see `passages`)
    facts : DataFrame
        ``language`` and `FACTS`.
    """
    measures = [name for name in kept if f"{name}: queries" in kept]
    table, related = domains.told_by_language(kept, GAINS, measures, facts.set_index("language")[list(FACTS)], DRAWS)
    none = {"reference": {"": "none"}}
    return table.rename(columns={"query_language": "language"}).replace(none), related.replace(none)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m reproduction.commands.passages", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="mini", help="a file of configs/, without its ending")
    parser.add_argument("--test-set", required=True, help="a test set of the preset")
    parser.add_argument("--first", type=int, required=True, help="how far down the pool is looked")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--data", default="", help="folder of the preset's data, where it needs one")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    chosen = parser.parse_args(arguments)
    with one_line_errors():
        store = Store.open(chosen.preset, Workspace(chosen.data or None, chosen.device))
        about = store.workspace.results(chosen.preset) / "languages.csv"
        test_set = store.test_set(chosen.test_set)
        facts = read_facts(about)
        facts = facts[facts["test_set"] == chosen.test_set]
        if lacking := sorted({*test_set.candidates["language"]} - {*facts["language"]}):
            raise ValueError(f"{about}: nothing is said of {', '.join(lacking)} in {chosen.test_set}")
        facts = domains.with_tokens(facts, [test_set], load(store.preset.config["encoder"])[0].tokenizer)
        table, related = gains(passages(store, chosen.test_set, chosen.seeds, chosen.first), facts)
        folder = about.parent / chosen.device
        for made, file, by in ((facts, about, "test_set"), (table, folder / "passages.csv", "benchmark"),
                               (related, folder / "passages_go_with.csv", "benchmark")):
            _write(made.assign(**{by: chosen.test_set}), file, by)
    return 0


def _write(table: pd.DataFrame, file: Path, by: str) -> None:
    """Write the rows of a test set to a table, in place of those that it has of it."""
    texts = [StringIO(table.to_csv(index=False, float_format="%.6g")), *([file] if file.is_file() else [])]
    own, *others = (pd.read_csv(text, keep_default_na=False, dtype=str) for text in texts)
    every = pd.concat([*(there[~there[by].isin(own[by])] for there in others), own])
    with files.atomic(file) as temporary:
        every.to_csv(temporary, index=False)
    print(f"{len(every)} rows -> {file}")


if __name__ == "__main__":
    sys.exit(main())
