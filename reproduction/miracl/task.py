"""MIRACL dev (Zhang et al. 2023): graded judgements over whole Wikipedias, in the 15 languages that the paper reports.

``python -m reproduction.miracl --model NAME --out FOLDER`` downloads the data (or reads them with ``--data``), encodes
the corpora in shards (`reproduction.miracl.search`), keeps the top 100 of each query in ``run.<language>.trec``, and
prints nDCG@10 and R@100 beside the paper's. Run again, it goes on where it was interrupted; ``accelerate launch -m
reproduction.miracl …`` spreads it over processes and machines that share ``--out``. The 15 corpora hold 57.5 million
passages: ``--hard-negatives`` searches a pool of some hundred thousand a language instead, which is not the paper's
task. It scores that pool as it scores the whole corpora, in float16 and with ties in the order of the corpus, so the
numbers need not equal those of mteb's MIRACLRetrievalHardNegatives.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import ir_measures
import numpy as np
import pandas as pd
import torch
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env
from ir_measures import R, nDCG
from sentence_transformers import SentenceTransformer

from hybridlib import encoding, files
from hybridlib.data import CorpusError
from hybridlib.errors import one_line_errors
from reproduction import published
from reproduction.miracl import search
from reproduction.miracl.collection import (
    RELEASE,
    Collection,
    fetch_miracl,
    read_hard_negatives,
    read_release,
    survey,
)
from reproduction.run.folder import alone, manifest

MEASURES = (nDCG @ 10, R @ 100)
DEPTH = 100
TAG = "hybridlib"


def write_run(path: Path, queries: Sequence[str], docids: np.ndarray, scores: np.ndarray) -> None:
    """Write a run in TREC form, atomically: ``qid Q0 docid rank score hybridlib``.

    trec_eval orders a run by score in float32, and equal scores by docid. So that it sees the order that is meant, a
    score that would not be below the one before it is lowered to the next float32.

    Parameters
    ----------
    path : path
    queries : sequence of str, length Q
    docids : ndarray of str, shape (Q, k)
        Best first.
    scores : ndarray of float64, shape (Q, k)

    Raises
    ------
    CorpusError
        If a docid stands twice among those of a query.
    """
    scores = scores.astype(np.float32)
    for column in range(1, scores.shape[1]):
        scores[:, column] = np.minimum(scores[:, column], np.nextafter(scores[:, column - 1], np.float32(-np.inf)))
    with files.atomic(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
        for query, found, values in zip(queries, docids, scores, strict=True):
            if len(set(found)) < len(found):
                twice = next(docid for docid in found if (found == docid).sum() > 1)
                raise CorpusError([f"{path}: docid {twice!r} stands more than once in the corpus"])
            # Nine digits tell any two float32 apart.
            file.writelines(f"{query} Q0 {docid} {rank} {value:.9g} {TAG}\n"
                            for rank, (docid, value) in enumerate(zip(found, values, strict=True), 1))


def score_run(path: Path, qrels: dict[str, dict[str, int]]) -> pd.DataFrame:
    """nDCG@10 and R@100 of each judged query, by trec_eval through ir_measures.

    The gain of nDCG is the grade, the discount 1 / log2(1 + rank); R@100 counts every grade above 0.

    Parameters
    ----------
    path : path
        A run in TREC form.
    qrels : dict of query id to (dict of docid to grade)

    Returns
    -------
    DataFrame
        A row per query, indexed by its id; columns ``nDCG@10`` and ``R@100``.
    """
    found = pd.DataFrame(ir_measures.iter_calc(MEASURES, qrels, ir_measures.read_trec_run(str(path))))
    found["measure"] = found["measure"].map(str)
    return found.pivot(index="query_id", columns="measure", values="value")[list(map(str, MEASURES))]


def beside_paper(results: pd.DataFrame) -> Iterator[str]:
    """Our numbers beside the paper's (its Tables 12 and 13), a text per measure; means over the same languages.

    Parameters
    ----------
    results : DataFrame
        What `main` leaves in ``results.csv``: a row per language, with ``queries``, ``passages`` and the measures.
    """
    for measure in map(str, MEASURES):
        table = pd.concat({"": results[["queries", "passages"]], "ours": results[[measure]],
                           **{f"paper, {model}": published.miracl_scores(measure, model).loc[results.index]
                              for model in published.MODELS}}, axis=1)
        table.loc["mean"] = table.mean()
        table = table.astype({column: int for column in table.columns[:2]}).astype(object)
        table.loc["mean", table.columns[:2]] = ""
        yield table.to_string(float_format="{:.4f}".format)


def _remarks(collections: Sequence[Collection], surveys: Sequence[dict[str, Any]], pool: bool) -> Iterator[str]:
    """What keeps the numbers from being the paper's task; nothing if all is as released."""
    if pool:
        yield "hard negatives: a pool instead of the whole corpus, which is easier; not the paper's task"
    for collection, found in zip(collections, surveys, strict=True):
        language, missing = collection.language, found["relevant_missing"]
        _, queries, passages = RELEASE[language]
        if missing and not pool:
            raise CorpusError([f"{language}: {missing} relevant passages are not in the corpus; it is not complete"])
        if missing:
            yield f"{language}: {missing} relevant passages are not in the pool"
        if not pool and (len(collection.queries), found["passages"]) != (queries, passages):
            yield (f"{language}: {len(collection.queries):,} queries and {found['passages']:,} passages; the release "
                   f"has {queries:,} and {passages:,}")


def _prepare(chosen: argparse.Namespace, model: SentenceTransformer, precision: str, prompts: encoding.Prompts,
             state: PartialState) -> tuple[list[Collection], list[str]]:
    """The collections, their folders claimed, and remarks; whatever is wrong with the data is found here."""
    if chosen.hard_negatives:
        collections = [read_hard_negatives(language, chosen.data) for language in chosen.languages]
    else:
        folder = chosen.data or fetch_miracl(chosen.languages)
        collections = [read_release(folder, language) for language in chosen.languages]
    if not state.is_main_process:
        return collections, []
    files.sweep(chosen.out)
    encoder = {"weights": search.weights_fingerprint(model), "max_length": model.max_seq_length, "precision": precision,
               "passage_prompt": prompts.passage, "shard": search.SHARD_PASSAGES}
    surveys = [survey(collection) for collection in collections]
    remarks = list(_remarks(collections, surveys, chosen.hard_negatives))
    for collection, found in zip(collections, surveys, strict=True):
        search.claim_folder(chosen.out / collection.language,
                            encoder | {"passages": found["passages"], "corpus": found["corpus"]})
    return collections, remarks


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``python -m reproduction.miracl``."""
    parser = argparse.ArgumentParser(prog="python -m reproduction.miracl", description=__doc__.split("\n\n")[0])
    parser.add_argument("--model", required=True, help="a hub name, a folder, or multilingual-e5-small")
    parser.add_argument("--languages", nargs="+", choices=RELEASE, default=list(RELEASE), metavar="LANGUAGE",
                        help=f"of {' '.join(RELEASE)} (default: all)")
    parser.add_argument("--data", type=Path, help="folder laid out as the release, or the pool; else downloaded")
    parser.add_argument("--out", type=Path, required=True, help="folder of embeddings, runs and results")
    parser.add_argument("--hard-negatives", action="store_true", help="search mteb's pool of hard negatives instead")
    chosen = parser.parse_args(arguments)
    chosen.languages = list(dict.fromkeys(chosen.languages))
    started = time.monotonic()
    # Several processes without a GPU see each other only if told that they are on the processor. One that is done
    # with its shards waits for the others, however long they take.
    cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.cuda.is_available()
    state = PartialState(cpu=cpu, timeout=timedelta(weeks=1))
    with one_line_errors():
        files.check_writable(chosen.out)
        with alone(chosen.out):
            _run(chosen, state, started)


def _run(chosen: argparse.Namespace, state: PartialState, started: float) -> None:
    """Encode, search and score, alone in the folder."""
    with state.main_process_first():
        model, source = encoding.load(chosen.model)
        prompts = encoding.Prompts.of(model)
        dtype = torch.bfloat16 if encoding.in_bfloat16("auto", state.device) else torch.float32
        precision = str(dtype).removeprefix("torch.")
        collections, remarks = _prepare(chosen, model, precision, prompts, state)
    for remark in remarks:
        print(remark, file=sys.stderr)

    siblings = encoding.Siblings([model.to(state.device)], dtype, names=[chosen.model])
    # Small batches suit a processor's caches; an accelerator needs more to be busy.
    tokens = 2**11 if state.device.type == "cpu" else 2**15

    def encode(texts: Sequence[str], prompt: str = prompts.passage, role: str = "document") -> np.ndarray:
        return encoding.encode_all(siblings, texts, prompt, tokens, role=role)[0][0]

    results = {}
    for collection in collections:
        folder, run = chosen.out / collection.language, chosen.out / f"run.{collection.language}.trec"
        search.encode_corpus(folder, collection.passages(), encode, state)
        if not state.is_main_process:
            continue
        queries = encode(list(collection.queries.values()), prompts.query, "query")
        scores, positions = search.search_shards(queries, folder, DEPTH)
        write_run(run, collection.queries, search.docids(folder, positions), scores)
        results[collection.language] = {
            "queries": len(collection.queries), "passages": search.folder_settings(folder)["passages"],
            **score_run(run, collection.qrels).mean()}
    if not state.is_main_process:
        return
    results = pd.DataFrame.from_dict(results, orient="index").astype({"queries": int, "passages": int})
    with files.atomic(chosen.out / "results.csv") as temporary:
        results.to_csv(temporary, index_label="language")
    files.write_json(chosen.out / "manifest.json", manifest(
        started, encoder=source, query_prompt=prompts.query, passage_prompt=prompts.passage, precision=precision,
        device=str(state.device), processes=state.num_processes, hard_negatives=chosen.hard_negatives))
    print(f"{source}; prompts {prompts.query!r} and {prompts.passage!r}; {precision}")
    for table in beside_paper(results):
        print("\n" + table)
    for remark in remarks:
        print(remark)
