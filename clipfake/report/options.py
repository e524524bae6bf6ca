"""The options of the pages that `report` and `review` make."""

from dataclasses import dataclass

from clipfake.errors import UsageError
from clipfake.options import at_least, between, check, option

SHOWN = 24  # items of each kind
CHOSEN_KINDS = {"highest": "highest", "unsure": "unsure", "unfamiliar_items": "unfamiliar"}  # of the section `look`
MOST_REVIEWED = 1000  # items of a page, each some 50 KB
_DETECTOR = "Folder of the detector, or how its fingerprint begins; by default the detector that scored last."


@dataclass(frozen=True)
class PageOptions:
    """detector : a bundle's place or the beginning of a fingerprint, else the one that scored last; run_id : only the
    rows that this run committed; shown : items of each kind, 0 for none; below : only items at or below this place
    """

    detector: str | None = option(None, _DETECTOR)
    run_id: str | None = option(None, "Show only the rows that this run committed.", flag="--run")
    shown: int = option(
        SHOWN,
        "Number of items of each kind that the page shows; 0 for none.",
        flag="--thumbnails",
        check=between(0, 200),
    )
    below: str | None = None

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class ReviewOptions:
    """detector : a bundle's place or the beginning of a fingerprint, else the one that scored last

    shown : items of each chosen kind; sample : items drawn at random from all scored ones; seed : of the draw
    pixels : the longer side of a picture
    """

    detector: str | None = option(None, _DETECTOR)
    shown: int = option(
        SHOWN, "Number of items of each kind: highest, most unsure, most unfamiliar.", check=at_least(0)
    )
    sample: int = option(100, "Number of items drawn at random from all, for `prevalence --audit`.", check=at_least(0))
    seed: int = option(0, "Seed of the draw.")
    pixels: int = option(512, "Longer side of the pictures, in pixels.", check=between(64, 1024))

    def __post_init__(self) -> None:
        check(self)
        if not 0 < len(CHOSEN_KINDS) * self.shown + self.sample <= MOST_REVIEWED:
            raise UsageError(f"a page has 1 to {MOST_REVIEWED} items: give another --shown or --sample")
