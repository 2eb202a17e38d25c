"""sentence-transformers' own trainer, as it stands, on language batches; what the model was given is written down.

Run as a program by several processes: ``stock.py ENCODER FOLDER``.
"""

import json
import os
import sys
from pathlib import Path

from datasets import DatasetDict
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

import hybridlib as hl

LANGUAGES = ("de", "en", "ru", "zh")
GROUPS, BATCH = 32, 4


def table(first=0):
    """A wide table: texts of words that the tiny encoder knows; group 1 has the passage of group 0."""
    import pyarrow as pa

    groups = range(first, first + GROUPS)
    return pa.table({f"question_{x}": [f"query {i} {x}" for i in groups] for x in LANGUAGES}
                    | {f"answer_{x}": [f"passage {first if i == first + 1 else i} {x}" for i in groups]
                       for x in LANGUAGES})


class Recording(MultipleNegativesRankingLoss):
    """The loss as it is, which writes down the texts that it gets."""

    def __init__(self, model):
        super().__init__(model)
        self.tokenizer, self.batches = model.tokenizer, []

    def forward(self, sentence_features, labels=None):
        """The loss."""
        sentence_features = list(sentence_features)
        if self.model.training:
            columns = [self.tokenizer.batch_decode(side["input_ids"], skip_special_tokens=True)
                       for side in sentence_features]
            self.batches.append(list(zip(*columns, strict=True)))
        return super().forward(sentence_features, labels)


def train(encoder, folder, batches, data=None, resume=None, evaluation=None, **arguments):
    """Train with the trainer of sentence-transformers; returns the batches, each a list of texts of pairs."""
    model = SentenceTransformer(str(encoder), device="cpu")
    loss = Recording(model)
    trainer = SentenceTransformerTrainer(
        model=model, loss=loss, eval_dataset=evaluation,
        train_dataset=hl.parallel_dataset(table(), "question_{}", "answer_{}") if data is None else data,
        args=SentenceTransformerTrainingArguments(
            output_dir=str(folder), batch_sampler=batches, per_device_train_batch_size=BATCH, use_cpu=True, seed=5,
            report_to="none", disable_tqdm=True, **{"save_strategy": "no", "num_train_epochs": 2} | arguments))
    trainer.train(resume_from_checkpoint=resume)
    return loss.batches


def sets():
    """Two sets for the trainer's own samplers of several."""
    return DatasetDict({name: hl.parallel_dataset(table(first), "question_{}", "answer_{}")
                        for name, first in (("low", 0), ("high", 100))})


if __name__ == "__main__":
    found, place = {}, Path(sys.argv[2])
    for sampling in ("X-X", "X-Y", "Hybrid"):
        kept = place / sampling
        whole = train(sys.argv[1], kept, hl.language_batches(sampling), save_strategy="steps", save_steps=6)
        # Four steps an epoch: the sixth is in the midst of the second.
        resumed = train(sys.argv[1], kept, hl.language_batches(sampling), resume=str(kept / "checkpoint-6"))
        found[sampling] = [whole, resumed]
    (place / f"{os.environ['RANK']}.json").write_text(json.dumps(found))
