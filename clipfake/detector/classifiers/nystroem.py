"""An RBF SVM on any number of rows: Nystroem's approximation over landmarks, scored as any other KernelSvm."""

import numpy as np
import torch

from clipfake.detector.classifiers.kernel_svm import KernelSvm, exact_float32, rbf
from clipfake.detector.classifiers.linear_solver import fit_linear

LANDMARKS = 1_024
# Eigenvalues of the landmarks' kernel below this share of the largest are dropped. A trained head's output is nearly of
# one dimension, so most are noise; keeping them changes no accuracy but multiplies the dual coefficients, and with them
# how far float32 decisions may differ between machines.
_CUT = 1e-5


def fit_nystroem(
    x: np.ndarray, y: np.ndarray, landmarks: np.ndarray, C: float, gamma: float, weight: np.ndarray | None = None
) -> KernelSvm:
    """A linear SVM on the Nystroem features of x, in bounded memory.

    x : (N, d) float32, may be a memory map; y : (N,) 0 real, 1 fake; landmarks : (m, d) float32
    weight : (N,) of the rows, None is `cost_weights(y)`

    With the landmarks' kernel matrix K = U diag(s) U' the features are k(x, landmarks) U diag(s)^(-1/2) (Williams and
    Seeger 2001; scikit-learn's Nystroem up to a rotation). A linear decision on them is sum_i a_i k(x, landmark_i) + b
    with a = U diag(s)^(-1/2) w: the landmarks are the support vectors and a the dual coefficients.
    """
    vectors = torch.from_numpy(np.ascontiguousarray(landmarks, np.float32))
    values, basis = torch.linalg.eigh(rbf(vectors.double(), vectors.double(), gamma))
    kept = values > _CUT * values[-1]
    whiten = basis[:, kept] / values[kept].sqrt()
    narrow = whiten.float()

    def features(start: int, stop: int) -> torch.Tensor:
        return rbf(torch.from_numpy(np.array(x[start:stop], np.float32)), vectors, gamma) @ narrow

    with exact_float32(vectors.device):
        coef, intercept = fit_linear(features, y, C, weight)
    return KernelSvm(vectors, whiten @ coef, intercept, gamma)
