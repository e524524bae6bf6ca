"""Tables and figures of an evaluation hold its numbers; a stranger's name is drawn, not run or typeset."""

import io

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from clipfake.evaluation.protocols import ALL
from clipfake.measures.cells import Scored, cell, curves, real_sources
from clipfake.measures.thresholds import Threshold
from clipfake.report.evaluation_files import figures, tables
from clipfake.report.figures import evaluation as draw
from clipfake.report.figures.training import png

NASTY = "$\\frac{1}{0}$\n\x00 of a name that is far too long for any axis"


@pytest.fixture(scope="module")
def result():
    random = np.random.default_rng(0)
    y = np.arange(400) % 2
    decision = random.normal(size=400) + y
    scored = Scored(y, decision, 1 / (1 + np.exp(-decision)), np.arange(400), (Threshold(0.05, 1.5, 300),))
    names = (ALL, "glide", NASTY, "")
    own = [
        {"seed": 0, "trained_on": "the detector", "tested_on": name, "error": None, "errors": 1,
         **cell(scored.take(np.arange(i, 400))), **curves(scored.take(np.arange(i, 400)))}
        for i, name in enumerate(names)
    ]  # fmt: skip
    cells = [
        {"seed": seed, "trained_on": a, "tested_on": b, "error": None, "train_reals": 5, "train_fakes": 6,
         **cell(scored.take(random.integers(0, 400, 50)))}
        for seed in (0, 1) for a in names for b in names[1:3]
    ]  # fmt: skip
    cells += [{"seed": 0, "trained_on": "small", "tested_on": b, "error": "too few"} for b in names[1:3]]
    sources = real_sources(scored, np.array(["coco"] * 400, object), np.array([None] * 400, object))
    return {
        "detector": {"encoder": "ViT"},
        "protocols": {
            "own": {"cells": own, "real_sources": sources},
            "matrix": {"cells": cells},
            "leave-generator": {"cells": cells},
            "official": {"cells": cells[-2:]},
        },
    }


def test_a_row_a_cell_in_both_tables(result):
    files = dict(tables(result))
    assert sorted(files) == sorted(
        f"{name}.{kind}" for name in (*result["protocols"], "real_sources") for kind in ("csv", "parquet")
    )
    for name, section in result["protocols"].items():
        table = pq.read_table(io.BytesIO(files[f"{name}.parquet"]))
        assert table["tested_on"].to_pylist() == [one["tested_on"] for one in section["cells"]]
        assert table["error"].to_pylist() == [one["error"] for one in section["cells"]]
    own = pq.read_table(io.BytesIO(files["own.parquet"])).to_pylist()[0]
    one = result["protocols"]["own"]["cells"][0]
    assert own["auc_low"] == one["auc_low"]
    assert own["verdicts_fake_unsure"] == one["verdicts"]["fake"]["unsure"]
    assert own["fpr_high_at_threshold_0.05"] == one["at_thresholds"]["0.05"]["fpr_high"]
    assert own["tpr_at_fpr_0.05"] == one["tpr_at_fpr"]["0.05"]
    options = pyarrow.csv.ParseOptions(newlines_in_values=True)
    again = pyarrow.csv.read_csv(io.BytesIO(files["own.csv"]), parse_options=options)
    assert again["auc"].to_pylist() == pytest.approx([one["auc"] for one in result["protocols"]["own"]["cells"]])


def test_each_protocol_with_a_detector_has_its_figures(result):
    drawn = dict(figures(result))
    assert set(drawn) == {
        "own.png", "own-roc.png", "own-reliability.png", "matrix-auc.png", "matrix-balanced_accuracy.png",
        "leave-generator.png",
    }  # fmt: skip
    assert all(content.startswith(b"\x89PNG") for content in drawn.values())


def test_the_map_shows_the_mean_over_seeds_and_nothing_where_there_is_no_detector(result):
    cells = result["protocols"]["matrix"]["cells"]
    figure = draw.heat_map(cells, "Title", "auc")
    axes = figure.axes[0]
    values = np.ma.filled(axes.images[0].get_array(), np.nan)
    assert values.shape == (5, 2)
    two = [one["auc"] for one in cells if (one["trained_on"], one["tested_on"]) == (ALL, "glide")]
    assert values[0, 0] == pytest.approx(np.mean(two))
    assert np.isnan(values[-1]).all()
    assert len(axes.texts) == 8
    assert axes.texts[0].get_text() == f"{np.mean(two):.2f}"


def test_the_bars_begin_with_the_worst_and_no_text_leaves_the_picture(result):
    cells = result["protocols"]["own"]["cells"]
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


def test_reliability_shows_the_bins_and_roc_the_lowest_eight(result):
    cells = result["protocols"]["own"]["cells"]
    one = cells[0]
    figure = draw.reliability(one, "Title")
    assert [bar.get_height() for bar in figure.axes[1].patches] == [b["n"] for b in one["reliability"]]
    many = [{**cells[i % 4], "auc": i / 20} for i in range(12)]
    (axes,) = draw.roc_curves(many, "Title").axes
    assert len(axes.lines) == 8 + 1
    assert "AUC 0.350" in axes.lines[7].get_label()
