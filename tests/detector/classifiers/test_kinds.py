"""What holds for every classifier: batch size changes no decision, and the gradient is that of the decision."""

import numpy as np
import pytest
import torch

from clipfake.detector.classifiers.kernel_svm import KernelSvm
from clipfake.detector.classifiers.kinds import CLASSIFIERS
from clipfake.detector.classifiers.linear import Linear

random = np.random.default_rng(0)
MADE = {
    "linear": Linear(torch.tensor(random.normal(size=5)), 0.5),
    "kernel_svm": KernelSvm(
        torch.tensor(random.normal(size=(7, 5))).float(), torch.tensor(random.normal(size=7)), 1.0, 0.2
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_decisions_and_their_gradient(kind):
    classifier = MADE[kind]
    assert classifier.in_dim == 5
    x = torch.tensor(random.normal(size=(30, 5))).float()
    whole, parts = classifier.decision(x), torch.cat([classifier.decision(row) for row in x.split(1)])
    torch.testing.assert_close(whole, parts, atol=classifier.tolerance, rtol=0)
    rows = x.clone().requires_grad_(True)
    differentiable = classifier.differentiable(rows)
    torch.testing.assert_close(differentiable.detach(), whole, atol=classifier.tolerance, rtol=0)
    differentiable.sum().backward()
    for column in range(5):
        step = torch.zeros(5)
        step[column] = 1e-2
        slope = (classifier.differentiable(x + step) - classifier.differentiable(x - step)) / 2e-2
        torch.testing.assert_close(rows.grad[:, column].double(), slope, atol=2e-3, rtol=0)
