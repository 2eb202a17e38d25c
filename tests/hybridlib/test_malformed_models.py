"""A model folder damaged in every file: refused in one line that names the folder, or read for a reason given here."""

import json
import shutil

import numpy as np
import pytest

from hybridlib import encoding

FILES = ("1_Pooling/config.json", "2_Normalize/config.json", "config.json", "config_sentence_transformers.json",
         "model.safetensors", "modules.json", "sentence_bert_config.json", "tokenizer.json", "tokenizer_config.json")


@pytest.fixture
def damaged(tiny_encoder, tmp_path):
    """Load a copy in which a file has other bytes, None for none; returns what it embeds, or the error's message."""
    def outcome(file, content):
        folder = tmp_path / "model"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(tiny_encoder, folder)
        (folder / file).unlink()
        if content is not None:
            (folder / file).write_bytes(content)
        try:
            model, _ = encoding.load(str(folder))
            return model.encode(["query: 5 7"])
        except (OSError, ValueError) as error:
            said = str(error)
            assert said.startswith(f"{folder}: ") and said.isprintable() and len(said) < 1000, said
            return said
    return outcome


# Without these the library's own settings hold, and they are the same: no prompts, 64 positions, no settings.
@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("damage", ["removed", "emptied", "halved", "null", "7", "not UTF-8"])
def test_a_file_that_is_none(tiny_encoder, damaged, file, damage):
    whole = (tiny_encoder / file).read_bytes()
    found = damaged(file, {"removed": None, "emptied": b"", "halved": whole[:len(whole) // 2], "null": b"null",
                           "7": b"7", "not UTF-8": b"\xff"}[damage])
    optional = {"2_Normalize/config.json", "config_sentence_transformers.json", "sentence_bert_config.json",
                "tokenizer_config.json"}
    may_be_read = (damage == "removed" and file in optional) or (damage, file) == ("null", "sentence_bert_config.json")
    assert isinstance(found, str) or (may_be_read and found.shape == (1, 32) and np.isfinite(found).all()), found


@pytest.mark.parametrize(("file", "field", "other"), [
    ("1_Pooling/config.json", "embedding_dimension", -1), ("1_Pooling/config.json", "embedding_dimension", 16),
    ("1_Pooling/config.json", "embedding_dimension", "x"), ("1_Pooling/config.json", "embedding_dimension", None),
    ("1_Pooling/config.json", "pooling_mode", []), ("1_Pooling/config.json", "pooling_mode", "x"),
    ("2_Normalize/config.json", "module_input_name", None), ("2_Normalize/config.json", "module_output_name", []),
    ("config.json", "num_attention_heads", -1), ("config.json", "num_attention_heads", 5),
    ("config.json", "num_hidden_layers", -1), ("config.json", "num_hidden_layers", 0),
    ("config.json", "num_hidden_layers", 1), ("config.json", "num_hidden_layers", 3),
    ("config.json", "hidden_size", "32"), ("config.json", "hidden_size", 16), ("config.json", "vocab_size", 10),
    ("config.json", "dtype", "x"), ("config.json", "hidden_act", "x"), ("config.json", "model_type", "x"),
    ("config_sentence_transformers.json", "prompts", []), ("config_sentence_transformers.json", "model_type", 7),
    ("config_sentence_transformers.json", "default_prompt_name", "x"),
    ("sentence_bert_config.json", "module_output_name", "x"), ("sentence_bert_config.json", "modality_config", {}),
    ("sentence_bert_config.json", "transformer_task", None), ("tokenizer.json", "model", {}),
    ("tokenizer_config.json", "tokenizer_class", 7)])
def test_a_field_of_another_kind(tiny_encoder, damaged, file, field, other):
    settings = json.loads((tiny_encoder / file).read_text("utf-8"))
    assert isinstance(damaged(file, json.dumps(settings | {field: other}).encode()), str)


def test_one_byte_of_the_weights_head_that_is_another(tiny_encoder, damaged):
    """The head of a safetensors file says what its bytes are; behind it a byte may be any."""
    whole, rng = (tiny_encoder / "model.safetensors").read_bytes(), np.random.default_rng(5)
    refused = 0
    for _ in range(15):
        content = bytearray(whole)
        content[rng.integers(8, 400)] ^= int(rng.integers(1, 256))
        refused += isinstance(damaged("model.safetensors", bytes(content)), str)
    assert refused >= 12
