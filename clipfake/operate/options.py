"""The options of `nightly`, `doctor` and `import`."""

from dataclasses import dataclass, field

from clipfake.errors import UsageError
from clipfake.options import at_least, between, check, one_of, option
from clipfake.scoring.options import JobOptions, ScanOptions

NIGHTS_LIMIT = 400
FOREIGN_LAYOUTS = ("clip-retrieval", "npy", "parquet")  # of embeddings that other tools wrote


@dataclass(frozen=True)
class NightlyOptions:
    """How the nights of a crawl are scored and compared; the images as `score` does it."""

    scan: ScanOptions = field(default_factory=ScanOptions)
    against: int = option(7, "Number of earlier nights that a night is compared with.", check=between(1, NIGHTS_LIMIT))
    again: int = option(
        3,
        "Number of nights before the first one to list again where they were scored, for images that came late and for "
        "errors that may pass.",
        check=between(0, NIGHTS_LIMIT),
    )
    save_embeddings: str | None = option(None, "Also keep the embeddings, in this folder.")
    encoder: str | None = option(None, "Place of the detector's encoder, if its weights file has moved.")

    def __post_init__(self) -> None:
        check(self)
        if self.scan.layout == "csv":
            raise UsageError("nightly takes what lies in a night's folder, and a CSV names items anywhere: use score")


@dataclass(frozen=True)
class DoctorOptions:
    """What is to be run, and how it is to be laid out."""

    source: str | None = None
    detector: str | None = option(None, "Folder that `clipfake train` wrote.")
    out: str | None = option(None, "Folder or URI that the run will write to.")
    encoder: str | None = option(None, "Place of the detector's encoder, if its weights file has moved.")
    timeout: float = option(120.0, "Seconds that a node may take to answer.", check=at_least(1))
    job: JobOptions = field(default_factory=JobOptions)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class ImportOptions:
    """How the embeddings of another tool are read."""

    layout: str = option(
        FOREIGN_LAYOUTS[0], f"Layout of the files: {', '.join(FOREIGN_LAYOUTS)}.", check=one_of(*FOREIGN_LAYOUTS)
    )
    names: str | None = option(None, "Column of the images' names; by default image_path, path, key or the like.")
    root: str | None = option(None, "Folder or URI that relative names lie below; by default EMB.")
    verify: str | None = option(
        None, "Folder with some of the images: clipfake embeds them, compares, and refuses another encoder."
    )

    def __post_init__(self) -> None:
        check(self)
