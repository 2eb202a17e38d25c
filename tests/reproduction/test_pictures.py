"""Pictures say no more than what was measured: no lines between points, one seed is named, a colour means one thing."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from hybridlib.evaluation import HEADLINE
from hybridlib.evaluation.figures import COLOURS, head, top_shares, use_style
from reproduction.findings import evidence_figures, figures

NAMES = [measure.name for measure in HEADLINE]
ONE_SEED = "One seed: how much another would differ is not known."


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def sweep_table(values, seeds, samplings=("X-X", "X-Y")):
    return pd.DataFrame([{"system": sampling, "sampling": sampling, "alpha": value, "seed": seed}
                         | {name: value + 0.01 * seed + number for name in NAMES}
                         for number, sampling in enumerate(samplings) for value in values for seed in seeds])


def texts(figure):
    return " ".join(text.get_text() for text in figure.texts).replace("\n", " ")


def joined(figure):
    """Lines that go through more than one place along the axis."""
    return [line for axis in figure.axes for line in axis.lines
            if line.get_linestyle() not in ("None", "") and len(set(np.round(line.get_xdata(), 9))) > 1]


@pytest.mark.parametrize("draw", [
    lambda table: evidence_figures.sweep(table, "alpha", "alpha", "A title"),
    lambda table: evidence_figures.alpha(table, "A title"),
    lambda table: evidence_figures.systems(table, "A title")], ids=["sweep", "alpha", "systems"])
def test_no_line_is_drawn_between_what_was_measured_and_one_seed_is_named(draw):
    several, single = (draw(sweep_table((0.0, 0.5, 1.0), seeds)) for seeds in ((0, 1, 2), (0,)))
    assert not joined(several) and not joined(single)
    assert "3 seeds." in texts(several) and "A title" in texts(several)
    assert ONE_SEED in texts(single) and ONE_SEED not in texts(several)


def test_losses_are_dots_where_they_were_checked_and_none_is_cut_off():
    run = pd.DataFrame({"step": range(1, 41), "loss": 1.0, "eval_loss": np.nan})
    run.loc[[19, 39], "eval_loss"] = 0.9, 0.8
    left, right = figures.losses({"X-X": [run], "X-Y": [run]}, "A title").axes
    assert left.lines and not [line for line in right.lines if line.get_linestyle() not in ("None", "")]
    low, high = right.get_ylim()
    assert low < 0.8 and high > 0.9
    assert right.get_xticks().tolist() == [20, 40]


def test_the_axes_of_differences_are_called_so_and_filled_is_what_excludes_zero():
    rows = [{"system": system, "benchmark": "toy", "measure": name, "difference": 0.1, "low": low, "high": 0.2,
             "chosen": system == "X-Y", "seeds": 5} for system, low in (("X-Y", 0.05), ("X-X", -0.1)) for name in NAMES]
    figure = evidence_figures.gains(pd.DataFrame(rows), "A title")
    assert all(axis.get_xlabel().startswith("difference in") for axis in figure.axes)
    points = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert [line.get_markerfacecolor() == "white" for line in points] == [False, True]
    assert [to_hex(line.get_color()).upper() for line in points] == [COLOURS["X-Y"], COLOURS["X-X"]]


def test_a_verdict_has_a_shape_and_no_colour_of_a_sampling():
    part = {"claim": 1, "benchmark": "b", "languages": "all", "measure": NAMES[0], "comparison": "A at least B",
            "difference": 0.0, "low": -0.1, "high": 0.1, "margin": 0.01, "seeds": 5}
    parts = pd.DataFrame([part | {"holm_for": a, "holm_against": b} for a, b in ((0.01, 1), (1, 0.01), (1, 1))]
                         + [part | {"measure": "rank distance", "holm_for": 1, "holm_against": 1}] * 2)
    points = [line for line in evidence_figures.claims(parts, "A title").axes[0].lines if line.get_marker() in "oX"]
    assert [(line.get_marker(), line.get_markerfacecolor() == "white") for line in points] == [
        ("o", False), ("X", False), ("o", True)]
    assert not {to_hex(line.get_color()).upper() for line in points} & set(COLOURS.values())


def test_twin_heat_maps_share_the_scale_that_they_are_given():
    pool = pd.Series({"de": 0.5, "en": 0.5})
    for share in (0.6, 0.9):
        shares = pd.DataFrame([[share, 1 - share], [1 - share, share]], index=list(pool.index), columns=pool.index)
        axis = top_shares(shares, pool, "A title", largest=8).axes[0]
        assert axis.collections[0].get_clim() == (-3, 3)


@pytest.mark.parametrize("before", [plt.rcdefaults, use_style])
def test_a_long_title_is_wrapped_within_the_figure(before):
    before()
    figure, axis = plt.subplots(figsize=(6, 2))
    figure.tight_layout()
    bottom = axis.get_position().y0 * figure.get_figheight()
    head(figure, "many words " * 20, "a note of some words " * 8)
    figure.canvas.draw()
    width, height = figure.bbox.width, figure.bbox.height
    boxes = [text.get_window_extent() for text in figure.texts]
    assert all(box.x1 < width and box.y1 < height for box in boxes)
    note, title = boxes
    assert note.y1 <= title.y0, "the note stands under the title"
    assert axis.get_position().y0 * figure.get_figheight() == pytest.approx(bottom), "the axes keep their place"
