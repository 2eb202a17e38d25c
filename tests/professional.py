"""Print the neighbour check of XQuAD-R's answer sentences: where `hybridlib.checks.PROFESSIONAL` comes from.

    python tests/professional.py <folder of XQuAD-R>
"""

import sys

import numpy as np
import torch

from hybridlib import benchmarks, checks, encoders


def main(folder):
    """Neighbours among the distinct answer sentences (distinct in English), in bfloat16 where that is fast."""
    benchmark = benchmarks.lareqa(folder, "xquad-r")
    english = benchmark.languages.index("en")
    relevant = benchmark.relevant[benchmark.queries["language"] == "en"]
    _, first = np.unique(relevant[:, english], return_index=True)
    texts = benchmark.candidates["text"].to_numpy()
    articles = [{"id": str(n), "sentences": dict(zip(benchmark.languages, [[t] for t in texts[row]], strict=True))}
                for n, row in enumerate(relevant[np.sort(first)])]
    dtype = torch.bfloat16 if encoders.has_fast_bfloat16("cpu") else torch.float32
    table, _ = checks.neighbours(articles, encoders.load()[0], dtype=dtype)
    print(len(articles), "sentences")
    print(table.round(3).to_string(na_rep=""))
    for (x, y), share in table.stack().items():
        if share < checks.NEIGHBOUR:
            print(f'    ("{x}", "{y}"): {np.floor(share * 1000) / 1000:.3f},')


if __name__ == "__main__":
    main(sys.argv[1])
