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
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from torch.utils.data import BatchSampler, Dataset

from hybridlib.data import ParallelCorpus

ALPHA = {"X-X": 1.0, "X-Y": 0.0, "Hybrid": 0.5}
MIXED = "X-X mixed"
ORDERED = ("alternation", "X-X then X-Y", "X-Y then X-X")
SAMPLINGS = (*ALPHA, MIXED, *ORDERED)


class Pair(NamedTuple):
    """One item of a batch, as indices: what `PairDataset` turns into texts."""

    corpus: int
    group: int
    query_language: str
    passage_language: str
    negative: int | None


class SamplingError(ValueError):
    """A training set that cannot serve the sampling asked for."""


class _Source:
    """One training set as the sampler sees it: who has which language, and who may not meet.

    A mask is a boolean array over the groups, or plain True or False where it is the same for all of them: what every
    group has costs no memory, however many they are.

    Groups that share a passage never meet. With hard negatives (``strict``) neither do groups that share a question,
    nor any of which one would be left without a hard negative that is no passage of the batch.
    """

    def __init__(self, corpus: ParallelCorpus, languages: Sequence[str], batch_size: int, kinds: Collection[str],
                 strict: bool):
        self.corpus, self.batch_size, self.strict = corpus, batch_size, strict
        self.key, self.languages = corpus.passage_key, languages
        self.query = {x: _plain(corpus.has(corpus.query, x)) if x in corpus.query else False for x in languages}
        self.passage = {x: _plain(corpus.has(corpus.passage, x)) if x in corpus.passage else False for x in languages}
        # A group can stand in an X-Y pair if some language of its query differs from one of its passage.
        query_count, passage_count = sum(self.query.values()), sum(self.passage.values())
        both = sum(self.query[x] & self.passage[x] for x in languages)
        if strict:
            self._check_negatives(kinds, query_count)
        self.monolingual = [x for x in languages if self._fills([x], self.query[x], self.passage[x])]
        self.ordered_pairs = [(x, y) for x in languages for y in languages
                              if x != y and self._fills([y], self.query[x], self.passage[y])]
        self.crosslingual_groups = _plain((query_count * passage_count - both) > 0)
        self.crosslingual = self._fills(languages, self.crosslingual_groups)
        self.any_groups = _plain(both > 0)
        self.mixed = self._fills(languages, self.any_groups)

    def _check_negatives(self, kinds, query_count):
        """Raise `SamplingError` unless each group has hard negatives in all languages that its passage may come in."""
        name, lacking = self.corpus.name, []
        if not self.corpus.negatives:
            raise SamplingError(f"training set {name!r} has no hard negatives; set hard_negatives: false")
        for y in self.languages:
            has = self.corpus.has(self.corpus.negatives, y) if y in self.corpus.negatives else False
            if np.all(has):
                continue
            monolingual = self.query[y] if {"X-X", MIXED} & set(kinds) else False
            crosslingual = (query_count - self.query[y] > 0) if "X-Y" in kinds else False
            needed = self.passage[y] & (monolingual | crosslingual) & np.ones(len(self.key), bool)
            if count := int((needed & ~np.asarray(has)).sum()):
                lacking.append(f"{y} in {count} of {int(needed.sum())} groups")
        if lacking:
            raise SamplingError(f"training set {name!r} lacks hard negatives in {', '.join(lacking)} with a passage in "
                                "it: give them some, leave the language or these groups out, or set "
                                "hard_negatives: false")

    def _fills(self, languages, *masks):
        """Whether groups in all masks, with passages in the languages, fill a batch; looks as far as needed."""
        if any(mask is False for mask in masks):
            return False
        masks, found = [mask for mask in masks if mask is not True], np.empty(0, self.key.dtype)
        start, size = 0, 2 * self.batch_size
        while start < len(self.key) and len(found) < self.batch_size:
            part = slice(start, start + size)
            kept = np.logical_and.reduce([mask[part] for mask in masks]) if masks else slice(None)
            found = np.union1d(found, self.key[part][kept])
            start, size = start + size, min(2 * size, 2**20)
        return len(found) >= self.batch_size and (not self.strict or bool(self._in_order(languages, masks)))

    def _in_order(self, languages, masks):
        """The first ``batch_size`` groups that may meet; none if, taken in order, there are not so many."""
        batch, start, size = _Meeting(self.corpus, languages), 0, 2 * self.batch_size
        while start < len(self.key):
            groups = np.arange(start, min(start + size, len(self.key)))
            if masks:
                groups = groups[np.logical_and.reduce([mask[groups] for mask in masks])]
            for group in groups.tolist():
                if batch.take(group) and len(batch.groups) == self.batch_size:
                    return batch.groups
            start, size = start + size, min(2 * size, 2**16)
        return []

    def draw(self, rng, languages, *masks):
        """``batch_size`` groups that are in all masks and may meet, with passages in the languages; uniform.

        By rejection, so that the cost goes with the batch and not with the corpus.
        """
        masks = [mask for mask in masks if mask is not True]
        if self.strict:
            return self._draw_strictly(rng, languages, masks)
        chosen = {}
        while len(chosen) < self.batch_size:
            for group in self._some(rng, masks):
                chosen.setdefault(self.key[group], group)
        return list(chosen.values())[:self.batch_size]

    def _some(self, rng, masks):
        groups = rng.integers(len(self.key), size=2 * self.batch_size)
        if masks:
            groups = groups[np.logical_and.reduce([mask[groups] for mask in masks])]
        return groups.tolist()

    def _draw_strictly(self, rng, languages, masks):
        # The groups that came first may leave no room for a whole batch: when all others have been tried, and that
        # with near certainty, others begin.
        tries = 10 + 10 * len(self.key) // self.batch_size
        for _ in range(20):
            batch = _Meeting(self.corpus, languages)
            for _ in range(tries):
                for group in self._some(rng, masks):
                    if batch.take(group) and len(batch.groups) == self.batch_size:
                        return batch.groups
        return self._in_order(languages, masks)

    def negatives(self, groups, languages, draws):
        """Which hard negative each group gets, by any number: one that is no passage of the batch."""
        met, found = {int(key) for key in self.key[groups]}, []
        for group, language, draw in zip(groups, languages, draws, strict=True):
            (keys,) = self.corpus.negative_keys(group, [language])
            left = [number for number, key in enumerate(keys) if key not in met]
            found.append(draw if len(left) == len(keys) else left[draw % len(left)])
        return found


class _Meeting:
    """Groups that may meet in a batch with hard negatives, taken one by one.

    Parameters
    ----------
    corpus : ParallelCorpus
    languages : sequence of str
        In which of them a group's passage will come is drawn later: it must have a hard negative left in each.
    """

    def __init__(self, corpus: ParallelCorpus, languages: Sequence[str]):
        self.corpus, self.languages, self.groups = corpus, languages, []
        self.passages, self.queries, self._avoiding = set(), set(), {}

    def take(self, group: int) -> bool:
        """Take a group unless it may not meet those that were taken before."""
        passage, query = int(self.corpus.passage_key[group]), int(self.corpus.query_key[group])
        if passage in self.passages or query in self.queries:
            return False
        own = self.corpus.negative_keys(group, self.languages)
        beside = self._avoiding.get(passage, [])
        if not all(any(key != passage and key not in self.passages for key in keys) for keys in (*own, *beside)):
            return False
        self.groups.append(group)
        self.passages.add(passage)
        self.queries.add(query)
        for keys in own:
            for key in set(keys):
                if key >= 0:
                    self._avoiding.setdefault(key, []).append(keys)
        return True


def _plain(mask):
    """A mask as True or False where it is so for all groups, else as it is."""
    return True if np.all(mask) else mask if np.any(mask) else False


def _in(mask, group):
    """Whether a group is in a mask."""
    return mask if isinstance(mask, bool) else mask[group]


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
        self.sources = [_Source(corpus, self.languages, batch_size, kinds, negatives) for corpus in self.corpora]
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
                        "leave it out, or set when_unable: monolingual")
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
        first_half = step < self.steps // 2
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
        queries = [x for x in self.languages if _in(source.query[x], group)]
        passages = [y for y in self.languages if _in(source.passage[y], group)]
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

    With ``in_english`` each pair comes in English as well: ``english_query`` and ``english_passage``.
    """

    def __init__(self, corpora: Iterable[ParallelCorpus], in_english: bool = False):
        self.corpora, self.in_english = list(corpora), in_english

    def __getitem__(self, pair: Pair) -> dict[str, str]:
        """The dict of texts of a `Pair`: see `hybridlib.data.ParallelCorpus.pair`."""
        corpus = self.corpora[pair.corpus]
        texts = corpus.pair(*pair[1:])
        if self.in_english:
            texts |= {f"english_{side}": text for side, text in corpus.pair(pair.group, "en", "en").items()}
        return texts
