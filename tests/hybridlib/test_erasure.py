"""The erasure is one affine map that makes the languages' means one, by hand and by the model's own modules."""

import importlib.util
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import save_file
from sentence_transformers import SentenceTransformer, SparseEncoder
from sentence_transformers.base.modules import Router
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

from hybridlib import encoding
from hybridlib.debiasing import LanguageErasure, language_means, language_told, neighbours_in_own_language, unit
from hybridlib.debiasing.dial import numbers
from hybridlib.evaluation import per_query

LANGUAGES = ("de", "en", "zul")


def vectors(seed=0, counts=(40, 40, 40), width=32, shift=3.0):
    """Random unit vectors with an offset per language, and their languages, mixed."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(LANGUAGES, counts))
    offsets = {x: shift * rng.standard_normal(width) for x in LANGUAGES}
    return unit(1 + rng.standard_normal((len(labels), width)) + np.stack([offsets[x] for x in labels])), labels


def test_by_hand():
    """Two languages that differ along the first axis, and share (0, .5): half of it goes, and all of the first."""
    texts = np.array([[0.5, 0.5], [-0.5, 0.5]] * 10) * [[1.2, 0.4]] + 0
    erasure = LanguageErasure.fit(texts @ np.eye(2, 3), ["de", "en"] * 10)
    # Unit length first: (.6, .2) is (.9487, .3162), and the mean that both have is (0, .3162, 0).
    np.testing.assert_allclose(np.abs(erasure.directions), [[1, 0, 0]], atol=1e-6)
    np.testing.assert_allclose(erasure.mean, [0, 0.316228, 0], atol=1e-6)
    weight, bias = erasure.affine()
    np.testing.assert_allclose(weight, np.diag([0, 1, 1]), atol=1e-6)
    np.testing.assert_allclose(bias, [0, -0.158114, 0], atol=1e-6)
    # (0, 3, 4) has unit length as (0, .6, .8); less the bias (0, .441886, .8), whose length is .913919.
    np.testing.assert_allclose(erasure.transform(np.array([[0.0, 3, 4]])), [[0, 0.483507, 0.875351]], atol=1e-5)
    half, bias = replace(erasure, strength=0.5).affine()
    np.testing.assert_allclose(half, np.diag([0.5, 1, 1]), atol=1e-6)
    np.testing.assert_allclose(bias, [0, -0.079057, 0], atol=1e-6)


def test_the_means_of_languages_are_one_before_the_last_unit_length():
    texts, languages = vectors()
    weight, bias = LanguageErasure.fit(texts, languages, mean_share=1.0).affine()
    means = np.stack(list(language_means(texts, languages).values()))
    assert np.linalg.norm(means - means.mean(0), axis=1).min() > 0.3
    # With all of the common mean subtracted as well they are not only the same, but zero.
    np.testing.assert_allclose(means @ weight.T + bias, 0, atol=1e-6)


def test_at_strength_0_nothing_changes():
    texts, languages = vectors()
    np.testing.assert_allclose(LanguageErasure.fit(texts, languages, strength=0).transform(7 * texts), texts, atol=1e-6)


def test_a_language_with_most_of_the_documents_weighs_no_more():
    """The same documents, those of one language twenty times over: the same map, at every strength."""
    texts, languages = vectors()
    times = np.where(languages == "en", 20, 1)
    even, uneven = (LanguageErasure.fit(x, y, strength=0.6) for x, y in (
        (texts, languages), (texts.repeat(times, axis=0), languages.repeat(times))))
    for a, b in zip(even.affine(), uneven.affine(), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-6)
    assert not np.allclose(texts.mean(0), texts.repeat(times, axis=0).mean(0), atol=0.05), "the corpora's means differ"


def test_languages_with_equal_means_cost_no_direction():
    texts, languages = vectors()
    twin = np.concatenate([languages, ["nso"] * (languages == "en").sum()])
    erasure = LanguageErasure.fit(np.concatenate([texts, texts[languages == "en"]]), twin)
    assert erasure.directions.shape == (2, 32)
    with pytest.raises(ValueError, match="the means of 2 languages differ in 0 directions of 32: nothing tells them"):
        LanguageErasure.fit(np.concatenate([texts, texts]), ["de"] * 120 + ["en"] * 120)


@pytest.mark.parametrize(("change", "reason"), [
    (lambda x, y: (x[:0], y[:0]), r"vectors have the shape \(0, 32\)"),
    (lambda x, y: (x[0], y[:1]), r"vectors have the shape \(32,\)"),
    (lambda x, y: (x, y[:-1]), "120 vectors and 119 languages"),
    (lambda x, y: (np.where(np.arange(120)[:, None] == 7, np.nan, x), y), "1 of 120 vectors are not finite or all zero,"
                                                                          " the first in row 7"),
    (lambda x, y: (np.where(np.arange(120)[:, None] > 117, 0, x), y), "2 of 120 .* the first in row 118"),
    (lambda x, y: (x, ["en"] * 120), "documents in en: two languages or more"),
    (lambda x, y: (x, np.where(y == "en", "English", y)), "'English': no language code such as de"),
    (lambda x, y: (x, np.where(y == "en", None, y)), "None: no language code"),
    (lambda x, y: (x, np.where(y == "en", float("nan"), y.astype(object))), "None: no language code"),
    (lambda x, y: (x[:20], ["en"] * 11 + ["de"] * 9), "de has 9: at least 10 documents of each language"),
    (lambda x, y: (x[:, :2], y), "the means of 3 languages differ in 2 directions of 2: nothing would be left"),
])
def test_what_cannot_be_fitted_is_refused(change, reason):
    with pytest.raises(ValueError, match=reason):
        LanguageErasure.fit(*change(*vectors()))


@pytest.mark.parametrize("name", ["strength", "mean_share"])
@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan")])
def test_the_dial_ends_at_0_and_1(name, value):
    with pytest.raises(ValueError, match=f"{name} is {value}, and has to be from 0 to 1"):
        LanguageErasure.fit(*vectors(), **{name: value})


def test_what_cannot_be_transformed_is_refused():
    erasure = LanguageErasure.fit(*vectors())
    with pytest.raises(ValueError, match="vectors are 16 wide, and this map was fitted on vectors 32 wide"):
        erasure.transform(np.ones((3, 16)))
    with pytest.raises(ValueError, match="1 of 2 vectors are not finite or all zero, the first in row 1"):
        erasure.transform(np.stack([np.ones(32), np.full(32, np.inf)]))


def test_saved_and_loaded_it_is_the_same(tmp_path):
    erasure = LanguageErasure.fit(*vectors(), strength=0.7, mean_share=0.25)
    erasure.save(tmp_path / "new" / "erasure.safetensors")
    loaded = LanguageErasure.load(tmp_path / "new" / "erasure.safetensors")
    assert (loaded.strength, loaded.mean_share, set(loaded.languages)) == (0.7, 0.25, set(LANGUAGES))
    np.testing.assert_array_equal(loaded.transform(np.eye(32)), erasure.transform(np.eye(32)))


def test_another_file_is_refused(tmp_path):
    file = tmp_path / "x.safetensors"
    with pytest.raises(FileNotFoundError, match=r"x\.safetensors: no such file"):
        LanguageErasure.load(file)
    file.write_text("no tensors")
    with pytest.raises(ValueError, match=r"x\.safetensors: not a safetensors file"):
        LanguageErasure.load(file)
    save_file({"directions": np.eye(2), "mean": np.zeros(2)}, file)
    with pytest.raises(ValueError, match=r"x\.safetensors: holds directions, mean, no language erasure"):
        LanguageErasure.load(file)


TEXTS = ["1 2 3", "passage 7", "199", "query : 5 6 7 8 9 10 11"]


def fitted(model, **options):
    rng = np.random.default_rng(0)
    texts = {x: [f"{x} {number}" for number in rng.permutation(200)[:15]] for x in ("de", "en", "zh")}
    return LanguageErasure.fit_model(model, texts, precision="fp32", **options)


@pytest.fixture
def model(tiny_encoder):
    return SentenceTransformer(str(tiny_encoder), device="cpu", prompts={"query": "query: ", "document": "passage: "})


def router(folder):
    second = Transformer(str(folder))
    with torch.no_grad():
        for parameter in second.parameters():
            parameter.mul_(1.5)
    return SentenceTransformer(modules=[Router.for_query_document(
        [Transformer(str(folder)), Pooling(32)], [second, Pooling(32)])], device="cpu")


@pytest.mark.parametrize("kind", ["as it is", "not of unit length", "cut", "router", "dot"])
def test_a_model_with_the_map_gives_what_transform_gives(model, tiny_encoder, tmp_path, kind):
    match kind:
        case "not of unit length":
            model = SentenceTransformer(modules=list(model)[:2], device="cpu", prompts=model.prompts)
        case "cut":
            model.truncate_dim = 24
        case "router":
            model = router(tiny_encoder)
        case "dot":
            model.similarity_fn_name = "dot"
    erasure = fitted(model)
    made, before = erasure.add_to(model), len(model)
    made.save_pretrained(str(tmp_path / "saved"), create_model_card=False)
    for other in (made, SentenceTransformer(str(tmp_path / "saved"), device="cpu")):
        for method in ("encode_query", "encode_document"):
            plain = getattr(model, method)(TEXTS)
            found = getattr(other, method)(TEXTS)
            assert found.shape == plain.shape and np.abs(found - unit(plain)).max() > 1e-3
            np.testing.assert_allclose(found, erasure.transform(plain), atol=1e-6)
        assert other.similarity_fn_name == model.similarity_fn_name and other.prompts == model.prompts
    assert len(model) == before and made[0] is model[0], "the given one is as it was, and shares its modules"


def test_the_folder_loads_without_this_package(model, tmp_path):
    made = fitted(model).add_to(model)
    made.save_pretrained(str(tmp_path / "saved"), create_model_card=False)
    program = ("import sys; sys.modules['hybridlib'] = None\n"
               "import numpy as np; from sentence_transformers import SentenceTransformer\n"
               f"model = SentenceTransformer({str(tmp_path / 'saved')!r}, device='cpu')\n"
               f"np.save({str(tmp_path / 'found.npy')!r}, model.encode_query({TEXTS!r}))")
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, cwd=tmp_path)
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), made.encode_query(TEXTS), atol=1e-6)


@pytest.mark.skipif(not all(map(importlib.util.find_spec, ("onnx", "onnxscript", "onnxruntime"))),
                    reason="onnx, onnxscript and onnxruntime are not installed")
def test_the_whole_model_goes_to_onnx(model, tmp_path):
    import onnxruntime

    class Embedded(torch.nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, input_ids, attention_mask):
            return self.model({"input_ids": input_ids, "attention_mask": attention_mask})["sentence_embedding"]

    made = fitted(model).add_to(model)
    features = made.preprocess(TEXTS)
    names = ["input_ids", "attention_mask"]
    torch.onnx.export(Embedded(made).eval(), tuple(features[name] for name in names), str(tmp_path / "model.onnx"),
                      input_names=names, dynamo=True)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (found,) = session.run(None, {name: features[name].numpy() for name in names})
    np.testing.assert_allclose(found, made.encode(TEXTS), atol=1e-5)


def test_a_map_that_does_not_fit_the_model_is_refused(model):
    with pytest.raises(ValueError, match="the model's vectors are 32 wide, and this map was fitted on vectors 16 wide"):
        LanguageErasure.fit(*vectors(width=16)).add_to(model)
    lengths = SentenceTransformer(modules=list(model)[:2], device="cpu", similarity_fn_name="dot")
    with pytest.raises(ValueError, match="the model ranks by 'dot', lengths included"):
        LanguageErasure.fit(*vectors()).add_to(lengths)
    with pytest.raises(TypeError, match="a SparseEncoder gives no dense vectors"):
        LanguageErasure.fit(*vectors()).add_to(SparseEncoder.__new__(SparseEncoder))


def test_a_model_is_fitted_on_each_document_once_with_its_prompt(model):
    texts = {x: [f"{x} {number}" for number in range(start, start + 12)] for x, start in (("de", 0), ("en", 90))}
    flat = [text for own in texts.values() for text in own]
    labels = np.repeat(["de", "en"], 12)
    mine = LanguageErasure.fit_model(model, {"de": [*texts["de"], *texts["de"][:4]], "en": texts["en"]},
                                     precision="fp32")
    np.testing.assert_allclose(mine.mean, LanguageErasure.fit(model.encode_document(flat), labels).mean, atol=1e-5)
    assert not np.allclose(mine.mean, LanguageErasure.fit(model.encode_query(flat), labels).mean, atol=1e-3)
    other = LanguageErasure.fit_model(model, texts, prompt="query: ", precision="fp32")
    np.testing.assert_allclose(other.mean, LanguageErasure.fit(
        encoding.encode(model, flat, "query: ", role="document")[0], labels).mean, atol=1e-5)
    with pytest.raises(ValueError, match="en has 9: at least 10"):
        LanguageErasure.fit_model(model, {"de": flat, "en": [*flat[:9], *flat[:9]]})


def test_neighbours_by_hand():
    """On a line of angles 0, 1, 2 (de) and 10, 12 (en) degrees, two neighbours each."""
    angles = np.radians([0, 1, 2, 10, 12])
    lines = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    # de: two of two, thrice; en: the other one, and a de. By chance 2 of 4 and 1 of 4.
    assert neighbours_in_own_language(lines, ["de", "de", "de", "en", "en"], k=2) == pytest.approx((0.75, 0.375))


def test_a_linear_classifier_tells_what_is_left():
    every, labels = vectors(1, (1000, 1000, 1000), shift=1.0)
    texts, languages = every[2400:], labels[2400:]
    half = np.arange(600) % 2 == 0
    told = [language_told(x[half], languages[half], x[~half], languages[~half])
            for x in (texts, LanguageErasure.fit(every[:2400], labels[:2400]).transform(texts),
                      LanguageErasure.fit(every[:45], labels[:45]).transform(texts))]
    assert told[0][0] > 0.95 and told[0][1] == pytest.approx(1 / 3)
    # Fitted on many others nearly all goes; fitted on few, more is left.
    assert abs(told[1][0] - 1 / 3) < 0.12 and told[2][0] > told[1][0] + 0.15


def test_the_largest_language_is_not_what_a_classifier_says_of_all():
    texts, languages = vectors(2, (400, 40, 40), shift=0.35)
    half = np.arange(480) % 2 == 0
    assert language_told(texts[half], languages[half], texts[~half], languages[~half])[0] > 0.6


def test_a_second_map_does_not_replace_the_first(tiny_encoder, tmp_path):
    model = SentenceTransformer(str(tiny_encoder), device="cpu")
    texts = [f"{n} {n + 3}" for n in range(40)]
    first = LanguageErasure.fit(model.encode(texts), ["de", "en"] * 20)
    once = first.add_to(model)
    second = LanguageErasure.fit(once.encode(texts), ["de"] * 20 + ["en"] * 20)
    expected = second.transform(first.transform(model.encode(texts)))
    assert np.abs(expected - second.transform(model.encode(texts))).max() > 1e-3, "the case shows nothing"
    second.add_to(once).save_pretrained(str(tmp_path))
    for made in (second.add_to(once), SentenceTransformer(str(tmp_path), device="cpu")):
        np.testing.assert_allclose(made.encode(texts), expected, atol=1e-6)


def test_the_given_model_keeps_its_modes(tiny_encoder):
    model = SentenceTransformer(str(tiny_encoder), device="cpu").train()
    model[0].eval()
    vectors_ = model.encode([f"{n} {n + 3}" for n in range(20)])
    model.train()
    model[0].eval()
    before = {name: module.training for name, module in model.named_modules()}
    LanguageErasure.fit(vectors_, ["de", "en"] * 10).add_to(model)
    assert {name: module.training for name, module in model.named_modules()} == before


def test_vectors_in_half_precision():
    texts, languages = vectors(3)
    erasure = LanguageErasure.fit(texts, languages)
    # Squares of these do not fit a float16.
    long = (500 * texts).astype(np.float16)
    np.testing.assert_allclose(erasure.transform(long), erasure.transform(texts), atol=2e-3)


def test_where_the_own_language_stands_by_hand():
    ranks = pd.DataFrame({
        "question": ["a", "a", "a", "b", "b", "c", "c"], "cluster": "x",
        "query_language": ["de", "de", "de", "de", "de", "en", "en"],
        "language": ["de", "de", "en", "de", "en", "de", "en"], "grade": [1, 1, 1, 1, 1, 1, 0],
        "rank_in_language": [3, 1, 1, 1, 1, 2, 0], "rank_in_pool": [7, 3, 1, 1, 2, 2, 0], "top10": 0})
    # Of a and b the own answers stand at 3 and 1; c has nothing in its own language.
    found = numbers(per_query(ranks))
    assert found["own language, median rank"] == 2 and found["own language first"] == 0.5
