"""Where a job's rows come from, images or stored embeddings; what is done with their chunks, and by which actors."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, ClassVar, Protocol

import pyarrow as pa

from clipfake.corpus.fetch import FetchOptions
from clipfake.encoder.description import EncoderDescription
from clipfake.encoder.memory import peak_memory
from clipfake.images.limits import Limits
from clipfake.images.resize import GPU_1
from clipfake.onray.nodes import Node
from clipfake.scoring.detector_stage import Bundle, Detect
from clipfake.scoring.options import EmbedOptions
from clipfake.scoring.part_files import HandOver
from clipfake.scoring.placement import BATCH_SIZE, Placement, plan_placement, plan_rescoring
from clipfake.scoring.stages import Encode, Prepare, PrepareAndEncode, PrepareOptions

CHUNKS_A_TASK = 16  # at most
PIXELS_A_TASK = 640 << 20  # bytes that go from a decoding actor to an encoding one together, unless a chunk has more

Listing = Callable[[], pa.RecordBatchReader]


@dataclass(frozen=True)
class Step:
    """What is done with each chunk, a table in and a table out, by actors that are all made alike.

    actor : called with `args` it gives what is called with chunks
    actors : how many of them, each with so many `cpus` and `gpus`
    calls : tasks that one of them has in hand at a time, in threads of its own
    together : chunks of a task, at most
    """

    actor: Any
    args: tuple[Any, ...]
    actors: int
    cpus: float
    gpus: float = 0.0
    calls: int = 1
    together: int = CHUNKS_A_TASK


Pipeline = tuple[Step, ...]


@dataclass(frozen=True)
class Work:
    """What is done with the chunks of a plan below `place`, whatever their source.

    detector : None to embed only; what : of an embedding, beside the image's own
    """

    place: str
    encoder: EncoderDescription
    precision: str
    detector: Bundle | None = None
    what: EmbedOptions | None = None


class RowSource(Protocol):
    """What differs between the sources.

    kind : its name in plans and run records
    few : up to so many items this process is done sooner than a Ray of its own and its actors have started (15 s)
    single_rows : whether the work can go on without a row that stops it
    """

    kind: ClassVar[str]
    few: ClassVar[int]
    single_rows: ClassVar[bool]

    def placement(
        self, work: Work, nodes: list[Node], items: int, batch_size: int | None, views: int, encoders_per_gpu: int
    ) -> Placement:
        """How the work on so many items is placed on `nodes`."""

    def first_unit_rows(self, device: str, views: int) -> int:
        """Items in a unit where no run has been measured yet."""

    def pipeline(self, work: Work, placement: Placement, saving: bool) -> Pipeline:
        """What chunks go through; saving : whether a scoring's embeddings are kept too."""

    def longest(self, rows: int) -> float:
        """Seconds that a chunk of so many rows may take, each of them as long as it is allowed to."""

    def described(self) -> dict[str, Any]:
        """How items are read, as JSON values: a plan keeps it, and `restored` makes the source from it."""


def _last(work: Work, actor: Callable[..., Any], *arguments: Any, placement: Placement, calls: int = 1) -> Step:
    """The step at whose end rows are handed over."""
    args = (work.place, partial(actor, *arguments))
    return Step(HandOver, args, placement.encoders, placement.encoder_cpus, placement.encoder_gpus, calls)


def _on_device(work: Work) -> bool:
    """Whether JPEGs are decoded by the encoders' devices, where those are GPUs: views are made on the CPU."""
    return work.encoder.decoder == GPU_1 and not (work.what and work.what.made)


@dataclass(frozen=True)
class Images:
    """Images, read and decoded within limits."""

    kind: ClassVar[str] = "images"
    few: ClassVar[int] = 512
    single_rows: ClassVar[bool] = True
    _FIRST: ClassVar[Mapping[str, int]] = {"cpu": 2_048, "cuda": 262_144}

    fetch: FetchOptions
    limits: Limits

    def placement(
        self, work: Work, nodes: list[Node], items: int, batch_size: int | None, views: int, encoders_per_gpu: int
    ) -> Placement:
        memory = peak_memory(work.encoder, work.precision, batch_size or BATCH_SIZE["cpu"])  # type: ignore[arg-type]
        return plan_placement(nodes, items, batch_size, views, encoders_per_gpu, memory, _on_device(work))

    def first_unit_rows(self, device: str, views: int) -> int:
        return max(1, self._FIRST[device] // (1 + views))

    def pipeline(self, work: Work, placement: Placement, saving: bool) -> Pipeline:
        views = work.what.made if work.what else ()
        for_a_device = placement.preparers > 0 and _on_device(work)
        prepare = PrepareOptions(
            self.fetch,
            self.limits,
            work.encoder.preprocess,
            placement.decoders,
            views,
            work.encoder.decoder,
            for_a_device,
        )
        encode = partial(
            Encode, work.encoder, work.precision, placement.device,  # type: ignore[arg-type]
            placement.encoder_threads, placement.batch_size, work.detector, keep=work.detector is None or saving,
            text=work.what.template if work.what else None, jpegs=self.limits if for_a_device else None,
        )  # fmt: skip
        if not placement.preparers:
            both = (partial(Prepare, work.place, prepare), encode)
            return (_last(work, PrepareAndEncode, *both, calls=PrepareAndEncode.CALLS, placement=placement),)
        pixels = placement.chunk_rows * (1 + len(views)) * math.prod(work.encoder.preprocess.size) * 3
        first = Step(
            Prepare, (work.place, prepare), placement.preparers, placement.preparer_cpus, calls=Prepare.CALLS,
            together=max(1, min(CHUNKS_A_TASK, PIXELS_A_TASK // pixels)),
        )  # fmt: skip
        return first, _last(work, encode, calls=Encode.CALLS if for_a_device else 1, placement=placement)

    def longest(self, rows: int) -> float:
        return 2 * rows * self.limits.timeout_s  # an image whose decoder dies is tried twice

    def described(self) -> dict[str, Any]:
        return {"fetch": asdict(self.fetch), "limits": asdict(self.limits)}


@dataclass(frozen=True)
class StoredEmbeddings:
    """Embeddings that are stored already: no image is read."""

    kind: ClassVar[str] = "embeddings"
    few: ClassVar[int] = 131_072
    single_rows: ClassVar[bool] = False

    def placement(
        self, work: Work, nodes: list[Node], items: int, batch_size: int | None, views: int, encoders_per_gpu: int
    ) -> Placement:
        return plan_rescoring(nodes, items, encoders_per_gpu)

    def first_unit_rows(self, device: str, views: int) -> int:
        return 262_144

    def pipeline(self, work: Work, placement: Placement, saving: bool) -> Pipeline:
        arguments = (work.place, work.detector, placement.device, placement.encoder_threads)
        return (_last(work, Detect, *arguments, placement=placement),)

    def longest(self, rows: int) -> float:
        return 0.0

    def described(self) -> dict[str, Any]:
        return {}


def restored(kind: str, described: Mapping[str, Any]) -> RowSource:
    """The source of a plan. Fields that are missing have their defaults, those that are not known here are left out."""
    if kind == StoredEmbeddings.kind:
        return StoredEmbeddings()
    fetch, limits = (
        {name: value for name, value in described.get(part, {}).items() if name in fields}
        for part, fields in (("fetch", FetchOptions.__dataclass_fields__), ("limits", Limits.__dataclass_fields__))
    )
    return Images(FetchOptions(**fetch), Limits(**limits))
