"""Run the numbered notebooks with papermill and print the result: ``make reproduce`` and ``make evidence``."""

import argparse
import hashlib
import json
import os
import sys
import time
from pathlib import Path

import pandas as pd

from hybridlib import figures, runs, training
from hybridlib.presets import ROOT, Preset

NOTEBOOKS = ROOT / "notebooks"


def notebooks(which="all"):
    """The numbered notebooks in order: "all"; the "walk" from data to claims; "evidence", sweeps and claims."""
    every = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
    number = {path: int(path.name[:2]) for path in every}
    if which == "walk":
        return [path for path in every if 1 <= number[path] <= 7]
    if which == "evidence":
        return [path for path in every if 8 <= number[path] <= 11] + [path for path in every if number[path] == 7]
    return every


def source_key(path, parameters, before):
    """What an executed notebook depends on: its own source, the library, the presets, and what ran before it.

    Parameters
    ----------
    path : path of a notebook
    parameters : dict
    before : str
        The key of the notebook that runs before it.
    """
    cells = json.loads(Path(path).read_text("utf-8"))["cells"]
    files = [*sorted(Path(__file__).parent.glob("*.py")), ROOT / "configs" / f"{parameters['preset_name']}.yaml"]
    parts = [json.dumps([[cell["cell_type"], cell["source"]] for cell in cells]),
             json.dumps(parameters, sort_keys=True), before, *(runs.sha256(file) for file in files)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def execute(path, output, parameters, key):
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
    with runs.atomic(output) as temporary:
        nbformat.write(notebook, temporary)
    failed.unlink(missing_ok=True)
    return True


def main(arguments=None):
    """Entry point of ``python -m hybridlib.reproduce``."""
    parser = argparse.ArgumentParser(prog="python -m hybridlib.reproduce", description=__doc__)
    parser.add_argument("--preset", default="mini", help="a file of configs/ (default: mini)")
    parser.add_argument("--data", default="", help="folder of the preset's data, where it needs one")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="training seeds (default: 0 1 2)")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--evidence", action="store_true", help="the sweeps 08 to 11, not the walk 01 to 07")
    parser.add_argument("--fraction", type=float, default=1.0, help="of each sweep, from its front (default: 1)")
    chosen = parser.parse_args(arguments)
    data = str(Path(chosen.data).resolve()) if chosen.data else ""
    try:
        training.check_device(chosen.device)
        preset = Preset(chosen.preset, data=data or None, device=chosen.device)
        preset.training_sets, preset.benchmark  # noqa: B018 (bad data stops here, before any work)
    except (ValueError, FileNotFoundError, RuntimeError) as error:
        sys.exit(f"hybridlib: {error}")

    # Bars inside the notebooks would only fill their stored outputs; papermill's own shows how far it is.
    os.environ["TQDM_DISABLE"] = "1"
    started, key = time.monotonic(), ""
    parameters = {"preset_name": chosen.preset, "data": data, "seeds": chosen.seeds,
                  "device": chosen.device}
    for path in notebooks("evidence" if chosen.evidence else "walk"):
        sweep = {"fraction": chosen.fraction} if int(path.name[:2]) >= 8 else {}
        key = source_key(path, parameters | sweep, key)
        output = preset.folder / "notebooks" / path.name
        begun = time.monotonic()
        ran = execute(path, output, parameters | sweep, key)
        spent = f"{time.monotonic() - begun:.0f} s" if ran else "unchanged"
        print(f"{path.stem}: {spent} -> {output.relative_to(ROOT)}", flush=True)

    if not chosen.evidence:
        print("\n" + (preset.folder / "results.txt").read_text("utf-8"))
    claims = figures.FOLDER / chosen.preset / "claims.csv"
    if len(chosen.seeds) > 2:
        print(pd.read_csv(claims)[["claim", "verdict", "text"]].to_string(index=False) + "\n")
    print(f"figures: figures/{chosen.preset}/    run folders: {preset.folder.relative_to(ROOT)}/")
    print(f"This took {(time.monotonic() - started) / 60:.1f} minutes.")


if __name__ == "__main__":
    main()
