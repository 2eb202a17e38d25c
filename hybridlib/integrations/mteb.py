"""XQuAD-R and MLQA-R as retrieval tasks of mteb: one mixed-language pool, and the grid of language pairs.

For models that mteb can run, with mteb's own runner; needs ``pip install hybridlib[mteb]``::

    import mteb
    from hybridlib.integrations.mteb import XQuADRMultilingualPool

    mteb.evaluate(model, [XQuADRMultilingualPool()], cache=None)

The tasks are not in mteb's own list: give the object, not its name, to ``mteb.evaluate``. ``cache=None`` because mteb
calls every model from a folder ``no_model_name/available``, and would hand a second one the first one's scores.

In mteb's multilingual retrieval tasks the documents of a subset are in one language. Here those of all languages
are ranked against each other, which is the setting that mteb issue 1625 asks for. Beside mteb's scores a subset has
``map``, over the whole ranking, and in the pool ``rank_distance`` (see `hybridlib.evaluation`). They are the numbers of
`hybridlib.evaluation`, with these differences:

* mteb strips the text of a document before encoding it; our own path does not. multilingual-e5's tokenizer gives
  the same tokens either way.
* mteb scores in floating point: two scores that differ by less than the rounding of the model (about 1e-6) may
  stand in another order. Documents of exactly equal score do not: mteb's measures put the greater document id first, so
  ids count down and such documents keep the order of the test set, which is our rule.
* mteb prints the measures at a cutoff with five decimals; ``map`` and ``rank_distance`` are not rounded.

mteb holds the whole ranking of every query in dictionaries: a subset of XQuAD-R's pool takes 3.3 GiB and, beside the
encoding, two minutes of one core. It encodes the documents anew for each subset. So that each text is encoded once,
with a folder of its own for each model::

    from mteb.models import CachedEmbeddingWrapper, SentenceTransformerEncoderWrapper

    cached = CachedEmbeddingWrapper(SentenceTransformerEncoderWrapper(model), "embeddings/my-model")
    mteb.evaluate(cached, [XQuADRMultilingualPool()], cache=None)
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from datasets import Dataset
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.timing import TimingStack

from hybridlib.data import LAREQA, RELEASED, TestSet, load_test_set
from hybridlib.evaluation.measures import average_precision, rank_distance
from hybridlib.languages import FLORES

SPLIT = "test"
XQUAD_R, MLQA_R = ({language: FLORES[language].replace("_", "-") for language in RELEASED[name]}
                   for name in ("xquad-r", "mlqa-r"))
_LAREQA = {
    "dataset": {"path": "google-research-datasets/lareqa", "revision": LAREQA.rsplit("/", 1)[-1]},
    "reference": "https://aclanthology.org/2020.emnlp-main.477", "type": "Retrieval", "category": "t2t",
    "modalities": ["text"], "eval_splits": [SPLIT], "main_score": "ndcg_at_10", "domains": ["Encyclopaedic", "Written"],
    "task_subtypes": ["Question answering"], "annotations_creators": "human-annotated", "dialect": [],
    "bibtex_citation": """
@inproceedings{roy-etal-2020-lareqa,
  author = {Roy, Uma and Constant, Noah and Al-Rfou, Rami and Barua, Aditya and Phillips, Aaron and Yang, Yinfei},
  booktitle = {Proceedings of the 2020 Conference on Empirical Methods in Natural Language Processing (EMNLP)},
  title = {{LAReQA}: Language-Agnostic Answer Retrieval from a Multilingual Pool},
  url = {https://aclanthology.org/2020.emnlp-main.477},
  year = {2020},
}
"""}
_XQUAD_R = _LAREQA | {"date": ("2019-05-21", "2019-11-21"), "license": "cc-by-sa-4.0",
                      "sample_creation": "human-translated", "adapted_from": ["XQuADRetrieval"]}
_MLQA_R = _LAREQA | {"date": ("2019-01-01", "2020-12-31"), "license": "cc-by-nc-4.0",
                     "sample_creation": "found", "adapted_from": ["MLQARetrieval"]}


def relevant_ranks(results: dict[str, dict[str, float]], relevant_docs: dict[str, dict[str, int]]) -> np.ndarray:
    """Ranks of the relevant documents of each query, in mteb's order: by score, then by id, both descending.

    Parameters
    ----------
    results : dict of query id to dict of document id to score
    relevant_docs : dict of query id to dict of document id to 1

    Returns
    -------
    ndarray of int, shape (Q, most relevant documents of a query)
        In the order of ``relevant_docs``; ascending, 0 where a query has fewer. What `hybridlib.evaluation` takes.

    Raises
    ------
    ValueError
        If a relevant document is not in the results.
    """
    ranks = np.zeros((len(relevant_docs), max(map(len, relevant_docs.values()))), np.int64)
    for row, (query, relevant) in zip(ranks, relevant_docs.items(), strict=True):
        missing = relevant.keys() - results[query].keys()
        if missing:
            raise ValueError(f"query {query}: the model ranked {len(results[query])} documents, and relevant ones are "
                             f"not among them ({', '.join(sorted(missing))}); these measures need the whole ranking")
        documents, scores = np.array(list(results[query])), np.array(list(results[query].values()))
        order = documents[np.lexsort((documents, scores))[::-1]]
        row[:len(relevant)] = np.flatnonzero(np.isin(order, list(relevant))) + 1
    return ranks


class _LAReQA(AbsTaskRetrieval):
    """What the tasks have in common: a test set, and one (query language, document languages) per subset.

    Parameters
    ----------
    test_set : TestSet, optional
        For files that are at hand: ``load_test_set("xquad-r", folder)``. Without it they are downloaded when the task
        runs, or found in the cache (`hybridlib.data.fetch_lareqa`). Subsets of languages that it lacks are not run.

    Raises
    ------
    ValueError
        If it is another test set than the task's.
    """

    released: str

    def __init__(self, test_set: TestSet | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.test_set = test_set
        if test_set is not None:
            if test_set.name != self.released:
                raise ValueError(f"{self.metadata.name} is a task of {self.released}, not of {test_set.name!r}; its "
                                 "results would be filed under a wrong name")
            self.hf_subsets = [x for x in self.hf_subsets if set(x.split("-")) <= set(test_set.languages)]

    def load_data(self, num_proc: int | None = None, *, timer: TimingStack | None = None, **kwargs: Any) -> None:
        """Queries, documents and relevance of each subset, and ``top_k`` as large as the pool."""
        if self.data_loaded:
            return
        with (timer or TimingStack())("Data loading"):
            test_set = self.test_set or load_test_set(self.released)
            count = len(test_set.candidates)
            # The greater id comes first where scores are equal, so ids count down.
            ids = [f"{count - row:0{len(str(count))}d}-{language}"
                   for row, language in enumerate(test_set.candidates["language"])]
            pool = Dataset.from_dict({"id": ids, "text": test_set.candidates["text"].tolist()})
            self.dataset = {subset: {SPLIT: self._load_subset(test_set, pool, ids, subset)}
                            for subset in self.hf_subsets}
            # mteb would keep the first thousand; the last relevant document may stand anywhere.
            self._top_k = count
        self.data_loaded = True

    @abstractmethod
    def _load_subset(self, test_set: TestSet, pool: Dataset, ids: list[str], subset: str) -> dict[str, Any]:
        """Queries, documents and relevance of a subset."""

    @staticmethod
    def _split(test_set: TestSet, ids: list[str], query_language: str, languages: Sequence[str],
               corpus: Dataset) -> dict[str, Any]:
        """Queries in one language that have a relevant document in the given ones."""
        table = test_set.relevant
        of_subset = ((test_set.queries["language"] == query_language).to_numpy()[table["query"]]
                     & test_set.candidates["language"].isin(languages).to_numpy()[table["candidate"]])
        relevant = {query: {ids[row]: int(grade) for row, grade in zip(rows["candidate"], rows["grade"], strict=True)}
                    for query, rows in table[of_subset].groupby("query")}
        queries = test_set.queries.loc[list(relevant)]
        return {"corpus": corpus,
                "queries": Dataset.from_dict({"id": queries["question"].tolist(), "text": queries["text"].tolist()}),
                "relevant_docs": {queries.loc[query, "question"]: found for query, found in relevant.items()},
                "top_ranked": None}

    def task_specific_scores(self, scores: dict, qrels: dict, results: dict, hf_split: str, hf_subset: str,
                             ) -> dict[str, float]:
        """``map``: mean average precision over the whole ranking, the mean over queries."""
        return {"map": float(average_precision(relevant_ranks(results, qrels)).mean())}


class _MultilingualPool(_LAReQA):
    """Subset "xx": queries in xx; documents and relevant documents in all languages that the question stands in."""

    def _load_subset(self, test_set: TestSet, pool: Dataset, ids: list[str], subset: str) -> dict[str, Any]:
        return self._split(test_set, ids, subset, test_set.languages, pool)

    def task_specific_scores(self, scores: dict, qrels: dict, results: dict, hf_split: str, hf_subset: str,
                             ) -> dict[str, float]:
        """``map`` and ``rank_distance``, each the mean over queries.

        Rank distance is the highest minus the lowest rank of the relevant documents, which are translations of each
        other: the language bias of arXiv 2408.10536. The lower the better; it grows with the pool.
        """
        ranks = relevant_ranks(results, qrels)
        return {"map": float(average_precision(ranks).mean()),
                "rank_distance": float(rank_distance(ranks).mean())}


class _Crosslingual(_LAReQA):
    """Subset "xx-yy": queries in xx, documents in yy, for the questions that stand in both; "xx-xx" is monolingual.

    One document is relevant, so there is no rank distance, and average precision is the reciprocal rank.
    """

    def _load_subset(self, test_set: TestSet, pool: Dataset, ids: list[str], subset: str) -> dict[str, Any]:
        query_language, language = subset.split("-")
        block = test_set.blocks()[language]
        return self._split(test_set, ids, query_language, [language], pool.select(range(block.start, block.stop)))


def _pairs(languages: dict[str, str]) -> dict[str, list[str]]:
    return {f"{x}-{y}": [languages[x], languages[y]] for x in languages for y in languages}


class XQuADRMultilingualPool(_MultilingualPool):
    """XQuAD-R over the pool of its 11 languages, 13,014 sentences; a subset per query language."""

    released = "xquad-r"
    metadata = TaskMetadata(
        name="XQuADRMultilingualPool", eval_langs={x: [code] for x, code in XQUAD_R.items()}, **_XQUAD_R,
        description="XQuAD-R of LAReQA: retrieve the sentence that answers a question from one pool of sentences in 11 "
                    "languages, in every language. A subset is a query language.")


class MLQARMultilingualPool(_MultilingualPool):
    """MLQA-R over the pool of its 7 languages, 20,534 sentences; a subset per query language."""

    released = "mlqa-r"
    metadata = TaskMetadata(
        name="MLQARMultilingualPool", eval_langs={x: [code] for x, code in MLQA_R.items()}, **_MLQA_R,
        description="MLQA-R of LAReQA: retrieve the sentence that answers a question from one pool of sentences in 7 "
                    "languages, in each of the 2 to 4 languages that the question stands in. A subset is a query "
                    "language.")


class XQuADRCrosslingual(_Crosslingual):
    """XQuAD-R in each of its 121 ordered pairs of query and document language."""

    released = "xquad-r"
    metadata = TaskMetadata(
        name="XQuADRCrosslingual", eval_langs=_pairs(XQUAD_R), **_XQUAD_R,
        description="XQuAD-R of LAReQA: retrieve the sentence that answers a question from the sentences of one "
                    "language, for each ordered pair of query and sentence language, the same language included.")


class MLQARCrosslingual(_Crosslingual):
    """MLQA-R in each of its 49 ordered pairs of query and document language."""

    released = "mlqa-r"
    metadata = TaskMetadata(
        name="MLQARCrosslingual", eval_langs=_pairs(MLQA_R), **_MLQA_R,
        description="MLQA-R of LAReQA: retrieve the sentence that answers a question from the sentences of one "
                    "language, for each ordered pair of query and sentence language, the same language included.")
