"""Tables of other domains, of low-resource languages and of precision at k, from committed evidence.

    python -m reproduction.commands.domains --preset xquad

Nothing is trained or encoded. Writes, beside the evidence, ``results/<preset>/<device>/``: ``effects.csv``
(differences between samplings by test set), ``precision.csv`` and ``precision_against.csv``, ``by_language.csv`` (what
each language gains) and ``goes_with.csv`` (its correlation with what is known of the languages). With ``--data`` the
encoder's tokenizer cuts the queries anew first, and ``results/<preset>/languages.csv`` gets what comes out.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from hybridlib import files
from hybridlib.encoding import load
from hybridlib.errors import one_line_errors
from reproduction.findings import cross, domains
from reproduction.run import Preset
from reproduction.workspace import Workspace

BLOCKS = ("headline", "domains", "programming", "african")
DOMAINS = ("xquad-r", "mlqa-r", "tydi-goldp", "tico19", "python-faq", "afriqa")
# The remedy that needs no labels and gave most on XQuAD-R; in Python's FAQ two languages are too few to fit it.
REMEDY, OTHERWISE = "erasure-corpus", {"python-faq": "centring-corpus"}
DRAWS = 2_000  # TyDi QA and AfriQA have thousands of clusters
PAIRS = (("X-Y", "X-X"), ("Hybrid", "X-X"), ("Hybrid", "X-Y"), ("X-X mixed", "X-X"), ("Hybrid", "X-X mixed"),
         *((sampling, "untrained") for sampling in ("X-X mixed", "X-X", "X-Y", "Hybrid")))
SHOWN = ("monolingual AP", "crosslingual AP", "multilingual AP", "monolingual nDCG@10", "crosslingual P@1",
         "multilingual nDCG@10")
# TICO-19's Somali queries are in large part another sentence (`domains.numbers_of_the_passage`); Python's FAQ has two
# questions in Polish and 16 in Turkish.
LEFT_OUT = {"tico19": ("so",), "python-faq": ("pl", "tr")}
GAINS = (("untrained", ""), *((name, "untrained") for name in ("X-X mixed", "X-X", "X-Y", "Hybrid")),
         ("Hybrid", "X-X mixed"), ("untrained + erasure-corpus", "untrained"), ("Hybrid + erasure-corpus", "Hybrid"),
         ("Hybrid + erasure-corpus", "untrained"))
FACTS = ("tokens_per_word", "tokens_against_english", "cc100_gib")


def effects(kept: pd.DataFrame) -> pd.DataFrame:
    """`domains.effects` of every test set, and of two without the languages that cannot be trusted, ``languages``."""
    best = kept["benchmark"].map(OTHERWISE).fillna(REMEDY)
    chosen = kept[kept["benchmark"].isin(DOMAINS) & ((kept["remedy"] == "") | (kept["remedy"] == best))]
    left = pd.concat([chosen[(chosen["benchmark"] == name) & ~chosen["query_language"].isin(languages)]
                      for name, languages in LEFT_OUT.items()])
    table = pd.concat([domains.effects(part, PAIRS, SHOWN, DRAWS).assign(languages=name)
                       for name, part in (("all", chosen), ("chosen", left))], ignore_index=True)
    return table.replace({"remedy": {"": "none"}})


def precision(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Means, and differences from X-X, of the two benchmarks whose ranks were kept."""
    kept = pd.concat([domains.precision(folder / "headline", name, ("untrained", "X-X", "X-Y", "Hybrid"))
                      for name in DOMAINS[:2]]).assign(sampling=lambda x: x["system"], remedy="")
    measures = [name for name in kept if name.startswith("crosslingual P@") and ":" not in name]
    against = cross.against(kept, "X-X", measures)
    return cross.values(kept, measures), against.drop(columns=["p", "holm"])


def by_language(kept: pd.DataFrame, facts: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What the queries of each language gain, and how that goes with facts about the languages."""
    rows, related = [], []
    for benchmark, known in facts.groupby("test_set", sort=False):
        known = known.set_index("language")
        part = kept[(kept["benchmark"] == benchmark) & ~kept["query_language"].isin(LEFT_OUT.get(benchmark, ()))]
        measures = [name for name in SHOWN[:3] if part[f"{name}: queries"].sum()]
        pairs = [pair for pair in GAINS if set(pair) <= {*part["system"], ""}]
        told = domains.told_by_language(part, pairs, measures, known[list(FACTS)], DRAWS)
        for parts, table in zip((rows, related), told, strict=True):
            table.insert(table.columns.get_loc("measure"), "benchmark", benchmark)
            parts.append(table)
    return pd.concat(rows, ignore_index=True), pd.concat(related, ignore_index=True)


def read_facts(file: Path) -> pd.DataFrame:
    """``languages.csv``: nothing stands where nothing is known, and 0 where the corpus has none of a language."""
    table = pd.read_csv(file, dtype={"language": str}, keep_default_na=False)
    numbers = [name for name in (*FACTS, "unknown", "other_sentence") if name in table]
    return table.assign(**{name: pd.to_numeric(table[name], errors="coerce") for name in numbers})


def anew(facts: pd.DataFrame, preset: Preset) -> pd.DataFrame:
    """The facts, with what the tokenizer of the preset's encoder makes of the queries, and the check by numbers."""
    test_sets = [preset.further[name] for name in facts["test_set"].unique()]
    facts = domains.with_tokens(facts, test_sets, load(preset.config["encoder"])[0].tokenizer)
    checked = {(test_set.name, language): share for test_set in test_sets if domains.is_parallel(test_set)
               for language, share in domains.numbers_of_the_passage(test_set).items()}
    return facts.assign(other_sentence=[checked.get(key) for key in zip(facts["test_set"], facts["language"],
                                                                        strict=True)])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m reproduction.commands.domains", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="xquad", help="a file of configs/, without its ending")
    parser.add_argument("--device", default="cuda", help="what the evidence was measured on")
    parser.add_argument("--data", type=Path, help="folder of the preset's data, to cut the queries anew")
    chosen = parser.parse_args(arguments)
    with one_line_errors():
        workspace = Workspace(chosen.data)
        folder = workspace.results(chosen.preset) / chosen.device
        about = workspace.results(chosen.preset) / "languages.csv"
        facts = read_facts(about)
        if chosen.data:
            facts = anew(facts, Preset(chosen.preset, workspace))
            _write(facts, about)
        kept = cross.read_blocks(folder, BLOCKS)
        made = {"effects": effects(kept)}
        made["precision"], made["precision_against"] = precision(folder)
        made["by_language"], made["goes_with"] = by_language(kept, facts)
        for name, table in made.items():
            _write(table, folder / f"{name}.csv")
    return 0


def _write(table: pd.DataFrame, file: Path) -> None:
    with files.atomic(file) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
    print(f"{len(table)} rows -> {file}")


if __name__ == "__main__":
    sys.exit(main())
