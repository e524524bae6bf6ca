"""The child process of a `DecoderPool`: prepares one image after another for the parent at the other end of its stdin.

Messages, little endian. To the child: u64 length, u8 bare, f64 moment (of a video's frame, else NaN), bytes; first JSON
settings, then images. From it: u32 length of JSON, u32 length of pixels, JSON, pixels of the image and then of its
views; the first, without pixels, when it is ready.
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
    settings = _receive(link)
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
    while (request := _receive(link)) is not None:
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
        if served % _LOOK_EVERY == 0 and address_space() > idle + limits.memory_bytes // 4:
            return  # leaks would become refusals of innocent images; the parent starts afresh with the one it waits for


def _confine(limits: Limits) -> None:
    """Limit what this process may take now that all it needs is loaded."""
    confine(limits.memory_bytes)
    # Pillow refuses above twice its own limit inside some plugins, before `decode` sees the size; this makes it ours.
    Image.MAX_IMAGE_PIXELS = (limits.max_pixels + 1) // 2
    warnings.simplefilter("ignore")


def _receive(link: socket.socket) -> tuple[bytes, bool, float] | None:
    """The next message: bytes, whether to read the picture only, the moment; None where the parent is gone."""
    header = link.recv(REQUEST.size, socket.MSG_WAITALL)
    if len(header) < REQUEST.size:
        return None
    length, bare, moment = REQUEST.unpack(header)
    data = link.recv(length, socket.MSG_WAITALL)
    return (data, bool(bare), moment) if len(data) == length else None


def _reply(link: socket.socket, about: dict[str, Any], *pixels: memoryview) -> None:
    head = json.dumps(about).encode()
    link.sendall(REPLY.pack(len(head), sum(map(len, pixels))) + head)
    for part in pixels:
        link.sendall(part)


if __name__ == "__main__":
    main()
