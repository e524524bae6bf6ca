"""Fitting by scikit-learn: the SVM, the linear baseline, the calibrator. What comes back needs no scikit-learn."""

import logging

import numpy as np
import torch

from clipfake.detector.calibration import Sigmoid
from clipfake.detector.svm import KernelSvm, LinearSvm
from clipfake.errors import UsageError

log = logging.getLogger(__name__)

# libsvm needs about a minute for 40,000 rows and its time grows with the cube: train on a `balanced_subset` above this.
MAX_KERNEL_ROWS = 50_000


def fit_svm(x: np.ndarray, y: np.ndarray, C: float = 1.0, gamma: float | None = None) -> KernelSvm:
    """An RBF SVC.

    x : (N, d) vectors, taken as float32; y : (N,) 0 real, 1 fake
    gamma : None is scikit-learn's "scale", 1 / (d x variance of x), kept as a number

    The classes weigh the same however many rows they have, so that a decision of 0 is no statement about how common
    fakes were among the training data. Deterministic in the order of the rows.
    """
    from sklearn.svm import SVC

    _both_classes(y, "training")
    vectors = np.ascontiguousarray(x, np.float32)
    if gamma is None:
        variance = float(vectors.var(dtype=np.float64))
        gamma = 1.0 / (vectors.shape[1] * variance) if variance > 0 else 1.0
    model = SVC(C=C, kernel="rbf", gamma=gamma, class_weight="balanced", cache_size=1000).fit(vectors, y)
    log.info("SVM: %d support vectors of %d rows, C %g, gamma %.6g", len(model.support_), len(vectors), C, gamma)
    return KernelSvm(
        torch.from_numpy(vectors[model.support_]),
        torch.from_numpy(np.ascontiguousarray(model.dual_coef_[0])),
        float(model.intercept_[0]),
        gamma,
    )


def fit_linear_baseline(x: np.ndarray, y: np.ndarray, C: float = 1.0) -> LinearSvm:
    """A linear SVM on standardised vectors, with the standardisation folded into its coefficients.

    x : (N, d) raw embeddings; y : (N,) 0 real, 1 fake
    """
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC

    _both_classes(y, "training")
    # The primal is deterministic and the faster one from a few thousand rows on.
    model = make_pipeline(StandardScaler(), LinearSVC(C=C, class_weight="balanced", dual=False)).fit(
        x.astype(np.float64), y
    )
    scaler, svc = model[0], model[1]
    coef = svc.coef_[0] / scaler.scale_
    return LinearSvm(torch.from_numpy(coef), float(svc.intercept_[0] - coef @ scaler.mean_))


def fit_calibrator(decision: np.ndarray, y: np.ndarray) -> Sigmoid:
    """Platt's sigmoid on decisions of items that the SVM was not trained on.

    decision : (N,) float64; y : (N,) 0 real, 1 fake
    """
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator
    from sklearn.svm import LinearSVC

    _both_classes(y, "validation")
    # scikit-learn calibrates classifiers: this one's decision is the number it is given.
    identity = LinearSVC()
    identity.classes_, identity.coef_, identity.intercept_ = np.array([0, 1]), np.ones((1, 1)), np.zeros(1)
    rows = np.arange(len(y))
    # One fold of all rows: a frozen classifier has nothing to hold out, and the default asks for five rows a class.
    model = CalibratedClassifierCV(FrozenEstimator(identity), method="sigmoid", ensemble=False, cv=[(rows, rows)])
    fitted = model.fit(np.asarray(decision, np.float64)[:, None], y).calibrated_classifiers_[0].calibrators[0]
    if fitted.a_ >= 0:
        log.warning("on the validation part higher decisions are no more often fake: this detector tells nothing apart")
    return Sigmoid(float(fitted.a_), float(fitted.b_))


def _both_classes(y: np.ndarray, part: str) -> None:
    for label, word in ((0, "real"), (1, "fake")):
        if not np.any(np.asarray(y) == label):
            raise UsageError(f"the {part} part holds no {word} items; give more labelled images of that class")
