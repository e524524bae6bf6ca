"""What the bundle asks of each of its parts: numbers and arrays out, the part back from them, and what is wrong."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Protocol, Self

from torch import Tensor


class Part(Protocol):
    """A head, a classifier, a calibrator or the reference points. kind : its name in the table of its folder."""

    kind: ClassVar[str]

    def describe(self) -> dict[str, Any]:
        """Its numbers and words, as JSON values."""

    def arrays(self) -> dict[str, Tensor]:
        """Its arrays by name, as they lie in the file."""

    @classmethod
    def from_state(cls, described: Mapping[str, Any], arrays: Mapping[str, Tensor]) -> Self:
        """The part that gave these. Raises LookupError, TypeError, ValueError or RuntimeError for anything else."""

    def problems(self) -> Iterator[str]:
        """Why it cannot score: one phrase for each fault."""
