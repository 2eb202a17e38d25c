"""``hybridlib debias``: language taken out of an encoder, and of the index that it has filled, without training."""

import argparse
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from hybridlib.commands.test_sets import check_no_data, named_test_set

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from hybridlib.data import TestSet
    from hybridlib.debiasing import LanguageErasure

FIT, HELD_OUT = 1000, 200  # documents a language, at most; held out is at most a fifth
ENOUGH = 100  # documents a language, under which the map was seen to do harm (docs/use.md)


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """The arguments of the command."""
    debias = commands.add_parser(
        "debias", help="take language out of an encoder, fitted on a corpus in several languages",
        description="Learns one affine map from documents and their languages, and writes the encoder with the map "
                    f"inside, and the map for an index that exists. It is fitted on at most {FIT} documents a language "
                    f"and looked at on others, at most {HELD_OUT} a language. With a test set it shows what a search "
                    "gains and loses at every strength.")
    debias.add_argument("--model", required=True, help="a hub name, a folder, or multilingual-e5-small")
    debias.add_argument("--corpus", required=True, type=Path, help="BEIR's corpus.jsonl with a field language")
    debias.add_argument("--out", required=True, type=Path, help="folder of the new model; must not exist yet")
    debias.add_argument("--strength", type=float, default=1.0,
                        help="from 0, nothing, to 1: less leaves the query's own language further up (default: 1)")
    debias.add_argument("--queries", type=Path, help="BEIR's queries.jsonl with a field language, asked of the corpus")
    debias.add_argument("--qrels", type=Path, help="BEIR's judgements, with --queries")
    debias.add_argument("--test-set", metavar="NAME_OR_FOLDER", help="another one: xquad-r or mlqa-r, or a folder in "
                                                                     "BEIR's layout with a field language")
    debias.add_argument("--data", type=Path, help="folder of the released files of xquad-r or mlqa-r; else they are "
                                                  "downloaded")
    debias.add_argument("--precision", choices=["auto", "bf16", "fp32"], default="auto")
    debias.add_argument("--device", default="cpu")
    return debias


def run(chosen: argparse.Namespace) -> None:
    """Fit, print, and write, as the arguments say."""
    # Here, so that --help and a typing error are answered at once.
    import torch

    from hybridlib import encoding
    from hybridlib.data import read_corpus
    from hybridlib.debiasing import LEAST, LanguageErasure, check_counts, check_model, dial
    from hybridlib.devices import check_device
    from hybridlib.files import check_writable, room

    # All that can be wrong without reading a text comes first.
    if (chosen.queries is None) != (chosen.qrels is None):
        raise ValueError("give both --queries and --qrels, or neither")
    if chosen.queries and chosen.test_set:
        raise ValueError("--queries asks the corpus itself, --test-set is another one; give one of them")
    if not 0 <= chosen.strength <= 1:
        raise ValueError(f"--strength is {chosen.strength}, and has to be from 0 to 1")
    check_device(chosen.device)
    if chosen.out.exists():
        raise FileExistsError(f"{chosen.out}: is there already; name a folder that is not, or remove it")
    check_writable(chosen.out)
    corpus = read_corpus(chosen.corpus)[["language", "text"]].drop_duplicates(ignore_index=True)
    fitted, held_out = _parts(corpus, LEAST)
    check_counts(fitted["language"].value_counts(sort=False).to_dict())
    test_set = _test_set(chosen)

    model, source = encoding.load(chosen.model)
    model = model.to(chosen.device)
    check_model(model)
    prompts = encoding.Prompts.of(model)
    siblings = encoding.Siblings(
        [model], torch.bfloat16 if encoding.in_bfloat16(chosen.precision, chosen.device) else torch.float32,
        names=[chosen.model])
    texts = [*fitted["text"], *held_out["text"], *(test_set.candidates["text"] if test_set else ())]
    (vectors,), _ = encoding.encode_all(siblings, texts, prompts.passage, description="documents", role="document")
    others = vectors[len(fitted):len(fitted) + len(held_out)]
    erasure = LanguageErasure.fit(vectors[:len(fitted)], fitted["language"], chosen.strength)
    added = erasure.add_to(model)
    print(f"{source}: {len(erasure.languages)} languages ({', '.join(erasure.languages)}), fitted on {len(fitted)} "
          f"documents, looked at on {len(held_out)} others\n{_left(erasure, held_out, others)}")
    counts = fitted["language"].value_counts(sort=False)
    if few := counts.index[counts < ENOUGH].tolist():
        print(f"fitted on fewer than {ENOUGH} documents in {', '.join(few)}: the map is rough, and may do harm")
    if test_set:
        (asked,), _ = encoding.encode_all(siblings, test_set.queries["text"].tolist(), prompts.query,
                                          description="queries", role="query")
        print(f"\n{test_set.name}, by strength; a query's own language means its own answer in the pool\n"
              f"{_shown(dial(erasure, test_set, asked, vectors[len(fitted) + len(held_out):]))}")

    # The folder appears when it is whole.
    temporary = chosen.out.with_name(f".{chosen.out.name}.{os.getpid()}.tmp")
    try:
        with room(chosen.out):
            added.save_pretrained(str(temporary), create_model_card=False)
            erasure.save(temporary / "erasure.safetensors")
            os.replace(temporary, chosen.out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    print(f"\nmodel: {chosen.out} (SentenceTransformer loads it, without this package)\nan index that exists takes the "
          f"same map: LanguageErasure.load({str(chosen.out / 'erasure.safetensors')!r}).transform(vectors)")


def _parts(corpus: "pd.DataFrame", least: int) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """What to fit on, of each language so many at least if it has them, and what to hold out; drawn."""
    drawn = corpus.sample(frac=1, random_state=0)
    place, count = drawn.groupby("language").cumcount(), drawn.groupby("language")["text"].transform("size")
    # Never so many that too few are left to fit on.
    held = (count // 5).clip(upper=HELD_OUT).clip(upper=(count - least).clip(lower=0))
    return drawn[(place >= held) & (place < held + FIT)].sort_index(), drawn[place < held].sort_index()


def _test_set(chosen: argparse.Namespace) -> "TestSet | None":
    """The test set that the arguments name, if they name one."""
    from hybridlib.data import TestSet

    if chosen.test_set is not None:
        return named_test_set(chosen.test_set, chosen.data)
    check_no_data(chosen.data)
    return TestSet.from_files(chosen.queries, chosen.corpus, chosen.qrels,
                              chosen.queries.resolve().parent.name) if chosen.queries else None


def _left(erasure: "LanguageErasure", held_out: "pd.DataFrame", vectors: "np.ndarray") -> str:
    """How much of the language is left in documents that were held out, before the map and after, as a table."""
    import pandas as pd

    from hybridlib.debiasing import language_told, neighbours_in_own_language

    if len(held_out) < 2:
        return "too few documents to hold some out"
    languages = held_out["language"].to_numpy()
    learns = (held_out.groupby("language").cumcount() % 2 == 0).to_numpy()
    rows: dict[str, list[float]] = {}
    for mapped in (vectors, erasure.transform(vectors)):
        found = [("of the 10 nearest documents, in the same language", neighbours_in_own_language(mapped, languages))]
        if not learns.all():
            found.append(("languages told by a linear classifier, learned on one half",
                          language_told(mapped[learns], languages[learns], mapped[~learns], languages[~learns])))
        for name, (value, chance) in found:
            rows.setdefault(name, []).extend([value, chance])
    table = pd.DataFrame({name: (before, after, chance) for name, (before, chance, after, _) in rows.items()},
                         index=["before", "after", "by chance"]).T
    return table.to_string(float_format="{:.3f}".format)


def _shown(table: "pd.DataFrame") -> str:
    """The dial, with as many digits as each measure is worth."""
    digits = {"rank distance": 1, "own language, median rank": 1}
    return table.to_string(formatters={name: f"{{:.{digits.get(name, 3)}f}}".format for name in table})
