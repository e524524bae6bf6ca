"""The options of the jobs over items: how items are read and encoded, how a job runs, what `embed` computes."""

from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from clipfake.corpus.fetch import FetchOptions
from clipfake.corpus.layouts.base import LayoutOptions
from clipfake.encoder.feature import PROJECTED, blocks_of
from clipfake.encoder.precision import AUTO, check_precision
from clipfake.errors import UsageError
from clipfake.images.limits import Limits
from clipfake.options import above, at_least, between, check, num_cpus, one_of, option

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from clipfake.corpus.captions import TextTemplate
    from clipfake.images.conditions.conditions import Condition

ENCODERS_PER_GPU_LIMIT = 64  # each is a process that holds a model
MAX_VIEWS = 16
PRECISION = "auto (bf16 where every node computes it fast, else fp32), fp32, bf16 or fp16."
MANIFEST = "a manifest, which is listed already (`clipfake index` takes such options)"
NO_IMAGE_READ = "stored embeddings, of which no image is read"
IMAGES = ("corpus", "manifest")  # the inputs of which images are read
layout = partial(
    option, "images", "How the corpus is listed and labelled; `clipfake index --help` names the layouts.",
    inputs=("corpus",),
)  # fmt: skip
dry_run = partial(option, False, "Only say what the command would do.")


@dataclass(frozen=True)
class JobOptions:
    """What the user may set for any job over items."""

    max_error_rate: float = option(
        0.05, "Exit with 3 where a larger share of the rows has an error.", check=between(0, 1)
    )
    unit_rows: int | None = option(
        None, "Number of items that commit together; by default about two minutes of work.", check=at_least(1)
    )
    batch_size: int | None = option(None, "Number of images in a forward pass.", check=at_least(1), inputs=IMAGES)
    retry_errors: bool = option(False, "Try again all items with an error, also those whose error is permanent.")
    dry_run: bool = dry_run()
    num_cpus: int | None = num_cpus()
    stall_timeout: float = option(
        600.0,
        "Seconds without progress after which the rest of the work is started again on the nodes that are left.",
        check=above(0),
    )
    encoders_per_gpu: int = option(
        1,
        "Number of encoders that share a GPU; use several where one does not fill it.",
        check=between(1, ENCODERS_PER_GPU_LIMIT),
    )
    scale_to: int | None = option(
        None, "Number of nodes to plan for, including those that an autoscaler has yet to start.", check=at_least(1)
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class ScanOptions:
    """How items are listed, read, decoded and encoded."""

    layout: str = layout()
    listing: LayoutOptions = field(default_factory=LayoutOptions)
    image_only: bool = option(
        False, "Score by the image alone, without the text that the detector was trained with.", flag="--image-only"
    )
    decoder: str | None = option(
        None, "Read pixels by this decoder, which the detector lists, and not by its own.", inputs=IMAGES
    )
    precision: str | None = option(None, PRECISION, inputs=IMAGES)
    limits: Limits = field(default_factory=Limits)
    job: JobOptions = field(default_factory=JobOptions)
    bytes_column: str | None = None  # the Parquet column of the images, where the manifest was made with one

    def __post_init__(self) -> None:
        check_precision(self.precision)

    @property
    def fetch(self) -> FetchOptions:
        """How bytes are read."""
        return FetchOptions(max_bytes=self.limits.max_bytes, bytes_column=self.bytes_column)

    def described(self) -> dict[str, Any]:
        """For the run record."""
        described = asdict(self) | {"fetch": asdict(self.fetch)}
        del described["bytes_column"]
        return described


@dataclass(frozen=True)
class EmbedOptions:
    """What is computed for each item.

    feature : the point of the network, "projected", "penultimate" or "blocks:3,6,9,12"
    text : None, or the column or template that makes the text of an item, as `TextTemplate.parse` reads it
    allow_words : words that texts may have although they can give the label away
    decoder : the way from bytes to pixels, as `images.resize.full_name` takes it, or "auto"
    views : augmented views beside the image itself
    conditions : names of conditions whose views are made in the place of augmented ones
    """

    feature: str = option(
        PROJECTED, "projected, penultimate (before the projection), or blocks:3,6,9,12 (the CLS tokens of these)."
    )
    text: str | None = option(None, "Embed a text too: caption, category, or 'a photo of a {category}'.")
    allow_words: tuple[str, ...] = option(
        (),
        "Word that a text may contain although it can give the label away; can be given several times.",
        flag="--allow-word",
    )
    decoder: str = option(
        "exact",
        "exact (open_clip's pixels), or fast: within 2 grey levels, up to twice as fast. exact-2 and fast-2: a PNG's "
        "transparent colour is white at 2, 4 and 16 bits too. gpu: JPEGs are decoded on the GPUs that encode. auto: "
        "what OUT was made with, else gpu where GPUs encode, fast-2 where cores do.",
    )
    views: int = option(
        0, "Augmented views of each image, in addition to the image itself.", check=between(0, MAX_VIEWS)
    )
    conditions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        from clipfake.corpus.captions import TextTemplate
        from clipfake.images.conditions.conditions import choose
        from clipfake.images.resize import full_name

        check(self)
        blocks_of(self.feature)
        if self.decoder != AUTO:
            full_name(self.decoder)
        if self.text is not None:
            TextTemplate.parse(self.text)
        elif self.allow_words:
            raise UsageError("--allow-word belongs to --text: give --text too, or leave --allow-word out")
        if self.conditions:
            choose(self.conditions)

    @property
    def made(self) -> "tuple[Condition, ...]":
        """The conditions of the views 1, 2, ... of an item."""
        from clipfake.images.conditions.conditions import augmented, choose

        return choose(self.conditions) if self.conditions else augmented(self.views)

    @property
    def template(self) -> "TextTemplate | None":
        """How the text of an item is made, if it is."""
        from clipfake.corpus.captions import TextTemplate

        return None if self.text is None else TextTemplate.parse(self.text)

    def checked(self, listing: "Callable[[], pa.RecordBatchReader]") -> "Callable[[], pa.RecordBatchReader]":
        """The listing, which raises UsageError where a text gives the label away."""
        from clipfake.corpus.captions import checked

        template = self.template
        return listing if template is None else lambda: checked(listing, template, self.allow_words)


@dataclass(frozen=True)
class FilterOptions:
    """What `filter` keeps of a corpus.

    keep : a condition on the columns of the report, in DuckDB's SQL; null counts as false
    without_row : "drop" or "keep": what becomes of items that the report has no row for
    detector : the fingerprint whose rows count, or its beginning; None: the report's only one
    """

    keep: str = option(..., "Condition on the report's columns: \"verdict = 'real' AND unfamiliarity < 0.99\".")
    without_row: str = option(
        "drop", "drop or keep the items that the report has no row for.", check=one_of("drop", "keep")
    )
    detector: str | None = option(
        None, "Fingerprint of the detector, or its beginning, where the report has rows of several."
    )
    layout: str = layout()
    listing: LayoutOptions = field(default_factory=LayoutOptions)
    dry_run: bool = dry_run()

    def __post_init__(self) -> None:
        check(self)
