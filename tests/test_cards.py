"""A checkpoint to share says what it is."""

import numpy as np
import pytest
from huggingface_hub import ModelCard
from sentence_transformers import SentenceTransformer
from test_explore import toy_preset

from hybridlib import cards, metrics, runs


@pytest.fixture
def preset(tmp_path, tiny_encoder):
    made = toy_preset(tmp_path, tiny_encoder)
    for sampling in ("X-X", "X-Y", "Hybrid"):
        folder = made.run_folder(sampling, 0)
        model = SentenceTransformer(str(folder / "model"), device="cpu")
        model.prompts = {"query": "query: ", "document": "passage: "}
        model.save(str(folder / "model"), create_model_card=False)
        runs.write_json(folder / "manifest.json", {
            "encoder": "tiny", "best_step": 20, "steps_run": 40, "best_validation_loss": 0.98, "precision": "fp32",
            "device": "cpu"})
    return made


def test_a_folder_that_can_be_pushed(preset, tmp_path):
    folder = cards.write(preset, "Hybrid", 0, tmp_path / "my-model")
    card = ModelCard.load(folder / "README.md")
    numbers = {result.metric_type: result.metric_value for result in card.data.eval_results}
    by_language = metrics.per_language(metrics.per_query(preset.ranks("Hybrid", 0)))
    assert numbers == {"monolingual mAP": round(by_language["monolingual AP"].mean(), 4),
                       "cross-lingual mAP": round(by_language["crosslingual AP"].mean(), 4),
                       "multilingual mAP": round(by_language["multilingual AP"].mean(), 4),
                       "rank distance": round(by_language["rank distance"].mean(), 4)}
    assert card.data.language == preset.config["languages"]
    for fact in ("**Hybrid** batches (a batch is in one language with probability 0.5)", "seed 0, kept step 20 of 40",
                 "temperature: 0.01", preset.config["data"]["training"][0]["sha256"][:12], '"query: "', '"passage: "',
                 f"| Hybrid | {numbers['monolingual mAP']:.3f} ["):
        assert fact in card.content, fact
    # The card's own lines, run on the folder.
    model = SentenceTransformer(str(folder), device="cpu")
    assert np.allclose(model.encode_query(["1 en"]), model.encode(["query: 1 en"]))
    assert np.allclose(model.encode_document(["1 en"]), model.encode(["passage: 1 en"]))


def test_nothing_is_overwritten_or_made_up(preset, tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(FileExistsError, match="there already"):
        cards.write(preset, "Hybrid", 0, tmp_path / "there")
    with pytest.raises(FileNotFoundError, match="train it first"):
        cards.write(preset, "Hybrid", 1, tmp_path / "other")
    assert not (tmp_path / "other").exists()
