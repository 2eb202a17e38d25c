"""One training set as the sampler sees it: who has which language, and who may meet in a batch."""

from collections.abc import Collection, Sequence

import numpy as np

from hybridlib.data import ParallelCorpus

MIXED = "X-X mixed"
Mask = bool | np.ndarray  # over the groups; plain True or False where it is the same for all of them


class SamplingError(ValueError):
    """A training set that cannot serve the sampling asked for."""


class Source:
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
        self.query = {x: plain(corpus.has(corpus.query, x)) if x in corpus.query else False for x in languages}
        self.passage = {x: plain(corpus.has(corpus.passage, x)) if x in corpus.passage else False for x in languages}
        # A group can stand in an X-Y pair if some language of its query differs from one of its passage.
        query_count, passage_count = sum(self.query.values()), sum(self.passage.values())
        both = sum(self.query[x] & self.passage[x] for x in languages)
        if strict:
            self._check_negatives(kinds, query_count)
        self.monolingual = [x for x in languages if self._fills([x], self.query[x], self.passage[x])]
        self.ordered_pairs = [(x, y) for x in languages for y in languages
                              if x != y and self._fills([y], self.query[x], self.passage[y])]
        self.crosslingual_groups = plain((query_count * passage_count - both) > 0)
        self.crosslingual = self._fills(languages, self.crosslingual_groups)
        self.any_groups = plain(both > 0)
        self.mixed = self._fills(languages, self.any_groups)

    def _check_negatives(self, kinds, query_count):
        """Raise `SamplingError` unless each group has hard negatives in all languages that its passage may come in."""
        name, lacking = self.corpus.name, []
        if not self.corpus.negatives:
            raise SamplingError(f"training set {name!r} has no hard negatives; leave hard negatives off")
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
                                "it: give them some, leave the language or these groups out, or leave hard "
                                "negatives off")

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
        batch, start, size = Meeting(self.corpus, languages), 0, 2 * self.batch_size
        while start < len(self.key):
            groups = np.arange(start, min(start + size, len(self.key)))
            if masks:
                groups = groups[np.logical_and.reduce([mask[groups] for mask in masks])]
            for group in groups.tolist():
                if batch.take(group) and len(batch.groups) == self.batch_size:
                    return batch.groups
            start, size = start + size, min(2 * size, 2**16)
        return []

    def draw(self, rng: np.random.Generator, languages: Sequence[str], *masks: Mask) -> list[int]:
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
            batch = Meeting(self.corpus, languages)
            for _ in range(tries):
                for group in self._some(rng, masks):
                    if batch.take(group) and len(batch.groups) == self.batch_size:
                        return batch.groups
        return self._in_order(languages, masks)

    def negatives(self, groups: Sequence[int], languages: Sequence[str], draws: Sequence[int]) -> list[int]:
        """Which hard negative each group gets, by any number: one that is no passage of the batch."""
        met, found = {int(key) for key in self.key[groups]}, []
        for group, language, draw in zip(groups, languages, draws, strict=True):
            (keys,) = self.corpus.negative_keys(group, [language])
            left = [number for number, key in enumerate(keys) if key not in met]
            found.append(draw if len(left) == len(keys) else left[draw % len(left)])
        return found


class Meeting:
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


def plain(mask: np.ndarray) -> Mask:
    """A mask as True or False where it is so for all groups, else as it is."""
    return True if np.all(mask) else mask if np.any(mask) else False


def is_in(mask: Mask, group: int) -> bool:
    """Whether a group is in a mask."""
    return mask if isinstance(mask, bool) else mask[group]
