"""A vector index that exists already: map the stored vectors, and each query's, without encoding a document again::

pip install faiss-cpu
python examples/erase_language_in_index.py
"""

import json
from pathlib import Path

import faiss

import hybridlib as hl
from hybridlib.encoding import load

DATA, OUT = Path(__file__).parent / "data", Path("erased-in-index")


def search(vectors, query):
    """The five nearest documents of a query, by inner product."""
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return index.search(query, 5)[1][0]


def main() -> None:
    """Search before and after."""
    model, _ = load("multilingual-e5-small")
    documents = [json.loads(line) for line in (DATA / "corpus.jsonl").read_text("utf-8").splitlines()]
    # These two stand for what your index holds, and for what you send it.
    stored = model.encode([document["text"] for document in documents], prompt="passage: ")
    query = model.encode(["Jak zresetować hasło?"], prompt="query: ")

    erasure = hl.LanguageErasure.fit(stored, [document["language"] for document in documents])
    OUT.mkdir(exist_ok=True)
    erasure.save(OUT / "erasure.safetensors")
    for title, found in (("before", search(stored, query)),
                         ("after", search(erasure.transform(stored), erasure.transform(query)))):
        print(title)
        for row in found:
            print(f"  {documents[row]['language']}  {documents[row]['text']}")


if __name__ == "__main__":
    main()
