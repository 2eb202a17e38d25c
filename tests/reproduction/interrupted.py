"""Runs that are killed, that meet another run, or that find the disk full, end as if nothing had happened."""

import gc
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from accelerate import PartialState
from accelerate.state import AcceleratorState, GradientState
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer
from tqdm.std import TqdmDefaultWriteLock
from transformers import TrainerCallback

from hybridlib import files
from hybridlib.training import selection_of
from reproduction.miracl import search
from reproduction.run import folder as run_folder
from reproduction.run import training

PASSAGES, SHARD = 300, 10
PATIENCE = 60  # seconds after which a process counts as one that hangs
# Forked processes would share the lock of tqdm's bars, and one that is killed while it holds it would stop all that
# come after it. Processes that a launcher starts share none.
TqdmDefaultWriteLock.mp_lock = None


def begin(job, processes, said):
    """Start a job in forked processes, as a launcher would; what they print goes to files that begin with ``said``."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def process(rank):
        where = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "MASTER_ADDR": "127.0.0.1",
                 "MASTER_PORT": port, "ACCELERATE_USE_CPU": "true"} if processes > 1 else {}
        os.environ.update({name: str(value) for name, value in where.items()})
        sys.stdout = sys.stderr = open(f"{said}.{rank}.txt", "w", buffering=1)
        # Earlier tests of this process may have made them, for one process.
        for state in (GradientState, AcceleratorState, PartialState):
            state._reset_state()
        torch.set_num_threads(1)
        # Half of the time goes to them: the cards of checkpoints, and a collection of what pytest has allocated.
        SentenceTransformer._create_model_card = lambda *_, **__: None
        gc.freeze()
        job()
    started = [multiprocessing.get_context("fork").Process(target=process, args=(rank,)) for rank in range(processes)]
    for each in started:
        each.start()
    return started


def end(started):
    """The exit codes; none of the processes may hang."""
    until = time.monotonic() + PATIENCE
    for each in started:
        each.join(max(0, until - time.monotonic()))
    hanging = [rank for rank, each in enumerate(started) if each.is_alive()]
    for each in started:
        each.kill()
        each.join()
    assert not hanging
    return [each.exitcode for each in started]


def run(job, processes, said):
    assert end(begin(job, processes, said)) == [0] * processes, "".join(
        file.read_text()[-2000:] for file in said.parent.glob(f"{said.name}.*.txt"))


@pytest.fixture
def said(tmp_path):
    """Where processes print."""
    (tmp_path / "said").mkdir()
    return tmp_path / "said" / "process"


@pytest.fixture
def job(complete_corpus, tiny_settings):
    """A training run of a folder, with dropout."""
    selection = selection_of(complete_corpus.select(range(50, 60)))

    def make(folder, settings=tiny_settings, **options):
        return lambda: training.train(folder, settings, [complete_corpus], selection, **options)
    return make


def encoding_job(folder):
    vectors = np.random.default_rng(0).standard_normal((PASSAGES, 16)).astype(np.float32)

    def encode(texts):
        time.sleep(0.01)
        return vectors[list(map(int, texts))]

    def encode_folder():
        state = PartialState(cpu=True)
        with run_folder.alone(folder):
            with state.main_process_first():
                if state.is_main_process:
                    search.claim_folder(folder, {"passages": PASSAGES, "shard": SHARD})
            search.encode_corpus(folder, ((f"d{i}", str(i)) for i in range(PASSAGES)), encode, state)
    return encode_folder


def assert_same_run(one, two, exactly=True):
    assert sorted(path.name for path in two.iterdir()) == ["losses.csv", "manifest.json", "model", "settings.json"]
    pd.testing.assert_frame_equal(*(pd.read_csv(folder / "losses.csv") for folder in (one, two)),
                                  check_exact=exactly, rtol=1e-5)
    weights = [load_file(folder / "model" / "model.safetensors") for folder in (one, two)]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=0 if exactly else 1e-4, atol=0 if exactly else 1e-6)
    assert not list(two.parent.glob(f".{two.name}.*")), "nothing temporary is left"


def assert_same_corpus(one, two):
    assert {path.name: path.read_bytes() for path in one.iterdir()} == {
        path.name: path.read_bytes() for path in two.iterdir()}


@pytest.mark.parametrize(("kind", "processes", "kills"), [
    ("training", 1, 8), ("encoding", 1, 6), ("training", 2, 3), ("encoding", 2, 3)])
def test_killed_at_random_moments_a_run_goes_on_to_the_same_result(tmp_path, job, said, kind, processes, kills):
    make = job if kind == "training" else encoding_job
    whole = tmp_path / "whole" / "run"
    started = time.monotonic()
    run(make(whole), processes, said)
    lasted = time.monotonic() - started
    moments = random.Random(f"{kind} {processes}")
    hit, number = 0, 0
    # A kill that comes too late, on a busy machine, does not count.
    while hit < kills:
        folder = tmp_path / str(number) / "run"
        # One of each two runs loses one process only. The launcher then stops the others: before they have met, one
        # would wait for the other for minutes.
        victims = [moments.randrange(processes)] if number % 2 else range(processes)
        living = begin(make(folder), processes, said)
        time.sleep(lasted * moments.uniform(0.1, 0.9))
        for victim in victims:
            living[victim].kill()
        for process in living:
            process.join(0.3)
            process.terminate()
        codes = end(living)
        unfinished = not folder.exists() or (kind == "encoding" and len(list(folder.iterdir())) < len(
            list(whole.iterdir())))
        hit += unfinished and all(codes[victim] == -signal.SIGKILL for victim in victims)
        run(make(folder), processes, said)
        if kind == "training":
            assert_same_run(whole, folder, exactly=processes == 1)
        else:
            assert_same_corpus(whole, folder)
        number += 1
        assert number <= 3 * kills, f"only {hit} kills met a run that was at work"


def dying(monkeypatch, within, at):
    """End the process before the ``at``-th thing that a function of ``training`` writes or removes, or at its end."""
    done = []

    def before(place, name):
        original = getattr(place, name)

        def call(*arguments, **options):
            done.append(name)
            if len(done) > at:
                os._exit(9)
            return original(*arguments, **options)
        monkeypatch.setattr(place, name, call)

    function = getattr(training, within)

    def armed(*arguments, **options):
        for place, name in ((os, "replace"), (os, "rename"), (os, "unlink"), (os, "rmdir"), (os, "mkdir"),
                            (pd.DataFrame, "to_csv")):
            before(place, name)
        function(*arguments, **options)
        os._exit(0)
    monkeypatch.setattr(training, within, armed)


def deaths(job, within, place, said, monkeypatch, check):
    """How many points a function has at which its process can die; after each, what ``check`` finds must be right."""
    before = place.with_name(f"before {within}")
    shutil.copytree(place, before)
    for point in range(200):
        shutil.rmtree(place)
        shutil.copytree(before, place)
        with monkeypatch.context() as patch:
            dying(patch, within, point)
            [code] = end(begin(job, 1, said))
        if code != 9:
            break
        check()
    assert code == 0, (said.parent / "process.0.txt").read_text()[-2000:]
    return point


def test_killed_at_any_point_of_its_end_a_run_goes_on_to_the_same_result(tmp_path, job, said, tiny_settings,
                                                                        monkeypatch):
    whole, place, choices = tmp_path / "whole" / "run", tmp_path / "place", tiny_settings.as_dict()
    folder, temporary = place / "run", place / ".run.tmp"
    run(job(whole), 1, said)
    # A run with other settings has the name until the new one is whole.
    old = replace(tiny_settings, seed=4).as_dict()
    files.write_json(folder / "settings.json", old)

    with monkeypatch.context() as patch:
        patch.setattr(training, "_write", lambda *_, **__: os._exit(9))
        assert end(begin(job(folder), 1, said)) == [9]

    def goes_on():
        assert run_folder.is_complete(folder, old)
        run(job(folder), 1, said)
        assert_same_run(whole, folder)

    assert deaths(job(folder), "_write", place, said, monkeypatch, goes_on) >= 6
    # What the last of them has left is written and not yet published.

    def start():
        with files.alone(folder):
            training._prepare(folder, temporary, choices, "fp32")

    def is_published():
        assert run_folder.is_complete(folder, old) or not folder.exists() or {
            path.name for path in folder.iterdir()} == {path.name for path in whole.iterdir()}
        start()
        assert run_folder.is_settled(folder)
        assert_same_run(whole, folder)

    assert deaths(start, "_prepare", place, said, monkeypatch, is_published) >= 30


def test_killed_at_any_point_of_its_start_a_run_begins_anew(tmp_path, said, monkeypatch):
    temporary = tmp_path / "place" / ".run.tmp"
    files.write_json(temporary / "settings.json", {"seed": 4})
    left = ("checkpoints/checkpoint-4/model.safetensors", "begun.json", "losses.csv")
    for name in left:
        (temporary / name).parent.mkdir(parents=True, exist_ok=True)
        (temporary / name).write_text("{}")

    def start():
        training._prepare(temporary.with_name("run"), temporary, {"seed": 3}, "fp32")

    def is_new():
        # Who asks for the earlier settings again must not go on with half of it.
        assert not run_folder.is_complete(temporary, {"seed": 4}) or all((temporary / name).is_file() for name in left)
        start()
        assert sorted(path.name for path in temporary.iterdir()) == ["begun.json", "settings.json"]
        assert run_folder.is_complete(temporary, {"seed": 3})

    assert deaths(start, "_prepare", temporary.parent, said, monkeypatch, is_new) >= 10


def test_what_stood_there_gets_its_name_back(tmp_path):
    (tmp_path / ".run.old").mkdir()
    (tmp_path / ".run.old" / "settings.json").write_text("{}")
    assert not run_folder.is_settled(tmp_path / "run")
    run_folder.settle(tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["run"] and run_folder.is_complete(tmp_path / "run", {})
    (tmp_path / ".run.old").mkdir()
    run_folder.settle(tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["run"] and run_folder.is_complete(tmp_path / "run", {})


@pytest.mark.parametrize("kind", ["training", "encoding"])
@pytest.mark.parametrize("processes", [1, 2])
def test_a_second_run_in_a_folder_says_so_and_ends(tmp_path, job, said, kind, processes):
    folder = tmp_path / "runs" / "run"
    with files.alone(folder):
        codes = end(begin((job if kind == "training" else encoding_job)(folder), processes, said))
        assert [path.name for path in folder.parent.iterdir()] == [".run.lock"], "it touches nothing"
    assert codes == [1] * processes
    for rank in range(processes):
        assert f"RunError: {folder}: another run is at work in it" in (said.parent / f"process.{rank}.txt").read_text()


def limited(job, size):
    """A job whose files can have ``size`` bytes: more is refused to it as by a full disk."""
    def inner():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        try:
            job()
        finally:  # else there would be no room to say why it ended
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    return inner


def assert_no_room(path, said):
    """The last line that a process said names what could not be written."""
    lines = (said.parent / "process.0.txt").read_text().splitlines()
    assert f"OSError: {path}: cannot be written, there is no room for it; make room and run again" in lines, lines


def test_without_room_for_a_checkpoint_training_says_so_and_goes_on_later(tmp_path, job, said):
    whole = tmp_path / "whole" / "run"

    class Size(TrainerCallback):
        def on_save(self, args, state, control, **kwargs):
            sizes = {path.name: path.stat().st_size for path in (tmp_path / "whole").rglob("checkpoint-*/*")}
            (tmp_path / "sizes.json").write_text(json.dumps(sizes))
    run(job(whole, callbacks=[Size()]), 1, said)
    sizes = json.loads((tmp_path / "sizes.json").read_text())
    assert sizes["model.safetensors"] < sizes["optimizer.pt"]
    for file in ("model.safetensors", "optimizer.pt"):
        folder = tmp_path / file / "run"
        assert end(begin(limited(job(folder), sizes[file] - 100), 1, said)) == [1]
        assert_no_room(folder.parent / ".run.tmp", said)
        assert not folder.exists() and not (folder.parent / ".run.lock").exists()
        run(job(folder), 1, said)
        assert_same_run(whole, folder)


def test_without_room_for_a_shard_encoding_says_so_and_goes_on_later(tmp_path, said):
    whole, folder = tmp_path / "whole", tmp_path / "full"
    run(encoding_job(whole), 1, said)
    size = (whole / "embeddings-00000.npy").stat().st_size
    assert end(begin(limited(encoding_job(folder), size - 1), 1, said)) == [1]
    assert_no_room(folder / "embeddings-00000.npy", said)
    assert sorted(path.name for path in folder.iterdir()) == ["docids-00000.txt", "settings.json"]
    run(encoding_job(folder), 1, said)
    assert_same_corpus(whole, folder)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of its own, of 8 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a small disk cannot be mounted here; root can, unless a container forbids it")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk, left):
    (disk / "filler").write_bytes(bytes(shutil.disk_usage(disk).free - left))


def test_on_a_disk_that_fills_up_training_leaves_nothing_half_and_goes_on_later(tmp_path, job, said, small_disk):
    class Fill(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            if state.global_step == 6:
                fill(small_disk, 2**17)
    whole, folder = tmp_path / "whole" / "run", small_disk / "run"
    run(job(whole), 1, said)
    assert end(begin(job(folder, callbacks=[Fill()]), 1, said)) == [1]
    assert_no_room(small_disk / ".run.tmp", said)
    assert sorted(path.name for path in small_disk.iterdir()) == [".run.tmp", "filler"]
    assert (small_disk / ".run.tmp" / "checkpoints" / "checkpoint-8").exists(), "the case does not fail in a checkpoint"
    assert training._last_checkpoint(small_disk / ".run.tmp" / "checkpoints").name == "checkpoint-4"
    (small_disk / "filler").unlink()
    run(job(folder), 1, said)
    assert_same_run(whole, folder)


def test_on_a_full_disk_encoding_leaves_nothing_half_and_goes_on_later(tmp_path, said, small_disk):
    whole, folder = tmp_path / "whole" / "run", small_disk / "run"
    run(encoding_job(whole), 1, said)
    fill(small_disk, 2**15)
    assert end(begin(encoding_job(folder), 1, said)) == [1]
    done = sorted(path.name for path in folder.iterdir())
    assert 2 < len(done) < len(list(whole.iterdir()))
    assert all((folder / name).read_bytes() == (whole / name).read_bytes() for name in done), "all are whole"
    # A shard's docids come first.
    shards = len([name for name in done if name.startswith("embeddings")])
    docids = f"docids-{shards:05}.txt"
    assert_no_room(folder / (f"embeddings-{shards:05}.npy" if docids in done else docids), said)
    (small_disk / "filler").unlink()
    run(encoding_job(folder), 1, said)
    assert_same_corpus(whole, folder)
