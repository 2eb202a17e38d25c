"""What this evaluation costs against what one would otherwise call, measured side by side in one run.

    python timings/evaluation.py --data ../shared/data/xquad-r

Whole XQuAD-R, all settings: 11 monolingual, 110 cross-lingual and 11 multilingual ones. Against

* sentence-transformers' InformationRetrievalEvaluator, one evaluator per setting (132 runs), which encodes the
  queries and the candidates of each run again;
* mteb on the multilingual task;
* for encoding alone, ``SentenceTransformer.encode`` with its defaults;
* for ranking alone, its floor: one matrix product and one partial sort of the same size.

The 132 runs would take hours. Encoding is timed for each language once, and the evaluators' scoring on a sample of
settings drawn by a named generator; the 132 runs are the sum of their parts. The evaluator's mAP is over the first 100;
timed as well is one over the whole ranking, which gives our numbers. Writes ``timings/evaluation.json``.
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
from sentence_transformers.util import dot_score

from hybridlib import encoding, files
from hybridlib.data import load_test_set
from hybridlib.evaluation import embed, grid, language_pairs, per_language, per_query, rank_test_set
from hybridlib.integrations import mteb as mteb_tasks

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
    dtype = torch.bfloat16 if encoding.in_bfloat16("auto", "cpu") else torch.float32
    encoded, (((queries, candidates),), counts) = timed(
        embed, encoding.Siblings([model], dtype), benchmark)
    scoring, table = timed(lambda: per_query(rank_test_set(benchmark, queries, candidates)))
    return ({"encoding": encoded, "scoring": scoring, "counts": counts, "precision": str(dtype)}, table,
            (queries, candidates))


def by_default(model, benchmark):
    """``encode`` with its defaults (float32, batches of 32) for each language: embeddings and seconds."""
    prompts, found, seconds = encoding.E5_PROMPTS, {}, {}
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


def setting(benchmark, query_language, candidate_languages, embeddings, whole):
    """An evaluator of one setting, and its embeddings.

    Ids of the candidates sort as the candidates stand, so that it breaks ties as we do. ``whole``: mAP over the whole
    ranking, which is ours and the paper's, not over the first 100.
    """
    asked = np.flatnonzero(benchmark.queries["language"] == query_language)
    pool = np.flatnonzero(benchmark.candidates["language"].isin(candidate_languages))
    evaluator = Scoring(
        {str(row): benchmark.queries["text"][row] for row in asked},
        {f"{row:06}": benchmark.candidates["text"][row] for row in pool},
        {str(row): {f"{x:06}" for x in np.intersect1d(benchmark.answers(row), pool)} for row in asked},
        write_csv=False, score_functions={"dot": dot_score}, map_at_k=[len(pool) if whole else 100])
    return evaluator, [torch.from_numpy(v[rows]) for v, rows in zip(embeddings, (asked, pool), strict=True)]


def evaluator_scoring(benchmark, embeddings, rng, repeats):
    """Seconds of the evaluator's scoring, and how far its mAP is from ours.

    Returns
    -------
    (dict, dict)
        Seconds by ``(kind, whole)``, kind "pair" or "pool", a list over repeats; the largest distance in mAP, on the
        embeddings as they are and as `hybridlib.evaluation` rounds them, in float64 both.
    """
    ranks = rank_test_set(benchmark, *embeddings)
    table, pairs = per_query(ranks), language_pairs(ranks)
    steps, _ = grid(len(benchmark.candidates))
    exact = {"as they are": [v.astype(np.float64) for v in embeddings],
             "rounded": [np.rint(v * np.float64(steps)) / steps for v in embeddings]}
    seconds, distances = {}, dict.fromkeys(exact, 0.0)
    for _ in range(repeats):
        x, y = rng.choice(benchmark.languages, 2)
        for kind, languages in (("pair", [y]), ("pool", list(benchmark.languages))):
            for whole in (False, True):
                evaluator, vectors = setting(benchmark, x, languages, embeddings, whole)
                seconds.setdefault((kind, whole), []).append(timed(evaluator.compute_all_metrics, vectors)[0])
                print(f"{kind} {x}, whole {whole}: {seconds[kind, whole][-1]:.1f} s", flush=True)
            mine = pairs.loc[x, y] if kind == "pair" else table.loc[
                table["query_language"] == x, "multilingual AP"].mean()
            for name, doubles in exact.items():
                evaluator, vectors = setting(benchmark, x, languages, doubles, True)
                (value,) = evaluator.compute_all_metrics(vectors)["dot"]["map@k"].values()
                distances[name] = max(distances[name], float(abs(value - mine)))
                print(f"mAP {name}: {value:.8f}, ours {mine:.8f}", flush=True)
    return seconds, distances


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


def encoding_stage(benchmark, repeats):
    """The encoding stage against ``encode`` with its defaults: what it found, and our embeddings."""
    model, source = encoding.load()
    stages, table, embeddings = ours(model, benchmark)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    tokens = sum(side["tokens"] for side in stages["counts"].values())
    print(f"ours: encoding {stages['encoding']:.1f} s, scoring {stages['scoring']:.1f} s", flush=True)
    default, seconds = by_default(model, benchmark)
    print(f"encode with its defaults: {sum(seconds.values()):.1f} s", flush=True)
    reference = per_query(rank_test_set(benchmark, *default))
    moved = max(abs(per_language(table)[m].mean() - per_language(reference)[m].mean())
                for m in ("monolingual AP", "crosslingual AP", "multilingual AP"))
    # Again on a part, ours and the default in turn, for the spread.
    sample, ratios = benchmark.candidates["text"].iloc[::16].tolist(), []
    dtype = torch.bfloat16 if encoding.in_bfloat16("auto", "cpu") else torch.float32
    for _ in range(repeats):
        mine = timed(encoding.encode, model, sample, encoding.E5_PROMPTS.passage, dtype)[0]
        ratios.append(timed(lambda: model.encode(sample, prompt=encoding.E5_PROMPTS.passage))[0] / mine)
    return {
        "seconds": stages["encoding"], "seconds, encode's defaults": sum(seconds.values()),
        "ratio": sum(seconds.values()) / stages["encoding"], "ratio, repeats on a part": spread(ratios),
        "seconds, encode's defaults, by side": {
            name: sum(s for (side, _), s in seconds.items() if side == name) for name in ("queries", "candidates")},
        "largest mAP change against float32": float(moved), "tokens per second": tokens / stages["encoding"],
        "peak memory, encoding and scoring, GiB": round(peak, 2), "encoder": source, "precision": stages["precision"],
    }, embeddings


def scoring(benchmark, embeddings, repeats):
    """The scoring stage against the evaluator, mteb and its floor, on the same embeddings."""
    seconds, distances = evaluator_scoring(benchmark, embeddings, np.random.default_rng(0), repeats)
    ranked = [timed(lambda: per_query(rank_test_set(benchmark, *embeddings)))[0]
              for _ in range(repeats)]
    only_ranks = [timed(rank_test_set, benchmark, *embeddings)[0] for _ in range(repeats)]
    floors = {str(dtype).removeprefix("torch."): [floor(embeddings, dtype) for _ in range(repeats)]
              for dtype in (torch.float64, torch.float32)}
    with_mteb, _ = mteb_scoring(benchmark, embeddings, "en")
    mine, count = float(np.median(ranked)), len(benchmark.languages)
    theirs = {whole: [count * count * pair + count * pool for pair, pool in zip(
        seconds["pair", whole], seconds["pool", whole], strict=True)] for whole in (False, True)}
    return {
        "seconds": spread(ranked), "settings": count * count + count,
        "seconds, evaluator, mAP over the whole ranking": spread(theirs[True]),
        "seconds, evaluator, mAP@100": spread(theirs[False]),
        "ratio, mAP over the whole ranking": spread(np.divide(theirs[True], mine)),
        "ratio, mAP@100": spread(np.divide(theirs[False], mine)),
        "largest distance in mAP": distances,
        "seconds, mteb, the pool for one query language": with_mteb,
        "all numbers against product and partial sort": {
            name: spread(np.divide(ranked, np.median(values))) for name, values in floors.items()},
        "ranks against product and partial sort": {
            name: spread(np.divide(only_ranks, np.median(values))) for name, values in floors.items()}}


def main():
    """Measure, print, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of XQuAD-R's released files")
    parser.add_argument("--repeats", type=int, default=3)
    chosen = parser.parse_args()
    benchmark = load_test_set("xquad-r", chosen.data)
    encoded, embeddings = encoding_stage(benchmark, chosen.repeats)
    write(benchmark, encoded, scoring(benchmark, embeddings, chosen.repeats))


def write(benchmark, encoded, scored):
    """Put the stages together: 132 runs encode each query set for 12 of them, each candidate set for 22."""
    count, side = len(benchmark.languages), encoded["seconds, encode's defaults, by side"]
    theirs = (count + 1) * side["queries"] + 2 * count * side["candidates"]
    whole = encoded["seconds"] + scored["seconds"]["median"]
    results = {"end to end": {
        "seconds": whole, "seconds, 132 evaluators": theirs + scored["seconds, evaluator, mAP@100"]["median"],
        "ratio": (theirs + scored["seconds, evaluator, mAP@100"]["median"]) / whole},
        "encoding": encoded, "scoring": scored, "threads": torch.get_num_threads()}
    files.write_json(FILE, results)
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
