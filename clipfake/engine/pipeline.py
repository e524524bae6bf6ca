"""Which actors a job's chunks go through, as Ray Data runs them."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from clipfake.corpus.fetch import FetchOptions
from clipfake.encoder.description import EncoderDescription
from clipfake.engine.detect import Bundle, Detect
from clipfake.engine.embedding import EmbedOptions
from clipfake.engine.resources import Layout
from clipfake.engine.stages import Encode, Prepare, PrepareAndEncode, PrepareOptions
from clipfake.engine.work import Pipeline
from clipfake.images.decode import Limits

# A block is a batch. `map_batches` refuses that for actors with a GPU, so all go through what it calls itself.
_CHUNKS: dict[str, Any] = {"batch_size": None, "batch_format": "pyarrow"}


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
        return partial(self._images, layout, saving) if source == "images" else partial(self._embeddings, layout)

    def _images(self, layout: Layout, saving: bool, dataset: Any) -> Any:
        from ray.data import ActorPoolStrategy, DataContext

        DataContext.get_current().target_max_block_size = 1 << 30  # a chunk stays one block: full batches
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
            pool = ActorPoolStrategy(
                size=layout.encoders,
                max_concurrent_calls_per_actor=PrepareAndEncode.CALLS,
                enable_true_multi_threading=True,
            )
            both = (partial(Prepare, self.place, prepare), partial(Encode, *encode, **keep))
            return dataset.map_batches_internal(
                PrepareAndEncode, fn_constructor_args=both, compute=pool, **_CHUNKS, **_encoders(layout)
            )
        return dataset.map_batches_internal(
            Prepare,
            fn_constructor_args=(self.place, prepare),
            compute=ActorPoolStrategy(size=layout.preparers),
            num_cpus=layout.preparer_cpus,
            **_CHUNKS,
        ).map_batches_internal(
            Encode,
            fn_constructor_args=encode,
            fn_constructor_kwargs=keep,
            compute=ActorPoolStrategy(size=layout.encoders),
            **_CHUNKS,
            **_encoders(layout),
        )

    def _embeddings(self, layout: Layout, dataset: Any) -> Any:
        from ray.data import ActorPoolStrategy

        return dataset.map_batches_internal(
            Detect,
            fn_constructor_args=(self.place, self.detector, layout.device, layout.encoder_threads),
            compute=ActorPoolStrategy(size=layout.encoders),
            **_CHUNKS,
            **_encoders(layout),
        )


def _encoders(layout: Layout) -> dict[str, Any]:
    return {"num_cpus": layout.encoder_cpus, "num_gpus": layout.encoder_gpus or None}
