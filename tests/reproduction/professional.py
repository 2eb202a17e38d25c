"""Print the neighbour check of XQuAD-R's answer sentences: where `checks.PROFESSIONAL` comes from.

    PYTHONPATH=. python tests/reproduction/professional.py <folder of XQuAD-R>
"""

import sys

import numpy as np
import torch

from hybridlib import encoding
from hybridlib.data import load_test_set
from reproduction.sources import checks


def main(folder: str) -> None:
    """Neighbours among the distinct answer sentences (distinct in English), in bfloat16 where that is fast."""
    test = load_test_set("xquad-r", folder)
    asked = test.queries.index[test.queries["language"] == "en"]
    # A row per question; its answer sentences stand in the order of the languages.
    answers = np.stack([test.answers(row) for row in asked])
    _, first = np.unique(answers[:, test.languages.index("en")], return_index=True)
    texts = test.candidates["text"].to_numpy()
    articles = [{"id": str(n), "sentences": dict(zip(test.languages, [[t] for t in texts[row]], strict=True))}
                for n, row in enumerate(answers[np.sort(first)])]
    dtype = torch.bfloat16 if encoding.has_fast_bfloat16("cpu") else torch.float32
    table, _ = checks.neighbours(articles, encoding.load()[0], dtype=dtype)
    print(len(articles), "sentences")
    print(table.round(3).to_string(na_rep=""))
    for (x, y), share in table.stack().items():
        if share < checks.NEIGHBOUR:
            print(f'    ("{x}", "{y}"): {np.floor(share * 1000) / 1000:.3f},')


if __name__ == "__main__":
    main(sys.argv[1])
