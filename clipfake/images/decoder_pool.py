"""A pool of child processes that decode: an image that crashes, hangs or eats memory costs its own row and no other."""

import json
import logging
import math
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import asdict
from functools import partial
from typing import Any, Final, cast

import numpy as np

from clipfake.corpus import confinement
from clipfake.corpus.frames import Frame
from clipfake.errors import ClipfakeError, UsageError
from clipfake.images.conditions.conditions import Condition
from clipfake.images.decode import Limits
from clipfake.images.decoder_child import REPLY, REQUEST
from clipfake.images.device_jpeg import DeviceJpeg
from clipfake.images.prepare import Prepared, prepare
from clipfake.images.preprocess import Preprocess
from clipfake.images.resize import EXACT, full_name
from clipfake.status import Status

_LOG = logging.getLogger(__name__)
_START_S: Final = 120.0  # a child is ready in 0.2 s, with torch in 3 s; on a machine that thrashes it may take long
_TOGETHER: Final = 16  # frames of one video that one child decodes after another, so that it gets the video once
_RIDES_ALONG: Final = 64 << 10  # bytes that always fit into the socket's buffer beside an image that is being decoded


class DecoderPool:
    """`workers` child processes, one thread each here, that turn bytes, also of videos, into pixels within `limits`.

    Needs no main thread and sets no signal handler, so it works inside an actor. The children start at once, import
    only Pillow and numpy (the fast decoder's torch too: 3 s and 0.3 GB each), and end with this process, however that
    ends. Use it as a context manager, or `close` it.

    Of each image a view is made under each condition of `views`, within the same limits: they are one piece of work.
    `for_a_device`: of what the encoder's device may decode no pixels are made (see `prepare`).
    """

    def __init__(
        self,
        workers: int,
        limits: Limits,
        preprocess: Preprocess,
        views: Sequence[Condition] = (),
        decoder: str = EXACT,
        *,
        for_a_device: bool = False,
    ) -> None:
        decoder = full_name(decoder)
        if workers < 1:
            raise UsageError(f"the number of decoding workers is {workers}; give 1 or more")
        self._limits = limits
        self._preprocess = preprocess
        self._turn = threading.Lock()
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="decoder")
        self._lanes = [
            _Lane(partial(_Child, limits, preprocess, views, decoder, for_a_device), limits.timeout_s)
            for _ in range(workers)
        ]

    def prepare(self, blobs: Sequence[bytes | Frame | None]) -> list[Prepared]:
        """Decode and preprocess `blobs`; the results are in their order, exactly one each.

        None stands for bytes that could not be had and gives `unreadable`. An image whose child dies or meets its
        memory limit is tried once more, first in a fresh child, so that neither what earlier images left behind in the
        process nor a kill from outside is blamed on it, and without its metadata, so that this never costs a picture.
        Raises ClipfakeError only where no child can be started.
        """
        results: list[Prepared | None] = [None] * len(blobs)
        todo: deque[list[int]] = deque()
        for index, blob in enumerate(blobs):
            if blob is None:
                results[index] = Prepared(Status.UNREADABLE, "no bytes to decode")
            elif 0 < len(blob) <= self._limits.max_bytes:
                if todo and len(todo[-1]) < _TOGETHER and _same_video(blob, blobs[todo[-1][-1]]):
                    todo[-1].append(index)
                else:
                    todo.append([index])
            else:  # answered from the length alone, so no decoder runs in this process
                results[index] = prepare(blob, self._limits, self._preprocess)
        with self._turn:
            running = [self._threads.submit(lane.work, blobs, todo, results) for lane in self._lanes[: len(todo)]]
            wait(running)
        for lane in running:
            lane.result()
        return cast(list[Prepared], results)  # every index was answered above or taken from `todo` by one lane

    def pids(self) -> list[int]:
        """The process ids of the children as they are now."""
        return [lane.child.pid for lane in self._lanes]

    def close(self) -> None:
        """End the children. What `prepare` is doing in another thread is finished first."""
        with self._turn:
            self._threads.shutdown()
            for lane in self._lanes:
                lane.child.kill()

    def __enter__(self) -> "DecoderPool":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class _Lane:
    """One child after another, and the images it has been given."""

    def __init__(self, start: Callable[[], "_Child"], timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._start = start
        self.child = start()

    def work(
        self, blobs: Sequence[bytes | Frame | None], todo: deque[list[int]], results: list[Prepared | None]
    ) -> None:
        """Take indices from `todo`, which all lanes share, and fill in `results` until none is left.

        A second image waits in the child's socket while the first is decoded, so that the child never waits for us.
        Only a small one does: sending never blocks then, and the first one's time is its own.
        """
        mine: deque[int] = deque()
        sent = 0
        second_try: int | None = None
        while True:
            while len(mine) < 2 and (together := _take(todo)) is not None:
                mine.extend(together)
            if not mine:
                self.child.video = None
                return
            self._wait_until_ready()
            try:
                while sent < min(2, len(mine)):
                    blob = blobs[mine[sent]]
                    assert blob is not None
                    if sent and len(self.child.lacks(blob)) > _RIDES_ALONG:
                        break
                    self.child.send(blob, bare=second_try == mine[sent])
                    sent += 1
                result = self.child.receive()
            except TimeoutError:
                result = Prepared(Status.TIMEOUT, f"not decoded within {self._timeout_s:g} s")
            except OSError:
                result = Prepared(Status.CRASHED, f"the decoding process {self.child.end()}")
            if result.status in (Status.TIMEOUT, Status.CRASHED):
                self.child.kill()
                self.child = self._start()
                sent = 0
                _LOG.info("a decoding process is replaced: %s", result.error)
                if result.status is Status.CRASHED and second_try != mine[0]:
                    second_try = mine[0]
                    continue
            else:
                sent -= 1
            results[mine.popleft()] = result

    def _wait_until_ready(self) -> None:
        """A child that was killed before it had its first image is replaced, once."""
        try:
            self.child.wait_until_ready()
        except ClipfakeError as error:
            _LOG.info("a decoding process is replaced: %s", error)
            self.child.kill()
            self.child = self._start()
            self.child.wait_until_ready()


class _Child:
    """One worker process and this end of its socket. video : the bytes that it keeps for further frames."""

    def __init__(
        self, limits: Limits, preprocess: Preprocess, views: Sequence[Condition], decoder: str, for_a_device: bool
    ) -> None:
        self._timeout_s = limits.timeout_s
        self._shape = (1 + len(views), *preprocess.size, 3)
        self._ready = False
        self.video: bytes | None = None
        names = [view.name for view in views]
        settings = {
            "limits": asdict(limits),
            "preprocess": preprocess.to_dict(),
            "views": names,
            "decoder": decoder,
            "for_a_device": for_a_device,
        }
        self._settings = json.dumps(settings).encode()
        self._link, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = confinement.start("clipfake.images.decoder_child", theirs)
        except OSError as error:
            raise ClipfakeError(f"no decoding process can start: {error}") from error
        self.pid = self._process.pid

    def wait_until_ready(self) -> None:
        """Raises ClipfakeError where the process does not come up: that is the installation, not an image."""
        if self._ready:
            return
        try:
            self.send(self._settings)
            self._receive_frame(_START_S)
        except OSError as error:
            raise ClipfakeError(f"no decoding process can start: it {self.end()}; see its output above") from error
        self._ready = True

    def send(self, content: bytes | Frame, *, bare: bool = False) -> None:
        """`bare`: of nothing but the picture. Raises OSError where it is gone, TimeoutError where it does not read."""
        data = self.lacks(content)
        self.video, moment = (None, math.nan) if isinstance(content, bytes) else (content.data, content.moment)
        self._link.settimeout(self._timeout_s)
        self._link.sendall(REQUEST.pack(len(data), bare, moment) + data)

    def lacks(self, content: bytes | Frame) -> bytes:
        """What must be sent of it: nothing of a frame of the video that the process keeps."""
        if isinstance(content, bytes):
            return content
        return b"" if content.data is self.video else content.data

    def receive(self) -> Prepared:
        """The result for the image that was sent first; its time begins now. Raises as `send` does."""
        about, pixels = self._receive_frame(self._timeout_s)
        status, jpeg = Status(about.pop("status")), about.pop("jpeg")
        if jpeg is not None:
            return Prepared(status, jpeg=DeviceJpeg(**jpeg), **about)
        if status is not Status.OK:
            return Prepared(status, **about)
        arrays = np.frombuffer(pixels, np.uint8).reshape(self._shape)
        return Prepared(status, pixels=arrays[0], views=arrays[1:] if len(arrays) > 1 else None, **about)

    def end(self) -> str:
        """How the process ended, in words; ends it where it has not."""
        return confinement.ending(self._process)

    def kill(self) -> None:
        """End the process now, whatever it does; does nothing the second time."""
        self._process.kill()
        self._process.wait()
        self._link.close()

    def _receive_frame(self, timeout_s: float) -> tuple[dict[str, Any], bytearray]:
        deadline = time.monotonic() + timeout_s
        head, body = REPLY.unpack(self._receive_exactly(REPLY.size, deadline))
        return json.loads(self._receive_exactly(head, deadline)), self._receive_exactly(body, deadline)

    def _receive_exactly(self, length: int, deadline: float) -> bytearray:
        """`length` bytes. Raises ConnectionResetError at the end of the stream."""
        data = bytearray(length)
        rest = memoryview(data)
        while rest:
            self._link.settimeout(max(deadline - time.monotonic(), 1e-6))
            got = self._link.recv_into(rest)
            if not got:
                raise ConnectionResetError("the decoding process closed its end")
            rest = rest[got:]
        return data


def _same_video(one: bytes | Frame, other: bytes | Frame | None) -> bool:
    return isinstance(one, Frame) and isinstance(other, Frame) and one.data is other.data


def _take(todo: deque[list[int]]) -> list[int] | None:
    try:
        return todo.popleft()
    except IndexError:  # another lane has taken the last one
        return None
