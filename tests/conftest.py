"""Small data and models that the tests share. Nothing here needs a hub."""

import json
import socket
from pathlib import Path

import numpy as np
import pytest

from hybridlib.data import read_groups
from reproduction.run import TrainingSettings

ROOT = Path(__file__).resolve().parent.parent
# The real benchmarks lie beside a checkout where this project is developed; elsewhere tests of them skip.
SHARED = ROOT.parent / "shared" / "data"
NINE = ("ar", "de", "en", "es", "hi", "ru", "th", "tr", "zh")


@pytest.fixture
def write_lines(tmp_path):
    """Write records (or raw lines) as JSON Lines; returns the path."""
    def write(name, lines):
        path = tmp_path / name
        path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines),
                        "utf-8")
        return path
    return write


def group(number, query_languages, passage_languages=None, passage=None):
    """One record in the groups format, every text of its own."""
    passages = query_languages if passage_languages is None else passage_languages
    return {"id": f"g{number}", "query": {x: f"query {number} {x}" for x in query_languages},
            "passage": {x: f"passage {number if passage is None else passage} {x}" for x in passages}}


@pytest.fixture
def make_corpus(write_lines):
    """A ParallelCorpus of records in the groups format."""
    def make(records, name="toy"):
        return read_groups(write_lines(f"{name}.jsonl", records))
    return make


@pytest.fixture
def complete_corpus(make_corpus):
    """60 groups, complete in nine languages; groups 0 and 1 share their passage."""
    return make_corpus([group(i, NINE, passage=0 if i == 1 else i) for i in range(60)], "complete")


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory):
    """Folder of a SentenceTransformer with random weights: two layers, 32 wide, a word vocabulary."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    torch.manual_seed(0)
    words = ["[PAD]", "[UNK]", "query", "passage", ":", *map(str, range(200)), *NINE]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    folder = tmp_path_factory.mktemp("encoder")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]",
                            model_max_length=64).save_pretrained(folder / "hf")
    BertModel(BertConfig(vocab_size=len(words), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
                         intermediate_size=64, max_position_embeddings=64)).save_pretrained(folder / "hf")
    SentenceTransformer(modules=[Transformer(str(folder / "hf")), Pooling(32, "mean"), Normalize()],
                        device="cpu").save(str(folder / "model"), create_model_card=False)
    return folder / "model"


@pytest.fixture
def tiny_settings(tiny_encoder):
    """Settings of a run of a few steps on the tiny encoder."""
    return TrainingSettings(
        encoder=str(tiny_encoder), sampling="Hybrid", alpha=0.5, seed=3, languages=NINE, pair_per_batch=False,
        when_unable="error", hard_negatives=False, batch_size=8, steps=12, temperature=0.05, learning_rate=1e-3,
        weight_decay=0.01, warmup_steps=2, max_length=16, trainable_layers=None, eval_steps=4, patience=10,
        precision="fp32")


@pytest.fixture
def unit_vectors():
    """Random unit vectors in float32."""
    def make(rng, count, width=16):
        vectors = rng.standard_normal((count, width))
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return make


@pytest.fixture
def offline(monkeypatch):
    """Every attempt to open a connection fails the test, a caught one too."""
    attempts = []

    def refuse(*args, **kwargs):
        attempts.append(args)
        raise OSError("the test is offline")
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    yield
    assert not attempts
