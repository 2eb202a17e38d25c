"""Settings and data to a run folder, by sentence-transformers' own trainer."""

import json
import math
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import torch
from accelerate import PartialState
from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer import losses
from transformers import EarlyStoppingCallback, PrinterCallback, TrainerCallback, TrainerControl, TrainerState

from hybridlib import devices, encoding, files
from hybridlib.data import ParallelCorpus
from hybridlib.errors import RunError
from hybridlib.training import (
    CLEAR,
    AnchoredInfoNCE,
    CentredInfoNCE,
    CrossingInfoNCE,
    EnglishEmbeddingDistillation,
    EnglishRankingDistillation,
    LaKDA,
    LanguageBatchSampler,
    LanguageBatchTrainer,
    PairDataset,
    Progress,
    average_weights,
    freeze,
    info_nce,
)
from reproduction.run import folder as run_folder
from reproduction.run.settings import TrainingSettings

# The losses that are not the library's, by their names in the settings.
LOSSES = {"centred": CentredInfoNCE, "distillation": EnglishRankingDistillation,
          "embedding_distillation": EnglishEmbeddingDistillation, "anchored": AnchoredInfoNCE,
          "centred_anchored": AnchoredInfoNCE, "lakda": LaKDA, "clear": CLEAR}


class _Finite(TrainerCallback):
    """Stops a run whose loss is no number any more: what follows would be noise, saved as a model."""

    def __init__(self, name: str):
        self.name = name

    def on_log(self, args: SentenceTransformerTrainingArguments, state: TrainerState, control: TrainerControl,
               logs: dict[str, float] | None = None, **kwargs: object) -> None:
        for loss in ("loss", "eval_loss"):
            if not math.isfinite((logs or {}).get(loss, 0)):
                kind = "training" if loss == "loss" else "validation"
                raise RunError(f"{self.name}: the {kind} loss at step {state.global_step} is {logs[loss]}; take a "
                               f"lower learning_rate (it is {args.learning_rate:g}) or more warmup_steps, a higher "
                               "temperature, or precision: fp32")


class _Trainer(LanguageBatchTrainer):
    """Its checkpoints are whole when the first process has written the trainer's state, their last file."""

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        # Each process writes its own; else the first might be killed when it is done and another is not.
        self.accelerator.wait_for_everyone()


def sampler_of(settings: TrainingSettings, corpora: Sequence[ParallelCorpus]) -> LanguageBatchSampler:
    """The batch sampler that a run with these settings draws from."""
    return LanguageBatchSampler(
        corpora, settings.sampling, settings.languages, settings.batch_size, settings.steps,
        settings.seed, alpha=settings.alpha if settings.sampling == "Hybrid" else None,
        pair_per_batch=settings.pair_per_batch, when_unable=settings.when_unable,
        negatives=settings.hard_negatives)


def _loss_of(settings: TrainingSettings, model: SentenceTransformer, corpora: Sequence[ParallelCorpus],
             processes: int) -> torch.nn.Module:
    """The loss that the settings ask for."""
    if settings.loss in LOSSES and processes > 1:
        raise ValueError(f"loss={settings.loss} runs in one process")
    match settings.loss:
        case None | "info_nce" if settings.temperature_crossing is not None:
            return CrossingInfoNCE(model, settings.temperature, settings.temperature_crossing,
                                   settings.mini_batch_size, gather=processes > 1)
        case None | "info_nce":
            return info_nce(model, settings.temperature, settings.mini_batch_size, gather=processes > 1)
        case "symmetric":
            return losses.MultipleNegativesRankingLoss(
                model, scale=1 / settings.temperature, gather_across_devices=processes > 1,
                directions=("query_to_doc", "doc_to_query"), partition_mode="per_direction")
        case "centred":
            return CentredInfoNCE(model, settings.temperature)
        case "distillation" | "embedding_distillation" | "anchored" | "centred_anchored" as name:
            for corpus in corpora:
                if not all("en" in side and corpus.has(side, "en").all() for side in (corpus.query, corpus.passage)):
                    raise ValueError(f"loss={name} needs every group of {corpus.name!r} in English")
            teacher, _ = encoding.load(settings.encoder, settings.max_length)
            more = {} if name == "embedding_distillation" else {"temperature": settings.temperature}
            more |= {"centred": True} if name == "centred_anchored" else {}
            return LOSSES[name](model, teacher.to(model.device), **more)
        case "lakda" | "clear" as name:
            for corpus in corpora:
                _check_parallel_questions(corpus, settings)
            return LOSSES[name](model, settings.temperature)
    raise ValueError(f"no loss {settings.loss!r}")


def texts_of(settings: TrainingSettings, corpora: Sequence[ParallelCorpus]) -> Iterator[dict[str, list[str]]]:
    """The texts that each step encodes, by column of the batch, without prompts; to count them, say."""
    if settings.losses:
        raise ValueError("losses are of runs of their own, each with its texts")
    pairs = PairDataset(corpora, getattr(LOSSES.get(settings.loss), "needs", None))
    for batch in sampler_of(settings, corpora):
        rows = [pairs[pair] for pair in batch]
        yield {column: [row[column] for row in rows] for column in rows[0]}


def _check_parallel_questions(corpus: ParallelCorpus, settings: TrainingSettings) -> None:
    """Stop where a passage may be drawn in a language in which its question is missing."""
    lacking = [x for x in settings.languages if x in corpus.passage and (
        x not in corpus.query or (corpus.has(corpus.passage, x) & ~corpus.has(corpus.query, x)).any())]
    if lacking:
        raise ValueError(f"loss={settings.loss} needs the question in the passage's language: {corpus.name!r} lacks "
                         f"some in {', '.join(lacking)}; leave it out (sets), or those languages")


def _last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint under ``folder``; None without one. The trainer writes its state last."""
    def is_whole(state: Path) -> bool:
        try:
            json.loads(state.read_text("utf-8"))
            return True
        except ValueError:
            return False
    whole = [state.parent for state in folder.glob("checkpoint-*/trainer_state.json") if is_whole(state)]
    return max(whole, key=lambda path: int(path.name.split("-")[1]), default=None)


def train(folder: str | Path, settings: TrainingSettings, corpora: Sequence[ParallelCorpus], selection: Dataset, *,
          device: str = "cpu", callbacks: Sequence[TrainerCallback] = ()) -> Path:
    """Fine-tune an encoder under one sampling, and leave a run folder.

    A finished folder with these settings is returned as it is. An unfinished one is taken up at its last
    checkpoint, with the same losses as if it had never stopped. Several processes (``accelerate launch``,
    ``torchrun``) train together, each on a slice of the same batch, with the passages of all slices as negatives; on
    several machines the folder must lie on a filesystem that all of them share.

    Parameters
    ----------
    folder : path
        The run folder; ``.<name>.tmp`` beside it is used until the run is whole, and ``.<name>.lock`` is held.
    settings : TrainingSettings
        Written to ``settings.json``. The teacher of a distillation is the encoder that training starts from.
    corpora : list of ParallelCorpus
        The training sets.
    selection : Dataset with columns ``query`` and ``passage``
        The checkpoint with the lowest loss on it is kept.
    device : str
        "cpu" or "cuda".
    callbacks : sequence of TrainerCallback
        Further callbacks of the trainer.

    Returns
    -------
    Path
        The run folder.

    Raises
    ------
    ValueError, RunError, OSError
        If a share of the weights is asked for, which `mix` makes; if the batch cannot be cut into equal slices; if the
        device is not there; if an unfinished run was begun in another precision, or is not seen by every process; if
        another run is at work in the folder; if the disk is too full for the checkpoints.
    """
    if settings.trained_share is not None or settings.losses:
        raise ValueError("trained_share and losses are of runs that were trained: see mix")
    folder, choices = Path(folder), settings.as_dict()
    if run_folder.is_complete(folder, choices) and run_folder.is_settled(folder):
        return folder
    processes = int(os.environ.get("WORLD_SIZE", 1))
    check_device(device, processes)
    if settings.batch_size % processes:
        raise ValueError(f"a batch of {settings.batch_size} cannot be cut into {processes} equal slices")
    sampler = sampler_of(settings, corpora)
    started = time.monotonic()
    temporary = folder.with_name(f".{folder.name}.tmp")
    checkpoints = temporary / "checkpoints"

    model, source = encoding.load(settings.encoder)
    max_tokens = model.max_seq_length
    encoding.limit(settings.encoder, model, settings.max_length)
    prompts = encoding.Prompts.of(model, otherwise=encoding.E5_PROMPTS)
    if prompts is encoding.E5_PROMPTS:
        # Whoever loads the model uses the prompts that it was trained with.
        model.prompts = {"query": prompts.query, "document": prompts.passage}
    model = model.to(f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if device == "cuda" else device)
    trained = freeze(model, settings.trainable_layers)
    if settings.dropout is not None:
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = settings.dropout
    bf16 = encoding.in_bfloat16(settings.precision, device)
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(checkpoints), use_cpu=device == "cpu", bf16=bf16, seed=settings.seed,
        max_steps=settings.steps, per_device_train_batch_size=settings.batch_size // processes,
        accelerator_config={"split_batches": True},
        per_device_eval_batch_size=min(len(selection), 128), learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay, warmup_steps=settings.warmup_steps,
        prompts={"query": prompts.query, "passage": prompts.passage, "negative": prompts.passage,
                 "english_query": prompts.query, "english_passage": prompts.passage,
                 "parallel_query": prompts.query},
        eval_strategy="steps", eval_steps=settings.eval_steps, save_strategy="steps",
        save_steps=settings.eval_steps, save_total_limit=2, load_best_model_at_end=True,
        metric_for_best_model="eval_loss", greater_is_better=False, logging_steps=1, logging_first_step=True,
        report_to="none", disable_tqdm=True, logging_nan_inf_filter=False, dataloader_pin_memory=device != "cpu",
        restore_callback_states_from_checkpoint=True)  # else a resumed run would count its patience anew
    precision = "bf16" if bf16 else "fp32"
    with run_folder.alone(folder), files.room(temporary):
        with arguments.main_process_first(local=False):
            if arguments.process_index == 0:
                _prepare(folder, temporary, choices, precision)
        if run_folder.is_complete(folder, choices):
            return folder
        if not run_folder.is_complete(temporary, choices):
            raise RunError(f"{temporary} was made by the first process and is not seen by process "
                           f"{arguments.process_index}: several machines need one shared filesystem")
        before = json.loads((temporary / "begun.json").read_text("utf-8"))["precision"]
        if before != precision:
            raise RunError(f"{temporary} was begun in {before} and would go on in {precision} here ({device}): go on "
                           "where it was begun, or remove the folder to start anew")
        check_room(temporary, model, trained, shutil.disk_usage(temporary).free)
        trainer = _Trainer(
            model=model, args=arguments, sampler=sampler, eval_dataset=selection,
            loss=_loss_of(settings, model, corpora, processes), selection_loss=info_nce(model, settings.temperature),
            callbacks=[_Finite(folder.name), Progress(folder.name), EarlyStoppingCallback(settings.patience),
                       *callbacks])
        trainer.remove_callback(PrinterCallback)
        checkpoint = _last_checkpoint(checkpoints)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)

        # The trainer only logs an error when it cannot load the best checkpoint: make sure that this is it.
        if arguments.process_index == 0:
            best = SentenceTransformer(trainer.state.best_model_checkpoint, device="cpu").state_dict()
            if not all(torch.equal(value.cpu(), best[name]) for name, value in trainer.model.state_dict().items()):
                raise RuntimeError(f"{folder.name}: the model is not that of the best checkpoint, "
                                   f"{trainer.state.best_model_checkpoint}; train again to go on from the last one")
            _write(temporary, trainer, started, encoder=source, device=device, processes=processes,
                   precision=precision, trained_parameters=trained, max_tokens=max_tokens)
            _publish(temporary, folder)
        trainer.accelerator.wait_for_everyone()
    return folder


def mix(folder: str | Path, settings: TrainingSettings, wholes: Sequence[str | Path]) -> Path:
    """A run folder whose weights lie between those of trained runs and those that they started from.

    Nothing is trained: one run gives all its shares (``trained_share``). Of several (``losses``) the mean is taken.

    Parameters
    ----------
    folder : path
        The run folder; returned as it is if it is finished and has these settings.
    settings : TrainingSettings
        Those of the trained runs but for ``trained_share`` and ``losses``.
    wholes : sequence of path
        The folders of the trained runs.

    Returns
    -------
    Path
        The run folder.
    """
    folder, choices = Path(folder), settings.as_dict()
    if run_folder.is_complete(folder, choices) and run_folder.is_settled(folder):
        return folder
    temporary = folder.with_name(f".{folder.name}.tmp")
    with run_folder.alone(folder), PartialState().main_process_first():
        if PartialState().is_main_process:
            every = [json.loads(Path(whole, "manifest.json").read_text("utf-8")) for whole in wholes]
            # What it costs is the runs that it is made of.
            facts = every[0] | {name: sum(one[name] for one in every) for name in ("seconds", "steps_run")}
            if settings.losses:
                facts |= {name: [one[name] for one in every] for name in ("best_step", "best_validation_loss")}
            started = time.monotonic() - facts["seconds"]
            run_folder.settle(folder)
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            model, *others = (SentenceTransformer(str(Path(whole, "model")), device="cpu") for whole in wholes)
            share = 1.0 if settings.trained_share is None else settings.trained_share
            average_weights(model, encoding.load(settings.encoder)[0], share, others)
            model.save(str(temporary / "model"), create_model_card=False)
            steps = [pd.read_csv(Path(whole, "losses.csv"), float_precision="round_trip") for whole in wholes]
            for loss, table in zip(settings.losses or (), steps, strict=False):
                table["of"] = loss
            pd.concat(steps).to_csv(temporary / "losses.csv", index=False)
            files.write_json(temporary / "manifest.json", run_folder.manifest(started, **facts))
            files.write_json(temporary / "settings.json", choices)
            run_folder.publish(temporary, folder)
    return folder


def _prepare(folder: Path, temporary: Path, choices: dict[str, object], precision: str) -> None:
    """Put right what a killed run has left, and make the temporary folder if there is none to go on with."""
    run_folder.settle(folder)
    if run_folder.is_complete(folder, choices):
        return
    begun = temporary / "begun.json"
    mine = run_folder.is_complete(temporary, choices)
    if mine and (temporary / "manifest.json").is_file():
        _publish(temporary, folder)
    elif not (mine and begun.is_file()):
        # Its settings go first: what is half removed must never be taken for a run to go on with.
        (temporary / "settings.json").unlink(missing_ok=True)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        files.write_json(begun, {"precision": precision})
        files.write_json(temporary / "settings.json", choices)
    else:
        files.sweep(temporary)


def check_room(temporary: Path, model: SentenceTransformer, trained: int, free: int) -> None:
    """Stop before the first step where the disk is too full for the last.

    Parameters
    ----------
    temporary : Path
        The unfinished run folder; what lies there already needs no more room.
    model : SentenceTransformer
    trained : int
        Parameters that are trained.
    free : int
        Bytes.

    Raises
    ------
    OSError
    """
    weights = sum(parameter.nbytes for parameter in model.parameters())
    # Two checkpoints, a third while it replaces the older, and the model; a checkpoint has AdamW's two moments, too.
    needed = 4 * weights + 3 * 2 * 4 * trained - files.size(temporary)
    if free < needed:
        raise OSError(f"{temporary.parent}: {free / 1e9:.1f} GB are free, and training needs {needed / 1e9:.1f} GB for "
                      f"its checkpoints, of which {weights / 1e9:.1f} GB stay: make room and start again")


def _write(temporary: Path, trainer: LanguageBatchTrainer, started: float, **facts: object) -> None:
    """Write what a run leaves; the manifest last, which says that all is there."""
    history = pd.DataFrame(trainer.state.log_history)
    losses = history.loc[history["loss"].notna(), ["step", "loss", "learning_rate"]]
    losses = losses.merge(history.loc[history["eval_loss"].notna(), ["step", "eval_loss"]]
                          .drop_duplicates("step"), on="step", how="left")
    losses = losses.merge(pd.DataFrame(trainer.sampler.log()), on="step", how="left")
    losses.to_csv(temporary / "losses.csv", index=False)
    # Training cuts shorter than it has to, to be fast; whoever loads the model is to have the whole of a text.
    trainer.model.max_seq_length = facts["max_tokens"]
    shutil.rmtree(temporary / "model", ignore_errors=True)  # half of it, of a run that was killed here
    trainer.model.float().cpu().save(str(temporary / "model"), create_model_card=False)
    files.write_json(temporary / "manifest.json", run_folder.manifest(
        started, **facts, steps_run=int(losses["step"].max()), best_step=_best_step(trainer.state),
        best_validation_loss=trainer.state.best_metric))


def _publish(temporary: Path, folder: Path) -> None:
    """Remove what only an unfinished run needs, and give the folder its name."""
    files.sweep(temporary)
    (temporary / "begun.json").unlink(missing_ok=True)
    shutil.rmtree(temporary / "checkpoints", ignore_errors=True)
    run_folder.publish(temporary, folder)


def check_device(device: str, processes: int = 1) -> None:
    """Raise `RunError` if ``processes`` processes cannot train on the device ("cpu" or "cuda")."""
    devices.check_device(device)
    if device == "cuda" and processes == 1 and torch.cuda.device_count() > 1:
        raise RunError(f"{torch.cuda.device_count()} CUDA devices and one process: start one for each with "
                           "`accelerate launch -m reproduction.commands.train …`, or choose one with "
                           "CUDA_VISIBLE_DEVICES")


def _best_step(state: TrainerState) -> int:
    return int(state.best_model_checkpoint.rsplit("-", 1)[1])
