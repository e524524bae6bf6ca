"""Data and fits that several tests of the detector share."""

import numpy as np
import pytest

from clipfake.detector.classifiers.fitting import fit_svm


def overlapping(n, seed, dim=128):
    """(vectors, labels): two overlapping classes, fakes one third, on the unit sphere."""
    random = np.random.default_rng(seed)
    y = (random.random(n) < 1 / 3).astype(np.int8)
    x = random.normal(size=(n, dim)) + 0.12 * y[:, None]
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32), y


@pytest.fixture(scope="session")
def sphere():
    return overlapping


@pytest.fixture(scope="module")
def train():
    return overlapping(1500, 0)


@pytest.fixture(scope="module")
def fresh():
    return overlapping(1000, 1)


@pytest.fixture(scope="module")
def svm(train):
    return fit_svm(*train)


@pytest.fixture(scope="module")
def reference(train, svm):
    """scikit-learn's own, with the gamma that was found."""
    from sklearn.svm import SVC

    return SVC(gamma=svm.gamma, class_weight="balanced").fit(*train)
