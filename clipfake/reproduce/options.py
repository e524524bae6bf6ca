"""The options of `reproduce`."""

from dataclasses import dataclass

from clipfake.encoder.precision import check_precision
from clipfake.errors import UsageError
from clipfake.options import num_cpus, option
from clipfake.scoring.options import PRECISION


def _sets(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


@dataclass(frozen=True)
class ReproduceOptions:
    """What is run.

    sets : two folders of ArtiFact, in the places of the source's CycleGAN and ProGAN
    text : the template of the image's text; the source does not say what text it used
    """

    sets: tuple[str, ...] = option(
        ("cycle_gan", "pro_gan"),
        "Two of its folders, comma-separated; the third data set is both together.",
        given_as=str,
        parse=_sets,
    )
    text: str = option("a photo of {category}", "Template of the image's text.")
    precision: str | None = option(None, PRECISION)
    seed: int = option(0, "Seed of the splits, the heads and the triplets.")
    num_cpus: int | None = num_cpus()

    def __post_init__(self) -> None:
        check_precision(self.precision)
        if len(set(self.sets)) != 2 or "both" in self.sets:
            raise UsageError("--sets takes the names of two different folders, for example cycle_gan,pro_gan")

    def data(self) -> list[tuple[str, str, tuple[str, ...]]]:
        """(slot of the source, name, folders) of the three data sets."""
        from clipfake.reproduce.reported import SLOTS

        return list(zip(SLOTS, (*self.sets, "both"), ((self.sets[0],), (self.sets[1],), self.sets), strict=True))
