"""The paper's tables as they are used beside ours."""

import pytest

from reproduction import published


def test_means_are_the_papers():
    assert published.means(["rank distance"]).loc[["X-X", "X-Y", "Hybrid"], "rank distance"].round(0).tolist() == [
        410, 295, 287]


@pytest.mark.parametrize("measure", [*published.COLUMNS, "rank distance"])
@pytest.mark.parametrize("model", published.MODELS)
@pytest.mark.parametrize(("dataset", "languages"), [("XQuAD-R", 11), ("MLQA-R", 7)])
def test_means_are_those_of_the_rows(measure, model, dataset, languages):
    table = published.by_language(measure, dataset, model)
    assert table.shape == (languages + 1, 3)
    rounding = 0.06 if measure == "rank distance" else 0.0002
    assert (table.iloc[:-1].mean() - table.loc["mean"]).abs().max() < rounding
