"""Encoded bytes -> an RGB image within limits; whatever is wrong with the bytes becomes a status and a reason."""

import io
import struct
from dataclasses import dataclass, replace
from typing import Final

from PIL import Image, ImageFile, PngImagePlugin
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from clipfake.images import jpeg_scans, png_chunks, tiff_directories
from clipfake.images.colours import to_rgb
from clipfake.images.device_jpeg import DeviceJpeg, for_device
from clipfake.images.formats import ends_early, looks_like, sniff
from clipfake.images.limits import Limits
from clipfake.images.metadata.declared import declared
from clipfake.images.metadata.encoding import NOTHING, Encoding, encoding_of
from clipfake.images.resize import EXACT_2, sees_all_keys
from clipfake.status import Status

# The plugin's own class is called and not Image.open: nothing inside a file can pass it on to another decoder (as MPO
# does), and refusals keep their reasons ("cannot identify image file" is all that open says).
_DECODERS: Final[dict[str, type[ImageFile.ImageFile]]] = {
    "jpeg": JpegImageFile,
    "png": PngImageFile,
    "webp": WebPImageFile,
    "gif": GifImageFile,
    "bmp": BmpImageFile,
    "tiff": TiffImageFile,
}
try:
    from PIL import AvifImagePlugin
except ImportError:  # a Pillow before 11.3
    pass
else:
    if AvifImagePlugin.SUPPORTED:
        AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # one image, one core: the pool has as many workers as it wants
        _DECODERS["avif"] = AvifImagePlugin.AvifImageFile

PngImagePlugin.MAX_TEXT_CHUNK = 16 << 20  # bytes: prompts of ComfyUI go beyond Pillow's 1 MiB

_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION: Final = 0x0112


@dataclass(frozen=True)
class Decoded:
    """`image` (mode RGB) is there if and only if `status` is ok; `error` if and only if it is not.

    `jpeg` is there in the place of `image` where a device is to decode it.

    `width` and `height` (pixels; upright where the status is ok) and `format` are there once the header was read,
    `declared` (what the file says of itself) and `encoding` only where the status is ok.
    """

    status: Status
    error: str | None = None
    image: Image.Image | None = None
    width: int | None = None
    height: int | None = None
    format: str | None = None
    declared: str | None = None
    encoding: Encoding = NOTHING
    jpeg: DeviceJpeg | None = None


def decode(
    data: bytes, limits: Limits, *, bare: bool = False, decoder: str = EXACT_2, for_a_device: bool = False
) -> Decoded:
    """Decode the first picture in `data` to 8-bit RGB; never raises for what is in `data`.

    bare : read no more of it than the picture, neither `declared` nor `encoding`
    decoder : a name of `resize.DECODERS`; "exact" and "fast" see no key of transparency at 2, 4 and 16 bits
    for_a_device : a JPEG that `device_jpeg` lets a device decode is only checked: all its scans are read, as they are
        to decode it, so that status and facts are the same

    ===========================  ====================================================================================
    in the file                  rule
    ===========================  ====================================================================================
    format                       told by magic bytes: JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF; all else is unsupported
    more pixels than allowed     too_large, from the header, before anything is decoded
    orientation (EXIF, AVIF)     applied; EXIF that cannot be read is ignored
    animation, pages, MPO        the first frame
    palette                      its colours
    transparency of any kind     composited on white
    other metadata of a PNG      ignored where it cannot be read: wrong checksums, wrong lengths, more than 16 MiB
    raw photos (DNG, NEF, ...)   unsupported: their first picture is a preview. So is a TIFF that begins with one
    CMYK, YCbCr                  Pillow's plain conversion; embedded colour profiles are not applied
    LAB (TIFF)                   unsupported
    9..16 bits a channel         the high 8 of the stated bits
    32-bit integer, float grey   finite minimum..maximum stretched to 0..255, since no white point is agreed
    1 bit, grey                  R = G = B
    picture ends early           truncated, however little is missing
    end marker too early (JPEG)  truncated; not seen in the last 16 x 16 pixels, nor in the last of many scans
    data after the picture       ignored
    ===========================  ====================================================================================

    White, because that is what people see, and what CLIP saw: img2dataset, which made LAION, composites on white.
    open_clip's own transform drops the alpha channel, which shows what an editor left behind transparent pixels.
    """
    if refused := refused_by_size(data, limits):
        return refused
    fmt = sniff(data)
    if fmt is None:
        return Decoded(Status.UNSUPPORTED, f"not an allowed image format; looks like {looks_like(data)}")
    if fmt not in _DECODERS:
        return Decoded(Status.UNSUPPORTED, f"this Pillow cannot read {fmt}", format=fmt)
    if fmt == "tiff" and (what := tiff_directories.preview(data)):
        return Decoded(Status.UNSUPPORTED, what, format=fmt)
    picture = jpeg_scans.without_end(data) if fmt == "jpeg" else data
    decoded, opened = _decoded(picture, fmt, limits, sees_all_keys(decoder), data if for_a_device else None)
    if fmt == "png" and decoded.status in (Status.CORRUPT, Status.TRUNCATED, Status.TOO_LARGE):
        picture = png_chunks.without_faults(data)
        if picture != data:
            decoded, opened = _decoded(picture, fmt, limits, sees_all_keys(decoder))
    if opened is None:
        return decoded
    if fmt == "jpeg" and picture is data and jpeg_scans.scans_are_missing(data):
        return replace(
            decoded, status=Status.TRUNCATED, error="the data ends early: scans are missing", image=None, jpeg=None
        )
    if bare:
        return decoded
    return replace(decoded, declared=declared(opened, data, fmt), encoding=encoding_of(opened, data))


def refused_by_size(data: bytes, limits: Limits) -> Decoded | None:
    """What becomes of bytes that are none or too many; None for others."""
    if not data:
        return Decoded(Status.EMPTY, "zero bytes")
    if len(data) > limits.max_bytes:
        return Decoded(Status.TOO_LARGE, f"{len(data)} bytes; the limit is {limits.max_bytes}")
    return None


def _decoded(
    data: bytes, fmt: str, limits: Limits, all_keys: bool, whole: bytes | None = None
) -> tuple[Decoded, ImageFile.ImageFile | None]:
    """What became of the picture, and what Pillow opened where it is whole.

    whole : the file, where a device may decode it
    """
    size: tuple[int | None, int | None] = (None, None)

    def refused(status: Status, error: str) -> tuple[Decoded, None]:
        return Decoded(status, error, width=size[0], height=size[1], format=fmt), None

    try:
        opened = _DECODERS[fmt](io.BytesIO(data))
        size = opened.size
        if opened.width * opened.height > limits.max_pixels:
            return refused(Status.TOO_LARGE, f"{opened.width}x{opened.height} pixels; the limit is {limits.max_pixels}")
        if opened.mode == "LAB":
            return refused(Status.UNSUPPORTED, "LAB colours, which Pillow does not convert")
        if whole is not None and isinstance(opened, JpegImageFile):
            turn = _orientation(opened)
            if jpeg := for_device(opened, whole, turn):
                opened.draft("L", (1, 1))  # all bits are read, and an 8th of the edges is made, in grey
                opened.load()
                width, height = size if turn < 5 else size[::-1]
                return Decoded(Status.OK, jpeg=jpeg, width=width, height=height, format=fmt), opened
        opened.load()
        image = _upright(to_rgb(opened, data, all_keys=all_keys), opened)
    except MemoryError:
        return refused(Status.CRASHED, "decoding ran out of memory")
    except Exception as error:  # Pillow's plugins raise nearly every kind for bad data
        return refused(*explain(error, data, fmt))
    return Decoded(Status.OK, None, image, image.width, image.height, fmt), opened


def upright_rgb(image: Image.Image) -> Image.Image:
    """An image that Pillow holds, by the same rules, but for keys of transparency: those that Pillow applies. Raises
    as Pillow does.
    """
    image.load()
    return _upright(to_rgb(image, b"", all_keys=False), image)


def _upright(image: Image.Image, source: Image.Image) -> Image.Image:
    """`image` turned as the EXIF data of the file says that it came from."""
    turn = _UPRIGHT.get(_orientation(source))
    return image if turn is None else image.transpose(turn)


def _orientation(source: Image.Image) -> int:
    """As EXIF numbers it: a key of `_UPRIGHT`, or 1."""
    try:
        orientation = source.getexif().get(_ORIENTATION)
        return int(orientation) if orientation in _UPRIGHT else 1
    except Exception:  # EXIF is read only for this: whatever is wrong with it, the picture is still whole
        return 1


def explain(error: Exception, data: bytes, fmt: str) -> tuple[Status, str]:
    """The status for what a decoder raised, and one bounded line that can be written as UTF-8."""
    words = " ".join(str(error).split()).encode("utf-8", "backslashreplace").decode()
    reason = (words or type(error).__name__)[:200]
    text = reason.lower()
    if isinstance(error, Image.DecompressionBombError) or "too large" in text or "too much memory" in text:
        return Status.TOO_LARGE, reason  # Pillow's own limits on frames and on what compressed PNG chunks unpack to
    if "memory" in text:  # what C libraries say in place of a MemoryError
        return Status.CRASHED, reason
    if isinstance(error.__cause__ or error, struct.error | IndexError | EOFError) or ends_early(data, fmt):
        return Status.TRUNCATED, f"the data ends early: {reason}"
    return (Status.TRUNCATED if "truncated" in text else Status.CORRUPT), reason
