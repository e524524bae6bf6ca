"""The head's training: a checkpoint goes on as if nothing had happened, patience ends it, a collapse is said."""

import copy
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from clipfake.detector.heads import shared_triplet_loss
from clipfake.errors import ClipfakeError
from clipfake.training.head import EPOCHS_A_CHECKPOINT, SplitPart, _run_name, fit_head, separation
from clipfake.training.options import HeadOptions

OPTIONS = HeadOptions(epochs=EPOCHS_A_CHECKPOINT + 2, patience=99, out_dim=4, batch=32)


def part(seed: int, rows: int = 96, apart: float = 0.3) -> SplitPart:
    """Two overlapping classes in 16 dimensions."""
    random = np.random.default_rng(seed)
    y = np.arange(rows, dtype=np.int64) % 2
    x = random.normal(size=(rows, 16)).astype(np.float32) + apart * (2 * y[:, None] - 1).astype(np.float32)
    return SplitPart(x, y, np.where(y == 1, "made", "").astype(object))


def test_a_training_that_goes_on_from_a_checkpoint_ends_as_one_that_never_stopped():
    saved = []
    whole = fit_head(part(1), part(2), OPTIONS, report=lambda figures, state: saved.append(copy.deepcopy(state)))
    assert [len(state["history"]) for state in saved] == [EPOCHS_A_CHECKPOINT, OPTIONS.epochs]
    rest = fit_head(part(1), part(2), OPTIONS, saved=saved[0])
    assert rest.history == whole.history and rest.best_epoch == whole.best_epoch
    assert rest.state.keys() == whole.state.keys()
    for name, value in whole.state.items():
        np.testing.assert_array_equal(rest.state[name], value)


def test_patience_ends_a_training_that_learns_nothing_more():
    still = replace(OPTIONS, learning_rate=1e-12, patience=2)  # the first epoch stays the best
    trained = fit_head(part(1), part(2), still)
    assert (trained.best_epoch, len(trained.history)) == (0, 3)


def test_a_head_that_maps_all_to_one_point_is_refused(monkeypatch):
    monkeypatch.setattr(shared_triplet_loss, "collapsed", lambda epochs, margin: len(epochs) == 2)
    with pytest.raises(ClipfakeError, match="use --miner semi-hard"):
        fit_head(part(1), part(2), OPTIONS)


def test_separation_is_the_auc_along_the_line_between_the_means():
    train, val = part(3), part(4)
    line = train.x[train.y == 1].mean(0) - train.x[train.y == 0].mean(0)
    assert separation(lambda x: x, train, val, seed=0) == pytest.approx(roc_auc_score(val.y, val.x @ line), abs=1e-6)


def test_a_changed_input_or_option_starts_anew():
    names = {
        _run_name(part(1), part(2), OPTIONS),
        _run_name(part(2), part(1), OPTIONS),
        _run_name(replace(part(1), generator=np.full(96, "other", object)), part(2), OPTIONS),
        _run_name(part(1), part(2), replace(OPTIONS, margin=0.5)),
    }
    assert len(names) == 4
    assert _run_name(part(1), part(2), OPTIONS) in names
