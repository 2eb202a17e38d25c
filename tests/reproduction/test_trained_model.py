"""What a training hands on: a model with its own maximum of tokens and its own prompts."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sentence_transformers import SentenceTransformer

from hybridlib import encoding
from hybridlib.training import selection_of
from reproduction.run import sampler_of, training


@pytest.fixture
def selection(complete_corpus):
    return selection_of(complete_corpus.select(range(50, 60)))


def with_prompts(encoder, folder, prompts):
    """A copy of an encoder that names prompts of its own, and drops nothing out."""
    model = SentenceTransformer(str(encoder), device="cpu", prompts=prompts)
    model[0].auto_model.config.update({"hidden_dropout_prob": 0, "attention_probs_dropout_prob": 0})
    model.save(str(folder), create_model_card=False)
    return str(folder)


def test_it_is_saved_with_the_maximum_of_tokens_of_its_encoder(tmp_path, tiny_settings, complete_corpus, selection):
    assert tiny_settings.max_length == 16
    folder = training.train(tmp_path / "run", tiny_settings, [complete_corpus], selection)
    for model in (encoding.load(str(folder / "model"))[0], SentenceTransformer(str(folder / "model"), device="cpu")):
        assert model.max_seq_length == 64
        long = " ".join(map(str, range(40)))
        cut, whole = model.encode([" ".join(long.split()[:16]), long])
        assert np.abs(cut - whole).max() > 1e-3
    assert json.loads((folder / "manifest.json").read_text("utf-8"))["max_tokens"] == 64


@pytest.mark.parametrize(("prompts", "expected"), [
    ({"query": "1 2 ", "document": ""}, encoding.Prompts("1 2 ", "")),
    (None, encoding.E5_PROMPTS)])
def test_it_is_trained_and_saved_with_its_own_prompts(tmp_path, tiny_settings, complete_corpus, selection, prompts,
                                                      expected):
    settings = replace(tiny_settings, encoder=with_prompts(tiny_settings.encoder, tmp_path / "encoder", prompts))
    folder = training.train(tmp_path / "run", settings, [complete_corpus], selection)
    assert encoding.Prompts.of(encoding.load(str(folder / "model"))[0]) == expected
    # The first loss by hand: the passages of the batch against each other, with these prompts.
    model, _ = encoding.load(settings.encoder, settings.max_length)
    pairs = [complete_corpus.pair(*pair[1:]) for pair in sampler_of(settings, [complete_corpus]).batch(0)]
    queries, passages = (torch.as_tensor(model.encode([prompt + pair[side] for pair in pairs]))
                         for side, prompt in (("query", expected.query), ("passage", expected.passage)))
    loss = torch.nn.functional.cross_entropy(queries @ passages.T / settings.temperature, torch.arange(len(pairs)))
    assert pd.read_csv(folder / "losses.csv")["loss"][0] == pytest.approx(loss.item(), abs=1e-3)
