"""The figures show the numbers they are given, with labelled axes, and nothing runs out of the picture."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from clipfake.measures.classification import classification
from clipfake.report.figures import training as draw

TITLE = (
    "What is shown\nimage + text, product, cycle_gan and pro_gan, ViT-B-32-quickgelu/a/long/path/of/weights.safetensors"
)
COUNTS = {"tn": 3686, "fp": 315, "fn": 337, "tp": 3663}
RANDOM = np.random.default_rng(0)
LABELS = np.arange(7000) % 2
HISTORY = [{"train_loss": 0.2 / (i + 1), "val_loss": 0.21 / (i + 1)} for i in range(9)]


@pytest.fixture(scope="module")
def drawn():
    shares = np.sort(RANDOM.dirichlet(np.ones(128)))[::-1]
    table = classification(COUNTS)
    parts = ("train", "val", "test")
    return {
        "loss": draw.loss_curves(HISTORY, 6, 0.2, TITLE),
        "distances": draw.distance_histograms(np.abs(RANDOM.normal(0.5, 0.1, 900)), np.full(900, 1.3), TITLE),
        "pca": draw.pca_scatter(RANDOM.normal(size=(7000, 2)), LABELS, shares, TITLE),
        "variance": draw.cumulative_variance(shares, TITLE),
        "confusion": draw.confusion_matrices(dict.fromkeys(parts, COUNTS), TITLE),
        "metrics": draw.metric_bars(dict.fromkeys(parts, table), TITLE),
        "overview": draw.accuracies([("image-both", table["accuracy"], None, 0.8)] * 9, TITLE),
    }


NAMES = ("loss", "distances", "pca", "variance", "confusion", "metrics", "overview")


@pytest.mark.parametrize("name", NAMES)
def test_axes_are_labelled_and_every_text_is_within_the_picture(drawn, name):
    figure = drawn[name]
    picture = draw.png(figure)
    assert picture.startswith(b"\x89PNG")
    for axes in figure.axes:
        assert axes.get_xlabel() or name == "metrics"  # whose ticks are words
    assert figure.axes[0].get_ylabel() or name == "overview"
    canvas, frame = FigureCanvasAgg(figure), figure.bbox
    canvas.draw()
    texts = [text for axes in figure.axes for text in (axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts)]
    for text in [*texts, figure._suptitle]:
        box = text.get_window_extent(canvas.get_renderer())
        if text.get_text():
            assert min(box.x0, box.y0) >= -1, text
            assert box.x1 <= frame.x1 + 1, text
            assert box.y1 <= frame.y1 + 1, text


def test_the_loss_shows_both_curves_and_the_epoch_that_was_kept(drawn):
    (axes,) = drawn["loss"].axes
    training, validation, kept = axes.lines
    assert training.get_ydata().tolist() == [entry["train_loss"] for entry in HISTORY]
    assert validation.get_ydata().tolist() == [entry["val_loss"] for entry in HISTORY]
    assert list(kept.get_xdata()) == [7, 7]
    assert "epoch 7, stopped at 9" in axes.texts[0].get_text()


def test_a_histogram_sums_to_one(drawn):
    (axes,) = drawn["distances"].axes
    for outline in axes.patches:
        corners = outline.get_xy()
        # The area under the outline over the width of a bin, by the shoelace formula.
        x, y = corners.T
        area = 0.5 * abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))
        assert area / np.diff(np.unique(x)).min() == pytest.approx(1)


def test_a_large_cloud_is_thinned_and_both_classes_stay(drawn):
    (axes,) = drawn["pca"].axes
    shown = [len(points.get_offsets()) for points in axes.collections]
    assert sum(shown) == 3000
    assert min(shown) > 1000


def test_the_matrix_holds_the_counts_and_the_shares_of_the_truth(drawn):
    for axes in drawn["confusion"].axes:
        texts = [text.get_text() for text in axes.texts]
        assert texts == ["3,686\n92.1%", "315\n7.9%", "337\n8.4%", "3,663\n91.6%"]


def test_the_components_needed_are_counted(drawn):
    (axes,) = drawn["variance"].axes
    total = axes.lines[0].get_ydata()
    for line, level in zip(axes.lines[2:], (0.9, 0.99), strict=True):
        (needed,) = line.get_xdata()
        assert total[needed - 2] < level <= total[needed - 1]
        assert f"{level:.0%}: {needed} components" == line.get_label()
