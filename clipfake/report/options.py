"""The options of the page that `report` makes."""

from dataclasses import dataclass

from clipfake.options import between, check, option

SHOWN = 24  # items of each kind


@dataclass(frozen=True)
class PageOptions:
    """detector : a bundle's place or the beginning of a fingerprint, else the one that scored last; run_id : only the
    rows that this run committed; shown : items of each kind, 0 for none; below : only items at or below this place
    """

    detector: str | None = option(
        None, "Folder of the detector, or how its fingerprint begins; by default the detector that scored last."
    )
    run_id: str | None = option(None, "Show only the rows that this run committed.", flag="--run")
    shown: int = option(
        SHOWN, "Items of each kind that are shown; 0 for none.", flag="--thumbnails", check=between(0, 200)
    )
    below: str | None = None

    def __post_init__(self) -> None:
        check(self)
