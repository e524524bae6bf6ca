"""Short videos of plain grey frames, whose number tells their grey."""

import io

import numpy as np
from PIL import Image

STEP = 8  # levels of grey from one frame to the next


def film(
    container: str = "mp4", codec: str = "h264", frames: int = 30, shown: np.ndarray | None = None, rate: int = 10
) -> bytes:
    """A video by PyAV. shown : uint8 (64, 64, 3), what every frame shows instead"""
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        stream.codec_context.gop_size = 12
        for number in range(frames):
            pixels = np.full((64, 64, 3), number * STEP, np.uint8) if shown is None else shown
            out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        out.mux(stream.encode())
    return buffer.getvalue()


def animation(kind: str, frames: int = 10, delay_ms: int = 120) -> bytes:
    """An animated GIF or WebP by Pillow."""
    first, *others = [Image.new("RGB", (32, 32), (n * STEP,) * 3) for n in range(frames)]
    buffer = io.BytesIO()
    first.save(buffer, kind, save_all=True, append_images=others, duration=delay_ms, loop=0, lossless=True)
    return buffer.getvalue()
