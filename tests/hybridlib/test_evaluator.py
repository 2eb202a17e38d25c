"""The evaluator of training: the numbers of `evaluate`, logged, written, and used to choose a checkpoint."""

import numpy as np
import pandas as pd
import pytest
from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

from hybridlib import encoding
from hybridlib.data import TestSet
from hybridlib.evaluation import COMPARED, LanguageBiasEvaluator, evaluate

KEYS = ["monolingual_mAP", "cross-lingual_mAP", "multilingual_mAP", "rank_distance", "own-language_rank",
        "own_language_first", "others_above_own"]


@pytest.fixture
def test_set():
    """Eight questions in two languages; a name that one of the metrics begins with."""
    rng = np.random.default_rng(0)
    words = [" ".join(map(str, rng.integers(200, size=4))) for _ in range(32)]
    return TestSet.from_parallel(
        "multilingual", ("de", "en"), [(f"q{n}", f"q{n}", x, words[8 * (x == "en") + n], n)
                                       for x in ("de", "en") for n in range(8)],
        [(f"q{n}", x, words[16 + 8 * (x == "en") + n]) for x in ("de", "en") for n in range(8)])


def model_of(folder):
    return SentenceTransformer(str(folder), device="cpu")


def test_it_gives_what_evaluate_gives(test_set, tiny_encoder, tmp_path):
    model = model_of(tiny_encoder)
    expected = evaluate(model, test_set, precision="fp32").languages.loc["mean"]
    evaluator = LanguageBiasEvaluator(test_set, precision="fp32")
    assert evaluator.primary_metric == "multilingual_multilingual_mAP" and evaluator.greater_is_better
    found = evaluator(model)
    assert found == {f"multilingual_{key}": pytest.approx(expected[measure.name])
                     for key, measure in zip(KEYS, COMPARED, strict=True)}
    assert {type(value) for value in found.values()} == {float}
    assert model.model_card_data.eval_results_dict[evaluator] == found
    unnamed = LanguageBiasEvaluator(test_set, encoding.Prompts("1 ", "2 "), "fp32", name="", write_csv=False)
    assert unnamed.primary_metric == "multilingual_mAP" and unnamed.csv_file == "language_bias_evaluation_results.csv"
    other = unnamed(model, str(tmp_path))
    assert list(other) == KEYS and other["multilingual_mAP"] == pytest.approx(
        evaluate(model, test_set, encoding.Prompts("1 ", "2 "), "fp32").languages.loc["mean", "multilingual AP"])
    assert not list(tmp_path.iterdir())


def test_each_text_is_encoded_once(test_set, tiny_encoder, monkeypatch):
    asked = []

    def counting(siblings, texts, *arguments, **options):
        asked.extend(texts)
        return original(siblings, texts, *arguments, **options)

    original = encoding.encode_all
    monkeypatch.setattr(encoding, "encode_all", counting)
    LanguageBiasEvaluator(test_set, precision="fp32")(model_of(tiny_encoder))
    assert sorted(asked) == sorted([*test_set.queries["text"], *test_set.candidates["text"]])


@pytest.mark.parametrize("bf16", [False, True])
def test_the_stock_trainer_logs_it_and_keeps_the_best(test_set, tiny_encoder, tmp_path, bf16):
    """With ``bf16`` the trainer wraps the model's forward in mixed precision, which is none of the evaluator's."""
    model, evaluator = model_of(tiny_encoder), LanguageBiasEvaluator(test_set, precision="fp32")
    pairs = Dataset.from_dict({"anchor": [str(n) for n in range(16)], "positive": [str(n + 1) for n in range(16)]})
    seen = []

    class Watched(LanguageBiasEvaluator):
        def __call__(self, model, *arguments, **options):
            model.train()  # a user's own callback might leave it so
            weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
            found = super().__call__(model, *arguments, **options)
            assert all(module.training for module in model.modules())
            seen.append((weights, dict(found)))  # the trainer gives it other names
            return found

    evaluator.__class__ = Watched
    primary = f"eval_{evaluator.primary_metric}"
    trainer = SentenceTransformerTrainer(
        model=model, train_dataset=pairs, loss=MultipleNegativesRankingLoss(model), evaluator=evaluator,
        args=SentenceTransformerTrainingArguments(
            output_dir=str(tmp_path), max_steps=4, per_device_train_batch_size=4, learning_rate=0.01, use_cpu=True,
            bf16=bf16, eval_strategy="steps", eval_steps=2, save_strategy="steps", save_steps=2, logging_steps=2,
            load_best_model_at_end=True, metric_for_best_model=primary, report_to=[], seed=1, disable_tqdm=True))
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if primary in entry]
    assert [entry["step"] for entry in logged] == [2, 4]
    rows = pd.read_csv(tmp_path / "eval" / "language_bias_evaluation_multilingual_results.csv")
    assert rows.columns.tolist() == ["epoch", "steps", *KEYS] and rows["steps"].tolist() == [2, 4]
    for key in KEYS:
        assert [entry[f"eval_multilingual_{key}"] for entry in logged] == pytest.approx(rows[key].tolist())
    assert trainer.state.best_metric == rows["multilingual_mAP"].max() and rows["multilingual_mAP"].nunique() == 2
    for weights, found in seen:  # without dropout, in the precision that was asked for
        fresh = model_of(tiny_encoder)
        fresh.load_state_dict(weights)
        assert found == LanguageBiasEvaluator(test_set, precision="fp32")(fresh)
    best = evaluate(trainer.model, test_set, precision="fp32").languages.loc["mean", "multilingual AP"]
    assert best == pytest.approx(trainer.state.best_metric), "the best checkpoint was loaded"
