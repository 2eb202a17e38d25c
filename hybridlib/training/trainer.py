"""Hooks into sentence-transformers' own trainer: batches by language, what is trained, progress."""

import re
from typing import Any

import numpy as np
from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
from torch.nn import Module
from torch.utils.data import DataLoader
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hybridlib.data import ParallelCorpus
from hybridlib.progress import progress_bar
from hybridlib.training.sampling import LanguageBatchSampler, PairDataset

# Architectures call their layers differently; in T5 a block holds what is called a layer, and the block is found first.
_LAYER = re.compile(r"\.(?:layer|layers|h|block|blocks)\.(\d+)\.")


class LanguageBatchTrainer(SentenceTransformerTrainer):
    """sentence-transformers' trainer with the batches of a `LanguageBatchSampler`, materialised nowhere.

    Where several processes train, accelerate gives each a slice of the same batch (``split_batches``), so that an X-X
    batch has one language over all of them.

    Parameters
    ----------
    sampler : LanguageBatchSampler
    selection_loss : torch.nn.Module
        The loss over the evaluation dataset, which is read in order and whole by each process.
    **kwargs
        Of `sentence_transformers.SentenceTransformerTrainer`.
    """

    def __init__(self, *, sampler: LanguageBatchSampler, selection_loss: Module, **kwargs: Any):
        self.sampler, self.selection_loss = sampler, selection_loss
        super().__init__(**kwargs)

    def get_train_dataloader(self) -> DataLoader:
        """The sampler's batches, each cut into equal slices for the processes."""
        pairs = PairDataset(self.sampler.corpora, getattr(self.loss, "needs", None))
        loader = DataLoader(pairs, batch_sampler=self.sampler, collate_fn=self.data_collator,
                            pin_memory=self.args.dataloader_pin_memory)
        self._train_dataloader = self.accelerator.prepare(loader)
        return self._train_dataloader

    def get_eval_dataloader(self, eval_dataset: Dataset | None = None) -> DataLoader:
        """The evaluation dataset in its order."""
        # In order, and whole in each process, so that the validation loss has the same in-batch negatives always.
        return DataLoader(self.eval_dataset, self.args.per_device_eval_batch_size, collate_fn=self.data_collator,
                          pin_memory=self.args.dataloader_pin_memory)

    def compute_loss(self, model: SentenceTransformer, *args: Any, **kwargs: Any) -> Any:
        """The loss of training while the model trains, that of selection else."""
        of_training = self.loss
        if not model.training:
            self.loss = self.selection_loss
        try:
            return super().compute_loss(model, *args, **kwargs)
        finally:
            self.loss = of_training


class Progress(TrainerCallback):
    """One bar with the step, the loss and the time left."""

    def __init__(self, description: str):
        self.description = description

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl,
                       **kwargs: Any) -> None:
        """Open the bar, where a resumed run left it."""
        self.bar = progress_bar(total=state.max_steps, initial=state.global_step, desc=self.description, unit="step")

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl,
               logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        """Show the loss."""
        if "loss" in (logs or {}):
            self.bar.set_postfix(loss=f"{logs['loss']:.3f}")

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl,
                    **kwargs: Any) -> None:
        """Move the bar."""
        self.bar.update(state.global_step - self.bar.n)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl,
                     **kwargs: Any) -> None:
        """Close the bar."""
        self.bar.close()


def freeze(model: SentenceTransformer, trainable_layers: int | None) -> int:
    """Freeze the token embeddings and all but the top ``trainable_layers`` layers; None trains everything.

    Returns
    -------
    int
        Number of parameters that are trained.

    Raises
    ------
    ValueError
        If the model has fewer layers.
    """
    if trainable_layers is not None:
        layer_of = {name: int(found[1]) for name, _ in model.named_parameters()
                    if (found := _LAYER.search(name))}
        count = max(layer_of.values(), default=-1) + 1
        if trainable_layers > count:
            raise ValueError(f"trainable_layers is {trainable_layers}, the encoder has {count} layers")
        for name, parameter in model.named_parameters():
            parameter.requires_grad = layer_of.get(name, -1) >= count - trainable_layers
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def selection_of(corpus: ParallelCorpus, language: str = "en") -> Dataset:
    """The selection set of a corpus: its pairs in one language, in order (the paper reads English only).

    Of a passage with several questions the first is read: else it would be a negative of its own in the batches that
    the selection loss is taken over.

    Raises
    ------
    ValueError
        If no group has a query and a passage in that language; it names the set and what languages it has.
    """
    if language not in corpus.languages:
        raise ValueError(f"selection set {corpus.name!r} has no group with query and passage in {language}, in which "
                         f"the checkpoint is chosen (it has {', '.join(corpus.languages) or 'no language'}): give a "
                         f"selection set that has {language}, or hold one out of a training set that does")
    groups = (corpus.has(corpus.query, language) & corpus.has(corpus.passage, language)).nonzero()[0]
    _, first = np.unique(corpus.passage_key[groups], return_index=True)
    return Dataset.from_list([corpus.pair(group, language, language) for group in groups[np.sort(first)].tolist()])
