"""A long step says how long it is expected to take and that it goes on; a short one says nothing."""

import time

import numpy as np
import pytest

from clipfake.detector.classifiers import fitting
from clipfake.detector.classifiers.fitting import exact_seconds
from clipfake.training.announcement import announced


def test_a_long_step_is_told_of_while_it_runs():
    heard = []
    with announced("SVM", 90.0, heard.append, every_s=0.05):
        while len(heard) < 3:
            time.sleep(0.01)
    assert heard[0] == "SVM: about 90 s, estimated from a fit of a few rows"
    assert heard[1] == heard[2] == "SVM: 0 s of about 90 s"
    before = len(heard)
    time.sleep(0.15)
    assert len(heard) == before


def test_where_nothing_is_expected_nothing_is_said_and_errors_come_through():
    heard = []
    with pytest.raises(ValueError, match="broken"), announced("SVM", None, heard.append, every_s=0.01):
        raise ValueError("broken")
    with pytest.raises(ValueError, match="broken"), announced("SVM", 1.0, heard.append, every_s=60):
        raise ValueError("broken")
    assert heard == ["SVM: about 1 s, estimated from a fit of a few rows"]


def test_the_time_of_the_exact_svc_is_estimated_where_it_is_fitted_and_long(monkeypatch):
    random = np.random.default_rng(0)
    y = np.arange(50_001) % 2
    x = (random.normal(size=(50_001, 16)) + 0.3 * y[:, None]).astype(np.float32)
    monkeypatch.setattr(fitting, "TIMED_ROWS", 500)
    assert exact_seconds(x[:1_000], y[:1_000], 1.0, 0.05) is None  # over in a moment
    assert exact_seconds(x, y, 1.0, 0.05) is None  # Nystroem's
    clock = iter([0.0, 0.25, 0.0, 0.25])
    monkeypatch.setattr(fitting.time, "perf_counter", lambda: next(clock))
    assert exact_seconds(x[:5_000], y[:5_000], 1.0, 0.05) == pytest.approx(25.0)
    assert exact_seconds(x[:40_000], y[:40_000], 1.0, 0.05) == pytest.approx(
        0.25 * 80**2 * (40_000 / 16_191) ** 1.5, 1e-3
    )
