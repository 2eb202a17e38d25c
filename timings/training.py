"""What a training step of ours costs against sentence-transformers' own trainer with its default sampler.

    python timings/training.py                              # two cores: e5-small, batches of 32
    python timings/training.py --device cuda --batch 100    # a GPU: e5-small and XLM-R base's shape

Both trainers train the same encoder on the same pairs of our own corpus with the same arguments, in turn and several
times. Theirs draws its batches from the materialised pairs of all languages; ours draws one of its own by LAReQA's
mixed X-X, which costs what it costs, and is then given theirs, so that tokens and padding are the same. Counted are
the real tokens of a step, and its seconds without the first steps. On a GPU also:
peak memory, the share of the bf16 rate that the card reaches in one large matrix product of the same run, with and
without compilation. Writes ``timings/training.<device>.json``.
"""

import argparse
import gc
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from transformers import BertConfig, BertModel, PrinterCallback, TrainerCallback

from hybridlib import encoding, files
from hybridlib.training import LanguageBatchSampler, LanguageBatchTrainer, Pair, freeze, info_nce
from reproduction.run import Preset, check_device

SKIPPED = 3  # steps that warm up


class Clock(TrainerCallback):
    """The batches, their real tokens, and when each step ended: making its batch is part of what it costs."""

    def __init__(self, device):
        self.device, self.ends, self.tokens, self.batches = device, [], [], []

    def on_step_end(self, args, state, control, **kwargs):
        """Note the time, once the device is done."""
        if self.device == "cuda":
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())

    def counting(self, collator):
        """The collator of a trainer, noting each batch and how many tokens it has."""
        clock = self

        class Counting(type(collator)):
            def __call__(self, features):
                batch = super().__call__(features)
                clock.batches.append([(row["query"], row["passage"]) for row in features])
                clock.tokens.append(sum(int(v.sum()) for k, v in batch.items() if k.endswith("attention_mask")))
                return batch
        collator.__class__ = Counting

    def tokens_per_second(self):
        """Without the first steps."""
        return sum(self.tokens[SKIPPED:len(self.ends)]) / (self.ends[-1] - self.ends[SKIPPED - 1])


class Replaying(LanguageBatchSampler):
    """Draws its batches, and serves those that another trainer had."""

    def batch(self, step):
        """Batch ``step`` of the other trainer, after drawing one's own."""
        super().batch(step)
        return self.served[step]


def encoder(shape, device):
    """e5-small, or an encoder of XLM-R base's shape with random weights and the same tokenizer."""
    model, _ = encoding.load(max_length=64)
    if shape == "XLM-R base":
        torch.manual_seed(0)
        model[0].model = BertModel(BertConfig(vocab_size=250_037, type_vocab_size=2), add_pooling_layer=False)
    return model.to(device)


def measure(ours, shape, chosen, corpora, pairs, served=None, compiled=False):
    """Train so many steps by one of the two trainers; ours on the batches ``served``. Returns its `Clock`."""
    gc.collect()  # a trainer and its model refer to each other
    if chosen.device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    model = encoder(shape, chosen.device)
    freeze(model, chosen.layers)
    with tempfile.TemporaryDirectory() as folder:
        arguments = SentenceTransformerTrainingArguments(
            output_dir=folder, max_steps=chosen.steps, per_device_train_batch_size=chosen.batch, seed=0,
            use_cpu=chosen.device == "cpu", bf16=encoding.in_bfloat16("auto", chosen.device), save_strategy="no",
            report_to="none", disable_tqdm=True, logging_steps=1, torch_compile=compiled,
            prompts={"query": encoding.Prompts.query, "passage": encoding.Prompts.passage},
            dataloader_pin_memory=chosen.device == "cuda", accelerator_config={"split_batches": True})
        loss = info_nce(model, 0.01)
        if ours:
            sampler = Replaying(corpora, "X-X mixed", corpora[0].languages, chosen.batch, chosen.steps, 0)
            sampler.served = served
            trainer = LanguageBatchTrainer(model=model, args=arguments, sampler=sampler, loss=loss, selection_loss=loss)
        else:
            trainer = SentenceTransformerTrainer(model=model, args=arguments, train_dataset=pairs, loss=loss)
        trainer.remove_callback(PrinterCallback)
        clock = Clock(chosen.device)
        clock.counting(trainer.data_collator)
        trainer.add_callback(clock)
        trainer.train()
    clock.peak = torch.cuda.max_memory_allocated() / 2**30 if chosen.device == "cuda" else None
    return clock


def operations(model, length):
    """Floating-point operations per token of a training step: 6 per weight of the layers, and the attention."""
    layers = model[0].auto_model.encoder.layer
    weights = sum(p.numel() for p in layers.parameters() if p.ndim == 2)
    return 6 * weights + 12 * len(layers) * length * model[0].auto_model.config.hidden_size


def peak_rate(size=8192, repeats=20):
    """Operations per second of one large bf16 matrix product on the GPU."""
    a = torch.randn(size, size, dtype=torch.bfloat16, device="cuda")
    for _ in range(3):
        a @ a
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(repeats):
        a @ a
    torch.cuda.synchronize()
    return repeats * 2 * size**3 / (time.perf_counter() - started)


def main():
    """Measure, print, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--layers", type=int, help="how many of the top layers are trained; default all")
    parser.add_argument("--repeats", type=int, default=3)
    chosen = parser.parse_args()
    check_device(chosen.device)
    corpora = Preset("mini").training_sets
    places = [Pair(0, group, x, x, None) for x in corpora[0].languages for group in range(len(corpora[0]))]
    rows = [corpora[0].pair(*place[1:]) for place in places]
    place_of = {(row["query"], row["passage"]): place for row, place in zip(rows, places, strict=True)}
    pairs = Dataset.from_list(rows)
    found = {"batch": chosen.batch, "steps": chosen.steps - SKIPPED, "repeats": chosen.repeats,
             "threads": torch.get_num_threads()}
    if chosen.device == "cuda":
        found |= {"card": torch.cuda.get_device_name(), "bf16 product, Tflop/s": peak_rate() / 1e12}
    for shape in ["e5-small"] + ["XLM-R base"] * (chosen.device == "cuda"):
        rates, peak = {True: [], False: []}, None
        # The first run warms the machine up; its batches are those of every later one.
        first = measure(False, shape, chosen, corpora, pairs)
        served = [[place_of[texts] for texts in batch] for batch in first.batches[:chosen.steps]]
        for repeat in range(chosen.repeats):
            for ours in (True, False) if repeat % 2 else (False, True):
                clock = measure(ours, shape, chosen, corpora, pairs, served)
                if clock.tokens[:chosen.steps] != first.tokens[:chosen.steps]:
                    raise RuntimeError("the two trainers had different batches")
                rates[ours].append(clock.tokens_per_second())
                peak = clock.peak if ours else peak
                print(f"{shape}, {'ours' if ours else 'theirs'}: {rates[ours][-1]:.0f} tokens/s", flush=True)
        ratios = np.divide(rates[True], rates[False])
        found[shape] = {"tokens per second": float(np.median(rates[True])), "against theirs": {
            "median": float(np.median(ratios)), "low": float(ratios.min()), "high": float(ratios.max())}}
        if chosen.device == "cuda":
            compiled = measure(True, shape, chosen, corpora, pairs, served, compiled=True).tokens_per_second()
            share = operations(encoder(shape, "cpu"), 40) / peak_rate()
            found[shape] |= {"tokens per second, compiled": compiled,
                             "share of the product's rate": found[shape]["tokens per second"] * share,
                             "share, compiled": compiled * share,
                             "peak memory, GiB": peak}
    files.write_json(Path(__file__).with_name(f"training.{chosen.device}.json"), found)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
