"""Many kinds of model folder: each is read as its authors mean, or refused by name; numbers that lie are refused."""

import json
import shutil
import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer, SparseEncoder
from sentence_transformers.base.modules import Router
from sentence_transformers.sentence_transformer.modules import (
    Dense,
    Normalize,
    Pooling,
    StaticEmbedding,
    Transformer,
    WordEmbeddings,
)
from sentence_transformers.sentence_transformer.modules.tokenizer import WhitespaceTokenizer
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2Model,
    RobertaConfig,
    RobertaModel,
)

from hybridlib import encoding
from hybridlib.data import TestSet
from hybridlib.encoding import Prompts
from hybridlib.evaluation import evaluate, rank

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "query", "passage", ":", *map(str, range(200))]
PROMPTS = {"query": "query: ", "document": "passage: "}


def texts():
    """From one word to a hundred, a few of them twice."""
    rng = np.random.default_rng(0)
    found = [" ".join(map(str, rng.integers(200, size=size))) for size in (1, 2, 3, 5, 8, 13, 21, 34, 55, 100)]
    return found + found[:3]


def words():
    """A tokenizer in ``tokenizers``' own form, a word a token."""
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def checkpoint(folder, model, longest=64, **tokenizer):
    """A transformers checkpoint of a model, and its tokenizer."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0, 0.2)
    backend = words()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
                            sep_token="[SEP]", model_max_length=longest, **tokenizer).save_pretrained(folder)
    model.save_pretrained(folder)
    return folder


def bert(folder, longest=64, positions=64, cls=BertModel, **options):
    return checkpoint(folder, cls(BertConfig(
        vocab_size=len(WORDS), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=positions, **options)), longest)


def roberta(folder):
    return checkpoint(folder, RobertaModel(RobertaConfig(
        vocab_size=len(WORDS), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=34, pad_token_id=1)), 512)


def decoder(folder):
    return checkpoint(folder, Qwen2Model(Qwen2Config(
        vocab_size=len(WORDS), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2,
        intermediate_size=64, max_position_embeddings=64)), padding_side="left")


def made(*modules, **options):
    return SentenceTransformer(modules=list(modules), device="cpu", **{"prompts": PROMPTS} | options)


def half(folder):
    bert(folder)
    save_file({name: tensor.half() for name, tensor in load_file(folder / "model.safetensors").items()},
              folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"dtype": "float16", "torch_dtype": "float16"}))


def dense(width=24):
    torch.manual_seed(1)
    return Dense(32, width)


def two_ways(folder):
    """Queries and documents by weights of their own."""
    paths = bert(folder / "a"), bert(folder / "b")
    second = Transformer(str(paths[1]))
    with torch.no_grad():
        for parameter in second.parameters():
            parameter.mul_(1.5)
    return made(Router.for_query_document([Transformer(str(paths[0])), Pooling(32)], [second, Pooling(32)]))


def word_vectors():
    torch.manual_seed(2)
    vocabulary = [word for word in WORDS if word != ":"]
    return made(WordEmbeddings(WhitespaceTokenizer(vocabulary, stop_words=[]), torch.randn(len(vocabulary), 16)),
                Pooling(16))


def plain(folder, *modules, pooling="mean", include_prompt=True, **options):
    return made(Transformer(str(bert(folder))), Pooling(32, pooling, include_prompt=include_prompt), *modules,
                **options)


KINDS = {
    "plain": lambda folder: plain(folder, Normalize()),
    "cls pooling": lambda folder: plain(folder, pooling="cls"),
    "mean and max": lambda folder: plain(folder, pooling=("mean", "max")),
    "Dense behind pooling": lambda folder: plain(folder, dense(), Normalize()),
    "truncate_dim": lambda folder: plain(folder, Normalize(), truncate_dim=7),
    "own short maximum": lambda folder: made(Transformer(str(bert(folder, longest=9))), Pooling(32)),
    "few positions": lambda folder: made(Transformer(str(bert(folder, longest=512, positions=32))), Pooling(32)),
    "few positions, counted from the padding": lambda folder: made(Transformer(str(roberta(folder))), Pooling(32)),
    "include_prompt false": lambda folder: plain(folder, include_prompt=False),
    "include_prompt false, first token": lambda folder: plain(folder, pooling="cls", include_prompt=False),
    "empty document prompt": lambda folder: plain(folder, prompts=PROMPTS | {"document": "", "passage": "passage: "}),
    "a default prompt": lambda folder: plain(folder, prompts=PROMPTS | {"x": "1 2: "}, default_prompt_name="x"),
    "no prompts": lambda folder: plain(folder, prompts=None),
    "Router": two_ways,
    "StaticEmbedding": lambda folder: made(StaticEmbedding(words(), torch.randn(len(WORDS), 16).numpy())),
    "word embeddings": lambda folder: word_vectors(),
    "fp16 weights": half,
    "decoder, padded on the left": lambda folder: made(Transformer(str(decoder(folder))), Pooling(32, "lasttoken")),
    "transformers checkpoint": bert,
    "transformers checkpoint of a language model": lambda folder: bert(folder, cls=BertForMaskedLM) and None,
}
SLOW = {"Router": "Router", "StaticEmbedding": "StaticEmbedding", "word embeddings": "WordEmbeddings"}


@pytest.fixture(params=KINDS)
def kind(request, tmp_path):
    """Name of a kind, and a folder of it."""
    model = KINDS[request.param](tmp_path / "parts")
    if not isinstance(model, SentenceTransformer):
        return request.param, str(tmp_path / "parts")
    model.save(str(tmp_path / "model"), create_model_card=False)
    shutil.rmtree(tmp_path / "parts", ignore_errors=True)
    return request.param, str(tmp_path / "model")


def embedded(model, role, dtype=torch.float32):
    """Our embeddings of the texts, and the warnings on the way."""
    prompts = Prompts.of(model)
    prompt = prompts.query if role == "query" else prompts.passage
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        (found,), counts = encoding.encode_all(encoding.Siblings([model], dtype), texts(), prompt, 256, role=role)
    assert counts["texts"] == 13 and counts["distinct"] == 10 and 10 < counts["tokens"] <= counts["padded_tokens"]
    return found, [str(warning.message) for warning in said if "own methods" in str(warning.message)]


@pytest.mark.parametrize("role", ["query", "document"])
def test_it_is_embedded_as_by_its_own_methods_or_said_to_be_slow(kind, role):
    name, folder = kind
    model, source = encoding.load(folder)
    assert source == folder
    found, said = embedded(model, role)
    own = {"query": model.encode_query, "document": model.encode_document}[role]
    np.testing.assert_allclose(found, own(texts(), normalize_embeddings=True), atol=1e-5)
    assert len(said) == (name in SLOW)
    if said:
        assert said[0].endswith(f" is encoded by its own methods, which is slower: it begins with {SLOW[name]}")


def test_in_bfloat16_the_same_way_is_taken(kind):
    name, folder = kind
    model, _ = encoding.load(folder)
    exact, _ = embedded(model, "query")
    rough, said = embedded(model, "query", torch.bfloat16)
    assert len(said) == (name in SLOW) and (exact * rough).sum(1).min() > 0.99
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_the_maximum_of_tokens_is_the_models_own(tmp_path):
    for kind, most in (("plain", 64), ("own short maximum", 9), ("few positions", 32),
                       ("few positions, counted from the padding", 32)):
        folder = tmp_path / kind
        KINDS[kind](folder / "parts").save(str(folder / "model"), create_model_card=False)
        assert encoding.load(str(folder / "model"))[0].max_seq_length == most
        assert encoding.load(str(folder / "model"), max_length=20)[0].max_seq_length == min(20, most)
        assert encoding.load(str(folder / "model"), max_length=512)[0].max_seq_length == most
    with pytest.raises(ValueError, match="max_length is 0, and has to be at least 1"):
        encoding.load(str(folder / "model"), max_length=0)
    KINDS["StaticEmbedding"](tmp_path).save(str(tmp_path / "static"), create_model_card=False)
    with pytest.raises(ValueError, match="static: StaticEmbedding has no maximum of tokens; max_length cannot be set"):
        encoding.load(str(tmp_path / "static"), max_length=20)


class Backwards(Transformer):
    """A way of reading that nobody foresaw."""

    def preprocess(self, inputs, prompt=None, **kwargs):
        return super().preprocess([" ".join(reversed(text.split())) for text in inputs], prompt=prompt, **kwargs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_way_that_nobody_foresaw_is_noticed(tmp_path, dtype):
    model = made(Backwards(str(bert(tmp_path))), Pooling(32))
    model.train()
    found, said = embedded(model, "query", dtype)
    assert len(said) == 1 and "which is slower: the fast encoder differs on " in said[0]
    assert model.training, "the model itself is left as it was"
    own = model.encode_query(texts(), normalize_embeddings=True)
    np.testing.assert_allclose(found, own, atol=1e-5 if dtype == torch.float32 else 0.05)


def test_half_precision_in_memory_is_compared_in_full(tmp_path):
    model = plain(tmp_path).half()
    assert embedded(model, "query")[1] == []
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float16}


def test_prompts_of_the_user_come_before_the_models(tmp_path):
    model = plain(tmp_path, include_prompt=False)
    for prompt in ("", "5 6: "):
        (found,), _ = encoding.encode_all(encoding.Siblings([model]), texts(), prompt, role="query")
        np.testing.assert_allclose(found, model.encode_query(texts(), prompt=prompt, normalize_embeddings=True),
                                   atol=1e-5)


def test_settings_of_siblings_that_differ_are_refused(tmp_path):
    models = [plain(tmp_path / "a"), plain(tmp_path / "b", truncate_dim=8)]
    with pytest.raises(ValueError, match=r"second and first cannot be encoded together: .* \(64, 8, 'cosine'\) and "
                                         r"\(64, None, 'cosine'\)"):
        encoding.Siblings(models, names=["first", "second"])


# Folders that are something else, or not whole.

def without_a_layer(folder):
    """Weights under names that nobody looks for."""
    bert(folder)
    save_file({name.replace("layer.1.", "block.1."): tensor
               for name, tensor in load_file(folder / "model.safetensors").items()},
              folder / "model.safetensors", {"format": "pt"})


def sparse(folder):
    SparseEncoder(str(bert(folder / "parts", cls=BertForMaskedLM)), device="cpu").save(str(folder))


def sparse_of_an_older_release(folder):
    sparse(folder)
    config = json.loads((folder / "config_sentence_transformers.json").read_text())
    del config["model_type"]
    (folder / "config_sentence_transformers.json").write_text(json.dumps(config))


def without_tokenizer(folder):
    bert(folder)
    for file in folder.glob("tokenizer*"):
        file.unlink()


def pointer(folder):
    bert(folder)
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 1\n")


REFUSED = {
    "weights under other names": (without_a_layer, "16 of the weights of a BertModel are not in its files, the first "
                                                   "'encoder.layer.1.attention.output.LayerNorm.bias'"),
    "sparse": (sparse, "a SparseEncoder, which gives no dense embeddings"),
    "sparse, of an older release": (sparse_of_an_older_release, "has SpladePooling, which gives sparse embeddings"),
    "cross-encoder": (lambda folder: bert(folder, cls=BertForSequenceClassification),
                      "a BertForSequenceClassification, which gives no dense embeddings"),
    "no tokenizer": (without_tokenizer, "its tokenizer knows no words; are the files of the tokenizer missing"),
    "a pointer to weights": (pointer, "cannot be loaded: SafetensorError"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_it_is_refused_by_name(kind, tmp_path):
    make, reason = REFUSED[kind]
    make(tmp_path / "model")
    with pytest.raises(ValueError, match=f"model: {reason}") as found:
        encoding.load(str(tmp_path / "model"))
    assert len(str(found.value).splitlines()) == 1


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "no object"])
def test_damaged_folders_are_refused_in_one_line_or_read_as_they_are(tmp_path, damage):
    model = KINDS["Dense behind pooling"](tmp_path / "parts")
    model.save(str(tmp_path / "whole"), create_model_card=False)
    read = []
    for file in sorted(path for path in (tmp_path / "whole").rglob("*") if path.is_file()):
        place = str(file.relative_to(tmp_path / "whole"))
        shutil.copytree(tmp_path / "whole", tmp_path / "model")
        (tmp_path / "model" / place).write_bytes(
            {"cut": file.read_bytes()[:file.stat().st_size // 2], "no object": b"7"}.get(damage, b""))
        if damage == "missing":
            (tmp_path / "model" / place).unlink()
        try:
            encoding.load(str(tmp_path / "model"))
            read.append(place)
        except (OSError, ValueError) as error:
            assert str(error).startswith(f"{tmp_path / 'model'}: ") and len(str(error).splitlines()) == 1
        shutil.rmtree(tmp_path / "model")
    # What may be missing has a default.
    assert damage == "missing" or not read
    assert set(read) <= {"config_sentence_transformers.json", "sentence_bert_config.json", "tokenizer_config.json",
                         "3_Normalize/config.json"}


def test_names_that_are_none(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="the name of a model is empty"):
        encoding.load("")
    bert(tmp_path / "me@v2")
    monkeypatch.chdir(tmp_path)
    assert encoding.load("me@v2")[1] == "me@v2", "a folder, not a name on the hub"


def test_a_sparse_encoder_in_memory_is_refused(tmp_path):
    model = SparseEncoder(str(bert(tmp_path, cls=BertForMaskedLM)), device="cpu")
    with pytest.raises(TypeError, match="a SparseEncoder cannot be evaluated here; a SentenceTransformer can"):
        evaluate(model, small())


# Another similarity than the cosine.

@pytest.mark.parametrize(("similarity", "unit", "refused"), [
    ("dot", False, True), ("euclidean", False, True), ("manhattan", True, True), ("dot", True, False),
    ("euclidean", True, False)])
def test_another_similarity_is_refused_where_it_makes_a_difference(tmp_path, similarity, unit, refused):
    model = plain(tmp_path / "parts", *[Normalize()] * unit, similarity_fn_name=similarity)
    model.save(str(tmp_path / "model"), create_model_card=False)
    model, _ = encoding.load(str(tmp_path / "model"))
    if not refused:
        assert embedded(model, "query")[1] == [] and embedded(model, "query", torch.bfloat16)[1] == []
        return
    with pytest.raises(ValueError, match=f"its similarity_fn_name is '{similarity}' .*Set similarity_fn_name to 'cos"):
        encoding.encode(model, texts(), "")
    model.similarity_fn_name = "cosine"
    assert len(encoding.encode(model, texts(), "")[0]) == 13


# Numbers that lie.

def small():
    return TestSet.from_parallel("small", ["de", "en"], [(f"q{n}", "a", "de", f"{n} 150", n) for n in range(6)],
                                 [("a", x, f"{n} 17") for x in ("de", "en") for n in range(6)])


def spoiled(folder, value, word="17"):
    """A model that gives no number where a word occurs."""
    model = plain(folder)
    with torch.no_grad():
        model[0].auto_model.embeddings.word_embeddings.weight[WORDS.index(word)] = value
    return model


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_a_number_is_refused_with_name_and_text(tmp_path, value):
    model = spoiled(tmp_path, value)
    chosen = ["1 2", "3 17", "4 17", "3 17", "5"]
    reason = "of 4 embeddings are not a number, infinite or all zero, the first that of '3 17'"
    with pytest.raises(ValueError, match=f"^SentenceTransformer: 2 {reason}$"):
        encoding.encode(model, chosen, "")
    good = plain(tmp_path / "good")
    with pytest.raises(ValueError, match=f"^bad: 2 {reason}$"):
        encoding.encode_all(encoding.Siblings([good, model], names=["good", "bad"]), chosen, "")
    with pytest.raises(ValueError, match=r"6 of 6 embeddings are not .*, the first that of '0 17'$"):
        evaluate(model, small())


def test_zeros_and_the_vanishing_are_refused(tmp_path):
    for weight in (0, 1e-30):
        model = plain(tmp_path, dense())
        with torch.no_grad():
            for parameter in model[2].parameters():
                parameter.fill_(weight)
        with pytest.raises(ValueError, match=r"13 of 13 embeddings are not a number, infinite or all zero.*1 2 3 4 5 "
                                             r"6 .*…'$"):
            encoding.encode(model, [f"{n} " + " ".join(map(str, range(1, 50))) for n in range(13)], "")


def test_a_lone_surrogate_and_no_text_are_refused(tmp_path):
    model = plain(tmp_path)
    with pytest.raises(ValueError, match=r"'1 \\ud83d' cannot be encoded: it has a lone surrogate, U\+D83D"):
        encoding.encode(model, ["2", "1 \ud83d"], "")
    with pytest.raises(ValueError, match="no texts to encode"):
        encoding.encode(model, [], "")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0])
def test_rows_without_a_rank_are_refused(unit_vectors, value):
    vectors = unit_vectors(np.random.default_rng(0), 20)
    damaged = vectors.copy()
    damaged[[3, 7]] = value
    relevant, blocks = [(0, 3), (1, 7)], [slice(0, 20)]
    with pytest.raises(ValueError, match="2 of 20 queries are not finite or all zero and cannot be ranked: row 3, 7$"):
        rank(damaged, vectors, relevant, blocks)
    with pytest.raises(ValueError, match="2 of 20 candidates are not finite or all zero .*: row 3, 7$"):
        rank(vectors, damaged, relevant, blocks)
    damaged[:] = value
    with pytest.raises(ValueError, match=r"20 of 20 queries .*: row 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, …$"):
        rank(damaged, vectors, relevant, blocks)
