"""Parallel retrieval benchmarks: queries and candidates in several languages, and what is relevant to what.

Every question is asked in every language and has one relevant sentence per language; all of a language's
sentences are its candidates; the pool is the candidates of all languages.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from hybridlib.corpus import LANGUAGES, CorpusError, verify_checksum

# sha256 of XQuAD-R as released: repository google-research-datasets/lareqa, folder xquad-r.
XQUAD_R_SHA256 = {
    "ar": "c52922d3b8ac1ae03ed5ac38647ad59870dca3dda2beefe18ecdc30729acb69d",
    "de": "16fb0f4bf4916154b585a20c24c66074591c9718a1affe764ff4697572328949",
    "el": "163fd43ee785a30eb534ae2061e9eaa766a7ee4e8ffce5e4b422480c150f64b6",
    "en": "7b0954f39297c27a31fef610f0883337dd2907fa8699151dc922afdd0fa12ffe",
    "es": "f8e836b2d91009c4363e04315f7ede363eedbbb49c67dda60de6c4aa782f58de",
    "hi": "ea45ba8ae4513d1533b222bebdc02a90bc319c055d3aeea68584a053d2e92872",
    "ru": "7f4dff853538b9a5fcc28c070b8bb983a5c5d190ac747b8e005a1ada9cab18f1",
    "th": "c3a041864c3a9fb0b4dd91cfdf99cf36b411b3e704c58a303c97bc6dc786cfe4",
    "tr": "f3e8c13002bbce154a4578f535f7533cb70f3da08840e6b62735935baec7bd94",
    "vi": "e35926bf5cc6fc6ecbdfca49467aabeb454f08d152d7818143a906bd31dde995",
    "zh": "80c2cde7b9c2fb134c303cbb52f2ba396ead9eb0014aec43993543d2ba9e93ed"}


@dataclass(frozen=True)
class Benchmark:
    """A parallel retrieval benchmark.

    Attributes
    ----------
    name : str
    languages : tuple of str, length L
    queries : DataFrame with ``question`` (id shared by the translations), ``article``, ``language``, ``text``
        Q rows; the index is 0 … Q − 1.
    candidates : DataFrame with ``article``, ``language``, ``text``
        The pool, C rows, all candidates of a language in one stretch, in the order of ``languages``.
    relevant : ndarray of int64, shape (Q, L)
        Row in ``candidates`` of the relevant sentence of each language; −1 where there is none.
    """

    name: str
    languages: tuple
    queries: pd.DataFrame
    candidates: pd.DataFrame
    relevant: np.ndarray

    def blocks(self):
        """``{language: slice}``: where each language's candidates stand in the pool."""
        codes = self.candidates["language"].to_numpy()
        starts = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]]).tolist()
        return {codes[a]: slice(a, b) for a, b in zip(starts, [*starts[1:], len(codes)], strict=True)}

    def counts(self):
        """Queries and candidates per language, as a table indexed by language."""
        return pd.DataFrame({"queries": self.queries["language"].value_counts(),
                             "candidates": self.candidates["language"].value_counts()}).loc[list(self.languages)]


def _benchmark(name, languages, queries, candidates):
    """Assemble a Benchmark; queries are (question, article, language, text, candidate row in its language)."""
    queries = pd.DataFrame(queries, columns=["question", "article", "language", "text", "answer"])
    candidates = pd.DataFrame(candidates, columns=["article", "language", "text"])
    start = {language: int(np.argmax(candidates["language"].to_numpy() == language)) for language in languages}
    rows = queries["answer"] + queries["language"].map(start)
    by_question = pd.Series(rows.to_numpy(), index=[queries["question"], queries["language"]]).unstack()
    relevant = by_question.reindex(columns=list(languages)).loc[queries["question"]]
    return Benchmark(name, tuple(languages), queries.drop(columns="answer"), candidates,
                     relevant.fillna(-1).to_numpy(np.int64))


def of_articles(articles, name, languages=LANGUAGES):
    """The benchmark of articles in our own format: their questions against all their sentences."""
    queries, candidates = [], []
    for language in languages:
        row = 0
        for article in articles:
            for question in article["questions"]:
                queries.append((question["id"], article["id"], language, question["text"][language],
                                row + question["answer"]))
            texts = article["sentences"][language]
            candidates += [(article["id"], language, text) for text in texts]
            row += len(texts)
    return _benchmark(name, languages, queries, candidates)


def xquad_r(folder, languages=LANGUAGES, checksums=XQUAD_R_SHA256):
    """XQuAD-R (Roy et al. 2020) from the folder of its released files, ``<language>.json``.

    A language's candidates are one per entry of ``sentence_breaks``, in order, nothing deduplicated and
    nothing stripped; the relevant one of a question is the sentence that holds ``answer_start``.

    Raises
    ------
    FileNotFoundError, CorpusError
        If a file is missing, is not the released one, or does not have that structure.
    """
    queries, candidates = [], []
    for language in languages:
        path = Path(folder, f"{language}.json")
        if checksums:
            verify_checksum(path, checksums[language])
        row = 0
        for number, article in enumerate(json.loads(path.read_text("utf-8"))["data"]):
            for paragraph in article["paragraphs"]:
                breaks = paragraph["sentence_breaks"]
                for question in paragraph["qas"]:
                    start = question["answers"][0]["answer_start"]
                    holds = [i for i, (a, b) in enumerate(breaks) if a <= start < b]
                    if len(holds) != 1:
                        raise CorpusError([f"{path}: question {question['id']}: answer_start {start} is in "
                                           f"{len(holds)} sentences, expected one"])
                    queries.append((question["id"], f"article-{number}", language, question["question"],
                                    row + holds[0]))
                candidates += [(f"article-{number}", language, paragraph["context"][a:b]) for a, b in breaks]
                row += len(breaks)
    return _benchmark("xquad-r", languages, queries, candidates)
