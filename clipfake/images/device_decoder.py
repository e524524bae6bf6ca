"""JPEGs -> pixels on the device of the encoder, in batches: decoded, held upright, resized and cropped there."""

import logging
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

import torch

from clipfake.errors import UsageError, first_line
from clipfake.images.device_jpeg import DeviceJpeg
from clipfake.images.preprocess import Preprocess
from clipfake.images.resize import resize_in_float
from clipfake.images.without_compiler import without_compiler

with without_compiler():
    from torchvision.io import ImageReadMode, decode_jpeg, encode_jpeg

_LOG = logging.getLogger(__name__)
_TOGETHER: Final = 1 << 27  # pixels that are decoded at a time, three bytes each
_IN_FLOAT: Final = 1 << 25  # pixels that are resized at a time, twelve bytes each

Encoded = tuple[torch.Tensor, DeviceJpeg]


def built_for_gpus() -> bool:
    """Whether torchvision was built for GPUs, as those of its packages are that bring nvJPEG; no GPU is needed here."""
    return torch.ops.torchvision._cuda_version() >= 0


class DeviceDecoder:
    """Decodes what `device_jpeg` lets a device decode and `prepare` has checked: with nvJPEG on a GPU.

    On a CPU torchvision decodes: with libjpeg, to the same pixels as Pillow.
    """

    def __init__(self, device: torch.device, options: Preprocess) -> None:
        """Raises UsageError where torchvision cannot decode on the device."""
        self._device, self._options = device, options
        try:
            decode_jpeg([encode_jpeg(torch.zeros((3, 16, 16), dtype=torch.uint8))], device=device)
        except RuntimeError as error:
            said = first_line(error)
            raise UsageError(f"torchvision decodes no JPEG on {device} ({said}): use another --decoder") from error

    def pixels(self, jpegs: Sequence[Encoded]) -> tuple[torch.Tensor, list[int]]:
        """The encoder's pixels, uint8 (N, H, W, 3) on the device, and the indices of those that it refused.

        jpegs : each as its bytes, uint8 (n,) on the CPU, and what there is to know of it
        """
        placed = torch.full(
            (len(jpegs), *self._options.size, 3), self._options.fill_color, dtype=torch.uint8, device=self._device
        )
        refused = []
        for some in _slices([jpeg.width * jpeg.height for _, jpeg in jpegs], _TOGETHER):
            alike: dict[tuple[int, int, int], list[int]] = defaultdict(list)
            decoded = dict(zip(some, self._decoded([jpegs[i] for i in some]), strict=True))
            for i, planes in decoded.items():
                if planes is None:
                    refused.append(i)
                else:
                    alike[jpegs[i][1].width, jpegs[i][1].height, jpegs[i][1].turn].append(i)
            for (width, height, turn), members in alike.items():
                step = max(1, _IN_FLOAT // (width * height))
                for at in (members[start : start + step] for start in range(0, len(members), step)):
                    self._place(placed, at, _upright(torch.stack([decoded[i] for i in at]), turn))  # type: ignore[misc]
        return placed, refused

    def _place(self, placed: torch.Tensor, at: list[int], planes: torch.Tensor) -> None:
        """Resizes planes, uint8 (n, 3, H, W), into those rows."""
        options, (height, width) = self._options, planes.shape[2:]
        size = options.resized(width, height)
        if size != (width, height):
            planes = resize_in_float(planes, size, options.filter)
        (rows, from_rows), (columns, from_columns) = options.placed(*size)
        placed[torch.tensor(at, device=self._device), rows, columns] = planes[:, :, from_rows, from_columns].permute(
            0, 2, 3, 1
        )

    def _decoded(self, jpegs: Sequence[Encoded]) -> list[torch.Tensor | None]:
        """Each as uint8 (3, H, W), or None where the device refuses it: that fails the call, and halves are tried."""
        try:
            found = decode_jpeg([data for data, _ in jpegs], mode=ImageReadMode.RGB, device=self._device)
        except RuntimeError as error:
            self._end_with_device()
            if len(jpegs) == 1:
                _LOG.info("the device refuses a JPEG: %s", error)
                return [None]
            half = len(jpegs) // 2
            return self._decoded(jpegs[:half]) + self._decoded(jpegs[half:])
        shapes = [(3, jpeg.height, jpeg.width) for _, jpeg in jpegs]
        return [image if image.shape == shape else None for image, shape in zip(found, shapes, strict=True)]

    def _end_with_device(self) -> None:
        """Ends the process where the device does nothing more for it, which no exception tells the cluster.

        A fault of a GPU's memory stays with the process that met it. A new one gets the images again, and which of them
        did it is found as for any other that an actor dies of.
        """
        try:
            torch.ones(1, device=self._device).item()
        except RuntimeError:
            _LOG.exception("the device is lost")
            os._exit(1)


def _upright(planes: torch.Tensor, turn: int) -> torch.Tensor:
    """Planes (n, 3, H, W) turned as `decode._UPRIGHT` does it."""
    if turn >= 5:
        planes = planes.transpose(2, 3)
    flipped = {2: [3], 3: [2, 3], 4: [2], 6: [3], 7: [2, 3], 8: [2]}.get(turn)
    return planes.flip(flipped) if flipped else planes


def _slices(sizes: Sequence[int], most: int) -> Iterator[list[int]]:
    """Consecutive indices whose sizes come to `most` at most (one at least)."""
    some: list[int] = []
    held = 0
    for i, size in enumerate(sizes):
        if some and held + size > most:
            yield some
            some, held = [], 0
        some.append(i)
        held += size
    if some:
        yield some
