"""Fitting by scikit-learn: the SVM, the linear baseline, the calibrator. What comes back needs no scikit-learn."""

import logging
import time
from collections.abc import Sequence
from importlib import import_module

import numpy as np
import torch

from clipfake.detector.calibrators.maps import METHODS, Calibrator, Isotonic, Sigmoid, Temperature
from clipfake.detector.classifiers.kernel_svm import KernelSvm
from clipfake.detector.classifiers.linear import Linear
from clipfake.detector.classifiers.linear_solver import fit_linear
from clipfake.detector.classifiers.nystroem import LANDMARKS, fit_nystroem
from clipfake.errors import UsageError
from clipfake.measures.moments import moments
from clipfake.measures.sampling import balanced_subset, cost_weights

log = logging.getLogger(__name__)

# Up to here the exact SVC: about a minute for 40,000 rows, and its time grows with the cube. Above, Nystroem.
MAX_KERNEL_ROWS = 50_000
TIMED_ROWS = 4_000  # of the fit that the time of a larger one is estimated from
CACHE_MB = 1_000  # of the exact SVC's kernel
ISOTONIC_ROWS = 1_000  # of each class; below, its steps follow single items


def svm_rule(rows: int, landmarks: int = LANDMARKS) -> str:
    """Which SVM `fit_svm` fits on so many rows, in words."""
    if rows <= MAX_KERNEL_ROWS:
        return f"exact RBF SVC on {rows} rows"
    return (
        f"Nystroem with {landmarks} landmarks on {rows} rows (an exact RBF SVC takes too long above {MAX_KERNEL_ROWS})"
    )


def exact_seconds(x: np.ndarray, y: np.ndarray, C: float, gamma: float, seed: int = 0) -> float | None:
    """About how long the exact SVC on these rows takes here, from the time of one on TIMED_ROWS of them.

    Its time grows with the square of the rows while their kernel fits into its cache, and beyond that with the power
    3.5: so it was on 5,000 to 38,647 rows; the estimate is right within a factor of 2 or 3. None where there is
    nothing to wait for, or where no exact SVC is fitted.
    """
    if not 2 * TIMED_ROWS < len(x) <= MAX_KERNEL_ROWS:
        return None
    rows = balanced_subset(y.tolist(), [None] * len(x), TIMED_ROWS, seed)
    import_module("sklearn.svm")  # seconds, at first use, that are not the fit's
    began = time.perf_counter()
    _fit_exact(x[rows], y[rows], C, gamma, cost_weights(y[rows]))
    timed = time.perf_counter() - began
    in_cache = (CACHE_MB * 2**20 / 4) ** 0.5  # rows whose float32 kernel fits
    return timed * (len(x) / len(rows)) ** 2 * max(1.0, len(x) / in_cache) ** 1.5


def fit_svm(
    x: np.ndarray,
    y: np.ndarray,
    C: float = 1.0,
    gamma: float | None = None,
    generators: Sequence[str | None] | None = None,
    seed: int = 0,
    landmarks: int = LANDMARKS,
    weight: np.ndarray | None = None,
) -> KernelSvm:
    """An RBF SVM: scikit-learn's exact SVC up to MAX_KERNEL_ROWS rows, above it Nystroem over landmarks.

    x : (N, d) vectors, taken as float32, may be a memory map; y : (N,) 0 real, 1 fake
    gamma : None is `scale_gamma(x)`
    generators : (N,), over which the landmarks are balanced, as over the classes; None is all alike

    weight : (N,) of the rows; None is `cost_weights(y)`

    The classes weigh the same however many rows they have, so that a decision of 0 is no statement about how common
    fakes were among the training data. Deterministic in the order of the rows.
    """
    _both_classes(y, "training")
    if gamma is None:
        gamma = scale_gamma(x)
    if weight is None:
        weight = cost_weights(y)
    if len(x) <= MAX_KERNEL_ROWS:
        svm = _fit_exact(x, y, C, gamma, weight)
    else:
        names = generators if generators is not None else [None] * len(x)
        rows = balanced_subset(y.tolist(), names, landmarks, seed)
        svm = fit_nystroem(x, y, x[rows], C, gamma, weight)
    rule = svm_rule(len(x), landmarks)
    log.debug("SVM: %s: %d support vectors, C %g, gamma %.6g", rule, len(svm.dual_coef), C, gamma)
    return svm


def scale_gamma(x: np.ndarray) -> float:
    """scikit-learn's gamma "scale" as a number: 1 / (d x variance of all entries of x), or 1 where nothing varies."""
    mean, variance = moments(x)
    total = float((variance + (mean - mean.mean()) ** 2).sum())  # d x the variance over all entries
    return 1.0 / total if total > 0 else 1.0


def fit_linear_baseline(x: np.ndarray, y: np.ndarray, C: float = 1.0, weight: np.ndarray | None = None) -> Linear:
    """A linear SVM on standardised vectors, with the standardisation folded into its coefficients.

    x : (N, d) raw embeddings, may be a memory map; y : (N,) 0 real, 1 fake
    weight : (N,) of the rows; None is `cost_weights(y)`

    scikit-learn's LinearSVC up to MAX_KERNEL_ROWS rows; above it the same objective in bounded memory.
    """
    from sklearn.svm import LinearSVC

    _both_classes(y, "training")
    mean, variance = moments(x)
    # A dimension that does not vary is only centred, as by StandardScaler.
    scale = np.where(variance > 10 * np.finfo(np.float64).eps * (variance + mean**2), np.sqrt(variance), 1.0)
    if len(x) <= MAX_KERNEL_ROWS:
        # The primal is deterministic and the faster one from a few thousand rows on.
        weight = cost_weights(y) if weight is None else weight
        model = LinearSVC(C=C, dual=False).fit((x.astype(np.float64) - mean) / scale, y, sample_weight=weight)
        weights, intercept = model.coef_[0], float(model.intercept_[0])
    else:
        fitted, intercept = fit_linear(
            lambda start, stop: torch.from_numpy(((x[start:stop] - mean) / scale).astype(np.float32)), y, C, weight
        )
        weights = fitted.numpy()
    coef = weights / scale
    return Linear(torch.from_numpy(coef), float(intercept - coef @ mean))


def _fit_exact(x: np.ndarray, y: np.ndarray, C: float, gamma: float, weight: np.ndarray) -> KernelSvm:
    from sklearn.svm import SVC

    vectors = np.ascontiguousarray(x, np.float32)
    model = SVC(C=C, kernel="rbf", gamma=gamma, cache_size=CACHE_MB).fit(vectors, y, sample_weight=weight)
    return KernelSvm(
        torch.from_numpy(vectors[model.support_]),
        torch.from_numpy(np.ascontiguousarray(model.dual_coef_[0])),
        float(model.intercept_[0]),
        gamma,
    )


def check_calibration(method: str, y: np.ndarray) -> None:
    """Raises UsageError for an unknown method, and for isotonic below 1,000 validation items of each class."""
    if method not in METHODS:
        raise UsageError(f"there is no calibration {method!r}: choose one of {', '.join(METHODS)}")
    fewest = min(int((np.asarray(y) == label).sum()) for label in (0, 1))
    if method == "isotonic" and fewest < ISOTONIC_ROWS:
        raise UsageError(
            f"isotonic calibration needs {ISOTONIC_ROWS} validation items of each class and there are {fewest} of one: "
            "use --calibration sigmoid"
        )


def fit_calibrator(decision: np.ndarray, y: np.ndarray, method: str = "sigmoid") -> Calibrator:
    """Probabilities from decisions of items that the SVM was not trained on, as CalibratedClassifierCV gives them.

    decision : (N,) float64; y : (N,) 0 real, 1 fake; method : one of METHODS

    Raises UsageError as `check_calibration` does.
    """
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator
    from sklearn.svm import LinearSVC

    _both_classes(y, "validation")
    check_calibration(method, y)
    # scikit-learn calibrates classifiers: this one's decision is the number it is given.
    identity = LinearSVC()
    identity.classes_, identity.coef_, identity.intercept_ = np.array([0, 1]), np.ones((1, 1)), np.zeros(1)
    rows = np.arange(len(y))
    # One fold of all rows: a frozen classifier has nothing to hold out, and the default asks for five rows a class.
    model = CalibratedClassifierCV(FrozenEstimator(identity), method=method, ensemble=False, cv=[(rows, rows)])
    fitted = model.fit(np.asarray(decision, np.float64)[:, None], y).calibrated_classifiers_[0].calibrators[0]
    if method == "temperature":
        return Temperature(float(fitted.beta_))
    if method == "isotonic":
        return Isotonic(fitted.X_thresholds_.astype(np.float64), fitted.y_thresholds_.astype(np.float64))
    if fitted.a_ >= 0:
        log.warning("on the validation part higher decisions are no more often fake: this detector tells nothing apart")
    return Sigmoid(float(fitted.a_), float(fitted.b_))


def _both_classes(y: np.ndarray, part: str) -> None:
    for label, word in ((0, "real"), (1, "fake")):
        if not np.any(np.asarray(y) == label):
            raise UsageError(f"the {part} part holds no {word} items; give more labelled images of that class")
