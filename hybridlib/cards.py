"""A checkpoint to share: a folder that can be pushed to a hub as it is, with a card that says how it was made.

Two commands::

    python -m hybridlib.cards --preset xquad --data DIR --sampling Hybrid --seed 0 --out my-model
    hf upload <name>/<model> my-model
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from hybridlib import tables
from hybridlib.presets import ROOT, Preset

_TEXT = """---
{data}
---

# {name}

A multilingual dual encoder for retrieval, fine-tuned from {encoder} with **{sampling}** batches{alpha}, to reproduce
arXiv 2408.10536 (which languages meet in a training batch). Trained on {languages}; any language of the encoder can be
encoded.

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("{name}")
queries = model.encode_query(["…"])       # puts "{query}" in front
passages = model.encode_document(["…"])   # puts "{passage}" in front
scores = model.similarity(queries, passages)
```

## Training

Preset `{preset}`, seed {seed}, kept step {best_step} of {steps_run} (lowest English validation loss
{best_validation_loss:.3f}), {precision} on {device}.

{settings}

## Evaluation

Mean over query languages; in brackets 95 % intervals over articles, for this one training seed. Monolingual: the
candidates of the question's language. Cross-lingual: of one other language. Multilingual: one pool of all. Rank
distance: worst minus best rank of a question's answers in the pool, lower is less language-biased.

{results}
"""


def write(preset, system, seed, folder):
    """Copy a run's model to ``folder`` and write its card, ``README.md``.

    Parameters
    ----------
    preset : hybridlib.presets.Preset
    system : str
        A trained one: see `hybridlib.presets.Preset.settings`.
    seed : int
    folder : path
        Must not be there yet.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    FileExistsError, FileNotFoundError
        If the folder is there, or the run is not.
    """
    folder = Path(folder)
    if folder.exists():
        raise FileExistsError(f"{folder} is there already; choose another folder, or remove it")
    results = {name: preset.results([seed], name, [system]) for name in preset.benchmarks}
    run = preset.run_folder(system, seed)
    settings, made = (json.loads((run / f"{file}.json").read_text("utf-8")) for file in ("settings", "manifest"))
    shown = {name: value for name, value in settings.items() if name not in ("data", "languages", "seed", "alpha")}
    shown["training data"] = ", ".join(f"{file} (sha256 {digest[:12]}…)" for file, digest in settings["data"])
    prompts = json.loads((run / "model" / "config_sentence_transformers.json").read_text("utf-8"))["prompts"]
    alpha = settings["alpha"]
    text = _TEXT.format(
        data=_data(folder.name, settings, results).to_yaml(), name=folder.name, preset=Path(preset.name).name,
        alpha="" if alpha is None else f" (a batch is in one language with probability {alpha})",
        settings="\n".join(f"- {name}: {value}" for name, value in shown.items()),
        results="\n\n".join(f"**{name}**\n\n{tables.as_markdown(tables.headline(table))}"
                            for name, table in results.items()),
        query=prompts["query"], passage=prompts["document"], sampling=settings["sampling"], seed=seed,
        languages=" ".join(settings["languages"]),
        **{name: made[name] for name in ("encoder", "best_step", "steps_run", "best_validation_loss", "precision",
                                         "device")})
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(run / "model", temporary)
    ModelCard(text).save(temporary / "README.md")
    temporary.rename(folder)
    return folder


def _data(name, settings, results):
    """The card's metadata: what a hub can sort by."""
    found = []
    for benchmark, table in results.items():
        for measure, title in tables.HEADLINE.items():
            value = table.groupby("query_language")[measure].mean().mean()
            found.append(EvalResult(
                task_type="information-retrieval", dataset_type=benchmark, dataset_name=benchmark, metric_type=title,
                metric_value=round(float(value), 4), metric_name=title))
    return ModelCardData(
        model_name=name, language=settings["languages"], library_name="sentence-transformers",
        pipeline_tag="sentence-similarity", tags=["sentence-transformers", "arxiv:2408.10536", "retrieval"],
        eval_results=found)


def main(arguments=None):
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m hybridlib.cards", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="mini")
    parser.add_argument("--data", type=Path, help="folder of the preset's data, where it needs one")
    parser.add_argument("--sampling", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="a new folder; its name is the model's")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs", help="where the run folders are")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="to evaluate on, if that is not done")
    chosen = parser.parse_args(arguments)
    try:
        preset = Preset(chosen.preset, data=chosen.data, runs_folder=chosen.runs, device=chosen.device)
        print(write(preset, chosen.sampling, chosen.seed, chosen.out))
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
