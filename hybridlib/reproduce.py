"""Run the numbered notebooks in order with papermill, and print the result: what ``make reproduce`` calls."""

import argparse
import hashlib
import json
import os
import sys
import time
from pathlib import Path

from hybridlib import runs
from hybridlib.presets import ROOT, Preset

NOTEBOOKS = ROOT / "notebooks"


def notebooks():
    """The numbered notebooks, in order."""
    return sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))


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
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="training seeds (default: 0)")
    chosen = parser.parse_args(arguments)
    data = str(Path(chosen.data).resolve()) if chosen.data else ""
    try:
        preset = Preset(chosen.preset, data=data or None)
        preset.training_sets, preset.benchmark  # noqa: B018 (bad data stops here, before any work)
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"hybridlib: {error}")

    # Bars inside the notebooks would only fill their stored outputs; papermill's own shows how far it is.
    os.environ["TQDM_DISABLE"] = "1"
    started, key = time.monotonic(), ""
    parameters = {"preset_name": chosen.preset, "data": data, "seeds": chosen.seeds}
    for path in notebooks():
        key = source_key(path, parameters, key)
        output = preset.folder / "notebooks" / path.name
        begun = time.monotonic()
        ran = execute(path, output, parameters, key)
        spent = f"{time.monotonic() - begun:.0f} s" if ran else "unchanged"
        print(f"{path.stem}: {spent} -> {output.relative_to(ROOT)}", flush=True)

    print("\n" + (preset.folder / "results.txt").read_text("utf-8"))
    print(f"figures: figures/{chosen.preset}/    run folders: {preset.folder.relative_to(ROOT)}/")
    print(f"This took {(time.monotonic() - started) / 60:.1f} minutes.")


if __name__ == "__main__":
    main()
