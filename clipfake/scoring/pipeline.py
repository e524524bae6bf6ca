"""Which actors a job's chunks go through."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

from clipfake.corpus.fetch import FetchOptions
from clipfake.encoder.description import EncoderDescription
from clipfake.images.decode import Limits
from clipfake.scoring.detector_stage import Bundle, Detect
from clipfake.scoring.embeddings import EmbedOptions
from clipfake.scoring.layout import Layout
from clipfake.scoring.stages import Encode, Prepare, PrepareAndEncode, PrepareOptions


@dataclass(frozen=True)
class Step:
    """What is done with each chunk, a table in and a table out, by actors that are all made alike.

    actor : called with `args` and `options` it gives what is called with chunks
    actors : how many of them, each with so many `cpus` and `gpus`
    calls : chunks that one of them has in hand at a time, in threads of its own
    """

    actor: Any
    args: tuple[Any, ...]
    actors: int
    cpus: float
    gpus: float = 0.0
    calls: int = 1
    options: dict[str, Any] = field(default_factory=dict)


Pipeline = tuple[Step, ...]


@dataclass(frozen=True)
class Stages:
    """What is done with the chunks of a plan below `place`; called with how it is laid out, it gives the pipeline.

    detector : None to embed only; what : of an embedding, beside the image's own
    """

    place: str
    encoder: EncoderDescription
    precision: str
    fetch: FetchOptions
    limits: Limits
    detector: Bundle | None = None
    what: EmbedOptions | None = None

    def __call__(self, source: str, layout: Layout, saving: bool) -> Pipeline:
        """source : "images", or "embeddings" that are stored; saving : whether a scoring's embeddings are kept too"""
        actors: dict[str, Any] = {
            "actors": layout.encoders, "cpus": layout.encoder_cpus, "gpus": layout.encoder_gpus,
        }  # fmt: skip
        if source == "embeddings":
            return (Step(Detect, (self.place, self.detector, layout.device, layout.encoder_threads), **actors),)
        views = self.what.made if self.what else ()
        prepare = PrepareOptions(
            self.fetch, self.limits, self.encoder.preprocess, layout.decoders, views, self.encoder.decoder
        )
        encode: tuple[Any, ...] = (
            self.encoder, self.precision, layout.device, layout.encoder_threads, layout.batch_size, self.detector,
        )  # fmt: skip
        keep: dict[str, Any] = {
            "keep": self.detector is None or saving, "text": self.what.template if self.what else None,
        }  # fmt: skip
        if not layout.preparers:
            both = (partial(Prepare, self.place, prepare), partial(Encode, *encode, **keep))
            return (Step(PrepareAndEncode, both, calls=PrepareAndEncode.CALLS, **actors),)
        return (
            Step(Prepare, (self.place, prepare), layout.preparers, layout.preparer_cpus),
            Step(Encode, encode, options=keep, **actors),
        )
