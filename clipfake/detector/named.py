"""Detectors by name: those in the package (`field/v1`), and those at a path or URI."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from clipfake.errors import UsageError
from clipfake.storage import uri as uris
from clipfake.storage.store import Store

if TYPE_CHECKING:
    from clipfake.detector.bundle import Detector

FOLDER: Final = Path(__file__).parent / "shipped"  # a folder NAME/VERSION for each detector of the package
_NAME: Final = re.compile(r"[a-z][a-z0-9-]*/v([1-9][0-9]*)")


def names() -> list[str]:
    """The detectors in the package, the newest last.

    >>> all(name.rpartition("/v")[2].isdigit() for name in names())
    True
    """
    found = ("/".join(path.parts[-3:-1]) for path in FOLDER.glob("*/*/detector.json"))
    return sorted(filter(_NAME.fullmatch, found), key=lambda name: (_version(name), name))


def newest() -> str:
    """The name of the package's newest detector. Raises UsageError where it has none."""
    if not (known := names()):
        raise UsageError("no detector is in this package yet: name one by --detector, made by `clipfake train`")
    return known[-1]


def identify(text: str) -> str:
    """What a user typed -> the name of a detector in the package, or the canonical URI of a folder.

    A name is taken first: `./field/v1` is the folder of that name. Raises UsageError where there is neither, and says
    which names there are.
    """
    known = names()
    if text in known:
        return text
    place = uris.place(text)
    if not Store(place).exists():
        shipped = f"this package has {', '.join(known)}" if known else "this package has none yet"
        raise UsageError(
            f"there is no detector {text}: give a name ({shipped}), or the folder or URI that `clipfake train` wrote"
        )
    return place


def folder_of(identified: str) -> Store:
    """Where the detector with this name or canonical URI lies on this machine."""
    name = _NAME.fullmatch(identified)
    return Store(uris.from_path(str(FOLDER / identified)) if name else identified)


def load_detector(detector: str) -> "Detector":
    """The detector with this name, or at this path or URI. Raises UsageError where there is none, or it is damaged."""
    from clipfake.detector.bundle import Detector  # with torch, which names do without

    return Detector.load(folder_of(identify(detector)))


def _version(name: str) -> int:
    return int(name.rpartition("/v")[2])
