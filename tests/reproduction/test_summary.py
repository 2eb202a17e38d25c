"""The summary and the poster: their numbers are those of the tables, their words follow, and all is on the sheet."""

import csv
import dataclasses
import re
import zlib

import numpy as np
import pytest
from conftest import ROOT
from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.text import Text
from PIL import Image

from hybridlib.evaluation.figures import COLOURS
from reproduction.commands.summary import samplers_of, write
from reproduction.findings import summary
from reproduction.findings.summary_pages import STYLE, pages, poster
from reproduction.workspace import Workspace


@pytest.fixture(scope="module")
def facts():
    return summary.Facts.read(Workspace())


@pytest.fixture(scope="module")
def samplers():
    return samplers_of(Workspace())


@pytest.fixture(scope="module")
def sheets(facts, samplers):
    with style.context(["default", STYLE]):
        return [*pages(facts, samplers), poster(facts, samplers)]


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def told(facts):
    return " ".join([*summary.findings(facts), *(what for _, what in summary.situations(facts)),
                     summary.in_short(facts), summary.model(facts)])


def printed(value, digits, signed=False):
    """As the README prints a number, by rounding its text in the table."""
    text = f"{float(value):{'+' if signed else ''}.{digits}f}".replace("-", "−")
    return re.sub(r"^([+−]?)0\.", r"\1.", text)


def test_every_cell_of_the_tables_is_what_the_committed_files_hold(sheets):
    folder, wanted = ROOT / "results" / "xquad" / "cuda", set()
    systems = {"untrained", "untrained + erasure-corpus", "X-X", "X-Y", "Hybrid"}
    for name, column, kept in (
            ("values", "value", lambda row: row["system"] in systems),
            ("against", "difference", lambda row: row["reference"] == "Hybrid" and row["system"] in systems)):
        with open(folder / f"{name}.csv", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if row["benchmark"] in ("xquad-r", "mlqa-r") and kept(row) and row["measure"] in (
                        "monolingual AP", "crosslingual AP", "multilingual AP", "rank distance", "own language first"):
                    numbers = [float(row[key]) for key in (column, "low", "high")]
                    if column == "difference" and row["system"] == "untrained":
                        continue
                    if column == "difference" and row["system"] in ("X-X", "X-Y"):  # it stands there as Hybrid minus it
                        numbers = [-numbers[0], -numbers[2], -numbers[1]]
                    digits = 1 if row["measure"] == "rank distance" else 3
                    value, low, high = (printed(x, digits, column == "difference") for x in numbers)
                    wanted |= {value, f"[{low}, {high}]"}
    assert len(wanted) > 120
    for sheet in ([*texts(sheets[0]), *texts(sheets[1])], texts(sheets[2])):
        assert not wanted - set(sheet)


def test_no_number_stays_when_the_tables_change(facts):
    """What would be written by hand would still stand there."""
    changed = dataclasses.replace(facts, steps=151, **{name: getattr(facts, name).copy() for name in (
        "values", "against", "strengths")})
    changed.values["seeds"] *= 2
    for table in (changed.values, changed.against, changed.strengths):
        for column in {"value", "difference", "low", "high", "multilingual mAP", "own language first"} & set(table):
            table[column] = table[column].astype(float) + 5 + 2 * np.arange(len(table))
    before, after = (set(re.findall(r"[+−]?\d*\.?\d+", told(one))) for one in (facts, changed))
    # A temperature, a strength, bits, the paper's claims; and the encoders' names.
    assert before & after <= {".01", ".05", ".25", "4", "7", "2", "1", "5"}
    assert len(before) > 40


def test_the_words_follow_the_numbers(facts):
    assert "over XQuAD-R's pool Hybrid is above X-X (+.114 [+.087, +.140] mAP)" in told(facts).replace("Over", "over")
    assert "Hybrid is not told apart from X-Y (−.015 [−.032, +.001] mAP)" in told(facts)
    assert "within a language +.001 (not told apart from zero) and −.035" in told(facts)
    turned = facts.against.copy()
    turned[["difference", "low", "high"]] = -turned[["difference", "high", "low"]].to_numpy()
    other = told(dataclasses.replace(facts, against=turned))
    assert "XQuAD-R's pool Hybrid is below X-X (−.114 [−.140, −.087] mAP)" in other
    assert "the three are above the untrained encoder" in other and "the map is below Hybrid" in other


def test_a_comparison_that_no_table_has_is_refused(facts):
    with pytest.raises(KeyError, match="0 rows of"):
        facts.difference("X-Y", "X-X", "multilingual AP")


def test_nothing_runs_off_a_sheet(sheets):
    for figure in sheets:
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        places = [*figure.texts, *(text for legend in figure.legends for text in legend.get_texts()),
                  *(text for axis in figure.axes for text in (*axis.texts, axis.xaxis.label, axis.yaxis.label))]
        assert len(places) > 60
        for text in filter(lambda text: text.get_text(), places):
            box = text.get_window_extent(canvas.get_renderer()).transformed(figure.transFigure.inverted())
            assert box.x0 > 0.02 and box.x1 < 0.98 and box.y0 > 0.02 and box.y1 < 0.98, text


def streams(pdf):
    """What is drawn and with which letters, however it was compressed."""
    return [zlib.decompress(found) for found in re.findall(rb"FlateDecode.*?stream\r?\n(.*?)\r?\nendstream",
                                                           pdf.read_bytes(), re.DOTALL)]


def test_what_is_committed_is_drawn_from_the_tables_of_today_and_small(facts, samplers, tmp_path):
    files = write(facts, samplers, tmp_path)
    committed = [ROOT / file.relative_to(tmp_path) for file in files]
    for new, old, most in zip(files, committed, (500, 500, 1000), strict=True):
        assert old.stat().st_size < 1000 * most and new.stat().st_size < 1000 * most
    for new, old in zip(files[:2], committed[:2], strict=True):
        assert streams(new) and streams(new) == streams(old), "run python -m reproduction.commands.summary"
    with Image.open(committed[2]) as image:
        assert image.size == (3508, 2480)
        used = {colour for _, colour in image.convert("RGB").getcolors(256)}
    for name in ("X-X", "X-Y", "Hybrid"):
        wanted = [round(255 * part) for part in to_rgb(COLOURS[name])]
        assert min(max(abs(a - b) for a, b in zip(colour, wanted, strict=True)) for colour in used) <= 4
