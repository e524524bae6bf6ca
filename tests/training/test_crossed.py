"""Decisions that calibrate are of rows that the model was not fitted on; thresholds hold for sources left out too."""

from dataclasses import replace

import numpy as np
from training_rows import labelled

from clipfake.training.crossed import fit_model, left_out
from clipfake.training.folds import grouped_folds
from clipfake.training.head import fit_head
from clipfake.training.models import RECIPES, part_of
from clipfake.training.options import HeadOptions, TrainOptions

OPTIONS = TrainOptions(model="linear", C=0.01, overridden=("C",))


def rows_of(data):
    split = np.arange(len(data.y)) // 2 % 10
    return {"train": np.flatnonzero(split < 7), "val": np.flatnonzero(split == 7), "test": np.flatnonzero(split > 7)}


def test_a_row_is_decided_by_a_model_that_saw_none_of_its_unit():
    data, recipe = labelled(seed=0), RECIPES["linear"]
    folds = grouped_folds(data.y, data.unit, 0)
    found = left_out(data, recipe, 4.0, OPTIONS, folds)
    assert np.isfinite(found).all()
    # What is said of a fold's rows does not depend on their labels.
    flipped = labelled(seed=0)
    flipped.y[folds[0]] = 1 - flipped.y[folds[0]]
    again = left_out(flipped, recipe, 4.0, OPTIONS, folds[:1])
    np.testing.assert_array_equal(again[folds[0]], found[folds[0]])
    assert np.isnan(again[~folds[0]]).all()


def test_the_model_is_of_all_rows_and_val_is_out_of_fold():
    data = labelled(seed=0)
    rows = rows_of(data)
    fitted = fit_model(data, rows, RECIPES["linear"], OPTIONS, lambda text: None)
    learn = data.take(np.sort(np.r_[rows["train"], rows["val"]]))
    whole = RECIPES["linear"].fit(learn, OPTIONS.C * len(learn.y), OPTIONS)
    np.testing.assert_array_equal(fitted.decision["test"], whole.decision(part_of(data.take(rows["test"]))))
    assert np.abs(fitted.decision["val"] - whole.decision(part_of(data.take(rows["val"])))).max() > 1e-3
    assert [(t.fpr, t.reals, t.units) for t in fitted.thresholds] == [(0.05, 160, 160)]


def test_a_source_unlike_the_others_raises_the_threshold():
    # Source b's photographs look like fakes: known, they are learned; left out, they pass for fakes.
    strange = labelled(seed=0, rows=800, shift={"b": 3.0, "g": 3.0, "h": 3.0})
    plain = labelled(seed=0, rows=800)
    found = [fit_model(data, rows_of(data), RECIPES["linear"], OPTIONS, lambda text: None) for data in (plain, strange)]
    worst = [fitted.source_rates["source_left_out"]["0.05"][0] for fitted in found]
    assert worst[1]["source"] == "b"
    spread = [fitted.decision["train"].std() for fitted in found]
    assert found[1].thresholds[0].decision / spread[1] > found[0].thresholds[0].decision / spread[0]


def test_a_head_is_cross_fitted_and_under_its_source_calibrated_on_val():
    data = labelled(seed=0)
    rows, small = rows_of(data), HeadOptions(epochs=2, out_dim=8, batch=32)
    options = TrainOptions(small, "head")
    fitted = fit_model(data, rows, RECIPES["head"], options, lambda text: None)
    assert [(t.fpr, t.units) for t in fitted.thresholds] == [(0.05, 160)]  # of train and val
    assert set(fitted.source_rates) == {"out_of_fold", "source_left_out"}
    held = fit_model(data, rows, RECIPES["head"], replace(options, cross_fitted=False), lambda text: None)
    assert set(held.source_rates) == {"validation"}
    val = data.take(rows["val"])
    np.testing.assert_array_equal(held.decision["val"], held.model.decision(part_of(val)))
    learned = fit_head(part_of(data.take(rows["train"])), part_of(val), small)
    np.testing.assert_array_equal(held.model.trained.state["linear.weight"], learned.state["linear.weight"])


def test_the_best_epoch_is_that_of_the_highest_auc_or_the_lowest_loss():
    data = labelled(seed=3)
    train, val = part_of(data.take(data.y >= 0)), part_of(labelled(seed=4))
    for stop, key, best in (("auc", "val_auc", np.argmax), ("loss", "val_loss", np.argmin)):
        options = HeadOptions(epochs=6, patience=6, out_dim=8, batch=32, learning_rate=0.05, stop=stop)
        trained = fit_head(train, val, options)
        assert trained.best_epoch == best([epoch[key] for epoch in trained.history])
