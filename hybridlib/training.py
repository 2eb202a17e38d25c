"""Corpus, sampler and settings to a run folder, by sentence-transformers' own trainer."""

import json
import os
import re
import shutil
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from torch.utils.data import DataLoader
from tqdm.auto import tqdm
from transformers import EarlyStoppingCallback, PrinterCallback, TrainerCallback

from hybridlib import encoders, runs
from hybridlib.losses import EnglishRankingDistillation, info_nce
from hybridlib.sampling import LanguageBatchSampler, PairDataset


class _Trainer(SentenceTransformerTrainer):
    """The library's trainer, with our batches instead of those of a materialised dataset.

    Where several processes train, accelerate gives each a slice of the same batch (``split_batches``), so that an X-X
    batch has one language over all of them.
    """

    def __init__(self, *, sampler, selection_loss, **kwargs):
        self.sampler, self.selection_loss = sampler, selection_loss
        super().__init__(**kwargs)

    def get_train_dataloader(self):
        pairs = PairDataset(self.sampler.corpora, isinstance(self.loss, EnglishRankingDistillation))
        loader = DataLoader(pairs, batch_sampler=self.sampler, collate_fn=self.data_collator,
                            pin_memory=self.args.dataloader_pin_memory)
        self._train_dataloader = self.accelerator.prepare(loader)
        return self._train_dataloader

    def get_eval_dataloader(self, eval_dataset=None):
        # In order, and whole in each process, so that the validation loss has the same in-batch negatives always.
        return DataLoader(self.eval_dataset, self.args.per_device_eval_batch_size, collate_fn=self.data_collator,
                          pin_memory=self.args.dataloader_pin_memory)

    def compute_loss(self, model, *args, **kwargs):
        of_training = self.loss
        if not model.training:
            self.loss = self.selection_loss
        try:
            return super().compute_loss(model, *args, **kwargs)
        finally:
            self.loss = of_training


class _Progress(TrainerCallback):
    """One bar with the step, the loss and the time left."""

    def __init__(self, description):
        self.description = description

    def on_train_begin(self, args, state, control, **kwargs):
        self.bar = tqdm(total=state.max_steps, initial=state.global_step, desc=self.description, unit="step")

    def on_log(self, args, state, control, logs=None, **kwargs):
        if "loss" in logs:
            self.bar.set_postfix(loss=f"{logs['loss']:.3f}")

    def on_step_end(self, args, state, control, **kwargs):
        self.bar.update(state.global_step - self.bar.n)

    def on_train_end(self, args, state, control, **kwargs):
        self.bar.close()


def freeze(model, trainable_layers):
    """Freeze the token embeddings and all but the top ``trainable_layers`` layers; None trains everything.

    Returns
    -------
    int
        Number of parameters that are trained.

    Raises
    ------
    ValueError
        If the model has fewer layers.
    """
    if trainable_layers is not None:
        layer_of = {name: int(found[1]) for name, _ in model.named_parameters()
                    if (found := re.search(r"\.layer\.(\d+)\.", name))}
        count = max(layer_of.values(), default=-1) + 1
        if trainable_layers > count:
            raise ValueError(f"trainable_layers is {trainable_layers}, the encoder has {count} layers")
        for name, parameter in model.named_parameters():
            parameter.requires_grad = layer_of.get(name, -1) >= count - trainable_layers
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def sampler_of(settings, corpora):
    """The batch sampler that a run with these settings draws from."""
    return LanguageBatchSampler(
        corpora, settings["sampling"], settings["languages"], settings["batch_size"], settings["steps"],
        settings["seed"], alpha=settings["alpha"] if settings["sampling"] == "Hybrid" else None,
        pair_per_batch=settings["pair_per_batch"], when_unable=settings["when_unable"],
        negatives=settings["hard_negatives"])


def _loss_of(settings, model, corpora, processes):
    """The loss that the settings ask for."""
    match settings.get("loss", "info_nce"):
        case "info_nce":
            return info_nce(model, settings["temperature"], settings.get("mini_batch_size"), gather=processes > 1)
        case "distillation":
            if processes > 1:
                raise ValueError("loss=distillation runs in one process")
            for corpus in corpora:
                if settings["hard_negatives"] or not all(
                        "en" in side and corpus.has(side, "en").all() for side in (corpus.query, corpus.passage)):
                    raise ValueError(f"loss=distillation needs every group of {corpus.name!r} in English, and no hard "
                                     "negatives")
            teacher, _ = encoders.load(settings["encoder"], settings["max_length"])
            return EnglishRankingDistillation(model, teacher.to(model.device), settings["temperature"])
    raise ValueError(f"loss is info_nce or distillation, not {settings['loss']!r}")


def _last_checkpoint(folder):
    """The newest whole checkpoint under ``folder``; None without one. The trainer writes its state last."""
    whole = [state.parent for state in folder.glob("checkpoint-*/trainer_state.json")
             if state.read_text("utf-8").rstrip().endswith("}")]
    return max(whole, key=lambda path: int(path.name.split("-")[1]), default=None)


def train(folder, settings, corpora, selection, *, device="cpu", callbacks=()):
    """Fine-tune an encoder under one sampling, and leave a run folder.

    A finished folder with these settings is returned as it is. An unfinished one is taken up at its last
    checkpoint, with the same losses as if it had never stopped. Several processes (``accelerate launch``,
    ``torchrun``) train together, each on a slice of the same batch, with the passages of all slices as negatives; on
    several machines the folder must lie on a filesystem that all of them share.

    Parameters
    ----------
    folder : path
        The run folder; ``.<name>.tmp`` beside it is used until the run is whole.
    settings : dict
        ``encoder``, ``sampling``, ``alpha``, ``seed``, ``languages``, ``pair_per_batch``, ``when_unable``,
        ``hard_negatives``, ``batch_size``, ``steps``, ``temperature``, ``learning_rate``, ``weight_decay``,
        ``warmup_steps``, ``max_length``, ``trainable_layers``, ``eval_steps``, ``patience``, ``precision``
        ("bf16", "fp32", or "auto": bf16 where the device is fast at it), and whatever names the data; written
        to ``settings.json``. ``loss``: "info_nce", which it is without one, or "distillation" (see
        `hybridlib.losses.EnglishRankingDistillation`; the teacher is the encoder that training starts from).
        ``mini_batch_size``: see `hybridlib.losses.info_nce`. ``batch_size`` is that of all processes together.
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
    ValueError, RuntimeError, OSError
        If the batch cannot be cut into equal slices; if the device is not there; if an unfinished run was begun in
        another precision, or is not seen by every process; if the disk is too full for the checkpoints.
    """
    folder = Path(folder)
    if runs.is_complete(folder, settings):
        return folder
    processes = int(os.environ.get("WORLD_SIZE", 1))
    check_device(device, processes)
    if settings["batch_size"] % processes:
        raise ValueError(f"a batch of {settings['batch_size']} cannot be cut into {processes} equal slices")
    sampler = sampler_of(settings, corpora)
    started = time.monotonic()
    temporary = folder.with_name(f".{folder.name}.tmp")
    checkpoints = temporary / "checkpoints"

    model, source = encoders.load(settings["encoder"], settings["max_length"])
    # Whoever loads the model uses the prompts that it was trained with.
    model.prompts = {"query": encoders.Prompts.query, "document": encoders.Prompts.passage}
    model = model.to(f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if device == "cuda" else device)
    trained = freeze(model, settings["trainable_layers"])
    bf16 = encoders.in_bfloat16(settings["precision"], device)
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(checkpoints), use_cpu=device == "cpu", bf16=bf16, seed=settings["seed"],
        max_steps=settings["steps"], per_device_train_batch_size=settings["batch_size"] // processes,
        accelerator_config={"split_batches": True},
        per_device_eval_batch_size=min(len(selection), 128), learning_rate=settings["learning_rate"],
        weight_decay=settings["weight_decay"], warmup_steps=settings["warmup_steps"],
        prompts={"query": encoders.Prompts.query, "passage": encoders.Prompts.passage,
                 "negative": encoders.Prompts.passage, "english_query": encoders.Prompts.query,
                 "english_passage": encoders.Prompts.passage},
        eval_strategy="steps", eval_steps=settings["eval_steps"], save_strategy="steps",
        save_steps=settings["eval_steps"], save_total_limit=2, load_best_model_at_end=True,
        metric_for_best_model="eval_loss", greater_is_better=False, logging_steps=1, logging_first_step=True,
        report_to="none", disable_tqdm=True, dataloader_pin_memory=device != "cpu",
        restore_callback_states_from_checkpoint=True)  # else a resumed run would count its patience anew
    precision, begun = "bf16" if bf16 else "fp32", temporary / "begun.json"
    with arguments.main_process_first(local=False):
        # Without the file it was killed while it was published, when its checkpoints were gone.
        if arguments.process_index == 0 and not (runs.is_complete(temporary, settings) and begun.is_file()):
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            runs.write_json(begun, {"precision": precision})
            runs.write_json(temporary / "settings.json", settings)
    if not runs.is_complete(temporary, settings):
        raise RuntimeError(f"{temporary} was made by the first process and is not seen by process "
                           f"{arguments.process_index}: several machines need one shared filesystem")
    before = json.loads(begun.read_text("utf-8"))["precision"]
    if before != precision:
        raise RuntimeError(f"{temporary} was begun in {before} and would go on in {precision} here ({device}): go on "
                           "where it was begun, or remove the folder to start anew")
    _check_room(temporary, model, trained)
    trainer = _Trainer(
        model=model, args=arguments, sampler=sampler, eval_dataset=selection,
        loss=_loss_of(settings, model, corpora, processes), selection_loss=info_nce(model, settings["temperature"]),
        callbacks=[_Progress(folder.name), EarlyStoppingCallback(settings["patience"]), *callbacks])
    trainer.remove_callback(PrinterCallback)
    checkpoint = _last_checkpoint(checkpoints)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)

    # The trainer only logs an error when it cannot load the best checkpoint: make sure that this is it.
    if arguments.process_index == 0:
        best = SentenceTransformer(trainer.state.best_model_checkpoint, device="cpu").state_dict()
        if not all(torch.equal(value.cpu(), best[name]) for name, value in trainer.model.state_dict().items()):
            raise RuntimeError(f"{folder.name}: the model is not that of the best checkpoint, "
                               f"{trainer.state.best_model_checkpoint}; train again to go on from the last one")
        _publish(folder, temporary, trainer, started, encoder=source, device=device, processes=processes,
                 precision=precision, trained_parameters=trained)
    trainer.accelerator.wait_for_everyone()
    return folder


def _check_room(temporary, model, trained):
    """Stop before the first step where the disk is too full for the last."""
    weights = sum(parameter.nbytes for parameter in model.parameters())
    # Two checkpoints, a third while it replaces the older, and the model; a checkpoint has AdamW's two moments, too.
    needed = 4 * weights + 3 * 2 * 4 * trained - runs.size(temporary)
    free = shutil.disk_usage(temporary).free
    if free < needed:
        raise OSError(f"{temporary.parent}: {free / 1e9:.1f} GB are free, and training needs {needed / 1e9:.1f} GB for "
                      f"its checkpoints, of which {weights / 1e9:.1f} GB stay: make room and start again")


def _publish(folder, temporary, trainer, started, **facts):
    """Write what a run leaves, and give its folder its name."""
    history = pd.DataFrame(trainer.state.log_history)
    losses = history.loc[history["loss"].notna(), ["step", "loss", "learning_rate"]]
    losses = losses.merge(history.loc[history["eval_loss"].notna(), ["step", "eval_loss"]]
                          .drop_duplicates("step"), on="step", how="left")
    losses = losses.merge(pd.DataFrame(trainer.sampler.log()), on="step", how="left")
    losses.to_csv(temporary / "losses.csv", index=False)
    trainer.model.float().cpu().save(str(temporary / "model"), create_model_card=False)
    runs.write_json(temporary / "manifest.json", runs.manifest(
        started, **facts, steps_run=int(losses["step"].max()), best_step=_best_step(trainer.state),
        best_validation_loss=trainer.state.best_metric))
    (temporary / "begun.json").unlink()
    shutil.rmtree(temporary / "checkpoints")
    runs.publish(temporary, folder)


def check_device(device, processes=1):
    """Raise RuntimeError if ``processes`` processes cannot train on the device ("cpu" or "cuda")."""
    if device == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("device is 'cuda' and no CUDA device is there; set device: cpu")
    if device == "cuda" and processes == 1 and torch.cuda.device_count() > 1:
        raise RuntimeError(f"{torch.cuda.device_count()} CUDA devices and one process: start one for each with "
                           "`accelerate launch -m hybridlib.train …`, or choose one with CUDA_VISIBLE_DEVICES")


def _best_step(state):
    return int(state.best_model_checkpoint.rsplit("-", 1)[1])


def selection_of(corpus, language="en"):
    """The selection set of a corpus: its pairs in one language, in order (the paper reads English only).

    Of a passage with several questions the first is read: else it would be a negative of its own in the batches that
    the selection loss is taken over.
    """
    groups = (corpus.has(corpus.query, language) & corpus.has(corpus.passage, language)).nonzero()[0]
    _, first = np.unique(corpus.passage_key[groups], return_index=True)
    return Dataset.from_list([corpus.pair(group, language, language) for group in groups[np.sort(first)].tolist()])
