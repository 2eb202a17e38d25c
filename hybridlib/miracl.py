"""MIRACL dev (Zhang et al. 2023): graded judgements over whole Wikipedias, in the 15 languages that the paper reports.

``python -m hybridlib.miracl --model NAME --out FOLDER`` downloads the data (or reads them with ``--data``), encodes
the corpora in shards (`hybridlib.search`), keeps the top 100 of each query in ``run.<language>.trec``, and prints
nDCG@10 and R@100 beside the paper's. Run again, it goes on where it was interrupted; ``accelerate launch -m
hybridlib.miracl …`` spreads it over processes and machines that share ``--out``. The 15 corpora hold 57.5 million
passages: ``--hard-negatives`` searches a pool of some hundred thousand a language instead, which is not the paper's
task.
"""

import argparse
import hashlib
import os
import sys
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import ir_measures
import numpy as np
import pandas as pd
import pooch
import torch
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env
from ir_measures import R, nDCG
from tqdm.auto import tqdm

from hybridlib import encoders, paper, runs, search
from hybridlib.corpus import CorpusError, _lines

# As several public projects pin them, the last one mteb 2.26; not compared with the hub itself.
TOPICS = ("miracl/miracl", "5be20db9509754dadad47689368639fcec739c00")
CORPUS = ("miracl/miracl-corpus", "d921ec7e349ce0d28daf30b2da9da5ee698bef0d")
HARD_NEGATIVES = ("mteb/MIRACLRetrievalHardNegatives", "d7d94fa4b946cec4a27c84653aa0cf6b33f74a3c")
# In the order of Tables 12 and 13: corpus files; dev queries and passages as the authors of MIRACL count them. The
# paper's Table 11 has the queries of Arabic as 2,869, and those of Spanish and English in each other's place.
RELEASED = {
    "sw": (1, 482, 131_924), "bn": (1, 411, 297_265), "hi": (2, 350, 506_264), "ko": (3, 213, 1_486_752),
    "th": (2, 733, 542_166), "te": (2, 828, 518_079), "fi": (4, 1_271, 1_883_509), "ja": (14, 860, 6_953_614),
    "es": (21, 648, 10_373_953), "fr": (30, 343, 14_636_953), "ru": (20, 1_252, 9_543_918), "zh": (10, 393, 4_934_368),
    "fa": (5, 632, 2_207_172), "ar": (5, 2_896, 2_061_414), "id": (3, 960, 1_446_315)}
MEASURES = (nDCG @ 10, R @ 100)
DEPTH = 100
TAG = "hybridlib"


@dataclass(frozen=True)
class Collection:
    """Queries, judgements and passages of one language.

    Attributes
    ----------
    language : str
    queries : dict of query id to text
        Those with judgements, in the order of the topics.
    qrels : dict of query id to (dict of docid to grade)
    passages : callable
        Each call reads the corpus anew from its start: an iterator of (docid, text), where the text is the title and
        the passage.
    """

    language: str
    queries: dict
    qrels: dict
    passages: Callable


def _collection(language, topics, judgements, passages, where):
    """A Collection of (query id, text) and (query id, docid, grade)."""
    topics, qrels = dict(topics), {}
    for query, docid, grade in judgements:
        qrels.setdefault(query, {})[docid] = grade
    unknown = [query for query in qrels if query not in topics]
    if unknown or not qrels:
        raise CorpusError([f"{where}: " + (f"query {unknown[0]!r} is not among the topics" if unknown
                                           else "no judgements")])
    return Collection(language, {query: text for query, text in topics.items() if query in qrels}, qrels, passages)


def fetch(languages, folder=None):
    """Download topics, judgements and corpora at their pinned revisions; what is there already is not fetched again.

    Parameters
    ----------
    languages : sequence of str
    folder : path, optional
        The user's cache folder by default (``HYBRIDLIB_DATA`` overrides it).

    Returns
    -------
    Path
        For `released`.

    Raises
    ------
    ConnectionError
    """
    from huggingface_hub import snapshot_download

    folder = Path(folder or Path(os.environ.get("HYBRIDLIB_DATA") or pooch.os_cache("hybridlib")) / "miracl")
    for (name, revision), patterns in (
            (TOPICS, ["miracl-v1.0-{0}/topics/topics.miracl-v1.0-{0}-dev.tsv",
                      "miracl-v1.0-{0}/qrels/qrels.miracl-v1.0-{0}-dev.tsv"]),
            (CORPUS, ["miracl-corpus-v1.0-{0}/docs-*.jsonl.gz"])):
        try:
            snapshot_download(name, repo_type="dataset", revision=revision, local_dir=folder,
                              allow_patterns=[pattern.format(x) for pattern in patterns for x in languages])
        except OSError as error:
            raise ConnectionError(f"{name} at {revision} could not be had: {error}\nGet the files by other means and "
                                  "give their folder with --data") from error
    return folder


def _rows(path, columns, separator=None):
    """Yield (line number, columns) of a file of topics or judgements."""
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            found = line.rstrip("\n").split(separator, len(columns) - 1)
            if len(found) < len(columns):
                raise CorpusError([f"{path}:{number}: {len(found)} columns, expected {', '.join(columns)}"])
            yield number, found


def _judgements(path):
    for number, (query, _, docid, grade) in _rows(path, ("query id", "Q0", "docid", "grade")):
        try:
            yield query, docid, int(grade)
        except ValueError:
            raise CorpusError([f"{path}:{number}: grade {grade!r} is not an integer"]) from None


def _passage(record, names, where):
    """(docid, text) of a record."""
    for name in names:
        if not isinstance(record.get(name), str):
            raise CorpusError([f"{where}: field {name!r} is missing or not text (the fields are {sorted(record)})"])
    docid, title, text = (record[name] for name in names)
    if docid.split() != [docid]:
        raise CorpusError([f"{where}: field {names[0]!r}: {docid!r} cannot be a docid: it is empty or has a space"])
    return docid, f"{title} {text}".strip()


def released(folder, language):
    """A language of MIRACL dev from a folder in the layout of its release.

    Parameters
    ----------
    folder : path
        With ``miracl-v1.0-<language>/{topics,qrels}/`` and ``miracl-corpus-v1.0-<language>/docs-<i>.jsonl.gz``.
    language : str
        A key of `RELEASED`.

    Returns
    -------
    Collection

    Raises
    ------
    FileNotFoundError, CorpusError
        If a file is missing, or a line, field or column is not as released; of the corpus, when it is read.
    """
    name = f"miracl-v1.0-{language}"
    topics = Path(folder, name, "topics", f"topics.{name}-dev.tsv")
    qrels = Path(folder, name, "qrels", f"qrels.{name}-dev.tsv")
    files = [Path(folder, f"miracl-corpus-v1.0-{language}", f"docs-{i}.jsonl.gz") for i in range(RELEASED[language][0])]
    for file in (topics, qrels, *files):
        if not file.is_file():
            raise FileNotFoundError(f"{file}: no such file; {file.parent} must be as in the release "
                                    f"({len(files)} corpus files for {language}); without --data it is downloaded")

    def passages():
        for file in files:
            try:
                for line, record, problem in _lines(file):
                    if problem:
                        raise CorpusError([f"{file}:{line}: {problem}"])
                    yield _passage(record, ("docid", "title", "text"), f"{file}:{line}")
            except zlib.error as error:
                raise CorpusError([f"{file}: the compressed file is broken ({error})"]) from error

    return _collection(language, (row for _, row in _rows(topics, ("query id", "query"), "\t")),
                       _judgements(qrels), passages, qrels)


def hard_negatives(language, folder=None):
    """A language of MIRACL dev over mteb's pool: the best 250 passages per query of three retrievers.

    Parameters
    ----------
    language : str
    folder : path, optional
        A copy of the data set: ``<language>-{corpus,queries,qrels}/dev-*.parquet``. Without it they are downloaded, or
        found in the cache of `datasets`.

    Returns
    -------
    Collection
        At most 1,000 queries, of those of `released`.

    Raises
    ------
    OSError, ValueError
        If the data cannot be had.
    CorpusError
        If a column is missing.
    """
    from datasets import load_dataset

    def part(kind, *columns):
        config, (name, revision) = f"{language}-{kind}", HARD_NEGATIVES
        if folder is None:
            table, where = load_dataset(name, config, split="dev", revision=revision), f"{name}, {config}"
        else:
            where = str(Path(folder, config, "dev-*.parquet"))
            if not list(Path(folder, config).glob("dev-*.parquet")):
                raise FileNotFoundError(f"{where}: no such files; --data must hold a copy of {name}")
            table = load_dataset("parquet", data_files={"dev": where}, split="dev")
        # Earlier revisions of the data set, and mteb's other ones, call the id of a text _id.
        if "_id" in table.column_names:
            table = table.rename_column("_id", "id")
        for column in columns:
            if column not in table.column_names:
                raise CorpusError([f"{where}: column {column!r} is missing (the columns are {table.column_names})"])
        return table.select_columns(list(columns)), where

    corpus, where = part("corpus", "id", "title", "text")
    queries, _ = part("queries", "id", "text")
    qrels, source = part("qrels", "query-id", "corpus-id", "score")

    def passages():
        for record in corpus:
            yield _passage(record, ("id", "title", "text"), where)

    return _collection(language, zip(queries["id"], queries["text"], strict=True),
                       zip(qrels["query-id"], qrels["corpus-id"], map(int, qrels["score"]), strict=True),
                       passages, source)


def survey(collection):
    """Read a corpus once, before anything is encoded: check every record, and take its measure.

    Returns
    -------
    dict
        ``passages``, their number; ``corpus``, the sha256 of all docids and texts in order; ``relevant_missing``, how
        many of the relevant passages are not in the corpus.
    """
    wanted = {docid for grades in collection.qrels.values() for docid, grade in grades.items() if grade > 0}
    digest, count = hashlib.sha256(), 0
    for docid, text in tqdm(collection.passages(), desc=f"{collection.language}: reading", unit=" passages"):
        digest.update(f"{docid}\t{text}\n".encode())
        wanted.discard(docid)
        count += 1
    if not count:
        raise CorpusError([f"{collection.language}: the corpus has no passages"])
    return {"passages": count, "corpus": digest.hexdigest(), "relevant_missing": len(wanted)}


def write_run(path, queries, docids, scores):
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
    with runs.atomic(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
        for query, found, values in zip(queries, docids, scores, strict=True):
            if len(set(found)) < len(found):
                twice = next(docid for docid in found if (found == docid).sum() > 1)
                raise CorpusError([f"{path}: docid {twice!r} stands more than once in the corpus"])
            # Nine digits tell any two float32 apart.
            file.writelines(f"{query} Q0 {docid} {rank} {value:.9g} {TAG}\n"
                            for rank, (docid, value) in enumerate(zip(found, values, strict=True), 1))


def score(path, qrels):
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


def beside_paper(results):
    """Our numbers beside the paper's (its Tables 12 and 13), a text per measure; means over the same languages.

    Parameters
    ----------
    results : DataFrame
        What `main` leaves in ``results.csv``: a row per language, with ``queries``, ``passages`` and the measures.
    """
    for measure in map(str, MEASURES):
        table = pd.concat({"": results[["queries", "passages"]], "ours": results[[measure]],
                           **{f"paper, {model}": paper.miracl(measure, model).loc[results.index]
                              for model in paper.MODELS}}, axis=1)
        table.loc["mean"] = table.mean()
        table = table.astype({column: int for column in table.columns[:2]}).astype(object)
        table.loc["mean", table.columns[:2]] = ""
        yield table.to_string(float_format="{:.4f}".format)


def _remarks(collections, surveys, pool):
    """What keeps the numbers from being the paper's task; nothing if all is as released."""
    if pool:
        yield "hard negatives: a pool instead of the whole corpus, which is easier; not the paper's task"
    for collection, found in zip(collections, surveys, strict=True):
        language, missing = collection.language, found["relevant_missing"]
        _, queries, passages = RELEASED[language]
        if missing and not pool:
            raise CorpusError([f"{language}: {missing} relevant passages are not in the corpus; it is not complete"])
        if missing:
            yield f"{language}: {missing} relevant passages are not in the pool"
        if not pool and (len(collection.queries), found["passages"]) != (queries, passages):
            yield (f"{language}: {len(collection.queries):,} queries and {found['passages']:,} passages; the release "
                   f"has {queries:,} and {passages:,}")


def _prepare(chosen, model, precision, prompts, state):
    """The collections, their folders claimed, and remarks; whatever is wrong with the data is found here."""
    if chosen.hard_negatives:
        collections = [hard_negatives(language, chosen.data) for language in chosen.languages]
    else:
        folder = chosen.data or fetch(chosen.languages)
        collections = [released(folder, language) for language in chosen.languages]
    if not state.is_main_process:
        return collections, []
    encoder = {"weights": search.fingerprint(model), "max_length": model.max_seq_length, "precision": precision,
               "passage_prompt": prompts.passage, "shard": search.SHARD}
    surveys = [survey(collection) for collection in collections]
    remarks = list(_remarks(collections, surveys, chosen.hard_negatives))
    for collection, found in zip(collections, surveys, strict=True):
        search.claim(chosen.out / collection.language,
                     encoder | {"passages": found["passages"], "corpus": found["corpus"]})
    return collections, remarks


def main(arguments=None):
    """Entry point of ``python -m hybridlib.miracl``."""
    parser = argparse.ArgumentParser(prog="python -m hybridlib.miracl", description=__doc__.split("\n\n")[0])
    parser.add_argument("--model", required=True, help="a hub name, a folder, or multilingual-e5-small")
    parser.add_argument("--languages", nargs="+", choices=RELEASED, default=list(RELEASED), metavar="LANGUAGE",
                        help=f"of {' '.join(RELEASED)} (default: all)")
    parser.add_argument("--data", type=Path, help="folder laid out as the release, or the pool; else downloaded")
    parser.add_argument("--out", type=Path, required=True, help="folder of embeddings, runs and results")
    parser.add_argument("--hard-negatives", action="store_true", help="search mteb's pool of hard negatives instead")
    chosen = parser.parse_args(arguments)
    started = time.monotonic()
    # Several processes without a GPU see each other only if told that they are on the processor. One that is done
    # with its shards waits for the others, however long they take.
    cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.cuda.is_available()
    state = PartialState(cpu=cpu, timeout=timedelta(weeks=1))
    try:
        with state.main_process_first():
            model, source = encoders.load(chosen.model)
            prompts = encoders.Prompts.of(model)
            dtype = torch.bfloat16 if encoders.in_bfloat16("auto", state.device) else torch.float32
            precision = str(dtype).removeprefix("torch.")
            collections, remarks = _prepare(chosen, model, precision, prompts, state)
    except (OSError, ValueError) as error:
        sys.exit(f"hybridlib: {error}")
    for remark in remarks:
        print(remark, file=sys.stderr)

    siblings = encoders.Siblings([model.to(state.device)], dtype)
    # Small batches suit a processor's caches; an accelerator needs more to be busy.
    tokens = 2**11 if state.device.type == "cpu" else 2**15

    def encode(texts, prompt=prompts.passage):
        return encoders.encode_all(siblings, texts, prompt, tokens)[0][0]

    results = {}
    for collection in collections:
        folder, run = chosen.out / collection.language, chosen.out / f"run.{collection.language}.trec"
        search.encode_corpus(folder, collection.passages(), encode, state)
        if not state.is_main_process:
            continue
        scores, positions = search.search(encode(list(collection.queries.values()), prompts.query), folder, DEPTH)
        write_run(run, collection.queries, search.docids(folder, positions), scores)
        results[collection.language] = {
            "queries": len(collection.queries), "passages": search.settings(folder)["passages"],
            **score(run, collection.qrels).mean()}
    if not state.is_main_process:
        return
    results = pd.DataFrame.from_dict(results, orient="index").astype({"queries": int, "passages": int})
    with runs.atomic(chosen.out / "results.csv") as temporary:
        results.to_csv(temporary, index_label="language")
    runs.write_json(chosen.out / "manifest.json", runs.manifest(
        started, encoder=source, query_prompt=prompts.query, passage_prompt=prompts.passage, precision=precision,
        device=str(state.device), processes=state.num_processes, hard_negatives=chosen.hard_negatives))
    print(f"{source}; prompts {prompts.query!r} and {prompts.passage!r}; {precision}")
    for table in beside_paper(results):
        print("\n" + table)
    for remark in remarks:
        print(remark)


if __name__ == "__main__":
    main()
