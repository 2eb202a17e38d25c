"""A search that answers in the query's language only: put a remedy inside the model, fitted on the documents.

    python examples/erase_language_in_model.py

The folder that is written is a plain sentence-transformers model; whoever loads it needs nothing of this package. Much
the same from the command line, which fits on four fifths and looks at the rest::

    hybridlib debias --model multilingual-e5-small --corpus examples/data/corpus.jsonl --out erased
"""

import json
from collections import defaultdict
from pathlib import Path

import hybridlib as hl
from hybridlib.encoding import load

DATA, OUT = Path(__file__).parent / "data", Path("erased-in-model")


def main() -> None:
    """Fit, build in, save, and say what it changed."""
    model, _ = load("multilingual-e5-small")
    documents = defaultdict(list)
    for line in (DATA / "corpus.jsonl").read_text("utf-8").splitlines():
        record = json.loads(line)
        documents[record["language"]].append(record["text"])
    erasure = hl.LanguageErasure.fit_model(model, documents)
    changed = erasure.add_to(model)
    changed.save_pretrained(str(OUT))
    test_set = hl.TestSet.from_beir(DATA)
    # Read the last rows too: what the pool gains, the query's own language may lose.
    print(hl.compare(hl.evaluate(changed, test_set), hl.evaluate(model, test_set)).text())


if __name__ == "__main__":
    main()
