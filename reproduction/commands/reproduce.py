"""Run the numbered notebooks with papermill and print the result: ``make reproduce`` and ``make evidence``.

With ``--published`` (``make reproduce PUBLISHED=1``) those that evaluate, 05 to 07, from ranks that are committed under
``results/<preset>/<device>``: nothing is trained, and no data, encoder or GPU is needed.
"""

import argparse
import hashlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from hybridlib import files
from hybridlib.errors import one_line_errors
from reproduction.run import SYSTEMS, Store, check_device
from reproduction.workspace import ROOT, Workspace


def notebooks(which: str = "all", workspace: Workspace | None = None) -> list[Path]:
    """The numbered notebooks in order: "all"; the "walk" from data to claims; "evidence", sweeps and claims;
    "published", those that ranks are enough for.
    """
    every = sorted((workspace or Workspace()).notebooks.glob("[0-9][0-9]_*.ipynb"))
    number = {path: int(path.name[:2]) for path in every}
    if which == "walk":
        return [path for path in every if 1 <= number[path] <= 7]
    if which == "published":
        return [path for path in every if 5 <= number[path] <= 7]
    if which == "evidence":
        sweeps = [path for path in every if number[path] in (8, 9, 10, 11, 14)]
        return sweeps + [path for path in every if number[path] == 7]
    return every


def source_key(path: str | Path, parameters: dict[str, Any], before: str) -> str:
    """What an executed notebook depends on: its own source, both packages, the presets, and what ran before it.

    Parameters
    ----------
    path : path of a notebook
    parameters : dict
    before : str
        The key of the notebook that runs before it.
    """
    cells = json.loads(Path(path).read_text("utf-8"))["cells"]
    code = [file for package in ("hybridlib", "reproduction") for file in sorted((ROOT / package).rglob("*.py"))]
    preset = Workspace().configs / f"{parameters['preset_name']}.yaml"
    parts = [json.dumps([[cell["cell_type"], cell["source"]] for cell in cells]),
             json.dumps(parameters, sort_keys=True), before, *(files.sha256(file) for file in [*code, preset])]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def execute(path: Path, output: Path, parameters: dict[str, Any], key: str) -> bool:
    """Execute a notebook unless ``output`` holds it already under this key; returns whether it ran.

    The output appears under its name only when the notebook ran to its end; what a failed one had written is
    left beside it as ``<name>.failed.ipynb``.
    """
    import nbformat
    import papermill

    if output.is_file() and json.loads(output.read_text("utf-8"))["metadata"].get("hybridlib_key") == key:
        return False
    failed = output.with_name(output.stem + ".failed.ipynb")
    output.parent.mkdir(parents=True, exist_ok=True)
    notebook = papermill.execute_notebook(
        path, failed, parameters=parameters, cwd=str(path.parent), kernel_name="python3", progress_bar=True)
    notebook.metadata["hybridlib_key"] = key
    with files.atomic(output) as temporary:
        nbformat.write(notebook, temporary)
    failed.unlink(missing_ok=True)
    return True


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``python -m reproduction.commands.reproduce``."""
    parser = argparse.ArgumentParser(prog="python -m reproduction.commands.reproduce", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="mini", help="a file of configs/ (default: mini)")
    parser.add_argument("--data", default="", help="folder of the preset's data, where it needs one")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="training seeds (default: 0 1 2)")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu",
                        help="what computes; with --published what the ranks were measured on (default: cpu)")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--evidence", action="store_true", help="the sweeps 08 to 11 and 14, not the walk 01 to 07")
    which.add_argument("--published", action="store_true", help="05 to 07 from the committed ranks")
    parser.add_argument("--fraction", type=float, default=1.0, help="of each sweep, from its front (default: 1)")
    chosen = parser.parse_args(arguments)
    if min(chosen.seeds) < 0 or len(set(chosen.seeds)) < len(chosen.seeds):
        parser.error(f"--seeds {' '.join(map(str, chosen.seeds))}: expected different whole numbers from 0")
    if not 0 < chosen.fraction <= 1:
        parser.error(f"--fraction is {chosen.fraction}, expected a number above 0 to 1")
    with one_line_errors():
        data = str(Path(chosen.data).resolve()) if chosen.data else ""
        store = Store.open(chosen.preset, Workspace(data or None, chosen.device),
                           "published" if chosen.published else "trained")
        # What cannot be done stops here, before any work.
        if chosen.published:
            store.evaluate([(system, seed) for system in SYSTEMS for seed in chosen.seeds])
        else:
            check_device(chosen.device)
            store.preset.training_sets, store.test_sets  # noqa: B018 (read for what may be wrong with them)

    # Bars inside the notebooks would only fill their stored outputs; papermill's own shows how far it is.
    os.environ["TQDM_DISABLE"] = "1"
    started, key = time.monotonic(), ""
    parameters = {"preset_name": chosen.preset, "data": data, "seeds": chosen.seeds,
                  "device": chosen.device} | ({"runs": "published"} if chosen.published else {})
    if chosen.published:  # what they are made of, in place of run folders
        key = files.key({block.name: files.fingerprint(block) for block in store.preset.blocks})
    for path in notebooks("evidence" if chosen.evidence else "published" if chosen.published else "walk"):
        sweep = {"fraction": chosen.fraction} if int(path.name[:2]) >= 8 else {}
        key = source_key(path, parameters | sweep, key)
        output = store.folder / "notebooks" / path.name
        begun = time.monotonic()
        ran = execute(path, output, parameters | sweep, key)
        spent = f"{time.monotonic() - begun:.0f} s" if ran else "unchanged"
        print(f"{path.stem}: {spent} -> {output.relative_to(ROOT)}", flush=True)

    if not chosen.evidence:
        print("\n" + (store.folder / "results.txt").read_text("utf-8"))
    drawn = store.workspace.drawn(chosen.preset)
    made = "published ranks" if chosen.published else "run folders"
    place = store.preset.folder if chosen.published else store.folder
    if len(chosen.seeds) > 2:
        claims = pd.read_csv(drawn / "results" / "claims.csv")
        print(claims[["claim", "verdict", "text"]].to_string(index=False) + "\n")
    print(f"figures: {drawn.relative_to(ROOT)}/figures/    {made}: {place.relative_to(ROOT)}/")
    print(f"This took {(time.monotonic() - started) / 60:.1f} minutes.")


if __name__ == "__main__":
    main()
