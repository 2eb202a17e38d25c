"""Parallel groups as a dataset of pairs, and batches by language, for sentence-transformers' own trainer.

Two calls, and the trainer stays as it is::

    SentenceTransformerTrainer(model, args=SentenceTransformerTrainingArguments(
        ..., batch_sampler=language_batches("Hybrid", alpha=0.5)), train_dataset=parallel_dataset(...), loss=...)
"""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch
from accelerate import PartialState
from datasets import Dataset
from datasets.formatting import format_table, get_formatter
from sentence_transformers.base.sampler import DefaultBatchSampler
from torch.utils.data import SequentialSampler

from hybridlib.data import ParallelCorpus, corpus_of_table, read_groups
from hybridlib.training.sampling import ALPHA, ORDERED, SAMPLINGS, LanguageBatchSampler, Pair
from hybridlib.training.sources import MIXED, SamplingError

if TYPE_CHECKING:
    import pandas as pd

_MOST_COPIED = 2**17  # rows of a selection
_REFUSED = ("the pairs of a parallel dataset are made when they are asked for, and cannot be changed, sorted or saved "
            "as they are: do that with the table that it was made of")


class _Rows:
    """The pairs of one corpus by number: (group · query languages + query language) · passage languages + passage's.

    Languages that a group has not are not counted, so that each number is a pair.
    """

    def __init__(self, corpus: ParallelCorpus, languages: Sequence[str], hard_negatives: bool):
        self.corpus, self.languages = corpus, languages
        absent = np.zeros(len(corpus), bool)
        self.query = np.stack([corpus.has(corpus.query, x) if x in corpus.query else absent for x in languages], 1)
        self.passage = np.stack([corpus.has(corpus.passage, x) if x in corpus.passage else absent
                                 for x in languages], 1)
        self.slots = 1
        if hard_negatives:
            counts = [corpus.negatives[x].value_lengths().fill_null(0).to_numpy() if x in corpus.negatives
                      else np.zeros(len(corpus), int) for x in languages]
            self.passage &= np.stack(counts, 1) > 0
            self.slots = max(1, max(int(count.max(initial=0)) for count in counts))
        # Where each group's pairs begin.
        self.starts = np.concatenate([[0], np.cumsum(self.query.sum(1) * self.passage.sum(1) * self.slots)])

    def number(self, pair: Pair) -> int:
        """The number of a pair within the corpus."""
        q, p = self.languages.index(pair.query_language), self.languages.index(pair.passage_language)
        passages = self.passage[pair.group]
        at = int(self.query[pair.group, :q].sum()) * int(passages.sum()) + int(passages[:p].sum())
        slot = 0
        if pair.negative is not None:
            slot = pair.negative % len(self.corpus.negatives[pair.passage_language][pair.group])
        return int(self.starts[pair.group]) + at * self.slots + slot

    def pair(self, number: int, hard_negatives: bool) -> dict[str, str]:
        """The texts of a pair."""
        group = int(np.searchsorted(self.starts, number, side="right")) - 1
        at, slot = divmod(number - int(self.starts[group]), self.slots)
        queries, passages = np.flatnonzero(self.query[group]), np.flatnonzero(self.passage[group])
        q, p = divmod(at, len(passages))
        return self.corpus.pair(group, self.languages[queries[q]], self.languages[passages[p]],
                                slot if hard_negatives else None)


class ParallelDataset(Dataset):
    """Every pair of a query and a passage of one group, in any two languages: a row that is made when it is asked for.

    Half a million groups in nine languages are 40 million rows, and cost 8 bytes a group and one a text beside the
    texts themselves, which stay where they are. Columns: ``query``, ``passage`` and, with hard negatives,
    ``negative``.

    Parameters
    ----------
    corpora : list of ParallelCorpus
    languages : sequence of str
    hard_negatives : bool
        As many rows for each pair as the passage has hard negatives where they are most; where there are fewer, they
        come again, and without any it is no row.
    """

    def __init__(self, corpora: Iterable[ParallelCorpus], languages: Sequence[str], hard_negatives: bool = False):
        columns = ["query", "passage", *(["negative"] if hard_negatives else [])]
        super().__init__(pa.table({column: pa.array([], pa.string()) for column in columns}))
        self.languages, self.hard_negatives, self.epoch = tuple(languages), hard_negatives, 0
        self.corpora = list(corpora)
        self.sets = [_Rows(corpus, self.languages, hard_negatives) for corpus in self.corpora]
        self.offsets = np.cumsum([0, *(rows.starts[-1] for rows in self.sets)]).tolist()
        # The empty table said what the columns are; whoever looks for rows in it must learn that there are none.
        del self._data

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(_REFUSED if name in ("_data", "data") else f"a ParallelDataset has no {name!r}")

    def set_epoch(self, epoch: int) -> None:
        """Have the batches of another epoch; the trainer says so through its data loader."""
        self.epoch = epoch

    @property
    def num_rows(self) -> int:
        """The number of pairs."""
        return self.offsets[-1]

    @property
    def column_names(self) -> list[str]:
        """``query``, ``passage`` and perhaps ``negative``."""
        return list(self.features)

    @property
    def num_columns(self) -> int:
        """The number of columns."""
        return len(self.features)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.num_rows, self.num_columns

    @property
    def cache_files(self) -> list[dict]:
        """None: nothing was written."""
        return []

    def number(self, pair: Pair) -> int:
        """The row of a `Pair`."""
        return self.offsets[pair.corpus] + self.sets[pair.corpus].number(pair)

    def _texts(self, row: int) -> dict[str, str]:
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row} of {len(self)}")
        row %= len(self)
        place = int(np.searchsorted(self.offsets, row, side="right")) - 1
        return self.sets[place].pair(row - self.offsets[place], self.hard_negatives)

    def _getitem(self, key: int | slice | Iterable[int], **kwargs: Any) -> dict:
        if isinstance(key, str):
            raise TypeError(f"column {key!r} of {len(self)} rows is not made whole: ask for rows first")
        rows = [key] if isinstance(key, int | np.integer) else (
            range(*key.indices(len(self))) if isinstance(key, slice) else list(key))
        found = [self._texts(int(row)) for row in rows]
        table = pa.table({column: pa.array([texts[column] for texts in found], pa.string())
                          for column in self.column_names})
        formatter = get_formatter(kwargs.get("format_type", self._format_type), features=self.features,
                                  **(kwargs.get("format_kwargs", self._format_kwargs) or {}))
        return format_table(table, 0 if isinstance(key, int | np.integer) else range(len(found)), formatter,
                            kwargs.get("format_columns", self._format_columns),
                            kwargs.get("output_all_columns", self._output_all_columns))

    def map(self, *args: Any, **kwargs: Any) -> Dataset:
        """Refused: it would make every pair, in memory."""
        raise AttributeError(_REFUSED)

    def __iter__(self) -> Iterator[dict[str, str]]:
        return (self[row] for row in range(len(self)))

    def select(self, indices: Iterable[int], *args: Any, **kwargs: Any) -> Dataset:
        """A plain dataset of some rows, which are copied."""
        indices = list(islice(indices, _MOST_COPIED + 1))
        if len(indices) > _MOST_COPIED:
            raise ValueError(f"at most {_MOST_COPIED:,} pairs are copied; {_REFUSED}")
        return Dataset.from_dict(self[indices], features=self.features)

    def select_columns(self, column_names: str | list[str], *args: Any, **kwargs: Any) -> Dataset:
        """The dataset itself, if all columns are asked for."""
        if [column_names] == self.column_names or list(column_names) == self.column_names:
            return self
        raise ValueError(f"columns {column_names} of {self.column_names}; {_REFUSED}")


def parallel_dataset(data: "ParallelCorpus | Dataset | pd.DataFrame | pa.Table | str | Path | list", query: str =
                     "query_{}", passage: str = "passage_{}", *, language: str | None = None, group: str | None = None,
                     languages: Sequence[str] | None = None, hard_negatives: bool = False) -> ParallelDataset:
    """A dataset of pairs for sentence-transformers' trainer, from texts that stand in several languages.

    Parameters
    ----------
    data : datasets.Dataset, DataFrame, pyarrow.Table, ParallelCorpus, path of a file in the groups format, or a list
        Of a list, each is a set: every batch is from one of them, drawn in proportion to their numbers of groups. A
        memory-mapped table stays on the disk; a file of groups is read into memory.
    query, passage : str
        Columns of a table. Of a wide one, a group per row, with ``{}`` for the language: ``"question_{}"``. Of a long
        one, a row per group and language, as they are called.
    language, group : str, optional
        Columns of a long table that say the language and the group of a row.
    languages : sequence of str, optional
        Which to train on; by default all in which some group has both a query and a passage.
    hard_negatives : bool
        Whether pairs come with a hard negative in the passage's language (see `hybridlib.data.read_groups`; a table
        cannot hold some). `language_batches` needs some in every group.

    Returns
    -------
    ParallelDataset

    Raises
    ------
    CorpusError, FileNotFoundError, TypeError
        If the data cannot be read, each problem with its row or line.
    ValueError
        If a language that is asked for, or a hard negative, is nowhere.

    Examples
    --------
    >>> table = pa.table({"question_de": ["Wo?", "Wann?"], "question_pl": ["Gdzie?", None],
    ...                   "answer_de": ["Hier.", "Nie."], "answer_pl": ["Tutaj.", "Nigdy."]})
    >>> pairs = parallel_dataset(table, "question_{}", "answer_{}")
    >>> len(pairs), pairs[1], pairs[5]
    (6, {'query': 'Wo?', 'passage': 'Tutaj.'}, {'query': 'Wann?', 'passage': 'Nigdy.'})
    """
    several = isinstance(data, list | tuple)
    if several and not data:
        raise ValueError("data is an empty list: give at least one set")
    if isinstance(languages, str):
        raise ValueError(f"languages is {languages!r}: give a list of codes, [{languages!r}]")
    corpora = []
    for number, one in enumerate(data if several else [data]):
        if isinstance(one, str | Path):
            one = read_groups(one)
        elif not isinstance(one, ParallelCorpus):
            one = corpus_of_table(one, query, passage, language, group, languages,
                                  f"set {number}" if several else "parallel")
        corpora.append(one)
    found = sorted({x for corpus in corpora for x in corpus.languages})
    if unknown := [x for x in languages or () if x not in found]:
        raise ValueError(f"no group has a query and a passage in {', '.join(unknown)}; of those asked for there are "
                         f"{', '.join(x for x in languages if x in found) or 'none'}")
    pairs = ParallelDataset(corpora, list(dict.fromkeys(languages or found)), hard_negatives)
    for rows in pairs.sets:
        if not rows.starts[-1]:
            raise ValueError(f"{rows.corpus.name!r} has no pairs in {', '.join(pairs.languages)}"
                             + (" with a hard negative: a file of groups or a ParallelCorpus can hold some, a table "
                                "cannot" if hard_negatives else ""))
    return pairs


@dataclass(frozen=True)
class LanguageBatches:
    """What a trainer's ``batch_sampler`` is: see `language_batches`."""

    sampling: str
    alpha: float | None
    pair_per_batch: bool
    when_unable: str
    steps: int | None

    def __call__(self, dataset: Dataset, batch_size: int, drop_last: bool,
                 valid_label_columns: list[str] | None = None, generator: torch.Generator | None = None,
                 seed: int = 0) -> DefaultBatchSampler:
        """The batches of a dataset, as the trainer asks for them."""
        if isinstance(dataset, ParallelDataset):
            return _LanguageBatchSampler(dataset, self, batch_size, drop_last, seed or 0)
        warnings.warn("a dataset that parallel_dataset did not make gets batches in its own order; for evaluation that "
                      "is what one wants, for training it is not", stacklevel=2)
        return DefaultBatchSampler(SequentialSampler(dataset), batch_size, drop_last)


class _LanguageBatchSampler(DefaultBatchSampler):
    """Numbers of rows, a batch for each process after the other: together they are one batch of a sampling.

    The trainer tells the number of an epoch to the sampler or to the dataset, whichever it reaches through what
    accelerate puts around them: it is kept in the dataset.
    """

    def __init__(self, dataset, batches, batch_size, drop_last, seed):
        self.dataset = dataset
        super().__init__(dataset, batch_size, drop_last, seed=seed)
        self.processes = PartialState().num_processes
        whole, groups = batch_size * self.processes, sum(map(len, dataset.corpora))
        steps = batches.steps or max(1, groups // whole if drop_last else -(-groups // whole))
        if batches.sampling in ORDERED and batches.steps is None:
            steps += steps % 2
        self.drawn = LanguageBatchSampler(
            dataset.corpora, batches.sampling, dataset.languages, whole, steps, seed, alpha=batches.alpha,
            pair_per_batch=batches.pair_per_batch, when_unable=batches.when_unable, negatives=dataset.hard_negatives)

        for source in self.drawn.sources:
            few = [x for x in source.corpus.languages if x in dataset.languages and x not in source.monolingual]
            if self.drawn.alpha and few:
                warnings.warn(f"{source.corpus.name!r}: no X-X batch is in {', '.join(few)}: fewer than {whole} groups "
                              "that may meet, the batch size times the processes", stacklevel=2)

    @property
    def epoch(self):
        return self.dataset.epoch

    @epoch.setter
    def epoch(self, epoch):
        self.dataset.set_epoch(epoch)

    def __len__(self):
        return len(self.drawn) * self.processes

    def __iter__(self):
        first = self.epoch * len(self.drawn)
        for step in range(first, first + len(self.drawn)):
            rows = [self.dataset.number(pair) for pair in self.drawn.batch(step)]
            for start in range(0, len(rows), self.batch_size):
                yield rows[start:start + self.batch_size]


def language_batches(sampling: str = "Hybrid", *, alpha: float | None = None, pair_per_batch: bool = False,
                     when_unable: str = "error", steps: int | None = None) -> LanguageBatches:
    """Which languages meet in a batch, for ``SentenceTransformerTrainingArguments(batch_sampler=…)``.

    The train dataset is one of `parallel_dataset`; the arguments' ``seed`` decides the batches. Several processes see
    one batch of the sampling, each a part of it, so that an X-X batch has one language over all of them: leave
    ``split_batches`` off. Each batch is full and independent of the others (see `LanguageBatchSampler`); a group can
    come again before all others have come.

    Parameters
    ----------
    sampling : one of `hybridlib.training.SAMPLINGS`
    alpha : float, optional
        Probability of an X-X batch under Hybrid; 0.5 by default, as in the paper.
    pair_per_batch : bool
        X-Y: one ordered language pair per batch rather than one per item.
    when_unable : {"error", "monolingual"}
        What to do with a set that has no pairs in two languages where X-Y is due.
    steps : int, optional
        How many batches make an epoch; by default as many as it takes to see as many groups as there are. "X-X then
        X-Y" and its reverse change in the middle of an epoch.

    Raises
    ------
    SamplingError
        If there is no such sampling, or the options do not fit it.

    Examples
    --------
    >>> language_batches("hybrid")
    Traceback (most recent call last):
    hybridlib.training.sources.SamplingError: unknown sampling 'hybrid'; choose one of X-X, X-Y, Hybrid, X-X mixed, \
alternation, X-X then X-Y, X-Y then X-X
    """
    # All that can be known without the data.
    if sampling not in SAMPLINGS:
        raise SamplingError(f"unknown sampling {sampling!r}; choose one of {', '.join(SAMPLINGS)}")
    if alpha is not None and (sampling != "Hybrid" or not 0 <= alpha <= 1):
        raise SamplingError(f"alpha is {alpha}: it is a probability, and belongs to Hybrid" + (
            f"; under {sampling} it is {ALPHA[sampling]:g}" if sampling in ("X-X", "X-Y") else ""))
    if pair_per_batch and sampling in ("X-X", MIXED):
        raise SamplingError(f"pair_per_batch belongs to X-Y batches; {sampling} has none")
    if when_unable not in ("error", "monolingual"):
        raise SamplingError(f"when_unable is {when_unable!r}; it is 'error' or 'monolingual'")
    if steps is not None and (steps < 1 or (sampling in ORDERED and steps % 2)):
        raise SamplingError(f"steps is {steps}: it is a number of batches{', and even' * (sampling in ORDERED)}")
    return LanguageBatches(sampling, alpha, pair_per_batch, when_unable, steps)
