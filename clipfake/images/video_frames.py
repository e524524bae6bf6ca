"""A frame of a video -> an RGB image within limits: by PyAV, by Pillow where the video is an animated image."""

import io
from contextlib import suppress
from typing import Any, Final

from PIL import Image, ImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.WebPImagePlugin import WebPImageFile

from clipfake.corpus.durations import container_of
from clipfake.corpus.frames import Frame
from clipfake.images.decode import Decoded, explain, refused_by_size, upright_rgb
from clipfake.images.formats import looks_like
from clipfake.images.limits import Limits
from clipfake.status import Status

_ANIMATIONS: Final[dict[str, type[ImageFile.ImageFile]]] = {"gif": GifImageFile, "webp": WebPImageFile}
# The angle by which a frame is to be turned, counterclockwise.
_TURNS: Final = {
    90: Image.Transpose.ROTATE_90,
    180: Image.Transpose.ROTATE_180,
    -180: Image.Transpose.ROTATE_180,
    -90: Image.Transpose.ROTATE_270,
}
_HOLDS_S: Final = 0.5  # how long the last frame stays at least: not every container says it


def decode_frame(frame: Frame, limits: Limits) -> Decoded:
    """Decode what a video shows at a moment: the last frame that begins by then. Never raises for what is in it.

    `format` is the codec's name. Turned as the container says; anamorphic pixels stay as stored. A video that ends
    before the moment is truncated.
    """
    if refused := refused_by_size(frame.data, limits):
        return refused
    container = container_of(frame.data[:12])
    if container is None:
        return Decoded(Status.UNSUPPORTED, f"no video that is allowed; looks like {looks_like(frame.data)}")
    try:
        if container in _ANIMATIONS:
            return _animated(frame, container, limits)
        return _filmed(frame, container, limits)
    except ModuleNotFoundError:
        return Decoded(Status.UNSUPPORTED, "PyAV is not installed here: pip install 'clipfake[video]'")
    except (MemoryError, ImportError):  # a library that does not fit
        return Decoded(Status.CRASHED, "decoding ran out of memory", format=container)
    except Exception as error:  # FFmpeg's and Pillow's decoders raise nearly every kind for bad data
        if isinstance(error, OSError) and error.strerror:
            error = OSError(error.strerror)  # without FFmpeg's number
        return Decoded(*explain(error, frame.data, container), format=container)


def _animated(frame: Frame, kind: str, limits: Limits) -> Decoded:
    opened, number, end_s = _ANIMATIONS[kind](io.BytesIO(frame.data)), 0, 0.0
    if too_large := _too_large(opened.width, opened.height, kind, limits):
        return too_large
    while True:
        try:
            opened.seek(number)
            opened.load()
        except EOFError:
            return _ended(end_s, kind)
        number, end_s = number + 1, end_s + opened.info.get("duration", 0) / 1000
        if frame.moment < end_s or not frame.moment:
            image = upright_rgb(opened)
            return Decoded(Status.OK, None, image, image.width, image.height, kind)


def _filmed(frame: Frame, container: str, limits: Limits) -> Decoded:
    import av

    # The format is named, never guessed: a playlist would have FFmpeg open what it names.
    with av.open(io.BytesIO(frame.data), "r", format=container) as opened:
        if not opened.streams.video:
            return Decoded(Status.UNSUPPORTED, "it has sound alone", format=container)
        stream = opened.streams.video[0]
        codec = stream.codec_context
        if codec is None:
            return Decoded(Status.CORRUPT, "its header names no codec that is known", format=container)
        codec.thread_count = 1  # one image, one core: the pool has as many workers as it wants
        codec.options = {"max_pixels": str(limits.max_pixels)}
        if too_large := _too_large(codec.width, codec.height, codec.codec.canonical_name, limits):
            return too_large
        tick = float(stream.time_base or 1)
        wanted = frame.moment + (stream.start_time or 0) * tick
        with suppress(av.FFmpegError):  # without an index it is read from the beginning
            opened.seek(int(wanted / tick), stream=stream)
        shown = _shown(opened.decode(stream), wanted)
        name = codec.codec.canonical_name
        if shown is None or shown.time + max(_HOLDS_S, (shown.duration or 0) * tick) < wanted:
            return _ended(0.0 if shown is None else shown.time, name)
        if too_large := _too_large(shown.width, shown.height, name, limits):
            return too_large
        if shown.is_corrupt:
            return Decoded(Status.CORRUPT, "the frame is damaged", None, shown.width, shown.height, name)
        image = shown.to_image()
    turn = _TURNS.get(shown.rotation)
    image = image if turn is None else image.transpose(turn)
    return Decoded(Status.OK, None, image, image.width, image.height, name)


def _shown(frames: Any, wanted: float) -> Any:
    """The last frame that begins by then, the first where none does; None where there is none."""
    shown = None
    for frame in frames:
        if shown is not None and frame.time > wanted:
            break
        shown = frame
    return shown


def _ended(seconds: float, name: str) -> Decoded:
    return Decoded(Status.TRUNCATED, f"the data ends early: its last frame is that of {seconds:.2f} s", format=name)


def _too_large(width: int, height: int, name: str, limits: Limits) -> Decoded | None:
    if width * height <= limits.max_pixels:
        return None
    error = f"{width}x{height} pixels; the limit is {limits.max_pixels}"
    return Decoded(Status.TOO_LARGE, error, None, width, height, name)
