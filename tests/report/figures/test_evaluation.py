"""The figures of an evaluation show its numbers, and no text leaves the picture."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from clipfake.evaluation.protocols import ALL
from clipfake.report.figures import evaluation as draw
from clipfake.report.figures.training import png


def test_the_map_shows_the_mean_over_seeds_and_nothing_where_there_is_no_detector(evaluated):
    cells = evaluated["protocols"]["matrix"]["cells"]
    figure = draw.heat_map(cells, "Title", "auc")
    axes = figure.axes[0]
    values = np.ma.filled(axes.images[0].get_array(), np.nan)
    assert values.shape == (5, 2)
    two = [one["auc"] for one in cells if (one["trained_on"], one["tested_on"]) == (ALL, "glide")]
    assert values[0, 0] == pytest.approx(np.mean(two))
    assert np.isnan(values[-1]).all()
    assert len(axes.texts) == 8
    assert axes.texts[0].get_text() == f"{np.mean(two):.2f}"


def test_the_bars_begin_with_the_worst_and_no_text_leaves_the_picture(evaluated):
    cells = evaluated["protocols"]["own"]["cells"]
    figure = draw.generator_bars(cells, "A title\nand more of it")
    png(figure)
    (axes,) = figure.axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    worst = min(cells, key=lambda one: one["balanced_accuracy"])
    assert labels[0].split("\n")[0] == draw._short(worst["tested_on"])
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    for text in (*axes.get_yticklabels(), axes.xaxis.label, figure._suptitle):
        box = text.get_window_extent(canvas.get_renderer())
        assert min(box.x0, box.y0) >= -1, text
        assert box.x1 <= figure.bbox.x1 + 1, text


def test_reliability_shows_the_bins_and_roc_the_lowest_eight(evaluated):
    cells = evaluated["protocols"]["own"]["cells"]
    one = cells[0]
    figure = draw.reliability(one, "Title")
    assert [bar.get_height() for bar in figure.axes[1].patches] == [b["n"] for b in one["reliability"]]
    many = [{**cells[i % 4], "auc": i / 20} for i in range(12)]
    (axes,) = draw.roc_curves(many, "Title").axes
    assert len(axes.lines) == 8 + 1
    assert "AUC 0.350" in axes.lines[7].get_label()
