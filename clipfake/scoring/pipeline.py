"""What is done with a job's chunks, and by which actors."""

from dataclasses import dataclass
from typing import Any

from clipfake.encoder.description import EncoderDescription
from clipfake.scoring.detector_stage import Bundle
from clipfake.scoring.options import EmbedOptions


@dataclass(frozen=True)
class Step:
    """What is done with each chunk, a table in and a table out, by actors that are all made alike.

    actor : called with `args` it gives what is called with chunks
    actors : how many of them, each with so many `cpus` and `gpus`
    calls : chunks that one of them has in hand at a time, in threads of its own
    """

    actor: Any
    args: tuple[Any, ...]
    actors: int
    cpus: float
    gpus: float = 0.0
    calls: int = 1


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
