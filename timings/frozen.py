"""What the frozen layers cost in a training step, and what two ways around them would bring.

    python timings/frozen.py            # writes timings/frozen.json

Steps of preset mini (Hybrid, seed 0) on the same batches, three times in turn, from the same weights:

as trained
    Dropout in all layers, the frozen ones too: how every run of this repository was trained.
no dropout below
    The frozen layers in evaluation mode. What they compute of a text is then always the same.
states stored
    The same, with their states computed beforehand; that is not counted. A text recurs some six times over nine runs.

Printed and written are ratios to "as trained", the median with the lowest and the highest, and how far the losses of
the last two differ.
"""

import argparse
import copy
import statistics
import time
from itertools import islice
from pathlib import Path

import torch

from hybridlib import encoding, files
from hybridlib.training import freeze
from reproduction.run import HYBRID, Store
from reproduction.run.training import texts_of

WAYS = ("as trained", "no dropout below", "states stored")
SKIPPED = 1  # steps that warm up


class Given(torch.nn.Module):
    """In place of token embeddings: what is given is what comes out."""

    def forward(self, *args, inputs_embeds=None, **kwargs):
        """Hand on."""
        return inputs_embeds


def batches_of(preset, steps):
    """The texts of the first steps of a run with their prompts: ``[(queries, passages), …]``."""
    settings, prompts = preset.settings(HYBRID, 0), encoding.E5_PROMPTS
    return [([prompts.query + text for text in batch["query"]], [prompts.passage + text for text in batch["passage"]])
            for batch in islice(texts_of(settings, preset.sets_of(settings)), steps)]


def run(way, batches, settings, bf16):
    """Seconds a step and the losses of one way."""
    model, _ = encoding.load(settings.encoder, settings.max_length)
    freeze(model, settings.trainable_layers)
    transformer, stored = model[0].auto_model, [[None, None]] * len(batches)
    below = len(transformer.encoder.layer) - settings.trainable_layers
    features = [[model.preprocess(texts) for texts in batch] for batch in batches]
    cast = torch.autocast("cpu", torch.bfloat16, enabled=bf16)
    model.train()
    if way != "as trained":
        transformer.embeddings.eval()
        transformer.encoder.layer[:below].eval()
    if way == "states stored":
        lower = copy.deepcopy(transformer)
        lower.encoder.layer = lower.encoder.layer[:below]
        with torch.no_grad(), cast:
            stored = [[lower.eval()(input_ids=side["input_ids"], attention_mask=side["attention_mask"])
                       .last_hidden_state for side in batch] for batch in features]
        transformer.embeddings, transformer.encoder.layer = Given(), transformer.encoder.layer[below:]
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=settings.learning_rate)
    seconds, losses = [], []
    for step, (batch, states) in enumerate(zip(features, stored, strict=True)):
        torch.manual_seed(step)
        started = time.perf_counter()
        with cast:
            sides = []
            for side, state in zip(batch, states, strict=True):
                given = {"input_ids": side["input_ids"]} if state is None else {"inputs_embeds": state}
                tokens = transformer(**given, attention_mask=side["attention_mask"]).last_hidden_state
                pooled = model[1]({"token_embeddings": tokens, "attention_mask": side["attention_mask"]})
                sides.append(torch.nn.functional.normalize(pooled["sentence_embedding"].float(), dim=1))
            scores = sides[0] @ sides[1].T / settings.temperature
            loss = torch.nn.functional.cross_entropy(scores, torch.arange(len(scores)))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - started)
        losses.append(loss.item())
    return statistics.fmean(seconds[SKIPPED:]), losses


def main():
    """Measure, print, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    chosen = parser.parse_args()
    preset = Store.open("mini").preset
    settings, bf16 = preset.settings(HYBRID, 0), encoding.in_bfloat16("auto", "cpu")
    batches = batches_of(preset, chosen.steps)
    found = [{way: run(way, batches, settings, bf16) for way in WAYS} for _ in range(chosen.repeats)]
    facts = {"steps": chosen.steps, "repeats": chosen.repeats, "threads": torch.get_num_threads(),
             "cpu": torch.backends.cpu.get_cpu_capability(), "precision": "bf16" if bf16 else "fp32",
             "seconds a step, as trained": statistics.median(one["as trained"][0] for one in found)}
    for way in WAYS[1:]:
        ratios = sorted(one["as trained"][0] / one[way][0] for one in found)
        facts[way] = {"median": statistics.median(ratios), "low": ratios[0], "high": ratios[-1]}
        print(f"{way}: {facts[way]['median']:.2f} times as fast ({ratios[0]:.2f} to {ratios[-1]:.2f})")
    facts["losses differ"] = max(abs(a - b) for one in found
                                 for a, b in zip(one[WAYS[1]][1], one[WAYS[2]][1], strict=True))
    print(f"losses of the last two differ by {facts['losses differ']:.1e} at most")
    files.write_json(Path(__file__).with_suffix(".json"), facts)


if __name__ == "__main__":
    main()
