"""What a classifier is, and the table of them. A new one is a file like linear.py and its line here."""

from collections.abc import Mapping
from typing import Protocol, Self

from torch import Tensor

from clipfake.detector.classifiers.kernel_svm import KernelSvm
from clipfake.detector.classifiers.linear import Linear
from clipfake.detector.part import Part


class Classifier(Part, Protocol):
    """Decides on vectors, those of the head or the embedding itself; above 0 is fake. `str` says what it is."""

    @property
    def in_dim(self) -> int:
        """Of the vectors that it takes."""

    @property
    def tolerance(self) -> float:
        """How far decisions may differ between batch sizes and machines."""

    def to(self, device: str) -> Self:
        """The same, computing on `device`."""

    def decision(self, x: Tensor) -> Tensor:
        """(N, d) -> (N,) float64 on its device; needs no scikit-learn."""

    def differentiable(self, x: Tensor) -> Tensor:
        """(N, d) -> (N,) float64 with a gradient: for a few rows."""


CLASSIFIERS: Mapping[str, type[Classifier]] = {one.kind: one for one in (KernelSvm, Linear)}
