r"""Train one run of a preset.

    python -m reproduction.commands.train --preset xquad --data DIR --sampling Hybrid --seed 0

On several GPUs, or machines with a shared filesystem, with the launcher of your choice; the batch is that of the
preset, cut into equal slices::

    accelerate launch --num_processes 4 -m reproduction.commands.train --preset paper --data DIR \
        --sampling Hybrid --device cuda
    torchrun --nproc-per-node 4 -m reproduction.commands.train …

The notebooks find the run folder and do not train it again.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hybridlib.errors import one_line_errors
from reproduction.run import Store, System
from reproduction.workspace import ROOT, Workspace


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m reproduction.commands.train", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="mini", help="a file of configs/, without its ending")
    parser.add_argument("--data", type=Path, help="folder of the preset's data, where it needs one")
    parser.add_argument("--sampling", required=True, help='X-X, X-Y, Hybrid …; changed settings behind it: '
                                                          '"Hybrid alpha=0.4 mini_batch_size=32"')
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs", help="where run folders go")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    chosen = parser.parse_args(arguments)
    with one_line_errors():
        store = Store.open(chosen.preset, Workspace(chosen.data, chosen.device, runs=chosen.runs))
        print(store.train(System.parse(chosen.sampling), chosen.seed))
    return 0


if __name__ == "__main__":
    sys.exit(main())
