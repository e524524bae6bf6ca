"""The options of `audit`."""

from dataclasses import dataclass, field

from clipfake.errors import UsageError
from clipfake.options import at_least, check, one_of, option
from clipfake.scoring.options import ScanOptions

SAMPLE = 20_000
THRESHOLD = 0.95  # cosine of centred embeddings from which two images are near duplicates


@dataclass(frozen=True)
class AuditOptions:
    """What is audited.

    sample : items that are judged, half of them of each class where there are as many; of a manifest, also those that
        are read. 0 is all.
    duplicates : report, or drop or group them in a new manifest in the folder `out`
    threshold : cosine of centred embeddings from which two images are near duplicates
    scan : how images are read
    """

    sample: int = option(
        SAMPLE, "Number of items to judge, 0 for all; of a manifest, their images are read.", check=at_least(0)
    )
    duplicates: str = option(
        "report",
        "report duplicates, or drop or group them in a new manifest (--out).",
        check=one_of("report", "drop", "group"),
    )
    out: str | None = option(None, "Folder of the new manifest.")
    threshold: float = option(
        THRESHOLD,
        "Cosine of centred embeddings from which two images are near duplicates.",
        flag="--near",
        inputs=("embeddings",),
    )
    scan: ScanOptions = field(default_factory=ScanOptions)

    def __post_init__(self) -> None:
        check(self)
        if (self.duplicates == "report") != (self.out is None):
            raise UsageError("--duplicates drop or group and --out belong together: give both or neither")
        if not 0 < self.threshold < 1:
            raise UsageError(f"--near must lie between 0 and 1, not {self.threshold:g}")
