"""What `clipfake doctor` asks of one node, in a task there: plain facts, judged by clipfake.operate.doctor."""

import os
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clipfake.errors import first_line
from clipfake.storage import uri as uris
from clipfake.storage.runs import versions
from clipfake.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from clipfake.encoder.description import EncoderDescription

MEASURED_S = 3.0


@dataclass(frozen=True)
class NodeFacts:
    """versions : of record.versions; clock : seconds since the epoch; disk : (free, total) bytes where Ray spills;
    shm : bytes of /dev/shm; token : what the driver's file held when it was read here, or why it could not be read;
    source : None, or why the source is not seen here
    """

    versions: dict[str, str]
    clock: float
    disk: tuple[int, int]
    shm: int
    token: str | None
    source: str | None


@dataclass(frozen=True)
class EncoderFacts:
    """problem : why the detector would not score here, or None; images_per_second : of one encoder, without reading

    decoded_per_second : JPEGs of 400 x 533 pixels that a core decodes, or checks for a GPU that decodes
    """

    problem: str | None
    device: str = ""
    weights_s: float = 0.0
    images_per_second: float = 0.0
    decoded_per_second: float = 0.0


def node_facts(session: str, out: str | None, name: str, source: str | None) -> NodeFacts:
    """The facts of the node that this runs on. session : Ray's folder there; out, name : of the driver's file"""
    disk = shutil.disk_usage(session if os.path.isdir(session) else "/")  # noqa: PTH112
    return NodeFacts(
        versions(),
        time.time(),
        (disk.free, disk.total),
        shutil.disk_usage("/dev/shm").total if os.path.isdir("/dev/shm") else 0,  # noqa: PTH112
        None if out is None else _read(out, name),
        None if source is None else _missing(source),
    )


def encoder_facts(detector: str, encoder: str | None, threads: int, batch_size: int, precision: str) -> EncoderFacts:
    """Gets the weights, holds the test card against the detector's, and encodes noise for MEASURED_S seconds."""
    import numpy as np
    import torch

    from clipfake.detector.named import load_detector
    from clipfake.encoder import describe
    from clipfake.encoder import load as load_encoder
    from clipfake.encoder.description import EncoderDescription
    from clipfake.errors import ClipfakeError

    torch.set_num_threads(threads)
    device, began = "cuda" if torch.cuda.is_available() else "cpu", time.monotonic()
    try:
        trained = load_detector(detector)
        known = EncoderDescription.from_dict(trained.encoder)
        description = describe(encoder, known.feature, known.decoder) if encoder else known
        trained.check_encoder(description.fingerprint)
        loaded = load_encoder(description, precision=precision, device=device, batch_size=batch_size)  # type: ignore[arg-type]
        weights_s = time.monotonic() - began
        trained.check_test_card(loaded.test_card_embedding(), precision)
    except (ClipfakeError, OSError) as error:
        return EncoderFacts(first_line(error), device)
    height, width = description.preprocess.size
    pixels = np.random.default_rng(0).integers(0, 255, (batch_size, height, width, 3), dtype=np.uint8)
    encoded = batch_size * per_second(lambda: loaded.encode(pixels), MEASURED_S)
    return EncoderFacts(None, device, weights_s, encoded, _decoded_per_second(description, device))


def _decoded_per_second(encoder: "EncoderDescription", device: str) -> float:
    import io

    import numpy as np
    from PIL import Image

    from clipfake.images.limits import Limits
    from clipfake.images.prepare import prepare
    from clipfake.images.resize import GPU_1, warm_up

    coarse, made = np.random.default_rng(0).integers(0, 255, (40, 53, 3), np.uint8), io.BytesIO()
    Image.fromarray(coarse).resize((533, 400)).save(made, "jpeg", quality=90)
    data, on_gpu = made.getvalue(), device == "cuda" and encoder.decoder == GPU_1
    warm_up(encoder.decoder)

    def work() -> object:
        return prepare(data, Limits(), encoder.preprocess, decoder=encoder.decoder, for_a_device=on_gpu)

    return per_second(work, MEASURED_S / 3)


def per_second(work: "Callable[[], object]", seconds: float) -> float:
    """How often it is done in a second; tried for so many."""
    began, times = time.monotonic(), 0
    while (spent := time.monotonic() - began) < seconds:
        work()
        times += 1
    return times / spent if spent else 0.0


def _read(out: str, name: str) -> str:
    try:
        return Store(out).read_bytes(name).decode("utf-8", "replace")
    except Exception as error:  # a store's client raises what it likes; the driver's table says it
        return f"{type(error).__name__}: {first_line(error)}"


def _missing(source: str) -> str | None:
    from pyarrow.fs import FileType

    try:
        filesystem, path = uris.filesystem(source)
        there = filesystem.get_file_info(path).type != FileType.NotFound
    except Exception as error:
        return f"{type(error).__name__}: {first_line(error)}"
    return None if there else "it is not there"
