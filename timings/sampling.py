"""What a batch costs against the size of the batch and the size of the corpus, in time and in memory.

    python timings/sampling.py

Corpora of 10^5, 10^6 and 10^7 triples in mMARCO's published layout (seven languages, a passage for every four triples
and a query for every twenty, short texts) are written to a temporary folder and prepared, each measured in a process of
its own and deleted. Of each sampling and batch size: microseconds per batch, median and spread over repeats in turn
(each the mean of some batches), of the sampler alone and with its texts; and private memory (anonymous pages, which
mapped files have none of) before, after construction, and after 1,000 batches with their texts. Writes
``timings/sampling.json`` (Linux only).
"""

import argparse
import json
import multiprocessing
import platform
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from hybridlib import files
from hybridlib.training import LanguageBatchSampler, PairDataset
from reproduction.sources import mmarco

FILE = Path(__file__).with_suffix(".json")
SAMPLED = ("X-X", "X-Y", "Hybrid")
BATCHES = (32, 100, 1000)


def private():
    """Anonymous resident memory of this process in MiB."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("RssAnon"))) / 2**10


def write(folder, groups, rng, part=2**18):
    """A corpus of so many triples in the published layout."""
    passages, queries = groups // 4, max(groups // 20, 1)

    def lines(name, count, text):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            for start in range(0, count, part):
                file.writelines(text(np.arange(start, min(start + part, count)).tolist()))

    for language in mmarco.LANGUAGES.values():
        for side, count in (("queries", queries), ("passages", passages)):
            lines(mmarco.PUBLISHED[side].format(language), count,
                  lambda ids, side=side, language=language: [f"{i}\t{side} {i} {language[:2]}\n" for i in ids])
    lines(mmarco.TRIPLES, groups, lambda ids: [
        f"{q}\t{p}\t{n}\n" for q, p, n in zip(*(rng.integers(top, size=len(ids)).tolist()
                                                for top in (queries, passages, passages)), strict=True)])


def measure(folder, groups, repeats):
    """Everything about one size: a dict. To be called in a fresh process."""
    write(folder / "published", groups, np.random.default_rng(groups))
    before, started = private(), time.perf_counter()
    mmarco.prepare(folder / "published", folder / "mmarco")
    said = {"groups": groups, "prepare, seconds": round(time.perf_counter() - started, 2),
            "prepare, private MiB": round(private() - before, 1),
            "on disk, MiB": round(sum(f.stat().st_size for f in (folder / "mmarco").iterdir()) / 2**20)}

    before, started = private(), time.perf_counter()
    corpus = mmarco.MarcoCorpus(folder / "mmarco")
    samplers = {(name, size): LanguageBatchSampler([corpus], name, tuple(mmarco.LANGUAGES), size, 10**6, 0,
                                                   negatives=True) for name in SAMPLED for size in BATCHES}
    said |= {"construction of one sampler, ms": round((time.perf_counter() - started) / len(samplers) * 1e3, 2),
             "construction of nine, private MiB": round(private() - before, 2)}

    pairs, found = PairDataset([corpus]), {key: {"batch": [], "with texts": []} for key in samplers}
    steps = iter(range(10**6))
    for _ in range(repeats + 1):
        for (name, size), sampler in samplers.items():
            count = max(20, 2000 // size)
            for kind, work in (("batch", lambda batch: None), ("with texts", lambda batch: [pairs[p] for p in batch])):
                chosen = [next(steps) for _ in range(count)]
                started = time.perf_counter()
                for step in chosen:
                    work(sampler.batch(step))
                found[name, size][kind].append((time.perf_counter() - started) / count * 1e6)
    said["microseconds"] = [
        {"sampling": name, "batch": size, "of": kind, "median": round(float(np.median(values[1:])), 1),
         "low": round(min(values[1:]), 1), "high": round(max(values[1:]), 1)}
        for (name, size), kinds in found.items() for kind, values in kinds.items()]   # the first is warming up
    before = private()
    for step in range(1000):
        [pairs[p] for p in samplers["Hybrid", 100].batch(step)]
    said["1,000 batches of 100, private MiB"] = round(private() - before, 2)
    return said


def main():
    """Measure, print, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", type=int, nargs="+", default=[10**5, 10**6, 10**7])
    parser.add_argument("--repeats", type=int, default=5)
    chosen = parser.parse_args()
    results = []
    for groups in chosen.groups:
        with (tempfile.TemporaryDirectory() as folder,
              ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool):
            results.append(pool.submit(measure, Path(folder), groups, chosen.repeats).result())
        print(json.dumps({k: v for k, v in results[-1].items() if k != "microseconds"}), flush=True)
    files.write_json(FILE, {"machine": platform.machine(), "numpy": np.__version__, "repeats": chosen.repeats,
                           "sizes": results})
    table = pd.concat([pd.DataFrame(r["microseconds"]).assign(groups=r["groups"]) for r in results])
    table["μs"] = [f"{r['median']:.0f} [{r['low']:.0f}, {r['high']:.0f}]" for r in table.to_dict("records")]
    print(table.pivot(index=["of", "sampling", "batch"], columns="groups", values="μs").to_string())


if __name__ == "__main__":
    main()
