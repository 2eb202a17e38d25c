"""The reproduction in two pages and on a poster, from committed tables: docs/summary.pdf and figures/poster.*.

    python -m reproduction.commands.summary

Nothing is trained or encoded, and the same tables give the same bytes.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

from matplotlib import style
from matplotlib.backends.backend_pdf import PdfPages
from PIL import Image

from hybridlib import files
from hybridlib.errors import one_line_errors
from hybridlib.training import LanguageBatchSampler
from reproduction.findings.summary import TITLE, Facts
from reproduction.findings.summary_pages import STYLE, pages, poster
from reproduction.run import SYSTEMS, UNTRAINED, Store
from reproduction.workspace import Workspace

# Without the time, so that the bytes are the same.
ABOUT = {"Title": TITLE[0], "CreationDate": None}


def samplers_of(workspace: Workspace) -> dict[str, LanguageBatchSampler]:
    """By sampling, on our own corpus: what is in a batch."""
    preset = Store.open("mini", workspace).preset
    return {str(system): preset.sampler(system, 0) for system in SYSTEMS if system != UNTRAINED}


def write(facts: Facts, samplers: Mapping[str, LanguageBatchSampler], root: Path) -> list[Path]:
    """Draw it all under a folder; returns the files."""
    summary, vector, image = (root / name for name in ("docs/summary.pdf", "figures/poster.pdf", "figures/poster.png"))
    # From the defaults: a style that was set before must not show.
    with style.context(["default", STYLE]):
        with files.atomic(summary) as temporary, PdfPages(temporary, metadata=ABOUT) as document:
            for page in pages(facts, samplers):
                document.savefig(page)
        sheet = poster(facts, samplers)
        with files.atomic(vector) as temporary:
            sheet.savefig(temporary, format="pdf", metadata=ABOUT)
        drawn = BytesIO()
        sheet.savefig(drawn, format="png", dpi=150)
        # In 256 colours, a quarter of the size; by octree, which keeps those of the samplings apart.
        few = Image.open(drawn).convert("RGB").quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        with files.atomic(image) as temporary:
            few.save(temporary, format="png", optimize=True, dpi=(150, 150))
    return [summary, vector, image]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m reproduction.commands.summary", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args(arguments)
    with one_line_errors():
        workspace = Workspace()
        for file in write(Facts.read(workspace), samplers_of(workspace), workspace.root):
            print(f"{file.relative_to(workspace.root)}: {file.stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
