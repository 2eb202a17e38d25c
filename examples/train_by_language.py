"""Train an encoder on texts in five languages, with batches by language, in sentence-transformers' own trainer.

    python examples/train_by_language.py

What is kept is a plain sentence-transformers model.
"""

from pathlib import Path

from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

import hybridlib as hl
from hybridlib.encoding import load
from hybridlib.training import freeze

DATA, OUT = Path(__file__).parent / "data", Path("trained-by-language")


def main() -> None:
    """Train for a few steps, and load what was saved."""
    # Any SentenceTransformer does; this one's weights come out of a Python package, and need no hub.
    model, _ = load("multilingual-e5-small", max_length=64)
    # Of its twelve layers the upper two: quick on a processor. Leave the line out to train all of them.
    freeze(model, 2)
    # A table of your own goes as well: hl.parallel_dataset(table, "question_{}", "answer_{}").
    pairs = hl.parallel_dataset(DATA / "groups.jsonl")
    print(f"{len(pairs)} pairs in {', '.join(pairs.languages)}, the second of them {pairs[1]}")
    arguments = SentenceTransformerTrainingArguments(
        str(OUT / "checkpoints"), batch_sampler=hl.language_batches("Hybrid", alpha=0.5), max_steps=4,
        per_device_train_batch_size=4, learning_rate=2e-5, logging_steps=1, save_strategy="no", report_to="none",
        seed=0, prompts={"query": "query: ", "passage": "passage: "})
    SentenceTransformerTrainer(
        model=model, args=arguments, train_dataset=pairs, loss=MultipleNegativesRankingLoss(model, scale=100)).train()
    model.save_pretrained(str(OUT / "model"))
    print("saved and loaded again:", SentenceTransformer(str(OUT / "model")).encode("Gdzie jest sklep?").shape)


if __name__ == "__main__":
    main()
