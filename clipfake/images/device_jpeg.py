"""Which JPEGs may be decoded by the encoder's device, and what it is told of them. No other place decides it."""

from dataclasses import dataclass
from typing import Final

from PIL.JpegImagePlugin import JpegImageFile

from clipfake.images.jpeg_scans import FrameHeader, frame_of

_MAX_PIXELS: Final = 1 << 26  # as floats 0.8 GB of the device's memory; larger ones are few
# Of luma against chroma, (across, down): those that nvJPEG's documentation lists.
_SAMPLINGS: Final = ((1, 1), (2, 1), (2, 2), (1, 2), (4, 1), (4, 2))
_NOT_YCBCR: Final = (b"RGB", b"rgb")  # identifiers of components by which libjpeg takes them for plain colours


@dataclass(frozen=True)
class DeviceJpeg:
    """width, height : pixels as they lie in the file; turn : how to hold it upright, as EXIF numbers it (1: it is)

    end : bytes of the file before its end marker
    """

    width: int
    height: int
    turn: int
    end: int

    def picture(self, data: bytes) -> bytes:
        """The file up to its end marker: what may follow (an MPO's other pictures, a video) is nobody's business."""
        return data[: self.end] + b"\xff\xd9"


def for_device(opened: JpegImageFile, data: bytes, turn: int) -> DeviceJpeg | None:
    """What a device has to know of a JPEG whose header Pillow has read; None where it is to be decoded on the CPU.

    Taken are baseline and progressive JPEGs of 8 bits, grey or YCbCr, in the usual samplings of chroma, of at most 67
    million pixels, whose segments are in order from the first to the end marker. The rest goes to the CPU: extended
    and arithmetic coding, CMYK, RGB.
    """
    frame = frame_of(data)
    if frame is None or not (frame.baseline or frame.progressive) or frame.width * frame.height > _MAX_PIXELS:
        return None
    fits = opened.size == (frame.width, frame.height) and frame.bits == 8 and _colours(opened, frame)
    return DeviceJpeg(frame.width, frame.height, turn, frame.end) if fits else None


def _colours(opened: JpegImageFile, frame: FrameHeader) -> bool:
    """Whether it is grey or YCbCr, in a sampling that is taken."""
    first, *others = frame.sampling
    if opened.mode == "L":
        return not others
    plain = opened.info.get("adobe_transform") == 0 or frame.identifiers in _NOT_YCBCR
    return opened.mode == "RGB" and not plain and first in _SAMPLINGS and others == [(1, 1), (1, 1)]
