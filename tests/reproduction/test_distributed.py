"""Two processes train what one trains: the same batches, the same losses, the same weights up to rounding."""

import json
import os
import subprocess
import sys

import pandas as pd
import pytest
import yaml
from conftest import NINE, ROOT, group
from sentence_transformers import SentenceTransformer
from test_training import without_dropout

from hybridlib import files
from reproduction.run import HYBRID, Store


@pytest.fixture
def stores(tmp_path, tiny_encoder, write_lines):
    """Twice the same preset, of two training sets with hard negatives."""
    def lines(shift):
        return [group(i, NINE) | {"negatives": {x: [f"{i + j} {x}" for j in (40, 80, 120)] for x in NINE}}
                for i in range(shift, shift + 40)]
    paths = [write_lines("first.jsonl", lines(0)), write_lines("second.jsonl", lines(40))]
    config = yaml.safe_load((ROOT / "configs" / "mini.yaml").read_text("utf-8"))
    config |= {"encoder": without_dropout(tiny_encoder, tmp_path / "encoder"), "precision": "fp32", "batch_size": 8,
               "steps": 10, "eval_steps": 5, "trainable_layers": None, "learning_rate": 1e-3, "temperature": 0.05,
               "hard_negatives": True, "max_length": 16}
    sets = [{"format": "groups", "file": str(file), "sha256": files.sha256(file)} for file in paths]
    config["data"] |= {"training": sets, "selection": {"held_out_of": "second", "passages": 9, "seed": 0}}
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(config), "utf-8")
    # The runs of a preset that is given by its path lie beside it.
    return Store.open(str(tmp_path / "one")), Store.open(str(tmp_path / "two"))


def in_two_processes(store, system=None, program=None):
    program = program or ["-m", "reproduction.commands.train", "--preset", store.preset.name, "--sampling", system,
                          "--seed", "3"]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *program]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False,
                          env=os.environ | {"TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)})


KILLED = """
import os, signal, sys
from transformers import TrainerCallback
from reproduction.run import HYBRID, Store, train

class Kill(TrainerCallback):
    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == {step}:
            os.kill(os.getpid(), signal.SIGKILL)

store = Store.open({preset!r})
settings = store.preset.settings(HYBRID, 3)
train(store.run_folder(HYBRID, 3), settings, store.preset.sets_of(settings), store.preset.selection, callbacks=[Kill()])
"""


def test_two_processes_equal_one_though_they_were_killed(stores, tmp_path):
    # The batches of the steps after the kill must be those of a run that was never stopped.
    (tmp_path / "killed.py").write_text(KILLED.format(step=7, preset=stores[1].preset.name))
    one, two = stores[0].train(HYBRID, 3), stores[1].run_folder(HYBRID, 3)
    killed = in_two_processes(stores[1], program=[str(tmp_path / "killed.py")])
    assert killed.returncode != 0 and not two.exists()
    assert (two.parent / ".Hybrid-s3.tmp" / "checkpoints" / "checkpoint-5").is_dir(), killed.stderr[-3000:]
    done = in_two_processes(stores[1], "Hybrid")
    assert done.returncode == 0, done.stderr[-3000:]
    losses = [pd.read_csv(folder / "losses.csv") for folder in (one, two)]
    assert losses[0]["served"].nunique() == 2 and losses[0]["corpus"].nunique() == 2
    pd.testing.assert_frame_equal(*losses, rtol=1e-4)
    weights = [SentenceTransformer(str(folder / "model"), device="cpu").state_dict() for folder in (one, two)]
    start = SentenceTransformer(stores[0].preset.config["encoder"], device="cpu").state_dict()
    for name, value in weights[0].items():
        moved = (value - start[name]).abs().max()
        assert (weights[1][name] - value).abs().max() <= 1e-3 * moved + 1e-6, name
    facts = [json.loads((folder / "manifest.json").read_text())["processes"] for folder in (one, two)]
    assert facts == [1, 2]
    assert [path.name for path in two.parent.glob(".*")] == [], "nothing temporary is left"


def test_a_batch_that_cannot_be_cut_is_refused(stores):
    done = in_two_processes(stores[1], "Hybrid batch_size=7")
    assert done.returncode != 0, done
    assert "a batch of 7 cannot be cut into 2 equal slices" in done.stderr, done.stderr[:3000]
