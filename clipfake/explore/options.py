"""The options of `clusters`."""

from dataclasses import dataclass

from clipfake.options import at_least, between, check, num_cpus, option


@dataclass(frozen=True)
class ClusterOptions:
    """How embeddings are clustered. tolerance : the gain in mean cosine below which it ends"""

    k: int = option(20, "Number of clusters.", check=between(2, 4096))
    seed: int = option(0, "Seed of the first centres.")
    steps: int = option(50, "Number of steps, at most.", check=at_least(1))
    tolerance: float = 1e-5
    num_cpus: int | None = num_cpus()

    def __post_init__(self) -> None:
        check(self)
