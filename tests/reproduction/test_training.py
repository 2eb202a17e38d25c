"""A run: the same after a kill, the best checkpoint really kept, what a folder holds."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import NINE, ROOT, group
from sentence_transformers import SentenceTransformer
from transformers import TrainerCallback

from hybridlib import encoding
from hybridlib.errors import RunError
from hybridlib.training import freeze, selection_of
from reproduction.run import SettingsError, sampler_of, training
from reproduction.run.folder import is_complete

SCRIPT = """
import json, os, signal, sys
from transformers import TrainerCallback
from hybridlib.data import read_groups
from hybridlib.training import selection_of
from reproduction.run import TrainingSettings, train

class Kill(TrainerCallback):
    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == {step}:
            os.kill(os.getpid(), signal.SIGKILL)

settings = TrainingSettings(**json.loads({settings!r}))
data = read_groups({data!r})
train({folder!r}, settings, [data], selection_of(data.select(range(50, 60))), callbacks=[Kill()])
"""


@pytest.fixture
def selection(complete_corpus):
    return selection_of(complete_corpus.select(range(50, 60)))


def train(folder, settings, corpus, selection, **options):
    return training.train(folder, settings, [corpus], selection, **options)


@pytest.mark.parametrize("step", [random.Random().randrange(1, 4), random.Random().randrange(5, 12)],
                         ids=["before the first checkpoint", "after it"])
def test_a_killed_run_resumes_with_the_same_losses(tmp_path, tiny_settings, complete_corpus, selection,
                                                   write_lines, step):
    whole = train(tmp_path / "whole", tiny_settings, complete_corpus, selection)
    data = write_lines("data.jsonl", [group(i, NINE, passage=0 if i == 1 else i) for i in range(60)])
    script = SCRIPT.format(step=step, settings=json.dumps(tiny_settings.as_dict()), data=str(data),
                           folder=str(tmp_path / "killed"))
    killed = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=False,
                            env=os.environ | {"TQDM_DISABLE": "1", "PYTHONPATH": str(ROOT)})
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2000:]
    assert not (tmp_path / "killed").exists(), "a folder that exists is complete"
    resumed = train(tmp_path / "killed", tiny_settings, complete_corpus, selection)
    first, second = (pd.read_csv(folder / "losses.csv") for folder in (whole, resumed))
    pd.testing.assert_frame_equal(first, second, check_exact=True, obj=f"losses, killed at step {step}")
    weights = [SentenceTransformer(str(folder / "model"), device="cpu").state_dict() for folder in (whole, resumed)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_what_a_run_folder_holds(tmp_path, tiny_settings, complete_corpus, selection):
    folder = train(tmp_path / "run", tiny_settings, complete_corpus, selection)
    assert sorted(path.name for path in folder.iterdir()) == ["losses.csv", "manifest.json", "model",
                                                              "settings.json"]
    assert [path.name for path in tmp_path.glob(".*")] == [], "nothing temporary is left"
    losses = pd.read_csv(folder / "losses.csv")
    assert losses["step"].tolist() == list(range(1, 13))
    assert losses.dropna(subset="eval_loss")["step"].tolist() == [4, 8, 12]
    expected = list(sampler_of(tiny_settings, [complete_corpus]).log())
    assert losses["languages"].tolist() == [row["languages"] for row in expected]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["encoder"] == tiny_settings.encoder and manifest["precision"] == "fp32"
    best = losses.dropna(subset="eval_loss").set_index("step")["eval_loss"]
    assert manifest["best_step"] == best.idxmin()
    assert manifest["best_validation_loss"] == pytest.approx(best.min())


def test_same_settings_are_reused_and_others_replace(tmp_path, tiny_settings, complete_corpus, selection):
    folder = train(tmp_path / "run", tiny_settings, complete_corpus, selection)
    before = (folder / "manifest.json").stat().st_mtime_ns
    train(folder, tiny_settings, complete_corpus, selection)
    assert (folder / "manifest.json").stat().st_mtime_ns == before
    train(folder, replace(tiny_settings, seed=4), complete_corpus, selection)
    assert (folder / "manifest.json").stat().st_mtime_ns != before
    assert json.loads((folder / "settings.json").read_text())["seed"] == 4


def without_dropout(encoder, folder):
    """A copy of an encoder whose output is the same in training."""
    shutil.copytree(encoder, folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0, "attention_probs_dropout_prob": 0}
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


@pytest.mark.parametrize("name", ["distillation", "embedding_distillation", "anchored"])
def test_distillation_follows_english(tmp_path, tiny_settings, complete_corpus, selection, make_corpus, name):
    settings = replace(tiny_settings, sampling="X-Y", alpha=0.0, loss=name,
                       encoder=without_dropout(tiny_settings.encoder, tmp_path / "encoder"))
    losses = pd.read_csv(train(tmp_path / "run", settings, complete_corpus, selection) / "losses.csv")
    # The first batch by hand, of the student, who is still the teacher.
    model, _ = encoding.load(settings.encoder, settings.max_length)
    batch = sampler_of(settings, [complete_corpus]).batch(0)
    texts = [[f"{kind}: {pair[column]}" for kind, column in (("query", "query"), ("passage", "passage"))
              for pair in side] for side in ([complete_corpus.pair(*pair[1:]) for pair in batch],
                                             [complete_corpus.pair(pair.group, "en", "en") for pair in batch])]
    embeddings = [model.encode(side, normalize_embeddings=True) for side in texts]
    if name == "distillation":  # cross-entropy under the ranking in English
        scores = [torch.as_tensor(side[:len(batch)] @ side[len(batch):].T) / 0.05 for side in embeddings]
        expected = torch.nn.functional.cross_entropy(scores[0], scores[1].softmax(1)).item()
    else:                       # the squared distance from the embedding in English
        expected = np.square(embeddings[0] - embeddings[1]).sum(1).mean()
    if name == "anchored":      # ten times that, beside InfoNCE
        scores = torch.as_tensor(embeddings[0][:len(batch)] @ embeddings[0][len(batch):].T) / 0.05
        expected = 10 * expected + torch.nn.functional.cross_entropy(scores, torch.arange(len(batch))).item()
    assert losses["loss"][0] == pytest.approx(expected, abs=1e-3)
    with pytest.raises(ValueError, match=f"loss={name} needs every group of 'toy' in English$"):
        train(tmp_path / "other", settings, make_corpus([group(i, ("de", "ru")) for i in range(9)]), selection)


def test_dropout_is_that_of_the_settings(tmp_path, tiny_settings, complete_corpus, selection):
    """None drawn is what an encoder trains like that has none; and it is not what its own would give."""
    settings = replace(tiny_settings, steps=4)
    losses = [pd.read_csv(train(tmp_path / str(number), changed, complete_corpus, selection) / "losses.csv")["loss"]
              for number, changed in enumerate((
                  replace(settings, dropout=0.0),
                  replace(settings, encoder=without_dropout(settings.encoder, tmp_path / "encoder")), settings))]
    assert losses[0].tolist() == losses[1].tolist() != losses[2].tolist()


def diverging(settings):
    """Settings under which the first checkpoint is the best: the learning rate is far too high."""
    return replace(settings, learning_rate=0.5, warmup_steps=8, steps=12)


def test_the_best_checkpoint_is_kept(tmp_path, tiny_settings, complete_corpus, selection):
    folder = train(tmp_path / "run", diverging(tiny_settings), complete_corpus, selection)
    losses = pd.read_csv(folder / "losses.csv").dropna(subset="eval_loss").set_index("step")["eval_loss"]
    best = json.loads((folder / "manifest.json").read_text())["best_step"]
    assert best == losses.idxmin() != losses.index[-1], "the case does not tell best from last"


class Disturb(TrainerCallback):
    """Changes the model after the best checkpoint was loaded."""

    def on_train_end(self, args, state, control, model=None, **kwargs):
        with torch.no_grad():
            next(model.parameters()).add_(1)


def test_a_best_checkpoint_that_was_not_restored_is_an_error(tmp_path, tiny_settings, complete_corpus, selection):
    with pytest.raises(RuntimeError, match=r"the model is not that of the best checkpoint, .*checkpoint-4"):
        train(tmp_path / "run", diverging(tiny_settings), complete_corpus, selection, callbacks=[Disturb()])
    assert not (tmp_path / "run").exists()


def test_early_stopping(tmp_path, tiny_settings, complete_corpus, selection):
    settings = replace(diverging(tiny_settings), steps=60, patience=1)
    losses = pd.read_csv(train(tmp_path / "run", settings, complete_corpus, selection) / "losses.csv")
    checked = losses.dropna(subset="eval_loss")["eval_loss"].tolist()
    assert len(losses) < 60
    assert checked[-1] >= min(checked[:-1]), "stopped though the last evaluation was the best"


class Interrupt(TrainerCallback):
    """Stops a run before the step after ``step``."""

    def __init__(self, step):
        self.step = step

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise KeyboardInterrupt


def test_a_resumed_run_remembers_its_patience(tmp_path, tiny_settings, complete_corpus, selection):
    # The loss rises from step 4 on: two evaluations later, at 12, patience is at its end. Interrupted between them.
    settings = replace(diverging(tiny_settings), steps=60, patience=2)
    whole = train(tmp_path / "whole", settings, complete_corpus, selection)
    assert len(pd.read_csv(whole / "losses.csv")) == 12, "the case does not stop where it should"
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run", settings, complete_corpus, selection, callbacks=[Interrupt(9)])
    resumed = train(tmp_path / "run", settings, complete_corpus, selection)
    pd.testing.assert_frame_equal(*(pd.read_csv(folder / "losses.csv") for folder in (whole, resumed)))


def test_a_run_does_not_go_on_in_another_precision(tmp_path, tiny_settings, complete_corpus, selection):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run", tiny_settings, complete_corpus, selection, callbacks=[Interrupt(5)])
    (tmp_path / ".run.tmp" / "begun.json").write_text('{"precision": "bf16"}')  # as on another machine
    with pytest.raises(RuntimeError, match="begun in bf16 and would go on in fp32 here .cpu.: go on where"):
        train(tmp_path / "run", tiny_settings, complete_corpus, selection)


def test_a_disk_that_is_too_full_stops(tmp_path, tiny_settings):
    model, _ = encoding.load(tiny_settings.encoder)
    weights = sum(parameter.nbytes for parameter in model.parameters())
    needed = 4 * weights + 6 * 4 * 1000
    training.check_room(tmp_path, model, 1000, free=needed)
    with pytest.raises(OSError, match=r"0\.0 GB are free, and training needs .* make room and start again"):
        training.check_room(tmp_path, model, 1000, free=needed - 1)


def test_a_run_that_was_killed_while_it_was_published_gets_its_name_and_is_not_trained_again(
        tmp_path, tiny_settings, complete_corpus, selection):
    train(tmp_path / "run", tiny_settings, complete_corpus, selection)
    (tmp_path / "run").rename(tmp_path / ".run.tmp")  # whole, without its checkpoints, and not yet renamed
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / ".run.tmp").iterdir()}
    train(tmp_path / "run", tiny_settings, complete_corpus, selection)
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "run").iterdir()} == {
        path.name: time for path, time in before.items()}
    assert not (tmp_path / ".run.tmp").exists()


class Spoil(TrainerCallback):
    """Puts a weight out of all numbers before a step."""

    def __init__(self, step):
        self.step = step

    def on_step_begin(self, args, state, control, model=None, **kwargs):
        if state.global_step == self.step:
            with torch.no_grad():
                next(p for p in model.parameters() if p.requires_grad).fill_(float("nan"))


def test_a_run_that_diverges_says_where_and_what_to_change(tmp_path, tiny_settings, complete_corpus, selection):
    with pytest.raises(RunError, match=r"run: the training loss at step 6 is nan; take a lower learning_rate "
                                                r"\(it is 0.001\)"):
        train(tmp_path / "run", tiny_settings, complete_corpus, selection, callbacks=[Spoil(5)])
    assert not (tmp_path / "run").exists()


def test_selection_reads_one_question_of_a_passage(make_corpus):
    corpus = make_corpus([group(i, ("en", "de"), passage=i // 3) for i in range(9)])
    chosen = selection_of(corpus)
    assert chosen["query"] == [corpus.pair(i, "en", "en")["query"] for i in (0, 3, 6)]
    assert len(set(chosen["passage"])) == 3


def test_frozen_layers_do_not_move(tmp_path, tiny_settings, complete_corpus, selection):
    folder = train(tmp_path / "run", replace(tiny_settings, trainable_layers=1), complete_corpus, selection)
    before = encoding.load(tiny_settings.encoder)[0].state_dict()
    after = encoding.load(str(folder / "model"))[0].state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved and all(".layer.1." in name for name in moved)
    with pytest.raises(ValueError, match="trainable_layers is 3, the encoder has 2 layers"):
        freeze(encoding.load(tiny_settings.encoder)[0], 3)


def test_hard_negatives_reach_the_loss(tmp_path, tiny_settings, make_corpus, selection):
    records = [group(i, NINE) | {"negatives": {x: [f"passage {i} {x} 1"] for x in NINE}} for i in range(60)]
    corpus = make_corpus(records)
    plain = train(tmp_path / "plain", tiny_settings, corpus, selection)
    hard = train(tmp_path / "hard", replace(tiny_settings, hard_negatives=True), corpus, selection)
    first = [pd.read_csv(folder / "losses.csv")["loss"][0] for folder in (plain, hard)]
    assert first[1] > first[0] + 0.1, "more candidates make the first loss larger"


def test_a_half_written_checkpoint_is_passed_over(tmp_path):
    for step, state in ((4, "{}"), (8, '{"log_history": [')):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "trainer_state.json").write_text(state)
    (tmp_path / "checkpoint-12").mkdir()
    assert training._last_checkpoint(tmp_path) == tmp_path / "checkpoint-4"
    assert training._last_checkpoint(tmp_path / "checkpoint-12") is None


def test_a_missing_device_stops(tmp_path, tiny_settings, complete_corpus, selection):
    if torch.cuda.is_available():
        pytest.skip("a CUDA device is there")
    with pytest.raises(RuntimeError, match="no CUDA device"):
        train(tmp_path / "run", tiny_settings, complete_corpus, selection, device="cuda")
    assert not is_complete(tmp_path / "run", tiny_settings.as_dict())


def test_a_share_of_the_trained_weights_is_half_way_from_those_it_started_from(tmp_path, tiny_settings, complete_corpus,
                                                                              selection):
    def weights(folder):
        return SentenceTransformer(str(folder), device="cpu").state_dict()

    trained = train(tmp_path / "whole", tiny_settings, complete_corpus, selection)
    settings = replace(tiny_settings, trained_share=0.5)
    with pytest.raises(ValueError, match="see mix"):
        train(tmp_path / "half", settings, complete_corpus, selection)
    mixed = training.mix(tmp_path / "half", settings, [trained])
    whole, half = weights(trained / "model"), weights(mixed / "model")
    assert is_complete(mixed, settings.as_dict()) and not is_complete(mixed, tiny_settings.as_dict())
    assert (mixed / "losses.csv").read_bytes() == (trained / "losses.csv").read_bytes()
    facts, of_whole = (json.loads((place / "manifest.json").read_text()) for place in (mixed, trained))
    assert facts.keys() == of_whole.keys() and facts["seconds"] >= of_whole["seconds"]
    start = encoding.load(tiny_settings.encoder)[0].state_dict()
    moved = 0
    for name, value in half.items():
        if value.is_floating_point():
            torch.testing.assert_close(value, (whole[name] + start[name]) / 2)
            moved += not torch.equal(value, start[name])
    assert moved


def test_several_losses_are_a_run_each_and_the_mean_of_their_weights(tmp_path, tiny_settings, complete_corpus,
                                                                     selection):
    def weights(folder):
        return SentenceTransformer(str(folder / "model"), device="cpu").state_dict()

    settings = replace(tiny_settings, sampling="X-Y", alpha=0.0, losses=("info_nce", "embedding_distillation"), steps=4)
    with pytest.raises(ValueError, match="see mix"):
        train(tmp_path / "both", settings, complete_corpus, selection)
    runs = [train(tmp_path / loss, replace(settings, losses=None, loss=loss), complete_corpus, selection)
            for loss in settings.losses]
    both = training.mix(tmp_path / "both", settings, runs)
    first, second, mean, start = *map(weights, (*runs, both)), encoding.load(settings.encoder)[0].state_dict()
    assert any(not torch.equal(first[name], second[name]) for name in first)
    half = weights(training.mix(tmp_path / "half", replace(settings, trained_share=0.5), runs))
    for name, value in mean.items():
        torch.testing.assert_close(value, (first[name] + second[name]) / 2)
        torch.testing.assert_close(half[name], (value + start[name]) / 2)
    facts, *parts = (json.loads((place / "manifest.json").read_text()) for place in (both, *runs))
    assert facts["best_step"] == [part["best_step"] for part in parts]
    assert facts["steps_run"] == 8 and facts["seconds"] >= sum(part["seconds"] for part in parts)
    steps = pd.read_csv(both / "losses.csv")
    assert steps["step"].tolist() == [1, 2, 3, 4] * 2 and steps["of"].tolist() == [
        loss for loss in settings.losses for _ in range(4)]
    with pytest.raises(ValueError, match="losses are of runs of their own"):
        next(training.texts_of(settings, [complete_corpus]))


def test_the_symmetric_loss_is_the_mean_of_both_directions(tiny_settings, complete_corpus):
    model, _ = encoding.load(tiny_settings.encoder)
    pairs = [complete_corpus.pair(group, "de", "en") for group in range(4)]
    sides = [model.preprocess([pair[side] for pair in pairs]) for side in ("query", "passage")]
    loss = training._loss_of(replace(tiny_settings, loss="symmetric"), model, [complete_corpus], 1)
    model.eval()
    with torch.no_grad():
        queries, passages = (torch.nn.functional.normalize(model(dict(side))["sentence_embedding"], dim=1)
                             for side in sides)
        scores, right = queries @ passages.T / tiny_settings.temperature, torch.arange(4)
        known = (torch.nn.functional.cross_entropy(scores, right)
                 + torch.nn.functional.cross_entropy(scores.T, right)) / 2
        torch.testing.assert_close(loss([dict(side) for side in sides], None), known)


def first_embeddings(settings, corpus):
    """Of the first batch of a run before its first step: questions, passages, questions in the passage's language."""
    model, _ = encoding.load(settings.encoder, settings.max_length)
    batch = sampler_of(settings, [corpus]).batch(0)
    texts = ([f"query: {corpus.pair(*pair[1:])['query']}" for pair in batch],
             [f"passage: {corpus.pair(*pair[1:])['passage']}" for pair in batch],
             [f"query: {corpus.pair(p.group, p.passage_language, p.passage_language)['query']}" for p in batch])
    return [model.encode(side).astype(float) for side in texts]


def log_softmax(scores):
    return scores - np.log(np.exp(scores).sum(1, keepdims=True))


@pytest.mark.parametrize("loss", ["lakda", "clear"])
def test_the_first_loss_of_a_question_in_two_languages_by_hand(tmp_path, tiny_settings, complete_corpus, selection,
                                                               loss):
    settings = replace(tiny_settings, sampling="X-Y", alpha=0.0, loss=loss, steps=2, eval_steps=2, warmup_steps=0,
                       encoder=without_dropout(tiny_settings.encoder, tmp_path / "encoder"))
    losses = pd.read_csv(train(tmp_path / "run", settings, complete_corpus, selection) / "losses.csv")
    queries, passages, parallel = first_embeddings(settings, complete_corpus)
    if loss == "lakda":
        p, q = log_softmax(parallel @ passages.T), log_softmax(queries @ passages.T)
        expected = -0.5 * np.diag(log_softmax(queries @ passages.T / 0.05)).mean()
        expected += 0.5 * (np.exp(p) * (p - q)).sum(1).mean()
    else:
        p, q = log_softmax(passages @ queries.T / 0.05), log_softmax(parallel @ passages.T / 0.05)
        expected = -0.4 * np.diag(q).mean() - 0.4 * np.diag(p).mean() + 0.2 * (np.exp(p) * (p - q)).sum(1).mean()
    assert losses["loss"][0] == pytest.approx(expected, abs=1e-3)


def test_the_first_losses_of_two_temperatures_by_hand(tmp_path, tiny_settings, complete_corpus, selection):
    encoder = without_dropout(tiny_settings.encoder, tmp_path / "encoder")
    for seed in range(20):
        settings = replace(tiny_settings, temperature_crossing=0.5, steps=2, eval_steps=2, encoder=encoder, seed=seed,
                           learning_rate=1e-12)
        kinds = [sampler_of(settings, [complete_corpus]).composition(step)[2] for step in range(2)]
        if kinds == ["X-X", "X-Y"]:
            break
    losses = pd.read_csv(train(tmp_path / "run", settings, complete_corpus, selection) / "losses.csv")["loss"]
    model, _ = encoding.load(settings.encoder, settings.max_length)
    for step, temperature in enumerate((0.05, 0.5)):
        pairs = [complete_corpus.pair(*pair[1:]) for pair in sampler_of(settings, [complete_corpus]).batch(step)]
        queries, passages = (model.encode([f"{side}: {pair[side]}" for pair in pairs]).astype(float)
                             for side in ("query", "passage"))
        expected = -np.diag(log_softmax(queries @ passages.T / temperature)).mean()
        assert losses[step] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(("changes", "problem"), [
    ({"loss": "lakda"}, "loss=lakda needs each question in two languages: sampling X-Y, .* .they are Hybrid and error"),
    ({"loss": "clear", "sampling": "X-Y", "alpha": 0.0, "when_unable": "monolingual"}, "loss=clear needs each"),
    ({"loss": "clear", "sampling": "X-Y", "alpha": 0.0, "hard_negatives": True}, "loss=clear takes none"),
    ({"loss": "lakda", "sampling": "X-Y", "alpha": 0.0, "mini_batch_size": 2}, "mini_batch_size is 2, and loss=lakda"),
    ({"temperature_crossing": 0.01, "sampling": "X-Y", "alpha": 0.0}, "temperature_crossing is 0.01: it belongs to"),
    ({"temperature_crossing": 0.01, "loss": "symmetric"}, "this is symmetric under Hybrid"),
    ({"loss": "centred"}, "loss=centred needs batches of one question and one passage language.*this is Hybrid"),
    ({"loss": "centred_anchored", "sampling": "X-X mixed", "alpha": None, "pair_per_batch": True}, "this is X-X mixed"),
    ({"losses": ("info_nce", "clear")}, "loss=clear needs each question in two languages"),
    ({"losses": ("info_nce", "clear"), "loss": "symmetric"}, "^loss is given, and losses$"),
    ({"losses": ("info_nce", "infonce")}, "losses is .*expected a list of two or more different losses: info_nce, "),
    ({"losses": ("centred",)}, "losses is .*expected a list of two or more"),
    ({"dropout": 1.0}, "dropout is 1.0, expected a number from 0 to 0.9, or null"),
    ({"temperature_crossing": 0.0}, "temperature_crossing is 0.0, expected a number from 0.001 to 10, or null"),
])
def test_a_loss_that_cannot_be_had_is_refused_by_name(tiny_settings, changes, problem):
    with pytest.raises(SettingsError, match=problem):
        replace(tiny_settings, **changes)


@pytest.mark.parametrize("loss", ["lakda", "clear"])
def test_two_questions_need_one_process_and_every_language(tiny_settings, make_corpus, loss):
    settings = replace(tiny_settings, sampling="X-Y", alpha=0.0, loss=loss)
    model, _ = encoding.load(settings.encoder)
    corpus = make_corpus([group(i, ("de", "en"), ("de", "en", "ru") if i == 3 else ("de", "en")) for i in range(9)])
    with pytest.raises(ValueError, match=f"loss={loss} runs in one process"):
        training._loss_of(settings, model, [corpus], 2)
    with pytest.raises(ValueError, match=f"loss={loss} needs the question in the passage's language: 'toy' lacks some "
                                         "in ru; leave it out"):
        training._loss_of(settings, model, [corpus], 1)
    training._loss_of(replace(settings, languages=("de", "en")), model, [corpus], 1)


def test_a_step_of_three_texts_is_counted_as_it_is_encoded(tiny_settings, complete_corpus):
    plain = next(training.texts_of(tiny_settings, [complete_corpus]))
    settings = replace(tiny_settings, sampling="X-Y", alpha=0.0, loss="clear", batch_size=5)
    three = next(training.texts_of(settings, [complete_corpus]))
    assert {name: len(texts) for name, texts in plain.items()} == {"query": 8, "passage": 8}
    assert {name: len(texts) for name, texts in three.items()} == {"query": 5, "passage": 5, "parallel_query": 5}
    for query, passage, parallel in zip(*three.values(), strict=True):
        assert passage.split()[1:] == parallel.split()[1:] and query.split()[2] != passage.split()[2]


def test_two_temperatures_and_two_questions_go_on_after_a_stop(tmp_path, tiny_settings, complete_corpus, selection):
    for name, changes in (("crossing", {"temperature_crossing": 0.01}),
                          ("clear", {"sampling": "X-Y", "alpha": 0.0, "loss": "clear"})):
        settings = replace(tiny_settings, **changes)
        whole = train(tmp_path / f"{name}-whole", settings, complete_corpus, selection)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / name, settings, complete_corpus, selection, callbacks=[Interrupt(6)])
        resumed = train(tmp_path / name, settings, complete_corpus, selection)
        pd.testing.assert_frame_equal(*(pd.read_csv(folder / "losses.csv") for folder in (whole, resumed)))
