"""The figures show the rows they are given, a panel a kind, and nothing runs out of the picture."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from clipfake.evaluation.robustness_tables import operating_row, sweep
from clipfake.images.conditions.conditions import choose, standard
from clipfake.images.conditions.kinds import KINDS
from clipfake.measures.thresholds import Threshold
from clipfake.report.figures import robustness as draw

RANDOM = np.random.default_rng(0)
Y = np.arange(400) % 2
THRESHOLDS = (Threshold(0.05, 1.6, 300), Threshold(0.01, 2.3, 1200))


def rows_of(conditions, thresholds=THRESHOLDS):
    fade = np.linspace(1, 0.1, 1 + len(conditions))
    decision = RANDOM.normal(size=(400, 1 + len(conditions))) + np.where(Y == 1, 1, -1)[:, None] * fade
    return sweep(Y, decision, np.arange(400), conditions, thresholds)


def texts_are_within(figure):
    canvas, frame = FigureCanvasAgg(figure), figure.bbox
    canvas.draw()
    for axes in (axes for axes in figure.axes if axes.axison):
        for text in [axes.xaxis.label, axes.title, figure._suptitle, *axes.get_xticklabels()]:
            box = text.get_window_extent(canvas.get_renderer())
            assert not text.get_text() or (min(box.x0, box.y0) >= -1 and box.x1 <= frame.x1 + 1), text


def test_every_kind_has_its_panel_with_its_numbers():
    rows = rows_of(standard())
    figure = draw.robustness(rows, "What is left\nencoder ViT-B-32-quickgelu/a/long/path/of/weights.safetensors")
    texts_are_within(figure)
    panels = {axes.get_xlabel(): axes for axes in figure.axes if axes.get_xlabel()}
    assert len(panels) == len(KINDS) + 2  # resize has three filters
    jpeg = panels["JPEG quality"]
    assert [tick.get_text() for tick in jpeg.get_xticklabels()] == [
        "clean",
        *["100", "95", "90", "80", "70", "60", "50", "40", "30"],
    ]
    lines = {line.get_label(): line.get_ydata() for line in jpeg.lines}
    mine = [rows[0], *(row for row in rows if row["kind"] == "jpeg")]
    for label, values in {
        "AUC": [row["auc"] for row in mine],
        "balanced accuracy": [row["balanced_accuracy"] for row in mine],
        "real accuracy": [row["real_accuracy"] for row in mine],
        "fake accuracy": [row["fake_accuracy"] for row in mine],
        "TPR at the 5% threshold": [row["at_thresholds"]["0.05"]["tpr"] for row in mine],
        "FPR at the 5% threshold": [row["at_thresholds"]["0.05"]["fpr"] for row in mine],
    }.items():
        assert list(lines[label]) == values
    bright = panels["brightness times"]
    assert [tick.get_text() for tick in bright.get_xticklabels()] == ["0.5", "0.75", "clean", "1.25", "1.5"]


@pytest.mark.parametrize("names", [["jpeg-50"], ["social"], ["blur", "crop", "noise", "chain"]])
def test_any_choice_of_conditions_and_no_threshold_can_be_drawn(names):
    figure = draw.robustness(rows_of(choose(names), ()), "What is left")
    texts_are_within(figure)
    assert "TPR" not in str([line.get_label() for axes in figure.axes for line in axes.lines])


def test_the_attack_is_drawn_by_epsilon():
    decision = RANDOM.normal(size=400) + np.where(Y == 1, 1, -1)
    rows = [
        {
            "epsilon": epsilon,
            **operating_row(Y, decision - np.where(Y == 1, epsilon, -epsilon), np.arange(400), THRESHOLDS),
        }
        for epsilon in (0, 1, 2)
    ]
    figure = draw.adversarial(rows, "Under attack")
    texts_are_within(figure)
    (axes,) = figure.axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0", "1", "2"]
    (line,) = [line for line in axes.lines if line.get_label() == "fake accuracy"]
    assert list(line.get_ydata()) == [row["fake_accuracy"] for row in rows]
    assert line.get_ydata()[0] > line.get_ydata()[2]
