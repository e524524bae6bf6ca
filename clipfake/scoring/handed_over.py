"""JPEGs that the encoder's device decodes: how they travel in a chunk, and how they join its other images there."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from clipfake.corpus.frames import Frame
from clipfake.encoder.protocol import Batch, Encoder
from clipfake.images.decoder_pool import DecoderPool
from clipfake.images.device_decoder import DeviceDecoder, Encoded
from clipfake.images.device_jpeg import DeviceJpeg
from clipfake.images.limits import Limits
from clipfake.images.prepare import Prepared
from clipfake.images.resize import as_tensor

_ABOUT: Final = ("width", "height", "turn")  # of a `DeviceJpeg`, beside the file
_TYPE: Final = pa.struct([("data", pa.large_binary()), *((name, pa.int32()) for name in _ABOUT)])


def columns(data: Sequence[bytes | Frame | None], prepared: Sequence[Prepared]) -> tuple[pa.Array, pa.Array]:
    """Files and what the CPU made of them -> pixels, as large binary, and JPEGs; null where there are none."""
    jpegs = [
        {"data": image.jpeg.picture(file), **vars(image.jpeg)} if image.jpeg and isinstance(file, bytes) else None
        for file, image in zip(data, prepared, strict=True)
    ]
    pixels = [None if image.pixels is None else image.pixels.tobytes() for image in prepared]
    return pa.array(pixels, pa.large_binary()), pa.array(jpegs, _TYPE)


class Joiner:
    """Makes batches for an encoder of images of which some are pixels and some JPEGs.

    limits : of what the device refuses and a child process decodes
    """

    def __init__(self, encoder: Encoder, limits: Limits) -> None:
        self._encoder, self._limits = encoder, limits
        self._options = encoder.description.preprocess
        self._decoder = DeviceDecoder(encoder.device, self._options)

    @cached_property
    def _pool(self) -> DecoderPool:
        """Started when there is need of it: what a device refuses is rare."""
        return DecoderPool(1, self._limits, self._options, decoder=self._encoder.description.decoder)

    def batches(
        self, pixels: pa.Array, jpegs: pa.Array, rows: np.ndarray, lost: dict[int, Prepared]
    ) -> Iterator[Batch]:
        """The images of those rows of the two columns, in that order. Rows without an image are added to `lost`."""
        images = _Images(pixels, jpegs)
        size = self._encoder.batch_size
        for start in range(0, len(rows), size):
            yield self._batch(images, rows[start : start + size], lost)

    def _batch(self, images: "_Images", rows: np.ndarray, lost: dict[int, Prepared]) -> Batch:
        device = self._encoder.device
        placed = torch.zeros((self._encoder.batch_size, *self._options.size, 3), dtype=torch.uint8, device=device)
        at = [i for i, row in enumerate(rows) if images.is_jpeg[row]]
        made = {i: images.pixels(row, placed.shape[1:]) for i, row in enumerate(rows) if not images.is_jpeg[row]}
        if at:
            decoded, refused = self._decoder.pixels([images.jpeg(rows[i]) for i in at])
            placed[torch.tensor(at, device=device)] = decoded
            files = [images.jpeg(rows[at[i]])[0].numpy().tobytes() for i in refused]
            for i, image in zip(refused, self._pool.prepare(files) if files else [], strict=True):
                if image.pixels is None:
                    lost[int(rows[at[i]])] = image
                else:
                    made[at[i]] = image.pixels
        if made:
            host = torch.empty((len(made), *placed.shape[1:]), dtype=torch.uint8, pin_memory=device.type == "cuda")
            np.stack(list(made.values()), out=host.numpy())
            placed[torch.tensor(list(made), device=device)] = host.to(device, non_blocking=True)
        return placed, len(rows)


@dataclass
class _Images:
    """The two columns of `columns`, row by row, without a copy."""

    made: pa.Array
    jpegs: pa.Array

    def __post_init__(self) -> None:
        self.is_jpeg = np.asarray(self.jpegs.is_valid())
        self._about = [pc.struct_field(self.jpegs, name).to_pylist() for name in _ABOUT]
        files = pc.struct_field(self.jpegs, "data")
        _, offsets, held = files.buffers()
        self._offsets = np.frombuffer(offsets, np.int64)[files.offset :]
        self._files = as_tensor(held) if held else None

    def jpeg(self, row: int) -> Encoded:
        assert self._files is not None
        width, height, turn = (values[row] for values in self._about)
        data = self._files[self._offsets[row] : self._offsets[row + 1]]
        return data, DeviceJpeg(width, height, turn, len(data) - 2)

    def pixels(self, row: int, shape: Sequence[int]) -> np.ndarray:
        return np.frombuffer(self.made[row].as_buffer(), np.uint8).reshape(shape)
