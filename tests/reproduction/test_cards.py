"""A checkpoint to share says what it is."""

import re
import shutil

import numpy as np
import pytest
import yaml
from conftest import ROOT
from huggingface_hub import ModelCard
from sentence_transformers import SentenceTransformer

from hybridlib import files
from hybridlib.evaluation import HEADLINE, macro
from reproduction.commands import card
from reproduction.run import HYBRID, UNTRAINED, Store, System
from reproduction.workspace import Workspace


@pytest.fixture
def store(tmp_path, tiny_encoder):
    """A preset over the committed test articles, with one trained run: the tiny encoder as it is."""
    config = yaml.safe_load((ROOT / "configs" / "mini.yaml").read_text("utf-8"))
    config |= {"encoder": str(tiny_encoder), "trainable_layers": None, "precision": "fp32"}
    for entry in (*config["data"]["training"], config["data"]["selection"], *config["data"]["benchmarks"]):
        entry["file"] = str(ROOT / entry["file"])
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "toy.yaml").write_text(yaml.safe_dump(config), "utf-8")
    store = Store.open("toy", Workspace(root=tmp_path))
    run = store.run_folder(HYBRID, 0)
    model = SentenceTransformer(str(tiny_encoder), device="cpu")
    model.prompts = {"query": "query: ", "document": "passage: "}
    model.save(str(run / "model"), create_model_card=False)
    files.write_json(run / "settings.json", store.preset.choices(HYBRID, 0))
    files.write_json(run / "manifest.json", {
        "encoder": "tiny", "best_step": 20, "steps_run": 40, "best_validation_loss": 0.98, "precision": "fp32",
        "device": "cpu"})
    return store


def test_a_folder_that_can_be_pushed(store, tmp_path, monkeypatch):
    folder = card.write(store, HYBRID, 0, tmp_path / "my-model")
    written = ModelCard.load(folder / "README.md")
    numbers = {result.metric_type: result.metric_value for result in written.data.eval_results}
    results = store.results([0], "mini", [HYBRID])
    assert numbers == {measure.title: round(macro(results, measure.name).item(), measure.digits)
                       for measure in HEADLINE}
    assert written.data.language == store.preset.config["languages"]
    assert {"arxiv:2408.10536", "sentence-transformers"} <= set(written.data.tags)
    digest = store.preset.entries["training"][0]["sha256"]
    for fact in ("fine-tuned with **Hybrid** batches (a batch is in one language with probability 0.5) from tiny, ",
                 "- `sampling`: Hybrid", "- `alpha`: 0.5", "- `seed`: 0", "- `preset`: toy",
                 "- `kept step`: 20 of 40 (lowest English validation loss, 0.980)", "- `temperature`: 0.01",
                 "- `prompts`: {'document': 'passage: ', 'query': 'query: '}", f"(sha256 {digest[:12]}…)",
                 "95 % intervals over articles, for this one training seed"):
        assert fact in written.content, fact
    for title, number in numbers.items():
        assert re.search(rf"\| {title} +\| {number}0* \[", written.content), title

    # The card's own lines, as they stand, where the folder is.
    lines = written.content.split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    ran = {}
    exec(lines, ran)
    assert 'SentenceTransformer("my-model")' in lines
    assert np.allclose(ran["query_embeddings"], ran["model"].encode([f"query: {x}" for x in ran["queries"]]))
    assert np.allclose(ran["document_embeddings"], ran["model"].encode([f"passage: {x}" for x in ran["documents"]]))


@pytest.mark.parametrize(("change", "loss", "columns"), [
    ("", "MultipleNegativesRankingLoss", "query and passage"),
    (" temperature_crossing=0.05", "hybridlib.training.CrossingInfoNCE", "query and passage"),
    (" loss=centred pair_per_batch=true", "hybridlib.training.CentredInfoNCE", "query and passage"),
    (" losses=[info_nce,embedding_distillation]", "MultipleNegativesRankingLoss", "query and passage"),
    (" losses=[info_nce,embedding_distillation]", "hybridlib.training.EnglishEmbeddingDistillation",
     "query, passage, english_query, and english_passage"),
    (" loss=embedding_distillation", "hybridlib.training.EnglishEmbeddingDistillation",
     "query, passage, english_query, and english_passage")])
def test_the_loss_is_named_with_what_it_reads(store, tmp_path, change, loss, columns):
    system = System.parse(f"Hybrid{change}")
    if change:
        shutil.copytree(store.run_folder(HYBRID, 0), store.run_folder(system, 0))
        files.write_json(store.run_folder(system, 0) / "settings.json", store.preset.choices(system, 0))
    if "losses" in change:
        facts = store.run_folder(system, 0) / "manifest.json"
        of_both = {"best_step": [10, 20], "best_validation_loss": [0.5, 0.25], "steps_run": 80}
        files.write_json(facts, yaml.safe_load(facts.read_text()) | of_both)
    written = (card.write(store, system, 0, tmp_path / "my-model") / "README.md").read_text("utf-8")
    assert re.search(rf"Loss: .*{loss}", written)
    assert ("20 of 40 (lowest English validation loss, 0.250); the mean of their weights" in written) == (
        "losses" in change)
    # The library leaves the columns out where it has nothing to say of the loss.
    assert f"Columns: {columns}\n" in written.replace("<code>", "").replace("</code>", "")


def test_the_weights_are_those_of_the_run(store, tmp_path):
    folder, model = card.write(store, HYBRID, 0, tmp_path / "my-model"), store.run_folder(HYBRID, 0) / "model"
    same = {file.relative_to(model): file.read_bytes() for file in model.rglob("*") if file.is_file()}
    assert {file: (folder / file).read_bytes() for file in same} == same


def test_nothing_is_overwritten_or_made_up(store, tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(FileExistsError, match="there already"):
        card.write(store, HYBRID, 0, tmp_path / "there")
    with pytest.raises(FileNotFoundError, match="train it first"):
        card.write(store, HYBRID, 1, tmp_path / "other")
    for system in (UNTRAINED, System.parse("Hybrid + subspace")):
        with pytest.raises(ValueError, match="only a trained model"):
            card.write(store, system, 0, tmp_path / "other")
    assert not (tmp_path / "other").exists()
