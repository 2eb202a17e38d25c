"""What somebody does with the library that was installed alone: a sampler, a training, an evaluation, a remedy.

A program of its own, because it runs where neither the repository nor pytest is: in the environment that `test_wheel`
makes of the wheel, and with the lowest releases that the package allows (``tools/lowest.py``).
"""

import json
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

LANGUAGES = ("de", "en", "pt-BR")


def import_is_light():
    """Seconds that ``import hybridlib`` takes in a process that has nothing yet."""
    started = time.perf_counter()
    import hybridlib
    seconds = time.perf_counter() - started
    assert "torch" not in sys.modules and "pandas" not in sys.modules, "import hybridlib brings heavy modules"
    assert Path(hybridlib.__file__).is_relative_to(sysconfig.get_path("purelib")), hybridlib.__file__
    assert Path(hybridlib.__file__).with_name("py.typed").is_file()
    return seconds


def tiny_encoder(folder):
    """A SentenceTransformer with random weights: one layer, 16 wide, a vocabulary of words."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    torch.manual_seed(0)
    words = ["[PAD]", "[UNK]", "query", "passage", *map(str, range(40)), "de", "en", "pt", "BR"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]",
                            model_max_length=32).save_pretrained(folder)
    BertModel(BertConfig(vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                         intermediate_size=32, max_position_embeddings=32)).save_pretrained(folder)
    return SentenceTransformer(modules=[Transformer(str(folder)), Pooling(16, "mean"), Normalize()], device="cpu")


def groups_file(folder):
    """Parallel groups in three languages."""
    def texts(side, number):
        return {language: f"{side} {number} {language}" for language in LANGUAGES}
    groups = [{"id": str(i), "query": texts("query", i), "passage": texts("passage", i)} for i in range(40)]
    path = folder / "groups.jsonl"
    path.write_text("".join(json.dumps(group) + "\n" for group in groups), "utf-8")
    return path


def sampler(hl, path):
    """Batches of X-X and X-Y over a corpus from a file."""
    sampler = hl.LanguageBatchSampler([hl.read_groups(path)], "Hybrid", LANGUAGES, batch_size=8, steps=6, seed=0)
    kinds = {sampler.composition(step)[2] for step in range(len(sampler))}
    assert [len(batch) for batch in sampler] == [8] * 6 and kinds == {"X-X", "X-Y"}, kinds


def train(hl, model, path, folder):
    """A few steps with the trainer of sentence-transformers; the weights change."""
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments

    before = next(model.parameters()).detach().clone()
    SentenceTransformerTrainer(
        model=model, train_dataset=hl.parallel_dataset(path), loss=hl.info_nce(model, temperature=0.05),
        args=SentenceTransformerTrainingArguments(
            str(folder), batch_sampler=hl.language_batches("Hybrid"), max_steps=6, per_device_train_batch_size=8,
            learning_rate=1e-2, save_strategy="no", report_to=[], use_cpu=True, disable_tqdm=True)).train()
    assert (next(model.parameters()).detach() - before).abs().max() > 0


def evaluate(hl, model):
    """Four numbers with their intervals, of records in memory."""
    queries = [{"id": f"q{i}-{x}", "question": f"q{i}", "language": x, "text": f"query {i} {x}"}
               for i in range(12) for x in LANGUAGES]
    candidates = [{"id": f"c{i}-{x}", "language": x, "text": f"passage {i} {x}"} for i in range(12) for x in LANGUAGES]
    relevant = [(f"q{i}-{x}", f"c{i}-{y}") for i in range(12) for x in LANGUAGES for y in LANGUAGES]
    test_set = hl.TestSet.from_records("toy", queries=queries, candidates=candidates, relevant=relevant)
    headline = hl.evaluate(model, test_set, prompts=None, precision="fp32").headline
    assert list(headline.index) == ["monolingual AP", "crosslingual AP", "multilingual AP", "rank distance"]
    assert (headline["low"] <= headline["value"]).all() and (headline["value"] <= headline["high"]).all()
    return headline


def remedy(hl, model):
    """Vectors of several languages without the directions of language; the same from a model that holds the remedy."""
    import numpy as np

    languages = [language for language in LANGUAGES for _ in range(12)]
    texts = [f"passage {i % 12} {language}" for i, language in enumerate(languages)]
    vectors = model.encode(texts)
    erasure = hl.LanguageErasure.fit(vectors, languages)
    fixed = erasure.transform(vectors)
    assert fixed.shape == vectors.shape and np.allclose(np.linalg.norm(fixed, axis=1), 1, atol=1e-5)
    assert np.allclose(erasure.add_to(model).encode(texts), fixed, atol=1e-5)


def command_line():
    """The console script that the wheel brings."""
    script = Path(sysconfig.get_path("scripts"), "hybridlib.exe" if sys.platform == "win32" else "hybridlib")
    done = subprocess.run([script, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "evaluate" in done.stdout, done.stdout + done.stderr


def main():
    """Run all of it in a folder that goes away."""
    seconds = import_is_light()
    import hybridlib as hl

    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        model = tiny_encoder(folder / "encoder")
        path = groups_file(folder)
        sampler(hl, path)
        train(hl, model, path, folder / "training")
        print(evaluate(hl, model).round(3).to_string())
        remedy(hl, model)
    command_line()
    print(f"import hybridlib takes {seconds:.3f} s and brings neither torch nor pandas")
    assert seconds < 0.5


if __name__ == "__main__":
    main()
