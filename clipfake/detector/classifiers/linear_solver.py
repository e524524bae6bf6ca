"""A linear SVM on any number of rows: exact, deterministic, in memory that does not grow with them."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from clipfake.measures.sampling import cost_weights

BLOCK = 8_192  # rows a step
_STEPS = 30
_PRECISION = 1e-7  # of the objective


def fit_linear(
    features: Callable[[int, int], Tensor], y: np.ndarray, C: float = 1.0, weight: np.ndarray | None = None
) -> tuple[Tensor, float]:
    """The coefficients and the intercept that minimise 1/2 |w|^2 + C sum_i c_i max(0, 1 - s_i (w . x_i + b))^2.

    features : (start, stop) -> those rows, (stop - start, m) float32; asked for a block at a time, several times over
    y : (N,) 0 real (s = -1), 1 fake (s = 1); weight : (N,) the c_i, None is `cost_weights(y)`

    Returns (m,) float64 and a float. This is LinearSVC's objective, but the intercept is not regularised.
    Newton's method on the primal (Keerthi and DeCoste 2005, Chapelle 2007) converges in about six passes and keeps one
    (m, m) matrix; LinearSVC needs all N x m features at once, sixteen bytes each.
    """
    sign = torch.from_numpy(np.where(np.asarray(y) == 1, 1.0, -1.0))
    cost = C * torch.from_numpy(cost_weights(y) if weight is None else weight)
    size = features(0, 1).shape[1] + 1  # the last feature is 1, its weight the intercept
    ridge = torch.ones(size, dtype=torch.float64)
    ridge[-1] = 0.0
    best, low, w = torch.zeros(size, dtype=torch.float64), np.inf, torch.zeros(size, dtype=torch.float64)
    with torch.inference_mode():
        for _ in range(_STEPS):
            objective, gradient, hessian = _pass(features, sign, cost, w)
            objective += 0.5 * float((ridge * w * w).sum())
            if objective > low:  # overshot: half-way back
                w = (w + best) / 2
                continue
            best, low = w, objective
            hessian.diagonal().add_(ridge + 1e-9)
            step = torch.linalg.solve(hessian, gradient + ridge * w)
            if float((gradient + ridge * w) @ step) <= _PRECISION * objective:
                break
            w = w - step
    return best[:-1].clone(), float(best[-1])


def _pass(
    features: Callable[[int, int], Tensor], sign: Tensor, cost: Tensor, w: Tensor
) -> tuple[float, Tensor, Tensor]:
    """The loss, its gradient and its generalised Hessian at w, summed over blocks."""
    loss, gradient = 0.0, torch.zeros_like(w)
    hessian = torch.zeros(len(w), len(w), dtype=torch.float64)
    for start in range(0, len(sign), BLOCK):
        stop = min(start + BLOCK, len(sign))
        x = torch.nn.functional.pad(features(start, stop), (0, 1), value=1.0)
        s, c = sign[start:stop], cost[start:stop]
        gap = 1 - s * (x.double() @ w)
        active = gap > 0
        x, s, c, gap = x[active], s[active], c[active], gap[active]
        loss += float((c * gap * gap).sum())
        gradient -= 2 * (x.double().T @ (c * s * gap))
        hessian += ((x * (2 * c)[:, None].float()).T @ x).double()  # float32 costs steps at most, not the solution
    return loss, gradient, hessian
