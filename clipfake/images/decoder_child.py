"""The child process of a `DecoderPool`: prepares one image after another for the parent at the other end of its stdin.

Messages, little endian. To the child: u64 length, u8 bare, f64 moment (of a video's frame, else NaN), bytes; first JSON
settings, then images. A length of 0 means the video that came last. From it: u32 length of JSON, u32 length of pixels,
JSON, pixels of the image and then of its views; the first, without pixels, when it is ready.
"""

import json
import math
import os
import signal
import socket
import struct
import sys
import warnings
from typing import Any, Final

import numpy as np
from PIL import Image

from clipfake.corpus.confinement import address_space, confine
from clipfake.corpus.frames import Frame
from clipfake.images.conditions.conditions import Condition
from clipfake.images.decode import Limits
from clipfake.images.prepare import prepare
from clipfake.images.preprocess import Preprocess
from clipfake.images.resize import warm_up

REQUEST: Final = struct.Struct("<QBd")
REPLY: Final = struct.Struct("<II")
_ORPHAN_GRACE_S: Final = 5.0
_LOOK_EVERY: Final = 64


def main() -> None:
    """Serve until the parent closes its end, however it ends."""
    link = socket.socket(fileno=os.dup(sys.stdin.fileno()))
    # A whole reply fits, so the next image is begun while the parent still takes the last one.
    link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    requests = Requests(link)
    settings = requests.next()
    if settings is None:
        return
    values = json.loads(settings[0])
    limits, options = Limits(**values["limits"]), Preprocess.from_dict(values["preprocess"])
    views = [Condition.parse(name) for name in values["views"]]
    decoder = values["decoder"]
    warm_up(decoder)
    for view in views:
        view.warm_up()  # before the limit: a user's model is no image's fault
    idle = address_space()
    _confine(limits)
    _reply(link, {})
    served = 0
    while (request := requests.next()) is not None:
        data, bare, moment = request
        del request
        # The parent keeps the time. This alarm ends the process where a hanging image has outlived the parent.
        signal.setitimer(signal.ITIMER_REAL, limits.timeout_s + _ORPHAN_GRACE_S)
        content = data if math.isnan(moment) else Frame(data, moment)
        done = prepare(content, limits, options, views, decoder=decoder, bare=bare, for_a_device=values["for_a_device"])
        del data, content
        signal.setitimer(signal.ITIMER_REAL, 0)
        arrays = [array for array in (done.pixels, done.views) if array is not None]
        about = {name: value for name, value in vars(done).items() if name not in ("pixels", "views")}
        about["jpeg"] = done.jpeg and vars(done.jpeg)
        _reply(link, about, *(np.ascontiguousarray(array).data.cast("B") for array in arrays))
        served += 1
        if served % _LOOK_EVERY == 0 and address_space() - requests.kept > idle + limits.memory_bytes // 4:
            return  # leaks would become refusals of innocent images; the parent starts afresh with the one it waits for


def _confine(limits: Limits) -> None:
    """Limit what this process may take now that all it needs is loaded."""
    confine(limits.memory_bytes)
    # Pillow refuses above twice its own limit inside some plugins, before `decode` sees the size; this makes it ours.
    Image.MAX_IMAGE_PIXELS = (limits.max_pixels + 1) // 2
    warnings.simplefilter("ignore")


class Requests:
    """What the parent sends. A video is kept, so that it comes once for the frames that follow one another."""

    def __init__(self, link: socket.socket) -> None:
        self._link, self._video = link, b""

    def next(self) -> tuple[bytes, bool, float] | None:
        """The next message: bytes, whether to read the picture only, the moment; None where the parent is gone."""
        header = self._link.recv(REQUEST.size, socket.MSG_WAITALL)
        if len(header) < REQUEST.size:
            return None
        length, bare, moment = REQUEST.unpack(header)
        if length == 0:
            return self._video, bool(bare), moment
        self._video = b""  # before the next bytes are there: both would be twice the memory
        data = self._link.recv(length, socket.MSG_WAITALL)
        if len(data) < length:
            return None
        if not math.isnan(moment):
            self._video = data
        return data, bool(bare), moment

    @property
    def kept(self) -> int:
        """Bytes of the video that is kept."""
        return len(self._video)


def _reply(link: socket.socket, about: dict[str, Any], *pixels: memoryview) -> None:
    head = json.dumps(about).encode()
    link.sendall(REPLY.pack(len(head), sum(map(len, pixels))) + head)
    for part in pixels:
        link.sendall(part)


if __name__ == "__main__":
    main()
