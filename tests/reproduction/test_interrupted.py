"""The tests of `interrupted.py`, in a process of their own: they fork, which a process with many threads must not."""

import os
import re
import subprocess
import sys
from pathlib import Path

from conftest import ROOT


def test_interrupted_runs_end_as_if_nothing_had_happened():
    command = [sys.executable, "-m", "pytest", "-o", "addopts=", "-q", "-rs", "-p", "no:cacheprovider",
               str(Path(__file__).with_name("interrupted.py"))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False,
                          env=os.environ | {"PYTEST_ADDOPTS": "", "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    # Where nothing can be mounted, some of them are skipped.
    ended = {name: int(count) for count, name in re.findall(r"(\d+) (passed|skipped)", done.stdout.splitlines()[-1])}
    assert sum(ended.values()) == 15 and ended["passed"] >= 13, done.stdout[-2000:]
