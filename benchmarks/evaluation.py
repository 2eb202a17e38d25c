"""What this evaluation costs against what one would otherwise call, measured side by side in one run.

    python benchmarks/evaluation.py --data ../shared/data/xquad-r

Whole XQuAD-R, all settings: 11 monolingual, 110 cross-lingual and 11 multilingual ones. Against

* sentence-transformers' InformationRetrievalEvaluator, one evaluator per setting (132 runs), which encodes the
  queries and the candidates of each run again;
* mteb on the multilingual task;
* for encoding alone, ``SentenceTransformer.encode`` with its defaults;
* for ranking alone, its floor: one matrix product and one partial sort of the same size.

The 132 runs would take hours. Encoding is timed for each language once, and the evaluators' scoring on a sample of
settings drawn by a named generator; the 132 runs are the sum of their parts. Writes ``benchmarks/evaluation.json``.
"""

import argparse
import json
import resource
import time
from pathlib import Path

import mteb
import numpy as np
import torch
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_meta import ModelMeta
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
from sentence_transformers.util import cos_sim

from hybridlib import benchmarks, encoders, metrics, mteb_tasks, ranking, runs

FILE = Path(__file__).with_suffix(".json")


def timed(function, *arguments):
    """``(seconds, result)``."""
    started = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - started, result


def spread(values):
    """Median, lowest and highest of repeated measurements."""
    return {"median": float(np.median(values)), "low": float(np.min(values)), "high": float(np.max(values))}


def ours(model, benchmark):
    """Everything, from texts to all numbers: seconds of each stage, and the numbers."""
    dtype = torch.bfloat16 if encoders.in_bfloat16("auto", "cpu") else torch.float32
    encoding, (((queries, candidates),), counts) = timed(
        ranking.embed, encoders.Siblings([model], dtype), benchmark)
    scoring, table = timed(lambda: metrics.per_query(ranking.rank_benchmark(benchmark, queries, candidates)))
    return {"encoding": encoding, "scoring": scoring, "counts": counts, "precision": str(dtype)}, table


def by_default(model, benchmark):
    """``encode`` with its defaults (float32, batches of 32) for each language: embeddings and seconds."""
    prompts, found, seconds = encoders.E5_PROMPTS, {}, {}
    for language in benchmark.languages:
        for side, texts, prompt in (("queries", benchmark.queries, prompts.query),
                                    ("candidates", benchmark.candidates, prompts.passage)):
            chosen = texts.loc[texts["language"] == language, "text"].tolist()
            seconds[side, language], found[side, language] = timed(
                lambda texts=chosen, prompt=prompt: model.encode(texts, prompt=prompt, show_progress_bar=False))
    stacked = [np.concatenate([found[side, x] for x in benchmark.languages]) for side in ("queries", "candidates")]
    return stacked, seconds


class Scoring(InformationRetrievalEvaluator):
    """The evaluator with embeddings that are there already, to time its scoring alone."""

    def embed_inputs(self, model, sentences, encode_fn_name=None, **kwargs):
        """Look up instead of encoding; ``model`` is ``(queries, candidates)``, tensors of these runs."""
        return model[encode_fn_name == "document"]


def setting(benchmark, query_language, candidate_languages, embeddings, **options):
    """An evaluator of one setting, and its embeddings.

    Ids of the candidates sort as the candidates stand, so that it breaks ties as we do.
    """
    asked = np.flatnonzero(benchmark.queries["language"] == query_language)
    columns = [benchmark.languages.index(x) for x in candidate_languages]
    pool = np.flatnonzero(benchmark.candidates["language"].isin(candidate_languages))
    evaluator = Scoring(
        {str(row): benchmark.queries["text"][row] for row in asked},
        {f"{row:06}": benchmark.candidates["text"][row] for row in pool},
        {str(row): {f"{x:06}" for x in benchmark.relevant[row, columns]} for row in asked},
        write_csv=False, score_functions={"cosine": cos_sim}, **options)
    queries, candidates = (torch.from_numpy(v[rows]) for v, rows in zip(embeddings, (asked, pool), strict=True))
    return evaluator, (queries, candidates), len(pool)


def evaluator_scoring(benchmark, embeddings, rng, repeats):
    """Seconds of the evaluator's scoring for pairs and for the pool, and how far its mAP is from ours."""
    table = metrics.per_query(ranking.rank_benchmark(benchmark, *embeddings))
    pairs = metrics.language_pairs(ranking.rank_benchmark(benchmark, *embeddings))
    seconds, distances = {"pair": [], "pool": []}, []
    for _ in range(repeats):
        x, y = rng.choice(benchmark.languages, 2)
        for kind, languages in (("pair", [y]), ("pool", list(benchmark.languages))):
            evaluator, vectors, size = setting(benchmark, x, languages, embeddings)
            seconds[kind].append(timed(evaluator.compute_all_metrics, vectors)[0])
            # In float64, and over the whole ranking, so that near ties stand as in ours.
            exact, vectors, size = setting(benchmark, x, languages, [v.astype(np.float64) for v in embeddings],
                                           map_at_k=[size])
            value = next(iter(exact.compute_all_metrics(vectors).values()))["map@k"][size]
            mine = pairs.loc[x, y] if kind == "pair" else table.loc[
                table["query_language"] == x, "multilingual AP"].mean()
            distances.append(abs(value - mine))
            print(f"{kind} {x}-{'all' if kind == 'pool' else y}: {seconds[kind][-1]:.1f} s, mAP {value:.6f}, "
                  f"ours {mine:.6f}", flush=True)
    return seconds, max(distances)


def mteb_scoring(benchmark, embeddings, language):
    """Seconds that mteb takes for the mixed pool of one query language, with embeddings that are there already."""
    by_text = {}
    for texts, vectors in zip((benchmark.queries, benchmark.candidates), embeddings, strict=True):
        by_text |= dict(zip(texts["text"].str.strip(), vectors, strict=True))

    class Given(AbsEncoder):
        """An encoder that looks its embeddings up."""

        mteb_model_meta = ModelMeta.create_empty()

        def encode(self, inputs, **kwargs):
            return np.stack([by_text[text.strip()] for batch in inputs for text in batch["text"]])

    task = mteb_tasks.XQuADRMultilingualPool(benchmark)
    task.hf_subsets = [language]
    seconds, result = timed(lambda: mteb.evaluate(Given(), [task], cache=None, show_progress_bar=False))
    return seconds, result


def floor(embeddings, dtype, chunk=64):
    """Seconds of one matrix product and one partial sort (the first 100) of the same size."""
    queries, candidates = (torch.from_numpy(v).to(dtype) for v in embeddings)
    candidates = candidates.T.contiguous()

    def run():
        for start in range(0, len(queries), chunk):
            (queries[start:start + chunk] @ candidates).topk(100)

    return timed(run)[0]


def main():
    """Measure, print, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of XQuAD-R's released files")
    parser.add_argument("--repeats", type=int, default=3)
    chosen = parser.parse_args()
    benchmark = benchmarks.load("xquad-r", chosen.data)
    model, source = encoders.load()
    rng = np.random.default_rng(0)

    stages, table = ours(model, benchmark)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    tokens = sum(side["tokens"] for side in stages["counts"].values())
    print(f"ours: encoding {stages['encoding']:.1f} s, scoring {stages['scoring']:.1f} s", flush=True)
    embeddings, seconds = by_default(model, benchmark)
    default_encoding = sum(seconds.values())
    print(f"encode with its defaults: {default_encoding:.1f} s", flush=True)
    reference = metrics.per_query(ranking.rank_benchmark(benchmark, *embeddings))
    moved = max(abs(metrics.macro(table)[m] - metrics.macro(reference)[m])
                for m in ("monolingual AP", "crosslingual AP", "multilingual AP"))

    # Encoding again, ours and the default in turn, for the spread.
    sample = benchmark.candidates["text"].iloc[::16].tolist()
    dtype = torch.bfloat16 if encoders.in_bfloat16("auto", "cpu") else torch.float32
    encoding = []
    for _ in range(chosen.repeats):
        mine = timed(encoders.encode, model, sample, encoders.E5_PROMPTS.passage, dtype)[0]
        encoding.append(timed(lambda: model.encode(sample, prompt=encoders.E5_PROMPTS.passage))[0] / mine)

    scored, distance = evaluator_scoring(benchmark, embeddings, rng, chosen.repeats)
    ranked = [timed(lambda: metrics.per_query(ranking.rank_benchmark(benchmark, *embeddings)))[0]
              for _ in range(chosen.repeats)]
    only_ranks = [timed(ranking.rank_benchmark, benchmark, *embeddings)[0] for _ in range(chosen.repeats)]
    floors = {str(dtype).removeprefix("torch."): [floor(embeddings, dtype) for _ in range(chosen.repeats)]
              for dtype in (torch.float64, torch.float32)}
    with_mteb, _ = mteb_scoring(benchmark, embeddings, "en")

    count = len(benchmark.languages)
    theirs_scoring = [count * count * pair + count * pool
                      for pair, pool in zip(scored["pair"], scored["pool"], strict=True)]
    side = {name: sum(s for (kind, _), s in seconds.items() if kind == name) for name in ("queries", "candidates")}
    # Each query set is encoded for 11 languages and the pool, each candidate set for 11 queries and 11 pools.
    theirs_encoding = (count + 1) * side["queries"] + 2 * count * side["candidates"]
    whole = stages["encoding"] + np.median(ranked)
    results = {
        "settings": count * count + count,
        "end to end": spread([(theirs_encoding + s) / whole for s in theirs_scoring]),
        "scoring on the same embeddings": spread(np.divide(theirs_scoring, np.median(ranked))),
        "largest distance in mAP": distance,
        "encoding against encode's defaults, whole": default_encoding / stages["encoding"],
        "encoding against encode's defaults, repeats": spread(encoding),
        "largest mAP change against float32": float(moved),
        "tokens per second": tokens / stages["encoding"],
    } | {
        f"{name} against product and partial sort, {dtype}": spread(np.divide(values, np.median(floors[dtype])))
        for name, values in (("all numbers", ranked), ("ranks", only_ranks)) for dtype in floors
    } | {
        "mteb's multilingual scoring of one query language, times ours of all settings":
            with_mteb / float(np.median(ranked)),
        "seconds": {"ours": {"encoding": stages["encoding"], "scoring": spread(ranked)},
                    "encode's defaults": default_encoding, "evaluator, a pair": spread(scored["pair"]),
                    "evaluator, a pool": spread(scored["pool"]), "evaluator, 132 runs": theirs_encoding
                    + float(np.median(theirs_scoring)), "mteb, a pool": with_mteb},
        "peak memory of ours, GiB": round(peak, 2), "encoder": source, "precision": stages["precision"],
        "threads": torch.get_num_threads()}
    runs.write_json(FILE, results)
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
