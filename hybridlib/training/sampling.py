"""Which languages meet in a training batch: the question of the paper.

========== ========================================================================================
X-X        one language per batch, drawn uniformly; query and passage are both in it
X-Y        in every pair the query's and the passage's language differ; drawn per pair, or, with
           ``pair_per_batch``, one ordered language pair per batch
Hybrid     each batch is X-X with probability alpha, else X-Y
X-X mixed  LAReQA's third one (Roy et al. 2020): one language inside a pair, drawn per pair
========== ========================================================================================

Three more have as many X-X batches as X-Y ones, like Hybrid at alpha = 0.5, in an order without chance:
``alternation`` (X-X, X-Y, X-X, …), ``X-X then X-Y`` and ``X-Y then X-X``.

Batch ``step`` is a function of ``(seed, step)`` alone: nothing is materialised, any batch can be had without
those before it, and a resumed run sees the batches that it would have seen. alpha = 1 gives X-X and alpha = 0
gives X-Y, batch for batch.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from torch.utils.data import BatchSampler, Dataset

from hybridlib.data import ParallelCorpus
from hybridlib.training.sources import MIXED, SamplingError, Source, is_in

ALPHA = {"X-X": 1.0, "X-Y": 0.0, "Hybrid": 0.5}
ORDERED = ("alternation", "X-X then X-Y", "X-Y then X-X")
SAMPLINGS = (*ALPHA, MIXED, *ORDERED)


class Pair(NamedTuple):
    """One item of a batch, as indices: what `PairDataset` turns into texts."""

    corpus: int
    group: int
    query_language: str
    passage_language: str
    negative: int | None


class LanguageBatchSampler(BatchSampler):
    """Batches of `Pair` for a `torch.utils.data.DataLoader` over a `PairDataset`.

    For each batch: a training set is drawn in proportion to its number of groups (as in the paper); then the
    composition (X-X with probability alpha, else X-Y); then languages; then ``batch_size`` groups that have
    those languages, no two of them the same group or sharing a passage in any language. Batches are
    independent of each other: a group can come again before all others have come.

    With hard negatives no two groups of a batch share a question, either, and none of the hard negatives is a passage
    of the batch or a translation of one: a group gets one of its others, or stands in another batch.

    Parameters
    ----------
    corpora : list of ParallelCorpus
    sampling : one of `SAMPLINGS`
    languages : sequence of str
        The training languages. A set serves those of them that it has in enough groups to fill a batch.
    batch_size, steps, seed : int
    alpha : float, optional
        Probability of an X-X batch under Hybrid; 0.5 by default, as in the paper.
    pair_per_batch : bool
        X-Y: draw one ordered language pair per batch rather than one per item.
    when_unable : {"error", "monolingual"}
        What to do with a set that cannot serve X-Y (English only, say): stop, or serve it monolingually
        whenever an X-Y batch is drawn from it; `log` shows such batches.
    negatives : bool
        Whether each pair gets a hard negative, in the passage's language; then all groups that are served must have
        some in it.

    Raises
    ------
    SamplingError
        Before any batch is drawn; names the set, the sampling and what is missing.
    """

    def __init__(self, corpora: Iterable[ParallelCorpus], sampling: str, languages: Iterable[str], batch_size: int,
                 steps: int, seed: int, *, alpha: float | None = None, pair_per_batch: bool = False,
                 when_unable: str = "error", negatives: bool = False):
        if sampling not in SAMPLINGS:
            raise SamplingError(f"unknown sampling {sampling!r}; choose one of {', '.join(SAMPLINGS)}")
        if alpha is not None and sampling != "Hybrid":
            raise SamplingError(f"alpha belongs to Hybrid; under {sampling} it is fixed")
        if sampling in ORDERED and steps % 2:
            raise SamplingError(f"{sampling} has as many X-X steps as X-Y steps: {steps} steps cannot be halved")
        self.alpha = (0.5 if sampling in ORDERED else ALPHA.get(sampling)) if alpha is None else alpha
        if self.alpha is not None and not 0 <= self.alpha <= 1:
            raise SamplingError(f"alpha is a probability, got {alpha}")
        self.corpora, self.sampling, self.languages = list(corpora), sampling, tuple(languages)
        self.batch_size, self.steps, self.seed = batch_size, steps, seed
        self.pair_per_batch, self.when_unable, self.negatives = pair_per_batch, when_unable, negatives
        kinds = [name for name, served in (
            (MIXED, sampling == MIXED), ("X-X", self.alpha or when_unable == "monolingual"),
            ("X-Y", self.alpha is not None and self.alpha < 1)) if served]
        self.sources = [Source(corpus, self.languages, batch_size, kinds, negatives) for corpus in self.corpora]
        self._check()
        sizes = np.array([len(corpus) for corpus in self.corpora])
        self.proportions = sizes / sizes.sum()

    def _check(self):
        for source in self.sources:
            name, size = source.corpus.name, self.batch_size
            if source.any_groups is False and not source.crosslingual:
                raise SamplingError(f"training set {name!r} has none of the languages {self.languages}")
            if (self.sampling == MIXED and not source.mixed) or (self.alpha and not source.monolingual):
                meet = "different passages" if not self.negatives else (
                    "different passages and questions, and hard negatives that are none of these passages,")
                raise SamplingError(
                    f"training set {name!r} cannot serve {self.sampling}: no language has {size} groups with "
                    f"{meet} to fill a batch (languages {source.corpus.languages})")
            if self.alpha is not None and self.alpha < 1 and not self._serves_crosslingual(source):
                if self.when_unable == "error":
                    raise SamplingError(
                        f"training set {name!r} cannot serve {self.sampling}: it has no {size} groups with a "
                        f"query and a passage in different languages (languages {source.corpus.languages}); "
                        'leave it out, or set when_unable="monolingual"')
                if not source.monolingual:
                    raise SamplingError(f"training set {name!r} cannot fill a batch of {size} in any language")

    def _serves_crosslingual(self, source):
        return bool(source.ordered_pairs) if self.pair_per_batch else source.crosslingual

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[Pair]]:
        return (self.batch(step) for step in range(self.steps))

    def composition(self, step: int) -> tuple[int, str, str]:
        """What batch ``step`` is: ``(index of the training set, kind due, kind served)``.

        The kinds differ where X-Y is due and the set cannot serve it (see ``when_unable``).
        """
        return self._composition(np.random.default_rng([self.seed, step]), step)

    def _composition(self, rng, step):
        index = int(rng.choice(len(self.sources), p=self.proportions))
        coin = rng.random()
        due = self._due(step, coin)
        unable = due == "X-Y" and not self._serves_crosslingual(self.sources[index])
        return index, due, "X-X" if unable else due

    def _due(self, step, coin):
        first_half = step % self.steps < self.steps // 2
        match self.sampling:
            case "X-X mixed":
                return MIXED
            case "alternation":
                return ("X-X", "X-Y")[step % 2]
            case "X-X then X-Y":
                return "X-X" if first_half else "X-Y"
            case "X-Y then X-X":
                return "X-Y" if first_half else "X-X"
        return "X-X" if coin < self.alpha else "X-Y"

    def batch(self, step: int) -> list[Pair]:
        """Batch number ``step``: a list of ``batch_size`` `Pair`."""
        rng = np.random.default_rng([self.seed, step])
        index, _due, kind = self._composition(rng, step)
        source = self.sources[index]
        if kind == "X-X":
            x = source.monolingual[rng.integers(len(source.monolingual))]
            groups = source.draw(rng, [x], source.query[x], source.passage[x])
            languages = [(x, x)] * len(groups)
        elif kind == "X-Y" and self.pair_per_batch:
            x, y = source.ordered_pairs[rng.integers(len(source.ordered_pairs))]
            groups = source.draw(rng, [y], source.query[x], source.passage[y])
            languages = [(x, y)] * len(groups)
        else:
            groups = source.draw(rng, self.languages,
                                 source.crosslingual_groups if kind == "X-Y" else source.any_groups)
            languages = [self._languages_of(rng, source, group, kind) for group in groups]
        negatives = source.negatives(groups, [y for _, y in languages], rng.integers(2**31, size=len(groups)).tolist()
                                     ) if self.negatives else [None] * len(groups)
        return [Pair(index, group, x, y, negative)
                for group, (x, y), negative in zip(groups, languages, negatives, strict=True)]

    def _languages_of(self, rng, source, group, kind):
        """Languages of one pair, uniform over those that the group has."""
        queries = [x for x in self.languages if is_in(source.query[x], group)]
        passages = [y for y in self.languages if is_in(source.passage[y], group)]
        if kind == MIXED:
            choices = [(x, x) for x in queries if x in passages]
        else:
            choices = [(x, y) for x in queries for y in passages if x != y]
        return choices[rng.integers(len(choices))]

    def log(self) -> Iterator[dict[str, Any]]:
        """Yield one dict per step: ``step`` (from 1), ``corpus``, ``due``, ``served`` and ``languages``.

        ``languages`` reads ``de`` for a batch in German, ``ar>de:3 de>ru:2`` (query > passage: pairs) else.
        """
        for step in range(self.steps):
            index, due, served = self.composition(step)
            yield {"step": step + 1, "corpus": self.corpora[index].name, "due": due, "served": served,
                   "languages": describe(self.batch(step))}


def describe(batch: Iterable[Pair]) -> str:
    """The languages of a batch in one line.

    >>> describe([Pair(0, 0, "de", "de", None), Pair(0, 1, "de", "de", None)])
    'de'
    >>> describe([Pair(0, 0, "ar", "de", None), Pair(0, 1, "de", "ru", None), Pair(0, 2, "ar", "de", None)])
    'ar>de:2 de>ru:1'
    """
    counts = Counter((pair.query_language, pair.passage_language) for pair in batch)
    if len(counts) == 1 and (only := next(iter(counts)))[0] == only[1]:
        return only[0]
    return " ".join(f"{x}>{y}:{count}" for (x, y), count in sorted(counts.items()))


class PairDataset(Dataset):
    """Turns the `Pair` indices of a sampler into texts, one batch at a time.

    Parameters
    ----------
    corpora : list of ParallelCorpus
    needs : {"english", "parallel_query", "crossing"}, optional
        What a loss reads besides the pair: the same in English, ``english_query`` and ``english_passage``; the question
        in the passage's language, ``parallel_query``; whether question and passage differ in language, ``label``.
    """

    def __init__(self, corpora: Iterable[ParallelCorpus], needs: str | None = None):
        self.corpora, self.needs = list(corpora), needs

    def __getitem__(self, pair: Pair) -> dict[str, Any]:
        """The dict of a `Pair`: see `hybridlib.data.ParallelCorpus.pair`."""
        corpus = self.corpora[pair.corpus]
        texts = corpus.pair(*pair[1:])
        match self.needs:
            case "english":
                texts |= {f"english_{side}": text for side, text in corpus.pair(pair.group, "en", "en").items()}
            case "parallel_query":
                texts["parallel_query"] = corpus.query[pair.passage_language][pair.group].as_py()
            case "crossing":
                texts["label"] = int(pair.query_language != pair.passage_language)
        return texts
