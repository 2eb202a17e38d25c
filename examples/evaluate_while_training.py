"""Watch a mixed-language search while the encoder is trained: within languages, across them, over the pool of all.

    python examples/evaluate_while_training.py

The same test set, with nothing trained, from the command line::

    hybridlib evaluate --model multilingual-e5-small --queries examples/data/queries.jsonl \
        --corpus examples/data/corpus.jsonl --qrels examples/data/qrels.tsv
"""

from pathlib import Path

from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

import hybridlib as hl
from hybridlib.encoding import load
from hybridlib.training import freeze

DATA, OUT = Path(__file__).parent / "data", Path("evaluated-while-training")


def main() -> None:
    """Evaluate before, during and after a training of a few steps."""
    model, _ = load("multilingual-e5-small", max_length=64)
    # Of its twelve layers the upper two: quick on a processor. Leave the line out to train all of them.
    freeze(model, 2)
    # One answer is missing in Polish, and a German question has two right answers in German.
    test_set = hl.TestSet.from_beir(DATA)
    before = hl.evaluate(model, test_set)
    # To keep the best checkpoint: load_best_model_at_end=True, metric_for_best_model=evaluator.primary_metric.
    evaluator = hl.LanguageBiasEvaluator(test_set)
    arguments = SentenceTransformerTrainingArguments(
        str(OUT), batch_sampler=hl.language_batches("X-Y"), max_steps=4, per_device_train_batch_size=4,
        learning_rate=2e-5, eval_strategy="steps", eval_steps=2, save_strategy="no", report_to="none", seed=0,
        prompts={"query": "query: ", "passage": "passage: "})
    # Questions and answers that are tested are no training set: a real one is other texts.
    SentenceTransformerTrainer(
        model=model, args=arguments, train_dataset=hl.parallel_dataset(DATA / "groups.jsonl"), evaluator=evaluator,
        loss=MultipleNegativesRankingLoss(model, scale=100)).train()
    print(hl.compare(hl.evaluate(model, test_set), before).text())


if __name__ == "__main__":
    main()
