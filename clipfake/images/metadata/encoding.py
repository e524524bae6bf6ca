"""How a file was encoded: JPEG quality and tables, and which kinds of metadata it carries; read from what is open."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from clipfake.images.metadata.credentials import has_credentials

# ITU-T T.81, tables K.1 and K.2: quality 50 of the Independent JPEG Group's library.
_LUMA: Final = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57,
    69, 56, 14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64,
    81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
_CHROMA: Final = (
    17, 18, 24, 47, *[99] * 4, 18, 21, 26, 66, *[99] * 4, 24, 26, 56, *[99] * 5, 47, 66, *[99] * 6, *[99] * 32,
)  # fmt: skip
_KINDS: Final = {"exif": "exif", "icc_profile": "icc", "xmp": "xmp", "comment": "text"}  # Pillow's names of them
_IPTC_RESOURCE: Final = 0x0404  # in a JPEG's Photoshop block
_TIFF_TAGS: Final = {34665: "exif", 34675: "icc", 33723: "iptc", 700: "xmp", 270: "text"}

Table = tuple[int, ...]


@dataclass(frozen=True)
class Encoding:
    """jpeg_quality (1..100) and jpeg_tables are there for JPEGs only; metadata is "" where there is none of it.

    jpeg_tables : 12 hexadecimal digits that are equal where quantisation tables and chroma sampling are
    metadata : sorted, with spaces between: c2pa exif icc iptc text xmp
    """

    jpeg_quality: int | None = None
    jpeg_tables: str | None = None
    metadata: str | None = None


NOTHING: Final = Encoding()


def encoding_of(image: ImageFile, data: bytes) -> Encoding:
    """What can be told of `data` from the `image` that Pillow opened (and loaded: PNG text may follow the pixels).

    Never raises for what is in `data`; NOTHING where that defeats it.
    """
    try:
        kinds = " ".join(sorted(_metadata(image, data)))
        if not isinstance(image, JpegImageFile):
            return Encoding(metadata=kinds)
        tables = tuple(tuple(image.quantization.get(at, ())) for *_, at in image.layer)
        sampling = tuple((across, down) for _, across, down, _ in image.layer)
        return Encoding(jpeg_quality(tables), _digest(tables, sampling), kinds)
    except Exception:  # it is read beside the picture, which is whole
        return NOTHING


def ijg_tables(quality: int) -> tuple[np.ndarray, np.ndarray]:
    """Luma and chroma table, int64 (64,) by rows, of libjpeg's `jpeg_set_quality(quality, baseline)`, 1..100."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    luma, chroma = (np.clip((np.array(table) * scale + 50) // 100, 1, 255) for table in (_LUMA, _CHROMA))
    return luma, chroma


@lru_cache(maxsize=1024)  # a corpus has few different tables
def jpeg_quality(tables: tuple[Table, ...]) -> int | None:
    """The IJG quality whose tables differ least, by the sum of |difference|, from those of a JPEG's components.

    tables : 64 values by rows for each component. The first is held against the luma table, the second against chroma
        where it has a table of its own. None where a table is missing.

    Exact where libjpeg's own tables were scaled; an estimate for cameras, Photoshop and mozjpeg, which have others.
    """
    if any(len(table) != 64 for table in tables):
        return None
    luma, chroma = _all_tables()
    far = np.abs(luma - np.array(tables[0])).sum(axis=1)
    if len(tables) > 1 and tables[1] != tables[0]:
        far = far + np.abs(chroma - np.array(tables[1])).sum(axis=1)
    return 1 + int(far.argmin())


@lru_cache(maxsize=1)
def _all_tables() -> tuple[np.ndarray, np.ndarray]:
    """(100, 64) luma and chroma tables of the qualities 1..100."""
    luma, chroma = zip(*(ijg_tables(quality) for quality in range(1, 101)), strict=True)
    return np.stack(luma), np.stack(chroma)


@lru_cache(maxsize=1024)
def _digest(tables: Sequence[Table], sampling: Sequence[tuple[int, int]]) -> str:
    return hashlib.sha256(repr((tables, sampling)).encode()).hexdigest()[:12]


def png_text(image: ImageFile) -> dict[str, str]:
    """The text of a loaded PNG but its XMP. (Pillow's own `text` decodes all frames of an animation first.)"""
    if not isinstance(image, PngImageFile):
        return {}
    return {str(k): v for k, v in image.info.items() if isinstance(v, str) and k != "XML:com.adobe.xmp"}


def _metadata(image: ImageFile, data: bytes) -> set[str]:
    """The kinds that are present. What Pillow's plugin does not read (XMP in a GIF) is not seen."""
    info: dict[Any, Any] = image.info
    kinds = {kind for name, kind in _KINDS.items() if info.get(name)}
    if _IPTC_RESOURCE in info.get("photoshop", {}):
        kinds.add("iptc")
    if png_text(image):
        kinds.add("text")
    if isinstance(image, TiffImageFile):
        kinds |= {kind for tag, kind in _TIFF_TAGS.items() if tag in image.tag_v2}
    if has_credentials(data):
        kinds.add("c2pa")
    return kinds
