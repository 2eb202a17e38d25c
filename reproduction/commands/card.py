"""A checkpoint to share: a folder that can be pushed to a hub as it is, with a card that says how it was made.

Two commands::

    python -m reproduction.commands.card --preset xquad --data DIR --sampling Hybrid --seed 0 --out my-model
    hf upload <name>/<model> my-model

The card is that of sentence-transformers, filled with what the run folder knows.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sentence_transformers import SentenceTransformer, SentenceTransformerModelCardData
from sentence_transformers.base.model_card import generate_model_card

from hybridlib import files
from hybridlib.errors import one_line_errors
from hybridlib.training import CrossingInfoNCE
from reproduction.findings import tables
from reproduction.run import Store, System
from reproduction.run.training import LOSSES
from reproduction.workspace import Workspace

_READING = {
    "values": "means over query languages",
    "brackets": "95 % intervals over articles, for this one training seed",
    "monolingual": "the candidates of the question's language",
    "cross-lingual": "the candidates of one other language",
    "multilingual": "one pool of all candidates",
    "rank distance": "worst minus best rank of a question's answers in the pool; lower is less language-biased"}


@dataclass(frozen=True)
class Evaluation:
    """One test set, as the card asks an evaluator of sentence-transformers about itself."""

    name: str
    description: str = "Information Retrieval"

    def get_config_dict(self) -> dict[str, str]:
        """How the table below is to be read."""
        return _READING


# What a loss reads beside a question and its passage (`hybridlib.training.PairDataset`).
_MORE_COLUMNS = {"english": ("english_query", "english_passage"), "parallel_query": ("parallel_query",)}


def _card(name: str, preset: str, run: Path, results: dict[str, dict[str, str]]) -> SentenceTransformerModelCardData:
    """What a run folder knows, where sentence-transformers' card has a place for it."""
    settings, made, model = (json.loads((run / file).read_text("utf-8")) for file in (
        "settings.json", "manifest.json", "model/config_sentence_transformers.json"))
    sampling, alpha, encoder = settings["sampling"], settings["alpha"], made["encoder"]
    mixed = "" if alpha is None else f" (a batch is in one language with probability {alpha})"
    several, data = settings.get("losses"), []
    for loss in several or [settings.get("loss")]:
        ours = LOSSES.get(loss) or (CrossingInfoNCE if settings.get("temperature_crossing") is not None else None)
        fullname = f"hybridlib.training.{ours.__name__}" if ours else (
            "sentence_transformers.sentence_transformer.losses.MultipleNegativesRankingLoss")
        columns = ["query", "passage", *_MORE_COLUMNS.get(getattr(ours, "needs", None), ())]
        data += [{"name": f"{file} (sha256 {digest[:12]}…)", "columns": columns, "loss": {"fullname": fullname}}
                 for file, digest in settings["data"]]
    card = SentenceTransformerModelCardData(
        model_name=name, language=settings["languages"], train_datasets=data, local_files_only=True,
        task_name=f"retrieval within a language, across languages and over a pool of many. It was fine-tuned with "
                  f"**{sampling}** batches{mixed} from {encoder}, to reproduce arXiv 2408.10536 (which languages meet "
                  "in a training batch); any language of that encoder can be encoded")
    card.add_tags(["retrieval", "arxiv:2408.10536"])
    # Not a name at the hub before it is pushed there: the folder's name is what the card's lines can load.
    card.model_id, card.ir_model = name, True
    best = [*zip(made["best_step"], made["best_validation_loss"], strict=True)] if several else [
        (made["best_step"], made["best_validation_loss"])]
    steps = settings["steps"] if several else made["steps_run"]
    kept = " and ".join(f"{step} of {steps} (lowest English validation loss, {loss:.3f})" for step, loss in best)
    card.non_default_hyperparameters = {
        "preset": preset, "seed": settings["seed"], "sampling": sampling, "alpha": alpha,
        "kept step": kept + ("; the mean of their weights" if several else ""),
        "precision": f"{made['precision']} on {made['device']}", "prompts": model["prompts"]}
    card.all_hyperparameters = settings
    card.eval_results_dict = {Evaluation(test_set): numbers for test_set, numbers in results.items()}
    card.citations = {"The paper": "@misc{hybrid2024, eprint = {2408.10536}, archivePrefix = {arXiv}, year = {2024}}"}
    return card


def write(store: Store, system: System, seed: int, folder: str | Path) -> Path:
    """Copy a run's model to ``folder`` and write its card, ``README.md``.

    Parameters
    ----------
    store : Store
    system : System
        A trained one, without a remedy.
    seed : int
    folder : path
        Must not be there yet.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ValueError, FileExistsError, FileNotFoundError, OSError
        If the system is no training run, the folder is there, the run is not, or there is no room.
    """
    folder, run = Path(folder), store.run_folder(system, seed)
    if not system.is_trained or system.remedy:
        raise ValueError(f"{system}: only a trained model can be shared, and without a remedy, which is no part of it")
    if folder.exists():
        raise FileExistsError(f"{folder} is there already; choose another folder, or remove it")
    results = {name: tables.headline(store.results([seed], name, [system])).iloc[0].to_dict()
               for name in store.test_sets}
    card = _card(folder.name, store.preset.name, run, results)
    model = SentenceTransformer(str(run / "model"), device="cpu", model_card_data=card, local_files_only=True)
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)  # of one that was killed
    try:
        with files.room(folder):
            shutil.copytree(run / "model", temporary)
            (temporary / "README.md").write_text(generate_model_card(model), "utf-8")
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m reproduction.commands.card", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="mini")
    parser.add_argument("--data", type=Path, help="folder of the preset's data, where it needs one")
    parser.add_argument("--sampling", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="a new folder; its name is the model's")
    parser.add_argument("--runs", type=Path, help="where the run folders are (default: runs/)")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="to evaluate on, if that is not done")
    chosen = parser.parse_args(arguments)
    with one_line_errors():
        store = Store.open(chosen.preset, Workspace(data=chosen.data, runs=chosen.runs, device=chosen.device))
        print(write(store, System.parse(chosen.sampling), chosen.seed, chosen.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
