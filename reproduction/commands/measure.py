"""Measure a preset's plan of evidence within a time: ``make evidence BUDGET=10m``.

    python -m reproduction.commands.measure --preset xquad --data DIR --budget 10m

What tells most is measured first; a run that does not fit is not begun, and what is left is said with what it would
cost. Asked again, it goes on where it stopped. Several processes on one large GPU, or on several machines, take a share
each, with run folders of their own:

    python -m reproduction.commands.measure … --share 1/4 --runs runs/first &
    python -m reproduction.commands.measure … --share 2/4 --runs runs/second & …
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from hybridlib.errors import one_line_errors
from reproduction.findings.plan import not_at_hand, plan_of, rest, seconds_of, share, spend
from reproduction.run import Store, check_device
from reproduction.workspace import ROOT, Workspace


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m reproduction.commands.measure", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="mini", help="a file of configs/, without its ending")
    parser.add_argument("--data", default="", help="folder of the preset's data, where it needs one")
    parser.add_argument("--budget", required=True, help="a time: 90s, 10m, 2h")
    parser.add_argument("--blocks", nargs="+", help="only these blocks of the plan (default: all)")
    parser.add_argument("--share", default="1/1", help="2/4: the second of four shares (default: the whole)")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs", help="where run folders go")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--discard", action="store_true",
                        help="remove a trained run's folder when all that is asked for here is measured of it")
    chosen = parser.parse_args(arguments)
    with one_line_errors():
        number, of = _share(chosen.share)
        seconds = seconds_of(chosen.budget)
        check_device(chosen.device)
        store = Store.open(chosen.preset, Workspace(chosen.data or None, chosen.device, runs=chosen.runs))
        store.preset.training_sets, store.test_sets  # noqa: B018 (bad data stops here, before any work)
        items = plan_of(store)
        blocks = list(dict.fromkeys(item.block for item in items))
        if unknown := {*(chosen.blocks or ())} - {*blocks}:
            raise ValueError(f"no block {', '.join(sorted(unknown))}; the plan has: {', '.join(blocks)}")
        items = [item for item in items if item.block in (chosen.blocks or blocks)]
        missing = not_at_hand(store, items)
        for block, folder in missing.items():
            print(f"left out: {block}, whose data are not there: {folder}")
        items = share([item for item in items if item.block not in missing], number, of)
        left = spend(store, items, seconds, discard=chosen.discard, tell=lambda text: print(text, flush=True))
        print(f"{rest(store, left)}\nevidence: {store.folder / 'evidence'}")
    return 0


def _share(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([1-9]\d{0,3})/([1-9]\d{0,3})", text)
    if not found or int(found[1]) > int(found[2]):
        raise ValueError(f"--share {text}: expected such as 2/4, the second of four")
    return int(found[1]), int(found[2])


if __name__ == "__main__":
    sys.exit(main())
